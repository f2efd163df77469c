"""The functions that a language brings itself, see whole/library.py, as texts of numba."""

from __future__ import annotations

from derivgen.form.randomness import KEY_STEPS, MULTIPLIERS, ROUNDS
from derivgen.whole.library import OBSERVE, SUM_OF_SQUARES, UNIFORM

TEXTS = {
    UNIFORM: f'''\
@internal
def philox(a, b, c, d, key, key_2):
    """Four random words of the counter (a, b, c, d): Philox 4x32-{ROUNDS} (Salmon et al. 2011), all words of 32 bits"""
    for _ in range({ROUNDS}):
        p, q = 0x{MULTIPLIERS[0]:X} * a, 0x{MULTIPLIERS[1]:X} * c
        a, c = (q >> 32) & 0xFFFFFFFF ^ b ^ key, (p >> 32) & 0xFFFFFFFF ^ d ^ key_2
        b, d = q & 0xFFFFFFFF, p & 0xFFFFFFFF
        key, key_2 = (key + 0x{KEY_STEPS[0]:X}) & 0xFFFFFFFF, (key_2 + 0x{KEY_STEPS[1]:X}) & 0xFFFFFFFF
    return a, b, c, d


@internal
def fraction(word):
    """A number in [0, 1) of a word's upper 24 bits, which float32 holds too."""
    return real(word >> 8) * real(2.0**-24)


@internal
def uniform(seed, step, number, row, out):
    """Fills a random tensor, the one with this number: four elements of each counter (element // 4, number, step).

    It is filled as all rows together are, of which `row`, a multiple of 4, is the first here.
    """
    flat = out.reshape(out.size)
    first = row // 4 * (flat.shape[0] // out.shape[0])
    seed_1, seed_2 = seed & 0xFFFFFFFF, seed >> 32
    step_1, step_2 = int(step) & 0xFFFFFFFF, int(step) >> 32
    whole = flat.shape[0] // 4
    for block in range(whole):
        a, b, c, d = philox(first + block, number, step_1, step_2, seed_1, seed_2)
        flat[4 * block] = fraction(a)
        flat[4 * block + 1] = fraction(b)
        flat[4 * block + 2] = fraction(c)
        flat[4 * block + 3] = fraction(d)
    words = philox(first + whole, number, step_1, step_2, seed_1, seed_2)
    for k in range(flat.shape[0] - 4 * whole):
        flat[4 * whole + k] = fraction(words[k])''',
    SUM_OF_SQUARES: '''\
@internal
def sum_of_squares(vector, start, stop):
    """Of a part of a vector, in double precision: a square of float32 may overflow."""
    total = 0.0
    for i in range(start, stop):
        total += float(vector[i]) * float(vector[i])
    return total''',
    OBSERVE: '''\
@internal
def observe(values, rows, observed):
    """(root mean square of the values, share of units that are 0 in every row)"""
    flat = values.reshape(rows, values.size // rows)
    squares = 0.0
    dead = 0
    for unit in range(flat.shape[1]):
        alive = False
        for row in range(rows):
            squares += float(flat[row, unit]) * float(flat[row, unit])
            alive |= flat[row, unit] != real(0)
        dead += not alive
    observed[0] = math.sqrt(squares / flat.size)
    observed[1] = dead / flat.shape[1]''',
}
