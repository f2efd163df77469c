"""Files on disk: read whole, and replaced in one step, so that no failure leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from derivgen.errors import DerivgenError

TEMPORARY = re.compile(r"\.derivgen-([0-9a-f]{8}-)?[0-9a-f]{12}\.tmp")
# Seconds after which a temporary file that nobody has locked is abandoned: it takes less to make one and lock it.
AGE, AGE_ELSEWHERE = 0.1, 86400


def read(path: Path) -> str | None:
    """The text of a file, with \\n at its line ends; None where the file is missing."""
    try:
        refuse_special(path)
        if path.is_dir():
            raise DerivgenError(f"{path} is a folder, expected a file: give a file's name")
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DerivgenError(f"{path} can't be read: {error.strerror}. Give another path, or fix this one") from error


def refuse_special(path: Path) -> None:
    """Raise DerivgenError where a path, through links, is a pipe, a socket or a device.

    Opening a pipe waits for its other end, a device may have no end, and a new file in its place would take it away.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise DerivgenError(f"{path} is no regular file, but {kind}: give another file's name")


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one step: whoever reads it sees the old bytes or the new ones, whatever fails."""
    try:
        target = Path(os.path.realpath(path))
        refuse_special(path)
        remove_abandoned(target.parent)
        with new_temporary(target.parent) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def new_temporary(folder: Path) -> Iterator[Path]:
    """An empty file in a folder, locked while the block runs, where the system has locks, and gone after it."""
    temporary = folder / f".derivgen-{machine()}-{secrets.token_hex(6)}.tmp"
    # Mode 0o666 goes through the umask, as with any new file.
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    held = locked(descriptor)
    if not held:  # Windows renames no file that is open
        os.close(descriptor)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if held:
            os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that were killed.

    It is one of theirs if nobody holds its lock. One that another machine made, by its name, must also be a day old:
    in a folder of the network the locks of others may not be seen. Where the system has no locks, files stay.
    """
    with contextlib.suppress(OSError):
        for name in filter(TEMPORARY.fullmatch, os.listdir(folder)):
            age = AGE if f"-{machine()}-" in name else AGE_ELSEWHERE
            with contextlib.suppress(OSError), (folder / name).open("r+b") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > age and locked(file.fileno()):
                    (folder / name).unlink()


def machine() -> str:
    """Eight digits for the name of this machine."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def locked(descriptor: int) -> bool:
    """Lock a file until it is closed, which the end of the process does too; False where another has it, or there are
    no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def unwritable(path: Path, error: OSError) -> DerivgenError:
    folder = path.parent
    if error.errno == errno.ENAMETOOLONG:
        what_to_do = "give a shorter one"
    elif not os.path.exists(folder):
        what_to_do = f"make the folder {folder} first, or give another path"
    elif not os.path.isdir(folder):
        what_to_do = f"{folder} is no folder: give another path"
    else:
        what_to_do = "nothing was written: fix that, or give another path"
    return DerivgenError(f"{path} can't be written: {error.strerror or error}. {what_to_do[0].upper()}{what_to_do[1:]}")


def check_writable(path: Path) -> None:
    """Raise DerivgenError where `write_bytes` would surely fail: to be found before hours of training, not after."""
    refuse_special(path)
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise unwritable(path, error) from error
    if is_folder:
        raise DerivgenError(f"{path} can't be written: it is a folder. Give a file's name")
    if not os.path.isdir(path.parent) or not os.access(path.parent, os.W_OK):
        reason = "Permission denied" if path.parent.is_dir() else "No such folder"
        raise unwritable(path, OSError(0, reason))
