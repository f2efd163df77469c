"""Random specs whose reads stay inside their tensors, or off a singularity, by guards alone.

In the manner of NNSmith (Liu et al., ASPLOS 2023), which solves constraints before it writes an operator: extents come
first, then reads at affine subscripts, of axes longer and shorter than the indices in them. What each read needs, the
exact condition, goes along with the text of the expression that it stands in, through products, powers, functions and
sums, until a branch is put around it somewhere, at the latest where the index of the condition ends. So a spec is
legal, and a guard that is lost, weakened or moved afterwards shows as an access outside or as a number that is not
finite. At last the data: each input has a border, which the conditions on its values and the reads under them have too;
its elements are above, below and at it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

import numpy as np
from random_specs import FUNCTIONS, IMPORTS, LARGEST, TAME, Axis, Spec, Term
from second_order_oracle import has_single_rows

from derivgen.form.program import Program, Role

T = TypeVar("T")

UNSURE = 10**6  # the least or largest value of what hangs on a size that is known at run time
OF_OBJECTIVE = ("hessian_vector_product", "hessian_diagonal", "hessian", "gauss_newton_vector_product")
OF_INPUTS, OF_ROWS = "loss_and_input_gradients", "per_sample_gradients"
OF_PREDICTION = ("jacobian_vector_product", "jacobian", "jacobian_vector_product, jacobian, vector_jacobian_product")
LETTERS = "uvijkrtwh"
BORDERS = (0.0, 0.5, -0.25)  # doubles, so that a value can be there
ROWS = (1, 2, 3, 5, 7)
ABOVE, BELOW = (0.25, 0.75, 1.0), (-1.25, -1.5, -2.0)  # log(x - border + 1) is singular below, and 0 at the border


@dataclass(frozen=True, slots=True, repr=False)
class GuardedSpec(Spec):
    """A spec with the border of each input: values are at it, above and below."""

    borders: tuple[tuple[str, float], ...] = ()

    def values(self, program: Program) -> dict[str, np.ndarray]:
        made, rng = Spec.values(self, program), np.random.default_rng(self.seed)
        borders = dict(self.borders)
        for t in program.of_role(Role.INPUT, Role.LABELS):
            shape, count = made[t.name].shape, made[t.name].size
            kinds = (np.arange(count) + rng.integers(0, 6)) % 3
            if t.name in borders:
                away = np.choose(kinds, [np.zeros(count), rng.choice(ABOVE, count), rng.choice(BELOW, count)])
                away += rng.uniform(0.05, 0.2, count) if OF_INPUTS in self.text else 0  # off borders, and no two equal
                made[t.name] = rng.permutation(borders[t.name] + away).reshape(shape)
            elif (
                t.classes is not None and t.ignore is None
            ):  # the classes in turn, since conditions are about all of them
                made[t.name] = rng.permutation((np.arange(count) + rng.integers(0, t.classes)) % t.classes)
                made[t.name] = made[t.name].reshape(shape)
        return made

    def at(self, runtime: int, seed: int) -> GuardedSpec:
        """The spec at another point: all run-time sizes of this value."""
        return replace(self, runtime=tuple((name, runtime) for name, _ in self.runtime), seed=seed)

    @property
    def other(self) -> GuardedSpec:
        """A second point, at other sizes."""
        return self.at(ROWS[self.seed % len(ROWS)], self.seed + 1)


@dataclass(frozen=True, slots=True)
class Index:
    """An index and its least and largest value where it is bound; `limits` as a Sum has them."""

    name: str
    axis: Axis
    low: int
    high: int
    limits: str


@dataclass(frozen=True, slots=True)
class Need:
    """A condition that must hold where a part is evaluated: ways to say it, the first exact, others as strong or more.

    `first`: what must hold for the condition itself to be read.
    """

    forms: tuple[str, ...]
    negation: str
    indices: tuple[Index, ...]
    first: tuple[Need, ...] = ()

    def renamed(self, names: dict[str, str], indices: dict[Index, Index]) -> Need:
        return Need(
            tuple(renamed(f, names) for f in self.forms),
            renamed(self.negation, names),
            tuple(indices[i] for i in self.indices),
            tuple(n.renamed(names, indices) for n in self.first),
        )

    @property
    def level(self) -> int:
        """An And tests what is on indices alone first, so conditions on reads through reads stand inside of others."""
        return 1 + max((n.level for n in self.first), default=0) if "[" in self.negation else 0

    @property
    def all_indices(self) -> set[Index]:
        return {*self.indices}.union(*(n.all_indices for n in self.first))


def renamed(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda word: names.get(word[0], word[0]), text)


def closed(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Needs and what they need first, in this order, each once."""
    found: dict[Need, None] = {}
    for need in needs:
        found |= dict.fromkeys((*closed(need.first), need))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Part:
    """An expression, a bound of its absolute value, and what it still needs."""

    text: str
    largest: float
    needs: tuple[Need, ...] = ()

    @property
    def factor(self) -> str:
        return Term(self.text, self.largest).factor

    def under(self, *needs: Need) -> Part:
        return replace(self, needs=closed((*self.needs, *needs)))


