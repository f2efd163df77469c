"""Long formulas over rows, in blocks of rows: what they read is gathered, then all is computed, then it is stored.

    for n: k_n = k[n]; z[k_n] += exp(a[k_n]·x[n])
    →  for first in range(0, N, 256):
           for row in block: k_n = k[first + row]; rows[0, row] = a[k_n]
           for row in block: rows[1, row] = exp(rows[0, row]·x[first + row])
           for row in block: k_n = k[first + row]; z[k_n] += rows[1, row]

Compilers compute several rows at once where a loop has no branches, where its elements lie side by side, and where its
stores cannot change what it reads. The loop in the middle is such a one: what lies elsewhere comes from an array of the
function's own, which stays in the cache. Sums are added up in the order in which they were.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.blocks import rows_of_block
from derivgen.code.carry import is_before, pairs
from derivgen.code.cost import statement_cost, work_of
from derivgen.code.proof import Point, Proof
from derivgen.code.row_work import Work, hinders, in_place, pays, time, without_rare
from derivgen.code.share import costly_calls, size, word_for
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Kind, Let, Scratch
from derivgen.code.visit import read_by, statements_in, values_of, written_by
from derivgen.code.walk import Fresh, Words, inside
from derivgen.form.expressions import (
    TRUE,
    Conditions,
    Read,
    all_of,
    bottom_up_known,
    guarded,
    parts_of,
    reads_of,
    subexpressions,
    substitute,
)
from derivgen.form.program import GIVEN

ROWS = 256  # of a block: what a formula of fifty values needs of them stays in the cache next to the processor
FEWEST = 16  # rows: a loop over fewer is over before it pays
SHARE = 0.15  # of the time that a function takes


def in_row_blocks(function: Function) -> Function:
    """The function with each innermost loop that gains by it as three: to gather, to compute, to store.

    Not where iterations run in threads, which would share the array of blocks.
    """
    if any(isinstance(code, For) and code.parallel for code in statements_in(function.body)):
        return function
    return RowBlocks(function).function()


class NotStraight(Exception):
    """A loop that has to run as it is."""


class RowBlocks:
    """The pass over one function."""

    def __init__(self, function: Function) -> None:
        self.given, self.proof = function, Proof(function)
        self.fresh = Fresh(function, self.proof)
        self.rows, self.count, self.length = self.fresh.name("rows"), 0, 0
        self.uses, self.words = names_used(function.body), Words(function.body)
        self.here, self.whole, self.places, self.index = Point(), set[str](), set[Read](), sp.S.Zero
        self.gathered, self.under, self.kept = dict[sp.Expr, Read](), dict[Read, Boolean](), set[Read]()

    def function(self) -> Function:
        body = self.block(self.given.body, Point())
        scratch = (Scratch(self.rows, (sp.Integer(self.count), sp.Integer(self.length))),) if self.count else ()
        return self.given.with_body((*scratch, *body))

    def block(self, codes: Block, point: Point) -> Block:
        done: list[Code] = []
        for code in codes:
            if point == Point():
                self.fresh.restart(code)
                self.fresh.taken.add(self.rows)
            rare = any(reads_of(c) for c in point.path)
            found = self.divided(code, point) if isinstance(code, For) and not rare else None
            done += [inside(code, point, self.block)] if found is None else found
        return tuple(done)

    def divided(self, loop: For, point: Point) -> Sequence[Code] | None:
        """A loop as one over blocks of rows; None where that can't be, or doesn't pay."""
        innermost = all(isinstance(c, Let | Assign | If) for c in statements_in(loop.body))
        few = bool(loop.stop.is_Integer) and loop.stop < FEWEST
        if loop.steps or loop.backwards or loop.step != 1 or few or not innermost:
            return None
        taken = set(self.fresh.taken)
        try:
            work = self.work(loop, point.inside(loop))
            worth_it = hinders(work) and pays(work, self.proof) and self.takes_time(loop, point)
        except NotStraight:
            worth_it = False
        if not worth_it:
            self.fresh.taken = taken
            return None
        return self.in_three(loop, work, point)

    def takes_time(self, loop: For, point: Point) -> bool:
        """Whether a loop makes up enough of the function for its text to become longer."""
        own = statement_cost(loop, self.proof).times(sp.Mul(*(r.extent for r in point.around)))
        return time(own) >= SHARE * time(work_of(without_rare(self.given.body), self.proof))

    # ---- without branches

    def work(self, loop: For, point: Point) -> Work:
        self.here, self.gathered, self.under, self.kept = point, {}, {}, set()
        self.whole = {s.name for s in statements_in(loop.body) if isinstance(s, Let) and s.integer}
        self.places = {s.place for s in statements_in(loop.body) if isinstance(s, Assign)}
        self.index = loop.index
        found = self.straight(loop.body, self.uses - names_used((loop,)))
        straight = [*self.calls_apart(map(self.reads_apart, found))]
        set_ = Counter(s.name for s in straight if isinstance(s, Let))
        if max(set_.values(), default=1) > 1:
            raise NotStraight
        integers = {s.name: s for s in straight if isinstance(s, Let) and s.integer}
        reals = tuple(s for s in straight if not (isinstance(s, Let) and s.integer))
        statements = (*self.forwarded(reals, loop.index),)
        branches = any(isinstance(c, If) and not self.is_shared(c.condition) for c in loop.body)
        work = Work(loop.index, integers, statements, branches, self.given.arrays, self.gathered, self.under)
        always = [s for s in work.statements if not (isinstance(s, Assign) and s.place in self.under)]
        reads = [r for s in (*integers.values(), *always) for r in reads_of(*values_of(s)) if r.subscripts]
        reads += [r for s in work.stores() for r in reads_of(s.value) if r.subscripts]
        if any(r in self.under for r in reads) or any(
            sum(s.place == place for s in work.stores()) > 1 for place in self.under
        ):
            raise NotStraight
        there = self.kept & in_place(work) if self.kept else set()
        safe = not there or all(self.proof.may_be_read(s.value, point) for s in work.statements)
        if not safe or not all(r in there or self.proof.may_be_read(r, point) for r in reads):
            raise NotStraight
        return work

    def straight(self, codes: Block, elsewhere: Counter[str]) -> Iterator[Let | Assign]:
        """Statements without branches of the same effect; `elsewhere`: what the function does outside of the loop."""
        for code in codes:
            match code:
                case If():
                    self.check_values(code)
                    ways = [list(self.straight(block, elsewhere)) for block in (code.body, code.otherwise)]
                    yield from self.merged(code.condition, *ways)
                case Let(kind=Kind.REAL | Kind.INTEGER):
                    yield code
                case Assign(operator="+=", double=False):
                    yield code
                case Assign(operator="=", double=False) if code.place.subscripts:
                    yield code
                case Assign(operator="=", double=False) if code.place.tensor not in elsewhere:
                    yield Let(code.place.tensor, code.value)
                case _:
                    raise NotStraight

    def is_plain(self, condition: Boolean) -> bool:
        """Whether a condition is one of integers, or of the indices around, known before anything is computed."""

        def is_known(read: Read) -> bool:
            t = self.given.arrays.get(read.tensor)
            return read.tensor in self.whole if t is None else t.integer and t.role in GIVEN

        reads = reads_of(condition)
        known = all(map(is_known, reads)) and self.proof.may_be_read(condition, self.here)
        return known if reads else self.is_shared(condition)

    def is_shared(self, condition: Boolean) -> bool:
        """Whether a condition is one of the indices around the rows: all of these take one way."""
        return self.index not in condition.free_symbols and not reads_of(condition)

    def reads_apart(self, s: Let | Assign, known: Conditions = ()) -> Let | Assign:
        """The statement with locals for elements that are there, or have a value, under conditions of integers.

        Under a choice that all rows make alike, a compiler reads elements of its own accord.
        """
        at_once = not known and not costly_calls(s.value)

        def rewrite(node: sp.Basic, known: Conditions) -> sp.Basic:
            t = self.given.arrays.get(node.tensor) if isinstance(node, Read) and node.subscripts else None
            if t is not None and not self.is_settled(node):
                return node
            condition = all_of(*filter(self.is_plain, known)) if t is not None and not t.integer else TRUE
            if t is None or condition == TRUE or (t.role in GIVEN and self.proof.may_be_read(node, self.here)):
                return node
            if condition == sp.false:  # nothing is computed of it
                return sp.S.Zero
            if at_once and self.is_shared(condition):
                self.kept.add(node)
                return node
            if not self.proof.may_be_read(node, self.here.where(condition)):
                return node
            element = guarded(node, condition)
            if element not in self.gathered:
                self.gathered[element] = Read(self.fresh.name(self.words.of(node)))
            return self.gathered[element]

        return replace(s, value=bottom_up_known(s.value, known, rewrite))

    def check_values(self, branch: If) -> None:
        """What a branch alone reads may have no value elsewhere, and an arbitrary one can take long to compute with."""
        own = [*statements_in((branch,))]
        computed = {name for name, t in self.given.arrays.items() if t.role not in GIVEN}
        if self.is_plain(branch.condition):  # it is gathered under the condition, unless the loop changes it
            values = [c.value for c in own if isinstance(c, Let | Assign)]
            if not all(map(self.is_settled, (r for r in reads_of(*values) if r.tensor in computed))):
                raise NotStraight
            return
        if not computed.isdisjoint(r.tensor for c in own for r in reads_of(*values_of(c))):
            raise NotStraight

    def is_settled(self, read: Read) -> bool:
        """Whether no row of the loop stores an element, or adds to it."""
        return not any(p.tensor == read.tensor and not self.stay_apart(p, read) for p in self.places)

    def stay_apart(self, a: Read, b: Read) -> bool:
        """Whether an element that one row has is never the same as another one that any row has."""

        def is_fixed(i: sp.Expr) -> bool:
            return self.index not in i.free_symbols and not reads_of(i)

        fixed = [(i, j) for i, j in pairs(a, b) if i != j and is_fixed(i) and is_fixed(j)]
        return any(is_before(i, j, self.here, self.proof) or is_before(j, i, self.here, self.proof) for i, j in fixed)

    def merged(
        self, condition: Boolean, then: Sequence[Let | Assign], other: Sequence[Let | Assign]
    ) -> Iterator[Let | Assign]:
        """Both ways of a branch one after the other, and of what both set, that of the way which is taken."""
        set_by = [dict.fromkeys(s.name for s in way if isinstance(s, Let)) for way in (then, other)]
        chosen: dict[str, list[sp.Expr]] = {name: [] for name in set_by[0] if name in set_by[1]}
        stored = self.stored_by_both(then, other)
        for way, holds in ((then, condition), (other, sp.Not(condition))):
            names: dict[sp.Expr, sp.Expr] = {}
            plain = self.is_plain(holds)
            for k, s in enumerate(way):
                s = self.reads_apart(mapped_value(s, names), parts_of(holds))
                match s:
                    case Let() if s.name in chosen and not s.integer:
                        value = s.value
                        if any(s.name in read_by(later) for later in way[k + 1 :]):
                            value = Read(self.fresh.name(s.name))
                            yield replace(s, name=value.tensor)
                            names[Read(s.name)] = value
                        chosen[s.name].append(value)
                    case Let() if s.name not in chosen:
                        yield s
                    case Assign(operator="=") if s.place in stored:
                        stored[s.place].append(s.value)
                    case Assign(operator="+=") if plain and not self.proof.may_be_read(s.place, self.here):
                        self.under[s.place] = all_of(self.under.get(s.place, TRUE), holds)
                        yield s
                    case Assign(operator="+="):
                        yield replace(s, value=sp.Piecewise((s.value, holds), (sp.S.Zero, TRUE)))
                    case _:
                        raise NotStraight
        for name, (value, otherwise) in chosen.items():
            yield Let(name, sp.Piecewise((value, condition), (otherwise, TRUE)))
        for place, (value, otherwise) in stored.items():
            yield Assign(place, "=", sp.Piecewise((value, condition), (otherwise, TRUE)))

    def stored_by_both(self, *ways: Sequence[Let | Assign]) -> dict[Read, list[sp.Expr]]:
        """The places to which both ways of a branch give a value, once, and which they touch in no other statement."""
        places = [[s.place for s in way if isinstance(s, Assign) and s.operator == "="] for way in ways]
        touched = Counter(n for way in ways for s in way for n in (*read_by(s), written_by(s)))
        return {p: [] for p in places[0] if p in places[1] and touched[p.tensor] == 2 and p.subscripts}

    def calls_apart(self, statements: Iterable[Let | Assign]) -> Iterator[Let | Assign]:
        """The statements with the calls of either side of a choice before it, each once."""
        held: dict[sp.Expr, sp.Expr] = {}
        for s in statements:
            choices = (node for node in subexpressions(s.value) if isinstance(node, sp.Piecewise))
            sides = [pair.args[0] for choice in choices for pair in choice.args]
            if isinstance(s, Assign) and s.place in self.under:  # it was a branch's
                sides.append(s.value)
            for call in sorted({c for side in sides for c in costly_calls(side)}, key=size):
                if call not in held:
                    local = Read(self.fresh.numbered(word_for(call)))
                    yield Let(local.tensor, substitute(call, held))
                    held[call] = local
            yield mapped_value(s, held)

    def forwarded(self, statements: Sequence[Let | Assign], index: sp.Symbol) -> Iterator[Let | Assign]:
        """The statements with locals for what one of them stores at its own place, and another one reads."""
        stored = {s.place.tensor for s in statements if isinstance(s, Assign) and s.place.subscripts}
        read = {r for s in statements for r in reads_of(s.value) if r.tensor in stored}
        places = {s.place for s in statements if isinstance(s, Assign)}
        apart = {r for r in read if all(p.tensor != r.tensor or self.stay_apart(p, r) for p in places)}
        touched = (read | places) - apart
        if any(index not in r.subscripts or sum(p.tensor == r.tensor for p in touched) > 1 for r in read - apart):
            raise NotStraight
        held: dict[sp.Expr, sp.Expr] = {}
        for s in statements:
            s = mapped_value(s, held)
            if isinstance(s, Assign) and s.place in read:
                before = held.get(s.place, s.place)
                local = Read(self.fresh.name(s.place.tensor))
                yield Let(local.tensor, s.value if s.operator == "=" else before + s.value)
                held[s.place] = local
                s = replace(s, operator="=", value=local)
            yield s

    # ---- three loops

    def in_three(self, loop: For, work: Work, point: Point) -> Sequence[Code]:
        """The loops to gather, to compute and to store, over blocks of rows where there may be more than one has."""
        one = is_one(loop)
        near = in_place(work)
        kept = {s.value: s.place for s in work.stores() if s.place in near}
        readable = [r for r in work.reads() if not work.varies(r) and self.proof.may_be_read(r, point)]
        # Where the loop stores to its own rows alone, a compiler knows that nothing changes what stays.
        fixed = {r: self.local(r, work) for r in readable} if kept else {}
        names = {local: r for r in readable if not kept and (local := work.name_of(r)) is not None}
        copied = {r: self.local(r, work) for r in work.reads() if work.varies(r) and r not in near}
        copied |= work.gathered
        made = [s.value for s in work.stores() if s.value not in {**copied, **kept} and work.varies(s.value)]
        self.count = max(self.count, len({*copied, *made}))
        self.length = max(self.length, int(loop.stop) if one else ROWS)
        first = sp.S.Zero if one else self.fresh.index("first")
        row = loop.index if one else self.fresh.index("row")
        held = {v: Read(self.rows, sp.Integer(k), row) for k, v in enumerate(dict.fromkeys((*copied, *made)))}
        gather = [Assign(held[r], "=", r) for r in copied]
        read = [Let(local.tensor, held[r]) for r, local in copied.items()]
        known = {**copied, **fixed, **names}
        compute = [*read, *self.computed(work, known, near, {v: held[v] for v in made})]
        values = {**held, **kept, **fixed}
        stores = [replace(s, value=values.get(s.value, s.value)) for s in work.stores() if s.place not in near]
        store = under_conditions(stores, work.under)
        parts = [[*work.places_for(part), *part] for part in (gather, compute, store) if part]
        before = [Let(local.tensor, r) for r, local in fixed.items()]
        if not held and not store:
            return [*before, replace(loop, body=(*work.places_for(compute), *compute))]
        if one:
            return [*before, *(outside(replace(loop, body=tuple(part))) for part in parts)]
        blocks = (outside(rows_of_block(loop, part, first, row, ROWS)) for part in parts)
        return [*before, replace(loop, index=first, body=tuple(blocks), step=ROWS)]

    def computed(
        self, work: Work, known: Mapping[sp.Expr, sp.Expr], near: set[Read], rows: Mapping[sp.Expr, Read]
    ) -> Iterator[Let | Assign]:
        """What is computed: each value that is stored, at the near places that get it, or once in its row."""
        left = dict(rows)
        for s in work.statements:
            if isinstance(s, Assign) and s.place.subscripts:
                place = s.place if s.place in near else left.pop(s.value, None)
                if place is not None:
                    yield Assign(place, "=", substitute(s.value, known))
            elif not (isinstance(s, Let) and (known.get(s.value) == Read(s.name) or Read(s.name) in known)):
                yield mapped_value(s, known)

    def local(self, read: Read, work: Work) -> Read:
        """The local that holds an element, or a new one."""
        return work.name_of(read) or Read(self.fresh.name(self.words.of(read)))


def under_conditions(stores: Iterable[Assign], under: Mapping[Read, Boolean]) -> list[Code]:
    """Stores, those one after another that have one condition in one branch."""
    done: list[Code] = []
    for condition, group in itertools.groupby(stores, lambda s: under.get(s.place)):
        own = tuple(group)
        done += own if condition is None else [If(condition, own)]
    return done


def outside(loop: For) -> Code:
    """A loop of which all iterations take one way in that way."""
    match loop.body:
        case (If(otherwise=()) as branch,) if loop.index not in branch.condition.free_symbols:
            if not reads_of(branch.condition):
                return replace(branch, body=(replace(loop, body=branch.body),))
    return loop


def mapped_value(s: Let | Assign, names: Mapping[sp.Expr, sp.Expr]) -> Let | Assign:
    return replace(s, value=substitute(s.value, names)) if names else s


def names_used(codes: Block) -> Counter[str]:
    """How often statements of a block read or write each name."""
    return Counter(n for c in statements_in(codes) for n in (*read_by(c), written_by(c)) if n is not None)


def is_one(loop: For) -> bool:
    """Whether the rows of a loop are one block."""
    return bool(loop.stop.is_Integer) and loop.start == 0 and loop.stop <= ROWS
