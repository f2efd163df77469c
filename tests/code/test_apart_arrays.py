"""Which kernels have loops that read neighbours: they are not told that their arrays lie apart."""

from __future__ import annotations

from sympy import Sum, exp

from derivgen import Model
from derivgen.pipeline import declared_program, module_codes, plan_module


def kernels(model: Model) -> dict[str, object]:
    plan = plan_module(model, declared_program(model), "float64")
    return {code.name: code for code in module_codes(plan).values()}


def test_a_kernel_that_reads_neighbours_is_known() -> None:
    model = Model("line")
    n = model.batch("N")
    D = model.sizes(D=20)
    (i,), (j,) = model.local_indices(n), model.local_indices(D - 1)
    x, w = model.input("x", n, D), model.parameter("w", D)
    model.minimize(Sum((x[i, j + 1] - x[i, j]) ** 2 * w[j], i, j))
    assert not all(code.apart for code in kernels(model).values())  # type: ignore[attr-defined]


def test_rows_of_their_own_are_no_neighbours() -> None:
    model = Model("rows")
    n = model.batch("N")
    (i,) = model.local_indices(n)
    x, w = model.input("x", n, 3), model.parameter("w", 3)
    model.minimize(Sum(exp(x[i, 0] * w[0] + x[i, 1] * w[1]), i))
    assert all(code.apart for code in kernels(model).values())  # type: ignore[attr-defined]
