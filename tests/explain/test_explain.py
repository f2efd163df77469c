"""Explanations: what is printed is read back and compared with differences that mpmath takes."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import mpmath
import pytest
import sympy as sp
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derivgen import MaxOver, Model, optimizers, stop_gradient
from derivgen.command.main import main
from derivgen.derive.differentiate import adjoint
from derivgen.errors import DerivgenError
from derivgen.explain.expression import explain_expression
from derivgen.explain.model import explain_model
from derivgen.explain.parse import DEEPEST, FORMS, FUNCTIONS, LONGEST, arities, parse_expression
from derivgen.form.as_written import as_written
from derivgen.form.notation import Plain
from derivgen.pipeline import declared_program, stable_program, training_program

ROOT = Path(__file__).parents[2]
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
mp = mpmath.MPContext()
mp.dps = 40


# ---- reading back what is printed


def xlogy(u, v):
    return u * mp.log(v)


NAMESPACE = {
    **{name: getattr(mp, name) for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "erf")},
    **{
        name: getattr(mp, name) for name in ("erfc", "log1p", "expm1", "asin", "acos", "atan", "atan2", "floor", "sign")
    },
    **{name: getattr(mp, name) for name in ("asinh", "acosh", "atanh", "pi", "e")},
    "abs": abs,
    "max": max,
    "min": min,
    "relu": lambda u: max(u, 0),
    "mod": lambda u, v: u - v * mp.floor(u / v),
    "ceiling": mp.ceil,
    "sigmoid": lambda u: 1 / (1 + mp.exp(-u)),
    "softplus": lambda u: mp.log(1 + mp.exp(u)),
    "logaddexp": lambda u, v: mp.log(mp.exp(u) + mp.exp(v)),
    "xlogy": xlogy,
    "arctan2": mp.atan2,
    "ln": mp.log,
    "stop_gradient": lambda u: u,
}


def python_of(formula: str) -> str:
    """A printed formula as Python text: the notation's letters replaced, reads as plain names."""
    text = formula
    while "[" in text:
        text = re.sub(r"(\w+)\[([^\[\]]*)\]", lambda m: m[1] + "_" + re.sub(r"\W", "_", m[2]), text)
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: f"**({m[0].translate(SUPERSCRIPTS)})", text)
    text = re.sub(r"√(\w+)", r"sqrt(\1)", text).replace("√", "sqrt")
    text = re.sub(r"\|([^|]*)\|", r"abs(\1)", text)
    for old, new in {"·": "*", "^": "**", "π": "pi", "≠": "!=", "≤": "<=", "≥": ">=", " = ": " == "}.items():
        text = text.replace(old, new)
    return text.replace("'", "_prime")


def value(text: str, values: dict[str, object]) -> mpmath.mpf:
    return mp.mpf(eval(text, {**NAMESPACE, **values}))


def names_in(*texts: str) -> list[str]:
    found = {name for text in texts for name in re.findall(r"[^\W\d]\w*", text)}
    return sorted(found - {*NAMESPACE, "if", "else", "not", "and", "or", "True"})


def random_values(names: list[str], seed: int) -> dict[str, object]:
    generator = random.Random(seed)
    return {name: mp.mpf(generator.uniform(0.1, 0.9)) for name in names}


def agrees(got: object, want: object) -> bool:
    return abs(got - want) <= mp.mpf(10) ** -12 * max(1, abs(want))


def difference(text: str, by: str, values: dict[str, object]) -> mpmath.mpf:
    return mp.diff(lambda v: value(text, {**values, by: v}), values[by])


# ---- models


def neuron() -> Model:
    model = Model("neuron")
    N = model.batch("N")
    D = model.sizes(D=2)
    n, d = model.indices(n=N, d=D)
    x, y = model.input("x", N, D), model.input("y", N)
    W, b = model.parameter("W", D), model.parameter("b")
    a = model.let("a", (n,), sp.tanh(sp.Sum(x[n, d] * W[d], d) + b))
    model.minimize(sp.Sum((a[n] - y[n]) ** 2, n) / N)
    return model


