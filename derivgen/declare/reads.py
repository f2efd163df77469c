"""What a spec reads: elements of tensors, also through tables and around an axis, and of SymPy matrices."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import sympy as sp
from sympy.matrices.expressions.matexpr import MatrixElement
from sympy.tensor.indexed import Indexed

from derivgen.declare.around import part_around, turns
from derivgen.declare.comparisons import compared
from derivgen.declare.looked_up import looked_up
from derivgen.declare.model import TensorSymbol
from derivgen.declare.scope import Scope
from derivgen.declare.state import State
from derivgen.declare.suggestions import at_indices
from derivgen.errors import Refused, counted
from derivgen.form import bounds
from derivgen.form.expressions import TRUE, Read, all_of, conjuncts, guarded, indices_of, negation, reads_of
from derivgen.form.program import Role, Statement, Tensor


def tensor_element(state: State, e: Indexed, scope: Scope) -> sp.Expr:
    name = e.base.name
    if name not in state.tensors and name in state.model.refused_names:
        return sp.Integer(1)
    # SymPy may have rebuilt the base, which then has no model.
    if name in state.tensors and getattr(e.base, "model", state.model) is not state.model:
        raise Refused(f"{state.layer}: {name} is a tensor of another model: declare it in this one")
    if not isinstance(e.base, TensorSymbol) or name not in state.tensors:
        raise Refused(f"{state.layer}: {name} is not declared: make it by model.input, model.parameter or model.let")
    tensor = state.tensors[name]
    if len(e.indices) != len(tensor.shape):
        found, axes = len(e.indices), len(tensor.shape)
        raise Refused(
            f"{state.layer}: {e} is read with {counted(found, 'subscript')}, {name} has {counted(axes, 'axis')}: "
            f"write {at_indices(e.base, state.model.declared_indices)}"
        )
    if (part := part_around(e)) is not None and (branches := around(state, e, part, scope)) is not None:
        return branches
    return state.earlier(Read(name, *(subscript(state, e, axis, scope) for axis in range(len(e.indices)))), scope)


def subscript(state: State, e: Indexed, axis: int, scope: Scope) -> sp.Expr:
    """A subscript of an element: an integer combination, or else a read of a table of its values."""
    subscript = sp.expand(state.convert(e.indices[axis], scope))
    if is_linear(state, subscript):
        return subscript
    extent, ranges = state.tensors[e.base.name].shape[axis], scope.ranges.values()
    rest = sp.Add(*(term for term in sp.Add.make_args(subscript) if is_linear(state, term)))
    try:
        found = looked_up(subscript, extent, scope.path, ranges)
    except Refused as outside:
        raise Refused(f"{state.layer}: {e}: {outside}") from None
    if found is not None:
        rest = sp.S.Zero
    else:
        found = looked_up(subscript - rest, None, scope.path, ranges)
    if found is None:
        raise Refused(
            f"{state.layer}: {e} has the subscript {subscript}, expected an integer combination of indices, sizes "
            f"and integer tensors, or a formula of indices with fixed sizes{advice_on(state, subscript)}"
        )
    table, own = found
    values = table.shape, np.asarray(table.value).tobytes()
    if values not in state.looked_up:
        name = state.looked_up[values] = state.names.fresh(f"{e.base.name}_at")
        state.tensors[name] = replace(table, name=name)
    return Read(state.looked_up[values], *own) + rest


def advice_on(state: State, subscript: sp.Expr) -> str:
    reals = sorted({r.tensor for r in reads_of(subscript) if not state.is_integer(r)})
    if reals:
        return f": {reals[0]} holds reals; compute integers before, and give them by model.labels"
    return "" if reads_of(subscript) or subscript.is_integer else f": round it, as floor({subscript})"


def is_linear(state: State, subscript: sp.Expr) -> bool:
    """Whether it is an integer combination of indices, sizes and integer tensors."""
    form = bounds.linear(subscript, state.is_integer)
    return form is not None and all(c.denominator == 1 for c in form.values())


def around(state: State, e: Indexed, part: sp.Mod, scope: Scope) -> sp.Expr | None:
    """An element whose subscript goes round an axis, as a branch for each of a few turns; None: more of them."""
    value, period = (sp.expand(state.convert(a, scope)) for a in part.args)
    found = turns(value, period, scope.path, tuple(scope.ranges.values()), state.tensors)
    if found is None:
        return None
    pairs, rest = [], scope
    for k in found:
        test = TRUE if k == found[-1] else compared(sp.Lt(value, (k + 1) * period), state.is_integer)
        subscripts = (s.xreplace({part: part.args[0] - k * part.args[1]}) for s in e.indices)
        pairs.append((tensor_element(state, e.func(e.base, *subscripts), rest.under(test)), test))
        rest = rest.under(negation(test))
    return sp.Piecewise(*pairs)


def matrix_element(state: State, e: MatrixElement, scope: Scope) -> sp.Expr:
    """An element of a SymPy matrix at indices: the matrix is a tensor, each of its entries a statement."""
    matrix, *places = e.args
    if not isinstance(matrix, sp.MatrixBase):
        raise Refused(f"{state.layer}: {matrix} is a matrix without entries, expected sp.Matrix([[…], …])")
    subscripts = [sp.expand(state.convert(place, scope)) for place in places]
    entries = [state.body(state.convert(entry, scope)) for entry in matrix.flat()]
    guard = all_of(*(c for c in conjuncts(scope.path) if not reads_of(c)))
    used = {i for entry in (*entries, guard) for i in indices_of(entry)}
    free = tuple(r for r in scope.ranges.values() if r.index in used)
    key = (matrix, free, guard)
    if key not in state.matrices:
        name = state.matrices[key] = state.names.fresh(f"{state.layer}_matrix")
        shape = (*(r.extent for r in free), *map(sp.Integer, matrix.shape))
        state.tensors[name] = Tensor(name, shape, Role.HELPER)
        own = tuple(r.index for r in free)
        for (row, column), entry in zip(itertools.product(*map(range, matrix.shape)), entries, strict=True):
            place = (*own, sp.Integer(row), sp.Integer(column))
            state.emit(Statement(name, place, "=", guarded(entry, guard), free, layer=state.layer))
    return Read(state.matrices[key], *(r.index for r in free), *subscripts)
