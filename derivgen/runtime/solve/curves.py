"""Curve fitting: parameters with their standard errors, intervals and bands, by exact Jacobians."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Never

import numpy as np
from numpy.typing import ArrayLike

from derivgen.errors import DerivgenError, counted, listed
from derivgen.runtime.data.given import Data, named_inputs, refuse_separate
from derivgen.runtime.data.inputs import unmasked
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.nonfinite import element
from derivgen.runtime.predicting import mixed_inputs, predict, prediction_data
from derivgen.runtime.solve.curve_picture import draw_fit
from derivgen.runtime.solve.endings import normal_of
from derivgen.runtime.solve.fitting import Residuals, refuse_arguments, solved
from derivgen.runtime.solve.objective import Objective, Start, accepted, needed, objective_of, parameter_at
from derivgen.runtime.solve.observed import observed_inputs
from derivgen.stages import watched

Array = np.ndarray[Any, Any]
EPSILON = float(np.finfo(np.float64).eps)
FEW = 6  # parameters that the text of a fit shows
AT_BOUND = 1e-3  # standard errors from a bound, within which a parameter is on it
WELL_CONDITIONED = 1e-3  # of JᵀJ, whose eigenvalues then have 13 digits; else those of J are taken, where it is dense


@dataclass(frozen=True, slots=True, repr=False)
class CurveFit:
    """The result of `fit_curve`: fitted parameters, flat, shape (P,), in the module's dtype, with views by name.

    `standard_errors` has an array of the tensor's shape for each trained parameter. `covariance`, shape (T, T), covers
    the trained part of the flat vector, which is all of it unless the model has running tensors. Both are infinite
    where the data don't determine the parameters. `undetermined` names the parameters that the residuals don't
    determine, `at_bounds` those that lie on a bound, both by element, as `W[2, 3]`. `residual_deviation` is
    √(2·cost / degrees_of_freedom), NaN without degrees of freedom.
    """

    parameters: Array = field(repr=False)
    views: Mapping[str, Array]
    standard_errors: Mapping[str, Array]
    covariance: Array = field(repr=False)
    residual_deviation: float
    degrees_of_freedom: int
    cost: float
    evaluations: int
    message: str
    success: bool
    absolute_sigma: bool
    undetermined: tuple[str, ...]
    at_bounds: tuple[str, ...]
    factor: Array = field(repr=False)  # covariance = factor·factorᵀ, shape (T, T)
    objective: Objective = field(repr=False)

    def __repr__(self) -> str:
        """`CurveFit(room 20.4 ± 0.876, rate 0.079 ± 0.0029; residual standard deviation 0.849)`"""
        shown = [f"{name} {self.views[t][k]:.3g} ± {errors[k]:.3g}" for name, t, k, errors in self.elements()]
        more = [f"{len(shown) - FEW} more"] if len(shown) > FEW else []
        failed = "" if self.success else "; not converged"
        text = ", ".join([*shown[:FEW], *more])
        return f"CurveFit({text}; residual standard deviation {self.residual_deviation:.3g}{failed})"

    def elements(self) -> Iterator[tuple[str, str, tuple[int, ...], Array]]:
        """Of each parameter its name, as `W[2, 3]`, that of its tensor, its position there, and the tensor's errors."""
        for name, errors in self.standard_errors.items():
            for position in np.ndindex(errors.shape):
                yield element(name, position), name, position, errors

    def confidence_intervals(self, level: float = 0.95) -> dict[str, tuple[Array, Array]]:
        """(lower, upper) by tensor name, each of the tensor's shape: the interval that contains the parameter at this
        confidence.

        From Student's t distribution; from the normal distribution if `absolute_sigma` says that the size of the errors
        is known.
        """
        quantile = self.quantile(level)
        return {
            name: (self.views[name] - quantile * errors, self.views[name] + quantile * errors)
            for name, errors in self.standard_errors.items()
        }

    def quantile(self, level: float) -> float:
        """The number that the absolute value of a standardized estimate does not exceed, at this confidence."""
        from scipy.special import ndtri, stdtrit

        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, found {level}")
        if self.absolute_sigma:
            return float(ndtri((1 + level) / 2))
        return float(stdtrit(self.degrees_of_freedom, (1 + level) / 2)) if self.degrees_of_freedom > 0 else math.inf

    def band(
        self,
        data: Data | None = None,
        level: float = 0.95,
        prediction: bool = False,
        sigma: ArrayLike | None = None,
    ) -> tuple[Array, Array, Array]:
        """(lower, predicted, upper) around `predict` at these inputs, each of its shape, float64; at the data if
        omitted.

        At each point it is the interval that contains the curve at this confidence, to first order in the errors of the
        parameters; with `prediction`, the interval that contains a new observation. The error of a new observation is
        that of the residuals, times `sigma` if the residuals are divided by it: a number, or an array of the shape of
        `predict`. The band costs one product with the Jacobian of `predict` per parameter.

        A new observation needs `sigma`, unless the residuals are the prediction less an input. Raises DerivgenError if
        the module has no such product, or if the covariance is infinite. Raises ValueError if `sigma` is missing, or
        if rows of the prediction depend on one another and these inputs are not the data, since a series at other
        points is another series.
        """
        module, quantile = self.objective.module, self.quantile(level)
        product = needed(module, "jacobian_vector_product")
        data = self.objective.inputs if data is None else prediction_data(module, data)
        self.refuse_other_rows(data)
        predicted = np.asarray(predict(module, self.parameters, data), np.float64)
        if not np.isfinite(self.factor).all():
            raise DerivgenError(
                "band: the covariance is infinite, so the data determine no band (see the warning of fit_curve)"
            )
        if prediction and sigma is None:
            self.refuse_unknown_error()
        inputs = accepted(product, {**data, **self.objective.draws})
        sigma = 1.0 if sigma is None else unmasked("sigma", sigma)
        error = (1.0 if self.absolute_sigma else self.residual_deviation) * np.asarray(sigma)
        variance = np.broadcast_to(error**2 if prediction else 0.0, predicted.shape).copy()
        for column in self.factor.T:
            along = np.zeros_like(self.parameters)
            along[: len(column)] = column
            variance += np.asarray(product(self.parameters, along, **inputs), np.float64) ** 2
        half = quantile * np.sqrt(variance)
        return predicted - half, predicted, predicted + half

    def refuse_unknown_error(self) -> None:
        """Raise ValueError where the error of a new observation is not that of the residuals."""
        if self.absolute_sigma:
            raise ValueError(
                "band: with absolute_sigma the residuals are in units of each observation's error, so that the error "
                "of a new one is not known: give it as sigma"
            )
        if not any(observed.is_plain for observed in observed_inputs(self.objective)):
            raise ValueError(
                "band: the residuals are not the difference of the prediction and an input, but divided by something, "
                "or of another form, so that the error of a new observation is not known: give it as sigma, in the "
                "units of what the residuals are divided by (1 if by nothing)"
            )

    def refuse_other_rows(self, data: Mapping[str, Array]) -> None:
        """Raise ValueError if rows of the prediction depend on one another, and the given rows are not the data's."""
        module, own = self.objective.module, self.objective.inputs
        for name, axes in mixed_inputs(module).items():
            if name in data and not np.array_equal(data[name], own[name]):
                raise ValueError(
                    f"band: rows of the prediction depend on one another along {listed(axes)}, so that with other "
                    f"{name} than the data's the curve is another one: leave the data out, then the band is at the "
                    "data's rows"
                )

    def plot(self, path: Path | str, *, x: str | None = None, y: str | None = None, level: float = 0.95) -> None:
        """Draw the data, the curve, its band and the residuals into a .png, .svg or .pdf; the same fit gives the same
        bytes.

        The curve is drawn at 400 points between the smallest and the largest x. If rows of the prediction depend on one
        another (a recurrence over time, a mean over the rows), it is drawn at the data's rows only, in the order of x.
        If `predict` uses a second input of each row, the fit is drawn as one point for each row, with its band as a
        bar.

        `x`, `y`: names of the inputs along the axes, each with one axis. If omitted, x is the only such input that
        `predict` uses, and y the one that it does not use; if there are several, the one with which the residuals are
        0 where it equals the prediction. If the residuals are (f - y) / sigma, each observation has sigma as its error
        bar, and the drawn residuals are divided by it. Without a jacobian_vector_product in the module there is no
        band, with a warning. Raises ValueError if no input fits, DerivgenError if the path does not or if matplotlib
        is missing.
        """
        draw_fit(Path(path), self, x, y, level)

    def summary(self, level: float = 0.95) -> str:
        """A table with each parameter's estimate, standard error and confidence interval, and what is at its bound."""
        rows = [("parameter", "estimate", "standard error", f"{100 * level:g} % interval", "")]
        intervals = self.confidence_intervals(level)
        for own, name, position, errors in self.elements():
            lower, upper = (float(side[position]) for side in intervals[name])
            bounded = "at its bound" if own in self.at_bounds else ""
            estimate = f"{self.views[name][position]:.6g}"
            rows.append((own, estimate, f"{errors[position]:.6g}", f"{lower:.6g} .. {upper:.6g}", bounded))
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        freedom, trained = self.degrees_of_freedom, len(self.covariance)
        spread = f"residual standard deviation {self.residual_deviation:.6g}, {freedom} degrees of freedom"
        if freedom <= 0:
            spread = (
                f"{counted(freedom + trained, 'residual')} for {counted(trained, 'parameter')}: no standard deviation"
            )
        lines.append(f"{spread}, {counted(self.evaluations, 'evaluation')}")
        return "\n".join(lines if self.success else [*lines, f"not converged: {self.message}"])


