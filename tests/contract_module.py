"""Two modules of the contract, by hand and in NumPy: what the runtime needs of a module, without compiling one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from derivgen.file import headers

DIGEST = "0123456789abcdef"

COMMON = """\
from typing import NamedTuple

import numpy as np

CONTRACT = 1
real = np.REAL


class Compiling:
    seconds = 0.0
    tell = print


COMPILING = Compiling()


class Parameter(NamedTuple):
    name: str
    shape: tuple
    dtype: str
    offset: int


class Input(NamedTuple):
    name: str
    shape: tuple
    dtype: str
    classes: int | None
    ignore: int | None


class Layer(NamedTuple):
    name: str
    parameters: tuple


class State(NamedTuple):
    step: np.ndarray  # (1,)
    m: np.ndarray  # (P,)


def views(parameters):
    return {
        p.name: parameters[p.offset : p.offset + int(np.prod(p.shape))].reshape(p.shape) for p in PARAMETERS
    }


def optimizer_state():
    return State(np.zeros(1, np.int64), np.zeros_like(initial_parameters()))


def update(parameters, gradient, state, *, learning_rate=0.1, momentum=0.0):
    state.step[0] += 1
    state.m[:] = real(momentum) * state.m + gradient
    parameters -= real(learning_rate) * state.m
"""

# h[n,d] = x[n,d]·u[d]·W[d]
# r[n] = Σ_d h[n,d] + b[k[n]] - t[n]
# loss = Σ_n r[n]² / N
REGRESSION = """\

SAMPLE_AXIS = "N"
PARAMETERS = (Parameter("W", (2,), "REAL", 0), Parameter("b", (2,), "REAL", 2))
INPUTS = (
    Input("x", ("N", 2), "REAL", None, None),
    Input("k", ("N",), "int64", 2, None),
    Input("t", ("N",), "REAL", None, None),
    Input("u", (2,), "REAL", None, None),
)
LAYERS = (Layer("h", ("W",)), Layer("r", ("b",)), Layer("loss", ()))


def initial_parameters(seed=0):
    return np.random.default_rng(seed).normal(size=4).astype(real)


def check(inputs):
    for declared in INPUTS:
        if declared.name not in inputs:
            raise TypeError(f"input {declared.name} is missing")
        if declared.classes is None and inputs[declared.name].dtype != declared.dtype:
            raise TypeError(f"{declared.name} must be {declared.dtype}, found {inputs[declared.name].dtype}")
    extra = [name for name in inputs if name not in [i.name for i in INPUTS]]
    if extra:
        raise TypeError(f"unknown input {extra[0]}")


def residuals(parameters, x, k, t, u):
    return x * u @ parameters[:2] + parameters[2:][k] - t


def loss(parameters, **inputs):
    check(inputs)
    return float(np.mean(residuals(parameters, **inputs) ** 2))


def loss_and_gradient(parameters, **inputs):
    check(inputs)
    r = residuals(parameters, **inputs)
    gradient = np.zeros_like(parameters)
    gradient[:2] = 2 * (inputs["x"] * inputs["u"]).T @ r / len(r)
    np.add.at(gradient[2:], inputs["k"], 2 * r / len(r))
    return float(np.mean(r**2)), gradient


def batches(order, batch_size, x, k, t, u):
    check(dict(x=x, k=k, t=t, u=u))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield len(rows), dict(x=x[rows], k=k[rows], t=t[rows], u=u)


def train_epoch(parameters, state, order, batch_size, x, k, t, u, *, learning_rate=0.1, momentum=0.0, drop_last=False):
    if drop_last:
        order = order[: len(order) // batch_size * batch_size]
    total = 0.0
    for rows, inputs in batches(order, batch_size, x, k, t, u):
        value, gradient = loss_and_gradient(parameters, **inputs)
        update(parameters, gradient, state, learning_rate=learning_rate, momentum=momentum)
        total += rows * value
    return total / len(order)


def mean_gradient(parameters, order, batch_size, x, k, t, u):
    total, mean = 0.0, np.zeros_like(parameters)
    for rows, inputs in batches(order, batch_size, x, k, t, u):
        value, gradient = loss_and_gradient(parameters, **inputs)
        total += rows * value
        mean += real(rows / len(order)) * gradient
    return total / len(order), mean


def descend(parameters, state, steps, x, k, t, u, *, learning_rate=0.1, momentum=0.0):
    losses = np.empty(steps, real)
    for i in range(steps):
        losses[i], gradient = loss_and_gradient(parameters, x=x, k=k, t=t, u=u)
        update(parameters, gradient, state, learning_rate=learning_rate, momentum=momentum)
    return losses


def activations(parameters, x, k, t, u):
    check(dict(x=x, k=k, t=t, u=u))
    values = x * u * parameters[:2], residuals(parameters, x, k, t, u)[:, None]
    observed = np.full((len(LAYERS), 2), np.nan)
    for seen, layer in zip(observed, values):  # the loss is a single number
        seen[:] = np.sqrt(np.mean(np.square(layer, dtype=float))), np.mean((layer == 0).all(axis=0))
    return observed
"""

# loss = Σ_i (v[i] - 3)²
BOWL = """\

SAMPLE_AXIS = None
PARAMETERS = (Parameter("v", (3,), "REAL", 0), Parameter("c", (), "REAL", 3))
INPUTS = ()
LAYERS = (Layer("loss", ("v",)),)


def initial_parameters(seed=0):
    return np.zeros(4, real)


def loss(parameters):
    return float(np.sum((parameters[:3] - 3) ** 2))


def loss_and_gradient(parameters):
    return loss(parameters), np.append(2 * (parameters[:3] - 3), 0).astype(real)


def descend(parameters, state, steps, *, learning_rate=0.1, momentum=0.0):
    losses = np.empty(steps, real)
    for i in range(steps):
        losses[i], gradient = loss_and_gradient(parameters)
        update(parameters, gradient, state, learning_rate=learning_rate, momentum=momentum)
    return losses
"""


def body_of(model: str, dtype: str = "float32") -> str:
    return (COMMON + {"regression": REGRESSION, "bowl": BOWL}[model]).replace("REAL", dtype)


def module_text(model: str = "regression", dtype: str = "float32", body: str | None = None) -> str:
    """The text of a module as `derivgen generate` would write it."""
    body = body or body_of(model, dtype)
    header = {"spec_digest": DIGEST, "sizes": "D = 2; N at run time", "costs": ("a step: at most 12*N flops",)}
    generated = SimpleNamespace(name=model, body=body, generator="01234567", **header)
    return headers.assemble(generated, f"{model}.py", headers.command_line(f"{model}.py"))


def write_module(folder: Path, model: str = "regression", dtype: str = "float32", digest: str = DIGEST) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{model}_kernels.py"
    path.write_text(module_text(model, dtype).replace(DIGEST, digest))
    return path
