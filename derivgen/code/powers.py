"""Whole powers of one value, each made of smaller ones.

    y = a/d⁶ - b/d³; z = c/d⁴  →  d_inverse = 1/d; d_inverse_2 = d_inverse²; d_inverse_3 = d_inverse_2·d_inverse; …

A power takes several products, and a quotient by one takes as long as all of these: with one reciprocal, each is one
product more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, Let
from derivgen.code.visit import indices_in, mapped, statements_in, values_of, written_in
from derivgen.code.walk import Fresh, inside, is_invariant
from derivgen.form.expressions import Read, reads_of, subexpressions, substitute

HIGH = 3  # of lower powers, each is as cheap by itself


def powers_shared(function: Function) -> Function:
    """The function with high powers of one value, where a block has several of them, as products of lower ones."""
    proof = Proof(function)
    fresh = Fresh(function, proof)

    def block(codes: Block, point: Point) -> Block:
        rest, done = list(codes), list[Code]()
        while rest:
            if point == Point():  # what stands there one after another has locals of its own
                fresh.restart(rest[0])
            base = next((b for b in bases_in(rest[0]) if proof.may_be_read(b, point)), None)
            count = lasting(rest[:1] if point == Point() else rest, base) if base is not None else 0
            found = exponents_of(base, rest[:count]) if base is not None else set[int]()
            if base is None or len(found) < 2 or max(map(abs, found)) < HIGH:
                done.append(inside(rest.pop(0), point, block))
                continue
            lets, names = chain(base, found, fresh)
            rest[:count] = [mapped(code, partial(substitute, mapping=names)) for code in rest[:count]]
            done += lets
        return tuple(done)

    return function.with_body(block(function.body, Point()))


def bases_in(code: Code) -> Iterator[sp.Expr]:
    """The values of which a statement has whole powers, a loop of those that it does not change."""
    loop = isinstance(code, For)
    own, written = (indices_in((code,)), written_in(code)) if loop else (set[sp.Symbol](), set[str]())
    values = (e for c in (statements_in((code,)) if loop else (code,)) for e in values_of(c))
    powers = (node for e in values for node in subexpressions(e) if is_whole_power(node))
    yield from dict.fromkeys(p.base for p in powers if reads_of(p.base) and is_invariant(p.base, own, written))


def is_whole_power(node: sp.Basic) -> bool:
    return isinstance(node, sp.Pow) and bool(node.exp.is_Integer) and node.exp not in (1, -1)


def lasting(codes: Sequence[Code], base: sp.Expr) -> int:
    """How many statements find a value unchanged; one that changes it by what it makes of it counts."""
    operands = {r.tensor for r in reads_of(base)}
    for position, code in enumerate(codes):
        if not operands.isdisjoint(written_in(code)):
            return position + isinstance(code, Let | Assign)
    return len(codes)


def exponents_of(base: sp.Expr, codes: Sequence[Code]) -> set[int]:
    values = (e for c in statements_in(tuple(codes)) for e in values_of(c))
    powers = (node for e in values for node in subexpressions(e) if isinstance(node, sp.Pow) and node.base == base)
    return {int(p.exp) for p in powers if p.exp.is_Integer}


def chain(base: sp.Expr, exponents: set[int], fresh: Fresh) -> tuple[list[Code], dict[sp.Expr, sp.Expr]]:
    """The locals of these powers of a value, and of the lower ones that they are products of; what each stands for."""
    lets: list[Code] = []
    names: dict[sp.Expr, sp.Expr] = {}
    word = base.tensor if isinstance(base, Read) else "base"
    for sign, ending in ((1, ""), (-1, "_inverse")):
        own = {sign * k for k in exponents if sign * k > 0}
        made: dict[int, sp.Expr] = {1: base}
        if sign < 0 and own:
            made[1] = Read(fresh.name(f"{word}_inverse"))
            lets.append(Let(made[1].tensor, 1 / base))
            names[1 / base] = made[1]
        for k in sorted(needed(own)):
            one = max(j for j in made if k - j in made)
            made[k] = Read(fresh.name(f"{word}{ending}_{k}"))
            lets.append(Let(made[k].tensor, made[one] * made[k - one]))
        names |= {base ** (sign * k): made[k] for k in own if k > 1}
    return lets, names


def needed(exponents: set[int]) -> set[int]:
    """These exponents and those of which each is the sum of two, from 1 on."""
    found = {k for k in exponents if k > 1}
    for k in sorted(found, reverse=True):
        while k > 1 and not any(k - j in found | {1} for j in found | {1} if j < k):
            k = k // 2 if k % 2 == 0 else k - 1
            found.add(k)
    return found