def fit_curve(
    module: ModuleType,
    data: Data,
    *others: Never,
    method: str | None = None,
    parameters: Start | None = None,
    seed: int = 0,
    bounds: Any = None,
    loss: str = "linear",
    absolute_sigma: bool = False,
    **arguments: Any,
) -> CurveFit:
    """Fit the parameters by `least_squares`, whose arguments these are, and compute how well the data determine them.

    The covariance is s²·(JᵀJ)⁻¹ with the exact Jacobian J at the end, and s² = 2·cost / (R - T) for R residuals and T
    trained parameters, as in scipy.optimize.curve_fit. `absolute_sigma`: the residuals are in units of their standard
    deviation, as in r = (f - y) / sigma, so that s² is 1. The covariance ignores active bounds; a
    parameter that lies on one gives a warning. It is infinite, with a
    warning, if the residuals do not depend on all parameters independently, or if R ≤ T leaves no s². A search that did
    not converge gives a warning too, and `success` is False.
    """
    refuse_separate("fit_curve", module, others)
    refuse_arguments("fit_curve", arguments)
    refuse_other(module)
    data = named_inputs(module, data)
    with watched("fit_curve", compiling=module.COMPILING):
        result = solved(Residuals(objective_of(module, data, parameters, seed)), method, bounds, loss, arguments)
    # As the start of an objective, the fitted parameters are what is not to be changed any more.
    objective = objective_of(module, data, result.parameters, seed)
    freedom = len(result.fun) - objective.trained
    deviation = math.sqrt(2 * result.cost / freedom) if freedom > 0 else math.nan
    undetermined, factor = unscaled_factor(objective, result)
    if freedom < 0:
        warn(
            f"{counted(len(result.fun), 'residual')} cannot determine {objective.trained} parameters: give more data, "
            "or make some parameters inputs"
        )
    elif undetermined and not result.undetermined:  # else the message of the search names them
        warn(
            f"the residuals don't determine {listed(undetermined)}: at the end they change by no more than rounding "
            "along them"
        )
    if not absolute_sigma and freedom == 0 and np.isfinite(factor).all():
        counts = f"{counted(len(result.fun), 'residual')} for {counted(objective.trained, 'parameter')}"
        warn(f"{counts} leave no estimate of their error")
        factor = np.full_like(factor, np.inf)
    if not result.success:
        cure = ": more max_nfev, or another start by parameters=..." if result.status == 0 else ""
        warn(f"the search did not converge: {result.message}{cure}")
    factor = factor * (1.0 if absolute_sigma or not np.isfinite(factor).all() else deviation)
    finite = np.isfinite(factor).all()
    covariance = factor @ factor.T if finite else np.full_like(factor, np.inf)
    errors = np.sqrt(covariance.diagonal())
    bounded = [parameter_at(module, int(k)) for k in at_bounds(result, errors)]
    if bounded:
        ends, own = ("lie on their bounds", "their") if len(bounded) > 1 else ("lies on its bound", "its")
        warn(
            f"{listed(bounded)} {ends}: standard errors and intervals are those of a fit without bounds, so {own} own "
            f"do not hold, nor do those of the others: widen the bounds, or make {listed(bounded)} an input"
        )
    return CurveFit(
        parameters=result.parameters,
        views=result.views,
        standard_errors=by_name(objective, errors),
        covariance=covariance,
        residual_deviation=deviation,
        degrees_of_freedom=freedom,
        cost=float(result.cost),
        evaluations=int(result.nfev),
        message=str(result.message),
        success=bool(result.success),
        absolute_sigma=absolute_sigma,
        undetermined=tuple(undetermined),
        at_bounds=tuple(bounded),
        factor=factor,
        objective=objective,
    )


