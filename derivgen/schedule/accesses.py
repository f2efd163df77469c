"""The proof that no kernel reads or writes past an array: each access of each node, where the kernel makes it.

It is about the loops and conditions of a schedule's nodes, which are what is written out, and not about the statements
that they came from: a guard that a pass has lost is missed here. What is not proved is a fault of derivgen's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import sympy as sp

from derivgen.form.expressions import Conditions, Read, all_of, guarded_reads, parts_of, reads_of
from derivgen.form.inside import is_inside
from derivgen.form.program import InvariantError, Program, Range, Statement, Tensor
from derivgen.schedule.nests import Compute, Contraction, Fill, Loop, Node, store_guards


@dataclass(frozen=True, slots=True)
class Access:
    """An element that a node reads or writes: the loops around it, and the condition under which it does."""

    read: Read
    around: tuple[Range, ...]
    path: Conditions


def check_accesses(
    layer: str,
    body: Iterable[Node],
    scalars: frozenset[str],
    tensors: Mapping[str, Tensor],
    winners: Mapping[str, sp.Expr],
) -> None:
    """An InvariantError that names the layer and the access, if one is not proved to be inside its array.

    `winners`: see `winners_of`.
    """
    for access in (a for node in body for a in accesses_of(node, (), (), frozenset())):
        if access.read.tensor not in scalars and not is_proved(access, tensors, winners):
            loops = ", ".join(f"{r.index} = 0 .. {r.extent - 1}" for r in access.around)
            raise InvariantError(
                f"{layer}: {access.read} is not proved to be inside {access.read.tensor}, which has the shape "
                f"{tensors[access.read.tensor].shape}, for {loops or 'no index'} where {all_of(*access.path)}"
            )


def is_proved(access: Access, tensors: Mapping[str, Tensor], winners: Mapping[str, sp.Expr]) -> bool:
    places = [r for r in reads_of(access.read, *access.path) if r.tensor in winners] if winners else []
    known = [condition for r in places for condition in (sp.Ge(r, 0), sp.Lt(r, winners[r.tensor]))]
    return is_inside(access.read, (*access.path, *known), access.around, tensors)


def winners_of(program: Program) -> dict[str, sp.Expr]:
    """For each tensor of places of maxima, the extent of the index whose values it holds."""
    return {
        s.target: next(r.extent for r in s.domain if r.index == s.winner)
        for s in program.statements
        if s.winner is not None
    }


def accesses_of(node: Node, around: tuple[Range, ...], path: Conditions, carried: frozenset[Read]) -> Iterator[Access]:
    """Every access of a node in loops, under a condition; what is `carried` is a scalar there."""
    match node:
        case Loop():
            yield from accesses_of_loop(node, around, path, carried)
        case Compute():
            for s in node.statements:
                yield from (a for a in accesses_of_statement(s, around, path) if a.read not in carried)
        case Contraction():
            inner = tuple(r for r in node.statement.domain if r not in around)
            yield from accesses_of_statement(node.statement, (*around, *inner), path)
        case Fill():
            return


def accesses_of_loop(
    loop: Loop, around: tuple[Range, ...], path: Conditions, carried: frozenset[Read]
) -> Iterator[Access]:
    """Those of its condition and its bound, the stores of the reductions that it carries, and those inside."""
    yield from in_expression(loop.guard, around, path)
    path = (*path, *parts_of(loop.guard))
    stores = store_guards(loop)
    for write, guard in stores.items():
        if write not in carried:
            yield from in_expression(guard, around, path)
            yield from in_expression(write, around, (*path, *parts_of(guard)))
    if loop.bound is not None:
        yield from in_expression(loop.bound, around, path)
        path = (*path, sp.Lt(loop.index, loop.bound))
    around = (*around, Range(loop.index, loop.extent))
    for node in loop.body:
        yield from accesses_of(node, around, path, carried | stores.keys())


def accesses_of_statement(s: Statement, around: tuple[Range, ...], path: Conditions) -> Iterator[Access]:
    yield from in_expression(s.guard, around, path)
    for part in (s.expression, s.write):
        yield from in_expression(part, around, (*path, *parts_of(s.guard)))


def in_expression(expression: sp.Basic, around: tuple[Range, ...], path: Conditions) -> Iterator[Access]:
    for read, condition, _ in guarded_reads(expression, path):
        yield Access(read, around, condition)
