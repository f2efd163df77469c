"""`verify.py`: no false alarm on the examples and on random specs, and the mistakes of mutants found."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from example_files import EXAMPLES, NAMES
from generated import execute, module_text
from module_mutants import certificate_mutants, sample
from random_specs import Spec, for_each_spec, many

from derivgen import Model, layers, losses, optimizers, schedules
from derivgen.derive import second_order
from derivgen.form import functions
from derivgen.project.spec import load_target
from derivgen.review.certificate import certificate
from derivgen.verify import verify

SMALL = ("xor", "option_greeks", "pharmacokinetics", "matrix_factorization", "soft_decision_tree")
# Sizes at which the tests have the examples whose checks take longest: the same formulas, no two axes of one size.
# scripts/verify_examples.py checks these examples as they are.
SMALLER = {
    "characters_gpt": (
        "classes=65, steps=64, features=128, heads=4, blocks=4",
        "classes=5, steps=3, features=4, heads=2, blocks=3",
    ),
    "characters_lstm": ("classes=96, steps=64, features=32, units=128", "classes=5, steps=4, features=3, units=2"),
    "wavenet": ("classes=64, steps=256, channels=32, blocks=3", "classes=5, steps=7, channels=2, blocks=2"),
    "characters_transformer": (
        "classes=96, steps=64, features=64, heads=4, units=256",
        "classes=5, steps=3, features=4, heads=2, units=6",
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def module(name: str) -> str:
    return (EXAMPLES / name / f"{name}_kernels.py").read_text(encoding="utf-8")


def certificate_of(name: str) -> dict[str, object]:
    return certificate_at(EXAMPLES / name / f"{name}.py")


def certificate_at(spec: Path) -> dict[str, object]:
    return json.loads(json.dumps(certificate(load_target(str(spec)).model, spec)))


def found(text: str, own: dict[str, object] | None = None) -> list[str]:
    return [*verify.findings(text, own)]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SMALLER])
def test_nothing_is_found_in_an_example_and_its_certificate(name):
    assert found(module(name), certificate_of(name)) == []


@pytest.mark.parametrize("name", SMALLER)
def test_nothing_is_found_in_a_smaller_example_and_its_certificate(name, tmp_path):
    old, new = SMALLER[name]
    text = (EXAMPLES / name / f"{name}.py").read_text(encoding="utf-8")
    assert text.count(old) == 1
    spec = tmp_path / f"{name}.py"
    spec.write_text(text.replace(old, new), encoding="utf-8")
    assert found(module_text(load_target(str(spec)).model, "float32"), certificate_at(spec)) == []


def test_it_needs_python_and_numpy_alone():
    tree = ast.parse(Path(verify.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {a.name for node in imports if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, verify.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(verify.__file__).anchor)


def test_it_runs_by_itself(tmp_path):
    file = tmp_path / "xor_certificate.json"
    file.write_text(json.dumps(certificate_of("xor")))
    right = run(EXAMPLES / "xor" / "xor_kernels.py", file)
    found, unchecked = right.stdout.splitlines()
    assert (right.returncode, found.endswith("nothing found")) == (0, True)
    assert unchecked.startswith("not checked: initial values") and "certificate" not in unchecked
    alone = run(EXAMPLES / "xor" / "xor_kernels.py")
    assert alone.returncode == 0 and "certificate" in alone.stdout.splitlines()[1]
    wrong = tmp_path / "wrong.py"
    assert "= sigmoid(" in module("xor")
    wrong.write_text(module("xor").replace("= sigmoid(", "= -sigmoid(", 1))
    assert run(wrong).returncode == 1
    assert run(tmp_path / "nowhere.py").returncode == 2
    assert "cannot read" in run(tmp_path / "nowhere.py").stdout
    assert run().returncode == 2


def test_random_specs_give_modules_and_certificates_without_findings(tmp_path):
    """Nested sums, recurrences, guards, tables, maxima: what no example has."""

    def check(spec: Spec) -> None:
        path = tmp_path / "spec.py"
        path.write_text(spec.text)
        model = load_target(str(path)).model
        assert found(module_text(model), json.loads(json.dumps(certificate(model, path)))) == []

    for_each_spec(check, many(2), 700)


# Models of which verify.py once found something, though nothing is wrong with them.
SOUND = {
    "labels of the row before": """
N = model.batch("N")
n = model.indices(n=N)
tag, A = model.labels("tag", N, classes=3), model.parameter("A", 3)
model.minimize(Sum(Piecewise((A[tag[n - 1]], n > 0), (0, True)), n))
""",
    "an input called count": """
