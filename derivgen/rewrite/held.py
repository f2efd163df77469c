"""Values that a tensor holds already, found again inside later expressions: for a = tanh(z), 1 - tanh(z)² is 1 - a²."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.expressions import (
    TRUE,
    Conditions,
    Read,
    bottom_up_known,
    indices_of,
    parts_of,
    reads_of,
    substitute,
)
from derivgen.form.functions import sigmoid
from derivgen.form.program import Program, Range, Role, Statement, Tensor, are_plain, is_plain_index
from derivgen.rewrite.conditions import implies


@dataclass(frozen=True)
class Held:
    """A tensor that holds `expression` at every element where the condition holds: tensor[subscripts] = expression."""

    read: Read
    expression: sp.Expr
    extents: tuple[sp.Expr, ...]
    condition: Boolean

    @cached_property
    def parts(self) -> frozenset[str | Read]:
        """An expression with the value in it reads these: tensors, and elements at no index of the target."""
        reads = reads_of(self.expression)
        own = set(self.read.subscripts)
        return frozenset(r.tensor if own & indices_of(r) else r for r in reads)

    def may_stand_in(self, s: Statement) -> bool:
        return all(part in s.sources or part in s.reads for part in self.parts)


def held_by(s: Statement, tensor: Tensor) -> Held | None:
    """The value that the target of a lone statement holds for later ones; None if it is not one compound value."""
    compound = not isinstance(s.expression, Read | sp.Symbol | sp.Number)
    covered = {i for read in reads_of(s.expression) for i in read.subscripts if is_plain_index(i)}
    adds = s.operator == "+=" and not s.reduced and s.guard != TRUE and s.scan is None
    holds = (s.operator == "=" or adds) and compound and are_plain(s.subscripts) and set(s.subscripts) <= covered
    return Held(s.write, s.expression, tensor.shape, s.guard) if holds else None


class Reuse:
    """Rewrites the expressions of a program by what its tensors hold."""

    def __init__(self, program: Program) -> None:
        self.table = program.table
        self.instances: dict[tuple[Any, tuple[tuple[sp.Expr, sp.Expr], ...]], Any] = {}

    def apply(self, s: Statement, held: Held) -> sp.Expr:
        """The statement's expression with every occurrence of the held value as a read of its tensor."""
        if not held.may_stand_in(s):
            return s.expression

        def rewrite(node: sp.Basic, known: Conditions) -> sp.Basic:
            for template, power in forms(held, node):
                if template.func is not node.func:  # it is neither the node nor a part of its terms or factors
                    continue
                for mapping in self.bindings(template, node, held, s.domain):
                    if not implies(known, self.instance(held.condition, mapping)):
                        continue
                    found = replaced(node, self.instance(template, mapping), power(substitute(held.read, mapping)))
                    if found is not None:
                        return found
            return node

        return bottom_up_known(s.expression, parts_of(s.guard), rewrite)

    def instance(self, template: Any, mapping: dict[sp.Expr, sp.Expr]) -> Any:
        """A template at some values of its indices: many nodes ask for the same."""
        key = (template, tuple(mapping.items()))
        if key not in self.instances:
            self.instances[key] = substitute(template, mapping)
        return self.instances[key]

    def bindings(
        self, template: sp.Expr, node: sp.Basic, held: Held, domain: tuple[Range, ...]
    ) -> Iterator[dict[sp.Expr, sp.Expr]]:
        """Values of the held tensor's indices under which the template may stand in the node."""
        wanted = set(held.read.subscripts)
        if not wanted:
            yield {}
            return
        for pattern in reads_of(template):
            if wanted <= {s for s in pattern.subscripts if is_plain_index(s)}:
                for read in reads_of(node):
                    mapping = self.binding(pattern, read, held, domain)
                    if mapping is not None:
                        yield mapping
                return
        yield {s: s for s in held.read.subscripts}

    def binding(
        self, pattern: Read, read: Read, held: Held, domain: tuple[Range, ...]
    ) -> dict[sp.Expr, sp.Expr] | None:
        if pattern.tensor != read.tensor:
            return None
        pairs = dict(zip(pattern.subscripts, read.subscripts, strict=True))
        mapping = {s: pairs[s] for s in held.read.subscripts}
        within = all(
            self.within(mapping[s], e, domain) for s, e in zip(held.read.subscripts, held.extents, strict=True)
        )
        return mapping if within else None

    def within(self, subscript: sp.Expr, extent: sp.Expr, domain: tuple[Range, ...]) -> bool:
        """Whether the subscript is known to stay below the extent of the held tensor's axis."""
        if is_plain_index(subscript):
            own = next((r.extent for r in domain if r.index == subscript), None)
            return own is not None and bool((extent - own).is_nonnegative)
        if isinstance(subscript, Read):
            tensor = self.table[subscript.tensor]
            return tensor.role is Role.LABELS and tensor.classes == extent
        return False


