"""A module's objective at fixed data, as solvers take it: a function of the trained parameters in double precision."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from derivgen.errors import DerivgenError, counted, listed, nearest
from derivgen.runtime.data import rows as rows_of
from derivgen.runtime.data.given import Data, named_inputs
from derivgen.runtime.data.inputs import unmasked
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.nonfinite import element
from derivgen.stages import reached

Array = np.ndarray[Any, Any]
Gradient = Callable[[Array], tuple[float, Array]]
Product = Callable[[Array, Array], Array]
Start: TypeAlias = ArrayLike | Mapping[str, ArrayLike]  # a flat vector, or values by the names of parameters

# What products with second derivatives are asked for by, and the module's function of each.
PRODUCTS = {"hessian": "hessian_vector_product", "gauss_newton": "gauss_newton_vector_product"}
# What in the spec adds a function; of others it is model.second_order.
ADDED_BY = {
    "residuals": "state the objective by model.least_squares(r) in place of model.minimize(...)",
    "predict": "name what it returns by model.predict(...)",
}


def needed(module: ModuleType, name: str) -> Callable[..., Any]:
    """The module's function. Raises DerivgenError, with what adds it, where the module has none."""
    if not hasattr(module, name):
        cure = ADDED_BY.get(name, f'add model.second_order("{name}")')
        raise DerivgenError(f"the module has no {name}: {cure} in the spec, and generate it again")
    function: Callable[..., Any] = getattr(module, name)
    return function


def product_name(products: str) -> str:
    """The module's function of these products. Raises ValueError where the name is unknown."""
    if products not in PRODUCTS:
        raise ValueError(f"products must be {' or '.join(PRODUCTS)}{nearest(products, PRODUCTS)}, found {products!r}")
    return PRODUCTS[products]


