"""The formulas of a program for its readers, and whether some differ only in names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from derivgen.form.notation import Plain, apart, steps, untold_ranges
from derivgen.form.program import Program, Role, Statement

NAME = re.compile(r"(?:(?<!\w)|(?<=Σ_))[A-Za-z]\w*(?![\w(])")  # of a tensor, an index or a size in a formula
NUMBER = re.compile(r"\d+")


def formulas(program: Program) -> list[str]:
    """What the tensors of a program are: a line each, and in it the sums that it alone reads."""
    return [text for _, text in shown(program)]


def shown(program: Program, notation: type[Plain] = Plain) -> list[tuple[Statement, str]]:
    """The statements that have a line of their own, each as it reads in a notation."""
    writers, readers = program.writers, program.readers
    inlined = {
        s.target: apart(s, readers[s.target][0])
        for s in program.statements
        if s.operator == "+=" and program.table[s.target].role is Role.HELPER
        if len(writers[s.target]) == len(readers.get(s.target, ())) == 1
    }
    plain = notation(program.order, inlined)
    plain.stops = True
    lines, later, before = list[tuple[Statement, str]](), {s.target for s in program.statements}, None
    for s in (s for s in program.statements if s.target not in inlined):
        shapes = {t.name: t.shape for t in program.tensors if t.name not in later}  # known from earlier formulas
        formula = plain.definition(s) if len(writers[s.target]) == 1 else plain.statement(s)
        untold = untold_ranges(plain.written_in(s), shapes)
        lines.append((s, formula + plain.ranges(s, untold) + plain.aside(steps(s.scan, before))))
        later.discard(s.target)
        before = s.scan
    return lines


def folded(lines: Sequence[str]) -> list[str]:
    """Formulas, of equal layers or blocks of layers in a row the first alone, where there are three or more."""
    made, start = list[str](), 0
    while start < len(lines):
        found = ((period, repeats(lines[start:], period)) for period in range(1, (len(lines) - start) // 3 + 1))
        period, count = next((run for run in found if run[1] >= 3), (1, 1))
        made += lines[start : start + period]
        start += period * count
        if count > 1:
            last = lines[start - 1].partition("[")[0].partition(" ")[0]
            made.append(f"… likewise, {count} times in all, up to {last}")
    return made


def repeats(lines: Sequence[str], period: int) -> int:
    """How many times formulas stand there one after another, each time with the next number in their names."""
    count = 1
    while goes_on(lines[period * (count - 1) : period * count], lines[period * count : period * (count + 1)]):
        count += 1
    return count


def goes_on(lines: Sequence[str], others: Sequence[str]) -> bool:
    """Whether the second formulas are the first ones of the next number: what they read besides, the first define.

    So a reader of the first knows the second: `h2 = tanh(h1·W2)` after `h1 = tanh(x·W1)`, not after `h1 = tanh(x·V)`.
    """
    names, defined = renaming(lines, others), {NAME.findall(line)[0] for line in lines}
    if names is None:
        return False
    changed = [(old, new) for old, new in names.items() if old != new and new not in defined]
    pairs = [pair for old, new in changed for pair in zip(NUMBER.findall(old), NUMBER.findall(new), strict=False)]
    numbered = all(NUMBER.sub("#", old) == NUMBER.sub("#", new) for old, new in changed)
    return numbered and {int(new) - int(old) for old, new in pairs if old != new} <= {1}


def renaming(lines: Sequence[str], others: Sequence[str]) -> dict[str, str] | None:
    """The names by which formulas become others, each always the same one; None where it takes more than names."""
    before, after = "\n".join(lines), "\n".join(others)
    if NAME.sub("·", before) != NAME.sub("·", after):
        return None
    pairs = {*zip(NAME.findall(before), NAME.findall(after), strict=True)}
    one_to_one = len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    return dict(pairs) if one_to_one else None
