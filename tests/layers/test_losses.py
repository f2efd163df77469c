"""Losses against PyTorch, at their kinks, and far from 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import execute, module_text
from sampled import some

from derivgen import activations, losses
from derivgen.declare.model import Model
from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import module_gradient

Loss = Callable[..., sp.Expr]
Terms = Callable[..., torch.Tensor]
Shape = tuple[int, ...]

DRAWS: dict[str, Callable[[np.random.Generator, Shape], np.ndarray]] = {
    "real": lambda rng, shape: 2 * rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.1, 3, shape),
    "unit": lambda rng, shape: rng.uniform(0.01, 0.99, shape),
    "distribution": lambda rng, shape: rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
    "binary": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "sign": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "count": lambda rng, shape: rng.integers(0, 6, shape).astype(float),
}
DATA = ("binary", "sign", "count")  # of these no gradient is asked


def torch_focal(z: torch.Tensor, t: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    p = torch.sigmoid(z)
    of_truth = p * t + (1 - p) * (1 - t)
    weight = alpha * t + (1 - alpha) * (1 - t)
    return weight * (1 - of_truth) ** gamma * F.binary_cross_entropy_with_logits(z, t, reduction="none")


def torch_quantile(p: torch.Tensor, t: torch.Tensor, q: float) -> torch.Tensor:
    return torch.maximum(q * (t - p), (q - 1) * (t - p))


def torch_negative_binomial(z: torch.Tensor, t: torch.Tensor, r: Any) -> torch.Tensor:
    count = torch.as_tensor(r, dtype=torch.float64)
    return -torch.distributions.NegativeBinomial(count, logits=z - count.log()).log_prob(t)


def torch_multi_label_margin(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """From its lists of classes, which end at the first -1."""
    classes = torch.arange(t.shape[-1])
    lists = [
        sorted(c.item() if own else -1 for c, own in zip(classes, row, strict=True))[::-1] for row in t.flatten(0, -2)
    ]
    return F.multilabel_margin_loss(x.flatten(0, -2), torch.tensor(lists), reduction="none").reshape(t.shape[:-1])


def torch_smoothed(t: torch.Tensor, smoothing: float) -> torch.Tensor:
    return t * (1 - smoothing) + smoothing / 2


def with_options(loss: Loss, **options: Any) -> Loss:
    return lambda *tensors, **rest: loss(*tensors, **options, **rest)


def terms_of(reference: Terms, **options: Any) -> Terms:
    return lambda *tensors: reference(*tensors, **options, reduction="none")


# name: (the loss, how its tensors are drawn, its terms by PyTorch)
BY_ELEMENT: dict[str, tuple[Loss, tuple[str, ...], Terms]] = {
    "mean_squared_error": (losses.mean_squared_error, ("real", "real"), terms_of(F.mse_loss)),
    "mean_absolute_error": (losses.mean_absolute_error, ("real", "real"), terms_of(F.l1_loss)),
    "huber": (losses.huber, ("real", "real"), terms_of(F.huber_loss)),
    "huber, delta": (with_options(losses.huber, delta=2.5), ("real", "real"), terms_of(F.huber_loss, delta=2.5)),
    "mean_absolute_percentage_error": (
        with_options(losses.mean_absolute_percentage_error, epsilon=0.5),
        ("real", "real"),
        lambda p, t: 100 * (p - t).abs() / t.abs().clamp(min=0.5),
    ),
    "mean_squared_logarithmic_error": (
        losses.mean_squared_logarithmic_error,
        ("real", "positive"),
        lambda p, t: (torch.log1p(torch.relu(p)) - torch.log1p(t)) ** 2,
    ),
    "smooth_l1": (losses.smooth_l1, ("real", "real"), terms_of(F.smooth_l1_loss)),
    "smooth_l1, beta": (
        with_options(losses.smooth_l1, beta=2.5),
        ("real", "real"),
        terms_of(F.smooth_l1_loss, beta=2.5),
    ),
    "log_cosh": (losses.log_cosh, ("real", "real"), lambda p, t: torch.log(torch.cosh(p - t))),
    "quantile": (losses.quantile, ("real", "real"), lambda p, t: torch_quantile(p, t, 0.5)),
    "quantile, q": (with_options(losses.quantile, q=0.9), ("real", "real"), lambda p, t: torch_quantile(p, t, 0.9)),
    "binary_cross_entropy": (losses.binary_cross_entropy, ("unit", "unit"), terms_of(F.binary_cross_entropy)),
    "sigmoid_cross_entropy": (
        losses.sigmoid_cross_entropy,
        ("real", "unit"),
        terms_of(F.binary_cross_entropy_with_logits),
    ),
    "binary_cross_entropy, smooth": (
        with_options(losses.binary_cross_entropy, label_smoothing=0.2),
        ("unit", "unit"),
        lambda p, t: F.binary_cross_entropy(p, torch_smoothed(t, 0.2), reduction="none"),
    ),
    "sigmoid_cross_entropy, pos_weight": (
        with_options(losses.sigmoid_cross_entropy, pos_weight=2.5),
        ("real", "unit"),
        terms_of(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(2.5, dtype=torch.float64)),
    ),
    "sigmoid_cross_entropy, both": (
        with_options(losses.sigmoid_cross_entropy, pos_weight=0.5, label_smoothing=0.1),
        ("real", "binary"),
        lambda z, t: F.binary_cross_entropy_with_logits(
            z, torch_smoothed(t, 0.1), pos_weight=torch.tensor(0.5), reduction="none"
        ),
    ),
    "focal": (losses.focal, ("real", "binary"), lambda z, t: torch_focal(z, t, 0.25, 2)),
    "focal, options": (
        with_options(losses.focal, alpha=0.6, gamma=0.5),
        ("real", "binary"),
        lambda z, t: torch_focal(z, t, 0.6, 0.5),
    ),
    "hinge": (losses.hinge, ("real", "sign"), lambda p, t: torch.relu(1 - t * p)),
    "squared_hinge": (losses.squared_hinge, ("real", "sign"), lambda p, t: torch.relu(1 - t * p) ** 2),
    "soft_margin": (losses.soft_margin, ("real", "sign"), terms_of(F.soft_margin_loss)),
    "hinge_embedding": (losses.hinge_embedding, ("real", "sign"), terms_of(F.hinge_embedding_loss)),
    "hinge_embedding, margin": (
        with_options(losses.hinge_embedding, margin=-0.5),
        ("real", "sign"),
        terms_of(F.hinge_embedding_loss, margin=-0.5),
    ),
    "margin_ranking": (losses.margin_ranking, ("real", "real", "sign"), terms_of(F.margin_ranking_loss)),
    "margin_ranking, margin": (
        with_options(losses.margin_ranking, margin=0.75),
        ("real", "real", "sign"),
        terms_of(F.margin_ranking_loss, margin=0.75),
    ),
    "contrastive": (
        with_options(losses.contrastive, margin=1.5),
        ("positive", "binary"),
        lambda d, t: t * d**2 + (1 - t) * torch.relu(1.5 - d) ** 2,
    ),
    "gaussian": (
        losses.gaussian_negative_log_likelihood,
        ("real", "real", "positive"),
        terms_of(F.gaussian_nll_loss, eps=1e-300),
    ),
    "gaussian, full": (
        with_options(losses.gaussian_negative_log_likelihood, full=True),
        ("real", "real", "positive"),
        terms_of(F.gaussian_nll_loss, eps=1e-300, full=True),
    ),
    "gaussian, epsilon": (
        with_options(losses.gaussian_negative_log_likelihood, epsilon=0.8),
        ("real", "real", "positive"),
        terms_of(F.gaussian_nll_loss, eps=0.8),
    ),
    "poisson": (losses.poisson_negative_log_likelihood, ("real", "count"), terms_of(F.poisson_nll_loss)),
    "poisson, full": (
        with_options(losses.poisson_negative_log_likelihood, full=True),
        ("real", "count"),
        terms_of(F.poisson_nll_loss, full=True),
    ),
    "poisson, rate": (
        with_options(losses.poisson_negative_log_likelihood, log_input=False),
        ("positive", "count"),
        terms_of(F.poisson_nll_loss, log_input=False, eps=0),
    ),
    "poisson, epsilon": (
        with_options(losses.poisson_negative_log_likelihood, log_input=False, epsilon=0.25),
        ("positive", "count"),
        terms_of(F.poisson_nll_loss, log_input=False, eps=0.25),
    ),
    "negative binomial": (
        with_options(losses.negative_binomial_negative_log_likelihood, total_count=2.5),
        ("real", "count"),
        lambda z, t: torch_negative_binomial(z, t, 2.5) - torch.lgamma(t + 1),
    ),
    "negative binomial, full": (
        with_options(losses.negative_binomial_negative_log_likelihood, full=True),
        ("real", "count", "positive"),
        torch_negative_binomial,
    ),
    "negative binomial, mean": (
        with_options(losses.negative_binomial_negative_log_likelihood, full=True, log_input=False),
        ("positive", "count", "positive"),
        lambda m, t, r: torch_negative_binomial(m.log(), t, r),
    ),
}
BY_ROW: dict[str, tuple[Loss, tuple[str, ...], Terms]] = {
    "kullback_leibler": (
        losses.kullback_leibler,
        ("distribution", "distribution"),
        lambda p, t: F.kl_div(p.log(), t, reduction="none").sum(-1),
    ),
    "cosine": (losses.cosine, ("real", "real"), lambda p, t: 1 - F.cosine_similarity(p, t, dim=-1)),
    "triplet": (losses.triplet, ("real", "real", "real"), terms_of(F.triplet_margin_loss, eps=0)),
    "triplet, margin": (
        with_options(losses.triplet, margin=0.25),
        ("real", "real", "real"),
        terms_of(F.triplet_margin_loss, eps=0, margin=0.25),
    ),
    "triplet, epsilon": (
        with_options(losses.triplet, epsilon=0.01),
        ("real", "real", "real"),
        terms_of(F.triplet_margin_loss, eps=0.01),
    ),
    "triplet, p=1": (
        with_options(losses.triplet, p=1, margin=3),
        ("real", "real", "real"),
        terms_of(F.triplet_margin_loss, eps=0, p=1, margin=3.0),
    ),
    "triplet, p, swap": (
        with_options(losses.triplet, p=3, swap=True, margin=2),
        ("real", "real", "real"),
        terms_of(F.triplet_margin_loss, eps=0, p=3, swap=True, margin=2.0),
    ),
    "multi_label_soft_margin": (
        losses.multi_label_soft_margin,
        ("real", "binary"),
        terms_of(F.multilabel_soft_margin_loss),
    ),
    "multi_label_margin": (losses.multi_label_margin, ("real", "binary"), torch_multi_label_margin),
    "dice": (
        with_options(losses.dice, axis=-1, smooth=0.5),
        ("unit", "binary"),
        lambda p, t: 1 - (2 * (p * t).sum(-1) + 0.5) / (p.sum(-1) + t.sum(-1) + 0.5),
    ),
    "tversky": (
        with_options(losses.tversky, axis=-1, alpha=0.25, beta=0.75),
        ("unit", "binary"),
        lambda p, t: (
            1
            - ((p * t).sum(-1) + 1)
            / ((p * t).sum(-1) + 0.25 * (p * (1 - t)).sum(-1) + 0.75 * ((1 - p) * t).sum(-1) + 1)
        ),
    ),
}
BOTH = {**BY_ELEMENT, **BY_ROW}
SHAPES: list[Shape] = [(5, 3), (1, 7), (2, 3, 5)]


def check(case: str, shape: Shape, dtype: str, reduction: str, weighted: int = 0) -> None:
    """One loss against its terms by PyTorch; `weighted`: weights over so many axes."""
    loss, drawn, reference = BOTH[case]
    rng = np.random.default_rng(7)
    names = [f"x{k}" for k in range(len(drawn))]
    values = {name: DRAWS[kind](rng, shape).astype(dtype) for name, kind in zip(names, drawn, strict=True)}
    values |= {"w": rng.uniform(0.5, 2, shape[:weighted]).astype(dtype)} if weighted else {}

    def declare(model: Model) -> sp.Expr:
        tensors = [
            (model.input if kind in DATA else model.parameter)(name, *shape)
            for name, kind in zip(names, drawn, strict=True)
        ]
        weights = model.parameter("w", *shape[:weighted]) if weighted else None
        name = {"name": "terms"} if reduction == "none" else {}
        return loss(*tensors, weights=weights, reduction=reduction, **name)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        terms = reference(*(t[name] for name in names))
        if weighted:
            terms = terms * t["w"].reshape(t["w"].shape + (1,) * (terms.dim() - weighted))
        return {"mean": terms.mean, "sum": terms.sum, "none": lambda: terms}[reduction]()

    against_torch(declare, expected, values, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", BOTH)
def test_a_loss_is_that_of_torch(case: str, dtype: str) -> None:
    check(case, SHAPES[list(BOTH).index(case) % len(SHAPES)], dtype, "mean")


@pytest.mark.parametrize("case", some(BOTH))
def test_the_sum_of_weighted_terms(case: str) -> None:
    check(case, SHAPES[(list(BOTH).index(case) + 1) % len(SHAPES)], "float64", "sum", weighted=1)


@pytest.mark.parametrize("case", BOTH)
def test_the_terms_are_a_let(case: str) -> None:
    """With a weight for each row."""
    place = list(BOTH).index(case)
    check(case, SHAPES[place % len(SHAPES)], ("float64", "float32")[place % 2], "none", weighted=1)


@pytest.mark.parametrize("case", ["mean_squared_error", "kullback_leibler"])
def test_the_mean_of_terms_that_are_weighted_along_two_axes(case: str) -> None:
    check(case, (2, 3, 5), "float64", "mean", weighted=2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_at_run_time(dtype: str) -> None:
    """The mean over the rows of a batch, each with a weight that is data."""

    def declare(model: Model) -> sp.Expr:
        N, D = model.batch("N"), model.sizes(D=3)
        n, d = model.indices(n=N, d=D)
        x, t, w, b = model.input("x", N, D), model.input("t", N, D), model.input("w", N), model.parameter("b", D)
        z = model.let("z", (n, d), x[n, d] * b[d])
        return losses.huber(z, t, weights=w) + losses.cosine(z, t, weights=w)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        z, w = t["x"] * t["b"], t["w"]
        by_row = F.huber_loss(z, t["t"], reduction="none").mean(-1) + 1 - F.cosine_similarity(z, t["t"])
        return (w * by_row).mean()

    against_torch(declare, expected, dtype=dtype, rows=5)


# ---- with labels


def torch_cross_entropy(
    log_p: torch.Tensor, t: torch.Tensor, weight: torch.Tensor, smoothing: float, reduction: str
) -> torch.Tensor:
    """By the formula, of labels or distributions, from logarithms of probabilities."""
    if t.is_floating_point():
        terms = -(weight * ((1 - smoothing) * t + smoothing / t.shape[-1]) * log_p).sum(-1)
        return terms.mean() if reduction == "mean" else terms.sum()
    log_p, t = log_p[t >= 0], t[t >= 0]
    own = -weight[t] * log_p.gather(-1, t[:, None])[:, 0]
    terms = (1 - smoothing) * own - smoothing * (weight * log_p).mean(-1)
    return terms.sum() / weight[t].sum() if reduction == "mean" else terms.sum()


CROSS_ENTROPIES = [
    # rows, classes, label smoothing, class weights, an ignored label, reduction
    ((3,), 4, 0.0, False, False, "mean"),
    ((5,), 3, 0.1, False, False, "sum"),
    ((5,), 7, 0.0, True, False, "mean"),
    ((7,), 3, 0.25, True, True, "mean"),
    ((2, 3), 5, 0.0, False, True, "mean"),
    ((2, 3), 5, 0.1, True, True, "sum"),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", some(CROSS_ENTROPIES), ids=str)
@pytest.mark.parametrize("target", ["labels", "distribution"])
@pytest.mark.parametrize("given", ["logits", "probabilities"])
def test_cross_entropy(given: str, target: str, case: tuple[Any, ...], dtype: str) -> None:
    rows, C, smoothing, weighted, ignored, reduction = case
    rng = np.random.default_rng(3)
    z = rng.standard_normal((*rows, C)) if given == "logits" else rng.dirichlet(np.ones(C), rows)
    y = rng.integers(0, C, rows)
    if ignored:
        y.flat[1] = -100
    values = {"z": z.astype(dtype), "y": y if target == "labels" else rng.dirichlet(np.ones(C), rows).astype(dtype)}
    values["w"] = rng.uniform(0.5, 2, C).astype(dtype)

    def declare(model: Model) -> sp.Expr:
        p = model.parameter("z", *rows, C)
        w = model.parameter("w", C) if weighted else None
        if target == "labels":
            labels = model.labels("y", *rows, classes=C, ignore=-100 if ignored else None)
        else:
            labels = model.parameter("y", *rows, C)
        loss = losses.softmax_cross_entropy if given == "logits" else losses.categorical_cross_entropy
        return loss(p, labels, label_smoothing=smoothing, class_weights=w, reduction=reduction)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        weight = t["w"] if weighted else torch.ones(C, dtype=torch.float64)
        log_p = t["z"].log() if given == "probabilities" else F.log_softmax(t["z"], -1)
        loss = torch_cross_entropy(log_p, t["y"], weight, smoothing, reduction)
        if given == "logits":  # PyTorch's own has no gradient by the weights
            flat, fixed = t["y"].reshape((-1, C) if target == "distribution" else -1), weight.detach()
            own = F.cross_entropy(t["z"].reshape(-1, C), flat, fixed, label_smoothing=smoothing, reduction=reduction)
            torch.testing.assert_close(loss, own, rtol=1e-12, atol=0)
        return loss

    against_torch(declare, expected, values, dtype=dtype)


def test_cross_entropy_with_a_weight_for_each_row() -> None:
    rows = np.array([0.5, 2.0, 0.0, 1.5])
    values = {"y": np.array([1, 0, 2, -1]), "w": rows}

    def declare(model: Model) -> sp.Expr:
        labels = model.labels("y", 4, classes=3, ignore=-1)
        return losses.softmax_cross_entropy(model.parameter("z", 4, 3), labels, weights=model.input("w", 4))

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return (t["w"] * F.cross_entropy(t["z"], t["y"], ignore_index=-1, reduction="none")).sum() / 3

    against_torch(declare, expected, values)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"p": 2, "margin": 0.5}], ids=str)
@pytest.mark.parametrize("rows", [(5,), (2, 3)], ids=str)
def test_multi_class_hinge(rows: Shape, options: dict[str, Any], dtype: str) -> None:
    def declare(model: Model) -> sp.Expr:
        labels = model.labels("y", *rows, classes=3)
        return losses.multi_class_hinge(model.parameter("z", *rows, 3), labels, **options)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.multi_margin_loss(t["z"].reshape(-1, 3), t["y"].reshape(-1), **options)

    against_torch(declare, expected, dtype=dtype)


def test_multi_class_hinge_leaves_out_ignored_labels() -> None:
    def declare(model: Model) -> sp.Expr:
        labels = model.labels("y", 4, classes=3, ignore=-100)
        return losses.multi_class_hinge(model.parameter("z", 4, 3), labels)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.multi_margin_loss(t["z"][t["y"] >= 0], t["y"][t["y"] >= 0])

    against_torch(declare, expected, {"y": np.array([2, -100, 0, 1])})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_binary_labels_are_targets_and_may_be_ignored(dtype: str) -> None:
    def declare(model: Model) -> sp.Expr:
        labels = model.labels("y", 5, classes=2, ignore=-100)
        return losses.sigmoid_cross_entropy(model.parameter("z", 5), labels)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        there = t["y"] >= 0
        return F.binary_cross_entropy_with_logits(t["z"][there], t["y"][there].double())

    against_torch(declare, expected, {"y": np.array([1, -100, 0, 0, -100])}, dtype=dtype)


# ---- penalties


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_penalties(dtype: str) -> None:
    def declare(model: Model) -> sp.Expr:
        W, k = model.parameter("W", 3, 5), model.parameter("k")
        return losses.l1_penalty(W, 0.3) + losses.l2_penalty(W) + losses.l1_penalty(k) + losses.l2_penalty(k, 0.5)

    def expected(t: dict[str, torch.Tensor]) -> torch.Tensor:
        W, k = t["W"], t["k"]
        return 0.3 * W.abs().sum() + 0.01 * (W**2).sum() + 0.01 * k.abs() + 0.5 * k**2

    against_torch(declare, expected, dtype=dtype)


# ---- kinks


def declared(loss: Loss, values: dict[str, np.ndarray], dtype: str = "float64") -> tuple[Any, Any, dict[str, Any]]:
    """(program, loss, gradient by parameter) at the initial values; integers are labels, of three classes."""
    model = Model("at_a_point")
    tensors, labels = [], {}
    for name, value in values.items():
        if value.dtype.kind == "i":
            labels[name] = value
            tensors.append(model.labels(name, *value.shape, classes=3))
        else:
            tensors.append(model.parameter(name, *value.shape, init=value))
    model.minimize(loss(*tensors))
    program, module = declared_program(model), execute(module_text(model, dtype))
    given = {name: value.astype(dtype) if value.dtype.kind == "f" else value for name, value in values.items()}
    with np.errstate(all="ignore"):
        value = module.loss_and_gradient(module.initial_parameters(), **labels)[0]
        return program, value, module_gradient(module, program, given)


KINKS: dict[str, tuple[Loss, dict[str, list[Any]], dict[str, list[Any]]]] = {
    "absolute error": (losses.mean_absolute_error, {"p": [2, 1], "t": [2, 0]}, {"p": [0, 0.5], "t": [0, -0.5]}),
    "huber at delta": (
        with_options(losses.huber, delta=2),
        {"p": [2, -2, 0], "t": [0, 0, 0]},
        {"p": [2 / 3, -2 / 3, 0]},
    ),
    "quantile": (with_options(losses.quantile, q=0.75), {"p": [1, 2], "t": [1, 1]}, {"p": [0, 0.125]}),
    "hinge": (losses.hinge, {"p": [1, -1, 0], "t": [1, -1, 1]}, {"p": [0, 0, -1 / 3]}),
    "squared hinge": (losses.squared_hinge, {"p": [1, 0], "t": [1, 1]}, {"p": [0, -1]}),
    "multi-class hinge": (
        losses.multi_class_hinge,
        {"p": [[1, 0, -1], [0, 0, 0]], "y": [0, 1]},
        {"p": [[0, 0, 0], [1 / 6, -1 / 3, 1 / 6]]},
    ),
    "triplet at its margin": (
        with_options(losses.triplet, margin=0.5),
        {"a": [[0, 0]], "p": [[1, 0]], "n": [[0, 1.5]]},
        {"a": [[0, 0]], "p": [[0, 0]]},
    ),
    "triplet of equal points": (
        losses.triplet,
        {"a": [[1, 2]], "p": [[1, 2]], "n": [[1, 1.5]]},
        {"a": [[0, -1]], "p": [[0, 0]], "n": [[0, 1]]},
    ),
    "cosine with a zero": (
        with_options(losses.cosine, epsilon=0.5),
        {"p": [[0, 0]], "t": [[3, 4]]},
        {"p": [[-1.2, -1.6]], "t": [[0, 0]]},
    ),
    "penalty": (lambda w: losses.l1_penalty(w, 1), {"w": [0, -2]}, {"w": [0, -1]}),
}


@pytest.mark.parametrize("case", KINKS)
def test_kinks(case: str) -> None:
    loss, values, wanted = KINKS[case]
    arrays = {name: np.array(v, int if name == "y" else float) for name, v in values.items()}
    _, _, found = declared(loss, arrays)
    for name, expected in wanted.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-14, atol=0)


def test_an_empty_class_of_the_target_counts_nothing() -> None:
    """0·log(0) = 0, in the value and in the derivative."""
    p, t = np.array([[0.0, 0.25, 0.75]]), np.array([[0.0, 0.5, 0.5]])
    for loss, value in ((losses.kullback_leibler, 0.5 * np.log(4 / 3)), (losses.categorical_cross_entropy, None)):
        _, found, bars = declared(loss, {"p": p, "t": t})
        np.testing.assert_allclose(bars["p"], [[0, -2, -2 / 3]], rtol=1e-14)
        assert found == pytest.approx(0.5 * np.log(16 / 3) if value is None else value, rel=1e-14)
    _, found, bars = declared(losses.binary_cross_entropy, {"p": np.array([0.0, 1.0]), "t": np.array([0.0, 1.0])})
    assert found == 0
    assert bars["p"].tolist() == [0.5, -0.5]


# ---- far from 0

LOGITS = [[1e4, -1e4, 0], [1e4, 1e4, 9999], [-1e4, 9e3, -1e4], [-30, 5, 40], [0.3, -0.1, 0.2]]
TARGETS = [[0, 1, 0], [0.5, 0, 0.5], [1, 0, 0], [0.2, 0.3, 0.5], [0, 0, 1]]
POSITIVE = [[0.5, 0.25, 0.25], [0.125, 0.5, 0.375], [0.25, 0.5, 0.25], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]


def of_softmax(loss: Loss) -> Loss:
    return lambda z, *rest: loss(activations.softmax(z, name="p"), *rest)


def of_sigmoid(z: Any, t: Any) -> sp.Expr:
    indices = z.model.local_indices(*z.shape)
    return losses.binary_cross_entropy(z.model.let("p", indices, activations.sigmoid(z[indices])), t)


def of_softmaxes(z: Any, t: Any) -> sp.Expr:
    return losses.kullback_leibler(activations.softmax(z, name="p"), activations.softmax(t, name="q"))


FAR: dict[str, tuple[Loss, list[Any], list[Any]]] = {
    "softmax_cross_entropy": (losses.softmax_cross_entropy, LOGITS, [1, 2, 0, 0, 2]),
    "softmax_cross_entropy, smooth": (
        with_options(losses.softmax_cross_entropy, label_smoothing=0.1),
        LOGITS,
        [1, 2, 0, 0, 2],
    ),
    "softmax_cross_entropy of distributions": (losses.softmax_cross_entropy, LOGITS, TARGETS),
    "categorical_cross_entropy of a softmax": (of_softmax(losses.categorical_cross_entropy), LOGITS, [1, 2, 0, 0, 2]),
    "kullback_leibler of a softmax": (of_softmax(losses.kullback_leibler), LOGITS, POSITIVE),
    "kullback_leibler of two": (of_softmaxes, LOGITS, LOGITS[::-1]),
    "sigmoid_cross_entropy": (losses.sigmoid_cross_entropy, LOGITS, TARGETS),
    "binary_cross_entropy of a sigmoid": (of_sigmoid, LOGITS[0], TARGETS[3]),
    "focal": (losses.focal, LOGITS, np.round(TARGETS).tolist()),
    "focal, gamma": (with_options(losses.focal, gamma=0.5), LOGITS, np.round(TARGETS).tolist()),
    "log_cosh": (losses.log_cosh, LOGITS, TARGETS),
    "huber": (losses.huber, LOGITS, TARGETS),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", FAR)
def test_far_from_0_a_loss_is_that_of_the_oracle(case: str, dtype: str) -> None:
    loss, first, second = FAR[case]
    values = {"z": np.array(first, dtype), "t": np.array(second)}
    values["t"] = values["t"] if values["t"].ndim == 1 else values["t"].astype(dtype)
    program, found, bars = declared(loss, values, dtype)
    eps = float(np.finfo(dtype).eps)
    # As declared, 1 - sigmoid(1e4) is above 0 from 4,343 digits on, and a difference needs half as many again.
    digits = 7000 if loss is of_sigmoid else 200
    assert oracle.relative_error(found, run(program, values, digits=digits)[str(program.objective)][()]) <= 16 * eps
    wanted = oracle.gradient(program, values, list(bars), digits=digits)
    for name, bar in bars.items():
        assert oracle.relative_error(bar, wanted[name]) <= 16 * eps, name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("residual", [1e-12, -1e-6, 1e-3, 0.5, -0.999, 1.0, 3.0, -50.0, 1e4])
def test_log_cosh_is_exact_for_each_residual(residual: float, dtype: str) -> None:
    values = {"p": np.array([residual], dtype), "t": np.array([0], dtype)}
    program, found, bars = declared(losses.log_cosh, values, dtype)
    eps = float(np.finfo(dtype).eps)
    assert oracle.relative_error(found, run(program, values)[str(program.objective)][()]) <= 8 * eps
    wanted = oracle.gradient(program, values, ["p"])["p"]
    assert oracle.relative_error(bars["p"], wanted) <= 8 * eps


@pytest.mark.parametrize("logit", [-40.0, -20.0, -3.0, 3.0, 20.0, 40.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_confident_sigmoid_keeps_the_digits_of_its_loss(logit: float, target: float) -> None:
    """log(1 + exp(-40)) = 4e-18, and so is its derivative: neither is a difference of numbers near 1."""
    values = {"z": np.array([logit]), "t": np.array([target])}
    program, found, bars = declared(losses.sigmoid_cross_entropy, values)
    assert oracle.relative_error(found, run(program, values)[str(program.objective)][()]) <= 64 * 2e-16
    assert oracle.relative_error(bars["z"], oracle.gradient(program, values, ["z"], digits=80)["z"]) <= 64 * 2e-16
