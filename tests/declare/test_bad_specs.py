"""Specs that are refused, each at the user's line with what was found and what to do; and their legal neighbours."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sympy as sp
from generated import check_module, execute, module_text
from refused import MARK, refuse, run
from sampled import some

from derivgen import optimizers
from derivgen.declare.model import Model
from derivgen.pipeline import declared_program, generate_body
from derivgen.project.gradcheck import random_values
from derivgen.project.spec import load_target

PREAMBLE = """\
import numpy as np
import sympy as sp
from sympy import And, Eq, Max, Ne, Not, Or, Piecewise, Sum, cos, exp, log, sqrt, tanh
from derivgen import MaxOver, Model, layers, losses, optimizers, stop_gradient

model = Model("bad")
N, M = model.batch("N"), model.batch("M")
D, H, C, T = model.sizes(D=4, H=3, C=3, T=5)
n, m, d, h, c, t, u = model.indices(n=N, m=M, d=D, h=H, c=C, t=T, u=T)
x, y = model.input("x", N, D), model.labels("y", N, classes=C)
s, r = model.input("s", N, T), model.input("r", M)
W, b, k = model.parameter("W", D, H), model.parameter("b", H, init="ones"), model.parameter("k")
"""
ENDING = "model.minimize(Sum((Sum(x[n, d] * W[d, h], d) + b[h] * k) ** 2, n, h) / N)\n"


def whole_spec(body: str) -> str:
    return PREAMBLE + body.rstrip("\n") + "\n" + ("" if "minimize" in body else ENDING)


def accept(folder: Path, text: str) -> Model:
    path = folder / "good.py"
    path.write_text(text, encoding="utf-8")
    return load_target(str(path)).model


# ---- one mistake, one message

INDICES = {
    "unknown index": ('model.let("z", (n, h), x[n, d] * W[d, h])', ["z[n,h]", "index d", "Sum(..., d)", "add d to z"]),
    "index left of the sum": ('model.let("z", (n,), Sum(x[n, d], d) * W[d, 0])', ["index d", "Sum(..., d)"]),
    "index in a subscript only": ('model.let("z", (n,), b[y[n]] + b[h])', ["index h"]),
    "index as a number": ('model.let("z", (n,), x[n, 0] * d)', ["index d"]),
    "index in a condition": ('model.let("z", (n,), Piecewise((x[n, 0], d > 1), (0, True)))', ["index d"]),
    "symbol summed without a range": (
        'model.let("z", (n,), Sum(x[n, 0], sp.Symbol("q")))',
        ["lower and upper bounds"],
    ),
    "index without a range": ('model.let("z", (sp.Idx("q"),), b[0])', ["q", "range"]),
    "longer than the axis": ('model.let("z", (d,), b[d])', ["b[d]", "axis 0 of b", "3 elements", "d runs over 0 .. 3"]),
    "run-time over a fixed axis": ('model.let("z", (n,), b[n])', ["b[n]", "3 elements", "n runs over 0 .. N - 1"]),
    "fixed over a run-time axis": ('model.let("z", (d,), x[d, d])', ["x[d,d]", "axis 0 of x", "N elements"]),
    "one run-time size over another": ('model.let("z", (n,), r[n])', ["r[n]", "M elements", "n runs over 0 .. N - 1"]),
    "more classes than rows": ('v = model.parameter("v", 2)\nmodel.let("z", (n,), v[y[n]])', ["v[y[n]]", "2 elements"]),
    "constant index at the end": ('model.let("z", (n,), x[n, D])', ["x[n,4]", "4 elements"]),
    "constant index below 0": ('model.let("z", (n,), x[n, -1])', ["x[n,-1]"]),
    "second row of a batch": ('model.let("z", (d,), x[1, d])', ["x[1,d]", "N elements"]),
    "integer constant past the axis": (
        'j = model.constant("j", [0, 3])\ni = model.indices(i=2)\nmodel.let("z", (i,), b[j[i]])',
        ["b[j[i]]", "3 elements"],
    ),
    "negative integer constant": (
        'j = model.constant("j", [0, -1])\ni = model.indices(i=2)\nmodel.let("z", (i,), b[j[i]])',
        ["b[j[i]]"],
    ),
    "longer range by an affine size": (
        'i = model.indices(i=T + 1)\nmodel.let("z", (n, i), s[n, i])',
        ["s[n,i]", "5 elements", "0 .. 5"],
    ),
}
GUARDS = {
    "shifted up": ('model.let("z", (n, d), x[n, d + 1])', ["x[n,d + 1]", "axis 1 of x", "Piecewise"]),
    "shifted down": ('model.let("z", (n, t), s[n, t - 1])', ["s[n,t - 1]", "guard"]),
    "doubled": ('model.let("z", (n, d), x[n, 2 * d])', ["x[n,2·d]", "4 elements"]),
    "batch shifted": ('model.let("z", (n,), x[n + 1, 0])', ["x[n + 1,0]", "N elements"]),
    "guard too weak": ('model.let("z", (n, d), Piecewise((x[n, d + 1], d < D), (0, True)))', ["x[n,d + 1]"]),
    "guard of another value": ('model.let("z", (n, t), Piecewise((s[n, t - 1], Ne(t, 1)), (0, True)))', ["s[n,t - 1]"]),
    "guard on data": ('model.let("z", (n, d), Piecewise((x[n, d + 1], x[n, d] > 0), (0, True)))', ["x[n,d + 1]"]),
    "wrong branch": ('model.let("z", (n, d), Piecewise((0, d < D - 1), (x[n, d + 1], True)))', ["x[n,d + 1]"]),
    "one of two alternatives": (
        'model.let("z", (n, t), Piecewise((s[n, t - 1], Or(t > 0, x[n, 0] > 0)), (0, True)))',
        ["s[n,t - 1]"],
    ),
    "read in the condition itself": (
        'model.let("z", (n, t), Piecewise((1, s[n, t - 1] > 0), (0, True)))',
        ["s[n,t - 1]"],
    ),
    "guard beside the read": (
        'model.let("z", (n, t), s[n, t - 1] * Piecewise((1, t > 0), (0, True)))',
        ["s[n,t - 1]"],
    ),
    "limits too wide": ('model.let("z", (n, t), Sum(s[n, u + 1], (u, 0, t)))', ["s[n,u + 1]"]),
    "limits below 0": ('model.let("z", (n,), Sum(s[n, u - 2], (u, 1, T - 1)))', ["s[n,u - 2]"]),
    "sum of labels": ('model.let("z", (n,), b[y[n] + 1])', ["b[", "3 elements"]),
    "ignored label without a guard": (
        'e = model.labels("e", N, classes=C, ignore=-100)\nmodel.let("z", (n,), x[n, 0] + Sum(b[e[n] + 1], h))',
        ["b["],
    ),
    "not affine": ('model.let("z", (n, h), b[h * h])', ["b[h**2]", "is 4 at h = 2", "0 to 2"]),
    "quotient": ('model.let("z", (n, d), b[d / 2])', ["integer combination"]),
    "data as a subscript": ('model.let("z", (n,), b[x[n, 0]])', ["integer combination"]),
    "parameter as a subscript": ('model.let("z", (n,), b[k])', ["integer combination"]),
}
FORMULAS = {
    "undeclared symbol": ('model.let("z", (n,), x[n, 0] * sp.Symbol("alpha"))', ["alpha is not declared", "parameter"]),
    "undeclared tensor": ('model.let("z", (n,), sp.IndexedBase("Q")[n])', ["Q is not declared", "model.input"]),
    "tensor of another model": (
        'other = Model("other")\nv = other.input("v", other.batch("N"))\nmodel.let("z", (n,), v[n])',
        ["v is not declared"],
    ),
    "tensor of the same name of another model": (
        'other = Model("other")\nv = other.parameter("b", 3)\nmodel.let("z", (h,), v[h])',
        ["b", "other"],
    ),
    "size of another model": (
        'other = Model("other")\nK = other.sizes(K=3)\nv = model.parameter("v", K)',
        ["v", "K"],
    ),
    "gamma": ('model.let("z", (n,), sp.gamma(x[n, 0]))', ["gamma", "table of functions"]),
    "Heaviside": ('model.let("z", (n,), sp.Heaviside(x[n, 0]))', ["Heaviside", "table of functions"]),
    "Derivative": (
        'a = sp.Symbol("a")\nmodel.let("z", (n,), sp.Derivative(sp.sin(a), a, evaluate=False))',
        ["Derivative", "table of functions"],
    ),
    "Integral": (
        'a = sp.Symbol("a")\nmodel.let("z", (n,), sp.Integral(sp.sin(a) * x[n, 0], (a, 0, 1)))',
        ["Integral", "table of functions"],
    ),
    "Product": ('model.let("z", (n,), sp.Product(x[n, d], (d, 0, D - 1)))', ["Product", "table of functions"]),
    "applied undefined function": ('model.let("z", (n,), sp.Function("f")(x[n, 0]))', ["f", "table of functions"]),
    "Piecewise without a default": (
        'model.let("z", (n,), Piecewise((x[n, 0], x[n, 0] > 0)))',
        ["Piecewise", "default", "True"],
    ),
    "Piecewise without a default inside": (
        'model.let("z", (n,), 1 + Sum(exp(Piecewise((x[n, d], x[n, d] > 0))), d))',
        ["Piecewise", "default", "True"],
    ),
    "imaginary": ('model.let("z", (n,), x[n, 0] * sp.I)', ["real number"]),
    "root of a negative": ('model.let("z", (n,), x[n, 0] + sqrt(-2))', ["real number"]),
    "complex number": ('model.let("z", (n,), x[n, 0] + 2j)', ["real"]),
    "nan": ('model.let("z", (n,), x[n, 0] + sp.nan)', ["nan", "real number"]),
    "float nan": ('model.let("z", (n,), float("nan"))', ["nan", "real number"]),
    "zoo": ('model.let("z", (n,), x[n, 0] + sp.zoo)', ["zoo", "real number"]),
    "0/0 in the formula": ('model.let("z", (n,), x[n, 0] + sp.Integer(0) / sp.Integer(0))', ["nan", "0/0"]),
    "list": ('model.let("z", (n,), [x[n, 0]])', ["scalar", "list"]),
    "matrix": ('model.let("z", (n,), sp.Matrix([x[n, 0]]))', ["scalar", "Matrix"]),
    "string": ('model.let("z", (n,), "x[n, 0]")', ["scalar", "str"]),
    "array": ('model.let("z", (n,), np.ones(3))', ["scalar", "ndarray"]),
    "nothing": ('model.let("z", (n,), None)', ["scalar", "None"]),
    "condition": ('model.let("z", (n,), x[n, 0] > 0)', ["scalar", "found"]),
    "bool": ('model.let("z", (n,), True)', ["scalar", "bool"]),
    "tensor without subscripts": ('model.let("z", (n,), tanh(W))', ["W is a tensor", "W[d, h]"]),
    "too few subscripts": ('model.let("z", (n, d), W[d])', ["W[d]", "1 subscript", "2"]),
    "too many subscripts": ('model.let("z", (n, h), b[h, h])', ["b[h, h]", "2 subscripts", "1"]),
    "subscripts of a scalar": ('model.let("z", (n,), k[n])', ["k is a single number: write k without subscripts"]),
    "slice": ('model.let("z", (n,), x[n, 0:2])', ["x", "subscript"]),
    "None as a subscript": ('model.let("z", (n,), x[n, None])', ["x", "subscript"]),
    "string as a subscript": ('model.let("z", (n,), x[n, "d"])', ["x", "subscript"]),
    "Ellipsis as a subscript": ('model.let("z", (n,), x[n, ...])', ["x", "subscript"]),
    "float as a subscript": ('model.let("z", (n,), x[n, 1.0])', ["x[n, 1.0]", "integer"]),
    "limits that are not affine": ('model.let("z", (t,), Sum(b[0], (u, 0, t * t)))', ["limit", "t**2"]),
    "limits by data": ('model.let("z", (n,), Sum(b[0], (u, 0, x[n, 0])))', ["limit", "x[n, 0]"]),
}
DECLARATIONS = {
    "tensor twice": ('model.parameter("W", H)', ["W", "used twice", "parameter"]),
    "input and let": ('model.let("x", (n,), x[n, 0])', ["x", "used twice", "input"]),
    "tensor and index": ('model.parameter("n", H)', ["n", "used twice", "index"]),
    "size and tensor": ('model.input("D", N)', ["D", "used twice", "size"]),
    "index and size": ('model.batch("n")', ["n", "used twice", "index"]),
    "size twice": ("model.sizes(D=4)", ["D", "used twice", "size"]),
    "size of 0": ("Z = model.sizes(Z=0)", ["Z", "at least 1", "found 0"]),
    "size below 0": ("Z = model.sizes(Z=-3)", ["Z", "at least 1", "found -3"]),
    "size of a float": ("Z = model.sizes(Z=2.0)", ["Z", "integer", "found 2.0"]),
    "size of a bool": ("Z = model.sizes(Z=True)", ["Z", "integer", "found True"]),
    "size of a string": ('Z = model.sizes(Z="3")', ["Z", "integer", "'3'"]),
    "axis of 0": ('model.parameter("v", 0)', ["axis 0 of v", "at least 1", "found 0"]),
    "axis below 0": ('model.input("v", N, -2)', ["axis 1 of v", "at least 1", "found -2"]),
    "axis of a float": ('model.input("v", N, 2.0)', ["axis 1 of v", "found 2.0"]),
    "axis of a bool": ('model.input("v", N, True)', ["axis 1 of v", "found True"]),
    "axis of 0 by an affine size": ('model.parameter("v", H - 3)', ["v", "at least 1"]),
    "axis of None": ('model.input("v", N, None)', ["axis 1 of v", "None"]),
    "axis that is an index": ('model.input("v", n)', ["v", "n"]),
    "index over a float": ("model.indices(i=2.5)", ["index i", "integer size", "2.5"]),
    "index over 0": ("i = model.indices(i=0)", ["index i", "at least 1", "0"]),
    "index over a bool": ("i = model.indices(i=True)", ["index i", "True"]),
    "undeclared size of an input": (
        'model.input("v", sp.Symbol("K", integer=True, positive=True))',
        ["K is no declared size", "model.sizes"],
    ),
    "undeclared size": ('model.parameter("v", sp.Symbol("K", integer=True, positive=True))', ["v", "K"]),
    "parameter of run-time size": ('model.parameter("v", N)', ["parameter v", "fixed at generation", "N"]),
    "no classes": ('model.labels("e", N, classes=0)', ["labels e", "classes", "at least 1", "found 0"]),
    "classes of a float": ('model.labels("e", N, classes=3.0)', ["labels e", "classes", "found 3.0"]),
    "classes at run time": (
        'model.labels("e", N, classes=M)',
        ["labels e", "classes", "known at generation", "largest number", "found M"],
    ),
    "classes past int64": ('model.labels("e", N, classes=2**70)', ["labels e", "classes"]),
    "ignore of a float": ('model.labels("e", N, classes=3, ignore=-1.0)', ["labels e", "ignore", "-1.0"]),
    "ignore past int64": ('model.labels("e", N, classes=3, ignore=-(2**70))', ["labels e", "ignore"]),
    "init of a wrong shape": ('model.parameter("v", H, init=np.ones(4))', ["v", "init", "(4,)", "expected (3,)"]),
    "init of a wrong rank": ('model.parameter("v", H, init=1.0)', ["v", "init", "()", "expected (3,)"]),
    "init of a wrong name": ('model.parameter("v", H, init="glorot")', ["v", "'glorot'", "glorot_uniform", "array"]),
    "init of strings": ('model.parameter("v", H, init=["a", "b", "c"])', ["v", "init", "numbers"]),
    "init that is ragged": ('model.parameter("v", H, init=[[1.0], [1.0, 2.0]])', ["inhomogeneous"]),
    "init of complex numbers": ('model.parameter("v", H, init=[1j, 0, 0])', ["v", "init", "numbers"]),
    "constant of strings": ('model.constant("v", ["a"])', ["constant v", "numbers"]),
    "constant of complex numbers": ('model.constant("v", [1j])', ["constant v", "complex128"]),
    "constant of bools": ('model.constant("v", [True])', ["constant v", "bool"]),
    "constant of objects": ('model.constant("v", [None])', ["constant v", "object"]),
    "letters of bytes": ('model.local_indices(D, H, letters=b"dh")', ["letters", "string", "b'dh'"]),
    "letters of nothing": ("model.local_indices(D, H, letters=None)", ["letters", "string", "None"]),
    "masked constant": (
        'model.constant("v", np.ma.array([1.0, 2.0], mask=[False, True]))',
        ["constant v", "masked", "filled"],
    ),
    "masked init": ('model.parameter("v", H, init=np.ma.array([1.0, 2.0, 3.0]))', ["parameter v", "masked", "filled"]),
    "empty constant": ('model.constant("v", [])', ["constant v", "empty"]),
    "constant past int64": ('model.constant("v", np.array([2**63], np.uint64))', ["constant v"]),
    "let with an index twice": ('model.let("z", (h, h), b[h])', ["let z", "twice"]),
    "let over a symbol": ('model.let("z", (n, sp.Symbol("q")), x[n, 0])', ["let z", "q", "model.indices"]),
    "let over a lone symbol": ('model.let("z", sp.Symbol("q"), x[0, 0])', ["q"]),
    "let over a number": ('model.let("z", (n, 3), x[n, 0])', ["let z", "3", "model.indices"]),
    "let over a size": ('model.let("z", (n, D), x[n, 0])', ["let z", "D", "model.indices"]),
    "let over a string": ('model.let("z", "n", x[0, 0])', ["let z", "n", "model.indices"]),
    "part of no let": ('model.let("z", h, b[h], layer="w")', ["let z", "expected let w", "found no other let"]),
    "part of an earlier let": (
        'v = model.let("v", h, b[h])\nmodel.let("z", h, v[h], layer="v")',
        ["let z", "expected let v", "found no other let"],
    ),
    "predict of an expression": ("model.predict(b[h] ** 2)", ["predict", "model.let"]),
    "predict of a parameter": ("model.predict(W)", ["predict", "model.let", "W"]),
    "predict of a name": ('model.predict("W")', ["predict", "model.let", "W"]),
    "update by an unknown name": ('model.update("adm")', ["no update rule is called adm", "did you mean adam?"]),
    "update by a number": ("model.update(3)", ["update", "3", "optimizers.adam()"]),
    "update by a class": ("model.update(optimizers.adam)", ["update", "optimizers.adam()"]),
    "objective over an index": ("model.minimize(x[n, 0] ** 2)", ["index n", "Sum(..., n)"]),
    "objective that is a tensor": ("model.minimize(W)", ["the objective", "W is a tensor"]),
    "objective that is a let with axes": (
        'z = model.let("z", (n,), x[n, 0] * k)\nmodel.minimize(z)',
        ["the objective", "z is a tensor"],
    ),
    "objective that is a list": ("model.minimize([k])", ["scalar", "list"]),
    "objective that is not finite": ("model.minimize(k * sp.nan)", ["the objective", "nan"]),
    "two objectives": ("model.minimize(k)\nmodel.minimize(k**2)", ["one objective", "add"]),
    "dtype": ('other = Model("other", dtype="float16")', ["float32", "float64", "'float16'"]),
}


@pytest.mark.parametrize(
    ("body", "words"),
    [pytest.param(*row, id=name) for table in (INDICES, GUARDS, FORMULAS, DECLARATIONS) for name, row in table.items()],
)
def test_a_mistake_is_refused_at_its_line(tmp_path: Path, body: str, words: list[str]) -> None:
    """The mistake is on the last line of each body."""
    text = PREAMBLE + body + f"  {MARK}\n" + ("" if "minimize" in body else ENDING)
    if 'Model("other"' in body:  # a second model of a spec needs no module here
        text += "del other\n" if "dtype" not in body else ""
    errors = refuse(tmp_path, text)
    for word in words:
        assert word in errors[0], f"expected {word!r} in: {errors[0]}"


def test_a_spec_without_an_objective_is_refused_at_its_model(tmp_path: Path) -> None:
    errors = refuse(tmp_path, PREAMBLE.replace('Model("bad")', f'Model("bad")  {MARK}'))
    assert "no objective" in errors[0] and "model.minimize" in errors[0]


def test_a_size_that_no_input_tells_is_refused(tmp_path: Path) -> None:
    text = PREAMBLE.replace('Model("bad")', f'Model("bad")  {MARK}')
    errors = refuse(tmp_path, text + 'L = model.batch("L")\nmodel.minimize(k * L)\n')
    assert "size L" in errors[0] and "no input" in errors[0]


def test_an_input_over_an_affine_run_time_size_is_refused(tmp_path: Path) -> None:
    """An axis of N + 1 rows beside one of N: nothing could tell N from it, or check it."""
    body = f'v = model.input("v", N + 1)  {MARK}\nmodel.minimize(Sum(k * v[n + 1] * x[n, 0], n))\n'
    errors = refuse(tmp_path, PREAMBLE + body)
    assert "N + 1" in errors[0] and "declared size" in errors[0]


def test_several_problems_are_shown_together(tmp_path: Path) -> None:
    text = whole_spec(
        f"""
