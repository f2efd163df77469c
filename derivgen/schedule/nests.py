"""Statements of one kernel → loop nests: equal loop prefixes are fused, what lives in one iteration is a scalar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derivgen.arrange.contractions import Product, calls_blas, is_few, match_contraction
from derivgen.form.expressions import TRUE, indices_of, reads_of, subexpressions, substitute
from derivgen.form.program import Program, Range, Scan, Statement, are_plain, is_plain_index
from derivgen.form.ragged import innermost
from derivgen.rewrite.calls import calls_in
from derivgen.rewrite.conditions import is_lone, is_read_under_guard
from derivgen.rewrite.scans import runs

# ---- nodes


@dataclass(frozen=True, slots=True)
class Contraction:
    """A product of matrices; `first` where nothing has written the target before, so that it assigns.

    `scaled`: the caller says by two factors what becomes of the product and of what the target held.
    """

    statement: Statement
    product: Product
    first: bool
    scaled: bool = False


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
        return (self.statement, *(w for w in self.winners if w != self.statement))


@dataclass(frozen=True, slots=True)
class Loop:
    """`parallel`: no iteration touches what another one writes, and they run in threads.

    `scan`: the iterations are the steps of a recurrence, in its order.
    """

    index: sp.Symbol
    extent: sp.Expr
    body: tuple[Node, ...]
    parallel: bool = False
    scan: Scan | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """Every element of a tensor set to one value, before it is accumulated into."""

    tensor: str
    value: sp.Expr


Node = Loop | Compute | Contraction | Fill


# ---- loops

SHORT = 64  # iterations of a loop that are too few for a sum of several vectors at once


def nests(
    program: Program, statements: Sequence[Statement], written: set[str], together: bool = False
) -> tuple[Node, ...]:
    """The loops of one kernel; `written` are the tensors that earlier kernels have written.

    `together`: all that is legal shares a loop, see `rows.py`; else what a compiler vectorizes better has its own.
    """
    fills: list[Node] = []
    nodes: tuple[Node, ...] = ()
    done = set(written)
    statements = [assigned(program, s, fills) for s in statements]
    for scan, run in runs(statements):
        if scan is None:
            nodes = with_work(program, run, nodes, fills, done, together)
            continue
        for s in run:  # no step is the first to write what several of them add to
            if s.target not in done and scan.index not in s.subscripts:
                fills.append(Fill(s.target, start_of(s)))
                done.add(s.target)
        extent = next(r.extent for r in run[0].domain if r.index == scan.index)
        steps = Loop(scan.index, extent, with_work(program, run, (), fills, done), scan=scan)
        nodes = (*nodes, steps)
    return (*fills, *nodes)


def with_work(
    program: Program,
    statements: Sequence[Statement],
    nodes: tuple[Node, ...],
    fills: list[Node],
    done: set[str],
    together: bool = False,
) -> tuple[Node, ...]:
    """The nodes, then the work of some statements, or of a step of a scan; notes what is filled and written."""
    for group in same_reductions(statements):
        s = group[-1]
        first = s.target not in done
        done |= {t.target for t in group}
        product = match_contraction(program.table, s)
        if product is not None and calls_blas(s, product):
            if first and any(r in s.reduced for r in product.batch):  # a sum of products
                fills.append(Fill(s.target, start_of(s)))
                first = False
            nodes = fused(nodes, Contraction(s, product, first), inside_step(s, product.batch))
            continue
        winners = tuple(replace(w, domain=loop_order(w)) for w in group if w.operator == "argmax=")
        order = product_order if product is not None else loop_order if winners else order_of_one
        s = replace(s, domain=order(s))
        if first and needs_fill(program, s):
            fills.append(Fill(s.target, start_of(s)))
            first = False
        nodes = fused(nodes, Compute(s, first, winners), inside_step(s, s.domain), together)
    return nodes


def assigned(program: Program, s: Statement, fills: list[Node]) -> Statement:
    """What is computed under a guard, and 0 elsewhere, is assigned; the 0 comes first, if anyone asks for it."""
    if not is_lone(program, s):
        return s
    if not is_read_under_guard(program, s):
        fills.append(Fill(s.target, start_of(s)))
    return replace(s, operator="=")


def inside_step(s: Statement, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """The ranges without that of the scan, whose loop is around them."""
    return tuple(r for r in ranges if s.scan is None or r.index != s.scan.index)


def start_of(s: Statement) -> sp.Expr:
    """What an accumulation starts from."""
    return -sp.oo if s.operator == "max=" else sp.Integer(0)


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
    return replace(a, target=b.target, operator=b.operator, winner=b.winner) == b


def loop_order(s: Statement) -> tuple[Range, ...]:
    """The domain, innermost the index along which most accesses are contiguous; a maximum keeps its own inside."""
    step = tuple(r for r in s.domain if s.scan is not None and r.index == s.scan.index)
    if step:
        return (*step, *loop_order(replace(s, domain=inside_step(s, s.domain), scan=None)))
    if s.operator in ("max=", "argmax=") or len(s.domain) < 2:
        reduced = s.reduced
        return (*(r for r in s.domain if r not in reduced), *reduced)
    inside = innermost(s)
    if len(inside) < len(s.domain):
        return (*(r for r in s.domain if r not in inside), *loop_order(replace(s, domain=tuple(inside), guard=TRUE)))
    outside = {i for r in reads_of(s.guard) for i in indices_of(r)}
    if outside and any(r.index not in outside for r in s.domain) and calls_in(s):  # a call may be left out
        whole = replace(s, guard=TRUE)
        return tuple(r for part in (True, False) for r in loop_order(whole) if (r.index in outside) is part)
    accesses = [s.write, *s.reads]

    def contiguity(r: Range) -> tuple[int, int, int, bool]:
        far = [k for a in accesses for k, i in enumerate(reversed(a.subscripts)) if k and r.index in i.free_symbols]
        beside = sum(bool(a.subscripts) and a.subscripts[-1] == r.index for a in accesses)
        apart = any(r.index in i.free_symbols for i in s.subscripts[:-1])
        written_out = is_short(r) and r not in s.reduced
        return -len(far), -sum(far), beside, not apart and not written_out

    best = max(map(contiguity, s.domain))
    inner = next(r for r in reversed(s.domain) if contiguity(r) == best)
    return (*(r for r in s.domain if r is not inner), inner)


def order_of_one(s: Statement) -> tuple[Range, ...]:
    """The loops of a statement beside no other: a maximum along an axis that lies apart is taken for a row at once."""
    if s.operator == "max=" and s.scan is None:
        rows = loop_order(replace(s, operator="+="))
        if rows and rows[-1] not in s.reduced and not is_short(rows[-1]):
            return rows
    return loop_order(s)


def product_order(s: Statement) -> tuple[Range, ...]:
    """The loops of a product of matrices: those of a few iterations inside, where they are written out."""
    few = tuple(r for r in s.domain if is_few(r.extent))
    return (*loop_order(replace(s, domain=tuple(r for r in s.domain if r not in few))), *few)


def needs_fill(program: Program, s: Statement) -> bool:
    """Whether a first sum can't assign: it leaves elements out, or its target's loops are not the outer ones."""
    if s.operator == "=":
        return False
    skips = s.guard != sp.true and not s.reduced
    return skips or not s.covers(program.tensor(s.target).shape, guarded=True) or inner_depth(s) is None


def inner_depth(s: Statement) -> int | None:
    """The depth at which the loops over reduced indices start, or None if other loops stand inside them."""
    reduced = [r in s.reduced for r in s.domain]
    depth = reduced.index(True) if True in reduced else len(reduced)
    return depth if all(reduced[depth:]) else None


def fused(
    nodes: tuple[Node, ...], work: Compute | Contraction, loops: tuple[Range, ...], together: bool = False
) -> tuple[Node, ...]:
    """The nodes with some work added: inside the last loop as far as that is legal, then in loops of its own."""
    if loops and nodes:
        last, outer = nodes[-1], loops[0]
        alike = isinstance(last, Loop) and last.scan is None and last.extent == outer.extent
        if isinstance(last, Loop) and alike and runs_well_inside(last, work, loops, together):
            renamed = rename_work(work, outer.index, last.index)
            if renamed is not None and all(independent(last.index, c, renamed) for c in work_in(last)):
                rest = tuple(replace(r, index=last.index) if r is outer else r for r in loops[1:])
                return (*nodes[:-1], replace(last, body=fused(last.body, renamed, rest, together)))
    return (*nodes, within(loops, work))


def runs_well_inside(loop: Loop, work: Compute | Contraction, loops: tuple[Range, ...], together: bool) -> bool:
    """Whether some work gains by sharing a loop: not after a row's maximum, nor as a call after its inner loops.

    Either would keep the compiler from running several rows, or several points, of the loop at once; and so would
    loops that only some of them have, by a condition on data, or by a power: see `has_power`; or a choice by what
    tables say, beside calls: 0.91 → 0.40 ms for the forward pass of an alignment. A sum after calls is taken over so
    many points at once that a short loop has too few: 97 → 21 µs for 1,000 rows of 25 exponentials and their sum.
    """
    done, own = [s for w in work_in(loop) for s in statements_of(w)], statements_of(work)
    beside = [s for node in loop.body if isinstance(node, Compute) for s in statements_of(node)]
    if len(loops) == 1 and beside and any(map(has_power, beside)) != any(map(has_power, own)):
        return False
    if together or isinstance(work, Contraction) or len(loops) > 2:  # the loop is none of rows
        return True
    for one, other in ((beside, own), (own, beside)):
        if len(loops) == 1 and any(map(calls_in, one)) and any(map(looks_up_choice, other)):
            return False
    guarded_by = {i for s in statements_of(work) for r in reads_of(s.guard) for i in indices_of(r)}
    if len(loops) == 2 and guarded_by and loops[1].index not in guarded_by:
        return False
    after_maximum = has_maximum(done) and not has_maximum(own)
    calls = any(s.expression.has(sp.Function) for s in own)
    after_loops = calls and len(loops) == 1 and any(isinstance(n, Loop) and not is_short_sum(n) for n in loop.body)
    after_calls = is_short(loops[0]) and not calls and loops[0] in work.statement.reduced and any(map(calls_in, done))
    return not after_maximum and not after_loops and not after_calls


def has_power(s: Statement) -> bool:
    """Whether a whole power has an exponent that differs between points: each is computed by a loop of its own."""
    return any(isinstance(e, sp.Pow) and e.exp.is_integer and e.exp.free_symbols for e in subexpressions(s.expression))


def looks_up_choice(s: Statement) -> bool:
    """Whether a value without calls is chosen by conditions that read elements at places told by tables."""
    choices = [e for e in subexpressions(s.expression) if isinstance(e, sp.Piecewise)]
    told = (read for e in choices for pair in e.args for read in reads_of(pair.args[1]))
    return not calls_in(s) and any(reads_of(*read.subscripts) for read in told)


def is_short_sum(loop: Loop) -> bool:
    """Whether a loop adds up a few products, which are written out in the end."""
    parts = [s for w in work_in(loop) for s in statements_of(w)]
    plain = all(are_plain(read.subscripts) for s in parts for read in s.reads)
    return is_few(loop.extent) and plain and all(s.operator == "+=" and not calls_in(s) for s in parts)


def is_short(r: Range) -> bool:
    return bool(r.extent.is_Integer and r.extent < SHORT)


def has_maximum(statements: Iterable[Statement]) -> bool:
    return any(s.operator == "max=" for s in statements)


def within(loops: Sequence[Range], node: Node) -> Node:
    """The node inside loops of its own."""
    for r in reversed(loops):
        node = Loop(r.index, r.extent, (node,))
    return node


def carrier(s: Statement) -> sp.Symbol | None:
    """The index of the loop that carries a reduction: the outermost reduced one inside of all that the target has.

    What loops further out reduce is then added to the target.
    """
    reduced = s.reduced
    inside = len(s.domain) - next((k for k, r in enumerate(reversed(s.domain)) if r not in reduced), len(s.domain))
    plain = all(is_plain_index(i) for i in s.subscripts)
    return s.domain[inside].index if inside < len(s.domain) and plain else None


def rename_work(work: Compute | Contraction, old: sp.Symbol, new: sp.Symbol) -> Compute | Contraction | None:
    """The work over another index symbol; None where it uses that symbol for another range, or has matched it."""
    if old == new:
        return work
    if isinstance(work, Contraction) or any(r.index == new for r in work.statement.domain):
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


def independent(index: sp.Symbol, earlier: Compute | Contraction, later: Compute | Contraction) -> bool:
    """Whether two pieces of work may share a loop: no iteration touches what another one writes."""
    return all(shares_loop(index, a, b, earlier.first) for a in statements_of(earlier) for b in statements_of(later))


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


def loops_in(loop: Loop) -> list[Loop]:
    """The loop itself, and all inside."""
    return [loop, *(inner for node in loop.body if isinstance(node, Loop) for inner in loops_in(node))]


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
        if len(accesses) == 1 and {loop.index for loop in prefix[: len(subscripts)]} == set(subscripts):
            found.add(name)
    return frozenset(found)


MOST_IN_ROW = 9  # elements that a row has of a tensor, for it to need no memory: a point, or a rotation


def row_arrays_of(program: Program, body: tuple[Node, ...], private: Iterable[str]) -> dict[str, int]:
    """The kernel's own tensors of which an iteration uses its own few elements alone, each with its axes of loops."""
    found = {}
    for name in private:
        around = list(loops_around(name, body, ()))
        computed = [node for _, node in around if isinstance(node, Compute)]
        if not around or len(computed) < len(around) or program.tensor(name).integer:
            continue
        statements = [s for node in computed for s in node.statements]
        accesses = {a for s in statements for a in (s.write, *s.reads) if a.tensor == name}
        prefix = [loop.index for loop in common_prefix([loops for loops, _ in around])]
        shape = program.tensor(name).shape
        for axes in range(len(shape) - 1, 0, -1):
            outer, inner = {a.subscripts[:axes] for a in accesses}, sp.Mul(*shape[axes:])
            own = len(outer) == 1 and set(next(iter(outer))) == {*prefix[:axes]}
            if own and inner.is_Integer and inner <= MOST_IN_ROW and len(shape) - axes < 3:
                found[name] = axes
                break
    return found


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
