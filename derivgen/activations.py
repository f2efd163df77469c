"""Activations: functions of an expression; and softmax, log_softmax and glu, which act along the last axis of a tensor.

Each is a formula, and none has a derivative. Wrong options raise ValueError. An option may be an expression if it may
be learned.
"""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeAlias

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.form import functions

# Source: Klambauer et al. 2017, equation 14.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

Option: TypeAlias = float | sp.Expr


def identity(z: sp.Expr) -> sp.Expr:
    """z itself, as in torch.nn.Identity."""
    return z


def relu(z: sp.Expr) -> sp.Expr:
    """max(z, 0), with derivative 0 at 0; as torch.nn.ReLU."""
    return sp.Max(z, 0)


def relu6(z: sp.Expr) -> sp.Expr:
    """min(max(z, 0), 6), with derivative 0 at 0 and at 6; as torch.nn.ReLU6."""
    return sp.Min(sp.Max(z, 0), 6)


def leaky_relu(z: sp.Expr, negative_slope: Option = 0.01) -> sp.Expr:
    """z where z > 0, else negative_slope·z, with derivative negative_slope at 0; as torch.nn.LeakyReLU."""
    return sp.Piecewise((z, z > 0), (option("leaky_relu", "negative_slope", negative_slope) * z, True))


def prelu(z: sp.Expr, slope: Option) -> sp.Expr:
    """leaky_relu with a learned slope, as torch.nn.PReLU.

    Declare `slope` as a parameter, and pass it as a scalar, or indexed by the channel. PyTorch's initial value is 0.25.
    """
    return sp.Piecewise((z, z > 0), (option("prelu", "slope", slope) * z, True))


def elu(z: sp.Expr, alpha: Option = 1.0) -> sp.Expr:
    """z where z > 0, else alpha·(exp(z) - 1), with derivative alpha at 0; as torch.nn.ELU."""
    return sp.Piecewise((z, z > 0), (option("elu", "alpha", alpha) * functions.expm1(z), True))


def selu(z: sp.Expr) -> sp.Expr:
    """elu times a scale; its two constants keep mean 0 and variance 1; as torch.nn.SELU."""
    return SELU_SCALE * elu(z, SELU_ALPHA)


def celu(z: sp.Expr, alpha: Option = 1.0) -> sp.Expr:
    """z where z > 0, else alpha·(exp(z/alpha) - 1), with derivative 1 at 0; as torch.nn.CELU. alpha is above 0."""
    a = option("celu", "alpha", alpha, above=0)
    return sp.Piecewise((z, z > 0), (a * functions.expm1(z / a), True))


