"""The rows of the page: each statement of the spec with its adjoints, its kernels and the evidence for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from derivgen.code.formulas import lines_of
from derivgen.errors import Place
from derivgen.explain.model import Reasons
from derivgen.explain.pages import Block, Formula, TextPage
from derivgen.form.formulas import shown
from derivgen.form.mathml import Mathml, pieces
from derivgen.form.notation import steps
from derivgen.form.program import Statement
from derivgen.oracle.differences import Comparison
from derivgen.report.kernels import Kernel
from derivgen.report.material import Material
from derivgen.report.sources import Source, source_at
from derivgen.report.typeset import HtmlPage
from derivgen.schedule.schedule import Kernel as Scheduled


@dataclass(frozen=True, slots=True)
class Entry:
    """A formula that a kernel computes; `position` in the kernel's docstring."""

    anchor: str
    html: str
    target: str
    kernel: str
    position: int


@dataclass(frozen=True, slots=True)
class Adjoint:
    """What a statement contributes to the adjoint of one that it reads, and the entries that compute it."""

    anchor: str
    target: str
    html: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A statement as it is differentiated."""

    anchor: str
    target: str
    html: str
    notes: str
    adjoints: tuple[Adjoint, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """`kernels`: those that are shown in this row; `elsewhere`: others that compute entries of it."""

    name: str
    source: Source
    formulas: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    entries: tuple[Entry, ...] = ()
    kernels: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    @property
    def elsewhere(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(e.kernel for e in self.entries if e.kernel not in self.kernels))


class Anchors:
    """Names of places on the page: made of names of the spec, from the second of one name on with a number."""

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def new(self, *words: str) -> str:
        name = "-".join(words)
        self.counts[name] += 1
        return name if self.counts[name] == 1 else f"{name}-{self.counts[name]}"


def rows_of(material: Material, kernels: Mapping[str, Kernel], compared: list[Comparison] | str) -> list[Row]:
    """A row for each statement of the spec, then one for each kernel of a function of derivatives."""
    entries, anchors = entries_of(material, kernels), Anchors()
    homes = homes_of(material)
    declared = dict.fromkeys(material.rows, ()) | grouped(material, [*shown(material.live, Mathml)])
    rows = []
    for name in material.rows:
        own = tuple(entries.get(name, ()))
        rows.append(
            Row(
                name,
                source_at(place_of(material, name)),
                tuple(formulas) if (formulas := declared[name]) else unneeded(material, name),
                tuple(parts_of(material, name, entries, anchors)),
                own,
                tuple(kernel for kernel, home in homes.items() if home == name),
                tuple(checks_of(material, name, compared)),
            )
        )
    return rows + [derived_row(material, name, kernels) for name in kernels if name not in homes]


def place_of(material: Material, name: str) -> Place | None:
    model = material.model
    if (definition := next((d for d in model.definitions if d.name == name), None)) is not None:
        return definition.place
    if name == material.declared.objective and model.objective is not None:
        return model.objective.place
    given = next((t for t, own in material.declared.running if own == name), name)
    return model.declarations[given].place if given in model.declarations else model.place


def typeset(html: str, s: Statement) -> str:
    return pieces(html) + escape(steps(s.scan))


def grouped(material: Material, lines: list[tuple[Statement, str]]) -> dict[str, tuple[str, ...]]:
    """Declared formulas by row; what a let is made of, before it."""
    found: dict[str, list[str]] = {}
    for s, html in lines:
        found.setdefault(material.owner(s.target, s.layer), []).append(typeset(html, s))
    return {name: tuple(formulas) for name, formulas in found.items()}


def unneeded(material: Material, name: str) -> tuple[str, ...]:
    """The formulas of what neither the objective nor the prediction needs."""
    return grouped(material, shown(material.declared, Mathml)).get(name, ())


# ---- what kernels compute


def entries_of(material: Material, kernels: Mapping[str, Kernel]) -> dict[str, list[Entry]]:
    """By row, the formulas that kernels of steps, losses and predictions compute for it."""
    anchors, found, seen = Anchors(), dict[str, list[Entry]](), set[tuple[str, str, int]]()
    for program, kernel in material.step_kernels:
        function = material.function(kernel)
        for position, (s, html) in enumerate(lines_of(program, kernel, notation=Mathml)):
            if function not in kernels or position >= len(kernels[function].labels):
                continue  # the text is of another derivgen
            for row in material.origins(s):
                if (row, function, position) in seen:
                    continue
                seen.add((row, function, position))
                anchor = anchors.new("computed", row, function, kernels[function].labels[position])
                entry = Entry(anchor, typeset(html, s), s.target, function, position)
                found.setdefault(row, []).append(entry)
    return found


def homes_of(material: Material) -> dict[str, str]:
    """The row in which each kernel of steps, losses and predictions is shown: that of its first layer."""
    homes: dict[str, str] = {}
    for _, kernel in sorted(material.step_kernels, key=lambda item: material.position(item[1].layer)):
        homes.setdefault(material.function(kernel), material.owner(kernel.layer, kernel.layer))
    return homes


def derived_row(material: Material, name: str, kernels: Mapping[str, Kernel]) -> Row:
    """The row of a kernel that only functions of derivatives call."""
    anchors = Anchors()
    users = [(p, k) for p, k in material.plan.all_kernels if material.function(k) == name]
    entries, parts = list[Entry](), list[Part]()
    if users:
        program, kernel = users[0]
        for position, (s, html) in enumerate(lines_of(program, kernel, notation=Mathml)):
            anchor = anchors.new("computed", name, kernels[name].labels[position])
            entries.append(Entry(anchor, typeset(html, s), s.target, name, position))
        parts = derived_parts(material, name, kernel, entries)
    return Row(name, source_at(material.model.request_place), (), tuple(parts), tuple(entries), (name,))


def derived_parts(material: Material, name: str, kernel: Scheduled, entries: list[Entry]) -> list[Part]:
    """The statements that a kernel has derivatives of, each with these as the rules make them."""
    program, made = material.derivation(kernel)
    anchors, page, parts = Anchors(), HtmlPage(program.order), dict[Statement, Part]()
    reasons = Reasons(page, {*program.table, *(r.index.name for s in program.statements for r in s.domain)})
    for derivative in made:
        assert derivative.origin is not None
        s = derivative.origin.statement
        html = written(page, [Formula(page.statement(s))])
        part = parts.setdefault(s, Part(anchors.new("statement", name, s.target), s.target, html, "", ()))
        anchor = anchors.new("adjoint", name, s.target, derivative.target)
        rules = written(page, reasons.of(derivative))
        own = Adjoint(anchor, derivative.target, rules, computing(derivative.target, name, {name: entries}))
        parts[s] = replace(part, adjoints=(*part.adjoints, own))
    return [*parts.values()]


# ---- adjoints


def parts_of(material: Material, name: str, entries: Mapping[str, Sequence[Entry]], anchors: Anchors) -> Iterator[Part]:
    """The statements of a row as they are differentiated, each with its adjoints."""
    explanation, page = material.explanation, material.explanation.page
    for number, (s, former) in enumerate(explanation.statements(), 1):
        if material.owner(s.target, s.layer) != name:
            continue
        adjoints, notes = [], list[Block]()
        for adjoint, blocks in explanation.contributions(s):
            if adjoint is None:
                notes += blocks
                continue
            anchor = anchors.new("adjoint", s.target, adjoint.target)
            adjoints.append(
                Adjoint(anchor, adjoint.target, written(page, blocks[1:]), computing(adjoint.target, name, entries))
            )
        html = written(page, explanation.statement(number, s, former))
        yield Part(anchors.new("statement", s.target), s.target, html, written(page, notes), tuple(adjoints))


def computing(adjoint: str, name: str, entries: Mapping[str, Sequence[Entry]]) -> tuple[Entry, ...]:
    """The entries that compute what a row contributes to an adjoint: its own, or those into which it went."""
    own = tuple(e for e in entries.get(name, ()) if e.target == adjoint)
    return own or tuple(e for found in entries.values() for e in found if e.target == adjoint)


def written(page: TextPage, blocks: list[Block]) -> str:
    return "\n".join(line for block in blocks for line in page.lines(block))


@dataclass(frozen=True, slots=True)
class Update:
    """The rule by which a step changes the parameters."""

    source: Source
    html: str


def update_of(material: Material) -> Update | None:
    """The update rule; None where solvers search for the parameters."""
    explanation = material.explanation
    if explanation.is_fitted:
        return None
    html = written(explanation.page, explanation.update_rule()[1:])
    return Update(source_at(material.model.update_place), html)


# ---- evidence


def checks_of(material: Material, name: str, compared: list[Comparison] | str) -> Iterator[str]:
    """What is known of the gradients of the parameters that a row brings in."""
    parameters = [*material.parameters_of(name)]
    if isinstance(compared, str):
        if parameters:
            yield f"{', '.join(parameters)}: {compared}"
        return
    for c in compared:
        if c.parameter in parameters:
            yield f"{c.parameter}: relative error {c.error:.0e}, {c.checked}"
