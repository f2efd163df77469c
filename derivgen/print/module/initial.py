"""The lines of `initial_parameters`: each tensor drawn as the spec's `init` says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from derivgen.form.program import Tensor
from derivgen.initializers import Initializer
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.names import digits_name
from derivgen.print.layout import WIDTH, Bracket, Part, line

# Arrays whose numbers take up to so many columns stand in the line that uses them.
INLINE = 88

FIXED = ("constant", "array")  # what draws nothing


def distribution(t: Tensor) -> tuple[str, tuple[float, ...]]:
    """(distribution, arguments) of a parameter's initial values; an array of different numbers is its own."""
    if isinstance(t.initial, Initializer):
        return t.initial.resolved(tuple(int(extent) for extent in t.shape))
    given = np.asarray(t.initial)
    return ("constant", (float(given.flat[0]),)) if is_one_number(given) else ("array", ())


def is_one_number(array: np.ndarray) -> bool:
    """Whether all elements are the same, to the sign of a zero."""
    return all(element.tobytes() == array.flat[0].tobytes() for element in array.flat)


def initial_summary(parameters: Sequence[Tensor]) -> str:
    """The first line of the docstring."""
    words = [f"{t.name} {t.initial.name if isinstance(t.initial, Initializer) else 'given'}" for t in parameters]
    draws = any(distribution(t)[0] not in FIXED for t in parameters)
    return f"Flat parameter vector, shape (P,){', drawn by the seed' if draws else ''}: {', '.join(words)}"


def initial_arrays(plan: ModulePlan) -> list[str]:
    """The given initial values that are too long for a line, as arrays of the module."""
    long = [t for t in plan.program.vector if distribution(t)[0] == "array" and not is_inline(t)]
    names = [f"INITIAL_{t.name}" for t in long]
    texts = (array_text(name, t.initial, plan.dtype, names) for name, t in zip(names, long, strict=True))
    return [f"{text}\n{name} = {made}" for name, (text, made) in zip(names, texts, strict=True)]


def initial_lines(parameters: Sequence[Tensor]) -> list[str]:
    lines, draws = [], False
    for t in parameters:
        kind, arguments = distribution(t)
        drawn = kind not in FIXED
        draws |= drawn
        if kind != "constant" or repr(arguments[0]) != "0.0":
            lines += line(f"own.{t.name}.flat = ", values(t, kind, arguments), depth=1)
    start = ["rng = np.random.default_rng(seed)"] if draws else []
    named = ["own = parts(parameters)"] if lines else []
    return [*start, "parameters = aligned(COUNT)", "parameters[:] = 0", *named, *lines]


def values(t: Tensor, kind: str, arguments: tuple[float, ...]) -> Part:
    size, numbers = f"own.{t.name}.size", tuple(map(number_text, arguments))
    match kind:
        case "constant":
            return numbers[0]
        case "array":
            return numbers_text(t) if is_inline(t) else f"INITIAL_{t.name}"
        case "truncated_normal":
            return Bracket("truncated_normal", ("rng", *numbers, size))
        case "orthogonal":
            rows = int(t.shape[0]) if t.shape else 1
            return Bracket("orthogonal", ("rng", *numbers, str(rows), f"{size} // {rows}"))
        case _:
            return Bracket(f"rng.{kind}", (*numbers, size))


def is_inline(t: Tensor) -> bool:
    return len(numbers_text(t)) + len(t.name) <= INLINE


def numbers_text(t: Tensor) -> str:
    """The numbers of a given array."""
    return ", ".join(number_text(float(v)) for v in np.asarray(t.initial).ravel())


def number_text(value: float) -> str:
    return repr(value) if np.isfinite(value) else {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[repr(value)]


def digits_of(value: Any, dtype: np.dtype) -> str:
    """A number of an array, by as many digits as its dtype tells apart."""
    if dtype.kind == "i":
        return str(int(value))
    short = str(dtype.type(value))
    return short if dtype.type(float(short)) == dtype.type(value) else repr(float(value))


def array_text(name: str, array: np.ndarray, dtype: str, arrays: Collection[str]) -> tuple[str, str]:
    """(its numbers as text, which reads back to the last digit; the expression that makes it) of a module-level array.

    `dtype`: that of reals in the module; `arrays`: the names of all that there are.
    """
    kind = np.dtype(np.int64 if array.dtype.kind in "iu" else dtype)
    numbers = [digits_of(v, kind) for v in array.ravel()]
    lines, line = [], ""
    for number in numbers:
        if len(line) + 1 + len(number) > WIDTH:
            lines.append(line)
            line = ""
        line += f" {number}" if line else number
    text = "\n".join([*lines, line])
    digits = digits_name(name, arrays)
    return f'{digits} = """\n{text}\n"""', f"np.array({digits}.split(), {'np.int64' if kind.kind == 'i' else 'real'})"
