"""Statements over the same rows are computed together, whatever lets they belong to, forward and backward.

A spec names its intermediate values, and each name is a layer with kernels of its own. Where a row's values depend on
that row alone, one loop over the rows computes them one after another, and then their adjoints: what only lives there
is a local, and what several of them read is read once.

    r[b] = …; e[b] = …r[b]…; loss += e[b]²; e_bar[b] = …; r_bar[b] = …e_bar[b]…   →  one kernel, named after e
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from derivgen.arrange.contractions import match_contraction
from derivgen.form.expressions import TRUE, guarded
from derivgen.form.program import TOGETHER, Direction, Program, Range, Statement
from derivgen.rewrite.calls import calls_in
from derivgen.rewrite.conditions import bounds_innermost
from derivgen.rewrite.factored import factored

Group = tuple[str, Direction]

SMALL, FEW = 16, 4  # elements along one other axis: of what a row sums up or adds, and of what it has itself


@dataclass
class Unit:
    """Statements that stay together, in their order. `rows`: how many rows they go over, None for what is no such."""

    statements: list[Statement]
    rows: tuple[sp.Expr, ...] | None
    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)  # written by += alone

    def __post_init__(self) -> None:
        for s in self.statements:
            self.take(s)

    def take(self, s: Statement) -> None:
        adds = s.operator == "+=" and (s.target not in self.written or s.target in self.added)
        self.written.add(s.target)
        self.added = self.added | {s.target} if adds else self.added - {s.target}
        self.read |= s.sources

    def commutes_with(self, other: Unit) -> bool:
        """Whether either may come first."""
        both = self.written & other.written
        return both <= self.added & other.added and not (self.written & other.read or self.read & other.written)

    def join(self, other: Unit) -> None:
        self.statements += other.statements
        for s in other.statements:
            self.take(s)


def rows_together(program: Program, statements: Sequence[Statement]) -> tuple[list[Statement], set[Group]]:
    """The statements in an order in which those over the same rows stand together, and the groups that these are.

    What gains nothing by it stays where it is.
    """
    apart: set[Statement] = set()
    while True:
        units = joined(program, statements, apart)
        labels = labels_of(program, units)
        kept = (unit.statements for k, unit in enumerate(units) if len(unit.statements) > 1 and k not in labels)
        left = {s for own in kept for s in own} - apart
        if not left:
            break
        apart |= left
    if not labels:
        return list(statements), set()
    found: list[Statement] = []
    for k, unit in enumerate(units):
        if k in labels:
            own = {name for name in unit.written if not is_needed_elsewhere(program, name, unit, units)}
            whole = one_sum_a_place(with_branches(program, unit.statements, own))
            layer, direction = labels[k]
            found += [replace(s, layer=layer, direction=direction) for s in whole]
        else:
            found += [with_reader(s, units, labels) for s in unit.statements]
    return found, {*labels.values()}


def with_reader(s: Statement, units: Sequence[Unit], labels: Mapping[int, Group]) -> Statement:
    """A single number beside the rows of its own layer that read it, or the layer would come before them and after."""
    own = (label for k, label in labels.items() if label[0] == s.layer and s.target in units[k].read)
    label = next(own, None) if not s.domain else None
    return s if label is None else replace(s, direction=label[1])


def joined(program: Program, statements: Sequence[Statement], apart: Container[Statement]) -> list[Unit]:
    """Units in an order of execution: each statement over rows, but those apart, with the others over the same rows.

    Not by pairs of indices where the layer has a product of matrices: its other kernels are few, and stand beside it.
    """
    units: list[Unit] = []
    layers = {s.layer for s in statements if match_contraction(program.table, s) is not None}
    for s in statements:
        rows = None if s in apart else rows_of(program, s)
        unit = Unit([s], None if rows is not None and len(rows) > 1 and s.layer in layers else rows)
        host = host_of(units, unit) if unit.rows is not None else None
        if host is None and unit.rows is not None and s.reduced and s.layer not in layers:
            pairs = Unit([s], tuple(r.extent for r in rows_in(s, FEW)))
            host = host_of(units, pairs)
        if host is None:
            units.insert(earliest(units, unit) if not s.domain else len(units), unit)
        else:
            host.join(unit)
    return units


def earliest(units: Sequence[Unit], unit: Unit) -> int:
    """The first place of a single number, before which all that comes after it may wait for it, but no steps."""
    place = len(units)
    while place and units[place - 1].statements[-1].scan is None and units[place - 1].commutes_with(unit):
        place -= 1
    return place


def labels_of(program: Program, units: Sequence[Unit]) -> dict[int, Group]:
    """The groups of the units that gain by being one, by position."""
    gaining = [k for k, unit in enumerate(units) if gains(program, unit, units)]
    taken = {group(s) for k, unit in enumerate(units) if k not in gaining for s in unit.statements}
    labels: dict[int, Group] = {}
    for k in gaining:
        label = label_of(program, units[k], taken)
        if label is not None:
            labels[k] = label
            taken.add(label)
    return labels


def gains(program: Program, unit: Unit, units: Sequence[Unit]) -> bool:
    """Whether one group hands something to another one that is needed nowhere else, or both make the same calls."""
    if unit.rows is None or len({group(s) for s in unit.statements}) == 1:
        return False
    handed = (name for name in unit.written & unit.read if not is_needed_elsewhere(program, name, unit, units))
    if any(len({group(s) for s in unit.statements if name in (s.target, *s.sources)}) > 1 for name in handed):
        return True
    makers: dict[sp.Expr, set[Group]] = {}
    for s in unit.statements:
        for part in parts_of_calls(s):
            makers.setdefault(part, set()).add(group(s))
    return any(len(groups) > 1 for groups in makers.values())


def parts_of_calls(s: Statement) -> set[sp.Expr]:
    """What the calls of a statement compute: themselves, of a sine and a cosine the turns of their angle."""
    return {call.args[0] if isinstance(call, sp.sin | sp.cos) else call for call in calls_in(s)}


def is_needed_elsewhere(program: Program, name: str, unit: Unit, units: Sequence[Unit]) -> bool:
    return name in program.outputs or any(name in (*u.read, *u.written) for u in units if u is not unit)


def group(s: Statement) -> Group:
    return s.layer, s.direction


def rows_of(program: Program, s: Statement) -> tuple[sp.Expr, ...] | None:
    """How many rows a statement goes over, or rows of pairs, if it takes little work at each of them."""
    if s.scan is not None or s.operator not in ("=", "+=") or not s.domain:
        return None
    if match_contraction(program.table, s) is not None:
        return None
    rows = rows_in(s)
    others = [r for r in s.domain if r not in rows]
    own = all(r.index in s.subscripts for r in rows) and len(s.subscripts) > len(rows)
    small = all(is_at_most(r, FEW if own else SMALL) for r in others)
    return tuple(r.extent for r in rows) if len(others) < 2 and small else None


def rows_in(s: Statement, few: int | None = None) -> tuple[Range, ...]:
    """The one or two ranges that have more than a few elements; the first one where none has."""
    by_point = {r.index for r in s.domain} <= {*s.subscripts}
    limit = few or (FEW if by_point else SMALL)
    return tuple(r for r in s.domain if not is_at_most(r, limit))[:2] or s.domain[:1]


def rows_like(s: Statement, rows: Sequence[sp.Expr]) -> tuple[Range, ...]:
    """The ranges of a statement that are a unit's rows: a sum over rows may go over their pairs with others, too."""
    own = rows_in(s)
    return own if len(own) == len(rows) else rows_in(s, FEW)


