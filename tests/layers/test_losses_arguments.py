"""Losses with labels, weights of classes, axes and pairs of rows against PyTorch; lets of terms; kinks; far from 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import agrees_with_the_oracle, execute, module_text
from test_losses import declared, with_options

from derivgen import activations, losses
from derivgen.declare.model import Model
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run

Tensors = dict[str, torch.Tensor]
BOTH_DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
# All of one with some of the other.
REDUCTIONS_AND_DTYPES = pytest.mark.parametrize(
    ("reduction", "dtype"), [("mean", "float64"), ("mean", "float32"), ("sum", "float64"), ("none", "float32")]
)


def reducing(reduction: str) -> dict[str, str]:
    """What a loss is called with."""
    return {"reduction": reduction, "name": "terms"} if reduction == "none" else {"reduction": reduction}


# ---- labels

LABELS = np.array([[2, -100, 0], [1, 1, 2]])


@REDUCTIONS_AND_DTYPES
@pytest.mark.parametrize("weighted", [False, True])
def test_negative_log_likelihood(weighted: bool, reduction: str, dtype: str) -> None:
    def declare(model: Model) -> Any:
        z, y = model.parameter("z", 2, 3, 4), model.labels("y", 2, 3, classes=4, ignore=-100)
        w = model.input("w", 4) if weighted else None
        log_p = activations.log_softmax(z, name="log_p")
        return losses.negative_log_likelihood(log_p, y, class_weights=w, **reducing(reduction))

    def expected(t: Tensors) -> torch.Tensor:
        log_p, weight = F.log_softmax(t["z"], -1).movedim(-1, 1), t["w"] if weighted else None
        return F.nll_loss(log_p, t["y"], weight, reduction=reduction)

    values = {"y": LABELS, "w": np.array([0.5, 2.0, 1.0, 3.0], dtype)}
    against_torch(declare, expected, values if weighted else {"y": LABELS}, dtype=dtype)


@REDUCTIONS_AND_DTYPES
@pytest.mark.parametrize("given", ["logits", "probabilities"])
def test_smoothed_cross_entropy_with_weights_and_an_ignored_label(given: str, reduction: str, dtype: str) -> None:
    """Weights of classes and of rows together."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2, 3, 4)) if given == "logits" else rng.dirichlet(np.ones(4), (2, 3))
    values = {"z": z.astype(dtype), "y": LABELS, "w": np.array([0.5, 2, 1, 3], dtype), "r": np.array([0.25, 4], dtype)}

    def declare(model: Model) -> Any:
        z, y = model.parameter("z", 2, 3, 4), model.labels("y", 2, 3, classes=4, ignore=-100)
        loss = losses.softmax_cross_entropy if given == "logits" else losses.categorical_cross_entropy
        classes, rows = model.input("w", 4), model.input("r", 2)
        return loss(z, y, label_smoothing=0.2, class_weights=classes, weights=rows, **reducing(reduction))

    def expected(t: Tensors) -> torch.Tensor:
        log_p = F.log_softmax(t["z"], -1) if given == "logits" else t["z"].log()
        own = -log_p.gather(-1, t["y"].clamp(min=0)[..., None])[..., 0] * t["w"][t["y"].clamp(min=0)]
        terms = (0.8 * own - 0.2 * (t["w"] * log_p).mean(-1)) * (t["y"] >= 0)
        if given == "logits":
            torchs = F.cross_entropy(t["z"].movedim(-1, 1), t["y"], t["w"], reduction="none", label_smoothing=0.2)
            torch.testing.assert_close(terms, torchs, rtol=1e-12, atol=0)
        terms = terms * t["r"][:, None]
        counted = t["w"][t["y"][t["y"] >= 0]].sum()
        return {"mean": terms.sum() / counted, "sum": terms.sum(), "none": terms}[reduction]

    against_torch(declare, expected, values, dtype=dtype)


@REDUCTIONS
def test_cross_entropy_of_distributions_is_a_let_too(reduction: str) -> None:
    values = {"t": np.random.default_rng(0).dirichlet(np.ones(3), 4)}

    def declare(model: Model) -> Any:
        return losses.softmax_cross_entropy(model.parameter("z", 4, 3), model.input("t", 4, 3), **reducing(reduction))

    against_torch(declare, lambda t: F.cross_entropy(t["z"], t["t"], reduction=reduction), values)


