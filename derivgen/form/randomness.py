"""Random tensors: uniform numbers in [0, 1) that are a function of (seed, step, tensor, element) alone.

By Philox 4x32-10, a counter that is mixed with a key. Source: Salmon et al. 2011, Parallel random numbers: as easy as
1, 2, 3. The key is the seed; the counter is (element // 4, the tensor's number, the step), the step in two words, and
each of the four words that come of it is an element. Numbers are multiples of 2^-24, and so the same in both dtypes.

Here for the oracle, in Python's integers; the module's own text of it is in `print/library.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derivgen.form.program import Program, Role

WORD = 2**32
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
DIGITS = 24  # binary ones of each number

Counter = tuple[int, int, int, int]


def philox(counter: Counter, key: tuple[int, int]) -> Counter:
    """Four random words of a counter and a key, all of 32 bits."""
    for _ in range(ROUNDS):
        high_0, low_0 = divmod(MULTIPLIERS[0] * counter[0], WORD)
        high_1, low_1 = divmod(MULTIPLIERS[1] * counter[2], WORD)
        counter = (high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0)
        key = ((key[0] + KEY_STEPS[0]) % WORD, (key[1] + KEY_STEPS[1]) % WORD)
    return counter


def uniform(seed: int, step: int, number: int, count: int) -> NDArray[np.float64]:
    """The first elements, in row-major order, of the random tensor with this number."""
    key = (seed % WORD, seed // WORD)
    blocks = (philox((block, number, step % WORD, step // WORD), key) for block in range(-(-count // 4)))
    words = [word >> 32 - DIGITS for block in blocks for word in block]
    return np.array(words[:count], np.float64) / 2**DIGITS


def numbers(program: Program) -> dict[str, int]:
    """The number of each random tensor: its place in their order of declaration."""
    return {t.name: number for number, t in enumerate(program.of_role(Role.RANDOM))}


def random_tensors(
    program: Program, sizes: Mapping[str, int], seed: int = 0, step: int = 0
) -> dict[str, NDArray[np.float64]]:
    """The values of the random tensors that the program reads, by name; `sizes` are those known at run time."""
    read = {r.tensor for s in program.statements for r in s.reads}
    drawn = {}
    for name, number in numbers(program).items():
        if name in read:
            extents = [
                e.xreplace({s: sp.Integer(sizes[s.name]) for s in e.free_symbols}) for e in program.tensor(name).shape
            ]
            shape = tuple(map(int, extents))
            drawn[name] = uniform(seed, step, number, int(np.prod(shape, dtype=int))).reshape(shape)
    return drawn
