"""Sums over what the steps of a recurrence write, taken step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import sympy as sp

from derivgen.arrange.contractions import match_contraction
from derivgen.form.expressions import TRUE, indices_of, substitute
from derivgen.form.program import Program, Range, Scan, Statement, time_shift
from derivgen.rewrite.scans import MANY, runs


def sums_in_steps(program: Program) -> Program:
    """A sum over the points of a recurrence, right after it, is taken by its steps, which have the values at hand.

    Not a product of matrices, which is one for all steps; nor where the steps are so many, or so many that nobody
    knows, that a sum over them is added up in blocks; nor where borders, or steps that compute nothing, make loops of
    which a compiler makes vectors if they are alone.

    `h_bar[t - 1,n] += w·h_bar[t,n] if t ≥ 1, t = …, 1, 0` and `w_bar += Σ_t,n x[t,n]·h_bar[t,n]`
    → `w_bar += Σ_t,n x[t,n]·h_bar[t,n], t = …, 1, 0` and the other one after it
    """
    parts = [(scan, list(run)) for scan, run in runs(program.statements)]
    for (scan, run), (next_scan, after) in pairwise(parts):
        if scan is None or next_scan is not None or not computes_by_point(run, scan):
            continue
        position = 0
        while position < len(after) and is_with(after[position], run):
            inside = in_steps(program, after[position], scan, run, after[:position])
            if inside is None:
                position += 1
            else:
                del after[position]
                run.insert(place_in(run, inside, scan), inside)
    return program.with_statements(s for _, run in parts for s in run)


def computes_by_point(run: Sequence[Statement], scan: Scan) -> bool:
    """Whether steps compute values of their own, each under conditions on the step alone."""
    conditions = [c for s in run for c in (s.guard, *(c for p in s.expression.atoms(sp.Piecewise) for _, c in p.args))]
    return all(indices_of(c) <= {scan.index} for c in conditions) and any(is_own(s, scan) for s in run)


def is_own(s: Statement, scan: Scan) -> bool:
    """Whether a step writes what is its own, and not what another one reads."""
    return all(time_shift(i, scan) in (0, None) for i in s.subscripts)


def place_in(run: Sequence[Statement], s: Statement, scan: Scan) -> int:
    """Where a step has all that a sum reads; if it has it then, before it adds to what the next one reads."""
    own = [is_own(t, scan) for t in run]
    complete = max((k + 1 for k, t in enumerate(run) if own[k] and t.target in s.sources), default=0)
    return max(complete, own.index(False) if False in own else len(run))


def is_with(s: Statement, run: Sequence[Statement]) -> bool:
    """Whether a statement stands in the kernel of a scan."""
    return (s.layer, s.direction) == (run[-1].layer, run[-1].direction)


def in_steps(
    program: Program, s: Statement, scan: Scan, run: Sequence[Statement], between: Sequence[Statement]
) -> Statement | None:
    """A sum as steps take it, before what stands between; None where that can't be, or where it has other points."""
    writers = {t.target: t for t in run}
    step = step_of(s, scan, writers)
    if step is None or s.operator != "+=" or s.guard != TRUE or match_contraction(program.table, s) is not None:
        return None
    left = {i for own in s.subscripts for i in indices_of(own)}
    if left - {step.index} or not (left or (step.extent.is_Integer and step.extent <= MANY)):
        return None
    adds = all(t.operator == "+=" for t in program.writers[s.target])
    apart = s.target not in writers and all(s.target not in t.sources for t in run)
    early = not any(t.target in s.sources or s.target in t.sources for t in between)
    if not (adds and apart and early) or (scan.index != step.index and scan.index in {r.index for r in s.domain}):
        return None
    moved = replace(s.mapped(lambda e: substitute(e, {step.index: scan.index})), scan=scan)
    moved = replace(moved, domain=tuple(replace(r, index=scan.index) if r == step else r for r in s.domain))
    return moved if any(extents(moved) == extents(t) for t in run) else None


def step_of(s: Statement, scan: Scan, writers: dict[str, Statement]) -> Range | None:
    """The range of a statement that is the steps': what it reads of the scan it reads in the present one."""
    found: set[object] = set()
    for read in s.reads:
        if read.tensor in writers:  # along the axis that the scan goes through
            axes = [k for k, i in enumerate(writers[read.tensor].subscripts) if time_shift(i, scan) is not None]
            found |= {read.subscripts[axis] for axis in axes[:1]} if axes else {None}
    steps = [r for r in s.domain if found == {r.index}]
    return steps[0] if steps else None


def extents(s: Statement) -> list[object]:
    """How many points a statement has along each of its indices."""
    return sorted((r.extent for r in s.domain), key=str)
