"""Who has read which section of a module: digests in a TOML file, one line each."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from derivgen.errors import DerivgenError
from derivgen.file import disk, headers
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
    text = disk.read(file)
    if text is None:
        return {}
    try:
        found = tomllib.loads(text).get("signed", {})
    except tomllib.TOMLDecodeError as error:
        raise DerivgenError(f"{file} is not valid TOML: {error}. Mend it, or take it from your history") from error
    if not isinstance(found, Mapping) or not all(isinstance(who, str) for who in found.values()):
        raise DerivgenError(f'{file}: expected lines such as "0123456789abcdef" = "a name" under [signed]')
    return dict(found)


def unsigned_in(module: Path) -> list[str]:
    """The names of a module's sections that nobody has signed. Raises DerivgenError where it is none of derivgen's."""
    signed = signed_in(file_for(module.parent))
    return [s.name for s in sections_of(generated_text(module)) if s.digest not in signed]


def generated_text(module: Path) -> str:
    text = disk.read(module)
    if text is None or headers.read_header(text) is None:
        raise DerivgenError(f"{module} is no module that derivgen generated: give one's path")
    return text


def approve(module: Path, who: str, names: Sequence[str] = ()) -> tuple[list[str], Path]:
    """Sign the sections of these names, or all, that nobody has signed; (their names, the file that holds them).

    Raises DerivgenError where the module is not one of derivgen's, was edited by hand, or has no such section.
    """
    text = generated_text(module)
    if headers.is_edited(text):
        raise DerivgenError(
            f"{module} was edited by hand since it was generated: generate it anew, so that what is signed is what the "
            "spec gives"
        )
    if not who.strip() or not who.isprintable():
        raise DerivgenError("--by: expected a name")
    file = file_for(module.parent)
    signed = signed_in(file)
    sections = sections_of(text)
    there = [s.name for s in sections]
    if unknown := [name for name in names if name not in there]:
        raise DerivgenError(f"{module} has no section {unknown[0]!r}: give one of {', '.join(there)}")
    new = [s for s in sections if s.digest not in signed and (not names or s.name in names)]
    if new:
        disk.write_bytes(file, written(disk.read(file) or HEAD, new, module.name, who).encode())
    return [s.name for s in new], file


def written(text: str, sections: Sequence[Section], module: str, who: str) -> str:
    """The file with more lines: those that are there stay as they are."""
    quoted = json.dumps(who, ensure_ascii=False)
    unique = {s.digest: s for s in sections}.values()
    lines = [f'"{s.digest}" = {quoted}  # {s.name}, {module}' for s in unique]
    return text.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
