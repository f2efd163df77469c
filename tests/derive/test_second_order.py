"""Functions of second order against the 50-digit oracle: random specs, losses, single rows, kinks, errors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text, value_error
from random_specs import Spec, for_each_spec, many
from second_order_oracle import LONGEST, TOLERANCE, ask_for_all, jacobians, point_of, random_point
from sympy import Abs, Max, Min, Piecewise, Sum, exp, log, sqrt, tanh

from derivgen import MaxOver, layers, losses
from derivgen.declare.model import Model
from derivgen.errors import DerivgenError, SpecError
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values
from derivgen.runtime.loading import load

SPECS, PARTS = many(28), 1
ENOUGH = many(7)  # specs of a part that are no longer


@pytest.mark.parametrize("part", range(PARTS))
def test_random_specs(part: int) -> None:
    """Every function that a spec can have, as plain Python."""
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        if len(spec.text) <= LONGEST:
            point = random_point(spec, execute)
            point.check()
            seen.update(point.functions)

    for_each_spec(check, SPECS // PARTS, start=300 + part, lets=1)
    assert seen["hessian"] >= ENOUGH
    assert min(seen["jacobian"], seen["per_sample_gradients"]) >= ENOUGH / 5


TOGETHER = (
    ("hessian_vector_product", "gauss_newton_vector_product"),
    ("hessian", "hessian_diagonal"),
    ("jacobian", "jacobian_vector_product", "vector_jacobian_product"),
    ("loss_and_input_gradients", "per_sample_gradients"),
)


@pytest.mark.parametrize("functions", TOGETHER, ids=lambda functions: functions[0])
def test_random_specs_compiled(functions: tuple[str, ...], tmp_path: Path) -> None:
    """The same of modules that numba compiles: of the first two specs of a part that can have these functions."""
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        if len(spec.text) <= LONGEST and seen["specs"] < 2 and set(functions) <= set(ask_for_all(spec.model())):
            seen["specs"] += 1
            path = tmp_path / f"spec{seen['specs']}_kernels.py"
            point = random_point(spec, lambda text: path.write_text(text, encoding="utf-8") and load(path))
            point.functions = functions
            point.check()

    for_each_spec(check, 40, start=320 + TOGETHER.index(functions), lets=1)
    assert seen["specs"] == 2


# ---- Gauss and Newton


def logits(model: Model, hidden: bool) -> Any:
    """Scores of three classes, linear in the parameters or behind a hidden layer."""
    N = model.batch("N")
    x = model.input("x", N, 2)
    if hidden:
        x = layers.dense(x, 3, sp.tanh, name="h", init="normal")
    return layers.dense(x, 3, name="z", init="normal")


def softmax_loss(model: Model, z: Any) -> sp.Expr:
    return losses.softmax_cross_entropy(z, model.labels("y", z.shape[0], classes=3))


def textbook_softmax(model: Model, z: Any) -> sp.Expr:
    n, c = model.indices(n=z.shape[0], c=3)
    y = model.labels("y", z.shape[0], classes=3)
    p = model.let("p", (n, c), exp(z[n, c]) / Sum(exp(z[n, c]), c))
    return Sum(-log(p[n, y[n]]), n) / z.shape[0]


def logistic_loss(model: Model, z: Any) -> sp.Expr:
    return losses.sigmoid_cross_entropy(z, model.input("target", *z.shape))


def textbook_logistic(model: Model, z: Any) -> sp.Expr:
    n, c = model.indices(n=z.shape[0], c=3)
    t = model.input("target", *z.shape)
    p = model.let("p", (n, c), 1 / (1 + exp(-z[n, c])))
    return -Sum(t[n, c] * log(p[n, c]) + (1 - t[n, c]) * log(1 - p[n, c]), n, c) / (3 * z.shape[0])


def softmax_curvature(z: np.ndarray) -> np.ndarray:
    """∂²/∂z² of the mean cross-entropy: diag(p) - p·pᵀ for each row, over the number of rows."""
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    count = len(z)
    blocks = np.zeros((*z.shape, *z.shape))
    for n, row in enumerate(p):
        blocks[n, :, n, :] = (np.diag(row) - np.outer(row, row)) / count
    return blocks.reshape(z.size, z.size)


def logistic_curvature(z: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-z))
    return np.diag((p * (1 - p)).ravel()) / z.size


CURVATURES = {
    "softmax": (softmax_loss, softmax_curvature),
    "textbook softmax": (textbook_softmax, softmax_curvature),
    "logistic": (logistic_loss, logistic_curvature),
    "textbook logistic": (textbook_logistic, logistic_curvature),
}


@pytest.mark.parametrize("penalty", [0.0, 0.1])
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("case", CURVATURES.values(), ids=CURVATURES)
def test_gauss_newton_of_classifiers(case: Any, hidden: bool, penalty: float) -> None:
    """JᵀHJ with H by its formula and J by differences; a penalty adds its own Hessian; linear models have no other."""
    loss, curvature = case
    model = Model("classifier")
    z = logits(model, hidden)
    objective = loss(model, z)
    penalized = [model.declarations[f"{name}_W"].name for name in (["h"] if hidden else []) + ["z"]]
    for name in penalized if penalty else ():
        shape = [int(e.subs(model.fixed_sizes)) for e in model.declarations[name].shape]
        i, j = model.local_indices(*shape)
        objective += penalty * Sum(tensor(model, name)[i, j] ** 2, i, j)
    model.minimize(objective)
    model.predict(z)
    model.second_order("gauss_newton_vector_product", "hessian", "jacobian")
    values = random_values(declared_program(model), "float64", 4, 0)
    if "target" in values:
        values["target"] = np.abs(np.tanh(values["target"]))
    point = point_of(execute(module_text(model)), model, values)
    names = [p.name for p in point.declared.parameters]
    parts = jacobians(point.evaluation, point.values, "z", names)
    J = np.concatenate([parts[name].reshape(12, -1) for name in names], axis=1).astype(float)
    assert value_error(point.call("jacobian").reshape(12, -1), J) <= TOLERANCE
    expected = J.T @ curvature(point.module.predict(point.flat, values["x"])) @ J
    for p in point.module.PARAMETERS:
        if penalty and p.name in penalized:
            own = range(p.offset, p.offset + int(np.prod(p.shape)))
            expected[own, own] += 2 * penalty
    products = [point.call("gauss_newton_vector_product", unit) for unit in np.eye(point.flat.size)]
    found = np.stack(products, axis=1)
    assert np.max(np.abs(found - expected)) <= 1e-12 * np.max(np.abs(expected))
    assert np.linalg.eigvalsh((found + found.T) / 2).min() >= -1e-14
    difference = np.max(np.abs(found - point.call("hessian")))
    assert difference >= 1e-3 if hidden else difference <= 1e-14


def tensor(model: Model, name: str) -> Any:
    """A declared parameter as expressions read it."""
    from derivgen.declare.model import TensorSymbol

    declared = model.declarations[name]
    made = TensorSymbol(sp.Symbol(name, real=True), shape=declared.shape, real=True)
    made.model = model
    return made


# ---- single rows


def sequence(model: Model) -> Any:
    N = model.batch("N")
    return model.input("x", N, 3, 2)


def scored(a: Any) -> sp.Expr:
    """A mean over rows of something that differs along all other axes."""
    model, N = a.model, a.shape[0]
    indices = model.local_indices(*a.shape)
    weight = sum((k + 1) * i for k, i in enumerate(indices[1:]))
    return Sum((a[indices] - sp.Rational(1, 3)) ** 2 * sp.cos(1 + weight), *indices) / N


def mean_loss(model: Model) -> sp.Expr:
    return softmax_loss(model, logits(model, hidden=True))


def sum_loss(model: Model) -> sp.Expr:
    z = logits(model, hidden=True)
    return losses.mean_squared_error(z, model.input("target", *z.shape), reduction="sum")


def penalized_loss(model: Model) -> sp.Expr:
    loss = mean_loss(model)
    return loss + losses.l2_penalty(tensor(model, "z_W"), 0.1) + losses.l1_penalty(tensor(model, "h_W"), 0.1)


def product_of_means(model: Model) -> sp.Expr:
    """Not a mean over rows: yet a row alone has a value."""
    N = model.batch("N")
    n = model.indices(n=N)
    x, w, b = model.input("x", N), model.parameter("w"), model.parameter("b")
    a = model.let("a", (n,), tanh(w * x[n] + b))
    return Sum(a[n], n) / N * exp(Sum(a[n] ** 2, n)) * N + b**2


def embedded(model: Model) -> sp.Expr:
    N = model.batch("N")
    e = layers.embedding(model.labels("ids", N, 3, classes=4), 2, name="e", init="normal")
    return scored(layers.dense(e, 2, sp.tanh, name="d", init="normal"))


def ignored(model: Model) -> sp.Expr:
    z = logits(model, hidden=False)
    return losses.softmax_cross_entropy(z, model.labels("y", z.shape[0], classes=3, ignore=-1), reduction="sum")


def recurrent(model: Model) -> sp.Expr:
    return scored(layers.lstm(sequence(model), 2, name="r"))


def attentive(model: Model) -> sp.Expr:
    return scored(layers.multi_head_attention(sequence(model), 2, name="a", causal=True))


def convolved(model: Model) -> sp.Expr:
    N = model.batch("N")
    a = layers.conv2d(model.input("x", N, 1, 4, 4), 2, 3, sp.tanh, name="c", padding=1)
    return scored(layers.max_pool2d(a, 2, name="p"))


def normalized(model: Model) -> sp.Expr:
    return scored(layers.layer_norm(layers.dense(sequence(model), 3, name="d", init="normal"), name="y"))


def batch_normalized(model: Model) -> sp.Expr:
    """A batch of one sequence, whose mean and variance are over its steps; running tensors end the flat vector."""
    return scored(layers.batch_norm(layers.dense(sequence(model), 3, name="d", init="normal"), name="y"))


def dropped(model: Model) -> sp.Expr:
    return scored(layers.dropout(layers.dense(sequence(model), 3, name="d", init="normal"), 0.5, name="y"))


ROWS = (
    *(mean_loss, sum_loss, penalized_loss, product_of_means, embedded, ignored, recurrent, attentive, convolved),
    *(normalized, batch_normalized, dropped),
)


def model_of(declare: Callable[[Model], sp.Expr]) -> Model:
    model = Model(declare.__name__)
    model.minimize(declare(model))
    return model


@pytest.mark.parametrize("declare", ROWS, ids=lambda declare: declare.__name__)
def test_per_sample_gradients(declare: Callable[[Model], sp.Expr]) -> None:
    model = model_of(declare)
    model.second_order("per_sample_gradients")
    values = random_values(declared_program(model), "float64", 3, 0)
    if declare is ignored:
        values["y"][1] = -1
    point_of(execute(module_text(model)), model, values).check()


def test_the_mean_of_the_rows_is_the_gradient_of_a_mean() -> None:
    model = model_of(penalized_loss)
    model.second_order("per_sample_gradients")
    values = random_values(declared_program(model), "float64", 5, 0)
    point = point_of(execute(module_text(model)), model, values)
    _, gradient = point.call("loss_and_gradient")
    error = np.abs(point.call("per_sample_gradients").mean(0) - gradient)
    assert error.max() <= 1e-14 * np.abs(gradient).max()


ROWS_BY_NUMBER = {
    "another row": lambda x, w, n, N: Sum(Piecewise((x[n - 1, 0], n > 0), (0, True)) * w, n),
    "the first row": lambda x, w, n, N: Sum(x[n, 0] * x[0, 1] * w, n),
    "from the end": lambda x, w, n, N: Sum(x[N - 1 - n, 0] * x[n, 1] * w, n),
    "a factor": lambda x, w, n, N: Sum(x[n, 0] * n * w, n),
    "a condition": lambda x, w, n, N: Sum(Piecewise((x[n, 0] * w, n > 0), (0, True)), n),
    "another axis": lambda x, w, n, N: Sum(Piecewise((x[n, 1 - n] * w, n < 2), (0, True)), n),
}


@pytest.mark.parametrize("objective", ROWS_BY_NUMBER.values(), ids=ROWS_BY_NUMBER)
def test_rows_by_number_have_no_gradients_of_their_own(objective: Callable[..., sp.Expr]) -> None:
    model = Model("m")
    N = model.batch("N")
    model.minimize(objective(model.input("x", N, 2), model.parameter("w"), model.indices(n=N), N))
    model.second_order("per_sample_gradients")
    with pytest.raises(DerivgenError, match=r"per_sample_gradients: .* leave per_sample_gradients out of"):
        module_text(model)


def test_a_model_without_rows_has_no_gradients_of_rows() -> None:
    model = Model("m")
    model.minimize(model.parameter("w") ** 2)
    model.second_order("per_sample_gradients")
    with pytest.raises(DerivgenError, match="per_sample_gradients: the model has no sample axis"):
        module_text(model)


def test_an_objective_without_rows_has_equal_ones() -> None:
    model = Model("m")
    N = model.batch("N")
    model.input("x", N)
    model.minimize(model.parameter("w") ** 2)
    model.second_order("per_sample_gradients")
    found = execute(module_text(model)).per_sample_gradients(np.array([3.0]), np.zeros(4))
    assert found.tolist() == [[6.0]] * 4


# ---- kinks

KINKED = {
    "relu": (lambda z: Max(z, 0), [-1.0, 0.0, 2.0]),
    "a tie with a constant": (lambda z: Max(z, 0.5), [-1.0, 0.5, 2.0]),
    "minimum": (lambda z: Min(z, 1), [-1.0, 1.0, 2.0]),
    "clipping": (lambda z: Min(Max(z, -1), 1), [-1.0, 0.3, 1.0]),
    "absolute value": (lambda z: Abs(z), [-1.0, 0.0, 2.0]),
    "leaky": (lambda z: Piecewise((z, z > 0), (z / 10, True)), [-1.0, 0.0, 2.0]),
    "hinge": (lambda z: Max(0, 1 - z), [-1.0, 1.0, 2.0]),
    "sign": (lambda z: sp.sign(z), [-1.0, 0.0, 2.0]),
    "floor": (lambda z: sp.floor(z) + sp.ceiling(z), [-1.0, 0.0, 0.5]),
    "remainder": (lambda z: sp.Mod(z, 1), [-1.0, 0.0, 0.5]),
    "the same twice": (lambda z: Max(z, 3 * z), [-1.0, 0.0, 2.0]),
}
SECOND = ("hessian_vector_product", "hessian", "hessian_diagonal", "gauss_newton_vector_product")


def kinked(function: Callable[[Any], sp.Expr], at: list[float], through: Callable[..., sp.Expr]) -> Any:
    """(the Hessian, its diagonal, its product with ones) of Σ through(f(θ_k)) at these θ."""
    model = Model("kink")
    k = model.indices(k=3)
    w = model.parameter("w", 3)
    a = model.let("a", (k,), function(w[k]))
    model.minimize(Sum(through(a[k], w[k]), k))
    model.second_order(*SECOND[:3])
    module, flat = execute(module_text(model)), np.array(at)
    return module.hessian(flat), module.hessian_diagonal(flat), module.hessian_vector_product(flat, np.ones(3))


@pytest.mark.parametrize(("function", "at"), KINKED.values(), ids=KINKED)
def test_second_derivatives_at_kinks_are_0(function: Callable[[Any], sp.Expr], at: list[float]) -> None:
    matrix, diagonal, product = kinked(function, at, lambda a, w: a)
    assert matrix.tolist() == np.zeros((3, 3)).tolist()
    assert diagonal.tolist() == product.tolist() == [0.0, 0.0, 0.0]


SLOPES = {
    "relu": [0.0, 0.0, 1.0],
    "a tie with a constant": [0.0, 0.0, 1.0],
    "minimum": [1.0, 0.0, 0.0],
    "clipping": [0.0, 1.0, 0.0],
    "absolute value": [-1.0, 0.0, 1.0],
    "leaky": [0.1, 0.1, 1.0],
    "hinge": [-1.0, 0.0, 0.0],
    "sign": [0.0, 0.0, 0.0],
    "floor": [0.0, 0.0, 0.0],
    "remainder": [0.0, 0.0, 1.0],
    "the same twice": [1.0, 2.0, 3.0],
}


@pytest.mark.parametrize("name", KINKED)
def test_slopes_at_kinks_in_second_derivatives(name: str) -> None:
    """∂²f²/∂θ² = 2·f'², and ∂²(f·sin θ)/∂θ² = 2·f'·cos θ - f·sin θ, with f' by the convention."""
    function, at = KINKED[name]
    slope, w = np.array(SLOPES[name]), np.array(at)
    for through, expected in (
        (lambda a, w: a**2, 2 * slope**2),
        (lambda a, w: a * sp.sin(w), 2 * slope * np.cos(w) - value_at(function, w) * np.sin(w)),
    ):
        matrix, diagonal, product = kinked(function, at, through)
        assert np.allclose(matrix, np.diag(expected), rtol=1e-14, atol=1e-15)
        assert np.allclose(diagonal, expected, rtol=1e-14, atol=1e-15)
        assert np.allclose(product, expected, rtol=1e-14, atol=1e-15)


