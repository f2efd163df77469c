"""Functions for formulas that SymPy does not have, or turns into others: those of the table in docs/spec.md."""

from __future__ import annotations

from derivgen.form.functions import (
    digamma,
    erfc,
    expm1,
    log1p,
    logaddexp,
    loggamma,
    root,
    sigmoid,
    softplus,
    stop_gradient,
    trigamma,
    xlogy,
)

__all__ = [
    "digamma",
    "erfc",
    "expm1",
    "log1p",
    "logaddexp",
    "loggamma",
    "root",
    "sigmoid",
    "softplus",
    "stop_gradient",
    "trigamma",
    "xlogy",
]
