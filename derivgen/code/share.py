"""Calls that are made once, where one way through the code makes them more often with the same operands.

    y[i] = exp(x[i]); z[i] = a[i]·exp(x[i])  →  exp_1 = exp(x[i]); y[i] = exp_1; z[i] = a[i]·exp_1

A call is made before the first statement that makes it, if it is made in any case: what all branches need comes before
them, and so does what one of them needs that is needed after them; what one of them needs twice stays in it.

Cases of which one has a call are shared as a whole, and their local is read where that case holds.

    y[i] = (exp(x[i]) if w[i] > 0 else 1); if w[i] > 0: z[i] = exp(x[i])  →  case_1 = …; y[i] = case_1; …: z[i] = case_1

A sine and a cosine of one angle are computed one after the other: most of their work is the same, and a compiler finds
it if no store lies between.

    c[i] = cos(x[i]); s[i] = sin(x[i])  →  cos_1 = cos(x[i]); sin_1 = sin(x[i]); c[i] = cos_1; s[i] = sin_1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.code.proof import Point, Proof
from derivgen.code.tree import Assign, Block, Code, Function, If, Let
from derivgen.code.visit import mapped, statements_in, values_of, with_blocks, written_in
from derivgen.code.walk import Fresh, inside
from derivgen.form.expressions import (
    Read,
    branches_of,
    negation,
    parts_of,
    reads_of,
    subexpressions,
    substitute,
    sympy_order,
)
from derivgen.form.functions import CHEAP, DERIVATIVES, FUNCTIONS

Calls = frozenset[sp.Expr]
NONE: Calls = frozenset()
OTHER = {sp.sin: sp.cos, sp.cos: sp.sin}


def shared(function: Function) -> Function:
    """The function with each costly call made once on each way through it, while its operands stay what they are."""
    return Share(function).function()


class Share:
    """The pass over one function."""

    def __init__(self, function: Function) -> None:
        self.given, self.proof = function, Proof(function)
        self.fresh = Fresh(function, self.proof)
        self.counted: dict[int, tuple[Code, Counter[sp.Expr], frozenset[str]]] = {}

    def function(self) -> Function:
        return self.given.with_body(self.block(self.given.body, Point()))

    def block(self, codes: Block, point: Point) -> Block:
        rest, done = list(codes), list[Code]()
        while rest:
            call = self.repeated(rest, point)
            calls = (call,) if call is not None else self.sine_and_cosine(rest, point)
            if not calls:
                done.append(inside(rest.pop(0), point, self.block))
                continue
            count = self.lasting(rest, calls[0])
            locals_ = {call: Read(self.fresh.numbered(word_for(call))) for call in calls}
            made = (Let(local.tensor, call) for call, local in locals_.items())
            readers = [with_locals(code, locals_) for code in rest[:count]]
            if isinstance(calls[0], sp.Piecewise):
                readers = [with_case(code, calls[0], locals_[calls[0]]) for code in readers]
            rest[:count] = [*made, *readers]
        return tuple(done)

    def repeated(self, codes: Sequence[Code], point: Point) -> sp.Expr | None:
        """The largest call that the first statement makes, and that is made more than once; in any case once."""
        made = (c for c in self.facts(codes[0])[0] if self.uses(codes, c) > 1 and self.is_always_made(codes, c))
        return max((c for c in made if self.proof.may_be_read(c, point)), key=size, default=None)

    def sine_and_cosine(self, codes: Sequence[Code], point: Point) -> tuple[sp.Expr, ...]:
        """One that the first statement makes and the other one of its angle, made later; there is a store between."""
        for call in self.facts(codes[0])[0]:
            other = OTHER[call.func](*call.args) if call.func in OTHER else None
            lasting = codes[: self.lasting(codes, call)] if other is not None else ()
            later = next((k for k, code in enumerate(lasting) if self.facts(code)[0][other]), 0)
            apart = not all(isinstance(code, Let) for code in codes[:later])
            if apart and all(self.is_always_made(codes, c) and self.proof.may_be_read(c, point) for c in (call, other)):
                return call, other
        return ()

    def is_always_made(self, codes: Sequence[Code], call: sp.Expr) -> bool:
        """Whether one of the statements makes a call in any case, before its operands change."""
        return any(call in always_made(code) for code in codes[: self.lasting(codes, call)])

    def uses(self, codes: Sequence[Code], call: sp.Expr) -> int:
        return sum(self.facts(code)[0][call] for code in codes[: self.lasting(codes, call)])

    def lasting(self, codes: Sequence[Code], call: sp.Expr) -> int:
        """How many statements find the operands of a call unchanged; one that changes them by its value counts."""
        operands = {r.tensor for r in reads_of(call)}
        for position, code in enumerate(codes):
            if not operands.isdisjoint(self.facts(code)[1]):
                return position + isinstance(code, Let | Assign)
        return len(codes)

    def facts(self, code: Code) -> tuple[Counter[sp.Expr], frozenset[str]]:
        """How often a statement makes each call, and what it writes."""
        if id(code) not in self.counted:
            values = (e for c in statements_in((code,)) for e in values_of(c))
            calls = Counter(node for e in values for node in costly_calls(e))
            self.counted[id(code)] = code, calls, frozenset(written_in(code))
        return self.counted[id(code)][1:]


def with_locals(code: Code, locals_: Mapping[sp.Expr, sp.Expr]) -> Code:
    return mapped(code, lambda e: substitute(e, locals_))


def with_case(code: Code, cases: sp.Piecewise, local: Read) -> Code:
    """The statement with the local of two cases in place of the call of one of them, where that case holds."""
    if not isinstance(code, If):
        return with_blocks(code, lambda block: tuple(with_case(inner, cases, local) for inner in block))
    (value, condition), (other, _) = cases.args[0].args, cases.args[-1].args
    known = parts_of(code.condition)
    held = value if condition in known else other if negation(condition) in known and len(cases.args) == 2 else None
    if held is None:
        return with_blocks(code, lambda block: tuple(with_case(inner, cases, local) for inner in block))
    factor, call = held.as_coeff_Mul()
    body = tuple(with_locals(inner, {call: local / factor}) for inner in code.body) if is_costly(call) else code.body
    return replace(code, body=body)


def word_for(call: sp.Expr) -> str:
    """What the local of a call is named by."""
    if isinstance(call, sp.Pow):
        return "root" if call.exp == sp.Rational(1, 2) else "power"
    if isinstance(call, sp.Piecewise):
        return "case"
    return FUNCTIONS[call.func].name if call.func in FUNCTIONS else call.func.__name__.lower()


def size(call: sp.Expr) -> tuple[int, Any]:
    return sum(1 for _ in subexpressions(call)), sympy_order(call)


def is_costly(node: sp.Basic) -> bool:
    """Whether this is a call of a function, a maximum of three or more, or a power that is none of an integer."""
    if node.is_number:
        return False
    if isinstance(node, sp.Max | sp.Min):
        return len(node.args) > 2
    if isinstance(node, sp.Piecewise):  # its branches are made where they hold
        return any(is_costly(part) for part in subexpressions(node) if part is not node)
    if isinstance(node, sp.Pow):
        return not node.exp.is_Integer
    return node.func in DERIVATIVES and not isinstance(node, CHEAP)


@lru_cache(maxsize=2**14)
def costly_calls(e: sp.Basic) -> tuple[sp.Expr, ...]:
    """The costly calls in an expression, as often as they stand there."""
    return tuple(node for node in subexpressions(e) if is_costly(node))


# ---- what is made in any case


def always_made(code: Code) -> Calls:
    """The costly calls that a statement makes in any case; a loop may have no iteration."""
    match code:
        case Let() | Assign():
            return made(code.value)
        case If():
            return made(code.condition) | (made_in(code.body) & made_in(code.otherwise))
        case _:
            return NONE


def made_in(block: Block) -> Calls:
    """Those that a block makes before it changes their operands."""
    found, written = NONE, set[str]()
    for code in block:
        found |= {c for c in always_made(code) if written.isdisjoint(r.tensor for r in reads_of(c))}
        written |= written_in(code)
    return found


@lru_cache(maxsize=2**14)
def made(e: sp.Basic) -> Calls:
    """Those that an expression makes: of branches, the ones that all have."""
    if isinstance(e, Read) or not costly_calls(e):
        return NONE
    if isinstance(e, sp.Piecewise):
        pairs, default = branches_of(e)
        branches = frozenset.intersection(made(default), *(made(value) for value, _ in pairs))
        return made(e.args[0].args[1]) | branches | {e}
    if isinstance(e, Boolean) and not isinstance(e, sp.core.relational.Relational):
        return NONE
    own = frozenset([e]) if is_costly(e) else NONE
    return own.union(*map(made, e.args))