def value_at(function: Callable[[Any], sp.Expr], w: np.ndarray) -> np.ndarray:
    return np.array([float(function(sp.Float(value))) for value in w])


def test_second_derivatives_at_ties_of_a_maximum() -> None:
    """All goes to the first of equal ones, in first and in second derivatives."""
    model = Model("tie")
    k = model.indices(k=3)
    w = model.parameter("w", 3)
    largest = model.let("largest", (), MaxOver(w[k], k))
    model.minimize(largest**2 + largest)
    model.second_order(*SECOND)
    module, flat = execute(module_text(model)), np.array([1.0, 2.0, 2.0])
    expected = np.diag([0.0, 2.0, 0.0])
    assert module.hessian(flat).tolist() == expected.tolist()
    assert module.hessian_diagonal(flat).tolist() == [0.0, 2.0, 0.0]
    for v in np.eye(3):
        assert module.hessian_vector_product(flat, v).tolist() == (expected @ v).tolist()
        assert module.gauss_newton_vector_product(flat, v).tolist() == (expected @ v).tolist()


def test_second_derivatives_at_a_tie_of_two() -> None:
    """Those that tie share equally: f' = ½ for each, and (f²)'' = 2·f'·f'ᵀ."""
    model = Model("tie")
    a, b = model.parameter("a"), model.parameter("b")
    f = model.let("f", (), Max(a, b))
    model.minimize(f**2)
    model.second_order("hessian")
    module = execute(module_text(model))
    assert module.hessian(np.array([1.0, 1.0])).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert module.hessian(np.array([1.0, 2.0])).tolist() == [[0.0, 0.0], [0.0, 2.0]]


