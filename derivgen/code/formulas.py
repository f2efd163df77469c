"""What a kernel computes, as formulas for its readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import sympy as sp

from derivgen.form.expressions import guarded
from derivgen.form.notation import Plain
from derivgen.form.program import Program, Role, Statement, is_plain_index
from derivgen.rewrite.conditions import is_lone
from derivgen.schedule.nests import Compute, Contraction, Fill, Node
from derivgen.schedule.schedule import Kernel


def formulas_of(program: Program, kernel: Kernel, name: Callable[[str], str]) -> tuple[str, ...]:
    """One line a statement, in order of execution; the first write of a tensor reads as an equation, or it is cleared.

    A sum that no caller knows of, and that one formula reads, is written inside that formula. Last come the arrays
    that hold one tensor after another. `name`: of a tensor, in the kernel.
    """
    plain = Plain(program.order, inlined_sums(program, kernel), name)
    lines, seen = [], set[str]()
    nodes = kernel.body_nodes
    fills = {n.tensor: n.value for n in nodes if isinstance(n, Fill)}
    started = {n.tensor if isinstance(n, Fill) else n.statement.target for n in nodes if starts(n)}
    scaled = {n.statement.target for n in nodes if isinstance(n, Contraction) and n.scaled}
    for s in kernel.statements:
        if s.target in plain.inlined:
            continue
        if s.target in fills and is_lone(program, s):
            s = replace(s, operator="=", expression=guarded(s.expression, s.guard), guard=sp.true)
        plainly = s.target in started - seen and all(is_plain_index(i) for i in s.subscripts)
        plainly = plainly and not (s.scan and s.target in fills)  # other steps add to it
        if s.target in fills.keys() - seen and s.operator != "=" and not plainly:
            lines.append(f"{name(s.target)} = {plain.expression(fills[s.target])}")
        if s.target in scaled:
            target = plain.expression(s.write)
            lines.append(f"{target} = α·{plain.value(s)} + β·{target}")
        else:
            lines.append(plain.statement(s, "=" if plainly else ""))
        seen.add(s.target)
    for array in dict.fromkeys(heir for _, heir in kernel.heirs):
        before = [name(own) for own, heir in kernel.heirs if heir == array and own in seen]
        lines += [f"{name(array)} holds {' and '.join(before)} before"] if before else []
    return tuple(lines)


def inlined_sums(program: Program, kernel: Kernel) -> dict[str, Statement]:
    """The sums that are written where they are read."""
    writes = Counter(s.target for s in kernel.statements)
    inlined: dict[str, Statement] = {}
    for s in kernel.statements:
        helper = program.table[s.target].role is Role.HELPER and s.operator == "+=" and writes[s.target] == 1
        reader = next((t for t in kernel.statements if s.write in t.reads and not t.reduced), None)
        alone = helper and s.target in kernel.inside and len(program.readers[s.target]) == 1
        if alone and reader is not None:
            inlined[s.target] = s
    return inlined


def starts(node: Node) -> bool:
    """Whether a node is the first to write its tensor."""
    match node:
        case Compute():
            return node.first
        case _:
            return isinstance(node, Fill) or (isinstance(node, Contraction) and node.first)
