"""Costs of expressions, of update rules, and of loops before there is code: polynomials in the run-time sizes.

Counted is what the formulas say, before any compiler: at most, since a guarded statement and the costliest branch count
as always taken. The cost of a kernel is that of its code: see `code/cost.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import Read, indices_of, is_integral, reads_of
from derivgen.form.functions import RECORDS, of_ordinal, ordinal
from derivgen.form.notation import split_fraction
from derivgen.form.program import Program, Range, Statement, Tensor
from derivgen.form.sizes import at_most, element_count
from derivgen.schedule.nests import Compute, Contraction, Fill, Loop, Node
from derivgen.schedule.schedule import Kernel
from derivgen.update.hoisted import hoisted
from derivgen.update.ordered import ordered
from derivgen.update.rule import UpdateRule, g

ZERO, ONE = sp.Integer(0), sp.Integer(1)

# Functions that are an operation or two of the machine, by operations; every other function is a call.
OPERATIONS: dict[type, int] = {f.type: f.cost for f in RECORDS if f.cost is not None}

# Nanoseconds of one core in float64, measured over rows in the cache: the rule by which it is decided what pays, and
# the time that `derivgen cost` shows. A call is that of one number at a time; float32 takes half.
OPERATION, PRODUCT, DIVISION, CALL = sp.Rational(3, 20), sp.Rational(1, 25), sp.Integer(1), sp.Integer(5)
BYTE = sp.Rational(3, 80)

INTEGER_BYTES = 8  # int64
REAL_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations on reals, calls of functions, bytes moved; and those of the operations that BLAS makes."""

    flops: sp.Expr = ZERO
    calls: sp.Expr = ZERO
    moved: sp.Expr = ZERO
    products: sp.Expr = ZERO

    def __add__(self, other: Cost) -> Cost:
        return total([self, other])

    def times(self, count: sp.Expr) -> Cost:
        return self.mapped(lambda part: part * count)

    def mapped(self, change: Callable[[sp.Expr], sp.Expr]) -> Cost:
        return Cost(*(change(getattr(self, part)) for part in PARTS))

    def expanded(self) -> Cost:
        """With each part as an expanded polynomial in the run-time sizes."""
        return self.mapped(sp.expand)

    def nanoseconds(self, itemsize: int = 8) -> sp.Expr:
        """The time that it takes of one core, with reals of so many bytes."""
        computing = OPERATION * (self.flops - self.products) + PRODUCT * self.products + CALL * self.calls
        return sp.expand(computing * sp.Rational(itemsize, 8) + BYTE * self.moved)


PARTS = tuple(part.name for part in fields(Cost))
FREE = Cost()


def total(costs: Iterable[Cost]) -> Cost:
    found = list(costs)
    return Cost(*(sp.Add(*(getattr(c, part) for c in found)) for part in PARTS))


# ---- a model


def item_bytes(tensor: Tensor, itemsize: int) -> int:
    return INTEGER_BYTES if tensor.integer else itemsize


def update_cost(rule: UpdateRule, parameters: int, itemsize: int) -> Cost:
    """The update rule for that many parameters, without the little that is computed once in a step."""
    assignments = hoisted(ordered(rule)).loop
    each = total(scalar_cost(e, never_integer) for _, e in assignments)
    places = {"theta", "g", *(slot.name for slot, _ in rule.slots)} - {*rule.shared_slots}
    moves = Moves()
    for target, e in assignments:
        written = "a scalar" if target == g else str(target)
        moves.note([r.tensor for r in reads_of(e) if r.tensor in places], written, accumulates=False)
    each += Cost(moved=sp.Integer(moves.total(dict.fromkeys(places, itemsize))))
    return each.times(sp.Integer(parameters))


# ---- a loop of a schedule


def work_of(program: Program, node: Node, around: frozenset[sp.Symbol] = frozenset()) -> Cost:
    """The operations and calls of a node at one point of the indices of the loops around it."""
    match node:
        case Loop():
            return total(work_of(program, inner, around | {node.index}) for inner in node.body).times(node.extent)
        case Contraction():
            own = (r for r in node.statement.domain if r.index not in around)
            return Cost(flops=2 * points(own), products=2 * points(own))
        case Compute():
            return compute_cost(program, node)
        case Fill():
            return FREE


def compute_cost(program: Program, node: Compute) -> Cost:
    """The cost of a statement at one point of its loops."""
    table, s = program.table, node.statement

    def integer(read: Read) -> bool:
        return read.tensor in table and table[read.tensor].integer

    cost = scalar_cost(s.guard, integer) + scalar_cost(s.expression, integer)
    return cost if s.operator == "=" else cost + Cost(flops=ONE)


# ---- memory


