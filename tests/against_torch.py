"""Generated modules against PyTorch: the value and every gradient of what a function of the libraries declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp
import torch
from generated import execute, module_text

from derivgen.declare.model import Model, TensorSymbol
from derivgen.form.program import Role
from derivgen.form.randomness import random_tensors
from derivgen.pipeline import declared_program
from derivgen.prepare.modes import has_modes
from derivgen.project.gradcheck import module_gradient, random_values

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}  # of a tensor, relative to its largest element in float64

Values = Mapping[str, np.ndarray]


def against_torch(
    declare: Callable[[Model], Any],
    reference: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    values: Values | None = None,
    dtype: str = "float64",
    rows: int = 3,
    seed: int = 0,
) -> None:
    """Raise AssertionError where the objective or a gradient is off.

    declare: declares all on the model, and returns a tensor, whose elements are then weighted at random, or a scalar
    expression. reference: the same from PyTorch's float64 tensors, by name. `values` are those of inputs, labels and
    parameters where they matter; the others are normal. Declare what a gradient is wanted of as a parameter. All is in
    training; random tensors are among PyTorch's too.
    """
    model = Model("under_test")
    objective = scalar(model, declare(model))
    model.minimize(objective)
    declared = declared_program(model)
    given = {**random_values(declared, dtype, rows, seed), **(values or {})}
    module = execute(module_text(model, dtype))
    flat = np.concatenate([np.ravel(given[p.name]) for p in declared.vector]).astype(dtype)
    inputs = {t.name: given[t.name] for t in declared.of_role(Role.INPUT, Role.LABELS)}
    mode = {"training": True} if has_modes(declared) else {}
    with np.errstate(all="ignore"):
        loss, gradient = module.loss(flat, **inputs, **mode), module_gradient(module, declared, given)
    given |= random_tensors(declared, {name: rows for name, _ in declared.sizes})
    tensors = {name: torch.as_tensor(value) for name, value in given.items()}
    tensors |= {n: v.double() for n, v in tensors.items() if v.is_floating_point()}
    for p in declared.parameters:
        tensors[p.name].requires_grad_()
    expected = reference(tensors)
    if expected.dim():
        expected = (expected * torch.as_tensor(declared.tensor(WEIGHTS).value)).sum()
    expected.backward()
    assert_close("objective", loss, expected.detach().numpy(), dtype)
    for p in declared.parameters:
        grad = tensors[p.name].grad
        wanted = np.zeros(np.shape(given[p.name])) if grad is None else grad.numpy()
        assert_close(f"{p.name}_bar", gradient[p.name], wanted, dtype)


WEIGHTS = "weights_of_the_test"


def scalar(model: Model, result: Any) -> sp.Expr:
    """The expression itself, or the sum of a tensor's elements, each with a weight of its own.

    Such a tensor has fixed sizes only.
    """
    if not isinstance(result, TensorSymbol):
        return result
    shape = [int(sp.sympify(extent).subs(model.fixed_sizes)) for extent in result.shape]
    weights = model.constant(WEIGHTS, np.random.default_rng(1).standard_normal(shape))
    indices = model.local_indices(*shape)
    return sp.Sum(weights[indices] * result[indices], *indices)


def assert_close(name: str, found: Any, expected: np.ndarray, dtype: str) -> None:
    scale = np.max(np.abs(expected))
    error = np.max(np.abs(np.asarray(found, np.float64) - expected))
    assert error <= TOLERANCE[dtype] * scale, f"{name} is off by {error / scale if scale else error}"