Z = model.sizes(Z=0)  {MARK}
model.parameter("W", H)  {MARK}
model.let("p", (n, h), x[n, d])  {MARK}
model.let("q", (n, d), x[n, d + 1])  {MARK}
model.let("o", (n,), sp.gamma(x[n, 0]))  {MARK}
model.update("adm")  {MARK}
model.minimize(x[n, 0])  {MARK}
"""
    )
    assert len(refuse(tmp_path, text)) == 7


def test_a_spec_that_raises_is_shown_with_what_was_refused_before(tmp_path: Path) -> None:
    errors = refuse(tmp_path, whole_spec(f"Z = model.sizes(Z=0)  {MARK}\nW[0, 0] + undefined  {MARK}\n"))
    assert "at least 1" in errors[0]
    assert "undefined is not defined here" in errors[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 / 0", ["ZeroDivisionError"]),
        ("raise SystemExit(0)", ["SystemExit"]),
        ("model.parameter()", ["Model.parameter lacks its argument name"]),
        ('model.labels("e", N)', ["labels lacks its argument classes"]),
        ("x.nothing", ["a tensor has no nothing"]),
        ("model.let('z', (n,), k) = 3", ["not valid Python"]),
        ("import no_such_module_at_all", ["ModuleNotFoundError", "no_such_module_at_all"]),
        ("Sum(x[n, d], 3)", ["found 3"]),
    ],
)
def test_a_spec_that_raises_is_refused_at_its_line(tmp_path: Path, line: str, words: list[str]) -> None:
    (error,) = refuse(tmp_path, PREAMBLE + f"{line}  {MARK}\n" + ENDING)
    for word in words:
        assert word in error


@pytest.mark.parametrize("text", ["", "import sympy\n", "from derivgen import Model\nmodels = [Model('a')]\n"])
def test_a_spec_without_a_model_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.py"
    path.write_text(text)
    result = run("generate", path)
    assert result.exit_code == 2
    assert "defines no model" in result.output and "Model(" in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["empty.py"]


def test_a_parameter_beside_the_objective_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text(PREAMBLE + 'model.parameter("idle", H)\n' + ENDING)
    result = run("generate", path)
    assert result.exit_code == 0, result.output
    line = PREAMBLE.count("\n") + 1
    assert f"warning: lazy.py:{line}: the objective does not depend on parameter idle" in result.stderr
    assert (tmp_path / "lazy_kernels.py").exists()


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text(PREAMBLE + ENDING)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.py").mkdir()
    for output in ("missing/out.py", "file/out.py", "folder.py", "out.txt", "good.py", f"{'a' * 300}.py", "/dev/null"):
        result = run("generate", path, "-o", tmp_path / output)
        assert result.exit_code == 2, output
        assert "error: " in result.stderr and Path(output).name in result.stderr
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.py", "good.py"]
    assert path.read_text() == PREAMBLE + ENDING


def test_a_full_disk_leaves_the_old_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "good.py"
    path.write_text(PREAMBLE + ENDING)
    assert run("generate", path).exit_code == 0
    before = (tmp_path / "good_kernels.py").read_bytes()
    path.write_text(PREAMBLE + ENDING.replace("** 2", "** 4"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("generate", path)
    assert result.exit_code == 2 and "No space left on device" in result.stderr
    assert (tmp_path / "good_kernels.py").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.py", "good_kernels.py"]


# ---- guards that suffice

ACCEPTED = {
    "Ne": "Sum(Piecewise((s[n, t - 1], Ne(t, 0)), (0, True)) * k, n, t)",
    "Ne at the end": "Sum(Piecewise((s[n, t + 1], Ne(t, T - 1)), (0, True)) * k, n, t)",
    "And": "Sum(Piecewise((s[n, t + 1] * s[n, t - 1], And(t > 0, t < T - 1)), (0, True)) * k, n, t)",
    "And with data": "Sum(Piecewise((s[n, t - 1], And(x[n, 0] > 0, t > 0)), (0, True)) * k, n, t)",
    "Or": "Sum(Piecewise((s[n, t - 2], Or(Eq(t, 2), t > 3)), (0, True)) * k, n, t)",
    "Not": "Sum(Piecewise((s[n, t - 1], Not(Eq(t, 0))), (0, True)) * k, n, t)",
    "nested": (
        "Sum(Piecewise((Piecewise((s[n, t + 1] - s[n, t - 1], t < T - 1), (k, True)), t > 0), (0, True)) * k, n, t)"
    ),
    "negated branch": "Sum(Piecewise((k, t < 1), (s[n, t - 1], True)) * k, n, t)",
    "three branches": "Sum(Piecewise((k, t < 1), (s[n, t - 1], t < 2), (s[n, t - 2], True)) * k, n, t)",
    "even steps": "Sum(Piecewise((x[n, t - 1], And(t >= 1, t <= 4)), (k, True)) * k, n, t)",
    "equality": "Sum(Piecewise((b[t - 2], Eq(t, 4)), (0, True)), t)",
    "sum in a branch": "Sum(Piecewise((Sum(s[n, t - 1] * W[d, 0], d), t > 0), (0, True)) * k, n, t)",
    "maximum in a branch": "Sum(Piecewise((MaxOver(s[n, t - 1] * W[d, 0], d), t > 0), (0, True)) * k, n, t)",
    "guard in a sum": "Sum(Sum(Piecewise((s[n, t - u], u <= t), (0, True)), u) * k, n, t)",
    "dependent limits": "Sum(Sum(s[n, t - u] * k, (u, 0, t)), n, t)",
    "dependent lower limit": "Sum(Sum(s[n, u - t] * k, (u, t, T - 1)), n, t)",
    "limits below the end": "Sum(Sum(s[n, u + 1] * k, (u, 0, T - 2)), n)",
    "limits above 0": "Sum(Sum(s[n, u - 1] * k, (u, 1, T - 1)), n)",
    "own symbol with limits": (
        'Sum(Sum(s[n, sp.Symbol("q", integer=True)] * k, (sp.Symbol("q", integer=True), 0, 3)), n)'
    ),
    "reversed": "Sum(x[n, D - 1 - d] * W[d, 0], n, d)",
    "last element": "Sum(s[n, T - 1] * k, n)",
    "first rows": "Sum(x[0, d] * W[d, 0], d)",
    "last row": "Sum(x[N - 1, d] * W[d, 0], d)",
    "shorter range": "Sum(s[n, h] * b[h], n, h)",
    "two sizes of one value": "Sum(x[n, d] * b[c], n, d, c)",
    "two indices over one axis": "Sum(s[n, t] * s[n, u] * k, n, t, u)",
    "index as a number": "Sum(x[n, 0] * n * k, n)",
    "label": "Sum(b[y[n]] * x[n, 0], n)",
    "label in a guard": "Sum(Piecewise((b[y[n] + 1], y[n] < 2), (0, True)), n)",
    "rows by a guard": "Sum(Piecewise((x[n + 1, 0], n < N - 1), (0, True)) * k, n)",
    "KroneckerDelta": "Sum(sp.KroneckerDelta(d, 1) * x[n, d] * k, n, d)",
    "run-time size as a number": "Sum(x[n, 0] * k, n) / N**2 + r[0] * M",
}


@pytest.mark.parametrize("objective", [pytest.param(text, id=name) for name, text in ACCEPTED.items()])
def test_a_read_inside_its_tensor_is_accepted(tmp_path: Path, objective: str) -> None:
    """And what is generated never reads outside, and computes the formula."""
    model = accept(tmp_path, PREAMBLE + f"model.minimize({objective} + k**2)\n")
    declared = declared_program(model)
    check_module(execute(module_text(model)), declared, random_values(declared, "float64", 4, 1))


def test_a_shorter_range_by_an_affine_size_is_accepted(tmp_path: Path) -> None:
    body = "i = model.indices(i=T - 1)\nmodel.minimize(Sum((s[n, i + 1] - k * s[n, i]) ** 2, n, i))\n"
    model = accept(tmp_path, PREAMBLE + body)
    declared = declared_program(model)
    check_module(execute(module_text(model)), declared, random_values(declared, "float64", 3, 2))


def test_a_label_that_is_ignored_is_never_an_index(tmp_path: Path) -> None:
    """Inside the range of classes too."""
    for ignore in (-100, 1):
        body = f'e = model.labels("e", N, classes=C, ignore={ignore})\nmodel.minimize(Sum(b[e[n]] ** 2 * x[n, 0], n))\n'
        model = accept(tmp_path, PREAMBLE + body)
        declared = declared_program(model)
        values = random_values(declared, "float64", 4, 1)
        values["e"] = np.array([0, ignore, 2, ignore])
        check_module(execute(module_text(model)), declared, values)


# ---- names

BAD_NAMES = [
    'a"b',
    "a'b",
    "a\nb",
    "a\\",
    "a b",
    "a.b",
    "a-b",
    "3a",
    "",
    " ",
    "a;b",
    "a#",
    "a()",
    '"""',
    "{a}",
    "{{ a }}",
    "a\u2028b",
    "a\u0000b",
    "·a",
    "\u200bx",
    "class",
    "lambda",
    "None",
    "True",
    "if",
    "np",
    "math",
    "njit",
    "real",
    "kernel",
    "range",
    "__class__",
    "__x",
    "__name__",
    3,
    None,
    1.5,
    b"x",
    ("x",),
]
DECLARING = {
    "batch": "model.batch({name!r})",
    "input": "model.input({name!r}, N)",
    "labels": "model.labels({name!r}, N, classes=2)",
    "parameter": "model.parameter({name!r}, H)",
    "constant": "model.constant({name!r}, [1.0])",
    "let": "model.let({name!r}, (h,), b[h])",
}
BY_KEYWORD = {"size": "model.sizes(**{{{name!r}: 2}})", "index": "model.indices(**{{{name!r}: D}})"}


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_that_no_text_can_hold_is_refused(tmp_path: Path, name: object) -> None:
    """In every role, all at once; each line names what is wrong with it."""
    ways = {**DECLARING, **(BY_KEYWORD if isinstance(name, str) else {})}
    lines = [f"{way.format(name=name)}  {MARK}" for way in ways.values()]
    errors = refuse(tmp_path, whole_spec("\n".join(lines)))
    assert len(errors) == len(lines)
    for error in errors:
        assert (repr(name) if isinstance(name, str) else type(name).__name__) in error
        assert "must be a string" in error or "choose another name" in error or "letters, digits and _" in error


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_that_no_file_can_hold_is_refused(tmp_path: Path, name: object) -> None:
    """A model's."""
    (error,) = refuse(tmp_path, PREAMBLE.replace('Model("bad")', f"Model({name!r})  {MARK}") + ENDING)
    assert (repr(name) if isinstance(name, str) else type(name).__name__) in error


