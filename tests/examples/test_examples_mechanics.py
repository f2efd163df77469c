"""The arm and the pendulum against kinematics written independently, and SciPy's solvers."""

from __future__ import annotations

import numpy as np
import pytest
from example_files import kernels, script


def about(axis: int, angle: float) -> np.ndarray:
    """The homogeneous turn about x (0) or z (2)."""
    turn = np.eye(4)
    i, j = ((1, 2), (0, 1))[axis // 2]
    turn[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
    return turn


def along(x: float, z: float) -> np.ndarray:
    step = np.eye(4)
    step[[0, 2], 3] = x, z
    return step


def flange(angles: np.ndarray) -> np.ndarray:
    """The Panda's flange in the base's frame, joint by joint: a turn and a step for each entry of the maker's table."""
    table = [  # a of the joint before in m, its alpha in right angles, d in m
        (0, 0, 0.333),
        (0, -1, 0),
        (0, 1, 0.316),
        (0.0825, 1, 0),
        (-0.0825, -1, 0.384),
        (0, 1, 0),
        (0.088, 1, 0),
    ]
    pose = np.eye(4)
    for (a, alpha, d), angle in zip(table, angles, strict=True):
        pose = pose @ about(0, alpha * np.pi / 2) @ along(a, 0) @ about(2, angle) @ along(0, d)
    return (pose @ along(0, 0.107))[:3]


def test_forward_kinematics_of_the_arm():
    angles = np.random.default_rng(0).uniform(-3, 3, (32, 7))
    poses = kernels("robot_arm").predict(angles.ravel())[:, -1]
    np.testing.assert_allclose(poses, [flange(row) for row in angles], rtol=0, atol=1e-14)


@pytest.mark.parametrize("radius", [0.2, 0.15])
def test_the_arm_reaches_all_poses_within_its_limits(radius):
    example = script("robot_arm")
    found = example.main(radius)
    angles, free = found.within.views["angle"], found.free.views["angle"]
    np.testing.assert_allclose([flange(row) for row in angles], found.targets, rtol=0, atol=1e-9)
    assert ((angles >= example.LOWER) & (angles <= example.UPPER)).all()
    # The search without them reaches the poses too; on the larger circle, some with a joint beyond its limit.
    np.testing.assert_allclose([flange(row) for row in free], found.targets, rtol=0, atol=1e-9)
    assert ((free < example.LOWER) | (free > example.UPPER)).any() == (radius == example.RADIUS)
    # What is wanted is a circle: a level one, of that radius, with turns of the tool.
    assert np.linalg.norm(found.targets[:, :, 3] - example.CENTER, axis=1) == pytest.approx(radius)
    turns = found.targets[:, :, :3]
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (32, 1, 1)), atol=1e-15)
    assert np.linalg.det(turns) == pytest.approx(1)


def test_the_arm_s_jacobian_is_sparse():
    module, example = kernels("robot_arm"), script("robot_arm")
    jacobian = module.jacobian(np.tile(example.READY, 32), example.circle(32, 0.2))
    assert jacobian.shape == (32 * 12, 32 * 7) and jacobian.nnz == 32 * 12 * 7


def test_the_pendulum_is_identified(tmp_path):
    """The two fits differ by the error of the step of Runge and Kutta, which SciPy's solver does not have."""
    example = script("pendulum")
    found = example.main(picture=str(tmp_path / "fit.png"))
    assert found.fit.success
    np.testing.assert_allclose(found.fit.parameters, found.parameters, rtol=1e-5)
    np.testing.assert_allclose([*found.fit.standard_errors.values()], found.errors, rtol=1e-4)
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_the_pendulum_s_standard_errors_are_as_large_as_its_errors():
    example = script("pendulum")
    off = []
    for seed in range(20):
        fit = example.fit_of(example.measurements(seed))
        off += [(fit.views[name] - value) / fit.standard_errors[name] for name, value in example.TRUE.items()]
    assert 0.6 <= np.sqrt(np.mean(np.square(off))) <= 1.4  # 60 of them, each of standard deviation 1


def test_the_pendulum_s_step_is_of_fourth_order():
    """Half the step leaves a sixteenth of the error."""
    module, example = kernels("pendulum"), script("pendulum")
    parameters, errors = np.array([*example.TRUE.values()]), []
    for halves in (1, 2):
        times = example.TIMES[-1] * np.arange(1, 256 * halves + 1) / (256 * halves)
        found = module.predict(parameters, times)[halves - 1 :: halves]
        errors.append(np.abs(found - example.angles(parameters)).max())
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)
