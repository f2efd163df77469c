"""What code costs: operations, calls of functions and bytes moved, polynomials in the run-time sizes.

Counted is what the statements say, before any compiler: at most, since a branch counts as always taken, and a loop that
a bound cuts short as a whole one. Bytes are the least that must move where nothing stays in a cache between two
statements at the top of a function, and everything does inside one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import sympy as sp

from derivgen.code.proof import Proof
from derivgen.code.tree import Assign, Block, Code, Fill, For, Function, If, Let, Matrix, Product, Scale, values_of
from derivgen.form.expressions import Read, indices_of, reads_of
from derivgen.form.sizes import at_most, element_count
from derivgen.schedule.cost import FREE, ONE, Cost, item_bytes, scalar_cost, total


def function_cost(function: Function, itemsize: int) -> Cost:
    """The cost of one call."""
    proof = Proof(function)
    work = work_of(function.body, proof)
    moved = sp.Add(*(moved_by(code, function, itemsize) for code in function.body))
    return (work + Cost(moved=moved)).at({})


# ---- operations


def work_of(block: Block, proof: Proof) -> Cost:
    return total(statement_cost(code, proof) for code in block)


def statement_cost(code: Code, proof: Proof) -> Cost:
    match code:
        case Let():
            return scalar_cost(code.value, proof.is_integer)
        case Assign():
            own = scalar_cost(code.value, proof.is_integer)
            return own if code.operator == "=" else own + Cost(flops=ONE)
        case For():  # over blocks of rows: the rows count, not the blocks
            body = work_of(code.body, proof)
            return body.times(code.extent) if code.step == 1 else body
        case If():
            ways = work_of(code.body, proof), work_of(code.otherwise, proof)
            ranks = Cost(flops=ONE) if is_of_ranks(code) else FREE
            return scalar_cost(code.condition, proof.is_integer) + ranks + costlier(*ways)
        case Product():
            return Cost(flops=2 * elements(code.left) * (elements(code.out) / sp.Mul(*first_side(code))))
        case Fill():
            return FREE


def is_of_ranks(code: If) -> bool:
    """Whether a branch compares the ranks of reals, which counts as the comparison of these would."""
    return all(isinstance(e, Read) and not e.subscripts for e in code.condition.args)


def costlier(a: Cost, b: Cost) -> Cost:
    """The larger of two costs, part by part; both together where neither is at most the other one."""

    def most(x: sp.Expr, y: sp.Expr) -> sp.Expr:
        return y if at_most(x, y) else x if at_most(y, x) else x + y

    return Cost(most(a.flops, b.flops), most(a.calls, b.calls), most(a.moved, b.moved))


def elements(m: Matrix) -> sp.Expr:
    return sp.Mul(*m.rows, *m.columns)


def first_side(p: Product) -> tuple[sp.Expr, ...]:
    """The extents of the rows that a product has of its left factor; none where that is a vector."""
    if not p.left.columns:
        return ()
    return p.left.columns if p.left.transposed else p.left.rows


# ---- memory


@dataclass(slots=True)
class Moves:
    """What is read before it has been written, what is written, and how many elements each access reaches."""

    loaded: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    reached: dict[str, dict[object, sp.Expr]] = field(default_factory=dict)

    def read(self, name: str, key: object, count: sp.Expr) -> None:
        self.reached.setdefault(name, {})[key] = count
        if name not in self.stored:
            self.loaded.add(name)

    def write(self, name: str, key: object, count: sp.Expr) -> None:
        self.reached.setdefault(name, {})[key] = count
        self.stored.add(name)


def moved_by(code: Code, function: Function, itemsize: int) -> sp.Expr:
    """The bytes that a statement at the top of a function reads and writes."""
    moves = Moves()
    note(code, moves, function, {})
    bytes_ = []
    for name, accesses in moves.reached.items():
        t, count = function.arrays[name], sp.Add(*accesses.values())
        whole = element_count(t)
        size = (count if at_most(count, whole) else whole) * item_bytes(t, itemsize)
        bytes_.append(size * ((name in moves.loaded) + (name in moves.stored)))
    return sp.Add(*bytes_)


def note(code: Code, moves: Moves, function: Function, extents: dict[sp.Symbol, sp.Expr]) -> None:
    """Notes what a statement moves, in loops of these extents."""

    def count(*subscripts: sp.Expr | None) -> sp.Expr:
        used = {i for s in subscripts if s is not None for i in indices_of(s)}
        return sp.Mul(*(extents[i] for i in sorted(used, key=str)))

    if isinstance(code, Product):
        for m in (code.left, code.right, *([code.out] if code.scale is not Scale.ASSIGN else [])):
            moves.read(m.array, m.point, count(*m.point) * elements(m))
        moves.write(code.out.array, code.out.point, count(*code.out.point) * elements(code.out))
        return
    for read in elements_read(code):
        moves.read(read.tensor, read.subscripts, count(*read.subscripts))
    match code:
        case Assign() if code.place.subscripts:
            moves.write(code.place.tensor, code.place.subscripts, count(*code.place.subscripts))
        case Fill():
            moves.write(code.array, (), element_count(function.arrays[code.array]))
        case For():
            for inner in code.body:
                note(inner, moves, function, extents | {code.index: code.extent})
        case If():
            for inner in (*code.body, *code.otherwise):
                note(inner, moves, function, extents)


def elements_read(code: Code) -> Iterator[Read]:
    return (read for read in reads_of(*values_of(code)) if read.subscripts)