@pytest.mark.parametrize("name", ["𝐱", "ﬁ", "ª", "\u212b", "ſ"], ids=ascii)
def test_a_name_that_python_reads_as_another_is_refused(tmp_path: Path, name: str) -> None:
    """Python normalizes identifiers (NFKC), so that two names would be one in the generated text."""
    assert name.isidentifier()
    (error,) = refuse(tmp_path, whole_spec(f'model.input("{name}", N)  {MARK}'))
    assert name in error


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "loss_and_gradient",
        "predict",
        "train_epoch",
        "descend",
        "update",
        "views",
        "workspace",
        "optimizer_state",
        "initial_parameters",
        "PARAMETERS",
        "INPUTS",
        "CONTRACT",
        "parameters",
        "gradient",
        "state",
        "order",
        "batch_size",
        "drop_last",
        "steps",
    ],
)
@pytest.mark.parametrize("way", ["input", "labels"])
def test_an_input_named_as_what_the_module_has_is_refused(tmp_path: Path, way: str, name: str) -> None:
    (error,) = refuse(tmp_path, whole_spec(f"{DECLARING[way].format(name=name)}  {MARK}"))
    assert repr(name) in error and "rename" in error


@pytest.mark.parametrize("name", ["learning_rate", "beta_1"])
def test_an_input_named_as_a_hyperparameter_of_a_later_rule_is_refused(tmp_path: Path, name: str) -> None:
    body = f'v = model.input("{name}", N)  {MARK}\nmodel.update(optimizers.adam())\n'
    (error,) = refuse(tmp_path, whole_spec(body))
    assert name in error and "hyperparameter" in error and "another name" in error