@pytest.mark.parametrize("norm", [lambda s: sqrt(s), lambda s: sqrt(s) ** 4, lambda s: exp(-sqrt(s))])
def test_the_norm_at_0_has_finite_second_derivatives(norm: Callable[[Any], sp.Expr]) -> None:
    model = Model("norm")
    k = model.indices(k=3)
    w = model.parameter("w", 3)
    model.minimize(norm(Sum(w[k] ** 2, k)))
    model.second_order(*SECOND)
    module = execute(module_text(model))
    assert module.hessian(np.zeros(3)).tolist() == np.zeros((3, 3)).tolist()
    assert module.hessian_diagonal(np.zeros(3)).tolist() == [0.0] * 3
    assert module.hessian_vector_product(np.zeros(3), np.ones(3)).tolist() == [0.0] * 3
    assert np.isfinite(module.gauss_newton_vector_product(np.zeros(3), np.ones(3))).all()


def test_a_maximum_of_inputs_alone() -> None:
    """Only the gradients by inputs need where it was: integers, for which the memory of all functions has a place."""
    model = Model("largest")
    N = model.batch("N")
    n, k = model.indices(n=N, k=2)
    x, w = model.input("x", N, 2), model.parameter("w")
    model.minimize(MaxOver(Sum(x[n, k], n), k) + w**2)
    model.second_order("loss_and_input_gradients", "hessian_vector_product")
    point_of(execute(module_text(model)), model, random_values(declared_program(model), "float64", 3, 0)).check()


