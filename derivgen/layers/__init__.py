"""Layers: functions that add let expressions to the model of their input. Each is a formula, and none has a derivative.

The batch is the first axis; images are (batch, channel, row, column), volumes (batch, channel, depth, row, column),
sequences (batch, time, feature). A layer needs a name, which is the prefix of its tensors. A wrong argument is noted at
the spec's line, and replaced by a valid one, so that the other mistakes of the spec are found too.
"""

from derivgen.layers.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from derivgen.layers.argmax import argmax, argmin, one_hot
from derivgen.layers.attention import multi_head_attention, scaled_dot_product_attention
from derivgen.layers.blocks import transformer_block, wavenet_block
from derivgen.layers.convolution import conv1d, conv2d, conv3d
from derivgen.layers.cumulative import cummax, cumprod, cumsum, logcumsumexp
from derivgen.layers.dense import dense, embedding
from derivgen.layers.dropout import dropout
from derivgen.layers.folding import fold, unfold
from derivgen.layers.local import local_response_norm
from derivgen.layers.normalization import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from derivgen.layers.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    global_avg_pool,
    global_lp_pool,
    global_max_pool,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from derivgen.layers.positions import rotary_positions, sinusoidal_positions
from derivgen.layers.recurrent import bidirectional, gru, lstm, simple_rnn
from derivgen.layers.resampling import pad, pixel_shuffle, pixel_unshuffle, upsample
from derivgen.layers.shape import add, concatenate, flatten, reshape
from derivgen.layers.transposed import conv_transpose1d, conv_transpose2d, conv_transpose3d
from derivgen.layers.weight_normalization import spectral_norm, weight_norm

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "add",
    "argmax",
    "argmin",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bidirectional",
    "concatenate",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cummax",
    "cumprod",
    "cumsum",
    "dense",
    "dropout",
    "embedding",
    "flatten",
    "fold",
    "global_avg_pool",
    "global_lp_pool",
    "global_max_pool",
    "group_norm",
    "gru",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "logcumsumexp",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "lstm",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "multi_head_attention",
    "one_hot",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "reshape",
    "rms_norm",
    "rotary_positions",
    "scaled_dot_product_attention",
    "simple_rnn",
    "sinusoidal_positions",
    "spectral_norm",
    "transformer_block",
    "unfold",
    "upsample",
    "wavenet_block",
    "weight_norm",
]