def is_at_most(r: Range, count: int) -> bool:
    return bool(r.extent.is_Integer) and r.extent <= count


def host_of(units: Sequence[Unit], unit: Unit) -> Unit | None:
    """The latest unit over the same rows that may take the statements of another one, past all after it."""
    for other in reversed(units):
        if other.rows == unit.rows and all(stays_in_row(other, s) for s in unit.statements):
            return other
        if not other.commutes_with(unit):
            return None
    return None


def stays_in_row(unit: Unit, s: Statement) -> bool:
    """Whether a statement reads what those of a unit write at its own row alone."""
    sources, rows = s.sources, unit.rows or ()
    for t in (t for t in unit.statements if t.target in sources):
        reads = [r for r in s.reads if r.tensor == t.target]
        for there, here in zip(rows_like(t, rows), rows_like(s, rows), strict=True):
            axes = {axis for axis, i in enumerate(t.subscripts) if i == there.index}
            if not any(all(r.subscripts[axis] == here.index for r in reads) for axis in axes):
                return False
    return True


def label_of(program: Program, unit: Unit, taken: Container[Group]) -> Group | None:
    """The name of a unit's kernel, its last let's if it has one; TOGETHER if some statements of it go backward."""
    directions = dict.fromkeys(s.direction for s in unit.statements)
    forward = directions.keys() <= {"forward", "tangent"}
    direction = TOGETHER if len(directions) > 1 and not forward else [*directions][-1]
    own = [s.layer for s in unit.statements if s.direction == "forward"]
    layers = reversed(own) if own else (s.layer for s in unit.statements)
    lets = sorted(dict.fromkeys(layers), key=lambda layer: layer == program.objective)
    return next(((layer, direction) for layer in lets if (layer, direction) not in taken), None)


def with_branches(program: Program, statements: Sequence[Statement], own: Container[str]) -> list[Statement]:
    """What is set or added under a guard that bounds no loop, and needed in its own row alone, is 0 elsewhere.

    `a_bar[n] += f(n) if c[n]` → `a_bar[n] += (f(n) if c[n] else 0)`
    """
    written, found = set[str](), list[Statement]()
    for s in statements:
        whole = s.target in own and s.covers(program.tensor(s.target).shape, guarded=True) and not s.reduced
        if whole and s.guard != TRUE and not bounds_innermost(s):
            operator = s.operator if s.target in written else "="
            s = replace(s, operator=operator, expression=guarded(s.expression, s.guard), guard=TRUE)
        written.add(s.target)
        found.append(s)
    return found


def one_sum_a_place(statements: Sequence[Statement]) -> list[Statement]:
    """What a row adds to one element is added at once, by the last statement that does so, common factors outside.

    A statement that assigns stays before all that adds to other elements of its target.
    """
    found, joined = list[Statement](), set[str]()
    for s in statements:
        place = (s.target, s.subscripts, s.domain, s.guard)
        own = [t for t in found if t.target == s.target]
        earlier = next((t for t in reversed(own) if (t.target, t.subscripts, t.domain, t.guard) == place), None)
        if earlier is not None and s.operator == "+=" and (earlier.operator == "+=" or earlier is own[-1]):
            found = [t for t in found if t is not earlier]
            s = replace(s, operator=earlier.operator, expression=earlier.expression + s.expression)
            joined.add(s.target)
        found.append(s)
    return [replace(s, expression=factored(s.expression)) if s.target in joined else s for s in found]
