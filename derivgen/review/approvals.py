"""Who has read which section of a module: digests in a TOML file, one line each."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from derivgen.errors import DerivgenError
from derivgen.file import store
from derivgen.review.sections import Section, sections_of

FILE = "derivgen-approvals.toml"
HEAD = """\
# Sections of generated modules that somebody has read, by their digests; derivgen approve adds some.
[signed]
"""


def file_for(folder: Path) -> Path:
    """The file of approvals of a folder: that of the nearest project around it, or its own."""
    for around in (folder.absolute(), *folder.absolute().parents):
        if (around / FILE).is_file() or (around / "pyproject.toml").is_file() or (around / ".git").exists():
            return around / FILE
    return folder / FILE


def signed_in(file: Path) -> dict[str, str]:
    """Who signed each digest; nothing where the file is missing. Raises DerivgenError where it is damaged."""
    text = store.read(file)
    if text is None:
        return {}
    try:
        found = tomllib.loads(text).get("signed", {})
    except tomllib.TOMLDecodeError as error:
        raise DerivgenError(f"{file} is not valid TOML: {error}. Mend it, or take it from your history") from error
    if not isinstance(found, Mapping) or not all(isinstance(who, str) for who in found.values()):
        raise DerivgenError(f'{file}: expected lines such as "0123456789abcdef" = "a name" under [signed]')
    return dict(found)


def approve(module: Path, who: str) -> tuple[int, Path]:
    """Sign all sections of a module that nobody has signed; (how many, the file that holds them).

    Raises DerivgenError where the module is not one of derivgen's, or was edited by hand.
    """
    text = store.read(module)
    if text is None or store.read_header(text) is None:
        raise DerivgenError(f"{module} is no module that derivgen generated: give one's path")
    if store.is_edited(text):
        raise DerivgenError(
            f"{module} was edited by hand since it was generated: generate it anew, so that what is signed is what the "
            "spec gives"
        )
    if not who.strip() or not who.isprintable():
        raise DerivgenError("--by: expected a name")
    file = file_for(module.parent)
    signed = signed_in(file)
    new = [s for s in sections_of(text) if s.digest not in signed]
    if new:
        store.write_bytes(file, written(store.read(file) or HEAD, new, module.name, who).encode())
    return len(new), file


def written(text: str, sections: Sequence[Section], module: str, who: str) -> str:
    """The file with more lines: those that are there stay as they are."""
    quoted = json.dumps(who, ensure_ascii=False)
    unique = {s.digest: s for s in sections}.values()
    lines = [f'"{s.digest}" = {quoted}  # {s.name}, {module}' for s in unique]
    return text.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
