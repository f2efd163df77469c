"""Recurrences of a model → statements of a scan.

What a member is at an earlier step is a tensor of its own, `h_previous[n,t,j]` (or `h_next`, backwards in time): the
value of that step, or the initial one. So all else in a step reads its tensors at the present index of time, a product
with weights is a product of whole tensors, and one statement alone knows of the shift. A sum over many earlier steps
reads the member itself, where each of them is proved to be earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy as sp
from sympy.tensor.indexed import Idx, Indexed

from derivgen.declare.declarations import Definition
from derivgen.declare.lowering import Lowering
from derivgen.declare.scope import Scope
from derivgen.errors import Refused
from derivgen.form.expressions import Read, indices_of, reads_of
from derivgen.form.inside import all_nonnegative
from derivgen.form.program import Role, Scan, Statement


@dataclass(frozen=True, slots=True)
class Time:
    """The spec's index of time, its axis in each member, and whether the last step comes first."""

    index: Idx
    axes: dict[str, int]
    reverse: bool


def define_recurrence(lowering: Lowering, members: Sequence[Definition]) -> None:
    """The statements of a recurrence; problems are noted at its line."""
    lowering.letters.choose(*members)
    scopes = {d.name: Scope(lowering.declare_let(d)[0]) for d in members}
    first = len(lowering.statements)
    try:
        time = time_of(members)
        steps = Steps(lowering, members, time, scopes)
        chunks = {d.name: steps.statements_of(d) for d in members}
        ordered = [s for name in steps.order() for s in chunks[name]]
        before = [s for d in members for s in steps.earlier_statements(d)]
        made = outside_where_needed([*before, *ordered])
        del lowering.statements[first:]
        lowering.statements += [s for s in made if s.scan is None] + [s for s in made if s.scan is not None]
    except Refused as refusal:
        lowering.model.problem(str(refusal), members[0].place)


def outside_where_needed(made: list[Statement]) -> list[Statement]:
    """The statements, those of the scan left out of it that something outside reads: a sum over all steps does."""
    needed: set[str] = set()
    for position, s in reversed(list(enumerate(made))):
        if s.scan is None or s.target in needed:
            made[position] = replace(s, scan=None)
            needed |= s.sources
    return made


class Steps:
    """The state of one recurrence's lowering: the earlier values that are read, and the reads within a step."""

    def __init__(self, lowering: Lowering, members: Sequence[Definition], time: Time, scopes: dict[str, Scope]) -> None:
        self.lowering, self.time, self.scopes = lowering, time, scopes
        self.members = {d.name: d for d in members}
        self.layer = members[0].name
        self.index = lowering.letters.index_of(time.index)
        self.scan = Scan(self.layer, self.index, time.reverse)
        self.earlier: dict[tuple[str, int], str] = {}  # (member, steps before) → the tensor of what it was then
        self.same_step: dict[str, list[str]] = {name: [] for name in self.members}

    def statements_of(self, d: Definition) -> list[Statement]:
        """A member's statements."""
        scope = self.scopes[d.name]
        start = len(self.lowering.statements)
        with self.lowering.inside(d.name, self.read):
            self.lowering.assign(d.name, d.expression, scope, tuple(scope.order))
        return self.in_scan(start)

    def in_scan(self, start: int) -> list[Statement]:
        """The statements that were made from this position on, in the scan if they have its index."""
        made = [replace(s, layer=self.layer) for s in self.lowering.statements[start:]]
        return [replace(s, scan=self.scan) if self.index in s.subscripts else s for s in made]

    def read(self, read: Read, scope: Scope) -> sp.Expr:
        """The read itself, or for a member one step or some steps before a read of the tensor of its earlier values."""
        if read.tensor not in self.members:
            return read
        axis = self.time.axes[read.tensor]
        shift = sp.expand(read.subscripts[axis] - self.index)
        back = shift if self.time.reverse else -shift
        if not back.is_Integer and self.is_before(back, scope):
            return read
        if not back.is_Integer or back < 0:
            raise self.refusal(read)
        if back == 0:
            self.same_step[self.lowering.layer].append(read.tensor)
            return read
        key = (read.tensor, int(back))
        if key not in self.earlier:
            name = self.lowering.names.fresh(f"{read.tensor}_{'next' if self.time.reverse else 'previous'}")
            self.earlier[key] = name
            self.lowering.tensors[name] = replace(self.lowering.tensors[read.tensor], name=name, role=Role.HELPER)
        subscripts = [*read.subscripts]
        subscripts[axis] = self.index
        return Read(self.earlier[key], *subscripts)

    def is_before(self, back: sp.Expr, scope: Scope) -> bool:
        """Whether what is read so many steps before the present one is proved to be at least one step before."""
        return all_nonnegative((back - 1,), scope.path, tuple(scope.ranges.values()), self.lowering.tensors)

    def refusal(self, read: Read) -> Refused:
        """Of a member that may be read at the present step, or at a later one."""
        subscript, sign = read.subscripts[self.time.axes[read.tensor]], "+" if self.time.reverse else "-"
        advice = ""
        if tables := reads_of(subscript):
            advice = f": let {tables[0].tensor} be a model.constant, of earlier steps wherever the value is read"
        elif indices_of(subscript) != {self.index}:
            advice = f": let the sum {'begin' if self.time.reverse else 'end'} at {self.index} {sign} 1"
        return Refused(
            f"{self.lowering.layer}: {read} is read at {subscript}: inside the recurrence {read.tensor} has its values "
            f"at {self.index}, {self.index} {sign} 1, {self.index} {sign} 2, … only{advice}"
        )

    def order(self) -> list[str]:
        """The members, each after those whose values of the same step it reads."""
        done: list[str] = []
        while len(done) < len(self.members):
            ready = [n for n in self.members if n not in done and set(self.same_step[n]) <= set(done)]
            if not ready:
                stuck = " and ".join(n for n in self.members if n not in done)
                own = "its own value" if " and " not in stuck else "each other's values"
                raise Refused(f"{self.layer}: {stuck} would need {own} of the same step: read an earlier step")
            done += ready
        return done

    # ---- before the first step

    def earlier_statements(self, d: Definition) -> list[Statement]:
        """The statements of a member's values one, two, … steps before, as far as these are read."""
        backs = sorted(back for name, back in self.earlier if name == d.name)
        start = len(self.lowering.statements)
        if backs and not d.initial:
            raise Refused(f"{d.name} is read at an earlier step, but its initial value is None: give the value before")
        if backs and len(d.initial) not in (1, *range(backs[-1], backs[-1] + 1)):
            needed = "1 step back, which needs 1 initial value"
            if backs[-1] > 1:
                needed = f"{backs[-1]} steps back, which needs 1 or {backs[-1]} initial values"
            raise Refused(f"{d.name} is read {needed}, found {len(d.initial)}")
        with self.lowering.inside(d.name):
            for back in backs:
                self.emit_earlier(d, back)
        return self.in_scan(start)

    def emit_earlier(self, d: Definition, back: int) -> None:
        scope = self.scopes[d.name]
        subscripts = [r.index for r in scope.ranges.values()]
        extent = scope.ranges[self.time.index].extent
        done = extent - 1 - self.index if self.time.reverse else self.index  # steps before this one
        source = [*subscripts]
        source[self.time.axes[d.name]] += back if self.time.reverse else -back
        others = Scope({i: r for i, r in scope.ranges.items() if i != self.time.index})
        starts = [self.lowering.body(self.lowering.convert(e, others)) for e in d.initial]
        if len(starts) == 1:
            starts *= back
        pieces = [(Read(d.name, *source), done >= back)]
        pieces += [(starts[k - 1], sp.Eq(done, back - k)) for k in range(1, back) if len(set(starts[:back])) > 1]
        value = sp.Piecewise(*pieces, (starts[back - 1], True))
        domain = tuple(scope.ranges.values())
        self.lowering.emit(Statement(self.earlier[d.name, back], tuple(subscripts), "=", value, domain))


