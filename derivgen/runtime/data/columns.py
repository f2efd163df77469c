"""Which columns of tables make which input of a module."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from derivgen.errors import DerivgenError, listed, nearest
from derivgen.runtime.data.inputs import Tell, given_twice, inputs_text, is_number, paths_text, shape_text
from derivgen.runtime.data.tables import Table

FEW = 6  # columns that are all named


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
    tell: Tell,
) -> dict[str, Choice]:
    """The columns of each input that the tables give; `given` are the inputs that other files give, with these.

    An input that is not wanted keeps its own columns from the one that takes what remains; `tell` is told which these
    are.
    """
    refuse_stated(module, tables, stated)
    choices: dict[str, Choice] = {}
    for declared in module.INPUTS:
        name, reason = declared.name, why_no_columns(declared, module)
        if name in stated and reason:
            raise refuse_columns(declared, reason)
        said = stated_columns(declared, tables, stated[name]) if name in stated else None
        every = [Choice(t, said or own_columns(declared, t)) for t in tables if not reason]
        found = [choice for choice in every if set(choice.columns) <= set(choice.table.columns)]
        places: list[object] = [*([given[name]] if name in given else []), *(choice.table for choice in found)]
        if found and len(places) > 1:
            raise given_twice(name, places[0], places[1])
        if said and not found:
            raise absent_columns(declared, said, tables)
        if found:
            choices[name] = unrepeated(found[0])
    missing = [i for i in module.INPUTS if i.name in wanted and i.name not in choices and i.name not in given]
    if len(missing) == 1 and len(missing[0].shape) == 2 and not why_no_columns(missing[0], module):
        rests = [Choice(t, tuple(left_over(t, choices))) for t in tables]
        fitting = [rest for rest in rests if len(rest.columns) == missing[0].shape[1]]
        if len(fitting) == 1:
            choices[missing[0].name] = unrepeated(fitting[0])
            tell(f"{missing[0].name}: {columns_text(fitting[0].columns)} of {fitting[0].table}")
    return choices


def columns_text(names: Sequence[str]) -> str:
    """All of a few columns; of more how many they are, the first and the last."""
    if len(names) <= FEW:
        return f"columns {', '.join(names)}"
    return f"{len(names)} columns, {names[0]} .. {names[-1]},"


def refuse_stated(module: ModuleType, tables: Sequence[Table], stated: Mapping[str, Sequence[str]]) -> None:
    names = [i.name for i in module.INPUTS]
    for name in stated:
        if name not in names:
            found = f"columns: the model has no input {name}"
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


def stated_columns(declared: Any, tables: Sequence[Table], stated: Sequence[str]) -> tuple[str, ...]:
    """The columns that the user gave for an input, by names or patterns."""
    columns = [column for table in tables for column in table.columns]
    said = (stated,) if isinstance(stated, str) else tuple(stated)
    names = tuple(name for one in said for name in ([one] if one in columns else fnmatch.filter(columns, one) or [one]))
    width = declared.shape[1] if len(declared.shape) == 2 else 1
    if not names or (len(names) != width and not isinstance(width, str)):
        raise DerivgenError(
            f"columns: the input {declared.name} of shape {shape_text(declared)} needs "
            f"{'at least 1' if isinstance(width, str) else width} of them, found {len(names)}: {listed(names)}"
        )
    return names


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


def unrepeated(choice: Choice) -> Choice:
    counts = Counter(choice.table.columns)
    for name in choice.columns:
        if counts[name] > 1:
            found = f"{choice.table} has {counts[name]} columns named {name}"
            raise DerivgenError(f"{found}: rename all but one of them, or leave them out")
    return choice


def left_over(table: Table, choices: Mapping[str, Choice]) -> list[str]:
    taken = {name for choice in choices.values() if choice.table is table for name in choice.columns}
    return [name for name in table.columns if name not in taken]


# ---- an input that no table gives


def lacking_columns(
    declared: Any, module: ModuleType, tables: Sequence[Table], choices: Mapping[str, Choice], wanted: Sequence[str]
) -> DerivgenError:
    """The error for an input that was not found; `choices` are the columns of those that were, of the wanted ones."""
    if reason := why_no_columns(declared, module):
        return refuse_columns(declared, reason)
    rest = ""
    if len(declared.shape) == 2 and len(tables) == 1 and not isinstance(declared.shape[1], str):
        left, width = left_over(tables[0], choices), declared.shape[1]
        if len(left) != width:
            kept = f"{len(left)} ({listed(left)})" if left else "none"
            rest = f" Or give {width} columns of any names beside those of the other inputs: here {kept} remain."
            others = [i.name for i in module.INPUTS if i.name not in wanted and not why_no_columns(i, module)]
            unnamed = [name for name in others if name not in choices]
            rest += unneeded_column(unnamed[0], tables[0]) if unnamed and len(left) > width else ""
    return absent_columns(declared, own_columns(declared, tables[0]), tables, rest)


def unneeded_column(name: str, table: Table) -> str:
    """What to do where a table may have a column, such as the labels, for an input that is not needed."""
    cure = f"name it by --columns {name}=COLUMN" if table.path else "leave it out of the frame"
    return f" If one of them is the input {name}, {cure}."


def absent_columns(declared: Any, names: Sequence[str], tables: Sequence[Table], rest: str = "") -> DerivgenError:
    """The error for an input of which no table has all the columns; `rest` is what else would have done."""
    found = [column for table in tables for column in table.columns]
    absent = [name for name in names if name not in found]
    wanted = f"the column{'s' if len(names) > 1 else ''} {listed(names)}{' in one table' if len(tables) > 1 else ''}"
    missing = f"; {listed(absent)} {'is' if len(absent) == 1 else 'are'} missing" if absent else ""
    near = nearest(absent[0], found) if len(absent) == 1 else ""
    name, file = declared.name, any(table.path for table in tables)
    python = f'columns={{"{name}": [...]}}'
    other = f"--columns {name}=... (in Python {python})" if file else f'a mapping {{"{name}": frame[[...]], ...}}'
    rest += "".join(map(no_names, tables))
    return DerivgenError(
        f"{paths_text(tables)}: the input {name} of shape {shape_text(declared)}: expected {wanted}, found "
        f"{listed(found)}{missing}{near or '.'} If other columns make {name}, name them by {other}.{rest}"
    )


def no_names(table: Table) -> str:
    """What to say of a CSV file whose first line holds no names of columns; nothing if it holds some."""
    if table.path is None or table.path.suffix.lower() != ".csv":
        return ""
    for mark, separator in ((";", "semicolons"), ("\t", "tabs")):
        if len(table.columns) == 1 and mark in table.columns[0]:
            return f" Columns must be separated by commas: the first line of {table} has {separator}."
    if all(map(is_number, table.columns)):
        return f" The first line of {table} must hold the names of the columns: it holds numbers only."
    return ""
