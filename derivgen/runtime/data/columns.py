"""Which columns of tables make which input of a module."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from derivgen.errors import DerivgenError, listed, nearest
from derivgen.runtime.data.inputs import given_twice, inputs_text, paths_text, shape_text
from derivgen.runtime.data.tables import Table


@dataclass(frozen=True, slots=True)
class Choice:
    """The columns that make an input."""

    table: Table
    columns: tuple[str, ...]


def choose_columns(
    module: ModuleType,
    tables: Sequence[Table],
    stated: Mapping[str, Sequence[str]],
    given: Mapping[str, Path],
    wanted: Sequence[str],
) -> dict[str, Choice]:
    """The columns of each input that the tables give; `given` are the inputs that other files give, with these.

    An input that is not wanted keeps its own columns from the one that takes what remains.
    """
    refuse_stated(module, tables, stated)
    choices: dict[str, Choice] = {}
    for declared in module.INPUTS:
        name = declared.name
        if name in stated:
            choices[name] = stated_choice(declared, module, tables, stated[name])
        elif choice := choice_by_name(declared, module, tables):
            choices[name] = choice
        if name in choices and name in given:
            raise given_twice(name, given[name], choices[name].table.path)
    missing = [i for i in module.INPUTS if i.name in wanted and i.name not in choices and i.name not in given]
    if len(missing) == 1 and (rest := choice_of_the_rest(missing[0], module, tables, choices)):
        choices[missing[0].name] = rest
    return choices


def refuse_stated(module: ModuleType, tables: Sequence[Table], stated: Mapping[str, Sequence[str]]) -> None:
    names = [i.name for i in module.INPUTS]
    for name in stated:
        if name not in names:
            found = f"columns: the model takes no input {name}"
            raise DerivgenError(f"{found}: expected {inputs_text(module)}{nearest(name, names)}")
    if stated and not tables:
        raise DerivgenError("columns: none of the files is a table: give a .csv or .parquet, or leave out columns")


def why_no_columns(declared: Any, module: ModuleType) -> str | None:
    """Why columns, of one number a sample, can't make this input; None where they can."""
    if module.SAMPLE_AXIS is None:
        return "the model has no sample axis"
    if not declared.shape or declared.shape[0] != module.SAMPLE_AXIS:
        return f"its first axis is not the sample axis {module.SAMPLE_AXIS}"
    return f"it has {len(declared.shape)} axes, and columns make 1 or 2" if len(declared.shape) > 2 else None


def refuse_columns(declared: Any, reason: str) -> DerivgenError:
    name = declared.name
    return DerivgenError(
        f"the input {name} of shape {shape_text(declared)} can't come from columns: {reason}. Give it in a file beside "
        f"the table: {name}.npy, or {name}=FILE.npy, or an .npz that holds {name}"
    )


def stated_choice(declared: Any, module: ModuleType, tables: Sequence[Table], stated: Sequence[str]) -> Choice:
    """The columns that the user gave for an input."""
    said = (stated,) if isinstance(stated, str) else tuple(stated)
    columns = [column for table in tables for column in table.columns]
    names = tuple(name for one in said for name in ([one] if one in columns else fnmatch.filter(columns, one) or [one]))
    if reason := why_no_columns(declared, module):
        raise refuse_columns(declared, reason)
    width = declared.shape[1] if len(declared.shape) == 2 else 1
    at_run_time = isinstance(width, str)
    if not names or (len(names) != width and not at_run_time):
        raise DerivgenError(
            f"columns: the input {declared.name} of shape {shape_text(declared)} takes "
            f"{'at least 1' if at_run_time else width} of them, found {len(names)}: {listed(names)}"
        )
    choice = choice_of(declared, tables, lambda table: names)
    if choice is None:
        raise absent_columns(declared, names, tables)
    return choice


def choice_by_name(declared: Any, module: ModuleType, tables: Sequence[Table]) -> Choice | None:
    if why_no_columns(declared, module):
        return None
    return choice_of(declared, tables, lambda table: own_columns(declared, table))


