"""Loops in threads: which they are, that their numbers are the serial ones, and the option in all files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from generated import execute, predict
from random_specs import IMPORTS, Spec, for_each_spec, many

import derivgen
from derivgen import runtime
from derivgen.command.main import main
from derivgen.file import headers
from derivgen.form.program import Role
from derivgen.pipeline import declared_program, generate_body, plan_module
from derivgen.project.spec import load_target
from derivgen.schedule import parallel
from derivgen.schedule import schedule as schedule_module
from derivgen.schedule.nests import Loop

# Dense with tanh, a softmax by rows, an embedding: regions of every kind, and an update that is worth threads.
LARGE = """
from sympy import Sum, exp, log, tanh
from derivgen import Model, optimizers

model = Model("large")
N = model.batch("N")
D, H, C, K = model.sizes(D=8, H=4096, C=1500, K=5)
n, d, h, c = model.indices(n=N, d=D, h=H, c=C)
x, y, k = model.input("x", N, D), model.labels("y", N, classes=C), model.labels("k", N, classes=K)
W, b = model.parameter("W", D, H, init="glorot_uniform"), model.parameter("b", H)
E, V = model.parameter("E", K, H, init="normal"), model.parameter("V", C, init="normal")
a = model.let("a", (n, h), tanh(Sum(x[n, d] * W[d, h], d) + b[h]) * E[k[n], h])
z = model.let("z", (n, c), Sum(a[n, h], h) * V[c])
p = model.let("p", (n, c), exp(z[n, c]) / Sum(exp(z[n, c]), c))
model.minimize(log(Sum(-log(p[n, y[n]]), n) / N))  # of no block of rows alone
model.predict(p)
model.update(optimizers.adam())
"""
SMALL = LARGE.replace("H=4096, C=1500", "H=16, C=7")

PROCESS = """
import sys
import numpy as np
import {module} as module

generator = np.random.default_rng(0)
rows = 37
data = generator.normal(size=(rows, 8)), generator.integers(0, 1500, rows), generator.integers(0, 5, rows)
parameters, state = module.initial_parameters(0), module.optimizer_state()
found = dict(zip(("loss", "gradient"), module.loss_and_gradient(parameters, *data)))
if "train" in sys.argv:
    found = {{"mean": module.train_epoch(parameters, state, np.arange(rows), 16, *data)}}
    found["losses"] = module.descend(parameters, state, 3, *data)
    found.update(state._asdict(), parameters=parameters, prediction=module.predict(parameters, *data[::2]))
    again = [module.loss_and_gradient(parameters, *data) for _ in range(20)]
    assert all(loss == again[0][0] and (gradient == again[0][1]).all() for loss, gradient in again)
