"""Explanations as pages: blocks of prose, formulas and tables, written as plain text or as Markdown with LaTeX."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derivgen.explain.rules import letters
from derivgen.form.expressions import Read, reads_of, substitute
from derivgen.form.notation import ATOM, MULTIPLY, Latex, Plain
from derivgen.form.program import Statement

MANY = 64  # letters whose order of naming is kept in sums and products
WIDTH = 100  # columns of prose in text
WIDEST = 56  # columns of a text table that are aligned; a longer formula pushes only its own line


@dataclass(frozen=True, slots=True)
class Heading:
    """Levels 1 and 2 divide a page; deeper ones are for Markdown's table of contents, text needs none."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A numbered formula and the name that it defines."""

    number: int
    name: str
    formula: str


@dataclass(frozen=True, slots=True)
class Prose:
    """A sentence; names and formulas in it stand between backticks."""

    text: str
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Formula:
    text: str
    indent: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; `kinds` says of each column whether it holds text (t) or mathematics (m)."""

    kinds: str
    rows: tuple[tuple[str, ...], ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of a module, as they stand there."""

    text: tuple[str, ...]
    indent: int = 0


Block = Heading | Item | Prose | Formula | Table | Code


class TextPage:
    """Blocks as plain text."""

    notation_class: type[Plain] = Plain
    whole_precedence = ATOM
    indentation = "  "

    def __init__(self, order: Mapping[str, int]) -> None:
        named = {name: len(order) + i for i, name in enumerate(itertools.islice(letters(order), MANY))}
        self.notation = self.notation_class({**order, **named})
        self.plain = Plain(order)

    def math(self, e: sp.Basic, precedence: int = 0) -> str:
        """A formula; letters stand in it where reads do, before numbers."""
        symbols = sorted((s for s in e.free_symbols if not s.is_integer), key=str)
        return self.notation.expression(
            substitute(e, {sp.E: sp.Symbol("e"), **{s: Read(s.name) for s in symbols}}), precedence
        )

    def code(self, e: sp.Basic) -> str:
        return f"`{self.plain.expression(e)}`"

    def statement(self, s: Statement) -> str:
        return self.notation.statement(s)

    def derivative(self, whole: sp.Expr, by: sp.Expr) -> str:
        """`d tanh(u)/du`, with ∂ where something else varies too."""
        return self.ratio(self.math(whole, self.whole_precedence), self.math(by), varies_beside(whole, by))

    def ratio(self, whole: str, by: str, partial: bool) -> str:
        sign = "∂" if partial else "d"
        space = " " if len(whole) > 1 and not whole.startswith(("(", "√")) else ""
        return f"{sign}{space}{whole}/{sign}{by}"

    def parenthesized(self, text: str) -> str:
        return self.notation.parenthesized(text)

    def write(self, blocks: Sequence[Block]) -> str:
        lines: list[str] = []
        for line in itertools.chain.from_iterable(map(self.lines, blocks)):
            if line or lines[-1:] != [""]:
                lines.append(line)
        return "\n".join(lines).strip("\n") + "\n"

    def lines(self, block: Block) -> list[str]:
        match block:
            case Heading(level, text):
                plain = text.replace("`", "")
                return ["", plain, ("=" if level == 1 else "-") * len(plain), ""] if level < 3 else []
            case Item(number, _, formula):
                return ["", f"{number}. {formula}"]
            case Prose(text, indent):
                return textwrap.wrap(text.replace("`", ""), WIDTH, **indents(indent)) or [""]
            case Formula(text, indent, label):
                return [" " * indent + (f"{label} {text}" if label else text)]
            case Table(_, rows, indent):
                return self.table(rows, indent)
            case Code(text, indent):
                return [" " * indent + line for line in text]

    def table(self, rows: tuple[tuple[str, ...], ...], indent: int) -> list[str]:
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        padded = ("   ".join(c.ljust(min(w, WIDEST)) for c, w in zip(row, widths, strict=True)) for row in rows)
        return [" " * indent + line.rstrip() for line in padded]


class MarkdownPage(TextPage):
    """Blocks as Markdown; each formula in its own `$$` block, which every renderer of LaTeX in Markdown knows."""

    notation_class = Latex
    whole_precedence = MULTIPLY
    indentation = r"\quad "

    def statement(self, s: Statement) -> str:
        return self.notation.statement(s).replace(" += ", r" \mathrel{+}= ", 1)

    def ratio(self, whole: str, by: str, partial: bool) -> str:
        sign = r"\partial " if partial else r"\mathrm{d}"
        if len(whole) == 1:
            return rf"\frac{{{sign}{whole}}}{{{sign}{by}}}"
        return rf"\frac{{{sign}}}{{{sign}{by}}} {whole}"

    def lines(self, block: Block) -> list[str]:
        match block:
            case Heading(level, text):
                return ["#" * level + f" {text}", ""]
            case Item(number, name, formula):
                return [f"### {number}. `{name}`", "", "$$", formula, "$$", ""]
            case Prose(text):
                return [text, ""] if text else []
            case Formula(text, _, label):
                return [*([label, ""] if label else []), "$$", text, "$$", ""]
            case Table(kinds, rows):
                return ["$$", r"\begin{aligned}", *(self.row(kinds, r) for r in rows), r"\end{aligned}", "$$", ""]
            case Code(text):
                return ["```text", *text, "```", ""]

    def row(self, kinds: str, cells: tuple[str, ...]) -> str:
        shown = [rf"\text{{{escaped(c)}}}" if kind == "t" else c for kind, c in zip(kinds, cells, strict=True) if c]
        return "& " + r" \quad && ".join(shown) + r" \\"


def varies_beside(whole: sp.Expr, by: sp.Expr) -> bool:
    """Whether something else than `by`, and its own subscripts, varies in a formula."""
    return bool((whole.free_symbols | set(reads_of(whole))) - {by, *by.free_symbols})


def escaped(text: str) -> str:
    return text.replace("_", r"\_")


def indents(width: int) -> dict[str, Any]:
    space = " " * width
    kept = {"break_long_words": False, "break_on_hyphens": False}
    return {"initial_indent": space, "subsequent_indent": space, **kept}


PAGES: dict[str, type[TextPage]] = {"text": TextPage, "markdown": MarkdownPage}


def page_for(form: str, order: Mapping[str, int]) -> TextPage:
    return page_kind(form)(order)


def page_kind(form: str) -> type[TextPage]:
    if form not in PAGES:
        raise ValueError(f"format must be one of {', '.join(PAGES)}, found {form!r}")
    return PAGES[form]
