"""Losses: scalar expressions for `model.minimize`. Each is a formula, and none has a derivative.

A loss has terms: one for each element, or one for each row if it sums over the last axis. `reduction` is "mean", the
mean over the terms, "sum", or "none". With "none" the loss is the let `name` of its terms, which the spec may weigh and
sum. `weights` is a tensor over the first axes of the terms, for example (N,) for one weight per row: each term is
multiplied by its weight. The mean still divides by the number of terms, as with Keras's sample_weight. Labels that do
not count (`ignore`) are left out, also of the number of terms; among the terms of "none" they are 0.

Wrong shapes and options out of their range are noted as problems at the user's line; an argument that is not a tensor
raises ValueError.
"""

from derivgen.losses.binary import (
    binary_cross_entropy,
    dice,
    focal,
    multi_label_soft_margin,
    sigmoid_cross_entropy,
    tversky,
)
from derivgen.losses.classification import (
    categorical_cross_entropy,
    categorical_focal,
    categorical_hinge,
    multi_class_hinge,
    negative_log_likelihood,
    softmax_cross_entropy,
)
from derivgen.losses.distributions import (
    gaussian_negative_log_likelihood,
    kullback_leibler,
    negative_binomial_negative_log_likelihood,
    poisson_negative_log_likelihood,
)
from derivgen.losses.embeddings import contrastive, cosine, cosine_embedding, info_nce, triplet
from derivgen.losses.margins import (
    hinge,
    hinge_embedding,
    margin_ranking,
    multi_label_margin,
    soft_margin,
    squared_hinge,
)
from derivgen.losses.penalties import l1_penalty, l2_penalty
from derivgen.losses.regression import (
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    quantile,
    smooth_l1,
)
from derivgen.losses.sequences import ctc

__all__ = [
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "categorical_focal",
    "categorical_hinge",
    "contrastive",
    "cosine",
    "cosine_embedding",
    "ctc",
    "dice",
    "focal",
    "gaussian_negative_log_likelihood",
    "hinge",
    "hinge_embedding",
    "huber",
    "info_nce",
    "kullback_leibler",
    "l1_penalty",
    "l2_penalty",
    "log_cosh",
    "margin_ranking",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "multi_class_hinge",
    "multi_label_margin",
    "multi_label_soft_margin",
    "negative_binomial_negative_log_likelihood",
    "negative_log_likelihood",
    "poisson_negative_log_likelihood",
    "quantile",
    "sigmoid_cross_entropy",
    "smooth_l1",
    "soft_margin",
    "softmax_cross_entropy",
    "squared_hinge",
    "triplet",
    "tversky",
]
