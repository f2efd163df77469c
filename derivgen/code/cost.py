"""What code costs: operations, calls of functions and bytes moved, polynomials in the run-time sizes.

Counted is what the statements say, before any compiler: at most, since a branch counts as always taken, and a loop that
a bound cuts short as a whole one, unless its ends are a fixed distance apart. Bytes are the least that must move where
nothing stays in a cache between two statements at the top of a function, and everything does inside one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import sympy as sp

from derivgen.code.proof import Proof, greatest_of, least_of
from derivgen.code.tree import Assign, Block, Code, Fill, For, Function, If, Let, Matrix, Product
from derivgen.code.visit import blocks_of, mapped, read_by, values_of, with_blocks, written_by
from derivgen.form.expressions import Read, indices_of, reads_of, substitute
from derivgen.form.sizes import at_most, element_count
from derivgen.schedule.cost import FREE, ONE, PARTS, Cost, Moves, bytes_reached, scalar_cost, total


def function_cost(function: Function, itemsize: int) -> Cost:
    """The cost of one call."""
    proof = Proof(function)
    work = work_of(function.body, proof)
    plain = function.with_body(with_sums_stored_once(with_places(function.body)))
    moved = sp.Add(*(moved_by(code, plain, itemsize) for code in plain.body))
    return (work + Cost(moved=moved)).expanded()


# ---- operations


Rows = Mapping[sp.Symbol, sp.Expr]  # how many there are of all blocks, by the index of the loop over blocks
NO_BLOCKS: Rows = MappingProxyType({})


def work_of(block: Block, proof: Proof, rows: Rows = NO_BLOCKS) -> Cost:
    return total(statement_cost(code, proof, rows) for code in block)


def statement_cost(code: Code, proof: Proof, rows: Rows = NO_BLOCKS) -> Cost:
    match code:
        case Let():
            return scalar_cost(code.value, proof.is_integer)
        case Assign():
            own = scalar_cost(code.value, proof.is_integer)
            return own if code.operator == "=" else own + Cost(flops=ONE)
        case For() if code.step != 1:  # over blocks of rows: the rows count, not the blocks
            return work_of(code.body, proof, {**rows, code.index: code.extent})
        case For():
            of_block = [count for index, count in rows.items() if loop_is_over(code, index)]
            return work_of(code.body, proof, rows).times(of_block[0] if of_block else iterations(code))
        case If():
            ways = work_of(code.body, proof, rows), work_of(code.otherwise, proof, rows)
            ranks = Cost(flops=ONE) if is_of_ranks(code) else FREE
            return scalar_cost(code.condition, proof.is_integer) + ranks + costlier(*ways)
        case Product():
            flops = 2 * elements(code.left) * (elements(code.out) / sp.Mul(*first_side(code)))
            return Cost(flops=flops, products=flops)
        case _:
            return FREE


def iterations(loop: For) -> sp.Expr:
    """How many a loop has, at most."""
    spans = [sp.expand(stop - start) for stop in least_of(loop.stop) for start in greatest_of(loop.start)]
    return min((span for span in spans if span.is_Integer), default=loop.extent)


def loop_is_over(loop: For, index: sp.Symbol) -> bool:
    """Whether a loop goes through the rows of a block, from this index on: `for k in range(min(256, N - i))`.

    Or `for n in range(i, min(i + 256, N))`.
    """
    return loop.most is not None and loop.start in (0, index) and bool(loop.stop.has(index))


def is_of_ranks(code: If) -> bool:
    """Whether a branch compares the ranks of reals, which counts as the comparison of these would."""
    return all(isinstance(e, Read) and not e.subscripts for e in code.condition.args)


def costlier(a: Cost, b: Cost) -> Cost:
    """The larger of two costs, part by part; both together where neither is at most the other one."""

    def most(x: sp.Expr, y: sp.Expr) -> sp.Expr:
        return y if at_most(x, y) else x if at_most(y, x) else x + y

    return Cost(*(most(getattr(a, part), getattr(b, part)) for part in PARTS))


def elements(m: Matrix) -> sp.Expr:
    return sp.Mul(*m.rows, *m.columns)


def first_side(p: Product) -> tuple[sp.Expr, ...]:
    """The extents of the rows that a product has of its left factor; none where that is a vector."""
    if not p.left.columns:
        return ()
    return p.left.columns if p.left.transposed else p.left.rows


# ---- memory


Reached = dict[str, dict[object, sp.Expr]]  # array → subscripts → how many elements an access reaches


def moved_by(code: Code, function: Function, itemsize: int) -> sp.Expr:
    """The bytes that a statement at the top of a function reads and writes."""
    moves, reached = Moves(), Reached()
    note(code, moves, reached, function, {})
    sizes = {name: bytes_reached(function.arrays[name], found.values(), itemsize) for name, found in reached.items()}
    return sp.sympify(moves.total(sizes))


def note(code: Code, moves: Moves, reached: Reached, function: Function, extents: dict[sp.Symbol, sp.Expr]) -> None:
    """Notes what a statement moves, in loops of these extents."""

    def reach(name: str, subscripts: tuple[sp.Expr | None, ...], each: sp.Expr = ONE) -> None:
        if name not in function.arrays:  # of the function's own, which stays in the cache
            return
        used = {i for s in subscripts if s is not None for i in indices_of(s)}
        reached.setdefault(name, {})[subscripts] = sp.Mul(*(extents[i] for i in sorted(used, key=str)), each)

    if isinstance(code, Product):
        for m in (code.left, code.right, code.out):
            reach(m.array, m.point, elements(m))
    for read in (r for r in reads_of(*values_of(code)) if r.subscripts):
        reach(read.tensor, read.subscripts)
    moves.read(*(name for name in read_by(code) if name in function.arrays))
    match code:
        case Assign() if code.place.subscripts:
            reach(code.place.tensor, code.place.subscripts)
        case Fill():
            reach(code.array, (), element_count(function.arrays[code.array]))
        case For():
            extents = extents | {code.index: code.extent}
    if (name := written_by(code)) in function.arrays:
        moves.stored.add(str(name))
    for block in blocks_of(code):
        for inner in block:
            note(inner, moves, reached, function, extents)


def with_sums_stored_once(block: Block) -> Block:
    """The block with a sum over blocks of rows, which starts from 0 at its place, as one that is stored at last.

    z[0] = 0; for first in range(0, N, 4096): …; z[0] += z_part  →  for first in range(0, N, 4096): …; z[0] = z_part
    """
    over_blocks = [code for code in block if isinstance(code, For) and code.step != 1]
    added = {c.place for loop in over_blocks for c in loop.body if isinstance(c, Assign) and c.operator == "+="}
    starts = {c.place for c in block if isinstance(c, Assign) and c.value == 0 and c.operator == "="} & added

    def stored(code: Code) -> Code:
        return replace(code, operator="=") if isinstance(code, Assign) and code.place in starts else code

    changed = (replace(c, body=tuple(map(stored, c.body))) if c in over_blocks else c for c in block)
    return tuple(c for c in changed if not (isinstance(c, Assign) and c.place in starts and c.value == 0))


# ---- locals that hold places


def with_places(block: Block) -> Block:
    """The block with what integer locals hold in place of them: an element at `k_n = k[n]` is as many as there are n.

    Blocks beside each other may have locals of one name.
    """
    held, made = dict[sp.Expr, sp.Expr](), list[Code]()
    for code in block:
        code = with_blocks(mapped(code, partial(substitute, mapping=dict(held))), with_places)
        if isinstance(code, Let) and code.integer and isinstance(code.value, Read):
            held[Read(code.name)] = code.value
        made.append(code)
    return tuple(made)
