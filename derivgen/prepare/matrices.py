"""Functions of some indices of a sum as tensors: the sum is then a product of matrices, and so is its adjoint.

Input and output: a declared Program. Σ_i x[n,i]·log(p[q,i]) has a logarithm for each q and i, and for each n a product.
The adjoint of the logarithms is Σ_n x[n,i]·z_bar[n,q]; without a tensor to be the adjoint of, it would be taken apart
into sums over n, q and i for each of the parameters of p.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import TRUE, Read, indices_of, subexpressions, substitute
from derivgen.form.program import Program, Role, Statement, Tensor, names_of
from derivgen.rewrite.calls import is_costly


@as_written()
def matrices(program: Program) -> Program:
    """What a sum multiplies, with calls, that has indices of the sum and of its target, but not all, is a tensor.

    `z[n,i] += Σ_j x[n,j]·exp(w[i,j])` → `z_exp[i,j] = exp(w[i,j])` and `z[n,i] += Σ_j x[n,j]·z_exp[i,j]`
    """
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    for s in program.statements:
        made = dict[sp.Expr, sp.Expr]()
        for factor in dict.fromkeys(factors_of(s)):
            own = tuple(r for r in s.domain if r.index in indices_of(factor))
            word = type(factor).__name__.lower() if isinstance(factor, sp.Function) else "part"
            place = Read(names.fresh(f"{s.layer}_{word}"), *(r.index for r in own))
            tensors.append(Tensor(place.tensor, tuple(r.extent for r in own), Role.HELPER))
            value = replace(s, target=place.tensor, subscripts=place.subscripts, operator="=", expression=factor)
            statements.append(replace(value, domain=own))
            made[factor] = place
        statements.append(replace(s, expression=substitute(s.expression, made)) if made else s)
    return check_program(program.with_statements(statements, tensors))


def factors_of(s: Statement) -> Iterator[sp.Expr]:
    """The factors of a sum's terms that may be tensors of their own."""
    if s.operator != "+=" or not s.reduced or s.guard != TRUE or s.scan is not None:
        return
    reduced = {r.index for r in s.reduced}
    free = {r.index for r in s.domain} - reduced
    for term in sp.Add.make_args(s.expression):
        factors = sp.Mul.make_args(term)
        for factor in factors:
            own = indices_of(factor)
            others = set().union(*(indices_of(f) for f in factors if f is not factor))
            apart = own & reduced and own & free and others & (free - own) and others & own & reduced
            if apart and any(map(is_costly, subexpressions(factor))) and not factor.has(sp.Piecewise):
                yield factor