@BOTH_DTYPES
@pytest.mark.parametrize("gamma", [0, 1, 2.5])
def test_categorical_focal(gamma: float, dtype: str) -> None:
    def declare(model: Model) -> Any:
        p = activations.softmax(model.parameter("z", 5, 3), name="p")
        return losses.categorical_focal(p, model.labels("y", 5, classes=3), gamma=gamma, alpha=0.75)

    def expected(t: Tensors) -> torch.Tensor:
        p = F.softmax(t["z"], -1).gather(-1, t["y"][:, None])
        return (-0.75 * (1 - p) ** gamma * p.log()).mean()

    against_torch(declare, expected, dtype=dtype)


@REDUCTIONS
@pytest.mark.parametrize("p", [1, 2])
def test_multi_class_hinge_with_weights_of_classes(p: int, reduction: str) -> None:
    def declare(model: Model) -> Any:
        z, y, w = model.parameter("z", 5, 3), model.labels("y", 5, classes=3), model.input("w", 3)
        return losses.multi_class_hinge(z, y, p=p, class_weights=w, **reducing(reduction))

    def expected(t: Tensors) -> torch.Tensor:
        return F.multi_margin_loss(t["z"], t["y"], p=p, weight=t["w"], reduction=reduction)

    against_torch(declare, expected, {"w": np.array([0.5, 2.0, 3.0])})


@REDUCTIONS_AND_DTYPES
def test_categorical_hinge(reduction: str, dtype: str) -> None:
    """By Keras's definition, of one-hot targets; the last row's other scores are all below 0."""
    scores = np.array([[0.5, 0.25, -1], [2, -1, 0.5], [-0.5, 0.25, -0.75]], dtype)

    def declare(model: Model) -> Any:
        z, y = model.parameter("z", 3, 3), model.labels("y", 3, classes=3)
        return losses.categorical_hinge(z, y, **reducing(reduction))

    def expected(t: Tensors) -> torch.Tensor:
        target = F.one_hot(t["y"], 3)
        terms = torch.relu(1 - (target * t["z"]).sum(-1) + ((1 - target) * t["z"]).max(-1).values)
        return {"mean": terms.mean, "sum": terms.sum, "none": lambda: terms}[reduction]()

    against_torch(declare, expected, {"z": scores, "y": np.array([1, 2, 1])}, dtype=dtype)


# ---- several classes at once


@BOTH_DTYPES
def test_pos_weight_of_each_class(dtype: str) -> None:
    """PyTorch gives its own no gradient, so the formula is the reference."""

    def declare(model: Model) -> Any:
        z, t, w = model.parameter("z", 2, 5, 3), model.input("t", 2, 5, 3), model.parameter("w", 3)
        return losses.sigmoid_cross_entropy(z, t, pos_weight=w)

    def expected(t: Tensors) -> torch.Tensor:
        loss = (t["w"] * t["t"] * F.softplus(-t["z"]) + (1 - t["t"]) * F.softplus(t["z"])).mean()
        own = F.binary_cross_entropy_with_logits(t["z"], t["t"], pos_weight=t["w"].detach())
        torch.testing.assert_close(loss, own, rtol=1e-12, atol=0)
        return loss

    rng = np.random.default_rng(0)
    values = {"t": rng.integers(0, 2, (2, 5, 3)), "w": np.array([0.5, 2.0, 3.0])}
    against_torch(declare, expected, {name: v.astype(dtype) for name, v in values.items()}, dtype=dtype)


@pytest.mark.parametrize("declare_weight", [lambda m: m.parameter("k"), lambda m: m.input("k"), lambda m: 2.5])
def test_pos_weight_of_all_classes(declare_weight: Callable[[Model], Any]) -> None:
    """A parameter, a number of the caller, and a number of the spec."""

    def declare(model: Model) -> Any:
        z, t = model.parameter("z", 4, 3), model.labels("t", 4, 3, classes=2, ignore=-1)
        return losses.sigmoid_cross_entropy(z, t, pos_weight=declare_weight(model))

    def expected(t: Tensors) -> torch.Tensor:
        z, y = t["z"][t["t"] >= 0], t["t"][t["t"] >= 0].double()
        return (t["k"] * y * F.softplus(-z) + (1 - y) * F.softplus(z)).mean()

    values = {"t": np.random.default_rng(1).integers(-1, 2, (4, 3))}
    against_torch(declare, expected, {**values, "k": np.array(2.5)})


