"""What a statement of code reads, writes and evaluates, and all statements of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from operator import is_
from typing import Any

import sympy as sp

from derivgen.code.tree import (
    Arrays,
    Assign,
    Bind,
    Block,
    Bundle,
    Call,
    Code,
    Fill,
    For,
    If,
    Item,
    Let,
    Number,
    Product,
    Receive,
    Return,
    RowsOf,
    Scale,
    Scratch,
    View,
)
from derivgen.form.expressions import Read, reads_of


def blocks_of(code: Code) -> tuple[Block, ...]:
    """The blocks inside a statement."""
    match code:
        case For():
            return (code.body,)
        case If():
            return (code.body, code.otherwise)
        case _:
            return ()


def with_blocks(code: Code, change: Callable[[Block], Block]) -> Code:
    """The statement with a function applied to each block inside."""
    match code:
        case For():
            return holding(code, change(code.body))
        case If():
            return holding(code, change(code.body), change(code.otherwise))
        case _:
            return code


def holding(code: For | If, *blocks: Block) -> Code:
    """The statement with other blocks inside; itself where they are the same, as they are after most passes."""
    if all(len(new) == len(old) and all(map(is_, new, old)) for new, old in zip(blocks, blocks_of(code), strict=True)):
        return code
    return (
        replace(code, body=blocks[0]) if isinstance(code, For) else replace(code, body=blocks[0], otherwise=blocks[1])
    )


def statements_in(block: Block) -> Iterator[Code]:
    """Every statement of a block, those inside others too, in order."""
    for code in block:
        yield code
        for inner in blocks_of(code):
            yield from statements_in(inner)


def values_of(code: Code) -> tuple[sp.Basic, ...]:
    """The expressions that a statement itself evaluates, the subscripts of its target among them."""
    match code:
        case Let():
            return (code.value,)
        case Assign():
            return (code.value, *code.place.subscripts, *((code.place,) if code.operator != "=" else ()))
        case For():
            return (code.start, code.stop, *((code.step,) if isinstance(code.step, sp.Expr) else ()))
        case If():
            return (code.condition,)
        case Fill():
            return (code.value, code.start, *((code.stop,) if code.stop is not None else ()))
        case Product():
            sides = (code.left, code.right, code.out)
            extents = (e for m in sides if m.is_reshaped for e in m.sides)
            return (*(i for m in sides for i in m.point if i is not None), *extents)
        case Call():
            return values_in(code)
        case Receive():
            return (*code.place.subscripts, *((code.place,) if code.operator != "=" else ()), *values_in(code.call))
        case Bind():
            return values_in(code.value)
        case Return():
            return tuple(e for r in code.results for e in ((r,) if isinstance(r, sp.Basic) else values_in(r)))
        case _:
            return ()


def places_of(code: Code) -> list[Read]:
    """The elements that a statement itself reads and writes."""
    return [*reads_of(*values_of(code)), *([code.place] if isinstance(code, Assign) else [])]


def values_in(a: Arrays | Number) -> tuple[sp.Basic, ...]:
    """The expressions that arrays, or an argument, hang on."""
    match a:
        case View():
            return (a.start, *a.shape)
        case Item():
            return (a.index,)
        case RowsOf():
            return (a.start, a.count)
        case Bundle():
            return tuple(e for _, part in a.fields for e in values_in(part))
        case Call():
            return tuple(e for argument in a.arguments for e in values_in(argument))
        case Number():
            return (a.value,)
        case _:
            return ()


def mapped(code: Code, change: Callable[[Any], Any]) -> Code:
    """The statement with a function applied to all that it evaluates, and to its target's subscripts, in blocks too."""
    match code:
        case Let():
            return replace(code, value=change(code.value))
        case Assign():
            place = Read(code.place.tensor, *map(change, code.place.subscripts))
            return replace(code, place=place, value=change(code.value))
        case For():
            body = tuple(mapped(c, change) for c in code.body)
            return replace(code, start=change(code.start), stop=change(code.stop), body=body)
        case If():
            body, otherwise = (tuple(mapped(c, change) for c in block) for block in (code.body, code.otherwise))
            return replace(code, condition=change(code.condition), body=body, otherwise=otherwise)
        case _:
            return code


def everywhere(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A tree of records with a function applied to each expression in it."""
    if isinstance(tree, sp.Basic):
        return change(tree)
    if isinstance(tree, tuple):
        return tuple(everywhere(part, change) for part in tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: everywhere(getattr(tree, f.name), change) for f in fields(tree)})
    return tree


def written_by(code: Code) -> str | None:
    """The name of what a statement itself writes."""
    match code:
        case Let() | Scratch():
            return code.name
        case Assign():
            return code.place.tensor
        case Fill():
            return code.array
        case Product():
            return code.out.array
        case Receive():
            return code.place.tensor
        case _:
            return None


def written_in(*block: Code) -> set[str]:
    """The names of all that is written in a block."""
    return {name for code in statements_in(block) if (name := written_by(code)) is not None}


def read_in(*block: Code) -> set[str]:
    """The names of all that is read in a block."""
    return {name for code in statements_in(block) for name in read_by(code)}


@lru_cache(maxsize=2**14)
def tensors_in(e: sp.Basic) -> frozenset[str]:
    """The names of all that an expression reads."""
    return frozenset(r.tensor for r in reads_of(e))


def read_by(code: Code) -> set[str]:
    """The names of all that a statement itself reads; sums and maxima read what they go on from."""
    names = set().union(*map(tensors_in, values_of(code)))
    if isinstance(code, Product):
        names |= {code.left.array, code.right.array}
        names |= set() if code.scale in (Scale.ASSIGN, Scale.NEGATE) else {code.out.array}
    return names


def indices_in(block: Block) -> set[sp.Symbol]:
    """The indices of the loops in a block."""
    return {code.index for code in statements_in(block) if isinstance(code, For)}
