"""Property tests of the whole path: random specs, their generated modules against the 50-digit oracle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from direct_evaluation import Direct
from generated import TOLERANCE, check_module, execute, module_text
from random_specs import Spec, for_each_spec, many

from derivgen.derive.differentiate import adjoint, tangent
from derivgen.form.program import Program
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program
from derivgen.prepare.reach_back import reach_back
from derivgen.prepare.stabilize import stabilize
from derivgen.runtime.loading import load

EXAMPLES, STARTS = many(12), (5, 8)  # a dozen specs from each start have all features between them
COMPILED, COMPILED_PARTS = many(4), 1
SECOND_ORDER = many(15)
DECLARED_TOLERANCE = 1e-13  # where the sizes' numbers meet others, SymPy multiplies them at double precision
ELEMENTS = 4  # of each let that are evaluated directly
RARE = 0.1  # in a part of 40 specs; over all of them about one in eighty


@pytest.mark.parametrize("start", STARTS)
def test_gradients_without_compiler(start: int, tmp_path: Path) -> None:
    """Loss, prediction and every gradient of the module's text as plain Python; the text is what ruff would write."""
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        model = spec.model()
        declared, text = declared_program(model), module_text(model)
        ast.parse(text)
        check_declared(Direct(model, spec.values(declared), dict(spec.runtime)), declared, spec)
        seen["specs"] += 1
        (tmp_path / f"spec{seen['specs']}_kernels.py").write_text(text, encoding="utf-8")
        seen["cancelled"] += bool(check_module(execute(text), declared, spec.values(declared)))

    for_each_spec(check, EXAMPLES, start=start)
    assert seen["specs"] == EXAMPLES
    assert seen["cancelled"] <= RARE * seen["specs"]
    for command in (["format", "--check", "--line-length", "120"], ["check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def check_declared(direct: Direct, declared: Program, spec: Spec) -> None:
    """The declared program says what the spec's own expressions say: the objective, and some elements of each let."""
    found = run(declared, spec.values(declared))
    rng = np.random.default_rng(spec.seed)
    expected = direct.objective()
    error = oracle.relative_error(found[str(declared.objective)], np.array(expected))
    assert error <= DECLARED_TOLERANCE, f"lower: objective {found[str(declared.objective)]}, expected {expected}"
    for d in direct.model.definitions:
        places = list(np.ndindex(found[d.name].shape))
        for k in rng.choice(len(places), min(ELEMENTS, len(places)), replace=False):
            expected = direct.element(d.name, places[k])
            error = oracle.relative_error(found[d.name][places[k]], np.array(expected))
            assert error <= DECLARED_TOLERANCE, f"lower: {d.name}{places[k]} {found[d.name][places[k]]}, not {expected}"


@pytest.mark.parametrize("part", range(COMPILED_PARTS))
def test_gradients_compiled(part: int, tmp_path: Path) -> None:
    """The same of modules that numba compiles."""
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        declared = declared_program(spec.model())
        seen["specs"] += 1
        path = tmp_path / f"spec{seen['specs']}_kernels.py"
        path.write_text(module_text(spec.model()), encoding="utf-8")
        seen["cancelled"] += bool(check_module(load(path), declared, spec.values(declared)))

    for_each_spec(check, COMPILED // COMPILED_PARTS, start=100 + part, lets=2)
    assert seen["specs"] == COMPILED // COMPILED_PARTS


@pytest.mark.parametrize("part", range(2))
def test_second_derivatives(part: int) -> None:
    """The tangent of the adjoint is the Hessian's product with a direction."""

    def check(spec: Spec) -> None:
        declared = declared_program(spec.model())
        values = spec.values(declared)
        rng = np.random.default_rng(spec.seed)
        direction = {p.name: rng.uniform(-1, 1, values[p.name].shape) for p in declared.parameters}
        expected = oracle.hessian_vector(declared, values, direction)
        for name, found in hessian_vector(declared, values, direction).items():
            size = max([abs(v) for v in expected[name].ravel()], default=0)
            # At 80 digits the differences of what is 0 by cancellation are about 1e-40.
            if size < 1e-25:
                assert all(abs(v) < 1e-25 for v in found.ravel()), f"{name}: {found}, expected 0"
            else:
                error = oracle.relative_error(found, expected[name])
                assert error <= TOLERANCE, f"{name}: {found}, expected {expected[name]}"

    for_each_spec(check, SECOND_ORDER // 2, start=200 + part, lets=3)


def hessian_vector(
    declared: Program, values: dict[str, np.ndarray], direction: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    forward = stabilize(reach_back(declared.live([str(declared.objective)])))
    program, dots = tangent(adjoint(forward), [p.name for p in declared.parameters])
    seeds = {dots[name]: v for name, v in direction.items() if name in dots}
    found = run(program, {**values, **seeds})
    return {name: found[dots[bar]] if bar in dots else np.zeros(values[name].shape) for name, bar in program.gradients}
