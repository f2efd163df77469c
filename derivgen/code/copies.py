"""A local that holds what another one does is that one, under the name of the first formula that gives the value.

for n: cos_1 = cos(x[n]); a = cos_1; b = a; y[n] = 2·b  →  for n: a = cos(x[n]); y[n] = 2·a
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import sympy as sp

from derivgen.code.tree import Assign, Block, Code, Function, Let
from derivgen.code.visit import mapped, statements_in, with_blocks, written_by
from derivgen.form.expressions import Read, substitute


def without_copies(function: Function) -> Function:
    """The function without real locals that are given the value of another one, where both get a value once."""
    while (copy := next(copies_in(function), None)) is not None:
        name = str(written_by(copy))
        kept = copy.value.tensor if copy.value.tensor in function.order else name
        function = function.with_body(without(function.body, copy, kept))
    return function


def copies_in(function: Function) -> Iterator[Let | Assign]:
    """The statements that give a local the value of another one."""
    given = [code for code in statements_in(function.body) if isinstance(code, Let | Assign)]
    count = Counter(map(written_by, given))
    once = {written_by(code) for code in given if gives_local(code) and count[written_by(code)] == 1}
    for code in given:
        value = code.value
        if written_by(code) in once and isinstance(value, Read) and not value.subscripts and value.tensor in once:
            yield code


def gives_local(code: Code) -> bool:
    """Whether this gives a real local its value, of which nothing was there before."""
    if isinstance(code, Assign):
        return not code.place.subscripts and code.operator == "=" and not code.double
    return isinstance(code, Let) and not code.integer


def without(block: Block, copy: Let | Assign, kept: str) -> Block:
    """The block without a copy: its name and its source's are one, the kept one."""
    names: dict[sp.Expr, sp.Expr] = {Read(str(written_by(copy))): Read(kept), copy.value: Read(kept)}

    def statement(code: Code) -> Block:
        if code == copy:
            return ()
        code = with_blocks(code, partial(without, copy=copy, kept=kept))
        code = mapped(code, partial(substitute, mapping=names))
        if isinstance(code, Let) and Read(code.name) == copy.value:
            code = replace(code, name=kept)
        elif isinstance(code, Assign) and code.place == copy.value:
            code = replace(code, place=Read(kept))
        return (code,)

    return tuple(new for code in block for new in statement(code))
