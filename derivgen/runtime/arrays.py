"""NumPy's files, .npz and .npy: what a file claims to hold is checked against its size before any of it is read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.file import disk
from derivgen.runtime.json_text import short

Array = np.ndarray[Any, Any]

HEAD = 2**14  # bytes from which a header is read: NumPy takes headers of at most 10,000
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# By how much the methods that NumPy writes may compress: deflate by 1,032 at most (zlib.net/zlib_tech.html).
LARGEST_RATIO = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1040}
ZIP = (b"PK\3\4", b"PK\5\6")  # what a zip file starts with; the second, one without members


class Kind(NamedTuple):
    """The shape and dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its array; `offset` is where the elements start."""

    kind: Kind
    fortran: bool
    offset: int


@dataclass(frozen=True, slots=True)
class Archive:
    """An open .npz, its members by the names of their arrays; nothing of them has been read."""

    path: Path
    archive: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]

    def kind(self, name: str) -> Kind:
        """The kind that the array's header states.

        Raises DerivgenError where it has none, or claims another size than the file has.
        """
        member = self.members[name]
        with numpy_errors(self.path, *npz_words(self.path)):
            refuse_directory(name, member, self.path.stat().st_size)
            with self.archive.open(member) as file:
                header = header_of(file.read(HEAD))
            refuse_other_size(header, member.file_size)
        return header.kind

    def read(self, name: str) -> Array:
        """The array, whose kind was looked at. Raises DerivgenError where the file is damaged."""
        with numpy_errors(self.path, *npz_words(self.path)):
            try:
                with self.archive.open(self.members[name]) as file:
                    return np.lib.format.read_array(file, allow_pickle=False)
            except MemoryError:
                size = self.members[name].file_size
                raise DerivgenError(
                    f"{self.path}: {name} takes {size / 2**30:.1f} GiB, for which memory is too small: save it as "
                    f"{name}.npy, which is mapped and stays on the disk"
                ) from None


@contextmanager
def open_npz(path: Path) -> Iterator[Archive]:
    """An .npz file, open. Raises DerivgenError where it is none."""
    disk.refuse_special(path)
    with numpy_errors(path, *npz_words(path)):
        with path.open("rb") as file:
            start = file.read(len(np.lib.format.MAGIC_PREFIX))
        if start == np.lib.format.MAGIC_PREFIX:
            raise DerivgenError(f'{path} is a single array, expected an .npz of named ones: np.savez("data.npz", x=x)')
        if not start.startswith(ZIP):
            raise ValueError("it is empty" if not start else "no array's header, or a pickle")
        archive = zipfile.ZipFile(path)
    with archive:
        yield Archive(path, archive, members_of(path, archive))


def members_of(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    what, fix = npz_words(path)
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename:
            raise DerivgenError(f"{path} is not {what} ({name} in it is no array): write it by {fix}")
        if name in members:
            raise DerivgenError(f"{path} is not {what} (it holds {name} twice): write it by {fix}")
        members[name] = member
    return members


def refuse_directory(name: str, member: zipfile.ZipInfo, size: int) -> None:
    """Raise ValueError where the zip's directory says of a member what can't be, in a file of so many bytes."""
    if member.compress_type not in LARGEST_RATIO:
        raise ValueError(f"{name} is compressed by a method that NumPy does not write")
    possible = member.compress_size * LARGEST_RATIO[member.compress_type]
    if member.header_offset + member.compress_size > size or member.file_size > possible:
        raise ValueError(f"{name} claims {member.file_size} bytes, which are not in it")


def read_npy(path: Path) -> Array:
    """The array of a file, memory-mapped and read-only.

    Raises DerivgenError where it is not whole or no plain array.
    """
    disk.refuse_special(path)
    with numpy_errors(path, "an .npy file of a plain array", f'np.save("{path.stem}.npy", ...)'):
        with path.open("rb") as file:
            start = file.read(HEAD)
        if start.startswith(ZIP):
            raise DerivgenError(f"{path} is an archive of arrays, expected a single one: rename it to {path.stem}.npz")
        header = header_of(start)
        refuse_other_size(header, path.stat().st_size)
        shape, dtype = header.kind
        return np.memmap(path, dtype, "r", header.offset, shape, "F" if header.fortran else "C")


def header_of(start: bytes) -> Header:
    """What the start of an .npy file says. Raises ValueError where that makes no sense."""
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise ValueError("it is empty" if not start else "no array's header, or a pickle")
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    if version not in READERS:
        raise ValueError(f"its format is {version[0]}.{version[1]}, expected 1.0 or 2.0")
    try:
        shape, fortran, dtype = READERS[version](stream)
    except Exception as error:  # NumPy parses a header as Python, and raises what that raises
        raise ValueError("its header can't be read") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, in a pickle, which is never read")
    if any(isinstance(extent, bool) or extent < 0 for extent in shape):
        raise ValueError(f"its header claims the shape {short(str(shape))}")
    return Header(Kind(shape, dtype), fortran, stream.tell())


def refuse_other_size(header: Header, size: int) -> None:
    """Raise ValueError where the header claims another size than that of the file, or member, in bytes."""
    shape, dtype = header.kind
    if header.offset + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(
            f"its header claims {dtype} of shape {short(str(shape))}, "
            f"which is not the {size - header.offset} bytes after it"
        )


def npz_words(path: Path) -> tuple[str, str]:
    """(what an .npz is, what writes it) for messages."""
    return "an .npz file of plain arrays", f'np.savez("{path.stem}.npz", ...)'


@contextmanager
def numpy_errors(path: Path, what: str, fix: str) -> Iterator[None]:
    """What is raised on a file that is missing, damaged or foreign, as DerivgenError."""
    try:
        yield
    except DerivgenError:
        raise
    except FileNotFoundError:
        raise DerivgenError(f"{path} does not exist: write it by {fix}") from None
    except OSError as error:
        raise DerivgenError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # zipfile and zlib raise almost any type on bytes that are none of theirs
        reason = str(error) or type(error).__name__
        raise DerivgenError(f"{path} is not {what} ({reason}): write it by {fix}") from error