@pytest.mark.parametrize("name", ["mean", "rows", "objective", "bar", "into", "alpha_beta", "memory", "stop", "split"])
@pytest.mark.parametrize("way", ["hyperparameter", "slot"])
def test_a_rule_takes_no_name_that_the_module_uses(way: str, name: str) -> None:
    """`mean` as a hyperparameter was overwritten by the epoch's own, and training went wrong without a word."""
    own = sp.Symbol(name, real=True)
    theta, g = optimizers.theta, optimizers.g
    with pytest.raises(ValueError, match=rf"'{name}'.*rename"):
        if way == "slot":
            optimizers.rule("own", [(own, own + g), (theta, theta - own)], {own: 0.0})
        else:
            optimizers.rule("own", [(theta, theta - own * g)], **{name: 0.1})


LEGAL = """
E N S I Q O pi self l count index _x lambda_ range_ sigmoid square cube maximum minimum sign mod softplus xlogy
logaddexp integer_power work data theta bar state loss update loss_forward objective rows order epoch forward
step split gather descent losses arrays sizes prepare parameters gradient mean seen part start batch
refused row i0 j float int bool tuple str zip len isinstance enumerate ValueError TypeError print type list
dict set sum print_ match case _ check_vector check_input check_inputs check_state check_order check_count
check_hyperparameter refuse_labels refuse_rows labels_in_range this_threads_memory buffers memory Memory borrowed view
new_memory gemm aligned layout ADD ASSIGN prepare_prediction
prediction_labels_in_range update_kernel loss_kernel gradient_kernel prediction_kernel Data PredictionData
Tensors Workspace State Parameter Input INPUTS OPTIONS THREAD SAMPLE_AXIS CONTRACT PARAMETERS sys threading
vector name entry array exp log tanh a1_sum z_sum z_bar tensor_x count_ axis found extent cure shape rng seed
default p flat
""".split()  # noqa: SIM905
ROLES = ("size", "batch", "index", "input", "labels", "parameter", "constant", "let", "second_index", "model")


