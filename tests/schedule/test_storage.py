"""Buffers in one memory: shared where lifetimes allow it, never two of one kernel's arrays in one place."""

from __future__ import annotations

import gc
import itertools
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import sympy as sp
from random_specs import Spec, for_each_spec, many
from second_order_oracle import LONGEST, ask_for_all

from derivgen import Model, generate
from derivgen.form.sizes import at_most, element_count, is_multiple
from derivgen.pipeline import declared_program, plan_module
from derivgen.plan.plan import Plan
from derivgen.runtime.loading import load

RUNTIME = {"N": 3, "M": 2}


def stretches(plan: Plan, values: dict[str, int]) -> dict[str, tuple[bool, int, int]]:
    """(whether of integers, start, end) of each tensor of the workspace."""
    found = {}
    for t in plan.workspace:
        start, size = plan.storage.starts[t.name], element_count(t)
        numbers = [int(e.subs({s: values[s.name] for s in e.free_symbols})) for e in (start, size)]
        found[t.name] = (bool(t.integer), numbers[0], sum(numbers))
    return found


def overlap(a: tuple[bool, int, int], b: tuple[bool, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def check_layout(plan: Plan) -> bool:
    """Whether arrays share memory; AssertionError where two needed at once overlap, or one ends after its memory."""
    places = stretches(plan, RUNTIME)
    inputs = [t.name for t in plan.gathered]
    for timeline in plan.timelines:
        for needed in timeline:
            given = inputs if timeline is plan.timelines[0] else []
            names = [name for name in dict.fromkeys((*needed, *given)) if name in places]
            clashes = [(a, b) for k, a in enumerate(names) for b in names[:k] if overlap(places[a], places[b])]
            assert clashes == []
    ends = [max((end for integer, _, end in places.values() if integer is kind), default=0) for kind in (False, True)]
    totals = [
        int(e.subs({s: RUNTIME[s.name] for s in e.free_symbols})) for e in (plan.storage.reals, plan.storage.integers)
    ]
    assert all(end <= total for end, total in zip(ends, totals, strict=True))
    return any(overlap(a, b) for a, b in itertools.combinations(places.values(), 2))


def test_arrays_of_one_kernel_do_not_overlap() -> None:
    seen = {"shared": 0}

    def check(spec: Spec) -> None:
        model = spec.model()
        seen["shared"] += check_layout(plan_module(model, declared_program(model), "float64"))

    for_each_spec(check, many(16), start=900, lets=4)
    assert seen["shared"] >= many(4)


def test_nor_do_those_of_functions_of_derivatives() -> None:
    seen = {"functions": 0, "shared": 0}

    def check(spec: Spec) -> None:
        if len(spec.text) <= LONGEST:
            model = replace(spec, text=re.sub(r"\bu\b", "x2", spec.text)).model()
            ask_for_all(model)
            for part in plan_module(model, declared_program(model), "float64").parts:
                seen["functions"] += 1
                seen["shared"] += check_layout(part)

    for_each_spec(check, many(12), start=950, lets=1)
    assert seen["functions"] >= many(20) and seen["shared"] >= many(4)


def test_buffers_own_their_memory(tmp_path: Path) -> None:
    """In compiled code too: they keep it while they are in use, and no longer."""
    model = Model("owner", dtype="float64")
    rows = model.batch("N")
    n = model.indices(n=rows)
    x, w = model.input("x", rows), model.parameter("w")
    model.minimize(sp.Sum((x[n] * w) ** 2, n))
    module = load(generate(model, tmp_path / "owner_kernels.py"))
    size = 10**6
    kept = [module.workspace(size).x for _ in range(3)]
    for k, array in enumerate(kept):
        array[:] = k
    assert all((array == k).all() for k, array in enumerate(kept))
    tracemalloc.start()
    for _ in range(20):
        module.workspace(size)
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] < size * 8
    tracemalloc.stop()


def test_sizes_compare_for_all_positive_sizes_at_once() -> None:
    from derivgen.form.expressions import size_symbol

    n, m = size_symbol("N"), size_symbol("M")
    assert at_most(3 * n, 4 * n)
    assert at_most(n * m, n * m + n)
    assert not at_most(n, m)
    assert not at_most(4 * n, 3 * n + 5)  # N = 6
    assert is_multiple(32 * n + 16, 16)
    assert not is_multiple(32 * n + 8, 16)
