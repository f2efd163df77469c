"""Kernels that are the same except for integers → one function, which is given the integers.

block1: padded[n,c,4·r + t], of 268 elements; block2: padded[n,c,16·r + t], of 304 elements
→ both: padded[n,c,stride·r + t], of 256 + 3·stride elements, where `stride` is 4 in calls of block1, 16 in those of block2
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import inf

import sympy as sp

from derivgen.code.build import Builder
from derivgen.code.check import check_code
from derivgen.code.common import SHIFT, SIZE, STRIDE, Common, Different, Values
from derivgen.code.extents import with_sizes
from derivgen.code.formulas import formulas_of
from derivgen.code.tree import Function
from derivgen.code.visit import everywhere, statements_in
from derivgen.form.as_written import as_written
from derivgen.form.expressions import size_symbol, substitute
from derivgen.form.program import InvariantError, Program
from derivgen.schedule.schedule import Kernel

MOST = 3  # integers that a function is given: a reader has to keep them in mind
WORDS = STRIDE, SHIFT, SIZE  # which integers others are written by, in this order
SLOPES = (0, 1, inf)  # how extents may grow with others: the first by which the function is proved


@dataclass(frozen=True)
class Coded:
    """A kernel with its program and its code."""

    program: Program
    kernel: Kernel
    code: Function


@dataclass(frozen=True)
class Written:
    """How integers that differ are written. `given`, `sizes`: those that calls pass, and that arrays show, by name."""

    known: Mapping[Values, sp.Expr]
    given: Mapping[str, Values]
    sizes: Mapping[str, Values]


@as_written()
def with_common_kernels(
    kernels: Iterable[Coded], reserved: Iterable[str], outside: Iterable[str]
) -> dict[Kernel, Function]:
    """The code of each kernel: for those that are the same except for integers that of the first, with their integers.

    `reserved`: as of the kernels' code; `outside`: more names that no integer has.
    """
    similar = dict[object, list[list[Coded]]]()
    for kernel in kernels:
        groups = similar.setdefault((kernel.kernel.direction, outline(kernel.code)), [])
        own = next((group for group in groups if is_common((group[0], kernel))), None)
        if own is None:
            groups.append([kernel])
        else:
            own.append(kernel)
    return {
        own.kernel: code
        for groups in similar.values()
        for group in groups
        for own, code in zip(group, codes_of(group, {*reserved}, {*outside}), strict=True)
    }


def outline(function: Function) -> object:
    """What kernels that are the same except for integers have in common."""
    statements = tuple(type(code).__name__ for code in statements_in(function.body))
    return statements, tuple((len(t.shape), t.integer) for t in function.arrays.values())


def is_common(group: Sequence[Coded]) -> bool:
    """Whether kernels are the same except for integers."""
    try:
        common_tree(group, Common())
    except Different:
        return False
    return True


def codes_of(group: Sequence[Coded], reserved: set[str], outside: set[str]) -> list[Function]:
    """The functions of kernels: one for all of them, where that makes the text shorter and is proved."""
    for slope in SLOPES if len(group) > 1 else ():
        try:
            return common_codes(group, reserved, outside, slope)
        except (Different, InvariantError):
            continue
    return [own.code for own in group]


def common_codes(group: Sequence[Coded], reserved: set[str], outside: set[str], slope: float) -> list[Function]:
    """The function of all, for each kernel with its integers; extents are written by others that they are a multiple of."""
    found, statements = Common(), Common()
    tree = common_tree(group, found)
    general_formulas(group, statements, reserved)
    names = {*tree.taken, *outside, *(name for _, name in (*found.names, *statements.names))}
    written = how_written(found, statements, names, slope)
    if len(written.given) > MOST or not is_shorter(tree, len(group), len(written.given)):
        raise Different
    known = Common(written.known)
    tree = common_tree(group, known)
    formulas = general_formulas(group, known_statements := Common(written.known), reserved)
    places = dict(with_sizes(tree).sizes)
    if known.found or known_statements.found or not written.given.keys() <= places.keys():
        raise Different
    sizes = [(name, place) for name, place in places.items() if name not in written.given]
    instances = list(dict.fromkeys(zip(*written.given.values(), strict=True)))
    code = replace(
        tree,
        formulas=formulas,
        sizes=(*sizes, *((name, None) for name in written.given)),
        instances=tuple(dict(zip(written.given, values, strict=True)) for values in instances),
    )
    every = {**written.given, **written.sizes}
    codes = [replace(code, integers={name: values[k] for name, values in every.items()}) for k in range(len(group))]
    return proved(codes, [own.code for own in group])


def proved(codes: list[Function], alone: Sequence[Function]) -> list[Function]:
    """The functions, proved for all integers that they are given, and each to be what the kernel alone is."""
    for integers in codes[0].instances or ({},):
        check_code(with_integers(codes[0], integers))
    for code, own in zip(codes, alone, strict=True):
        same = Common()
        same.function([own, with_integers(code, code.integers)])
        if same.found:
            raise Different
    return codes


def with_integers(function: Function, integers: Mapping[str, int]) -> Function:
    """The function with integers in place of sizes."""

    def change(e: sp.Basic) -> sp.Basic:
        return substitute(e, {s: sp.Integer(integers[s.name]) for s in e.free_symbols if s.name in integers})

    arrays = {name: everywhere(t, change) for name, t in function.arrays.items()}
    sizes = tuple((name, place) for name, place in function.sizes if name not in integers)
    return replace(
        function, arrays=arrays, body=everywhere(function.body, change), sizes=sizes, integers={}, instances=()
    )


def for_its_kernel(function: Function) -> Function:
    """The function as its kernel would have it alone."""
    return with_integers(function, function.integers)


# ---- what several kernels have in common


def common_tree(group: Sequence[Coded], common: Common) -> Function:
    return common.function([own.code for own in group])


def general_formulas(group: Sequence[Coded], common: Common, reserved: set[str]) -> tuple[str, ...]:
    """The formulas of several kernels, by names of the first one."""
    first = group[0]
    statements = common.of([own.kernel.statements for own in group])
    changed = dict(zip(first.kernel.statements, statements, strict=True))
    tables = [own.program.table for own in group]
    names = [names for (kind, _), names in common.names.items() if kind == "name"]
    shared = [own for own in names if all(n in table for n, table in zip(own, tables, strict=True))]
    tensors = {own[0]: common.tensor([t[n] for n, t in zip(own, tables, strict=True)]) for own in shared}
    program = replace(
        first.program,
        tensors=tuple(tensors.get(t.name, t) for t in first.program.tensors),
        statements=tuple(changed.get(s, s) for s in first.program.statements),
    )
    kernel = replace(first.kernel, statements=statements, body=common.of([own.kernel.body for own in group]))
    return formulas_of(program, kernel, Builder(first.program, first.kernel, reserved).tensor)


def is_shorter(function: Function, kernels: int, given: int) -> bool:
    """Whether one text is shorter than several: each integer may take a line of it, and one of each call."""
    return (kernels - 1) * len(list(statements_in(function.body))) > (kernels + 1) * given


# ---- how integers are written


def how_written(code: Common, statements: Common, taken: set[str], slope: float) -> Written:
    """Arguments for integers that no array shows alone, or that indices are multiplied by; extents are sizes of arrays.

    What grows with an argument by a fixed number a step is written so; extents, with each other by at most `slope`.
    """
    words = {v: {**code.found.get(v, {}), **statements.found.get(v, {})} for v in (*code.found, *statements.found)}
    shown = code.shown & words.keys()
    given, sizes = dict[str, Values](), dict[str, Values]()

    def word(values: Values) -> str:
        return next(word for word in WORDS if word in words[values])

    def named(values: Values) -> str:
        along = statements.lengths.get(values) if values in shown else None
        return numbered(f"{SIZE}_{along}" if along else word(values), taken)

    def beside(base: Values) -> list[Values]:
        return [v for v in needed if in_terms_of(v, {"": base}, word(v)) is None]

    needed = [v for v in words if STRIDE in words[v] or not (v in shown or more(v) in shown)]
    while needed:
        first = min(needed, key=lambda v: (WORDS.index(word(v)), len(beside(v))))
        given[named(first)] = first
        needed = beside(first)
    known = {v: e for v in words if (e := in_terms_of(v, given, word(v))) is not None}
    extents = [v for v in words if v in shown and v not in known]
    for values in sorted(extents, key=sum) if slope else extents:  # the smallest first, which others grow with
        if (e := in_terms_of(values, sizes, SIZE, slope)) is None:
            name = named(values)
            sizes[name], e = values, size_symbol(name)
        known[values] = e
    last = {v: known[more(v)] - 1 for v in words if v not in known and more(v) in known}
    if any(v not in known and v not in last for v in words):
        raise Different
    return Written(known | last, given, sizes)


def more(values: Values) -> Values:
    return tuple(value + 1 for value in values)


def numbered(word: str, taken: set[str]) -> str:
    """A name that is not taken; it is from now on."""
    names = (word if k == 1 else f"{word}_{k}" for k in count(1))
    found = next(name for name in names if name not in taken)
    taken.add(found)
    return found


def in_terms_of(values: Values, by_name: Mapping[str, Values], word: str, most: float = inf) -> sp.Expr | None:
    """Integers as multiples of one of these that they grow with, or of all, and a number, which no coefficient has."""
    for names in [*((name,) for name in by_name), tuple(by_name)]:
        *slopes, start = affine(values, [by_name[name] for name in names]) or (0,)
        if any(slopes) and min(*slopes, start) >= 0 and max(slopes) <= most and (word != STRIDE or start == 0):
            return sum(
                (slope * size_symbol(name) for slope, name in zip(slopes, names, strict=True)), sp.Integer(start)
            )
    return None


def affine(values: Values, bases: Sequence[Values]) -> tuple[int, ...] | None:
    """(a, b, …, c) of values = a·x + b·y + … + c, if there is one such, of integers."""
    rows = sp.Matrix([*bases, (1,) * len(values)]).T
    try:
        found, free = rows.gauss_jordan_solve(sp.Matrix(values))
    except ValueError:
        return None
    return tuple(map(int, found)) if not free and all(e.is_Integer for e in found) else None