def own_columns(declared: Any, table: Table) -> tuple[str, ...]:
    """The names of an input's columns where the user says no others; as many as there are, for a run-time width."""
    name = declared.name
    if len(declared.shape) == 1:
        return (name,)
    width = declared.shape[1]
    if isinstance(width, str):
        width = 1
        while f"{name}_{width}" in table.columns:
            width += 1
    names = tuple(f"{name}_{d}" for d in range(width))
    return (name,) if width == 1 and names[0] not in table.columns else names


def choice_of(declared: Any, tables: Sequence[Table], names_in: Callable[[Table], tuple[str, ...]]) -> Choice | None:
    """The table that has the columns wanted of it; DerivgenError where there are two, or two columns of one name."""
    choices = [Choice(t, names_in(t)) for t in tables if set(names_in(t)) <= set(t.columns)]
    if len(choices) > 1:
        raise given_twice(declared.name, choices[0].table.path, choices[1].table.path)
    return unrepeated(choices[0]) if choices else None


def unrepeated(choice: Choice) -> Choice:
    counts = Counter(choice.table.columns)
    for name in choice.columns:
        if counts[name] > 1:
            found = f"{choice.table.path} has {counts[name]} columns named {name}"
            raise DerivgenError(f"{found}: rename all but one of them, or leave them out")
    return choice


def choice_of_the_rest(
    declared: Any, module: ModuleType, tables: Sequence[Table], choices: Mapping[str, Choice]
) -> Choice | None:
    """All that no other input takes of the only table where this is as many columns as the input needs."""
    if why_no_columns(declared, module) or len(declared.shape) != 2:
        return None
    rests = [Choice(t, tuple(left_over(t, choices))) for t in tables]
    fitting = [rest for rest in rests if len(rest.columns) == declared.shape[1]]
    return unrepeated(fitting[0]) if len(fitting) == 1 else None


def left_over(table: Table, choices: Mapping[str, Choice]) -> list[str]:
    taken = {name for choice in choices.values() if choice.table is table for name in choice.columns}
    return [name for name in table.columns if name not in taken]


# ---- an input that no table gives


def lacking_columns(
    declared: Any, module: ModuleType, tables: Sequence[Table], choices: Mapping[str, Choice]
) -> DerivgenError:
    """The error for an input that was not found; `choices` are the columns of those that were."""
    if reason := why_no_columns(declared, module):
        return refuse_columns(declared, reason)
    rest = ""
    if len(declared.shape) == 2 and len(tables) == 1 and not isinstance(declared.shape[1], str):
        left = left_over(tables[0], choices)
        rest = f", or {declared.shape[1]} that no other input takes (there are {len(left)}: {listed(left)})"
    return absent_columns(declared, own_columns(declared, tables[0]), tables, rest)


def absent_columns(declared: Any, names: Sequence[str], tables: Sequence[Table], rest: str = "") -> DerivgenError:
    """The error for an input of which no table has all the columns; `rest` is what else would have done."""
    found = [column for table in tables for column in table.columns]
    absent = next((name for name in names if name not in found), None)
    wanted = f"{listed(names)}{' in one table' if len(tables) > 1 else ''}"
    missing = f"; {absent} is missing{nearest(absent, found) or '.'}" if absent and not rest else "."
    return DerivgenError(
        f"{paths_text(table.path for table in tables)}: the input {declared.name} of shape {shape_text(declared)}: "
        f"expected the column{'s' if len(names) > 1 else ''} {wanted}{rest}, found {listed(found)}{missing} "
        f"{header_advice(tables)}"
        f'Give the right ones by --columns {declared.name}=... (in Python columns={{"{declared.name}": [...]}})'
    )


def header_advice(tables: Sequence[Table]) -> str:
    """What may be wrong with a first line that names no column of the model."""
    names = [name for table in tables if not table.format.typed for name in table.columns]
    if len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        return "There must be commas between columns. "
    if names and all(is_number(name) for name in names):
        return "The first line must name the columns; this one seems to be data. "
    return ""


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
