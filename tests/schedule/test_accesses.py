"""No kernel reads or writes past an array: guards that keep an index inside are kept, and every access is proved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sympy as sp
from generated import agrees_with_the_oracle

from derivgen import MaxOver, Model
from derivgen.arrange.arrange import arrange
from derivgen.form.as_written import as_written
from derivgen.form.expressions import TRUE, guarded
from derivgen.form.program import InvariantError
from derivgen.pipeline import declared_program, stable_program, training_program
from derivgen.schedule.nests import Compute, Loop, Node, with_guards, work_in
from derivgen.schedule.schedule import Schedule, check_schedule, schedule


def read_under_two_guards() -> Model:
    """The adjoint of w is 0 from 4 on, and so is that of m, which ends there."""
    model = Model("two_guards")
    u = model.indices(u=6)
    s, m = model.parameter("s", 6, init="ones"), model.parameter("m", 4, init="ones")
    w = model.let("w", u, s[u] ** 2 + guarded(m[u], u < 4))
    z = model.let("z", u, guarded(w[u] ** 2, u < 4))
    model.minimize(sp.Sum(z[u], u))
    return model


def factor_of_a_sum() -> Model:
    """The adjoint of m is a sum over j of summands under a guard on n."""
    model = Model("factor")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, m = model.input("x", N, 3), model.parameter("m", 2, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * guarded(m[n], n < 2), j))
    model.minimize(sp.Sum(z[n] ** 2, n))
    return model


def factor_under_a_guard_on_both() -> Model:
    """The guard that keeps n inside m is one on n and j together: no store after the loop over j could have it."""
    model = Model("both")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, m = model.input("x", N, 3), model.parameter("m", 4, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * guarded(m[n], n + j < 4), j))
    model.minimize(sp.Sum(z[n] ** 2, n))
    return model


def factor_beside_another() -> Model:
    """Two sums in one loop, of which one alone is guarded."""
    model = Model("beside")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, m, b = model.input("x", N, 3), model.parameter("m", 2, init="ones"), model.parameter("b", 3, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * (guarded(m[n], n < 2) + b[j]), j))
    model.minimize(sp.Sum(z[n] ** 3, n))
    return model


def label_inside_a_shorter_axis() -> Model:
    model = Model("label")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, y = model.input("x", N, 3), model.labels("y", N, classes=6)
    m = model.parameter("m", 4, 3, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * guarded(m[y[n], j] ** 2, y[n] < 4), j))
    model.minimize(sp.Sum(z[n] ** 2, n))
    return model


def largest_under_a_guard() -> Model:
    model = Model("largest")
    u, k = model.indices(u=6, k=5)
    a, m = model.parameter("a", 6, 5, init="glorot_uniform"), model.parameter("m", 3, init="ones")
    z = model.let("z", u, MaxOver(a[u, k] * guarded(m[k], k < 3), k))
    model.minimize(sp.Sum(guarded(z[u] ** 2 * m[u], u < 3), u))
    return model


MODELS = (
    read_under_two_guards,
    factor_of_a_sum,
    factor_under_a_guard_on_both,
    factor_beside_another,
    label_inside_a_shorter_axis,
    largest_under_a_guard,
)


@pytest.mark.parametrize("declared", MODELS, ids=lambda f: f.__name__)
def test_a_guard_keeps_an_index_inside_a_shorter_axis(declared: Callable[[], Model]) -> None:
    agrees_with_the_oracle(declared(), {"N": 5})


def training_schedule(model: Model) -> Schedule:
    return schedule(arrange(training_program(stable_program(declared_program(model)))))


@pytest.mark.parametrize("declared", MODELS, ids=lambda f: f.__name__)
def test_a_schedule_that_has_lost_a_guard_is_a_fault_with_its_kernel_and_access(
    declared: Callable[[], Model],
) -> None:
    with as_written():
        found = training_schedule(declared())
        assert check_schedule(found) is found
        guarded_kernels = [k for k in found.kernels if any(map(has_guard, k.body))]
        assert guarded_kernels
        for kernel in guarded_kernels:
            bare = replace(kernel, body=tuple(map(without_guards, kernel.body)))
            kernels = tuple(bare if k is kernel else k for k in found.kernels)
            with pytest.raises(InvariantError, match=rf"^{kernel.layer}: .* is not proved to be inside m"):
                check_schedule(replace(found, kernels=kernels))


def has_guard(node: Node) -> bool:
    loops = isinstance(node, Loop) and (node.guard != TRUE or any(map(has_guard, node.body)))
    return loops or any(isinstance(w, Compute) and w.statement.guard != TRUE for w in work_in(node))


def without_guards(node: Node) -> Node:
    if not isinstance(node, Loop):
        return node
    bare = replace(with_guards(node, lambda _: TRUE), guard=TRUE)
    return replace(bare, body=tuple(map(without_guards, bare.body)))
