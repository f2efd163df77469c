"""Each element among its neighbours along the channels."""

from __future__ import annotations

from math import inf
from typing import Any

from derivgen.declare.model import TensorSymbol
from derivgen.layers.checks import digits, is_tensor, number, plain, sum_over, whole_number
from derivgen.layers.margins import letters_of, padded
from derivgen.layers.windows import SPATIAL, arranged, over, taken_apart


def local_response_norm(
    x: TensorSymbol, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, name: str
) -> Any:
    """x / (k + alpha·mean of x² over `size` channels around)^beta; a channel that is missing counts as 0.

    An even size has the odd channel before. As torch.nn.LocalResponseNorm.
    """
    if not is_tensor(x, "local_response_norm", range(2, 6), f"(batch, feature), {SPATIAL}"):
        return x
    model, layer = x.model, "local_response_norm"
    size = whole_number(model, layer, "size", size)
    numbers = (("alpha", alpha), ("beta", beta), ("k", k))
    given = (number(model, layer, what, v, "a number of at least 0", lambda v: 0 <= v < inf, 1) for what, v in numbers)
    a, b, k = map(plain, given)
    source = padded(x, f"{name}_padded", {channel_axis(x): (size // 2, (size - 1) // 2)}, letters_of(x))
    n, c, at = over(x, *taken_apart(x))
    (r,), here = digits(model, [size], "r"), arranged(n, c, at)
    mean = sum_over(source[arranged(n, c + r, at)] ** 2, r) / size
    return model.let(name, here, x[here] / (k + a * model.let(f"{name}_mean", here, mean, layer=name)[here]) ** b)


def channel_axis(x: TensorSymbol) -> int:
    return arranged(0, 1, [2] * (len(x.shape) - 2)).index(1)
