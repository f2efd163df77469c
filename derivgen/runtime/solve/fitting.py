"""Least squares on a generated module that states its residuals."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Never

import numpy as np

from derivgen.errors import DerivgenError, counted, listed, nearest
from derivgen.runtime.data.given import Data, refuse_separate
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.nonfinite import element, first_bad
from derivgen.runtime.solve.endings import Place, judge
from derivgen.runtime.solve.marquardt import levenberg_marquardt
from derivgen.runtime.solve.objective import Objective, Start, filled, needed, objective_of, parameter_at
from derivgen.stages import reached, watched

Array = np.ndarray[Any, Any]

OWN = "levenberg_marquardt"
MANY = 1000  # parameters, beyond which a matrix of them is not decomposed where the Jacobian is sparse
SOLVED = 1e-14  # relative residual of a step's linear system
TRIED = 8  # numbers of an input that may be what a residual is not finite by
METHODS = (OWN, "lm", "trf", "dogbox")
# What SciPy's functions take, and here has another place.
INSTEAD = {
    **dict.fromkeys(("p0", "x0"), "the start is parameters=..., or init= in the spec"),
    "sigma": "divide the residual by it in the spec, and give fit_curve absolute_sigma=True if these are the standard "
    "deviations of the errors themselves",
    "jac": "the Jacobian is the module's own",
}
OWN_OPTIONS = ("ftol", "xtol", "gtol", "max_nfev")


def least_squares(
    module: ModuleType,
    data: Data | None = None,
    *others: Never,
    method: str | None = None,
    parameters: Start | None = None,
    seed: int = 0,
    bounds: Any = None,
    loss: str = "linear",
    **arguments: Any,
) -> Any:
    """Find the parameters that minimize ½·Σ r² over the module's residuals r, with their exact Jacobian.

    The result has the fields of scipy.optimize.least_squares: `x` (the trained part of the flat vector, float64),
    `cost`, `fun`, `jac`, `grad`, `nfev`, …; and `parameters`, the flat vector in the module's dtype, shape (P,), with
    `views` by name.

    - `method`: "levenberg_marquardt", MINPACK's algorithm on the small matrix JᵀJ; "lm", MINPACK itself, which needs
      twice the time if there are many rows; or SciPy's "trf" and "dogbox". The default is "levenberg_marquardt" if it
      can be used: without bounds, with the linear loss, and, if the Jacobian is sparse, up to 1,000 parameters;
      otherwise "trf".
    - `parameters`: where to start, a flat vector, or a mapping from tensor names to values; the others start at the
      initial ones.
    - `bounds`: (lower, upper) for all parameters, numbers or arrays of the trained part of the flat vector; or a
      mapping from tensor names to such pairs, which are broadcast to the tensor's shape. Bounds need "trf" or "dogbox".
    - `loss`: "linear", or one of SciPy's losses that give outliers less weight: "soft_l1", "huber", "cauchy", "arctan".
      These need "trf" or "dogbox" too.
    - `arguments`: `ftol`, `xtol`, `gtol`, `max_nfev`; for SciPy's methods all options of SciPy's function.

    If the search ends on a plateau, or not at a minimum, `success` is False, `status` is -3, and `message` describes
    what was found; `undetermined` names the parameters that the residuals do not determine there.

    The solver works in float64. With a float32 module each evaluation is copied to float64; its residuals are rounded,
    so the search ends where about 7 digits of the cost are right. A sparse Jacobian stays sparse; "lm" does not support
    one. Raises ValueError or TypeError if data or arguments don't fit, DerivgenError if the module has no residuals, or
    if they are not finite at the start.
    """
    refuse_separate("least_squares", module, others)
    refuse_arguments("least_squares", arguments)
    refuse_other(module)
    with watched("least_squares", compiling=module.COMPILING):
        return solved(Residuals(objective_of(module, data, parameters, seed)), method, bounds, loss, arguments)


@dataclass(frozen=True, slots=True)
class Residuals:
    """The residuals, shape (R,), and their Jacobian, shape (R, T), dense or sparse, in float64."""

    objective: Objective

    def function(self) -> Callable[[Array], Array]:
        residuals, flat, keywords = needed(self.objective.module, "residuals"), self.objective.flat, self.keywords
        count = itertools.count(1)

        def function(vector: Array) -> Array:
            reached(f"{counted(next(count), 'evaluation')} of the residuals")
            r: Array = residuals(flat(vector), **keywords).astype(np.float64, copy=False)
            return r

        return function

    def jacobian(self) -> Callable[[Array], Any]:
        jacobian, flat, keywords = needed(self.objective.module, "jacobian"), self.objective.flat, self.keywords
        trained = self.objective.trained
        if trained == len(self.objective.start):
            return lambda vector: jacobian(flat(vector), **keywords).astype(np.float64, copy=False)
        return lambda vector: jacobian(flat(vector), **keywords)[:, :trained].astype(np.float64)

    @property
    def keywords(self) -> dict[str, Any]:
        return {**self.objective.inputs, **self.objective.draws}


def solved(problem: Residuals, method: str | None, bounds: Any, loss: str, arguments: Mapping[str, Any]) -> Any:
    """The result of `least_squares`."""
    from scipy import optimize
    from scipy.sparse import issparse

    objective, start = problem.objective, problem.objective.first
    residuals, jacobian = problem.function(), problem.jacobian()
    limits = None if bounds is None else limits_of(objective, bounds)
    r = residuals(start)
    refuse_non_finite(objective, r)
    J = jacobian(start)
    refuse_non_finite_columns(objective.module, J)
    method = chosen(method, J, limits is not None, loss, arguments)
    if method == OWN:
        given = {name: value for name, value in arguments.items() if value is not None}
        result = levenberg_marquardt(residuals, jacobian, start, (r, J), **given)
        if result.status < 0:
            refuse_non_finite_columns(objective.module, result.jac)
    else:
        if issparse(J):  # the defaults of the iterative solver, 1e-6, let the search creep near the minimum
            options = {"atol": SOLVED, "btol": SOLVED, **({"regularize": False} if method == "trf" else {})}
            arguments = {"tr_options": options, **arguments}
        result = optimize.least_squares(
            known_at(start, r, residuals),
            start,
            known_at(start, J, jacobian),
            method=method,
            bounds=(-np.inf, np.inf) if limits is None else limits,
            loss=loss,
            **arguments,
        )
    dense = not issparse(J) and J.shape[1] <= MANY
    whole = method == OWN or (dense and limits is None and loss == "linear")
    judge(result, objective.module, Place(start, r, J), whole=whole, tolerance=loosest(arguments))
    result.parameters = objective.flat(result.x)
    result.views = objective.module.views(result.parameters)
    result.limits = limits
    return result


def refuse_arguments(function: str, arguments: Mapping[str, Any]) -> None:
    """Raise TypeError where arguments are none of SciPy's least_squares, or the module answers them."""
    from scipy import optimize

    theirs = inspect.signature(optimize.least_squares).parameters
    known = ["parameters", "seed", *(name for name in theirs if name not in ("fun", *INSTEAD))]
    for name in arguments:
        if name in INSTEAD:
            raise TypeError(f"{function} has no {name}: {INSTEAD[name]}")
        if name not in known:
            raise TypeError(f"{function} has no {name}{nearest(name, known) or ';'} it has {', '.join(known)}")


