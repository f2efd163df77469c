"""Kernels of a schedule → the code that runs: the passes in order, each checked.

Loops are bounded and guards leave them first, while each sum still has its guard at its terms. Then sums get locals;
then what leaves a loop does so, before what is computed more than once is shared. Totals are cut into blocks last, when
all that is added to them is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from derivgen.code.apart import with_apart
from derivgen.code.blocks import in_blocks
from derivgen.code.borders import borders_apart
from derivgen.code.bound import bounded
from derivgen.code.branch import branched
from derivgen.code.build import code_of
from derivgen.code.carry import carried
from derivgen.code.check import check_code
from derivgen.code.copies import without_copies
from derivgen.code.extents import with_shown_extents, with_sizes
from derivgen.code.guards import branches_together, guarded_once, joined
from derivgen.code.hoist import hoisted
from derivgen.code.in_place import as_vectors, in_place
from derivgen.code.last_values import last_values_in_locals
from derivgen.code.powers import powers_shared, roots_shared
from derivgen.code.read_once import read_once
from derivgen.code.rolled import rolled
from derivgen.code.row_blocks import in_row_blocks
from derivgen.code.running import with_running_sums
from derivgen.code.scratch import scratch_in_locals
from derivgen.code.share import shared
from derivgen.code.tree import Function
from derivgen.code.unroll import unrolled
from derivgen.code.unused import without_unused
from derivgen.code.visit import statements_in, written_by
from derivgen.form.as_written import as_written
from derivgen.form.program import Program
from derivgen.schedule.schedule import Kernel
from derivgen.stages import reached

Pass = Callable[[Function], Function]

PASSES: tuple[Pass, ...] = (
    bounded,
    joined,
    with_running_sums,
    guarded_once,
    joined,
    unrolled,
    scratch_in_locals,
    carried,
    last_values_in_locals,
    in_place,
    hoisted,
    branched,
    joined,
    branches_together,
    borders_apart,
    read_once,
    roots_shared,
    shared,
    hoisted,
    powers_shared,
    in_row_blocks,
    read_once,
    without_copies,
    without_unused,
    in_blocks,
    as_vectors,
    with_shown_extents,
    rolled,
)


@as_written()
def kernel_code(program: Program, kernel: Kernel, name: str, reserved: Iterable[str]) -> Function:
    """The code of one kernel, proved to be safe after each pass."""
    reached("write the kernels", kernel.layer)
    function = check_code(code_of(program, kernel, name, reserved))
    for change in PASSES:
        changed = change(function)
        if changed != function:
            lost = arrays_written(function) - arrays_written(changed)
            assert not lost, f"{name}: {change.__name__} stores nothing in {', '.join(sorted(lost))}"
            function = check_code(changed)
    return with_apart(with_sizes(function))


def arrays_written(function: Function) -> set[str]:
    """The arrays of callers that a function writes."""
    names = {written_by(code) for code in statements_in(function.body)}
    return {name for name in names if name is not None and name in function.arrays}
