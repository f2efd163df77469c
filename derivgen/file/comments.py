"""The header of a generated file as a comment of C, and back as the docstring that it is in Python."""

from __future__ import annotations

QUOTES = '"""'


def as_comment(docstring: str) -> str:
    """`/* …` in which each line but the first begins with ` *`."""
    first, *others = docstring.strip().removeprefix(QUOTES).removesuffix(QUOTES).rstrip("\n").split("\n")
    return "\n".join([f"/* {first}", *(f" * {line}".rstrip() for line in others), " */"]) + "\n"


def as_docstring(text: str) -> tuple[str, int]:
    """The comment that a text begins with, as a docstring, and its length; nothing if there is none."""
    end = text.find("\n */\n")
    if not text.startswith("/* ") or end < 0:
        return "", 0
    first, *others = text[3:end].split("\n")
    lines = [first, *(line.removeprefix(" *").removeprefix(" ") for line in others)]
    return "\n".join([QUOTES + lines[0], *lines[1:], QUOTES]) + "\n", end + len("\n */\n")