@BOTH_DTYPES
def test_multi_label_soft_margin_with_weights_of_classes(dtype: str) -> None:
    """Targets that are labels of two classes."""

    def declare(model: Model) -> Any:
        z, t, w = model.parameter("z", 5, 3), model.labels("t", 5, 3, classes=2), model.input("w", 3)
        return losses.multi_label_soft_margin(z, t, class_weights=w)

    def expected(t: Tensors) -> torch.Tensor:
        return F.multilabel_soft_margin_loss(t["z"], t["t"].double(), t["w"])

    against_torch(declare, expected, {"w": np.array([0.5, 2.0, 3.0], dtype)}, dtype=dtype)


def test_multi_label_losses_leave_out_what_is_not_known() -> None:
    """A label of a class that is absent takes its summand out of the row, not the row."""
    values = {"t": np.array([[1, -1, 0], [0, 1, 1], [-1, -1, -1]])}

    def declare(model: Model) -> Any:
        z, t = model.parameter("z", 3, 3), model.labels("t", 3, 3, classes=2, ignore=-1)
        p = activations.softmax(z, name="p")
        return losses.multi_label_soft_margin(z, t) + losses.dice(p, t, axis=-1) + losses.tversky(p, t)

    def expected(t: Tensors) -> torch.Tensor:
        known, y, p = (t["t"] >= 0).double(), t["t"].clamp(min=0).double(), F.softmax(t["z"], -1)
        binary = F.binary_cross_entropy_with_logits(t["z"], y, reduction="none")
        by_row = 1 - (2 * (known * p * y).sum(-1) + 1) / ((known * (p + y)).sum(-1) + 1)
        hits, wrong = (known * p * y).sum(), (known * ((1 - y) * p + y * (1 - p))).sum() / 2
        return (known * binary).mean() + by_row.mean() + 1 - (hits + 1) / (hits + wrong + 1)

    against_torch(declare, expected, values)


@BOTH_DTYPES
@pytest.mark.parametrize("axis", [None, 1, -1, (2, 3), [0, -1], (0, 1, 2, 3)], ids=str)
def test_dice_along_axes(axis: Any, dtype: str) -> None:
    def declare(model: Model) -> Any:
        p, t = model.parameter("p", 2, 3, 2, 4), model.input("t", 2, 3, 2, 4)
        return losses.dice(p, t, axis=axis, smooth=0.25) + losses.tversky(p, t, axis=axis, smooth=0, beta=2)

    def expected(t: Tensors) -> torch.Tensor:
        p, y, axes = t["p"], t["t"], (0, 1, 2, 3) if axis is None else axis
        hits, both = (p * y).sum(axes), (p + y).sum(axes)
        wrong = (0.5 * (1 - y) * p + 2 * y * (1 - p)).sum(axes)
        return (1 - (2 * hits + 0.25) / (both + 0.25)).mean() + (1 - hits / (hits + wrong)).mean()

    rng = np.random.default_rng(0)
    values = {name: rng.uniform(0.1, 0.9, (2, 3, 2, 4)).astype(dtype) for name in "pt"}
    against_torch(declare, expected, values, dtype=dtype)


# ---- distributions


def test_negative_binomial_is_that_of_scipy() -> None:
    """Counts of 0 too; far from 0 SciPy itself is not exact."""
    z, t, r = np.meshgrid([-3.0, -0.5, 1.0, 4.0], [0.0, 1.0, 7.0, 300.0], [0.1, 2.0, 50.0])
    model = Model("counts", dtype="float64")
    names = {"z": z, "t": t, "r": r}
    tensors = [model.parameter(name, *value.shape, init=value) for name, value in names.items()]
    loss = losses.negative_binomial_negative_log_likelihood
    terms, at = loss(*tensors, full=True, reduction="none", name="terms"), model.local_indices(*z.shape)
    model.minimize(sp.Sum(terms[at], *at))
    model.predict(terms)
    module = execute(module_text(model))
    wanted = -scipy.stats.nbinom.logpmf(t, r, r / (r + np.exp(z)))
    np.testing.assert_allclose(module.predict(module.initial_parameters()), wanted, rtol=1e-11, atol=1e-12)


@BOTH_DTYPES
def test_negative_binomial_with_a_learned_count_for_each_feature(dtype: str) -> None:
    """Rows at run time; the counts are exponentials of a parameter."""

    def declare(model: Model) -> Any:
        N, D = model.batch("N"), model.sizes(D=3)
        n, d = model.indices(n=N, d=D)
        x, t, b, k = model.input("x", N, D), model.input("t", N, D), model.parameter("b", D), model.parameter("k", D)
        z = model.let("z", (n, d), x[n, d] * b[d])
        count = model.let("count", d, sp.exp(k[d]))
        return losses.negative_binomial_negative_log_likelihood(z, t, count, full=True)

    def expected(t: Tensors) -> torch.Tensor:
        count = t["k"].exp()
        return -torch.distributions.NegativeBinomial(count, logits=t["x"] * t["b"] - t["k"]).log_prob(t["t"]).mean()

    values = {"t": np.random.default_rng(0).integers(0, 9, (5, 3)).astype(dtype)}
    against_torch(declare, expected, values, dtype=dtype, rows=5)


