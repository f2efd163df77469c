"""`derivgen summary`: layers in the order of the spec, with parameters, time and memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import fail, succeed

from derivgen.declare.model import Model
from derivgen.pipeline import cost_of, declared_program, summary_of
from derivgen.plan.cost_report import with_sizes
from derivgen.plan.summary import COLUMNS, layers_of, rounded, short
from derivgen.project.spec import load_target
from derivgen.schedule.cost import REAL_BYTES

SPEC = """
from derivgen import Model, activations, layers, losses, optimizers

model = Model("net")
N = model.batch("N")
z = layers.dense(model.input("x", N, 4), 4, activations.tanh, name="first")
z = layers.dense(z, 4, activations.tanh, name="second")
z = layers.dropout(layers.batch_norm(z, name="norm"), 0.5, name="drop")
z = layers.dense(z, 3, name="logits")
model.minimize(losses.softmax_cross_entropy(z, model.labels("y", N, classes=3)))
model.predict(z)
model.update(optimizers.adam())
"""
SHARED = """
from sympy import Sum, tanh
from derivgen import Model

model = Model("tied")
N, T = model.batch("N"), model.batch("T")
D, E = model.sizes(D=3, E=3)
n, t, d, e = model.indices(n=N, t=T, d=D, e=E)
x, W = model.input("x", N, T, D), model.parameter("W", D, E, init="normal")
unused = model.parameter("unused", D)
a = model.let("a", (n, t, e), tanh(Sum(x[n, t, d] * W[d, e], d)))
b = model.let("b", (n, t, d), Sum(a[n, t, e] * W[d, e], e))
model.minimize(Sum((b[n, t, d] - x[n, t, d]) ** 2, n, t, d) / N)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(SPEC)
    Path("tied.py").write_text(SHARED)


def rows_of(text):
    """The cells of the table, which two spaces or more lie between, by the first cell."""
    lines = text.split("\n\n")[0].splitlines()[2:]
    return {line.split()[0]: re.split(r"\s{2,}", line.strip())[1:] for line in lines}


def test_layers_stand_in_the_order_of_the_spec():
    text = succeed("summary", "net.py")
    lines = text.splitlines()
    assert lines[0] == "net, float32"
    assert re.split(r"\s{2,}", lines[1].strip()) == list(COLUMNS)
    names = [name for name in rows_of(text) if "_" not in name]
    assert names == ["first", "second", "norm", "drop", "logits", "probabilities", "loss"]


def test_each_layer_has_its_shape_and_its_parameters():
    rows = rows_of(succeed("summary", "net.py"))
    assert rows["first"][:2] == ["(N, 4)", "20"] == rows["second"][:2]  # equal ones have a row each
    assert rows["first_W"] == ["(4, 4)"] and rows["second_b"] == ["(4)"]
    assert rows["norm"][1] == "16"
    assert rows["norm_running_mean"] == ["(4)", "not trained"] or rows["norm_running_mean"] == ["(4)", "shared"]
    assert rows["loss"][0] == "a number"


def test_totals_are_those_of_the_module():
    text = succeed("summary", "net.py")
    count = 2 * (4 * 4 + 4) + 4 * 4 + (4 * 3 + 3)
    assert f"parameters: {count}, of which 8 are not trained" in text
    assert f"parameters take {4 * count} bytes" in text
    assert f"parameters take {8 * count} bytes" in succeed("summary", "net.py", "--dtype", "float64")


def test_parameters_of_several_layers_count_once():
    text = succeed("summary", "tied.py")
    tied, beside = (line for line in text.splitlines() if line.startswith("  W"))
    assert not tied.endswith("shared") and beside.endswith("shared")
    assert "parameters: 12\n" in text
    assert rows_of(text)["unused"] == ["(3)"]