N = model.batch("N")
n = model.indices(n=N)
count, r = model.input("count", N), model.parameter("r")
model.minimize(Sum(exp(r) - count[n]*r, n))
""",
    "a formula that goes on with a comparison": """
N = model.batch("N")
n, s = model.indices(n=N, s=4)
ct = model.constant("ct", [3, 1, 0, 0])
x, b = model.input("x", N, 4), model.parameter("b", 4)
a = model.let("a", (n, s), x[n, s]*b[s])
c = model.let("c", (n, s), Max(a[n, s], a[n, ct[s]]) + b[s])
model.minimize(Sum(c[n, s]**2, n, s))
model.second_order("hessian_vector_product")
""",
    "exponentials that are summed up apart only where they underflow": """
N, T = model.batch("N"), model.batch("T")
n, t, j, i = model.indices(n=N, t=T, j=3, i=3)
x, W = model.input("x", N, T, 3), model.parameter("W", 3, 3)
p = model.recur("p", (n, t, j), lambda p: x[n, t, j] + log(Sum(exp(p[n, t - 1, i] + W[i, j]), i)))
model.minimize(Sum(log(Sum(exp(p[n, T - 1, j]), j)), n))
""",
    "angles between the points of three tables": """
A = model.batch("A")
a, x = model.indices(a=A, x=2)
first, middle, last = (model.labels(name, A, classes=5) for name in ("first", "middle", "last"))
X = model.parameter("X", 5, 2)
u = model.let("u", (a, x), X[first[a], x] - X[middle[a], x])
v = model.let("v", (a, x), X[last[a], x] - X[middle[a], x])
length = lambda w: sqrt(Sum(w[a, x]**2, x))
model.minimize(Sum(acos(Sum(u[a, x]*v[a, x], x)/(length(u)*length(v))), a))
""",
    "a recurrence whose values grow fast": """
N, T = model.batch("N"), model.batch("T")
n, t = model.indices(n=N, t=T)
x, w = model.input("x", N, T), model.parameter("w")
a = model.recur("a", (n, t), lambda a: 30*(x[n, t] - w*a[n, t - 1]**2)*cos(a[n, t - 1]))
model.minimize(Sum(tanh(a[n, t]), n, t))
""",
    "bearings in a recurrence": """
t = model.indices(t=5)
z, p = model.input("z", 5, 2), model.parameter("p")
m = model.recur("m", t, lambda m: p/m[t - 1] + atan2(z[t, 0] - m[t - 1], z[t, 1]), initial=p)
model.minimize(Sum(m[t]**2, t))
""",
    "parameters that are logarithms of shares": """
t = model.indices(t=5)
y, b = model.input("y", 5), model.parameter("b", 2)
s = model.recur("s", t, lambda s: s[t - 1]*(1 - exp(b[0])), initial=1 - exp(b[0]) - exp(b[1]))
model.minimize(Sum(y[t] - log(s[t]), t))
""",
    "kinds that excite one another, and tables of subscripts": """
N = model.batch("N")
n, m, i, j = model.indices(n=N, m=N, i=6, j=6)
t, kind, A = model.input("t", N), model.labels("kind", N, classes=2), model.parameter("A", 2, 2)
b, u = model.parameter("b"), model.parameter("u", 6, 3)
rate = model.let("rate", n, 1 + Sum(exp(A[kind[n], kind[m]] - b*(t[n] - t[m])), (m, 0, n - 1)))
model.minimize(Sum(log(rate[n]), n) + Sum(u[i, floor(j/2)]**2, i, j))
""",
    "columns that read all columns before them": """
N = model.sizes(N=6)
i, j, k = model.indices(i=N, j=N, k=N)
x, y, ell = model.input("x", N), model.input("y", N), model.parameter("ell")
K = model.let("K", (i, j), exp(-(x[i] - x[j])**2*exp(ell)) + KroneckerDelta(i, j))
C = model.recur("C", (j, i), lambda C: (K[i, j] - Sum(C[k, i]*C[k, j], (k, 0, j - 1)))
                / sqrt(K[j, j] - Sum(C[k, j]**2, (k, 0, j - 1))))
z = model.recur("z", i, lambda z: (y[i] - Sum(C[k, i]*z[k], (k, 0, i - 1)))/C[i, i])
model.minimize(Sum(z[i]**2/2 + log(C[i, i]), i))
model.second_order("hessian_vector_product")
""",
    "constants that hold the same numbers": """
