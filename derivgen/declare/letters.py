"""The names of indices: those that a spec declares, letters for the library's, others as the spec has them."""

from __future__ import annotations

import itertools

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.declare.declarations import Definition
from derivgen.declare.model import LOCAL, Model
from derivgen.errors import Place
from derivgen.file import contract
from derivgen.form.expressions import index_symbol
from derivgen.form.program import Names

LETTERS = ("i", "j", "k", "l", "m", *(f"i_{number}" for number in range(1, 1000)))


class Letters:
    """The names of a model's indices so far."""

    def __init__(self, model: Model, names: Names) -> None:
        self.model, self.names = model, names
        self.letters: dict[sp.Symbol, str] = {}  # of the library indices in the present definition
        self.undeclared: dict[sp.Symbol, str] = {}  # the names of indices that the spec made by itself

    def choose(self, *definitions: Definition) -> None:
        """Letters for the library indices of definitions, in order of their making, free of the spec's names."""
        expressions = [e for d in definitions for e in (*d.indices, d.expression, *d.initial)]
        indices = {i for e in expressions for i in e.atoms(Idx)}
        indices |= {limit[0] for e in expressions for total in e.atoms(sp.Sum) for limit in total.limits}
        found = {i for i in indices if i.name.startswith(LOCAL)}
        first = self.model.runtime_sizes[0] if self.model.runtime_sizes else None
        self.letters, taken = {}, {*self.model._names, *self.undeclared.values(), *(i.name for i in indices - found)}
        for index in sorted(found, key=lambda i: int(i.name.removeprefix(LOCAL))):
            preferred = ["n"] if first is not None and index.upper + 1 == first else []
            preferred += [self.model.wanted_letters[index.name]] if index.name in self.model.wanted_letters else []
            self.letters[index] = next(name for name in (*preferred, *LETTERS) if name not in taken)
            taken.add(self.letters[index])

    def name_of(self, index: sp.Symbol, place: Place | None) -> str:
        """The name of an index that no `model.indices` made: its own, or past those that the spec declares."""
        if index not in self.undeclared:
            if why := contract.refusal(index.name, "index"):
                self.model.problem(why, place)
            own = (self.names.fresh(index.name) for _ in itertools.count())
            self.undeclared[index] = next(name for name in own if name not in self.letters.values())
        return self.undeclared[index]

    def index_of(self, symbol: sp.Symbol, place: Place | None = None) -> sp.Symbol:
        """The internal index of a spec's; a name that is refused is a problem of this place."""
        if symbol in self.model.declared_indices:
            return index_symbol(symbol.name)
        return index_symbol(self.letters[symbol] if symbol in self.letters else self.name_of(symbol, place))
