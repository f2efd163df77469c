"""Layers with bad arguments: each refused at the spec's line, once, in words, and what follows goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse

PREAMBLE = """\
from sympy import Sum
from derivgen import Model, layers

model = Model("bad")
N, T = model.batch("N"), model.batch("T")
n = model.indices(n=N)
images, sequences = model.input("images", N, 4, 5, 6), model.input("sequences", N, 7, 4)
rows = model.input("rows", N, 4)
times, vector = model.input("times", N, T, 4), model.parameter("vector", 4)
mask, ids = model.input("mask", N, 7), model.labels("ids", N, classes=8)
"""
ENDING = """
at = model.local_indices(*z.shape)
model.minimize(Sum(z[at] ** 2, *at) + vector[0])
"""

IMAGE = "channel, row, column"
CONVOLUTIONS = {
    "a sequence": ("conv2d(sequences, 4, 3, name='z')", ["conv2d", IMAGE, "sequences of shape (N, 7, 4)"]),
    "an image": ("conv1d(images, 4, 3, name='z')", ["conv1d", "(batch, time, feature)", "images of shape"]),
    "an unknown padding": ("conv2d(images, 4, 3, name='z', padding='full')", ['"valid", "same"', "'full'"]),
    "causal images": ("conv2d(images, 4, 3, name='z', padding='causal')", ['numbers or "valid"', "'causal'"]),
    "negative padding": ("conv2d(images, 4, 3, name='z', padding=-1)", ["padding", "at least 0", "-1"]),
    "stride 0": ("conv2d(images, 4, 3, name='z', stride=0)", ["stride", "at least 1", "found 0"]),
    "stride 0 by one axis": ("conv2d(images, 4, 3, name='z', stride=(1, 0))", ["stride", "found 0"]),
    "three strides": ("conv2d(images, 4, 3, name='z', stride=(1, 1, 1))", ["stride", "2 of them", "(1, 1, 1)"]),
    "half a stride": ("conv2d(images, 4, 3, name='z', stride=0.5)", ["stride", "0.5"]),
    "dilation 0": ("conv1d(sequences, 4, 3, name='z', dilation=0)", ["dilation", "found 0"]),
    "no window": ("conv1d(sequences, 4, 0, name='z')", ["window", "found 0"]),
    "a window in words": ("conv1d(sequences, 4, '3', name='z')", ["window", "'3'"]),
    "a long window": ("conv1d(sequences, 4, 5, name='z', dilation=2)", ["window of 5", "does not fit into 7"]),
    "no filters": ("conv1d(sequences, 0, 3, name='z')", ["filters", "found 0"]),
    "run-time filters": ("conv1d(sequences, N, 3, name='z')", ["filters", "found N"]),
    "groups and channels": ("conv2d(images, 6, 3, name='z', groups=3)", ["groups", "divide the channels", "3 for 4"]),
    "groups and filters": ("conv2d(images, 6, 3, name='z', groups=4)", ["groups", "divide the filters", "4 for 6"]),
    "no groups": ("conv2d(images, 6, 3, name='z', groups=0)", ["groups", "found 0"]),
    "run-time steps": ("conv1d(times, 4, 3, name='z', stride=2)", ["stride 2", "found T", "model.sizes"]),
    "transposed: rank": ("conv_transpose2d(rows, 4, 3, name='z')", ["conv_transpose2d", IMAGE, "rows of shape"]),
    "transposed: stride": ("conv_transpose1d(sequences, 4, 3, name='z', stride=0)", ["stride", "found 0"]),
    "transposed: same": ("conv_transpose1d(sequences, 4, 3, name='z', padding='same')", ["padding", "'same'"]),
    "transposed: output": (
        "conv_transpose1d(sequences, 4, 3, name='z', stride=2, output_padding=2)",
        ["output_padding", "smaller than stride or dilation", "found 2"],
    ),
    "transposed: nothing left": ("conv_transpose1d(sequences, 4, 1, name='z', padding=4)", ["padding 4", "7 elements"]),
}
POOLING = {
    "rank": ("max_pool2d(sequences, 2, name='z')", ["max_pool2d", IMAGE]),
    "no window": ("avg_pool1d(sequences, 0, name='z')", ["window", "found 0"]),
    "a window past the end": ("avg_pool2d(images, 6, name='z')", ["window of 6", "does not fit into 5"]),
    "much padding": ("max_pool1d(sequences, 3, name='z', padding=2)", ["padding", "half of the window", "2 for 3"]),
    "a whole window before": ("max_pool1d(sequences, 3, name='z', padding='causal')", ["half of the window", "causal"]),
    "run-time steps": ("max_pool1d(times, 2, name='z')", ["stride 2", "found T"]),
    "all of a matrix": ("global_avg_pool(rows, name='z')", ["global_avg_pool", "rows of shape (N, 4)"]),
    "the maximum of a matrix": ("global_max_pool(rows, name='z')", ["global_max_pool", "rows of shape (N, 4)"]),
}
NORMALIZATION = {
    "a vector": ("layer_norm(vector, name='z')", ["layer_norm", "vector of shape (4,)"]),
    "no epsilon": ("layer_norm(rows, name='z', epsilon=0)", ["epsilon", "positive", "found 0"]),
    "a negative epsilon": ("rms_norm(rows, name='z', epsilon=-1e-5)", ["epsilon", "-1e-05"]),
    "an epsilon in words": ("group_norm(rows, 2, name='z', epsilon='1e-5')", ["epsilon", "'1e-5'"]),
    "groups": ("group_norm(images, 3, name='z')", ["groups", "divide the channels", "3 for 4"]),
}
SHAPES = {
    "no units": ("dense(rows, 0, name='z')", ["dense", "units", "found 0"]),
    "an element": (
        "dense(rows[n, 0], 3, name='z')",
        ["dense expects a tensor", "rows[n, 0]", "define the expression by a let"],
    ),
    "ids that are data": ("embedding(rows, 3, name='z')", ["embedding", "model.labels", "rows"]),
    "no features": ("embedding(ids, 0, name='z')", ["embedding", "features", "found 0"]),
    "a flat vector": ("flatten(vector, name='z')", ["flatten", "(batch, …)", "vector of shape (4,)"]),
    "other elements": ("reshape(images, (4, 29), name='z')", ["reshape", "(4, 29)", "images of shape (N, 4, 5, 6)"]),
    "a run-time axis": ("flatten(times, name='z')", ["reshape", "known at generation", "times of shape (N, T, 4)"]),
    "other rows": ("concatenate([rows, sequences], name='z')", ["one shape", "rows of shape", "sequences of shape"]),
    "other columns": (
        "concatenate([images, images, sequences], 1, name='z')",
        ["except for axis 1", "sequences of shape"],
    ),
    "no such axis": ("concatenate([rows, rows], 2, name='z')", ["axis", "-2 .. 1", "found 2"]),
    "no tensors": ("concatenate([], name='z')", ["concatenate", "at least one"]),
    "a tensor for a list": ("concatenate(rows, name='z')", ["concatenate expects tensors"]),
    "unequal terms": ("add(rows, sequences, name='z')", ["add", "one shape", "sequences of shape (N, 7, 4)"]),
    "a number as a term": ("add(rows, 1, name='z')", ["add expects a tensor", "found 1"]),
}
ATTENTION = {
    "a matrix": ("multi_head_attention(rows, 2, name='z')", ["multi_head_attention", "rows of shape (N, 4)"]),
    "heads": ("multi_head_attention(sequences, 3, name='z')", ["heads", "divide the features", "3 for 4"]),
    "no heads": ("multi_head_attention(sequences, 0, name='z')", ["heads", "found 0"]),
    "a mask of another shape": (
        "multi_head_attention(sequences, 2, name='z', mask=rows)",
        ["mask", "shape (N, 7)", "rows of shape (N, 4)"],
    ),
    "a mask of an expression": (
        "multi_head_attention(sequences, 2, name='z', mask=mask[n, 0] > 0)",
        ["mask", "(N, 7)"],
    ),
    "lengths that are a mask": (
        "multi_head_attention(sequences, 2, name='z', lengths=mask)",
        ["lengths", "shape (N,)"],
    ),
    "lengths that are data": (
        "multi_head_attention(sequences, 2, name='z', lengths=model.input('size', N))",
        ["lengths", "model.labels", "size of shape (N,)"],
    ),
    "odd heads turned": (
        "multi_head_attention(sequences, 4, name='z', rotary=True)",
        ["multi_head_attention turns pairs", "odd number"],
    ),
    "another width": (
        "scaled_dot_product_attention(sequences, model.input('k', N, 3, 5), model.input('v', N, 3, 4), name='z')",
        ["query", "sequences of shape (N, 7, 4)", "k of shape (N, 3, 5)"],
    ),
    "fewer values than keys": (
        "scaled_dot_product_attention(sequences, sequences, model.input('v', N, 3, 4), name='z')",
        ["value", "v of shape (N, 3, 4)"],
    ),
    "positions without end": ("sinusoidal_positions(times, name='z')", ["known at generation", "times of shape"]),
    "a base of 0": ("sinusoidal_positions(sequences, name='z', base=0)", ["base", "positive", "found 0"]),
    "odd features turned": ("rotary_positions(model.input('odd', N, 2, 3), name='z')", ["odd number", "(N, 2, 3)"]),
    "a block of a matrix": ("transformer_block(rows, 2, 8, name='z')", ["transformer_block", "rows of shape"]),
    "a gated matrix": ("wavenet_block(rows, 2, name='z')[0]", ["wavenet_block", "rows of shape"]),
}
CASES = {
    f"{topic}: {what}": case
    for topic, cases in (
        ("convolution", CONVOLUTIONS),
        ("pooling", POOLING),
        ("normalization", NORMALIZATION),
        ("shape", SHAPES),
        ("attention", ATTENTION),
    )
    for what, case in cases.items()
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refused_at_its_line(case: tuple[str, list[str]], tmp_path: Path) -> None:
    call, words = case
    errors = refuse(tmp_path, f"{PREAMBLE}z = layers.{call}  {MARK}{ENDING}")
    assert len(errors) == 1, errors
    for word in words:
        assert word in errors[0], f"{word} is not in: {errors[0]}"


def test_all_of_a_net_is_refused_together(tmp_path: Path) -> None:
    """One mistake in each layer, four errors at four lines."""
    body = f"""
z = layers.conv2d(images, 4, 2, name="a", padding="full")  {MARK}
z = layers.max_pool2d(z, 2, name="b", stride=0)  {MARK}
z = layers.group_norm(z, 3, name="c")  {MARK}
z = layers.flatten(z, name="d")
z = layers.dense(z, 0, name="e")  {MARK}
"""
    assert len(refuse(tmp_path, PREAMBLE + body + ENDING)) == 4