N = model.batch("N")
n, j = model.indices(n=N, j=3)
low, high = model.constant("low", [2, 0, 1]), model.constant("high", [2, 0, 1])
first, second = model.constant("first", 2.5), model.constant("second", 2.5)
x, w = model.input("x", N, 3), model.parameter("w", 3)
model.minimize(Sum(first*x[n, j]*w[low[j]]*w[high[j]] + second*w[high[1]]**2, n, j))
""",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_nothing_is_found_in_models_of_many_kinds(text):
    model = Model("sound", dtype="float64")
    exec(text, {**vars(sp), "model": model})
    assert found(module_text(model)) == []


@pytest.mark.parametrize("name", SMALL)
def test_mistakes_are_found(name):
    """All that change what callers get: a mutant that nothing is found in gives the same to the last bit."""
    text = module(name)
    missed = [mutant for mutant in sample(text, 16) if not found_first(mutant.text)]
    right = results(text)
    for mutant in missed:
        for ours, theirs in zip(right, results(mutant.text), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{mutant.function}: {mutant.change}")


def results(text: str) -> list[np.ndarray]:
    """What the functions of a module give, by plain Python."""
    own, rng = execute(text), np.random.default_rng(5)
    count = sum(math.prod(p.shape) for p in own.PARAMETERS)
    real = np.dtype(own.PARAMETERS[0].dtype)
    flat = rng.uniform(0.5, 1.5, count).astype(real)
    inputs = {}
    for entry in own.INPUTS:
        shape = tuple(4 if isinstance(axis, str) else axis for axis in entry.shape)
        inputs[entry.name] = (
            rng.uniform(0.5, 1.5, shape).astype(real)
            if entry.classes is None
            else rng.integers(0, entry.classes, shape)
        )
    with np.errstate(all="ignore"):
        found = [own.loss(flat, **inputs), *own.loss_and_gradient(flat, **inputs)]
        state = own.optimizer_state()
        losses = own.descend(flat, state, 2, **inputs)
        return [np.array(value) for value in (*found, losses, flat)]


def found_first(text: str) -> bool:
    return next(verify.findings(text, None), None) is not None


@pytest.mark.parametrize("name", SMALL[:3])
def test_mistakes_in_certificates_are_found(name):
    parts, changes = verify.parts_of(module(name)), [*certificate_mutants(certificate_of(name))]
    drawn = parts.drawn(0.3)
    missed = [change for change, c in changes if not [*verify.attempt("", verify.check_certificate, parts, c, drawn)]]
    assert changes and missed == []


def test_nothing_is_found_in_arrays_of_one_number_and_in_a_training_that_diverges():
    model = Model("diverges", dtype="float64")
    N = model.batch("N")
    n, i = model.indices(n=N, i=9)
    x, k, w = model.input("x", N), model.constant("k", np.full(9, 5.0)), model.parameter("w", 9, init=np.full(9, 0.25))
    model.minimize(sp.Sum((x[n] * k[i] * w[i]) ** 12 - (x[n] * k[i] * w[i]) ** 10, n, i))
    assert found(module_text(model)) == []


def test_nothing_is_found_where_the_mean_of_losses_that_grow_is_no_number():
    model = Model("grows", dtype="float64")
    N, K = model.batch("N"), model.sizes(K=6)
    n, k = model.indices(n=N, k=K)
    x, y, w = model.input("x", N, K), model.input("y", N), model.parameter("w", K)
    eta = sp.Sum(x[n, k] * w[k] ** 2, k)
    a, b = model.let("a", n, sp.exp(eta)), model.let("b", n, sp.log(1 + eta**2))
    model.minimize(sp.Sum((a[n] + b[n] - y[n]) ** 2 + eta, n))
    assert found(module_text(model)) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    N = x.shape[0]\n", "    import os\n    N = x.shape[0]\n", "Import is not understood"),
        ("    N = x.shape[0]\n", "    open('file')\n    N = x.shape[0]\n", "open is not understood"),
        ("    N = x.shape[0]\n", "    x.__class__\n    N = x.shape[0]\n", "__class__ is not understood"),
        ("\nimport contextlib\n", "\nimport contextlib  # \n", "its digest is another one"),
    ],
)
def test_what_is_not_understood_is_not_run(old, new, words):
    text = module("xor")
    assert text.count(old) >= 1
    assert any(words in line for line in found(text.replace(old, new, 1)))


@pytest.mark.parametrize(
    "more",
    [
        "hidden_forward = hidden_backward",
        "np.exp = np.log",
        "for kind in ():\n    pass",
        "def loss(parameters):\n    pass",
    ],
)
def test_a_module_that_changes_itself_as_it_is_imported_is_refused(more):
    text = module("xor").replace("\nPREDICTION_INPUTS = ", f"\n{more}\nPREDICTION_INPUTS = ", 1)
    assert any(" is not understood" in line or " is bound twice" in line for line in found(text))


@pytest.mark.parametrize("norm", [optimizers.clip_global_norm, optimizers.clip_norm])
def test_an_update_is_checked_by_the_settings_of_each_tensor(norm):
    """Clipping by a norm, a rate that warms up, and tensors with a decay or a rate of their own, or none at all."""
    model = Model("ruled")
    i = model.local_indices(3)
    model.minimize(sum(sp.Sum(model.parameter(name, 3)[i] ** 2, *i) for name in ("u", "v", "w", "x")))
    rule = norm(optimizers.adamw(schedules.warm_up(schedules.cosine(0.02), warmup_steps=10)), 1.0)
    slow = {"learning_rate": optimizers.hyperparameter("learning_rate") / 10}
    model.update(rule, groups={"[vx]": {"weight_decay": 0}, "w": optimizers.frozen, "x": slow})
    text = module_text(model)
    assert found(text) == []
    for old, new in (
        ("v: weight_decay = 0\n", "v: weight_decay = 0.5\n"),
        ("w: frozen, left as it is\n", "w: weight_decay = 0\n"),
        ("learning_rate/10 before", "learning_rate/20 before"),
        ("·t/warmup_steps", "·t/2/warmup_steps"),
        ("·(cos(π·", "·(cos(2·π·"),
    ):
        assert old in text
        assert any(line.startswith("update_kernel: ") for line in found(text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def sigmoid(u):\n", "def sigmoid(u):\n    u = -u\n"),
        ("without overflow; at most", "without overflow; about"),
    ],
)
def test_an_elementary_function_without_a_bound_is_told(old, new):
    text = module("xor")
    assert text.count(old) == 1
    words = "elementary functions: sigmoid has no docstring with a bound, so that it was not compared"
    assert found(text.replace(old, new)) == [words]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["loggamma", "digamma", "trigamma", "erfc", "tan"])
def test_elementary_functions_are_within_their_bounds(name, dtype):
    """Functions of Γ also near their zeros, and by reflection where u < 0: a mistake there is found."""
    model = Model("elementary", dtype=dtype)
    w = model.parameter("w", init=2.5)
    model.minimize(getattr(functions if hasattr(functions, name) else sp, name)(w))
    text = module_text(model, dtype)
    assert found(text) == []
    if name == "digamma":
        old = "value = value + added if shifted else value"
        wrong = f"{old}\n    value = value * real(1.001) if u < real(0) else value"
        assert text.count(old) == 1
        (line,) = found(text.replace(old, wrong))
        assert line.startswith("elementary functions: digamma is ")


def test_an_edit_of_any_letter_is_told(tmp_path):
    """Even of one that changes no number."""
    file = tmp_path / "edited.py"
    file.write_text(module("xor").replace("\ndef sigmoid", "\n# a remark\ndef sigmoid", 1), encoding="utf-8")
    done = run(file)
    assert done.returncode == 1 and "edited since it was generated" in done.stdout
    file.write_text(module("xor").replace(", body sha256", ", body", 1), encoding="utf-8")
    done = run(file)
    assert done.returncode == 1 and "its header has no `body sha256`" in done.stdout


def test_a_result_that_is_0_by_structure_is_no_finding():
    """The kernels write no element of such a Hessian's rows: what callers use starts from zeros."""
    model = Model("call", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    z, strike, spot = model.input("z", N), model.input("strike"), model.parameter("spot", init=100)
    payoff = model.let("payoff", n, sp.Max(strike - spot * sp.exp(z[n]), 0))
    model.minimize(sp.Sum(payoff[n], n) / N)
    model.second_order("hessian")
    text = module_text(model)
    assert "hessian = np.zeros(" in text
    assert found(text) == []
    assert found(text.replace("hessian = np.zeros(", "hessian = np.empty(")) != []


REQUESTS = [r for r in second_order.REQUESTS if not r.of_evaluation]
FUNCTIONS = [r.function for r in REQUESTS if r.function not in ("residuals", "residual_jacobian")]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("is_linear", [True, False])
def test_nothing_is_found_in_functions_of_derivatives(function, is_linear):
    """Of a model with a Hessian that is 0, too; with more rows than parameters."""
    model = Model("second", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, y, a, b = model.input("x", N), model.input("y", N), model.parameter("a"), model.parameter("b")
    line = a * x[n] + b
    p = model.let("p", n, line if is_linear else sp.exp(line))
    model.predict(p)
    model.minimize(sp.Sum(p[n] if is_linear else (p[n] - y[n]) ** 2, n) / N)
    model.second_order(function)
    assert found(module_text(model)) == []


def with_gradients_outside_training() -> str:
    model = Model("network", dtype="float64")
    N = model.batch("N")
    x, t = model.input("x", N, 3), model.input("t", N, 2)
    hidden = layers.batch_norm(layers.dense(x, 4, name="first"), name="norm")
    last = layers.dense(layers.dropout(hidden, 0.3, name="drop"), 2, name="last")
    model.minimize(losses.mean_squared_error(last, t))
    model.second_order("evaluation_gradient", "evaluation_input_gradients")
    return module_text(model)


def test_nothing_is_found_in_gradients_outside_training() -> None:
    assert list(verify.findings(with_gradients_outside_training(), None)) == []


@pytest.mark.parametrize(
    ("place", "old", "new", "words"),
    [
        ("def evaluation_gradient_kernel", "bar.norm_gain,\n        bar.norm_shift",
         "bar.norm_shift,\n        bar.norm_gain", "evaluation_gradient: the slope"),
        ("def evaluation_gradient_kernel", "norm_evaluate(", "norm_value(", "evaluation_gradient"),
        ("def evaluation_input_gradients_kernel", "theta.first_W, work.first_bar, x_bar",
         "theta.first_W, work.first_bar * 2, x_bar", "evaluation_input_gradients"),
        ("def evaluation_gradient(", "float(loss), gradient", "float(loss), parameters", "evaluation_gradient: line"),
        ("def evaluation_input_gradients(", '"x": x_bar', '"x": t_bar', "evaluation_input_gradients: line"),
        ("def loss_and_gradient(", "if not training", "if training", "loss_and_gradient: line"),
        ("def loss_and_gradient(", "evaluation_gradient(parameters, x, t)", "evaluation_gradient(parameters, t, x)",
         "loss_and_gradient: line"),
    ],
)  # fmt: skip
def test_mistakes_outside_training_are_found(place: str, old: str, new: str, words: str) -> None:
    text = with_gradients_outside_training()
    before, after = text[: text.index(place)], text[text.index(place) :]
    assert old in after
    found = list(verify.findings(before + after.replace(old, new, 1), None))
    assert any(line.startswith(words) for line in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("leaf_gradients[leaf, i] += ", "leaf_gradients[leaf, i] -= "),
        ("objectives[leaf] += ", "objectives[leaf] = "),
        ("min(rows_of_block, stop - first)", "rows_of_block"),
        ("leaf * rows_of_leaf + rows_of_leaf, ", "leaf * rows_of_leaf + rows_of_block, "),
        ("/ real(rows_of_all)", "/ real(rows_of_leaf)"),
        ("x[first : first + rows]", "x[first - first : rows]"),
    ],
)
def test_mistakes_in_sums_over_blocks_of_rows_are_found(old: str, new: str) -> None:
    before, place, after = module("digits").partition("def objectives_of_leaves")
    assert old in after
    found = [*verify.findings(before + place + after.replace(old, new), None)]
    assert any(line.startswith("leaves:") for line in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(member, objectives.shape[0], members)", "(objectives.shape[0])"),
        ("first + start, work)", "first, work)"),
        ("min(batch_size, order.shape[0] - start)", "batch_size - 1"),
        ("leaf_gradients[0], state", "leaf_gradients[1], state"),
        ("losses[start] = objectives[0]", "losses[start] = objectives[1]"),
        ("            add_gradients_in_tree(objectives, leaf_gradients)\n", ""),
        ("share * of_block[i]", "of_block[i]"),
    ],
)
def test_mistakes_in_epochs_by_leaves_are_found(old: str, new: str) -> None:
    before, place, after = module("digits").partition("def epoch_by_leaves")
    assert old in after
    found = [*verify.findings(before + place + after.replace(old, new, 1), None)]
    assert any(line.startswith("leaves:") for line in found), found


