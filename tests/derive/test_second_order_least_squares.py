"""Residuals and their Jacobians, dense and sparse, against differences at 50 digits; the pattern of what is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text, value_error
from scipy.sparse import issparse
from second_order_oracle import CONSISTENT, TOLERANCE, Point, jacobians, point_of
from sympy import Piecewise, Sum, cos, exp, sin, sqrt, tanh

from derivgen import MaxOver, stop_gradient
from derivgen.declare.model import Model
from derivgen.derive import second_order
from derivgen.oracle.interpreter import run
from derivgen.pipeline import cost_of, declared_program
from derivgen.project.gradcheck import random_values

Declare = Callable[[Model], Any]  # gives the residuals


def curve(model: Model) -> Any:
    """Three scalars, all in each residual."""
    N = model.batch("N")
    t, y = model.input("t", N), model.input("y", N)
    a, b, c = (model.parameter(name) for name in "abc")
    n = model.indices(n=N)
    return model.let("r", (n,), a * exp(-b * t[n]) + c - y[n])


def network(model: Model) -> Any:
    """Through weights, all of them in each residual."""
    N = model.batch("N")
    D, H = model.sizes(D=2, H=3)
    n, d, h = model.indices(n=N, d=D, h=H)
    x, y = model.input("x", N, D), model.input("y", N)
    W, v = model.parameter("W", D, H), model.parameter("v", H)
    a = model.let("a", (n, h), tanh(Sum(x[n, d] * W[d, h], d)))
    return model.let("r", (n,), Sum(a[n, h] * v[h], h) - y[n])


def bundle(model: Model) -> Any:
    """Two labels into two tensors: cameras and points."""
    N = model.batch("N")
    n, k = model.indices(n=N, k=2)
    camera, point = model.labels("camera", N, classes=3), model.labels("point", N, classes=4)
    C, P, y = model.parameter("C", 3, 2), model.parameter("P", 4, 2), model.input("y", N, 2)
    return model.let("r", (n, k), sin(C[camera[n], k]) * P[point[n], k] + P[point[n], 1 - k] - y[n, k])


def pairs(model: Model) -> Any:
    """Two labels into one tensor, which may be equal."""
    N = model.batch("N")
    n, k = model.indices(n=N, k=2)
    i, j = model.labels("i", N, classes=4), model.labels("j", N, classes=4)
    p = model.parameter("p", 4, 2)
    return model.let("r", (n, k), p[i[n], k] * (1 + p[j[n], k] ** 2))


def distances(model: Model) -> Any:
    """A sum over an axis between the two."""
    N = model.batch("N")
    n, k = model.indices(n=N, k=2)
    i, j, d = model.labels("i", N, classes=4), model.labels("j", N, classes=4), model.input("d", N)
    p = model.parameter("p", 4, 2)
    return model.let("r", (n,), Sum((p[i[n], k] + 2 * p[j[n], k]) ** 2, k) - d[n])


def smooth(model: Model) -> Any:
    """A shift back, guarded at the start."""
    M = model.sizes(M=5)
    i = model.indices(i=M)
    u = model.parameter("u", M)
    return model.let("r", (i,), u[i] ** 2 - Piecewise((2 * u[i - 1], i > 0), (0, True)))


def curvature(model: Model) -> Any:
    """Both neighbours, guarded at both ends, and data."""
    M = model.sizes(M=8)
    i = model.indices(i=M)
    u, y = model.parameter("u", M), model.input("y", M)
    left = Piecewise((u[i - 1], i >= 1), (0, True))
    right = Piecewise((u[i + 1] ** 2, i + 1 < M), (0, True))
    return model.let("r", (i,), left - 2 * u[i] + right - y[i])


def inner(model: Model) -> Any:
    """Shifts without a guard: the residuals are fewer."""
    M = model.sizes(M=5)
    i = model.indices(i=M - 1)
    u = model.parameter("u", M)
    return model.let("r", (i,), sin(u[i + 1]) - u[i])


def own_rows(model: Model) -> Any:
    """A parameter of each row's own, beside those of all."""
    M, K = model.sizes(M=4, K=2)
    m, k = model.indices(m=M, k=K)
    s, b, y = model.parameter("s", M), model.parameter("b", K), model.input("y", M, K)
    return model.let("r", (m, k), s[m] * exp(b[k]) - y[m, k])


