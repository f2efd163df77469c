"""Program → kernels: loop nests, and contractions that a matrix product computes.

Input: a simplified Program. Output: a Schedule, neutral of the target language: which kernel computes what, in which
loops, with which buffers. The steps, in order: helpers of dead lets join their readers' layer; accumulations are
ordered so that the first write of a tensor assigns it; statements are grouped into one kernel a layer and direction;
inside a kernel, equal loop prefixes are fused; what lives in one iteration only is a scalar, and what is last read
where another tensor is first written gives its memory to that.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sympy as sp

from derivgen.arrange.contractions import match_contraction
from derivgen.form.as_written import as_written
from derivgen.form.program import TOGETHER, Direction, Program, Statement, run_of
from derivgen.form.sizes import SMALL_UPDATE, element_count
from derivgen.schedule.memory import taken_over
from derivgen.schedule.nests import (
    Compute,
    Contraction,
    Fill,
    Node,
    nests,
    row_arrays_of,
    scalars_of,
    statements_of,
    work_in,
)
from derivgen.schedule.rows import rows_together
from derivgen.stages import reached

Group = tuple[str, Direction]  # what one kernel computes: a layer in one direction


@dataclass(frozen=True)
class Kernel:
    """The statements of one layer in one direction, as loops.

    `scalars` are tensors that live in one iteration, and so does what an iteration has of `rows`, which say how many
    axes its loops have of each; `heirs` says which tensor takes over the memory of which. `shapes` of the tensors tell
    apart kernels of two programs that have the axes of one in another order.
    """

    layer: str
    direction: Direction
    statements: tuple[Statement, ...]
    body: tuple[Node, ...]
    scalars: frozenset[str]
    heirs: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, int], ...] = ()
    shapes: tuple[tuple[sp.Expr, ...], ...] = ()

    @cached_property
    def _hash(self) -> int:
        return hash((self.layer, self.direction, self.statements))

    def __hash__(self) -> int:
        return self._hash

    @property
    def body_nodes(self) -> list[Fill | Compute | Contraction]:
        """The nodes that write, in order."""
        fills = [node for node in self.body if isinstance(node, Fill)]
        return [*fills, *(work for node in self.body for work in work_in(node))]

    @cached_property
    def written(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.target for s in self.statements if s.target not in self.inside))

    @cached_property
    def read(self) -> tuple[str, ...]:
        names = (read.tensor for s in self.statements for read in s.reads)
        return tuple(dict.fromkeys(n for n in names if n not in self.inside and n not in self.written))

    @cached_property
    def filled(self) -> frozenset[str]:
        return frozenset(node.tensor for node in self.body if isinstance(node, Fill))

    @cached_property
    def inside(self) -> frozenset[str]:
        """The tensors that callers know nothing of."""
        return self.scalars | {name for name, _ in (*self.heirs, *self.rows)}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Kernels in order of execution; `in_place` are the gradients that can be added to their parameters at once."""

    program: Program
    kernels: tuple[Kernel, ...]
    in_place: tuple[str, ...] = ()


@as_written()
def schedule(program: Program, in_place: bool = False, together: bool = False) -> Schedule:
    """The kernels of an arranged program.

    `in_place`: an update adds a multiple of the gradient to the parameters; `together`: rows may be, see `rows.py`.
    """
    ordered = assign_first(program, join_layers(program))
    joined, over_rows = rows_together(program, ordered) if together else (ordered, set[Group]())
    groups = in_order(forward_first(grouped(joined)) if over_rows else grouped(joined))
    if groups is None:
        groups, over_rows = in_order(grouped(ordered)), set()
    if groups is None or not (over_rows or keeps_order(groups, ordered)):
        groups = moved_on(ordered)
    private = private_tensors(groups)
    written: set[str] = set()
    bodies: list[tuple[Node, ...]] = []
    for (layer, direction), statements in groups.items():
        reached("plan the kernels", layer)
        loops = nests(program, statements, written, together=(layer, direction) in over_rows)
        bodies.append(loops)
        written |= {s.target for s in statements}
    bars = updated_in_place(program, bodies) if in_place else {}
    kernels = []
    for ((layer, direction), statements), body in zip(groups.items(), bodies, strict=True):
        body = scaled_last(body, bars)
        own = private[layer, direction] - set(program.outputs)
        scalars = scalars_of(body, own)
        arrays = [t.name for t in program.tensors if t.name in own - scalars]
        rows = row_arrays_of(program, body, arrays) if (layer, direction) in over_rows else {}
        helpers = [t for t in dict.fromkeys(s.target for s in statements) if t in own - scalars - rows.keys()]
        candidates = [t for t in helpers if not program.tensor(t).integer]
        heirs = taken_over(program, body, candidates, scalars | rows.keys())
        names = dict.fromkeys(name for s in statements for name in (s.target, *(r.tensor for r in s.reads)))
        shapes = tuple(program.tensor(name).shape for name in names)
        inherited, by_row = tuple(heirs.items()), tuple(rows.items())
        kernels.append(Kernel(layer, direction, tuple(statements), body, scalars, inherited, by_row, shapes))
    return check_schedule(Schedule(program, tuple(kernels), tuple(bars)))


