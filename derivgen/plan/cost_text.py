"""What is written of costs: the table of `derivgen cost`, and the lines of a module's header."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.plan.cost_report import Report, Row
from derivgen.schedule.cost import REAL_BYTES, Cost

COLUMNS = ("layer", "direction", "kernels", "flops", "calls", "bytes moved", "ns")
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
    itemsize = REAL_BYTES[report.dtype]
    functions = [cells(row, itemsize) for row, _ in report.functions]
    rows = [cells(row, itemsize) for row in (*report.layers, *report.totals)]
    lines = aligned([COLUMNS, *rows, *functions])
    lines.insert(1 + len(report.layers), "")  # a layer may be named total
    if functions:
        lines.insert(len(lines) - len(functions), "")
    title = f"{report.model}, {report.dtype}: at most"
    workspaces = [f"workspace: {report.workspace} bytes"]
    workspaces += [f"workspace of {row.name}: {workspace} bytes" for row, workspace in report.functions]
    return "\n".join([title, *lines, "", *workspaces])


def cells(row: Row, itemsize: int) -> tuple[str, ...]:
    counts = map(str, (row.kernels, row.cost.flops, row.cost.calls, row.cost.moved))
    return (row.name, row.part, *counts, in_decimals(row.cost.nanoseconds(itemsize)))


def in_decimals(polynomial: sp.Expr) -> str:
    """The polynomial with its coefficients as decimals, of which all are exact: `1.5*N + 0.6`"""
    terms = []
    for term in polynomial.as_ordered_terms():
        number, rest = term.as_coeff_Mul()
        factors = [f"{float(number):.12g}"] if number != 1 or rest == 1 else []
        terms.append("*".join([*factors, *([str(rest)] if rest != 1 else [])]))
    return " + ".join(terms)


def aligned(rows: Sequence[Sequence[str]], words: int = WORDS) -> list[str]:
    """Columns two spaces apart: those of words, which come first, to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < words else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