def test_parameters_are_drawn_where_there_is_an_objective():
    model = Model("correlations", dtype="float64")
    N, D = model.batch("N"), model.sizes(D=5)
    n, d = model.indices(n=N, d=D)
    x, y, rho = model.input("x", N), model.input("y", N), model.parameter("rho", D)
    model.minimize(sp.Sum((x[n] * rho[d] - y[n] * sp.sqrt(1 - rho[d] ** 2)) ** 2, n, d) / N)
    assert found(module_text(model)) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_jacobians_of_residuals_are_compared_with_the_residuals(sign):
    model = Model("squares", dtype="float64")
    N = model.batch("N")
    n = model.indices(n=N)
    x, y, a, b = model.input("x", N), model.input("y", N), model.parameter("a"), model.parameter("b")
    p = model.let("p", n, sp.exp(a * x[n]) + b)
    r = model.let("r", n, sign * (p[n] - y[n]))
    model.predict(p)
    model.least_squares(r)
    model.second_order("residuals", "jacobian")
    assert found(module_text(model)) == []


def test_a_wrong_entry_of_a_sparse_jacobian_is_found():
    """In the docstring and in the loops alike."""
    text = module("robot_arm")
    wrong = text.replace("7·t + j\n", "7·t + 6 - j\n").replace("= 7 * t + j\n", "= 7 * t + 6 - j\n")
    assert wrong != text
    assert found(wrong) == ["jacobian: jacobian is not the derivative along a random direction"]