def share_kernels(result: Schedule, others: Sequence[Schedule], buffers: bool = True) -> Schedule:
    """The schedule with kernels of the others, those of the first before all, where they compute what it needs.

    Without the others' `buffers`, what a kernel reads and writes must be tensors of this program. A kernel adds to what
    earlier ones have written, and assigns the rest: these must be the same tensors in both.
    """
    own = {t.name: t.shape for t in result.program.tensors}
    given = {t.name for t in result.program.tensors} - {s.target for k in result.kernels for s in k.statements}
    needed = {name for k in result.kernels for name in k.read} | set(result.program.outputs)
    written = {s.target for k in result.kernels for s in k.statements}
    kernels: list[Kernel] = []
    for kernel in result.kernels:
        available = given | {name for k in kernels for name in k.written}
        alike = (
            o
            for other in others
            for o in other.kernels
            if (o.layer, o.direction) == (kernel.layer, kernel.direction)
            and (buffers or stands_alone(other.program, o, own))
            and written_before(other.kernels, o, kernel.written) == written_before(kernels, kernel, kernel.written)
        )
        fits = (
            other
            for other in alike
            if set(kernel.statements) <= set(other.statements)
            and written.isdisjoint({s.target for s in other.statements if s not in kernel.statements})
            and set(other.read) <= available
            and not other.inside & needed
            and kernel.filled <= other.filled  # a 0 that only the result reads
        )
        kernels.append(next(fits, kernel))
    return replace(result, kernels=tuple(kernels))


def written_before(kernels: Sequence[Kernel], kernel: Kernel, names: Iterable[str]) -> set[str]:
    """Those of these tensors that a kernel finds written by those before it."""
    before = itertools.takewhile(lambda k: k is not kernel, kernels)
    return {name for k in before for name in k.written}.intersection(names)


def private_tensors(groups: Mapping[Group, Sequence[Statement]]) -> dict[Group, set[str]]:
    """For each kernel, the tensors that it writes, and that no other one accesses."""
    accessed: dict[str, set[Group]] = {}
    for group, statements in groups.items():
        for name in {name for s in statements for name in (s.target, *s.sources)}:
            accessed.setdefault(name, set()).add(group)
    return {
        group: {s.target for s in statements if accessed[s.target] == {group}} for group, statements in groups.items()
    }


def check_schedule(result: Schedule) -> Schedule:
    """The schedule itself; every tensor that a kernel reads is given or was written before."""
    done = {t.name for t in result.program.tensors} - {s.target for k in result.kernels for s in k.statements}
    for kernel in result.kernels:
        for position, s in enumerate(kernel.statements):
            if s.scan is not None:  # a step reads what earlier steps have written
                done |= {kernel.statements[k].target for k in run_of(kernel.statements, position)}
            missing = [r.tensor for r in s.reads if r.tensor not in done]
            assert not missing, f"{kernel.layer}: {s.target} reads {missing[0]} before it is written"
            done.add(s.target)
    return result


def stands_alone(program: Program, kernel: Kernel, shapes: Mapping[str, tuple[sp.Expr, ...]]) -> bool:
    """Whether a kernel needs nothing but tensors of these shapes: no others, and no factors from its caller."""
    scaled = any(isinstance(node, Contraction) and node.scaled for node in kernel.body)
    own = {t.name: t.shape for t in program.tensors}  # all but what a kernel of another program keeps besides
    names = (*kernel.written, *kernel.read)
    return not scaled and all(name in own and shapes.get(name) == own[name] for name in names)


