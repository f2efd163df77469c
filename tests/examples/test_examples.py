"""The committed examples: up to date, right to the last digit, and doing what they say."""

from __future__ import annotations

import re
from statistics import median

import mpmath
import numpy as np
import pytest
from click.testing import CliRunner
from example_files import EXAMPLES, NAMES, kernels, script
from scipy.optimize import rosen, rosen_der

from derivgen.command.main import main
from derivgen.oracle.differences import compare_gradients
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import gradcheck
from derivgen.project.spec import load_target

# Sizes for the oracle, which takes long over large models: arguments of the spec's `build`.
SMALL = {
    "characters_gpt": {"classes": 3, "steps": 3, "features": 4, "heads": 2, "blocks": 1},
    "characters_lstm": {"classes": 5, "steps": 3, "features": 2, "units": 3},
    "characters_transformer": {"classes": 3, "steps": 3, "features": 4, "heads": 2, "units": 2, "blocks": 1},
    "digits_convolutional": {"size": 4, "filters": (2, 3, 2)},
    "wavenet": {"classes": 5, "steps": 6, "channels": 2, "blocks": 1},
}
LARGE = ("heat_equation", "matrix_factorization", "soft_forest")


def test_every_example_is_checked_and_up_to_date():
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 0, result.output
    in_c = [path for name in NAMES for path in (EXAMPLES / name).glob(f"{name}_kernels.[ch]")]
    assert in_c and f"{len(NAMES) + len(in_c)} up to date" in result.output
    assert result.stderr == ""


@pytest.mark.parametrize("name", NAMES)
def test_gradients_in_float64_against_the_oracle(name):
    if name in SMALL:
        model = script(name, name).build(**SMALL[name])
    else:
        model = load_target(str(EXAMPLES / name / f"{name}.py")).model
    worst = max(gradcheck(model, "float64", rows=2 if name in LARGE else 3), key=lambda c: c.error)
    assert worst.error <= 1e-12, worst


def test_digits_reach_97_percent_over_five_seeds():
    digits = script("digits")
    assert median(digits.main(seed, progress=False) for seed in range(5)) >= 0.97


def test_first_steps_by_hand():
    """Loss, gradients and step from the formulas at 30 digits, and the figures that the example's text states."""
    module, example = kernels("first_steps"), script("first_steps")
    with mpmath.workdps(30):
        z = [mpmath.mpf("0.5") * (1 + 2) + mpmath.mpf("0.1"), mpmath.mpf("0.5") * (3 + 4) + mpmath.mpf("0.1")]
        a = [mpmath.tanh(value) for value in z]
        delta = [(a_n - y_n) * (1 - a_n**2) for a_n, y_n in zip(a, (5, 6), strict=True)]
        loss = ((a[0] - 5) ** 2 + (a[1] - 6) ** 2) / 2
        gradient = [delta[0] + 3 * delta[1], 2 * delta[0] + 4 * delta[1], delta[0] + delta[1]]
        stepped = [start - g / 10 for start, g in zip((0.5, 0.5, mpmath.mpf("0.1")), gradient, strict=True)]
    parameters = module.initial_parameters()
    found, found_gradient = module.loss_and_gradient(parameters, x=example.X, y=example.Y)
    module.update(parameters, found_gradient, module.optimizer_state(), learning_rate=example.LEARNING_RATE)
    assert found == pytest.approx(float(loss), rel=1e-14)
    np.testing.assert_allclose(found_gradient, [float(g) for g in gradient], rtol=1e-13)
    np.testing.assert_allclose(parameters, [float(v) for v in stepped], rtol=1e-14)
    stated = re.findall(r"-?\d+\.\d{8}", example.__doc__)
    for value in (loss, *gradient, *stepped):
        assert f"{float(value):.8f}" in stated


def test_what_the_mistakes_in_first_steps_lead_to():
    """Every figure that its text states, from the formulas at 30 digits: those of the step, and those of mistakes."""
    tanh, samples, targets = mpmath.tanh, ((1, 2), (3, 4)), (5, 6)

    def loss(w1, w2, b):
        return sum((tanh(w1 * p + w2 * q + b) - y) ** 2 for (p, q), y in zip(samples, targets, strict=True)) / 2

    with mpmath.workdps(30):
        half, tenth = mpmath.mpf("0.5"), mpmath.mpf("0.1")
        a = [tanh(half * (p + q) + tenth) for p, q in samples]
        off = [value - y for value, y in zip(a, targets, strict=True)]
        slope = [1 - value**2 for value in a]
        delta = [e * s for e, s in zip(off, slope, strict=True)]
        W_bar, b_bar = [delta[0] + 3 * delta[1], 2 * delta[0] + 4 * delta[1]], sum(delta)
        w1, w2, b = (start - tenth * g for start, g in ((half, W_bar[0]), (half, W_bar[1]), (tenth, b_bar)))
        rounded = [mpmath.mpf(round(100 * value)) / 100 for value in a]
        figures = [*a, *off, *(e**2 for e in off), loss(half, half, tenth), *slope, *delta, *W_bar, b_bar, w1, w2, b]
        figures += [loss(w1, w2, b), loss(w1, w2, tenth), loss(1 - w1, 1 - w2, tenth + tenth * b_bar)]
        figures += [off[0] + 3 * off[1], 1 - tanh(a[0]) ** 2, a[0] * (1 - a[0])]
        figures += [delta[0] * half, delta[0] * w1, w1 / half, 2 * W_bar[0], W_bar[0] / 2]
        figures += [(r - y) * (1 - r**2) for r, y in zip(rounded, targets, strict=True)]
        expected = {f"{float(value):.8f}".replace("-0.00000000", "0.00000000") for value in figures}
    assert {*re.findall(r"-?\d+\.\d{8}", script("first_steps").__doc__)} == expected


def test_xor_is_learned():
    outputs = script("xor").main()
    assert (outputs > 0.5).tolist() == [False, True, True, False]


def test_rosenbrock_against_scipy():
    module = kernels("rosenbrock")
    x = module.initial_parameters()
    loss, gradient = module.loss_and_gradient(x)
    assert loss == pytest.approx(rosen(x), rel=1e-14)
    np.testing.assert_allclose(gradient, rosen_der(x), rtol=1e-13, atol=1e-11)
    for minimizer in script("rosenbrock").main():
        np.testing.assert_allclose(minimizer, np.ones(10), atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_heat_equation_against_the_exact_solution(seed):
    assert script("heat_equation").main(seed) <= 2e-3


def test_the_oracle_itself_is_not_the_module():
    """A gradient with one wrong element is found."""
    model = load_target(str(EXAMPLES / "first_steps" / "first_steps.py")).model
    program = declared_program(model)
    values = {
        "x": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "y": np.array([[5.0], [6.0]]),
        "W": np.array([[0.5], [0.5]]),
        "b": np.array([0.1]),
    }
    module = kernels("first_steps")
    gradient = module.views(module.loss_and_gradient(module.initial_parameters(), values["x"], values["y"])[1])
    wrong = {name: g.copy() for name, g in gradient.items()}
    wrong["W"][1, 0] *= 1 + 1e-9
    assert max(c.error for c in compare_gradients(program, values, gradient)) <= 1e-12
    assert max(c.error for c in compare_gradients(program, values, wrong)) >= 1e-10
