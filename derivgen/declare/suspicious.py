"""What a spec may say, and hardly ever means: warnings at its lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sympy as sp
from sympy.tensor.indexed import Idx, Indexed

from derivgen.declare.declarations import Definition
from derivgen.declare.model import Model
from derivgen.derive.stuck import stuck_parameters, value_at_start
from derivgen.errors import Problem
from derivgen.form.expressions import MaxOver
from derivgen.form.program import Program, Tensor
from derivgen.update.groups import setting_for


def summed_and_on_the_left(model: Model) -> list[Problem]:
    """A warning for each let with a sum over one of its own indices that has nothing to do with the let's element.

    A softmax is none: what its sum has at all c, exp(z[n, c]), its numerator has at the let's own c.
    """
    return [
        Problem(
            d.place,
            f"let {d.name}: {index} is on the left, and the sum over {listed_names(bound)} runs over it too, so that "
            f"the sum is the same number for each {index}: leave {index} out of the Sum, or sum over another index",
        )
        for d in model.definitions
        for bound, index in own_indices_summed(d)
    ]


def own_indices_summed(d: Definition) -> Iterator[tuple[list[Idx], Idx]]:
    """(the indices of a sum, one of them that is on the left), where this is no normalization."""
    for total in sorted(d.expression.atoms(sp.Sum, MaxOver), key=str):
        bound = bound_by(total)
        for index in (i for i in bound if i in d.indices):
            outside, inside = tensors_at(d.expression, index), tensors_at(total.args[0], index)
            alone = set(bound) <= set(d.indices)
            if not outside & inside and not (alone and uses(d.expression, index)):
                yield bound, index


def bound_by(total: sp.Expr) -> list[sp.Expr]:
    return [limit[0] for limit in total.limits] if isinstance(total, sp.Sum) else list(total.args[1:])


def free_nodes(e: sp.Basic, index: Idx) -> Iterator[sp.Basic]:
    """The parts of an expression outside of sums over this index."""
    if isinstance(e, sp.Sum | MaxOver) and index in bound_by(e):
        return
    yield e
    for argument in e.args:
        yield from free_nodes(argument, index)


def tensors_at(e: sp.Basic, index: Idx) -> set[str]:
    """The tensors that are read at this index, outside of sums over it."""
    return {node.base.name for node in free_nodes(e, index) if isinstance(node, Indexed) and node.has(index)}


def uses(e: sp.Basic, index: Idx) -> bool:
    return index in free_nodes(e, index)


def zeros_that_stay(model: Model, training: Program) -> list[Problem]:
    """A warning where parameters that start at zeros never move, of a program that has the gradients."""
    frozen = [t.name for t in training.parameters if setting_for(t.name, model.groups) is None]
    stuck = [training.tensor(name) for name in stuck_parameters(training, frozen)]
    zeros = [t for t in stuck if value_at_start(t) == 0]
    weights = [t for t in zeros if len(t.shape) > 1] or zeros
    if not weights:
        return []
    message = (
        f"the gradient of {listed_names(stuck)} is 0 at the start, and stays 0 in training: the initial values of "
        f'{listed_names(weights)} are zeros. Give an init=, such as init="glorot_uniform"'
    )
    return [Problem(model.declarations[weights[0].name].place, message)]


def listed_names(named: Sequence[Tensor | Idx]) -> str:
    """`W1, b1 and W2`."""
    *others, last = (str(n.name) for n in named)
    return f"{', '.join(others)} and {last}" if others else last
