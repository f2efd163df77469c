"""Tiny Shakespeare in rows of characters, for run.py and in_pytorch.py.

Source: github.com/karpathy/char-rnn, data/tinyshakespeare, compressed here; the plays are in the public domain.
"""

import gzip
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for characters.py

import characters

FILE = Path(__file__).with_name("tinyshakespeare.txt.gz")
ITERATIONS, BATCH_SIZE = 2000, 12


class Text(NamedTuple):
    """Rows of characters x, by their places in `alphabet`, and for each character the one after it, y."""

    training: dict[str, np.ndarray]  # (iterations * BATCH_SIZE, steps), drawn at random; a batch takes the next rows
    held_out: dict[str, np.ndarray]  # (rows, steps), one after another
    alphabet: str


def read(steps: int, iterations: int, seed: int = 0) -> Text:
    """The first nine tenths of the text are for training, the rest is held out."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        text = file.read()
    alphabet = "".join(sorted(set(text)))
    numbers = characters.numbers(text, alphabet)
    known, held_out = np.split(numbers, [9 * len(numbers) // 10])
    starts = np.random.default_rng(seed).integers(len(known) - steps, size=iterations * BATCH_SIZE)
    at = starts[:, None] + np.arange(steps)
    return Text({"x": known[at], "y": known[at + 1]}, characters.windows(held_out, steps), alphabet)
