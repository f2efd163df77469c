"""Program → a Program of the same values whose statements suit loops and matrix products.

The list PASSES is the stage: what is cheaper computed again than kept is not kept, a costly call that several points
or statements share is made once, and sums of products become products of two matrices where that pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sympy as sp

from derivgen.contractions import is_whole, match_contraction, typical_size
from derivgen.expressions import (
    TRUE,
    Read,
    bottom_up,
    indices_of,
    replace_reads,
    split_guard,
    substitute,
    unfolded_piecewise,
)
from derivgen.functions import difference
from derivgen.program import Program, Role, Statement, Tensor, check_program, names_of
from derivgen.reuse import costly_calls, domain_of
from derivgen.scans import leave_scans, time_major

WORTH_COPYING = 8  # multiplications for each element that is copied to make a matrix


@unfolded_piecewise()
def arrange(program: Program) -> Program:
    """The program after every pass."""
    for run in PASSES:
        program = check_program(run(program))
    return program


# ---- what is computed again


def recompute_differences(program: Program) -> Program:
    """A kept difference u - v is computed where it is read: that is cheaper than a store and a load.

    Reordered with the sum that it stands in, it would lose digits; hence a function of its own there.
    """
    kept = {s.target: s for s in program.statements if is_difference(program, s)}

    def again(read: Read) -> sp.Expr:
        if read.tensor not in kept:
            return read
        s = kept[read.tensor]
        u, v = terms_of_difference(s.expression)
        at = dict(zip(s.subscripts, read.subscripts, strict=True))
        return difference(*(replace_reads(substitute(e, at), again) for e in (u, v)))

    def alone(node: sp.Basic) -> sp.Basic:
        if isinstance(node, sp.Function) and len(node.args) == 1 and isinstance(node.args[0], difference):
            u, v = node.args[0].args
            return node.func(u - v)
        return node

    statements = [
        replace(s, expression=bottom_up(replace_reads(s.expression, again), alone), guard=replace_reads(s.guard, again))
        for s in program.statements
        if s.target not in kept
    ]
    return program.with_statements(statements).live(program.outputs)


def is_difference(program: Program, s: Statement) -> bool:
    whole = s.operator == "=" and s.covers(program.tensor(s.target).shape)
    helper = program.tensor(s.target).role is Role.HELPER and s.target not in program.outputs
    reads = whole and helper and isinstance(s.expression, sp.Add) and len(s.expression.args) == 2
    return (
        bool(reads)
        and {isinstance(a, Read) for a in s.expression.args} == {True, False}
        and all(isinstance(a, Read) or isinstance(-a, Read) for a in s.expression.args)
    )


def terms_of_difference(expression: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    positive, negative = sorted(expression.args, key=lambda a: not isinstance(a, Read))
    return positive, -negative


# ---- what is shared


def share_calls(program: Program) -> Program:
    """A costly call of which several points or several statements of a layer need the same value is made once."""
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    counts: dict[tuple[object, ...], int] = {}
    for s in program.statements:
        for key in {call_key(s, call) for call in costly_calls(s)}:
            counts[key] = counts.get(key, 0) + 1
    held: dict[tuple[object, ...], Read] = {}
    for s in program.statements:
        found: dict[sp.Expr, Read] = {}
        for call in costly_calls(s):
            key, domain = call_key(s, call), domain_of(s, call)
            shared = counts[key] > 1 and domain == s.domain
            if key not in held and (shared or len(domain) < len(s.domain)):
                name = names.fresh(f"{s.layer}_{type(call).__name__.lower()}")
                held[key] = Read(name, *(r.index for r in domain))
                tensors.append(Tensor(name, tuple(r.extent for r in domain), Role.HELPER))
                made = replace(s, target=name, subscripts=held[key].subscripts, operator="=", expression=call)
                statements.append(replace(made, domain=domain))
            if key in held:
                found[call] = held[key]
        statements.append(replace(s, expression=substitute(s.expression, found)))
    return leave_scans(program.with_statements(statements, tensors))


def call_key(s: Statement, call: sp.Expr) -> tuple[object, ...]:
    return s.layer, s.direction, call, domain_of(s, call)


# ---- products


def contract_products(program: Program) -> Program:
    """Sums of products as products of two matrices, of which at most copies have to be made first."""
    copies = Copies(program)
    statements = [t for s in program.statements for t in contracted(copies, s)]
    return leave_scans(program.with_statements(statements, copies.tensors))


class Copies:
    """The tensors that are made so that products have whole matrices; equal copies are one."""

    def __init__(self, program: Program) -> None:
        self.program, self.names = program, names_of(program)
        self.tensors: list[Tensor] = []
        self.made: dict[tuple[object, ...], Read] = {}

    def trial(self) -> Copies:
        """Another one of the same state."""
        other = Copies(self.program.with_statements(self.program.statements, self.tensors))
        other.program, other.tensors, other.made = self.program, [*self.tensors], {**self.made}
        return other

    def so_far(self) -> Program:
        """The program's tensors and those that are made, without statements."""
        return self.program.with_statements((), self.tensors)

    def helper(self, s: Statement, word: str, indices: Sequence[sp.Expr]) -> Read:
        extents = {r.index: r.extent for r in s.domain}
        name = self.names.fresh(f"{s.target}_{word}")
        self.tensors.append(Tensor(name, tuple(extents[i] for i in indices), Role.HELPER))
        return Read(name, *indices)

    def copy(self, s: Statement, factor: sp.Expr) -> tuple[Read, list[Statement]]:
        """(a tensor that holds a factor, the statement that fills it, if it is new); its last axis stays the last."""
        own, reduced = indices_of(factor), [r.index for r in s.reduced]
        rows = [i for i in s.subscripts if i in own]
        last = factor.subscripts[-1] if isinstance(factor, Read) else None
        order = [*reduced, *rows] if rows and last == rows[-1] else [*rows, *reduced]
        box = tuple(r for i in order for r in s.domain if r.index == i)
        key = (factor, box, s.scan)
        if key in self.made:
            return self.made[key], []
        read = self.made[key] = self.helper(s, "factor", order)
        filled = replace(s, target=read.tensor, subscripts=tuple(order), operator="=", expression=factor, domain=box)
        return read, [filled]