class Moves:
    """What is moved at once: the names of what is read before it has been written, and of what is written."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.stored: set[str] = set()

    def read(self, *names: str) -> None:
        self.loaded |= {*names} - self.stored

    def note(self, reads: Iterable[str], target: str, accumulates: bool) -> None:
        self.read(*reads, *([target] if accumulates else []))
        self.stored.add(target)

    def total(self, sizes: Mapping[str, sp.Expr | int]) -> sp.Expr | int:
        """Each size once for the reads of that name and once for the writes, whatever their number."""
        return sum((size * ((name in self.loaded) + (name in self.stored)) for name, size in sizes.items()), 0)


def moved_by(program: Program, kernel: Kernel, node: Node, itemsize: int) -> sp.Expr:
    """The bytes that a top-level node reads and writes; scalars of the kernel stay in registers."""
    moves = Moves()
    accessed: dict[str, dict[tuple[sp.Expr, ...], sp.Expr]] = {}  # tensor → subscripts → elements
    for leaf in leaves(node):
        if isinstance(leaf, Fill):
            shape = program.tensor(leaf.tensor).shape
            accessed.setdefault(leaf.tensor, {})[()] = sp.Mul(*shape)
            moves.note([], leaf.tensor, accumulates=False)
            continue
        for s in leaf.statements if isinstance(leaf, Compute) else (leaf.statement,):
            for access in (*s.reads, s.write):
                accessed.setdefault(access.tensor, {})[access.subscripts] = elements(s, access)
            accumulates = s.operator != "=" and not leaf.first
            moves.note([r.tensor for r in s.reads], s.target, accumulates)
    names = accessed.keys() - kernel.scalars - dict(kernel.rows).keys()
    sizes = {name: bytes_reached(program.tensor(name), accessed[name].values(), itemsize) for name in names}
    return sp.sympify(moves.total(sizes))


def bytes_reached(t: Tensor, counts: Iterable[sp.Expr], itemsize: int) -> sp.Expr:
    """The bytes of the elements that several accesses reach: at most those of the whole tensor."""
    count, whole = sp.Add(*counts), element_count(t)
    return (count if at_most(count, whole) else whole) * item_bytes(t, itemsize)


def leaves(node: Node) -> Iterator[Fill | Compute | Contraction]:
    if isinstance(node, Loop):
        for inner in node.body:
            yield from leaves(inner)
    else:
        yield node


def elements(s: Statement, access: Read) -> sp.Expr:
    """How many elements an access can reach: one for each point of the indices in its subscripts."""
    used = {i for subscript in access.subscripts for i in indices_of(subscript)}
    return points(r for r in s.domain if r.index in used)


def points(ranges: Iterable[Range]) -> sp.Expr:
    return sp.Mul(*(r.extent for r in ranges))


# ---- a scalar expression


def never_integer(read: Read) -> bool:
    return False


def scalar_cost(e: sp.Basic, integer: Callable[[Read], bool], done: set[sp.Basic] | None = None) -> Cost:
    """The operations and calls of an expression; those on indices, sizes and integer tensors count nothing.

    `done` holds the calls that were made before: a kernel computes one once, however often it stands there.
    """
    done = set() if done is None else done
    if isinstance(e, Read) or not e.args or is_integral(e, integer) or (isinstance(e, sp.Expr) and e.is_number):
        return FREE
    if isinstance(e, sp.Piecewise):
        return branches_cost(e, integer, done)
    if is_call(e):
        if e in done:
            return FREE
        if not (isinstance(e, sp.Pow) and e.exp.is_Integer):  # an integer power is written out where it stands
            done.add(e)
    parts, own = own_cost(e, integer)
    return total(scalar_cost(part, integer, done) for part in parts) + own


def own_cost(e: sp.Basic, integer: Callable[[Read], bool]) -> tuple[list[sp.Basic], Cost]:
    """(the operands, the cost of combining them) of a compound expression."""
    parts = list(e.args)
    if isinstance(e, sp.Mul) or is_reciprocal(e):
        _, above, below = split_fraction(e)
        numbers = sp.Mul(*(f for f in above if f.is_number)) / sp.Mul(*(f for f in below if f.is_number))
        above, below = ([f for f in factors if not f.is_number] for factors in (above, below))
        factors = len(above) + (numbers != 1 or not above)
        return [*above, *below], Cost(flops=factors - 1 + len(below))
    if is_call(e):
        return parts, Cost(calls=1)
    if isinstance(e, sp.Pow):  # squares and cubes, by multiplication
        return [e.base], Cost(flops=int(e.exp) - 1)
    if isinstance(e, sp.Add | sp.Max | sp.Min):
        return parts, Cost(flops=len(parts) - 1)
    if isinstance(e, sp.core.relational.Relational):
        return parts, Cost(flops=0 if all(is_integral(a, integer) for a in parts) else 1)
    return parts, Cost(flops=0 if isinstance(e, Boolean | ordinal | of_ordinal) else OPERATIONS[e.func])


def branches_cost(e: sp.Piecewise, integer: Callable[[Read], bool], done: set[sp.Basic]) -> Cost:
    """Every condition, and the costliest branch, of operations and of calls."""
    conditions = total(scalar_cost(pair.args[1], integer, done) for pair in e.args)
    values = [scalar_cost(pair.args[0], integer, set(done)) for pair in e.args]
    return conditions + Cost(max(v.flops for v in values), max(v.calls for v in values))


def is_reciprocal(e: sp.Basic) -> bool:
    return isinstance(e, sp.Pow) and e.exp.is_Number and bool(e.exp.is_negative)


def is_call(e: sp.Basic) -> bool:
    """Whether this is a call of a function: an elementary one, or a power other than a square and a cube."""
    if isinstance(e, sp.Pow):
        return not is_reciprocal(e) and e.exp not in (2, 3)
    called = isinstance(e, sp.Function) and not isinstance(e, sp.Max | sp.Min | ordinal | of_ordinal)
    return called and e.func not in OPERATIONS
