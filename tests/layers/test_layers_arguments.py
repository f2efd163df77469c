"""Arguments of layers that are of another kind: refused at the spec's line, each once, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse
from test_layers_refused import ENDING, PREAMBLE

CASES = {
    # the call: words of the refusal
    "batch_norm(rows, name='z', epsilon=0)": ["batch_norm", "epsilon", "positive", "found 0"],
    "batch_norm(rows, name='z', momentum=2)": ["batch_norm", "momentum", "from 0 to 1", "found 2"],
    "batch_norm(rows, name='z', momentum='0.1')": ["momentum", "'0.1'"],
    "batch_norm(vector, name='z')": ["batch_norm", "vector of shape (4,)"],
    "layer_norm(rows, name='z', epsilon=float('nan'))": ["epsilon", "positive", "nan"],
    "dropout(rows, 1.0, name='z')": ["dropout", "rate", "less than 1", "1.0"],
    "dropout(rows, '0.5', name='z')": ["rate", "'0.5'"],
    "dropout(rows, N, name='z')": ["rate", "found N"],
    "simple_rnn(sequences, 0, name='z')": ["simple_rnn", "units", "at least 1", "found 0"],
    "lstm(sequences, '3', name='z')": ["lstm", "units", "'3'"],
    "gru(sequences, N, name='z')": ["gru", "units", "found N"],
    "gru(rows, 3, name='z')": ["gru", "(batch, time, features)", "rows of shape (N, 4)"],
    "bidirectional(layers.lstm, sequences, 0, name='z')": ["lstm", "units", "found 0"],
    "bidirectional('lstm', sequences, 3, name='z')": ["bidirectional", "layers.gru", "'lstm'"],
    "dense(rows, 3, 'relu', name='z')": ["dense", "activation", "activations.relu", "'relu'"],
    "conv1d(sequences, 3, 3, 'relu', name='z')": ["conv1d", "activation", "'relu'"],
    "conv_transpose2d(images, 3, 3, 'relu', name='z')": ["conv_transpose2d", "activation", "'relu'"],
    "simple_rnn(sequences, 3, 'relu', name='z')": ["simple_rnn", "activation", "'relu'"],
    "conv2d(images, 4, None, name='z')": ["window", "found None"],
    "conv2d(images, 4, (), name='z')": ["window", "2 of them"],
    "conv2d(images, 4, 3, name='z', stride=[[1], 1])": ["stride", "[1]"],
    "conv2d(images, 4, 3, name='z', padding=('same', 'same'))": ["padding", "'same'"],
    "conv2d(images, 4, 3, name='z', groups='2')": ["groups", "'2'"],
    "max_pool2d(images, 2, name='z', stride=0)": ["max_pool2d", "stride", "at least 1", "found 0"],
    "max_pool1d(sequences, 2, name='z', padding=-1)": ["max_pool1d", "padding", "at least 0", "-1"],
    "reshape(rows, 4, name='z')": ["reshape", "tuple", "found 4"],
    "reshape(rows, (2, -2), name='z')": ["reshape", "(2, -2)", "as many elements"],
    "concatenate(3, name='z')": ["concatenate expects tensors", "found 3"],
    "concatenate([rows, rows], '1', name='z')": ["axis", "'1'"],
    "multi_head_attention(sequences, '2', name='z')": ["num_heads", "'2'"],
    "multi_head_attention(sequences, 2, name='z', memory=rows)": ["rows of shape (N, 4)"],
    "transformer_block(sequences, 3, 8, name='z')": ["num_heads", "divide the features", "3 for 4"],
    "transformer_block(sequences, 2, 0, name='z')": ["units", "found 0"],
    "transformer_block(sequences, 2, 8, name='z', mask=rows)": ["mask", "(N, 7)", "rows of shape (N, 4)"],
    "wavenet_block(sequences, 2, name='z', dilation=0)[0]": ["dilation", "found 0"],
    "wavenet_block(sequences, 2, name='z', skip=0)[0]": ["units", "found 0"],
    "dense(rows, 3, name='z', init='nice')": ["z_W", "initializer", "'nice'"],
}


@pytest.mark.parametrize("call", CASES)
def test_refused_at_its_line(call: str, tmp_path: Path) -> None:
    errors = refuse(tmp_path, f"{PREAMBLE}z = layers.{call}  {MARK}{ENDING}")
    assert len(errors) == 1, errors
    for word in CASES[call]:
        assert word in errors[0], f"{word} is not in: {errors[0]}"