# ---- order


def grouped(statements: Iterable[Statement]) -> dict[Group, list[Statement]]:
    groups: dict[Group, list[Statement]] = {}
    for s in statements:
        groups.setdefault((s.layer, s.direction), []).append(s)
    return groups


def forward_first(groups: Mapping[Group, list[Statement]]) -> dict[Group, list[Statement]]:
    """The groups of the forward pass, those that go both ways, and the others: as a step calls them."""
    ranks = {"forward": 0, "tangent": 0, TOGETHER: 1}
    return {g: groups[g] for g in sorted(groups, key=lambda g: ranks.get(g[1], 2))}


def in_order(groups: Mapping[Group, list[Statement]]) -> dict[Group, list[Statement]] | None:
    """The groups as they are, but each after those whose tensors it reads; None where there is no such order."""
    writers: dict[str, set[Group]] = {}
    for group, statements in groups.items():
        for s in statements:
            writers.setdefault(s.target, set()).add(group)
    needs = {
        group: {w for s in statements for r in s.reads for w in writers.get(r.tensor, ())} - {group}
        for group, statements in groups.items()
    }
    done: dict[Group, list[Statement]] = {}
    while len(done) < len(groups):
        ready = next((g for g in groups if g not in done and needs[g] <= done.keys()), None)
        if ready is None:
            return None
        done[ready] = groups[ready]
    return done


def keeps_order(groups: Mapping[Group, Sequence[Statement]], ordered: Sequence[Statement]) -> bool:
    """Whether all that a statement reads is complete then, and assignments do not undo what came before.

    What a step of a recurrence reads of it is complete, and no later step changes it.
    """
    in_steps = {(s.scan, s.target) for s in ordered if s.scan is not None}
    places: dict[Any, deque[int]] = {}
    for k, s in enumerate(ordered):
        places.setdefault(content(s), deque()).append(k)
    latest: dict[tuple[str, str], int] = {}  # the last of the statements so far that read, add to or assign a tensor
    for s in (s for statements in groups.values() for s in statements):
        place, own = places[content(s)].popleft(), "+=" if s.operator == "+=" else "="
        accesses: dict[tuple[str, str], tuple[str, ...]] = {
            (name, "read"): () if (s.scan, name) in in_steps else ("+=", "=") for name in s.sources
        }
        accesses[s.target, own] = ("read", "=") if own == "+=" else ("read", "+=", "=")
        for (name, access), others in accesses.items():
            if any(latest.get((name, other), -1) > place for other in others):
                return False
            latest[name, access] = max(place, latest.get((name, access), -1))
    return True


def content(s: Statement) -> Any:
    """What a statement does, whatever kernel it is in."""
    return s.target, s.operator, s.subscripts, s.expression, s.domain, s.guard


def moved_on(ordered: Sequence[Statement]) -> dict[Group, list[Statement]]:
    """Groups that run in the statements' order: one that must wait for a later group belongs to that."""
    groups: dict[Group, list[Statement]] = {}
    for (own, scan), run in itertools.groupby(ordered, lambda s: ((s.layer, s.direction), s.scan or id(s))):
        steps = [*run]
        written = {s.target for s in steps}
        names = written.union(*(s.sources for s in steps))
        later = [*groups][[*groups].index(own) + 1 :] if own in groups else []
        others = {g: [t for t in groups[g] if t.scan != scan] for g in later}
        held_up = [g for g in later if any(t.target in names or not written.isdisjoint(t.sources) for t in others[g])]
        layer, direction = group = held_up[-1] if held_up else own
        groups.setdefault(group, []).extend(replace(s, layer=layer, direction=direction) for s in steps)
    return groups


def join_layers(program: Program) -> list[Statement]:
    """Statements of a let whose own value is not needed belong to the layer of their first reader."""
    joined = first_readers(program)
    waiting: dict[str, list[Statement]] = {}
    result: list[Statement] = []
    for s in program.statements:
        if s.layer not in joined:
            result += [*waiting.pop(s.layer, []), s]
        elif s.direction in ("forward", "tangent"):
            waiting.setdefault(joined[s.layer], []).append(replace(s, layer=joined[s.layer]))
        else:  # beside the adjoints of its reader, before those of other layers
            s = replace(s, layer=joined[s.layer])
            own = [i for i, t in enumerate(result) if (t.layer, t.direction) == (s.layer, s.direction)]
            result.insert(own[-1] + 1 if own else len(result), s)
    return result


