"""Program → a shorter Program of the same values.

The table GROUPS is the stage. After each group CLEANUP runs until it finds nothing more, so that no pass asks in which
state an earlier one left the statements.
"""

from __future__ import annotations

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import bottom_up
from derivgen.form.functions import stop_gradient
from derivgen.form.program import Program, map_expressions
from derivgen.rewrite.passes import Pass, run
from derivgen.rewrite.scans import leave_scans
from derivgen.simplify.additions import assign_once, assign_parts, count_instead_of_adding, drop_zero_additions
from derivgen.simplify.copies import read_through_constants, read_through_copies
from derivgen.simplify.factors import (
    add_up,
    divide_sums_once,
    join_sums,
    numbers_outside,
    read_through_quotients,
    shared_outside,
)
from derivgen.simplify.guarded import (
    at_the_only_index,
    compare_arguments,
    decide_comparisons,
    forget_implied_guards,
    guards_outside,
    read_through_guarded_copies,
)
from derivgen.simplify.held import keep_calls, reuse_held_values
from derivgen.simplify.stored import store_diagonals, write_through_copies


@as_written()
def simplify(program: Program, differentiated_again: bool = False) -> Program:
    """The program after every pass; with `differentiated_again`, stop_gradient still holds."""
    if not differentiated_again:
        program = forget_stop_gradients(program)
    for passes in GROUPS.values():
        program = run("simplify", passes, program)
        while (cleaner := run("simplify", CLEANUP, program)) != program:
            program = cleaner
    return program


def forget_stop_gradients(program: Program) -> Program:
    """After differentiation, stop_gradient(u) is u.

    `e[n] = exp(z[n] - stop_gradient(m))` → `e[n] = exp(z[n] - m)`
    """

    def open_up(node: sp.Basic) -> sp.Basic:
        return node.args[0] if isinstance(node, stop_gradient) else node

    return map_expressions(program, lambda e: bottom_up(e, open_up))


def drop_dead_statements(program: Program) -> Program:
    """A statement goes if no output comes from its target.

    `h[n] = 2·x[n]` and `z[n] = x[n]`, with z as the only output, → `z[n] = x[n]`
    """
    return program.live(program.outputs)


CLEANUP: tuple[Pass, ...] = (
    drop_dead_statements,
    count_instead_of_adding,
    assign_once,
    assign_parts,
    read_through_constants,
    forget_implied_guards,
    read_through_copies,
    read_through_guarded_copies,
    drop_zero_additions,
)
GROUPS: dict[str, tuple[Pass, ...]] = {
    # One form for equal values comes first, since all later passes compare expressions.
    "form": (decide_comparisons, numbers_outside, guards_outside, leave_scans, at_the_only_index),
    # Axes go before values are compared: an element of a diagonal is held by another tensor only at its own index.
    "diagonals": (store_diagonals,),
    # Calls get tensors before reads of held values replace them, and what is left of a sum then shows its common
    # factors.
    "held values": (keep_calls, reuse_held_values, join_sums, divide_sums_once),
    # Quotients are opened where a tensor holds the division, which needs its statement as an assignment (CLEANUP). Held
    # values are looked for before factors leave their sums, which may hide one, and after, which may show one.
    "factors": (
        read_through_quotients,
        add_up,
        compare_arguments,
        reuse_held_values,
        shared_outside,
        reuse_held_values,
    ),
    # What CLEANUP has put together since may be a value that a tensor holds. Places come last: a statement that writes
    # into a part of a tensor holds no value for others.
    "places": (reuse_held_values, write_through_copies, leave_scans),
}
