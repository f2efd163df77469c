"""Names of specs: whatever has a name that a module has too, it is refused at its line, or the numbers are the same."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text
from naming_models import (
    check_renamed,
    curve,
    drawing,
    generated,
    kinds_of,
    names_in_modules,
    network,
    outputs,
    renamings,
    training,
    use,
)
from sampled import some

from derivgen import Model, layers, optimizers
from derivgen.errors import SpecError
from derivgen.file import fixed_names
from derivgen.pipeline import declared_program
from derivgen.print.naming import clashes, functions_of

ROOT = Path(__file__).parents[2]


# ---- every name, as a name of every kind (all pairs: scripts/names.py, in `make fuzz`)


@pytest.fixture(scope="module")
def every_name() -> list[str]:
    return names_in_modules()


@pytest.mark.parametrize(("make", "rotation", "step"), [(training, 0, 3), (outputs, 5, 7)])
def test_a_name_of_modules_is_refused_or_changes_no_number(make, rotation, step, every_name):
    expected = use(generated(make, {})[0])
    for renamed in renamings(some(every_name[::step], 5), kinds_of(make), rotation):
        check_renamed(make, renamed, expected)


# What parts of formulas, and what derivatives, are called: with these beside one another nothing is left of one's own.
DERIVED = """
a a_ a_2 a_bar a_sum a_sum_2 a_sum_bar a_max a_exp a_tanh a_n a_total a_ordinal a_dot a_by_x a_next a_previous a_forward
x x_ x_2 x_bar x_bar_n n n_ N N_ k k_2 i i_ term_1 term_2 case_1 place_1 reciprocal reciprocal_2 value number power_1
tanh_1 exp exp_ factor_1 state_slot slot_before p_through_a hessian_a loss loss_sum objective CONSTANT_w INITIAL_W flat
count index under_x _x _ u v t g
""".split()  # noqa: SIM905


@pytest.mark.parametrize("make", some([outputs, training, network, curve, drawing]))
def test_names_that_others_are_made_of_change_no_number(make):
    expected, kinds, shuffled = use(generated(make, {})[0]), kinds_of(make), random.Random(3)
    for _ in range(5):
        names = shuffled.sample(DERIVED, len(kinds))
        check_renamed(make, dict(zip(kinds, names, strict=True)), expected)


def test_the_fixed_names_are_those_of_the_text(tmp_path):
    """derivgen/file/fixed_names.py is what `make names` writes."""
    code = "import fixed_names, sys; sys.stdout.write(fixed_names.text())"
    path = str(ROOT / "scripts")
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert found.stdout == Path(fixed_names.__file__).read_text(encoding="utf-8")


# ---- the check of a module's text


def clashes_in(text: str) -> set[str]:
    (function,) = functions_of(text)
    return clashes(function)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@kernel\ndef a_forward(x, a):\n    N = x.shape[0]\n    for N in range(N):\n        a[N] = x[N]", {"N"}),
        ("@kernel\ndef a_forward(x, ASSIGN):\n    gemm(x, x, ASSIGN, x)", {"ASSIGN"}),
        ("@kernel\ndef a_forward(x, a):\n    a[0] = x[0] + other", {"other"}),
        ("@kernel\ndef a_forward(x, a):\n    a = x[0]", {"a"}),
        ("def loss(parameters, x, len):\n    arrays = (x, len)\n    return len(arrays)", {"len"}),
        ("def loss(parameters, x, mean):\n    arrays = (x, mean)\n    mean = 2\n    return mean", set()),
        ("@kernel\ndef epoch(rows, rows):\n    return rows", {"rows"}),
    ],
)
def test_two_meanings_of_a_name_are_found(text, names):
    assert clashes_in(text) == names


# ---- sums over plain symbols


W_VALUES = np.array([0.5, -1.0, 2.0])


def check_sums(k: sp.Expr, inner: sp.Expr, *limits: int) -> None:
    """A row's sum over one index, and a sum over another one beside and inside of it; the limits where k has none."""
    model = Model("rows", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, W = model.input("x", N, 3), model.parameter("W", 3, init=W_VALUES)
    squares = sp.Sum(W[inner] ** 2, (inner, *limits) if limits else inner)
    z = model.let("z", n, sp.Sum(sp.exp(x[n, k] * W[k]) * squares, (k, *limits) if limits else k))
    model.minimize(sp.Sum(sp.tanh(z[n] / 50) ** 2, n) / N + squares)
    module, data = execute(module_text(model)), np.random.default_rng(0).normal(size=(7, 3))
    rows = np.exp(data * W_VALUES).sum(axis=1) * 5.25
    expected = np.mean(np.tanh(rows / 50) ** 2) + 5.25
    assert module.loss_and_gradient(module.initial_parameters(), data)[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    "assumptions", some([{}, {"integer": True}, {"integer": True, "positive": True}, {"real": True}])
)
@pytest.mark.parametrize("name", ["N", "W", "x", "n", "k", "z", "loss", "z_sum", "loss_sum", "x_bar", "range_"])
def test_a_summed_symbol_may_have_any_name(name, assumptions):
    """Symbol("N") hid the number of rows: those from the third on were not computed."""
    check_sums(sp.Symbol(name, **assumptions), sp.Symbol("own"), 0, 2)
    check_sums(sp.Symbol("own"), sp.Symbol(name, **assumptions), 0, 2)


@pytest.mark.parametrize("name", ["N", "W", "n", "loss"])
def test_an_index_that_the_spec_makes_by_itself_may_have_any_name(name):
    check_sums(sp.Idx(name, 3), sp.Idx("own", 3))
    check_sums(sp.Idx("own", 3), sp.Idx(name, 3))


def test_summed_symbols_of_one_name_are_apart():
    """Two symbols that SymPy tells apart by what is assumed of them, one inside the sum over the other."""
    check_sums(sp.Symbol("k"), sp.Symbol("k", integer=True), 0, 2)


def test_letters_of_library_indices_are_not_those_of_summed_symbols():
    model = Model("letters", dtype="float64")
    i, W = sp.Symbol("i"), model.parameter("W", 3, init=[0.5, -1.0, 2.0])
    own = model.local_indices(3)[0]
    model.minimize(sp.Sum(W[own] * sp.Sum(W[i] ** 2, (i, 0, 2)), own))
    module = execute(module_text(model))
    assert module.loss(module.initial_parameters()) == pytest.approx(1.5 * 5.25, rel=1e-13)


BAD = ["a\nb", 'a"""b', "a'b", "\\", "a b", "3a", "", "class", "__x", "np", "range", "𝐱", "x" * 10**5, "x" * 250]


@pytest.mark.parametrize("name", BAD, ids=lambda name: ascii(name[:12]))
@pytest.mark.parametrize("kind", ["symbol", "index"])
def test_a_summed_symbol_that_is_no_name_is_refused_at_its_line(name, kind):
    """One with newlines put raw text into the module."""
    model = Model("bad")
    W = model.parameter("W", 3)
    k = sp.Symbol(name) if kind == "symbol" else sp.Idx(sp.Symbol(name, integer=True), 3)
    model.minimize(sp.Sum(W[k], (k, 0, 2)))
    with pytest.raises(SpecError) as found:
        declared_program(model)
    (problem,) = found.value.problems
    assert repr(name[:12])[1:-1] in problem.message
    assert problem.place is not None and problem.place.file == __file__
    assert len(problem.message) < 200


# ---- what has names


def declaring(name: str) -> dict[str, Callable[[Model], object]]:
    symbol = sp.Symbol(name or " ", real=True)
    theta, g = optimizers.theta, optimizers.g
    return {
        "batch": lambda m: m.batch(name),
        "size": lambda m: m.sizes(**{name: 2}),
        "index": lambda m: m.indices(**{name: 2}),
        "input": lambda m: m.input(name, 2),
        "labels": lambda m: m.labels(name, 2, classes=2),
        "parameter": lambda m: m.parameter(name, 2),
        "constant": lambda m: m.constant(name, [1.0]),
        "running": lambda m: m.running(name, next=0),
        "random": lambda m: m.random(name, 2),
        "let": lambda m: m.let(name, (), 1),
        "recurrence": lambda m: m.recur(name, m.local_indices(3), lambda h: 1),
        "hyperparameter": lambda m: optimizers.rule("own", [(theta, theta - symbol * g)], **{name: 0.1}),
        "slot": lambda m: optimizers.rule("own", [(symbol, symbol + g), (theta, theta - symbol)], {symbol: 0.0}),
        "value of a rule": lambda m: optimizers.rule("own", [(symbol, g), (theta, theta - symbol)]),
    }


@pytest.mark.parametrize("name", BAD, ids=lambda name: ascii(name[:12]))
@pytest.mark.parametrize("kind", declaring("x"))
def test_a_name_that_no_text_can_hold_is_refused(name, kind):
    model = Model("bad")
    try:
        declaring(name)[kind](model)
        messages = [str(p.message) for p in model.problems]
    except ValueError as error:
        messages = [str(error)]
    assert messages
    assert all(len(message) < 250 for message in messages)


# ---- instances


def test_a_parameter_called_as_the_factors_of_products(tmp_path):
    """ASSIGN became BLAS's α and β: 0.963 instead of 0.949, and with one element β was read past it."""

    def model(name: str) -> Model:
        model = Model("products", dtype="float64")
        N = model.batch("N")
        n, d, h = model.indices(n=N, d=4, h=5)
        x, W = model.input("x", N, 4), model.parameter("W", 4, 5, init="normal")
        b = model.parameter(name, init=0.3)
        z = model.let("z", (n, h), sp.tanh(sp.Sum(x[n, d] * W[d, h], d)) * b)
        model.minimize(sp.Sum(z[n, h] ** 2, n, h) / N)
        return model

    data = np.random.default_rng(1).normal(size=(6, 4))
    found = []
    for name in ("b", "ASSIGN", "ADD", "gemm", "alpha_beta", "XXGEMM"):
        module = execute(module_text(model(name)))
        loss, gradient = module.loss_and_gradient(module.initial_parameters(1), data)
        found.append(np.array([loss, *gradient]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_a_size_called_as_a_function_of_kernels():
    """The size that no argument of a kernel shows was looked for under its name in the kernel, and became 1."""
    losses = []
    for name in ("N", "exp", "sum", "max", "abs"):
        model = Model("sized", dtype="float64")
        N = model.batch(name)
        n = model.indices(n=N)
        x, w = model.input("x", N), model.parameter("w", init="ones")
        z = model.let("z", (), sp.exp(w) * N)
        model.minimize(z + sp.Sum(x[n], n) * w)
        losses.append(execute(module_text(model)).loss(np.ones(1), np.ones(5)))
    np.testing.assert_allclose(losses, 5 * np.e + 5)


def test_functions_of_outputs_have_names_of_their_own():
    """`hessian_` and the name of an output is no other function: with a let `diagonal`, say."""

    def model(first: str, second: str) -> Model:
        model = Model("named", dtype="float64")
        N = model.batch("N")
        n, d = model.indices(n=N, d=5)
        x, y = model.input("x", N), model.labels("y", N, classes=5)
        W, b = model.parameter("W", 5, init="ones"), model.parameter("b", 5, init="ones")
        r = model.let(first, n, sp.exp(W[y[n]] * x[n]))
        s = model.let(second, d, b[d] * W[d] ** 2)
        model.least_squares(r, s)
        model.second_order("hessian", "hessian_diagonal")
        return model

    found = []
    for names in (("r", "s"), ("kernel_", "buffers"), ("memory", "kernel_forward"), ("r_forward", "r"), ("s", "s_")):
        module = execute(module_text(model(*names)))
        arguments = module.initial_parameters(), np.array([1.0, 2.0]), np.array([3, 1])
        jacobian = module.jacobian(*arguments)
        found.append([module.hessian(*arguments), np.asarray(getattr(jacobian, "toarray", lambda j=jacobian: j)())])
        assert len(module.residuals(*arguments)) == 7
    for hessian, jacobian in found[1:]:
        np.testing.assert_allclose(hessian, found[0][0], rtol=1e-13)
        np.testing.assert_allclose(jacobian, found[0][1], rtol=1e-13)


def test_arrays_of_the_module_have_names_of_their_own():
    """The digits of `a` stood where the array `a_TEXT` had been."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=40), rng.normal(size=40)
    model = Model("arrays", dtype="float64")
    i = model.local_indices(40)[0]
    later, a = model.parameter("a_TEXT", 40, init=first), model.parameter("a", 40, init=second)
    w, v = model.constant("w_TEXT", first), model.constant("w", second)
    model.minimize(sp.Sum(later[i] * w[i] + a[i] * v[i], i))
    module = execute(module_text(model))
    assert module.loss(module.initial_parameters()) == pytest.approx(first @ first + second @ second)


def test_a_parameter_called_as_the_whole_vector():
    """`flat` in the views of a module whose equal layers are a loop."""

    def module(name: str) -> ModuleType:
        model = Model("flat", dtype="float64")
        N = model.batch("N")
        n, d = model.indices(n=N, d=4)
        x, flat = model.input("x", N, 4), model.parameter(name, init="ones")
        z = x
        for k in range(4):
            z = layers.dense(z, 4, sp.tanh, name=f"layer{k}")
        model.minimize(sp.Sum(z[n, d] ** 2, n, d) * flat / N)
        return execute(module_text(model))

    data, found = np.random.default_rng(0).normal(size=(3, 4)), []
    for made in map(module, ("w", "flat", "flat_")):
        found.append(made.loss_and_gradient(made.initial_parameters(1), data)[1])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("name", ["Input", "dict", "CONSTANT_w", "check_vector", "float", "INPUTS", "order"])
@pytest.mark.parametrize("kind", ["input", "labels"])
def test_an_input_that_would_hide_what_its_functions_refer_to_is_refused(kind, name):
    model = Model("bad")
    declaring(name)[kind](model)
    (problem,) = model.problems
    assert repr(name) in problem.message and f"rename the {kind}" in problem.message


def test_the_arguments_of_modules_that_draw():
    model = Model("bad")
    model.input("first_step")
    model.minimize(model.random("r") * model.parameter("w"))
    with pytest.raises(SpecError, match=r"first_step is an argument .* give the input another name"):
        declared_program(model)


ORDINARY = (
    "x y n t k u v a b c i j rows start mean total data batch seed step training memory index count flat".split()  # noqa: SIM905
)


@pytest.mark.parametrize("kind", ["input", "parameter", "let", "constant", "size", "index", "batch"])
def test_ordinary_names_are_free(kind):
    for name in ORDINARY:
        model = Model("free")
        declaring(name)[kind](model)
        assert not model.problems
