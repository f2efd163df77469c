"""Penalties of parameters, to be added to a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from derivgen.activations.checks import option
from derivgen.declare.model import TensorSymbol
from derivgen.losses.terms import Terms


def l1_penalty(parameter: TensorSymbol | sp.Symbol, factor: float = 0.01) -> sp.Expr:
    """factor·Σ|w|, with derivative 0 at 0; as keras.regularizers.L1. Add it to a loss."""
    return penalty("l1_penalty", parameter, factor, sp.Abs)


def l2_penalty(parameter: TensorSymbol | sp.Symbol, factor: float = 0.01) -> sp.Expr:
    """factor·Σw², as keras.regularizers.L2. Add it to a loss."""
    return penalty("l2_penalty", parameter, factor, lambda w: w**2)


def penalty(function: str, parameter: TensorSymbol | sp.Symbol, factor: float, of: Callable[[sp.Expr], sp.Expr]) -> Any:
    """factor·Σ of(w) over the elements of a tensor; a parameter without axes has one element."""
    if isinstance(parameter, sp.Symbol):
        return option(function, "factor", factor) * of(parameter)
    terms = Terms(function, parameter=parameter)
    return terms.any_number("factor", factor) * terms.reduced(of(*terms.elements), None, "sum")
