"""Windows, margins and shuffles with bad arguments: each refused at the spec's line, once, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse
from test_layers_refused import ENDING, PREAMBLE

VOLUMES = 'volumes, squares = model.input("volumes", N, 4, 5, 6, 3), model.input("squares", N, 4, T, T)\n'

CASES = {
    # the call: words of the refusal
    "conv3d(images, 4, 3, name='z')": ["conv3d", "(batch, channel, depth, row, column)", "images of shape"],
    "conv3d(volumes, 4, (3, 3), name='z')": ["conv3d", "the window", "3 of them", "(3, 3)"],
    "conv3d(volumes, 4, 3, name='z', groups=3)": ["groups", "divide the channels", "3 for 4"],
    "conv2d(images, 4, 3, name='z', padding=((1, 2), (1, -1)))": ["padding", "at least 0", "-1"],
    "conv2d(images, 4, 3, name='z', padding=((1, 2), (1, 1, 1)))": ["padding", "(1, 1, 1)"],
    "conv2d(images, 4, 3, name='z', padding=(1, 2, 3, 4))": ["padding", "2 of them", "(1, 2, 3, 4)"],
    "conv1d(sequences, 4, 3, name='z', padding=(1, 2, 3))": ["padding", "1 of them", "(1, 2, 3)"],
    "conv1d(sequences, 4, 3, name='z', padding=(1, 'same'))": ["padding", "'same'"],
    "conv2d(images, 4, 3, name='z', padding_mode='mirror')": ["conv2d", "padding_mode", "'reflect'", "'mirror'"],
    "conv2d(images, 4, 3, name='z', padding_mode=None)": ["padding_mode", "'circular'", "None"],
    "conv2d(images, 4, 3, name='z', padding=5, padding_mode='reflect')": ["padding 5", '"reflect"', "at most 4"],
    "conv1d(sequences, 4, 3, name='z', padding=(8, 0), padding_mode='circular')": ["padding 8", "at most 7"],
    "conv1d(times, 4, 3, name='z', padding=1, padding_mode='reflect')": ["known at generation", "T - 1", "model.sizes"],
    "conv1d(times, 4, 3, name='z', padding=2, padding_mode='circular')": ["known at generation", "model.sizes"],
    "conv1d(times, 4, 3, name='z', padding='same_upper', stride=2)": ["stride 2", "found T", "model.sizes"],
    "conv_transpose1d(sequences, 4, 3, name='z', padding=((9, 0),))": ["padding 0 and 9", "7 elements"],
    "conv_transpose2d(images, 4, 3, name='z', groups=3)": ["conv_transpose2d", "groups", "divide the channels"],
    "conv_transpose2d(images, 6, 3, name='z', groups=4)": ["groups", "divide the filters", "4 for 6"],
    "conv_transpose3d(sequences, 4, 3, name='z')": ["conv_transpose3d", "sequences of shape"],
    "max_pool2d(images, 2, name='z', dilation=0)": ["max_pool2d", "dilation", "at least 1", "found 0"],
    "max_pool2d(images, (3, 2), name='z', dilation=3)": ["window of 3 with dilation 3", "does not fit into 5"],
    "max_pool2d(images, 2, name='z', ceil_mode='yes')": ["ceil_mode", "False or True", "'yes'"],
    "max_pool2d(images, 2, name='z', ceil_mode=1)": ["ceil_mode", "found 1"],
    "max_pool2d(images, (9, 2), name='z', stride=2, ceil_mode=True)": ["window of 9", "does not fit into 5"],
    "max_pool1d(sequences, 2, name='z', padding=(0, 2))": ["half of the window", "(0, 2) for 2"],
    "max_pool3d(images, 2, name='z')": ["max_pool3d", "images of shape"],
    "avg_pool2d(images, 2, name='z', count_include_pad=None)": ["count_include_pad", "True or False", "None"],
    "avg_pool1d(times, 2, name='z', ceil_mode=True)": ["stride 2", "found T", "model.sizes"],
    "adaptive_avg_pool2d(images, 2, name='z')": ["adaptive_avg_pool2d", "output_size", "divide the rows", "2 for 5"],
    "adaptive_max_pool1d(times, 1, name='z')": ["known at generation", "found T", "global pool"],
    "adaptive_max_pool3d(images, 1, name='z')": ["adaptive_max_pool3d", "images of shape"],
    "lp_pool2d(images, 0, 2, name='z')": ["lp_pool2d", "norm_type", "positive", "found 0"],
    "lp_pool1d(sequences, '2', 2, name='z')": ["norm_type", "'2'"],
    "lp_pool1d(images, 2, 2, name='z')": ["lp_pool1d", "images of shape"],
    "global_lp_pool(rows, name='z')": ["global_lp_pool", "rows of shape (N, 4)"],
    "global_lp_pool(images, float('inf'), name='z')": ["norm_type", "positive", "inf"],
    "local_response_norm(images, 0, name='z')": ["local_response_norm", "size", "at least 1"],
    "local_response_norm(images, 3, -1e-4, name='z')": ["alpha", "at least 0", "-0.0001"],
    "local_response_norm(images, 3, name='z', beta='1')": ["beta", "'1'"],
    "local_response_norm(images, 3, float('inf'), name='z')": ["alpha", "at least 0", "inf"],
    "local_response_norm(images, 3, name='z', k=-1)": ["k must be", "-1"],
    "local_response_norm(vector, 3, name='z')": ["vector of shape (4,)"],
    "unfold(sequences, 2, name='z')": ["unfold", "sequences of shape"],
    "unfold(images, (7, 1), name='z')": ["window of 7", "does not fit into 5"],
    "unfold(squares, 2, name='z')": ["unfold", "columns", "found T", "model.sizes"],
    "fold(images, 4, 2, name='z')": ["fold", "windows", "images of shape"],
    "fold(sequences, (2, 8), 2, name='z', stride=3)": ["fold", "3 windows", "sequences of shape (N, 7, 4)"],
    "fold(sequences, (2, 8), (1, 3), name='z')": ["multiple of 3 features", "sequences of shape (N, 7, 4)"],
    "fold(times, 4, 2, name='z')": ["fold", "9 windows", "times of shape (N, T, 4)"],
    "fold(sequences, (2, 0), 2, name='z')": ["output_size", "at least 1", "found 0"],
    "fold(sequences, 4, 0, name='z')": ["the window", "at least 1", "found 0"],
    "pixel_shuffle(images, 3, name='z')": ["pixel_shuffle", "upscale_factor squared", "9 for 4"],
    "pixel_shuffle(images, 0, name='z')": ["upscale_factor", "at least 1", "found 0"],
    "pixel_shuffle(sequences, 2, name='z')": ["pixel_shuffle", "sequences of shape"],
    "pixel_unshuffle(images, 2, name='z')": ["downscale_factor", "divide the rows", "2 for 5"],
    "pixel_unshuffle(squares, 2, name='z')": ["downscale_factor", "divide the rows", "2 for T"],
    "upsample(rows, 2, name='z')": ["upsample", "rows of shape (N, 4)"],
    "upsample(images, 1.5, name='z')": ["scale_factor", "1.5"],
    "upsample(images, (1, 2, 3), name='z')": ["scale_factor", "2 of them"],
    "pad(rows, 1, name='z')": ["pad", "rows of shape (N, 4)"],
    "pad(images, -1, name='z')": ["pad", "padding", "at least 0", "-1"],
    "pad(images, 1, 'same', name='z')": ["pad", "mode", "'constant'", "'same'"],
    "pad(images, 1, value='0', name='z')": ["value", "a number", "'0'"],
    "pad(images, (1, 6), 'reflect', name='z')": ["padding 6", "at most 5"],
    "pad(images, 20, 'reflect', name='z')": ["padding 20", "at most"],
    "pad(images, 'same', name='z')": ["padding", "'same'"],
}


@pytest.mark.parametrize("call", CASES)
def test_refused_at_its_line(call: str, tmp_path: Path) -> None:
    errors = refuse(tmp_path, f"{PREAMBLE}{VOLUMES}z = layers.{call}  {MARK}{ENDING}")
    assert len(errors) == 1, errors
    for word in CASES[call]:
        assert word in errors[0], f"{word} is not in: {errors[0]}"