def several(model: Model) -> Any:
    """Residuals of different shapes, one without axes."""
    N = model.batch("N")
    n, d = model.indices(n=N, d=3)
    x, y, w = model.input("x", N, 3), model.input("y", N), model.parameter("w", 3)
    r = model.let("r", (n,), Sum(x[n, d] * w[d], d) - y[n])
    q = model.let("q", (d,), sqrt(0.1) * w[d])
    total = model.let("total", (), Sum(w[d], d) ** 2 - 1)
    return r, q, total


def several_sparse(model: Model) -> Any:
    """Sparse ones beside dense ones."""
    N = model.batch("N")
    n, c, k = model.indices(n=N, c=4, k=2)
    y, t, E, s = model.labels("l", N, classes=4), model.input("t", N), model.parameter("E", 4, 2), model.parameter("s")
    r = model.let("r", (n,), s * Sum(E[y[n], k] ** 2, k) - t[n])
    q = model.let("q", (c, k), E[c, k] * cos(E[c, 1 - k]))
    return r, q


def rotation(model: Model) -> Any:
    """A matrix, a let over a scalar."""
    N = model.batch("N")
    n, i, j = model.indices(n=N, i=2, j=2)
    x, y, theta, shift = (
        model.input("x", N, 2),
        model.input("y", N, 2),
        model.parameter("theta"),
        model.parameter("t", 2),
    )
    R = model.let(
        "R", (i, j), Piecewise((cos(theta), sp.Eq(i, j)), (Piecewise((sin(theta), i > j), (-sin(theta), True)), True))
    )
    return model.let("r", (n, i), Sum(R[i, j] * x[n, j], j) + shift[i] - y[n, i])


def rotations(model: Model) -> Any:
    """Lets over parameters, read at a label."""
    N = model.batch("N")
    n, c = model.indices(n=N, c=3)
    camera, x, y = model.labels("camera", N, classes=3), model.input("x", N, 2), model.input("y", N)
    angle, scale = model.parameter("angle", 3), model.parameter("scale", 3)
    C = model.let("C", (c,), cos(angle[c]) * exp(scale[c]))
    S = model.let("S", (c,), sin(angle[c]))
    return model.let("r", (n,), C[camera[n]] * x[n, 0] + S[camera[n]] * x[n, 1] - y[n])


def normalized(model: Model) -> Any:
    """A let over parameters that mixes them: all classes behind each label."""
    N = model.batch("N")
    n, c, e = model.indices(n=N, c=3, e=3)
    label, y, w = model.labels("label", N, classes=3), model.input("y", N), model.parameter("w", 3)
    p = model.let("p", (c,), exp(w[c]) / Sum(exp(w[e]), e))
    return model.let("r", (n,), p[label[n]] - y[n])


def convolution(model: Model) -> Any:
    """Weights of all, and a window of the signal."""
    i, k = model.indices(i=4, k=3)
    u, w, y = model.parameter("u", 6), model.parameter("w", 3), model.input("y", 4)
    return model.let("r", (i,), Sum(w[k] * u[i + k], k) - y[i])


def deconvolution(model: Model) -> Any:
    """A known kernel: the window alone, with guards at both ends."""
    i, k = model.indices(i=5, k=3)
    u, y, g = model.parameter("u", 5), model.input("y", 5), model.constant("g", [0.2, 0.5, 0.3])
    read = Piecewise((g[k] * u[i + k - 1], sp.And(i + k - 1 >= 0, i + k - 1 < 5)), (0, True))
    return model.let("r", (i,), Sum(read, k) - y[i])


