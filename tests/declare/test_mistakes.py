"""Beginners' mistakes in a spec: each is reported at its line, in derivgen's words, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse, run

from derivgen.pipeline import generate_body
from derivgen.project.spec import load_target

HEAD = """\
import math
import numpy as np
import sympy as sp
from sympy import Max, Piecewise, Sum, Symbol, airyai, exp, gamma, log, tanh

from derivgen import Model, layers, losses, optimizers
"""
# A spec without a mistake, a line a name.
LINES = {
    "model": 'model = Model("net")',
    "N": 'N = model.batch("N")',
    "sizes": "D, H, C = model.sizes(D=2, H=4, C=3)",
    "indices": "n, d, h, c = model.indices(n=N, d=D, h=H, c=C)",
    "x": 'x = model.input("x", N, D)',
    "y": 'y = model.labels("y", N, classes=C)',
    "W1": 'W1 = model.parameter("W1", D, H, init="glorot_uniform")',
    "b1": 'b1 = model.parameter("b1", H)',
    "W2": 'W2 = model.parameter("W2", H, C, init="glorot_uniform")',
    "b2": 'b2 = model.parameter("b2", C)',
    "a1": 'a1 = model.let("a1", (n, h), tanh(Sum(x[n, d] * W1[d, h], d) + b1[h]))',
    "z2": 'z2 = model.let("z2", (n, c), Sum(a1[n, h] * W2[h, c], h) + b2[c])',
    "p": 'p = model.let("p", (n, c), exp(z2[n, c]) / Sum(exp(z2[n, c]), c))',
    "minimize": "model.minimize(Sum(-log(p[n, y[n]]), n) / N)",
    "predict": "model.predict(p)",
    "update": "model.update(optimizers.adam(learning_rate=0.01))",
}
# What SymPy, NumPy and Python say, which tells a beginner nothing.
RAW = (
    *("the spec raised", "dummy variables", "ufunc", "truth value of Relational", "Idx value", "not iterable"),
    *("not subscriptable", "slice(", "Ellipsis", "positional argument", "keyword-only", "has no attribute", "at 0x"),
    *("Invalid limits", "cannot be interpreted", "unsupported operand", "Cannot convert"),
)


def spec(**lines: str) -> str:
    """The spec with other lines."""
    return HEAD + "\n".join({**LINES, **lines}.values()) + "\n"


def wrong(**lines: str) -> str:
    """The spec with wrong lines, at which an error is expected."""
    return spec(**{name: f"{line}  {MARK}" for name, line in lines.items()})


def a1(formula: str) -> str:
    return wrong(a1=f'a1 = model.let("a1", (n, h), {formula})')


Z1 = "Sum(x[n, d] * W1[d, h], d) + b1[h]"
CONDITION = ("Piecewise((a, c), (b, True)) for a if c else b", "Max(a, b) for max(a, b)", "And(a, b)")
# The row of shared reports where there is one: the spec, and words of its first message.
MISTAKES = {
    # sums
    "1 a Sum without its index": (
        a1("tanh(Sum(x[n, d]*W1[d, h]) + b1[h])"),
        ("W1[d, h]*x[n, d], d)", "names the indi"),
    ),
    "a tuple of one size": (
        wrong(sizes="D, = model.sizes(D=2)"),
        ("no tuple", "write N = model.sizes(N=3), without a comma after N"),
    ),
    "2 no Sum": (a1("tanh(x[n, d] * W1[d, h] + b1[h])"), ("a1[n,h] uses index d", "write Sum(..., d) or add d")),
    "a derivative of a let by SymPy": (
        wrong(minimize="model.minimize(Sum((p[n, c]**2).diff(W1[0, 0]), n, c))"),
        ("diff takes p[n, c] for a number", "write model.derivative(p[n, c], W1[0, 0])"),
    ),
    "a derivative of a let by a scalar, through another let": (
        wrong(
            minimize="t = model.parameter('t'); q = model.let('q', n, t**2); r = model.let('r', n, 3*q[n])\n"
            "model.minimize(Sum((2 + r[n]).diff(t), n))"
        ),
        ("diff takes r[n] for a number that does not depend on t",),
    ),
    "bits of a condition": (
        a1("Piecewise((x[n, 0] & W1[0, h], x[n, 0] > 0), (0, True))"),
        ("And(a, b) and Or(a, b)",),
    ),
    "a number for a condition": (
        a1("Piecewise((b1[h], x[n, 0]), (0, True))"),
        ("pairs of a value and a condition", "y[n] > 0"),
    ),
    "an element that is assigned": (wrong(minimize="p[n, 0] = 3"), ("elements are not assigned", "by Piecewise")),
    "15 a loss that is no scalar": (wrong(minimize="model.minimize(-log(p[n, y[n]]))"), ("index n", "Sum(..., n)")),
    "17 an axis missing on the left": (
        wrong(a1=LINES["a1"].replace("(n, h)", "(n,)"), z2=LINES["z2"]),
        ("a1[n] uses index h", "add h to a1's indices"),
    ),
    "28 an index twice on the left": (
        wrong(a1=LINES["a1"].replace("(n, h)", "(n, n)"), z2=LINES["z2"]),
        ("let a1", "stands twice on the left", "use another index"),
    ),
    "32 Python's sum of a formula": (a1("tanh(sum(x[n, d] * W1[d, h]))"), ("Python's sum", "SymPy's Sum(…, d)")),
    "32 Python's sum of a tensor": (a1("sum(x)"), ("Python's sum", "SymPy's Sum(…, d)")),
    "32 Python's sum over a range": (a1("sum(x[n, d] for d in range(D))"), ("Python's range", "SymPy's Sum(…, d)")),
    "36 limits past the end": (a1("Sum(x[n, d]*W1[d, h], (d, 0, D))"), ("include both ends", "(d, 0, D - 1)")),
    "36 limits before the start": (a1("Sum(x[n, d]*W1[d, h], (d, -1, D - 1))"), ("both ends", "(d, 0, D - 1)")),
    "36 limits without a start": (a1("Sum(x[n, d]*W1[d, h], (d, D))"), ("found (d, D)", "(d, 0, D - 1)")),
    "36 limits by Python's range": (a1("Sum(x[n, d]*W1[d, h], range(2))"), ("found range(0, 2)", "(d, 0, D - 1)")),
    "55 a wrong index": (a1("tanh(Sum(x[n, d] * W1[d, h], d) + b1[c])"), ("a1[n,h] uses index c", "Sum(..., c)")),
    # subscripts
    "4 subscripts in the wrong order": (
        a1("Sum(x[n, d] * W1[h, d], d)"),
        ("W1[h,d] may leave axis 0", "2 elements where h runs over 0 .. 3", "in the wrong order, for W1[d,h]?"),
    ),
    "5 too few subscripts": (a1("Sum(x[n, d] * W1[d], d)"), ("1 subscript, W1 has 2 axes", "write W1[d, h]")),
    "16 a tensor without subscripts": (a1("tanh(x[n, 0] + b1)"), ("b1 is a tensor", "read it at indices, b1[h]")),
    "20 past the end": (
        a1("Sum(x[n, d + 1] * W1[d, h], d)"),
        ("x[n,d + 1] may leave axis 1 of x", "narrow the index, or guard the read by Piecewise"),
    ),
    "31 a product by @": (
        a1("x @ W1"),
        ("Sum(x[n, d]*W1[d, h], d) for x @ W1",),
    ),
    "31 a product of elements by @": (a1("x[n, d] @ W1[d, h]"), ("Sum(x[n, d]*W[d, h], d) for x @ W",)),
    "31 a product with an array by @": (a1("x @ np.ones((2, 4))"), ("Sum(x[n, d]*W[d, h], d) for x @",)),
    "41 a slice": (a1("Sum(x[n, :] * W1[d, h], d)"), ("x[n, :] has the subscript :,", "such as x[n, d]")),
    "41 a part of an axis": (a1("x[n, 0:2]"), ("x[n, 0:2] has the subscript 0:2,", "such as x[n, d]")),
    "41 an ellipsis": (a1("x[...]"), ("x[...] has the subscript ...,", "such as x[n, d]")),
    "41 a name": (a1('x[n, "d"]'), ("has the subscript 'd'", "such as x[n, d]")),
    "a place that is computed": (a1("W1[2*x[n, 0], h]"), ("x holds reals", "give them by model.labels")),
    "56 subscripts of a product": (a1("(x*W1)[n, h]"), ("x[n, h]*W[n, h] for (x*W)[n, h]",)),
    "56 subscripts of an element": (a1("x[n][d]"), ("x[n, d] for x[n][d]",)),
    "59 labels without subscripts": (
        wrong(minimize="model.minimize(Sum(-log(p[n, y]), n) / N)"),
        ("p[n, y] has the subscript y", "read the tensor y at indices, y[n]"),
    ),
    "a tensor's transpose": (a1("x.T"), ("a tensor has no T", "write formulas", "Sum(…, d)")),
    # functions and names
    "6 a function that is unknown": (
        a1(f"gamma({Z1})"),
        ("gamma is not among", "loggamma", "exp, expm1, floor", "docs/spec.md"),
    ),
    "6 another one": (a1("airyai(x[n, 0])"), ("airyai is not among", "exp, expm1, floor", "docs/spec.md")),
    "7 an activation that is not imported": (
        a1(f"sigmoid({Z1})"),
        ("sigmoid is not defined", "from derivgen.activations import sigmoid"),
    ),
    "7 a function that is not imported": (a1("erf(x[n, 0])"), ("write from sympy import erf",)),
    "7 MaxOver, not imported": (a1("MaxOver(x[n, d], d)"), ("write from derivgen import MaxOver",)),
    "8 NumPy's function": (a1(f"np.tanh({Z1})"), ("NumPy's tanh accepts only numbers", "write sympy.tanh")),
    "8 NumPy's function of a tensor": (a1("np.tanh(x)"), ("NumPy's tanh accepts only numbers", "write sympy.tanh")),
    "8 NumPy's function of an element": (a1("np.tanh(x[n, d])"), ("accepts only numbers", "write sympy.tanh")),
    "8 NumPy's function of another name": (a1(f"np.arctan({Z1})"), ("NumPy's arctan", "write sympy.atan,")),
    "8 NumPy's function that is a formula": (a1(f"np.log1p({Z1})"), ("NumPy's log1p", "write log(1 + u),")),
    "8 NumPy's maximum": (a1(f"np.maximum({Z1}, 0)"), CONDITION),
    "8 Python's function": (a1(f"math.tanh({Z1})"), ("math.tanh accepts only numbers", "write sympy.tanh,")),
    "33 Python's if": (a1(f"1 if {Z1} > 0 else 0"), CONDITION),
    "34 Python's max": (a1(f"max({Z1}, 0)"), (*CONDITION, "relu(a) for max(a, 0)")),
    "34 a condition as a number": (a1(f"({Z1} > 0) * x[n, 0]"), ("a condition is no number", "Piecewise((a, c)")),
    "37 a let before it exists": (
        spec(a1="", z2=f"{LINES['z2']}  {MARK}\n{LINES['a1']}"),
        ("a1 is not defined yet, only at line 19", "move that line above this one"),
    ),
    "44 a Piecewise without default": (a1(f"Piecewise((1, {Z1} > 0))"), ("without a default", "(value, True)")),
    "53 a symbol": (a1('Symbol("g") * x[n, 0]'), ("g is not declared", "model.parameter, model.input")),
    "57 a recurrence both ways": (
        wrong(a1='a1 = model.recur("a1", (n, h), lambda u: u[n, h - 1] + u[n, h + 1])'),
        ("a1 is read at earlier and at later h", "all shifts of one sign"),
    ),
    "57 a recurrence without a step back": (
        wrong(a1='a1 = model.recur("a1", (n, h), lambda u: x[n, 0] + b1[h])'),
        ("a1 reads no value of an earlier step", "define it by model.let"),
    ),
    # declarations
    "9 an initializer of PyTorch": (
        wrong(W1='W1 = model.parameter("W1", D, H, init="xavier_uniform_")'),
        ("'xavier_uniform_'", "did you mean glorot_uniform?", "lecun_normal"),
    ),
    "18 a name used twice": (
        wrong(b2='b2 = model.parameter("b1", C)'),
        ("b1 is used twice", "a parameter already, choose another"),
    ),
    "19 an index declared twice": (
        wrong(x=LINES["x"] + "; model.indices(d=H)"),
        ("d is used twice", "an index already"),
    ),
    "30 an array transposed": (
        wrong(W1='W1 = model.parameter("W1", D, H, init=np.ones((4, 2)))'),
        ("init has shape (4, 2), expected (2, 4)", "transpose it"),
    ),
    "35 a keyword": (
        wrong(b1='b1 = model.parameter("lambda", H)'),
        ("'lambda' is a keyword of Python", "choose another name"),
    ),
    "35 a keyword for a number": (
        spec(
            b2=f'{LINES["b2"]}; decay = model.parameter("lambda")  {MARK}',
            minimize="model.minimize(Sum(-log(p[n, y[n]]), n) / N + decay)",
        ),
        ("'lambda' is a keyword of Python", "choose another name"),
    ),
    "40 a size that is no integer": (
        wrong(sizes="D, H, C = model.sizes(D=2, H=4, C=3.0)"),
        ("size C must be an integer of at least 1, found 3.0",),
    ),
    "51 a number for a vector": (
        wrong(b1='b1 = model.parameter("b1", H, init=0.1)'),
        ("init has shape (), expected (4,)", "init=initializers.constant(0.1)"),
    ),
    "52 a parameter over the batch": (
        wrong(b2='b2 = model.parameter("b2", C); model.parameter("q", N)'),
        ("parameter q: its sizes must be fixed at generation, found (N,)",),
    ),
    # calls
    "11 no objective": (
        wrong(model=LINES["model"]).replace(LINES["minimize"], ""),
        ("no objective", "model.minimize("),
    ),
    "21 two objectives": (
        wrong(predict=LINES["minimize"]),
        ("a model has one objective", "add the terms up in a single minimize"),
    ),
    "22 a rule misspelt": (wrong(update='model.update("adamm")'), ("adamm; did you mean adam?", "rmsprop")),
    "22 a rule's function misspelt": (
        wrong(update="model.update(optimizers.adamm())"),
        ("no update rule is called adamm; did you mean adam?",),
    ),
    "23 a negative rate": (
        wrong(update="model.update(optimizers.adam(learning_rate=-1))"),
        ("rule adam: learning_rate must be at least 0, found -1",),
    ),
    "24 a parameter without anything": (
        wrong(predict="model.parameter()"),
        ("lacks its argument name: give it",),
    ),
    "24 a layer without name": (
        wrong(a1="a1 = layers.dense(x, H, tanh)"),
        ("dense lacks its argument name", "by keyword: write name=…"),
    ),
    "25 a name by position": (
        wrong(a1='a1 = layers.dense(x, 5, "h")'),
        ("dense lacks its argument name", "by keyword: write name=…"),
    ),
    "25 a name by position, after an activation": (
        wrong(a1='a1 = layers.dense(x, 5, tanh, "h")'),
        ("dense takes at most 3 arguments by position, found 4", "by keyword, as name=…"),
    ),
    "26 an activation by name": (
        wrong(a1='a1 = layers.dense(x, H, "relu", name="a1")'),
        ("activation must be a function such as activations.relu, found 'relu'",),
    ),
    "27 a convolution of rows": (
        wrong(a1='a1 = layers.conv2d(x, 3, 3, name="a1")', z2=LINES["z2"]),
        ("(batch, channel, row, column), found x of shape (N, D)", "reshape it, or use another layer"),
    ),
    "38 another library's method": (
        wrong(minimize=LINES["minimize"].replace("minimize", "loss")),
        ("Model has no loss; did you mean minimize?",),
    ),
    "42 a rule that is not called": (
        wrong(update="model.update(optimizers.adam)"),
        ("such as optimizers.adam()", "found the function adam: call it"),
    ),
    "43 NumPy's function as an activation": (
        wrong(a1='a1 = layers.dense(x, H, np.tanh, name="a1")'),
        ("NumPy's tanh accepts only numbers", "write sympy.tanh"),
    ),
    "45 a loss of two shapes": (
        wrong(minimize="model.minimize(losses.mean_squared_error(p, x))"),
        ("mean_squared_error: expected target of shape (N, C), found x of shape (N, D)",),
    ),
    "46 a function of derivatives misspelt": (
        wrong(predict='model.second_order("hessain")'),
        ("'hessain'; did you mean hessian?",),
    ),
    "48 predict of a formula": (
        wrong(predict="model.predict(2 * p[n, c])"),
        ("predict expects a tensor defined by model.let", "give the expression a let"),
    ),
    "50 a let without a name": (
        wrong(a1="a1 = model.let((n, h), x[n, 0] + b1[h])"),
        ('let takes a name, indices and a formula: model.let("a", (n, h), …)',),
    ),
    "54 a rate past 1": (
        wrong(a1=LINES["a1"] + '; a1 = layers.dropout(a1, 1.5, name="r")'),
        ("rate must be at least 0 and less than 1, found 1.5",),
    ),
    "58 a method misspelt": (
        wrong(b1='b1 = model.paramter("b1", H)'),
        ("Model has no paramter; did you mean parameter?",),
    ),
    "10 a bracket left open": (
        wrong(predict="model.predict((p)"),
        ("not valid Python, '(' was never closed",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_at_its_line_with_what_to_write(mistake: str, tmp_path: Path) -> None:
    text, words = MISTAKES[mistake]
    errors = refuse(tmp_path, text)
    assert [word for word in words if word not in errors[0]] == [], errors[0]
    assert [raw for raw in RAW if any(raw in error for error in errors)] == []


def test_several_mistakes_come_together(tmp_path: Path) -> None:
    text = wrong(
        a1='a1 = model.let("a1", (n, h), tanh(x[n, d] * W1[d, h] + b1[h]))',
        z2='z2 = model.let("z2", (n, c), Sum(a1[n, h] * W2[h], h) + b2[c])',
        update='model.update("adamm")',
    )
    assert len(refuse(tmp_path, text)) == 3


@pytest.mark.parametrize("name", ["from derivgen.activations import sigmod", "from derivgen.layers import relu"])
def test_a_name_that_the_library_lacks_is_set_right(name: str, tmp_path: Path) -> None:
    (error,) = refuse(tmp_path, wrong(model=name))
    assert ("did you mean sigmoid?" if "sigmod" in name else "write from derivgen.activations import relu") in error


@pytest.mark.parametrize("line", ["None[0]", "[*3]", "1/0", "{}['a']"])
def test_other_mistakes_keep_their_own_words(line: str, tmp_path: Path) -> None:
    (error, *_) = refuse(tmp_path, wrong(predict=f"z = {line}"))
    assert "the spec raised " in error or "not valid Python" in error


def test_14_a_file_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    result = run("generate", tmp_path / "a.py")
    assert result.exit_code == 2
    assert "defines no model: expected a global such as" in result.stderr


# ---- what is legal, and hardly ever meant

SUMMED = ("let z2", "c is on the left", "the same number for each c", "leave c out of the Sum")
ZEROS = ("the gradient of W1, b1 and W2 is 0", "stays 0", "of W1 and W2 are zeros", 'init="glorot_uniform"')
ZERO_W1, ZERO_W2 = 'W1 = model.parameter("W1", D, H)', 'W2 = model.parameter("W2", H, C)'
SUSPICIOUS = {
    "3 an index on the left is summed too": (
        {"z2": 'z2 = model.let("z2", (n, c), Sum(a1[n, h] * W2[h, c], h, c) + b2[c])'},
        "z2",
        SUMMED,
    ),
    "3 the only index of a sum is on the left": (
        {"z2": 'z2 = model.let("z2", (n, c), Sum(b2[c], c) + Sum(a1[n, h] * W2[h, 0], h))'},
        "z2",
        SUMMED,
    ),
    "29 a parameter that is not used": (
        {"b2": f'{LINES["b2"]}; model.parameter("q", C)'},
        "b2",
        ("does not depend on parameter q: its gradient is 0",),
    ),
    "29 a parameter that only conditions read": (
        {
            "b2": f'{LINES["b2"]}; q = model.parameter("q")',
            "a1": LINES["a1"].replace("tanh(", "Piecewise((1, q > 0), (0, True)) + tanh("),
        },
        "b2",
        ("depends on q only through conditions: its derivative is 0 wherever it exists; a jump contributes nothing",),
    ),
    "29 a parameter that only stop_gradient reads": (
        {
            "b2": f'{LINES["b2"]}; from derivgen import stop_gradient; q = model.parameter("q")',
            "a1": LINES["a1"].replace("tanh(", "stop_gradient(q) + tanh("),
        },
        "b2",
        ("depends on q only through conditions or stop_gradient: its derivative is taken as 0",),
    ),
    "47 two layers of zeros": ({"W1": ZERO_W1, "W2": ZERO_W2}, "W1", ZEROS),
    "47 zeros before a relu": (
        {"W1": ZERO_W1, "a1": LINES["a1"].replace("tanh(", "Max(0, ")},
        "W1",
        ("the gradient of W1, b1 and W2 is 0", "initial values of W1 are zeros"),
    ),
}
INNOCENT = {
    "as it is": {},
    "49 a label as a number": {"minimize": "model.minimize(Sum((y[n] - p[n, 0])**2, n) / N)"},
    "zeros in the last layer": {"W2": ZERO_W2},
    "zeros in the first layer": {"W1": ZERO_W1},
    "zeros in both, behind a function that is not 0 at 0": {
        "W1": ZERO_W1,
        "W2": ZERO_W2,
        "a1": LINES["a1"].replace("tanh", "exp"),
    },
    "a single layer of zeros": {
        "W2": 'W2 = model.parameter("W2", D, C)',
        "a1": "",
        "z2": 'z2 = model.let("z2", (n, c), Sum(x[n, d] * W2[d, c], d) + b2[c])',
        "W1": "",
        "b1": "",
    },
    "a bias that is a number": {"W1": ZERO_W1, "W2": ZERO_W2, "b1": 'b1 = model.parameter("b1", H, init="ones")'},
    "zeros that are frozen": {
        "W1": ZERO_W1,
        "update": 'model.update("adam", groups={name: optimizers.frozen for name in ("W1", "b1", "W2")})',
        "b1": LINES["b1"],
        "W2": ZERO_W2,
    },
    "what is not finite at zeros": {
        "W1": ZERO_W1,
        "W2": ZERO_W2,
        "z2": LINES["z2"].replace("b2[c]", "b2[c] / W1[0, 0]"),
    },
    "a normalization": {"z2": LINES["z2"] + '; z2 = model.let("v", (n, c), z2[n, c] - Sum(z2[n, c], c) / C)'},
    "a normalization over rows too": {
        "z2": LINES["z2"] + '; z2 = model.let("v", (n, c), z2[n, c] - Sum(z2[n, c], n, c) / C / N)'
    },
}


@pytest.mark.parametrize("case", SUSPICIOUS)
def test_what_is_hardly_meant_is_warned_of(case: str, tmp_path: Path) -> None:
    lines, line, words = SUSPICIOUS[case]
    (warning,) = warnings_of(tmp_path, spec(**lines))
    number = HEAD.count("\n") + 1 + list(LINES).index(line)
    assert warning.startswith(f"net.py:{number}: ")
    assert [word for word in words if word not in warning] == [], warning


@pytest.mark.parametrize("case", INNOCENT)
def test_what_may_be_meant_is_not_warned_of(case: str, tmp_path: Path) -> None:
    assert warnings_of(tmp_path, spec(**INNOCENT[case])) == []


def warnings_of(folder: Path, text: str) -> list[str]:
    path = folder / "net.py"
    path.write_text(text, encoding="utf-8")
    return [str(warning) for warning in generate_body(load_target(str(path)).model).warnings]
