"""Powers of one base whose exponents are multiples of one another, as powers of one of them, which is a tensor.

Input and output: a declared Program. SymPy makes u^(1 - b) of the square of u^(1/2 - b/2), and u^(b/2 - 1/2) of its
reciprocal: of one power that a spec names there are several, and each takes as long as the first. One of them
must be computed in any case: of a base below 0 it may have no value where others have one.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import TRUE, Read, indices_of, subexpressions, substitute, unconditional_parts
from derivgen.form.program import Program, Role, Statement, Tensor, names_of

MOST = 8  # times an exponent


@as_written()
def powers_of_one(program: Program) -> Program:
    """Each statement with one power of each base whose exponents are multiples of one another, and powers of that.

    `z[i] = x[i]^a[i] + x[i]^(2·a[i])` → `power[i] = x[i]^a[i]` and `z[i] = power[i] + power[i]²`
    """
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    known: dict[tuple[object, ...], Read] = {}
    for s in program.statements:
        made = dict[sp.Expr, sp.Expr]()
        for power, times in shared_powers(s):
            own = tuple(r for r in s.domain if r.index in indices_of(power))
            key = (power, own, s.scan)
            if key not in known:
                place = known[key] = Read(names.fresh(f"{s.layer}_power"), *(r.index for r in own))
                tensors.append(Tensor(place.tensor, tuple(r.extent for r in own), Role.HELPER))
                value = replace(s, target=place.tensor, subscripts=place.subscripts, operator="=", expression=power)
                statements.append(replace(value, domain=own, guard=TRUE))
            made |= {old: known[key] ** n for old, n in times.items()}
        changed = s if not made else replace(s, **{p: substitute(getattr(s, p), made) for p in ("expression", "guard")})
        statements.append(changed)
    return check_program(program.with_statements(statements, tensors))


def shared_powers(s: Statement) -> list[tuple[sp.Expr, dict[sp.Expr, sp.Integer]]]:
    """(a power, what other powers are it to the power of), for each base with several."""
    by_base: dict[sp.Expr, dict[sp.Expr, None]] = {}
    for node in (n for e in (s.expression, s.guard) for n in subexpressions(e)):
        if isinstance(node, sp.Pow) and not node.exp.is_number and (s.scan is None or s.scan.index in indices_of(node)):
            by_base.setdefault(node.base, {})[node.exp] = None
    found = []
    always = set(unconditional_parts(s.expression))
    for base, exponents in by_base.items():
        for one in exponents if len(exponents) > 1 else ():
            times = [ratio_of(sp.expand(e), sp.expand(one)) for e in exponents]
            if base**one in always and all(n is not None and n.is_Integer and abs(n) <= MOST for n in times):
                found.append((base**one, {base**e: n for e, n in zip(exponents, times, strict=True)}))
                break
    return found


def ratio_of(e: sp.Expr, first: sp.Expr) -> sp.Expr | None:
    """The number that one expression is times another one."""
    terms = dict(term.as_coeff_Mul()[::-1] for term in sp.Add.make_args(first))
    number, rest = sp.Add.make_args(e)[0].as_coeff_Mul()
    ratio = number / terms[rest] if rest in terms else None
    return ratio if ratio is not None and sp.expand(e - ratio * first) == 0 else None
