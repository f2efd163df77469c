"""Least squares by Levenberg and Marquardt's method, for up to some hundred parameters, whose matrix it solves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]

NEAR_SINGULAR = 1e-10  # of JᵀJ, where half of the digits of its least eigenvalues are wrong: then J is decomposed
WORTHWHILE = 1e-4  # share of the predicted reduction that a step must bring
EVALUATIONS = 1000  # for each parameter
EPSILON = float(np.finfo(np.float64).eps)
VISIBLE = 1e-130  # singular value whose square, and what it is divided by, do not underflow
MESSAGES = {
    -1: "the Jacobian is not finite",
    0: "the largest number of evaluations was reached",
    1: "the residuals are orthogonal to the Jacobian, to gtol",
    2: "the cost changes by less than ftol of it",
    3: "the parameters change by less than xtol of them",
    4: "the cost and the parameters change by less than ftol and xtol of them",
}


class Tolerances(NamedTuple):
    """MINPACK's: `ftol` of the relative reduction of the cost, actual and predicted, `xtol` of the relative step, and
    `gtol` of the cosine between the residuals and any column of the Jacobian."""

    ftol: float
    xtol: float
    gtol: float


class Linearization(NamedTuple):
    """J·D⁻¹ = U·diag(σ)·Vᵀ at a point, as far as steps need it; D is the scale of the parameters."""

    scale: Array  # the diagonal of D, shape (P,)
    squares: Array  # σ² > 0, shape (K,)
    axes: Array  # V, shape (P, K)
    slopes: Array  # diag(σ)·Uᵀr, shape (K,)


class Step(NamedTuple):
    """A step, its length after scaling, and the relative reduction of the cost that the linearization predicts."""

    step: Array
    length: float
    curvature: float  # ‖J·s‖² / ‖r‖²
    damping: float  # λ
    damped: float  # λ·‖D·s‖² / ‖r‖²

    @property
    def predicted(self) -> float:
        return self.curvature + 2 * self.damped


def levenberg_marquardt(
    residuals: Function,
    jacobian: Function,
    start: Array,
    first: tuple[Array, Array],
    *,
    ftol: float = EPSILON,
    xtol: float = 1e-8,
    gtol: float = 1e-8,
    max_nfev: int | None = None,
) -> Any:
    """SciPy's OptimizeResult: the fields that `scipy.optimize.least_squares` gives, and JᵀJ as `normal`.

    The algorithm is Moré's, as in MINPACK: a step s solves (JᵀJ + λ·D²)·s = -Jᵀr, where D holds the largest norms of
    the Jacobian's columns so far, and λ is such that D·s is no longer than a trusted radius: at first the length of
    D·x, where MINPACK trusts a hundred times that, or of the residuals if the search starts at 0. It decomposes JᵀJ, a
    product of matrices, in a fraction of the time that a factorization of J takes. The tolerances are MINPACK's.
    That of the cost is by default its rounding: where it changes by a part ε, parameters are off by √ε of their errors.
    `first` are the residuals, shape (R,), and the Jacobian, shape (R, P), dense or sparse, at the start.
    """
    tolerances = Tolerances(max(ftol, EPSILON), max(xtol, EPSILON), gtol)
    limit = EVALUATIONS * len(start) if max_nfev is None else max_nfev
    with np.errstate(over="ignore", invalid="ignore"):  # a step too far is taken back
        return search(residuals, jacobian, start, first, tolerances, limit)


def search(
    residuals: Function,
    jacobian: Function,
    x: Array,
    first: tuple[Array, Array],
    tolerances: Tolerances,
    limit: int,
) -> Any:
    (r, J), scale, radius = first, np.zeros(len(x)), math.inf
    evaluations, jacobians, status = 1, 1, None
    while True:
        normal, gradient, size = normal_matrix(J), r @ J, norm(r)
        lengths = np.sqrt(normal.diagonal())
        scale = np.maximum(scale, lengths)
        status = at_rest(normal, gradient, size, tolerances.gtol) if status is None else status
        if status is not None:
            return result(x, r, J, normal, gradient, evaluations, jacobians, status)
        model = linearized(J, r, normal, gradient, np.where(scale > 0, scale, 1.0))
        if jacobians == 1:
            radius = norm(scale * x) or size  # a longer step may end where a parameter has no influence any more
        noise, gain = EPSILON * influence(lengths, x, size), 0.0
        while gain < WORTHWHILE and status is None:
            step = longest_step(model, size, radius)
            tried = x + step.step
            r_tried = residuals(tried)
            radius = step.length if evaluations == 1 and step.length < radius else radius
            evaluations += 1
            ratio = norm(r_tried) / size
            reduction = 1 - ratio * ratio if ratio < math.inf else -math.inf  # not for NaN either
            gain = reduction / step.predicted if step.predicted > 0 else 0.0
            if step.damping == 0 and max(abs(reduction), step.predicted) <= noise:
                gain = 1.0  # the slopes know what the cost, in its rounding, can't tell
            radius = next_radius(radius, step, reduction, gain)
            accepted = tried if gain >= WORTHWHILE else x
            status = ending(reduction, step.predicted, gain, radius, norm(model.scale * accepted), tolerances)
            status = 0 if status is None and evaluations >= limit else status
        if gain >= WORTHWHILE:
            x, r, J = tried, r_tried, jacobian(tried)
            jacobians += 1


def normal_matrix(J: Any) -> Array:
    """JᵀJ, shape (P, P)."""
    from scipy.linalg.blas import dgemm
    from scipy.sparse import issparse

    if issparse(J):
        return (J.T @ J).toarray()
    # NumPy takes another routine for a matrix times itself, which is slow where P is small.
    return dgemm(1.0, J, J, trans_a=True) if J.flags.f_contiguous else dgemm(1.0, J.T, J.T, trans_b=True)


def influence(lengths: Array, x: Array, size: float) -> float:
    """How much the residuals change, in units of their length, where each parameter changes by as much as it is.

    By so many roundings the residuals are off, since the parameters are rounded. `lengths` are of the Jacobian's
    columns.
    """
    return float(lengths @ np.abs(x)) / size


def at_rest(normal: Array, gradient: Array, size: float, gtol: float) -> int | None:
    """The status of a point where no step is needed, or none is possible."""
    if not np.isfinite(normal).all():
        return -1
    lengths = np.sqrt(normal.diagonal()) * size
    return 1 if size == 0 or np.all(np.abs(gradient) <= gtol * lengths) else None


def linearized(J: Array, r: Array, normal: Array, gradient: Array, scale: Array) -> Linearization:
    squares, axes = np.linalg.eigh(normal / (scale[:, None] * scale))
    if squares[0] > NEAR_SINGULAR * squares[-1]:
        return Linearization(scale, squares, axes, (gradient / scale) @ axes)
    left, sigma, right = np.linalg.svd(dense(J) / scale, full_matrices=False)
    some = sigma > max(EPSILON * max(J.shape) * sigma[0], VISIBLE)  # along the others nothing changes
    return Linearization(scale, sigma[some] ** 2, right[some].T, sigma[some] * (r @ left[:, some]))


def dense(J: Any) -> Array:
    return J.toarray() if hasattr(J, "toarray") else J


def longest_step(model: Linearization, size: float, radius: float) -> Step:
    """The step of Gauss and Newton, or the damped one that is as long as the radius, to a tenth."""
    damping = 0.0
    while True:
        shifted = model.squares + damping
        along = model.slopes / shifted
        length = norm(along)
        if length <= 1.1 * radius:
            break
        # Newton's method for 1/length = 1/radius, which is concave in the damping, so that it never goes too far.
        unit = along / length
        damping += (length / radius - 1) / float(unit @ (unit / shifted))
    whole = size * size
    curvature = float(along @ (model.squares * along)) / whole
    return Step(-(model.axes @ along) / model.scale, length, curvature, damping, damping * length**2 / whole)


def next_radius(radius: float, step: Step, reduction: float, gain: float) -> float:
    if gain > 0.25:
        return 2 * step.length if step.damping == 0 or gain >= 0.75 else radius
    if reduction >= 0:
        shrink = 0.5
    else:  # the minimum of the parabola through both costs and the slope
        slope = -(step.curvature + step.damped)
        shrink = max(0.1, 0.5 * slope / (slope + 0.5 * reduction)) if reduction > -99 else 0.1
    return shrink * min(radius, 10 * step.length)


def ending(
    reduction: float, predicted: float, gain: float, radius: float, length: float, tolerances: Tolerances
) -> int | None:
    """The status where the tolerances are met."""
    flat = abs(reduction) <= tolerances.ftol and predicted <= tolerances.ftol and gain <= 2
    short = radius <= tolerances.xtol * length
    return {(True, True): 4, (True, False): 2, (False, True): 3}.get((flat, short))


def norm(vector: Array) -> float:
    return math.sqrt(vector @ vector)


def result(
    x: Array, r: Array, J: Array, normal: Array, gradient: Array, evaluations: int, jacobians: int, status: int
) -> Any:
    from scipy.optimize import OptimizeResult

    return OptimizeResult(
        x=x,
        fun=r,
        cost=0.5 * float(r @ r),
        jac=J,
        normal=normal,
        grad=gradient,
        optimality=float(np.max(np.abs(gradient), initial=0.0)),
        active_mask=np.zeros(len(x), int),
        nfev=evaluations,
        njev=jacobians,
        status=status,
        message=MESSAGES[status],
        success=status > 0,
    )
