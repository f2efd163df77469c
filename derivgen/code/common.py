"""Trees that differ in names and integers → the tree that they have in common, with expressions for the integers.

padded[n,c,4·r + t], t < 268  and  other[n,c,16·r + t], t < 304  →  padded[n,c,stride·r + t], t < 256 + 3·stride

An integer is a coefficient or the constant term of a subscript, an extent, a comparison of indices, or a loop's bound.
Numbers in reals are none: another number there is another computation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import sympy as sp

from derivgen.code.extents import SHORT, UNROLLED
from derivgen.code.tree import Fill, For, Function, Matrix
from derivgen.code.visit import statements_in
from derivgen.form.expressions import Read, index_symbol, is_index, is_size, reads_of, size_symbol, substitute
from derivgen.form.program import Range, Statement, Tensor
from derivgen.schedule.nests import Loop

Values = tuple[int, ...]  # an integer of each tree
Terms = dict[sp.Expr, int]  # what indices, sizes and reads are multiplied by

SIZE, STRIDE, SHIFT = "size", "stride", "shift"  # what an integer is for: an extent, a coefficient, a constant term

INTEGERS: dict[type, dict[str, str]] = {  # the fields of a tree that hold integers alone
    For: {"start": SHIFT, "step": SHIFT, "stop": SIZE, "most": SIZE},
    Matrix: {"point": SHIFT, "rows": SIZE, "columns": SIZE},
    Fill: {"start": SHIFT, "stop": SIZE},
    Range: {"extent": SIZE},
    Loop: {"extent": SIZE},
    Statement: {"subscripts": SHIFT},
}
OF_FIRST = ("layer", "direction", "product")  # the fields in which trees may differ, since statements say as much


class Different(Exception):
    """Trees that have nothing in common but their beginning."""


class Common:
    """What trees have in common, by names of the first one.

    `known`: how integers that differ are written. `found`: those that are not known, each with words for what it is;
    `shown`: those that are extents of arrays by themselves; `lengths`: by extent, an index that runs along one.
    """

    def __init__(self, known: Mapping[Values, sp.Expr] | None = None) -> None:
        self.known = known or {}
        self.found: dict[Values, dict[str, None]] = {}
        self.shown: set[Values] = set()
        self.lengths: dict[Values, str] = {}
        self.names: dict[tuple[str, str], tuple[str, ...]] = {}
        self.firsts: dict[tuple[str, int, str], str] = {}
        self.innermost: set[sp.Symbol] = set()

    # ---- trees

    def function(self, functions: Sequence[Function]) -> Function:
        """The function of all, without formulas."""
        first = functions[0]
        if len({(len(f.arrays), f.apart, f.scalars, f.given) for f in functions}) > 1:
            raise Different
        tensors = zip(*(f.arrays.items() for f in functions), strict=True)
        arrays = {self.name([name for name, _ in own]): self.tensor([t for _, t in own]) for own in tensors}
        body = self.of([f.body for f in functions])
        facts = [(self.by_first_names(k, f.below), self.by_first_names(k, f.order)) for k, f in enumerate(functions)]
        if any(own != facts[0] for own in facts):
            raise Different
        return replace(first, arrays=arrays, body=body)

    def tensor(self, tensors: Sequence[Tensor]) -> Tensor:
        if len({(len(t.shape), t.integer, t.classes, t.ignore) for t in tensors}) > 1:
            raise Different
        extents = list(zip(*(t.shape for t in tensors), strict=True))
        self.shown |= {tuple(map(int, own)) for own in extents if all(e.is_Integer for e in own)}
        return replace(tensors[0], shape=tuple(self.integer(own, SIZE) for own in extents))

    def of(self, trees: Sequence[Any]) -> Any:
        """What trees of any kind have in common."""
        first = trees[0]
        match first:
            case sp.Basic():
                return self.value(trees)
            case str() if first.isidentifier():
                return self.name(trees)
            case tuple() if all(isinstance(tree, tuple) and len(tree) == len(first) for tree in trees):
                return tuple(map(self.of, zip(*trees, strict=True)))
            case _ if is_dataclass(first) and all(type(tree) is type(first) for tree in trees):
                return self.record(trees)
        if any(tree != first for tree in trees):
            raise Different
        return first

    def record(self, trees: Sequence[Any]) -> Any:
        """A record field by field; the indices that a statement runs over come before all that has them."""
        first, changed = trees[0], dict[str, Any]()
        inner = self.innermost
        if isinstance(first, For):
            self.loop(trees)
        for name in sorted(
            (f.name for f in fields(first) if f.name not in OF_FIRST), key=lambda name: name != "domain"
        ):
            own = [getattr(tree, name) for tree in trees]
            word = INTEGERS.get(type(first), {}).get(name)
            changed[name] = self.of(own) if word is None else self.integers(own, word)
        if isinstance(first, Range) and all(r.extent.is_Integer for r in trees):
            self.lengths.setdefault(tuple(int(r.extent) for r in trees), first.index.name)
        self.innermost = inner
        return replace(first, **changed)

    def loop(self, loops: Sequence[For]) -> None:
        """Compilers keep what they know of loops: how often short ones run, by which steps they go through memory."""
        innermost = not any(isinstance(code, For) for code in statements_in(loops[0].body))
        told = [loop.stop.is_Integer and (loop.stop <= UNROLLED or (innermost and loop.stop < SHORT)) for loop in loops]
        if len({loop.stop for loop in loops}) > 1 and any(told):
            raise Different
        if innermost:
            self.innermost = self.innermost | {loops[0].index}

    def integers(self, trees: Sequence[Any], word: str) -> Any:
        """An integer, several, or none."""
        if all(isinstance(tree, tuple) for tree in trees) and len({len(tree) for tree in trees}) == 1:
            return tuple(self.integers(own, word) for own in zip(*trees, strict=True))
        return self.integer(trees, word) if all(isinstance(tree, sp.Basic) for tree in trees) else self.of(trees)

    # ---- names

    def name(self, names: Sequence[str], kind: str = "name") -> str:
        """The first one's name of what the others call otherwise, one to one."""
        first = names[0]
        one_to_one = self.names.setdefault((kind, first), tuple(names)) == tuple(names)
        if not one_to_one or any(self.firsts.setdefault((kind, k, n), first) != first for k, n in enumerate(names)):
            raise Different
        return first

    def by_first_names(self, tree: int, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What is known of names that occur, by those of the first tree."""
        known = ((self.firsts.get(("name", tree, name)), fact) for name, fact in facts.items())
        return {name: fact for name, fact in known if name is not None}

    def symbol(self, symbols: Sequence[sp.Symbol]) -> sp.Symbol:
        if any((is_index(s), is_size(s)) != (is_index(symbols[0]), is_size(symbols[0])) for s in symbols):
            raise Different
        self.name([s.name for s in symbols], "symbol")
        return symbols[0]

    def renamed(self, tree: int, e: sp.Expr) -> sp.Expr:
        """An expression of a tree by the names of the first one."""
        kinds: dict[bool, Callable[[str], sp.Symbol]] = {True: index_symbol, False: size_symbol}
        symbols = {s: kinds[is_index(s)](self.firsts.get(("symbol", tree, s.name), s.name)) for s in e.free_symbols}
        reads = {
            r: Read(self.firsts.get(("name", tree, r.tensor), r.tensor), *(self.renamed(tree, s) for s in r.subscripts))
            for r in reads_of(e)
        }
        return substitute(e, {**symbols, **reads})

    # ---- values

    def value(self, values: Sequence[sp.Basic]) -> sp.Basic:
        """Reals and conditions: the same except for names, and integers in subscripts and comparisons of indices."""
        first = values[0]
        if any(e.func is not first.func or len(e.args) != len(first.args) for e in values):
            raise Different
        if isinstance(first, sp.Symbol):
            return self.symbol(values)
        if isinstance(first, Read):
            name = self.name([e.tensor for e in values if isinstance(e, Read)])
            return Read(name, *map(self.integer, zip(*(e.args[1:] for e in values), strict=True)))
        if not first.args:
            if any(e != first for e in values):
                raise Different
            return first
        compared = isinstance(first, sp.core.relational.Relational) and all(map(is_of_indices, values))
        arguments = [
            (self.integer if compared else self.value)(own) for own in zip(*(e.args for e in values), strict=True)
        ]
        if tuple(arguments) == first.args:
            return first
        kept = {"evaluate": False} if isinstance(first, sp.Piecewise) else {}  # which else turns comparisons round
        return first.func(*arguments, **kept)

    def integer(self, values: Sequence[sp.Expr], word: str = SHIFT) -> sp.Expr:
        """Integers: term by term, whatever they are multiplied by."""
        terms = [terms_of(self.renamed(k, e)) for k, e in enumerate(values)]
        kept = [monomial for monomial in terms[0] if monomial != sp.S.One]
        if any(own.keys() - {sp.S.One} != {*kept} for own in terms):
            return self.parts(values)
        constant = self.coefficient([own.get(sp.S.One, 0) for own in terms], SHIFT if kept else word)
        return sp.Add(constant, *(self.coefficient([own[m] for own in terms], STRIDE, m) * m for m in kept))

    def parts(self, values: Sequence[sp.Expr]) -> sp.Expr:
        """A minimum, a remainder: argument by argument. A label is the same but for the integers of its own place."""
        first = values[0]
        if isinstance(first, Read):
            return self.value(values)
        if any(e.func is not first.func or len(e.args) != len(first.args) or not e.args for e in values):
            raise Different
        return first.func(*map(self.integer, zip(*(e.args for e in values), strict=True)))

    def coefficient(self, numbers: Sequence[int], word: str, of: sp.Expr = sp.S.One) -> sp.Expr:
        """What a term is multiplied by: a number, or what is written for numbers that differ."""
        values = tuple(map(int, numbers))
        if len({*values}) == 1:
            return sp.Integer(values[0])
        if of in self.innermost:
            raise Different
        sign = 1 if sum(values) > 0 else -1
        values = tuple(sign * value for value in values)
        if min(values) < 0:  # functions are given no negative numbers
            raise Different
        if values not in self.known:
            self.found.setdefault(values, {})[word] = None
        return sign * self.known.get(values, size_symbol(f"integer_{'_'.join(map(str, values))}"))


def terms_of(e: sp.Expr) -> Terms:
    """The terms of an integer, each with the number that it is multiplied by."""
    found = Terms()
    for term in sp.Add.make_args(sp.expand(e)):
        factor, monomial = term.as_coeff_Mul()
        if not factor.is_Integer:
            raise Different
        found[monomial] = int(factor)
    return found


def is_of_indices(e: sp.Basic) -> bool:
    """Whether a comparison is one of integers: of indices and sizes."""
    return bool(e.free_symbols) and not reads_of(e) and all(n.is_integer for n in e.args)
