"""Second derivatives: `python benchmarks/second_order.py`. One thread, warm; medians of alternating runs.

1. A product with the Hessian against a gradient, and against JAX's (forward over reverse, jitted): digits, batch 32.
2. The whole Hessian of a network of 200 parameters against jax.hessian, jitted, at two batch sizes.
3. A curve of 3 parameters through 10⁴ points, against SciPy's curve_fit with its numerical Jacobian.
4. Newton's method on a logistic regression: iterations, and how far the gradient falls.
5. Digits with every function of derivatives: the time to generate the module, and its longest kernel.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

# Before numpy and JAX start their threads.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp
from scipy.optimize import curve_fit
from sklearn.datasets import load_breast_cancer
from threadpoolctl import threadpool_limits

from derivgen import Model, generate, layers, losses, runtime
from derivgen.file import contract
from derivgen.pipeline import generate_body

ROUNDS, BATCH, POINTS = 31, 32, 10_000
Network = tuple[int, int, int]  # inputs, hidden units, classes
DIGITS, SMALL = (64, 32, 10), (9, 13, 5)  # 2,410 and 200 parameters


def network(name: str, sizes: Network, *functions: str) -> Model:
    """A network of one hidden layer of tanh, softmax and its cross-entropy."""
    model = Model(name)
    N, (inputs, hidden, classes) = model.batch("N"), sizes
    x, y = model.input("x", N, inputs), model.labels("y", N, classes=classes)
    a = layers.dense(x, hidden, sp.tanh, name="hidden")
    z = layers.dense(a, classes, name="logits")
    model.minimize(losses.softmax_cross_entropy(z, y))
    model.predict(z)
    model.second_order(*functions)
    return model


def jax_loss(sizes: Network) -> Callable[..., Any]:
    inputs, hidden, classes = sizes
    ends = np.cumsum([inputs * hidden, hidden, hidden * classes, classes])

    def loss(flat: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = jnp.split(flat, ends[:-1])
        z = jnp.tanh(x @ W1.reshape(inputs, hidden) + b1) @ W2.reshape(hidden, classes) + b2
        return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(len(y)), y])

    return loss


def data(sizes: Network, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, sizes[0])).astype(np.float32), rng.integers(0, sizes[2], rows)


def medians(*runs: Callable[[], object], calls: int) -> list[float]:
    """Microseconds of a call of each, in rounds of one after the other."""
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    for _ in range(ROUNDS):
        for own, run in zip(times, runs, strict=True):
            start = perf_counter()
            for _ in range(calls):
                run()
            own.append((perf_counter() - start) / calls * 1e6)
    return [median(own) for own in times]


def made(model: Model, folder: Path) -> ModuleType:
    return runtime.load(generate(model, folder / f"{model.name}_kernels.py"))


def products(folder: Path) -> None:
    module = made(network("digits", DIGITS, "hessian_vector_product"), folder)
    x, y = data(DIGITS, BATCH)
    theta, v, loss = module.initial_parameters(0), module.initial_parameters(1), jax_loss(DIGITS)
    product = jax.jit(lambda p, v, x, y: jax.jvp(lambda q: jax.grad(loss)(q, x, y), (p,), (v,))[1])
    given = tuple(map(jnp.asarray, (theta, v, x, y)))
    agree(module.hessian_vector_product(theta, v, x, y), product(*given))
    gradient, own, jaxs = medians(
        lambda: module.loss_and_gradient(theta, x, y),
        lambda: module.hessian_vector_product(theta, v, x, y),
        lambda: product(*given).block_until_ready(),
        calls=500,
    )
    print(f"product with the Hessian, digits, batch {BATCH}: {own:.1f} µs, a gradient {gradient:.1f}, JAX {jaxs:.1f}")
    print(f"  product / gradient {own / gradient:.2f}; JAX / derivgen {jaxs / own:.2f}")


def hessians(folder: Path) -> None:
    module = made(network("small", SMALL, "hessian"), folder)
    theta, hessian = module.initial_parameters(0), jax.jit(jax.hessian(jax_loss(SMALL)))
    for rows in (BATCH, 8 * BATCH):
        x, y = data(SMALL, rows)
        given = tuple(map(jnp.asarray, (theta, x, y)))
        agree(module.hessian(theta, x, y), hessian(*given))
        own, jaxs = medians(
            lambda x=x, y=y: module.hessian(theta, x, y),
            lambda given=given: hessian(*given).block_until_ready(),
            calls=10,
        )
        print(f"Hessian of {theta.size} parameters, batch {rows}: {own:.0f} µs, JAX {jaxs:.0f}")
        print(f"  JAX / derivgen {jaxs / own:.2f}")


def agree(found: np.ndarray, expected: Any) -> None:
    expected = np.asarray(expected)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def curve(folder: Path) -> None:
    model = Model("decay", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    t, y = model.input("t", N), model.input("y", N)
    a, k, c = (model.parameter(name, init=value) for name, value in (("a", 1.0), ("k", 1.0), ("c", 0.0)))
    f = model.let("f", n, a * sp.exp(-k * t[n]) + c)
    model.least_squares(model.let("r", n, f[n] - y[n]))
    module = made(model, folder)
    times = np.linspace(0, 4, POINTS)
    noise = np.random.default_rng(0).standard_normal(POINTS)
    values = {"t": times, "y": 2.5 * np.exp(-1.3 * times) + 0.5 + 0.05 * noise}

    def decay(t: np.ndarray, a: float, k: float, c: float) -> np.ndarray:
        return a * np.exp(-k * t) + c

    start = module.initial_parameters()
    fit = runtime.fit_curve(module, values)
    best, covariance, info, *_ = curve_fit(decay, times, values["y"], p0=start, full_output=True)
    assert np.allclose(fit.parameters, best, rtol=1e-6)
    assert np.allclose(fit.covariance, covariance, rtol=1e-4)
    least, whole, scipys = medians(
        lambda: runtime.least_squares(module, values),
        lambda: runtime.fit_curve(module, values),
        lambda: curve_fit(decay, times, values["y"], p0=start),
        calls=20,
    )
    print(f"3 parameters, {POINTS:,} points: least_squares {least:.0f} µs, fit_curve {whole:.0f}, SciPy {scipys:.0f}")
    print(f"  SciPy / least_squares {scipys / least:.2f}; SciPy / fit_curve {scipys / whole:.2f}")
    print(f"  evaluations: {fit.evaluations} of residuals (and as many Jacobians at most), SciPy {info['nfev']}")


def newton(folder: Path) -> None:
    features, classes = load_breast_cancer(return_X_y=True)
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    model = Model("logistic", dtype="float64")
    N, D = model.batch("N"), x.shape[1]
    n, d = model.indices(n=N, d=D)
    inputs, y = model.input("x", N, D), model.input("y", N)
    w, b = model.parameter("w", D), model.parameter("b")
    z = model.let("z", n, sp.Sum(inputs[n, d] * w[d], d) + b)
    model.minimize(sp.Sum(w[d] ** 2, d) / 2 + sp.Sum(sp.log(1 + sp.exp(-y[n] * z[n])), n))
    model.second_order("hessian")
    module = made(model, folder)
    given = {"x": x, "y": 2.0 * classes - 1}
    result = runtime.minimize(module, given, method="newton")
    first = module.loss_and_gradient(module.initial_parameters(), **given)[1]
    print(f"Newton, logistic regression, {D + 1} parameters: {result.nit} iterations")
    print(f"  largest element of the gradient {np.abs(first).max():.0f} -> {np.abs(result.jac).max():.1e}")


def everything() -> None:
    names = [name for name in contract.DERIVATIVES if name != "residuals"]
    start = perf_counter()
    body = generate_body(network("digits", DIGITS, *names)).body
    seconds = perf_counter() - start
    functions = re.findall(r"^@kernel\ndef (\w+)\((.*?)(?=\n\n\n)", body, flags=re.DOTALL | re.MULTILINE)
    lines = {name: text.count("\n") + 1 for name, text in functions}
    longest = max(lines, key=lines.__getitem__)
    print(f"digits with all {len(names)} functions: generated in {seconds:.1f} s")
    print(f"  longest of {len(lines)} compiled functions: {longest}, {lines[longest]} lines")


def main() -> None:
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        products(Path(folder))
        hessians(Path(folder))
        curve(Path(folder))
        newton(Path(folder))
    everything()


if __name__ == "__main__":
    main()