def strided(model: Model) -> Any:
    i = model.indices(i=3)
    u, y = model.parameter("u", 7), model.input("y", 3)
    return model.let("r", (i,), u[2 * i] * u[2 * i + 1] + u[0] - y[i])


def backwards(model: Model) -> Any:
    M = model.sizes(M=4)
    i = model.indices(i=M)
    u = model.parameter("u", M)
    return model.let("r", (i,), u[i] * u[M - 1 - i] ** 2)


def diagonal(model: Model) -> Any:
    i, j = model.indices(i=3, j=3)
    W = model.parameter("W", 3, 3)
    return model.let("r", (i, j), W[i, i] * W[j, j] + W[i, j] + W[j, i] ** 2)


def recurrence(model: Model) -> Any:
    """An exponential filter, whose state is the model."""
    T = model.sizes(T=4)
    t = model.indices(t=T)
    a, x, y = model.parameter("a"), model.parameter("x", T), model.input("y", T)
    h = model.recur("h", (t,), lambda h: a * h[t - 1] + tanh(x[t]), 0)
    return model.let("r", (t,), h[t] - y[t])


def maximum(model: Model) -> Any:
    N = model.batch("N")
    n, c = model.indices(n=N, c=3)
    x, W, y = model.input("x", N, 3), model.parameter("W", 3), model.labels("l", N, classes=3)
    return model.let("r", (n,), MaxOver(x[n, c] * W[c], c) - W[y[n]])


def chained(model: Model) -> Any:
    """A label through a table of integers."""
    N = model.batch("N")
    n = model.indices(n=N)
    label, table, y = model.labels("label", N, classes=4), model.constant("table", [2, 0, 1, 2]), model.input("y", N)
    g, e = model.parameter("g", 3), model.parameter("e", 4)
    return model.let("r", (n,), g[table[label[n]]] * e[label[n]] - y[n])


def ignored(model: Model) -> Any:
    """A label that may be none."""
    N = model.batch("N")
    n = model.indices(n=N)
    label, y = model.labels("label", N, classes=3, ignore=-1), model.input("y", N)
    e, b = model.parameter("e", 3), model.parameter("b")
    return model.let("r", (n,), e[label[n]] ** 2 + b - y[n])


def weighted(model: Model) -> Any:
    """Weights that are held."""
    N = model.batch("N")
    n = model.indices(n=N)
    x, y, w = model.input("x", N), model.input("y", N), model.parameter("w")
    f = model.let("f", (n,), tanh(w * x[n]))
    return model.let("r", (n,), stop_gradient(1 / (1 + (f[n] - y[n]) ** 2)) * (f[n] - y[n]))


def unread(model: Model) -> Any:
    """A parameter that no residual reads, and one that nothing but a part reads."""
    i = model.indices(i=3)
    u, _, b = model.parameter("u", 3), model.parameter("idle", 2), model.parameter("b", 2)
    return model.let("r", (i,), u[i] ** 2 + Piecewise((b[0], i > 1), (0, True)))


def joined(model: Model) -> Any:
    """Two indices on one axis."""
    m, k = model.indices(m=3, k=2)
    s, y = model.parameter("s", 3, 2), model.input("y", 6)
    return model.let("r", (m * 2 + k,), s[m, k] * s[m, 1 - k] - y[m * 2 + k])


# At least half of the Jacobian is 0 in SPARSE, less in DENSE.
DENSE = (curve, network, normalized, weighted, several, rotation)
SPARSE = (
    *(bundle, pairs, distances, smooth, curvature, inner, own_rows, several_sparse, rotations, backwards, chained),
    *(strided, diagonal),
)
EITHER = (convolution, deconvolution, unread, recurrence, maximum, joined, ignored)  # zeros may be stored