def first_readers(program: Program) -> dict[str, str]:
    """For each let whose own value is not computed, the first layer with one that reads it, be it through others."""
    live = {s.target for s in program.statements}
    forward = [s for s in program.statements if s.direction == "forward"]
    of = {s.target: s.layer for s in forward}
    order = {layer: k for k, layer in enumerate(dict.fromkeys(s.layer for s in forward))}
    readers: dict[str, set[str]] = {}
    for s in forward:
        for layer in {of[r.tensor] for r in s.reads if of.get(r.tensor, s.layer) != s.layer}:
            readers.setdefault(layer, set()).add(s.layer)
    joined: dict[str, str] = {}
    for layer in sorted(readers, key=lambda layer: -order[layer]):
        if layer not in live:
            joined[layer] = min((joined.get(r, r) for r in readers[layer]), key=lambda r: order[r])
    return joined


def assign_first(program: Program, statements: list[Statement]) -> list[Statement]:
    """Accumulations reordered so that the first write of a tensor covers it, a contraction before any other."""
    writers: dict[str, list[int]] = {}
    for position, s in enumerate(statements):
        writers.setdefault(s.target, []).append(position)
    after: dict[int, list[Statement]] = {}  # what comes after the statement at a position
    moved: set[int] = set()
    for target, positions in writers.items():
        covering = [k for k in positions if statements[k].covers(program.tensor(target).shape)]
        if len(positions) == 1 or not covering or any(statements[k].scan for k in positions):
            continue  # the steps of a scan stay together

        # The write with the most work assigns: then a penalty on a parameter changes nothing else of its gradient.
        def work(k: int) -> tuple[bool, bool]:
            return match_contraction(program.table, statements[k]) is not None, bool(statements[k].reduced)

        best = max(covering, key=work)
        early = [k for k in positions if k < best]
        layer, direction = statements[best].layer, statements[best].direction
        after[best] = [replace(statements[k], layer=layer, direction=direction) for k in early]
        moved |= set(early)
    kept = ([s, *after.get(k, [])] for k, s in enumerate(statements) if k not in moved)
    return [s for group in kept for s in group]


# ---- updates


def updated_in_place(program: Program, bodies: Sequence[tuple[Node, ...]]) -> dict[str, str]:
    """The gradients, each with its parameter, that one matrix product gives, after all that reads the parameter.

    Such a product can be added to the parameter itself, times a factor: no gradient is stored and read again. It comes
    last in its kernel; so neither it nor another such product there, nor a later kernel, may read the parameter.
    """
    if sum(map(element_count, program.parameters)) < SMALL_UPDATE:
        return {}
    bars = {bar for _, bar in program.gradients}
    place = {tensor: k for k, body in enumerate(bodies) for n in body if (tensor := whole_product(n)) is not None}
    last_read: dict[str, int] = {}
    for k, body in enumerate(bodies):
        statements = (s for top in body for w in work_in(top) for s in statements_of(w))
        last_read |= dict.fromkeys((name for s in statements for name in s.sources), k)

    def may_be_added(parameter: str, bar: str) -> bool:
        """Whether one product gives a gradient and nothing reads it, nor the parameter after its kernel's products."""
        if bar not in place or len(program.writers[bar]) > 1 or bar in program.readers:
            return False
        products = [n.statement for n in bodies[place[bar]] if isinstance(n, Contraction)]
        beside = any(parameter in s.sources for s in products if s.target in bars)
        return not beside and last_read.get(parameter, 0) <= place[bar]

    return {bar: parameter for parameter, bar in program.gradients if may_be_added(parameter, bar)}


def whole_product(node: Node) -> str | None:
    """The tensor of which a node gives the whole by one product of two matrices."""
    if not isinstance(node, Contraction) or node.product.batch or node.product.negative:
        return None
    return node.statement.target if 0 < node.product.out.rows < len(node.product.out.free) else None


def scaled_last(body: tuple[Node, ...], bars: Mapping[str, str]) -> tuple[Node, ...]:
    """The body with the products that may change a parameter at its end: what reads the parameter comes before."""
    last = [n for n in body if isinstance(n, Contraction) and n.statement.target in bars]
    return (*(n for n in body if n not in last), *(replace(n, scaled=True) for n in last))
