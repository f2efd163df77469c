"""Values with branches as branches of statements, where there is more to do in them than to choose.

y[i] = (exp(x[i]) if x[i] < 0 else 1)  →  if x[i] < 0: y[i] = exp(x[i]); else: y[i] = 1
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import sympy as sp

from derivgen.code.share import costly_calls
from derivgen.code.tree import Assign, Block, Code, Function, If, Let
from derivgen.code.visit import with_blocks
from derivgen.code.walk import Fresh
from derivgen.form.expressions import Read, branches_of, substitute, unconditional_parts


def branched(function: Function) -> Function:
    """The function with branches that make calls, or that have branches of their own, as statements.

    Inside of a longer expression, only those that make one call more than once: it gets a local there.
    """
    fresh = Fresh(function)

    def statement(code: Code) -> Block:
        if isinstance(code, Let | Assign):
            if isinstance(code.value, sp.Piecewise) and not is_choice(code.value):
                return (chain(code, code.value),)
            part = next((p for p in unconditional_parts(code.value) if repeats_a_call(p)), None)
            if part is not None:
                local = Read(fresh.numbered("term"))
                rest = replace(code, value=substitute(code.value, {part: local}))
                return (*statement(Let(local.tensor, part)), *statement(rest))
            return (code,)
        return (with_blocks(code, block),)

    def chain(code: Let | Assign, value: sp.Piecewise) -> Code:
        """if …: elif …: else: with the statement in each branch."""
        pairs, default = branches_of(value)
        last = statement(replace(code, value=default))
        for own, condition in reversed(pairs):
            last = (If(condition, statement(replace(code, value=own)), last),)
        return last[0]

    def block(codes: Block) -> Block:
        return tuple(inner for code in codes for inner in statement(code))

    return function.with_body(block(function.body))


def is_choice(e: sp.Piecewise) -> bool:
    """Whether this chooses between two values that take no call, and have no branches."""
    return len(e.args) == 2 and not any(costly_calls(pair.args[0]) or pair.args[0].has(sp.Piecewise) for pair in e.args)


def repeats_a_call(e: sp.Expr) -> bool:
    """Whether these are branches one of which makes a call more than once."""
    counts = (Counter(costly_calls(pair.args[0])).values() for pair in e.args) if isinstance(e, sp.Piecewise) else ()
    return any(count > 1 for each in counts for count in each)