def classifier() -> Model:
    model = Model("classifier")
    N = model.batch("N")
    D, C = model.sizes(D=3, C=4)
    n, d, c = model.indices(n=N, d=D, c=C)
    x, y = model.input("x", N, D), model.labels("y", N, classes=C)
    W = model.parameter("W", D, C)
    z = model.let("z", (n, c), sp.Sum(x[n, d] * W[d, c], d))
    p = model.let("p", (n, c), sp.exp(z[n, c]) / sp.Sum(sp.exp(z[n, c]), c))
    model.minimize(sp.Sum(-sp.log(p[n, y[n]]), n) / N)
    model.predict(p)
    return model


def kinks() -> Model:
    """One of each convention."""
    with as_written():
        model = Model("kinks")
        N = model.batch("N")
        K = model.sizes(K=3)
        n, k = model.indices(n=N, k=K)
        x = model.input("x", N, K)
        W, b, s = model.parameter("W", K), model.parameter("b"), model.parameter("s")
        model.parameter("spare")
        u = model.let("u", (n, k), sp.Max(x[n, k] * W[k] ** 2 + b, 0))
        q = model.let("q", (n,), sp.sqrt(sp.Sum(u[n, k] ** 2, k)))
        held = stop_gradient(b) * sp.log(1 + sp.exp(b)) + sp.Abs(s) / (1 + b**2) + sp.floor(b)
        z = model.let("z", (n,), MaxOver(u[n, k] * sp.exp(-u[n, k]), k) + held)
        w = model.let("w", (n,), sp.Piecewise((sp.sqrt(b) * z[n], b > 0), (q[n] ** s, True)))
        model.let("dead", (n,), x[n, 0])
        model.minimize(sp.Sum(w[n], n) / N)
    return model


MODELS = {"neuron": neuron, "classifier": classifier, "kinks": kinks}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]()


RULES = "sum rule|product rule|quotient rule|power rule|exponential rule|chain rule|constant factor|maximum|branch"
ROW = re.compile(rf"^ +(?:{RULES})   +[d∂] ?(?P<whole>.+)/[d∂](?P<by>[^ =()]+) = (?P<local>.+?)(?:   +(?P<where>.+))?$")


def rows_of(text: str) -> list[re.Match[str]]:
    return [match for line in text.splitlines() if (match := ROW.match(line))]


# ---- the explanation of a model


def test_every_printed_local_derivative_is_right(model):
    rows = rows_of(explain_model(model))
    assert len(rows) >= 6
    for row in rows:
        whole, by, local = (python_of(row[part]) for part in ("whole", "by", "local"))
        for seed in range(3):
            values = random_values(names_in(whole, by, local), seed)
            assert agrees(value(local, values), difference(whole, by, values)), row[0]


def test_the_rows_of_a_way_multiply_to_the_local_derivative_of_its_statement():
    """A letter means, in the rows after its own, what its row says; the product is the row `together`."""
    lines = explain_model(neuron()).splitlines()
    for i, line in enumerate(lines):
        if " together " not in line:
            continue
        total = python_of(line.split(" = ", 1)[1])
        rows, meanings = [], {}
        for previous in reversed(lines[:i]):
            row = ROW.match(previous)
            if row is None:
                break
            rows.append(python_of(row["local"]))
            if row["where"]:
                letter, _, meaning = row["where"].partition(" = ")
                meanings[letter] = python_of(meaning)
        values = random_values([n for n in names_in(total, *rows, *meanings.values()) if n not in meanings], 1)
        values |= {letter: value(meaning, values) for letter, meaning in meanings.items()}
        assert agrees(mp.fprod(value(row, values) for row in rows), value(total, values))