def gelu(z: sp.Expr, approximate: str = "none") -> sp.Expr:
    """z·Φ(z) with the normal distribution function Φ, as torch.nn.GELU.

    `approximate="tanh"`: Φ(z) is (1 + tanh(√(2/π)·(z + 0.044715·z³)))/2. The formulas use erfc(-u) and sigmoid(2u),
    which equal 1 + erf(u) and (1 + tanh(u))/2 without their cancellation.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: expected approximate "none" or "tanh", found {approximate!r}')
    if approximate == "none":
        return z * functions.erfc(-z / sp.sqrt(2)) / 2
    return z * functions.sigmoid(2 * sp.sqrt(2 / sp.pi) * (z + 0.044715 * z**3))


def silu(z: sp.Expr) -> sp.Expr:
    """z·sigmoid(z), as torch.nn.SiLU; also called swish."""
    return z * functions.sigmoid(z)


def mish(z: sp.Expr) -> sp.Expr:
    """z·tanh(softplus(z)), as torch.nn.Mish."""
    return z * sp.tanh(functions.softplus(z))


def tanh(z: sp.Expr) -> sp.Expr:
    """The hyperbolic tangent, as torch.nn.Tanh."""
    return sp.tanh(z)


def hard_tanh(z: sp.Expr, min_value: float = -1.0, max_value: float = 1.0) -> sp.Expr:
    """z clipped to min_value .. max_value, with derivative 0 at both ends; as torch.nn.Hardtanh. min_value is the
    smaller.
    """
    low = option("hard_tanh", "min_value", min_value)
    return sp.Min(sp.Max(z, low), option("hard_tanh", "max_value", max_value, above=low))


def sigmoid(z: sp.Expr) -> sp.Expr:
    """1 / (1 + exp(-z)), as torch.nn.Sigmoid."""
    return functions.sigmoid(z)


def hard_sigmoid(z: sp.Expr) -> sp.Expr:
    """z/6 + 1/2 clipped to 0 .. 1, with derivative 0 at both ends; as torch.nn.Hardsigmoid."""
    return relu6(z + 3) / 6


def hard_swish(z: sp.Expr) -> sp.Expr:
    """z·hard_sigmoid(z), with derivatives 0 at -3 and 1 at 3; as torch.nn.Hardswish."""
    return z * hard_sigmoid(z)


def softplus(z: sp.Expr, beta: Option = 1.0) -> sp.Expr:
    """log(1 + exp(beta·z)) / beta with beta > 0, as torch.nn.Softplus.

    It is exact everywhere, so it has no threshold.
    """
    b = option("softplus", "beta", beta, above=0)
    return functions.softplus(b * z) / b


def softsign(z: sp.Expr) -> sp.Expr:
    """z / (1 + |z|), as torch.nn.Softsign."""
    return z / (1 + sp.Abs(z))


# ---- along the last axis


def softmax(z: TensorSymbol, *, name: str) -> Any:
    """exp(z) / Σ exp(z) along the last axis, as torch.nn.Softmax(dim=-1); it is a let `name` with z's shape."""
    *rows, i = tensor("softmax", z).model.local_indices(*z.shape)
    powers = sp.exp(z[(*rows, i)])
    return z.model.let(name, (*rows, i), powers / sp.Sum(powers, i))


def log_softmax(z: TensorSymbol, *, name: str) -> Any:
    """log(exp(z) / Σ exp(z)) along the last axis, as torch.nn.LogSoftmax(dim=-1); it is a let `name` with z's shape."""
    *rows, i = tensor("log_softmax", z).model.local_indices(*z.shape)
    powers = sp.exp(z[(*rows, i)])
    return z.model.let(name, (*rows, i), sp.log(powers / sp.Sum(powers, i)))


def glu(z: TensorSymbol, *, name: str) -> Any:
    """a·sigmoid(b), where a is the first half of the last axis and b the second, as torch.nn.GLU(dim=-1).

    It is a let `name`: (…, features) → (…, features/2). features must be even and fixed at generation.
    """
    model, (*batch, last) = tensor("glu", z).model, z.shape
    half = last.subs(model.fixed_sizes) / 2
    if not half.is_Integer:
        model.problem(
            f"glu {name}: expected a last axis of an even size, fixed at generation, found {last} in {z.name}"
        )
        return z
    *rows, i = model.local_indices(*batch, half)
    return model.let(name, (*rows, i), z[(*rows, i)] * functions.sigmoid(z[(*rows, i + half)]))


# ---- checks


def option(function: str, name: str, value: Any, above: Option | None = None) -> sp.Expr:
    """An option as an expression; ValueError where it is no finite number or expression, or not above the bound."""
    expected = "a number or an expression" if above is None else f"a number above {above}"
    # An expression that is no number is not known to be on either side.
    if not is_scalar(value) or (above is not None and sp.sympify(value <= above) == sp.true):
        raise ValueError(f"{function}: expected {expected} as {name}, found {value!r}")
    return exact(value)


def is_scalar(value: Any) -> bool:
    """Whether this is a finite number or an expression."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return math.isfinite(value)
    return isinstance(value, sp.Expr) and not isinstance(value, TensorSymbol) and value not in (sp.nan, sp.zoo, sp.oo)


def exact(value: Option) -> sp.Expr:
    """A number as SymPy's: 1.0 as the integer, which products drop."""
    if isinstance(value, numbers.Real) and float(value).is_integer():
        return sp.Integer(int(float(value)))
    return sp.sympify(value)


def tensor(function: str, value: Any, argument: str = "its argument") -> TensorSymbol:
    """The tensor itself; ValueError where it is none, or has no axes."""
    if not isinstance(value, TensorSymbol):
        kind = type(value).__name__
        raise ValueError(
            f"{function}: expected a tensor as {argument}, found {kind} {value}: give it a let over its indices"
        )
    return value
