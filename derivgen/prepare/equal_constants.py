"""Constants that hold the same numbers are one: tables of positions, of equal blocks.

Input and output: a declared Program.
"""

from __future__ import annotations

from dataclasses import replace

from derivgen.form.expressions import LETTERS, Read, index_symbol
from derivgen.form.program import Program, Range, Role, Statement, Tensor


def equal_constants(program: Program) -> Program:
    """Each constant that holds what an earlier one holds is read as that one; a formula that one of them has, it has.

    `a[n] = x[n]·table[n]` and `b[n] = y[n]·table_2[n]`, of equal tables → `b[n] = y[n]·table[n]`
    """
    formulas = {contents(t): t.formula for t in reversed(program.of_role(Role.CONSTANT)) if t.formula is not None}
    names = earlier_ones(program)
    kept = tuple(
        replace(t, formula=formulas.get(contents(t))) if t.role is Role.CONSTANT else t
        for t in program.tensors
        if t.name not in names
    )
    return replace(program.with_statements(s.renamed(names) for s in program.statements), tensors=kept)


def with_equal_ones_told(program: Program) -> Program:
    """The program for those who read its formulas beside a module: one tells which constant another one is.

    `low` and `high` hold the same numbers → a first formula `high[i] = low[i]`
    """
    names = earlier_ones(program)
    copies = tuple(copy_of(t, names[t.name]) for t in program.tensors if t.name in names)
    tensors = tuple(replace(t, role=Role.LET) if t.name in names else t for t in program.tensors)
    return replace(program, tensors=tensors, statements=copies + program.statements)


def copy_of(t: Tensor, name: str) -> Statement:
    indices = tuple(map(index_symbol, LETTERS[: len(t.shape)]))
    return Statement(t.name, indices, "=", Read(name, *indices), tuple(map(Range, indices, t.shape)), layer=t.name)


def earlier_ones(program: Program) -> dict[str, str]:
    """The constants that hold what an earlier one holds, with the name of that one."""
    first: dict[object, str] = {}
    names = {t.name: first.setdefault(contents(t), t.name) for t in program.of_role(Role.CONSTANT)}
    return {name: kept for name, kept in names.items() if name != kept}


def contents(t: Tensor) -> object:
    return t.shape, t.integer, t.value.tobytes()  # type: ignore[union-attr]
