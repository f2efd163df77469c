"""Program → Program without `partial`: each becomes a read of a tangent, made by the forward rule.

    z1_by_x[n,d,h]  +=  W1[d,h]            a1_by_x[n,d,h]  =  (1 - a1[n,h]²)·z1_by_x[n,d,h]

A tangent stands beside its tensor, and so right after each statement that writes it:

    target_by_x[g(d), e]  ⊕=  Σ over the reads of f  ∂f/∂A[h(d)] · A_by_x[h(d), e]

Along each axis of x it is by the element at an axis of its own (rows), by a fixed one (`a1_by_x0`), or by each, which
is one more axis e, before the last of its own. Where the tensor that is read keeps that axis of x apart, as x itself
does, the factor is δ: the read x[n,d] adds ∂f/∂x to `target_by_x[…, d]`, without a loop over e. Conditions, maxima,
kinks and recurrences go the way of `differentiate`. A higher derivative is the same rule on the tangents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from derivgen.derive.dependence import Dependence, dependence, local_derivatives
from derivgen.derive.differentiate import assuming, with_winners
from derivgen.errors import Refused
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    TRUE,
    Read,
    all_of,
    guarded,
    index_symbol,
    indicator,
    indices_of,
    product,
    reads_of,
    replace_reads,
    split_guard,
    substitute,
)
from derivgen.form.functions import partial
from derivgen.form.notation import Plain
from derivgen.form.program import (
    Direction,
    Program,
    Range,
    Role,
    Statement,
    Tensor,
    closure,
    is_plain_index,
    names_of,
    partials_in,
)

DIRECTION: Direction = "tangent"  # kernels of their own, which a prediction of u has no need of


@as_written()
def with_tangents(program: Program) -> Program:
    """Each partial derivative is a read of a tangent, whose statements the forward rule gives.

    `a[n] = x[n]²` and `z[n] = ∂a[n]/∂x[n]` → `a[n] = x[n]²`, `a_by_x[n] = 2·x[n]` and `z[n] = a_by_x[n]`
    """
    if not any(partials_in(s) for s in program.statements):
        return program
    return check_program(Tangents(program).extended().live(program.outputs))


@dataclass(eq=False, slots=True)
class Line:
    """A statement, and the statements of its target's tangents."""

    statement: Statement
    tangents: list[Line] = field(default_factory=list)

    def all(self) -> Iterator[Line]:
        yield self
        for line in self.tangents:
            yield from line.all()


@dataclass(frozen=True, slots=True)
class Along:
    """By which elements along one axis of x a tangent is: at its tensor's own axis, at a fixed place, or each."""

    axis: int | None = None
    place: int | None = None
    apart: bool = False  # the tensor comes from no other element along this axis of x

    @property
    def each(self) -> bool:
        return self.axis is None and self.place is None


