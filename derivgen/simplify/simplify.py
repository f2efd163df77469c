"""Program → a shorter Program of the same values.

The list PASSES is the stage: dead statements go, lone accumulations become assignments, copies and constants are
read through, and what a tensor holds already is read instead of computed again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.expressions import (
    TRUE,
    Read,
    bottom_up,
    indices_of,
    rename_tensors,
    replace_reads,
    subexpressions,
    substitute,
)
from derivgen.form.functions import stop_gradient
from derivgen.form.program import (
    Program,
    Range,
    Role,
    Statement,
    Tensor,
    check_program,
    is_internal,
    is_plain_index,
    map_expressions,
)
from derivgen.rewrite.calls import pass_of
from derivgen.rewrite.held import Reuse, held_by
from derivgen.rewrite.scans import leave_scans
from derivgen.simplify.calls import keep_calls
from derivgen.simplify.factors import add_up, divide_sums_once, numbers_outside, read_through_quotients
from derivgen.simplify.guarded import forget_implied_guards, guards_outside, read_through_guarded_copies
from derivgen.simplify.stored import store_diagonals, write_through_copies
from derivgen.stages import reached


@as_written()
def simplify(program: Program, differentiated_again: bool = False) -> Program:
    """The program after every pass; `differentiated_again`: what stop_gradient holds is still held."""
    for run in PASSES[1:] if differentiated_again else PASSES:
        reached(f"simplify, {run.__name__}")
        program = check_program(run(program))
    return program


def forget_stop_gradients(program: Program) -> Program:
    """After differentiation, stop_gradient(u) is u."""

    def open_up(node: sp.Basic) -> sp.Basic:
        return node.args[0] if isinstance(node, stop_gradient) else node

    return map_expressions(program, lambda e: bottom_up(e, open_up))


def drop_dead_statements(program: Program) -> Program:
    return program.live(program.outputs)


def assign_once(program: Program) -> Program:
    """A lone accumulation that sums over nothing is an assignment."""
    writers = Counter(s.target for s in program.statements)
    statements = []
    for s in program.statements:
        lone = s.operator == "+=" and writers[s.target] == 1 and not s.reduced
        if lone_zero(s, writers):
            shape = program.tensor(s.target).shape  # of which a guard that never holds may have kept a longer index
            domain = tuple(Range(i, extent) for i, extent in zip(s.subscripts, shape, strict=True))
            s = replace(s, operator="=", expression=sp.Integer(0), domain=domain, guard=TRUE)
        elif lone and s.covers(program.tensor(s.target).shape):
            s = replace(s, operator="=")
        statements.append(s)
    return program.with_statements(statements)


def assign_parts(program: Program) -> Program:
    """Accumulations into parts of a tensor that have nothing in common, and are all of it, are assignments."""
    writers: dict[str, list[Statement]] = {}
    for s in program.statements:
        writers.setdefault(s.target, []).append(s)
    parts = {name for name, found in writers.items() if len(found) > 1 and are_parts(program.tensor(name), found)}
    statements = (replace(s, operator="=") if s.target in parts else s for s in program.statements)
    return program.with_statements(statements)


def are_parts(tensor: Tensor, writers: list[Statement]) -> bool:
    """Whether the writers have the numbers 0, 1, … of one axis, each with all of the other axes."""
    for axis, extent in enumerate(tensor.shape):
        others = tensor.shape[:axis] + tensor.shape[axis + 1 :]
        numbers = sorted((s.subscripts[axis] for s in writers), key=str)
        rest = [replace(s, subscripts=s.subscripts[:axis] + s.subscripts[axis + 1 :]) for s in writers]
        whole = all(s.operator == "+=" and not s.reduced and s.covers(others) for s in rest)
        if extent.is_Integer and set(numbers) == set(map(sp.Integer, range(extent))) and len(numbers) == extent:
            return whole
    return False


def lone_zero(s: Statement, writers: Counter[str]) -> bool:
    """Whether a sum of nothing but 0, or of nothing at all, is all that its target gets, at plain indices."""
    plain = all(is_plain_index(i) for i in s.subscripts) and len(set(s.subscripts)) == len(s.subscripts)
    return s.operator == "+=" and (s.expression == 0 or s.guard == sp.false) and writers[s.target] == 1 and plain


def read_through_constants(program: Program) -> Program:
    """A helper or an adjoint that holds one number everywhere is that number."""
    writers = Counter(s.target for s in program.statements)
    statements: list[Statement] = []
    numbers: dict[str, sp.Expr] = {}
    for s in program.statements:
        if not numbers.keys().isdisjoint(s.sources):
            s = s.with_parts(
                expression=replace_reads(s.expression, lambda r: numbers.get(r.tensor, r)),
                guard=replace_reads(s.guard, lambda r: numbers.get(r.tensor, r)),
            )
        varies = indices_of(s.expression) or any(isinstance(x, Read) for x in subexpressions(s.expression))
        constant = s.operator == "=" and not varies and s.covers(program.tensor(s.target).shape)
        constant = constant and s.scan is None  # earlier statements may read it
        if s.guard == sp.false and writers[s.target] > 1:
            writers[s.target] -= 1
            continue
        if constant and is_internal(program, s.target):
            numbers[s.target] = s.expression
        else:
            statements.append(s)
    return program.with_statements(statements)


def read_through_copies(program: Program) -> Program:
    """X[d] = Y[h(d)]: X is read as Y; or Y is written as X, where X is the better name."""
    while (copy := next((s for s in program.statements if is_copy(program, s)), None)) is not None:
        program = without_copy(program, copy)
    return program


def is_copy(program: Program, s: Statement) -> bool:
    return s.operator == "=" and isinstance(s.expression, Read) and (named_after(program, s) or readable_as(program, s))


def readable_as(program: Program, s: Statement) -> bool:
    """Whether reads of the target may become reads of the source."""
    return is_internal(program, s.target) and s.covers(program.tensor(s.target).shape)


def named_after(program: Program, s: Statement) -> bool:
    """Whether the source may take the target's name: it is internal, equal in shape, and the target names more."""
    source = s.expression
    if not is_internal(program, source.tensor) or source.subscripts != s.subscripts:
        return False
    if s.target in program.outputs and any(
        t.target == source.tensor and pass_of(t) != pass_of(s) for t in program.statements
    ):
        return False  # the forward pass is given no gradients to write
    same_shape = program.tensor(source.tensor).shape == program.tensor(s.target).shape
    better = not is_internal(program, s.target) or (
        is_of_let(program, s.target) and not is_of_let(program, source.tensor)
    )
    # A gradient belongs to the backward pass: the forward pass, by itself, has no place for it, nor use for its name.
    passes = {pass_of(t) for t in program.statements if t.target == source.tensor}
    early = (s.target in program.outputs or is_internal(program, s.target)) and passes != {pass_of(s)}
    return better and same_shape and not early and s.covers(program.tensor(s.target).shape)