def fitted(declare: Declare, seed: int, rows: int = 4) -> Point:
    """The module of a least-squares model, at a random point."""
    model = Model(declare.__name__)
    residuals = declare(model)
    model.least_squares(*(residuals if isinstance(residuals, tuple) else (residuals,)))
    model.second_order("gauss_newton_vector_product", "hessian_vector_product", "hessian")
    values = random_values(declared_program(model), "float64", rows, seed)
    for t in declared_program(model).tensors:
        if t.ignore is not None:
            values[t.name][seed % rows] = t.ignore
    return point_of(execute(module_text(model)), model, values, seed)


def expected_residuals(point: Point) -> tuple[np.ndarray, np.ndarray]:
    """(the residuals, their Jacobian) at 50 digits."""
    declared = point.declared
    names = [p.name for p in declared.parameters]
    found = run(declared, point.values)
    rows = []
    for r in declared.residuals:
        parts = jacobians(declared, point.values, r, names)
        rows.append(np.concatenate([parts[name].reshape(found[r].size, -1) for name in names], axis=1))
    return np.concatenate([np.ravel(found[r]) for r in declared.residuals]), np.concatenate(rows)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("declare", [*DENSE, *SPARSE, *EITHER], ids=lambda declare: declare.__name__)
def test_residuals_and_their_jacobian(declare: Declare, seed: int) -> None:
    point = fitted(declare, seed)
    r, jacobian = point.call("residuals"), point.call("jacobian")
    expected, slopes = expected_residuals(point)
    assert r.shape == expected.shape and value_error(r, expected) <= TOLERANCE
    assert issparse(jacobian) or declare not in SPARSE
    assert not issparse(jacobian) or declare not in DENSE
    dense = jacobian.toarray() if issparse(jacobian) else jacobian
    assert dense.shape == slopes.shape and dense.dtype == np.float64
    assert value_error(dense, slopes) <= TOLERANCE
    if issparse(jacobian):
        check_pattern(jacobian, slopes, exactly=declare in SPARSE)
    loss, gradient = point.call("loss_and_gradient")
    assert abs(loss - r @ r / 2) <= CONSISTENT * loss
    assert np.all(np.abs(gradient - dense.T @ r) <= CONSISTENT * (np.abs(dense).T @ np.abs(r)))
    v = point.direction
    product = point.call("gauss_newton_vector_product", v)
    terms = np.abs(dense).T @ (np.abs(dense) @ np.abs(v))
    assert np.all(np.abs(product - dense.T @ (dense @ v)) <= CONSISTENT * terms)
    point.check_hessian_vector_product()
    point.check_hessian()