def test_tanh_neuron():
    text = explain_model(neuron())
    assert "\n2. a[n] = tanh(a_sum[n] + b)\n" in text
    assert "      a_sum_bar[n] += a_bar[n]·(1 - tanh(a_sum[n] + b)²)\n" in text
    assert re.search(r"chain rule +d tanh\(u\)/du = 1 - tanh\(u\)² +u = a_sum\[n\] \+ b\n", text)
    assert re.search(r"sum over d +∂\(Σ_d f\)/∂f = 1 +f = x\[n,d\]·W\[d\]\n", text)
    assert "b is read for every n: the contributions add up." in text
    assert "\nGradients of loss: W_bar by W, b_bar by b.\n" in text


def test_the_update_rule_ends_it():
    model = neuron()
    model.update(
        optimizers.clip_norm(optimizers.momentum(0.25)), {"b": {"learning_rate": 0.125}, "W": optimizers.frozen}
    )
    text = explain_model(model)
    assert text[text.index("\nUpdate rule") :].splitlines()[3:] == [
        "",
        "   g = g·min(clip_norm/(tensor_norm + 1e-06), 1)",
        "   m = momentum·m + g",
        "   θ = θ - learning_rate·m",
        "",
        "By default: learning_rate = 0.25, momentum = 0.9, clip_norm = 1.0.",
        "At first: m = 0.0.",
        "tensor_norm: the Euclidean norm of the gradient as the step gave it, of one tensor.",
        "W: frozen, left as it is.",
        "b: learning_rate = 0.125.",
    ]


def test_a_fit_by_least_squares_has_no_update_rule_but_one_that_is_declared():
    def fitted() -> Model:
        model = Model("line")
        n = model.indices(n=(N := model.batch("N")))
        x, y, w = model.input("x", N), model.input("y", N), model.parameter("w")
        model.least_squares(model.let("r", n, w * x[n] - y[n]))
        return model

    assert "Update rule" not in explain_model(fitted())
    model = fitted()
    model.update(optimizers.gradient_descent())
    assert "Update rule gradient_descent" in explain_model(model)


def test_every_statement_and_every_adjoint_stands_in_it_once(model):
    text = explain_model(model)
    stable = stable_program(declared_program(model))
    extended = adjoint(stable.live([stable.objective]))
    plain = Plain(extended.order)
    lines = [line.strip() for line in text.partition("Backward program")[0].splitlines()]
    for number, s in enumerate(stable.statements, 1):
        assert lines.count(f"{number}. {plain.statement(s)}") == 1
    adjoints = [s for s in extended.statements if s.direction == "backward"][1:]  # the first is the seed
    for s in adjoints:
        assert lines.count(plain.statement(s)) == 1
    assert sum(line.split("[")[0].split(" ")[0].endswith("_bar") and "+=" in line for line in lines) == len(adjoints)


def test_the_backward_program_is_the_emitted_one(model):
    program = training_program(stable_program(declared_program(model)))
    plain = Plain(program.order)
    backward = [plain.statement(s) for s in program.statements if s.direction == "backward"]
    end = explain_model(model).partition("Backward program, simplified")[2].partition("Kernels of the module")[0]
    assert [line.strip() for line in end.splitlines() if line.startswith("   ")] == backward


def test_declared_and_stable_forms_stand_side_by_side():
    text = explain_model(classifier())
    assert "Stable form of the declared p[n,c] = exp(z[n,c])/p_sum[n]\n" in text
    assert "Stable form of the declared loss_sum += Σ_n (-log(p[n,y[n]]))\n" in text
    assert "p_sum[n] holds the declared sum times exp(-p_max[n]), which cancels where it is read." in text
    assert text.count("New: part of the stable form of p.") == 3
    assert "p_max[n] takes no adjoint: what stands under stop_gradient is a constant to the derivative." in text
    assert "loss does not read it: no adjoint." in text
    assert "Stable form" not in explain_model(neuron())


