"""The rows as a page of HTML that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from derivgen.form.as_written import as_written
from derivgen.form.places import names_in_order
from derivgen.print.templates import environment
from derivgen.report.against import Comparison, all_new, comparison
from derivgen.report.causes import Line
from derivgen.report.kernels import NOT_VERIFIED, Kernel, kernels_of
from derivgen.report.material import Material, material
from derivgen.report.rows import Row, Update, rows_of, update_of
from derivgen.review.compare import compared, comparisons
from derivgen.review.sections import Section
from derivgen.review.state import State

FEW = 2  # causes of a line that are named; all are, where the pointer is
RANK = ("computes", "clears", "part")  # of lines that do something for a formula, the first is the best
WORDS = {"part": "for ", "clears": "start of ", "loop": "loop: ", "condition": "condition: ", "formula": ""}


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of a kernel as it is shown: its cause in words, and links to formulas."""

    number: int
    text: str
    words: str
    links: tuple[Link, ...]
    more: str
    anchor: str

    @property
    def indent(self) -> str:
        return self.text[: len(self.text) - len(self.text.lstrip())]


@dataclass(frozen=True)
class Report:
    """All that the page of one model shows."""

    state: State
    rows: tuple[Row, ...]
    kernels: dict[str, Kernel]
    update: Update | None
    sampled: str
    others: tuple[Section, ...]  # the module's text beside kernels
    against: Comparison | None = None

    @property
    def unexplained(self) -> int:
        return sum(k.unexplained for k in self.kernels.values())

    @property
    def missed(self) -> int:
        return sum(len(k.missed) for k in self.kernels.values())

    @property
    def lines(self) -> int:
        return sum(len(k.lines) for k in self.kernels.values())

    @property
    def verified(self) -> int:
        return sum(k.verdict != NOT_VERIFIED for k in self.kernels.values())

    def code(self, name: str) -> list[CodeLine]:
        """The lines of a kernel."""
        kernel = self.kernels[name]
        anchors = dict(self.anchors[name].values())
        return [self.shown(kernel, line, anchors.get(line.number, "")) for line in kernel.lines]

    @cached_property
    def anchors(self) -> dict[str, dict[int, tuple[int, str]]]:
        """By kernel and formula, the first line that computes it, or else clears for it, with the line's anchor."""
        found: dict[str, dict[int, tuple[int, str]]] = {}
        for name, kernel in self.kernels.items():
            taken, found[name] = dict[int, str](), {}
            for position, label in enumerate(kernel.labels):
                own = [line for line in kernel.lines if line.kind in RANK and position in line.formulas]
                first = min(own, key=lambda line: (RANK.index(line.kind), line.number), default=kernel.lines[0])
                anchor = taken.setdefault(first.number, f"code-{name}-{label}")
                found[name][position] = first.number, anchor
        return found

    def shown(self, kernel: Kernel, line: Line, anchor: str) -> CodeLine:
        links = [Link(kernel.labels[i], self.entry_of(kernel, i)) for i in line.formulas]
        if line.kind in ("signature", "size") or not line.text.strip('" '):
            return CodeLine(
                line.number, line.text, line.kind if line.kind != "formula" else "docstring", (), "", anchor
            )
        if not line.has_cause:
            return CodeLine(line.number, line.text, "no cause found", (), "", anchor)
        more = ", ".join(link.text for link in links) if len(links) > FEW else ""
        return CodeLine(line.number, line.text, WORDS.get(line.kind, ""), tuple(links[:FEW]), more, anchor)

    def entry_of(self, kernel: Kernel, position: int) -> str:
        """The anchor of the formula that stands at a position of a kernel's docstring; of no formula, the kernel's."""
        found = (e for row in self.rows for e in row.entries if (e.kernel, e.position) == (kernel.name, position))
        entry = next(found, None)
        return f"kernel-{kernel.name}" if entry is None else entry.anchor

    def code_of(self, kernel: str, position: int) -> str:
        """The anchor of the first line that computes a formula."""
        return self.anchors[kernel][position][1]


@as_written()
@names_in_order()
def report_of(state: State) -> Report:
    made: Material = material(state)
    kernels, errors = kernels_of(made), comparisons(state)
    rows = rows_of(made, kernels, errors)
    worst = max((c.error for c in errors), default=0.0) if not isinstance(errors, str) else 0.0
    said = errors if isinstance(errors, str) else f"{len(errors)} gradients, error {worst:.0e} at most"
    others = tuple(s for s in state.sections if s.kind != "kernel")
    return Report(state, tuple(rows), kernels, update_of(made), said, others)


def report_against(before: State | None, now: State) -> Report:
    """The page of now, with what stood in each row before."""
    report = report_of(now)
    if before is None:
        return replace(report, against=all_new(report.rows))
    old = report_of(before)
    review = compared(before, now, signed={})
    found = comparison(review, report.rows, old.rows, report.kernels, old.kernels)
    return replace(report, against=found)


def html_page(reports: Sequence[Report]) -> str:
    return environment().get_template("report.html.jinja").render(reports=reports).rstrip("\n") + "\n"
