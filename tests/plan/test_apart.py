"""The arrays of a kernel lie apart: on plans as they are, and on one whose buffers were put in the wrong places."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import sympy as sp

from derivgen import Model, layers
from derivgen.form.expressions import size_symbol
from derivgen.form.program import InvariantError
from derivgen.pipeline import declared_program, plan_module
from derivgen.plan.apart import are_apart, check_apart, places_of
from derivgen.plan.module_plan import ModulePlan


def plan_of_two_layers() -> ModulePlan:
    model = Model("net")
    n = model.batch("N")
    hidden = layers.dense(model.input("x", n, 4), 3, sp.tanh, name="a")
    out = layers.dense(hidden, 2, sp.tanh, name="b")
    i, j = model.local_indices(n, 2)
    model.minimize(sp.Sum(out[i, j] ** 2, i, j))
    return plan_module(model, declared_program(model), "float64")


def test_no_two_buffers_of_a_kernel_share_memory() -> None:
    check_apart(plan_of_two_layers())


def test_buffers_that_one_kernel_needs_at_one_place_are_refused() -> None:
    plan = plan_of_two_layers()
    together = replace(plan.storage, starts=dict.fromkeys(plan.storage.starts, sp.S.Zero))
    wrong = SimpleNamespace(
        storage=together,
        schedules=plan.schedules,
        gathered=plan.gathered,
        random=plan.random,
        buffers=plan.buffers,
        families=plan.families,
        places=plan.places,
    )
    with pytest.raises(InvariantError, match="not proved to lie apart"):
        check_apart(wrong)  # type: ignore[arg-type]


def test_places_are_apart_whatever_the_sizes() -> None:
    N = size_symbol("N")
    assert are_apart((False, sp.S.Zero, 3 * N), (False, 3 * N, 4 * N))
    assert are_apart((False, 3 * N, 4 * N), (False, sp.S.Zero, 3 * N))
    assert not are_apart((False, sp.S.Zero, 3 * N), (False, 2 * N, 4 * N))
    assert not are_apart((False, sp.S.Zero, 3 * N), (False, sp.Integer(3), 4 * N))  # only for one row
    assert are_apart((True, sp.S.Zero, 3 * N), (False, sp.S.Zero, 3 * N))


def test_each_buffer_has_its_place() -> None:
    plan = plan_of_two_layers()
    assert {*places_of(plan)} >= {t.name for t in plan.workspace}
