"""Which loops have independent iterations: examples, and random kernels whose iterations run in the other order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy as sp
from code_cases import differences, random_cases

from derivgen.code.check import check_code
from derivgen.code.independent import sums_of_independent
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import with_blocks
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, index_symbol

n, t = index_symbol("n"), index_symbol("t")
N = sp.Symbol("N", integer=True, positive=True)


def x(*subscripts: object) -> Read:
    return Read("x", *map(sp.sympify, subscripts))


def y(*subscripts: object) -> Read:
    return Read("y", *map(sp.sympify, subscripts))


S, U = Read("s"), Read("u")

INDEPENDENT = {
    "elements of its own": ((Assign(y(n), "=", 2 * x(n)),), ()),
    "a sum": ((Assign(S, "+=", x(n)),), ("s",)),
    "a sum of a local": ((Let("u", x(n) ** 2), Assign(S, "+=", U), Assign(y(n), "+=", U)), ("s",)),
    "neighbours that nothing writes": ((Assign(y(n), "=", x(n + 1) - x(n)),), ()),
    "another row of what it writes": ((Assign(y(t + 1, n), "=", y(t, n)),), ()),
    "moved by what stays": ((Assign(y(n - t), "=", y(n - t) + 1),), ()),
    "a local made on both ways": (
        (If(sp.Gt(x(n), 0), (Let("u", x(n)),), (Let("u", -x(n)),)), Assign(y(n), "=", U)),
        (),
    ),
    "a branch that stores": ((If(sp.Gt(x(n), 0), (Assign(y(n), "=", x(n)),)),), ()),
}
DEPENDENT = {
    "the element before": (Assign(y(n + 1), "=", y(n)),),
    "one element for all": (Assign(y(0), "+=", x(n)),),
    "an element by a table": (Assign(y(Read("label", n)), "+=", x(n)),),
    "every other one": (Assign(y(sp.Mod(n, 2)), "=", x(n)),),
    "a local of the iteration before": (Assign(y(n), "=", U), Let("u", x(n))),
    "a local that one way leaves": (If(sp.Gt(x(n), 0), (Let("u", x(n)),)), Assign(y(n), "=", U)),
    "a total that is read": (Assign(S, "+=", x(n)), Assign(y(n), "=", S)),
    "a maximum": (Assign(S, "max=", x(n)),),
    "a loop inside": (For(t, N, (Assign(y(n, t), "=", x(n)),)),),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent(name: str) -> None:
    body, totals = INDEPENDENT[name]
    assert sums_of_independent(For(n, N, body)) == totals


@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent(name: str) -> None:
    assert sums_of_independent(For(n, N, DEPENDENT[name])) is None


def test_steps_of_a_recurrence_are_never_independent() -> None:
    assert sums_of_independent(For(n, N, (Assign(y(n), "=", x(n)),), steps=True)) is None


def test_random_kernels_compute_the_same_when_independent_iterations_run_backwards() -> None:
    changed = 0
    with as_written():
        for case in random_cases():
            before = case.stages[-1]
            after = last_iterations_first(before)
            changed += after != before
            check_code(after)
            assert differences(case, before, after) == [], (case.seed, after.name)
    assert changed > 10


def last_iterations_first(function: Function) -> Function:
    def block(codes: Block) -> Block:
        return tuple(turned(with_blocks(code, block)) for code in codes)

    return function.with_body(block(function.body))


def turned(code: Code) -> Code:
    plain = isinstance(code, For) and code.start == 0 and code.step == 1 and not code.backwards
    if not plain or sums_of_independent(code) is None:
        return code
    return replace(code, backwards=True, shown=None)