@dataclass(frozen=True, slots=True)
class Tensor:
    """What may be read; of an integer one `low` and `high` are its least and largest value.

    `needs`: where its elements may be read, by its own indices.
    """

    name: str
    axes: tuple[Axis, ...]
    largest: float = LARGEST
    low: int = 0
    high: int = 0
    border: float | None = None
    ignores: bool = False
    own: tuple[Index, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscript:
    """An integer expression, its range, and the indices in it."""

    text: str
    low: int
    high: int
    indices: tuple[Index, ...]
    needs: tuple[Need, ...] = ()
    inside: Axis | None = None  # an axis that it never leaves, whatever the sizes are


@dataclass
class GuardedWriter:
    """A spec under construction, by the choices of a random generator."""

    random: Random
    sizes: list[Axis] = field(default_factory=list)
    reals: list[Tensor] = field(default_factory=list)
    integers: list[Tensor] = field(default_factory=list)
    parameters: list[Tensor] = field(default_factory=list)
    lets: list[Tensor] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    letters: dict[Axis, list[str]] = field(default_factory=dict)
    known: list[Need] = field(default_factory=list)  # conditions of guards so far
    read_names: set[str] = field(default_factory=set)

    # ---- choices

    def choose(self, options: Sequence[T]) -> T:
        return self.random.choice(options)

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def chance(self, percent: int) -> bool:
        return self.random.random() * 100 < percent

    # ---- indices and subscripts

    def index(self, axis: Axis, taken: Iterable[Index]) -> Index:
        """An index over all of an axis, none of those that are taken."""
        names, used = self.letters.setdefault(axis, []), {i.name for i in taken}
        free = [n for n in names if n not in used]
        if not free:
            every = {n for others in self.letters.values() for n in others}
            letters = "n" if axis.text == "N" else LETTERS
            options = [*letters, *(f"{a}{k}" for k in range(2, 9) for a in letters)]
            free = [next(n for n in options if n not in every)]
            names += free
        return Index(free[0], axis, 0, UNSURE if axis.runtime else axis.value - 1, free[0])

    def bind(self, near: Sequence[Index]) -> tuple[Index, tuple[Need, ...]]:
        """A new index for a sum, at times between limits, and what these need outside of the sum."""
        axis = self.choose(self.sizes)
        index = self.index(axis, near)
        i, last = index.name, axis.last
        if axis.runtime or axis.value < 2 or self.chance(60):
            return index, ()
        low = self.number(0, axis.value - 1)
        high = self.number(low, axis.value - 1)
        outer = [o for o in near if not o.axis.runtime]
        if not outer or self.chance(50):
            return replace(index, low=low, high=high, limits=f"({i}, {low}, {high})"), ()
        o = self.choose(outer)
        inside = self.inside(Subscript(o.name, o.low, o.high, (o,)), axis)
        if self.chance(60):
            return replace(index, high=min(o.high, axis.value - 1), limits=f"({i}, 0, {o.name})"), inside
        return replace(index, low=o.low, limits=f"({i}, {o.name}, {last})"), inside

    def affine(self, near: Sequence[Index], axis: Axis) -> Subscript:
        """A combination of indices that may leave the axis."""
        i, j = self.choose(near), self.choose(near)
        k = self.number(1, 3)
        width = j.axis.value if not j.axis.runtime else 2
        terms, constant = self.choose(
            [
                ({i: 1}, 0),
                ({i: 1}, 0),
                ({i: 1}, 0),
                ({i: 1}, k),
                ({i: 1}, -k),
                ({i: 2}, self.choose([0, 1, -1])),
                ({i: -1}, k),
                ({i: -1}, axis.value - 1 if not axis.runtime else k),
                ({i: 1, j: 1}, self.choose([0, -1])),
                ({i: 1, j: -1}, 0),
                ({i: width, j: 1}, 0),
            ]
        )
        if i == j and len(terms) == 1 and axis.runtime and axis == i.axis and self.chance(30):
            return Subscript(f"{axis.text} - 1 - {i.name}", -UNSURE, UNSURE, (i,), inside=axis)
        if i == j and terms == {i: -1} and constant == 0:
            terms = {i: 1}
        text = " + ".join(i.name if c == 1 else f"{c}*{i.name}" for i, c in terms.items() if c > 0)
        text += "".join(f" - {i.name}" for i, c in terms.items() if c < 0)
        text = f"{constant}{text}" if not any(c > 0 for c in terms.values()) else text
        if constant and any(c > 0 for c in terms.values()):
            text += f" {'+' if constant > 0 else '-'} {abs(constant)}"
        low = constant + sum(c * (i.low if c > 0 else i.high) for i, c in terms.items())
        high = constant + sum(c * (i.high if c > 0 else i.low) for i, c in terms.items())
        plain = i.axis if terms == {i: 1} and constant <= 0 else None
        return Subscript(text, low, high, tuple(terms), inside=plain if constant == 0 else None)

    def gathered(self, near: Sequence[Index]) -> Subscript:
        """A read of a table or of labels, at times through another table."""
        t = self.choose(self.integers)
        places = [self.subscript(a, near, depth=1) for a in t.axes]
        self.read_names.add(t.name)
        text = f"{t.name}[{', '.join(p.text for p, _ in places)}]"
        shift = self.choose([0, 0, 0, 1, -1])
        text += f" {'+' if shift > 0 else '-'} 1" if shift else ""
        indices = tuple(dict.fromkeys(i for p, _ in places for i in p.indices))
        needs = closed(n for _, inside in places for n in inside)
        return Subscript(text, t.low + shift, t.high + shift, indices, needs)

    def subscript(self, axis: Axis, near: Sequence[Index], depth: int = 0) -> tuple[Subscript, tuple[Need, ...]]:
        """A subscript along an axis, and all that it needs."""
        own = [i for i in near if i.axis == axis]
        if own and self.chance(35):
            i = self.choose(own)
            found = Subscript(i.name, i.low, i.high, (i,), inside=axis)
        elif self.integers and near and depth < 2 and self.chance(18 if depth == 0 else 5):
            found = self.gathered(near)
        elif not near or self.chance(6):
            k = self.number(0, 3) if axis.runtime else self.number(0, axis.value - 1)
            found = Subscript(str(k), k, k, ())
        else:
            found = self.affine(near, axis)
        return found, closed((*found.needs, *self.inside(found, axis)))

    def inside(self, e: Subscript, axis: Axis) -> tuple[Need, ...]:
        """What keeps a subscript inside an axis, where its range does not."""
        if e.inside == axis:
            return ()
        needs, text, last = [], e.text, axis.last
        if e.low < 0:
            forms = [f"{text} >= 0", f"{text} > -1", f"0 <= {text}", f"Not({text} < 0)"]
            needs.append(Need(self.stronger(forms, e, axis), f"{text} < 0", e.indices, e.needs))
        if axis.runtime or e.high >= axis.value:
            forms = [
                f"{text} < {axis.text}",
                f"{text} <= {last}",
                f"{axis.text} > {text}",
                f"Not({text} >= {axis.text})",
            ]
            needs.append(Need(self.stronger(forms, e, axis), f"{text} >= {axis.text}", e.indices, e.needs))
        return tuple(needs)

    def stronger(self, forms: list[str], e: Subscript, axis: Axis) -> tuple[str, ...]:
        """The forms in random order, at times with one that says more."""
        self.random.shuffle(forms)
        k = 0 if axis.runtime else self.number(0, axis.value - 1)
        least = f"And({e.text} >= {k}, {e.text} < {axis.text})"
        return (*forms, self.choose([*forms, f"Eq({e.text}, {k})", least, least]))

    # ---- reads

    def read(self, t: Tensor, near: Sequence[Index]) -> Part:
        self.read_names.add(t.name)
        if t.needs or not t.axes:
            return self.read_where_allowed(t, near)
        places = [self.subscript(a, near) for a in t.axes]
        text = f"{t.name}[{', '.join(p.text for p, _ in places)}]"
        return Part(text, t.largest, closed(n for _, needs in places for n in needs))

    def read_where_allowed(self, t: Tensor, near: Sequence[Index]) -> Part:
        """A read at plain indices of a let that is singular where its own needs do not hold."""
        places: list[Index] = []
        for a in t.axes:
            options = [i for i in near if i.axis == a]
            if not options:
                return Part(self.choose(["1", "0.5"]), 1)
            places.append(self.choose(options))
        names = {o.name: p.name for o, p in zip(t.own, places, strict=True)}
        here = [n.renamed(names, dict(zip(t.own, places, strict=True))) for n in t.needs]
        return Part(self.place(t, places), t.largest, closed(here))

    def pick(self) -> Tensor:
        """A tensor to read, later ones and those that nothing has read yet more often."""
        unread = [t for t in self.reals if t.name not in self.read_names]
        return self.choose([*self.reals, *unread, *unread, *self.lets[-2:], *self.lets[-1:]])

    # ---- guards

    def recalled(self, scope: Sequence[Index]) -> Need | None:
        """A condition that stood in a guard before, at indices of this scope."""
        if not self.known:
            return None
        need = self.choose(self.known[-12:])
        places: dict[Index, Index] = {}
        for i in sorted(need.all_indices, key=lambda i: i.name):
            options = [s for s in scope if s.axis == i.axis and s.low >= i.low and s.high <= i.high]
            options = [s for s in options if s not in places.values()]
            if not options:
                return None
            same = [s for s in options if s.name == i.name]
            places[i] = same[0] if same and self.chance(60) else self.choose(options)
        return need.renamed({i.name: s.name for i, s in places.items()}, places)

    def other_condition(self, scope: Sequence[Index]) -> Need | None:
        """A condition that no read needs: on indices, on data at and beside its border, on labels."""
        if not scope:
            return None
        i, j = self.choose(scope), self.choose(scope)
        k = self.number(0, 3)
        options = [(f"{i.name} < {k + 1}", f"{i.name} > {k}"), (f"{i.name} > {k}", f"{i.name} <= {k}")]
        options += [(f"{i.name} <= {j.name}", f"{i.name} > {j.name}")] * 2 if i != j else []
        options += [(f"Eq({i.name}, {k})", f"Ne({i.name}, {k})"), (f"Ne({i.name}, {k})", f"Eq({i.name}, {k})")]
        if self.chance(40):
            bordered = [t for t in self.reals if t.border is not None]
            if bordered and self.chance(60):
                return self.data_need(self.choose(bordered), scope, self.choose([">", ">=", "<", "<="]))[1]
            if self.integers:
                e = self.gathered(scope)
                return Need((f"Eq({e.text}, {k})",), f"Ne({e.text}, {k})", e.indices, e.needs)
        condition, negation = self.choose(options)
        return Need((condition,), negation, (i, j))

    def data_need(self, t: Tensor, scope: Sequence[Index], relation: str) -> tuple[Part, Need]:
        """(a read of what has a border, the condition that it is on one side)"""
        read = self.read(t, scope)
        opposite = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}[relation]
        border = f"{t.border:g}"
        forms = [f"{read.text} {relation} {border}", f"Not({read.text} {opposite} {border})"]
        indices = tuple(i for i in scope if re.search(rf"\b{i.name}\b", read.text))
        return read, Need(tuple(forms), f"{read.text} {opposite} {border}", indices, read.needs)

    def default(self, scope: Sequence[Index]) -> Part:
        if self.chance(75):
            return Part("0", 0)
        return (
            Part(self.choose(["0.5", "Rational(1, 3)"]), 0.5)
            if self.chance(70)
            else self.settled(self.leaf(scope), scope)
        )

    def settled(self, part: Part, scope: Sequence[Index], chosen: Sequence[Need] | None = None) -> Part:
        """The part in a branch, under what it needs (or the chosen ones of it and all that hang on them), and more."""
        now = list(part.needs if chosen is None else (n for n in part.needs if {n, *closed(n.first)} & {*chosen}))
        later = tuple(n for n in part.needs if n not in now)
        for more, percent in ((self.recalled, 15), (self.other_condition, 10)):
            need = more(scope) if self.chance(percent) else None
            if need is not None:
                now = [*closed((*now, need))]
                now = [n for n in now if n not in later]
        if not now:
            return part
        self.known += [n for n in now if n not in self.known]
        return replace(self.branch(part, now, scope), needs=later)

    def branch(self, part: Part, needs: Sequence[Need], scope: Sequence[Index]) -> Part:
        shallow = min(n.level for n in needs)
        deep = [n for n in needs if n.level > max(1, shallow)]
        if deep:
            return self.branch(self.branch(part, deep, scope), [n for n in needs if n not in deep], scope)
        other = self.default(scope)
        largest = max(part.largest, other.largest)
        says = [self.choose(n.forms) for n in needs]
        condition = says[0] if len(says) == 1 else f"And({', '.join(says)})"
        match self.number(0, 9):
            case 0 | 1 if len(needs) > 1:  # one guard in another one; what a condition needs stands outside
                cut = self.number(1, len(needs) - 1)
                inner = self.branch(part, needs[cut:], scope)
                return self.branch(replace(inner, largest=max(largest, inner.largest)), needs[:cut], scope)
            case 2 if len(needs) == 1 or all(n.level == 0 for n in needs):  # the branch for what is left
                before = ", ".join(f"({other.text}, {n.negation})" for n in needs)  # SymPy makes an Or of it
                text = f"Piecewise({before}, ({part.text}, True))"
            case 3 if scope:  # another branch before it
                extra = self.other_condition(scope)
                if extra is None or extra.first:
                    return self.branch(part, needs, scope)
                first = f"({self.default(scope).text}, {extra.forms[0]})"
                text = f"Piecewise({first}, ({part.text}, {condition}), ({other.text}, True))"
            case 4 if scope:  # two ways to be inside
                i, k = self.choose(scope), self.number(0, 3)
                ways = f"Or(And({condition}, {i.name} <= {k}), And({condition}, {i.name} > {k}))"
                text = f"Piecewise(({part.text}, {ways}), ({other.text}, True))"
            case _:
                text = f"Piecewise(({part.text}, {condition}), ({other.text}, True))"
        return Part(text, largest + 0.5)

    def perhaps_settled(self, part: Part, scope: Sequence[Index]) -> Part:
        """The part with some of its needs settled, or all, or none."""
        if not part.needs or self.chance(40):
            return part
        return self.settled(part, scope, None if self.chance(60) else [self.choose(part.needs)])

    # ---- expressions

    def tame(self, part: Part, largest: float = TAME) -> Part:
        if part.largest <= largest:
            return part
        scale = math.ceil(part.largest / largest)
        return replace(part, text=f"{part.factor}/{scale}", largest=part.largest / scale)

    def real(self, scope: Sequence[Index], depth: int) -> Part:
        """An expression of the indices in scope."""
        nodes: list[Callable[[Sequence[Index], int], Part]] = [
            self.power,
            self.power,
            self.product,
            self.product,
            self.sum_of_terms,
            self.sum_of_terms,
            self.function,
            self.function,
            self.singular,
            self.reduction,
            self.reduction,
            self.concatenation,
            self.weighted,
            self.alternative,
            self.normalized,
        ]
        part = self.choose(nodes)(scope, depth - 1) if depth > 0 else self.leaf(scope)
        return self.perhaps_settled(self.tame(part, 2 * TAME), scope)

    def leaf(self, scope: Sequence[Index]) -> Part:
        """A product of one to three reads, at times summed over indices that are not in scope."""
        bound, outside = self.bound(scope, self.choose([0, 0, 1, 1, 2]))
        near = [*scope, *bound]
        factors = [self.perhaps_settled(self.read(self.pick(), near), near) for _ in range(self.choose([1, 2, 2, 3]))]
        body = Part("*".join(f.factor for f in factors), math.prod(f.largest + 0.5 for f in factors))
        return self.total(body.under(*(n for f in factors for n in f.needs)), scope, bound, outside)

    def bound(self, scope: Sequence[Index], count: int) -> tuple[list[Index], list[Need]]:
        bound: list[Index] = []
        outside: list[Need] = []
        for _ in range(count):
            index, needs = self.bind([*scope, *bound])
            bound.append(index)
            outside += needs
        return bound, outside

    def total(self, body: Part, scope: Sequence[Index], bound: Sequence[Index], outside: Sequence[Need]) -> Part:
        """The sum over bound indices, under what their limits need; SymPy's outermost limit is the last."""
        for position in reversed(range(len(bound))):
            index, near = bound[position], [*scope, *bound[:position]]
            inside = [n for n in body.needs if index in n.all_indices]
            body = self.settled(body, [*near, index], inside) if inside or self.chance(10) else body
            if index.axis.runtime:
                body = Part(f"Sum({body.text}, {index.limits})/{index.axis.text}", body.largest, body.needs)
            else:
                body = Part(f"Sum({body.text}, {index.limits})", body.largest * index.axis.value, body.needs)
            body = body.under(*(n for n in outside if n.indices and f" {n.indices[0].name}" in index.limits))
        return self.tame(body, 2 * TAME)

    def power(self, scope: Sequence[Index], depth: int) -> Part:
        part = self.tame(self.real(scope, depth))
        k = self.choose([2, 2, 3])
        return Part(f"{part.factor}**{k}", part.largest**k, part.needs)

    def product(self, scope: Sequence[Index], depth: int) -> Part:
        a, b = self.tame(self.real(scope, depth)), self.tame(self.real(scope, depth))
        return Part(f"{a.factor}*{b.factor}", a.largest * b.largest).under(*a.needs, *b.needs)

    def sum_of_terms(self, scope: Sequence[Index], depth: int) -> Part:
        terms = [self.real(scope, depth) for _ in range(self.choose([2, 2, 3]))]
        text = " + ".join(t.text for t in terms)
        return Part(text, sum(t.largest for t in terms)).under(*(n for t in terms for n in t.needs))

    def function(self, scope: Sequence[Index], depth: int) -> Part:
        row = self.choose(FUNCTIONS)
        z = self.tame(self.real(scope, depth))
        w = self.tame(self.real(scope, 0)) if "{w}" in row.text else z
        return Part(row.text.format(z=z.factor, w=w.factor), row.largest).under(*z.needs, *w.needs)

    def singular(self, scope: Sequence[Index], depth: int) -> Part:
        """What is infinite or no number where a condition on data does not hold."""
        bordered = [t for t in self.reals if t.border is not None]
        if not bordered:
            return self.power(scope, depth)
        t = self.choose(bordered)
        relation = self.choose([">", ">", ">="])
        read, need = self.data_need(t, scope, relation)
        p = self.choose([p for p in self.parameters if not p.axes] or [Part("0.7", 1)])
        d = f"({read.text} - {t.border:g})" if t.border else read.text
        q = p.text if isinstance(p, Part) else self.read(p, ()).text
        forms = [f"log({d})*{q}", f"{q}/{d}", f"sqrt({d}*exp({q}/2))", f"log({d}*exp({q}))", f"{d}**({q}/2)"]
        text = self.choose(forms) if relation == ">" else f"{q}*log({d} + 1)"
        return Part(text, 6, closed((*read.needs, need)))

    def reduction(self, scope: Sequence[Index], depth: int) -> Part:
        bound, outside = self.bound(scope, self.choose([1, 1, 2]))
        near = [*scope, *bound]
        if self.chance(25):
            bound, outside = [self.index(b.axis, scope) for b in bound[:1]], []
            body = self.tame(self.real([*scope, *bound], depth))
            body = self.settled(body, [*scope, *bound], [n for n in body.needs if bound[0] in n.all_indices])
            i = bound[0].name  # the weights keep apart what differs by rounding only
            return Part(f"MaxOver({body.text} + cos(1 + {i}), {i})", body.largest + 1, body.needs)
        return self.total(self.tame(self.real(near, depth)), scope, bound, outside)

    def concatenation(self, scope: Sequence[Index], depth: int) -> Part:
        """One tensor after another one along an axis."""
        fixed = [t for t in self.reals if len(t.axes) == 1 and not t.axes[0].runtime and not t.needs]
        if len(fixed) < 2 or not scope:
            return self.sum_of_terms(scope, depth)
        a, b = self.choose(fixed), self.choose(fixed)
        i, middle, end = self.choose(scope), a.axes[0].value, a.axes[0].value + b.axes[0].value
        self.read_names |= {a.name, b.name}
        last = ["(0, True)"] if i.high >= end else []
        second = f"({b.name}[{i.name} - {middle}], {f'{i.name} < {end}' if last else 'True'})"
        text = f"Piecewise(({a.name}[{i.name}], {i.name} < {middle}), {', '.join([second, *last])})"
        return Part(text, max(a.largest, b.largest))

    def weighted(self, scope: Sequence[Index], depth: int) -> Part:
        part = self.tame(self.real(scope, depth))
        if not scope:
            return part
        i, j = self.choose(scope), self.choose(scope)
        form = self.choose(["KroneckerDelta({i}, {j})*{p}", "{p}*cos(1 + {i} + 2*{j})", "{p}*({i} + 1)/({j} + 2)"])
        return Part(form.format(p=part.factor, i=i.name, j=j.name), 4 * part.largest, part.needs)

    def alternative(self, scope: Sequence[Index], depth: int) -> Part:
        """A choice by a condition that no read needs; the values may need more."""
        need = self.other_condition(scope)
        a, b = self.real(scope, depth), self.real(scope, depth)
        if need is None or need.first:
            return a
        text = f"Piecewise(({a.text}, {need.forms[0]}), ({b.text}, True))"
        return Part(text, max(a.largest, b.largest)).under(*a.needs, *b.needs)

    def normalized(self, scope: Sequence[Index], depth: int) -> Part:
        if not scope:
            return self.power(scope, depth)
        i, z = self.choose(scope), self.tame(self.real(scope, depth))
        z = self.settled(z, scope, [n for n in z.needs if i in n.all_indices])
        form = self.choose(["{z}/sqrt(1 + Sum({z}**2, {i}))", "{z} - log(1 + Sum(exp({z}), {i}))"])
        return Part(form.format(z=z.factor, i=i.limits), z.largest + 4, z.needs)

    # ---- lets

    def scope(self) -> list[Index]:
        scope: list[Index] = []
        for _ in range(self.choose([1, 1, 1, 2, 2, 0])):
            axis = self.choose(self.sizes)
            if math.prod(i.axis.value for i in scope) * axis.value <= 24:
                scope.append(self.index(axis, scope))
        return scope

    def define(self, scope: Sequence[Index], part: Part, axes: tuple[Axis, ...] = (), left: str = "") -> None:
        name = f"a{len(self.lets) + 1}"
        left = left or "".join(f"{i.name}, " for i in scope)
        self.lines.append(f'{name} = model.let("{name}", ({left}), {part.text})')
        shape = axes or tuple(i.axis for i in scope)
        self.lets.append(Tensor(name, shape, max(0.5, part.largest), own=tuple(scope), needs=part.needs))
        self.reals.append(self.lets[-1])

    def let(self) -> None:
        self.choose(
            [*[self.generic] * 5, *[self.copy] * 3, self.recurrence, self.recurrence, self.unguarded, self.joined]
        )()

    def generic(self) -> None:
        scope = self.scope()
        self.define(scope, self.tame(self.settled(self.real(scope, self.choose([1, 2, 2, 3])), scope), 2 * TAME))

    def copy(self) -> None:
        """What another let holds, at its own indices or at others, or a simple form of it, under a known guard."""
        plain = [t for t in self.lets if t.axes and not t.needs]
        if not plain:
            return self.generic()
        t = self.choose(plain)
        scope: list[Index] = []
        for a in t.axes:
            longer = [s for s in self.sizes if not s.runtime and not a.runtime and s.value >= a.value]
            scope.append(
                self.index(a if a in self.sizes and self.chance(80) else self.choose(longer or self.sizes), scope)
            )
        places = [Subscript(i.name, i.low, i.high, (i,), inside=i.axis) for i in scope]
        self.read_names.add(t.name)
        form = self.choose(["{r}", "{r}", "{r}**2", "{r}*{r}", "2*{r}", "sin({r})", "{r}*{w}"])
        w = self.settled(self.leaf(scope), scope) if "{w}" in form else Part("1", 1)
        read = f"{t.name}[{', '.join(i.name for i in scope)}]"
        needs = closed(n for p, a in zip(places, t.axes, strict=True) for n in self.inside(p, a))
        part = Part(form.format(r=read, w=w.factor), (t.largest + 1) ** 2 * w.largest, needs)
        recalled = self.recalled(scope) if self.chance(70) else None
        part = part.under(recalled) if recalled is not None else part
        self.define(scope, self.tame(self.settled(part, scope), 2 * TAME))
        return None

    def unguarded(self) -> None:
        """A let that is singular at some places, and is read at the others only."""
        scope = self.scope()
        part = self.singular(scope, 1)
        inner = [
            n
            for n in part.needs
            if "log" not in n.forms[0] and not any(t.border is not None and t.name in n.forms[0] for t in self.reals)
        ]
        first = closed(m for n in part.needs for m in n.first)
        if inner or first or not part.needs:
            return self.define(scope, self.tame(self.settled(part, scope)))
        return self.define(scope, part)

    def joined(self) -> None:
        """Two indices along one axis."""
        fixed = [a for a in self.sizes if not a.runtime and a.value < 5]
        if not fixed:
            return self.generic()
        i = self.index(self.choose(fixed), [])
        j = self.index(self.choose(fixed), [i])
        count = i.axis.value * j.axis.value
        axis = Axis(str(count), count)
        part = self.tame(self.settled(self.real([i, j], self.choose([1, 2])), [i, j]))
        self.define([], part, (axis,), f"{i.name}*{j.axis.value} + {j.name},")
        return None

    def recurrence(self) -> None:
        scope = self.scope()
        if not scope:
            return self.generic()
        name = f"a{len(self.lets) + 1}"
        time, rest = scope[0], scope[1:]
        back = self.choose([" - ", " - ", " + "])
        own = [i.name for i in scope]

        def earlier(steps: int) -> str:
            return f"{name}[{', '.join([f'{time.name}{back}{steps}', *own[1:]])}]"

        terms = [self.tame(self.settled(self.real(scope, self.choose([0, 1, 2])), scope), 1).factor]
        terms.append(f"{earlier(1)}/2")
        if self.chance(40):  # the earlier value times what a guard keeps inside, at times at the earlier step
            factor = self.settled(self.leaf(scope), scope)
            terms.append(f"{earlier(1)}*{self.tame(factor, 0.5).factor}")
        start = self.choose(["0", "0.5"]) if self.chance(70) else self.tame(self.settled(self.leaf(rest), rest), 1).text
        value = self.choose(["tanh({})", "({})/3"]).format(" + ".join(terms))
        left = "".join(f"{i}, " for i in own)
        self.lines.append(f'{name} = model.recur("{name}", ({left}), lambda {name}: {value}, {start})')
        self.lets.append(Tensor(name, tuple(i.axis for i in scope), 3.0, own=tuple(scope)))
        self.reals.append(self.lets[-1])
        return None

    # ---- the model

    def declare_sizes(self, data: bool) -> list[str]:
        lines = []
        if data:
            self.sizes.append(Axis("N", self.number(2, 7), runtime=True))
            lines.append('N = model.batch("N")')
        values = self.random.sample(range(1, 8), self.choose([2, 2, 3]))
        names = ("A", "B", "C")[: len(values)]
        lines.append(
            f"{', '.join(names)} = model.sizes({', '.join(f'{n}={v}' for n, v in zip(names, values, strict=True))})"
        )
        self.sizes += [Axis(n, v) for n, v in zip(names, values, strict=True)]
        if self.chance(30):
            v = self.number(2, 6)
            self.sizes.append(Axis(str(v), v))
        return lines

    def axes(self, rank: int, runtime_first: bool = False) -> tuple[Axis, ...]:
        """Axes of the sizes, or somewhat longer or shorter."""
        axes: list[Axis] = []
        for position in range(rank):
            axis = self.choose([a for a in self.sizes if not a.runtime])
            if runtime_first and position == 0:
                axis = self.sizes[0]
            elif self.chance(55):
                value = max(1, axis.value + self.choose([-3, -2, -2, -1, -1, 1, 2]))
                axis = Axis(str(value), value)
            if math.prod(a.value for a in axes) * axis.value <= 14:
                axes.append(axis)
        return tuple(axes)

    def declare(self, kind: str, name: str, axes: tuple[Axis, ...], more: str = "") -> str:
        return f'{name} = model.{kind}("{name}"{"".join(f", {a.text}" for a in axes)}{more})'

    def tensors(self, data: bool) -> list[str]:
        lines = []
        if data:
            for name in ("x", "z")[: self.choose([1, 2, 2])]:
                axes = self.axes(self.choose([1, 1, 2]), name == "x" or self.chance(40)) or (self.sizes[0],)
                border = self.choose(BORDERS)
                self.reals.append(Tensor(name, axes, 2.5, border=border))
                lines.append(self.declare("input", name, axes))
            if self.chance(50):
                axes, classes = (self.sizes[0],), self.number(2, 6)
                ignores = self.chance(20)
                self.integers.append(Tensor("y", axes, high=classes - 1, ignores=ignores))
                more = f", classes={classes}{', ignore=-100' if ignores else ''}"
                lines.append(self.declare("labels", "y", axes, more))
        for name in ("m", "s", "V", "q")[: self.number(2, 4)]:
            axes = self.axes(self.choose([1, 1, 1, 2, 0])) if name != "m" else self.axes(1)
            self.parameters.append(Tensor(name, axes))
            lines.append(self.declare("parameter", name, axes))
        self.reals += self.parameters
        for name in ("f", "g")[: self.choose([0, 1, 1, 2])]:
            length, low = self.number(2, 7), self.choose([0, 0, -1, -2])
            values = [self.number(low, 5) for _ in range(length)]
            self.integers.append(Tensor(name, (Axis(str(length), length),), low=min(values), high=max(values)))
            lines.append(f'{name} = model.constant("{name}", {values})')
        if self.chance(25):
            length = self.number(2, 6)
            self.reals.append(Tensor("c", (Axis(str(length), length),), border=0.0))
            lines.append(f'c = model.constant("c", {[self.choose([0.0, 0.75, -1.25, 1.0]) for _ in range(length)]})')
        return lines

    def objective(self) -> str:
        terms = []
        for t in [t for t in self.lets if t.name not in self.read_names] or self.lets[-1:]:
            scope: list[Index] = []
            for a in t.axes:
                scope.append(self.index(a, scope))
            read = self.read_where_allowed(t, scope) if t.needs else Part(self.place(t, scope), t.largest)
            weight = "".join(f" + {k + 2}*{i.name}" for k, i in enumerate(scope))
            form = self.choose(["{r}*cos(1{w})", "{r}**2", "sin({r} + 1)", "{r}"])
            body = Part(form.format(r=self.tame(read).factor, w=weight), 9, read.needs)
            terms.append(self.total(body, (), scope, ()))
        if self.chance(50):
            bound, outside = self.bound((), self.choose([1, 1, 2]))
            terms.append(self.total(self.tame(self.real(bound, self.choose([0, 1, 2]))), (), bound, outside))
        texts = [self.settled(t, ()).text for t in terms]
        for t in self.parameters:
            if t.name not in self.read_names:
                scope = []
                for a in t.axes:
                    scope.append(self.index(a, scope))
                texts.append(self.total(Part(f"{self.place(t, scope)}**2", 1), (), scope, ()).text)
        return " + ".join(texts)

    def place(self, t: Tensor, scope: Sequence[Index]) -> str:
        return f"{t.name}[{', '.join(i.name for i in scope)}]" if t.axes else t.name

    def spec(self, lets: int = 4) -> GuardedSpec:
        data = self.chance(80)
        head = [*self.declare_sizes(data), *self.tensors(data)]
        for _ in range(self.number(1, lets)):
            self.let()
        tail = [f"model.minimize({self.objective()})"]
        predictable = [t for t in self.lets if not t.needs]
        predicts = bool(predictable) and self.chance(70)
        if predicts:
            tail.append(f"model.predict({self.choose(predictable).name})")
        if self.chance(25):
            of_data = (OF_INPUTS, OF_ROWS) if data else ()
            asked = self.choose([*OF_OBJECTIVE, *of_data, *(OF_PREDICTION if predicts else ())])
            tail.append(f"model.second_order({', '.join(map(repr, asked.split(', ')))})")
        declared = [f"{n} = model.indices({n}={a.text})" for a, names in self.letters.items() for n in names]
        lines = ['model = Model("guarded")', *head, *declared, *self.lines, *tail]
        runtime = tuple((a.text, a.value) for a in self.sizes if a.runtime)
        borders = tuple((t.name, t.border) for t in self.reals if t.border is not None)
        spec = GuardedSpec(IMPORTS + "\n".join(lines) + "\n", runtime, self.number(0, 10**6), borders=borders)
        if OF_ROWS in spec.text and not has_single_rows(replace(spec, text=spec.text.replace(tail[-1], "")).model()):
            return replace(spec, text=spec.text.replace(tail[-1], ""))
        return spec
