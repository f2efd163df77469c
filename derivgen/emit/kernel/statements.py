"""Assignments and branches as lines that fit: what is costly and stands twice, or is too long, gets a name.

Nothing is evaluated where the expression would not: what a branch guards, such as a read past the end of a tensor
elsewhere, is named inside that branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.emit.kernel.elementary import FUNCTIONS
from derivgen.emit.kernel.scalar import ScalarText
from derivgen.emit.text import STEP, broken, indented
from derivgen.form.expressions import (
    Read,
    branches_of,
    guarded_reads,
    reads_of,
    sort_text,
    subexpressions,
    substitute,
    unconditional_parts,
)
from derivgen.form.functions import CHEAP

# Shorter texts gain nothing from a name.
WORTH_NAMING = 12


class StatementText:
    """Writes statements into lines of at most `room` columns; `fresh` makes a wanted name differ from all others."""

    def __init__(self, text: ScalarText, fresh: Callable[[str], str]) -> None:
        self.text, self.fresh = text, fresh
        self.numbers: Counter[str] = Counter()  # of the temporaries of the statement that is being written

    def restart(self) -> None:
        """Begin a statement: temporaries are numbered from 1."""
        self.numbers.clear()

    def temporary(self, word: str) -> Read:
        self.numbers[word] += 1
        return Read(self.fresh(f"{word}_{self.numbers[word]}"))

    # ---- assignments

    def assignment(self, target: str, operator: str, expression: sp.Expr, room: int) -> list[str]:
        """target operator expression; calls that stand twice are made once."""
        lines: list[str] = []
        names: dict[sp.Basic, sp.Expr] = {}
        for node in repeated_calls(expression):
            local = self.temporary("power" if isinstance(node, sp.Pow) else node.func.__name__)
            lines += self.assignment(local.tensor, "=", substitute(node, names), room)
            names[node] = local
        expression = substitute(expression, names)
        for part in repeating_branches(expression):
            if part == expression:
                return [*lines, *self.branches(target, operator, part, room)]
            term = self.temporary("term")
            lines += self.branches(term.tensor, "=", part, room)
            expression = substitute(expression, {part: term})
        return [*lines, *self.line(target, operator, expression, room)]

    def line(self, target: str, operator: str, expression: sp.Expr, room: int) -> list[str]:
        """target operator expression; what is too long becomes branches or gets named terms."""
        with self.text.remembered():
            return self.lines(target, operator, expression, room)

    def lines(self, target: str, operator: str, expression: sp.Expr, room: int) -> list[str]:
        parts: list[str] = []
        while len(line := self.one_line(target, operator, expression)) > room:
            if isinstance(expression, sp.Piecewise):
                return [*parts, *self.branches(target, operator, expression, room)]
            part = self.longest_part(expression)
            if part is None and not (isinstance(expression, sp.Add | sp.Mul) and len(expression.args) > 2):
                part = self.longest_read(expression, target)
                if part is None:
                    break
            term = self.temporary("term")
            if part is not None:
                rest = substitute(expression, {part: term})
            else:
                half = len(expression.args) // 2
                half += half == 1 and isinstance(expression.args[0], Read) and not expression.args[0].subscripts
                part, rest = expression.func(*expression.args[:half]), expression.func(term, *expression.args[half:])
            parts += self.line(term.tensor, "=", part, room)
            expression = rest
        return [*parts, *(broken(line, room) if isinstance(expression, Read) else [line])]

    def one_line(self, target: str, operator: str, expression: sp.Expr) -> str:
        if operator == "+=" and not isinstance(expression, sp.Add) and expression.could_extract_minus_sign():
            operator, expression = "-=", -expression
        return f"{target} {operator} {self.text.real(expression)}"

    def longest_part(self, expression: sp.Expr) -> sp.Expr | None:
        """The part of an expression, itself excluded, whose text is longest; it must be evaluated in any case."""
        lengths = {e: len(self.text.real(e)) for e in unconditional_parts(expression) if e is not expression}
        parts = [e for e, length in lengths.items() if length >= WORTH_NAMING]
        return max(parts, key=lengths.__getitem__, default=None)

    def longest_read(self, expression: sp.Expr, target: str) -> Read | None:
        """The read outside branches whose text is longest: all that is left to name, unless it is what a name gets."""
        reads = [e for e in signed_parts(expression) if isinstance(e, Read) and e.subscripts]
        if expression in reads and target.isidentifier():
            return None
        return max(reads, key=lambda e: len(self.text.real(e)), default=None)

    # ---- branches

    def branches(self, target: str, operator: str, expression: sp.Piecewise, room: int) -> list[str]:
        """A Piecewise as a statement, each branch on lines of its own."""
        inside = room - len(STEP)
        lines: list[str] = []
        pairs, default = branches_of(expression)
        for k, (value, condition) in enumerate(pairs):
            before, head = self.head("elif" if lines else "if", condition, room)
            if before and lines:  # evaluated only where the conditions above fail
                rest = sp.Piecewise(*expression.args[k:], evaluate=False)
                return [*lines, "else:", *indented(self.branches(target, operator, rest, inside))]
            lines += [*before, *head, *indented(self.assignment(target, operator, value, inside))]
        if not pairs:
            return self.assignment(target, operator, default, room)
        return [*lines, "else:", *indented(self.assignment(target, operator, default, inside))]

    def guard(self, condition: Boolean, lines: Sequence[str], room: int) -> list[str]:
        """The lines under a condition."""
        before, head = self.head("if", condition, room)
        return [*before, *head, *indented(lines)]

    def head(self, word: str, condition: Boolean, room: int) -> tuple[list[str], list[str]]:
        """(lines before, the head of a branch): a condition that is too long is laid out, or gets a name."""
        line = f"{word} {self.text.condition(condition)}:"
        if len(line) <= room:
            return [], [line]
        first, *others = self.operands_apart(condition)
        # Two operands a formatter would rather split inside their brackets.
        if len(others) > 1 and all(len(line) <= room - len(STEP) for line in (first, *others)):
            return [], [f"{word} (", *indented([first, *others]), "):"]
        name = self.temporary("case").tensor
        return self.case(name, condition, room), [f"{word} {name}:"]

    def case(self, name: str, condition: Boolean, room: int) -> list[str]:
        """name = condition, an operand at a time where it is too long; one that is not reached is not evaluated."""
        line = f"{name} = {self.text.condition(condition)}"
        if len(line) <= room:
            return [line]
        if isinstance(condition, sp.Not):
            return [*self.case(name, condition.args[0], room), f"{name} = not {name}"]
        joint, parts, texts = self.operands(condition)
        if not parts:
            return self.comparison(name, condition, room)
        count = 0  # of the operands that one line has room for
        while len(f"{name} = {f' {joint} '.join(texts[: count + 1])}") <= room:
            count += 1
        first = f"{name} = {f' {joint} '.join(texts[:count])}"
        lines = [first] if count > 1 else self.case(name, parts[0], room)
        for part in parts[max(count, 1) :]:
            lines += [f"if {name}:" if joint == "and" else f"if not {name}:"]
            lines += indented(self.case(name, part, room - len(STEP)))
        return lines

    def operands_apart(self, condition: Boolean) -> list[str]:
        """The operands of all that is not in brackets, in order, each but the first after its "and" or "or"."""
        joint, parts, texts = self.operands(condition)
        if not parts:
            return [self.text.condition(condition)]
        nested = [self.operands_apart(p) if joint == "or" else [text] for p, text in zip(parts, texts, strict=True)]
        return [*nested[0], *(line for first, *rest in nested[1:] for line in (f"{joint} {first}", *rest))]

    def operands(self, condition: Boolean) -> tuple[str, list[Boolean], list[str]]:
        """("and" or "or", what it joins, their texts), in order of evaluation; nothing if it joins nothing."""
        joint, parts, precedence = self.text.joined(condition)
        return joint, parts, [self.text.condition(part, precedence) for part in parts]

    def comparison(self, name: str, condition: Boolean, room: int) -> list[str]:
        """name = a comparison whose sides get names, the longer one first."""
        lines: list[str] = []
        for side in sorted(condition.args, key=lambda e: -len(self.text.real(e))):
            term = self.temporary("term")
            lines += self.assignment(term.tensor, "=", side, room)
            condition = condition.func(*(term if e == side else e for e in condition.args), evaluate=False)
            if len(line := f"{name} = {self.text.condition(condition)}") <= room:
                return [*lines, line]
        raise AssertionError(f"no room for {condition}")


def repeated_calls(expression: sp.Expr) -> list[sp.Expr]:
    """Costly calls that stand more than once and read only what is read in any case, inner ones first."""
    always = {read for read, path, _ in guarded_reads(expression) if not path}
    counts = Counter(node for node in subexpressions(expression) if is_costly(node))
    repeated = [node for node in counts if counts[node] > 1 and always.issuperset(reads_of(node))]
    return sorted(repeated, key=lambda node: (sum(1 for _ in subexpressions(node)), sort_text(node)))


def repeating_branches(expression: sp.Expr) -> list[sp.Piecewise]:
    """The outermost Piecewise that make a call more than once in one of their branches."""

    def repeats(value: sp.Expr) -> bool:
        return any(count > 1 for count in Counter(n for n in subexpressions(value) if is_costly(n)).values())

    found = [e for e in unconditional_parts(expression) if isinstance(e, sp.Piecewise)]
    return [e for e in dict.fromkeys(found) if any(repeats(value) for value, _ in e.args)]


def signed_parts(expression: sp.Expr) -> Iterator[sp.Expr]:
    """The real parts outside branches, reads included."""
    yield expression
    if not isinstance(expression, Read | sp.Piecewise):
        for argument in expression.args:
            yield from signed_parts(argument)


def is_costly(node: sp.Basic) -> bool:
    if node.is_number:
        return False
    if isinstance(node, sp.Pow):
        return not node.exp.is_Integer
    return isinstance(node, sp.Function) and node.func in FUNCTIONS and not isinstance(node, CHEAP)