# ---- errors


def quadratic() -> Model:
    model = Model("quadratic")
    N = model.batch("N")
    n, d = model.indices(n=N, d=2)
    x, w = model.input("x", N, 2), model.parameter("w", 2)
    p = model.let("p", (n,), Sum(x[n, d] * w[d], d))
    model.minimize(Sum(p[n] ** 2, n) / N)
    model.predict(p)
    return model


def refusal(model: Model) -> str:
    with pytest.raises(SpecError) as refused:
        module_text(model)
    assert re.search(r"test_second_order\.py:\d+: ", str(refused.value))
    return str(refused.value)


def test_unknown_functions_name_the_nearest() -> None:
    model = quadratic()
    model.second_order("hessian_vector_products", "jacobain")
    message = refusal(model)
    assert "'hessian_vector_products'" in message and "hessian_vector_product" in message
    assert re.search(r"'jacobain'.*did you mean jacobian", message)


@pytest.mark.parametrize("function", ["jacobian", "jacobian_vector_product", "vector_jacobian_product"])
def test_functions_of_the_prediction_need_one(function: str) -> None:
    model = Model("m")
    model.minimize(model.parameter("w") ** 2)
    model.second_order(function)
    message = refusal(model)
    assert function in message and "model.predict" in message


def test_residuals_need_least_squares() -> None:
    model = quadratic()
    model.second_order("residuals")
    assert "least_squares" in refusal(model)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("hessian_vector_product", "v"),
        ("gauss_newton_vector_product", "v"),
        ("jacobian_vector_product", "v"),
        ("vector_jacobian_product", "u"),
        ("hessian", "hessian"),
    ],
)
def test_inputs_cannot_have_the_names_of_arguments(function: str, name: str) -> None:
    model = Model("m")
    N = model.batch("N")
    n = model.indices(n=N)
    v, w = model.input(name, N), model.parameter("w")
    p = model.let("p", (n,), v[n] * w)
    model.minimize(Sum(p[n], n))
    model.predict(p)
    model.second_order(function)
    message = refusal(model)
    assert name in message and "rename the input" in message


