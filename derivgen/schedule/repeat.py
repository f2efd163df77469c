"""Schedules → what repeats in them: kernels that compute the same, and runs of equal calls on families of tensors.

A family is a chain of tensors that the calls of a run go through one by one: the activations of equal layers, their
weights, their cotangents. With its members side by side in memory, a run of any length is one loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from derivgen.form.as_written import as_written
from derivgen.form.expressions import index_symbol, rename_tensors, substitute
from derivgen.form.program import Direction, Program, Statement
from derivgen.schedule.nests import Compute, Contraction, Fill, Loop, Node
from derivgen.schedule.schedule import Kernel

LEAST = 3  # equal calls in a row that are worth a loop
LONGEST = 100  # kernels in what repeats


def arguments_of(program: Program, kernel: Kernel) -> tuple[str, ...]:
    """What a kernel reads, data before parameters before adjoints, then what it writes."""
    order = program.order
    return (*sorted(kernel.read, key=lambda name: order[name]), *kernel.written)


# ---- equal kernels


def outline(kernel: Kernel) -> object:
    """Equal for two kernels that compute the same, and for others: what needs no renaming."""
    return tuple((s.operator, len(s.subscripts), tuple(r.extent for r in s.domain)) for s in kernel.statements)


@as_written()
def canonical(program: Program, kernel: Kernel) -> object:
    """Equal for two kernels that compute the same from their arguments, whatever these and the indices are called."""
    inside = [s.target for s in kernel.statements if s.target in kernel.inside]
    tensors = tuple(dict.fromkeys((*arguments_of(program, kernel), *inside)))
    names = {name: f"t{k}" for k, name in enumerate(tensors)}
    ranges = dict.fromkeys(r.index for s in kernel.statements for r in s.domain)
    indices = {index: index_symbol(f"i{k}") for k, index in enumerate(ranges)}

    @functools.cache
    def renamed(s: Statement) -> Statement:
        def change(e: object) -> object:
            return substitute(rename_tensors(e, names), indices)

        return replace(
            s,
            target=names[s.target],
            subscripts=tuple(map(change, s.subscripts)),
            expression=change(s.expression),
            guard=change(s.guard),
            domain=tuple(replace(r, index=indices[r.index]) for r in s.domain),
            layer="",
            winner=indices.get(s.winner, s.winner),
            scan=None,
        )

    def shape_of(node: Node) -> object:
        match node:
            case Loop():
                order = node.parallel, node.scan is not None, node.scan is not None and node.scan.reverse
                return indices[node.index], node.extent, order, tuple(map(shape_of, node.body))
            case Compute():
                return tuple(map(renamed, node.statements)), node.first
            case Contraction():
                return renamed(node.statement), node.first, node.scaled
            case Fill():
                return names[node.tensor], node.value

    facts = [(program.tensor(name).shape, program.tensor(name).integer) for name in tensors]
    kinds = [
        (name in kernel.scalars, dict(kernel.rows).get(name), names.get(dict(kernel.heirs).get(name, "")))
        for name in tensors
    ]
    return tuple(facts), tuple(kinds), tuple(map(renamed, kernel.statements)), tuple(map(shape_of, kernel.body))


# ---- runs


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel, by a number that is the same for equal ones, and the tensors that it is given."""

    kernel: int
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """`count` blocks of `period` calls each, from `start` on, that differ in members of families only."""

    start: int
    period: int
    count: int


@dataclass(frozen=True, slots=True)
class Repeats:
    """The families, in the order of the forward pass, and the runs of each list of calls."""

    families: tuple[tuple[str, ...], ...]
    runs: tuple[tuple[Run, ...], ...]


