"""The cotangents of a reverse sweep, and the axes that each of them stores.

An output O with axes gives them to every cotangent: O_by_A[a, o] = ∂O[o]/∂A[a]. Often o alone says at which elements of
an axis of A that is not 0: row n of O reads row n of A, the row that a label of row n names, or A[0]. Such an axis is
determined: the cotangent does not store it, and nothing computes its zeros. An output of rank 0 determines nothing, so
that its cotangents have the shapes of their tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read, all_of, index_symbol, indices_of, reads_of, substitute
from derivgen.form.inside import inside
from derivgen.form.program import (
    Direction,
    Names,
    Program,
    Range,
    Role,
    Statement,
    Tensor,
    closure,
    differentiable_reads,
    is_plain_index,
    names_of,
    reached,
)

# The determined axes of a tensor, each with its subscript, made of the output's indices.
Pattern = tuple[tuple[int, sp.Expr], ...]
# The indices of each `max=` target's reduction → reads of where its maximum was.
Winners = Mapping[str, Mapping[sp.Symbol, Read]]

OF_PASS = {"forward": "", "tangent": "_tangent", "backward": "_bar"}
MANY = 8  # patterns of one tensor, beyond which it is stored whole


@dataclass(frozen=True, slots=True)
class Cotangent:
    """∂O/∂A at the elements of A that a pattern leaves open; `axes` are those of O."""

    tensor: Tensor
    of: str
    pattern: Pattern
    axes: tuple[Range, ...]

    @property
    def name(self) -> str:
        return self.tensor.name

    def at(self, subscripts: Sequence[sp.Expr]) -> Read:
        """The read of ∂O[o]/∂A[subscripts], for subscripts that agree with the pattern."""
        return Read(self.name, *stored(subscripts, self.pattern, [r.index for r in self.axes]))


def stored(parts: Sequence[sp.Expr], pattern: Pattern, own: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
    """The parts of the open axes in order, an index of O in the place of the axis that it determines, the rest last."""
    fixed, left, result = dict(pattern), list(own), []
    for axis, part in enumerate(parts):
        if axis not in fixed:
            result.append(part)
        elif fixed[axis] in left:
            result.append(fixed[axis])
            left.remove(fixed[axis])
    return (*result, *left)


class Cotangents:
    """The cotangents of one output by the active tensors, each made when the first statement needs it."""

    def __init__(self, program: Program, output: str, active: set[str], winners: Winners, bare: bool = True) -> None:
        """`bare`: cotangents are called `a_bar`, else by the output, as `p_by_a`."""
        self.program, self.output, self.active, self.bare = program, output, active, bare
        self.names = names_of(program)
        self.winners, self.order = winners, program.order
        self.behind = active & tensors_behind(program, output)
        self.axes = own_axes(program, output, self.names)
        self.patterns = self.found_patterns() if self.axes else {}
        self.made: dict[str, dict[Pattern, Cotangent]] = {}  # of each tensor, by pattern
        self.last: dict[str, Statement] = {}  # the last contribution to each

    @property
    def tensors(self) -> list[Tensor]:
        return [c.tensor for found in self.made.values() for c in found.values()]

    def by(self, tensor: str) -> list[Cotangent]:
        """The cotangents of a tensor so far, whose values add up."""
        return list(self.made.get(tensor, {}).values())

    def of(self, tensor: str, pattern: Pattern = ()) -> Cotangent:
        if pattern not in self.made.setdefault(tensor, {}):
            shape = self.program.tensor(tensor).shape
            indices = stored(shape, pattern, [r.index for r in self.axes])
            extents = {r.index: r.extent for r in self.axes}
            name = self.names.fresh(f"{tensor}_bar" if self.bare else f"{self.output}_by_{tensor}")
            own = Tensor(name, tuple(extents.get(i, i) for i in indices), Role.ADJOINT, of=tensor)
            self.made[tensor][pattern] = Cotangent(own, tensor, pattern, self.axes)
        return self.made[tensor][pattern]

    def receiving(self, read: Read) -> Cotangent:
        """The cotangent that a contribution at these subscripts goes to."""
        place = dict(self.determined(read))
        return self.of(read.tensor, next(p for p in self.patterns_of(read.tensor) if set(p) <= set(place.items())))

    def reached(self, s: Statement) -> list[Cotangent]:
        """The cotangents of a statement's target that get something: in a scan, also by what comes later here."""
        if s.scan is not None and s.target in self.behind:
            return [self.of(s.target, p) for p in self.patterns_of(s.target)]
        return self.by(s.target)

    def direction_of(self, s: Statement) -> Direction:
        """The direction of the adjoints of a statement: one comes before another where their statements come after."""
        if self.bare:
            return "backward"
        return f"{self.output}_through_{{}}{OF_PASS[s.direction]}"

    # ---- patterns

    def patterns_of(self, tensor: str) -> Sequence[Pattern]:
        return self.patterns.get(tensor, ()) if self.axes else [()]

    def found_patterns(self) -> dict[str, list[Pattern]]:
        """The patterns at which each tensor gets contributions."""
        whole = tuple(enumerate(r.index for r in self.axes)) if self.is_eligible_output() else ()
        found, before = {self.output: [tuple(whole)]}, None
        while found != before:  # once more than needed, and again for recurrences
            before = {name: list(patterns) for name, patterns in found.items()}
            for s in reversed(self.program.statements):
                for pattern in list(found.get(s.target, ())) if s.target in self.behind else ():
                    seen, at_winner = self.seen_from(s, pattern)
                    for read in differentiable_reads(seen, self.active):
                        place = self.determined(substitute(read, at_winner))
                        found[read.tensor] = with_pattern(found.get(read.tensor, []), place)
        return found

    def is_eligible_output(self) -> bool:
        rank = len(self.program.tensor(self.output).shape)
        return self.eligible(self.output) == set(range(rank))

    def eligible(self, tensor: str) -> set[int]:
        """The axes of a tensor along which each statement that has more to say of it has one whole index."""
        shape = self.program.tensor(tensor).shape
        axes = set(range(len(shape)))
        for s in self.program.statements:
            if s.target == tensor and s.smooth_sources & self.active:
                extents = {r.index: r.extent for r in s.domain if s.scan is None or r.index != s.scan.index}
                axes &= {
                    axis
                    for axis, i in enumerate(s.subscripts)
                    if is_plain_index(i) and extents.get(i) == shape[axis] and s.subscripts.count(i) == 1
                }
        return axes

    def determined(self, read: Read) -> Pattern:
        """The axes of a read that the output's indices determine, or that are read at one place only."""
        own = {r.index for r in self.axes}
        eligible = self.eligible(read.tensor) if own else set[int]()
        return tuple((axis, i) for axis, i in enumerate(read.subscripts) if axis in eligible and indices_of(i) <= own)

    def seen_from(self, s: Statement, pattern: Pattern) -> tuple[Statement, dict[sp.Symbol, Read]]:
        """The statement at the elements of its target that a pattern leaves open, with the indices of its maximum.

        What the output determines takes its value; other indices are named apart from those of the output.
        """
        at_winner = dict(self.winners.get(s.target, {}))
        if not self.axes:
            return s, at_winner
        own = [r.index for r in self.axes]
        values = {s.subscripts[axis]: value for axis, value in pattern}
        apart = Names([*(i.name for i in own), *(r.index.name for r in s.domain), *self.program.table])
        for r in s.domain:
            if r.index not in values and r.index in own:
                values[r.index] = index_symbol(apart.fresh(r.index.name))
        renamed = {i: new for i, new in values.items() if is_plain_index(new) and new not in own}
        domain = tuple(
            replace(r, index=renamed.get(r.index, r.index))
            for r in s.domain
            if r.index in renamed or r.index not in values
        )
        seen = s.at(values)
        guard = all_of(seen.guard, self.inside(s.target, pattern))
        seen = replace(seen, guard=guard, domain=(*domain, *self.axes))
        return seen, {values.get(i, i): substitute(read, values) for i, read in at_winner.items()}

    def inside(self, tensor: str, pattern: Pattern) -> Boolean:
        """The condition that the determined places of a tensor exist; elsewhere, guards make the derivatives 0."""
        shape = self.program.tensor(tensor).shape
        places = [(i, shape[axis]) for axis, i in pattern]
        for read in reads_of(*(i for _, i in pattern)):
            places += zip(read.subscripts, self.program.tensor(read.tensor).shape, strict=True)
        unsure = [(i, extent) for i, extent in places if not self.is_inside(i, extent)]
        return all_of(*(c for i, extent in unsure for c in (sp.Ge(i, 0), sp.Lt(i, extent))))

    def is_inside(self, subscript: sp.Expr, extent: sp.Expr) -> bool:
        """Whether a place on an axis needs no guard."""
        return inside(subscript, extent, (), self.axes, self.program.table)


