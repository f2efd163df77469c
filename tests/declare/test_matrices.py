"""SymPy matrices in specs: read at indices, as chains of homogeneous transforms are."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text
from sympy import Matrix, Sum, cos, sin

from derivgen import Model
from derivgen.errors import SpecError
from derivgen.pipeline import declared_program


def arm(joints: int) -> Model:
    """The end of a chain of turns about z and steps along x, after each joint."""
    model = Model("arm")
    n = model.batch("N")
    row = model.indices(n=n)
    a, b, c = model.indices(a=4, b=4, c=4)
    angle, end = model.input("angle", n, joints), model.input("end", n, 2)
    length, offset = model.parameter("length", joints), model.parameter("offset", joints)
    pose = None
    for j in range(joints):
        turn = angle[row, j] + offset[j]
        link = Matrix(
            [
                [cos(turn), -sin(turn), 0, length[j] * cos(turn)],
                [sin(turn), cos(turn), 0, length[j] * sin(turn)],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
            ]
        )
        value = link[a, b] if pose is None else Sum(pose[row, a, c] * link[c, b], c)
        pose = model.let(f"pose{j}", (row, a, b), value)
    assert pose is not None
    model.minimize(Sum((pose[row, 0, 3] - end[row, 0]) ** 2 + (pose[row, 1, 3] - end[row, 1]) ** 2, row) / n)
    return model


@pytest.mark.parametrize("joints", [1, 3])
def test_a_chain_of_transforms(joints: int) -> None:
    module = execute(module_text(arm(joints)))
    rng = np.random.default_rng(0)
    angle, end, p = rng.uniform(-1, 1, (5, joints)), rng.normal(size=(5, 2)), rng.uniform(0.5, 1, 2 * joints)

    def by_numpy(p: np.ndarray) -> float:
        turns = np.cumsum(angle + p[joints:], axis=1)
        x, y = np.cos(turns) @ p[:joints], np.sin(turns) @ p[:joints]
        return float(np.mean((x - end[:, 0]) ** 2 + (y - end[:, 1]) ** 2))

    loss, gradient = module.loss_and_gradient(p, angle, end)
    assert loss == pytest.approx(by_numpy(p), rel=1e-13)
    steps = 1e-6 * np.eye(len(p))
    wanted = [(by_numpy(p + h) - by_numpy(p - h)) / 2e-6 for h in steps]
    assert gradient == pytest.approx(wanted, rel=1e-7, abs=1e-7)


def model_with(element: object) -> Model:
    model = Model("m")
    i = model.indices(i=2)
    w = model.parameter("w")
    model.minimize(Sum(element(i, w), i))  # type: ignore[operator]
    return model


def test_an_index_beyond_the_matrix_is_refused() -> None:
    with pytest.raises(SpecError, match="axis 0 of loss_matrix, which has 2 elements"):
        declared_program(model_with(lambda i, w: Matrix([[w, 1], [2, 3]])[i + 1, 0]))


def test_a_matrix_without_entries_is_refused() -> None:
    with pytest.raises(SpecError, match="matrix without entries"):
        declared_program(model_with(lambda i, w: sp.MatrixSymbol("M", 2, 2)[i, 0] * w))
