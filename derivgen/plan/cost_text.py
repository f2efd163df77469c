"""What is written of costs: the table of `derivgen cost`, and the lines of a module's header."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.plan.cost_report import Report, Row
from derivgen.schedule.cost import Cost

COLUMNS = ("layer", "direction", "kernels", "flops", "calls", "bytes moved")
WORDS = 2  # columns of words, before those of numbers


def header_lines(report: Report) -> tuple[str, ...]:
    """What the header of a module says of its cost: of a step, and of each function of derivatives."""

    def line(what: str, cost: Cost, workspace: sp.Expr) -> str:
        each = f"{cost.flops} flops, {cost.calls} calls, {cost.moved} bytes moved"
        return f"{what}: at most {each}; workspace: {workspace} bytes"

    functions = (line(row.name, row.cost, workspace) for row, workspace in report.functions)
    return line("a step", report.step, report.workspace), *functions


def report_text(report: Report) -> str:
    """A table with a row a layer and direction, one a total, and one a function of derivatives; workspaces below it."""
    functions = [cells(row) for row, _ in report.functions]
    lines = aligned([COLUMNS, *map(cells, report.layers), *map(cells, report.totals), *functions])
    lines.insert(1 + len(report.layers), "")  # a layer may be named total
    if functions:
        lines.insert(len(lines) - len(functions), "")
    title = f"{report.model}, {report.dtype}: at most"
    workspaces = [f"workspace: {report.workspace} bytes"]
    workspaces += [f"workspace of {row.name}: {workspace} bytes" for row, workspace in report.functions]
    return "\n".join([title, *lines, "", *workspaces])


def cells(row: Row) -> tuple[str, ...]:
    return (row.name, row.part, *map(str, (row.kernels, row.cost.flops, row.cost.calls, row.cost.moved)))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < WORDS else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
