"""Explanations as HTML: formulas as MathML, rules as lists."""

from __future__ import annotations

import re
from html import escape

from derivgen.explain.pages import Block, Code, Formula, Heading, Item, Prose, Table, TextPage
from derivgen.form.mathml import TAG, Mathml, pieces, row
from derivgen.form.notation import ATOM
from derivgen.form.program import Statement

NARROW = 25  # letters that fit beside the name of a rule
LARGE = 24  # letters of a formula beyond which it stands beside d/du, not above it


class HtmlPage(TextPage):
    """Blocks as HTML."""

    notation_class = Mathml
    whole_precedence = ATOM

    def statement(self, s: Statement) -> str:
        operator = "+=" if s.operator == "+=" else "="
        return self.notation.statement(s, operator)

    def ratio(self, whole: str, by: str, partial: bool) -> str:
        sign = "<mo>∂</mo>" if partial else '<mi>d</mi><mspace width="0.17em"/>'
        if len(TAG.sub("", whole)) > LARGE:
            return f"<mfrac>{row(sign)}{row(sign + by)}</mfrac>{whole}"
        return f"<mfrac>{row(sign + whole)}{row(sign + by)}</mfrac>"

    def lines(self, block: Block) -> list[str]:
        match block:
            case Heading(_, text):
                return [f"<h4>{prose(text)}</h4>"]
            case Item(_, _, formula):
                return [f'<p class="formula">{pieces(formula)}</p>']
            case Prose(text):
                return [f"<p>{prose(text)}</p>"] if text else []
            case Formula(text, _, label):
                return [f'<p class="formula">{prose(label)} {pieces(text)}</p>']
            case Table(kinds, rows):
                return ['<ul class="rules">', *(self.rule(kinds, cells) for cells in rows), "</ul>"]
            case Code(text):
                return ["<pre>" + escape("\n".join(text)) + "</pre>"]

    def rule(self, kinds: str, cells: tuple[str, ...]) -> str:
        """A row of a table: the rule by its name, if it has one, then its formulas."""
        if kinds == "m":
            return f'<li class="alone">{pieces(cells[0])}</li>'
        shown = [escape(c) if kind == "t" else pieces(c, NARROW) for kind, c in zip(kinds, cells, strict=True) if c]
        rest = "".join(f'<span class="step">{cell}</span> ' for cell in shown[1:])
        return f"<li><span>{shown[0]}</span><span>{rest}</span></li>"


def prose(text: str) -> str:
    """A sentence; what stands between backticks is code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
