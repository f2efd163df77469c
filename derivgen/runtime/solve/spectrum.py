"""The curvature of a module's objective: eigenvalues of its Hessian, and the diagonal of the Fisher information."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.solve.objective import Objective, objective_of, product_name

Array = np.ndarray[Any, Any]
DENSE = 64  # parameters up to which all products with unit vectors are no more work than Lanczos' method


@dataclass(frozen=True, slots=True)
class Curvature:
    """Eigenvalues of the Hessian or the Gauss-Newton matrix: the largest, and as asked for the smallest, descending."""

    products: str
    parameters: int
    largest: Array
    smallest: Array
    rounding: float  # by which an eigenvalue may be off

    @property
    def largest_stable_rate(self) -> float:
        """2/λ of the largest eigenvalue λ: gradient descent with a larger rate diverges along its direction."""
        return 2 / float(self.largest[0]) if self.largest[0] > self.rounding else math.inf

    @property
    def suggested_rate(self) -> float:
        """1/λ, at which gradient descent on a parabola of this curvature is done in one step along it."""
        return self.largest_stable_rate / 2

    @property
    def least(self) -> float:
        """The least of the eigenvalues that were computed."""
        return float(np.append(self.largest, self.smallest).min())

    @property
    def negative(self) -> bool:
        """Whether a negative eigenvalue was seen; others than those computed may be negative too."""
        return self.least < -self.rounding

    @property
    def condition(self) -> float:
        """λ largest / λ smallest; NaN where the smallest was not computed, infinite where it is not positive."""
        if len(self.smallest) == 0:
            return math.nan
        return float(self.largest[0]) / self.least if self.least > self.rounding else math.inf

    def __str__(self) -> str:
        matrix = {"hessian": "Hessian", "gauss_newton": "Gauss-Newton matrix"}[self.products]
        lines = [f"{matrix}, {self.parameters} parameters", f"largest eigenvalues   {numbers(self.largest)}"]
        if len(self.smallest):
            lines += [f"smallest eigenvalues  {numbers(self.smallest)}", f"condition number      {self.condition:.4g}"]
        lines.append(
            f"gradient descent      stable below a rate of {self.largest_stable_rate:.4g}, suggested "
            f"{self.suggested_rate:.4g}"
        )
        seen = "seen: no minimum here" if self.negative else "not seen" if len(self.smallest) else "not looked for"
        return "\n".join([*lines, f"negative curvature    {seen}"])


def curvature(
    module: ModuleType,
    data: Mapping[str, Array] | None,
    parameters: Array,
    *,
    k: int = 5,
    smallest: int = 0,
    products: str = "hessian",
    seed: int = 0,
    batch_size: int | None = None,
) -> Curvature:
    """The k largest eigenvalues of the objective's Hessian at the flat parameters (P,), and some of the smallest.

    All, where there are fewer parameters. By SciPy's eigsh, Lanczos' method, from products with the Hessian alone, or
    with the Gauss-Newton matrix (`products="gauss_newton"`). `seed` is of the vector that it starts from, and of the
    model's random tensors; the same one gives the same numbers. `batch_size`: the rows that are in memory at once, for
    losses that are means over rows. Raises DerivgenError where the module lacks the products, or the method does not
    converge.
    """
    objective = objective_of(module, data, parameters, seed, batch_size)
    for name, count, least in (("k", k, 1), ("smallest", smallest, 0)):
        if count < least:
            raise ValueError(f"{name} must be at least {least}, found {count}")
    product = objective.product(product_name(products))
    values = dense_eigenvalues(objective, product) if objective.trained <= max(DENSE, k + 1, smallest + 1) else None
    if values is None:
        top, bottom = lanczos(objective, product, k, "LA", seed), lanczos(objective, product, smallest, "SA", seed)
    else:
        top, bottom = values[:k], values[max(0, len(values) - smallest) :]
    size = float(np.max(np.abs(np.append(top, bottom))))
    rounding = 10 * size * float(np.finfo(objective.start.dtype).eps) * math.sqrt(objective.trained)
    return Curvature(products, objective.trained, top, bottom, rounding)


def dense_eigenvalues(objective: Objective, product: Callable[[Array, Array], Array]) -> Array:
    """All, descending."""
    matrix = np.stack([product(objective.first, unit) for unit in np.eye(objective.trained)])
    refuse_not_finite(matrix)
    return np.linalg.eigvalsh((matrix + matrix.T) / 2)[::-1]


def lanczos(objective: Objective, product: Callable[[Array, Array], Array], k: int, which: str, seed: int) -> Array:
    """The k largest or smallest eigenvalues, descending."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    if k == 0:
        return np.zeros(0)
    size, point = objective.trained, objective.first
    start = np.random.default_rng(seed).normal(size=size)
    refuse_not_finite(product(point, start))
    operator = LinearOperator((size, size), lambda vector: product(point, vector), dtype=np.float64)
    # Products in single precision are off by its rounding, below which nothing converges.
    tolerance = 0.0 if objective.start.dtype == np.float64 else 10 * float(np.finfo(np.float32).eps)
    try:
        found = eigsh(operator, k, which=which, v0=start, tol=tolerance, return_eigenvectors=False)
    except ArpackNoConvergence as error:
        raise DerivgenError(
            f"curvature: {len(error.eigenvalues)} of {k} eigenvalues converged, "
            f"{numbers(np.sort(error.eigenvalues)[::-1])}: ask for fewer, or for none of the smallest, which often "
            "lie close together"
        ) from error
    return np.sort(found)[::-1]


def refuse_not_finite(products: Array) -> None:
    if not np.isfinite(products).all():
        raise DerivgenError(
            "curvature: the second derivatives are not finite at these parameters: look at the loss there, and at the "
            "data"
        )


def numbers(values: Array) -> str:
    return "  ".join(f"{value:.4g}" for value in values) or "none"


def fisher_diagonal(
    module: ModuleType,
    data: Mapping[str, Array],
    parameters: Array,
    *,
    seed: int = 0,
    batch_size: int | None = None,
) -> Array:
    """The mean over the rows of the squares of their gradients, shape (P,), float64; 0 for running tensors.

    The diagonal of the empirical Fisher information, for losses that are means over rows. `batch_size`: the rows whose
    gradients are in memory at once; unsaid, as many as fit into 2²⁴ numbers. Raises DerivgenError where the module has
    no per_sample_gradients.
    """
    objective = objective_of(module, data, parameters, seed, batch_size)
    total, rows = np.zeros(len(objective.start)), 0
    for part in objective.row_gradients(objective.first):
        total[: objective.trained] += np.einsum("np,np->p", part, part)
        rows += len(part)
    return total / rows
