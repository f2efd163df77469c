"""Newton's method and natural gradients: small systems solved exactly, and steps that are halved until they descend.

Both are custom methods of scipy.optimize.minimize, after their first arguments.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError, nearest
from derivgen.runtime.solve.objective import Objective, product_name

Array = np.ndarray[Any, Any]
Direction = Callable[[Array, Array], tuple[Array, bool]]  # of (vector, gradient): (step, whether it is undamped)

SUFFICIENT = 1e-4  # share of the slope that a step must bring (Armijo)
HALVINGS = 40
MESSAGES = {
    0: "the largest number of iterations was reached",
    1: "the gradient is at most gtol",
    2: "the last step was less than xtol of the parameters",
    3: "the objective can't fall by more than its rounding",
    -1: "no step along the direction lowers the objective",
    -2: "the callback ended the search",
}


def newton(objective: Objective, fun: Any, start: Array, **given: Any) -> Any:
    """Steps -H⁻¹·g by the module's Hessian H and Cholesky's factorization.

    Where H is not positive definite, of H + μ·I.

    A full step of at most `xtol` (the root of the dtype's epsilon) ends it, since the error after it is the square.
    """
    hessian = objective.hessian()

    def direction(vector: Array, gradient: Array) -> tuple[Array, bool]:
        factor, shift = positive_factor(hessian(vector))
        return -solved(factor, gradient), shift == 0

    options = {"xtol": rounding(objective) ** 0.5, "gtol": 0.0, "maxiter": 100}
    return descended(objective, fun, start, direction, options_of("newton", options, given), given)


def natural_gradient(objective: Objective, products: str | None, fun: Any, start: Array, **given: Any) -> Any:
    """Steps -(F + damping·I)⁻¹·g: F from the rows' gradients, or by products and conjugate gradients."""
    defaults = {"damping": 1e-3, "xtol": 0.0, "gtol": 1e-5, "maxiter": 100}
    options = options_of("natural_gradient", defaults, given)
    damping = options.pop("damping")
    if not damping > 0:
        raise ValueError(f"natural_gradient: damping must be above 0, found {damping}")
    step = (
        functools.partial(by_rows, objective, damping)
        if products is None
        else by_products(objective, product_name(products), damping)
    )
    return descended(objective, fun, start, lambda v, g: (step(v, g), False), options, given)


def by_rows(objective: Objective, damping: float, vector: Array, gradient: Array) -> Array:
    """The step by the empirical Fisher information, the mean of g·gᵀ over the rows."""
    fisher, mean, rows, size = np.zeros((len(vector), len(vector))), np.zeros(len(vector)), 0, 0.0
    for part in objective.row_gradients(vector):
        fisher += part.T @ part
        mean += part.sum(axis=0)
        rows += len(part)
        size = max(size, float(np.max(np.abs(part), initial=0.0)))
    off = float(np.max(np.abs(mean / rows - gradient), initial=0.0))
    if not off <= 100 * math.sqrt(rounding(objective)) * size:
        raise ValueError(
            "natural_gradient: the mean of the rows' gradients is not the gradient, so the objective is no mean over "
            "rows: divide it by their number in the spec, or take method='newton'"
        )
    np.fill_diagonal(fisher, fisher.diagonal() + rows * damping)
    return -solved(np.linalg.cholesky(fisher), gradient) * rows


def by_products(objective: Objective, name: str, damping: float) -> Callable[[Array, Array], Array]:
    from scipy.sparse.linalg import LinearOperator, cg

    product = objective.product(name)

    def step(vector: Array, gradient: Array) -> Array:
        shape = (len(vector), len(vector))
        damped = LinearOperator(shape, lambda v: product(vector, v) + damping * np.ravel(v), dtype=np.float64)
        # Where cg gives up, its last iterate is a direction of descent too, and the step is halved where need be.
        return cg(damped, -gradient)[0]

    return step


def descended(
    objective: Objective, fun: Any, x: Array, direction: Direction, options: dict[str, float], given: dict[str, Any]
) -> Any:
    """The OptimizeResult of steps along the directions, halved until they descend enough."""
    from scipy.optimize import OptimizeResult

    gradient_at, epsilon = given["jac"], rounding(objective)
    value, gradient = float(fun(x)), gradient_at(x)
    evaluations, iterations, status = 1, 0, None
    while status is None:
        if largest(gradient) <= options["gtol"] or iterations >= options["maxiter"]:
            status = 1 if largest(gradient) <= options["gtol"] else 0
            break
        step, exact = direction(x, gradient)
        slope = float(gradient @ step)
        share, tried, halvings = halved(fun, x, step, value, slope, 10 * epsilon * abs(value))
        evaluations += 1 + halvings
        if share == 0:
            status = -1
            break
        if exact and share == 1 and largest(step) <= options["xtol"] * (options["xtol"] + largest(x)):
            status = 2
        elif -slope <= epsilon * abs(value):
            status = 3
        x, value, iterations = x + share * step, tried, iterations + 1
        gradient = gradient_at(x)
        off = called_off(given.get("callback"), x, value)
        status = -2 if status is None and off else status
    return OptimizeResult(
        x=x,
        fun=value,
        jac=gradient,
        nit=iterations,
        nfev=evaluations,
        njev=iterations + 1,
        status=status,
        message=MESSAGES[status],
        success=status > 0,
    )


def halved(fun: Any, x: Array, step: Array, value: float, slope: float, slack: float) -> tuple[float, float, int]:
    """(the share of the step that descends enough, the objective there, halvings); a share of 0 where none does."""
    for halvings in range(HALVINGS):
        share = 0.5**halvings
        tried = float(fun(x + share * step))
        if tried <= value + SUFFICIENT * share * slope + slack:
            return share, tried, halvings
    return 0.0, value, HALVINGS - 1


def positive_factor(matrix: Array) -> tuple[Array, float]:
    """(Cholesky's factor of the matrix + shift·I, the least shift of a few that makes it positive definite)"""
    if not np.isfinite(matrix).all():
        raise DerivgenError(
            "newton: the Hessian is not finite where the objective is: start elsewhere by parameters=..., or look at "
            "the formulas that it comes from"
        )
    shift, least = 0.0, 1e-3 * (largest(matrix) or 1.0)
    while True:
        try:
            return np.linalg.cholesky(matrix + shift * np.eye(len(matrix))), shift
        except np.linalg.LinAlgError:
            shift = max(least, 4 * shift)


def solved(factor: Array, right: Array) -> Array:
    from scipy.linalg import cho_solve

    return cho_solve((factor, True), right)


def options_of(method: str, options: dict[str, float], given: dict[str, Any]) -> dict[str, float]:
    """The options with those that were given. Raises ValueError or TypeError where the method has no such."""
    for name in ("bounds", "constraints"):
        if given.get(name) is not None and np.size(given[name]):
            raise ValueError(f"{name}: {method} does not support them: use SciPy's L-BFGS-B or trust-constr")
    scipys = ("args", "jac", "hess", "hessp", "bounds", "constraints", "callback")
    said = {name: value for name, value in given.items() if name not in scipys}
    for name in said:
        if name not in options:
            near = nearest(name, options) or f"; it has {', '.join(options)}"
            raise TypeError(f"options: {method} has no option {name}{near}")
    return {**options, **said}


def called_off(callback: Any, x: Array, value: float) -> bool:
    """Whether the callback raises StopIteration, as SciPy's may."""
    if callback is None:
        return False
    try:
        callback(np.copy(x))
    except StopIteration:
        return True
    return False


def rounding(objective: Objective) -> float:
    """The epsilon of the module's dtype."""
    return float(np.finfo(objective.start.dtype).eps)


def largest(array: Array) -> float:
    return float(np.max(np.abs(array), initial=0.0))
