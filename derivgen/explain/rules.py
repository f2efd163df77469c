"""Expression → the rules of calculus that differentiate it, one step a node.

The local derivatives come from `functions.derivative`, the same that differentiates a program: a part of a node is
named by a letter, and the node is differentiated by that letter. So what is explained is what is done.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen.form.expressions import Read
from derivgen.form.functions import RECORDS, derivative

LETTERS = "uvwpqrst"

CONVENTIONS: dict[type, str] = {
    sp.Piecewise: "a branch has its derivative where its condition holds; conditions carry none",
    **{f.type: f.kink for f in RECORDS if f.kink},
}
POWER = "u^v has by u the derivative v·u^(v-1), 0 where v = 0; by v u^v·log(u), 0 where u = 0"

RULES: dict[type, str] = {
    sp.Add: "sum rule",
    sp.Piecewise: "branch",
    sp.Max: "maximum",
    sp.Min: "minimum",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A node with some of its parts named, and the derivative by each of them."""

    rule: str
    whole: sp.Expr
    names: tuple[sp.Expr, ...]  # letters; a read that stands there alone is its own name
    meanings: tuple[sp.Expr, ...]
    convention: str | None

    @property
    def locals(self) -> tuple[sp.Expr, ...]:
        return tuple(derivative(self.whole, name) for name in self.names)


def parts(node: sp.Expr) -> list[tuple[int, sp.Expr]]:
    """(position, part) of what a rule descends into: factors below a fraction bar without their exponent."""
    if isinstance(node, Read):
        return []
    if isinstance(node, sp.Piecewise):
        return [(i, pair.args[0]) for i, pair in enumerate(node.args)]
    if isinstance(node, sp.Mul):
        return [(i, a.base if is_divisor(a) else a) for i, a in enumerate(node.args)]
    return list(enumerate(node.args))


def is_divisor(factor: sp.Expr) -> bool:
    return isinstance(factor, sp.Pow) and factor.exp.is_Number and bool(factor.exp.is_negative)


def with_parts(node: sp.Expr, new: Mapping[int, sp.Expr]) -> sp.Expr:
    """The node with other parts, otherwise as it is written."""
    arguments = list(node.args)
    for i, part in new.items():
        old = arguments[i]
        if isinstance(node, sp.Piecewise):
            arguments[i] = (part, old.args[1])
        elif isinstance(node, sp.Mul) and is_divisor(old):
            arguments[i] = sp.Pow(part, old.exp, evaluate=False)
        else:
            arguments[i] = part
    return node.func(*arguments, evaluate=False)


def depends(node: sp.Expr, read: Read) -> bool:
    """Whether the read stands where a derivative can reach it: not only in conditions and subscripts."""
    return bool(node == read) or any(depends(part, read) for _, part in parts(node))


def step_at(node: sp.Expr, names: Mapping[int, sp.Expr], varies: Callable[[sp.Expr], bool]) -> Step:
    """The step from a node to the parts at these positions, under these names; `varies`: no constant to the reader."""
    meanings = dict(parts(node))
    distinct = {name: meanings[i] for i, name in names.items()}
    convention = CONVENTIONS.get(node.func)
    if isinstance(node, sp.Pow) and not node.exp.is_number:
        convention = POWER
    rule = rule_at(node, list(names), varies)
    return Step(rule, with_parts(node, names), tuple(distinct), tuple(distinct.values()), convention)


def rule_at(node: sp.Expr, positions: Sequence[int], varies: Callable[[sp.Expr], bool]) -> str:
    if isinstance(node, sp.Mul):
        if not any(varies(a) for i, a in enumerate(node.args) if i not in positions) and len(positions) == 1:
            return "quotient rule" if is_divisor(node.args[positions[0]]) else "constant factor"
        return "quotient rule" if any(is_divisor(a) and varies(a) for a in node.args) else "product rule"
    if isinstance(node, sp.Pow):
        if 0 not in positions:
            return "exponential rule"
        return "quotient rule" if node.exp == -1 else "power rule"
    return RULES.get(node.func, "chain rule")


def paths(node: sp.Expr, read: Read, taken: Container[str], depth: int = 0) -> list[tuple[Step, ...]]:
    """The steps from the root to each place of a read; a path ends early where its derivative is 0."""
    if node == read:
        return [()]
    places = [(i, part) for i, part in parts(node) if depends(part, read)]
    found: list[tuple[Step, ...]] = []
    for i, part in places:
        alone = part == read and len(places) == 1
        name = read if alone else letter(next(itertools.islice(letters(taken), depth, None)), part)
        step = step_at(node, {i: name}, lambda e: depends(e, read))
        if step.locals[0] == 0:
            found.append((step,))
        else:
            found += [(step, *rest) for rest in paths(part, read, taken, depth + 1)]
    return found


def letters(taken: Container[str]) -> Iterator[str]:
    """u, v, w, …, then u2, v2, …, without the names that are taken."""
    names = (f"{name}{number if number > 1 else ''}" for number in itertools.count(1) for name in LETTERS)
    return (name for name in names if name not in taken)


def letter(name: str, meaning: sp.Expr) -> sp.Symbol:
    """A letter for a part, positive where that is known to be."""
    assumptions = {"positive": True} if meaning.is_positive else {"real": True}
    return sp.Symbol(name, **assumptions)