def named_model(**roles: str) -> Model:
    """A model that uses most of what modules are made of, with the names of some roles given."""

    def called(role: str, default: str) -> str:
        return roles.get(role, f"own_{default}")

    model = Model(called("model", "named"))
    N = model.batch(called("batch", "N"))
    D = model.sizes(**{called("size", "D"): 2})
    n, d = model.indices(**{called("index", "n"): N, called("second_index", "d"): D})
    x, y = model.input(called("input", "x"), N, D), model.labels(called("labels", "y"), N, classes=2)
    W = model.parameter(called("parameter", "W"), D, init="normal")
    w = model.constant(called("constant", "w"), [1.0, 2.0])
    inner = sp.Sum(x[n, d] * W[d] * w[d], d) + W[y[n]] ** 3
    z = model.let(called("let", "z"), (n,), sp.tanh(inner) + 1 / (1 + sp.exp(-inner)) + sp.Max(inner, 0))
    model.minimize(sp.Sum(z[n] ** 2 * sp.sign(W[0]), n) / N)
    model.predict(z)
    return model


def use(module: ModuleType) -> list[np.ndarray]:
    """Numbers from every public function."""
    module_inputs = [np.array([[0.5, -1.0], [0.25, 2.0], [1.0, 1.0]]), np.array([0, 1, 1])]
    parameters, state = np.array([0.5, -0.25]), module.optimizer_state()
    loss, gradient = module.loss_and_gradient(parameters, *module_inputs)
    assert module.loss(parameters, *module_inputs) == loss
    arguments = [module_inputs[[i.name for i in module.INPUTS].index(i.name)] for i in module.INPUTS]
    numbers = [np.array(loss), gradient.copy(), module.predict(parameters, *arguments)]
    module.update(parameters, gradient, state)
    numbers.append(np.array(module.train_epoch(parameters, state, np.array([2, 0, 1]), 2, *module_inputs)))
    numbers.append(module.descend(parameters, state, 2, *module_inputs))
    return [*numbers, parameters, *module.views(parameters).values()]


