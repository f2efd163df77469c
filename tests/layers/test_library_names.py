"""Names of layers, activations, losses and their arguments: PyTorch's or Keras's, or an exception with its reason."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_library_form import LIBRARIES, PUBLIC

# Keras's names, from its documentation; PyTorch's are read off its signatures.
KERAS = {
    "add": "inputs",
    "argmax": "axis",
    "argmin": "axis",
    "avg_pool1d": "padding",
    "avg_pool2d": "padding",
    "avg_pool3d": "padding",
    "batch_norm": "momentum epsilon scale center training",
    "bidirectional": "layer return_state",
    "concatenate": "inputs axis",
    "conv1d": "filters kernel_size padding groups activation",
    "conv2d": "filters kernel_size padding groups activation",
    "conv3d": "filters kernel_size padding groups activation",
    "conv_transpose1d": "filters kernel_size padding activation",
    "conv_transpose2d": "filters kernel_size padding activation",
    "conv_transpose3d": "filters kernel_size padding activation",
    "cumprod": "axis",
    "cumsum": "axis",
    "dense": "units activation",
    "dropout": "rate",
    "group_norm": "groups epsilon scale center",
    "gru": "units activation recurrent_activation reset_after return_state",
    "layer_norm": "epsilon scale center axis",
    "lstm": "units activation recurrent_activation return_state",
    "multi_head_attention": "num_heads",
    "one_hot": "num_classes",
    "pad": "padding",
    "rms_norm": "epsilon axis",
    "scaled_dot_product_attention": "query key value mask",
    "simple_rnn": "units activation return_state",
    "l1_penalty": "",
    "l2_penalty": "",
    "log_cosh": "",
    "hinge": "",
    "squared_hinge": "",
    "categorical_cross_entropy": "label_smoothing",
    "kullback_leibler": "",
    "squareplus": "b",
    "binary_cross_entropy": "label_smoothing",
    "sigmoid_cross_entropy": "label_smoothing",
    "categorical_focal": "alpha gamma",
    "categorical_hinge": "",
    "mean_absolute_percentage_error": "",
    "mean_squared_logarithmic_error": "",
    "dice": "axis",
    "tversky": "alpha beta axis",
}
# PyTorch's, where it has the layer under a name that the docstring has no room for, or a function without a signature.
TORCH = {
    "bidirectional": "num_layers dropout",
    "concatenate": "tensors",
    "dense": "bias",
    "gru": "num_layers dropout",
    "lstm": "num_layers dropout",
    "multi_head_attention": "memory bias",
    "reshape": "shape",
    "scaled_dot_product_attention": "scale enable_gqa",
    "simple_rnn": "num_layers dropout",
    "transformer_block": "num_heads activation",
}
TENSORS = "the tensor itself: PyTorch's `input`, Keras's `inputs`, by what it holds"
EVERYWHERE = {
    "x": TENSORS,
    "z": TENSORS,
    "ids": TENSORS,
    "prediction": "PyTorch's `input`, Keras's `y_pred`",
    "target": "PyTorch's `target`, Keras's `y_true`",
    "probabilities": "a prediction that is one",
    "logits": "a prediction that is one",
    "scores": "a prediction that is one",
    "labels": "a target of integers",
    "parameter": "what a penalty is of",
    "name": "the prefix of the tensors' names",
    "init": "Keras's `kernel_initializer`; the same word as in model.parameter",
    "weights": "Keras's `sample_weight`: of any of the first axes",
    "class_weights": "PyTorch's `weight`, Keras's `class_weight`, a tensor",
    "parametrization": "PyTorch's `torch.nn.utils.parametrizations`: one of them",
    "attn_bias": "added as PyTorch's `attn_mask` of numbers; `bias` there and in Keras, which is the projections' here",
    "log_probabilities": "a prediction that is their logarithm",
    "axis": "Keras's word; `dim` in PyTorch",
    "causal": "`is_causal` in PyTorch, `use_causal_mask` in Keras",
    "mask": "Keras's `mask`: 1 where a key is seen",
    "num_kv_heads": "torchtune's; `kv_num_heads` in ONNX, `num_key_value_heads` in Keras",
    "initial": "Keras's `initial_state`, PyTorch's `hx`; the same word as in model.recur",
    "lengths": "labels that count the keys seen, or the steps; a mask there, `sequence_lens` in ONNX",
    "rotary": "no such option there",
    "softcap": "ONNX's",
    "window": "no such option there; `sliding_window` in models that have it",
    "past_key": "ONNX's",
    "past_value": "ONNX's",
    "reverse": "Keras's `go_backwards`",
    "base": "no such layer there",
    "epsilon": "Keras's word; `eps` in PyTorch",
    "reduction": "the word of both",
}
OWN = {
    ("add", "tensors"): "any number of arguments, as of Python's functions",
    ("avg_pool1d", "dilation"): "ONNX's `dilations`",
    ("avg_pool2d", "dilation"): "ONNX's `dilations`",
    ("avg_pool3d", "dilation"): "ONNX's `dilations`",
    ("bidirectional", "units"): "those of its layers",
    ("bidirectional", "options"): "those of its layers",
    ("cummax", "axis"): "as of cumsum; `dim` in PyTorch",
    ("cumprod", "exclusive"): "as of cumsum",
    ("cumsum", "exclusive"): "ONNX's and TensorFlow's",
    (
        "embedding",
        "features",
    ): "`embedding_dim` in PyTorch, `output_dim` in Keras; the last axis's word in all shapes here",
    ("instance_norm", "scale"): "as of the other normalizations; `affine` in PyTorch for both",
    ("instance_norm", "center"): "as of the other normalizations; `affine` in PyTorch for both",
    ("logcumsumexp", "axis"): "as of cumsum; `dim` in PyTorch",
    ("multi_head_attention", "scale"): "as of scaled_dot_product_attention",
    ("lstm", "peephole"): "ONNX's input P; no such option in PyTorch and Keras",
    ("lstm", "projection"): "PyTorch's `proj_size`, a word as the others here",
    ("lp_pool1d", "dilation"): "ONNX's `dilations`",
    ("lp_pool1d", "padding"): "ONNX's `pads`",
    ("lp_pool2d", "dilation"): "ONNX's `dilations`",
    ("lp_pool2d", "padding"): "ONNX's `pads`",
    ("lp_pool3d", "dilation"): "ONNX's `dilations`",
    ("lp_pool3d", "padding"): "ONNX's `pads`",
    ("rms_norm", "scale"): "as of the other normalizations",
    ("spectral_norm", "W"): "PyTorch's `module` and the name of its weights: the weights themselves",
    ("spectral_norm", "axis"): "`dim` in PyTorch; the word of the other layers",
    ("transformer_block", "scale"): "as of scaled_dot_product_attention",
    ("transformer_block", "units"): "as of its dense layers; `dim_feedforward` in PyTorch",
    ("wavenet_block", "filters"): "as of conv1d",
    ("wavenet_block", "kernel_size"): "as of conv1d",
    ("wavenet_block", "dilation"): "as of conv1d",
    ("wavenet_block", "skip"): "no such layer there",
    ("weight_norm", "v"): "PyTorch's `module` and the name of its weights: the weights themselves",
    ("weight_norm", "axis"): "`dim` in PyTorch; the word of the other layers",
    ("prelu", "slope"): "a parameter that the spec declares; the layer there has it inside, as `weight`",
    ("quantile", "q"): "no such loss there",
    ("gaussian_negative_log_likelihood", "mean"): "PyTorch's `input`",
    ("gaussian_negative_log_likelihood", "variance"): "PyTorch's `var`",
    ("focal", "alpha"): "torchvision's",
    ("focal", "gamma"): "torchvision's",
    ("dice", "smooth"): "no such word there: added to both sums, 1e-7 in Keras",
    ("tversky", "smooth"): "as of dice",
    ("negative_binomial_negative_log_likelihood", "total_count"): "that of PyTorch's distribution",
    ("negative_binomial_negative_log_likelihood", "log_input"): "as of poisson_negative_log_likelihood",
    ("negative_binomial_negative_log_likelihood", "full"): "as of poisson_negative_log_likelihood",
    ("contrastive", "margin"): "as of the other losses with one",
    ("info_nce", "query"): "no such loss there: the paper's",
    ("info_nce", "key"): "no such loss there: the paper's",
    ("info_nce", "temperature"): "no such loss there: the paper's",
    ("geglu", "approximate"): "as of gelu",
    ("l1_penalty", "factor"): "`l1` in Keras",
    ("l2_penalty", "factor"): "`l2` in Keras",
}


def function_of(library: str, name: str) -> Callable[..., Any]:
    return getattr(LIBRARIES[library], name)  # type: ignore[no-any-return]


def named_in_torch(function: Callable[..., Any]) -> list[Any]:
    """What the docstring names of PyTorch; AttributeError where PyTorch has no such thing."""
    names = re.findall(r"\btorch((?:\.\w+)+)", inspect.getdoc(function) or "")
    return [functools.reduce(getattr, name.strip(".").split("."), torch) for name in names]


def arguments_of_torch(thing: Any) -> set[str]:
    forward = set(inspect.signature(thing.forward).parameters) if inspect.isclass(thing) else set()
    try:
        return forward | set(inspect.signature(thing).parameters)
    except ValueError:  # written in C
        return forward


@pytest.mark.parametrize(("library", "name"), PUBLIC)
def test_arguments_are_called_as_there(library: str, name: str) -> None:
    function = function_of(library, name)
    known = set(KERAS.get(name, "").split()) | set(TORCH.get(name, "").split()) | set(EVERYWHERE)
    known = known.union(*map(arguments_of_torch, named_in_torch(function)))
    known |= {argument for owner, argument in OWN if owner == name}
    assert set(inspect.signature(function).parameters) - known == set()


def test_no_exception_is_left_over() -> None:
    """Each stands for an argument that is there."""
    functions = {name: function_of(library, name) for library, name in PUBLIC}
    arguments = {(name, argument) for name, f in functions.items() for argument in inspect.signature(f).parameters}
    assert set(OWN) - arguments == set()
    assert set(EVERYWHERE) - {argument for _, argument in arguments} == set()
