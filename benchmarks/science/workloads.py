"""The models of benchmarks/science: their data, and the same objectives in JAX as its users would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax, vmap
from jax.scipy.special import erf, logsumexp

Array = np.ndarray
Data = tuple[Array, list[Any]]  # parameters, inputs in the spec's order
SPECS = Path(__file__).parent / "specs"


@dataclass(frozen=True)
class Workload:
    """`data`: of a generator of random numbers; `peers`: objectives of (parameters, inputs) in JAX."""

    name: str
    data: Callable[[np.random.Generator], Data]
    peers: tuple[Callable[..., Any], ...]

    @property
    def spec(self) -> Path:
        return SPECS / f"{self.name}.py"


# ---- bundle


def bundle_data(rng: np.random.Generator) -> Data:
    cameras, points, observations = 49, 7776, 31843
    c = rng.normal(0, 0.1, (cameras, 11))
    c[:, 5] -= 5
    c[:, 6] = 500
    c[:, 9:] *= 1e-3
    parameters = np.concatenate([c.ravel(), rng.normal(0, 1, points * 3)])
    seen, weight = rng.normal(0, 100, (observations, 2)), rng.uniform(0.5, 1, observations)
    return parameters, [rng.integers(0, cameras, observations), rng.integers(0, points, observations), seen, weight]


def bundle(p, camera, point, seen, weight):
    c, x = p[: 49 * 11].reshape(49, 11)[camera], p[49 * 11 :].reshape(-1, 3)[point]
    turn, d = c[:, :3], x - c[:, 3:6]
    square = jnp.sum(turn**2, 1)
    safe = jnp.where(square > 0, square, 1.0)
    angle = jnp.where(square > 0, jnp.sqrt(safe), 0.0)
    sine = jnp.where(square > 0, jnp.sin(angle) / jnp.sqrt(safe), 1.0)
    rest = jnp.where(square > 0, (1 - jnp.cos(angle)) / safe, 0.0)
    turned = d * jnp.cos(angle)[:, None] + jnp.cross(turn, d) * sine[:, None]
    turned += turn * (jnp.sum(turn * d, 1) * rest)[:, None]
    u, v = turned[:, 0] / turned[:, 2], turned[:, 1] / turned[:, 2]
    r2 = u**2 + v**2
    bent = 1 + c[:, 9] * r2 + c[:, 10] * r2**2
    e = weight * (c[:, 7] + c[:, 6] * bent * u - seen[:, 0])
    f = weight * (c[:, 8] + c[:, 6] * bent * v - seen[:, 1])
    return jnp.sum(e**2 + f**2) / 2


# ---- bonds


def bonds_data(rng: np.random.Generator) -> Data:
    atoms, bonds_, angles = 2000, 4000, 6000
    i, q = rng.integers(0, atoms, bonds_), rng.integers(0, atoms, angles)
    j, p, s = (i + rng.integers(1, atoms, bonds_)) % atoms, (q + 1) % atoms, (q + 2) % atoms
    two = [rng.uniform(1, 2, bonds_) for _ in range(2)]
    return rng.normal(0, 3, atoms * 3), [i, j, *two, p, q, s, *(rng.uniform(1, 2, angles) for _ in range(2))]


def bonds(parameters, i, j, length, stiffness, p, q, s, angle, bending):
    x = parameters.reshape(-1, 3)
    r = jnp.linalg.norm(x[i] - x[j], axis=1)
    u, v = x[p] - x[q], x[s] - x[q]
    theta = jnp.arccos(jnp.sum(u * v, 1) / (jnp.linalg.norm(u, axis=1) * jnp.linalg.norm(v, axis=1)))
    return jnp.sum(stiffness * (r - length) ** 2) / 2 + jnp.sum(bending * (theta - angle) ** 2) / 2


# ---- mixture


def mixture_data(rng: np.random.Generator) -> Data:
    return rng.normal(0, 0.3, 25 + 2 * 25 * 10 + 25 * 100), [rng.normal(0, 1, (1000, 10))]


def mixture(p, x):
    alpha, mu, q, low = p[:25], p[25:275].reshape(25, 10), p[275:525].reshape(25, 10), p[525:].reshape(25, 10, 10)
    root = jnp.tril(low, -1) + vmap(jnp.diag)(jnp.exp(q))
    y = jnp.einsum("kij,nkj->nki", root, x[:, None] - mu[None])
    f = alpha + q.sum(1) - jnp.sum(y**2, 2) / 2
    return -jnp.sum(logsumexp(f, axis=1)) + len(x) * logsumexp(alpha) + jnp.sum(root**2) / 2


def mixture_expanded(p, x):
    alpha, mu, q, low = p[:25], p[25:275].reshape(25, 10), p[275:525].reshape(25, 10), p[525:].reshape(25, 10, 10)
    root = jnp.tril(low, -1) + vmap(jnp.diag)(jnp.exp(q))
    y = jnp.einsum("kij,nj->nki", root, x) - jnp.einsum("kij,kj->ki", root, mu)
    f = alpha + q.sum(1) - jnp.sum(y**2, 2) / 2
    return -jnp.sum(logsumexp(f, axis=1)) + len(x) * logsumexp(alpha) + jnp.sum(root**2) / 2


# ---- pairs


def pairs_data(rng: np.random.Generator) -> Data:
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3), -1).reshape(-1, 3)[:400] * 1.2
    return (grid + rng.normal(0, 0.05, grid.shape)).ravel(), [1.0, 1.0]


def pairs(p, depth, width):
    x = p.reshape(-1, 3)
    i, j = np.triu_indices(400, 1)
    s6 = (width**2 / jnp.sum((x[i] - x[j]) ** 2, 1)) ** 3
    return jnp.sum(4 * depth * (s6**2 - s6))


# ---- survival


def survival_data(rng: np.random.Generator) -> Data:
    return rng.normal(0, 0.1, 20), [rng.normal(0, 1, (5000, 20)), rng.integers(0, 2, 5000).astype(float)]


def survival(beta, x, event):
    eta = x @ beta
    most = eta.max()
    risk = jnp.cumsum(jnp.exp(eta - most)[::-1])[::-1]
    return -jnp.sum(event * (eta - jnp.log(risk) - most))


def survival_stable(beta, x, event):
    eta = x @ beta
    return -jnp.sum(event * (eta - lax.cumlogsumexp(eta, reverse=True)))


# ---- markov


def markov_data(rng: np.random.Generator) -> Data:
    return rng.normal(0, 1, 16 + 256 + 16 * 30), [rng.integers(0, 30, (64, 50))]


def markov(p, word):
    start, a, e = p[:16], p[16:272].reshape(16, 16), p[272:].reshape(16, 30)
    move, shown = a - logsumexp(a, axis=1, keepdims=True), e - logsumexp(e, axis=1, keepdims=True)

    def step(f, now):
        most = f.max(1, keepdims=True)
        return jnp.log(jnp.exp(f - most) @ jnp.exp(move)) + most + shown[:, now].T, None

    f, _ = lax.scan(step, jnp.broadcast_to(start, (len(word), 16)), word.T)
    return -jnp.mean(logsumexp(f, axis=1))


def markov_in_logarithms(p, word):
    start, a, e = p[:16], p[16:272].reshape(16, 16), p[272:].reshape(16, 30)
    move, shown = a - logsumexp(a, axis=1, keepdims=True), e - logsumexp(e, axis=1, keepdims=True)

    def step(f, now):
        return logsumexp(f[:, :, None] + move, axis=1) + shown[:, now].T, None

    f, _ = lax.scan(step, jnp.broadcast_to(start, (len(word), 16)), word.T)
    return -jnp.mean(logsumexp(f, axis=1))


# ---- populations


def populations_data(rng: np.random.Generator) -> Data:
    return np.array([1.0, 0.1, 1.5, 0.075, 10, 5]), [rng.uniform(1, 10, (20, 100)) for _ in range(2)]


def populations(p, prey, hunters):
    a, b, c, d, u0, v0 = p
    h = 0.05

    def rate(z):
        u, v = z
        return jnp.array([a * u - b * u * v, d * u * v - c * v])

    def step(z, _):
        k1 = rate(z)
        k2 = rate(z + h / 2 * k1)
        k3 = rate(z + h / 2 * k2)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(z + h * k3))
        return z, z

    _, z = lax.scan(step, jnp.array([u0, v0]), None, length=100)
    return jnp.sum((z[:, 0] - prey) ** 2 + (z[:, 1] - hunters) ** 2) / len(prey)


# ---- trend


def trend_data(rng: np.random.Generator) -> Data:
    return np.full(3, -1.0), [rng.normal(0, 1, (200, 200))]


def trend(p, y):
    level, slope, noise = p

    def step(state, now):
        a, b, p, q, r = state
        a1, p1, q1, r1 = a + b, p + 2 * q + r + jnp.exp(level), q + r, r + jnp.exp(slope)
        s, e = p1 + jnp.exp(noise), now - a1
        new = a1 + p1 / s * e, b + q1 / s * e, p1 - p1**2 / s, q1 - p1 * q1 / s, r1 - q1**2 / s
        return new, jnp.log(s) + e**2 / s

    zero = jnp.zeros(len(y))
    _, terms = lax.scan(step, (zero, zero, zero + 10, zero, zero + 10), y.T)
    return jnp.sum(terms) / (2 * len(y))


# ---- heat


def heat_data(rng: np.random.Generator) -> Data:
    return rng.uniform(0.05, 0.2, 64 * 64), [rng.normal(0, 1, (64, 64)) for _ in range(2)]


def heat(p, first, last):
    k = p.reshape(64, 64)[1:-1, 1:-1]

    def step(u, _):
        around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        return u.at[1:-1, 1:-1].add(k * (around - 4 * u[1:-1, 1:-1])), None

    u, _ = lax.scan(step, first, None, length=20)
    return jnp.sum((u - last) ** 2) / 2


# ---- ratings


def ratings_data(rng: np.random.Generator) -> Data:
    rows = 50_000
    parameters = rng.normal(0, 0.1, (2000 + 500) * 17)
    return parameters, [rng.integers(0, 2000, rows), rng.integers(0, 500, rows), rng.uniform(1, 5, rows), 0.02]


def ratings(p, user, item, rating, penalty):
    users, items = p[: 2000 * 16].reshape(2000, 16), p[2000 * 16 : 2500 * 16].reshape(500, 16)
    a, b = p[2500 * 16 : 2500 * 16 + 2000], p[2500 * 16 + 2000 :]
    u, v = users[user], items[item]
    expected = a[user] + b[item] + jnp.sum(u * v, 1)
    size = a[user] ** 2 + b[item] ** 2 + jnp.sum(u**2 + v**2, 1)
    return jnp.sum((rating - expected) ** 2 + penalty * size) / len(rating)


# ---- intercepts


def intercepts_data(rng: np.random.Generator) -> Data:
    rows = 20_000
    x = rng.normal(0, 1, (rows, 8))
    return rng.normal(0, 0.1, 8 + 200 + 2), [rng.integers(0, 200, rows), x, rng.poisson(1.0, rows).astype(float)]


def intercepts(p, group, x, count):
    beta, intercept, centre, spread = p[:8], p[8:208], p[208], p[209]
    eta = intercept[group] + x @ beta
    density = jnp.sum((intercept - centre) ** 2 * jnp.exp(-2 * spread) / 2 + spread)
    return jnp.sum(jnp.exp(eta) - count * eta) + density


# ---- volatility


def volatility_data(rng: np.random.Generator) -> Data:
    rows = 10_000
    inputs = [
        rng.uniform(80, 120, rows),
        rng.uniform(95, 105, rows),
        rng.uniform(0.1, 2, rows),
        rng.uniform(1, 20, rows),
    ]
    return np.array([0.04, 0.4, -0.4, 0.1, 0.3]), inputs


def volatility(p, strike, forward, maturity, price):
    a, b, rho, m, s = p
    k = jnp.log(strike / forward)
    w = (a + b * (rho * (k - m) + jnp.sqrt((k - m) ** 2 + s**2))) * maturity
    d1 = -k / jnp.sqrt(w) + jnp.sqrt(w) / 2

    def normal(u):
        return (1 + erf(u / np.sqrt(2))) / 2

    return jnp.mean((forward * normal(d1) - strike * normal(d1 - jnp.sqrt(w)) - price) ** 2)


# ---- arm


def arm_data(rng: np.random.Generator) -> Data:
    parameters = np.concatenate([np.ones(7), rng.normal(0, 0.1, 7)])
    return parameters, [rng.uniform(-1, 1, (10_000, 7)), rng.normal(0, 3, (10_000, 2))]


def arm(p, joint, end):
    turn = jnp.cumsum(joint + p[7:], axis=1)
    x, y = jnp.cos(turn) @ p[:7], jnp.sin(turn) @ p[:7]
    return jnp.mean((x - end[:, 0]) ** 2 + (y - end[:, 1]) ** 2)


# ---- asian


def asian_data(rng: np.random.Generator) -> Data:
    return np.array([100.0, 0.2, 0.03]), [rng.normal(0, 1, (10_000, 50)), 100.0, 0.5]


def asian(p, z, strike, width):
    spot, volatility_, rate = p
    h = 1 / 50
    x = jnp.cumsum((rate - volatility_**2 / 2) * h + volatility_ * np.sqrt(h) * z, axis=1)
    mean = spot * jnp.mean(jnp.exp(x), axis=1)
    return jnp.exp(-rate) * jnp.mean(width * jnp.logaddexp(0, (mean - strike) / width))


WORKLOADS = (
    Workload("bundle", bundle_data, (bundle,)),
    Workload("bonds", bonds_data, (bonds,)),
    Workload("mixture", mixture_data, (mixture, mixture_expanded)),
    Workload("pairs", pairs_data, (pairs,)),
    Workload("survival", survival_data, (survival, survival_stable)),
    Workload("markov", markov_data, (markov, markov_in_logarithms)),
    Workload("populations", populations_data, (populations,)),
    Workload("trend", trend_data, (trend,)),
    Workload("heat", heat_data, (heat,)),
    Workload("ratings", ratings_data, (ratings,)),
    Workload("intercepts", intercepts_data, (intercepts,)),
    Workload("volatility", volatility_data, (volatility,)),
    Workload("arm", arm_data, (arm,)),
    Workload("asian", asian_data, (asian,)),
)
