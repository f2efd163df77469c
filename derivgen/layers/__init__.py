"""Layers: functions that add let expressions to the model of their input. Each is a formula, and none has a derivative.

The batch is the first axis; images are (batch, channel, row, column), sequences (batch, time, feature). A layer needs a
name, which is the prefix of its tensors. A wrong argument is noted at the spec's line, and replaced by a valid one, so
that the other mistakes of the spec are found too.
"""

from derivgen.layers.argmax import argmax, argmin, one_hot
from derivgen.layers.attention import multi_head_attention, scaled_dot_product_attention
from derivgen.layers.blocks import transformer_block, wavenet_block
from derivgen.layers.convolution import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from derivgen.layers.cumulative import cummax, cumprod, cumsum, logcumsumexp
from derivgen.layers.dense import dense, embedding
from derivgen.layers.dropout import dropout
from derivgen.layers.normalization import batch_norm, group_norm, layer_norm, rms_norm
from derivgen.layers.pooling import avg_pool1d, avg_pool2d, global_avg_pool, global_max_pool, max_pool1d, max_pool2d
from derivgen.layers.positions import rotary_positions, sinusoidal_positions
from derivgen.layers.recurrent import bidirectional, gru, lstm, simple_rnn
from derivgen.layers.shape import add, concatenate, flatten, reshape

__all__ = [
    "add",
    "argmax",
    "argmin",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bidirectional",
    "concatenate",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cummax",
    "cumprod",
    "cumsum",
    "dense",
    "dropout",
    "embedding",
    "flatten",
    "global_avg_pool",
    "global_max_pool",
    "group_norm",
    "gru",
    "layer_norm",
    "logcumsumexp",
    "lstm",
    "max_pool1d",
    "max_pool2d",
    "multi_head_attention",
    "one_hot",
    "reshape",
    "rms_norm",
    "rotary_positions",
    "scaled_dot_product_attention",
    "simple_rnn",
    "sinusoidal_positions",
    "transformer_block",
    "wavenet_block",
]
