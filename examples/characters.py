"""What the examples on characters share: text in rows, training, counts to beat, and text that a module makes up.

The text of characters_lstm and characters_transformer is the source of modules of Python's own library, which differs a
little between versions of Python.
"""

import importlib
import inspect
import time
from types import ModuleType
from typing import NamedTuple

import numpy as np

from derivgen import runtime

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
TRAINING = ["argparse", "difflib", "doctest", "inspect", "statistics", "tarfile"]
HELD_OUT = ["shlex", "textwrap"]


class Bits(NamedTuple):
    """Bits per character of the held-out text: by the model, by counts of characters, and by counts of pairs."""

    model: float
    unigram: float
    bigram: float


def train(module: ModuleType, epochs: int, batch_size: int, learning_rate: float, progress: bool) -> Bits:
    """Train a module of inputs x and y; prints its bits per character, and a text that it makes up."""
    steps = module.INPUTS[0].shape[1]
    training, held_out = windows(source(TRAINING), steps), windows(source(HELD_OUT), steps)
    start = time.perf_counter()
    fit = runtime.fit(
        module, training, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, progress=progress
    )
    seconds = time.perf_counter() - start
    found = Bits(bits(probabilities(module, fit.parameters, held_out)), *counted(training, held_out))
    print(
        f"held-out bits per character: {found.model:.2f} after {seconds:.0f} s; "
        f"by counts of characters {found.unigram:.2f}, of pairs {found.bigram:.2f}"
    )
    print(sample(module, fit.parameters, "def ", 400))
    return found


def source(modules: list[str]) -> np.ndarray:
    """The modules' text, each character by its number."""
    return numbers("".join(inspect.getsource(importlib.import_module(name)) for name in modules))


def numbers(text: str, characters: str = CHARACTERS) -> np.ndarray:
    """Each character's place in `characters`; others are left out."""
    places = {c: k for k, c in enumerate(characters)}
    return np.array([places[c] for c in text if c in places])


def windows(text: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """The text in rows of `steps` characters x, and for each the character after it y."""
    rows = (len(text) - 1) // steps
    return {"x": text[: rows * steps].reshape(rows, steps), "y": text[1 : rows * steps + 1].reshape(rows, steps)}


def counted(training: dict[str, np.ndarray], held_out: dict[str, np.ndarray]) -> tuple[float, float]:
    """Bits per character of the held-out text by the training text's counts plus 1: of characters, of pairs."""
    pairs = np.ones((len(CHARACTERS), len(CHARACTERS)))
    np.add.at(pairs, (training["x"], training["y"]), 1)
    single = np.bincount(training["y"].ravel(), minlength=len(CHARACTERS)) + 1
    after = pairs / pairs.sum(axis=1, keepdims=True)
    return bits((single / single.sum())[held_out["y"]]), bits(after[held_out["x"], held_out["y"]])


def bits(probabilities: np.ndarray) -> float:
    """The mean of -log2 of what came true."""
    return float(-np.log2(probabilities).mean())


def probabilities(module: ModuleType, parameters: np.ndarray, text: dict[str, np.ndarray]) -> np.ndarray:
    """What the module predicted for each character that came."""
    p = [module.predict(parameters, row[None])[0] for row in text["x"]]
    return np.take_along_axis(np.array(p), text["y"][:, :, None], axis=2)


def sample(
    module: ModuleType, parameters: np.ndarray, start: str, length: int, characters: str = CHARACTERS, seed: int = 0
) -> str:
    """`start`, continued by characters drawn one by one from the module's predictions."""
    rng, steps, text = np.random.default_rng(seed), module.INPUTS[0].shape[1], list(numbers(start, characters))
    for _ in range(length):
        known = text[-steps:]
        row = np.zeros((1, steps), np.int64)
        row[0, : len(known)] = known  # what follows them is not seen: the model is causal
        p = module.predict(parameters, row)[0, len(known) - 1].astype(np.float64)
        text.append(rng.choice(len(p), p=p / p.sum()))
    return "".join(characters[i] for i in text)
