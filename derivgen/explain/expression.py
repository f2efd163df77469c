"""Derivatives of a bare expression with their reasons: its parts from the outside in, each with its rule."""

from __future__ import annotations

import sympy as sp

from derivgen.errors import DerivgenError
from derivgen.explain.model import compared, free_name
from derivgen.explain.pages import Block, Formula, Heading, Prose, Table, TextPage, page_for, varies_beside
from derivgen.explain.parse import SYMPY_FAILURES, parse_expression
from derivgen.explain.rules import Step, depends, letter, letters, parts, step_at
from derivgen.form.expressions import Read, product, reads_of
from derivgen.form.functions import derivative

SQUARES = "in a model, the root of a sum of squares has derivative 0 at 0"
SIMPLE = 80  # operations up to which a result is also tried over a common denominator


def explain_expression(text: str, form: str = "text") -> str:
    """The derivatives of a bare expression by each of its variables, step by step; form is "text" or "markdown".

    Raises DerivgenError where the text is refused.
    """
    expression = parse_expression(text)
    variables = reads_of(expression)
    page = page_for(form, {v.tensor: position for position, v in enumerate(variables)})
    try:
        return page.write(expression_blocks(page, expression, variables))
    except SYMPY_FAILURES as error:
        raise DerivgenError(
            f"SymPy fails on {text.strip()} ({type(error).__name__}): write its constants as plain numbers"
        ) from error


def expression_blocks(page: TextPage, expression: sp.Expr, variables: list[Read]) -> list[Block]:
    if evaluated(expression).has(sp.nan, sp.zoo, sp.oo, -sp.oo, sp.I):
        raise DerivgenError(
            f"{page.plain.expression(expression)} is no real number at any point: look for a 0/0 or √-1"
        )
    root = free_name({"e", *(v.tensor for v in variables)})
    blocks: list[Block] = [Heading(1, "Derivatives of an expression"), Formula(f"{root} = {page.math(expression)}", 2)]
    if not variables:
        blocks.append(Prose("It has no variables: its derivative is 0.", 2))
    for x in variables:
        blocks += Dissection(page, expression, x, variables).blocks()
    return blocks


class Dissection:
    """An expression taken apart by one variable: its parts named outside in, their derivatives found inside out."""

    def __init__(self, page: TextPage, expression: sp.Expr, x: Read, variables: list[Read]) -> None:
        self.page, self.expression, self.x = page, expression, x
        taken = {"e", *(v.tensor for v in variables)}
        self.several = len(variables) > 1
        self.root = free_name(taken)
        self.names = letters({*taken, self.root})
        self.named: dict[sp.Expr, sp.Expr] = {}
        self.openings: list[tuple[str, ...]] = []
        self.results: list[tuple[str, ...]] = []
        self.conventions: dict[str, None] = {}

    def blocks(self) -> list[Block]:
        x = self.page.math(self.x)
        self.open(self.expression, 0)
        total, sign = self.page.ratio(self.root, x, self.several), "∂" if self.several else "d"
        blocks: list[Block] = [Heading(2, f"With respect to `{self.x.tensor}`")]
        if self.openings:
            blocks += [
                Prose("From the outside in, each part with its rule:", 2),
                Table("mtm", tuple(self.openings), 4),
                Prose("", 2),
                Prose(f"From the inside out, where `'` is `{sign}/{sign}{self.x.tensor}`:", 2),
                Table("mm", tuple(self.results), 4),
                Prose("", 2),
            ]
        blocks += [Prose(f"Convention: {c}.", 2) for c in self.conventions]
        return [*blocks, Formula(f"{total} = {self.page.math(self.result(self.expression))}", 2)]

    def open(self, node: sp.Expr, depth: int) -> sp.Expr:
        """The name of a part; its own parts are opened on the first visit."""
        if node == self.x or node in self.named:
            return self.named.get(node, self.x)
        name = self.named[node] = letter(next(self.names) if depth else self.root, node)
        position = len(self.openings)
        self.openings.append(())
        inside = {i: self.open(part, depth + 1) for i, part in parts(node) if depends(part, self.x)}
        step = step_at(node, inside, lambda e: depends(e, self.x))
        self.openings[position] = self.opening_row(name, step, depth)
        self.results.append(self.result_row(node, name, step))
        kept = SQUARES if is_root_of_squares(node) else step.convention
        if kept:
            self.conventions[kept] = None
        return name

    def opening_row(self, name: sp.Expr, step: Step, depth: int) -> tuple[str, ...]:
        math, ratio = self.page.math, self.page.ratio
        derivatives = (
            f"{ratio(math(name), math(by), varies_beside(step.whole, by))} = {math(compared(local))}"
            for by, local in zip(step.names, step.locals, strict=True)
        )
        return f"{self.page.indentation * depth}{math(name)} = {math(step.whole)}", step.rule, ", ".join(derivatives)

    def result_row(self, node: sp.Expr, name: sp.Expr, step: Step) -> tuple[str, ...]:
        """`v' = 2·w·w'` by the chain rule, and what it is in terms of the variables."""
        inner = (sp.Integer(1) if by == self.x else sp.Symbol(f"{by}'", real=True) for by in step.names)
        chain = sp.Add(*(product(compared(local), prime) for local, prime in zip(step.locals, inner, strict=True)))
        formula, value = self.page.math(chain), self.page.math(self.result(node))
        return f"{self.page.math(name)}' = {formula}", "" if formula == value else f"= {value}"

    def result(self, node: sp.Expr) -> sp.Expr:
        return lightly_simplified(compared(derivative(evaluated(node), self.x)))


def is_root_of_squares(e: sp.Expr) -> bool:
    """Whether this is a square root that `stabilize` would give the derivative 0 at 0."""
    squares = sp.Add.make_args(e.base) if isinstance(e, sp.Pow) and e.exp == sp.Rational(1, 2) else ()
    return bool(squares) and all(isinstance(s, sp.Pow) and s.exp.is_Integer and s.exp % 2 == 0 for s in squares)


def evaluated(e: sp.Expr) -> sp.Expr:
    """An expression as SymPy combines it, or as it was typed where SymPy fails on an odd constant in it.

    Maxima stay as typed: SymPy compares their arguments pair by pair, at length.
    """

    def combined(node: sp.Basic) -> sp.Basic:
        if not node.args or isinstance(node, Read):
            return node
        arguments = [combined(a) for a in node.args]
        return node.func(*arguments, evaluate=False) if node.func in (sp.Max, sp.Min) else node.func(*arguments)

    try:
        return combined(e)
    except SYMPY_FAILURES:
        return e


def lightly_simplified(e: sp.Expr) -> sp.Expr:
    """The shortest of a few forms that cost little: as it is, with common factors, over a common denominator."""
    forms = [e]
    if sp.count_ops(e) <= SIMPLE and not e.has(sp.Piecewise):
        forms += [sp.factor_terms(e), sp.together(e)]
    return min(forms, key=sp.count_ops)