PUBLIC = [
    ("option_greeks", "return gradient_of(parameters, arrays)", "loss, g = gradient_of(parameters, arrays)"),
    ("option_greeks", "return gradient_of(parameters, arrays)", "return gradient_of(-parameters, arrays)"),
    ("option_greeks", "    return hessian\n", "    return -hessian\n"),
    ("option_greeks", "    return objective_of(", "    return -objective_of("),
    ("option_greeks", "*arrays, *memory)\n    return hessian", "*arrays[::-1], *memory)\n    return hessian"),
    ("robot_arm", "parts = ((jacobian_entries, ", "parts = ((-jacobian_entries, "),
    ("pendulum", "    return theta_dot\n", "    theta_dot *= 2\n    return theta_dot\n"),
    ("pendulum", "    return r.reshape(-1)\n", "    return -r.reshape(-1)\n"),
    ("xor", "    return predicted(", "    return 1 - predicted("),
    ("xor", "return epoch_of(epoch, ", "return -epoch_of(epoch, "),
    ("xor", "    check_state(state)\n    learning_rate", "    learning_rate"),
    ("digits", "    return descent_of(", "    -descent_of("),
    ("symmetry", "(learning_rate, momentum)\n    return epoch", "(momentum, learning_rate)\n    return epoch"),
    ("option_greeks", "(z, strike, width)\n    return obj", "(z, width, strike)\n    return obj"),
]


