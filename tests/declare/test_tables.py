"""Constants by a formula of their indices: their values, and the text that makes them."""

from __future__ import annotations

import re
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text
from sympy import Eq, Piecewise, cos, exp, log, pi, sin, sqrt, tanh

from derivgen import Model, layers

mpmath_at_60 = mpmath.MPContext()
mpmath_at_60.dps = 60


def text_of(dtype: str, rows: int, columns: int, formula: Any) -> str:
    """The module of a model with a table of this formula of t and i."""
    model = Model("m")
    t, i = model.indices(t=rows, i=columns)
    x = model.parameter("x", rows, columns, init="normal")
    table = model.constant("table", (t, i), formula(t, i))
    model.minimize(sp.Sum(table[t, i] * x[t, i] ** 2, t, i))
    return module_text(model, dtype)


def made(text: str, numpy: Any = np) -> np.ndarray:
    """What the lines of the text that make the table make, with this NumPy."""
    lines = re.search(r"^CONSTANT_table.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert lines is not None
    names: dict[str, Any] = {"np": numpy, "real": np.float32 if "real = np.float32" in text else np.float64}
    exec(lines[0], names)
    table = names["CONSTANT_table"]
    assert isinstance(table, np.ndarray)
    return table


FORMULAS = {
    "rotary": (
        lambda t, i: cos(t / sp.Integer(10000) ** (i / 8)),
        lambda m, t, i: m.cos(t / m.mpf(10000) ** (m.mpf(i) / 8)),
    ),
    "decay": (lambda t, i: exp(-t / (i + 1)), lambda m, t, i: m.exp(-m.mpf(t) / (i + 1))),
    "window": (
        lambda t, i: (1 - cos(2 * pi * t / 16)) / (2 + i),
        lambda m, t, i: (1 - m.cos(2 * m.pi * t / 16)) / (2 + i),
    ),
    "ramp": (lambda t, i: 0.1 * t + i / 3, lambda m, t, i: m.mpf(0.1) * t + m.mpf(i) / 3),
    "polynomial": (lambda t, i: (t - 3) ** 2 - 2 * i, lambda m, t, i: m.mpf((t - 3) ** 2 - 2 * i)),
    "branches": (
        lambda t, i: Piecewise((sin(t), Eq(i % 3, 0)), (sqrt(t + 1), i < 5), (tanh(t * i), True)),
        lambda m, t, i: m.sin(t) if i % 3 == 0 else m.sqrt(t + 1) if i < 5 else m.tanh(t * i),
    ),
    "logarithm": (lambda t, i: -log(t + i + 2) / (1 + i) ** 2, lambda m, t, i: -m.log(t + i + 2) / (1 + i) ** 2),
    "longer than a line": (
        lambda t, i: sum(cos(t / sp.Integer(1000 + k) ** (i / 8)) for k in range(6)) ** 2 / (1 + t**2),
        lambda m, t, i: m.fsum(m.cos(t / m.mpf(1000 + k) ** (m.mpf(i) / 8)) for k in range(6)) ** 2 / (1 + t**2),
    ),
    "one axis": (lambda t, i: 1 / (1 + t) - sp.Rational(2, 7), lambda m, t, i: 1 / m.mpf(1 + t) - 2 / m.mpf(7)),
}
by_formula = pytest.mark.parametrize("word", FORMULAS)


@by_formula
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_the_formula_rounded(word: str, dtype: str) -> None:
    formula, exact = FORMULAS[word]
    found = made(text_of(dtype, 7, 8, formula))
    expected = [[float(exact(mpmath_at_60, t, i)) for i in range(8)] for t in range(7)]
    np.testing.assert_array_equal(found, np.array(expected).astype(dtype))


class Indices(np.ndarray):
    """An array whose powers of a number are those of another machine."""

    machine: OtherMachine

    def __rpow__(self, base: Any) -> Any:
        return self.machine.off(base ** np.asarray(self))


class OtherMachine:
    """NumPy with other functions: each result up to four units in the last place off."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        if name not in ("sin", "cos", "exp", "log", "tanh"):
            return getattr(np, name)
        return lambda u: np.where(u == 0, getattr(np, name)(u), self.off(getattr(np, name)(u)))

    def off(self, values: Any) -> Any:
        values = np.asarray(values)
        return (values + self.rng.integers(-4, 5, values.shape) * np.spacing(values) * (values != 0)).view(Indices)

    def fromfunction(self, function: Any, shape: tuple[int, ...]) -> Any:
        Indices.machine = self
        return function(*(line.astype(float).view(Indices) for line in np.indices(shape)))


@by_formula
def test_a_module_has_the_formula_where_every_machine_gives_the_same(word: str) -> None:
    formula, _ = FORMULAS[word]
    text = text_of("float32", 16, 8, formula)
    assert "np.fromfunction(" in text and "_TEXT" not in text
    for seed in range(20):
        assert made(text, OtherMachine(seed)).tobytes() == made(text).tobytes()


def test_elements_that_a_machine_decides_are_digits() -> None:
    text = text_of("float32", 1024, 32, lambda t, i: cos(t / sp.Integer(10000) ** (i / 32)))
    assert 1 <= len(re.findall(r"^CONSTANT_table\[\d+, \d+\] = ", text, re.MULTILINE)) < 300
    exact = np.array(
        [
            [float(mpmath_at_60.cos(t / mpmath_at_60.mpf(10000) ** (mpmath_at_60.mpf(i) / 32))) for i in range(32)]
            for t in range(1024)
        ]
    )
    for seed in range(10):
        np.testing.assert_array_equal(made(text, OtherMachine(seed)), exact.astype(np.float32))


def test_digits_stay_where_a_machine_decides() -> None:
    """exp(log(1 + 2^-24)) lies at the middle between two numbers of single precision."""
    middle = 1 + sp.Rational(1, 2**24)

    def formula(t: Any, i: Any) -> Any:
        return exp((t + 1) * log(middle)) + i

    assert "CONSTANT_table_TEXT" in text_of("float32", 2, 2, formula)
    assert "CONSTANT_table_TEXT" in text_of("float64", 2, 2, FORMULAS["rotary"][0])
    assert "CONSTANT_table_TEXT" not in text_of("float64", 2, 2, FORMULAS["polynomial"][0])


def test_a_formula_that_numpy_has_no_function_for_is_digits() -> None:
    text = text_of("float64", 3, 2, lambda t, i: sp.atan(t - i))
    assert "CONSTANT_table_TEXT" in text
    np.testing.assert_allclose(made(text), np.arctan(np.arange(3)[:, None] - np.arange(2)), rtol=1e-15)


def test_a_formula_of_integers_may_stand_inside_an_index() -> None:
    model = Model("m")
    t, i = model.indices(t=4, i=3)
    x = model.parameter("x", 12, init="normal")
    mirror = model.constant("mirror", (t, i), 11 - 3 * t - i)
    model.minimize(sp.Sum(x[mirror[t, i]] ** 2, t, i))
    assert (model.declarations["mirror"].value == np.arange(11, -1, -1).reshape(4, 3)).all()
    assert "mirror[t, i]" in module_text(model)


def test_equal_blocks_have_one_table() -> None:
    def text(blocks: int) -> str:
        model = Model("m")
        N, (T, F) = model.batch("N"), model.sizes(T=6, F=4)
        x = model.input("x", N, T, F)
        a = layers.sinusoidal_positions(x, name="placed")
        for k in range(blocks):
            a = layers.transformer_block(a, 1, 8, name=f"block{k}", rotary=True)
            a = layers.sinusoidal_positions(a, name=f"placed{k}")
        n, t, f = model.indices(n=N, t=T, f=F)
        model.minimize(sp.Sum(a[n, t, f] ** 2, n, t, f))
        return module_text(model, "float32")

    constants = re.findall(r"^CONSTANT_\w+", text(3), re.MULTILINE)
    assert constants == [
        f"CONSTANT_{name}" for name in ("placed_table", "block0_attention_cos", "block0_attention_sin")
    ]


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (lambda m, t: t / m.batch("N"), "sizes known at generation, found N"),
        (lambda m, t: m.parameter("w", 4)[t], "of its indices, numbers and sizes known at generation, found w"),
        (lambda m, t: 1 / (t - 2), r"no finite real number at \[2\]"),
        (lambda m, t: sqrt(1 - t), r"no finite real number at \[2\]"),
        (lambda m, t: sp.zeta(t + 2), r"zeta\(axis0 \+ 2\) has no value in a table"),
    ],
)
def test_what_is_no_table_is_refused(formula: Any, words: str) -> None:
    model = Model("m")
    t = model.indices(t=4)
    model.constant("c", t, formula(model, t))
    assert [p for p in model.problems if re.search(words, p.message)], model.problems


def test_arrays_of_one_number_are_written_as_that_number() -> None:
    model = Model("same", dtype="float64")
    i, j = model.indices(i=40, j=30)
    k = model.constant("k", np.full((40, 30), 0.3))
    w = model.parameter("w", 40, 30, init=np.full((40, 30), -0.0))
    model.minimize(sp.Sum(k[i, j] * (w[i, j] - 1) ** 2, i, j))
    text = module_text(model)
    assert "CONSTANT_k = np.full((40, 30), 0.3, real)" in text.splitlines()
    assert "INITIAL_w" not in text
    module = execute(text)
    parameters = module.initial_parameters()
    assert np.array_equal(parameters, np.zeros(1200)) and np.signbit(parameters).all()
    assert module.loss(parameters) == pytest.approx(360)