def loosest(arguments: Mapping[str, Any]) -> float:
    """The largest of the tolerances that are given, of lengths; ftol is of the square of one."""
    given = {name: arguments.get(name) or 0.0 for name in ("ftol", "xtol", "gtol")}
    return max(math.sqrt(given["ftol"]), given["xtol"], given["gtol"])


def known_at(point: Array, value: Any, function: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """The function, whose value at a point is known: SciPy asks for that up to three times, and may change it."""
    return lambda x: value.copy() if np.array_equal(x, point) else function(x)


def chosen(method: str | None, J: Any, bounded: bool, loss: str, arguments: Mapping[str, Any]) -> str:
    """The method. Raises ValueError or TypeError where it can't do what is asked for."""
    from scipy.sparse import issparse

    foreign = [name for name in arguments if name not in OWN_OPTIONS]
    reasons = {
        "bounds": bounded,
        f'loss="{loss}"': loss != "linear",
        "a sparse Jacobian": issparse(J) and method == "lm",
    }
    obstacle = next((reason for reason, there in reasons.items() if there), None)
    if method is None:
        many = issparse(J) and J.shape[1] > MANY
        return "trf" if obstacle or foreign or many else OWN
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}{nearest(method, METHODS)}, found {method!r}")
    if method in (OWN, "lm") and obstacle:
        raise ValueError(f'method: {method} does not support {obstacle}: leave method out, or use "trf"')
    if method == OWN and foreign:
        raise TypeError(
            f"{method} has no option {foreign[0]}{nearest(foreign[0], OWN_OPTIONS)}; it has {', '.join(OWN_OPTIONS)}"
        )
    return method


# ---- bounds


