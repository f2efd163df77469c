"""Names of functions and arrays in a module."""

from __future__ import annotations

from collections.abc import Collection

from derivgen.code.names import past
from derivgen.form.program import PASSES
from derivgen.schedule.schedule import Kernel


def kernel_name(kernel: Kernel) -> str:
    """`a1_forward`; `p_through_a1` where it takes the derivatives of p back through a1."""
    if kernel.direction in PASSES:
        return f"{kernel.layer}_{kernel.direction}"
    return kernel.direction.format(kernel.layer)


def digits_name(name: str, arrays: Collection[str]) -> str:
    """The name of an array's text."""
    return past(f"{name}_TEXT", arrays)