@pytest.mark.parametrize(
    "said",
    [
        "where arguments of max tie, a constant wins (so relu'(0) = 0), else they share equally",
        "the root of a sum of squares has derivative 0 at 0",
        "maximum over an index: all of the derivative goes to the first maximum",
        "|u| has derivative 0 at u = 0",
        "floor has derivative 0, at its jumps too",
        "what stands under stop_gradient is a constant to the derivative",
        "a branch has its derivative where its condition holds; conditions carry none",
        "u^v has by u the derivative v·u^(v-1), 0 where v = 0; by v u^v·log(u), 0 where u = 0",
    ],
)
def test_conventions_are_said_where_they_are_used(said):
    assert f"Convention: {said}." in " ".join(explain_model(kinks()).split())
    assert f"Convention: {said}." not in " ".join(explain_model(neuron()).split())


def test_a_maximum_says_where_it_stands():
    text = explain_model(kinks())
    assert "The maximum stands at z_max_arg_k[n] = (k of) argmax_k u[n,k]·exp(-u[n,k])" in text
    assert "∂(max_k f)/∂f = (1 if k = z_max_arg_k[n] else 0)" in text
    assert "place 1 of 2" in text


def test_what_the_objective_does_not_need_is_said():
    text = explain_model(kinks())
    assert "Note: the objective does not depend on parameter spare: its gradient is 0." in text
    assert "Note: neither the objective nor the prediction needs dead." in text


def test_conditions_stand_as_they_are_written():
    """SymPy by itself looks for the sets where a condition on a condition holds, and calls itself for ever."""
    model = Model("folded")
    N = model.batch("N")
    D, H, C = model.sizes(D=2, H=4, C=5)
    n, n2, c, h, d = model.indices(n=N, n2=N, c=C, h=H, d=D)
    x, y = model.input("x", N, D, H), model.labels("y", N, classes=C)
    W, A = model.parameter("W", H, D), model.constant("A", [-0.5, -0.13])
    chosen = sp.Piecewise((x[0, 0, h] * W[H - 1, n], n < D), (0, True))
    a = model.let("a", (n, c), sp.log(sp.Sum(sp.exp(chosen / 2), h)))
    inner = sp.Piecewise((a[n2, n], n <= C - 1), (0, True)) / 2
    value = sp.Piecewise((inner, A[d] <= 0.2), (A[d], sp.Eq(y[n], 0)), (A[d], True)) / 2
    b = model.let("b", (n, d, n2), sp.Max(value, 0))
    model.minimize(sp.Sum(b[n, d, n2] ** 2, n, d, n2) / N)
    assert "b[n,d,n2] = max(" in explain_model(model)


def test_a_model_without_parameters():
    model = Model("fixed")
    N = model.batch("N")
    n = model.indices(n=N)
    x = model.input("x", N)
    model.minimize(sp.Sum(x[n] ** 2, n))
    text = explain_model(model)
    assert "loss depends on no parameter: there is nothing to differentiate." in text
    assert "Backward program" not in text


def test_names_of_letters_that_are_taken_are_left_alone():
    model = Model("letters")
    u, v, f = (model.parameter(name) for name in "uvf")
    model.minimize(sp.tanh(u * v) * f)
    text = explain_model(model)
    assert re.search(r"product rule +∂\(w·f\)/∂w = f +w = tanh\(u·v\)|∂\(f·w\)/∂w = f +w = tanh\(u·v\)", text)
    assert "g is the right side of a statement" in text


# ---- expressions

