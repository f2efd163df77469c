"""Connectionist temporal classification against PyTorch: lengths, repeated labels, what can't be emitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import agrees_with_the_oracle, execute, module_text

from derivgen import activations, losses
from derivgen.declare.model import Model
from derivgen.errors import SpecError
from derivgen.pipeline import declared_program
from derivgen.project.spec import load_target

LABELS = np.array([[1, 1, 3], [2, 3, 2], [3, 0, 0], [3, 3, 3]])  # of blank 0; what is beyond the length is not read
STEPS, COUNTS = np.array([5, 6, 3, 5]), np.array([3, 2, 1, 3])  # all are needed by the last row: 3 blank 3 blank 3


def data(blank: int = 0, classes: int = 5, times: int = 6) -> dict[str, np.ndarray]:
    """Logits, and labels that are other classes than the blank."""
    logits = 2 * np.random.default_rng(0).standard_normal((4, times, classes))
    return {"z": logits, "y": (LABELS + blank) % classes, "il": STEPS, "tl": COUNTS}


def declared(model: Model, values: dict[str, np.ndarray], **options: Any) -> Any:
    (N, T, C), L = values["z"].shape, values["y"].shape[1]
    z, y = model.parameter("z", N, T, C), model.labels("y", N, L, classes=C)
    il, tl = model.labels("il", N, classes=T + 1), model.labels("tl", N, classes=L + 1)
    return losses.ctc(activations.log_softmax(z, name="log_p"), y, il, tl, **options)


def torch_ctc(t: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    log_p = F.log_softmax(t["z"], -1).transpose(0, 1)
    return F.ctc_loss(log_p, t["y"], t["il"], t["tl"], **options)


def check(values: dict[str, np.ndarray], dtype: str = "float64", **options: Any) -> None:
    against_torch(lambda model: declared(model, values, **options), lambda t: torch_ctc(t, **options), values, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("reduction", "blank"), [("mean", 0), ("sum", 2), ("none", 4)])
def test_ctc_is_that_of_torch(reduction: str, blank: int, dtype: str) -> None:
    check(data(blank), dtype, blank=blank, reduction=reduction)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_may_have_no_label(dtype: str) -> None:
    check({**data(), "tl": np.array([0, 1, 0, 3])}, dtype)


def test_one_label_and_one_step() -> None:
    values = {"z": np.array([[[0.5, -1.0]]]), "y": np.array([[1]]), "il": np.array([1]), "tl": np.array([1])}
    check(values)


@pytest.mark.parametrize(("scale", "dtype"), [(1, "float32"), (30, "float32"), (30, "float64")])
def test_many_steps(scale: float, dtype: str) -> None:
    """Probabilities far below the smallest number, and labels of which many are equal."""
    rng = np.random.default_rng(1)
    values = {"z": scale * rng.standard_normal((2, 60, 4)), "y": rng.integers(1, 4, (2, 20))}
    check({**values, "il": np.array([60, 45]), "tl": np.array([20, 13])}, dtype)


LACKING = {"il": np.array([5, 6, 0, 4])}  # steps: too few for the last two rows


def test_labels_that_do_not_fit_count_nothing_with_zero_infinity() -> None:
    check({**data(), **LACKING}, zero_infinity=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_labels_that_do_not_fit_have_an_infinite_loss(dtype: str) -> None:
    values, model = {**data(), **LACKING}, Model("lacking")
    terms, n = declared(model, values, reduction="none", name="terms"), model.indices(n=4)
    model.minimize(sp.Sum(terms[n], n))
    model.predict(terms)
    module = execute(module_text(model, dtype))
    found = module.predict(values["z"].astype(dtype).ravel(), values["y"], values["il"], values["tl"])
    wanted = torch_ctc({name: torch.as_tensor(v) for name, v in values.items()}, reduction="none")
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12 if dtype == "float64" else 2e-5)
    assert np.isinf(found).tolist() == [False, False, True, True]


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_nan_passes_through(zero_infinity: bool) -> None:
    """What is no number is not what can't be emitted; beyond a row's steps nothing is read."""
    values, model = data(), Model("nan", dtype="float64")
    z = np.array(values["z"])
    z[0, 2], z[1, 3, 2], z[2, 3:] = np.nan, -np.inf, np.nan
    log_p, n = model.parameter("log_p", 4, 6, 5, init=z), model.indices(n=4)
    y, il, tl = model.labels("y", 4, 3, classes=5), model.labels("il", 4, classes=7), model.labels("tl", 4, classes=4)
    terms = losses.ctc(log_p, y, il, tl, zero_infinity=zero_infinity, reduction="none", name="terms")
    model.minimize(sp.Sum(terms[n], n))
    model.predict(terms)
    module = execute(module_text(model))
    with np.errstate(all="ignore"):
        found = module.predict(module.initial_parameters(), *(values[name] for name in ("y", "il", "tl")))
    assert np.isnan(found).tolist() == [True, False, False, False]
    assert np.isfinite(found[1:]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_all_sizes_at_run_time(dtype: str) -> None:
    """With a weight for each row, and padding of the labels that no class stands for."""

    def declare(model: Model) -> sp.Expr:
        N, T, L, C = model.batch("N"), model.batch("T"), model.batch("L"), model.sizes(C=5)
        n, t, c = model.indices(n=N, t=T, c=C)
        x, b, w = model.input("x", N, T, C), model.parameter("b", C), model.input("w", N)
        z = model.let("z", (n, t, c), x[n, t, c] * b[c])
        y = model.labels("y", N, L, classes=C, ignore=-1)
        il, tl = model.labels("il", N, classes=1000), model.labels("tl", N, classes=1000)
        return losses.ctc(activations.log_softmax(z, name="log_p"), y, il, tl, weights=w)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        terms = torch_ctc({**t, "z": t["x"] * t["b"], "y": t["y"].clamp(min=0)}, reduction="none")
        return (t["w"] * terms / t["tl"]).mean()

    beyond = np.arange(3) >= COUNTS[:, None]
    values = {**data(), "y": np.where(beyond, -1, LABELS), "w": np.array([0.5, 2.0, 1.0, 0.25])}
    values["x"] = values.pop("z")
    against_torch(
        declare, expected, {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in values.items()}, dtype
    )


def test_two_in_one_model_agree_with_the_oracle() -> None:
    """Where uninitialized memory is NaN; the second one's blank is the last class."""
    model = Model("two")
    N, T, C, L = model.batch("N"), *model.sizes(T=4, C=3, L=2)
    n, t, c = model.indices(n=N, t=T, c=C)
    x, b = model.input("x", N, T, C), model.parameter("b", C)
    y, il, tl = model.labels("y", N, L, classes=C), model.labels("il", N, classes=5), model.labels("tl", N, classes=3)
    log_p = activations.log_softmax(model.let("z", (n, t, c), x[n, t, c] * b[c]), name="log_p")
    first = losses.ctc(log_p, y, il, tl, name="first", zero_infinity=True)
    model.minimize(first + losses.ctc(log_p, y, il, tl, name="second", blank=2, reduction="sum", zero_infinity=True))
    agrees_with_the_oracle(model, {"N": 5})