def limits_of(objective: Objective, bounds: Any) -> tuple[Array, Array]:
    """(lower, upper), each of the trained part of the flat vector.

    Raises ValueError where they are no bounds, or exclude the start.
    """
    lower, upper = np.full(objective.trained, -np.inf), np.full(objective.trained, np.inf)
    if isinstance(bounds, Mapping):
        own = {p.name: p for p in objective.module.PARAMETERS if getattr(p, "trained", True)}
        for name, pair in bounds.items():
            if name not in own:
                raise ValueError(
                    f"bounds speak of {name}, which is no trained parameter{nearest(str(name), own)}: expected "
                    f"{listed(own)}"
                )
            place = slice(own[name].offset, own[name].offset + int(np.prod(own[name].shape)))
            for whole, side in zip((lower, upper), pair_of(pair, f"bounds of {name}"), strict=True):
                whole[place] = filled(side, own[name].shape, f"bounds of {name}").ravel()
    else:
        pair = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else bounds
        sides = pair_of(pair, "bounds")
        lower, upper = (filled(side, lower.shape, "bounds").copy() for side in sides)
    refuse_empty(objective, lower, upper)
    return lower, upper


def pair_of(pair: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{what} must be a pair (lower, upper), found {pair!r}")
    return pair[0], pair[1]


def refuse_empty(objective: Objective, lower: Array, upper: Array) -> None:
    start = objective.first
    for position in np.flatnonzero(~((lower < upper) & (lower <= start) & (start <= upper))):
        name, low, high = parameter_at(objective.module, int(position)), lower[position], upper[position]
        if not low < high:
            raise ValueError(f"bounds of {name}: the lower one must be below the upper, found {low:g} and {high:g}")
        raise ValueError(
            f"bounds of {name}: the search starts at {start[position]:g}, outside {low:g} .. {high:g}: start inside by "
            "parameters=..., or by its init in the spec"
        )


# ---- what is not finite


def refuse_non_finite(objective: Objective, r: Array) -> None:
    """Raise DerivgenError where residuals or parameters at the start are not finite, with where that is from."""
    for name, tensor in objective.module.views(objective.start).items():
        if found := first_bad(tensor):
            raise DerivgenError(
                f"least squares starts with {found[1]} at {element(name, found[0])}: give finite parameters, or change "
                "its init in the spec"
            )
    if (bad := first_bad(r)) is None:
        return
    for name, array in objective.inputs.items():
        if found := first_bad(np.asarray(array)):
            raise DerivgenError(
                f"the input {name} holds {found[1]} at {element(name, found[0])} ({found[2]} such): clean the data, or "
                "leave out those rows"
            )
    where = f"the residual {element('r', bad[0])} is {bad[1]} at the start ({bad[2]} such of {len(r)})"
    if culprit := culprit_in_data(objective, bad[0][0]):
        raise DerivgenError(f"{where}, because {culprit} in the data: correct it, or leave out that row")
    raise DerivgenError(
        f"{where}, where inputs and parameters are finite: start elsewhere by parameters=..., or look at its formula"
    )


def culprit_in_data(objective: Objective, row: int) -> str:
    """`sigma[2] is 0`: the number that is 0, or else negative, without which the residual of this row is finite."""
    residuals, keywords = needed(objective.module, "residuals"), {**objective.inputs, **objective.draws}
    reals = {i.name: np.asarray(objective.inputs[i.name]) for i in objective.module.INPUTS if i.classes is None}
    for outside, (name, array) in itertools.product((np.equal, np.less), reals.items()):
        places = [tuple(map(int, place)) for place in np.argwhere(outside(array, 0))]
        for place in sorted(places, key=lambda place: place[:1] != (row,))[:TRIED]:
            changed = array.copy()
            changed[place] = 1
            with np.errstate(all="ignore"):
                r = residuals(objective.start, **{**keywords, name: changed})
            if np.isfinite(r[row]):
                return f"{element(name, place)} is {array[place]:g}"
    return ""


def refuse_non_finite_columns(module: ModuleType, J: Any) -> None:
    """Raise DerivgenError where the Jacobian is not finite, with the parameter."""
    if np.isfinite(J.data if hasattr(J, "tocsc") else J).all():
        return
    rows, columns = np.nonzero(~np.isfinite(J.toarray() if hasattr(J, "tocsc") else J))
    raise DerivgenError(
        f"the derivative of the residual r[{rows[0]}] with respect to {parameter_at(module, int(columns[0]))} is not "
        "finite, where the residuals are: start elsewhere by parameters=..., or look at the formula"
    )
