"""The file for CasADi: CasADi evaluates, differentiates and solves with the library that a C compiler makes of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import casadi
import numpy as np
import pytest
from command import fail, succeed
from generated import execute, module_text
from sympy import Piecewise, Sum, exp

from derivgen import Model, layers, runtime
from derivgen.errors import DerivgenError
from derivgen.pipeline import generate_sources
from derivgen.project.c_sources import expected_c
from derivgen.project.spec import load_targets

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 32
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wmissing-prototypes", "-Werror"]
QUIET = {"ipopt.print_level": 0, "ipopt.sb": "yes", "print_time": False, "ipopt.tol": 1e-10}


def compiled(folder: Path, name: str) -> Path:
    """The library of a model's files in a folder; that for CasADi must be free of warnings."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler, cc")
    made = folder / f"{name}.so"
    subprocess.run(["cc", *STRICT, "-fsyntax-only", f"{name}_casadi.c"], cwd=folder, check=True)
    files = [f"{name}_kernels.c", f"{name}_casadi.c"]
    subprocess.run(["cc", "-O2", "-std=c99", "-shared", "-fPIC", "-o", made, *files], cwd=folder, check=True)
    return made


Libraries = Callable[[str], Path]


@pytest.fixture(scope="module")
def of_example(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    """The library of an example, made once."""

    @cache
    def made(name: str) -> Path:
        folder, spec = tmp_path_factory.mktemp(name), EXAMPLES / name / f"{name}.py"
        succeed("generate", spec, "--target", "c", "--casadi", "--rows", ROWS, "-o", folder / f"{name}_kernels.c")
        return compiled(folder, name)

    return made


def of_model(model: Model, folder: Path) -> Path:
    stem = f"{model.name}_kernels"
    header, file, sources = generate_sources(model, "float64", ROWS, stem, casadi=True)
    texts = {f"{stem}.h": header.body, f"{stem}.c": file.body, f"{model.name}_casadi.c": str(sources.casadi)}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return compiled(folder, model.name)


def point(module: ModuleType) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Parameters and data at random."""
    random, data = np.random.default_rng(0), {}
    for given in module.INPUTS:
        shape = [ROWS if isinstance(extent, str) else extent for extent in given.shape]
        integers = given.classes is not None
        data[given.name] = random.integers(0, given.classes, shape) if integers else random.uniform(0.5, 1.5, shape)
    start = module.initial_parameters()
    return start + random.uniform(-0.1, 0.1, start.size), data


def as_casadi(data: dict[str, np.ndarray]) -> Iterator[casadi.DM]:
    """Data as the file says that CasADi has them."""
    for values in data.values():
        reals = np.asarray(values, float)
        yield casadi.DM(reals.reshape(len(reals), -1).T if reals.ndim > 1 else reals)


def agrees(found: casadi.DM, expected: np.ndarray | float) -> bool:
    expected = np.asarray(expected)
    return np.allclose(found.full().reshape(expected.shape), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def check_against(module: ModuleType, library: Path, name: str) -> None:
    """All that CasADi computes is what the module for numba does, patterns too."""
    parameters, data = point(module)
    given, x = list(as_casadi(data)), casadi.MX.sym("x", parameters.size)
    objective = casadi.external(name, str(library))
    assert [objective.name_in(i) for i in range(objective.n_in())] == ["parameters", *data]
    loss, gradient = module.loss_and_gradient(parameters, **data)
    assert agrees(objective(parameters, *given), loss)
    assert agrees(casadi.Function("g", [x], [casadi.gradient(objective(x, *given), x)])(parameters), gradient)
    if hasattr(module, "hessian"):
        hessian = casadi.Function("h", [x], [casadi.hessian(objective(x, *given), x)[0]])
        assert agrees(hessian(parameters), module.hessian(parameters, **data))
    if hasattr(module, "residuals"):
        residuals = casadi.external(f"residuals_{name}", str(library))
        assert agrees(residuals(parameters, *given), module.residuals(parameters, **data))
        jacobian = casadi.Function("j", [x], [casadi.jacobian(residuals(x, *given), x)])(parameters)
        expected = module.jacobian(parameters, **data)
        assert agrees(jacobian, expected if isinstance(expected, np.ndarray) else expected.toarray())


@pytest.mark.parametrize("name", ["rosenbrock", "option_greeks", "pendulum", "robot_arm", "pharmacokinetics"])
def test_values_and_derivatives_are_those_of_the_module_for_numba(name: str, of_example: Libraries) -> None:
    module = execute((EXAMPLES / name / f"{name}_kernels.py").read_text())
    check_against(module, of_example(name), name)


def several(sparse: bool) -> Model:
    """Residuals of three lets, of which one has no rows; with places at which one reads no parameter, and one twice."""
    model = Model("several", dtype="float64")
    N, K = model.batch("N"), model.sizes(K=40 if sparse else 2)
    n, k = model.indices(n=N, k=K - 1)
    x, weight = model.input("x", N, 3), model.input("mean")  # which C has by another name
    u, a = model.parameter("u", K, init="uniform"), model.parameter("a", init=0.5)
    smooth = model.let("smooth", k, weight * (u[k + 1] ** 2 - Piecewise((u[k - 1], k > 0), (0, True))) + u[1] * u[k])
    fit = model.let("fit", n, a * exp(-x[n, 1]) - x[n, 2] * (u[0] if not sparse else 1))
    anchor = model.let("anchor", (), u[0] ** 2 + a)
    model.least_squares(smooth, fit, anchor)
    return model


@pytest.mark.parametrize("sparse", [True, False])
def test_residuals_of_several_lets_are_one_vector(sparse: bool, tmp_path: Path) -> None:
    module = execute(module_text(several(sparse)))
    parameters, data = point(module)
    assert isinstance(module.jacobian(parameters, **data), np.ndarray) != sparse
    check_against(module, of_model(several(sparse), tmp_path), "several")


@pytest.mark.parametrize("name", ["robot_arm", "several"])
def test_the_pattern_of_a_jacobian_has_what_is_not_0_and_no_more_than_the_module_stores(
    name: str, of_example: Libraries, tmp_path: Path
) -> None:
    if name == "several":
        module, library = execute(module_text(several(True))), of_model(several(True), tmp_path)
    else:
        module = execute((EXAMPLES / name / f"{name}_kernels.py").read_text())
        library = of_example(name)
    parameters, data = point(module)
    given, residuals = list(as_casadi(data)), casadi.external(f"residuals_{name}", str(library))
    pattern = residuals.jac_sparsity(0, 0)
    moved = [parameters + 1e-6 * (np.arange(parameters.size) == i) for i in range(parameters.size)]
    at = residuals(parameters, *given).full().ravel()
    differs = np.stack([residuals(m, *given).full().ravel() - at for m in moved], axis=1) != 0
    stored = module.jacobian(parameters, **data)
    inside = np.array(casadi.DM(pattern, 1).full(), bool)
    assert pattern.nnz() == stored.nnz < inside.size / 2
    assert not (differs & ~inside).any()
    assert differs.sum() > 0.8 * pattern.nnz()


def test_ipopt_solves_rosenbrock_in_a_ball_as_with_an_expression_of_casadi(of_example: Libraries) -> None:
    x = casadi.MX.sym("x", 10)
    ours = casadi.external("rosenbrock", str(of_example("rosenbrock")))(x)
    own = casadi.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    found = []
    for objective in (ours, own):
        options = {**QUIET, "ipopt.hessian_approximation": "limited-memory"}
        solver = casadi.nlpsol("solver", "ipopt", {"x": x, "f": objective, "g": casadi.sumsqr(x)}, options)
        found.append(solver(x0=np.tile([1.3, 0.7], 5), ubg=4))
        assert solver.stats()["success"]
    assert np.allclose(found[0]["x"].full(), found[1]["x"].full(), atol=1e-6)
    assert float(found[0]["g"]) == pytest.approx(4)


def test_ipopt_takes_second_derivatives_of_the_library(of_example: Libraries) -> None:
    library = str(of_example("option_greeks"))
    price, p = casadi.external("option_greeks", library), casadi.MX.sym("p", 4)
    given = [np.random.default_rng(1).normal(size=ROWS), 100, 2]
    goal = (price(p, *given) - 7) ** 2 + casadi.sumsqr(
        (p - casadi.DM([100, 0.2, 0.03, 0.5])) / casadi.DM([10, 0.1, 0.1, 0.1])
    )
    solver = casadi.nlpsol("solver", "ipopt", {"x": p, "f": goal}, QUIET)
    found = solver(x0=[100, 0.2, 0.03, 0.5], lbx=[0, 0.01, -1, 0.01])
    assert solver.stats()["success"] and solver.stats()["iter_count"] < 20
    slope = casadi.Function("slope", [p], [casadi.gradient(goal, p)])
    assert np.abs(slope(found["x"]).full()).max() < 1e-7


def test_residuals_of_a_pendulum_are_fitted_within_bounds_as_by_scipy(of_example: Libraries) -> None:
    module = execute((EXAMPLES / "pendulum" / "pendulum_kernels.py").read_text())
    library = str(of_example("pendulum"))
    time = np.linspace(0.1, 5, ROWS)
    swing = module.predict(np.array([0.8, 0.3, 1.5]), time=time)
    data = {"time": time, "angle": swing + 0.02 * np.random.default_rng(0).normal(size=ROWS)}
    p = casadi.MX.sym("p", 3)
    residuals = casadi.external("residuals_pendulum", library)(p, *data.values())
    upper, start = [2, 0.2, 2], [0.9, 0.1, 1.2]  # the damping is at its bound
    options = {**QUIET, "ipopt.hessian_approximation": "limited-memory"}
    solver = casadi.nlpsol("solver", "ipopt", {"x": p, "f": casadi.sumsqr(residuals) / 2}, options)
    found = solver(x0=start, lbx=[0.1, 0, 0], ubx=upper)
    bounds = {"length": (0.1, upper[0]), "damping": (0, upper[1]), "release": (0, upper[2])}
    expected = runtime.least_squares(module, data, parameters=np.array(start), bounds=bounds)
    assert solver.stats()["success"]
    assert np.allclose(found["x"].full().ravel(), expected.parameters, atol=1e-6)
    assert expected.parameters[1] == pytest.approx(0.2, abs=1e-6)


def test_what_is_not_given_is_0_and_what_is_not_asked_for_is_not_computed(of_example: Libraries) -> None:
    module = execute((EXAMPLES / "pendulum" / "pendulum_kernels.py").read_text())
    library = str(of_example("pendulum"))
    parameters, data = point(module)
    buffers, evaluate = casadi.external("pendulum", library).buffer()
    value, time = np.zeros(1), data["time"]
    buffers.set_arg(0, memoryview(parameters))
    buffers.set_arg(1, memoryview(time))
    buffers.set_res(0, memoryview(value))
    evaluate()
    assert value[0] == pytest.approx(module.loss(parameters, time=time, angle=np.zeros(ROWS)), rel=1e-12)
    buffers, evaluate = casadi.external("jac_residuals_pendulum", library).buffer()
    evaluate()
    assert buffers.ret() == 0


@pytest.mark.parametrize("label", [6, -1, 2.5, np.nan, 1e300])
def test_a_label_that_is_no_class_ends_the_evaluation(label: float, of_example: Libraries) -> None:
    function = casadi.external("pharmacokinetics", str(of_example("pharmacokinetics")))
    labels = np.zeros(ROWS)
    ones = [np.ones(ROWS)] * 2
    function(np.zeros(24), 1, labels, *ones)
    labels[7] = label
    with pytest.raises(RuntimeError, match="pharmacokinetics"):
        function(np.zeros(24), 1, labels, *ones)


def small(
    name: str = "small", dtype: str = "float64", given: str = "x", many: bool = False, drop: bool = False
) -> Model:
    model = Model(name, dtype=dtype)
    N = model.batch("N")
    M = model.batch("M") if many else N
    n, m = model.indices(n=N, m=M)
    x, y, w = model.input(given, N, 2), model.input("y", M), model.parameter("w", init=1)
    h = layers.dropout(x, 0.5, name="h") if drop else x
    model.minimize(Sum((w * h[n, 0] - h[n, 1]) ** 2, n) + Sum(w * y[m], m))
    return model


@pytest.mark.parametrize(
    "given, words",
    [
        ({"dtype": "float32"}, "add --dtype float64"),
        ({"many": True}, "N, M are known at run time only: fix all of them but one"),
        ({"drop": True}, "draws random numbers"),
        ({"name": "a__b"}, "named a__b: rename it"),
        ({"name": "double"}, "named double: rename it"),
        ({"given": "jac"}, "named jac: rename it"),
    ],
)
def test_a_model_that_casadi_cannot_have_is_an_error(given: dict[str, Any], words: str) -> None:
    model = small(**given)
    with pytest.raises(DerivgenError, match=words):
        generate_sources(model, model.dtype, ROWS, "a", casadi=True)


def test_rows_have_to_be_given_and_the_target_is_c() -> None:
    with pytest.raises(DerivgenError, match="give the value of N by --rows"):
        generate_sources(small(), "float64", None, "a", casadi=True)
    spec = EXAMPLES / "rosenbrock" / "rosenbrock.py"
    assert "--casadi is for --target c" in fail("generate", spec, "--casadi")


def test_the_command_that_the_files_name_makes_them_again(tmp_path: Path) -> None:
    spec = Path(shutil.copy(EXAMPLES / "pendulum" / "pendulum.py", tmp_path))
    succeed("generate", spec, "--target", "c", "--casadi", "--rows", ROWS)
    text = (tmp_path / "pendulum_casadi.c").read_text()
    assert "derivgen generate pendulum.py --target c --casadi --rows 32" in text
    (target,) = load_targets(str(spec))
    expected = expected_c(target, tmp_path / "pendulum_kernels.c").texts
    assert {path: path.read_text() for path in expected} == expected
    assert len(expected) == 3