EXPRESSIONS = [
    "sqrt(1 + exp(x)**2)",
    "x/(1 + x**2)",
    "x*exp(x)*y - 3*x",
    "(a*x + b)**2 + exp(a*x + b)",
    "x**y",
    "2**x + x**-2 + x**0.5",
    "tanh(x)**2*sigmoid(y)/softplus(x)",
    "log(x)/log(2) + ln(1 + x)",
    "sin(x*cos(y)) - tan(x)",
    "asin(x/2) + acos(x/3) + atan(x) + arctan2(y, x)",
    "sinh(x)*cosh(x) + asinh(x) + acosh(2 + x) + atanh(x/2)",
    "erf(x) - erfc(x*y)",
    "log1p(x)*expm1(y)",
    "abs(x - 2)*x",
    "max(x, y/2, 0.3)*min(x, 2)",
    "relu(x - y) + relu(y - x)",
    "xlogy(x, y) + logaddexp(x, 2*y)",
    "floor(3*x)*x + sign(x)*x**2",
    "mod(5*x, 2)",
    "x*x + x/x",
    "pi*r**2 + e**r",
    "1/(1 + e**(-x))",
    "-(x - -y)/-x",
    "f*g + u*v*w*sin(u)",
]


def sections(text: str) -> dict[str, str]:
    """Variable → its section of an explanation."""
    found = re.split(r"\nWith respect to (\w+)\n-+\n", text)
    return dict(zip(found[1::2], found[2::2], strict=True))


def points(text: str) -> list[dict[str, object]]:
    return [random_values(names_in(text), seed) for seed in range(4)]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_derivative_is_the_one_that_mpmath_finds(text):
    parts = sections(explain_expression(text))
    assert sorted(parts) == names_in(text)
    for x, part in parts.items():
        result = re.search(rf"\n +[d∂]\w+/[d∂]{x} = (.+)\n*$", part)[1]
        for values in points(text):
            assert agrees(value(python_of(result), values), difference(text, x, values)), (x, result)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_step_is_right(text):
    """The parts are evaluated as they are defined, their derivatives as they are printed, against differences."""
    for x, part in sections(explain_expression(text)).items():
        opening, _, back = part.partition("From the inside out")
        lines = [re.split(r" {3,}", line.strip()) for line in opening.splitlines() if " rule " in line or " = " in line]
        definitions = {name: python_of(body) for name, body in (cells[0].split(" = ", 1) for cells in lines)}

        def part_value(name, values, definitions=definitions):
            inner = {
                n: part_value(n, values) for n in names_in(definitions[name]) if n in definitions and n not in values
            }
            return value(definitions[name], {**values, **inner})

        for values in points(text)[:2]:
            known = {**values, **{name: part_value(name, values) for name in definitions}}
            for name, _, locals_ in lines and [(c[0].split(" = ")[0], c[1], c[2]) for c in lines]:
                for by, local in re.findall(r"[d∂]\w+/[d∂](\w+) = (.+?)(?=, [d∂]\w+/[d∂]|$)", locals_):
                    assert agrees(value(python_of(local), known), difference(definitions[name], by, known)), (name, by)
            for line in back.splitlines():
                name, _, rest = line.strip().partition("' = ")
                if rest:
                    want = mp.diff(
                        lambda v, name=name, x=x, values=values: part_value(name, {**values, x: v}), values[x]
                    )
                    formula, _, final = rest.partition("  = ")
                    known[f"{name}_prime"] = want
                    assert agrees(value(python_of(formula), known), want), line
                    assert not final or agrees(value(python_of(final), known), want), line


def test_the_example_of_the_command():
    text = explain_expression("sqrt(1 + exp(x)**2)")
    assert "\n  f = √(exp(x)² + 1)\n" in text
    assert re.search(r"\n    f = √u +power rule +df/du = 1/\(2·√u\)\n", text)
    assert re.search(r"\n        v = w² +power rule +dv/dw = 2·w\n", text)
    assert re.search(r"\n          w = exp\(x\) +chain rule +dw/dx = exp\(x\)\n", text)
    assert text.endswith("\n  df/dx = exp(2·x)/√(exp(2·x) + 1)\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("relu(x)", "a constant wins (so relu'(0) = 0)"),
        ("abs(x)", "|u| has derivative 0 at u = 0"),
        ("floor(x)", "floor has derivative 0"),
        ("sqrt(x**2 + y**2)", "in a model, the root of a sum of squares has derivative 0 at 0"),
        ("x**y", "0 where u = 0"),
        ("x", "df/dx = 1"),
        ("3 + pi", "It has no variables: its derivative is 0."),
    ],
)
def test_what_is_said_of_an_expression(text, said):
    assert said in explain_expression(text)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *FORMS}))
