"""Program → kernels: loop nests, and contractions that a matrix product computes.

Input: a simplified Program. Output: a Schedule, neutral of the target language: which kernel computes what, in which
loops, with which buffers. The steps, in order: helpers of dead lets join their readers' layer; accumulations are
ordered so that the first write of a tensor assigns it; statements are grouped into one kernel a layer and direction;
inside a kernel, equal loop prefixes are fused; what lives in one iteration only is a scalar.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.expressions import Read, substitute
from derivgen.program import Direction, Program, Range, Role, Statement, Tensor, is_plain_index, names_of

# ---- the result


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor read as a matrix: its axes merged into two groups (one for a vector), perhaps transposed."""

    tensor: str
    rows: int  # axes in the first group
    transposed: bool


@dataclass(frozen=True, slots=True)
class Contraction:
    """out = left · right as matrices."""

    statement: Statement
    left: Operand
    right: Operand
    out: Operand


@dataclass(frozen=True, slots=True)
class Compute:
    """The work of a statement at a point of its loops; `first` where nothing has written the target before.

    A maximum and its arg-maxima are one piece of work: `winners` are the arg-maxima.
    """

    statement: Statement
    first: bool
    winners: tuple[Statement, ...] = ()

    @property
    def statements(self) -> tuple[Statement, ...]:
        return (self.statement, *(w for w in self.winners if w is not self.statement))


@dataclass(frozen=True, slots=True)
class Loop:
    """`carried` are the reductions whose reduced loops this is the outermost of: each runs in a scalar."""

    index: sp.Symbol
    extent: sp.Expr
    body: tuple[Node, ...]
    carried: tuple[Compute, ...] = ()


@dataclass(frozen=True, slots=True)
class Fill:
    """Every element of a tensor set to one value, before it is accumulated into."""

    tensor: str
    value: sp.Expr


Node = Loop | Compute | Contraction | Fill


