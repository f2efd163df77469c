"""Specs that guards alone keep legal: no access of their modules leaves its array, and the numbers are the oracle's."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from generated import CheckedArray, CheckedNumpy, Outside, execute, module_text
from guarded_check import check_guarded
from guarded_specs import GuardedSpec, GuardedWriter
from random_specs import IMPORTS, many
from shrinking import shrink

from derivgen.errors import SpecError
from derivgen.pipeline import declared_program

SPECS, PARTS = many(14), 1
MOST_REFUSED = many(2)  # of a part; lowering need not follow every proof
MUTATED = 3
LEAST_FOUND = 0.5  # of dropped guards; one may be implied by what is left, or by the ranges of its indices
ROOT = Path(__file__).parents[2]


def spec_of(number: int) -> GuardedSpec:
    return GuardedWriter(Random(number)).spec()


@pytest.mark.parametrize("part", range(PARTS))
def test_no_access_is_outside(part: int) -> None:
    """As plain Python: loss, gradients, prediction and a function of derivatives."""
    refused = []
    for number in range(part, SPECS, PARTS):
        spec = spec_of(number)
        try:
            check_guarded(spec)
        except SpecError as refusal:
            refused.append((number, str(refusal)))
        except Exception as error:
            error.add_note(f"spec {number}\n{spec}")
            raise
    assert len(refused) <= MOST_REFUSED, refused


def test_no_access_is_outside_compiled() -> None:
    command = ["scripts/fuzz.py", "--guarded", "--compiled", "--count", "2", "--start", "10"]
    result = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 specs from 10 on, 0 failed, 0 were refused" in result.stdout


def test_a_dropped_guard_is_found() -> None:
    """Each guard in the kernels of some modules is left out in turn: at least half of them are missed at once."""
    found: Counter[str] = Counter()
    for number in range(MUTATED):
        spec = spec_of(number)
        text = module_text(spec.model())
        right = numbers(text, spec)
        own, line, fixed = text.partition("\n# ==== ")
        for k in range(len(guards_of(ast.parse(own)))):
            tree = ast.parse(own)
            guards_of(tree)[k].test = ast.Constant(True)
            wrong = numbers(ast.unparse(tree) + line + fixed, spec)
            same = right is not None and wrong is not None and np.allclose(wrong, right, rtol=1e-9, equal_nan=True)
            found["outside" if wrong is None else "kept" if same else "other numbers"] += 1
    assert found["outside"] and found["other numbers"]
    assert found["kept"] <= (1 - LEAST_FOUND) * found.total(), found


def guards_of(tree: ast.Module) -> list[ast.If | ast.IfExp]:
    kernels = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name.endswith(("_forward", "_backward"))]
    nodes = [node for kernel in kernels for node in ast.walk(kernel)]
    return [node for node in nodes if isinstance(node, ast.IfExp) or (isinstance(node, ast.If) and not node.orelse)]


def numbers(text: str, spec: GuardedSpec) -> np.ndarray | None:
    """Loss and gradient at the two points, None where an access is outside."""
    declared, found = declared_program(spec.model()), []
    try:
        for at in (spec, spec.other):
            module, values = execute(text, numpy=CheckedNumpy("numpy")), at.values(declared)
            flat = np.concatenate([np.ravel(values[p.name]) for p in declared.vector])
            inputs = {name: a for name, a in values.items() if name not in {p.name for p in declared.vector}}
            with np.errstate(all="ignore"):
                loss, gradient = module.loss_and_gradient(flat, **inputs)
            found += [loss, *np.asarray(gradient)]
    except Outside:
        return None
    return np.array(found)


def test_data_is_at_its_border_and_on_both_sides() -> None:
    spec = GuardedSpec(f'{IMPORTS}model = Model("x")\nx = model.input("x", 3)', (), 1, borders=(("x", 0.5),))
    declared = declared_program(with_objective(spec).model())
    for seed in range(20):
        assert sorted(np.sign(spec.at(1, seed).values(declared)["x"] - 0.5)) == [-1, 0, 1]


def with_objective(spec: GuardedSpec) -> GuardedSpec:
    text = f'{spec.text}\nw = model.parameter("w")\nmodel.minimize(w**2)'
    return GuardedSpec(text, spec.runtime, spec.seed, borders=spec.borders)


@pytest.mark.parametrize("key", [-1, 3, (0, -1), (slice(0, 4), 0), (np.int64(3), 0)])
def test_checked_arrays_refuse_what_is_outside(key: object) -> None:
    array = np.zeros((3, 2)).view(CheckedArray)
    with pytest.raises(Outside):
        array[key]
    with pytest.raises(Outside):
        array[key] = 1.0
    assert array[:2, 1:].T[0, 1] == array[2, 1] == 0


def test_a_failing_spec_is_cut_down() -> None:
    """What the failure does not need is left out: here all but the word."""
    spec = with_objective(
        GuardedSpec(f'{IMPORTS}model = Model("x")\nx = model.input("x", 3)\ny = x[1] + 2*x[2]', (), 1)
    )
    shorter = shrink(spec, lambda s: "found" if "x[2]" in s.text else "")
    assert shorter.text.splitlines()[3:] == ["y = x[2]"]