NAMES = ("v", "u", "product", "hessian", "gradients", "jacobian", "work", "dot", "weighted", "theta", "bar")


@pytest.mark.parametrize("first", range(0, len(NAMES), 3))
def test_other_tensors_can_have_any_name(first: int) -> None:
    """Parameters, lets and indices of names that the functions use."""
    w_name, p_name, d_name = (NAMES[(first + k) % len(NAMES)] for k in range(3))
    model = Model("m")
    N = model.batch("N")
    n, d = model.indices(n=N), model.indices(**{d_name: 2})
    x, w = model.input("x", N, 2), model.parameter(w_name, 2)
    p = model.let(p_name, (n,), tanh(Sum(x[n, d] * w[d], d)))
    model.minimize(Sum(p[n] ** 2, n) / N)
    model.predict(p)
    ask_for_all(model)
    point_of(execute(module_text(model)), model, random_values(declared_program(model), "float64", 3, 0)).check()


@pytest.mark.parametrize("name", ["product", "gradients", "dot", "weighted", "bar_2"])
def test_inputs_can_have_other_names(name: str) -> None:
    model = Model("m")
    N = model.batch("N")
    n, d = model.indices(n=N, d=2)
    x, w = model.input(name, N, 2), model.parameter("w", 2)
    model.minimize(Sum(tanh(Sum(x[n, d] * w[d], d)) ** 2, n) / N)
    model.second_order("hessian_vector_product", "hessian")
    point_of(execute(module_text(model)), model, random_values(declared_program(model), "float64", 3, 0)).check()