np.savez(sys.argv[1], **found)
"""


def write_spec(text: str = LARGE) -> Path:
    path = Path("net.py")
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def everything_pays(monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_THREADS", 0)
    monkeypatch.setattr(parallel, "SHARED_OUT", 0)


@pytest.fixture
def apart(monkeypatch):
    """Rows are not computed together: each layer has its kernels."""
    monkeypatch.setattr(schedule_module, "rows_together", lambda program, statements: (list(statements), set()))


def outer_loops(text: str) -> dict[str, str]:
    """For each kernel of a model its outer loops in order, those in threads with a star: `n* n`."""
    model = Spec(IMPORTS + text, (), 0).model()
    plan = plan_module(model, declared_program(model), "float64")
    return {
        f"{k.layer}_{k.direction}": " ".join(
            f"{loop.index}{'*' * loop.parallel}" for loop in k.body if isinstance(loop, Loop)
        )
        for k in parallel.in_threads(plan.training).kernels
    }


# ---- which loops


HEAD = """
model = Model("random")
N = model.batch("N")
D, K = model.sizes(D=20, K=30)
n, d, k, k2 = model.indices(n=N, d=D, k=K, k2=K)
x, label = model.input("x", N, K), model.labels("label", N, classes=K)
w = model.parameter("w", K)
"""


@pytest.mark.parametrize(
    ("lines", "kernel", "expected"),
    [
        # Elementwise: each iteration has its row.
        ('a = model.let("a", (n, k), tanh(w[k]*x[n, k]))\nmodel.minimize(Sum(a[n, k]**2, n, k))', "a_forward", "n*"),
        # A sum over all rows is in one scalar.
        ('a = model.let("a", (n, k), tanh(w[k]*x[n, k]))\nmodel.minimize(Sum(a[n, k]**2, n, k))', "loss_forward", "n"),
        # A sum within each row runs in its iteration.
        ('a = model.let("a", (n,), Sum(exp(w[k]*x[n, k]), k))\nmodel.minimize(Sum(a[n]**2, n))', "a_forward", "n*"),
        # The bias adds up over the rows that another statement of the nest computes: a loop of its own.
        (
            'a = model.let("a", (n, k), tanh(w[k] + x[n, k]))\nb = model.let("b", (n, k), tanh(w[k] + a[n, k]))\n'
            "model.minimize(Sum(b[n, k]**2, n, k))",
            "b_backward",
            "n* n",
        ),
        # Rows that share a label add to one row of w_bar.
        ('a = model.let("a", (n,), tanh(w[label[n]]))\nmodel.minimize(Sum(a[n]**2, n))', "a_forward", "n*"),
        ('a = model.let("a", (n,), tanh(w[label[n]]))\nmodel.minimize(Sum(a[n]**2, n))', "a_backward", "n"),
        # Here each adds to its own row, wherever in it the label points, after the loop over all of it.
        (
            'a = model.let("a", (n, k), tanh(w[k]*x[n, k]))\n'
            "model.minimize(Sum(a[n, label[n]]**2, n) + Sum(a[n, k]**2, n, k))",
            "loss_backward",
            "n*",
        ),
        # Each iteration copies the cosines of its row, then holds a matrix product: BLAS has threads of its own.
        (
            'q = model.let("q", (n, k, k2), w[k]*x[n, k2])\n'
            'a = model.let("a", (n, k, d), Sum(q[n, k, k2]*cos(n*k2*d), k2))\n'
            "model.minimize(Sum(a[n, k, d]**2, n, k, d))",
            "a_forward",
            "n",
        ),
        # Neighbours: a_bar[k] gathers what it gets from the rows of the loop's index and of the next.
        (
            'a = model.let("a", (k,), tanh(w[k]))\n'
            "model.minimize(Sum(Piecewise((a[k - 1]*a[k], k > 0), (0, True)), k))",
            "loss_backward",
            "k*",
        ),
        # Counted downwards, which the unsigned indices of a loop in threads do not allow.
        ('a = model.let("a", (k,), tanh(w[k])*exp(-k))\nmodel.minimize(Sum(a[k]**2, k))', "a_forward", "k"),
    ],
    ids=[
        "elementwise",
        "sum over rows",
        "sum within a row",
        "split",
        "gather",
        "scatter",
        "own row",
        "matrix product",
        "neighbours",
        "negative",
    ],
)
def test_marked_loops(everything_pays, apart, lines, kernel, expected):
    assert outer_loops(HEAD + lines)[kernel] == expected


def test_rows_together_are_split(everything_pays):
    """A row's values and adjoints, then what rows that share a label add to."""
    lines = 'a = model.let("a", (n,), tanh(w[label[n]]))\nmodel.minimize(Sum(a[n]**2, n))'
    assert outer_loops(HEAD + lines) == {"a_gradient": "n* n"}


def test_only_large_loops_are_marked():
    def marked(text: str) -> str:
        return generate_body(Spec(text, (), 0).model(), "float64", parallel=True).body

    large, small = marked(LARGE), marked(SMALL)
    assert large.count(" in prange(") >= 4
    assert " in prange(" not in small and "@parallel_kernel" not in small
    assert small == generate_body(Spec(SMALL, (), 0).model(), "float64").body


def test_random_specs_in_any_order_of_iterations(everything_pays):
    """The modules as plain Python, where the loops that numba would share out run backwards: the serial one's bits."""
    marked = []

    def check(spec: Spec) -> None:
        model = spec.model()
        declared, results = declared_program(model), []
        values = spec.values(declared)
        flat = np.concatenate([np.ravel(values[p.name]) for p in declared.parameters])
        inputs = {t.name: values[t.name] for t in declared.of_role(Role.INPUT, Role.LABELS)}
        for option in (False, True):
            generated = generate_body(model, "float64", option)
            marked.append(" in prange(" in generated.body)
            module = execute(headers.assemble(generated, "spec.py", headers.command_line("spec.py", parallel=option)))
            with np.errstate(all="ignore"):
                prediction = [predict(module, flat, inputs)] if declared.prediction else []
                results.append([*module.loss_and_gradient(flat, **inputs), *prediction])
        for serial, threads in zip(*results, strict=True):
            np.testing.assert_array_equal(threads, serial)

    for_each_spec(check, many(3), start=900)
    assert sum(marked) >= many(2)


# ---- compiled