def find_repeats(
    lists: Sequence[tuple[Direction, Sequence[Call]]],
    kinds: Mapping[str, object],
    fits: Callable[[tuple[str, ...]], bool],
) -> Repeats:
    """Families and runs.

    `kinds`: what members of one family have in common, of each tensor that may be in one; `fits` decides whether a
    family can lie in memory as the loops need it.
    """
    refused: set[tuple[int, Run]] = set()
    while True:
        runs = [
            (k, run)
            for k, (_, calls) in enumerate(lists)
            for run in runs_in(calls, kinds, {r for j, r in refused if j == k})
        ]
        successors: dict[str, str] = {}
        wrong = {r for r in runs if not extend(successors, *sequences_of(lists, *r))}
        bad = {name for family in chains(successors) if not fits(family) for name in family}
        wrong |= {r for r in runs if any(bad & set(names) for names in sequences_of(lists, *r)[0])}
        if not wrong:
            return Repeats(chains(successors), tuple(tuple(r for j, r in runs if j == k) for k in range(len(lists))))
        refused |= wrong


def runs_in(calls: Sequence[Call], kinds: Mapping[str, object], refused: set[Run]) -> list[Run]:
    """Runs that do not overlap, the longest at each place."""
    found, start = list[Run](), 0
    while start < len(calls):
        runs = [Run(start, period, equal_blocks(calls, start, period, kinds)) for period in range(1, LONGEST + 1)]
        long = [r for r in runs if r.count >= LEAST and r not in refused]
        best = max(long, key=lambda r: (r.count * r.period, -r.period), default=None)
        if best is not None:
            found.append(best)
        start += best.count * best.period if best is not None else 1
    return found


def equal_blocks(calls: Sequence[Call], start: int, period: int, kinds: Mapping[str, object]) -> int:
    """How many blocks from here on equal the first one except for members of families."""
    first = calls[start : start + period]
    varying: set[tuple[int, int]] | None = None
    count, before = 1, first
    while len(block := calls[start + count * period :][:period]) == period:
        if any(a.kernel != b.kernel for a, b in zip(first, block, strict=True)):
            break
        pairs = [
            (k, p, old, new)
            for k, (a, b) in enumerate(zip(before, block, strict=True))
            for p, (old, new) in enumerate(zip(a.arguments, b.arguments, strict=True))
        ]
        changed = {(k, p) for k, p, old, new in pairs if old != new}
        alike = all(old == new or (old in kinds and kinds[old] == kinds.get(new)) for _, _, old, new in pairs)
        if not alike or (varying is not None and changed != varying):
            break
        varying, before = changed, block
        count += 1
    return count


def sequences_of(
    lists: Sequence[tuple[Direction, Sequence[Call]]], position: int, run: Run
) -> tuple[list[list[str]], bool]:
    """(what each varying argument of a run goes through, whether that is against the forward pass)"""
    direction, calls = lists[position]
    blocks = [calls[run.start + k * run.period :][: run.period] for k in range(run.count)]
    columns = zip(*([name for call in block for name in call.arguments] for block in blocks), strict=True)
    return [list(names) for names in columns if len(set(names)) > 1], direction == "backward"


def extend(successors: dict[str, str], sequences: Sequence[Sequence[str]], backward: bool) -> bool:
    """Note which member of a family follows which; False, with nothing noted, if something contradicts that."""
    noted = dict(successors)
    for names in sequences:
        for a, b in pairwise(reversed(names) if backward else names):
            if noted.setdefault(a, b) != b:
                return False
    targets = list(noted.values())
    if len(set(targets)) < len(targets) or has_cycle(noted):
        return False
    successors.update(noted)
    return True


def has_cycle(successors: Mapping[str, str]) -> bool:
    starts = set(successors) - set(successors.values())
    return sum(len(chain) - 1 for chain in (chain_from(s, successors) for s in starts)) < len(successors)


def chain_from(start: str, successors: Mapping[str, str]) -> tuple[str, ...]:
    chain = [start]
    while chain[-1] in successors:
        chain.append(successors[chain[-1]])
    return tuple(chain)


def chains(successors: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    ends = set(successors.values())
    return tuple(chain_from(name, successors) for name in successors if name not in ends)