WRONG = {
    "shape of v": ("hessian_vector_product", lambda v, u: np.ones(3), ValueError, "v"),
    "axes of v": ("gauss_newton_vector_product", lambda v, u: np.ones((1, 2)), ValueError, "v"),
    "dtype of v": ("jacobian_vector_product", lambda v, u: np.ones(2, np.float32), TypeError, "v"),
    "list for v": ("hessian_vector_product", lambda v, u: [1.0, 2.0], TypeError, "v"),
    "integers for v": ("hessian_vector_product", lambda v, u: np.ones(2, int), TypeError, "v"),
    "strides of v": ("hessian_vector_product", lambda v, u: np.ones(4)[::2], ValueError, "v"),
    "shape of u": ("vector_jacobian_product", lambda v, u: np.ones(4), ValueError, "u"),
    "axes of u": ("vector_jacobian_product", lambda v, u: np.ones((3, 1)), ValueError, "u"),
    "dtype of u": ("vector_jacobian_product", lambda v, u: np.ones(3, np.float32), TypeError, "u"),
    "list for u": ("vector_jacobian_product", lambda v, u: [1.0, 2.0, 3.0], TypeError, "u"),
}


@pytest.mark.parametrize(("function", "given", "error", "name"), WRONG.values(), ids=WRONG)
def test_wrong_vectors_are_refused(function: str, given: Callable[..., Any], error: type[Exception], name: str) -> None:
    model = quadratic()
    ask_for_all(model)
    module = execute(module_text(model), numpy=np)
    x = np.ones((3, 2))
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b") as refused:
        getattr(module, function)(np.ones(2), given(np.ones(2), np.ones(3)), x)
    assert isinstance(refused.value, error)