def without_copy(program: Program, copy: Statement) -> Program:
    rest = [s for s in program.statements if s is not copy]
    source = copy.expression
    if named_after(program, copy):
        names = {source.tensor: copy.target}
        statements = [
            replace(
                s,
                target=names.get(s.target, s.target),
                expression=rename_tensors(s.expression, names),
                guard=rename_tensors(s.guard, names),
                subscripts=tuple(rename_tensors(i, names) for i in s.subscripts),
            )
            for s in rest
        ]
        return program.with_statements(statements)

    def through(read: Read) -> sp.Expr:
        if read.tensor != copy.target:
            return read
        return substitute(source, dict(zip(copy.subscripts, read.subscripts, strict=True)))

    changed = [
        replace(s, expression=replace_reads(s.expression, through), guard=replace_reads(s.guard, through)) for s in rest
    ]
    return program.with_statements(changed)


def is_of_let(program: Program, name: str) -> bool:
    """Whether a tensor is a user's let, or the adjoint or the tangent of one that the program has."""
    tensor, table = program.table.get(name), program.table
    while tensor is not None and tensor.of is not None:
        tensor = table.get(tensor.of)
    return tensor is not None and tensor.role is Role.LET


def reuse_held_values(program: Program) -> Program:
    """Later statements read what earlier ones of the same pass, or of one before it, hold."""
    reuse = Reuse(program)
    statements = list(program.statements)
    written = Counter(s.target for s in statements)
    readers: dict[str | Read, set[int]] = {}
    for position, s in enumerate(statements):
        note_reads(readers, s, position)
    for position, s in enumerate(statements):
        held = held_by(s, program.tensor(s.target)) if written[s.target] == 1 else None
        if held is None:
            continue
        reached("simplify, reuse_held_values", s.layer)
        fewest = min((readers[part] for part in held.parts), key=len, default=set[int]())
        for later in sorted(k for k in fewest if k > position and pass_of(statements[k]) >= pass_of(s)):
            changed = reuse.apply(statements[later], held)
            if changed is not statements[later].expression:
                statements[later] = replace(statements[later], expression=changed)
                note_reads(readers, statements[later], later)
    return program.with_statements(statements)


