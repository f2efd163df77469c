"""What a spec meant, where Python, NumPy or SymPy say what they could not do: beginners' mistakes in our words."""

from __future__ import annotations

import re
from collections.abc import Callable

from derivgen.errors import nearest

# What a name that a spec does not know may be imported from.
LIBRARIES = ("activations", "losses", "layers", "optimizers", "initializers", "schedules")
OTHER_NAMES = {"loss": "minimize", "objective": "minimize", "compile": "update", "optimizer": "update", "add": "let"}

Words = Callable[[re.Match[str], BaseException], str]


def advice(error: BaseException) -> str:
    """What to write instead; empty where nothing is known of such an error."""
    for kind, pattern, words in RULES:
        found = re.search(pattern, str(error)) if isinstance(error, kind) else None
        if found is not None and (text := words(found, error)):
            return text
    return ""


def said(text: str) -> Words:
    """Words that may name the groups of the pattern, as {1}."""
    return lambda found, error: text.format(*("", *found.groups()))


def undefined(found: re.Match[str], error: BaseException) -> str:
    """A name that the spec uses and does not have: where it is, if SymPy or the library has it."""
    import importlib

    import sympy

    name = found[1]
    for library in LIBRARIES:
        if hasattr(importlib.import_module(f"derivgen.{library}"), name):
            return f"{name} is not defined: write from derivgen.{library} import {name}"
    if hasattr(sympy, name):
        return f"{name} is not defined: write from sympy import {name}"
    return f"{name} is not defined here: define it above this line, or import it"


def lacking(found: re.Match[str], error: BaseException) -> str:
    """A method that a model lacks, under another library's name or misspelt."""
    if found[1] != "Model":
        return ""
    own = [name for name in dir(getattr(error, "obj", None)) if not name.startswith("_")]
    other = OTHER_NAMES.get(found[2])
    near = f"; did you mean {other}?" if other else nearest(found[2], own)
    return f"Model has no {found[2]}{near}" if near else ""


def by_position(found: re.Match[str], error: BaseException) -> str:
    function, most, given = found[1].rpartition(".")[2], int(found[2]), int(found[3])
    return f"{function} takes at most {most} arguments by position, found {given}: give the others by name, as name=…"


def of_formulas(text: str) -> Words:
    """Words on what formulas can't do; none where it is another object that can't."""

    def words(found: re.Match[str], error: BaseException) -> str:
        import sympy

        return text if hasattr(sympy, found[1]) or found[1] in ("TensorSymbol", "Indexed") else ""

    return words


RULES: tuple[tuple[type[BaseException], str, Words], ...] = (
    (
        ValueError,
        r"specify dummy variables for",
        said("a Sum names the indices that it runs over: write Sum(…, d)"),
    ),
    (
        ValueError,
        r"Summation will set Idx value too high",
        said("a Sum's limits include both ends: write (d, 0, D - 1), or d alone for all of the index"),
    ),
    (
        TypeError,
        r"loop of ufunc does not support argument \d of type .* callable (\w+) method",
        said("NumPy's {1} takes numbers and no formulas: write sympy.{1}, or a function of derivgen.activations"),
    ),
    (
        TypeError,
        r"unsupported operand type\(s\) for @:",
        said("products of matrices are written as sums: Sum(x[n, d]*W[d, h], d) for x @ W"),
    ),
    (
        TypeError,
        r"cannot determine truth value of Relational",
        said(
            "whether a condition on a tensor holds is not known before the model runs: with SymPy's functions, write "
            "Piecewise((a, c), (b, True)) for a if c else b, and Max(a, b) for max(a, b)"
        ),
    ),
    (
        TypeError,
        r"'(\w+)' object is not iterable",
        of_formulas("Python's sum, max and min go over lists: over an index write SymPy's Sum(…, d), or MaxOver(…, d)"),
    ),
    (
        TypeError,
        r"'(\w+)' object is not subscriptable",
        of_formulas("subscripts stand at tensors and not at formulas: write x[n, h]*W[n, h] for (x*W)[n, h]"),
    ),
    (
        TypeError,
        r"let\(\) missing \d required positional argument",
        said('let takes a name, indices and a formula: model.let("a", (n, h), …)'),
    ),
    (TypeError, r"([\w.]+)\(\) takes (?:from \d+ to )?(\d+) positional arguments? but (\d+)", by_position),
    (
        TypeError,
        r"([\w.]+)\(\) missing \d required keyword-only arguments?: '(\w+)'",
        said("{1} lacks its argument {2}: give it by name, as {2}=…"),
    ),
    (NameError, r"name '(\w+)' is not defined", undefined),
    (AttributeError, r"'(\w+)' object has no attribute '(\w+)'", lacking),
)
