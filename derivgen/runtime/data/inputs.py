"""What all readers of data need: the words for a module's inputs, and numbers in the dtype that an input needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.arrays import Array, Kind
from derivgen.runtime.nonfinite import element

LARGEST_WHOLE = 2.0**53  # beyond it, float64 holds only some of the whole numbers


def inputs_text(module: ModuleType) -> str:
    return ", ".join(i.name for i in module.INPUTS) or "no inputs"


def shape_text(declared: Any) -> str:
    return str(declared.shape).replace("'", "")


def given_twice(name: str, first: Path, second: Path) -> DerivgenError:
    return DerivgenError(f"the input {name} is given twice, by {first} and by {second}: leave one of them out")


def paths_text(paths: Iterable[Path]) -> str:
    return " and ".join(map(str, paths))


# ---- numbers


def unmasked(name: str, array: Any) -> Any:
    """The array; TypeError where it has a mask, which numpy would drop as it copies."""
    if np.ma.isMaskedArray(array):
        raise TypeError(
            f"{name}: expected a numpy array without a mask, found a masked one: leave out what is masked, or fill it "
            f"by {name}.filled(...)"
        )
    return array


@dataclass(frozen=True, slots=True)
class Origin:
    """Where numbers were read: an array by its name, or a column of an input."""

    path: Path
    name: str
    column_of: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: " + (f"column {self.name} (input {self.column_of})" if self.column_of else self.name)

    def place(self, position: tuple[int, ...]) -> str:
        return f"in row {position[0] + 1}" if self.column_of else f"at {element(self.name, position)}"


def check_kind(kind: Kind, declared: Any, cast: bool, origin: Origin) -> None:
    """DerivgenError where an array of this shape and dtype is no such input, and no cast makes it one."""
    wanted = declared.shape
    check_dtype(kind.dtype, declared, cast, origin)
    if len(kind.shape) != len(wanted) or any(
        isinstance(extent, int) and extent != found for extent, found in zip(wanted, kind.shape, strict=True)
    ):
        raise DerivgenError(
            f"{origin} must be of shape {shape_text(declared)}, found {kind.shape}: reshape it, or generate the module "
            "for these sizes"
        )


def check_dtype(dtype: np.dtype[Any], declared: Any, cast: bool, origin: Origin) -> bool:
    """Whether an input of this dtype needs no cast; DerivgenError where it is no number, or needs an unasked cast."""
    if dtype.kind not in "fiub":
        raise DerivgenError(f"{origin} must hold numbers, found dtype {dtype}")
    # Labels are taken in any integer dtype.
    fits = dtype.kind in "iu" if is_integer(declared) else dtype == declared.dtype
    if not fits and not cast:
        wanted = "int64" if is_integer(declared) else declared.dtype
        raise DerivgenError(
            f"{origin} must be {wanted}, found {dtype}: convert it by --cast (in Python cast=True), or save it "
            f'as {origin.name}.astype("{wanted}")'
        )
    return bool(fits)


def is_integer(declared: Any) -> bool:
    return declared.classes is not None or np.dtype(declared.dtype).kind in "iu"


def converted(array: Array, declared: Any, cast: bool, origin: Origin) -> Array:
    """The array in the dtype that an input needs; DerivgenError where that would lose something unasked."""
    if check_dtype(array.dtype, declared, cast, origin):
        # One that is mapped from a file stays there; the kernels look at what they read.
        return array if isinstance(array, np.memmap) else checked_labels(array, declared, origin)
    # What is made from a memory-mapped array is itself called so, though it is in memory: a plain array is not.
    plain = np.asarray(array)
    if is_integer(declared):
        return checked_labels(whole_numbers(plain, origin), declared, origin)
    return rounded(plain, str(declared.dtype), origin)


def checked_labels(array: Array, declared: Any, origin: Origin) -> Array:
    """The array; DerivgenError at the first label that is none of the classes, nor the ignored one."""
    if declared.classes is None:
        return array
    good = (array >= 0) & (array < declared.classes)
    if declared.ignore is not None:
        good |= array == declared.ignore
    position = first_false(good)
    if position is not None:
        expected = f"labels 0 .. {declared.classes - 1}"
        raise DerivgenError(f"{origin} must hold {expected}, found {array[position]} {origin.place(position)}")
    return array


def whole_numbers(array: Array, origin: Origin) -> Array:
    """The numbers as int64; DerivgenError at the first that is not whole."""
    if array.dtype.kind == "f":
        # NaN and infinity fail the first comparison.
        position = first_false((np.abs(array) <= LARGEST_WHOLE) & (array == np.floor(array)))
        if position is not None:
            raise DerivgenError(f"{origin} must hold whole numbers, found {array[position]} {origin.place(position)}")
    return array.astype(np.int64)


def rounded(array: Array, dtype: str, origin: Origin) -> Array:
    """The numbers in a float dtype; DerivgenError at the first that would become an infinity."""
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        largest = np.finfo(dtype).max
        position = first_false(~np.isfinite(array) | (np.abs(array) <= largest)) or ()
        raise DerivgenError(
            f"{origin} must be {dtype}, at most {largest:.3g}, found {array[position]} {origin.place(position)}: scale "
            "the data, or generate the module with --dtype float64"
        ) from None


def first_false(mask: Array) -> tuple[int, ...] | None:
    if mask.all():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmin(mask)), mask.shape))