@pytest.mark.parametrize("declare", [*DENSE, *SPARSE, *EITHER], ids=lambda declare: declare.__name__)
def test_jacobians_by_elements(declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, by each element of a parameter, whichever way would be chosen."""
    monkeypatch.setattr(second_order, "is_sparse", lambda stable, outputs: False)
    monkeypatch.setattr(second_order, "cheaper", lambda backward, forward: forward)
    point = fitted(declare, 0)
    _, slopes = expected_residuals(point)
    jacobian = point.call("jacobian")
    assert jacobian.shape == slopes.shape and value_error(jacobian, slopes) <= TOLERANCE


@pytest.mark.parametrize("of_prediction", [False, True])
def test_the_jacobian_of_a_recurrence_is_linear_in_its_steps(of_prediction: bool) -> None:
    """Forward, since parameters are few and steps are many; weights with axes among them."""
    model = Model("oscillator", dtype="float64")
    T = model.batch("T")
    t, j, k = model.indices(t=T, j=2, k=2)
    y, A, start = model.input("y", T, 2), model.parameter("A", 2, 2), model.parameter("start", 2)
    h = model.recur("h", (t, j), lambda h: tanh(Sum(A[j, k] * h[t - 1, k], k)) + sin(start[j]), start[j])
    r = model.let("r", (t, j), h[t, j] - y[t, j])
    if of_prediction:
        model.minimize(Sum(r[t, j] ** 2, t, j))
        model.predict(h)
        model.second_order("jacobian")
    else:
        model.least_squares(r)
    declared = declared_program(model)
    row, memory = next(found for found in cost_of(model, "float64").functions if found[0].name == "jacobian")
    (steps,) = memory.free_symbols
    assert {sp.degree(row.cost.flops, steps), sp.degree(memory, steps)} == {1}
    values = random_values(declared, "float64", 7, 0)
    point = point_of(execute(module_text(model)), model, values, 0)
    output = str(declared.prediction) if of_prediction else "r"
    parts = jacobians(declared, values, output, ["A", "start"])
    slopes = np.concatenate([parts[name].reshape(14, -1) for name in ("A", "start")], axis=1)
    assert value_error(point.call("jacobian").reshape(14, 6), slopes) <= TOLERANCE


def check_pattern(jacobian: Any, slopes: np.ndarray, exactly: bool) -> None:
    """What is stored is what is not 0 at a point where nothing is 0 by chance, each once; or more than that."""
    jacobian.check_format(full_check=True)
    stored = np.zeros(jacobian.shape, int)
    for row in range(jacobian.shape[0]):
        np.add.at(stored[row], jacobian.indices[jacobian.indptr[row] : jacobian.indptr[row + 1]], 1)
    expected = (np.abs(slopes.astype(float)) > 1e-25).astype(int)
    if exactly:
        assert stored.tolist() == expected.tolist()
    assert np.all(stored >= expected) and stored.max() <= 1
    assert jacobian.has_canonical_format


def test_equal_labels_add_up() -> None:
    """∂(p[i] - p[j]) is 0 where i = j, and one entry where both products are of one element."""
    point = fitted(pairs, 0)
    point.values = {**point.values, "i": np.array([1, 1, 2, 0]), "j": np.array([1, 2, 2, 3])}
    jacobian = point.call("jacobian")
    _, slopes = expected_residuals(point)
    assert value_error(jacobian.toarray(), slopes) <= TOLERANCE
    assert np.diff(jacobian.indptr).tolist() == [1, 1, 2, 2, 1, 1, 2, 2]


def test_jacobian_of_residuals_beside_products_of_the_prediction() -> None:
    """`jacobian` is of the residuals there; the products are of what predict returns, from what that takes."""
    model = Model("both")
    N = model.batch("N")
    n = model.indices(n=N)
    t, y, a, b = model.input("t", N), model.input("y", N), model.parameter("a"), model.parameter("b")
    f = model.let("f", (n,), a * exp(-b * t[n]))
    model.predict(f)
    model.least_squares(model.let("r", (n,), f[n] - y[n]))
    model.second_order("jacobian_vector_product", "vector_jacobian_product")
    point = point_of(execute(module_text(model)), model, random_values(declared_program(model), "float64", 3, 0))
    jacobian, v, u = point.call("jacobian"), point.direction, np.array([0.3, -1.0, 0.7])
    assert jacobian.shape == (3, 2)
    assert np.allclose(point.module.jacobian_vector_product(point.flat, v, t=point.values["t"]), jacobian @ v, 1e-13)
    assert np.allclose(point.module.vector_jacobian_product(point.flat, u, t=point.values["t"]), u @ jacobian, 1e-13)


def test_float32_residuals() -> None:
    model = Model("single")
    model.least_squares(bundle(model))
    values = random_values(declared_program(model), "float32", 4, 0)
    module = execute(module_text(model, "float32"))
    flat = np.concatenate([values[p.name].ravel() for p in module.PARAMETERS])
    inputs = {t.name: values[t.name] for t in module.INPUTS}
    r, jacobian = module.residuals(flat, **inputs), module.jacobian(flat, **inputs)
    assert r.dtype == np.float32 and jacobian.dtype == np.float32
    point = fitted(bundle, 0)
    point.values = {name: values[name] for name in point.values}
    _, slopes = expected_residuals(point)
    assert np.max(np.abs(jacobian.toarray() - slopes.astype(float))) <= 1e-5
