"""Powers of one value, each made of smaller ones.

    y = a/d⁶ - b/d³; z = c/d⁴  →  d_inverse = 1/d; d_inverse_2 = d_inverse²; d_inverse_3 = d_inverse_2·d_inverse; …
    y = a/(x² + 1)^(3/2); z = b/(x² + 1)^(5/2)  →  root = √(x² + 1); y = a/root³; z = b/root⁵

A power takes several products, and a quotient by one takes as long as all of these: with one reciprocal, each is one
product more. A power that is not whole takes a logarithm and an exponential, but for those of a root.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import sympy as sp

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, Let
from derivgen.code.visit import indices_in, mapped, statements_in, values_of, written_in
from derivgen.code.walk import Fresh, inside, is_invariant
from derivgen.form.expressions import Read, reads_of, subexpressions, substitute

HIGH = 3  # of lower powers, each is as cheap by itself
HALF = sp.Rational(1, 2)
Named = tuple[list[Code], dict[sp.Expr, sp.Expr]]  # locals of powers, and what each stands for


def roots_shared(function: Function) -> Function:
    """The function with powers of 3/2, 5/2, … of one value, or of 1/2 and -1/2, as whole powers of its root."""

    def of_root(base: sp.Expr, exponents: Counter[sp.Rational], fresh: Fresh) -> Named | None:
        halves = {e: count for e, count in exponents.items() if e.q == 2}
        once = sum(halves.values()) == 1
        lower = len(halves) < 2 and max(map(abs, halves), default=0) <= HALF
        if lower or (isinstance(base, Read) and once):
            return None
        root = Read(fresh.numbered("root"))
        lets, names = ([], {}) if once else chain(root, {int(2 * e) for e in halves}, fresh)
        whole = {base**e: root ** int(2 * e) for e in halves}
        return [Let(root.tensor, sp.sqrt(base)), *lets], {power: names.get(own, own) for power, own in whole.items()}

    return with_names(function, of_root)


def powers_shared(function: Function) -> Function:
    """The function with high powers of one value, where a block has several of them, as products of lower ones."""

    def of_lower(base: sp.Expr, exponents: Counter[sp.Rational], fresh: Fresh) -> Named | None:
        whole = {int(e) for e in exponents if e.is_Integer}
        high = len(whole) > 1 and max(map(abs, whole)) >= HIGH
        return chain(base, whole, fresh) if high else None

    return with_names(function, of_lower)


def with_names(function: Function, named: Callable[[sp.Expr, Counter[sp.Rational], Fresh], Named | None]) -> Function:
    """The function with powers of one value by names, which `named` makes of it and of their exponents in a block."""
    proof = Proof(function)
    fresh = Fresh(function, proof)

    def block(codes: Block, point: Point) -> Block:
        rest, done = list(codes), list[Code]()
        while rest:
            top = point == Point()  # what stands there one after another has locals of its own
            if top:
                fresh.restart(rest[0])
            for base in bases_in(rest[0]):
                count = lasting(rest[:1] if top else rest, base)
                found = named(base, exponents_of(base, rest[:count]), fresh) if proof.may_be_read(base, point) else None
                if found is not None:
                    lets, names = found
                    rest[:count] = [mapped(code, partial(substitute, mapping=names)) for code in rest[:count]]
                    done += lets
                    break
            else:
                done.append(inside(rest.pop(0), point, block))
        return tuple(done)

    return function.with_body(block(function.body, Point()))


def bases_in(code: Code) -> Iterator[sp.Expr]:
    """The values of which a statement has powers, a loop of those that it does not change."""
    loop = isinstance(code, For)
    own, written = (indices_in((code,)), written_in(code)) if loop else (set[sp.Symbol](), set[str]())
    values = (e for c in (statements_in((code,)) if loop else (code,)) for e in values_of(c))
    powers = (node for e in values for node in powers_in(e) if is_power(node))
    yield from dict.fromkeys(p.base for p in powers if reads_of(p.base) and is_invariant(p.base, own, written))


def is_power(node: sp.Pow) -> bool:
    return bool(node.exp.is_Rational) and node.exp.q <= 2 and abs(node.exp) != 1


def lasting(codes: Sequence[Code], base: sp.Expr) -> int:
    """How many statements find a value unchanged; one that changes it by what it makes of it counts."""
    operands = {r.tensor for r in reads_of(base)}
    for position, code in enumerate(codes):
        if not operands.isdisjoint(written_in(code)):
            return position + isinstance(code, Let | Assign)
    return len(codes)


def exponents_of(base: sp.Expr, codes: Sequence[Code]) -> Counter[sp.Rational]:
    """The exponents of a value's powers in these statements, and how often each stands there."""
    values = (e for c in statements_in(tuple(codes)) for e in values_of(c))
    powers = (node for e in values for node in powers_in(e) if node.base == base)
    return Counter(p.exp for p in powers if p.exp.is_Rational)


@lru_cache(maxsize=2**14)
def powers_in(e: sp.Basic) -> tuple[sp.Pow, ...]:
    """The powers in an expression, as often as they stand there."""
    return tuple(node for node in subexpressions(e) if isinstance(node, sp.Pow))


def chain(base: sp.Expr, exponents: set[int], fresh: Fresh) -> Named:
    """Those of these powers of a value, and of the lower ones that they are products of."""
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
            lower = max((j for j in found if j < k), default=k // 2 if k % 2 == 0 else 1)
            k -= lower
            found.add(k)
    return found
