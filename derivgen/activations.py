"""Activations: functions of an expression, none with a derivative of its own."""

from __future__ import annotations

import sympy as sp

from derivgen import functions


def identity(z: sp.Expr) -> sp.Expr:
    """z itself, as torch.nn.Identity."""
    return z


def relu(z: sp.Expr) -> sp.Expr:
    """max(z, 0), with derivative 0 at 0; as torch.nn.ReLU."""
    return sp.Max(z, 0)


def tanh(z: sp.Expr) -> sp.Expr:
    """The hyperbolic tangent, as torch.nn.Tanh."""
    return sp.tanh(z)


def sigmoid(z: sp.Expr) -> sp.Expr:
    """1 / (1 + exp(-z)), as torch.nn.Sigmoid."""
    return functions.sigmoid(z)


def softplus(z: sp.Expr) -> sp.Expr:
    """log(1 + exp(z)), as torch.nn.Softplus with its defaults."""
    return functions.softplus(z)
