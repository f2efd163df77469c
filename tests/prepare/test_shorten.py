"""Long formulas in parts: the same values and derivatives, and text and time that grow as the formula does."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from generated import agrees_with_the_oracle, execute, module_text
from sampled import some

from derivgen import Model
from derivgen.form.as_written import as_written
from derivgen.pipeline import declared_program
from derivgen.prepare.shorten import shorten


def rows(parameters: int) -> tuple[Model, sp.Expr, sp.Expr, sp.Idx]:
    model = Model("long")
    N = model.batch("N")
    n = model.indices(n=N)
    return model, model.input("x", N), model.parameter("p", parameters), n


def minimized(model: Model, e: sp.Expr, n: sp.Idx) -> Model:
    model.minimize(sp.Sum(e, n) / (n.upper + 1))
    return model


def guards(count: int) -> Model:
    """The square of a sum of guarded terms."""
    model, x, p, n = rows(count + 1)
    terms = (sp.Piecewise((p[i] * x[n] ** 2 + p[i + 1], x[n] > 2.0 * i / count), (0, True)) for i in range(count))
    return minimized(model, sum(terms) ** 2, n)


def branches(count: int) -> Model:
    """One Piecewise of many branches on data, singular where they are not reached."""
    model, x, p, n = rows(count)
    pairs = [(p[i] * sp.log(x[n] - 2.0 * i / count), x[n] > 2.0 * i / count) for i in reversed(range(count))]
    return minimized(model, sp.Piecewise(*pairs, (0, True)) ** 2, n)


def branches_of_indices(count: int) -> Model:
    """Branches that keep an index inside shorter tensors, each read in its own branch alone."""
    model = Model("pieces")
    N = model.batch("N")
    n, u = model.indices(n=N, u=2 * count)
    x = model.input("x", N, 2 * count)
    parts = [model.parameter(f"p{i}", 2, init="ones") for i in range(count)]
    pairs = [(parts[i][u - 2 * i] * x[n, u], u < 2 * i + 2) for i in range(count)]
    model.minimize(sp.Sum(sp.Piecewise(*pairs, (0, True)) ** 2, n, u) / N)
    return model


def nested_branches(count: int) -> Model:
    model, x, p, n = rows(count + 1)
    e = p[count]
    for i in range(count):
        e = sp.Piecewise((p[i] * x[n] + p[i + 1], x[n] > 2 - 2.0 * i / count), (e, True))
    return minimized(model, e**2, n)


def nested_calls(count: int) -> Model:
    model, x, p, n = rows(2)
    e = p[0] * x[n]
    for i in range(count):
        e = sp.sin(e + p[1] / (i + 1))
    return minimized(model, e, n)


def maximum(count: int) -> Model:
    """The second smallest of lines, that is a minimum of maxima, under a guard."""
    model, x, p, n = rows(count)
    lines = [p[i] * x[n] + i * 0.1 for i in range(count)]
    largest = sp.Max(*lines, sp.Rational(3, 10))
    smallest = sp.Min(*(line * p[0] for line in lines))
    return minimized(model, sp.Piecewise((largest * smallest, x[n] > 1), (0, True)), n)


def factors(count: int) -> Model:
    model, x, p, n = rows(count)
    return minimized(model, sp.Mul(*(sp.cos(p[i] * x[n]) + 1 for i in range(count))), n)


def recurrence(count: int) -> Model:
    """A long formula inside of a step."""
    model = Model("steps")
    t, j = model.indices(t=4, j=2)
    x, p = model.parameter("x", 4, 2), model.parameter("p", count)

    def step(u: sp.Expr) -> sp.Expr:
        return sp.tanh(sum(p[i] * u[t - 1, j] ** (i % 3 + 1) * x[t, j] / 20 for i in range(count))) + x[t, j]

    u = model.recur("u", (t, j), step)
    model.minimize(sp.Sum(u[t, j] ** 2, t, j))
    return model


SHAPES: tuple[tuple[Callable[[int], Model], int], ...] = (
    (guards, 12),
    (branches, 20),
    (branches_of_indices, 10),
    (nested_branches, 20),
    (nested_calls, 40),
    (maximum, 6),
    (factors, 20),
    (recurrence, 12),
)


@pytest.mark.parametrize(("declared", "count"), SHAPES, ids=lambda f: getattr(f, "__name__", ""))
def test_parts_have_the_values_and_the_derivatives_of_the_whole(declared: Callable[[int], Model], count: int) -> None:
    with as_written():
        model = declared(count)
    program = declared_program(model)
    assert len(shorten(program).statements) > len(program.statements)
    agrees_with_the_oracle(model, {"N": 7})


def test_in_a_long_maximum_the_first_of_those_that_tie_has_the_derivative() -> None:
    """As in MaxOver; a number that ties wins."""
    for number, wanted in ((0.25, [1.0, 0, 0, 0, 0, 0]), (0.5, [0.0] * 6)):
        model = Model("ties")
        p = model.parameter("p", 6, init=np.full(6, 0.5))
        with as_written():
            model.minimize(sp.Max(*(p[i] for i in range(6)), number))
        module = execute(module_text(model))
        loss, gradient = module.loss_and_gradient(module.initial_parameters())
        assert (loss, sorted(gradient, reverse=True)) == (0.5, wanted)


def effort(declared: Callable[[int], Model], count: int) -> tuple[int, int]:
    """(calls of Python functions to declare and generate, length of the text)"""
    with cProfile.Profile(builtins=False) as profile, as_written():
        text = module_text(declared(count))
    return pstats.Stats(profile).total_calls, len(text)


GROWING: tuple[tuple[Callable[[int], Model], int], ...] = (
    (guards, 14),
    (branches, 12),
    (nested_calls, 20),
    (maximum, 12),
    (factors, 20),
    (nested_branches, 8),
)


@pytest.mark.parametrize(("declared", "count"), some(GROWING), ids=lambda f: getattr(f, "__name__", ""))
def test_text_and_work_grow_as_the_formula_does(declared: Callable[[int], Model], count: int) -> None:
    """Twice as long a formula is some twice as much work; what grew with its square was four times as much."""
    fixed = len(module_text(declared(2)))
    (before, short), (after, long) = effort(declared, count), effort(declared, 2 * count)
    assert long - fixed < 2.8 * (short - fixed)
    assert after < 3.1 * before