def test_every_function_of_the_table_is_read(name):
    assert sections(explain_expression(f"{name}({', '.join(('x/2', 'y')[: arities(name)[0]])})"))


# ---- hostile and mistaken input

HOSTILE = {
    "9**9**9**9": "exponent beyond 1000",
    "(2*x)**10**9": "exponent beyond 1000",
    "((2*x)**1000)**1000": "exponent beyond 1000",
    "(1 + 1/10**9)**(10**9)": "exponent beyond 1000",
    "2**(10**9 + x)": "exponent beyond 1000",
    "exp(x + 10**9*log(2))": "exponent beyond 1000",
    "2**(1/10**9)": "exponent beyond 1000",
    "(" * 10**5 + "x" + ")" * 10**5: f"at most {LONGEST} are read",
    "(" * 240 + "x" + ")" * 240: "no expression",
    "-" * 450 + "x": "levels of nesting",
    "x" + "**x" * 150: "levels of nesting",
    "sin(" * 60 + "x" + ")" * 60: "levels of nesting",
    "9" * 400: "no real number",
    "exp(exp(exp(exp(9))))": "exponent beyond 1000",
    "floor(exp(200))": "floor of a constant beyond 2^53",
    "max(" + ",".join("abcdfghijk") + ")": "max takes 2 to 6 arguments, found 10",
    "__import__('os').system('touch /tmp/derivgen_was_here')": "__import__('os').system is no function",
    "().__class__": "().__class__ is not allowed",
    "(lambda: x)()": "lambda: x is no function",
    "[x for x in (1,)]": "is not allowed here",
    "eval('1')": "eval is no function",
    "x.y": "x.y is not allowed",
    "x[0]": "x[0] is not allowed",
    "x < y": "x < y is not allowed",
    "x if y else 1": "x if y else 1 is not allowed",
    "(x := 1)": "x := 1 is not allowed",
    "'x'": "'x' is not allowed",
    "2j*x": "2j is not allowed",
    "True": "True is not allowed",
    "x % 2": "x % 2 is not allowed",
    "x # y": "U+0023",
    "x\n+ y": "write the expression in one line",
    "x\0": "U+0000",
    "": "the text is empty",
    "x +": "no expression",
    "sin": "sin is a function: give it an argument",
    "sin(x, y)": "sin takes 1 argument, found 2",
    "sin(u=x)": "without names and stars",
    "sin(*x)": "without names and stars",
    "f(x)": "f is no function that derivgen knows",
    "root(x)": "root is no function",
    "1/0": "division by 0",
    "x/(1 - 1)": "division by 0",
    "0**-1": "a power of 0",
    "log(0)*x": "no real number",
    "sqrt(-1)": "no real number",
    "1e999*x": "no real number",
    "mod(x, 0)": "mod by 0",
    "1/(x - x)": "no real number at any point",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:24]))
def test_what_is_not_allowed_is_refused_at_once_and_with_its_reason(text):
    start = time.perf_counter()
    with pytest.raises(DerivgenError, match=re.escape(HOSTILE[text])):
        explain_expression(text)
    assert time.perf_counter() - start < 2
    assert not Path("/tmp/derivgen_was_here").exists()


@pytest.mark.parametrize(
    ("text", "offending"),
    [("2*x + f(x)", "f(x)"), ("sin(θ) + θ.real", "θ.real"), ("1 + x[0]*2", "x[0]"), (f"{'x + ' * 60}y@x + z", "y@x")],
)
def test_a_caret_stands_below_what_is_refused(text, offending):
    with pytest.raises(DerivgenError) as caught:
        parse_expression(text)
    _, shown, pointer, allowed = str(caught.value).splitlines()
    assert shown[pointer.index("^") :].startswith(offending)
    assert len(shown) < 80
    assert allowed.startswith(
        "allowed: numbers, variables, pi, e, + - * / ** and parentheses, and the functions Abs, abs"
    )
    for name in (*FUNCTIONS, *FORMS):
        assert re.search(rf"\b{name}\b", allowed)