def at_bounds(result: Any, errors: Array) -> Array:
    """The positions of the parameters that lie on a bound.

    A search stays inside of its bounds, so that what is nearer to one than a small part of its standard error is on it.
    """
    if result.limits is None:
        return np.array([], int)
    lower, upper = result.limits
    near = AT_BOUND * np.where(np.isfinite(errors), errors, 0.0)
    return np.flatnonzero((np.minimum(result.x - lower, upper - result.x) <= near) | (result.active_mask != 0))


def unscaled_factor(objective: Objective, result: Any) -> tuple[list[str], Array]:
    """What `covariance_factor` gives at the end of a search, which may know already what is not determined."""
    if result.undetermined:
        return result.undetermined, np.full((objective.trained, objective.trained), np.inf)
    epsilon = float(np.finfo(objective.start.dtype).eps)
    return covariance_factor(objective.module, result.jac, normal_of(result), epsilon)


def covariance_factor(module: ModuleType, J: Any, normal: Array, epsilon: float) -> tuple[list[str], Array]:
    """F with F·Fᵀ = (JᵀJ)⁻¹, shape (T, T), after the parameters that the residuals do not determine.

    There are such, and F is infinite, where J has no full rank to rounding by epsilon.
    """
    from scipy.sparse import issparse

    sparse = issparse(J)
    lengths = np.sqrt(normal.diagonal())
    scale = np.where(lengths > 0, lengths, 1.0)  # makes the rank a matter of directions alone, not of units
    squares, axes = np.linalg.eigh(normal / np.outer(scale, scale))
    sigma, least = np.sqrt(np.maximum(squares, 0)), max(math.sqrt(EPSILON * max(J.shape)), 10 * epsilon)
    if not sparse and squares[0] < WELL_CONDITIONED * squares[-1]:
        _, sigma, right = np.linalg.svd(J / scale, full_matrices=J.shape[0] < J.shape[1])
        axes, least = right.T, max(EPSILON * max(J.shape), 10 * epsilon)
        sigma = np.append(sigma, np.zeros(J.shape[1] - len(sigma)))
    null = axes[:, sigma <= least * sigma.max(initial=0.0)]
    if null.size:
        share = np.max(np.abs(null), axis=1)
        names = [parameter_at(module, int(k)) for k in np.flatnonzero(share > 1e-6 * share.max())]
        return names, np.full((J.shape[1], J.shape[1]), np.inf)
    return [], axes / sigma / scale[:, None]


def by_name(objective: Objective, flat: Array) -> dict[str, Array]:
    """The parts of a vector of the trained parameters."""
    own = [p for p in objective.module.PARAMETERS if getattr(p, "trained", True)]
    return {p.name: flat[p.offset : p.offset + math.prod(p.shape)].reshape(p.shape) for p in own}


def warn(text: str) -> None:
    """Warn whoever calls fit_curve."""
    from scipy.optimize import OptimizeWarning

    warnings.warn(f"fit_curve: {text}", OptimizeWarning, stacklevel=3)