def run_process(module: str, *arguments: str, **environment: str) -> dict[str, np.ndarray]:
    output = Path(f"found_{module}.npz")
    settings = {"NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", **environment}
    code = PROCESS.format(module=module)
    done = subprocess.run(
        [sys.executable, "-c", code, str(output), *arguments],
        env={**os.environ, "PYTHONPATH": os.getcwd(), **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(output) as found:
        return dict(found)


def test_numbers_are_the_serial_ones_and_always_the_same():
    """Two threads, 20 times; after a process that compiled a part, one that compiles the rest, one that only loads."""
    target = load_target(str(write_spec()))
    derivgen.generate(target.model, "serial.py", "float64")
    derivgen.generate(target.model, "threads.py", "float64", parallel=True)
    first = run_process("threads")
    compiled, loaded = (run_process("threads", "train") for _ in range(2))
    close(first, run_process("serial"))
    close(compiled, run_process("serial", "train"))
    assert all(np.array_equal(compiled[name], loaded[name]) for name in compiled)


def close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, want in expected.items():
        assert np.max(np.abs(found[name] - want)) <= 1e-12 * np.max(np.abs(want)), name


def test_without_the_compiler():
    target = load_target(str(write_spec(SMALL.replace("C=7", "C=1500"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "WORTH_THREADS", 0)
        derivgen.generate(target.model, "threads.py", "float64", parallel=True)
    derivgen.generate(target.model, "serial.py", "float64")
    assert " in prange(" in Path("threads.py").read_text()
    close(*(run_process(name, NUMBA_DISABLE_JIT="1") for name in ("threads", "serial")))


# ---- the option


def run(*arguments: str):
    return CliRunner().invoke(main, arguments)


def test_option_stays_with_the_module():
    write_spec()
    assert run("generate", "net.py", "--dtype", "float64", "--parallel").exit_code == 0
    text = Path("net_kernels.py").read_text()
    assert "    derivgen generate net.py --dtype float64 --parallel\n" in text
    header = headers.read_header(text)
    assert header is not None and header.parallel and header.dtype == "float64"
    assert (run("check", "net.py").exit_code, run("diff", "net.py").stdout) == (0, "")
    write_spec(LARGE.replace("tanh(", "1 + tanh("))
    stale = run("check", "net.py")
    assert stale.exit_code == 1
    assert "    derivgen generate net.py --dtype float64 --parallel\n" in stale.output
    assert run("generate", "net.py").output == "net_kernels.py: written\n"
    assert " in prange(" not in Path("net_kernels.py").read_text()


def test_option_in_python():
    spec = write_spec(LARGE + '\nif __name__ == "__main__":\n    import derivgen\n')
    derivgen.generate(load_target(str(spec)).model, "net_kernels.py", "float64", parallel=True)
    header = headers.read_header(Path("net_kernels.py").read_text())
    assert header is not None and header.parallel
    assert header.command == "python net.py  # --dtype float64 --parallel"


def test_a_model_without_large_loops_is_told_so():
    write_spec(SMALL)
    result = run("generate", "net.py", "--parallel")
    assert result.exit_code == 0
    assert "note: net_kernels.py has no loop with enough work for threads" in result.output
    assert run("check", "net.py").exit_code == 0


def test_bad_usage():
    write_spec()
    result = run("generate", "net.py", "--parallel=2")
    assert result.exit_code == 2
    assert "'--parallel' does not take a value" in result.output
    with pytest.raises(TypeError, match="parallel must be True or False, found 2"):
        derivgen.generate(load_target("net.py").model, "net_kernels.py", parallel=2)


NEIGHBOURS = """
from sympy import Piecewise, Sum, cos
from derivgen import Model

model = Model("neighbours")
G, D = model.sizes(G=200_000, D=3)
i = model.indices(i=G)
k = model.labels("k", G, classes=50)
x, p = model.parameter("x", G, init="normal"), model.parameter("p", 50, init="normal")
r = model.let("r", (i,), Piecewise((x[i] * x[i - 1] * cos(x[i]), i > 0), (x[i], True)))
s = model.let("s", (i,), Piecewise((r[i + 1] - 2 * r[i] + r[i - 1], (i > 0) & (i < G - 1)), (r[i], True)))
model.minimize(Sum(s[i] ** 2 * (1 + p[k[i]]), i))
"""


def test_adjoints_of_neighbours_and_scatters_do_not_race(folder):
    """Reverse sweeps in threads race where two iterations add to one element: x[i]·x[i - 1], and p[k[i]]."""
    model = load_target(str(write_spec(NEIGHBOURS))).model
    derivgen.generate(model, "serial.py", "float64")
    derivgen.generate(model, "threads.py", "float64", parallel=True)
    assert " in prange(" in Path("threads.py").read_text()
    serial, threads = runtime.load("serial.py"), runtime.load("threads.py")
    parameters, k = serial.initial_parameters(0), np.random.default_rng(0).integers(0, 50, 200_000)
    found = {hashlib.sha256(threads.loss_and_gradient(parameters, k)[1]).hexdigest() for _ in range(100)}
    assert len(found) == 1
    close(
        {"gradient": threads.loss_and_gradient(parameters, k)[1]},
        {"gradient": serial.loss_and_gradient(parameters, k)[1]},
    )