# ---- wrong arguments

SPEC = """\
from derivgen import Model, losses

model = Model("wrong")
N, T, C = model.batch("N"), 4, 3
p, z = model.parameter("p", 2, T, C), model.input("z", N, C)
y, il, tl = model.labels("y", 2, 3, classes=C), model.labels("il", 2, classes=5), model.labels("tl", 2, classes=4)
w = model.input("w", 2)
model.minimize(losses.ctc({}))
"""
REFUSED = {
    "z, y, il, tl": ["log_probabilities (batch, time, classes)", "found 2 axes"],
    "w, y, il, tl": ["log_probabilities (batch, time, classes)", "found 1 axis"],
    "p, il, il, tl": ["labels of shape (2, targets)", "found il of shape (2)"],
    "p, y, w, tl": ["integers as input_lengths", "found w", "model.labels"],
    "p, y, il, y": ["target_lengths of shape (2)", "found y of shape (2, 3)"],
    "p, y, il, tl, blank=3": ["one of the 3 classes as blank", "found 3"],
    "p, y, il, tl, blank=-1": ["one of the 3 classes as blank", "found -1"],
    "p, y, il, tl, reduction='all'": ["ctc", '"mean", "sum" or "none"', "'all'"],
    "p, y, il, tl, weights=z": ["weights of shape (2)", "found z of shape (N, 3)"],
    "p, y, None, tl": ["a tensor as input_lengths", "None"],
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_argument_is_refused_at_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(SPEC.format(text))
    with pytest.raises(SpecError) as error:
        declared_program(load_target(str(path)).model)
    found = [p for p in error.value.problems if all(word in p.message for word in REFUSED[text])]
    assert found, error.value.problems
    assert found[0].place is not None
    assert found[0].place.line == 8
