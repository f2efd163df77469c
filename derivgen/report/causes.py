"""The lines of a kernel, each with its cause: the formulas of the docstring that it is there for.

Read off the text alone: a line that writes the target of a formula computes that formula; a line that writes a local is
there for what reads the local; a loop or a condition is there for what stands in it. Where one array takes several
formulas, subscripts, what is read, and order tell which: a guess, which a reader can check, where these are alike.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

TARGET = re.compile(r"(\w+)(?:\[(.*?)\])? (=|\+=) ")
HOLDS = re.compile(r"(\w+) holds ([\w ]+) before")
NAME = re.compile(r"(?<!\w)[A-Za-z]\w*")
STEPS = re.compile(r"\w+ = (0, 1, …|…, 1, 0)$")  # the end of a formula of a recurrence
SIZE = re.compile(r"\w+ = \w+\.shape\[\d+\]")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a module. `kind`: computes, clears, part, loop, condition, size, formula, signature, or "" if unknown.

    `formulas`: the positions in the docstring of those that it is there for.
    """

    number: int
    text: str
    kind: str
    formulas: tuple[int, ...] = ()

    @property
    def has_cause(self) -> bool:
        return self.kind in ("signature", "size", "formula") or bool(self.kind and self.formulas)


@dataclass(frozen=True, slots=True)
class Target:
    """What a formula of a docstring defines: `value[n] = …`, which the array `array` holds."""

    position: int
    array: str
    subscripts: str
    operator: str
    names: frozenset[str]  # in its right side, those of arrays


def lines_of(function: ast.FunctionDef, lines: Sequence[str]) -> list[Line]:
    """The lines of a kernel; `lines` are those of the whole module."""
    first = min(function.lineno, *(d.lineno for d in function.decorator_list))
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    start = body[0].lineno if body else int(function.end_lineno or first) + 1
    formulas = formulas_of(function)
    steps = steps_in(body)
    indices = frozenset(names for n in ast.walk(function) if isinstance(n, ast.For) for names in names_in(n.target))
    assign_causes(steps, targets_of(formulas, indices), indices)
    causes, said = caused(steps), said_in(function, lines)
    found = []
    for number in range(first, int(function.end_lineno or first) + 1):
        text = lines[number - 1]
        if number >= start:
            kind, own = causes.get(number, ("", ()))
            found.append(Line(number, text, "size" if SIZE.fullmatch(text.strip()) else kind, own))
        elif number < function.body[0].lineno:
            found.append(Line(number, text, "signature"))
        else:
            found.append(Line(number, text, "formula", said.get(number, ())))
    return found


# ---- the docstring


def formulas_of(function: ast.FunctionDef) -> list[str]:
    """The formulas of a docstring, each on one line again."""
    found: list[str] = []
    for line in (ast.get_docstring(function) or "").splitlines():
        if found and not begins(line):
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.strip())
    return found


def begins(line: str) -> bool:
    """Whether a line of a docstring begins a formula, and does not go on with one."""
    return not line.startswith("    ") and not STEPS.match(line) and bool(TARGET.match(line) or HOLDS.match(line))


def said_in(function: ast.FunctionDef, lines: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """The formula that each line of the docstring is part of."""
    node, found, position = function.body[0], dict[int, tuple[int, ...]](), -1
    for number in range(node.lineno, int(node.end_lineno or node.lineno) + 1):
        text = lines[number - 1].strip().removeprefix('"""').removesuffix('"""')
        position += begins(lines[number - 1].removeprefix("    ").removeprefix('"""'))
        found[number] = (max(position, 0),) if text else ()
    return found


def targets_of(formulas: Sequence[str], indices: frozenset[str]) -> list[Target]:
    found, held = [], dict[str, str]()
    for formula in formulas:
        if match := HOLDS.match(formula):
            held |= dict.fromkeys(match[2].split(" and "), match[1])
    for position, formula in enumerate(formulas):
        if match := TARGET.match(formula):
            names = frozenset(held.get(name, name) for name in NAME.findall(formula[match.end() :]))
            array = held.get(match[1], match[1])
            found.append(Target(position, array, letters(match[2] or ""), match[3], names - indices))
    return found


def letters(subscripts: str) -> str:
    """Subscripts without the signs that a docstring and code have otherwise: `x[n,i],j` and `x_n_i, j`."""
    return re.sub(r"[^\w+-]|_", "", subscripts.replace("−", "-"))


# ---- the code


@dataclass
class Step:
    """A statement of the code: its own lines, what it writes and reads, and the statements in it."""

    kind: str
    first: int
    last: int
    writes: str = ""
    reads: frozenset[str] = frozenset()
    inside: list[Step] = field(default_factory=list)
    subscripts: str = ""
    operator: str = "="
    made_of: frozenset[str] = frozenset()  # what it and its locals read
    causes: set[int] = field(default_factory=set)
    sure: bool = False  # whether the causes are all


def steps_of(node: ast.stmt) -> Iterator[Step]:
    match node:
        case ast.For(iter=source, body=body):
            yield Step("loop", node.lineno, body[0].lineno - 1, reads=names_in(source), inside=steps_in(body))
        case ast.If(test=test, body=body, orelse=otherwise):
            reads = names_in(test)
            yield Step("condition", node.lineno, body[0].lineno - 1, reads=reads, inside=steps_in(body))
            if otherwise:
                first = int(body[-1].end_lineno or 0) + 1
                yield Step("condition", first, otherwise[0].lineno - 1, reads=reads, inside=steps_in(otherwise))
        case ast.Assign(targets=[target], value=value) | ast.AugAssign(target=target, value=value):
            yield assignment(node, target, value)
        case ast.Expr(value=ast.Call(args=[*given, out])):
            reads = names_in(*given)
            operator = "+=" if "ADD" in reads else "="
            yield Step("computes", *lines_at(node), base(out), reads - {"ADD", "ASSIGN", "real"}, operator=operator)
        case _:
            yield Step("", *lines_at(node))


def steps_in(body: Iterable[ast.stmt]) -> list[Step]:
    return [step for node in body for step in steps_of(node)]


def assignment(node: ast.stmt, target: ast.expr, value: ast.expr) -> Step:
    at = target.slice if isinstance(target, ast.Subscript) else None
    reads = names_in(value) - {"real", "np"}
    operator = "+=" if isinstance(node, ast.AugAssign) else "="
    starts = at is None and operator == "=" and not reads - {"ordinal"}
    kind = "clears" if starts or isinstance(at, ast.Slice) else "computes"
    subscripts = "" if at is None else letters(ast.unparse(at))
    reads |= names_in(at) if at is not None else frozenset()
    return Step(kind, *lines_at(node), base(target), reads, subscripts=subscripts, operator=operator)


def lines_at(node: ast.stmt) -> tuple[int, int]:
    return node.lineno, int(node.end_lineno or node.lineno)


def names_in(*nodes: ast.expr) -> frozenset[str]:
    return frozenset(n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))


