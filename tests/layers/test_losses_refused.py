"""Wrong arguments of losses are refused at the spec's line."""

from __future__ import annotations

from pathlib import Path

import pytest

from derivgen.errors import SpecError
from derivgen.pipeline import declared_program
from derivgen.project.spec import load_target

SPEC = """\
import numpy as np
import sympy as sp
from derivgen import Model
from derivgen.losses import *

model = Model("wrong")
N, D, E = model.batch("N"), *model.sizes(D=3, E=4)
n, d = model.indices(n=N, d=D)
x, t, wide = model.input("x", N, D), model.input("t", N, D), model.input("wide", N, E)
w, c, r = model.input("w", N), model.constant("c", [1.0, 2.0]), model.input("r", 3)
y, y4 = model.labels("y", N, classes=D), model.labels("y4", N, D, classes=D)
W, k = model.parameter("W", D), model.parameter("k")
z = model.let("z", (n, d), W[d] * k * x[n, d])
model.minimize({})
"""

REFUSED = {
    "mean_squared_error(z, t, reduction='all')": ["mean_squared_error", '"mean", "sum" or "none"', "'all'"],
    "sp.Sum(mean_squared_error(z, t, reduction='none')[n, d], n, d)": [
        "mean_squared_error",
        "a name",
        '"none"',
        'name="…"',
    ],
    "mean_squared_error(z, t, name='terms')": ["mean_squared_error", "no name", '"mean"', "'terms'", "no let"],
    "mean_squared_error(z, wide)": ["expected target of shape (N, D)", "found wide of shape (N, E)"],
    "mean_squared_error(z, w)": ["expected target of shape (N, D)", "found w of shape (N)"],
    "mean_squared_error(z, t[n, d])": ["mean_squared_error", "a tensor as target", "t[n, d]"],
    "mean_squared_error(z, 1.0)": ["mean_squared_error", "a tensor as target", "1.0"],
    "mean_absolute_error(k, t)": ["mean_absolute_error", "a tensor as prediction", "k"],
    "mean_absolute_error(z, t, weights=c)": ["expected weights of shape (N)", "found c of shape (2)"],
    "mean_absolute_error(z, t, weights=wide)": ["expected weights of shape (N, D)", "found wide"],
    "mean_absolute_error(z, t, weights=2.0)": ["a tensor as weights", "2.0"],
    "huber(z, t, delta=0)": ["huber", "above 0", "delta", "found 0"],
    "huber(z, t, delta='1')": ["huber", "above 0", "delta", "'1'"],
    "huber(z, t, delta=float('inf'))": ["huber", "above 0", "delta", "inf"],
    "quantile(z, t, q=1)": ["quantile", "above 0 and below 1", "q", "found 1"],
    "focal(z, t, alpha=1.5)": ["focal", "from 0 to 1", "alpha", "1.5"],
    "focal(z, t, gamma=-1)": ["focal", "at least 0", "gamma", "-1"],
    "softmax_cross_entropy(z, y, label_smoothing=1)": ["softmax_cross_entropy", "below 1", "label_smoothing", "1"],
    "softmax_cross_entropy(z, y, label_smoothing=-0.1)": ["at least 0", "label_smoothing", "-0.1"],
    "softmax_cross_entropy(z, y, class_weights=c)": ["expected class_weights of shape (D)", "found c of shape (2)"],
    "softmax_cross_entropy(z, y, class_weights=[1, 2, 3])": ["a tensor as class_weights", "[1, 2, 3]"],
    "softmax_cross_entropy(z, y, weights=r)": ["expected weights of shape (N)", "found r of shape (3)"],
    "softmax_cross_entropy(z, y4)": ["expected labels of shape (N)", "found y4 of shape (N, D)"],
    "softmax_cross_entropy(z, w)": ["expected labels of shape (N, D)", "found w of shape (N)"],
    "softmax_cross_entropy(z[n, d], y)": ["softmax_cross_entropy", "a tensor as logits", "z[n, d]"],
    "softmax_cross_entropy(z, y, reduction=None)": ["softmax_cross_entropy", '"mean", "sum" or "none"', "None"],
    "categorical_cross_entropy(wide, t)": ["expected labels of shape (N, E)", "found t of shape (N, D)"],
    "multi_class_hinge(z, w)": ["multi_class_hinge", "integers", "found w", "model.labels"],
    "multi_class_hinge(z, y, p=3)": ["multi_class_hinge", "1 or 2", "found 3"],
    "multi_class_hinge(z, y, margin=None)": ["multi_class_hinge", "a number as margin", "None"],
    "gaussian_negative_log_likelihood(z, t, w)": ["expected variance of shape (N, D)", "found w of shape (N)"],
    "cosine(z, t, epsilon=0)": ["cosine", "above 0", "epsilon"],
    "triplet(z, t, t, margin=-1)": ["triplet", "above 0", "margin", "-1"],
    "triplet(z, t, wide)": ["expected negative of shape (N, D)", "found wide of shape (N, E)"],
    "smooth_l1(z, t, beta=0)": ["smooth_l1", "above 0", "beta", "found 0"],
    "binary_cross_entropy(z, t, label_smoothing=1)": ["binary_cross_entropy", "below 1", "label_smoothing", "found 1"],
    "sigmoid_cross_entropy(z, t, pos_weight=c)": ["expected pos_weight of shape (D)", "found c of shape (2)"],
    "sigmoid_cross_entropy(x, t, pos_weight=model.input('u', 1, N, D))": [
        "expected pos_weight of shape (N, D)",
        "u of",
    ],
    "sigmoid_cross_entropy(z, t, pos_weight=-1)": ["sigmoid_cross_entropy", "above 0", "a tensor", "pos_weight", "-1"],
    "sigmoid_cross_entropy(z, t, pos_weight=[1, 2, 3])": ["sigmoid_cross_entropy", "a tensor", "[1, 2, 3]"],
    "multi_label_soft_margin(z, t, class_weights=c)": [
        "multi_label_soft_margin",
        "class_weights of shape (D)",
        "found c",
    ],
    "negative_log_likelihood(z, w)": ["negative_log_likelihood", "integers", "found w", "model.labels"],
    "negative_log_likelihood(z, y4)": ["expected labels of shape (N)", "found y4 of shape (N, D)"],
    "categorical_focal(z, y, gamma=0.5)": ["categorical_focal", "0, or a number of at least 1", "gamma", "0.5"],
    "categorical_focal(z, y, alpha=0)": ["categorical_focal", "above 0", "alpha", "found 0"],
    "multi_class_hinge(z, y, class_weights=w)": ["class_weights of shape (D)", "found w of shape (N)"],
    "margin_ranking(z, t, w)": ["expected target of shape (N, D)", "found w of shape (N)"],
    "hinge_embedding(z, t, margin=None)": ["hinge_embedding", "a number as margin", "None"],
    "multi_label_margin(z, y)": ["expected target of shape (N, D)", "found y of shape (N)"],
    "cosine_embedding(z, t, x)": ["cosine_embedding", "expected target of shape (N)", "found x of shape (N, D)"],
    "cosine_embedding(z, t, w, margin='1')": ["cosine_embedding", "a number as margin", "'1'"],
    "triplet(z, t, t, p=0.5)": ["triplet", "at least 1", "p", "0.5"],
    "triplet(z, t, t, epsilon=-1)": ["triplet", "at least 0", "epsilon", "-1"],
    "contrastive(z, t, margin=0)": ["contrastive", "above 0", "margin"],
    "info_nce(z, wide)": ["info_nce", "expected key of shape (N, D)", "found wide"],
    "info_nce(w, w)": ["info_nce", "a query (batch, features)", "found w of shape (N)"],
    "info_nce(x, t, temperature=0)": ["info_nce", "above 0", "temperature"],
    "dice(z, t, axis=2)": ["dice", "-2 .. 1", "axis", "found 2"],
    "dice(z, t, axis='rows')": ["dice", "-2 .. 1", "axis", "'rows'"],
    "dice(z, t, smooth=-1)": ["dice", "at least 0", "smooth", "-1"],
    "dice(z, t, weights=w)": ["dice", "expected weights of shape ()", "found w of shape (N)"],
    "tversky(z, t, beta=-1)": ["tversky", "at least 0", "beta", "-1"],
    "gaussian_negative_log_likelihood(z, t, x, epsilon=-1)": ["at least 0", "epsilon", "-1"],
    "poisson_negative_log_likelihood(z, t, log_input=False, epsilon=-1)": ["at least 0", "epsilon", "-1"],
    "negative_binomial_negative_log_likelihood(z, t, 0)": ["above 0", "total_count", "found 0"],
    "negative_binomial_negative_log_likelihood(z, t, w)": ["expected total_count of shape (D)", "found w of shape (N)"],
    "sp.Sum(softmax_cross_entropy(z, y, reduction='none')[n], n)": ["softmax_cross_entropy", "a name", 'name="…"'],
    "sp.Sum(hinge(z, wide, reduction='none', name='a')[n, d], n, d)": ["expected target of shape (N, D)", "found wide"],
    "categorical_cross_entropy(z, y, name='p')": ["categorical_cross_entropy", "no name", "'p'", "no let"],
    "l1_penalty(W, 'much')": ["l1_penalty", "a number as factor", "'much'"],
    "l2_penalty(k, 'much')": ["l2_penalty", "a number or an expression as factor", "'much'"],
    "l2_penalty(W[d])": ["l2_penalty", "a tensor as parameter", "W[d]"],
}


def refused(folder: Path, text: str) -> list[str]:
    path = folder / "wrong.py"
    path.write_text(SPEC.format(text))
    with pytest.raises(SpecError) as error:
        declared_program(load_target(str(path)).model)
    assert {p.place.line for p in error.value.problems if p.place} == {14}
    return [p.message for p in error.value.problems]


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_argument_is_refused_at_its_line(tmp_path: Path, text: str) -> None:
    (message,) = refused(tmp_path, text)
    for word in REFUSED[text]:
        assert word in message


def test_every_wrong_argument_of_a_call_is_shown(tmp_path: Path) -> None:
    messages = refused(tmp_path, "huber(z, wide, delta=-1, weights=c, reduction='all')")
    assert len(messages) == 4


def test_more_classes_than_logits_are_refused(tmp_path: Path) -> None:
    (message,) = refused(tmp_path, "softmax_cross_entropy(z, model.labels('many', N, classes=4))")
    assert "3" in message