@pytest.mark.parametrize("spec", ["net.py", "tied.py"])
def test_the_columns_add_up_to_a_step(spec):
    """By the report itself: each of its rows is of one layer of the summary."""
    model = load_target(spec).model
    report = with_sizes(cost_of(model, "float32"), {"N": 8, "T": 4})
    owners = [layer.costs for layer in layers_of(declared_program(model))]
    assert all(sum(row.name in costs for costs in owners) == 1 for row in report.layers)
    step = short(report.step.nanoseconds(REAL_BYTES["float32"]))
    assert f"a whole step {step} ns" in summary_of(model, report, 80)


def test_a_size_makes_numbers():
    sized = succeed("summary", "net.py", "--size", "N=32")
    times = [cell for row in rows_of(sized).values() for cell in row[2:]]
    assert times and not any("N" in cell for cell in times)
    assert "has no run-time size M; its run-time sizes are N" in fail("summary", "net.py", "--size", "M=3")
    assert "--size expects NAME=VALUE" in fail("summary", "net.py", "--size", "N=0")


def test_without_a_terminal_it_has_80_columns(monkeypatch):
    long = SPEC
    for name in ("first", "second"):
        long = long.replace(f'"{name}"', f'"{name}_of_the_two_layers_that_are_equal"')
    Path("net.py").write_text(long)
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = succeed("summary", "net.py").splitlines()
    assert max(map(len, lines)) <= 80
    place = lines.index("first_of_the_two_layers_that_are_equal")
    assert lines[place + 1].split()[:3] == ["(N,", "4)", "20"]
    assert "  first_of_the_two_layers_that_are_equal_W  (4, 4)" in lines


def test_several_models_and_one_of_them():
    Path("two.py").write_text(SPEC + SHARED.replace("model", "other"))
    assert [text.splitlines()[0] for text in succeed("summary", "two.py").split("\n\n")[::3]] == [
        "net, float32",
        "tied, float32",
    ]
    assert succeed("summary", "two.py:tied").startswith("tied, float32\n")


def test_a_model_without_data_or_layers():
    model = Model("bowl")
    v = model.parameter("v")
    model.minimize(v**2)
    assert [layer.name for layer in layers_of(declared_program(model))] == ["loss"]
    assert "parameters: 1\n" in summary_of(model, cost_of(model, "float32"), 80)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.25, "0.25"), (999.4, "999"), (999.6, "1k"), (1234567, "1.23M"), (2.5e9, "2.5G"), (7e12, "7T")],
)
def test_numbers_have_three_digits(number, text):
    assert rounded(number) == text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("optimizers.gradient_descent(0.5)", "gradient_descent; learning_rate 0.5"),
        (
            "optimizers.adamw(schedules.cosine(0.001))",
            "adamw; learning_rate 0.001 by a schedule (decay_steps 1000, end_rate 0), beta_1 0.9, beta_2 0.999, "
            "epsilon 1e-08, weight_decay 0.01",
        ),
        (
            "optimizers.momentum(0.1, momentum=schedules.warm_up(schedules.step(0.9), 5))",
            "momentum; learning_rate 0.1, momentum 0.9 by a schedule (decay_rate 0.1, decay_steps 1000, "
            "warmup_steps 5)",
        ),
        ("optimizers.adagrad(schedules.inverse_square_root(0.1))", "adagrad; learning_rate 0.1 by a schedule, "),
        ("optimizers.clip_norm(optimizers.rmsprop(0.1), 2)", "rmsprop; learning_rate 0.1, rho 0.99, "),
    ],
)
def test_the_last_line_is_the_update_rule(rule, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    Path("net.py").write_text(
        SPEC.replace("optimizers.adam()", rule).replace("optimizers\n", "optimizers, schedules\n")
    )
    said = succeed("summary", "net.py").splitlines()[-1]
    assert said.startswith(f"update: {words}")
    rule = load_target("net.py").model.rule
    assert all(re.search(rf"\b{name} {value:.15g}", said) for name, value in rule.hyperparameters)


def test_without_a_rule_the_summary_says_so():
    assert succeed("summary", "tied.py").endswith(
        "\nupdate: gradient_descent; learning_rate 0.01, as the spec has no model.update\n"
    )
