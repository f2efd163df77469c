"""Generated text as a product: clean for ruff, named from the spec, a formula over each kernel, small diffs."""

from __future__ import annotations

import ast
import difflib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from example_files import EXAMPLES
from generated import kernel_functions, module_text

from derivgen import optimizers, schedules
from derivgen.project.spec import load_target

SCHEDULES = [
    name
    for name, f in vars(schedules).items()
    if getattr(f, "__module__", "") == schedules.__name__ and f.__annotations__.get("return") == "Schedule"
]
MODULES = sorted(EXAMPLES.glob("*/*_kernels.py"))

NET = """
from sympy import Sum, cos, exp, log, sin, tanh

from derivgen import Model

model = Model("net")
N = model.batch("N")
D, H, K, C = model.sizes(D=8, H=7, K=6, C=5)
n, d, h, k, c = model.indices(n=N, d=D, h=H, k=K, c=C)
x = model.input("x", N, D)
y = model.labels("y", N, classes=C)
W1, b1 = model.parameter("W1", D, H, init="glorot_uniform"), model.parameter("b1", H)
W2, b2 = model.parameter("W2", H, K, init="glorot_uniform"), model.parameter("b2", K)
W3, b3 = model.parameter("W3", K, C, init="glorot_uniform"), model.parameter("b3", C)
a1 = model.let("a1", (n, h), tanh(Sum(x[n, d] * W1[d, h], d) + b1[h]))
a2 = model.let("a2", (n, k), sin(Sum(a1[n, h] * W2[h, k], h) + b2[k]))
z3 = model.let("z3", (n, c), Sum(a2[n, k] * W3[k, c], k) + b3[c])
p = model.let("p", (n, c), exp(z3[n, c]) / Sum(exp(z3[n, c]), c))
model.minimize(Sum(-log(p[n, y[n]]), n) / N)
model.predict(p)
"""

EDITS = {
    "sine to cosine": ("(n, k), sin(", "(n, k), cos("),
    "weight decay": ("n) / N)", "n) / N + 0.01 * Sum(W2[h, k] ** 2, h, k))"),
    "cubic term in the layer": ("+ b2[k]))", "+ b2[k] + b2[k] ** 3))"),
    "cubic term in the loss": ("n) / N)", "n) / N + 0.01 * Sum(b2[k] ** 3, k))"),
}


def text_of(folder: Path, spec: str, dtype: str = "float64") -> str:
    path = folder / "net.py"
    path.write_text(spec)
    return module_text(load_target(str(path)).model, dtype)


def assert_ruff_leaves_alone(*paths: Path) -> None:
    """Its default rules find nothing, and its formatter changes nothing but for the length of lines."""
    for command in (["check", "--isolated"], ["format", "--isolated", "--diff", "--line-length", "120"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *paths], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_leaves_the_examples_alone():
    assert_ruff_leaves_alone(*MODULES)
    for path in MODULES:
        assert not re.search("noqa|fmt:", path.read_text())


def test_no_line_of_a_module_is_too_long():
    """Docstrings included, which neither ruff's formatter nor its default rules look at."""
    long = [(path.name, line) for path in MODULES for line in path.read_text("utf-8").splitlines() if len(line) > 120]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_kernel_states_its_formula(path):
    kernels = kernel_functions(path.read_text())
    assert kernels
    for kernel in kernels:
        layer = kernel.name.rpartition("_")[0]
        written = [a.arg for a in kernel.args.args if a.arg.startswith(layer) or a.arg in kernel.name]
        written += [a.arg for a in kernel.args.args if a.arg.endswith("_bar")]
        document = ast.get_docstring(kernel)
        assert document and re.search(r" \+?=\s", document), kernel.name
        stores = {n.value.id for n in ast.walk(kernel) if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)}
        for tensor in stores - scratch_in(kernel):
            assert re.search(rf"^\s*{tensor}(\[| =| \+=)", document, re.M), (
                f"{kernel.name} does not say what {tensor} is"
            )
        assert written or stores, kernel.name