@pytest.mark.parametrize("function", ["hessian", "jacobian", "per_sample_gradients", "loss_and_input_gradients"])
def test_wrong_inputs_are_refused(function: str) -> None:
    model = quadratic()
    ask_for_all(model)
    f = getattr(execute(module_text(model), numpy=np), function)
    with pytest.raises(ValueError, match=r"^x: expected 2 along axis 1"):
        f(np.ones(2), np.ones((3, 3)))
    with pytest.raises(TypeError, match="x"):
        f(np.ones(2), np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="x"):
        f(np.ones(2), np.ones((0, 2)))
    with pytest.raises(ValueError, match="parameters"):
        f(np.ones(3), np.ones((3, 2)))
    with pytest.raises(TypeError):
        f(np.ones(2))


def test_least_squares_takes_lets() -> None:
    for wrong in (lambda w: w, lambda w: w[0] ** 2, lambda w: 3, lambda w: "r"):
        model = Model("m")
        w = model.parameter("w", 2)
        model.least_squares(wrong(w))
        said = refusal(model)
        assert "least_squares expects tensors defined by model.let" in said and "no objective" not in said


def test_least_squares_of_nothing() -> None:
    model = Model("m")
    model.parameter("w", 2)
    model.least_squares()
    assert "found none" in refusal(model)


@pytest.mark.parametrize("first", ["minimize", "least_squares"])
def test_a_model_has_one_objective(first: str) -> None:
    model = Model("m")
    i = model.indices(i=2)
    w = model.parameter("w", 2)
    r = model.let("r", (i,), w[i] - 1)
    calls = {"minimize": lambda: model.minimize(w[0] ** 2), "least_squares": lambda: model.least_squares(r)}
    for name in sorted(calls, key=lambda name: name != first):
        calls[name]()
    assert "one objective" in refusal(model)


def test_a_second_call_of_least_squares_is_refused() -> None:
    model = Model("m")
    i = model.indices(i=2)
    w = model.parameter("w", 2)
    r = model.let("r", (i,), w[i] - 1)
    model.least_squares(r)
    model.least_squares(r)
    assert "one objective" in refusal(model)


def test_a_residual_stands_once() -> None:
    model = Model("twice")
    k = model.indices(k=3)
    w = model.parameter("w", 3)
    r = model.let("r", k, w[k])
    model.least_squares(r, r)
    assert "least_squares has r twice" in refusal(model)


def test_a_penalty_is_no_part_of_the_products_with_a_prediction() -> None:
    """The kernels that the gradient has add the penalty's part to it: the prediction's product has others."""
    model = Model("penalized")
    N = model.batch("N")
    n, d, h = model.indices(n=N, d=2, h=3)
    x, y = model.input("x", N, 2), model.input("y", N)
    W, v = model.parameter("W", 2, 3), model.parameter("v", 3)
    a = model.let("a", (n, h), sp.tanh(Sum(x[n, d] * W[d, h], d)))
    f = model.let("f", n, Sum(a[n, h] * v[h], h))
    model.minimize(Sum((f[n] - y[n]) ** 2, n) / N + Sum(W[d, h] ** 2, d, h) + Sum(v[h] ** 2, h))
    model.predict(f)
    model.second_order("vector_jacobian_product", "jacobian", "jacobian_vector_product", "gauss_newton_vector_product")
    module = execute(module_text(model))
    theta, data = np.linspace(-1, 1, 9), np.linspace(-2, 1, 8).reshape(4, 2)
    assert np.array_equal(module.vector_jacobian_product(theta, np.zeros(4), data), np.zeros(9))
    point_of(module, model, random_values(declared_program(model), "float64", 3, 0)).check()
