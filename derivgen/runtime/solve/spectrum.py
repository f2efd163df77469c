"""The curvature of a module's objective: eigenvalues of its Hessian, and the diagonal of the Fisher information."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.data.given import Data
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.pictures import (
    BLUE,
    DECADE,
    GREY,
    VERMILION,
    check_picture,
    plain,
    scale_by_decades,
    whole_numbers,
    write_picture,
)
from derivgen.runtime.solve.objective import Objective, Start, objective_of, product_name
from derivgen.stages import watched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
DENSE = 64  # parameters up to which all products with unit vectors are no more work than Lanczos' method


@dataclass(frozen=True, slots=True)
class Curvature:
    """Eigenvalues of the Hessian or the Gauss-Newton matrix, in descending order: the largest, and if requested the
    smallest.
    """

    products: str
    parameters: int
    largest: Array
    smallest: Array
    rounding: float  # by which an eigenvalue may be off

    @property
    def largest_stable_rate(self) -> float:
        """2/λ for the largest eigenvalue λ: gradient descent with a larger rate diverges along its direction."""
        return 2 / float(self.largest[0]) if self.largest[0] > self.rounding else math.inf

    @property
    def suggested_rate(self) -> float:
        """1/λ for the largest eigenvalue λ: on a parabola of this curvature gradient descent then needs one step."""
        return self.largest_stable_rate / 2

    @property
    def least(self) -> float:
        """The smallest of the computed eigenvalues."""
        return float(np.append(self.largest, self.smallest).min())

    @property
    def negative(self) -> bool:
        """Whether a computed eigenvalue is negative; eigenvalues that were not computed may be negative too."""
        return self.least < -self.rounding

    @property
    def condition(self) -> float:
        """λ largest / λ smallest; NaN if the smallest was not computed, infinite if it is not positive."""
        if len(self.smallest) == 0:
            return math.nan
        return float(self.largest[0]) / self.least if self.least > self.rounding else math.inf

    @property
    def matrix(self) -> str:
        return {"hessian": "Hessian", "gauss_newton": "Gauss-Newton matrix"}[self.products]

    def plot(self, path: Path | str) -> None:
        """Draw the eigenvalues, the largest first, into a .png, .svg or .pdf; the same values give the same bytes.

        Their absolute values are drawn on a logarithmic axis if they span more than a decade; negative ones are marked.
        Eigenvalues within rounding error are not distinguished from 0. Raises DerivgenError if the path ends in
        anything else, or if matplotlib is missing.
        """
        draw_eigenvalues(Path(path), self)

    def __str__(self) -> str:
        lines = [f"{self.matrix}, {self.parameters} parameters", f"largest eigenvalues   {numbers(self.largest)}"]
        if len(self.smallest):
            lines += [f"smallest eigenvalues  {numbers(self.smallest)}", f"condition number      {self.condition:.4g}"]
        lines.append(
            f"gradient descent      stable below a rate of {self.largest_stable_rate:.4g}, suggested "
            f"{self.suggested_rate:.4g}"
        )
        seen = "seen: no minimum here" if self.negative else "not seen" if len(self.smallest) else "not looked for"
        return "\n".join([*lines, f"negative curvature    {seen}"])


KINDS: Mapping[str, dict[str, Any]] = {
    "λ > 0": {"color": BLUE, "marker": "o"},
    "λ < 0": {"color": VERMILION, "marker": "v"},
    "0 to rounding": {"color": GREY, "marker": "x"},
}


def draw_eigenvalues(path: Path, found: Curvature) -> None:
    """What `Curvature.plot` draws: a panel, or two where those between the largest and the smallest are not known."""
    check_picture(path)
    total = found.parameters
    parts = [(np.arange(1, len(found.largest) + 1), found.largest)]
    ranks = np.arange(total - len(found.smallest) + 1, total + 1)
    if len(ranks) and ranks[0] > len(found.largest) + 1:
        parts.append((ranks, found.smallest))
    elif len(ranks):  # they meet
        new = ranks > len(found.largest)
        parts = [(np.append(parts[0][0], ranks[new]), np.append(found.largest, found.smallest[new]))]
    sizes = np.abs(np.concatenate([values for _, values in parts]))
    known = sizes[sizes > found.rounding]

    def draw(figure: Figure) -> None:
        ratios = [max(2, len(values)) for _, values in parts]
        panels = figure.subplots(1, len(parts), sharey=True, squeeze=False, width_ratios=ratios)[0]
        logarithmic = len(known) > 0 and known.max() > DECADE * known.min()
        for panel, (at, values) in zip(panels, parts, strict=True):
            draw_part(panel, at, values, found.rounding, logarithmic)
            whole_numbers(panel, int(at[0]), int(at[-1]))
        if logarithmic:
            scale_by_decades(panels[0], known.tolist())
            below = (sizes <= found.rounding).any()
            panels[0].set_ylim(found.rounding / 3 if below else known.min() / 2, 2 * known.max())
        panels[0].set_ylabel(f"{'|λ|' if logarithmic else 'λ'} of the {found.matrix}")
        figure.supxlabel(f"rank among {total:,} eigenvalues", fontsize="medium")
        for panel in panels:
            plain(panel)
            if panel.get_legend() is not None:
                panel.get_legend().remove()
        handles = {label: h for p in panels for h, label in zip(*p.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False)

    write_picture(path, (7, 3.8), draw)


def draw_part(panel: Axes, ranks: Array, values: Array, rounding: float, logarithmic: bool) -> None:
    """Eigenvalues of these ranks, those that are not told from 0 at the rounding."""
    size = float(np.clip(40 / np.sqrt(len(values)), 2.5, 6))
    shown = np.maximum(np.abs(values), rounding) if logarithmic else values
    if not logarithmic:
        panel.axhline(0, color=GREY, linewidth=0.8)
    chosen_by = values > rounding, values < -rounding, np.abs(values) <= rounding
    for chosen, (label, style) in zip(chosen_by, KINDS.items(), strict=True):
        if chosen.any():
            panel.plot(ranks[chosen], shown[chosen], linestyle="none", markersize=size, label=label, **style)


def curvature(
    module: ModuleType,
    data: Data | None,
    parameters: Start,
    *,
    k: int = 5,
    smallest: int = 0,
    products: str = "hessian",
    seed: int = 0,
    batch_size: int | None = None,
) -> Curvature:
    """The k largest eigenvalues of the Hessian at the flat parameters, shape (P,), and some of the smallest.

    All eigenvalues, if there are fewer parameters than requested. They are computed by SciPy's eigsh, Lanczos' method,
    from products with the Hessian, or with the Gauss-Newton matrix (`products="gauss_newton"`). `seed`: of the start
    vector and of the model's random tensors; the same seed gives the same numbers. `batch_size`: the number of rows in
    memory at once, for losses that are means over rows. Raises DerivgenError if the module lacks the products, or if
    the method does not converge.
    """
    objective = objective_of(module, data, parameters, seed, batch_size)
    for name, count, least in (("k", k, 1), ("smallest", smallest, 0)):
        if count < least:
            raise ValueError(f"{name} must be at least {least}, found {count}")
    product = objective.product(product_name(products))
    refuse_other(module)
    with watched("curvature", compiling=module.COMPILING):
        if objective.trained <= max(DENSE, k + 1, smallest + 1):
            values = dense_eigenvalues(objective, product)
            top, bottom = values[:k], values[max(0, len(values) - smallest) :]
        else:
            top, bottom = lanczos(objective, product, k, "LA", seed), lanczos(objective, product, smallest, "SA", seed)
    size = float(np.max(np.abs(np.append(top, bottom))))
    rounding = 10 * size * float(np.finfo(objective.start.dtype).eps) * math.sqrt(objective.trained)
    return Curvature(products, objective.trained, top, bottom, rounding)


def dense_eigenvalues(objective: Objective, product: Callable[[Array, Array], Array]) -> Array:
    """All eigenvalues, in descending order."""
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
            f"{numbers(np.sort(error.eigenvalues)[::-1])}: ask for fewer, or for none of the smallest, which often lie "
            "close together"
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
    data: Data,
    parameters: Start,
    *,
    seed: int = 0,
    batch_size: int | None = None,
) -> Array:
    """The mean over the rows of their squared gradients, shape (P,), float64; 0 for running tensors.

    This is the diagonal of the empirical Fisher information, for losses that are means over rows. `batch_size`: the
    number of rows whose gradients are in memory at once; if omitted, as many as fit into 2²⁴ numbers. Raises
    DerivgenError if the module has no per_sample_gradients.
    """
    objective = objective_of(module, data, parameters, seed, batch_size)
    total, rows = np.zeros(len(objective.start)), 0
    refuse_other(module)
    with watched("fisher_diagonal", compiling=module.COMPILING) as work:
        for part in objective.row_gradients(objective.first):
            total[: objective.trained] += np.einsum("np,np->p", part, part)
            rows += len(part)
            work.reach(f"{rows} rows")
    return total / rows