def test_a_variance_below_its_bound_has_the_derivative_of_torch() -> None:
    values = {"v": np.array([0.0, -1.0, 0.25, 2.0]), "m": np.array([0.5, -1, 2, 0.1])}

    def declare(model: Model) -> Any:
        m, t, v = model.parameter("m", 4), model.input("t", 4), model.parameter("v", 4)
        return losses.gaussian_negative_log_likelihood(m, t, v, epsilon=0.5)

    def expected(t: Tensors) -> torch.Tensor:
        v = t["v"] + (t["v"].clamp(min=0.5) - t["v"]).detach()  # PyTorch's own refuses a negative variance
        return ((v.log() + (t["m"] - t["t"]) ** 2 / v) / 2).mean()

    against_torch(declare, expected, values)


# ---- embeddings


@REDUCTIONS_AND_DTYPES
@pytest.mark.parametrize("margin", [0, 0.3])
def test_cosine_embedding(margin: float, reduction: str, dtype: str) -> None:
    def declare(model: Model) -> Any:
        a, b, t = model.parameter("a", 6, 5), model.parameter("b", 6, 5), model.input("t", 6)
        return losses.cosine_embedding(a, b, t, margin=margin, **reducing(reduction))

    def expected(t: Tensors) -> torch.Tensor:
        return F.cosine_embedding_loss(t["a"], t["b"], t["t"], margin=margin, reduction=reduction)

    against_torch(declare, expected, {"t": np.array([1, -1, -1, 1, -1, -1.0], dtype)}, dtype=dtype)


@REDUCTIONS_AND_DTYPES
def test_info_nce(reduction: str, dtype: str) -> None:
    def declare(model: Model) -> Any:
        q, k = model.parameter("q", 4, 3), model.parameter("k", 4, 3)
        return losses.info_nce(q, k, temperature=0.5, reduction=reduction, name="pairs")

    def expected(t: Tensors) -> torch.Tensor:
        return F.cross_entropy(t["q"] @ t["k"].T / 0.5, torch.arange(4), reduction=reduction)

    against_torch(declare, expected, dtype=dtype)


@BOTH_DTYPES
def test_info_nce_both_ways_of_a_batch(dtype: str) -> None:
    """Rows at run time, as of a model of images and texts."""

    def declare(model: Model) -> Any:
        N, D = model.batch("N"), model.sizes(D=3)
        n, d = model.indices(n=N, d=D)
        x, y, b = model.input("x", N, D), model.input("y", N, D), model.parameter("b", D)
        z = model.let("z", (n, d), x[n, d] * b[d])
        return losses.info_nce(z, y, name="there") + losses.info_nce(y, z, name="back")

    def expected(t: Tensors) -> torch.Tensor:
        scores, own = (t["x"] * t["b"]) @ t["y"].T / 0.1, torch.arange(5)
        return F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)

    against_torch(declare, expected, dtype=dtype, rows=5)


# ---- the let of the terms


def test_a_spec_weighs_and_sums_the_terms() -> None:
    """Rows at run time, and two losses of which the larger one counts."""

    def declare(model: Model) -> Any:
        N, D = model.batch("N"), model.sizes(D=3)
        n, d = model.indices(n=N, d=D)
        x, y, b = model.input("x", N, D), model.labels("y", N, classes=D), model.parameter("b", D)
        z = model.let("z", (n, d), x[n, d] * b[d])
        near = losses.cosine(z, x, reduction="none", name="near")
        sure = losses.softmax_cross_entropy(z, y, reduction="none", name="sure")
        return sp.Sum(sp.Max(near[n], sure[n]) ** 2, n)

    def expected(t: Tensors) -> torch.Tensor:
        z = t["x"] * t["b"]
        near, sure = 1 - F.cosine_similarity(z, t["x"]), F.cross_entropy(z, t["y"], reduction="none")
        return (torch.maximum(near, sure) ** 2).sum()

    against_torch(declare, expected, rows=5)