def contracted(copies: Copies, s: Statement) -> list[Statement]:
    """Statements in place of one."""
    program = copies.so_far()
    whole = s.operator == "+=" and s.guard == TRUE and s.covers(program.tensor(s.target).shape) and s.reduced
    if not whole or match_contraction(program, s) is not None:
        return [s]
    if isinstance(s.expression, sp.Add):
        parts = [contracted(copies, replace(s, expression=term)) for term in s.expression.args]
        if any(len(made) > 1 or match_contraction(copies.so_far(), made[0]) for made in parts):
            return [t for made in parts for t in made]
        return [s]
    if split_guard(s.expression)[1] != TRUE:  # a product would evaluate what the guard keeps from being evaluated
        return [s]
    outer, groups = factor_groups(s)
    if len(groups) != 2 or not are_matrices(s, groups):
        return [s]
    needed = [k for k, g in enumerate(groups) if not is_operand(program, s, g)]
    smaller = sorted((k for k in range(2) if k not in needed), key=lambda k: elements(s, groups[k]))
    for copied in (
        needed,
        *([*needed, k] for k in smaller),
    ):  # a whole tensor, too, where its axes are in another order
        trial = copies.trial()
        made = as_product(trial, s, outer, groups, copied) if pays(s, outer, groups, copied) else None
        if made is not None:
            copies.names, copies.tensors, copies.made = trial.names, trial.tensors, trial.made
            return made
    return [s]


def factor_groups(s: Statement) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """(factors that the sum does not run over, the others, those of fewer indices multiplied into one of more)"""
    reduced = {r.index for r in s.reduced}
    factors = list(sp.Mul.make_args(s.expression))
    outer = [f for f in factors if not indices_of(f) & reduced]
    inner = sorted((f for f in factors if f not in outer), key=lambda f: (-len(indices_of(f)), str(f)))
    groups: list[sp.Expr] = []
    for factor in inner:
        place = next((k for k, g in enumerate(groups) if indices_of(factor) <= indices_of(g)), None)
        if place is None:
            groups.append(factor)
        else:
            groups[place] *= factor
    return outer, groups


def are_matrices(s: Statement, groups: list[sp.Expr]) -> bool:
    """Whether both sides have rows of their own, and all that is summed over."""
    sides = [indices_of(g) for g in groups]
    return bool(sides[0] - sides[1] and sides[1] - sides[0]) and {r.index for r in s.reduced} <= sides[0] & sides[1]


def pays(s: Statement, outer: list[sp.Expr], groups: list[sp.Expr], copied: list[int]) -> bool:
    """Whether there is enough work for each element that has to be copied."""
    inside = [r for r in s.domain if any(r.index in indices_of(g) for g in groups)]
    count = sum(elements(s, groups[k]) for k in copied)
    if outer:
        count += typical_size(s, [r.index for r in inside if r not in s.reduced])
    return typical_size(s, [r.index for r in inside]) >= WORTH_COPYING * count


def elements(s: Statement, factor: sp.Expr) -> int:
    return typical_size(s, [r.index for r in s.domain if r.index in indices_of(factor)])


def is_operand(program: Program, s: Statement, factor: sp.Expr) -> bool:
    """Whether a factor is a whole tensor."""
    return isinstance(factor, Read) and is_whole(program, factor, s)


def as_product(
    copies: Copies, s: Statement, outer: list[sp.Expr], groups: list[sp.Expr], copied: list[int]
) -> list[Statement] | None:
    """The statement as copies, a product of two matrices, and what the sum does not run over; None if it can't be."""
    made: list[Statement] = []
    operands: list[sp.Expr] = []
    for k, factor in enumerate(groups):
        operand, statements = copies.copy(s, factor) if k in copied else (factor, [])
        operands.append(operand)
        made += statements
    inside = {i for g in groups for i in indices_of(g)}
    subscripts = tuple(i for i in s.subscripts if i in inside)
    direct = not outer and subscripts == s.subscripts
    total = s.write if direct else copies.helper(s, "product", subscripts)
    domain = tuple(r for r in s.domain if r.index in inside)
    product = replace(s, target=total.tensor, subscripts=subscripts, expression=sp.Mul(*operands), domain=domain)
    made.append(product)
    if not direct:
        rest = tuple(r for r in s.domain if r not in s.reduced)
        made.append(replace(s, expression=sp.Mul(*outer, total), domain=rest))
    return made if match_contraction(copies.so_far(), product) is not None else None


PASSES: tuple[Callable[[Program], Program], ...] = (recompute_differences, share_calls, time_major, contract_products)
