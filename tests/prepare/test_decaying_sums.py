"""Sums of exponentials of differences, as recurrences: against the sums themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text

from derivgen import Model

POINTS, GROUPS = 40, 3
ORDERS: dict[str, Callable[[sp.Symbol, sp.Symbol], sp.Basic]] = {
    "before": lambda n, m: m < n,
    "up to": lambda n, m: m <= n,
    "after": lambda n, m: m > n,
    "from": lambda n, m: m >= n,
}
orders = pytest.mark.parametrize("order", ORDERS)


def memory(order: str, factor: str = "exp", points: int | None = None) -> Model:
    """Σ_n asinh(S[n, k]), S[n, k] = Σ_m w[m]·exp(-b[k]·|n - m|) over the times, or b[k]^|n - m|, with a mask."""
    model = Model("memory", dtype="float64")
    N = model.batch("N") if points is None else model.sizes(N=points)
    n, m, k = model.indices(n=N, m=N, k=GROUPS)
    t, w, keep = model.input("t", N), model.input("w", N), model.input("keep", N)
    b, a = model.parameter("b", GROUPS), model.parameter("a")
    age = (t[n] - t[m]) if order in ("before", "up to") else (t[m] - t[n])
    places = (n - m) if order in ("before", "up to") else (m - n)
    each = sp.exp(-b[k] * age) if factor == "exp" else b[k] ** places
    term = sp.Piecewise((w[m] * a**2 * each, sp.And(ORDERS[order](n, m), keep[m] > 0)), (0, True))
    S = model.let("S", (n, k), sp.Sum(term, m))
    model.predict(S)
    model.minimize(sp.Sum(sp.asinh(S[n, k]) * (k + 1), n, k))
    return model


def directly(order: str, factor: str, b: np.ndarray, a: complex, data: tuple[np.ndarray, ...]) -> np.ndarray:
    t, w, keep = data
    points, sign = np.arange(len(t)), 1 if order in ("before", "up to") else -1
    of_pairs = {"before": np.less, "up to": np.less_equal, "after": np.greater, "from": np.greater_equal}[order]
    S = np.zeros((len(t), len(b)), complex)
    for n in points:
        for m in points[of_pairs(points, n) & (keep > 0)]:
            each = np.exp(-b * sign * (t[n] - t[m])) if factor == "exp" else b ** (sign * (n - m))
            S[n] += w[m] * a**2 * each
    return S


def check(order: str, factor: str, b: np.ndarray, data: tuple[np.ndarray, ...], points: int | None = None) -> None:
    module = execute(module_text(memory(order, factor, points)))
    flat, given = np.array([*b, 0.75]), data if factor == "exp" else data[1:]
    found, slopes = module.loss_and_gradient(flat, *data)
    weights = np.arange(1, GROUPS + 1)

    def objective(at: np.ndarray) -> complex:
        return (np.arcsinh(directly(order, factor, at[:-1], at[-1], data)) * weights).sum()

    wanted = np.array([objective(flat + 1e-30j * e).imag / 1e-30 for e in np.eye(GROUPS + 1)])
    np.testing.assert_allclose(module.predict(flat, *given), directly(order, factor, b, 0.75, data).real, rtol=1e-12)
    np.testing.assert_allclose(found, objective(flat).real, rtol=1e-12)
    np.testing.assert_allclose(slopes, wanted, rtol=1e-11, atol=1e-12)


def times(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return 1e4 + np.sort(rng.uniform(0, 30, POINTS)), rng.normal(size=POINTS), rng.integers(0, 4, POINTS).astype(float)


@orders
def test_it_is_the_sum(order: str) -> None:
    check(order, "exp", np.array([0.3, 2.0, 0.0]), times(np.random.default_rng(0)))


@orders
def test_times_in_any_order_and_decays_that_grow(order: str) -> None:
    rng = np.random.default_rng(1)
    t, w, keep = times(rng)
    check(order, "exp", np.array([0.3, -0.2, 1.5]), (rng.permutation(t), w, keep))


@orders
def test_exponents_that_are_not_0_at_the_element_itself(order: str) -> None:
    """Powers of one place less, of a base that may be 0; the sums before and after it do not have it."""
    model = Model("shifted", dtype="float64")
    T = model.sizes(T=POINTS)
    t, s = model.indices(t=T, s=T)
    x, b = model.input("x", T), model.parameter("b")
    places = (t - s) if order in ("before", "up to") else (s - t)
    strict = order in ("before", "after")
    S = model.let("S", t, sp.Sum(sp.Piecewise((x[s] * b ** (places - int(strict)), ORDERS[order](t, s)), (0, True)), s))
    model.predict(S)
    model.minimize(sp.Sum(S[t] ** 2, t))
    module, x = execute(module_text(model)), np.random.default_rng(4).normal(size=POINTS)
    for base in (0.0, 0.5, -0.75, 1.02):
        powers = base ** np.arange(POINTS, dtype=float)
        before = np.convolve(x if order in ("before", "up to") else x[::-1], powers)[:POINTS]
        wanted = np.concatenate([[0], before[:-1]]) if strict else before
        wanted = wanted if order in ("before", "up to") else wanted[::-1]
        np.testing.assert_allclose(module.predict(np.array([base]), x), wanted, rtol=1e-12, atol=1e-13)
        slope = module.loss_and_gradient(np.array([base]), x)[1]
        ahead, behind = (module.loss(np.array([base + step]), x) for step in (1e-5, -1e-5))
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)


@orders
def test_powers(order: str) -> None:
    check(order, "power", np.array([0.9, -0.5, 1.01]), times(np.random.default_rng(2)), POINTS)


def test_a_step_up_gives_back_what_had_vanished_and_one_down_what_had_overflowed() -> None:
    """The second time is so late that the first has vanished there; seen from the third, the second is infinite."""
    t, ones, b = np.array([0.0, 900.0, 1.0, 901.0]), np.ones(4), np.array([1.0, 0.5, 0.0])
    S = execute(module_text(memory("before"))).predict(np.array([*b, 0.75]), t, ones, ones)
    with np.errstate(over="ignore"):
        wanted = directly("before", "exp", b, 0.75, (t, ones, ones)).real
    assert wanted[2, 0] == np.inf
    np.testing.assert_allclose(S, wanted, rtol=1e-13)


def test_times_that_are_not_numbers_reach_what_they_touch() -> None:
    t, w, keep = times(np.random.default_rng(3))
    t[POINTS // 2] = np.nan
    S = execute(module_text(memory("up to"))).predict(np.array([0.3, 1.0, 2.0, 1.0]), t, w, keep + 1)
    assert np.isfinite(S[: POINTS // 2]).all()
    assert np.isnan(S[POINTS // 2 :]).all()


@orders
def test_a_time_that_a_mask_leaves_out_may_be_no_number(order: str) -> None:
    """It is none of the terms of the others."""
    t, w, keep = times(np.random.default_rng(6))
    missing = POINTS // 2
    t[missing], keep[missing] = np.nan, 0
    b, module = np.array([0.3, 2.0, 0.0]), execute(module_text(memory(order)))
    S = module.predict(np.array([*b, 0.75]), t, w, keep)
    wanted = directly(order, "exp", b, 0.75, (t, w, keep)).real
    np.testing.assert_allclose(np.delete(S, missing, 0), np.delete(wanted, missing, 0), rtol=1e-12)


def test_one_exponential_an_element() -> None:
    """And no loop over pairs but for steps that grow."""
    text = module_text(memory("before"))
    assert "rest" in text.split("# ---- S")[1]
    loops = text.split("def S_forward")[1].split("\n@")[0]
    assert loops.index("if grows[") < loops.index("for m in range(n)")


KINDS = 3
DECAYS = {  # how fast the part of each element vanishes, by what it is and by what adds it up
    "one": lambda b, sender, receiver: b[0, 0],
    "by sender": lambda b, sender, receiver: b[sender, 0],
    "by receiver": lambda b, sender, receiver: b[0, receiver],
    "by pair": lambda b, sender, receiver: b[sender, receiver],
}


@pytest.mark.parametrize("decay", DECAYS)
@orders
def test_kinds_that_excite_one_another(order: str, decay: str) -> None:
    model = Model("kinds", dtype="float64")
    N = model.batch("N")
    n, m = model.indices(n=N, m=N)
    t, kind, keep = model.input("t", N), model.labels("kind", N, classes=KINDS), model.input("keep", N)
    a, b = model.parameter("a", KINDS, KINDS), model.parameter("b", KINDS, KINDS)
    age = (t[n] - t[m]) if order in ("before", "up to") else (t[m] - t[n])
    each = keep[m] * sp.exp(a[kind[n], kind[m]] - DECAYS[decay](b, kind[m], kind[n]) * age)
    S = model.let("S", n, sp.Sum(sp.Piecewise((each, ORDERS[order](n, m)), (0, True)), m))
    model.predict(S)
    model.minimize(sp.Sum(sp.log(1 + S[n]), n))
    text, rng = module_text(model), np.random.default_rng(5)
    times = 50 + np.sort(rng.uniform(0, 9, POINTS))
    given = (times[rng.permutation(POINTS)] if decay == "by pair" else times, rng.integers(0, KINDS, POINTS), times)
    own = rng.uniform(0.2, 1.5, 2 * KINDS**2)
    assert "S_kind" in text or "kind[" in text.split("# ---- S")[1]

    def sums(flat: np.ndarray) -> np.ndarray:
        a, b = flat.reshape(2, KINDS, KINDS)
        times, kind, keep = given
        S = np.zeros(POINTS, complex)
        of_pairs = {"before": np.less, "up to": np.less_equal, "after": np.greater, "from": np.greater_equal}[order]
        for i, j in np.ndindex(POINTS, POINTS):
            if of_pairs(j, i):
                age = (times[i] - times[j]) * (1 if order in ("before", "up to") else -1)
                S[i] += keep[j] * np.exp(a[kind[i], kind[j]] - DECAYS[decay](b, kind[j], kind[i]) * age)
        return S

    module = execute(text)
    loss, gradient = module.loss_and_gradient(own, *given)
    wanted = [np.log1p(sums(own + 1e-30j * e)).sum().imag / 1e-30 for e in np.eye(own.size)]
    np.testing.assert_allclose(module.predict(own, *given), sums(own).real, rtol=1e-12)
    np.testing.assert_allclose(loss, np.log1p(sums(own).real).sum(), rtol=1e-13)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    "kept",
    [
        "exp(-abs(t[n] - t[m]))",  # has no part with n alone
        "exp(-(t[n] - t[m])**2)",
        "exp(t[n]) * t[m]",  # has an exponential of n alone
        "b[0]**(t[n] - t[m])",  # is no whole power
        "2**(n - m)",  # grows
    ],
)
def test_other_sums_stay(kept: str) -> None:
    model = Model("kept", dtype="float64")
    N = model.batch("N")
    n, m = model.indices(n=N, m=N)
    t, b = model.input("t", N), model.parameter("b", 2)
    names = {"t": t, "b": b, "n": n, "m": m, "exp": sp.exp, "abs": sp.Abs}
    S = model.let("S", n, sp.Sum(eval(kept, names), (m, 0, n)))
    model.minimize(sp.Sum(S[n] * b[1], n))
    text = module_text(model)
    assert "S_step" not in text
    assert "factor" not in text.split("# ---- S")[1].split("# ----")[0]


def test_a_logarithm_of_the_sum_alone_keeps_its_stable_form() -> None:
    """log Σ exp is finite where each exponential has vanished."""
    model = Model("logarithm", dtype="float64")
    N = model.batch("N")
    n, m = model.indices(n=N, m=N)
    t, b = model.input("t", N), model.parameter("b")
    S = model.let("S", n, sp.Sum(sp.exp(-b * (t[n] + 1 - t[m])), (m, 0, n)))
    model.minimize(sp.Sum(sp.log(S[n]), n))
    loss, slope = execute(module_text(model)).loss_and_gradient(np.array([1e4]), np.array([0.0, 1.0]))
    np.testing.assert_allclose([loss, *slope], [-2e4, -2])
