"""What a spec meant, where Python, NumPy or SymPy say what they could not do: beginners' mistakes in our words."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from inspect import isbuiltin
from typing import Any

from derivgen.errors import counted, nearest
from derivgen.project.failing import Failing, innermost_of_author
from derivgen.project.undefined import home_of, undefined_name

OTHER_NAMES = {"loss": "minimize", "objective": "minimize", "compile": "update", "optimizer": "update", "add": "let"}

# Functions of NumPy, and of Python's math, that SymPy has under another name, or as formulas of u and v.
OTHER_FUNCTIONS = dict(
    [(f"arc{f}", f"a{f}") for f in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")],
    absolute="Abs",
    fabs="Abs",
    ceil="ceiling",
    square="u**2",
    power="u**v",
    pow="u**v",
    reciprocal="1/u",
    log1p="log(1 + u)",
    expm1="exp(u) - 1",
    log10="log(u, 10)",
    log2="log(u, 2)",
    exp2="2**u",
    lgamma="loggamma",
)
BY_KEYWORD = {"indices": "n = model.indices(n=N)", "sizes": "D = model.sizes(D=3)"}
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
    return undefined_name(found[1], error)


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
    return only_numbers(f"NumPy's {found[1]}", found[1])


def by_python(found: re.Match[str], error: BaseException) -> str:
    """The same of Python's math; what else makes a number of a formula."""
    failing = innermost_of_author(error)
    function = failing.called if failing else None
    if isbuiltin(function) and function.__module__ == "math":
        return only_numbers(f"math.{function.__name__}", function.__name__)
    return f"a formula is no {found[1]} before the model runs: leave it a formula, of SymPy's functions"


def only_numbers(function: str, name: str) -> str:
    """What is written for a function of numbers of this name."""
    import sympy

    name = OTHER_FUNCTIONS.get(name, name)
    if name.isidentifier():
        name = f"sympy.{name}" if hasattr(sympy, name) else "a formula of SymPy's functions"
    return f"{function} accepts only numbers, found a formula: write {name}, or a function of derivgen.activations"


def by_position(found: re.Match[str], error: BaseException) -> str:
    owner, _, function = found[1].rpartition(".")
    if function in BY_KEYWORD:
        return f"{function} takes each size by keyword, under its name: write {BY_KEYWORD[function]}"
    itself = int(owner.rpartition(".")[2][:1].isupper())  # a method's own object, which Python counts
    most, given = int(found[2]) - itself, int(found[3]) - itself
    how = "give the others by keyword, as name=…"
    return f"{function} takes at most {counted(most, 'argument')} by position, found {given}: {how}"


def not_subscriptable(found: re.Match[str], error: BaseException) -> str:
    """A number, or a formula, that was read at indices."""
    import sympy

    failing = innermost_of_author(error)
    node = failing.expression if failing else None
    if failing and isinstance(node, ast.Subscript) and isinstance(symbol := failing.value(node.value), sympy.Symbol):
        name, axes = ast.unparse(node.value), declared_with_axes(symbol, node.slice, failing)
        return f"{name} is a single number: write {name} without subscripts{axes}"
    return of_formulas(
        "subscripts stand at tensors and not at formulas: write x[n, h]*W[n, h] for (x*W)[n, h], and x[n, d] for "
        "x[n][d]"
    )(found, error)


def declared_with_axes(symbol: Any, subscripts: ast.expr, failing: Failing) -> str:
    """How data of one number would be declared that are read at these indices."""
    from sympy import Idx

    from derivgen.declare.model import Model
    from derivgen.form.program import Role

    models = [model for model in failing.names.values() if isinstance(model, Model)]
    declared = next((m.declarations[symbol.name] for m in models if symbol.name in m.declarations), None)
    nodes = subscripts.elts if isinstance(subscripts, ast.Tuple) else [subscripts]
    indices = [failing.value(node) for node in nodes]
    if declared is None or declared.role is not Role.INPUT or not all(isinstance(i, Idx) for i in indices):
        return ""
    axes = "".join(f", {i.upper + 1}" for i in indices)
    return f', or declare it as an array, model.input("{symbol.name}"{axes})'


def not_callable(found: re.Match[str], error: BaseException) -> str:
    """Parentheses in place of brackets, or of a product."""
    import sympy

    failing = innermost_of_author(error)
    node = failing.expression if failing else None
    if not isinstance(node, ast.Call):
        return ""
    name, arguments = ast.unparse(node.func), ", ".join(map(ast.unparse, node.args))
    name = f"({name})" if isinstance(node.func, ast.BinOp) else name
    if found[1] == "TensorSymbol":
        return f"elements are read by brackets: write {name}[{arguments}] for {name}({arguments})"
    if hasattr(sympy, found[1]):
        return f"{name} is a formula and no function: if a product is meant, write {name}*({arguments})"
    return ""


def of_formulas(text: str) -> Words:
    """Words on what formulas can't do; none where it is another object that can't."""

    def words(found: re.Match[str], error: BaseException) -> str:
        import sympy

        return text if hasattr(sympy, found[1]) or found[1] in ("TensorSymbol", "Indexed") else ""

    return words


SHORT_SUM = 'contract("nd,dh->nh", x, W)[n, h], with from derivgen import contract'

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
    (ValueError, r"einstein sum subscripts", said(f"NumPy's einsum works on arrays: write {SHORT_SUM}")),
    (NameError, r"name 'einsum' is not defined", said(f"einsum is called contract here: write {SHORT_SUM}")),
    (
        TypeError,
        r"'Contraction'",
        said("what contract(…) returns is read at indices, as a tensor is: contract(…)[n, h]"),
    ),
    (
        TypeError,
        r"Cannot convert expression to (float|int)",
        by_python,
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
        r"cannot unpack non-iterable (?:Symbol|Idx) object",
        said("one name gives one size or one index, and no tuple: write N = model.sizes(N=3), without a comma after N"),
    ),
    (
        TypeError,
        r"unsupported operand type\(s\) for .*'(?:StrictGreaterThan|StrictLessThan|GreaterThan|LessThan)'",
        said("a condition is no number: write Piecewise((a, c), (0, True)) for c*a"),
    ),
    (
        TypeError,
        r"unsupported operand type\(s\) for (?:\^|.*'Xor')",
        said("powers are written with **: write u**2 for u ^ 2"),
    ),
    (
        TypeError,
        r"unsupported operand type\(s\) for (?:[&|]|<<|>>):",
        said("conditions are joined by And(a, b) and Or(a, b), with a comparison in each: And(x[n] > 0, x[n] < 1)"),
    ),
    (
        TypeError,
        r"Second argument must be a Boolean",
        said("a Piecewise takes pairs of a value and a condition, a comparison: Piecewise((a, y[n] > 0), (b, True))"),
    ),
    (
        TypeError,
        r"'(?:TensorSymbol|Indexed)' object does not support item assignment",
        said('elements are not assigned: one formula is for all, model.let("a", n, …), and has its cases by Piecewise'),
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
        not_subscriptable,
    ),
    (
        TypeError,
        r"'(\w+)' object is not callable",
        not_callable,
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
