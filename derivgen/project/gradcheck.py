"""Generated gradients against the oracle: what `derivgen gradcheck` runs."""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from derivgen.declare.model import Model
from derivgen.errors import DerivgenError
from derivgen.file.contract import EVALUATION_GRADIENT
from derivgen.file.headers import assemble
from derivgen.form.program import Program, Role, Tensor
from derivgen.oracle.differences import NOTHING, Comparison, compare_gradients, depth_for, relative_error, value
from derivgen.oracle.jacobians import compare_jacobian, compare_jacobian_product
from derivgen.pipeline import declared_program, generate_body, zero_by_structure
from derivgen.prepare.modes import in_evaluation, in_training
from derivgen.runtime.loading import load
from derivgen.stages import reached, watched

SECOND_ORDER_DIGITS = 100  # differences of differences lose twice as many
PRODUCT, OUTSIDE = "jacobian_vector_product", EVALUATION_GRADIENT
TOLERANCES = {"float64": 1e-9, "float32": 1e-3}  # the largest relative errors that pass
POINTS = 8  # at most, for a gradient that is 0 at the first one


def gradcheck(
    model: Model, dtype: str = "float64", rows: int = 3, seed: int = 0, order: int = 1, quick: bool = False
) -> list[Comparison]:
    """The largest relative error of each parameter's gradient at a random point, by the 50-digit oracle.

    `rows` is the value of every run-time size; with `order` 2 it is the Hessian's product with a random vector that is
    compared, of `hessian` too where the spec asks for it. With `order` 1, the last ones are of the `jacobian` of a
    least-squares model, by which solvers search, of `jacobian_vector_product`, by which a fit draws its band, and of
    `evaluation_gradient`, where the spec asks for it. The first are values of the objective, where these are wrong.
    Where the objective is not finite at normal values, as a logarithm, the point has positive ones. `quick`: each
    tensor along one random direction alone, which has a part of every element.
    Raises SpecError where the spec is refused, DerivgenError where there is nothing finite to compare.
    """
    whole = order == 2 and "hessian" in model.requests
    first = {"jacobian": bool(model.residuals)} | {name: name in model.requests for name in (PRODUCT, OUTSIDE)}
    asked = first if order == 1 else {"hessian_vector_product": True, "hessian": whole}
    functions = [name for name, needed in asked.items() if needed]
    declared = declared_program(model)
    reached("the objective at 50 digits")
    values = finite_values(declared, dtype, rows, seed)
    along = random_direction(declared, dtype, seed) if order == 2 else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model.name}_gradcheck_kernels.py"
        body = generate_body(model, dtype, functions=functions)
        path.write_text(assemble(body, path.name, "derivgen gradcheck"), encoding="utf-8")
        module = load(path)
        with watched("gradcheck", compiling=module.COMPILING) as work:
            work.reach("the generated gradient")
            gradient = module_gradient(module, declared, values, along)
        found = compared_with_differences(declared, values, gradient, seed, along, quick)
        found = at_other_points(found, module, declared, dtype, rows, seed, order, quick)
        found = [*wrong_values(module, declared, values), *found]
        directions = 1 if quick else 2
        if "jacobian" in functions:
            jacobian = module_jacobian(module, declared, values)
            found.append(compare_jacobian(declared, values, jacobian, directions, seed))
        if PRODUCT in functions:
            product = predicted_product(module, declared, values)
            found.append(compare_jacobian_product(in_evaluation(declared), values, product, directions, seed))
        if OUTSIDE in functions:
            outside = module_gradient(module, declared, values, training=False)
            again = compared_with_differences(in_evaluation(declared), values, outside, seed, None, quick)
            found += [replace(c, parameter=f"{c.parameter}, in evaluation") for c in again]
        if whole:
            by_hessian = module_gradient(module, declared, values, along, whole)
            again = compared_with_differences(declared, values, by_hessian, seed, along, quick)
            found += [replace(c, parameter=f"{c.parameter}, by hessian") for c in again]
    return found