def test_control_characters_are_not_echoed():
    with pytest.raises(DerivgenError) as caught:
        parse_expression("x + \x1b[31my")
    assert "\x1b" not in str(caught.value)


def test_a_chain_is_one_level_of_nesting_and_parentheses_are_none():
    assert explain_expression("+".join(["x"] * (3 * DEEPEST))).endswith(f"df/dx = {3 * DEEPEST}\n")
    assert explain_expression("(" * 90 + "x" + ")" * 90).endswith("df/dx = 1\n")


@given(st.text("xy0123456789e.+-*/()^,% sincoxplgqrtaxmn_[]{}'\"\\#:=<>", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_explained_or_refused(text):
    try:
        explain_expression(text)
    except DerivgenError as refusal:
        assert "\n" in str(refusal) or "no real number" in str(refusal) or "SymPy" in str(refusal)


def formulas() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["x", "y", "2", "3", "0.5", "pi", "e", "-1", "0", "10**90", "1000", "(1/10**90)"])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(
            lambda t: f"({t[0]}){t[1]}({t[2]})"
        )
        call = st.tuples(st.sampled_from(sorted({*FUNCTIONS, *FORMS})), inner).map(lambda t: f"{t[0]}({t[1]})")
        two = st.tuples(st.sampled_from(["max", "min", "mod", "atan2", "xlogy", "logaddexp"]), inner, inner)
        return binary | call | two.map(lambda t: f"{t[0]}({t[1]}, {t[2]})")

    return st.recursive(leaves, larger, max_leaves=10)


@given(formulas())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_formula_is_explained_or_refused(text):
    try:
        explain_expression(text, "markdown")
    except DerivgenError as refusal:
        assert str(refusal)


# ---- Markdown


def markdown_blocks(text: str) -> list[str]:
    """The LaTeX of each `$$` block, after a check of the page's structure."""
    lines = text.splitlines()
    fences = [i for i, line in enumerate(lines) if line == "$$"]
    assert len(fences) % 2 == 0 and text.count("$") == 2 * len(fences)
    blocks = []
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        assert lines[start - 1] == "" and (end + 1 == len(lines) or lines[end + 1] == "")
        blocks.append("\n".join(lines[start + 1 : end]))
        assert all(blocks[-1].splitlines())
    return blocks


@pytest.mark.parametrize("source", [*MODELS, *EXPRESSIONS])
def test_markdown_is_well_formed(source):
    text = explain_model(MODELS[source](), "markdown") if source in MODELS else explain_expression(source, "markdown")
    assert text.startswith("# Derivatives of ")
    levels = [len(line.split(" ")[0]) for line in text.splitlines() if line.startswith("#")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    for block in markdown_blocks(text):
        bare = block.replace(r"\{", "").replace(r"\}", "")
        depth = 0
        for character in bare:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0
        assert block.count(r"\left") == block.count(r"\right")
        assert re.findall(r"\\begin\{(\w+)\}", block) == list(reversed(re.findall(r"\\end\{(\w+)\}", block))) or (
            block.count(r"\begin") == block.count(r"\end")
        )
        assert not re.search(r"\n[-+=#*>]", block)  # at the start of a line these are Markdown
        assert "`" not in block and "·" not in block and "Σ" not in block


def test_markdown_says_the_same_as_text():
    text, markdown = explain_model(kinks()), explain_model(kinks(), "markdown")
    items = re.findall(r"^\d+\. (\w+)", text, re.MULTILINE)
    assert [f"### {i}. `{name}`" for i, name in enumerate(items, 1)] == re.findall(r"^### .+", markdown, re.MULTILINE)
    assert markdown.count("Convention: ") == text.count("Convention: ")
    assert markdown.count("#### Adjoint of ") == len(re.findall(r"^ {6}\w+_bar", text, re.MULTILINE))
    assert r"\frac{\mathrm{d}}{\mathrm{d}u} \tanh\left(u\right) = 1 - {\tanh\left(u\right)}^{2}" in explain_model(
        neuron(), "markdown"
    )


@pytest.mark.parametrize(
    "explain", [lambda form: explain_model(neuron(), form), lambda form: explain_expression("x", form)]
)
def test_another_format_is_refused(explain):
    with pytest.raises(ValueError, match="format must be one of text, markdown, found 'html'"):
        explain("html")


# ---- determinism, the command

SCRIPT = """
import sys
sys.path[:0] = {path!r}
from test_explain import EXPRESSIONS, MODELS, explain_expression, explain_model
for form in ("text", "markdown"):
    for make in MODELS.values():
        print(explain_model(make(), form))
    for text in EXPRESSIONS[::4]:
        print(explain_expression(text, form))
"""


def test_the_same_text_under_every_hash_seed():
    outputs = set()
    for seed in ("0", "1", "2024"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        script = SCRIPT.format(path=sys.path)
        ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
        outputs.add(ran.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b"Derivatives of ") == 2 * (len(MODELS) + len(EXPRESSIONS[::4]))


def test_the_command_explains_an_expression():
    ran = CliRunner().invoke(main, ["explain", "--expr", "sqrt(1 + exp(x)**2)"])
    assert ran.exit_code == 0
    assert ran.stdout == explain_expression("sqrt(1 + exp(x)**2)")
    refused = CliRunner().invoke(main, ["explain", "--expr", "9**9**9**9", "--format", "markdown"])
    assert refused.exit_code == 2
    assert "exponent beyond 1000" in refused.output and "^" in refused.output


def test_the_command_explains_a_spec(tmp_path):
    spec = tmp_path / "line.py"
    spec.write_text(
        "from sympy import Sum\n"
        "from derivgen import Model\n"
        'model = Model("line")\n'
        'N = model.batch("N")\n'
        "n = model.indices(n=N)\n"
        'x, y = model.input("x", N), model.input("y", N)\n'
        'a = model.parameter("a")\n'
        "model.minimize(Sum((a*x[n] - y[n])**2, n))\n"
    )
    for form in ("text", "markdown"):
        ran = CliRunner().invoke(main, ["explain", str(spec), "--format", form])
        assert ran.exit_code == 0, ran.output
        assert "Derivatives of " in ran.output and "power rule" in ran.output


# ---- the kernels that it leads to


@pytest.mark.parametrize("name", ["option_greeks", "characters_transformer", "digits", "rosenbrock"])
@pytest.mark.parametrize("form", ["text", "markdown"])
def test_the_lines_of_docstrings_stand_in_the_module(name: str, form: str) -> None:
    """Each kernel of the committed module is there, with every line of its docstring."""
    folder = ROOT / "examples" / name
    explained = CliRunner().invoke(main, ["explain", str(folder / f"{name}.py"), "--format", form]).stdout
    found = explained.partition("Kernels of the module")[2].partition("Update rule")[0]
    module = (folder / f"{name}_kernels.py").read_text("utf-8").partition("# ---- what the model has")[0]
    names = re.findall(r"^@\w*kernel\ndef (\w+)", module, re.MULTILINE)
    assert re.findall(r"^ *`?(\w+)`?$", found, re.MULTILINE) == names
    for kernel in names:
        text = module.partition(f"\ndef {kernel}(")[2].split('"""')[1]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        own = re.split(rf"^ *`?{kernel}`?\n", found, flags=re.MULTILINE)[1]
        shown = [line.strip() for line in own.splitlines() if line.strip() not in ("", "```text", "```")]
        assert shown[: len(lines)] == lines
