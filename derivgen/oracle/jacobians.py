"""Jacobians of a program's residuals, and of its prediction, against differences of the declared formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from derivgen.errors import counted
from derivgen.form.program import Program
from derivgen.oracle.differences import NOTHING, Comparison, Counter, Point, central_difference, reals
from derivgen.oracle.reals import context
from derivgen.oracle.tensor_values import Array, array

DIGITS = 50
Vector: TypeAlias = NDArray[np.floating]
# Of a parameter and a vector of its size: the products, one for each output, and how large their terms are.
Product: TypeAlias = Callable[[str, Vector], tuple[Array, Array]]


def compare_jacobian(
    program: Program,
    values: Mapping[str, ArrayLike],
    jacobian: Mapping[str, NDArray[np.floating]],
    directions: int,
    seed: int = 0,
) -> Comparison:
    """A Jacobian of the program's residuals, name of a parameter → array of shape (R, elements), against differences.

    Along random directions v of each parameter, as in `compare_gradients`. The error of a residual is |J·v - d| for the
    difference d, relative to the largest Σ|J_i·v_i|, or |d|, of all residuals along this direction; where no residual
    changes, to the largest of all parameters.
    """

    def product(name: str, v: Vector) -> tuple[Array, Array]:
        terms = reals({name: jacobian[name]}, DIGITS)[name] * v
        return terms.sum(axis=1), np.abs(terms).sum(axis=1)

    what = "jacobian", "all residuals"
    return compared(what, Point(program, values, program.residuals, DIGITS), product, values, directions, seed)


def compare_jacobian_product(
    program: Program,
    values: Mapping[str, ArrayLike],
    product_of: Callable[[str, Vector], ArrayLike],
    directions: int,
    seed: int = 0,
) -> Comparison:
    """Products of the Jacobian of the program's prediction with vectors, against differences, as in `compare_jacobian`.

    `product_of`: the product with a vector that is 0 except for this parameter, whose part is in row-major order.
    """

    def product(name: str, v: Vector) -> tuple[Array, Array]:
        (found,) = reals({name: product_of(name, v)}, DIGITS).values()
        return found.ravel(), np.abs(found.ravel())

    what, outputs = ("jacobian_vector_product", "all predictions"), [str(program.prediction)]
    return compared(what, Point(program, values, outputs, DIGITS), product, values, directions, seed)


def compared(
    what: tuple[str, str],
    point: Point,
    product: Product,
    values: Mapping[str, ArrayLike],
    directions: int,
    seed: int,
) -> Comparison:
    """The products along random directions of each parameter, along one of a single number, against differences."""
    function, outputs = what
    generator, mp = np.random.default_rng(seed), context(DIGITS)
    shapes = {t.name: np.shape(values[t.name]) for t in point.live.parameters}
    counts = {name: directions if math.prod(shape) > 1 else 1 for name, shape in shapes.items()}
    counter, found = Counter(sum(counts.values())), []
    counter.name = function
    for name, count in counts.items():
        elements, size = point.elements([name]), math.prod(shapes[name])
        for _ in range(count):
            v = generator.choice([-1, 1], size) * generator.uniform(1, 2, size)
            difference = central_difference(elements, {name: array(map(mp.mpf, v.tolist()), shapes[name])}, DIGITS)
            counter.count()
            given, sizes = product(name, v)
            changed = max(np.abs(difference))
            found.append((max(np.abs(given - difference)), max(*sizes, changed), changed))
    largest = max(size for _, size, _ in found)
    errors = (error / (size if changed > NOTHING else largest) if error else 0 for error, size, changed in found)
    several = max(counts.values()) > 1
    along = (
        f"along {counted(directions, 'direction')} of each parameter" if several else "with respect to each parameter"
    )
    return Comparison(function, float(max(errors)), f"{outputs}, {along}", float(max(row[2] for row in found)))
