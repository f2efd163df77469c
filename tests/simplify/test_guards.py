"""Conditions and what stands under them, where something once went wrong: each a spec that random ones found."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import check_module, execute, module_text
from random_specs import IMPORTS, Spec

from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program
from derivgen.prepare.reach_back import reach_back

MODEL = IMPORTS + 'model = Model("random")\nD = model.sizes(D=4)\nW = model.parameter("W", D)\n'


@pytest.mark.parametrize(
    ("subscript", "guard"),
    [
        ("2*i - 1", "And(2*i - 1 >= 0, 2*i - 1 < D)"),
        ("3 - 2*i", "And(3 - 2*i >= 0, 3 - 2*i < D)"),
        ("2*i", "2*i < D"),
        ("2*i + 1", "2*i + 1 <= D - 1"),
        ("2*i - 1", "And(i > 0, 2*i < 5)"),
    ],
)
def test_guard_that_sympy_divides_by_the_index_coefficient(subscript: str, guard: str) -> None:
    """A Piecewise holds 2·i - 1 ≥ 0 as i ≥ 1/2."""
    read = f"Piecewise((W[{subscript}], {guard}), (0, True))"
    text = f"{MODEL}i = model.indices(i=D)\nmodel.minimize(Sum(sin({read} + i), i))\n"
    spec = Spec(text, (), seed=1)
    declared = declared_program(spec.model())
    assert check_module(execute(module_text(spec.model())), declared, spec.values(declared)) == []


@pytest.mark.parametrize("left", ["2*i - 1", "1 - 2*i", "3*i - 7", "f[i] - 2", "3 - f[i]", "2 - i", "3*f[i] - 4"])
@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_condition_on_one_integer_stands_with_an_integer_on_the_right(left: str, operator: str) -> None:
    head = f'{MODEL}f = model.constant("f", [2, 0, 3, 1])\ni = model.indices(i=D)\n'
    spec = Spec(f"{head}model.minimize(Sum(Piecewise((W[i], {left} {operator} 0), (0, True)), i))\n", (), seed=1)
    declared = declared_program(spec.model())
    relations = [c for s in declared.statements for c in s.guard.atoms(sp.core.relational.Relational)]
    assert all(c.rhs.is_Integer and not c.lhs.is_Add and not c.lhs.is_Mul for c in relations)
    holds = [eval(f"{left} {operator} 0", {"i": i, "f": [2, 0, 3, 1]}) for i in range(4)]
    values = spec.values(declared)
    assert run(declared, values)[str(declared.objective)] == np.sum(values["W"][holds])


@pytest.mark.parametrize(
    "branch",
    ["Piecewise((z, z > 0), (exp(z) - 1, True))", "Max(z, 0)", "W[i] + Max(z, 0.3)", "Min(z, W[i])", "Abs(z)"],
)
def test_condition_on_a_value_under_a_guard(branch: str) -> None:
    """SymPy writes the condition `Piecewise(…) > 0` as an if-then-else of conditions."""
    lines = "i = model.indices(i=D)\nz = W[i] + Piecewise((W[i - 1], i > 0), (0, True))\n"
    lines += f"model.minimize(Sum({branch}, i))\n"
    spec = Spec(MODEL + lines, (), seed=1)
    declared = declared_program(spec.model())
    assert check_module(execute(module_text(spec.model())), declared, spec.values(declared)) == []


@pytest.mark.parametrize(
    "condition",
    [
        "Piecewise((Sum(W[3*i]*W[j], j), 3*i < D), (0, True)) > 0",
        "Piecewise((W[3*i]*W[i], 3*i < D), (0, True)) > 0",
        "And(3*i < D, Sum(W[3*i]*W[j], j) > 0)",
    ],
)
def test_guard_goes_with_what_a_condition_reads(condition: str) -> None:
    lines = f"i, j = model.indices(i=D, j=D)\nmodel.minimize(Sum(Piecewise((W[i]**2, {condition}), (W[i], True)), i))\n"
    spec = Spec(MODEL + lines, (), seed=2)
    declared = declared_program(spec.model())
    assert check_module(execute(module_text(spec.model())), declared, spec.values(declared)) == []


def test_maximum_sees_what_a_guard_leaves_at_0() -> None:
    """Outside its guard a summand is 0 and adds nothing; to a maximum 0 is a value like others."""
    lines = "i = model.indices(i=D)\nmodel.minimize(MaxOver(Piecewise((-1 - W[i]**2, i > 0), (0, True)), i))\n"
    spec = Spec(MODEL + lines, (), seed=1)
    declared = declared_program(spec.model())
    assert run(declared, spec.values(declared))["loss"][()] == 0


@pytest.mark.parametrize(("divisor", "singular"), [("sqrt(3)", False), ("2", False), ("sqrt(W[i])", True)])
def test_a_guard_reaches_back_to_what_may_be_singular_only(divisor: str, singular: bool) -> None:
    """A power of a number is a number: a sum that is divided by it stays one without a guard."""
    lines = f"i = model.indices(i=D)\nz = model.let('z', i, W[i] / {divisor})\n"
    text = f"{MODEL}{lines}model.minimize(Sum(Piecewise((z[i] ** 2, i > 0), (0, True)), i))\n"
    reached = reach_back(declared_program(Spec(text, (), seed=1).model()))
    z = next(s for s in reached.statements if s.target == "z")
    assert z.expression.has(sp.Piecewise) is singular