def compared_with_differences(
    declared: Program,
    values: Mapping[str, np.ndarray],
    gradient: Mapping[str, np.ndarray],
    seed: int,
    along: Mapping[str, np.ndarray] | None,
    quick: bool = False,
) -> list[Comparison]:
    """The errors of a gradient, or with `along` of a product with the Hessian."""
    largest = max((float(np.max(np.abs(g))) for g in gradient.values()), default=0.0)
    digits = {"digits": SECOND_ORDER_DIGITS} if along is not None else {}
    depth = depth_for(sum(np.size(values[p.name]) for p in declared.parameters), quick)
    compared = compare_gradients(declared, values, gradient, seed, depth, along=along, **digits)
    for c in compared:
        if not np.isfinite(c.largest):
            raise DerivgenError(
                f"the derivative with respect to {c.parameter} is not finite at the random point, so nothing was "
                "compared: try another --seed, or look for what is singular there"
            )
    return [cancelled(c, gradient[c.parameter], largest) if c.largest < NOTHING else c for c in compared]


def at_other_points(
    found: list[Comparison],
    module: Any,
    declared: Program,
    dtype: str,
    rows: int,
    seed: int,
    order: int,
    quick: bool,
) -> list[Comparison]:
    """The comparisons, in which those of 0 with 0 are replaced by those at a point where the gradient is another one.

    Without such a point they are not `tested`, unless the gradient is 0 by structure.
    """
    left = {c.parameter for c in found if c.largest < NOTHING and c.error == 0}
    left -= zero_by_structure(declared, order) if left else set()
    for other in range(seed + 1, seed + POINTS if left else 0):
        try:
            values = finite_values(declared, dtype, rows, other)
        except DerivgenError:
            continue
        along = random_direction(declared, dtype, other) if order == 2 else None
        gradient = module_gradient(module, declared, values, along)
        if any(np.any(gradient[name]) for name in left):
            again = compared_with_differences(declared, values, gradient, other, along, quick)
            better = {c.parameter: c for c in again if c.parameter in left and (c.largest >= NOTHING or c.error)}
            found, left = [better.get(c.parameter, c) for c in found], left - {*better}
    return [replace(c, tested=c.parameter not in left) for c in found]


def finite_values(program: Program, dtype: str, rows: int, seed: int) -> dict[str, np.ndarray]:
    """Random values at which the objective is finite: normal ones, or else positive ones."""
    values = random_values(program, dtype, rows, seed)
    positive = {
        name: np.abs(a) + np.float64(0.5).astype(dtype) if a.dtype.kind == "f" else a for name, a in values.items()
    }
    for point in (values, positive):
        objective = value(in_training(program), point)
        if objective == objective and abs(objective) < np.inf:
            return point
    raise DerivgenError(
        "the objective is not finite at random values of inputs and parameters, be they normal or positive: nothing "
        "can be compared there; try another --seed"
    )


def cancelled(c: Comparison, gradient: np.ndarray, largest: float) -> Comparison:
    """The comparison of a gradient that is 0: it has no scale of its own, so its error is against the largest of all.

    A bias before batch normalization is an example: the terms of its gradient cancel.
    """
    size = float(np.max(np.abs(gradient)))
    if size == 0:
        return replace(c, error=0.0)  # the differences may be off by their rounding
    return replace(c, error=size / largest, checked=f"{c.checked}; it is 0, compared with the largest gradient")


def module_gradient(
    module: Any,
    program: Program,
    values: Mapping[str, np.ndarray],
    along: Mapping[str, np.ndarray] | None = None,
    whole: bool = False,
    training: bool = True,
) -> dict[str, np.ndarray]:
    """The gradient of a generated module at these values, by parameter, or the Hessian's product with a vector.

    `whole`: the product of the matrix that `hessian` gives. `training`: whether the gradient is that of a step.
    """
    flat = np.concatenate([np.ravel(values[p.name]) for p in program.vector]).astype(module.real)
    inputs = {t.name: values[t.name] for t in program.of_role(Role.INPUT, Role.LABELS)}
    if along is None:
        mode = {} if training else {"training": False}
        _, gradient = module.loss_and_gradient(flat, **inputs, **mode)
    else:
        given = [np.ravel(along.get(p.name, np.zeros(np.shape(values[p.name])))) for p in program.vector]
        v = np.concatenate(given).astype(module.real)
        gradient = module.hessian(flat, **inputs) @ v if whole else module.hessian_vector_product(flat, v, **inputs)
    return dict(module.views(gradient))


