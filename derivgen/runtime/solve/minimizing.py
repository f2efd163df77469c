"""SciPy's minimizers, and Newton's method, on a generated module."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError, nearest
from derivgen.runtime.data.given import Data, named_inputs
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.ranks import sharing
from derivgen.runtime.solve.newton import natural_gradient, newton
from derivgen.runtime.solve.objective import Objective, Start, needed, objective_of, product_name
from derivgen.stages import watched

Array = np.ndarray[Any, Any]

# SciPy's methods with second derivatives, in lower case: the arguments that each takes, the better one first.
SECOND_ORDER = {
    "newton-cg": ("hessp", "hess"),
    "trust-ncg": ("hessp", "hess"),
    "trust-krylov": ("hessp", "hess"),
    "trust-constr": ("hessp", "hess"),
    "trust-exact": ("hess",),
    "dogleg": ("hess",),
}
OWN = ("newton", "natural_gradient")
METHODS = (
    *("Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "COBYLA", "COBYQA", "SLSQP"),
    *("trust-constr", "dogleg", "trust-ncg", "trust-exact", "trust-krylov"),
)
APPROXIMATING = ("newton-cg", "trust-constr")  # by differences of gradients, where they are given neither


def minimize(
    module: ModuleType,
    data: Data | None = None,
    *,
    method: str | Callable[..., Any] = "L-BFGS-B",
    parameters: Start | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    products: str | None = None,
    comm: Any = None,
    **arguments: Any,
) -> Any:
    """The result of scipy.optimize.minimize for the module's loss and gradient on all the data.

    `x` is the trained part of the flat vector in float64, `parameters` the flat vector in the module's dtype, shape
    (P,), and `views` its views by name.

    - `method`: one of SciPy's, or "newton" or "natural_gradient". "Newton-CG", "trust-ncg", "trust-krylov" and
      "trust-constr" use the module's products with the Hessian, or the Hessian if the module has only that;
      "trust-exact" and "dogleg" use the Hessian. "newton" does full steps of Newton's method, by Cholesky, for convex
      losses with some hundred parameters. "natural_gradient" does steps (F + damping·I)⁻¹·g with the Fisher information
      F, for losses that are means over rows. The options of these two are `xtol`, `gtol`, `maxiter`, and `damping`.
    - `products`: "hessian", or "gauss_newton" to use products with the Gauss-Newton matrix instead of the Hessian. In
      "natural_gradient" that matrix replaces F, and the step is computed by conjugate gradients; otherwise F is the
      mean of g·gᵀ over the gradients of the rows.
    - `batch_size`: the number of rows that are in memory at once, for losses that are means over rows; products and
      Hessians are then computed as such means too.
    - `comm`: a communicator of mpi4py, whose ranks all call `minimize` with the same arguments. They share the rows of
      each loss and gradient, and get the same result as one process, bit for bit.
    - `arguments`: those of scipy.optimize.minimize (bounds, options, callback, …). A `hess` or `hessp` replaces the
      module's in SciPy's methods. A callback of "newton" and "natural_gradient" receives x.

    A float32 model is evaluated in float32, so the search ends some digits earlier. Running tensors keep their values.
    Raises ValueError or TypeError if the data don't fit, DerivgenError if the module lacks a function that the method
    needs, or if the objective is not finite at the start.
    """
    from scipy.optimize import minimize as scipy_minimize

    refuse_method(method)
    refuse_own_derivatives(method, products, arguments)
    refuse_other(module)
    data = named_inputs(module, {} if data is None else data)
    with (
        watched("minimize", compiling=module.COMPILING),
        sharing(module, comm, data, method=method, seed=seed, batch_size=batch_size),
    ):
        objective = objective_of(module, data, parameters, seed, batch_size)
        solver: Any = method
        if method == "newton":
            refuse_products(method, products)
            solver = functools.partial(newton, objective)
        elif method == "natural_gradient":
            solver = functools.partial(natural_gradient, objective, products)
        elif "hess" not in arguments and "hessp" not in arguments:
            arguments = {**arguments, **second_derivatives(objective, str(method).lower(), products)}
        value_and_gradient = objective.gradient()
        refuse_not_finite(*value_and_gradient(objective.first))
        result = scipy_minimize(value_and_gradient, objective.first, jac=True, method=solver, **arguments)
        result.parameters = objective.flat(result.x)
        result.views = module.views(result.parameters)
        return result


def refuse_method(method: object) -> None:
    """Raise ValueError where a method is none of SciPy's, whose capitals do not count, and none of ours."""
    if callable(method) or (isinstance(method, str) and (method in OWN or method.lower() in map(str.lower, METHODS))):
        return
    near = nearest(str(method), (*OWN, *METHODS)) or ";"
    raise ValueError(f"minimize has no method {method!r}{near} there are {', '.join((*OWN, *METHODS))}")


def second_derivatives(objective: Objective, method: str, products: str | None) -> dict[str, Any]:
    """What SciPy's method takes of the module's second derivatives; nothing for one that takes none."""
    takes = SECOND_ORDER.get(method, ())
    if "hessp" not in takes:
        refuse_products(method, products)
    name = product_name(products or "hessian")
    if "hessp" in takes and (products is not None or hasattr(objective.module, name)):
        return {"hessp": objective.product(name)}
    if "hess" in takes and hasattr(objective.module, "hessian"):
        return {"hess": objective.hessian()}
    if takes and method not in APPROXIMATING:
        needed(objective.module, name if "hessp" in takes else "hessian")
    return {}


def refuse_own_derivatives(method: Any, products: str | None, arguments: Mapping[str, Any]) -> None:
    for name in ("hess", "hessp"):
        if arguments.get(name) is None:
            continue
        if method in ("newton", "natural_gradient"):
            raise ValueError(f"{name}: {method} uses the module's: leave it out, or use one of SciPy's methods")
        if products is not None:
            raise ValueError(f"products: {name} is given too, leave one of both out")


def refuse_products(method: str, products: str | None) -> None:
    if products is not None:
        some = ", ".join(name for name, takes in SECOND_ORDER.items() if "hessp" in takes)
        raise ValueError(f"products: {method} does not use them; the methods that do are {some} and natural_gradient")


def refuse_not_finite(value: float, gradient: Array) -> None:
    if not (math.isfinite(value) and np.isfinite(gradient).all()):
        raise DerivgenError(
            f"the objective is {value} where the search starts, or its gradient is not finite: give other "
            "parameters=..., or clean the data"
        )
