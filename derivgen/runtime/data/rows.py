"""The rows of the training data: which are held out, and how they come into memory."""

from __future__ import annotations

import inspect
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import nearest
from derivgen.runtime.data.inputs import inputs_text, unmasked

Array = np.ndarray[Any, Any]

MANY = 2**22  # rows
CHUNK = 2**24  # elements of a chunk of steps, data and parameters: some tenths of a second, and 64 MB in float32


def sample_inputs(module: ModuleType) -> list[str]:
    """The inputs whose first axis is the sample axis."""
    axis = module.SAMPLE_AXIS
    return [i.name for i in module.INPUTS if axis is not None and i.shape and i.shape[0] == axis]


def check_names(module: ModuleType, data: Mapping[str, Array], what: str) -> None:
    """Raise TypeError where the data are no inputs by name, or have one that the model lacks."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{what} must be a mapping from inputs' names to arrays, found {type(data).__name__}")
    names = [i.name for i in module.INPUTS]
    for name in data:
        if name not in names:
            near = nearest(str(name), names) or ":"
            raise TypeError(
                f"{what} has {name}, which is no input of the model{near} its inputs are {inputs_text(module)}"
            )


def check_complete(module: ModuleType, data: Mapping[str, Array], names: Iterable[str] | None = None) -> None:
    """Raise TypeError where one of these inputs, of all if omitted, is missing."""
    every = [i.name for i in module.INPUTS]
    for name in every if names is None else names:
        if name not in data:
            raise TypeError(f"the input {name} is missing from the data: expected {', '.join(every)}")


def count_rows(module: ModuleType, data: Mapping[str, Array]) -> int:
    """The rows of the data.

    Raises ValueError or TypeError where an input lacks, has none, or has others than the rest.
    """
    axis = module.SAMPLE_AXIS
    names = sample_inputs(module)
    check_complete(module, data, names)
    for name in names:
        if np.ndim(data[name]) == 0:
            raise ValueError(f"the input {name} must be an array with first axis {axis}, found {data[name]!r}")
    counts = {name: len(data[name]) for name in names}
    refuse_different(f"equally many rows (axis {axis})", counts)
    rows = next(iter(counts.values()))
    if rows == 0:
        raise ValueError(f"the inputs have no rows (axis {axis} is empty): at least one is needed")
    return rows


def check_lengths(module: ModuleType, data: Mapping[str, Array]) -> None:
    """Raise ValueError where inputs have different lengths along an axis that they share, of those that are given."""
    axes: dict[str, dict[str, int]] = {}
    for declared in (i for i in module.INPUTS if i.name in data):
        for extent, length in zip(declared.shape, np.shape(data[declared.name]), strict=False):
            if isinstance(extent, str):
                axes.setdefault(extent, {})[declared.name] = length
    for axis, lengths in axes.items():
        what = (
            f"equally many rows (axis {axis})" if axis == module.SAMPLE_AXIS else f"the same length along axis {axis}"
        )
        refuse_different(what, lengths)


def refuse_different(what: str, lengths: Mapping[str, int]) -> None:
    """Raise ValueError where the lengths of these inputs are not the same."""
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} in {name}" for name, length in lengths.items())
        raise ValueError(f"the inputs must have {what}, found {found}")


def split_rows(
    module: ModuleType, data: Mapping[str, Array], fraction: float, generator: np.random.Generator
) -> tuple[Array | None, Array | None]:
    """(training rows, validation rows); both are None where the model has no sample axis."""
    if not sample_inputs(module):
        if fraction:
            raise ValueError("validation_split: the model has no sample axis, so there are no rows to hold out")
        return None, None
    rows = count_rows(module, data)
    # Row numbers of very many rows are kept small; those of a chunk become int64.
    numbers = np.arange(rows, dtype=np.int64 if rows < MANY else np.int32 if rows < 2**31 else np.int64)
    if not fraction:
        return numbers, None
    held_out = round(rows * fraction)
    if not 0 < held_out < rows:
        raise ValueError(f"validation_split: {fraction} of {rows} rows leaves nothing to train on or to validate by")
    shuffled = generator.permutation(numbers)
    return shuffled[held_out:], shuffled[:held_out]


class Feed:
    """The data of a module, a part of its rows at a time.

    An input that kernels can't take as it is, such as one mapped from a file, comes into memory by its rows: never
    more than those of a chunk at once.
    """

    def __init__(self, module: ModuleType, data: Mapping[str, Array]) -> None:
        self.data = {name: unmasked(name, array) for name, array in data.items()}
        self.sampled = sample_inputs(module)
        integers = {i.name for i in module.INPUTS if i.classes is not None}
        self.by_rows = [
            name
            for name in self.sampled
            if isinstance(data[name], np.ndarray) and not is_ready(data[name], name in integers)
        ]
        self.row_elements = sum(math.prod(np.shape(data[name])[1:]) for name in self.sampled)

    def steps_at_once(self, batch_size: int, parameters: int) -> int:
        """The steps of a chunk; a function of sizes alone, so that two runs have the same chunks."""
        return max(1, CHUNK // (parameters + batch_size * self.row_elements + 1))

    def for_order(self, order: Array) -> tuple[dict[str, Array], Array]:
        """(data, row numbers in it) that stand for these rows."""
        if not self.by_rows:
            return self.data, order
        rows = {name: gathered(self.data[name], order) for name in self.by_rows}
        others = {name: self.data[name][order] for name in self.sampled if name not in self.by_rows}
        return {**self.data, **others, **rows}, np.arange(len(order))

    def take(self, rows: Array) -> dict[str, Array]:
        """The inputs with these rows only; inputs without the sample axis whole."""
        return {name: np.asarray(a)[rows] if name in self.sampled else a for name, a in self.data.items()}

    def parts(self, rows: Array, multiple: int = 1) -> Iterator[tuple[Array, dict[str, Array]]]:
        """(row numbers, inputs) of parts of these rows that fit into a chunk, each but the last a multiple of rows."""
        length = multiple * max(1, CHUNK // (16 * self.row_elements * multiple + 1))
        for start in range(0, len(rows), length):
            part = rows[start : start + length]
            yield part, self.take(part)


def draws_of(function: Callable[..., Any], part: int) -> dict[str, int]:
    """The seed for a part of the rows, where the function draws: else the parts would have the same numbers."""
    return {"seed": part} if "seed" in inspect.signature(function).parameters else {}


def digest(array: Any) -> str:
    """What an input is, in a few words: dtype, shape, and a checksum of at most 1,024 of its rows."""
    array = np.asarray(array)
    rows = array[:: max(1, len(array) // 1024)][:1024] if array.ndim else array
    checksum = zlib.crc32(np.ascontiguousarray(rows).tobytes())
    return f"{array.dtype} of shape {array.shape}, checksum {checksum:08x}"


def gathered(array: Array, rows: Array) -> Array:
    """These rows, which are read in the order of the file."""
    by_place = np.argsort(rows, kind="stable")
    taken = np.empty((len(rows), *array.shape[1:]), array.dtype)
    taken[by_place] = array[rows[by_place]]
    return taken


def is_ready(array: Array, integer: bool) -> bool:
    """Whether a kernel takes the array as it is: in memory that may be written, contiguous, labels as int64."""
    return type(array) is np.ndarray and array.flags.carray and (not integer or array.dtype == np.int64)


def class_weights(module: ModuleType, data: Mapping[str, Array], rows: Array | None, given: Any) -> dict[str, Array]:
    """The input `class_weights`, shape (classes,): "balanced", or as a mapping or an array says.

    Balanced weights are rows / (classes · rows of the class), as scikit-learn's. Raises ValueError where the model has
    no such input, or no labels of as many classes.
    """
    entry = next((i for i in module.INPUTS if i.name == "class_weights"), None)
    if entry is None or len(entry.shape) != 1:
        raise ValueError(
            'class_weights: the model has no input of that name: declare class_weights = model.input("class_weights", '
            "classes) in the spec, and give it to the loss, softmax_cross_entropy(..., class_weights=class_weights)"
        )
    classes = int(entry.shape[0])
    if isinstance(given, str) and given == "balanced":
        counts = np.bincount(labels_of(module, data, rows, classes), minlength=classes)
        if not counts.all():
            missing = np.argmin(counts)
            raise ValueError(f"class_weights: no row has the label {missing}, so it has no balanced weight")
        weights = counts.sum() / (classes * counts)
    elif isinstance(given, Mapping):
        unknown = [label for label in given if label not in range(classes)]
        if unknown:
            raise ValueError(f"class_weights: expected labels 0 .. {classes - 1}, found {unknown[0]}")
        weights = np.array([float(given.get(label, 1.0)) for label in range(classes)])
    elif isinstance(given, str):
        raise ValueError(f'class_weights: expected "balanced", a mapping or an array, found {given!r}')
    else:
        weights = np.asarray(unmasked("class_weights", given), float)
    if weights.shape != (classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"class_weights: expected {classes} finite numbers of at least 0, found {weights}")
    return {"class_weights": weights.astype(entry.dtype)}


def labels_of(module: ModuleType, data: Mapping[str, Array], rows: Array | None, classes: int) -> Array:
    """The training rows' labels of so many classes, without ignored ones."""
    entries = [i for i in module.INPUTS if i.classes == classes]
    if len(entries) != 1:
        raise ValueError(
            f'class_weights: "balanced" needs one input of labels of {classes} classes, found {len(entries)}'
        )
    (entry,) = entries
    labels = np.asarray(data[entry.name])
    labels = (labels if rows is None or entry.name not in sample_inputs(module) else labels[rows]).ravel()
    labels = labels[labels != entry.ignore] if entry.ignore is not None else labels
    if labels.dtype.kind not in "iu" or ((labels < 0) | (labels >= classes)).any():
        raise ValueError(f"class_weights: {entry.name} must hold integer labels 0 .. {classes - 1}")
    return labels