def test_the_terms_of_one_row_have_no_axes() -> None:
    model = Model("row")
    w, t = model.parameter("w", 3), model.input("t", 3)
    term = losses.cosine(w, t, reduction="none", name="term")
    assert isinstance(term, sp.Symbol)
    model.minimize(term**2 + losses.dice(w, t, reduction="none", name="overlap"))
    agrees_with_the_oracle(model)


# ---- kinks, by derivgen's conventions

KINKS: dict[str, tuple[Callable[..., Any], dict[str, list[Any]], dict[str, list[Any]]]] = {
    "smooth_l1 at beta": (
        with_options(losses.smooth_l1, beta=2),
        {"p": [2, -2, 0], "t": [0, 0, 0]},
        {"p": [1 / 3, -1 / 3, 0]},
    ),
    "hinge_embedding at its margin": (losses.hinge_embedding, {"p": [1, 1], "t": [-1, 1]}, {"p": [0, 0.5]}),
    "margin_ranking": (losses.margin_ranking, {"a": [1, 0], "b": [1, 1], "t": [1, 1]}, {"a": [0, -0.5]}),
    "multi_label_margin": (
        losses.multi_label_margin,
        {"x": [[1, 0, 2]], "t": [[1, 0, 0]]},
        {"x": [[-1 / 3, 0, 1 / 3]]},
    ),
    "contrastive": (losses.contrastive, {"d": [1, 0], "t": [0, 0]}, {"d": [0, -1]}),
    "cosine_embedding": (
        losses.cosine_embedding,
        {"a": [[1, 0], [1, 0]], "b": [[0, 2], [0, 2]], "t": [-1, 1]},
        {"a": [[0, 0], [0, -0.5]]},
    ),
    "triplet, p=1": (
        with_options(losses.triplet, p=1),
        {"a": [[0, 1]], "p": [[0, 0]], "n": [[2, 1]]},
        {"a": [[0, 0]]},  # at its margin
    ),
    "triplet, p=3": (
        with_options(losses.triplet, p=3),
        {"a": [[0, 0]], "p": [[0, 0]], "n": [[0, 0]]},
        {"a": [[0, 0]], "p": [[0, 0]], "n": [[0, 0]]},
    ),
    "triplet, swap": (
        with_options(losses.triplet, swap=True),
        {"a": [[0.0]], "p": [[1.0]], "n": [[0.5]]},  # the negative is as far from both: each has half
        {"a": [[-0.5]], "p": [[0.5]], "n": [[0]]},
    ),
}


@pytest.mark.parametrize("case", KINKS)
def test_kinks(case: str) -> None:
    loss, values, wanted = KINKS[case]
    _, _, found = declared(loss, {name: np.array(v, float) for name, v in values.items()})
    for name, expected in wanted.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-14, atol=1e-15)


# ---- far from 0

FAR_LOGITS = [[1e4, -1e4, 0], [-30, 5, 40], [0.3, -0.1, 0.2]]
FAR: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "soft_margin": (losses.soft_margin, FAR_LOGITS, [[1, 1, -1], [-1, -1, 1], [1, -1, 1]]),
    "multi_label_soft_margin": (losses.multi_label_soft_margin, FAR_LOGITS, [[1, 1, 0], [0, 0, 1], [1, 0, 1]]),
    "sigmoid_cross_entropy": (
        with_options(losses.sigmoid_cross_entropy, pos_weight=3, label_smoothing=0.1),
        FAR_LOGITS,
        [[1, 1, 0], [0, 0, 1], [1, 0, 1]],
    ),
    "negative_log_likelihood": (
        lambda z, y: losses.negative_log_likelihood(activations.log_softmax(z, name="log_p"), y),
        FAR_LOGITS,
        [1, 0, 2],
    ),
    "negative_binomial": (
        with_options(losses.negative_binomial_negative_log_likelihood, total_count=2),
        [-1e3, -30, 0.5, 8],
        [0, 1, 5, 900],
    ),
}


@BOTH_DTYPES
@pytest.mark.parametrize("case", FAR)
def test_far_from_0_a_loss_is_that_of_the_oracle(case: str, dtype: str) -> None:
    loss, first, second = FAR[case]
    values = {"z": np.array(first, dtype), "t": np.array(second)}
    values["t"] = values["t"] if case == "negative_log_likelihood" else values["t"].astype(dtype)
    program, found, bars = declared(loss, values, dtype)
    eps = float(np.finfo(dtype).eps)
    assert oracle.relative_error(found, run(program, values, digits=200)[str(program.objective)][()]) <= 16 * eps
    wanted = oracle.gradient(program, values, ["z"], digits=200)["z"]
    assert oracle.relative_error(bars["z"], wanted) <= 16 * eps
