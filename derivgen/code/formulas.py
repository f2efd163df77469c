"""What a kernel computes, as formulas for its readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import sympy as sp

from derivgen.arrange.contractions import covers_all
from derivgen.form.expressions import Read, guarded
from derivgen.form.notation import Plain, apart, steps, untold_ranges
from derivgen.form.program import Program, Role, Statement, is_plain_index
from derivgen.rewrite.conditions import is_lone
from derivgen.schedule.nests import Compute, Contraction, Fill, Node
from derivgen.schedule.schedule import Kernel


def formulas_of(program: Program, kernel: Kernel, name: Callable[[str], str]) -> tuple[str, ...]:
    """One line a statement, in order of execution; the first write of a tensor reads as an equation, or it is cleared.

    A sum that no caller knows of, and that one formula reads, is written inside that formula. After a formula stands
    each range that no array tells, and the order of its steps. Last come the arrays that hold one tensor after another.
    `name`: of a tensor, in the kernel.
    """
    return (*(line for _, line in lines_of(program, kernel, name)), *shared_arrays(program, kernel, name))


def lines_of(
    program: Program, kernel: Kernel, name: Callable[[str], str] = str, notation: type[Plain] = Plain
) -> list[tuple[Statement, str]]:
    """Each line of what a kernel computes, in a notation, with the statement that it is of."""
    plain = notation(program.order, inlined_sums(program, kernel), name)
    inside = kernel.inside - {own for own, _ in kernel.heirs}
    shapes = {t.name: t.shape for t in program.tensors if t.name not in inside}
    untold = untold_ranges([plain.inlined.get(s.target, s) for s in kernel.statements], shapes)
    lines, seen = list[tuple[Statement, str]](), set[str]()
    nodes = kernel.body_nodes
    fills = {n.tensor: n.value for n in nodes if isinstance(n, Fill)}
    started = {n.tensor if isinstance(n, Fill) else n.statement.target for n in nodes if starts(n)}
    products = {n.statement.target for n in nodes if isinstance(n, Contraction)}
    scaled = {n.statement.target for n in nodes if isinstance(n, Contraction) and n.scaled}
    previous, start = None, 0
    for own in kernel.statements:
        if own.target in plain.inlined:
            continue
        s = own
        if s.scan != previous:  # what its steps add to is cleared before them
            start = len(lines)
        if s.target in fills and is_lone(program, s):
            s = replace(s, operator="=", expression=guarded(s.expression, s.guard), guard=sp.true)
        plainly = s.target in started - seen and all(is_plain_index(i) for i in s.subscripts)
        # Other steps add to it, or it leaves some of it as it is cleared.
        plainly = plainly and (s.target not in fills or (not s.scan and covers_all(s, program.tensor(s.target).shape)))
        if s.target in fills.keys() - seen and s.operator != "=" and not plainly:
            cleared = plain.equation(plain.read(Read(s.target)), plain.expression(fills[s.target]))
            lines.insert(start if s.scan else len(lines), (own, cleared))
        if s.target in scaled:
            target, alpha, beta = plain.expression(s.write), plain.name("α"), plain.name("β")
            total = f"{alpha}{plain.dot}{plain.value(s)}{plain.plus}{beta}{plain.dot}{target}"
            formula = plain.equation(target, total)
        elif plainly and s.reduced and s.target not in products:
            formula = plain.definition(s)
        else:
            formula = plain.statement(s, "=" if plainly else "")
        lines.append((own, formula + plain.ranges(s, untold) + plain.aside(steps(s.scan, previous))))
        previous = s.scan
        seen.add(s.target)
    return lines


def shared_arrays(program: Program, kernel: Kernel, name: Callable[[str], str] = str) -> list[str]:
    """A line for each array that holds one tensor after another."""
    written = {s.target for s in kernel.statements} - inlined_sums(program, kernel).keys()
    lines = []
    for array in dict.fromkeys(heir for _, heir in kernel.heirs):
        before = [name(own) for own, heir in kernel.heirs if heir == array and own in written]
        lines += [f"{name(array)} holds {' and '.join(before)} before"] if before else []
    return lines


def inlined_sums(program: Program, kernel: Kernel) -> dict[str, Statement]:
    """The sums that are written where they are read."""
    writes = Counter(s.target for s in kernel.statements)
    inlined: dict[str, Statement] = {}
    for s in kernel.statements:
        helper = program.table[s.target].role is Role.HELPER and s.operator == "+=" and writes[s.target] == 1
        if not (helper and s.target in kernel.inside and len(program.readers[s.target]) == 1):
            continue
        reader = next((t for t in kernel.statements if s.write in t.reads and not t.reduced), None)
        if reader is not None:
            inlined[s.target] = apart(s, reader)
    return inlined


def starts(node: Node) -> bool:
    """Whether a node is the first to write its tensor."""
    match node:
        case Compute():
            return node.first
        case _:
            return isinstance(node, Fill) or (isinstance(node, Contraction) and node.first)