def scratch_in(kernel: ast.FunctionDef) -> set[str]:
    """The arrays that a kernel has to itself, in which formulas have no name."""
    calls = (n for n in kernel.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call))
    return {n.targets[0].id for n in calls if getattr(n.value.func, "id", "") == "scratch"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_names_come_from_the_spec(path):
    text = re.sub(r"^@elementary\n(.+\n|\n(?! *\n))+", "", path.read_text(), flags=re.M)  # these are not of the spec
    assert not re.search(r"\b_?(tmp|temp|var|dummy|t|v|xi)_?\d+\b", text, re.I)
    assert "Dummy" not in text


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_one_line_changes_few_lines_of_one_layer(tmp_path, edit):
    before = text_of(tmp_path, NET).splitlines()
    old, new = EDITS[edit]
    assert NET.count(old) == 1
    after = text_of(tmp_path, NET.replace(old, new)).splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changes = [op for op in matcher.get_opcodes() if op[0] != "equal"]
    below = [op for op in changes if enclosing(before, op[1]) != "header"]  # the header has costs, digests and formulas
    assert 2 <= sum(max(i2 - i1, j2 - j1) for _, i1, i2, j1, j2 in below) <= 14  # an argument may break a signature
    allowed = {"a2_forward", "a2_backward", "loss_forward", "loss_backward"}
    for _, i1, i2, j1, j2 in changes:
        for lines, start, stop in ((before, i1, i2), (after, j1, j2)):
            for position in range(start, stop):
                where = enclosing(lines, position)
                assert where in {"header", *allowed} or "loss_forward(" in lines[position], (where, lines[position])


def enclosing(lines: list[str], position: int) -> str:
    """The function that a line belongs to, or the header."""
    for line in reversed(lines[: position + 1]):
        if match := re.match(r"def (\w+)", line):
            return match[1]
    return "header"


def test_only_a_changed_layer_changes_when_one_is_put_between(tmp_path):
    """Names do not come from counters: what stands before and after a new layer keeps its kernels' formulas."""
    more = NET.replace("z3 = ", 'a9 = model.let("a9", (n, k), tanh(a2[n, k]))\nz3 = ').replace(
        "Sum(a2[n, k] * W3", "Sum(a9[n, k] * W3"
    )
    before = {f.name: ast.unparse(f) for f in kernel_functions(text_of(tmp_path, NET))}
    after = {f.name: ast.unparse(f) for f in kernel_functions(text_of(tmp_path, more))}
    same = {name for name in before if before[name] == after.get(name)}
    assert set(before) - same == {"z3_forward", "z3_backward"}
    assert set(after) - set(before) == {"a9_forward", "a9_backward"}


LONG = """
from derivgen import Model, layers, losses

model = Model("long")
N = model.batch("N")
x, mask = model.input("images", N, 2, 6, 6), model.input("mask", N, 5)
name = "first"
a = layers.conv2d(x, 5, 2, name=f"{name}_convolution", groups=1)
a = layers.max_pool2d(a, 3, name=f"{name}_maximum", stride=2, padding=1)
a = layers.conv_transpose2d(a, 4, 3, name=f"{name}_transposed", stride=2)
a = layers.group_norm(a, 2, name=f"{name}_normalization")
a = layers.flatten(layers.reshape(a, (4, 7, 7), name=f"{name}_again"), name=f"{name}_flat")
a = layers.reshape(layers.dense(a, 20, name=f"{name}_dense"), (5, 4), name=f"{name}_sequence")
a = layers.multi_head_attention(a, 2, name=f"{name}_attention", mask=mask, causal=True, rotary=True)
model.minimize(losses.mean_squared_error(a, model.input("target", N, 5, 4)))
"""


def test_ruff_leaves_long_names_alone(tmp_path):
    """Names of up to thirty letters, of constants too, and subscripts that are sums, at which a maximum was."""
    path = tmp_path / "long_kernels.py"
    path.write_text(text_of(tmp_path, LONG))
    assert_ruff_leaves_alone(path)


CONDITIONS = """
from sympy import And, Ne, Or, Piecewise, Sum, sin

from derivgen import Model

model = Model("conditions")
T = model.batch("T")
t, u = model.indices(t=T, u=T)
x, mask, w = model.input("x", T, T), model.input("mask", T, T), model.parameter("w", 3)
y = model.labels("y", T, classes=4, ignore=-1)
chained = And(t <= u, 2 * u <= t, u <= 1, u < y[t], w[1] > 1)
either = Or(And(u < t, u < y[t], mask[t, u] > 0, w[1] > 1), And(t < u, t < y[u], mask[u, t] > 0, x[u, t] > w[2]))
both = And(Or(And(Ne(t, 0), u < t, u < y[t], mask[t, u] > w[0]), And(t < u, mask[u, t] > w[1])), x[t, u] > w[2])
values = [(1 + k) * w[k] * x[t, u] ** k for k in range(3)]
conditions = chained, either, both
a, b, c = (
    model.let(name, (t, u), Piecewise((sin(value) / x[t, u], condition), (0, True)))
    for name, value, condition in zip("abc", values, conditions, strict=True)
)
terms = a[t, u] * b[u, t] + c[t, u]
model.minimize(Sum(Piecewise((terms, conditions[1]), (terms**2, conditions[2]), (0, True)), t, u))
"""


LONG_TABLES = """
from sympy import Eq, Integer, Piecewise, Sum, cos
from derivgen import Model

model = Model("tables")
t, i = model.indices(t=7, i=8)
terms = [cos(t / Integer(1000 + k) ** (i / 8)) for k in range(6)]
formulas = {
    "chain": sum(terms) + t**2,
    "call": cos(sum(terms)),
    "power": (9 + sum(terms)) ** 3,
    "quotient": sum(terms[:3]) / (4 + sum(terms[3:])),
    "branches": Piecewise((sum(terms), Eq(i % 3, 0)), (cos(t), True)),
}
tables = [model.constant(name, (t, i), formula) for name, formula in formulas.items()]
x = model.parameter("x", 7, 8, init="normal")
model.minimize(Sum(sum(table[t, i] * x[t, i] ** k for k, table in enumerate(tables)), t, i))
"""


def test_ruff_leaves_long_tables_alone(tmp_path):
    path = tmp_path / "tables_kernels.py"
    path.write_text(text_of(tmp_path, LONG_TABLES, "float32"))
    assert_ruff_leaves_alone(path)
    text = path.read_text()
    assert text.count("np.fromfunction(") == 5 and "_TEXT" not in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_ruff_leaves_long_conditions_alone(tmp_path):
    """Comparisons that a linter might chain, and what stands under alternatives of several conditions."""
    path = tmp_path / "conditions_kernels.py"
    path.write_text(text_of(tmp_path, CONDITIONS))
    assert_ruff_leaves_alone(path)


RULES = [
    *(f"optimizers.{name}()" for name in optimizers.BY_NAME),
    "optimizers.rmsprop(momentum=0.9, centered=True)",
    *(f"optimizers.adam(schedules.{name}())" for name in SCHEDULES),
    "optimizers.adam(schedules.warm_up(schedules.one_cycle()))",
    "optimizers.clip_value(optimizers.clip_norm(optimizers.clip_global_norm(optimizers.l2_decay(optimizers.nadam()))))",
    "optimizers.clip_norm(optimizers.adamw()), {'b': {'weight_decay': 0}, 'c': {'learning_rate': optimizers.t / 9}}",
    "optimizers.clip_global_norm(optimizers.nadam()), {'b': optimizers.frozen}",
    "optimizers.rprop(step_max=float('inf')), {'b': {'step_max': oo}}",
    # The shared slot r and the name s have earlier values that are still read; t is not, but for r.
    "optimizers.rule('own', [(s, r * eta), (q, r * q), (r, r / t), (s, s * r), (theta, theta - s * g - q)], {q: 0, r: "
    "1}, learning_rate=0.1)",
]


def test_ruff_leaves_update_rules_alone(tmp_path):
    """All of them; schedules and clipping make lines too long for one of the loop."""
    paths = []
    for number, rule in enumerate(RULES):
        paths.append(tmp_path / f"rule_{number}_kernels.py")
        spec = f"""
from derivgen import Model, optimizers, schedules

g, t, theta, eta = optimizers.g, optimizers.t, optimizers.theta, optimizers.hyperparameter("learning_rate")
q, r, s = symbols("q r s")
model = Model("ruled")
a, b, c = (model.parameter(name, 3) for name in "abc")
i, j, k = model.local_indices(3, 3, 3)
model.minimize(Sum(a[i] ** 2, i) + Sum(b[j] ** 2, j) + Sum(c[k] ** 2, k))
model.update({rule})
"""
        paths[-1].write_text(text_of(tmp_path, "from sympy import Sum, oo, symbols\n" + spec))
    assert_ruff_leaves_alone(*paths)
    assert max(len(line) for path in paths for line in path.read_text("utf-8").splitlines()) <= 120