# ---- time


def time_of(members: Sequence[Definition]) -> Time:
    """The index that is shifted wherever an earlier value is read, or along which sums run over earlier ones."""
    named = {d.name: d for d in members}
    found = [
        shifts_of(e, named[e.base.name])
        for d in members
        for e in sorted(d.expression.atoms(Indexed), key=str)
        if e.base.name in named
    ]
    layer = members[0].name
    shifted = [own for shifts in found if (own := {i: s for i, s in shifts.items() if s.is_Integer})]
    earlier = shifted or [shifts for shifts in found if shifts]
    common = [i for i in members[0].indices if all(i in shifts for shifts in earlier)]
    if not earlier:
        raise Refused(
            f"{layer} reads no value of an earlier step, as {layer}[…, t - 1, …] would: define it by model.let"
        )
    if not common:
        raise Refused(
            f"{layer}: earlier values are read along different axes: a recurrence runs along one index. In a table "
            f"of indices i and j, let it run along k = i + j: {layer}[k, i] instead of {layer}[i, j]"
        )
    time = common[0]
    signs = {bool(shifts[time] > 0) for shifts in shifted}
    if len(signs) > 1:
        raise Refused(
            f"{layer} is read at earlier and at later {time}: a recurrence runs one way, with all shifts of one sign"
        )
    for d in members:
        if time not in d.indices:
            raise Refused(f"{layer}: {d.name} does not have the index {time}, along which the recurrence runs")
    reverse = signs.pop() if signs else any(is_after(shifts[time], members) for shifts in earlier)
    return Time(time, {d.name: d.indices.index(time) for d in members}, reverse)


def shifts_of(e: Indexed, d: Definition) -> dict[Idx, sp.Expr]:
    """The indices that a member is read at with an integer added, or at places that a sum's index or a table tells."""
    shifts = {}
    for subscript, own in zip(e.indices, d.indices, strict=False):
        shift = sp.expand(subscript - own)
        if shift != 0 and (shift.is_Integer or shift.has(Indexed) or shift.atoms(Idx) - {*d.indices}):
            shifts[own] = shift
    return shifts


def is_after(shift: sp.Expr, members: Sequence[Definition]) -> bool:
    """Whether a shift is at least 1 where the indices of sums are at their first values, or at their last ones."""
    limits = (limit for d in members for total in d.expression.atoms(sp.Sum) for limit in total.limits)
    ends = {index: (lower, upper) for index, lower, upper in limits if shift.has(index)}
    least = shift.subs({i: lower if shift.coeff(i) > 0 else upper for i, (lower, upper) in ends.items()})
    return bool(sp.expand(least) >= 1) if sp.expand(least).is_Integer else False
