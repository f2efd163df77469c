"""Initial values of parameters; names are those of the frameworks, arguments and defaults are Keras's.

Source: keras.initializers. Fans: a matrix is (in, out); tensors with more axes are (out, in, window …), as PyTorch
stores convolutions; for a vector both fans are its length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Standard deviation of a unit normal cut at two deviations.
TRUNCATED_DEVIATION = 0.87962566103423978


@dataclass(frozen=True, slots=True)
class Initializer:
    """A distribution with its arguments; `scale` is set for those that depend on the fans."""

    distribution: str  # constant, normal, truncated_normal, uniform or orthogonal
    arguments: tuple[float, ...] = ()
    fan: str | None = None  # in, avg
    name: str = ""

    def resolved(self, shape: tuple[int, ...]) -> tuple[str, tuple[float, ...]]:
        """(distribution, its arguments) for a tensor of this shape."""
        if self.fan is None:
            return self.distribution, self.arguments
        fan_in, fan_out = fans(shape)
        variance = self.arguments[0] / max(1.0, fan_in if self.fan == "in" else (fan_in + fan_out) / 2)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return "uniform", (-limit, limit)
        return "truncated_normal", (0.0, math.sqrt(variance) / TRUNCATED_DEVIATION)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan in, fan out)."""
    if len(shape) == 0:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def zeros() -> Initializer:
    """All elements are 0."""
    return Initializer("constant", (0.0,), name="zeros")


def ones() -> Initializer:
    """All elements are 1."""
    return Initializer("constant", (1.0,), name="ones")


def constant(value: float = 0.0) -> Initializer:
    """All elements have the same value."""
    return Initializer("constant", (float(value),), name="constant")


def normal(mean: float = 0.0, stddev: float = 0.05) -> Initializer:
    """Normal distribution, as in keras.initializers.RandomNormal."""
    return Initializer("normal", (float(mean), float(stddev)), name="normal")


def uniform(minval: float = -0.05, maxval: float = 0.05) -> Initializer:
    """Uniform distribution, as in keras.initializers.RandomUniform."""
    return Initializer("uniform", (float(minval), float(maxval)), name="uniform")


def truncated_normal(mean: float = 0.0, stddev: float = 0.05) -> Initializer:
    """Normal distribution; values beyond two deviations are drawn again, as in keras.initializers.TruncatedNormal."""
    return Initializer("truncated_normal", (float(mean), float(stddev)), name="truncated_normal")


def orthogonal(gain: float = 1.0) -> Initializer:
    """Orthogonal rows or columns of the matrix (first axis, all other axes), as in keras.initializers.Orthogonal."""
    return Initializer("orthogonal", (float(gain),), name="orthogonal")


def glorot_uniform() -> Initializer:
    """Uniform distribution with variance 2 / (fan in + fan out). Source: Glorot and Bengio 2010."""
    return Initializer("uniform", (1.0,), "avg", "glorot_uniform")


def glorot_normal() -> Initializer:
    """Truncated normal distribution with variance 2 / (fan in + fan out). Source: Glorot and Bengio 2010."""
    return Initializer("truncated_normal", (1.0,), "avg", "glorot_normal")


def he_uniform() -> Initializer:
    """Uniform distribution with variance 2 / fan in. Source: He et al. 2015."""
    return Initializer("uniform", (2.0,), "in", "he_uniform")


def he_normal() -> Initializer:
    """Truncated normal distribution with variance 2 / fan in. Source: He et al. 2015."""
    return Initializer("truncated_normal", (2.0,), "in", "he_normal")


def lecun_uniform() -> Initializer:
    """Uniform distribution with variance 1 / fan in. Source: LeCun et al. 1998."""
    return Initializer("uniform", (1.0,), "in", "lecun_uniform")


def lecun_normal() -> Initializer:
    """Truncated normal distribution with variance 1 / fan in. Source: LeCun et al. 1998."""
    return Initializer("truncated_normal", (1.0,), "in", "lecun_normal")


OTHER_WORDS = {"xavier": "glorot", "kaiming": "he"}  # PyTorch's


def in_our_words(name: str) -> str:
    """The name that an initializer of another library has here."""
    family, _, rest = name.strip("_").partition("_")
    return f"{OTHER_WORDS.get(family, family)}_{rest}"


BY_NAME = {
    f.__name__: f
    for f in (
        zeros,
        ones,
        normal,
        uniform,
        truncated_normal,
        orthogonal,
        glorot_uniform,
        glorot_normal,
        he_uniform,
        he_normal,
        lecun_uniform,
        lecun_normal,
    )
}
