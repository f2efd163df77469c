"""What stood in each row before an edit, and how much of it is another one now."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from derivgen.report.kernels import Kernel
from derivgen.report.rows import Entry, Row
from derivgen.report.sources import Source
from derivgen.review.compare import Change, Review

NEW, CHANGED, EQUAL = "new", "changed", "equal"
NO_SOURCE = Source()


@dataclass(frozen=True, slots=True)
class Before:
    """A row before the edit: what differs of it. `kernels`: their lines, each with whether it is gone."""

    status: str
    words: str = ""  # what differs
    source: Source = NO_SOURCE
    formulas: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    kernels: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The rows of now with what stood there before, and those that are gone."""

    words: str  # which state it was
    rows: Mapping[str, Before]
    gone: tuple[Row, ...] = ()


def all_new(rows: tuple[Row, ...]) -> Comparison:
    return Comparison("nothing", {row.name: Before(NEW) for row in rows})


def comparison(
    review: Review,
    now: tuple[Row, ...],
    old: tuple[Row, ...],
    kernels: Mapping[str, Kernel],
    old_kernels: Mapping[str, Kernel],
) -> Comparison:
    """Rows of one name belong together; those of what was renamed too."""
    names = {new: before for before, new in review.renamed.items()}
    by_name = {row.name: row for row in old}
    found: dict[str, Before] = {}
    for row in now:
        before = by_name.get(names.get(row.name, row.name))
        found[row.name] = Before(NEW) if before is None else compared_rows(review, row, before, kernels, old_kernels)
    met = {names.get(row.name, row.name) for row in now}
    return Comparison(review.before, found, tuple(row for row in old if row.name not in met))


def compared_rows(
    review: Review, row: Row, before: Row, kernels: Mapping[str, Kernel], old_kernels: Mapping[str, Kernel]
) -> Before:
    """What of a row differs: its formula, adjoints that it contributes to, kernels that must be read anew."""
    to_read = {k.name: k.before or k.name for k in review.to_read if k.name in row.kernels}
    adjoints = [c for c in review.derivatives if c.name in targets(row) | targets(before)]
    formula = row.formulas != before.formulas and touches(review.formulas, row, before)
    words = [
        *(["the formula"] if formula else []),
        *([f"adjoints: {', '.join(c.name for c in adjoints)}"] if adjoints else []),
        *([f"kernels to read: {', '.join(to_read)}"] if to_read else []),
        *([f"before {before.name}"] if before.name != row.name else []),
    ]
    texts = ((name, old_kernels[had].text, kernels[name].text) for name, had in to_read.items() if had in old_kernels)
    changed = {c.name for c in adjoints if c.before is not None}
    return Before(
        CHANGED if formula or adjoints or to_read else EQUAL,
        "; ".join(words),
        before.source if before.source.text != row.source.text else NO_SOURCE,
        before.formulas if formula else (),
        tuple(e for e in before.entries if e.target in changed),
        tuple((name, tuple(marked(old, new))) for name, old, new in texts),
    )


def touches(changes: tuple[Change, ...], row: Row, before: Row) -> bool:
    """Whether one of the changes is of a formula of this row, and not of a name alone."""
    own = {row.name, before.name}
    return any(c.name in own or any(c.name.startswith(f"{name}_") for name in own) for c in changes)


def targets(row: Row) -> set[str]:
    return {e.target for e in row.entries} | {a.target for part in row.parts for a in part.adjoints}


def marked(old: str, new: str) -> list[tuple[str, bool]]:
    """The lines of a text, each with whether the new text is without it."""
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [(line[2:], line.startswith("- ")) for line in lines if line[:2] in ("- ", "  ")]
