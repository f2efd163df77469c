"""What all readers of data need: the words for a module's inputs, and numbers in the dtype that an input needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.arrays import Array, Kind
from derivgen.runtime.nonfinite import element

Tell: TypeAlias = Callable[[str], None]  # what is told of data that are taken in another way than they were given


def inputs_text(module: ModuleType) -> str:
    return ", ".join(i.name for i in module.INPUTS) or "no inputs"


def shape_text(declared: Any) -> str:
    return str(declared.shape).replace("'", "")


def given_twice(name: str, first: object, second: object) -> DerivgenError:
    return DerivgenError(f"the input {name} is given twice, by {first} and by {second}: leave one of them out")


def paths_text(paths: Iterable[object]) -> str:
    return " and ".join(map(str, paths))


# ---- numbers


def unmasked(name: str, array: Any) -> Any:
    """The array. Raises TypeError where it has a mask, which numpy would drop as it copies."""
    if np.ma.isMaskedArray(array):
        raise TypeError(
            f"{name}: expected a numpy array without a mask, found a masked one: leave out what is masked, or fill it "
            f"by {name}.filled(...)"
        )
    return array


@dataclass(frozen=True, slots=True)
class Origin:
    """Where numbers were read: an array by its name, or a column of an input; of a file, or given in Python."""

    path: Path | None
    name: str
    column_of: str | None = None

    def __str__(self) -> str:
        file = "" if self.path is None else f"{self.path}: "
        return file + (f"column {self.name} (input {self.column_of})" if self.column_of else self.name)

    def place(self, position: tuple[int, ...]) -> str:
        return f"in row {position[0] + 1}" if self.column_of else f"at {element(self.name, position)}"


def check_kind(kind: Kind, declared: Any, cast: bool, origin: Origin) -> None:
    """Raise DerivgenError where an array of this shape and dtype is no such input, and no cast makes it one."""
    check_shape(kind.shape, declared, origin)
    check_dtype(kind.dtype, declared, cast, origin)


def check_shape(found: tuple[int, ...], declared: Any, origin: Origin) -> None:
    """Raise DerivgenError where an array of this shape is no such input, with what makes it one."""
    if not fits(found, declared.shape):
        wanted = shape_text(declared)
        raise DerivgenError(f"{origin} must be of shape {wanted}, found {found}: {cure(found, declared, origin.name)}")


def fits(found: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Whether an array of this shape has the axes that are wanted, of any length where it is known at run time."""
    return len(found) == len(wanted) and all(
        isinstance(extent, str) or extent == own for extent, own in zip(wanted, found, strict=True)
    )


def cure(found: tuple[int, ...], declared: Any, name: str) -> str:
    """What makes an array of this shape an input."""
    wanted = declared.shape
    if declared.classes is not None and fits(found, (*wanted, declared.classes)) and declared.classes > 1:
        return f"labels are integers of shape {shape_text(declared)}: use {name}.argmax(axis={len(wanted)})"
    if fits(found, (*wanted, 1)):
        return f"use {name}[..., 0]"
    if wanted and wanted[-1] == 1 and fits(found, wanted[:-1]):
        return f"use {name}[..., None]"
    if len(found) == 2 and fits(found[::-1], wanted):
        return f"transpose it, {name}.T"
    if wanted and isinstance(wanted[0], str) and fits((1, *found), wanted):
        return f"one row of it is {name}[None]"
    return "reshape it, or generate the module for these sizes"


def check_dtype(dtype: np.dtype[Any], declared: Any, cast: bool, origin: Origin) -> bool:
    """Whether an input of this dtype is taken as it is.

    Floating-point numbers are converted without being asked: to the module's dtype, or to labels where they are whole.
    Raises DerivgenError where it is no number, or needs an unasked cast.
    """
    if dtype.kind in "SUT":
        raise DerivgenError(f"{origin} {text_of_labels(declared, (), origin)}")
    if dtype.kind not in "fiub":
        raise DerivgenError(f"{origin} must hold numbers, found dtype {dtype}: convert it to numbers")
    # Labels are taken in any integer dtype.
    good = dtype.kind in "iu" if is_integer(declared) else dtype == declared.dtype
    if not good and not cast and dtype.kind != "f":
        wanted = "int64" if is_integer(declared) else declared.dtype
        raise DerivgenError(
            f"{origin} must be {wanted}, found {dtype}: convert it by --cast (in Python cast=True), or save it "
            f'as {origin.name}.astype("{wanted}")'
        )
    return bool(good)


