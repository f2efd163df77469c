"""Constants that hold the same numbers are one: tables of positions, of equal blocks.

Input and output: a declared Program.
"""

from __future__ import annotations

from dataclasses import replace

from derivgen.form.program import Program, Role, Tensor


def equal_constants(program: Program) -> Program:
    """Each constant that holds what an earlier one holds is read as that one; a formula that one of them has, it has.

    `a[n] = x[n]·table[n]` and `b[n] = y[n]·table_2[n]`, of equal tables → `b[n] = y[n]·table[n]`
    """
    first: dict[object, str] = {}
    formulas = {contents(t): t.formula for t in reversed(program.of_role(Role.CONSTANT)) if t.formula is not None}
    names = {t.name: first.setdefault(contents(t), t.name) for t in program.of_role(Role.CONSTANT)}
    names = {name: kept for name, kept in names.items() if name != kept}
    kept = tuple(
        replace(t, formula=formulas.get(contents(t))) if t.role is Role.CONSTANT else t
        for t in program.tensors
        if t.name not in names
    )
    return replace(program.with_statements(s.renamed(names) for s in program.statements), tensors=kept)


def contents(t: Tensor) -> object:
    return t.shape, t.integer, t.value.tobytes()  # type: ignore[union-attr]
