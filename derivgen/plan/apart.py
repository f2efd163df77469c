"""The proof that kernels may take their arrays to lie apart.

A compiler is told that nothing which a kernel writes lies where another of its arrays does. Here each kernel of each
pass is held to that, under the very places that the plan gives its tensors.
"""

from __future__ import annotations

from itertools import combinations

import sympy as sp

from derivgen.form.program import InvariantError
from derivgen.form.sizes import at_most, element_count
from derivgen.plan.plan import Plan
from derivgen.schedule.repeat import arguments_of

Place = tuple[bool, sp.Expr, sp.Expr]  # whether in the memory of integers, the first element, and that after the last


def check_apart(plan: Plan) -> None:
    """An InvariantError with the kernel's name where two of its arrays may share memory, and it writes to one."""
    places = places_of(plan)
    for schedule in plan.schedules:
        for kernel in schedule.kernels:
            given = [name for name in arguments_of(schedule.program, kernel) if name in places]
            for a, b in combinations(given, 2):
                if {a, b} & {*kernel.written} and not are_apart(places[a], places[b]):
                    raise InvariantError(f"{kernel.layer} {kernel.direction}: {a} and {b} are not proved to lie apart")


def places_of(plan: Plan) -> dict[str, Place]:
    """Where each tensor of the workspace lies; those of a family in turn, after so many members again at its start."""
    starts, found = plan.storage.starts, dict[str, Place]()
    for t in (*plan.gathered, *plan.random, *plan.buffers):
        family, position = plan.families.get(t.name, ((t.name,), 0))
        size = element_count(t)
        start = starts[family[0]] + position % plan.places.get(family, 1) * size
        found[t.name] = (t.integer, start, start + size)
    return found


def are_apart(a: Place, b: Place) -> bool:
    return a[0] != b[0] or at_most(a[2], b[1]) or at_most(b[2], a[1])