@pytest.fixture(scope="module")
def plain_numbers() -> list[np.ndarray]:
    return use(execute(module_text(named_model())))


def refused_input(role: str, name: str) -> bool:
    """An input alone may be refused for its name, and only in words that hold it."""
    problems = named_model(**{role: name}).problems if role in ("input", "labels") else []
    assert all(repr(name) in str(p) for p in problems)
    return bool(problems)


# In the suite each name is in two roles at least, in `make fuzz` in all of them.
POSITIONS = some(range(len(LEGAL)), 4)


def roles_at(position: int) -> dict[str, str]:
    return {role: LEGAL[(position + 11 * k) % len(LEGAL)] for k, role in enumerate(ROLES)}


def test_every_legal_name_has_two_roles() -> None:
    places = Counter(name for position in POSITIONS for name in roles_at(position).values())
    assert places.keys() == {*LEGAL} and min(places.values()) >= 2
    assert {role for position in POSITIONS for role in roles_at(position)} == {*ROLES}


@pytest.mark.parametrize("position", POSITIONS, ids=LEGAL.__getitem__)
def test_a_legal_name_works_in_every_role(position: int, plain_numbers: list[np.ndarray]) -> None:
    """Whoever has the names, the module computes the same; ten names at a time, each in another role."""
    roles = roles_at(position)
    roles = {role: name for role, name in roles.items() if not refused_input(role, name)}
    model = named_model(**roles)
    assert not model.problems, model.problems[0]
    for found, expected in zip(use(execute(module_text(model))), plain_numbers, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13, err_msg=str(roles))


