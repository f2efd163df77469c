"""The certificate of a model: its formulas, the stable ones that are differentiated, and each adjoint with its rule.

`verify.py` checks it against the module without derivgen: that the stable formulas give what the declared ones do, that
each adjoint follows from one of them by the reverse rule, and that none is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sympy as sp

from derivgen.declare.model import Model
from derivgen.derive.differentiate import adjoints_of, cotangents, seeds
from derivgen.explain.rules import paths
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read
from derivgen.form.notation import Plain, steps, untold_ranges
from derivgen.form.places import names_in_order
from derivgen.form.program import Statement
from derivgen.pipeline import declared_formulas, declared_program, stable_program
from derivgen.prepare.modes import in_training

Shapes = dict[str, tuple[sp.Expr, ...]]


@as_written()
def certificate(model: Model, spec: Path) -> dict[str, Any]:
    """What `derivgen certify` writes, as JSON has it."""
    with names_in_order():
        declared = in_training(declared_program(model))
        stable = stable_program(declared)
        live = stable.live([str(stable.objective)])
        bars = cotangents(live, str(stable.objective), [p.name for p in live.parameters])
        first = seeds(bars)
        adjoints = [(s, made) for s, own in adjoints_of(bars) for made in own]
        program = bars.program
        shapes: Shapes = {t.name: t.shape for t in (*program.tensors, *bars.tensors)}
        plain = Plain({t.name: rank for rank, t in enumerate((*program.tensors, *bars.tensors))})
        plain.stops = True
        places = {s: rank for rank, s in enumerate(program.statements)}
        back = texts(plain, [made for _, made in adjoints], shapes)
        return {
            "model": model.name,
            "spec": {"file": spec.name, "sha256": hashlib.sha256(spec.read_bytes()).hexdigest()},
            "objective": str(stable.objective),
            "declared": declared_formulas(declared),
            "stable": texts(plain, program.statements, shapes, {s.target for s in program.statements}),
            "bars": {name: bars.of(name).name for name in sorted(bars.made)},
            "seeds": texts(plain, first, shapes),
            "adjoints": [
                {"formula": text, "of": places[s], "rule": rule(s, made, bars.made)}
                for text, (s, made) in zip(back, adjoints, strict=True)
            ],
        }


def texts(plain: Plain, statements: Sequence[Statement], shapes: Shapes, later: Iterable[str] = ()) -> list[str]:
    """Formulas; the shapes of `later` tensors are known to a reader from their own formula on."""
    found, later, before = list[str](), {*later}, None
    for s in statements:
        known = {name: shape for name, shape in shapes.items() if name not in later}
        found.append(plain.statement(s) + plain.ranges(s, untold_ranges([s], known)) + steps(s.scan, before))
        later.discard(s.target)
        before = s.scan
    return found


def rule(s: Statement, made: Statement, bars: dict[str, Any]) -> str:
    """The rules on the ways from a formula to what its adjoint is of."""
    of = next(name for name, found in bars.items() if any(made.target == bar.tensor.name for bar in found.values()))
    reads: Iterable[Read] = (read for read in s.reads if read.tensor == of)
    names = [step.rule for read in reads for way in paths(s.expression, read, ()) for step in way]
    return ", ".join(dict.fromkeys(names)) or "identity"