def base(node: ast.expr | None) -> str:
    """The array that an expression is a part or a view of: `a` of `a[n].reshape(2, 3).T`."""
    while node is not None and not isinstance(node, ast.Name):
        node = getattr(node, "value", getattr(node, "func", None))
    return "" if node is None else node.id


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from walk(step.inside)


# ---- causes


def assign_causes(steps: Sequence[Step], targets: Sequence[Target], indices: frozenset[str]) -> None:
    """Give each step the formulas that it is there for."""
    every = [*walk(steps)]
    written = {step.writes for step in every}
    elements = {w: t.array for t in targets if t.array not in written for w in written if is_element(w, t.array)}
    own = {t.array for t in targets} | elements.keys()
    last, behind, terms = dict[str, Target](), dict[str, frozenset[str]](), dict[str, list[Step]]()
    for step in every:
        array = elements.get(step.writes, step.writes)
        others = step.reads - indices - {step.writes}
        step.made_of = frozenset().union(*(behind.get(name, {name}) for name in others))
        inside = [term for name in others for term in terms.get(name, ())]
        if step.writes in own:
            formulas = [t for t in targets if t.array == array]
            for part in inside if len(formulas) > 1 and inside else [step]:
                last[array] = chosen(part, formulas, last.get(array))
                part.causes, part.sure = {last[array].position}, True
                step.causes |= part.causes
            step.sure = True
        elif step.writes:
            step.kind = "part" if step.kind == "computes" else step.kind
            kept = step.operator == "+="
            behind[step.writes] = step.made_of | (behind.get(step.writes, frozenset()) if kept else frozenset())
            terms[step.writes] = [*terms.get(step.writes, ()), *(inside or [step])] if kept else []
    count = -1
    while count != (count := sum(len(step.causes) for step in every)):
        for step in reversed(every):
            if step.writes and not step.sure:
                step.causes.update(*(reader.causes for reader in every if step.writes in reader.reads))
            step.causes.update(*(inner.causes for inner in step.inside))


def is_element(name: str, tensor: str) -> bool:
    """Whether a local holds an element of a tensor: `hidden_bar_0`"""
    return re.fullmatch(rf"{tensor}(_\d+)+", name) is not None


def chosen(step: Step, own: Sequence[Target], before: Target | None) -> Target:
    """The one of the formulas of an array that a step computes, or a term of it in a local.

    What only rescales the array goes on with the formula before, unless another one is just that. Else subscripts
    and operator tell, then what is read, then order.
    """
    if step.kind == "clears" and before is None:
        return own[0]
    arrays = frozenset().union(*(t.names | {t.array} for t in own))
    if before is not None and step.operator == "=" and step.writes in step.reads and step.made_of.isdisjoint(arrays):
        return next((t for t in own if t is not before and t.names == {step.writes}), before)

    itself = {step.writes} if step.operator == "+=" else step.reads & {step.writes}
    read = step.made_of | itself

    def fit(t: Target) -> tuple[bool, bool, float, bool, bool, bool]:
        alike = len(read & t.names) / max(1, len(read | t.names))
        more = bool(t.names or t.subscripts)  # than `W_bar = 0`
        adds = step.operator == "+=" and t.array in t.names  # a[n] = a[n] + b is a[n] += b
        at, by = t.subscripts == step.subscripts, t.operator == step.operator or adds
        return more, bool(t.subscripts) and at and by, alike, at, by, t is not before

    return max(own, key=fit)


def caused(steps: Iterable[Step]) -> dict[int, tuple[str, tuple[int, ...]]]:
    """(kind, formulas) of each line, by its number."""
    return {
        number: (step.kind, tuple(sorted(step.causes)))
        for step in walk(steps)
        for number in range(step.first, step.last + 1)
    }