def text_of_labels(declared: Any, texts: Sequence[str], origin: Origin) -> str:
    """What is wrong with text in place of numbers, and what to do, for a message; `texts` are the first ones."""
    found = (
        f"holds text ({', '.join(map(repr, texts[:3]))}{', …' if len(texts) > 3 else ''})" if texts else "holds text"
    )
    if texts and all(map(is_number, texts)):
        return f"{found}, expected numbers: store it as numbers"
    if declared.classes is None:
        more = "" if origin.path is None or not origin.column_of else f", or others by --columns {origin.column_of}=..."
        return f"{found}, expected numbers: give a number for each of them{more}"
    column = f'table["{origin.name}"]' if origin.column_of else origin.name
    return (
        f"{found}: labels are integers 0 .. {declared.classes - 1}. Number them, as "
        f"np.unique({column}, return_inverse=True)[1] does in the order of the alphabet"
    )


def is_number(cell: str) -> bool:
    """Whether text is a number as CSV files have it."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_integer(declared: Any) -> bool:
    return declared.classes is not None or np.dtype(declared.dtype).kind in "iu"


def converted(array: Array, declared: Any, cast: bool, origin: Origin, tell: Tell) -> Array:
    """The array in the dtype that an input needs; `tell` is told of floating-point numbers that were converted.

    Raises DerivgenError where that would lose more than rounding does.
    """
    if check_dtype(array.dtype, declared, cast, origin):
        # One that is mapped from a file stays there; the kernels look at what they read.
        return array if isinstance(array, np.memmap) else checked_labels(array, declared, origin)
    dtype = np.dtype(np.int64 if is_integer(declared) else declared.dtype)
    # What is made from a memory-mapped array is itself called so, though it is in memory: a plain array is not.
    plain = np.asarray(array)
    with np.errstate(all="ignore"):
        made = plain.astype(dtype)
    position = first_false(made == plain if dtype.kind == "i" else np.isfinite(made) | ~np.isfinite(plain))
    if position is not None:
        found = f"found {plain[position]} {origin.place(position)}"
        if dtype.kind == "i":
            what = "labels are integers, fractions are none" if declared.classes is not None else "round them"
            what = what if abs(plain[position]) < 2**63 else "integers have 64 bits"
            raise DerivgenError(f"{origin} must hold whole numbers, {found}: {what}")
        raise DerivgenError(
            f"{origin} must be {dtype}, at most {np.finfo(dtype).max:.3g}, {found}: scale the data, or generate the "
            "module with --dtype float64"
        )
    if not cast:
        kind = "integers, which labels are" if dtype.kind == "i" else f"the module's {dtype}"
        tell(f"{origin} is {array.dtype}: converted to {kind}")
    return checked_labels(made, declared, origin)


def exact_floats(array: Array, declared: Any, origin: Origin, tell: Tell) -> Array:
    """Integers in the floating-point dtype that an input needs, of which `tell` is told.

    Raises DerivgenError at the first that this dtype does not hold exactly.
    """
    made = array.astype(declared.dtype)
    large = zip(*np.nonzero(np.abs(made) >= 2.0 ** np.finfo(made.dtype).nmant), strict=True)
    rounded = next((position for position in large if int(made[position]) != int(array[position])), None)
    if rounded is not None:
        position = tuple(map(int, rounded))
        raise DerivgenError(
            f"{origin} must be {made.dtype}, found the integer {array[position]} {origin.place(position)}, which "
            f'{made.dtype} rounds: if that may be, convert it by {origin.name}.astype("{made.dtype}")'
        )
    tell(f"{origin} is {array.dtype}: converted to the module's {made.dtype}")
    return made


def checked_labels(array: Array, declared: Any, origin: Origin) -> Array:
    """The array. Raises DerivgenError at the first label that is none of the classes, nor the ignored one."""
    if declared.classes is None:
        return array
    good = (array >= 0) & (array < declared.classes)
    ignored = np.zeros((), bool) if declared.ignore is None else array == declared.ignore
    position = first_false(good | ignored)
    if position is not None:
        expected = f"labels 0 .. {declared.classes - 1}" + (
            "" if declared.ignore is None else f" or {declared.ignore}, which is ignored"
        )
        found = f"{origin} must hold {expected}, found {array[position]} {origin.place(position)}"
        others = array[np.broadcast_to(~ignored, array.shape)]
        if others.min() == 1 and others.max() == declared.classes:
            raise DerivgenError(f"{found}: labels start at 0, subtract 1 from each")
        raise DerivgenError(f"{found}: correct it, or declare more classes in the spec")
    return array


def first_false(mask: Array) -> tuple[int, ...] | None:
    if mask.all():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmin(mask)), mask.shape))
