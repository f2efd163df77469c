"""What no module could compute is refused at the spec's line; what is deep or large, but can be computed, is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from command import fail, succeed
from generated import agrees_with_the_oracle, execute, module_text

from derivgen import Model
from derivgen.form.as_written import as_written

HEAD = """\
from sympy import *
from derivgen import Model
model = Model("extreme")
N = model.batch("N")
n = model.indices(n=N)
k = Symbol("k", integer=True)
x = model.input("x", N)
p = model.parameter("p", 2, init="ones")
e = p[0] * x[n]
"""
TAIL = "model.minimize(Sum(z[n], n) / N)\n"
LINE = HEAD.count("\n") + 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('z = model.let("z", n, e * Float("1e400"))', "z: 1000000000…0000. (of 402 characters) is larger than any"),
        ('z = model.let("z", n, e - 10**400)', "is larger than any number of float64, which ends at 1.8e308"),
        ('z = model.let("z", n, e**(2**70))', "z: the exponent 1180591620717411303424 is too large"),
        ('z = model.let("z", n, e**-(10**11))', "z: the exponent -100000000000 is too large, expected at most 16384"),
        ('z = model.let("z", n, Sum(e, (k, 0, 10**30)))', "the sum over k has too many terms, expected at most 2^47"),
        (
            'z = model.let("z", n, e * model.parameter("W", 2**30, 2**30)[0, 0])',
            "W has 1152921504606846976 elements: expected at most 2^47",
        ),
        (
            'z = model.let("z", n, e * model.parameter("W", model.sizes(D=2**70))[0])',
            "W: expected a size of at most 2^47, found 1180591620717411303424",
        ),
        (
            'z = model.let("z", n, Piecewise((e / (Integer(3) - 3), x[n] > 7), (e, True)))',
            "SymPy divided by 0 when the formula was made, perhaps in a branch that is never taken: give the divisor "
            "a let",
        ),
        (
            "for _ in range(250): e = tanh(e)\nz = model.let('z', n, e)",
            "an expression is nested too deeply, in more than 200 levels: give parts of it a let",
        ),
    ],
)
def test_what_can_not_be_computed_is_refused_at_its_line(tmp_path: Path, line: str, message: str) -> None:
    spec = tmp_path / "extreme.py"
    spec.write_text(f"{HEAD}{line}\n{TAIL}")
    error = fail("generate", spec)
    assert f"extreme.py:{LINE + line.count(chr(10))}: " in error and message in error
    assert not (tmp_path / "extreme_kernels.py").exists()


def test_a_polynomial_of_a_hundred_levels_is_generated_and_explained(tmp_path: Path) -> None:
    spec = tmp_path / "extreme.py"
    horner = 'q = model.parameter("q", 60)\nfor i in range(60): e = e * x[n] + q[i]\nz = model.let("z", n, e)'
    spec.write_text(f"{HEAD}{horner}\n{TAIL}")
    assert "written" in succeed("generate", spec)
    assert "q_bar[59]" in succeed("explain", spec)
    assert "flops" in succeed("cost", spec)


def test_a_nest_of_many_levels_has_the_derivatives_of_the_oracle() -> None:
    model = Model("deep")
    n = model.indices(n=3)
    p, q = model.parameter("p", 3), model.parameter("q", 90)
    e = p[n]
    with as_written():
        for i in range(90):
            e = e * p[n] / 2 + q[i]
        model.minimize(sp.Sum(sp.tanh(e), n))
    agrees_with_the_oracle(model)


@pytest.mark.parametrize("exponent", [7, -5, 40, 1000, 16384])
def test_powers_by_squaring(exponent: int) -> None:
    model = Model("power")
    u = model.parameter("u", 3)
    i = model.indices(i=3)
    model.minimize(sp.Sum(u[i] ** exponent, i))
    points = np.array([0.999, -1.0002, 1.00001])
    loss, gradient = execute(module_text(model)).loss_and_gradient(points)
    exact = [sp.Float(float(v), 60) for v in points]
    assert loss == pytest.approx(float(sum(v**exponent for v in exact)), rel=1e-12)
    assert gradient == pytest.approx([float(exponent * v ** (exponent - 1)) for v in exact], rel=1e-11)
