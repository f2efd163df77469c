"""Program → Program with its derivatives, by one rule applied to each statement.

Reverse, from the last statement to the first, D unchanged:

    for every read A[h(d)] in f:     A_bar[h(d)]  +=  target_bar[g(d)] · ∂f/∂A[h(d)]

Forward, beside each statement:

    target_dot[g(d)]  ⊕=  Σ over the reads of f  ∂f/∂A[h(d)] · A_dot[h(d)]

Both give statements of the same form, so they apply to their own results. The condition under which f evaluates a read
goes with the read: where it fails nothing is added. `max=` takes the rule on f at the first maximum, whose indices an
`argmax=` statement beside it holds. The adjoint of a scan is the scan of its statements' adjoints, the other way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.derive.cotangents import Cotangent, Cotangents, Winners, active_tensors
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, all_of, index_symbol, negation, parts_of, product, substitute
from derivgen.form.functions import derivative
from derivgen.form.program import (
    Names,
    Origin,
    Program,
    Range,
    Role,
    Statement,
    Tensor,
    differentiable_reads,
    names_of,
)
from derivgen.stages import reached


@as_written()
def adjoint(program: Program, wrt: Sequence[str] | None = None, objective: str | None = None) -> Program:
    """The program followed by the adjoint statements of a rank-0 output with respect to the tensors `wrt`.

    These are the parameters if omitted.

    `loss += Σ_n a[n]²` → `loss += Σ_n a[n]²` and `a_bar[n] += 2·a[n]·loss_bar`
    """
    wrt = [p.name for p in program.parameters] if wrt is None else list(wrt)
    objective = objective or program.objective
    if objective is None:
        raise ValueError("the program has no objective to differentiate")
    extended, bars = reverse_sweep(program, objective, wrt)
    gradients = tuple((name, bars.of(name).name) for name in wrt)
    tensors = [t for t in bars.tensors if t.name not in extended.table]
    return check_program(replace(extended.with_statements(extended.statements, tensors), gradients=gradients))


@as_written()
def reverse_sweep(program: Program, output: str, wrt: Sequence[str], bare: bool = True) -> tuple[Program, Cotangents]:
    """The program followed by the cotangents of an output of any rank by the tensors `wrt` and all between."""
    bars = cotangents(program, output, wrt, bare)
    reverse = [*seeds(bars), *(made for _, adjoints in adjoints_of(bars) for made in adjoints)]
    program = bars.program
    return check_program(program.with_statements([*program.statements, *reverse], bars.tensors)), bars


def cotangents(program: Program, output: str, wrt: Sequence[str], bare: bool = True) -> Cotangents:
    """The cotangents of an output, none of them made yet."""
    program, winners = with_winners(program, names_of(program))
    return Cotangents(program, output, active_tensors(program, wrt), winners, bare)


def adjoints_of(bars: Cotangents) -> Iterator[tuple[Statement, list[Statement]]]:
    """Each statement that the output depends on with its adjoints, from the last to the first."""
    for s in reversed(bars.program.statements):
        if found := bars.reached(s):
            reached("differentiate", s.layer)
            yield s, [made for bar in found for made in adjoint_statements(s, bar, bars)]


def seeds(bars: Cotangents) -> list[Statement]:
    """∂O[o]/∂O[o] = 1"""
    if bars.output not in bars.active:
        return []
    last = next(s for s in reversed(bars.program.statements) if s.target == bars.output)
    write = bars.receiving(Read(bars.output, *(r.index for r in bars.axes))).at([r.index for r in bars.axes])
    one = replace(last, target=write.tensor, subscripts=write.subscripts, expression=sp.Integer(1), domain=bars.axes)
    return [replace(one, operator="+=", guard=sp.true, direction=bars.direction_of(last), scan=None)]


def adjoint_statements(s: Statement, cotangent: Cotangent, bars: Cotangents) -> list[Statement]:
    """The reverse rule on a statement and a cotangent of its target: an accumulation for each distinct active read."""
    made = []
    own = tuple(r.index for r in s.domain)
    s, at_winner = bars.seen_from(s, cotangent.pattern)
    bar = cotangent.at(s.subscripts)
    # Reads at the statement's own indices come first: their adjoint is then a value that the others can read. The rest
    # follow the order of declaration: SymPy's order of arguments hangs on names, and would tell equal layers apart.
    reads = sorted(
        differentiable_reads(s, bars.active).items(),
        key=lambda item: (item[0].subscripts != own, bars.order[item[0].tensor]),
    )
    for read, condition in reads:
        local = derivative(s.expression, read)
        guard = all_of(s.guard, condition)
        if local == 0 or guard == sp.false:
            continue
        origin = Origin(s, (read,), tuple(at_winner.items()))
        read, local, guard = (substitute(e, at_winner) for e in (read, local, guard))
        write = bars.receiving(read).at(read.subscripts)
        bars.last[write.tensor] = Statement(
            target=write.tensor,
            subscripts=write.subscripts,
            operator="+=",
            expression=product(bar, assuming(local, guard)),
            domain=tuple(r for r in s.domain if r.index not in at_winner),
            guard=guard,
            layer=s.layer,
            direction=bars.direction_of(s),
            scan=None if s.scan is None else replace(s.scan, reverse=not s.scan.reverse),
            origin=origin,
        )
        made.append(bars.last[write.tensor])
    return made


def assuming(expression: sp.Expr, guard: sp.Basic) -> sp.Expr:
    """The expression with the branches decided that the guard decides."""
    if guard == sp.true:
        return expression
    held = parts_of(guard)
    facts = {**dict.fromkeys(map(negation, held), sp.false), **dict.fromkeys(held, sp.true)}

    def decided(node: sp.Basic) -> sp.Basic:
        if not isinstance(node, sp.Piecewise) and node.args and not isinstance(node, Read):
            return node.func(*(decided(a) for a in node.args))
        if isinstance(node, sp.Piecewise):
            return sp.Piecewise(*((decided(pair.args[0]), substitute(pair.args[1], facts)) for pair in node.args))
        return node

    return decided(expression)


def with_winners(program: Program, names: Names) -> tuple[Program, Winners]:
    """The program with an `argmax=` statement before each `max=`, for each index that it reduces."""
    winners: dict[str, dict[sp.Symbol, Read]] = {}
    statements: list[Statement] = []
    tensors: list[Tensor] = []
    present = {winner_key(s, s.winner): s.target for s in program.statements if s.operator == "argmax="}
    for s in program.statements:
        if s.operator == "max=":
            winners[s.target] = {}
            for r in s.reduced:
                name = present.get(winner_key(s, r.index))
                if name is None:
                    name = names.fresh(f"{s.target}_arg_{r.index}")
                    tensors.append(Tensor(name, program.tensor(s.target).shape, Role.HELPER, integer=True))
                    statements.append(replace(s, target=name, operator="argmax=", winner=r.index))
                winners[s.target][r.index] = Read(name, *s.subscripts)
        statements.append(s)
    return program.with_statements(statements, tensors), winners


def winner_key(s: Statement, index: sp.Symbol | None) -> tuple[object, ...]:
    return s.expression, s.guard, s.domain, s.subscripts, index


# ---- forward mode


@as_written()
def tangent(program: Program, directions: Sequence[str]) -> tuple[Program, dict[str, str]]:
    """The program with tangents beside its statements, and the name of each tensor's tangent.

    The tangents of `directions` are given from outside (Role.SEED). Applied to an adjoint program, the tangents of
    the gradients are the Hessian's product with the directions.
    """
    names = names_of(program)
    program, winners = with_winners(program, names)
    active = active_tensors(program, directions)
    dots = {t.name: names.fresh(f"{t.name}_dot") for t in program.tensors if t.name in active}
    tensors = [
        replace(program.tensor(name), name=dot, role=Role.SEED if name in directions else Role.ADJOINT, of=name)
        for name, dot in dots.items()
    ]
    statements: list[Statement] = []
    for s in program.statements:
        statements.append(s)
        if s.target in dots:
            statements += tangent_statements(s, dots, winners.get(s.target, {}))
    return check_program(program.with_statements(statements, tensors)), dots


@as_written()
def derivatives_by(program: Program, wrt: Sequence[str]) -> tuple[Program, dict[tuple[str, str], str]]:
    """The program with the derivatives of its tensors by each element of those of `wrt` beside its statements.

    Gives their names by (tensor, that of `wrt`). A derivative has the axes of the tensor of `wrt` first.

    `u[n] = exp(a·t[n]) + b[k[n]]` → `u_by_a[n] = t[n]·exp(a·t[n])` and `u_by_b[i, n] = 1 if i == k[n] else 0`
    """
    names = names_of(program)
    program, winners = with_winners(program, names)
    made, tensors = dict[tuple[str, str], str](), []
    beside: list[list[Statement]] = [[s] for s in program.statements]
    for name in wrt:
        active = active_tensors(program, [name])
        dots = {t.name: names.fresh(f"{t.name}_by_{name}") for t in program.tensors if t.name in active - {name}}
        extents = program.tensor(name).shape
        axes = tuple(Range(index_symbol(names.fresh(f"i{axis}")), extent) for axis, extent in enumerate(extents))
        made |= {(t, name): dot for t, dot in dots.items()}
        for t, dot in dots.items():
            own = program.tensor(t)
            tensors.append(replace(own, name=dot, shape=(*extents, *own.shape), role=Role.ADJOINT, of=t))
        for group in beside:
            if (s := group[0]).target in dots:
                group += element_statements(s, Element(name, axes, dots), winners.get(s.target, {}))
    return check_program(program.with_statements(itertools.chain(*beside), tensors)), made


@dataclass(frozen=True, slots=True)
class Element:
    """One of a tensor's elements, by which tensors have the derivatives `dots`."""

    tensor: str
    axes: tuple[Range, ...]
    dots: Mapping[str, str]

    @property
    def indices(self) -> tuple[sp.Symbol, ...]:
        return tuple(r.index for r in self.axes)

    def of(self, read: Read) -> tuple[sp.Expr, Boolean]:
        """The derivative of a read by the element, and where it is not 0."""
        if read.tensor == self.tensor:
            return sp.Integer(1), all_of(*map(sp.Eq, self.indices, read.subscripts))
        return Read(self.dots[read.tensor], *self.indices, *read.subscripts), sp.true


