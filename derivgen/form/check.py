"""Whether a program is well formed: the invariants that each pass keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from weakref import WeakValueDictionary

import sympy as sp

from derivgen.form.expressions import Conditions, Read, all_of, condition_reads, guarded_reads, parts_of, reads_of
from derivgen.form.inside import all_nonnegative
from derivgen.form.program import GIVEN, InvariantError, Program, Role, Statement, run_of, steps_after

SOUND: WeakValueDictionary[int, Program] = WeakValueDictionary()  # by identity: a pass may change nothing


def check_program(program: Program) -> Program:
    """The program itself, or an InvariantError that names the statement and what is wrong with it."""
    if SOUND.get(id(program)) is not program:
        for invariant in INVARIANTS:
            if (fault := invariant(program)) is not None:
                raise InvariantError(fault)
        SOUND[id(program)] = program
    return program


# Each invariant gives what is wrong, or nothing.


def names_are_unique(program: Program) -> str | None:
    return "two tensors of one name" if len(program.table) != len(program.tensors) else None


def statements_are_sound(program: Program) -> str | None:
    return next((f"{s.target}: {s.fault}" for s in program.statements if s.fault is not None), None)


def accesses_have_the_rank(program: Program) -> str | None:
    for s in program.statements:
        for access in (s.write, *s.reads):
            if access.tensor not in program.table:
                return f"{s.target}: {access.tensor} is not declared"
            if len(access.subscripts) != len(program.tensor(access.tensor).shape):
                return f"{s.target}: {access.tensor} is of another rank"
    return None


def given_tensors_are_kept(program: Program) -> str | None:
    written = (name for name in program.writers if program.tensor(name).role in GIVEN)
    return next((f"{name}: written, but it is given" for name in written), None)


def reads_are_complete(program: Program) -> str | None:
    last_write = {s.target: i for i, s in enumerate(program.statements)}
    for position, s in enumerate(program.statements):
        for read in s.reads:
            if last_write.get(read.tensor, -1) >= position and not complete_in_scan(program, position, read):
                return f"{s.target}: reads {read.tensor} before it is complete"
    return None


def outputs_are_declared(program: Program) -> str | None:
    return next((f"output {name} is not declared" for name in program.outputs if name not in program.table), None)


def next_values_fit(program: Program) -> str | None:
    table = program.table
    for name, following in program.running:
        if name not in table or table[name].role is not Role.RUNNING or table[name].shape != table[following].shape:
            return f"{following}: no value for the running tensor {name}"
    return None


INVARIANTS = (
    names_are_unique,
    statements_are_sound,
    accesses_have_the_rank,
    given_tensors_are_kept,
    reads_are_complete,
    outputs_are_declared,
    next_values_fit,
)


def complete_in_scan(program: Program, position: int, read: Read) -> bool:
    """Whether what a statement of a scan reads was written by earlier steps, or by earlier statements of its step."""
    statements = program.statements
    s, run = statements[position], run_of(statements, position)
    writers = [k for k, t in enumerate(statements) if t.target == read.tensor]
    if s.scan is None or max(writers) >= run.stop:
        return False
    writers = [k for k in writers if k in run]
    return all(
        any(written_before(program, position, read, path, writers, axis) for axis in range(len(read.subscripts)))
        for path in paths_to(s, read)
    )


def written_before(
    program: Program, position: int, read: Read, path: Conditions, writers: Sequence[int], axis: int
) -> bool:
    """Whether all writers of a tensor come, by the steps along one of its axes, before it is read there."""
    own = latest_step(program, program.statements[position], read, path, axis)
    first = [earliest_step(program, program.statements[k], axis) for k in writers if own is not None]
    return own is not None and all(
        step is not None and (step > own or (step == own and k < position))
        for k, step in zip(writers, first, strict=True)
    )


def latest_step(program: Program, s: Statement, read: Read, path: Conditions, axis: int) -> int | None:
    """How many steps after the present one a read is at most: exact, or -1 or 0 if that is proved."""
    assert s.scan is not None
    later = steps_after(read.subscripts[axis], s.scan)
    claims = ((bound, bound - later) for bound in (-1, 0))
    return int(later) if later.is_Integer else first_proved(claims, path, s, program)


def earliest_step(program: Program, s: Statement, axis: int) -> int | None:
    """How many steps after the present one what is written is at least: exact, or 1 or 0 if that is proved."""
    assert s.scan is not None
    later = steps_after(s.subscripts[axis], s.scan)
    claims = ((bound, later - bound) for bound in (1, 0))
    return int(later) if later.is_Integer else first_proved(claims, parts_of(s.guard), s, program)


def first_proved(claims: Iterable[tuple[int, sp.Expr]], path: Conditions, s: Statement, program: Program) -> int | None:
    """The number with the first claim that is proved to be at least 0."""
    proved = (n for n, claim in claims if all_nonnegative((claim,), all_of(*path), s.domain, program.table))
    return next(proved, None)


def paths_to(s: Statement, read: Read) -> Iterator[Conditions]:
    """The conditions under which a statement reads an element, for each place where it does."""
    found = [*condition_reads(s.guard, ()), *guarded_reads(s.expression, parts_of(s.guard))]
    found += [(other, parts_of(s.guard), False) for other in reads_of(*s.subscripts)]
    yield from (path for other, path, _ in found if other == read)