class Tangents:
    """The state of the stage: the lines so far, and the tangents made."""

    def __init__(self, program: Program) -> None:
        self.names = names_of(program)
        self.program, self.winners = with_winners(program, self.names)
        self.order = program.order
        self.tensors = dict(self.program.table)
        self.integer = frozenset(t.name for t in self.program.tensors if t.integer)
        self.lines = [Line(s) for s in self.program.statements]
        self.before: list[Line] = []  # lines without partial derivatives
        self.made: dict[tuple[str, str, tuple[Along, ...]], str] = {}
        self.variable: dict[str, str] = {}  # of each tangent: the tensor by which it is
        self.zero: set[str] = set()
        self.letters: dict[tuple[str, int], list[sp.Symbol]] = {}  # indices of the added axes, by x and its axis
        self.sources = Dependence(frozenset(), ())
        for line in self.lines:
            s = line.statement
            found = {e: self.value(e) for e in partials_in(s)}
            line.statement = replace(s, expression=substitute(s.expression, found), guard=substitute(s.guard, found))
            self.before.append(line)

    @property
    def written(self) -> list[Line]:
        return [line for root in self.before for line in root.all()]

    def extended(self) -> Program:
        """The program with its tangents, in the order in which they are written."""
        statements = [line.statement for root in self.lines for line in root.all()]
        known = self.program.table
        added = dict.fromkeys(s.target for s in statements if s.target not in known)
        return self.program.with_statements(statements, [self.tensors[name] for name in added])

    # ---- what is asked for

    def value(self, e: partial) -> sp.Expr:
        """The derivative as an expression in tangents; raises Refused where rows mix."""
        value, *variables = e.args
        for x in variables:
            read, condition = split_guard(value)
            value = guarded(self.by(read, x), condition) if isinstance(read, Read) else sp.Integer(0)
        return value

    def by(self, read: Read, x: Read) -> sp.Expr:
        """∂read/∂x."""
        shape = self.tensors[x.tensor].shape
        statements = [line.statement for line in self.written]
        self.sources = dependence(x.tensor, len(shape), statements, self.integer)
        self.check_order(read, x, statements)
        for axis, subscript in enumerate(x.subscripts):
            if is_plain_index(subscript):
                letters = self.letters.setdefault((x.tensor, axis), [])
                letters += [] if subscript in letters else [subscript]
                if subscript in read.subscripts and not shape[axis].is_Integer:
                    self.check_rows(read, x, axis)
        factor, equal = self.factor(read, x.tensor, x.subscripts)
        self.forget_zeros()
        if factor == 0 or (isinstance(factor, Read) and factor.tensor in self.zero):
            return sp.Integer(0)
        return product(factor, indicator(all_of(*(sp.Eq(a, b) for a, b in equal))))

    def check_order(self, read: Read, x: Read, statements: list[Statement]) -> None:
        """Refuse a derivative with respect to x of one with respect to a source of x, since varying that varies x."""
        behind, origins = (closure([name], statements, lambda s: s.sources) for name in (read.tensor, x.tensor))
        passed = [name for name in self.variable if name in behind & self.sources.reached]
        wrong = next((name for name in passed if self.variable[name] in origins - {x.tensor}), None)
        if wrong is not None:
            raise Refused(
                f"{x.tensor} depends on {self.variable[wrong]}, so a derivative with respect to "
                f"{self.variable[wrong]} cannot be differentiated with respect to {x.tensor}: take the derivative with "
                f"respect to {x.tensor} first"
            )

    def check_rows(self, read: Read, x: Read, axis: int) -> None:
        """Refuse a run-time axis along which the tensor comes from other elements of x than its own."""
        apart, row = self.sources.apart[axis], x.subscripts[axis]
        if read.tensor not in apart or any(read.subscripts[a] == row for a in apart[read.tensor]):
            return
        mixing = next((s for s in (line.statement for line in self.written) if not apart.get(s.target, True)), None)
        plain = Plain(self.order)
        what = f", but {plain.statement(mixing)} mixes them" if mixing is not None else ""
        raise Refused(
            f"the derivative of {plain.expression(read)} with respect to {plain.expression(x)} is taken in each row "
            f"{row} separately{what}: differentiate a let whose row {row} depends on row {row} of {x.tensor} alone"
        )

    def factor(self, read: Read, x: str, at: Sequence[sp.Expr]) -> tuple[sp.Expr, list[tuple[sp.Expr, sp.Expr]]]:
        """(∂read/∂x[at] where the pairs are equal: a read of a tangent, 1 or 0; the pairs)"""
        if read.tensor == x:
            return sp.Integer(1), list(zip(read.subscripts, at, strict=True))
        if read.tensor not in self.sources.reached:
            return sp.Integer(0), []
        ways, added, equal = [], [], []
        for axis, place in enumerate(at):
            own = self.sources.apart[axis].get(read.tensor, ())
            same = [a for a, subscript in enumerate(read.subscripts) if subscript == place and is_plain_index(place)]
            if own:
                kept = next((a for a in own if a in same), own[0])
                ways.append(Along(axis=kept, apart=True))
                equal.append((read.subscripts[kept], place))
            elif place.is_Integer:
                ways.append(Along(place=int(place)))
            elif same:
                ways.append(Along(axis=same[0]))
            else:
                ways.append(Along())
                added.append(place)
        name = self.tangent(read.tensor, x, tuple(ways))
        return sp.Integer(0) if name in self.zero else Read(name, *before_last(read.subscripts, added)), equal

    # ---- tangents

    def tangent(self, tensor: str, x: str, ways: tuple[Along, ...]) -> str:
        """The name of a tensor's tangent by x; its statements are made when it is asked for the first time."""
        key = (tensor, x, ways)
        if key not in self.made:
            of = self.tensors[tensor]
            each = tuple(e for e, way in zip(self.tensors[x].shape, ways, strict=True) if way.each)
            name = self.made[key] = self.names.fresh(f"{tensor}_by_{label(x, ways)}")
            self.variable[name] = x
            self.tensors[name] = Tensor(name, before_last(of.shape, each), Role.ADJOINT, of=of.of or tensor)
            found = [
                (line, self.rule(line.statement, name, x, ways))
                for line in self.written
                if line.statement.target == tensor
            ]
            assigns = all(made and all(s.operator != "+=" for s in made) for _, made in found)
            for line, made in found:
                line.tangents += [Line(s if assigns else replace(s, operator="+=")) for s in made]
        return self.made[key]

    def rule(self, s: Statement, name: str, x: str, ways: tuple[Along, ...]) -> list[Statement]:
        """The forward rule on one statement: one for the terms at all of its points, and one for each other term."""
        at_winner = self.winners.get(s.target, {})
        loops = self.loops(s, x, ways)
        at, added = [], []
        for axis, way in enumerate(ways):
            own = s.subscripts[way.axis] if way.axis is not None else sp.sympify(way.place)
            at.append(loops[axis].index if way.each else own)
            added += [loops[axis].index] if way.each else []
        tangent = replace(
            s,
            target=name,
            subscripts=before_last(s.subscripts, added),
            operator="=" if s.operator in ("=", "max=") and s.guard == TRUE else "+=",
            domain=(*(r for r in s.domain if r.index not in at_winner), *loops.values()),
            guard=substitute(s.guard, at_winner),
            direction=DIRECTION,
        )
        terms, parts = [], []
        for found in local_derivatives(s):
            read, where, local = (substitute(e, at_winner) for e in found)
            factor, equal = self.factor(read, x, at)
            if factor == 0:
                continue
            term = guarded(assuming(product(local, factor), where), where)
            part = restricted(replace(tangent, expression=term), equal, [r.index for r in loops.values()])
            if part is not None and (part.domain, part.guard) == (tangent.domain, tangent.guard):
                terms.append(term)
            elif part is not None:
                parts.append(replace(part, operator="+="))
        return [*([replace(tangent, expression=sp.Add(*terms))] if terms else []), *parts]

    def loops(self, s: Statement, x: str, ways: tuple[Along, ...]) -> dict[int, Range]:
        """The index of each added axis, by the axis of x: the one asked for, where the statement has it not already."""
        taken = {r.index for r in s.domain}
        loops: dict[int, Range] = {}
        for axis, way in enumerate(ways):
            if way.each:
                letters = self.letters[x, axis]
                free = [letter for letter in letters if letter not in taken]
                if not free:
                    free = [index_symbol(self.names.fresh(letters[0].name))]
                    letters += free
                taken.add(free[0])
                loops[axis] = Range(free[0], self.tensors[x].shape[axis])
        return loops

    def forget_zeros(self) -> None:
        """A tangent of which every statement is 0 is 0 wherever it is read, and goes."""
        while new := self.made_of_zeros():
            self.zero |= new
            for line in self.written:
                line.tangents = [t for t in line.tangents if t.statement.target not in new]
                for t in line.tangents:
                    e = replace_reads(
                        t.statement.expression, lambda read: sp.Integer(0) if read.tensor in new else read
                    )
                    t.statement = replace(t.statement, expression=e)

    def made_of_zeros(self) -> set[str]:
        nonzero = {line.statement.target for line in self.written if line.statement.expression != 0}
        return {*self.made.values()} - nonzero - self.zero


