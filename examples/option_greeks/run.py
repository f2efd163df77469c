"""Greeks of a European call against Black and Scholes' formulas: `python examples/option_greeks/run.py`.

The normals are quasi-random, drawn anew for each of some replications, whose spread gives the standard error of their
mean. What the smooth payoff adds is proportional to width², so that a third of what twice the width adds is its size.
"""

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from scipy.stats.qmc import MultivariateNormalQMC

from derivgen import runtime

STRIKE, WIDTH = 105.0, 0.2
PATHS, REPLICATIONS = 2**14, 16
NAMES = ("price", "delta", "vega", "rho", "theta", "gamma", "vanna", "volga")


class Estimate(NamedTuple):
    """NAMES by Monte Carlo, their standard errors, and what smoothing adds to them."""

    mean: np.ndarray
    error: np.ndarray
    smoothing: np.ndarray


def greeks(module: ModuleType, market: np.ndarray, z: np.ndarray, width: float) -> list[float]:
    """NAMES by one set of normals. Theta is by the time that passes, which is the maturity's loss."""
    price, (delta, vega, rho, by_maturity) = module.loss_and_gradient(market, z, STRIKE, width)
    hessian = module.hessian(market, z, STRIKE, width)
    return [price, delta, vega, rho, -by_maturity, hessian[0, 0], hessian[0, 1], hessian[1, 1]]


def monte_carlo(module: ModuleType, market: np.ndarray, seed: int = 0) -> Estimate:
    seeds = np.random.SeedSequence(seed).spawn(REPLICATIONS)
    draws = [MultivariateNormalQMC([0], seed=np.random.default_rng(s)).random(PATHS)[:, 0] for s in seeds]
    found, wider = (np.array([greeks(module, market, z, width) for z in draws]) for width in (WIDTH, 2 * WIDTH))
    error = found.std(axis=0, ddof=1) / np.sqrt(REPLICATIONS)
    return Estimate(found.mean(axis=0), error, (wider - found).mean(axis=0) / 3)


def black_scholes(spot: float, volatility: float, rate: float, maturity: float) -> np.ndarray:
    """NAMES in closed form, of a call on what pays no dividends."""
    root = np.sqrt(maturity)
    d1 = (np.log(spot / STRIKE) + (rate + volatility**2 / 2) * maturity) / (volatility * root)
    d2 = d1 - volatility * root
    delta, density, owed = norm.cdf(d1), norm.pdf(d1), STRIKE * np.exp(-rate * maturity) * norm.cdf(d2)
    vega = spot * density * root
    theta = -vega * volatility / (2 * maturity) - rate * owed
    gamma, vanna, volga = density / (spot * volatility * root), -density * d2 / volatility, vega * d1 * d2 / volatility
    return np.array([spot * delta - owed, delta, vega, maturity * owed, theta, gamma, vanna, volga])


def main(seed: int = 0) -> tuple[Estimate, np.ndarray]:
    """NAMES by Monte Carlo and in closed form."""
    module = runtime.load(Path(__file__).with_name("option_greeks_kernels.py"))
    market = module.initial_parameters()
    estimate, exact = monte_carlo(module, market, seed), black_scholes(*market)
    print("       Black-Scholes  Monte Carlo  difference  by smoothing  standard error")
    for name, m, e, s, x in zip(NAMES, *estimate, exact, strict=True):
        print(f"{name}  {x:13.6f}  {m:11.6f}  {m - x:10.1e}  {s:12.1e}  {e:14.1e}")
    return estimate, exact


if __name__ == "__main__":
    main()