def element_statements(s: Statement, element: Element, at_winner: Mapping[sp.Symbol, Read]) -> list[Statement]:
    """The forward rule on one statement, by each element: one statement too, but one for each term of a sum."""
    found = []
    for read, condition in differentiable_reads(s, {*element.dots, element.tensor}).items():
        dot, where = element.of(read)
        where = all_of(condition, where)
        found.append((read, assuming(product(derivative(s.expression, read), dot), where), where))
    changed = replace(
        s,
        target=element.dots[s.target],
        subscripts=(*element.indices, *s.subscripts),
        operator="=" if s.operator == "max=" else s.operator,
        guard=substitute(s.guard, at_winner),
        domain=(*(r for r in s.domain if r.index not in at_winner), *element.axes),
    )
    winner = tuple(at_winner.items())
    if s.operator == "+=":
        return [
            replace(changed, expression=term, guard=all_of(changed.guard, where), origin=Origin(s, (read,), winner))
            for read, term, where in found
        ]
    terms = [term if where == sp.true else sp.Piecewise((term, where), (0, True)) for _, term, where in found]
    total = substitute(sp.Add(*terms), at_winner)
    return [replace(changed, expression=total, origin=Origin(s, tuple(read for read, *_ in found), winner))]


def tangent_statements(s: Statement, dots: dict[str, str], at_winner: Mapping[sp.Symbol, Read]) -> list[Statement]:
    """The forward rule on one statement: one statement too, except that each sum of products keeps its own."""
    by_local: dict[tuple[sp.Expr, Boolean], tuple[Read, ...]] = {}
    for read, condition in differentiable_reads(s, dots).items():
        key = (derivative(s.expression, read), condition)
        by_local[key] = (*by_local.get(key, ()), read)
    terms = []
    for (local, condition), reads in by_local.items():
        term = product(local, sp.Add(*(Read(dots[read.tensor], *read.subscripts) for read in reads)))
        terms.append(term if condition == sp.true else sp.Piecewise((assuming(term, condition), condition), (0, True)))
    apart = s.operator == "+=" and s.reduced and s.subscripts and isinstance(s.expression, sp.Mul)
    changed = replace(
        s,
        target=dots[s.target],
        operator="=" if s.operator == "max=" else s.operator,
        guard=substitute(s.guard, at_winner),
        domain=tuple(r for r in s.domain if r.index not in at_winner),
    )
    groups = [*by_local.values()]
    sums = [*zip(terms, groups, strict=True)] if apart else [(sp.Add(*terms), tuple(itertools.chain(*groups)))]
    winner = tuple(at_winner.items())
    return [
        replace(changed, expression=substitute(total, at_winner), origin=Origin(s, reads, winner))
        for total, reads in sums
    ]