@pytest.mark.parametrize(("name", "old", "new"), PUBLIC)
def test_another_result_of_what_callers_use_is_found(name, old, new):
    text = module(name)
    assert text.count(old) == 1
    (told,) = found(text.replace(old, new))
    assert "is not what a generated function has here" in told or "without a check" in told


def test_another_square_is_found():
    text = module("xor")
    assert "    return u * u\n" in text
    lines = verify.findings(text.replace("    return u * u\n", "    return u + u\n", 1), None)
    assert any("square of" in line for line in lines)


def test_an_access_beyond_its_array_is_found_though_no_value_changes():
    """A read whose value nobody uses, one past the end."""
    text = module("digits")
    old = "        for c in range(p_exp.shape[1]):\n"
    assert old in text
    wrong = text.replace(old, old + "            beside = z2[n, c + 1]\n", 1)
    assert any("is not proved to lie in its array" in line for line in found(wrong))


def test_a_buffer_that_lies_in_another_one_is_found():
    text = module("digits")
    alone, moved = "slot(a1=(N, 32))", "slot(z2_bar=(N, 10), p_max=(N,))"
    assert alone in text and moved in text
    wrong = text.replace(alone, "slot(a1=(N, 32), z2_bar=(N, 10))").replace(moved, "slot(p_max=(N, 10), p_max_2=(N,))")
    lines = found(wrong.replace("slot(p_max=(N, 10), p_max_2=(N,))", "slot(p_max=(N,), spare=(N,))"))
    assert any("share memory" in line for line in lines)
    assert any("a1 and z2_bar are in use at once and overlap" in line for line in lines)
