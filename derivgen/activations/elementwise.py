"""Activations of an expression."""

from __future__ import annotations

import sympy as sp

from derivgen.activations.checks import Option, option
from derivgen.form import functions

# Source: Klambauer et al. 2017, equation 14.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def identity(z: sp.Expr) -> sp.Expr:
    """z itself, as in torch.nn.Identity."""
    return z


def linear(z: sp.Expr) -> sp.Expr:
    """z itself, as keras.activations.linear."""
    return z


def relu(z: sp.Expr) -> sp.Expr:
    """max(z, 0), with derivative 0 at 0; as torch.nn.ReLU."""
    return sp.Max(z, 0)


def relu6(z: sp.Expr) -> sp.Expr:
    """min(max(z, 0), 6), with derivative 0 at 0 and at 6; as torch.nn.ReLU6."""
    return sp.Min(sp.Max(z, 0), 6)


def threshold(z: sp.Expr, threshold: Option, value: Option) -> sp.Expr:
    """z where z > threshold, else value; as torch.nn.Threshold."""
    return sp.Piecewise(
        (option("threshold", "value", value), z <= option("threshold", "threshold", threshold)), (z, True)
    )


def hard_shrink(z: sp.Expr, lambd: Option = 0.5) -> sp.Expr:
    """z where |z| > lambd, else 0; as torch.nn.Hardshrink. lambd is above 0."""
    return sp.Piecewise((0, sp.Abs(z) <= option("hard_shrink", "lambd", lambd, above=0)), (z, True))


def soft_shrink(z: sp.Expr, lambd: Option = 0.5) -> sp.Expr:
    """z moved towards 0 by lambd, and 0 where |z| ≤ lambd; as torch.nn.Softshrink. lambd is above 0."""
    bound = option("soft_shrink", "lambd", lambd, above=0)
    return sp.Max(z - bound, 0) + sp.Min(z + bound, 0)


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


def tanh_shrink(z: sp.Expr) -> sp.Expr:
    """z - tanh(z), as torch.nn.Tanhshrink; near 0 it has the digits of a difference of nearly equal numbers."""
    return z - sp.tanh(z)


def hard_tanh(z: sp.Expr, min_value: float = -1.0, max_value: float = 1.0) -> sp.Expr:
    """z clipped to min_value .. max_value, with derivative 0 at both ends; as torch.nn.Hardtanh. min_value is the
    smaller.
    """
    low = option("hard_tanh", "min_value", min_value)
    return sp.Min(sp.Max(z, low), option("hard_tanh", "max_value", max_value, above=low))


def sigmoid(z: sp.Expr) -> sp.Expr:
    """1 / (1 + exp(-z)), as torch.nn.Sigmoid."""
    return functions.sigmoid(z)


def log_sigmoid(z: sp.Expr) -> sp.Expr:
    """log(sigmoid(z)), as torch.nn.LogSigmoid."""
    return -functions.softplus(-z)


def hard_sigmoid(z: sp.Expr) -> sp.Expr:
    """z/6 + 1/2 clipped to 0 .. 1, with derivative 0 at both ends; as torch.nn.Hardsigmoid."""
    return relu6(z + 3) / 6


def hard_swish(z: sp.Expr) -> sp.Expr:
    """z·hard_sigmoid(z), with derivatives 0 at -3 and 1 at 3; as torch.nn.Hardswish."""
    return z * hard_sigmoid(z)


def sparse_sigmoid(z: sp.Expr) -> sp.Expr:
    """(z + 1)/2 clipped to 0 .. 1, with derivative 0 at both ends; as keras.activations.sparse_sigmoid."""
    return sp.Min(sp.Max((z + 1) / 2, 0), 1)


def softplus(z: sp.Expr, beta: Option = 1.0) -> sp.Expr:
    """log(1 + exp(beta·z)) / beta with beta > 0, as torch.nn.Softplus.

    It is exact everywhere, so it has no threshold.
    """
    b = option("softplus", "beta", beta, above=0)
    return functions.softplus(b * z) / b


def sparse_plus(z: sp.Expr) -> sp.Expr:
    """0 where z ≤ -1, z where z ≥ 1, else (z + 1)²/4; as keras.activations.sparse_plus."""
    return sp.Piecewise((0, z <= -1), (z, z >= 1), ((z + 1) ** 2 / 4, True))


def squareplus(z: sp.Expr, b: Option = 4.0) -> sp.Expr:
    """(z + √(z² + b))/2, as keras.activations.squareplus; where z ≤ 0 as b/(√(z² + b) - z)/2, which does not cancel.

    b is above 0.
    """
    positive = option("squareplus", "b", b, above=0)
    root = sp.sqrt(z**2 + positive)
    return sp.Piecewise(((z + root) / 2, z > 0), (positive / (root - z) / 2, True))


def exponential(z: sp.Expr) -> sp.Expr:
    """exp(z), as keras.activations.exponential."""
    return sp.exp(z)


def softsign(z: sp.Expr) -> sp.Expr:
    """z / (1 + |z|), as torch.nn.Softsign."""
    return z / (1 + sp.Abs(z))
