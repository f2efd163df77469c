"""What examples/characters_lstm and examples/characters_transformer share: the text, what counting says, and sampling.

The text is the source of modules of Python's own library, which differs a little between versions of Python.
"""

import importlib
import inspect
from types import ModuleType

import numpy as np

from derivgen import runtime

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))  # others are left out
TRAINING = "argparse ast configparser difflib doctest enum inspect optparse pickle statistics subprocess tarfile".split()
HELD_OUT = "shlex textwrap".split()


def numbers(text: str) -> np.ndarray:
    """Each character's place in CHARACTERS."""
    return np.array([CHARACTERS.index(c) for c in text if c in CHARACTERS])


def windows(modules: list[str], steps: int) -> dict[str, np.ndarray]:
    """The modules' text in rows of `steps` characters x, and for each the character after it y."""
    text = numbers("".join(inspect.getsource(importlib.import_module(name)) for name in modules))
    rows = (len(text) - 1) // steps
    return {"x": text[: rows * steps].reshape(rows, steps), "y": text[1 : rows * steps + 1].reshape(rows, steps)}


def counted(training: dict[str, np.ndarray], held_out: dict[str, np.ndarray]) -> tuple[float, float]:
    """Bits per character of the held-out text by counts in the training text, plus one each: of characters, of pairs."""
    pairs = np.ones((len(CHARACTERS), len(CHARACTERS)))
    np.add.at(pairs, (training["x"], training["y"]), 1)
    single = np.bincount(training["y"].ravel(), minlength=len(CHARACTERS)) + 1
    after = pairs / pairs.sum(axis=1, keepdims=True)
    return bits((single / single.sum())[held_out["y"]]), bits(after[held_out["x"], held_out["y"]])


def bits(probabilities: np.ndarray) -> float:
    """The mean of -log2 of what came true."""
    return float(-np.log2(probabilities).mean())


def predicted(module: ModuleType, parameters: np.ndarray, held_out: dict[str, np.ndarray]) -> float:
    """Bits per character of the held-out text by the module."""
    x, y = held_out["x"], held_out["y"]
    some = np.array_split(np.arange(len(x)), len(x) // 32)  # rows at a time
    return bits(
        np.concatenate([np.take_along_axis(module.predict(parameters, x[r]), y[r, :, None], axis=2) for r in some])
    )


def sample(module: ModuleType, parameters: np.ndarray, start: str, length: int, seed: int = 0) -> str:
    """`start`, continued by characters drawn one by one from the module's predictions."""
    rng, steps, text = np.random.default_rng(seed), module.INPUTS[0].shape[1], list(numbers(start))
    for _ in range(length):
        known = text[-steps:]
        row = np.zeros((1, steps), np.int64)
        row[0, : len(known)] = known  # what follows them is not seen: the model is causal
        p = module.predict(parameters, row)[0, len(known) - 1].astype(np.float64)
        text.append(rng.choice(len(p), p=p / p.sum()))
    return "".join(CHARACTERS[i] for i in text)
