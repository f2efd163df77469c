"""What a spec meant, where Python, NumPy or SymPy say what they could not do: beginners' mistakes in our words."""

from __future__ import annotations

import re
from collections.abc import Callable

from derivgen.errors import nearest

# What a name that a spec does not know may be imported from.
LIBRARIES = ("activations", "losses", "layers", "optimizers", "initializers", "schedules")
OTHER_NAMES = {"loss": "minimize", "objective": "minimize", "compile": "update", "optimizer": "update", "add": "let"}

# NumPy's functions that SymPy has under another name, as formulas of u and v.
NUMPY_NAMES = dict(
    [(f"arc{f}", f"a{f}") for f in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")],
    absolute="Abs",
    fabs="Abs",
    ceil="ceiling",
    square="u**2",
    power="u**v",
    reciprocal="1/u",
    log1p="log(1 + u)",
    expm1="exp(u) - 1",
    log10="log(u, 10)",
    log2="log(u, 2)",
    exp2="2**u",
)
CONDITIONS = (
    "whether a condition on a tensor holds is not known before the model runs: with SymPy's functions, write "
    "Piecewise((a, c), (b, True)) for a if c else b, Max(a, b) for max(a, b), activations.relu(a) for max(a, 0), "
    "And(a, b) and Or(a, b) for a and b, a or b"
)

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
    place = home_of(found[1])
    if place:
        return f"{found[1]} is not defined: write from {place} import {found[1]}"
    return f"{found[1]} is not defined here: define it above this line, or import it"


def home_of(name: str) -> str:
    """The module that has this name: one of the library, or SymPy; empty where neither has it."""
    import importlib

    for module in (*(f"derivgen.{library}" for library in LIBRARIES), "derivgen", "sympy"):
        if hasattr(importlib.import_module(module), name):
            return module
    return ""


def lacking(found: re.Match[str], error: BaseException) -> str:
    """A method that a model lacks, under another library's name or misspelt; what a tensor lacks."""
    if found[1] == "TensorSymbol":
        return (
            f"a tensor has no {found[2]}, only a shape, a model and elements: write formulas of these, x[n, d], with "
            "SymPy's functions, Sum(…, d) and MaxOver(…, d)"
        )
    if found[1] != "Model":
        return ""
    own = [name for name in dir(getattr(error, "obj", None)) if not name.startswith("_")]
    other = OTHER_NAMES.get(found[2])
    near = f"; did you mean {other}?" if other else nearest(found[2], own)
    return f"Model has no {found[2]}{near}" if near else ""


def misspelt(found: re.Match[str], error: BaseException) -> str:
    """A name that a module of the library lacks: the nearest one that it has, or the module that has it."""
    import importlib

    name, module = found["name"], found["module"]
    if not module.startswith("derivgen"):
        return ""
    own = [other for other in dir(importlib.import_module(module)) if not other.startswith("_")]
    near = f"; write from {home} import {name}" if (home := home_of(name)) else nearest(name, own)
    return f"{module} has no {name}{near or ': docs/spec.md tells what there is'}"


def without_index(found: re.Match[str], error: BaseException) -> str:
    return f"a Sum names the indices that it runs over, found none: write Sum({found[1]}, d) for the sum over d"


def by_numpy(found: re.Match[str], error: BaseException) -> str:
    """A function of numbers that was given a formula: the one of formulas."""
    import sympy

    name = NUMPY_NAMES.get(found[1], found[1])
    if name.isidentifier():
        name = f"sympy.{name}" if hasattr(sympy, name) else "a formula of SymPy's functions"
    return (
        f"NumPy's {found[1]} accepts only numbers, found a formula: write {name}, or a function of derivgen.activations"
    )


def by_position(found: re.Match[str], error: BaseException) -> str:
    function, most, given = found[1].rpartition(".")[2], int(found[2]), int(found[3])
    how = "give the others by keyword, as name=…"
    return f"{function} takes at most {most} arguments by position, found {given}: {how}"


def of_formulas(text: str) -> Words:
    """Words on what formulas can't do; none where it is another object that can't."""

    def words(found: re.Match[str], error: BaseException) -> str:
        import sympy

        return text if hasattr(sympy, found[1]) or found[1] in ("TensorSymbol", "Indexed") else ""

    return words


RULES: tuple[tuple[type[BaseException], str, Words], ...] = (
    (
        ValueError,
        r"specify dummy variables for (.*?)(?:\. If the integrand|$)",
        without_index,
    ),
    (
        ValueError,
        r"Summation will set Idx value too (?:high|low)",
        said(
            "a Sum's limits include both ends, and stay in the range of the index: write (d, 0, D - 1), or d alone for "
            "all of the index"
        ),
    ),
    (
        ValueError,
        r"Invalid limits given: \((.*),\)$",
        said("expected an index of a Sum, d, or its limits, (d, 0, D - 1), which include both ends; found {1}"),
    ),
    (
        TypeError,
        r"loop of ufunc does not support argument \d of type .* callable (\w+) method",
        by_numpy,
    ),
    (
        TypeError,
        r"Cannot convert expression to (float|int)",
        said("a formula is no {1} before the model runs: write SymPy's functions, sympy.tanh for math.tanh"),
    ),
    (
        TypeError,
        r"'(\w+)' object cannot be interpreted as an integer",
        of_formulas(
            "a size or an index is no number for Python's range: over an index write SymPy's Sum(…, d), or range over "
            "the number itself"
        ),
    ),
    (
        TypeError,
        r"unsupported operand type\(s\) for .*'(?:StrictGreaterThan|StrictLessThan|GreaterThan|LessThan)'",
        said("a condition is no number: write Piecewise((a, c), (0, True)) for c*a"),
    ),
    (
        TypeError,
        r"unsupported operand type\(s\) for @:",
        said("products of matrices are written as sums of elements: Sum(x[n, d]*W[d, h], d) for x @ W"),
    ),
    (
        TypeError,
        r"cannot determine truth value of Relational",
        said(CONDITIONS),
    ),
    (
        TypeError,
        r"'(\w+)' object is not iterable",
        of_formulas("Python's sum, max and min go over lists: over an index write SymPy's Sum(…, d), or MaxOver(…, d)"),
    ),
    (
        TypeError,
        r"'(\w+)' object is not subscriptable",
        of_formulas(
            "subscripts stand at tensors and not at formulas: write x[n, h]*W[n, h] for (x*W)[n, h], and x[n, d] for "
            "x[n][d]"
        ),
    ),
    (
        TypeError,
        r"let\(\) missing \d required positional argument",
        said('let takes a name, indices and a formula: model.let("a", (n, h), …)'),
    ),
    (
        TypeError,
        r"([\w.]+)\(\) missing \d required positional arguments?: '(\w+)'",
        said("{1} lacks its argument {2}: give it, by position or as {2}=…"),
    ),
    (TypeError, r"([\w.]+)\(\) takes (?:from \d+ to )?(\d+) positional arguments? but (\d+)", by_position),
    (
        TypeError,
        r"([\w.]+)\(\) missing \d required keyword-only arguments?: '(\w+)'",
        said("{1} lacks its argument {2}, which is given by keyword: write {2}=…"),
    ),
    (NameError, r"name '(\w+)' is not defined", undefined),
    (AttributeError, r"'(\w+)' object has no attribute '(\w+)'", lacking),
    (AttributeError, r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'", misspelt),
    (ImportError, r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)'", misspelt),
)
