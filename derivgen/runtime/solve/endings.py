"""Where a search for the least squares ended: at a minimum, on a plateau, or at neither."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import listed
from derivgen.runtime.solve.marquardt import EPSILON, Array, Linearization, influence, linearized, norm, normal_matrix
from derivgen.runtime.solve.objective import parameter_at

NO_MINIMUM = -3  # the status; SciPy's own go down to -2
AT_REST = 1e-3  # share of the residuals' length that a linear fit may still take away: Bates and Watts' figure
ROUNDING = 100  # times the change by the rounding of all parameters: what the residuals at a minimum may be off
SHARED = 1e-10  # share of a parameter, squared, in the directions along which nothing changes
NONE = np.array([], int)
CURE = "start elsewhere by parameters=..., keep it within bounds=..., or leave it out of the model"


@dataclass(frozen=True, slots=True)
class Place:
    """Parameters, shape (T,), with their residuals, shape (R,), and Jacobian, shape (R, T), dense or sparse."""

    x: Array
    r: Array
    J: Any


def judge(result: Any, module: ModuleType, start: Place, *, whole: bool, tolerance: float) -> None:
    """Take the success from a result that is no minimum, and say what it is; `undetermined` names the parameters.

    `whole`: the gradient is 0 at a minimum, and Jacobians may be decomposed; if not, only their columns are looked at.
    `tolerance`: the loosest that the search was given, for lengths. Where all residuals are 0, nothing fits better.
    """
    end, positions, message = Place(result.x, result.fun, result.jac), NONE, None
    normal = normal_of(result) if whole else None
    lengths = lengths_of_columns(end.J) if normal is None else np.sqrt(normal.diagonal())
    if norm(end.r) > 0 and np.isfinite(lengths).all():
        positions = without_influence(start, end, lengths)
        if positions.size:
            message = "at the end, a plateau, none of these changes them by more than rounding"
        elif normal is not None and result.success:
            model = linear_fit(end, normal, lengths)
            positions = confounded(start, model)
            if positions.size:
                message = "at the end they can't tell these apart, as they could at the start"
            else:
                rounding = float(np.finfo(module.real).eps) * influence(lengths, end.x, norm(end.r))
                message = unrest(model, norm(end.r), max(AT_REST, 10 * tolerance, ROUNDING * rounding))
    result.undetermined = [parameter_at(module, int(k)) for k in positions]
    if positions.size:
        message = f"the residuals don't determine {listed(result.undetermined)}: {message}: {CURE}"
    if message:
        result.success, result.status, result.message = False, NO_MINIMUM, message


def normal_of(result: Any) -> Array:
    """JᵀJ at the end, shape (T, T)."""
    return result.normal if "normal" in result else normal_matrix(result.jac)


def lengths_of_columns(J: Any) -> Array:
    if hasattr(J, "tocsc"):
        return np.sqrt(J.multiply(J).sum(axis=0))
    return np.sqrt(np.einsum("rt,rt->t", J, J))


def linear_fit(place: Place, normal: Array, lengths: Array) -> Linearization:
    return linearized(place.J, place.r, normal, place.r @ place.J, np.where(lengths > 0, lengths, 1.0))


def without_influence(start: Place, end: Place, lengths: Array) -> Array:
    """Positions of the parameters that change the residuals at the end by no more than rounding.

    Each is changed by as much as it is there, or at the start; by 1 where it started at 0.
    """
    reach = np.maximum(np.abs(end.x), np.where(start.x == 0, 1.0, np.abs(start.x)))
    return np.flatnonzero(lengths * reach <= EPSILON * norm(end.r))


def confounded(start: Place, model: Linearization) -> Array:
    """Positions of the parameters along which the residuals change no more, if fewer of them did not at the start."""
    rank = len(model.squares)
    if rank == len(start.x):
        return NONE
    normal = normal_matrix(start.J)
    if rank >= len(linear_fit(start, normal, np.sqrt(normal.diagonal())).squares):
        return NONE
    return np.flatnonzero(1 - np.sum(model.axes**2, axis=1) > SHARED)


def unrest(model: Linearization, size: float, at_rest: float) -> str | None:
    """What to say where the linear fit takes more than this share of the residuals' length away."""
    left = norm(model.slopes / np.sqrt(model.squares)) / size
    if left <= at_rest:
        return None
    percent = 100 * left**2
    share = f"{percent:.2g}" if percent < 99.5 else f"{percent:.0f}"
    return (
        "the search stopped before a minimum, since its steps became too small: by the slopes there, the cost can "
        f"still fall by {share} %. The usual causes are parameters that run off to infinity, or a start of another "
        "order of magnitude: start elsewhere by parameters=..."
    )