@dataclass(frozen=True, slots=True)
class Kernel:
    """The statements of one layer in one direction, as loops; `scalars` are tensors that live in one iteration."""

    layer: str
    direction: Direction
    statements: tuple[Statement, ...]
    body: tuple[Node, ...]
    scalars: frozenset[str]

    @property
    def body_nodes(self) -> list[Fill | Compute | Contraction]:
        """The nodes that write, in order."""
        fills = [node for node in self.body if isinstance(node, Fill)]
        return [*fills, *(work for node in self.body for work in work_in(node))]

    @property
    def written(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.target for s in self.statements if s.target not in self.scalars))

    @property
    def read(self) -> tuple[str, ...]:
        names = (read.tensor for s in self.statements for read in s.reads)
        return tuple(dict.fromkeys(n for n in names if n not in self.scalars and n not in self.written))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Kernels in order of execution."""

    program: Program
    kernels: tuple[Kernel, ...]


def schedule(program: Program) -> Schedule:
    """The kernels of a simplified program."""
    ordered = assign_first(program, join_layers(program))
    program, ordered = separate_products(program, ordered)
    groups: dict[tuple[str, Direction], list[Statement]] = {}
    for s in ordered:
        groups.setdefault((s.layer, s.direction), []).append(s)
    readers = kernels_that_read(groups)
    written: set[str] = set()
    kernels = []
    for (layer, direction), statements in groups.items():
        body = nests(program, statements, written)
        private = {t for t in readers if readers[t] == {(layer, direction)}} - set(program.outputs)
        kernels.append(Kernel(layer, direction, tuple(statements), body, scalars_of(body, private)))
        written |= {s.target for s in statements}
    return check_schedule(Schedule(program, tuple(kernels)))


def share_kernels(prediction: Schedule, training: Schedule) -> Schedule:
    """The prediction's schedule with the training's kernels where they compute what the prediction needs."""
    theirs = {(k.layer, k.direction): k for k in training.kernels}
    given = {t.name for t in prediction.program.tensors} - {s.target for k in prediction.kernels for s in k.statements}
    needed = {name for k in prediction.kernels for name in k.read} | {prediction.program.prediction}
    kernels: list[Kernel] = []
    for kernel in prediction.kernels:
        other = theirs.get((kernel.layer, kernel.direction))
        available = given | {name for k in kernels for name in k.written}
        same = other is not None and set(kernel.statements) <= set(other.statements)
        if other is not None and same and set(other.read) <= available and not other.scalars & needed:
            kernel = other
        kernels.append(kernel)
    return replace(prediction, kernels=tuple(kernels))


def kernels_that_read(groups: dict[tuple[str, Direction], list[Statement]]) -> dict[str, set[tuple[str, Direction]]]:
    """For each written tensor, the kernels that access it."""
    accessed: dict[str, set[tuple[str, Direction]]] = {}
    written = {s.target for statements in groups.values() for s in statements}
    for key, statements in groups.items():
        for s in statements:
            for name in (s.target, *(r.tensor for r in s.reads)):
                if name in written:
                    accessed.setdefault(name, set()).add(key)
    return accessed


def check_schedule(result: Schedule) -> Schedule:
    """The schedule itself; every tensor that a kernel reads is given or was written by a kernel before."""
    done = {t.name for t in result.program.tensors} - {s.target for k in result.kernels for s in k.statements}
    for kernel in result.kernels:
        for s in kernel.statements:
            missing = [r.tensor for r in s.reads if r.tensor not in done]
            assert not missing, f"{kernel.layer}: {s.target} reads {missing[0]} before it is written"
            done.add(s.target)
    return result


# ---- order


def join_layers(program: Program) -> list[Statement]:
    """Statements of a let whose own value is not needed belong to the layer of their first reader."""
    live = {s.target for s in program.statements}
    reader: dict[str, str] = {}
    for s in reversed(program.statements):
        if s.direction == "forward":
            layer = s.layer if s.layer in live else reader[s.target]
            reader.update(dict.fromkeys((r.tensor for r in s.reads), layer))
    joined = {
        s.layer: reader[s.target] for s in reversed(program.statements) if s.layer not in live and s.target in reader
    }
    waiting: dict[str, list[Statement]] = {}
    result: list[Statement] = []
    for s in program.statements:
        if s.layer not in joined:
            result += [*waiting.pop(s.layer, []), s]
        elif s.direction == "forward":
            waiting.setdefault(joined[s.layer], []).append(replace(s, layer=joined[s.layer]))
        else:
            result.append(replace(s, layer=joined[s.layer]))
    return result


def assign_first(program: Program, statements: list[Statement]) -> list[Statement]:
    """Accumulations reordered so that the first write of a tensor covers it, a contraction before any other."""
    result = list(statements)
    for target in dict.fromkeys(s.target for s in statements):
        writers = [s for s in result if s.target == target]
        covering = [s for s in writers if s.covers(program.tensor(target).shape)]
        # The write with the most work assigns: then a penalty on a parameter changes nothing else of its gradient.
        best = max(covering, key=lambda s: (match_contraction(program, s) is not None, bool(s.reduced)), default=None)
        early = writers[: writers.index(best)] if best is not None else []
        if best is None or not early:
            continue
        result = [s for s in result if s not in early]
        position = result.index(best) + 1
        result[position:position] = [replace(s, layer=best.layer, direction=best.direction) for s in early]
    return result


def separate_products(program: Program, statements: list[Statement]) -> tuple[Program, list[Statement]]:
    """A matrix product assigns: a second one into the same tensor goes through a tensor of its own."""
    names = names_of(program)
    parts: list[Tensor] = []
    result: list[Statement] = []
    written: set[str] = set()
    for s in statements:
        if s.target in written and match_contraction(program, s):
            part = replace(
                program.tensor(s.target), name=names.fresh(f"{s.target}_part"), role=Role.ADJOINT, of=s.target
            )
            parts.append(part)
            domain = tuple(r for i in s.subscripts for r in s.domain if r.index == i)
            result.append(replace(s, target=part.name))
            s = replace(s, expression=Read(part.name, *s.subscripts), domain=domain)
        written.add(s.target)
        result.append(s)
    return program.with_statements(result, parts), result


# ---- contractions


def match_contraction(program: Program, s: Statement) -> tuple[Operand, Operand, Operand] | None:
    """(left, right, out) of a statement that is a product of two matrices, or of a matrix and a vector."""
    if s.operator != "+=" or s.guard != sp.true or not s.covers(program.tensor(s.target).shape):
        return None
    reads = sp.Mul.make_args(s.expression)
    if len(reads) != 2 or not all(isinstance(r, Read) and is_whole(program, r, s) for r in reads):
        return None
    reads = sorted(reads, key=lambda r: -len(r.subscripts))  # a matrix before a vector
    for a, b in (reads, reads[::-1]):
        operands = matrix_product(s.subscripts, a, b)
        if operands is not None:
            left, right, out = operands
            return Operand(a.tensor, *left), Operand(b.tensor, *right), Operand(s.target, *out)
    return None


def is_whole(program: Program, read: Read, s: Statement) -> bool:
    """Whether a real tensor is read over its whole extent, at distinct plain indices."""
    extents = {r.index: r.extent for r in s.domain}
    tensor = program.tensor(read.tensor)
    plain = all(is_plain_index(i) for i in read.subscripts) and len(set(read.subscripts)) == len(read.subscripts)
    return plain and not tensor.integer and tuple(extents[i] for i in read.subscripts) == tensor.shape


Layout = tuple[int, bool]


def matrix_product(out: tuple[sp.Expr, ...], a: Read, b: Read) -> tuple[Layout, Layout, Layout] | None:
    """How out[I,J] = Σ_K a[I,K]·b[K,J] lies in memory, each of a and b perhaps transposed; I or J may be empty."""
    summed = [i for i in a.subscripts if i in b.subscripts and i not in out]
    rows = [i for i in a.subscripts if i not in summed]
    columns = [i for i in b.subscripts if i not in summed]
    if not summed or not (rows or columns) or tuple(rows + columns) != out:
        return None
    left = layout(a.subscripts, rows, summed)
    right = layout(b.subscripts, summed, columns)
    if left is None or right is None:
        return None
    return left, right, (len(rows), False)


def layout(subscripts: tuple[sp.Expr, ...], first: list[sp.Expr], second: list[sp.Expr]) -> Layout | None:
    if subscripts == tuple(first + second):
        return len(first), False
    if subscripts == tuple(second + first):
        return len(second), True
    return None


# ---- loops


def nests(program: Program, statements: Sequence[Statement], written: set[str]) -> tuple[Node, ...]:
    """The loops of one kernel; `written` are the tensors that earlier kernels have written."""
    fills: list[Node] = []
    nodes: tuple[Node, ...] = ()
    done = set(written)
    for group in same_reductions(statements):
        s = group[-1]
        first = s.target not in done
        done |= {t.target for t in group}
        operands = match_contraction(program, s)
        if operands is not None:
            nodes = (*nodes, Contraction(s, *operands))
            continue
        winners = tuple(replace(w, domain=loop_order(w)) for w in group if w.operator == "argmax=")
        s = replace(s, domain=loop_order(s))
        if first and needs_fill(program, s):
            fills.append(Fill(s.target, -sp.oo if s.operator == "max=" else sp.Integer(0)))
            first = False
        work = Compute(s, first, winners)
        nodes = fused(nodes, work, s.domain)
    return (*fills, *(carrying(node) for node in nodes))


def same_reductions(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    """The statements one by one, but arg-maxima together with their maximum."""
    group: list[Statement] = []
    for s in statements:
        if group and (s.operator not in ("max=", "argmax=") or not same_reduction(s, group[-1])):
            yield group
            group = []
        group.append(s)
        if s.operator != "argmax=":
            yield group
            group = []
    if group:
        yield group


def same_reduction(a: Statement, b: Statement) -> bool:
    return (a.expression, a.guard, a.subscripts, a.domain) == (b.expression, b.guard, b.subscripts, b.domain)


def loop_order(s: Statement) -> tuple[Range, ...]:
    """The domain with the index innermost along which most accesses are contiguous; a maximum keeps its target outside."""
    if s.operator in ("max=", "argmax=") or len(s.domain) < 2:
        reduced = s.reduced
        return (*(r for r in s.domain if r not in reduced), *reduced)
    accesses = [s.write, *s.reads]

    def contiguity(index: sp.Symbol) -> int:
        strided = sum(index in i.free_symbols for a in accesses for i in a.subscripts[:-1])
        return sum(bool(a.subscripts) and a.subscripts[-1] == index for a in accesses) - strided

    best = max(contiguity(r.index) for r in s.domain)
    inner = next(r for r in reversed(s.domain) if contiguity(r.index) == best)
    return (*(r for r in s.domain if r is not inner), inner)


def needs_fill(program: Program, s: Statement) -> bool:
    """Whether a first accumulation can't assign: it leaves elements out, or its target's loops are not the outer ones."""
    if s.operator == "=":
        return False
    skips = s.guard != sp.true and not s.reduced
    return skips or not s.covers(program.tensor(s.target).shape, guarded=True) or inner_depth(s) is None


def inner_depth(s: Statement) -> int | None:
    """The depth at which the loops over reduced indices start, or None if other loops stand inside them."""
    reduced = [r in s.reduced for r in s.domain]
    depth = reduced.index(True) if True in reduced else len(reduced)
    return depth if all(reduced[depth:]) else None


def fused(nodes: tuple[Node, ...], work: Compute, loops: tuple[Range, ...]) -> tuple[Node, ...]:
    """The nodes with some work added: inside the last loop as far as that is legal, then in loops of its own."""
    if loops and nodes:
        last, outer = nodes[-1], loops[0]
        if isinstance(last, Loop) and last.extent == outer.extent:
            renamed = rename_work(work, outer.index, last.index)
            if renamed is not None and all(independent(last.index, c, renamed) for c in work_in(last)):
                rest = tuple(replace(r, index=last.index) if r is outer else r for r in loops[1:])
                return (*nodes[:-1], replace(last, body=fused(last.body, renamed, rest)))
    node: Node = work
    for r in reversed(loops):
        node = Loop(r.index, r.extent, (node,))
    return (*nodes, node)


def carrying(node: Node) -> Node:
    """The node with each reduction attached to the loop that carries it."""
    if not isinstance(node, Loop):
        return node
    body = tuple(carrying(inner) for inner in node.body)
    carried = tuple(c for c in work_in(node) if isinstance(c, Compute) and carrier(c.statement) == node.index)
    return replace(node, body=body, carried=carried)


def carrier(s: Statement) -> sp.Symbol | None:
    """The index of the loop that carries a reduction: the outermost reduced one, where the reduced ones are inside."""
    depth = inner_depth(s)
    plain = all(is_plain_index(i) for i in s.subscripts)
    return s.domain[depth].index if s.reduced and depth is not None and plain else None


def rename_work(work: Compute, old: sp.Symbol, new: sp.Symbol) -> Compute | None:
    """The work over another index symbol; None where it uses that symbol for another range."""
    if old == new:
        return work
    if any(r.index == new for r in work.statement.domain):
        return None
    winners = tuple(rename_index(w, old, new) for w in work.winners)
    return replace(work, statement=rename_index(work.statement, old, new), winners=winners)


def rename_index(s: Statement, old: sp.Symbol, new: sp.Symbol) -> Statement:
    names = {old: new}
    return replace(
        s,
        subscripts=tuple(substitute(i, names) for i in s.subscripts),
        expression=substitute(s.expression, names),
        guard=substitute(s.guard, names),
        domain=tuple(replace(r, index=names.get(r.index, r.index)) for r in s.domain),
        winner=names.get(s.winner, s.winner),
    )


def independent(index: sp.Symbol, earlier: Compute | Contraction, later: Compute) -> bool:
    """Whether two pieces of work may share a loop: no iteration touches what another one writes."""
    assigns = isinstance(earlier, Contraction) or earlier.first
    return all(shares_loop(index, a, b, assigns) for a in statements_of(earlier) for b in later.statements)


def shares_loop(index: sp.Symbol, earlier: Statement, later: Statement, assigns: bool) -> bool:
    """Whether what one of them writes is accessed at the loop's index, in one and the same axis throughout.

    Two accumulations into one tensor commute, unless the earlier one assigns.
    """
    for a, b in ((earlier, later), (later, earlier)):
        accesses = [a.write, *(r for r in (*b.reads, b.write) if r.tensor == a.target)]
        adds = a.target == b.target and a.operator == b.operator == "+=" and not assigns
        if len(accesses) == 1 or (adds and len(accesses) == 2):
            continue
        axes = [{axis for axis, i in enumerate(access.subscripts) if i == index} for access in accesses]
        if not set.intersection(*axes):
            return False
    return True


def statements_of(work: Compute | Contraction) -> tuple[Statement, ...]:
    return work.statements if isinstance(work, Compute) else (work.statement,)


def work_in(node: Node) -> Iterator[Compute | Contraction]:
    if isinstance(node, Loop):
        for inner in node.body:
            yield from work_in(inner)
    elif isinstance(node, Compute | Contraction):
        yield node


# ---- scalars


def scalars_of(body: tuple[Node, ...], private: Iterable[str]) -> frozenset[str]:
    """The kernel's own tensors that are accessed in one nest only, at the indices of loops around all accesses."""
    found = set()
    for name in private:
        around = list(loops_around(name, body, ()))
        computed = [node for _, node in around if isinstance(node, Compute)]
        if not around or len(computed) < len(around):
            continue
        statements = [s for node in computed for s in node.statements]
        accesses = {a for s in statements for a in (s.write, *s.reads) if a.tensor == name}
        prefix = common_prefix([loops for loops, _ in around])
        subscripts = next(iter(accesses)).subscripts
        if len(accesses) == 1 and tuple(loop.index for loop in prefix)[: len(subscripts)] == subscripts:
            found.add(name)
    return frozenset(found)


def loops_around(name: str, body: tuple[Node, ...], outer: tuple[Loop, ...]) -> Iterator[tuple[tuple[Loop, ...], Node]]:
    """(the loops around it, the node) of each node that accesses a tensor."""
    for node in body:
        if isinstance(node, Loop):
            yield from loops_around(name, node.body, (*outer, node))
        elif isinstance(node, Fill):
            if node.tensor == name:
                yield outer, node
        elif any(name in (s.target, *(r.tensor for r in s.reads)) for s in statements_of(node)):
            yield outer, node


def common_prefix(paths: list[tuple[Loop, ...]]) -> tuple[Loop, ...]:
    prefix = paths[0]
    for path in paths[1:]:
        length = next((i for i, (a, b) in enumerate(zip(prefix, path, strict=False)) if a is not b), None)
        prefix = prefix[: min(len(prefix), len(path)) if length is None else length]
    return prefix