def wrong_values(module: Any, program: Program, values: Mapping[str, np.ndarray]) -> Iterator[Comparison]:
    """The objective as `loss_and_gradient` and `loss` give it, where it is not the declared formula's."""
    flat = np.concatenate([np.ravel(values[p.name]) for p in program.vector]).astype(module.real)
    inputs = {t.name: values[t.name] for t in program.of_role(Role.INPUT, Role.LABELS)}
    given = {
        "loss_and_gradient": (module.loss_and_gradient(flat, **inputs)[0], in_training),
        "loss": (module.loss(flat, **inputs), in_evaluation),
    }
    for function, (objective, mode) in given.items():
        declared = value(mode(program), values)
        error = relative_error(objective, declared)
        if error > TOLERANCES[np.dtype(module.real).name]:
            yield Comparison(f"value of {function}", error, "the declared objective", abs(float(declared)))


def module_jacobian(module: Any, program: Program, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The Jacobian of the residuals that a generated module gives at these values, by parameter: (R, elements)."""
    flat = np.concatenate([np.ravel(values[p.name]) for p in program.vector]).astype(module.real)
    J = module.jacobian(flat, **{t.name: values[t.name] for t in program.of_role(Role.INPUT, Role.LABELS)})
    dense = J.toarray() if hasattr(J, "toarray") else J
    return {p.name: dense[:, p.offset : p.offset + math.prod(p.shape)] for p in module.PARAMETERS}


def predicted_product(
    module: Any, program: Program, values: Mapping[str, np.ndarray]
) -> Callable[[str, np.ndarray], np.ndarray]:
    """A generated module's product of the Jacobian of its prediction with a vector of one parameter."""
    flat = np.concatenate([np.ravel(values[p.name]) for p in program.vector]).astype(module.real)
    taken = inspect.signature(module.jacobian_vector_product).parameters
    inputs = {t.name: values[t.name] for t in program.of_role(Role.INPUT, Role.LABELS) if t.name in taken}

    def product(name: str, v: np.ndarray) -> np.ndarray:
        whole = np.zeros_like(flat)
        place = next(p for p in module.PARAMETERS if p.name == name)
        whole[place.offset : place.offset + len(v)] = v
        return np.asarray(module.jacobian_vector_product(flat, whole, **inputs))

    return product


def random_direction(program: Program, dtype: str, seed: int) -> dict[str, np.ndarray]:
    """A normal vector, by parameter."""
    rng = np.random.default_rng((seed, 1))
    shapes = {p.name: tuple(map(int, p.shape)) for p in program.parameters}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def random_values(program: Program, dtype: str, rows: int, seed: int) -> dict[str, np.ndarray]:
    """Normal values of the inputs and parameters in the module's dtype, and labels among their classes.

    Running tensors are positive: they may be variances.
    """
    rng = np.random.default_rng(seed)
    sizes = {symbol: rows for _, symbol in program.sizes if not symbol.is_Integer}

    def draw(t: Tensor) -> np.ndarray:
        shape = tuple(int(extent.subs(sizes)) for extent in t.shape)
        if t.role is Role.LABELS:
            return rng.integers(0, t.classes, shape)
        normal = rng.standard_normal(shape).astype(dtype)
        return np.abs(normal) if t.role is Role.RUNNING else normal

    return {t.name: draw(t) for t in program.of_role(Role.INPUT, Role.LABELS, Role.PARAMETER, Role.RUNNING)}
