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

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy as sp

from derivgen.expressions import Read, negation, product, substitute, unfolded_piecewise
from derivgen.functions import derivative
from derivgen.notation import declaration_order
from derivgen.program import (
    Names,
    Program,
    Range,
    Role,
    Statement,
    Tensor,
    check_program,
    closure,
    differentiable_reads,
    names_of,
    reached,
)


@unfolded_piecewise()
def adjoint(program: Program, wrt: Sequence[str] | None = None, objective: str | None = None) -> Program:
    """The program followed by the adjoint statements of a rank-0 output by the tensors `wrt` (the parameters)."""
    wrt = [p.name for p in program.parameters] if wrt is None else list(wrt)
    objective = objective or program.objective
    if objective is None:
        raise ValueError("the program has no objective to differentiate")
    names = names_of(program)
    program, winners = with_winners(program, names)
    active = active_tensors(program, wrt)
    bars = Cotangents(program, names, active)
    in_scans = {s.target for s in program.statements if s.scan is not None}
    needed = in_scans & active & tensors_behind(program, objective)  # also by steps whose adjoints come later here
    reverse: list[Statement] = []
    if objective in active:
        seed = next(s for s in reversed(program.statements) if s.target == objective)
        one = replace(seed, target=bars.of(objective), expression=sp.Integer(1), domain=(), operator="+=")
        reverse.append(replace(one, guard=sp.true, direction="backward"))
    for statement in reversed(program.statements):
        if statement.target in bars.made or statement.target in needed:
            reverse += adjoint_statements(statement, bars, winners)
    gradients = tuple((name, bars.of(name)) for name in wrt)
    extended = program.with_statements([*program.statements, *reverse], bars.tensors)
    return check_program(replace(extended, objective=objective, gradients=gradients))


def adjoint_statements(s: Statement, bars: Cotangents, winners: Winners) -> list[Statement]:
    """The reverse rule on one statement: one accumulation for each distinct active read."""
    made = []
    bar = Read(bars.of(s.target), *s.subscripts)
    own = tuple(r.index for r in s.domain)
    # Reads at the statement's own indices come first: their adjoint is then a value that the others can read. The rest
    # follow the order of declaration: SymPy's order of arguments hangs on names, and would tell equal layers apart.
    reads = sorted(
        differentiable_reads(s).items(), key=lambda item: (item[0].subscripts != own, bars.order[item[0].tensor])
    )
    for read, condition in reads:
        if read.tensor not in bars.active:
            continue
        local = derivative(s.expression, read)
        at_winner = winners.get(s.target, {})
        guard = sp.And(s.guard, condition)
        if local == 0 or guard == sp.false:
            continue
        read, local, guard = (substitute(e, at_winner) for e in (read, local, guard))
        made.append(
            Statement(
                target=bars.of(read.tensor),
                subscripts=read.subscripts,
                operator="+=",
                expression=product(bar, assuming(local, guard)),
                domain=tuple(r for r in s.domain if r.index not in at_winner),
                guard=guard,
                layer=s.layer,
                direction="backward",
                scan=None if s.scan is None else replace(s.scan, reverse=not s.scan.reverse),
            )
        )
    return made


def assuming(expression: sp.Expr, guard: sp.Basic) -> sp.Expr:
    """The expression with the branches decided that the guard decides."""
    if guard == sp.true:
        return expression
    held = guard.args if isinstance(guard, sp.And) else (guard,)
    facts = {**dict.fromkeys(map(negation, held), sp.false), **dict.fromkeys(held, sp.true)}

    def decided(node: sp.Basic) -> sp.Basic:
        if not isinstance(node, sp.Piecewise) and node.args and not isinstance(node, Read):
            return node.func(*(decided(a) for a in node.args))
        if isinstance(node, sp.Piecewise):
            return sp.Piecewise(*((decided(pair.args[0]), substitute(pair.args[1], facts)) for pair in node.args))
        return node

    return decided(expression)


# ---- what is differentiated


def active_tensors(program: Program, wrt: Iterable[str]) -> set[str]:
    """The real tensors that depend on those of `wrt` smoothly."""
    return reached(wrt, program.statements, lambda s: smooth_sources(program, s))


def tensors_behind(program: Program, output: str) -> set[str]:
    """The real tensors that an output depends on smoothly, itself included."""
    return closure([output], program.statements, lambda s: smooth_sources(program, s))


def smooth_sources(program: Program, s: Statement) -> set[str]:
    """The tensors that a real tensor gets its values from smoothly, in one statement."""
    return set() if program.tensor(s.target).integer else {r.tensor for r in differentiable_reads(s)}


class Cotangents:
    """The adjoint of each active tensor, made when the first statement needs it."""

    def __init__(self, program: Program, names: Names, active: set[str]) -> None:
        self.program, self.names, self.active = program, names, active
        self.made: dict[str, Tensor] = {}
        self.order = declaration_order(program)

    def of(self, tensor: str) -> str:
        if tensor not in self.made:
            name = self.names.fresh(f"{tensor}_bar")
            self.made[tensor] = Tensor(name, self.program.tensor(tensor).shape, Role.ADJOINT, of=tensor)
        return self.made[tensor].name

    @property
    def tensors(self) -> list[Tensor]:
        return list(self.made.values())


# The indices of each `max=` target's reduction → reads of where its maximum was.
Winners = dict[str, dict[sp.Symbol, Read]]


def with_winners(program: Program, names: Names) -> tuple[Program, Winners]:
    """The program with an `argmax=` statement before each `max=`, for each index that it reduces."""
    winners: Winners = {}
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


@unfolded_piecewise()
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
            statements.append(tangent_statement(s, dots, winners.get(s.target, {})))
    return check_program(program.with_statements(statements, tensors)), dots


def tangent_statement(s: Statement, dots: dict[str, str], at_winner: dict[sp.Symbol, Read]) -> Statement:
    """The forward rule on one statement."""
    terms = []
    for read, condition in differentiable_reads(s).items():
        if read.tensor in dots:
            local = derivative(s.expression, read)
            term = product(local, Read(dots[read.tensor], *read.subscripts))
            terms.append(
                term if condition == sp.true else sp.Piecewise((assuming(term, condition), condition), (0, True))
            )
    total = sp.Add(*terms)
    domain: tuple[Range, ...] = tuple(r for r in s.domain if r.index not in at_winner)
    return replace(
        s,
        target=dots[s.target],
        operator="=" if s.operator == "max=" else s.operator,
        expression=substitute(total, at_winner),
        guard=substitute(s.guard, at_winner),
        domain=domain,
    )
