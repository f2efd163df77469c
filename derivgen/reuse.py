"""Values that a tensor holds already, found again inside later expressions: for a = tanh(z), 1 - tanh(z)² is 1 - a²."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sympy as sp

from derivgen.expressions import Read, bottom_up, reads_of, substitute
from derivgen.functions import sigmoid
from derivgen.program import Program, Range, Role, Statement, Tensor, is_plain_index


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor that holds `expression` at every element: tensor[subscripts] = expression."""

    read: Read
    expression: sp.Expr
    extents: tuple[sp.Expr, ...]


def held_by(statement: Statement, tensor: Tensor) -> Held | None:
    """What a statement's target holds for later statements, or None if that is not one plain compound value."""
    subscripts = statement.subscripts
    plain = all(is_plain_index(s) for s in subscripts) and len(set(subscripts)) == len(subscripts)
    compound = not isinstance(statement.expression, Read | sp.Piecewise | sp.Symbol | sp.Number)
    covered = {s for read in reads_of(statement.expression) for s in read.subscripts if is_plain_index(s)}
    if statement.operator != "=" or not plain or not compound or not set(subscripts) <= covered:
        return None
    return Held(statement.write, statement.expression, tensor.shape)


class Reuse:
    """Rewrites the expressions of a program by what its tensors hold."""

    def __init__(self, program: Program) -> None:
        self.table = program.table

    def apply(self, expression: sp.Expr, domain: tuple[Range, ...], held: Held) -> sp.Expr:
        """The expression with every occurrence of the held value, at whatever subscripts, as a read of its tensor."""

        def rewrite(node: sp.Basic) -> sp.Basic:
            for template, power in forms(held, node):
                for mapping in self.bindings(template, node, held, domain):
                    found = replaced(node, substitute(template, mapping), power(substitute(held.read, mapping)))
                    if found is not None:
                        return found
            return node

        return bottom_up(expression, rewrite)

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
    """(template, what the held value makes of it): the value itself, and what follows from it by one operation."""
    yield held.expression, lambda read: read
    if isinstance(held.expression, sigmoid):
        yield sigmoid(-held.expression.args[0]), lambda read: 1 - read
    if isinstance(held.expression, sp.Pow) and isinstance(node, sp.Pow):
        ratio = node.exp / held.expression.exp
        if ratio.is_Integer and ratio != 1:
            yield sp.Pow(held.expression.base, node.exp), lambda read: read**ratio


def replaced(node: sp.Basic, template: sp.Expr, value: sp.Expr) -> sp.Expr | None:
    """The node with the template in it replaced, be it the node itself or some terms or factors of it."""
    if node == template:
        return value
    if node.func is template.func and isinstance(node, sp.Add | sp.Mul):
        signs = ((template, value), (-template, -value)) if isinstance(node, sp.Add) else ((template, value),)
        for part, sub in signs:
            if set(part.args) <= set(node.args):
                rest = [a for a in node.args if a not in part.args]
                return node.func(sub, *rest)
    return None
