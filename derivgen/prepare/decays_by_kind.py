"""Sums of terms that decay, with factors by the kind of each element, are sums by kind, which decay.

    S[n] = Σ_{m < n} A[k[n],k[m]]·exp(-b·(t[n] - t[m]))  is  S[n] = Σ_c A[k[n],c]·R[n,c],
    R[n,c] = Σ_{m < n} exp(-b·(t[n] - t[m])) over those m with k[m] = c

which `decaying_sums` makes a recurrence: events of several kinds that excite one another. Decays that differ by kind,
b[k[n],k[m]], have a sum for each pair of kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    Read,
    all_of,
    index_symbol,
    indices_of,
    parts_of,
    reads_of,
    replace_reads,
    substitute,
)
from derivgen.form.program import Names, Program, Range, Role, Statement, Tensor, names_of
from derivgen.prepare.decaying_sums import how_it_decays, is_lone_sum, is_stabilized
from derivgen.prepare.reach_back import may_be_singular
from derivgen.prepare.running_sums import ends_of, without

KINDS = 64  # or pairs of kinds, for each of which there is a sum


@as_written()
def decays_by_kind(program: Program) -> Program:
    """Each sum that decays but for factors by kind is a sum by kind, and a sum over the kinds.

    `S[n] += Σ_m a[k[n],k[m]]·exp(t[m] - t[n]) if m < n` →
    `S_kind[n,c] += Σ_m exp(t[m] - t[n]) if m < n and k[m] = c` and `S[n] += Σ_c a[k[n],c]·S_kind[n,c]`
    """
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    for s in program.statements:
        found = by_kind(program, s, names) if is_lone_sum(program, s) else None
        if found is None:
            statements.append(s)
            continue
        statements += found
        of_kind = found[0]
        shape = tuple(r.extent for r in of_kind.domain if r not in of_kind.reduced)
        tensors.append(Tensor(of_kind.target, shape, Role.HELPER))
    return check_program(program.with_statements(statements, tensors)) if tensors else program


def by_kind(program: Program, s: Statement, names: Names) -> list[Statement] | None:
    """The sum for each kind, and the sum of these; None where the former does not decay."""
    (inner,) = s.reduced
    ends = (ends_of(part, inner.index) for part in parts_of(s.guard))
    outer = next((end[0] for end in ends if end is not None), None)
    if outer is None:
        return None
    kinds = Kinds(program, names.copy())
    both = {outer, inner.index}
    factors = (kinds.told(f, inner.index) if both <= indices_of(f) else f for f in sp.Mul.make_args(s.expression))
    outside, inside = apart(factors, outer, inner.index)
    conditions = [sp.Eq(label, r.index) for label, r in kinds.ranges.items()]
    if any(outer in indices_of(label) for e in inside for label in reads_of(e) if kinds.is_label(label)):
        inside = [kinds.told(e, outer) for e in inside]
    if sp.Mul(*(r.extent for r in kinds.ranges.values())) > KINDS:
        return None
    ranges = tuple(kinds.ranges.values())
    guard = all_of(s.guard, *conditions)
    own = {i for e in (*inside, guard) for i in indices_of(e)} | {outer}
    domain = (*(r for r in s.domain if r.index in own and r != inner), *ranges, inner)
    subscripts = tuple(r.index for r in domain[:-1])
    of_kind = replace(s, subscripts=subscripts, domain=domain, guard=guard, expression=sp.Mul(*inside))
    if not (outside or ranges) or how_it_decays(of_kind) is None or is_stabilized(program, s.target):
        return None
    if any(map(may_be_singular, outside)):  # a sum of no terms is 0, whatever stands before it
        return None
    received = {r.index: label for label, r in kinds.ranges.items() if outer in indices_of(label)}
    for _ in ranges:
        names.fresh("c")
    name = names.fresh(f"{s.layer}_{'kind' if ranges else 'part'}")
    there = Read(name, *(received.get(i, i) for i in subscripts))
    over = tuple(r for label, r in kinds.ranges.items() if outer not in indices_of(label))
    rest = all_of(*(p for p in parts_of(s.guard) if inner.index not in indices_of(p)))
    whole = (*without(s.domain, inner.index), *over)
    return [replace(of_kind, target=name), replace(s, expression=sp.Mul(*outside, there), domain=whole, guard=rest)]


class Kinds:
    """The labels of elements for which a formula is told apart, and the range of each."""

    def __init__(self, program: Program, names: Names) -> None:
        self.program, self.names = program, names
        self.ranges: dict[Read, Range] = {}

    def is_label(self, read: Read) -> bool:
        tensor = self.program.tensor(read.tensor)
        return tensor.role is Role.LABELS and tensor.ignore is None and (tensor.classes or KINDS + 1) <= KINDS

    def told(self, e: sp.Expr, index: sp.Symbol) -> sp.Expr:
        """The formula with an index in place of each label that is read at another one."""

        def kind(read: Read) -> sp.Expr:
            if not self.is_label(read) or read.subscripts != (index,):
                return Read(read.tensor, *(replace_reads(i, kind) for i in read.subscripts))
            if read not in self.ranges:
                classes = sp.Integer(self.program.tensor(read.tensor).classes)
                self.ranges[read] = Range(index_symbol(self.names.fresh("c")), classes)
            return self.ranges[read].index

        found: sp.Expr = replace_reads(e, kind)
        return found


def apart(factors: Iterable[sp.Expr], outer: sp.Symbol, inner: sp.Symbol) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """(the factors of a product that may stand outside of a sum over `inner`, all others)

    Of an exponential a term of the exponent may, unless it is one of a difference of two elements.
    """
    outside, inside = list[sp.Expr](), list[sp.Expr]()
    for factor in factors:
        if isinstance(factor, sp.exp):
            terms = sp.Add.make_args(factor.args[0])
            free = [t for t in terms if inner not in indices_of(t) and substitute(-t, {outer: inner}) not in terms]
            outside += [sp.exp(sp.Add(*free))] if free else []
            rest = [t for t in terms if t not in free]
            inside += [sp.exp(sp.Add(*rest))] if rest else []
        else:
            (inside if inner in indices_of(factor) else outside).append(factor)
    return outside, inside
