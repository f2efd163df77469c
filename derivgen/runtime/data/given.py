"""Data that are given in Python: arrays by name, or a frame of pandas or polars, or a table of Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.arrays import Array
from derivgen.runtime.data.columns import choose_columns, lacking_columns, left_over, why_no_columns
from derivgen.runtime.data.inputs import (
    Origin,
    check_shape,
    converted,
    exact_floats,
    is_integer,
    shape_text,
    text_of_labels,
    unmasked,
)
from derivgen.runtime.data.rows import check_lengths, check_names
from derivgen.runtime.data.tables import Table, column_array, frame_table, read_table
from derivgen.runtime.loading import refuse_other
from derivgen.runtime.log import LOG

# Arrays by the inputs' names, or a frame: these are known by what they have, none of their libraries is imported.
Data: TypeAlias = Any


def named_inputs(
    module: ModuleType, data: Data, what: str = "data", needed: Sequence[str] | None = None
) -> dict[str, Any]:
    """The inputs by name, of arrays, columns or frames by name, or of one frame.

    A frame's columns make inputs as those of a CSV file do. Floating-point numbers are converted to the module's dtype,
    integers too where it holds them exactly, and whole numbers to labels, except those of arrays that are mapped from a
    file. What is logged: what was converted, which columns of other names make an input, and columns that no input
    takes. Others than the `needed` inputs, all if omitted, are left alone. Raises ValueError or TypeError where data
    are none of these, or don't fit.
    """
    if needed is not None and isinstance(data, Mapping):
        data = {name: data[name] for name in needed if name in data}
    try:
        table = frame_table(data)
        if table is not None:
            return inputs_of_table(module, table, needed)
        check_names(module, data, what)
        given = [i for i in module.INPUTS if i.name in data]
        for declared in given:
            refuse_number(module, declared, data)
        found = {i.name: as_input(i, data[i.name]) for i in given}
        check_lengths(module, found)
        return found
    except DerivgenError as error:
        raise ValueError(str(error)) from error


def inputs_of_table(module: ModuleType, table: Table, needed: Sequence[str] | None) -> dict[str, Array]:
    """The inputs of one or two axes, the first of them the sample axis, from their columns."""
    named = [i for i in module.INPUTS if needed is None or i.name in needed]
    wanted = [i for i in named if not why_no_columns(i, module)]
    choices = choose_columns(module, [table], {}, {}, [i.name for i in wanted], LOG.info)
    missing = [i for i in wanted if i.name not in choices]
    if missing:
        first = min(missing, key=lambda declared: len(declared.shape))
        raise lacking_columns(first, module, [table], choices, [i.name for i in named])
    unused = left_over(table, choices)
    if unused:
        LOG.info("%s also holds %s, which the model does not take", table, ", ".join(unused))
    return read_table(table, module, {i.name: choices[i.name].columns for i in wanted}, LOG.info)


def refuse_separate(function: str, module: ModuleType, others: Sequence[object]) -> None:
    """Raise TypeError where arrays were given one after another, as to scipy.optimize.curve_fit."""
    if others:
        refuse_other(module)
        names = [i.name for i in module.INPUTS]
        mapping = ", ".join([*(f'"{name}": {name}' for name in names[:3]), *(["…"] if len(names) > 3 else [])])
        raise TypeError(
            f"{function} takes the data as one mapping, by the names of the inputs: write {function}(module, "
            f"{{{mapping}}}), found {1 + len(others)} arguments by position after the module"
        )


def refuse_number(module: ModuleType, declared: Any, data: Mapping[str, Any]) -> None:
    """Raise TypeError where one number is given for all of an array, with what makes the array."""
    number, name = data[declared.name], declared.name
    if not declared.shape or not isinstance(number, int | float | np.number | np.ndarray) or np.ndim(number):
        return
    others = [i for i in module.INPUTS if i is not declared and np.ndim(data.get(i.name, 0))]
    sizes = ", ".join(length_text(extent, others) for extent in declared.shape)
    value = int(number) if is_integer(declared) else float(number)
    filled = f"np.full({sizes if len(declared.shape) == 1 else f'({sizes})'}, {value})"
    raise TypeError(
        f"{name} must be an array of shape {shape_text(declared)}, found the number {number}: for the same number "
        f"everywhere write {filled}"
    )


def length_text(extent: int | str, others: Sequence[Any]) -> str:
    """A length as it is written by another input that has it: `len(t)`."""
    for declared in others:
        if isinstance(extent, str) and extent in declared.shape:
            axis = declared.shape.index(extent)
            return f"{declared.name}.shape[{axis}]" if axis else f"len({declared.name})"
    return str(extent)


def refuse_other_arrays(declared: Any, given: Any) -> None:
    """Raise TypeError, with the conversion, for tensors of other libraries."""
    name = declared.name
    if hasattr(given, "detach") and hasattr(given, "cpu"):  # PyTorch's
        cure = f"{name}.detach().cpu().numpy()"
    elif hasattr(given, "__dlpack__") and not hasattr(given, "to_numpy"):
        cure = f"np.asarray({name})" if is_integer(declared) else f'np.asarray({name}, "{declared.dtype}")'
    else:
        return
    if declared.shape and not isinstance(given, np.ndarray):
        found = f"found {type(given).__name__}: convert it by {cure}"
        raise TypeError(f"{name}: expected a numpy array of {declared.dtype}, {found}")


def as_input(declared: Any, given: Any) -> Any:
    """An array as the module takes it, of a list too. Raises TypeError for tensors of other libraries.

    Anything else that is no array stays, and the module refuses it.
    """
    name = declared.name
    refuse_other_arrays(declared, given)
    if isinstance(given, list | tuple):
        given = array_of_list(declared, given)
    table = frame_table(given)
    if table is not None:
        read = table.read([(column, declared) for column in table.columns])
        origins = [Origin(None, column, name) for column in table.columns]
        given = np.stack([column_array(read[o.name], declared, o) for o in origins], axis=1)
    elif hasattr(given, "to_numpy"):
        given = column_array(given, declared, Origin(None, name))
    if not isinstance(unmasked(name, given), np.ndarray) or isinstance(given, np.memmap):
        return given
    origin = Origin(None, name)
    first = list(given.flat[:100])
    if first and isinstance(first[0], str):
        raise DerivgenError(f"{origin} {text_of_labels(declared, list(dict.fromkeys(map(str, first))), origin)}")
    check_shape(given.shape, declared, origin)
    if given.dtype.kind in "iu" and not is_integer(declared):
        return exact_floats(given, declared, origin, LOG.info)
    return converted(given, declared, False, origin, LOG.info) if given.dtype.kind == "f" else given


def array_of_list(declared: Any, given: Sequence[Any]) -> Array:
    """The array of nested lists of numbers. Raises DerivgenError where they make none."""
    try:
        return np.asarray(given)
    except ValueError:
        shape = shape_text(declared)
        raise DerivgenError(f"{declared.name} must be of shape {shape}, found lists of different lengths") from None
