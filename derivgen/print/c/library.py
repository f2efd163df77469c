"""The functions that C brings itself, see whole/library.py, and products of matrices, which are our own loops."""

from __future__ import annotations

from collections.abc import Collection

from derivgen.form.randomness import KEY_STEPS, MULTIPLIERS, ROUNDS
from derivgen.print.templates import environment
from derivgen.whole.library import OBSERVE, SUM_OF_SQUARES, UNIFORM

FLOOR_MOD = "floor_mod"
NAMES = (UNIFORM, SUM_OF_SQUARES, OBSERVE, FLOOR_MOD)


def products(dtype: str) -> str:
    """`gemm`, and all that it calls."""
    return rendered("products", dtype)


def library(names: Collection[str], dtype: str) -> str:
    """Those of NAMES that are named here: C compilers warn of static functions that nothing calls."""
    assert set(names) <= set(NAMES), names
    return rendered(
        "library",
        dtype,
        names=names,
        uniform=UNIFORM,
        sum_of_squares=SUM_OF_SQUARES,
        observe=OBSERVE,
        floor_mod=FLOOR_MOD,
        multipliers=MULTIPLIERS,
        key_steps=KEY_STEPS,
        rounds=ROUNDS,
    )


def rendered(template: str, dtype: str, **values: object) -> str:
    """A text of templates/c, in which `real` is the type of the dtype, and literals end with `suffix`."""
    wide = dtype == "float64"
    text = environment().get_template(f"c/{template}.c.jinja")
    return text.render(real="double" if wide else "float", suffix="" if wide else "f", **values).rstrip() + "\n"