@pytest.mark.parametrize(
    ("first", "second"), [("count", "count_"), ("index", "index_"), ("_x", "tensor_x"), ("y", "y_"), ("y", "tensory")]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_names_that_look_alike_are_kept_apart(first: str, second: str, swapped: bool) -> None:
    """And a label of the one is not taken for data of the other: it would be used as an index unchecked."""
    model = Model("alike")
    N = model.batch("N")
    n = model.indices(n=N)
    data, label = (second, first) if swapped else (first, second)
    x, y = model.input(data, N), model.labels(label, N, classes=3)
    v = model.parameter("v", 3)
    model.minimize(sp.Sum(v[y[n]] * x[n], n))
    module = execute(module_text(model))
    parameters, values = np.array([1.0, 2.0, 4.0]), np.array([1.0, 10.0])
    assert module.loss(parameters, values, np.array([0, 2])) == 41
    for wrong in (-1, 3):
        labels = np.array([0, wrong])
        with pytest.raises(ValueError, match=rf"{label}: .*{wrong}"):
            module.loss(parameters, values, labels)
        with pytest.raises(ValueError, match=rf"{label}: .*{wrong}"):
            module.train_epoch(parameters, module.optimizer_state(), np.array([0, 1]), 1, values, labels)


# ---- axes at run time in other places than the first


def square_model() -> Model:
    model = Model("graph")
    N = model.batch("N")
    n, j = model.indices(n=N, j=N)
    A, k = model.input("A", N, N), model.parameter("k")
    model.minimize(sp.Sum(k * A[n, j], n, j))
    return model


def transposed_model() -> Model:
    model = Model("transposed")
    N = model.batch("N")
    n, d = model.indices(n=N, d=2)
    x, v, k = model.input("x", N), model.input("v", 2, N), model.parameter("k")
    model.minimize(sp.Sum(k * x[n] * v[d, n], n, d))
    return model


@pytest.mark.parametrize(
    ("make", "shapes"), [(square_model, [(4, 4)]), (transposed_model, [(4,), (2, 4)])], ids=["N by N", "2 by N"]
)
@pytest.mark.parametrize("batch_size", [2, 7])
def test_the_sample_axis_elsewhere_never_leads_outside(make, shapes, batch_size) -> None:  # type: ignore[no-untyped-def]
    """No rows of such an input can be gathered: there is no train_epoch, and the spec's author is told."""
    module = execute(module_text(make()))
    inputs = [np.ones(shape) for shape in shapes]
    assert module.SAMPLE_AXIS is None and not hasattr(module, "train_epoch")
    assert np.isfinite(module.descend(np.ones(1), module.optimizer_state(), batch_size, *inputs)).all()
    assert np.isfinite(module.loss(np.ones(1), *inputs))
    assert any("train_epoch" in str(warning) for warning in generate_body(make(), "float64").warnings)


def test_classes_may_be_made_of_sizes() -> None:
    model = Model("sized")
    N, G = model.batch("N"), model.sizes(G=5)
    assert model.declarations[model.labels("y", N, classes=G - 3).name].classes == 2
