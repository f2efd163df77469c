"""The interpreter and the oracle against hand-computed numbers, NumPy, SciPy and mpmath's own formulas."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
import sympy as sp

from derivgen.form import functions
from derivgen.form.check import check_program
from derivgen.form.expressions import TRUE, Read, index_symbol, size_symbol
from derivgen.form.functions import (
    digamma,
    erfc,
    expm1,
    log1p,
    log_total,
    logaddexp,
    loggamma,
    root,
    sigmoid,
    softplus,
    stop_gradient,
    trigamma,
    xlogy,
)
from derivgen.form.program import Program, Range, Role, Statement, Tensor
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run

N, T = size_symbol("N"), size_symbol("T")
n, i, k, t = (index_symbol(name) for name in "nikt")


def integers(*shape: Any) -> tuple[sp.Expr, ...]:
    return tuple(map(sp.sympify, shape))


def given(name: str, *shape: Any, role: Role = Role.INPUT, **properties: Any) -> Tensor:
    return Tensor(name, integers(*shape), role, **properties)


def computed(name: str, *shape: Any, integer: bool = False) -> Tensor:
    return Tensor(name, integers(*shape), Role.LET, integer=integer)


def over(**extents: Any) -> tuple[Range, ...]:
    return tuple(Range(index_symbol(name), sp.sympify(extent)) for name, extent in extents.items())


def program(*parts: Tensor | Statement, objective: str | None = None) -> Program:
    tensors = tuple(p for p in parts if isinstance(p, Tensor))
    statements = tuple(p for p in parts if isinstance(p, Statement))
    return check_program(Program("test", tensors, statements, (("N", N), ("T", T)), objective=objective))


U, V = Read("u", n), Read("v", n)


def evaluate(expression: Any, u: Any, v: Any = None, digits: int = 50) -> Any:
    """The expression of U and V at each element of the arrays."""
    elementwise = program(
        given("u", N), given("v", N), computed("out", N), Statement("out", (n,), "=", expression, over(n=N))
    )
    return run(elementwise, {"u": u, "v": np.zeros(len(u)) if v is None else v}, digits=digits)["out"]


def as_floats(values: Any) -> Any:
    return np.array([float(v) for v in values])


# -- functions

SPECIAL = np.array([-np.inf, -700.0, -2.0, -1.0, -0.5, -1e-20, 0.0, 1e-20, 0.5, 1.0, 2.0, 3.0, 30.0, np.inf, np.nan])

REFERENCES: dict[type, Any] = {
    sp.exp: np.exp,
    sp.log: np.log,
    sp.sin: np.sin,
    sp.cos: np.cos,
    sp.tan: np.tan,
    sp.asin: np.arcsin,
    sp.acos: np.arccos,
    sp.atan: np.arctan,
    sp.atan2: np.arctan2,
    sp.sinh: np.sinh,
    sp.cosh: np.cosh,
    sp.tanh: np.tanh,
    sp.asinh: np.arcsinh,
    sp.acosh: np.arccosh,
    sp.atanh: np.arctanh,
    sp.erf: scipy.special.erf,
    sp.erfc: scipy.special.erfc,
    erfc: scipy.special.erfc,
    sp.Abs: np.abs,
    sp.sign: np.sign,
    sp.floor: np.floor,
    sp.ceiling: np.ceil,
    sp.Mod: np.mod,
    sp.Max: np.maximum,
    sp.Min: np.minimum,
    stop_gradient: np.positive,
    sigmoid: scipy.special.expit,
    softplus: lambda u: np.logaddexp(0, u),
    log1p: np.log1p,
    expm1: np.expm1,
    xlogy: scipy.special.xlogy,
    logaddexp: np.logaddexp,
    loggamma: lambda u: np.where(np.isneginf(u), np.nan, scipy.special.gammaln(u)),
    digamma: scipy.special.digamma,
    trigamma: lambda u: np.where(np.isneginf(u), np.nan, scipy.special.polygamma(1, u)),
    log_total: np.log,
    root: np.sqrt,
}
BINARY = {sp.atan2, sp.Mod, sp.Max, sp.Min, xlogy, logaddexp}


def test_every_function_of_the_table_has_a_reference() -> None:
    assert set(functions.DERIVATIVES) == set(REFERENCES)


@pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)
def test_functions_follow_ieee_at_ordinary_and_special_points(function: Any) -> None:
    if function in BINARY:
        u, v = (a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
        found = evaluate(function(U, V, evaluate=False), u, v)
    else:
        u, v = SPECIAL, None
        found = evaluate(function(U, evaluate=False), u)
    with np.errstate(all="ignore"):
        want = REFERENCES[function](u) if v is None else REFERENCES[function](u, v)
    np.testing.assert_allclose(as_floats(found), want, rtol=4e-15, atol=1e-300)


def test_powers_follow_ieee() -> None:
    finite = SPECIAL[np.isfinite(SPECIAL)]
    u, v = (a.ravel() for a in np.meshgrid(np.array([*finite, np.inf, np.nan]), SPECIAL))
    with np.errstate(all="ignore"):
        want = np.power(u, v)
    overflows = np.isinf(want) & np.isfinite(v) & np.isfinite(u) & (u != 0)
    underflows = (want == 0) & (u != 0) & np.isfinite(v) & np.isfinite(u)
    inside = ~(overflows | underflows)
    assert inside.sum() > 150
    found = as_floats(evaluate(sp.Pow(U, V), u[inside], v[inside]))
    np.testing.assert_allclose(found, want[inside], rtol=4e-15)


@pytest.mark.parametrize(
    ("expression", "point", "want"),
    [
        (1 / U, 0.0, math.inf),
        (-1 / U, 0.0, -math.inf),
        (U / V, 0.0, math.nan),
        (U**-3, -2.0, -0.125),
        (U**3, -2.0, -8.0),
        (sp.Pow(U, 0, evaluate=False), 0.0, 1.0),
        (sp.Pow(U, 0, evaluate=False), math.nan, 1.0),
        (sp.sqrt(U), -1.0, math.nan),
        (sp.sqrt(U), 2.25, 1.5),
        (1 / sp.sqrt(U), 0.0, math.inf),
        (U * V, math.inf, math.nan),
        (U - U * (1 + V), math.inf, math.nan),
        (sp.Mod(U, 3), -5.5, 0.5),
        (sp.Mod(U, -3), 5.5, -0.5),
        (sp.Max(0, U, V), math.nan, math.nan),
        (sp.Min(0, U, V), math.nan, math.nan),
        (sp.exp(sp.exp(sp.exp(U))), 1e5, math.inf),
        (sp.sin(sp.exp(sp.exp(U))), 1e5, math.nan),
    ],
)
def test_special_values(expression: Any, point: float, want: float) -> None:
    found = float(evaluate(expression, np.array([point]))[0])
    assert found == want or (math.isnan(found) and math.isnan(want))


def test_an_index_as_exponent_is_an_integer_power() -> None:
    x, out = given("x", N), computed("out", N, 4)
    powers = program(x, out, Statement("out", (n, k), "=", Read("x", n) ** k, over(n=N, k=4)))
    found = run(powers, {"x": np.array([-3.0, 0.0])})["out"]
    assert found.tolist() == [[1, -3, 9, -27], [1, 0, 0, 0]]


PRECISE: list[tuple[Any, Any, str, int]] = [
    # The textbook formula, at digits enough for its own cancellation.
    (sigmoid(U), lambda mp, u: 1 / (1 + mp.exp(-u)), "-1000 -3.5 0 2.25 90", 1000),
    (softplus(U), lambda mp, u: mp.log(1 + mp.exp(u)), "-1000 -3.5 0 2.25 900", 1000),
    (log1p(U), lambda mp, u: mp.log(1 + u), "1e-40 -1e-40 0.3 1e30", 200),
    (expm1(U), lambda mp, u: mp.exp(u) - 1, "1e-40 -1e-40 0.3 -90", 200),
    (logaddexp(U, 0.75), lambda mp, u: mp.log(mp.exp(u) + mp.exp(mp.mpf("0.75"))), "-1000 0.75 3 1000", 1000),
    (xlogy(U, U), lambda mp, u: u * mp.log(u), "1e-40 0.3 1 90", 100),
    (sp.exp(U), lambda mp, u: mp.e**u, "1e4 -1e4 0.1", 100),
    (sp.erfc(U), lambda mp, u: 1 - mp.erf(u), "0.1 5 20", 1000),
    (sp.erf(U), lambda mp, u: mp.quad(lambda s: 2 * mp.exp(-s * s) / mp.sqrt(mp.pi), [0, u]), "0.1 1.5", 60),
    (sp.tanh(U), lambda mp, u: (mp.exp(2 * u) - 1) / (mp.exp(2 * u) + 1), "-1e-20 0.7 20", 200),
    (sp.atan2(U, 2), lambda mp, u: 2 * mp.atan(u / (mp.sqrt(4 + u * u) + 2)), "-3 0.1 7", 100),
    (U ** sp.Rational(7, 3), lambda mp, u: mp.exp(mp.mpf(7) / 3 * mp.log(u)), "0.1 5 1e9", 100),
    (U / 3 + sp.pi - sp.E, lambda mp, u: u / 3 + mp.pi - mp.exp(1), "0.1 5", 100),
]


@pytest.mark.parametrize(("expression", "formula", "points", "digits"), PRECISE, ids=[str(row[0]) for row in PRECISE])
def test_nothing_is_lost_at_the_working_precision(expression: Any, formula: Any, points: str, digits: int) -> None:
    u = np.array([float(p) for p in points.split()])
    reference = mpmath.MPContext()
    reference.dps = digits
    for found, point in zip(evaluate(expression, u), u, strict=True):
        want = formula(reference, reference.mpf(float(point)))
        assert abs(found - want) <= abs(want) * reference.mpf("1e-47")


def test_floats_are_the_doubles_that_they_print_as() -> None:
    (found,) = evaluate(U + sp.Float(0.1), np.array([0.0]))
    assert found == mpmath.mpf(0.1)
    (third,) = evaluate(U + sp.Rational(1, 3), np.array([0.0]))
    assert abs(third * 3 - 1) < 1e-49


def test_precision_is_chosen_by_the_call_and_global_state_is_left_alone() -> None:
    before = mpmath.mp.dps
    (found,) = evaluate(sp.sqrt(U), np.array([2.0]), digits=200)
    assert mpmath.mp.dps == before
    exact = int(sp.sqrt(2 * sp.Integer(10) ** 380))
    assert abs(int(found * 10**190) - exact) <= 1


# -- statements


def test_a_sum_and_a_bias_accumulate_from_two_statements() -> None:
    x, w, b = given("x", N, 3), given("w", 3, 2, role=Role.PARAMETER), given("b", 2, role=Role.PARAMETER)
    product = Statement("z", (n, k), "+=", Read("x", n, i) * Read("w", i, k), over(n=N, k=2, i=3))
    bias = Statement("z", (n, k), "+=", Read("b", k), over(n=N, k=2))
    values = {"x": np.arange(6.0).reshape(2, 3), "w": np.arange(6).reshape(3, 2) - 2, "b": np.array([0.5, -1])}
    found = run(program(x, w, b, computed("z", N, 2), product, bias), values)["z"]
    np.testing.assert_array_equal(found.astype(float), values["x"] @ values["w"] + values["b"])


def test_labels_select_and_scatter() -> None:
    p, y = given("p", N, 3), given("y", N, role=Role.LABELS, integer=True, classes=3)
    picked = Statement("picked", (), "+=", Read("p", n, Read("y", n)), over(n=N))
    counts = Statement("counts", (Read("y", n),), "+=", sp.Integer(1), over(n=N))
    both = program(p, y, computed("picked"), computed("counts", 3), picked, counts)
    values = {"p": np.arange(12.0).reshape(4, 3), "y": np.array([2, 0, 2, 2], dtype=np.uint8)}
    found = run(both, values)
    assert found["picked"][()] == values["p"][np.arange(4), values["y"]].sum()
    assert found["counts"].tolist() == [1, 0, 3]
    assert found["y"].tolist() == [2, 0, 2, 2]
    with pytest.raises(IndexError, match="picked: subscript 3 "):
        run(both, {**values, "y": np.array([2, 0, 3, 2])})


def test_a_false_guard_skips_its_element_without_reading() -> None:
    x, out = given("x", N), computed("out", N)
    shifted = Statement("out", (n,), "+=", Read("x", n - 1), over(n=N), guard=sp.Ge(n, 1))
    values = {"x": np.array([5.0, 7.0, 9.0])}
    assert run(program(x, out, shifted), values)["out"].tolist() == [0, 5, 7]
    with pytest.raises(IndexError, match=r"x\[n - 1\]"):
        run(program(x, out, Statement("out", (n,), "+=", Read("x", n - 1), over(n=N))), values)


def test_an_assignment_under_a_guard_leaves_the_rest_undefined() -> None:
    half = Statement("out", (n,), "=", Read("x", n), over(n=N), guard=sp.Gt(Read("x", n), 0))
    found = run(program(given("x", N), computed("out", N), half), {"x": np.array([1.0, -1.0])})["out"]
    assert found[0] == 1
    assert found[1] != found[1]


def test_only_the_branch_taken_is_evaluated() -> None:
    previous = Read("A", n - 1)  # sorts before the conditions on indices as text
    conditions = [sp.And(sp.Gt(previous, 0), sp.Ge(n, 1)), sp.Not(sp.Or(sp.Le(previous, 0), sp.Eq(n, 0)))]
    for condition in conditions:
        lazy = sp.Piecewise((previous, condition), (-1, TRUE), evaluate=False)
        lazily = program(given("A", N), computed("out", N), Statement("out", (n,), "=", lazy, over(n=N)))
        assert run(lazily, {"A": np.array([4.0, -4.0, 4.0])})["out"].tolist() == [-1, 4, -1]


def test_branches_are_tried_in_order_and_no_branch_is_nan() -> None:
    steps = sp.Piecewise((1, sp.Gt(U, 2)), (2, sp.Gt(U, 1)), (3, sp.Ne(U, V)))
    found = as_floats(evaluate(steps, np.array([3.0, 1.5, math.nan, 0.0])))
    np.testing.assert_array_equal(found, [1, 2, 3, math.nan])


def arg_max(*extra: Statement, guard: Any = TRUE) -> Program:
    domain = over(n=N, k=3)
    return program(
        given("x", N, 3),
        computed("top", N),
        computed("at", N, integer=True),
        Statement("top", (n,), "max=", Read("x", n, k), domain, guard),
        Statement("at", (n,), "argmax=", Read("x", n, k), domain, guard, winner=k),
        *extra,
    )


def test_the_first_maximum_wins_a_tie_and_nan_counts_as_the_maximum() -> None:
    x = np.array([[1, 5, 5], [math.nan, 9, math.nan], [1, math.nan, 9], [-math.inf] * 3])
    found = run(arg_max(), {"x": x})
    np.testing.assert_array_equal(as_floats(found["top"]), x.max(axis=1))
    assert found["at"].tolist() == np.argmax(x, axis=1).tolist() == [1, 0, 1, 0]
    assert all(type(index) is int for index in found["at"])


def test_a_maximum_over_nothing_is_minus_infinity() -> None:
    found = run(arg_max(guard=sp.Ge(n, 1)), {"x": np.array([[1.0, 2, 3], [4, 6, 5]])})
    assert found["top"].tolist() == [-math.inf, 6]
    assert found["at"].tolist() == [0, 1]


def test_two_indices_reduced_together_have_one_first_maximum() -> None:
    parts = [given("x", 2, 2), computed("row", integer=True), computed("column", integer=True)]
    box = over(i=2, k=2)
    winners = [
        Statement(name, (), "argmax=", Read("x", i, k), box, winner=w) for name, w in (("row", i), ("column", k))
    ]
    found = run(program(*parts, *winners), {"x": np.array([[1.0, 7.0], [7.0, 0.0]])})
    assert (found["row"][()], found["column"][()]) == (0, 1)


def test_subscripts_combine_indices_sizes_and_reads_of_integers() -> None:
    shift = given("shift", 2, role=Role.CONSTANT, integer=True, value=np.array([1, 0]))
    reversed_pairs = Statement("out", (i,), "=", Read("x", N - 1 - 2 * i - Read("shift", i)), over(i=2))
    found = run(program(given("x", N), shift, computed("out", 2), reversed_pairs), {"x": np.arange(5.0)})["out"]
    assert found.tolist() == [3, 2]  # 5 - 1 - 0 - 1 and 5 - 1 - 2 - 0


# -- sizes and refusals

DIFFERENCES = program(
    given("x", N, T),
    given("w", T - 1),
    computed("out", N),
    Statement("out", (n,), "+=", Read("w", t) * (Read("x", n, t + 1) - Read("x", n, t)) / T, over(n=N, t=T - 1)),
)


def test_sizes_are_solved_from_the_shapes() -> None:
    x, w = np.array([[1.0, 2, 4, 8], [0, 1, 1, 3]]), np.array([1.0, 10, 100])
    found = run(DIFFERENCES, {"x": x, "w": w})["out"]
    np.testing.assert_array_equal(found.astype(float), np.diff(x) @ w / 4)


def test_sizes_that_disagree_or_lack_are_refused() -> None:
    with pytest.raises(ValueError, match=r"w has shape \(4,\), expected \(T - 1\) = \(3,\)"):
        run(DIFFERENCES, {"x": np.zeros((2, 4)), "w": np.zeros(4)})
    with pytest.raises(ValueError, match="x has shape"):
        run(DIFFERENCES, {"x": np.zeros((2, 4)), "w": np.zeros(3)}, sizes={"T": 5})
    alone = program(given("w", T - 1), computed("s"), Statement("s", (), "+=", Read("w", t), over(t=T - 1)))
    with pytest.raises(ValueError, match="size T is not determined"):
        run(alone, {"w": np.ones(3)})
    assert run(alone, {"w": np.ones(3)}, sizes={"T": 4})["s"][()] == 3


def test_missing_unknown_and_ill_typed_values_are_refused() -> None:
    with pytest.raises(ValueError, match="w is read by the program"):
        run(DIFFERENCES, {"x": np.zeros((2, 4))})
    with pytest.raises(ValueError, match="out is computed"):
        run(DIFFERENCES, {"x": np.zeros((2, 4)), "w": np.zeros(3), "out": np.zeros(2)})
    labels = given("y", N, role=Role.LABELS, integer=True, classes=2)
    total = program(labels, computed("s"), Statement("s", (), "+=", Read("y", n), over(n=N)))
    assert run(total, {"y": np.array([1, 1, 0])})["s"][()] == 2
    with pytest.raises(ValueError, match="y is a tensor of integers"):
        run(total, {"y": np.array([1.0, 0.0])})


# -- the oracle

A, B = Read("a", i), Read("b")


def scalar_function(expression: Any, extent: int = 3) -> Program:
    """Σ_i of an expression of a[i] and b."""
    a, b = given("a", extent, role=Role.PARAMETER), given("b", role=Role.PARAMETER)
    total = Statement("f", (), "+=", expression, over(i=extent))
    return program(a, b, computed("f"), total, objective="f")


POINT = {"a": np.array([0.3, -1.2, 0.9]), "b": np.array(0.4)}


def exact(values: Any) -> list[Any]:
    mp = mpmath.MPContext()
    mp.dps = 80
    return [mp.mpf(float(v)) for v in np.ravel(values)]


def test_value_is_the_formula_at_the_point() -> None:
    found = oracle.value(scalar_function(A**2 * B), POINT)
    a, (b,) = exact(POINT["a"]), exact(POINT["b"])
    assert abs(found - sum(u * u for u in a) * b) < 1e-48


@pytest.mark.parametrize(
    ("expression", "by_a", "by_b"),
    [
        (A**3 * B**2, lambda a, b: 3 * a**2 * b**2, lambda a, b: 2 * a**3 * b),
        (sp.exp(A * B), lambda a, b: b * a.context.exp(a * b), lambda a, b: a * a.context.exp(a * b)),
        (
            sp.sin(A) / (1 + B**2),
            lambda a, b: a.context.cos(a) / (1 + b**2),
            lambda a, b: -a.context.sin(a) * 2 * b / (1 + b**2) ** 2,
        ),
        (sp.Abs(A) * B, lambda a, b: a.context.sign(a) * b, lambda a, b: abs(a)),
    ],
    ids=["polynomial", "exp", "quotient", "abs"],
)
def test_gradients_of_known_functions(expression: Any, by_a: Any, by_b: Any) -> None:
    found = oracle.gradient(scalar_function(expression), POINT, ["a", "b"])
    a, (b,) = exact(POINT["a"]), exact(POINT["b"])
    assert found["a"].shape == (3,)
    assert found["b"].shape == ()
    assert all(abs(g - by_a(u, b)) < 1e-30 for g, u in zip(found["a"], a, strict=True))
    assert abs(found["b"][()] - sum(by_b(u, b) for u in a)) < 1e-30


def test_directional_is_the_gradient_times_the_direction() -> None:
    function = scalar_function(sp.exp(A * B))
    by_tensor = oracle.gradient(function, POINT, ["a", "b"])
    direction = {"a": np.array([1.0, -2.0, 0.5]), "b": 3.0}
    want = sum(g * exact(v)[0] for g, v in zip(by_tensor["a"], direction["a"], strict=True)) + 3 * by_tensor["b"][()]
    assert abs(oracle.directional(function, POINT, direction) - want) < 1e-30
    assert oracle.directional(function, POINT, {}) == 0


def test_what_stop_gradient_holds_stands_still() -> None:
    found = oracle.gradient(scalar_function(A * stop_gradient(A) * B), POINT, ["a"])["a"]
    a, (b,) = exact(POINT["a"]), exact(POINT["b"])
    assert all(abs(g - u * b) < 1e-30 for g, u in zip(found, a, strict=True))


def test_hessian_vector_of_a_known_function() -> None:
    # f = Σ a²·b³: ∂²f/∂a² = 2b³, ∂²f/∂a∂b = 6ab², ∂²f/∂b² = 6b·Σa²
    v = {"a": np.array([1.0, 0.5, -2.0]), "b": np.array(3.0)}
    found = oracle.hessian_vector(scalar_function(A**2 * B**3), POINT, v)
    a, (b,), v_a, (v_b,) = exact(POINT["a"]), exact(POINT["b"]), exact(v["a"]), exact(v["b"])
    for h, u, along in zip(found["a"], a, v_a, strict=True):
        assert abs(h - (2 * b**3 * along + 6 * u * b**2 * v_b)) < 1e-30
    mixed = sum(6 * u * b**2 * along for u, along in zip(a, v_a, strict=True))
    assert abs(found["b"][()] - (mixed + 6 * b * sum(u * u for u in a) * v_b)) < 1e-30


def test_what_does_not_move_is_kept_with_all_its_statements() -> None:
    """z is written by two statements of which one moves with a, and q by one that does not."""
    a, b = given("a", 3, role=Role.PARAMETER), given("b", role=Role.PARAMETER)
    parts = [a, b, computed("q"), computed("z"), computed("f")]
    fixed = Statement("q", (), "=", B**2, ())
    constant, moving = Statement("z", (), "+=", 5 * B, ()), Statement("z", (), "+=", A**2, over(i=3))
    objective = Statement("f", (), "=", Read("z") ** 2 * Read("q"), ())
    found = oracle.gradient(program(*parts, fixed, constant, moving, objective, objective="f"), POINT, ["a", "b"])
    u, (w,) = exact(POINT["a"]), exact(POINT["b"])
    z = 5 * w + sum(x * x for x in u)
    assert all(abs(g - 4 * z * x * w**2) < 1e-30 for g, x in zip(found["a"], u, strict=True))
    assert abs(found["b"][()] - (10 * z * w**2 + 2 * z**2 * w)) < 1e-30


@pytest.mark.parametrize(
    ("got", "want", "error"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1e-300, 0.0], [0.0, 0.0], math.inf),
        ([math.nan, 1.0], [1.0, 1.0], math.inf),
        ([1.0, 1.0], [math.nan, 1.0], math.inf),
        ([math.nan, 1.0], [math.nan, 2.0], 0.5),
        ([math.inf, 1.0], [math.inf, 1.0], 0.0),
        ([math.inf, 1.0], [-math.inf, 1.0], math.inf),
        (3.0, 2.0, 0.5),
    ],
)
def test_relative_error(got: Any, want: Any, error: float) -> None:
    assert oracle.relative_error(got, want) == error


def test_relative_error_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="differ"):
        oracle.relative_error([1.0, 1.0], 1.0)


def large() -> tuple[Program, dict[str, Any], dict[str, Any]]:
    """Σ_i sin(a[i])·b with more parameters than are all checked, its point and its closed-form gradient."""
    values = {"a": np.linspace(-1.3, 1.4, 150), "b": np.array(0.7)}
    gradient = {"a": np.cos(values["a"]) * values["b"], "b": np.sin(values["a"]).sum()}
    return scalar_function(sp.sin(A) * B, 150), values, gradient


def test_a_right_gradient_passes_and_says_what_was_checked() -> None:
    a, b = oracle.compare_gradients(*large())
    assert (a.parameter, b.parameter) == ("a", "b")
    assert max(a.error, b.error) < 1e-14
    assert a.checked.endswith(" of 150 coordinates, 2 directions")
    assert b.checked == "the only coordinate"


@pytest.mark.parametrize("wrong", [1.001, -1.0, 0.0, 1e6, math.nan, math.inf])
def test_one_wrong_element_of_many_is_found(wrong: float) -> None:
    function, values, gradient = large()
    gradient["a"][41] *= wrong
    a, b = oracle.compare_gradients(function, values, gradient)
    assert not a.error < 1e-6
    assert b.error < 1e-14


def test_the_scale_is_that_of_the_largest_element() -> None:
    """One element of order one among many of 1e-18: rounding as large as those is no error of the tensor."""
    function = scalar_function(A * sp.Piecewise((1, sp.Eq(i, 41)), (sp.Float(1e-18), TRUE)) + B, 150)
    rounded = np.full(150, 2e-18)
    rounded[41] = 1
    a, _ = oracle.compare_gradients(function, {"a": np.zeros(150), "b": 0.0}, {"a": rounded, "b": 150.0})
    assert a.error < 1e-14


def test_a_small_wrong_gradient_is_found_against_its_own_scale() -> None:
    function = scalar_function(A + sp.Float(1e-12) * B)
    right, wrong = {"a": np.ones(3), "b": np.array(3e-12)}, {"a": np.ones(3), "b": np.array(4e-12)}
    assert max(c.error for c in oracle.compare_gradients(function, POINT, right)) < 1e-14
    a, b = oracle.compare_gradients(function, POINT, wrong)
    assert a.error < 1e-14
    assert b.error == pytest.approx(1 / 3)


def test_a_missing_or_misshapen_gradient_is_refused() -> None:
    function, values, gradient = large()
    with pytest.raises(ValueError, match="gradient of b is missing"):
        oracle.compare_gradients(function, values, {"a": gradient["a"]})
    with pytest.raises(ValueError, match="has shape"):
        oracle.compare_gradients(function, values, {**gradient, "b": np.zeros(1)})