def with_pattern(patterns: list[Pattern], new: Pattern) -> list[Pattern]:
    """The patterns with room for contributions at a new one; a pattern that leaves more open replaces the others."""
    if any(set(p) <= set(new) for p in patterns):
        return patterns
    kept = [*(p for p in patterns if not set(new) <= set(p)), new]
    if len(kept) > MANY:
        return [tuple(item for item in kept[0] if all(item in p for p in kept))]
    return kept


def own_axes(program: Program, output: str, names: Names) -> tuple[Range, ...]:
    """The output's axes, by the indices of the statement that defines it, where these are plain and no steps."""
    shape = program.tensor(output).shape
    subscripts = next((s.subscripts for s in reversed(program.statements) if s.target == output), ())
    steps = {s.scan.index for s in program.statements if s.scan is not None}
    plain = len(set(subscripts)) == len(shape) and all(is_plain_index(i) and i not in steps for i in subscripts)
    if not plain:
        subscripts = tuple(index_symbol(names.fresh("o")) for _ in shape)
    return tuple(Range(i, extent) for i, extent in zip(subscripts, shape, strict=True))


# ---- what is differentiated


def active_tensors(program: Program, wrt: Iterable[str]) -> set[str]:
    """The real tensors that depend on those of `wrt` smoothly."""
    return reached(wrt, program.statements, lambda s: smooth_sources(program, s))


def tensors_behind(program: Program, output: str) -> set[str]:
    """The real tensors that an output depends on smoothly, itself included."""
    return closure([output], program.statements, lambda s: smooth_sources(program, s))


def smooth_sources(program: Program, s: Statement) -> frozenset[str]:
    """The tensors that a real tensor gets its values from smoothly, in one statement."""
    return frozenset() if program.tensor(s.target).integer else s.smooth_sources