@dataclass(frozen=True, slots=True)
class Objective:
    """Vectors are of the `trained` parameters, shape (T,), float64; running tensors keep the values in `start`.

    With a batch size, values are means over batches, weighted by rows, one of which is in memory at a time.
    """

    module: ModuleType
    inputs: Mapping[str, Array]
    draws: Mapping[str, int]
    start: Array  # flat, shape (P,), in the module's dtype
    trained: int
    batch_size: int | None

    @property
    def first(self) -> Array:
        """The vector from which a search starts."""
        return self.start[: self.trained].astype(np.float64)

    def flat(self, vector: Array) -> Array:
        """The module's vector, shape (P,)."""
        inside = self.start.copy()  # which steps in parts change where there are running tensors
        inside[: self.trained] = vector
        return inside

    def gradient(self) -> Gradient:
        """(loss, gradient) of a vector."""
        whole = functools.partial(self.module.loss_and_gradient, **self.inputs, **self.draws)
        gradient_of = whole if self.batch_size is None else self.gradient_in_parts(self.batch_size)
        count = itertools.count(1)

        def value_and_gradient(vector: Array) -> tuple[float, Array]:
            loss, gradient = gradient_of(self.flat(vector))
            reached(f"{counted(next(count), 'evaluation')}, objective {loss:.6g}")
            return loss, gradient[: self.trained].astype(np.float64)

        return value_and_gradient

    def gradient_in_parts(self, batch_size: int) -> Gradient:
        """The mean of the losses and gradients of all batches, weighted by rows."""
        module, inputs = self.module, self.inputs
        rows, feed = np.arange(rows_of.count_rows(module, inputs)), rows_of.Feed(module, inputs)

        def in_parts(parameters: Array) -> tuple[float, Array]:
            total, mean, seen = np.zeros(len(parameters)), 0.0, 0
            for part, data in feed.parts(rows, batch_size):
                step = {"first_step": seen // batch_size} if self.draws else {}
                order = np.arange(len(part))
                loss, gradient = module.mean_gradient(parameters, order, batch_size, **data, **self.draws, **step)
                seen += len(part)
                mean += (loss - mean) * len(part) / seen
                total += (gradient - total) * len(part) / seen
            return mean, total

        return in_parts

    def hessian(self) -> Callable[[Array], Array]:
        """The Hessian at a vector, shape (T, T)."""
        hessian = self.mean("hessian")
        return lambda vector: hessian(self.flat(vector))[: self.trained, : self.trained].astype(np.float64)

    def product(self, name: str) -> Product:
        """The product of the matrix at a vector with a vector, by the module's function of that name."""
        product, count = self.mean(name), itertools.count(1)

        def multiplied(vector: Array, by: Array) -> Array:
            reached(f"{counted(next(count), 'product')} of a vector with the second derivatives")
            inside = np.zeros_like(self.start)
            inside[: self.trained] = np.ravel(by)
            return product(self.flat(vector), inside)[: self.trained].astype(np.float64)

        return multiplied

    def mean(self, name: str) -> Callable[..., Array]:
        """The module's function of that name at the data, or its mean over batches."""
        function = needed(self.module, name)
        if self.batch_size is None:
            return lambda *arguments: function(*arguments, **self.inputs, **self.draws)
        if self.draws:
            raise ValueError(
                f"batch_size: {name} draws the numbers of one step, not those of each batch as the gradient does: "
                "leave batch_size out"
            )

        def in_parts(*arguments: Array) -> Array:
            total, seen = np.zeros(()), 0
            for rows, inputs in self.batches(self.batch_size or 1):
                seen += len(rows)
                total = total + (function(*arguments, **inputs) - total) * (len(rows) / seen)
            return total

        return in_parts

    def batches(self, batch_size: int) -> Iterator[tuple[Array, Mapping[str, Array]]]:
        """(row numbers, inputs) of so many rows each."""
        feed, rows = rows_of.Feed(self.module, self.inputs), np.arange(rows_of.count_rows(self.module, self.inputs))
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            yield part, feed.take(part)

    def row_gradients(self, vector: Array) -> Iterator[Array]:
        """The gradients of the rows, shape (rows, T), so many at a time as the batch size or memory says."""
        function, parameters = needed(self.module, "per_sample_gradients"), self.flat(vector)
        at_once = self.batch_size or max(1, rows_of.CHUNK // len(parameters))
        for _, inputs in self.batches(at_once):
            yield function(parameters, **inputs, **self.draws)[:, : self.trained].astype(np.float64)


def objective_of(
    module: ModuleType,
    data: Data | None,
    parameters: Start | None,
    seed: int = 0,
    batch_size: int | None = None,
) -> Objective:
    """The objective at these data. Raises ValueError or TypeError where the arguments don't fit the module."""
    refuse_other(module)
    inputs = named_inputs(module, {} if data is None else data)
    rows_of.check_complete(module, inputs)
    start = start_of(module, parameters, seed)
    trained = sum(math.prod(p.shape) for p in module.PARAMETERS if getattr(p, "trained", True))
    draws = {"seed": seed} if getattr(module, "RANDOM", ()) else {}
    if batch_size is not None and not rows_of.sample_inputs(module):
        raise ValueError("batch_size: the model has no sample axis, so there are no batches")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, found {batch_size}")
    return Objective(module, inputs, draws, start, trained, batch_size)


def start_of(module: ModuleType, parameters: Start | None, seed: int) -> Array:
    """A new flat vector: the one that is given, or the initial one, with the values that are given by name.

    Raises ValueError or TypeError where it is none of the module's.
    """
    start: Array
    if parameters is not None and not isinstance(parameters, Mapping):
        listed_ones = isinstance(parameters, list | tuple)
        start = np.array(unmasked("parameters", parameters), module.real if listed_ones else None)
        module.views(start)  # refuses what is no vector of the module's
        return start
    start = module.initial_parameters(seed)
    views = module.views(start)
    for name, value in (parameters or {}).items():
        if name not in views:
            raise ValueError(
                f"parameters speak of {name}, which the module does not have{nearest(str(name), views)}: expected "
                f"{listed(views)}"
            )
        views[name][...] = filled(value, views[name].shape, f"parameters of {name}")
    return start


def filled(given: Any, shape: tuple[int, ...], what: str) -> Array:
    """Numbers in this shape, to which they are broadcast. Raises ValueError where they are not."""
    array = np.asarray(unmasked(what, given), dtype=np.float64)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{what} must be numbers or of shape {shape}, or broadcast to it, found shape {array.shape}"
        ) from None


def accepted(function: Callable[..., Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that the function takes."""
    taken = inspect.signature(function).parameters
    return {name: array for name, array in inputs.items() if name in taken}


def parameter_at(module: ModuleType, position: int) -> str:
    """The name of an element of the flat vector: `W[2, 3]`."""
    own = next(p for p in reversed(module.PARAMETERS) if p.offset <= position and math.prod(p.shape))
    return element(own.name, tuple(int(i) for i in np.unravel_index(position - own.offset, own.shape)))
