"""The examples of Jacobians and Hessians against certified figures, SciPy's fits and closed forms."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from example_files import kernels, script
from scipy.optimize import curve_fit


def test_decay_curve_has_the_certified_figures(tmp_path):
    exact, differences = script("decay_curve").main(str(tmp_path / "fit.png"))
    assert min(exact) >= 8.5
    assert exact[1] >= differences[1] + 1
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")


def concentration(t, log_CL, log_Q, log_V1, log_V2):
    """The concentration after 25 mg, by the eigenvalues of the matrix of their exchange."""
    CL, Q, V1, V2 = np.exp([log_CL, log_Q, log_V1, log_V2])
    rates, vectors = np.linalg.eig(np.array([[-(CL + Q) / V1, Q / V2], [Q / V1, -Q / V2]]))
    return np.exp(np.outer(t, rates)) @ (vectors[0] * np.linalg.solve(vectors, [25, 0])) / V1


def test_pharmacokinetics_against_scipy_s_fits_of_one_subject_at_a_time():
    example = script("pharmacokinetics")
    fit = example.main()
    assert fit.success and fit.evaluations <= 60
    jacobian = kernels("pharmacokinetics").jacobian(fit.parameters, **example.measurements())
    assert jacobian.shape == (66, 24) and jacobian.nnz == 66 * 4
    tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "maxfev": 10_000}
    for s, measured in enumerate(example.CONCENTRATIONS):
        # The errors' size is that of all subjects together.
        best, covariance = curve_fit(
            concentration, example.TIMES, measured, np.log([10] * 4), sigma=measured, absolute_sigma=True, **tight
        )
        errors = fit.residual_deviation * np.sqrt(np.diag(covariance))
        np.testing.assert_allclose([fit.views[name][s] for name in fit.views], best, rtol=1e-6)
        np.testing.assert_allclose([fit.standard_errors[name][s] for name in fit.views], errors, rtol=1e-5)
    best = np.array([*fit.views.values()])
    weighted = (np.array([concentration(example.TIMES, *best[:, s]) for s in range(6)]) / example.CONCENTRATIONS) - 1
    assert fit.residual_deviation == pytest.approx(np.sqrt((weighted**2).sum() / (66 - 24)), rel=1e-9)


def call(spot, volatility, rate, maturity, strike):
    """Black and Scholes' price."""
    deviation = volatility * mpmath.sqrt(maturity)
    d1 = (mpmath.log(spot / strike) + rate * maturity) / deviation + deviation / 2
    return spot * mpmath.ncdf(d1) - strike * mpmath.exp(-rate * maturity) * mpmath.ncdf(d1 - deviation)


def greeks_of(price, market):
    """The example's NAMES as derivatives of a price, by differences at high precision."""
    orders = [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (2, 0, 0, 0),
        (1, 1, 0, 0),
        (0, 2, 0, 0),
    ]
    found = [mpmath.diff(price, tuple(market), order) if any(order) else price(*market) for order in orders]
    found[4] = -found[4]
    return np.array(found, float)


MARKETS = [(100.0, 0.2, 0.03, 0.5), (120.0, 0.35, 0.01, 1.5)]


@pytest.mark.parametrize("market", MARKETS)
def test_closed_forms_of_the_greeks(market):
    example = script("option_greeks")
    with mpmath.workdps(40):
        expected = greeks_of(lambda *at: call(*at, mpmath.mpf(example.STRIKE)), market)
    np.testing.assert_allclose(example.black_scholes(*market), expected, rtol=1e-12)


def test_greeks_of_few_paths_are_derivatives_of_their_price():
    """The estimator itself, with no error of sampling or smoothing: differences of the declared formula."""
    example, z = script("option_greeks"), np.array([-0.7, 0.1, 0.3, 1.9])

    def price(spot, volatility, rate, maturity):
        growth = [(rate - volatility**2 / 2) * maturity + volatility * mpmath.sqrt(maturity) * e for e in z]
        payoffs = [2 * mpmath.log1p(mpmath.exp((spot * mpmath.exp(g) - example.STRIKE) / 2)) for g in growth]
        return mpmath.exp(-rate * maturity) * mpmath.fsum(payoffs) / len(z)

    for market in MARKETS:
        with mpmath.workdps(40):
            expected = greeks_of(price, market)
        found = example.greeks(kernels("option_greeks"), np.array(market), z, 2.0)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_greeks_are_off_by_no_more_than_sampling_and_smoothing(seed):
    example = script("option_greeks")
    estimate, exact = example.main(seed)
    # Smoothing is known to terms of width⁴.
    assert (
        np.abs(estimate.mean - estimate.smoothing - exact) <= 6 * estimate.error + 0.05 * abs(estimate.smoothing)
    ).all()
    assert (np.abs(estimate.mean / exact - 1) <= 0.02).all() and (np.abs(estimate.mean / exact - 1)[:7] <= 1e-3).all()
    assert (estimate.error <= 1e-3 * abs(exact)).all()
    # The error by smoothing is (π·width)²/6 times the second derivative by the strike of price, delta, …
    with mpmath.workdps(40):
        curvature = mpmath.diff(lambda k: call(*MARKETS[0], k), mpmath.mpf(example.STRIKE), 2)
    assert estimate.smoothing[0] == pytest.approx((np.pi * example.WIDTH) ** 2 / 6 * float(curvature), rel=0.02)
