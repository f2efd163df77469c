"""Arguments of recurrent layers that cannot be: each refused at the spec's line, once, and what follows goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused import MARK, refuse

PREAMBLE = """\
from sympy import Sum
from derivgen import Model, layers

model = Model("bad")
N = model.batch("N")
n = model.indices(n=N)
x, rows, vector = model.input("x", N, 7, 4), model.input("rows", N, 4), model.parameter("vector", 4)
h, wide = model.input("h", N, 3), model.input("wide", N, 5)
size, data, ids = model.labels("size", N, classes=8), model.input("data", N), model.labels("ids", N, 7, classes=8)
"""
ENDING = """
at = model.local_indices(*z.shape)
model.minimize(Sum(z[at] ** 2, *at) + vector[0])
"""
CASES = {
    # the call: words of the refusal
    "gru(x, 3, name='z', initial=wide)": ["gru: initial", "shape (N, 3) or (3,)", "wide of shape (N, 5)"],
    "gru(x, 3, name='z', initial=[h, h])": ["gru: initial", "a tensor of shape", "found [h, h]"],
    "gru(x, 3, name='z', initial=h[n, 0])": ["gru: initial", "found h[n, 0]"],
    "gru(x, 3, name='z', initial=0)": ["gru: initial", "found 0"],
    "simple_rnn(x, 3, name='z', initial=vector)": ["simple_rnn: initial", "(3,)", "vector of shape (4,)"],
    "lstm(x, 3, name='z', initial=h)": ["lstm: initial", "a pair (h, c)", "found h"],
    "lstm(x, 3, name='z', initial=(h, wide))": ["lstm: initial", "shape (N, 3) or (3,)", "wide of shape (N, 5)"],
    "lstm(x, 3, name='z', initial=(h, h, h))": ["lstm: initial", "a pair (h, c)", "found (h, h, h)"],
    "lstm(x, 3, name='z', initial=(wide, None), projection=2)": ["shape (N, 2) or (2,)", "wide of shape"],
    "gru(x, 3, name='z', initial=h, num_layers=2)": ["gru: initial", "list of 2, one for each layer", "found h"],
    "gru(x, 3, name='z', initial=[h, h, h], num_layers=2)": ["list of 2, one for each layer"],
    "bidirectional(layers.gru, x, 3, name='z', initial=h)": ["bidirectional: initial", "(forward, backward)"],
    "bidirectional(layers.gru, x, 3, name='z', initial=(h, wide))": ["gru: initial", "wide of shape (N, 5)"],
    "gru(x, 3, name='z', lengths=data)": ["gru: lengths", "model.labels", "data of shape (N,)"],
    "gru(x, 3, name='z', lengths=ids)": ["gru: lengths", "shape (N,)", "ids of shape (N, 7)"],
    "lstm(x, 3, name='z', lengths=7)": ["lstm: lengths", "found 7"],
    "bidirectional(layers.lstm, x, 3, name='z', lengths=data)": ["lstm: lengths", "model.labels"],
    "gru(x, 3, name='z', num_layers=0)": ["gru: num_layers", "at least 1", "found 0"],
    "gru(x, 3, name='z', num_layers=N)": ["gru: num_layers", "found N"],
    "gru(x, 3, name='z', num_layers=2, dropout=1)": ["gru: dropout", "less than 1", "found 1"],
    "gru(x, 3, name='z', num_layers=2, dropout='0.5')": ["gru: dropout", "'0.5'"],
    "gru(x, 3, name='z', dropout=0.5)": ["gru: dropout is between layers", "num_layers=1", "layers.dropout"],
    "bidirectional(layers.gru, x, 3, name='z', dropout=0.5)": ["bidirectional: dropout is between layers"],
    "lstm(x, 3, name='z', projection=0)": ["lstm: projection", "at least 1", "found 0"],
    "lstm(x, 3, name='z', projection=N)": ["lstm: projection", "found N"],
    "lstm(x, 3, name='z', activation='tanh')": ["lstm: activation", "activations.relu", "'tanh'"],
    "gru(x, 3, name='z', recurrent_activation='hard')": ["gru: recurrent_activation", "'hard'"],
    "lstm(rows, 3, name='z', return_state=True, num_layers=2)[0]": ["lstm", "rows of shape (N, 4)"],
}


@pytest.mark.parametrize("call", CASES)
def test_refused_at_its_line(call: str, tmp_path: Path) -> None:
    errors = refuse(tmp_path, f"{PREAMBLE}z = layers.{call}  {MARK}{ENDING}")
    assert len(errors) == 1, errors
    for word in CASES[call]:
        assert word in errors[0], f"{word} is not in: {errors[0]}"


def test_what_is_returned_after_a_refusal_has_the_same_form(tmp_path: Path) -> None:
    body = f"""
z, h, c = layers.lstm(rows, 3, name="a", return_state=True)  {MARK}
z, (h, c), (k, d) = layers.lstm(rows, 3, name="b", return_state=True, num_layers=2)  {MARK}
z, (h, c), (k, d) = layers.bidirectional(layers.lstm, rows, 3, name="c", return_state=True)  {MARK}
z, h, k = layers.bidirectional("gru", x, 3, name="d", return_state=True)  {MARK}
z, h = layers.gru(x, 0, name="e", return_state=True, lengths=data)  {MARK}
"""
    text = PREAMBLE + body + ENDING
    (tmp_path / "bad.py").write_text(text)
    refuse(tmp_path, text)