def forms(held: Held, node: sp.Basic) -> Iterator[tuple[sp.Expr, Callable[[Read], sp.Expr]]]:
    """(template, what the held value makes of it): the value itself, and what follows from it by one operation.

    A value of the other sign is held as well: so the mirror image of a model takes the same form.
    """
    yield held.expression, lambda read: read
    coefficient, rest = held.expression.as_coeff_Mul()
    sign = -1 if coefficient.is_negative else 1
    value = sign * held.expression
    if coefficient != 1 and not isinstance(rest, Read | sp.Symbol):
        yield -held.expression, lambda read: -read
    if isinstance(value, sigmoid):
        yield sigmoid(-value.args[0]), lambda read: 1 - sign * read
    if isinstance(value, sp.Pow) and isinstance(node, sp.Pow):
        ratio = node.exp / value.exp
        reciprocal = value.exp.is_negative and ratio.is_negative  # u² is no power of 1/u to a reader
        if ratio.is_Integer and ratio != 1 and not reciprocal:
            yield sp.Pow(value.base, node.exp), lambda read: (sign * read) ** ratio


def replaced(node: sp.Basic, template: sp.Expr, value: sp.Expr) -> sp.Expr | None:
    """The node with the template in it replaced, be it the node itself or some terms or factors of it."""
    if node == template:
        return value
    if isinstance(node, sp.Add) and isinstance(template, sp.Add):
        for part, sub in ((template, value), (-template, -value)):
            if set(part.args) <= set(node.args):
                return sp.Add(sub, *(a for a in node.args if a not in part.args))
    if isinstance(node, sp.Mul) and isinstance(template, sp.Mul):
        found = without_factors(node, template)
        return None if found is None else sp.Mul(found[0], value, *found[1])
    return None


def without_factors(product: sp.Expr, part: sp.Expr) -> tuple[int, list[sp.Expr]] | None:
    """(1 or -1, the factors of a product without those of another one, which may be lower powers); None without them.

    A factor may have the other sign, and a sum among them: a·(1 - b) is -1 times a·(b - 1).
    """
    sign, numbers = 1, [factor for factor in product.args if factor.is_number]  # 2·√2 has two of one base
    powers: dict[sp.Expr, sp.Expr] = {}
    for factor in product.args:
        if not factor.is_number:
            base, exponent = base_and_exponent(factor)
            powers[base] = powers.get(base, sp.S.Zero) + exponent
    for factor in part.args:
        if factor.is_number:
            present = next((f for f in (factor, -factor) if f in numbers), None)
            if present is None and factor != -1:
                return None
            if present is not None:
                numbers.remove(present)
            sign *= 1 if present == factor else -1
            continue
        base, exponent = base_and_exponent(factor)
        if base not in powers and isinstance(base, sp.Add) and exponent.is_Integer:
            base, sign = -base, sign * (-1) ** int(exponent)
        if base not in powers:
            return None
        left = powers[base] - exponent
        if left != 0 and not (exponent.is_Integer and (left * exponent).is_nonnegative):
            return None
        powers[base] = left
    return sign, [*numbers, *(sp.Pow(base, exponent) for base, exponent in powers.items())]


def base_and_exponent(factor: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Of a power; an exponential is a base of its own, since a product may have several."""
    return (factor, sp.S.One) if isinstance(factor, sp.exp) else factor.as_base_exp()


# ---- what is worth a tensor
