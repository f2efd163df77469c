"""Where buffers lie: a value may take over the memory of its source, and buffers never needed at once share it.

`taken_over` looks inside a kernel. `share_memory` looks at timelines, each a list of the tensors that its kernels
access, in order of execution; it gives each buffer a start, in elements of one memory of reals or one of integers, as
polynomials in the run-time sizes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from derivgen.form.program import Program, Tensor
from derivgen.form.sizes import at_most, element_count, is_multiple, typical
from derivgen.schedule.nests import Compute, Fill, Loop, Node, loops_in, statements_of, work_in

Timeline = Sequence[Iterable[str]]  # what each kernel accesses
ALIGNED = 16  # elements: buffers whose size is a multiple of it come first, so that each of them starts a cache line
GAP = 16  # elements between slots: equal elements of buffers of 2^k would all lie in the same few lines of a cache


# ---- in place


def taken_over(
    program: Program, body: Sequence[Node], candidates: Iterable[str], scalars: frozenset[str]
) -> dict[str, str]:
    """Each candidate whose elements are last read where another array's are first written: that array's name.

    The two are then one array: `a_sum = x·W; a = tanh(a_sum + b)` becomes `a = x·W; a = tanh(a + b)`.
    """
    found: dict[str, str] = {}
    for name in candidates:
        heir = heir_of(program, name, body, scalars)
        if heir is not None and heir not in {*found, *found.values()}:
            found[name] = heir
    for name, heir in found.items():
        while heir in found:
            heir = found[heir]
        found[name] = heir
    return found


def heir_of(program: Program, name: str, body: Sequence[Node], scalars: frozenset[str]) -> str | None:
    """The array that may take over a tensor's memory in a kernel with this body."""
    order = [node for top in body for node in (work_in(top) if isinstance(top, Loop) else [top])]
    accesses = [node for node in order if name in touched(node)]
    last = accesses[-1]
    top = next((top for top in body if isinstance(top, Loop) and last in [*work_in(top)]), None)
    if top is None or len(accesses) < 2:
        return None
    together = [t for node in work_in(top) for t in statements_of(node)]
    elements = {r.subscripts for t in together for r in (t.write, *t.reads) if r.tensor == name}
    innermost = next(loop for loop in loops_in(top) if last in loop.body)
    for node in innermost.body[innermost.body.index(last) :]:
        # Every loop around the last access is an axis of both, so no other iteration touches the same element.
        if isinstance(node, Compute) and writes_whole(program, node, program.tensor(name)):
            s = node.statement
            early = any(s.target in touched(other) for other in order[: order.index(node)])
            if s.target not in scalars and elements == {s.subscripts} and not early:
                return s.target
    return None


def writes_whole(program: Program, node: Compute, like: Tensor) -> bool:
    """Whether a node assigns a whole tensor of reals, of the same shape as another one, for the first time."""
    s, heir = node.statement, program.tensor(node.statement.target)
    return (
        node.first
        and s.operator == "="
        and heir.shape == like.shape
        and not heir.integer
        and s.covers(heir.shape, guarded=True)
    )


def touched(node: Node) -> set[str]:
    """The tensors that a node without loops accesses."""
    if isinstance(node, Fill):
        return {node.tensor}
    assert not isinstance(node, Loop)
    return {name for s in statements_of(node) for name in (s.target, *(r.tensor for r in s.reads))}


# ---- one memory


@dataclass(frozen=True, slots=True)
class Storage:
    """The start of each buffer in the memory of its kind, and the sizes of both memories, in elements.

    `slots`: the buffers of each stretch, in their order, the largest first.
    """

    starts: Mapping[str, sp.Expr]
    reals: sp.Expr
    integers: sp.Expr
    slots: tuple[tuple[Tensor, ...], ...] = ()


@dataclass(slots=True)
class Slot:
    """A stretch of memory that buffers use one after another."""

    size: sp.Expr
    users: list[Tensor] = field(default_factory=list)


def share_memory(buffers: Sequence[Tensor], timelines: Sequence[Timeline]) -> Storage:
    """A place for each buffer; a kernel is never given two buffers that overlap."""
    lives = [lifetimes(timeline) for timeline in timelines]
    starts: dict[str, sp.Expr] = {}
    sizes, shared = [], list[tuple[Tensor, ...]]()
    for integer in (False, True):
        slots: list[Slot] = []
        for t in sorted(
            (b for b in buffers if b.integer is integer), key=lambda b: typical(element_count(b)), reverse=True
        ):
            place(t, slots, lives)
        start = stop = sp.Integer(0)
        for slot in sorted(slots, key=lambda s: not is_multiple(s.size, ALIGNED)):
            starts.update({t.name: start for t in slot.users})
            stop = sp.expand(start + slot.size)
            start = stop + GAP
            shared.append(tuple(sorted(slot.users, key=lambda t, own=slot.size: element_count(t) != own)))  # type: ignore[misc]
        sizes.append(stop)
    return Storage(starts, sizes[0], sizes[1], tuple(shared))


def lifetimes(timeline: Timeline) -> dict[str, tuple[int, int]]:
    """The first and the last kernel that accesses each tensor."""
    lives: dict[str, tuple[int, int]] = {}
    for position, names in enumerate(timeline):
        lives.update({name: (lives.get(name, (position, position))[0], position) for name in names})
    return lives


def place(t: Tensor, slots: list[Slot], lives: Sequence[Mapping[str, tuple[int, int]]]) -> None:
    """The first slot that is free for the buffer's lifetime and large enough, or can become so; else a new one."""
    size = element_count(t)
    free = [s for s in slots if not any(meet(t.name, u.name, lives) for u in s.users)]
    slot = next((s for s in free if at_most(size, s.size)), None) or next(
        (s for s in free if at_most(s.size, size)), None
    )
    if slot is None:
        slot = Slot(size)
        slots.append(slot)
    slot.size = slot.size if at_most(size, slot.size) else size
    slot.users.append(t)


def meet(a: str, b: str, lives: Sequence[Mapping[str, tuple[int, int]]]) -> bool:
    """Whether two buffers are needed at once in some timeline."""
    return any(a in life and b in life and life[a][0] <= life[b][1] and life[b][0] <= life[a][1] for life in lives)


def members_apart(members: Sequence[str], timelines: Sequence[Timeline]) -> int:
    """How many places the members of a family need, where each takes that of the one so many before it."""
    lives = [lifetimes(timeline) for timeline in timelines]
    for places in range(1, len(members)):
        if all(never_together(members[k::places], life) for k in range(places) for life in lives):
            return places
    return len(members)


def never_together(names: Iterable[str], life: Mapping[str, tuple[int, int]]) -> bool:
    """Whether no two of these buffers are needed at once."""
    return all(a[1] < b[0] for a, b in itertools.pairwise(sorted(life[n] for n in names if n in life)))
