"""Schedule → the same schedule with the loops marked whose iterations run side by side, in threads.

Marked is an outermost loop of a kernel that is worth it. No iteration touches what another one writes, so each element
is computed by one iteration, in the order of the serial loop, however iterations are shared out: no race, and no sum
in another order. Where a nest also adds up over that loop, the sums get a serial loop of their own after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import subexpressions
from derivgen.form.program import Program, Statement
from derivgen.form.sizes import typical
from derivgen.schedule.cost import Cost, moved_by, work_of
from derivgen.schedule.nests import Compute, Loop, Node, scalars_of, work_in
from derivgen.schedule.schedule import Kernel, Schedule, check_schedule

# A parallel region costs some 10 µs where the other threads wait for it, more where they sleep.
WORTH_THREADS = 150_000  # nanoseconds of one core, run-time sizes taken as typical ones
SHARED_OUT = 16  # iterations: of fewer, some threads get many more than others


def in_threads(schedule: Schedule) -> Schedule:
    """The schedule with the loops marked that run in parallel, split from the sums over them."""
    kernels = tuple(kernel_in_threads(schedule.program, k) for k in schedule.kernels)
    return check_schedule(replace(schedule, kernels=kernels))


def kernel_in_threads(program: Program, kernel: Kernel) -> Kernel:
    body: list[Node] = []
    for node in kernel.body:
        body += shared_out(program, kernel, node) if isinstance(node, Loop) else [node]
    # What lived in one iteration, and is now read in the loop of the sums too, is a buffer; so is what threads share.
    rows = () if any(isinstance(node, Loop) and node.parallel for node in body) else kernel.rows
    return replace(kernel, body=tuple(body), scalars=scalars_of(tuple(body), kernel.scalars), rows=rows)


def shared_out(program: Program, kernel: Kernel, loop: Loop) -> list[Node]:
    """The loop in parallel, and after it, where there are sums over it, a loop of these; or the loop as it is."""
    if loop.scan is not None:
        return [loop]
    computed = [work for work in work_in(loop) if isinstance(work, Compute)]
    own = {s.target for c in computed for s in c.statements if loop.index in s.subscripts}
    parallel = only(loop, lambda c: c.statement.target in own)
    sums = only(loop, lambda c: c.statement.target not in own)
    if parallel is None or len(computed) < len(list(work_in(loop))) or not pays(program, kernel, parallel):
        return [loop]
    if not separate(kernel, parallel) or not follow(kernel, parallel, sums):
        return [loop]
    return [replace(parallel, parallel=True), *([sums] if sums is not None else [])]


def only(loop: Loop, chosen: Callable[[Compute], bool]) -> Loop | None:
    """The loop with a part of its work; None where that is nothing."""
    body: list[Node] = []
    for node in loop.body:
        kept = only(node, chosen) if isinstance(node, Loop) else node
        if isinstance(kept, Loop) or (isinstance(kept, Compute) and chosen(kept)):
            body.append(kept)
    return replace(loop, body=tuple(body)) if body else None


def statements_in(loop: Loop) -> list[Statement]:
    return [s for work in work_in(loop) if isinstance(work, Compute) for s in work.statements]


def separate(kernel: Kernel, loop: Loop) -> bool:
    """Whether every array that is written is accessed, in one and the same axis, at the loop's index alone."""
    index, arrays = loop.index, dict(kernel.heirs)
    axes: dict[str, list[set[int]]] = {}
    written = set()
    for s in statements_in(loop):
        written.add(arrays.get(s.target, s.target))
        for access in (s.write, *s.reads):
            at = {axis for axis, i in enumerate(access.subscripts) if i == index}
            axes.setdefault(arrays.get(access.tensor, access.tensor), []).append(at)
        # Loops in threads count in unsigned numbers, of which a negative one is 2⁶⁴ more.
        parts = (node for e in (s.expression, s.guard, *s.subscripts) for node in subexpressions(e))
        if any(isinstance(node, sp.Mul) and index in node.args and node.could_extract_minus_sign() for node in parts):
            return False
    return all(set.intersection(*axes[name]) for name in written)


def follow(kernel: Kernel, parallel: Loop, sums: Loop | None) -> bool:
    """Whether the sums may come after: nothing reads or adds to them before, and what they read is not overwritten."""
    if sums is None:
        return True
    totals = {s.target for s in statements_in(sums)}
    before = {name for s in statements_in(parallel) for name in (s.target, *(r.tensor for r in s.reads))}
    read = {r.tensor for s in statements_in(sums) for r in s.reads}
    return not totals & before and not read & {name for name, _ in kernel.heirs}


# ---- what is worth it


def pays(program: Program, kernel: Kernel, loop: Loop) -> bool:
    """Whether the loop has enough iterations, and enough work."""
    moved = moved_by(program, kernel, loop, itemsize=8)
    work = work_of(program, loop) + Cost(moved=moved)
    return typical(loop.extent) >= SHARED_OUT and typical(work.nanoseconds()) >= WORTH_THREADS