def before_last(own: Sequence[sp.Expr], added: Sequence[sp.Expr]) -> tuple[sp.Expr, ...]:
    """The subscripts of a tangent: a product with weights along the last axis then is one of two matrices."""
    return (*own[:-1], *added, *own[-1:])


def label(x: str, ways: Iterable[Along]) -> str:
    """`x`; `x0` by its element 0; `same_x` by the element at the tensor's own index where others matter too."""
    places = "_".join(str(way.place) for way in ways if way.place is not None)
    same = any(way.axis is not None and not way.apart for way in ways)
    return f"{'same_' if same else ''}{x}{places}"


# ---- δ


def restricted(s: Statement, equal: Iterable[tuple[sp.Expr, sp.Expr]], first: Sequence[sp.Symbol]) -> Statement | None:
    """The statement where these pairs are equal: an index takes the other's place, those of `first` before all.

    What no index can take is a guard, with the condition of the value, which may keep what is read there inside its
    tensor. None where a pair is never equal.
    """
    place: dict[sp.Symbol, sp.Expr] = {}
    for pair in equal:
        a, b = (sp.expand(substitute(e, place)) for e in pair)
        if sp.expand(a - b).is_Integer and a != b:
            return None
        index, other = taking(s, a, b, first)
        if a != b and index is not None:
            place = {i: substitute(e, {index: other}) for i, e in place.items()} | {index: other}
            s = s.at({index: other})
        elif a != b:
            value, condition = split_guard(s.expression) if reads_of(a, b) else (s.expression, TRUE)
            s = replace(s, expression=value, guard=all_of(s.guard, condition, sp.Eq(a, b)))
    return None if s.guard == sp.false else s


def taking(s: Statement, a: sp.Expr, b: sp.Expr, first: Sequence[sp.Symbol]) -> tuple[sp.Symbol | None, sp.Expr]:
    """(an index of the domain that may take the place of the other side, that other side), or (None, …)."""
    extents = {r.index: r.extent for r in s.domain}
    step = None if s.scan is None else s.scan.index
    reduced = {r.index for r in s.reduced}
    sides = [(i, other) for i, other in ((a, b), (b, a)) if i in extents and i != step and i not in indices_of(other)]
    for index, other in sorted(sides, key=lambda side: (side[0] not in first, side[0] not in reduced)):
        last = other if other.is_Integer else extents[other] - 1 if other in extents else sp.oo
        if index in first or (extents[index] - 1 - last).is_nonnegative:
            return index, other
    return None, b