def note_reads(readers: dict[str | Read, set[int]], s: Statement, position: int) -> None:
    """Note which statement reads what; what it read before a change stays noted, which costs time only."""
    parts: list[str | Read] = [*s.sources, *s.reads]
    for part in parts:
        readers.setdefault(part, set()).add(position)


def compare_arguments(program: Program) -> Program:
    """max(u, c) > c is u > c, and min(u, c) < c is u < c, where the maximum is not at hand."""
    return map_expressions(program, lambda e: bottom_up(e, compare))


def compare(node: sp.Basic) -> sp.Basic:
    for kind, relation in ((sp.Max, sp.Gt), (sp.Min, sp.Lt)):
        if isinstance(node, relation) and isinstance(node.lhs, kind) and node.rhs in node.lhs.args:
            rest = [a for a in node.lhs.args if a != node.rhs]
            return relation(kind(*rest), node.rhs)
    return node


def count_instead_of_adding(program: Program) -> Program:
    """Σ_n c is N·c."""
    statements = []
    for s in program.statements:
        used = indices_of(s.expression) | indices_of(s.guard) | ({s.scan.index} if s.scan is not None else set())
        alike = [r for r in s.reduced if r.index not in used] if s.operator == "+=" else []
        if alike:
            count = sp.Mul(*(r.extent for r in alike))
            s = replace(s, expression=count * s.expression, domain=tuple(r for r in s.domain if r not in alike))
        statements.append(s)
    return program.with_statements(statements)


def drop_zero_additions(program: Program) -> Program:
    """Adding 0 to what is written elsewhere too does nothing."""
    writers = Counter(s.target for s in program.statements)
    statements = []
    for s in program.statements:
        if s.operator == "+=" and s.expression == 0 and writers[s.target] > 1:
            writers[s.target] -= 1
        else:
            statements.append(s)
    return program.with_statements(statements)


PASSES = (
    forget_stop_gradients,
    numbers_outside,
    guards_outside,
    count_instead_of_adding,
    drop_dead_statements,
    leave_scans,
    assign_once,
    read_through_constants,
    forget_implied_guards,
    assign_once,
    read_through_copies,
    read_through_guarded_copies,
    store_diagonals,
    count_instead_of_adding,
    assign_once,
    read_through_copies,
    drop_zero_additions,
    assign_once,
    assign_parts,
    keep_calls,
    reuse_held_values,
    read_through_copies,
    divide_sums_once,
    assign_once,
    read_through_quotients,
    drop_dead_statements,
    add_up,
    assign_once,
    compare_arguments,
    drop_dead_statements,
    write_through_copies,
    drop_dead_statements,
    leave_scans,
)
