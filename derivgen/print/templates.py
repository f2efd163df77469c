"""Templates, in `derivgen/templates` of a wheel or `templates` of a checkout, and the digest of what writes modules."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import jinja2

from derivgen.errors import PACKAGE


def folder() -> Path:
    inside = Path(__file__).parent.parent / "templates"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "templates"


@cache
def generator_digest() -> str:
    """The digest of all code that writes modules: another version of derivgen, or an edit of it, has another one."""
    code = hashlib.sha256()
    for path in [*sorted(PACKAGE.rglob("*.py")), *sorted(folder().rglob("*.jinja"))]:
        code.update(path.read_bytes())
    return code.hexdigest()


@cache
def environment() -> jinja2.Environment:
    """Templates of text, not of HTML; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder(), encoding="utf-8"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
