"""Two modules of the contract, by hand and in NumPy: what the runtime needs of a module, without compiling one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from derivgen import store

COMMON = """\
from typing import NamedTuple

import numpy as np

CONTRACT = 1
real = np.REAL


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


def views(parameters):
    return {
        p.name: parameters[p.offset : p.offset + int(np.prod(p.shape))].reshape(p.shape) for p in PARAMETERS
    }


def optimizer_state():
    return [0]


def update(parameters, gradient, state, learning_rate=0.1):
    state[0] += 1
    parameters -= real(learning_rate) * gradient
"""

# loss = Σ_n (Σ_d x[n,d]·u[d]·W[d] + b[k[n]] - t[n])² / N
REGRESSION = """\

SAMPLE_AXIS = "N"
PARAMETERS = (Parameter("W", (2,), "REAL", 0), Parameter("b", (2,), "REAL", 2))
INPUTS = (
    Input("x", ("N", 2), "REAL", None),
    Input("k", ("N",), "int64", 2),
    Input("t", ("N",), "REAL", None),
    Input("u", (2,), "REAL", None),
)


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


def train_epoch(parameters, state, order, batch_size, x, k, t, u, learning_rate=0.1):
    check(dict(x=x, k=k, t=t, u=u))
    total = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        value, gradient = loss_and_gradient(parameters, x=x[rows], k=k[rows], t=t[rows], u=u)
        update(parameters, gradient, state, learning_rate)
        total += len(rows) * value
    return total / len(order)


def descend(parameters, state, steps, learning_rate=0.1, **inputs):
    losses = np.empty(steps, real)
    for i in range(steps):
        losses[i], gradient = loss_and_gradient(parameters, **inputs)
        update(parameters, gradient, state, learning_rate)
    return losses
"""

# loss = Σ_i (v[i] - 3)²
BOWL = """\

SAMPLE_AXIS = None
PARAMETERS = (Parameter("v", (3,), "REAL", 0), Parameter("c", (), "REAL", 3))
INPUTS = ()


def initial_parameters(seed=0):
    return np.zeros(4, real)


def loss(parameters):
    return float(np.sum((parameters[:3] - 3) ** 2))


def loss_and_gradient(parameters):
    return loss(parameters), np.append(2 * (parameters[:3] - 3), 0).astype(real)


def descend(parameters, state, steps, learning_rate=0.1):
    losses = np.empty(steps, real)
    for i in range(steps):
        losses[i], gradient = loss_and_gradient(parameters)
        update(parameters, gradient, state, learning_rate)
    return losses
"""


def body_of(model: str, dtype: str = "float32") -> str:
    return (COMMON + {"regression": REGRESSION, "bowl": BOWL}[model]).replace("REAL", dtype)


def module_text(model: str = "regression", dtype: str = "float32", body: str | None = None) -> str:
    """The text of a module as `derivgen generate` would write it."""
    body = body or body_of(model, dtype)
    header = {"spec_digest": "0123456789abcdef", "sizes": "D = 2; N at run time", "cost": "a step: at most 12*N flops"}
    generated = SimpleNamespace(name=model, body=body, **header)
    return store.assemble(generated, f"{model}.py", store.command_line(f"{model}.py"))


def write_module(folder: Path, model: str = "regression", dtype: str = "float32") -> Path:
    path = folder / f"{model}_kernels.py"
    path.write_text(module_text(model, dtype))
    return path
