"""Train WaveNet on plucked notes and print its bits per sample: `python examples/wavenet/run.py`.

It is compared with counts: how often a level followed another one, and how often a level followed one that the best
linear prediction from two samples gave.
"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from derivgen import runtime

EPOCHS, BATCH_SIZE, LEARNING_RATE = 16, 8, 0.003
RATE, SAMPLES = 8000, 1600  # samples a second, and of a note
LEVELS, MU = 64, 255
PAST = 64  # samples that the network sees: 1 + 3·(1 + 4 + 16)
PITCHES = 220 * 2.0 ** (np.array([0, 3, 5, 7, 10, 12, 15, 17]) / 12)  # a pentatonic scale from A3, in hertz


class Bits(NamedTuple):
    """Bits per held-out sample, by the model and by counts."""

    model: float
    previous: float
    linear: float


def melody(notes: int, rng: np.random.Generator) -> np.ndarray:
    """Notes in -1 .. 1, each of five decaying harmonics, that ring on under the next one."""
    t = np.arange(2 * SAMPLES) / RATE
    sound = np.zeros((notes + 1) * SAMPLES)
    for k in range(notes):
        pitch, phases = rng.choice(PITCHES), rng.uniform(0, 2 * np.pi, 5)
        for h in range(1, 6):
            note = np.exp(-3 * h * t) / h * np.sin(2 * np.pi * pitch * h * t + phases[h - 1])
            sound[k * SAMPLES : (k + 2) * SAMPLES] += note * np.minimum(t / 0.01, 1)
    return sound / np.abs(sound).max()


def quantized(sound: np.ndarray) -> np.ndarray:
    """Levels 0 .. LEVELS - 1 by the μ-law, which is finer near 0."""
    companded = np.sign(sound) * np.log1p(MU * np.abs(sound)) / np.log1p(MU)
    return np.clip(((companded + 1) / 2 * LEVELS).astype(np.int64), 0, LEVELS - 1)


def amplitudes(levels: np.ndarray) -> np.ndarray:
    """The middle of each level, in -1 .. 1."""
    companded = (levels + 0.5) / LEVELS * 2 - 1
    return np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(MU)) / MU


def windows(levels: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Rows of `steps` levels x, and for each the level after it y."""
    rows = (len(levels) - 1) // steps
    return {"x": levels[: rows * steps].reshape(rows, steps), "y": levels[1 : rows * steps + 1].reshape(rows, steps)}


def counted_bits(known: np.ndarray, y: np.ndarray, known_held_out: np.ndarray, y_held_out: np.ndarray) -> float:
    """Bits per held-out sample y by how often it followed what is known in the training data, plus one."""
    counts = np.ones((LEVELS, LEVELS))
    np.add.at(counts, (known, y), 1)
    return bits((counts / counts.sum(axis=1, keepdims=True))[known_held_out, y_held_out])


def bits(probabilities: np.ndarray) -> float:
    """The mean of -log2 of what came true."""
    return float(-np.log2(probabilities).mean())


def main(epochs: int = EPOCHS, progress: bool = True) -> Bits:
    """Bits per sample of a melody that was held out, where the whole of the network's past is in the row."""
    module, rng = runtime.load(Path(__file__).with_name("wavenet_kernels.py")), np.random.default_rng(0)
    steps = module.INPUTS[0].shape[1]
    training, held_out = (windows(quantized(melody(notes, rng)), steps) for notes in (240, 16))
    start = time.perf_counter()
    fit = runtime.fit(
        module, training, epochs=epochs, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, progress=progress
    )
    seconds = time.perf_counter() - start
    p = np.array([module.predict(fit.parameters, row[None])[0] for row in held_out["x"]])
    seen = (slice(None), slice(PAST - 1, None))
    model = bits(np.take_along_axis(p, held_out["y"][:, :, None], axis=2)[seen])

    x, y, x_held_out, y_held_out = (data[key][seen] for data in (training, held_out) for key in ("x", "y"))
    before, before_held_out = (data["x"][:, PAST - 2 : -1] for data in (training, held_out))
    two, two_held_out = (
        np.stack(amplitudes(np.array(both)), -1) for both in ((x, before), (x_held_out, before_held_out))
    )
    weights = np.linalg.lstsq(two.reshape(-1, 2), amplitudes(y).ravel(), rcond=None)[0]
    linear = counted_bits(quantized(two @ weights), y, quantized(two_held_out @ weights), y_held_out)
    found = Bits(model, counted_bits(x, y, x_held_out, y_held_out), linear)
    print(
        f"held-out bits per sample: {found.model:.2f} after {seconds:.0f} s; "
        f"by the previous sample {found.previous:.2f}, by a linear prediction from two {found.linear:.2f}"
    )
    return found


if __name__ == "__main__":
    main()
