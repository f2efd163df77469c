"""What passes over code share: new names, and a walk that knows what holds at each statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sympy as sp

from derivgen.code.names import past
from derivgen.code.proof import Point, Proof, local
from derivgen.code.tree import Block, Code, For, Function, If, Let
from derivgen.code.visit import holding, read_by, statements_in, values_of, written_by
from derivgen.form.expressions import Read, index_symbol, reads_of, sympy_order


class Fresh:
    """New names of locals, which differ from all that the spec names and from those of the same statement.

    What stands at the top of a function one after another may have locals of one name, but for those that last from one
    statement past others. No index has the name of a local anywhere.
    """

    def __init__(self, function: Function, proof: Proof | None = None) -> None:
        """`proof` is told of each new local."""
        self.given, self.proof = function.taken | lasting(function.body), proof
        self.everywhere, self.indices = names_in(function.body), set[str]()
        self.taken = {*self.given, *self.everywhere}

    def restart(self, code: Code) -> None:
        """Begin with a statement at the top of the function."""
        self.taken = {*self.given, *names_in((code,))}

    def name(self, wanted: str, integer: bool = False) -> str:
        name = past(wanted, {*self.taken, *self.indices})
        self.taken.add(name)
        self.everywhere.add(name)
        if self.proof is not None:
            self.proof.table[name] = local(name, integer)
        return name

    def index(self, wanted: str) -> sp.Symbol:
        """A new index, which may have the name of another one at the top of the function."""
        name = past(wanted, {*self.taken, *(self.everywhere - self.indices)})
        self.taken.add(name)
        self.everywhere.add(name)
        self.indices.add(name)
        return index_symbol(name)

    def numbered(self, word: str, number: int = 1) -> str:
        """The first name of word_1, word_2, …, from this number on, that is free."""
        while f"{word}_{number}" in self.taken:
            number += 1
        return self.name(f"{word}_{number}")


class Words:
    """What locals of elements are named by: X[i[b], 0] → X_i_0, or X_0 where all elements of X are read through i.

    A subscript that is an integer local counts as what it was read from: X[i_b, 0] as X[i[b], 0].
    """

    def __init__(self, block: Block) -> None:
        lets = [c for c in statements_in(block) if isinstance(c, Let) and c.integer and isinstance(c.value, Read)]
        self.sources = {let.name: let.value.tensor for let in lets if let.value.subscripts}
        self.tables: dict[str, set[tuple[str, ...]]] = {}
        for code in statements_in(block):
            for read in reads_of(*values_of(code)):
                self.tables.setdefault(read.tensor, set()).add(self.tables_of(read))

    def of(self, element: Read) -> str:
        plain = [word for i in element.subscripts if (word := index_word(i))]
        if plain and len(self.tables.get(element.tensor, ())) <= 1:
            return "_".join([bare(element.tensor), *plain])
        found = [word for i in element.subscripts if (word := self.word(i))]
        return "_".join([bare(element.tensor), *found])

    def word(self, subscript: sp.Expr) -> str:
        if isinstance(subscript, Read):
            return bare(self.sources.get(subscript.tensor, subscript.tensor))
        return index_word(subscript)

    def tables_of(self, element: Read) -> tuple[str, ...]:
        return tuple(self.word(i) for i in element.subscripts if isinstance(i, Read))


def index_word(subscript: sp.Expr) -> str:
    """A number or an index; of a place in a block of rows, first + row, the row."""
    parts = sorted(sp.Add.make_args(subscript), key=sympy_order)
    return str(parts[-1]) if subscript.is_Integer or all(part.is_Symbol for part in parts) else ""


def bare(name: str) -> str:
    return name.split(".")[-1]


def lasting(block: Block) -> set[str]:
    """The locals that a statement reads although the one before it has nothing to do with them."""
    found, last = set[str](), dict[str, int]()
    for position, code in enumerate(block):
        own = {code.name} if isinstance(code, Let) else set[str]()
        named = names_in((code,))
        found |= {name for name in named - own if last.get(name, position) < position - 1}
        last |= dict.fromkeys((own | (named & last.keys())), position)
    return found


def names_in(block: Block) -> set[str]:
    """The names of all that a block reads and writes, and of its indices."""
    codes = list(statements_in(block))
    names = {name for code in codes for name in (*read_by(code), written_by(code)) if name is not None}
    return names | {code.index.name for code in codes if isinstance(code, For)}


def inside(code: Code, point: Point, change: Callable[[Block, Point], Block]) -> Code:
    """The statement with a function applied to each block inside, at the point where it stands."""
    match code:
        case For():
            return holding(code, change(code.body, point.inside(code)))
        case If():
            body = change(code.body, point.where(code.condition))
            return holding(code, body, change(code.otherwise, point.otherwise(code.condition)))
        case _:
            return code


def is_invariant(e: sp.Basic, indices: Iterable[sp.Symbol], written: Iterable[str]) -> bool:
    """Whether an expression speaks of none of these indices, and reads nothing of what is written."""
    return e.free_symbols.isdisjoint(indices) and not any(r.tensor in written for r in e.atoms(Read))
