"""A model at a glance: what each layer computes, its parameters, and its cost, as `derivgen summary` shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.program import TOGETHER, Program, Role, Tensor
from derivgen.form.sizes import element_count, flat_size
from derivgen.plan.cost_report import Report
from derivgen.plan.cost_text import aligned
from derivgen.schedule.cost import REAL_BYTES, Cost, total

SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
COLUMNS = ("layer", "shape", "numbers", "forward, ns", "backward, ns")
Row = tuple[str, str, str, str, str]
SHORTEST = 16  # columns of names


@dataclass(frozen=True, slots=True)
class Layer:
    """A let, or a recurrence: its output, and the parameters that it reads.

    `shared`: those of them that an earlier layer reads too; `costs`: the rows of a cost report that are the layer's.
    """

    name: str
    output: Tensor
    parameters: tuple[Tensor, ...]
    shared: frozenset[str]
    costs: frozenset[str]


def layers_of(declared: Program) -> tuple[Layer, ...]:
    """The layers of a program in the order of its spec; each random tensor counts to the first layer that reads it."""
    reads: dict[str, dict[str, None]] = {}
    for s in declared.statements:
        reads.setdefault(s.layer, {}).update(dict.fromkeys(sorted(s.sources)))
    first: dict[str, str] = {}
    for layer, names in reads.items():
        for name in names:
            first.setdefault(name, layer)
    last = {s.layer: s.target for s in declared.statements}

    def held(layer: str) -> tuple[Tensor, ...]:
        return tuple(t for t in declared.vector if t.name in reads[layer])

    return tuple(
        Layer(
            layer,
            declared.tensor(layer if layer in declared.table else last[layer]),
            held(layer),
            frozenset(t.name for t in held(layer) if first[t.name] != layer),
            frozenset([layer, *(t.name for t in declared.of_role(Role.RANDOM) if first.get(t.name) == layer)]),
        )
        for layer in reads
    )


@as_written()
def summary_text(declared: Program, report: Report, width: int, rule: str) -> str:
    """A table with a row for each layer and for each of its parameters, totals and memory, in lines of this width.

    `rule`: the update rule in words.
    """
    layers, itemsize = layers_of(declared), REAL_BYTES[report.dtype]
    known = frozenset().union(*(layer.costs for layer in layers))
    rows = [row for layer in layers for row in layer_rows(layer, report)]
    rows += [(name, "", "", *cells(report, {name})) for name in other_names(report, known)]
    rows += [parameter_row(t, "") for t in unread(declared, layers)]
    count = flat_size(declared)
    untrained = sum(int(element_count(t)) for t in declared.of_role(Role.RUNNING))
    rows += [("", "", "", "", ""), ("total", "", f"{count:,}", *cells(report, {row.name for row in report.layers}))]
    update, step = (short(row.cost.nanoseconds(itemsize)) for row in report.totals[-2:])
    own, workspace = short(sp.Integer(count * itemsize)), short(report.workspace)
    lines = [
        f"parameters: {count:,}" + (f", of which {untrained:,} are not trained" if untrained else ""),
        f"time: the update takes {update} ns, a whole step {step} ns",
        f"memory: parameters take {own} bytes, the workspace {workspace} bytes",
    ]
    together = [row.name for row in report.layers if row.part == TOGETHER]
    if together:
        lines.append(f"forward and backward are computed together, row by row, in: {', '.join(together)}")
    if any(not row[0].startswith("  ") and row[3:] == ("", "") for row in rows if row[0]):
        lines.append("a layer without a time is computed by the kernels of others, or for predictions only")
    lines.append(f"update: {rule}")
    text = [line for note in lines for line in textwrap.wrap(note, width, subsequent_indent="    ")]
    return "\n".join([f"{report.model}, {report.dtype}", *table([COLUMNS, *rows], width), "", *text])


def layer_rows(layer: Layer, report: Report) -> Iterator[Row]:
    count = sum(int(element_count(t)) for t in layer.parameters if t.name not in layer.shared)
    name = layer.name if layer.output.name == layer.name else f"{layer.name}: {layer.output.name}"
    yield (name, shape_text(layer.output), f"{count:,}" if count else "", *cells(report, layer.costs))
    yield from (parameter_row(t, "shared" if t.name in layer.shared else "") for t in layer.parameters)


def parameter_row(t: Tensor, remark: str) -> Row:
    return f"  {t.name}", shape_text(t), remark or ("not trained" if t.role is Role.RUNNING else ""), "", ""


def shape_text(t: Tensor) -> str:
    return f"({', '.join(map(str, t.shape))})" if t.shape else "a number"


def unread(declared: Program, layers: Sequence[Layer]) -> list[Tensor]:
    """The parameters that no layer reads."""
    read = {t.name for layer in layers for t in layer.parameters}
    return [t for t in declared.vector if t.name not in read]


def other_names(report: Report, known: frozenset[str]) -> list[str]:
    """The names of a report's rows that are no layer of the spec, in order."""
    return list(dict.fromkeys(row.name for row in report.layers if row.name not in known))


def cells(report: Report, names: frozenset[str] | set[str]) -> tuple[str, str]:
    """The time of these rows of a report, forward and backward; empty where there is none."""
    sides: dict[bool, list[Cost]] = {False: [], True: []}
    for row in report.layers:
        if row.name in names:
            sides[row.part in ("backward", TOGETHER)].append(row.cost)
    itemsize = REAL_BYTES[report.dtype]
    forward, backward = (short(total(costs).nanoseconds(itemsize)) if costs else "" for costs in sides.values())
    return forward, backward


def short(polynomial: sp.Expr) -> str:
    """The polynomial with three digits of each coefficient: `4.13k·N + 66`."""
    terms = []
    for term in sp.expand(polynomial).as_ordered_terms():
        number, rest = term.as_coeff_Mul()
        factors = [rounded(float(number))] if number != 1 or rest == 1 else []
        terms.append("·".join([*factors, *([str(rest).replace("**", "^").replace("*", "·")] if rest != 1 else [])]))
    return " + ".join(terms)


def rounded(number: float) -> str:
    value = float(f"{number:.3g}")
    unit, suffix = next(((unit, suffix) for unit, suffix in SUFFIXES if abs(value) >= unit), (1, ""))
    return f"{value / unit:.3g}{suffix}"


def table(rows: Sequence[Row], width: int) -> list[str]:
    """Columns two spaces apart; a name that leaves no room for the others has a line of its own above them."""
    others = sum(2 + max(len(row[k]) for row in rows) for k in range(1, len(COLUMNS)))
    room = max(width - others, SHORTEST)
    long = [len(row[0]) > room for row in rows]
    fitted = aligned([("", *row[1:]) if far else row for row, far in zip(rows, long, strict=True)], words=2)
    lines: list[str] = []
    for row, far, line in zip(rows, long, fitted, strict=True):
        if far and not any(row[2:]):
            lines.append(f"{row[0]}  {row[1]}")
        else:
            lines += [row[0]] * far + [line]
    return [line.rstrip() for line in lines]
