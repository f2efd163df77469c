"""What an iteration of a loop over rows does, without branches, and whether rows gain by being computed in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Proof
from derivgen.code.tree import Assign, Block, Code, For, If, Let
from derivgen.code.visit import read_by, statements_in, with_blocks
from derivgen.form.expressions import Read, indices_of, is_division, reads_of, subexpressions
from derivgen.form.program import Tensor
from derivgen.form.sizes import typical
from derivgen.schedule.cost import DIVISION, Cost, scalar_cost, total

CHECKED = 8  # pairs of arrays, one of them written: LLVM compares so many before a loop, and gives up with more
OF_LIBRARIES = (sp.asin, sp.acos, sp.atan, sp.atanh)  # functions that a language calls, for one number at a time
# Nanoseconds that each value costs that is copied to rows and back, and that are the least to gain.
COPY, LEAST = 0.5, 2


@dataclass(frozen=True, slots=True)
class Work:
    """What an iteration does, one statement after another, without branches.

    `integers`: the locals of subscripts; `statements`: those of reals, and stores; `branches`: whether rows take
    several ways; `arrays`: those of the function; `gathered`: locals of elements that are there under conditions, which
    integers tell, by what is 0 elsewhere; `under`: such conditions of stores, by their places.
    """

    index: sp.Symbol
    integers: dict[str, Let]
    statements: tuple[Let | Assign, ...]
    branches: bool
    arrays: Mapping[str, Tensor]
    gathered: Mapping[sp.Expr, Read]
    under: Mapping[Read, Boolean]

    def reads(self) -> list[Read]:
        """The elements of reals that are read."""
        values = dict.fromkeys(r for s in self.statements for r in reads_of(s.value) if r.subscripts)
        inner = {r for read in values for r in reads_of(*read.subscripts)}
        return [r for r in values if r not in inner]

    def stores(self) -> list[Assign]:
        return [s for s in self.statements if isinstance(s, Assign) and s.place.subscripts]

    def name_of(self, read: Read) -> Read | None:
        """The local that holds an element, if there is one."""
        return next((Read(s.name) for s in self.statements if isinstance(s, Let) and s.value == read), None)

    def varies(self, e: sp.Basic) -> bool:
        """Whether an expression has another value in each iteration, if only by its subscripts."""
        names = {s.name for s in self.statements if isinstance(s, Let)} | self.integers.keys()
        names |= {r.tensor for r in self.gathered.values()}
        return self.index in indices_of(e) or any(r.tensor in names for r in reads_of(e))

    def places_for(self, statements: Sequence[Code]) -> list[Let]:
        """The locals of subscripts that these statements need, in order."""
        needed = {name for s in statements for name in read_by(s)}
        for name, let in reversed(self.integers.items()):
            if name in needed:
                needed |= read_by(let)
        return [let for name, let in self.integers.items() if name in needed]


def hinders(work: Work) -> bool:
    """Whether branches, or elements far from each other, alone keep a compiler from computing several rows at once."""
    guarded = (choice.args[0].args[0] for choice in work.gathered)
    places = (*work.reads(), *guarded, *(s.place for s in work.stores()))
    calls_library = any(s.value.has(*OF_LIBRARIES) for s in work.statements)
    return not calls_library and (work.branches or not all(lies_side_by_side(p, work) for p in places))


def in_place(work: Work) -> set[Read]:
    """The elements that the loop in the middle reads and stores where they are: as many as a compiler compares."""
    near: set[Read] = set()
    stores = [s.place for s in work.stores() if s.operator == "="]
    for place in (*work.reads(), *stores):
        arrays = {p.tensor for p in (*near, place)}
        written = len(arrays & {p.tensor for p in stores}) + 1  # and the array of the rows
        checked = written * (written - 1) / 2 + written * (len(arrays) + 1 - written)
        alone = sum(s.place.tensor == place.tensor for s in work.stores()) <= 1
        if lies_side_by_side(place, work) and work.varies(place) and alone and checked <= CHECKED:
            near.add(place)
    return near


def lies_side_by_side(place: Read, work: Work) -> bool:
    """Whether an access moves on by one element from one iteration to the next, or stays where it is."""
    shape = work.arrays[place.tensor].shape if place.tensor in work.arrays else ()
    alone = [axis for axis, extent in enumerate(shape) if extent is sp.S.One]  # elements along it are one
    *before, last = [i for axis, i in enumerate(place.subscripts) if axis not in alone] or [sp.S.Zero]
    moves = last - work.index if work.index in indices_of(last) else last
    return not any(map(work.varies, (*before, moves)))


def without_rare(block: Block) -> Block:
    """The block without loops under conditions on data: nobody knows how often they run."""
    return tuple(with_blocks(c, without_rare) for c in block if not (isinstance(c, If) and is_rare(c)))


def is_rare(branch: If) -> bool:
    return bool(reads_of(branch.condition)) and any(isinstance(c, For) for c in statements_in((branch,)))


def time(cost: Cost) -> float:
    return float(typical(Cost(cost.flops, cost.calls).nanoseconds()))


def pays(work: Work, proof: Proof) -> bool:
    """Whether rows gain more by being computed several at once than the copies of what they read and store cost."""
    values = [s.value for s in work.statements]
    costs = [scalar_cost(v, proof.is_integer) for v in values]
    divided = sum(is_division(node) for v in values for node in subexpressions(v))
    near = in_place(work)
    copies = sum(work.varies(r) for r in work.reads() if r not in near)
    copies += len(work.gathered) + len({s.value for s in work.stores() if s.place not in near})
    gain = total(costs).nanoseconds() + DIVISION * divided  # nearly all of what one row at a time takes
    return bool(gain >= COPY * copies + LEAST)
