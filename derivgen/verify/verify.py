"""Check a generated module from its text alone: `python verify.py MODULE.py [CERTIFICATE.json]`.

This file needs Python's standard library and NumPy, and nothing of derivgen. It prints what it finds wrong, a line
each, then what it does not check, and exits with 0 if there is nothing wrong, 1 if there is something, 2 if a file
cannot be read. In the order of the code:

formulas     the notation of docstrings, computed over whole arrays
loops        each kernel's loops run in plain Python on random arrays: they must give what its docstring says
accesses     each element that a kernel reads or writes lies in its array, whatever the sizes, for whole numbers that
             calls pass: proved from the bounds of loops and conditions, by Fourier and Motzkin's elimination
the whole    what calls the kernels runs twice, in the module's memory and with an array of its own for each buffer, all
             NaN before: a buffer that another one overlaps, or that is read before it is complete, shows. The gradient
             is that of the formulas that the module opens with, by complex steps; the update does what its docstring
             says, and the loops of training do what a loop of this file does
callers      what callers use has the statements that generated functions have
certificate  each adjoint follows from one formula by one rule, none is missing, and they give the module's gradient

All is computed in float64, and by this file's own elementary functions: rounding is not checked here, but for the
elementary functions themselves, which are compared with Python's. What is alike in all modules (the end of the file) is
known by its digest; who trusts it has read it once.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import json
import math
import re
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

GAP = 16  # elements between the stretches of memory that buffers share

Arrays = dict[str, np.ndarray]
Sizes = dict[str, int]
Shapes = dict[str, tuple[int, ...]]


class Unclear(Exception):
    """Text that this file does not understand: it is reported, never passed over."""


# ---- formulas: as Python's syntax ----------------------------------------------------------------

NAME = "[A-Za-zα-ω_][A-Za-zα-ω_0-9]*"
DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# √ becomes Python's ~, and Σ_n,t a·b becomes open_sum_of(n,t)*a*b: what follows it in the product is its body.
SYNTAX = {"·": "*", "^": "**", "√": "~", "≥": ">=", "≤": "<=", "≠": "!=", "∞": "inf", " = ": " == "}
REWRITES = (
    (re.compile(r"\((\w+) of\) argmax_([\w,]+) "), r"open_argmax_of(\1,\2)*"),
    (re.compile(r"Σ_([\w,]+) "), r"open_sum_of(\1)*"),
    (re.compile(r"(?<!\w)max_([\w,]+) "), r"open_max_of(\1)*"),
    (re.compile("([⁻⁰¹²³⁴-⁹]+)"), lambda found: f"**({found[1].translate(DIGITS)})"),
    (re.compile(r"\|([^|]+)\|"), r"abs(\1)"),
)
FOLDS = ("sum_of", "max_of", "argmax_of")
# Remarks on an update's formulas: what a name stands for, or what is otherwise for some tensors.
REMARK = re.compile(rf"{NAME}(, {NAME})*: ")
FROZEN = "frozen, left as it is"
NORMS = {
    "gradient_norm": "the Euclidean norm of the gradient as the step gave it, of all that is trained",
    "tensor_norm": "the Euclidean norm of the gradient as the step gave it, of one tensor",
}
SUFFIX = re.compile(rf"((?:, {NAME} < [^,]+)*)(?:, (then )?({NAME}) = (0, 1, …|…, 1, 0))?$")


def chain(node: ast.expr) -> list[tuple[ast.operator, ast.expr]]:
    """The factors of a product, each with * or / before it."""
    match node:
        case ast.BinOp(left, ast.Mult() | ast.Div() as operator, right):
            return [*chain(left), (operator, right)]
        case ast.UnaryOp(ast.USub(), operand):
            return [(ast.Mult(), ast.Constant(-1)), *chain(operand)]
    return [(ast.Mult(), node)]


class Folded(ast.NodeTransformer):
    """open_sum_of(n)*a*b → sum_of(n, a*b)"""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        factors = chain(node)
        for place, (_, factor) in enumerate(factors[:-1]):
            if isinstance(factor, ast.Call) and ast.unparse(factor.func).startswith("open_"):
                body = self.visit(multiplied(factors[place + 1 :]))
                fold = ast.Call(ast.Name(ast.unparse(factor.func).removeprefix("open_")), [*factor.args, body], [])
                return self.generic_visit(multiplied([*factors[:place], (factors[place][0], fold)]))
        return self.generic_visit(node)


def multiplied(factors: list[tuple[ast.operator, ast.expr]]) -> ast.expr:
    return reduce(lambda left, factor: ast.BinOp(left, *factor), factors[1:], factors[0][1])


def tree(text: str) -> Any:
    """A formula as Python's syntax tree; one with a condition and no `else` leaves the rest as it is."""
    for pattern, replacement in REWRITES:
        text = pattern.sub(replacement, text)
    for sign, word in SYNTAX.items():
        text = text.replace(sign, word)
    for attempt in (text, f"{text} else unsaid"):
        try:
            return Folded().visit(ast.parse(attempt.strip(), mode="eval").body)
        except SyntaxError:
            continue
    raise Unclear(f"cannot read the formula {text!r}")


def fold_of(node: ast.AST) -> tuple[str, list[str], list[str], ast.expr] | None:
    """(kind, indices, [winner], body) of a sum or a maximum."""
    match node:
        case ast.Call(ast.Name(kind), [*names, body]) if kind in FOLDS:
            letters = [name.id for name in names if isinstance(name, ast.Name)]
            return (kind, letters[1:], letters[:1], body) if kind == "argmax_of" else (kind, letters, [], body)
    return None


@dataclass(frozen=True)
class Line:
    """A formula of a docstring: target[subscripts] operator value, where the guard holds."""

    text: str
    target: str
    subscripts: list[ast.expr]
    adds: bool
    value: ast.expr
    guard: ast.expr | None
    said: dict[str, ast.expr]  # ranges, of indices that run along no whole axis
    step: tuple[str, bool, bool] = ("", False, False)  # a recurrence's index; whether backwards; whether another begins

    @cached_property
    def largest(self) -> ast.expr | None:
        """x of `m[k[n]] = max(m[k[n]], x)`, whose places may come more than once."""
        own = f"{self.target}[{', '.join(map(ast.unparse, self.subscripts))}]"
        match self.value:
            case ast.Call(ast.Name("max"), [ast.Subscript() as place, value]) if ast.unparse(place) == own:
                return value
        return None

    @cached_property
    def parts(self) -> list[ast.expr]:
        return [*self.subscripts, self.value, *([self.guard] if self.guard else [])]

    @cached_property
    def names(self) -> list[str]:
        return list(dict.fromkeys(n.id for part in self.parts for n in ast.walk(part) if isinstance(n, ast.Name)))

    @cached_property
    def folded(self) -> set[str]:
        return {letter for node in ast.walk(self.value) if (fold := fold_of(node)) for letter in fold[1]}

    def elements(self, labels: frozenset[str] = frozenset()) -> list[tuple[str, list[ast.expr]]]:
        """(tensor, subscripts) of all that it reads and writes, but where a condition bounds one of these labels."""
        if self.guard and orders(self.guard, labels):
            return []
        nodes = [node for part in self.parts for node in unbounded(part, labels)]
        reads = [
            (n.value.id, indices(n)) for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name)
        ]
        return [(self.target, self.subscripts), *reads]


def outer_names(node: ast.AST) -> set[str]:
    """The names in a subscript, but those that are in subscripts themselves."""
    if isinstance(node, ast.Subscript):
        return names_in(node.value)
    own = {node.id} if isinstance(node, ast.Name) else set()
    return own.union(*map(outer_names, ast.iter_child_nodes(node)))


def unbounded(node: ast.AST, labels: frozenset[str]) -> Iterator[ast.AST]:
    yield node
    whole: Any = node
    branches = isinstance(node, ast.IfExp) and orders(node.test, labels)
    for part in [whole.test] if branches else ast.iter_child_nodes(node):
        yield from unbounded(part, labels)


def orders(test: ast.expr, labels: frozenset[str]) -> bool:
    compared = (n for n in ast.walk(test) if isinstance(n, ast.Compare) and not isinstance(n.ops[0], ast.NotEq))
    return any(labels & names_in(n) for n in compared)


def indices(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def line_of(text: str) -> Line:
    found = SUFFIX.search(text)
    assert found is not None
    left, operator, right = re.split(r" (\+?=) ", text[: found.start()], maxsplit=1)
    target, value, guard = tree(left), tree(right), None
    if isinstance(value, ast.IfExp) and isinstance(value.orelse, ast.Name) and value.orelse.id == "unsaid":
        guard, value = value.test, value.body
    said = {name: tree(extent) for name, extent in (part.split(" < ") for part in found[1].split(", ")[1:])}
    step = (found[3] or "", found[4] == "…, 1, 0", bool(found[2]))
    match target:
        case ast.Name(name):
            return Line(text, name, [], operator == "+=", value, guard, said, step)
        case ast.Subscript(ast.Name(name)):
            return Line(text, name, indices(target), operator == "+=", value, guard, said, step)
    raise Unclear(f"cannot read the left side of {text!r}")


OPEN = re.compile(r"( (\+|-|\+?=|[<>≤≥≠]|if|else|and|or|not|Σ\S*|max_\S*)|,)$")  # a formula goes on after these


def unwrapped(lines: list[str]) -> list[str]:
    """Formulas that were broken over several lines: the rest of one is indented, or does not begin as formulas do."""
    joined = list[str]()
    for line in lines:
        begins = re.match(rf"{NAME}(\[[^=]*\])? (\+?=|holds)( |$)|{NAME}[:,] |…", line)
        if joined and (not begins or line.startswith("    ") or OPEN.search(joined[-1])):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    return joined


# ---- formulas: computed --------------------------------------------------------------------------


def special(function: Callable[[float], float], derivative: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of Python's library on arrays, also on complex ones with a small imaginary part."""
    real = np.vectorize(function, otypes=[float])
    return lambda u: real(u.real) + (1j * u.imag * derivative(u.real) if np.iscomplexobj(u) else 0)


def polygamma(order: int) -> Callable[[Any], Any]:
    """ψ and its derivatives, by recurrence and asymptotic series (Abramowitz and Stegun, 6.4.11)."""
    bernoulli, sign, factorial = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66), (-1) ** (order + 1), math.factorial(order)

    def value(u: Any) -> Any:
        start = sum(sign * factorial / (u + k) ** (order + 1) for k in range(40))
        v = u + 40  # at least 20 for the arguments that functions are compared at
        tail = np.log(v) if order == 0 else sign * math.factorial(order - 1) / v**order
        tail = tail + sign * factorial / (2 * v ** (order + 1))
        terms = ((b, math.factorial(2 * k + order - 1) / math.factorial(2 * k), k) for k, b in enumerate(bernoulli, 1))
        return start + tail + sum(sign * b * factor / v ** (2 * k + order) for b, factor, k in terms)

    return value


def greater(u: Any, v: Any) -> Any:
    return np.where((v.real > u.real) | np.isnan(v.real), v, u)


def unit(u: Any) -> complex:
    """What a part of a slope is multiplied by, where numbers have one."""
    return 1j if np.iscomplexobj(u) else 0


def absolute(u: Any) -> Any:
    return np.where(u.real < 0, -u, u)


GAUSSIAN = 2 / math.sqrt(math.pi)
FUNCTIONS: dict[str, Any] = (
    {name: getattr(np, name) for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "log1p")}
    | {name: getattr(np, f"arc{name[1:]}") for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")}
    | {name: polygamma(order) for order, name in enumerate(("digamma", "trigamma", "tetragamma"))}
    | {"expm1": np.expm1, "abs": absolute, "max": greater, "min": lambda u, v: -greater(-u, -v)}
    | {"floor": lambda u: np.floor(u.real), "ceiling": lambda u: np.ceil(u.real), "sign": lambda u: np.sign(u.real)}
    | {"mod": lambda u, v: u - v * np.floor(u.real / v.real), "stop_gradient": lambda u: u.real}
)
FUNCTIONS |= {
    "atan2": lambda u, v: (
        np.arctan2(u.real, v.real) + unit(u + v) * (u.imag * v.real - v.imag * u.real) / (u**2 + v**2).real
    ),
    "sigmoid": lambda u: np.exp(np.where(u.real < 0, u, 0)) / (1 + np.exp(-absolute(u))),
    "softplus": lambda u: np.where(u.real > 0, u, 0) + np.log1p(np.exp(-absolute(u))),
    "logaddexp": lambda u, v: greater(u, v) + np.log1p(np.exp(-absolute(u - v))),
    "xlogy": lambda u, v: np.where(u == 0, 0, u * np.log(np.where(u == 0, 1, v))),
    "erf": special(math.erf, lambda u: GAUSSIAN * np.exp(-(u**2))),
    "erfc": special(math.erfc, lambda u: -GAUSSIAN * np.exp(-(u**2))),
    "loggamma": special(lambda u: math.lgamma(u) if u > 0 else math.nan, polygamma(0)),
}
OPERATIONS: dict[Any, Any] = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
OPERATIONS |= {ast.Pow: np.power, ast.USub: np.negative, ast.Not: np.logical_not, ast.Invert: np.sqrt}
OPERATIONS |= {ast.And: np.logical_and, ast.Or: np.logical_or, ast.Lt: np.less, ast.Gt: np.greater}
OPERATIONS |= {ast.LtE: np.less_equal, ast.GtE: np.greater_equal, ast.Eq: np.equal, ast.NotEq: np.not_equal}


@dataclass
class Scope:
    """What names mean while a formula is computed; each of its indices has an axis of its own."""

    arrays: Arrays
    sizes: Sizes
    ranges: Sizes = field(default_factory=dict)
    fixed: Sizes = field(default_factory=dict)  # the step of a recurrence
    axes: Sizes = field(default_factory=dict)

    def spread(self, value: Any, letters: Any) -> Any:
        """A value as an array that has these letters' whole axes."""
        value = np.asarray(value)
        value = value.reshape((1,) * len(self.axes)) if value.ndim == 0 else value
        whole = {self.axes[a]: 1 if a in self.fixed else self.ranges[a] for a in letters}
        return np.broadcast_to(value, [whole.get(axis, extent) for axis, extent in enumerate(value.shape)])

    def named(self, name: str) -> Any:
        if name in self.axes:
            along = [-1 if axis == self.axes[name] else 1 for axis in range(len(self.axes))]
            return (np.array([self.fixed[name]]) if name in self.fixed else np.arange(self.ranges[name])).reshape(along)
        if name in self.arrays:
            return self.arrays[name].reshape(()) if self.arrays[name].size == 1 else self.arrays[name]
        if name == "e":
            return np.asarray(math.e)
        if name not in self.sizes:
            raise Unclear(f"nothing is known of {name!r}")
        return np.asarray(self.sizes[name])

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(number):
                return np.asarray(number)
            case ast.Name("π" | "inf" | "true" | "false" as name):
                return np.asarray({"π": math.pi, "inf": math.inf, "true": True, "false": False}[name])
            case ast.Name(name):
                return self.named(name)
            case ast.Subscript(ast.Name(name)) if name in self.arrays:
                if (part := self.part(self.arrays[name], indices(node))) is not None:
                    return part
                places, outside = self.places(self.arrays[name], indices(node))
                found = self.arrays[name][tuple(places)]
                return np.where(outside, np.nan, found) if np.any(outside) else found
            case ast.BinOp(left, operator, right):
                a, b = self.value(left), self.value(right)
                a = a + 0.0 if isinstance(operator, ast.Pow) else a
                return OPERATIONS[type(operator)](a, b)
            case ast.UnaryOp(operator, operand):
                return OPERATIONS[type(operator)](self.value(operand))
            case ast.Compare(left, [operator], [right]):
                return OPERATIONS[type(operator)](self.value(left).real, self.value(right).real)
            case ast.BoolOp(operator, parts):
                return reduce(OPERATIONS[type(operator)], map(self.value, parts))
            case ast.IfExp(test, value, otherwise):
                return np.where(self.value(test), self.value(value), self.value(otherwise))
            case ast.Call() if fold_of(node):
                return self.fold(node, None)
            case ast.Call(ast.Name("max" | "min" as name), parts):
                return np.asarray(reduce(FUNCTIONS[name], map(self.value, parts)))
            case ast.Call(ast.Name(name), parts) if name in FUNCTIONS:
                return FUNCTIONS[name](*(self.value(part) for part in parts))
        raise Unclear(f"cannot read {ast.unparse(node)!r}")

    def part(self, array: np.ndarray, subscripts: list[ast.expr]) -> np.ndarray | None:
        """A view of the elements, if they are there and the subscripts are numbers and indices, each once."""
        axes, cut, shape = list[int](), list[Any](), [1] * len(self.axes)
        for subscript, extent in zip(subscripts, array.shape, strict=False):
            if isinstance(subscript, ast.Name) and subscript.id in self.axes and subscript.id not in self.fixed:
                count, axis = self.ranges[subscript.id], self.axes[subscript.id]
                inside, shape[axis] = count <= extent and axis not in axes, count
                axes.append(axis)
                cut.append(slice(count))
            else:
                place = self.value(subscript)
                inside = place.size == 1 and 0 <= place.real.item() < extent
                cut.append(int(place.real.item()) if inside else 0)
            if not inside:
                return None
        if len(subscripts) != array.ndim:
            return None
        return array[(*cut, ...)].transpose(sorted(range(len(axes)), key=axes.__getitem__)).reshape(shape)

    def places(self, array: np.ndarray, subscripts: list[ast.expr]) -> tuple[list[np.ndarray], Any]:
        """(subscripts, where one is outside of its axis)"""
        if len(subscripts) != array.ndim:
            raise Unclear(f"{len(subscripts)} subscripts on an array of {array.ndim} axes")
        values = [self.value(s).real.astype(np.int64) for s in subscripts]
        outside = [(v < 0) | (v >= extent) for v, extent in zip(values, array.shape, strict=True)]
        inside = [v.clip(0, extent - 1) for v, extent in zip(values, array.shape, strict=True)]
        return inside, reduce(np.logical_or, outside)

    def fold(self, node: ast.expr, guard: ast.expr | None) -> Any:
        """A sum, a maximum or the first place of one, over what the guard allows."""
        kind, letters, winner, body = fold_of(node) or ("", [], [], node)
        if kind == "sum_of" and guard is None and len(factors := chain(body)) > 1:
            return self.sum_of_products(factors, letters)
        value, axes = self.spread(self.value(body), letters), tuple(self.axes[letter] for letter in letters)
        if guard is not None:
            value = np.where(self.spread(self.value(guard), letters), value, 0 if kind == "sum_of" else -np.inf)
        if kind == "sum_of":
            return value.sum(axis=axes, keepdims=True)
        moved = np.moveaxis(value, axes, range(-len(axes), 0))
        flat = moved.reshape(*moved.shape[: -len(axes)], -1)
        first = flat.real.argmax(axis=-1)
        if winner:
            found = np.unravel_index(first, moved.shape[-len(axes) :])[letters.index(winner[0])]
        else:
            found = np.take_along_axis(flat, first[..., None], -1)[..., 0]
        return np.expand_dims(found, tuple(sorted(axes)))

    def sum_of_products(self, factors: list[tuple[ast.operator, ast.expr]], letters: list[str]) -> Any:
        """A sum over letters without an array of all products."""
        axes, values = [*range(len(self.axes))], [self.spread(self.value(factor), ()) for _, factor in factors]
        values = [1 / v if isinstance(o, ast.Div) else v for v, (o, _) in zip(values, factors, strict=True)]
        values[0], summed = self.spread(values[0] + 0.0, letters), {self.axes[letter] for letter in letters}
        pairs = (part for value in values for part in (value, axes))
        return np.expand_dims(np.einsum(*pairs, [axis for axis in axes if axis not in summed]), tuple(sorted(summed)))

    def compute(self, line: Line, ranges: Sizes) -> None:
        """Run one formula on the arrays; a target that is not there yet is made."""
        self.ranges = ranges
        self.axes = {letter: axis for axis, letter in enumerate(name for name in line.names if name in ranges)}
        by_fold = line.guard is not None and fold_of(line.value) and line.folded & names_in(line.guard)
        value = self.fold(line.value, line.guard) if by_fold else self.value(line.largest or line.value)
        if line.target not in self.arrays:
            longest = Scope(self.arrays, self.sizes, ranges, {}, self.axes)
            shape = [int(longest.value(s).max()) + 1 for s in line.subscripts]
            self.arrays[line.target] = np.full(shape, np.nan, np.result_type(value, float))
        array = self.arrays[line.target]
        value = self.spread(value, [letter for letter in self.axes if letter not in line.folded])
        allowed = np.True_ if line.guard is None else self.value(line.guard)
        if not line.subscripts:
            value = np.where(allowed, value, 0) if line.adds and not by_fold else value
            array[...] = array + value.sum() if line.adds else value.reshape(()) if value.size == 1 else np.nan
            return
        if by_fold:
            allowed = self.spread(allowed, line.folded).any(
                axis=tuple(self.axes[f] for f in line.folded), keepdims=True
            )
        part = self.part(array, line.subscripts)
        if part is not None and (line.adds or part.shape == value.shape):
            if line.adds or not by_fold:
                value = value if line.guard is None else np.where(allowed, value, 0 if line.adds else part)
            more = tuple(axis for axis, extent in enumerate(part.shape) if extent < value.shape[axis])
            part[...] = part + value.sum(axis=more, keepdims=True) if line.adds else value
            return
        places, outside = self.places(array, line.subscripts)
        if np.any(outside & allowed):
            raise IndexError(f"{line.text!r} writes outside of its array")
        chosen = allowed if line.adds or not by_fold else ~outside
        value, chosen, *places = np.broadcast_arrays(value, chosen, *places)
        at = tuple(place[chosen] for place in places)
        if line.adds:
            np.add.at(array, at, value[chosen])
        elif line.largest is not None:
            np.maximum.at(array, at, value[chosen])
        else:
            array[at] = value[chosen]


def names_in(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def run_formulas(lines: list[Line], scope: Scope, ranges_of: Callable[[Line], Sizes]) -> None:
    """All formulas in order; those of a recurrence step by step."""
    groups = list[list[Line]]()
    for line in lines:
        goes_on = groups and groups[-1][0].step[:2] == line.step[:2] and not line.step[2]
        groups = [*groups[:-1], [*groups[-1], line]] if goes_on else [*groups, [line]]
    for own in groups:
        letter, backwards, _ = own[0].step
        steps = range(ranges_of(own[0])[letter]) if letter else range(1)
        for t in reversed(steps) if backwards else steps:
            scope.fixed = {letter: t} if letter else {}
            for line in own:
                scope.compute(line, ranges_of(line))
    scope.fixed = {}


def shortest_axes(lines: list[Line], shapes: Shapes) -> Sizes:
    """The range of each index that stands alone as a subscript: the shortest axis that it runs along."""
    found = Sizes()
    for tensor, subscripts in (element for line in lines for element in line.elements()):
        for subscript, extent in zip(subscripts, shapes.get(tensor, ()), strict=False):
            if isinstance(subscript, ast.Name) and subscript.id not in shapes:
                found[subscript.id] = min(extent, found.get(subscript.id, extent))
    return found


# ---- kernels: loops against formulas -------------------------------------------------------------


def once(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a kernel's sizes that is run once for each."""

    def remembered(self: Kernel, sizes: Sizes, *more: Any) -> Any:
        key = (method.__name__, *sizes.items(), *more)
        if key not in self.known:
            self.known[key] = method(self, sizes, *more)
        return self.known[key]

    return remembered


@dataclass(frozen=True)
class Kernel:
    """A function of loops, with the formulas of its docstring."""

    function: ast.FunctionDef
    lines: list[Line]
    held: list[tuple[str, list[str]]]  # arrays that hold other tensors before their own
    given: Sizes = field(default_factory=dict)  # whole numbers that a call passes
    known: dict[Any, Any] = field(default_factory=dict, init=False)

    @cached_property
    def arrays(self) -> dict[str, tuple[str, list[ast.expr]]]:
        """(kind, shape) of each array that is given."""
        given = ((a.arg, a.annotation) for a in self.function.args.args)
        return {name: (ast.unparse(k.value), indices(k)) for name, k in given if isinstance(k, ast.Subscript)}

    @cached_property
    def sizes(self) -> list[str]:
        """The sizes known at run time, by name."""
        axes = [axis for _, shape in self.arrays.values() for axis in shape]
        own = [a.arg for a in self.function.args.args if a.annotation is None]
        names = dict.fromkeys([*(name for axis in axes for name in sorted(names_in(axis))), *own])
        return [name for name in names if name not in self.given]

    @once
    def shapes(self, sizes: Sizes) -> Shapes:
        count = Scope({}, sizes | self.given)
        found = {name: tuple(int(count.value(axis)) for axis in axes) for name, (_, axes) in self.arrays.items()}
        return found | {own: found[array] for array, held in self.held for own in held}

    @once
    def ranges(self, sizes: Sizes) -> Callable[[Line], Sizes]:
        count = Scope({}, sizes | self.given)
        shortest = {n: k for n, k in shortest_axes(self.lines, self.shapes(sizes)).items() if n not in count.sizes}
        return lambda line: shortest | {name: int(count.value(extent)) for name, extent in line.said.items()}

    def compute(self, arrays: Arrays, sizes: Sizes) -> None:
        """What the docstring says, into the arrays that the kernel writes."""
        shapes = self.shapes(sizes)
        for name, array in arrays.items():
            if array.shape != shapes[name]:
                raise ValueError(f"{name} has shape {array.shape}, expected {shapes[name]}")
        held = {own: np.full(shapes[own], np.nan, arrays[name].dtype) for name, before in self.held for own in before}
        run_formulas(self.lines, Scope({**held, **arrays}, sizes | self.given), self.ranges(sizes))

    @cached_property
    def integers(self) -> frozenset[str]:
        return frozenset(name for name, (kind, _) in self.arrays.items() if kind == "Integer")

    @once
    def bounds(self, sizes: Sizes, bounded: bool = False) -> Sizes:
        """How many values whole numbers may have, as subscripts; `bounded`: also where conditions bound them."""
        shapes, ranges, found = self.shapes(sizes), self.ranges(sizes), Sizes()
        zeros = {name: np.zeros(shapes[name]) for name in self.integers}
        for own in self.lines:
            scope = Scope(zeros, sizes | self.given, ranges(own))
            scope.axes = {letter: k for k, letter in enumerate(name for name in own.names if name in scope.ranges)}
            for tensor, subscripts in own.elements(frozenset() if bounded else self.integers):
                for subscript, extent in zip(subscripts, shapes.get(tensor, ()), strict=False):
                    values = np.asarray(scope.value(subscript), float)  # NaN where a read inside is outside its array
                    for name in self.integers & outer_names(subscript) if np.isfinite(values).any() else ():
                        found[name] = min(found.get(name, extent), extent - int(np.nanmax(values)))
        return {name: max(bound, 1) for name, bound in found.items()}


def kernel_of(function: ast.FunctionDef) -> Kernel:
    texts, held = unwrapped((ast.get_docstring(function) or "").splitlines()), list[tuple[str, list[str]]]()
    for text in texts:
        if found := re.fullmatch(rf"({NAME}) holds ({NAME}(?: and {NAME})*) before", text):
            held.append((found[1], found[2].split(" and ")))
    lines = [line_of(text) for text in texts if not re.match(rf"{NAME} holds ", text)]
    return Kernel(function, lines, held)


def scalar(function: Any) -> Callable[..., float]:
    """A function of arrays for Python's numbers."""
    return lambda *arguments: float(function(*map(np.float64, arguments)))


def divided(u: float, v: float) -> float:
    return u / v if v else float(np.divide(u, v))


def product(a: np.ndarray, b: np.ndarray, factors: tuple[float, float], c: np.ndarray) -> None:
    c[...] = factors[0] * (a @ b) + (factors[1] * c if factors[1] else 0)


SCALARS = {name: scalar(function) for name, function in FUNCTIONS.items() if name not in ("min", "max", "abs")}
SCALARS |= {"sigmoid": lambda u: math.exp(min(u, 0)) / (1 + math.exp(-abs(u))), "erf": math.erf, "erfc": math.erfc}
NUMPY = {name: getattr(np, name) for name in ("sqrt", "tan", "arctan", "arcsin", "arccos", "arctanh", "floor", "ceil")}
IN_LOOPS: dict[str, Any] = (
    SCALARS
    | {"range": range, "prange": range, "min": min, "max": max, "abs": abs, "real": float, "divided": divided}
    | {"gemm": product, "scratch": lambda *shape: np.full(shape, np.nan)}
    | {"ASSIGN": (1.0, 0.0), "ADD": (1.0, 1.0), "NEGATE": (-1.0, 0.0), "SUBTRACT": (-1.0, 1.0)}
    | {"square": lambda u: u * u, "cube": lambda u: u * u * u, "difference": lambda u, v: u - v}
    | {"ordinal": lambda u: u, "of_ordinal": lambda u: u, "memoryview": memoryview}
    | {"maximum": lambda u, v: v if v > u or math.isnan(v) else u}
    | {"minimum": lambda u, v: v if v < u or math.isnan(v) else u}
    | {"power": scalar(np.power), "integer_power": scalar(np.power)}
    | {"np": SimpleNamespace(**{n: scalar(f) for n, f in NUMPY.items()}, inf=math.inf, nan=math.nan, dot=np.dot)}
)
STATEMENTS = ast.For | ast.While | ast.If | ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Break | ast.Pass
VALUES = ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.Compare | ast.IfExp | ast.Call | ast.Name | ast.Constant
PARTS = ast.Subscript | ast.Tuple | ast.Slice | ast.Attribute | ast.keyword | ast.Starred | ast.expr_context
SIGNS = ast.operator | ast.unaryop | ast.boolop | ast.cmpop
ALLOWED = STATEMENTS | VALUES | PARTS | SIGNS


def refuse_unknown(function: ast.FunctionDef, known: set[str]) -> None:
    """Of a text that nobody trusts, only what is understood is run."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    own = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in nodes:
        name = getattr(node, "id", getattr(node, "attr", ""))
        unknown = isinstance(node, ast.Name) and name not in own | known | {a.arg for a in function.args.args}
        if not isinstance(node, ALLOWED) or unknown or name.startswith("__"):
            raise Unclear(f"line {getattr(node, 'lineno', '?')}: {name or type(node).__name__} is not understood")


class Runnable(ast.NodeTransformer):
    """Loops as plain Python runs them: elements by memory views, which are fast; short blocks of rows."""

    def __init__(self, ranks: Sizes, block: int) -> None:
        self.ranks, self.block = ranks, block

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        parts, self.ranks = indices(node), self.ranks
        self.generic_visit(node)
        whole = not any(isinstance(part, ast.Slice) for part in parts)
        if whole and isinstance(node.value, ast.Name) and self.ranks.get(node.value.id) == len(parts):
            node.value.id += "__view"
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Div) and not isinstance(node.right, ast.Constant):
            return ast.Call(ast.Name("divided", ast.Load()), [node.left, node.right], [])
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(2) if node.value == self.block else node


def block_of(function: ast.FunctionDef) -> int:
    """The number of rows in a block of a kernel's loop; -1 without blocks."""
    calls = (node.iter for node in ast.walk(function) if isinstance(node, ast.For) and isinstance(node.iter, ast.Call))
    steps = (call.args[2].value for call in calls if len(call.args) == 3 and isinstance(call.args[2], ast.Constant))
    return next((step for step in steps if isinstance(step, int) and step > 100), -1)


def runnable(kernel: Kernel) -> Callable[[Arrays, Sizes], None]:
    """A function that runs the loops on arrays."""
    refuse_unknown(kernel.function, set(IN_LOOPS))
    text = ast.parse(ast.unparse(kernel.function)).body[0]
    assert isinstance(text, ast.FunctionDef)
    blocks = [s for s in text.body if isinstance(s, ast.Assign) and ast.unparse(s.value).startswith("scratch(")]
    scratch = [s.targets[0].id for s in blocks if isinstance(s.targets[0], ast.Name)]
    ranks = {name: len(axes) for name, (_, axes) in kernel.arrays.items()} | dict.fromkeys(scratch, 2)
    body = [Runnable(ranks, block_of(text)).visit(statement) for statement in text.body[1:] if statement not in blocks]
    names = [a.arg for a in text.args.args]
    made = ast.parse(f"def loops({', '.join([*names, *(f'{name}__view' for name in kernel.arrays)])}): pass")
    views = [ast.parse(f"{name}__view = memoryview({name})").body[0] for name in scratch]
    made.body[0].body = [*blocks, *views, *body]  # type: ignore[attr-defined]
    space: dict[str, Any] = {**IN_LOOPS, "__builtins__": {}}
    exec(compile(ast.fix_missing_locations(made), text.name, "exec"), space)

    def run(arrays: Arrays, sizes: Sizes) -> None:
        given = [arrays[name] if name in arrays else (sizes | kernel.given)[name] for name in names]
        space["loops"](*given, *(memoryview(arrays[name].data) for name in kernel.arrays))

    return run


def values_for(kernel: Kernel, sizes: Sizes, limits: Sizes, kind: str, rng: np.random.Generator) -> Arrays:
    """Random arrays: positive, for logarithms and roots; of both signs; with zeros and equal numbers; large; small."""
    bounds, shapes, found = limits | kernel.bounds(sizes, True), kernel.shapes(sizes), Arrays()
    for number, (name, (kind_of, _)) in enumerate(kernel.arrays.items()):
        steps = any(line.step[0] for line in kernel.lines)
        scale = {"large": 60, "small": 0.1}.get(kind, 0.05 if steps else 1)
        reals = rng.uniform(0.5, 1.5, shapes[name]) if kind == "positive" else scale * rng.normal(size=shapes[name])
        reals = reals.round() if kind == "equal" else reals
        count = bounds.get(name, 3)
        few = sorted({0, count // 2, count - 1})  # so that several rows have the same
        labels = rng.choice(few, shapes[name])
        if kind in ("large", "small"):  # so that a row has different ones in all of its tables
            labels = (np.arange(labels.size).reshape(labels.shape) + number) % count
        found[name] = labels if kind_of == "Integer" else reals
    return found


def differs(a: Any, b: Any, tolerance: float = 1e-9) -> Any:
    """Where two arrays differ by more than rounding."""
    size = np.abs(a) + np.abs(b)
    finite = size[np.isfinite(size)]
    near = np.abs(a - b) <= tolerance * (size + 0.01 + (finite.mean() if finite.size else 0))
    return ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))


def moved_by_rounding(kernel: Kernel, given: Arrays, sizes: Sizes, name: str) -> Iterator[np.ndarray]:
    """What the formulas give for an array where all reals are off by a rounding."""
    rng = np.random.default_rng(5)
    for _ in range(4):
        moved = {own: array.copy() for own, array in given.items()}
        for array in moved.values():
            if array.dtype.kind == "f":
                array *= 1 + 3e-16 * rng.choice([-1, 1], array.shape)
        kernel.compute(moved, sizes)
        yield moved[name]


def check_loops(kernel: Kernel, limits: Sizes) -> None:
    """The loops give what the docstring says."""
    run, rng, usable = runnable(kernel), np.random.default_rng(0), set[str]()
    rows = 5 if block_of(kernel.function) > 0 or kernel.integers else 2
    sizes = {name: rows + number for number, name in enumerate(kernel.sizes)}
    targets = {line.target for line in kernel.lines} & {*kernel.arrays}
    for kind in ("positive", "signed", "equal", "large", "small"):
        if kind == "large" and targets <= usable:  # else a branch may be one that only such numbers take
            break
        given = values_for(kernel, sizes, limits, kind, rng)
        said, done = ({name: array.copy() for name, array in given.items()} for _ in range(2))
        kernel.compute(said, sizes)
        run(done, sizes)
        for name in given:
            wrong = differs(said[name], done[name])
            folds = [f for line in kernel.lines if line.target == name and (f := fold_of(line.value)) and f[2]]
            if kind == "equal" and any(not isinstance(f[3], ast.Subscript) for f in folds):
                continue  # rounding decides between equal values of formulas
            if name in dict(kernel.held):  # what is left of the tensor that it held before
                wrong &= said[name] != given[name]
            if wrong.any():  # not where rounding alone makes other numbers
                for moved in moved_by_rounding(kernel, given, sizes, name):
                    wrong &= ~differs(said[name], moved, 1e-10)
            if wrong.any() and (kind == "positive" or np.isfinite(said[name][wrong]).any()):
                place = tuple(int(i) for i in np.argwhere(wrong)[0])
                formula, loops = float(said[name][place]), float(done[name][place])
                raise AssertionError(f"{name}{list(place)}: its docstring says {formula!r}, its loops give {loops!r}")
            usable |= {name} if np.isfinite(done[name]).mean() > (0 if kind in ("large", "small") else 0.5) else set()
    if missing := targets - usable:
        raise Unclear(f"no numbers found at which {', '.join(sorted(missing))} can be compared")


# ---- kernels: accesses inside their arrays -------------------------------------------------------

Linear = dict[str, Any]  # a sum of names times numbers; "" stands for 1


def plus(a: Linear, b: Linear, factor: Any = 1) -> Linear:
    return {name: a.get(name, 0) + factor * b.get(name, 0) for name in {**a, **b}}


def impossible(rows: list[Linear]) -> bool:
    """Whether no numbers make all of these at least 0: each name in turn is eliminated (Fourier and Motzkin)."""
    while names := {name for row in rows for name, factor in row.items() if name and factor}:
        counts = {n: [sum(r.get(n, 0) * sign > 0 for r in rows) for sign in (1, -1)] for n in sorted(names)}
        name = min(counts, key=lambda n: counts[n][0] * counts[n][1] - sum(counts[n]))
        above, below = ([r for r in rows if r.get(name, 0) * sign > 0] for sign in (1, -1))
        pairs = [plus({k: -b[name] * f for k, f in a.items()}, b, a[name]) for a in above for b in below]
        rows = [r for r in rows if not r.get(name)] + pairs
        if len(rows) > 500:
            return False
    return any(row.get("", 0) < 0 for row in rows)


OPPOSITE: dict[Any, Any] = {ast.GtE: ast.Lt, ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.NotEq: ast.Eq}


class Accesses:
    """A walk through a kernel's code, with what is known of its whole numbers at each place."""

    def __init__(self, kernel: Kernel, limits: Sizes) -> None:
        """`limits`: how many values labels, tables and places of maxima have."""
        self.kernel, self.found = kernel, list[str]()
        bounds = kernel.bounds(dict.fromkeys(kernel.sizes, 2))
        self.bounds = bounds | {n: min(limits[n], bounds.get(n, limits[n])) for n in kernel.integers if n in limits}
        self.known: dict[str, Linear] = {size: {size: 1} for size in kernel.sizes}
        self.known |= {name: {"": number} for name, number in kernel.given.items()}
        self.shapes = {name: [self.linear(axis) for axis in axes] for name, (_, axes) in kernel.arrays.items()}
        self.block(kernel.function.body[1:], [{size: 1, "": -1} for size in kernel.sizes])

    def linear(self, node: ast.AST) -> Linear | None:
        match node:
            case ast.Constant(int(value)):
                return {"": value}
            case ast.Name(name):
                return self.known.get(name)
            case ast.Subscript(ast.Attribute(ast.Name(name), "shape"), ast.Constant(int(axis))) if name in self.shapes:
                return self.shapes[name][axis]
            case ast.UnaryOp(ast.USub(), operand) if (found := self.linear(operand)) is not None:
                return plus({}, found, -1)
            case ast.Subscript(ast.Name(name)) if name in self.kernel.integers:
                return {ast.unparse(node): 1}
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() as operator, right):
                a, b = self.linear(left), self.linear(right)
                if a is None or b is None:
                    return None
                if isinstance(operator, ast.Mult):
                    a, b = (a, b) if a.keys() <= {""} else (b, a)
                    return {k: a.get("", 0) * f for k, f in b.items()} if a.keys() <= {""} else {ast.unparse(node): 1}
                return plus(a, b, 1 if isinstance(operator, ast.Add) else -1)
        return None

    def each(self, node: ast.expr, function: str) -> list[Linear]:
        """The arguments of min(…) or max(…), or the number itself."""
        call = isinstance(node, ast.Call) and getattr(node.func, "id", "") == function
        parts = [self.linear(part) for part in (node.args if call and isinstance(node, ast.Call) else [node])]
        return [part for part in parts if part is not None]

    def holds(self, test: ast.expr, true: bool = True) -> list[Linear]:
        """What is at least 0 where a condition holds, or does not."""
        match test:
            case ast.BoolOp(ast.And(), parts) if true:
                return [row for part in parts for row in self.holds(part)]
            case ast.BoolOp(ast.Or(), parts) if not true:
                return [row for part in parts for row in self.holds(part, False)]
            case ast.Compare(left, [operator], [right]):
                a, b = self.linear(left), self.linear(right)
                if a is None or b is None:
                    return []
                above, below, one = plus(a, b, -1), plus(b, a, -1), {"": 1}
                rows: dict[Any, list[Linear]]
                rows = {ast.GtE: [above], ast.Gt: [plus(above, one, -1)], ast.Eq: [above, below]}
                rows |= {ast.LtE: [below], ast.Lt: [plus(below, one, -1)]}
                return rows.get(type(operator) if true else OPPOSITE.get(type(operator)), [])
        return []

    def block(self, statements: list[ast.stmt], facts: list[Linear]) -> None:
        for node in statements:
            # What is assigned in one of these is not known before it, nor after.
            for part in ast.walk(node) if isinstance(node, ast.For | ast.If | ast.AugAssign) else ():
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    self.known.pop(part.id, None)
            outer = dict(self.known)
            match node:
                case ast.For(ast.Name(index), ast.Call(_, arguments), body):
                    self.check(node.iter, facts)
                    low, high = (arguments[0], arguments[1]) if len(arguments) > 1 else (ast.Constant(0), arguments[0])
                    step = self.linear(arguments[2]) if len(arguments) == 3 else {"": 1}
                    forwards = step and step[""] > 0
                    rows = self.between(index, low, high) if forwards else self.between(index, high, low, 1)
                    self.known[index] = {index: 1}
                    self.block(body, [*(f for f in facts if index not in f), *rows])
                    self.known = outer
                case ast.If(test, body, otherwise):
                    self.check(test, facts)
                    self.block(body, facts + self.holds(test))
                    self.known = dict(outer)
                    self.block(otherwise, facts + self.holds(test, False))
                    self.known = outer
                case ast.Assign([ast.Name(name)], value):
                    self.check(value, facts)
                    self.known.pop(name, None)
                    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "scratch":
                        self.shapes[name] = [self.linear(axis) for axis in value.args]
                    elif (found := self.linear(value)) is not None:
                        self.known[name] = found
                case _:
                    for part in ast.iter_child_nodes(node):
                        self.check(part, facts)

    def between(self, index: str, low: ast.expr, high: ast.expr, backwards: int = 0) -> list[Linear]:
        """low ≤ index < high, or low < index ≤ high."""
        lows, highs = self.each(low, "max"), self.each(high, "min")
        above = [plus(plus({index: 1}, e, -1), {"": -backwards}) for e in lows]
        return above + [plus(plus(e, {index: 1}, -1), {"": backwards - 1}) for e in highs]

    def check(self, node: ast.AST, facts: list[Linear]) -> None:
        match node:
            case ast.IfExp(test, value, otherwise):
                self.check(test, facts)
                self.check(value, facts + self.holds(test))
                self.check(otherwise, facts + self.holds(test, False))
                return
            case ast.BoolOp(operator, parts):
                for place, part in enumerate(parts):
                    earlier = [row for p in parts[:place] for row in self.holds(p, isinstance(operator, ast.And))]
                    self.check(part, facts + earlier)
                return
            case ast.Subscript(ast.Name(name), _) if name in self.shapes:
                for subscript, extent in zip(indices(node), self.shapes[name], strict=False):
                    if not isinstance(subscript, ast.Slice):
                        self.inside(node, subscript, extent, facts)
        for child in ast.iter_child_nodes(node):
            self.check(child, facts)

    def inside(self, node: ast.Subscript, subscript: ast.expr, extent: Linear | None, facts: list[Linear]) -> None:
        place = self.linear(subscript)
        if place is None or extent is None:
            self.found.append(f"line {node.lineno}: {ast.unparse(node)}: its place is not understood")
            return
        rows = list(facts)
        for label in (name for name in place if name.partition("[")[0] in self.bounds):  # Module.called sees to it
            most = {"": self.bounds[label.partition("[")[0]]} if place != {label: 1} else extent
            rows += [{label: 1}, plus(most, {label: -1, "": -1})]
        for claim in (place, plus(plus(extent, place, -1), {"": -1})):
            if not impossible([*connected(rows, claim), plus({"": -1}, claim, -1)]):
                self.found.append(f"line {node.lineno}: {ast.unparse(node)} is not proved to lie in its array")
                return


def connected(rows: list[Linear], claim: Linear) -> list[Linear]:
    """The rows that have to do with a claim."""
    names, count = {*claim} - {""}, -1
    while count < len(names):
        count = len(names)
        names |= {name for row in rows if not names.isdisjoint(row) for name in row if name}
    return [row for row in rows if not names.isdisjoint(row)]


# ---- the whole: what calls the kernels -----------------------------------------------------------

KERNELS = {"kernel", "aliased_kernel", "parallel_kernel"}
CALLERS = {"layout", "internal", "pasted", "compiled"}
FIXED = re.compile(r"^# ==== the same in each (\w+) module of one derivgen, sha256 (\w+) =*\n", re.MULTILINE)
LIBRARY = {name: getattr(np, name) for name in ("sqrt", "power", "cos", "minimum", "maximum", "sign", "exp", "log")}
LIBRARY |= {name: getattr(np, name) for name in ("int64", "int32", "empty", "inf", "nan", "sin", "fromfunction")}
LIBRARY["array"] = lambda values, kind: np.array(values, np.int64 if kind is np.int64 else float)
LIBRARY["full"] = lambda shape, value, kind: np.full(shape, value, np.int64 if kind is np.int64 else float)


def add_up(*parts: np.ndarray) -> None:
    """The first one of each becomes the sum of all."""
    for part in parts:
        part[0] = part.sum(0)


def view(flat: Any, start: int, shape: tuple[int, ...]) -> Any:
    if start < 0 or start + math.prod(shape) > len(flat):
        raise IndexError(f"elements {start} to {start + math.prod(shape)} of a flat array of {len(flat)}")
    return flat[start : start + math.prod(shape)].reshape(shape)


def placed(rows: Any) -> Any:
    """The rows of PARAMETERS with their places in the flat vector, one after another."""
    ends = [0, *itertools.accumulate(math.prod(row.shape) for row in rows)]
    return tuple(row._replace(offset=ends[k]) for k, row in enumerate(rows))


def uniform(seed: int, step: int, number: int, row: int, out: np.ndarray) -> None:
    out[...] = np.random.default_rng([seed, step, number, row]).uniform(size=out.shape)


class Views(SimpleNamespace):
    """Arrays by names."""

    def _asdict(self) -> Arrays:
        return vars(self)


def separate(work: Any, kind: Any) -> Views:
    """The buffers with an array each, NaN before."""
    alone = {True: lambda a: np.zeros(a.shape, a.dtype), False: lambda a: np.full(a.shape, np.nan, kind)}
    return Views(**{name: alone[a.dtype.kind == "i"](a) for name, a in work._asdict().items()})


MARK = "def mark(function):\n        MARKED.append((word, function))\n        return function"
FRAME = {f"def marked(word):\n\n    {MARK}\n    return mark", "sys.modules.setdefault(__name__, THIS)"}
NAMED = "kind.__name__ = f'{__name__}_{kind.__name__}'"


def refuse_rebinding(nodes: list[ast.stmt]) -> None:
    """Each name of a module is bound once, and nothing unknown runs on import: what is read is what runs."""
    bound = list[str]()
    for place, node in enumerate(nodes):
        match node:
            case ast.Import(names) | ast.ImportFrom(_, names):
                bound += [alias.asname or alias.name for alias in names]
            case ast.FunctionDef(name) | ast.ClassDef(name):
                bound.append(name)
            case ast.Assign([ast.Name(name)]):
                bound.append(name)
            case ast.Assign([ast.Tuple(names)], ast.Call(ast.Name("map"), [ast.Name("marked"), words])):
                bound += [ast.unparse(name) for name in names]
                if [ast.unparse(name) for name in names] != list(ast.literal_eval(words)):
                    raise Unclear(f"line {node.lineno}: decorators have other names than their words")
            case ast.Expr(ast.Constant()) if place == 0:
                continue
            case ast.For(ast.Name("kind"), ast.Tuple(), [named]) if ast.unparse(named) == NAMED:
                continue
            case ast.Expr() if ast.unparse(node) in FRAME:
                continue
            case _:
                raise Unclear(f"line {node.lineno}: {ast.unparse(node)[:60]!r} is not understood")
        if getattr(node, "name", "") == "marked" and ast.unparse(node) not in FRAME:
            raise Unclear(f"line {node.lineno}: `marked` does something else")
    if twice := [name for name in bound if bound.count(name) > 1]:
        raise Unclear(f"{twice[0]} is bound twice")


@contextlib.contextmanager
def instead(space: dict[str, Any], others: dict[str, Any]) -> Iterator[None]:
    """Other values of names for a while."""
    kept = {name: space[name] for name in others}
    try:
        space.update(others)
        yield
    finally:
        space.update(kept)


@dataclass
class Module:
    """A module's text in parts; its tables, and its functions as Python runs them on the formulas of kernels."""

    text: str
    kernels: dict[str, Kernel] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=dict)
    work: Arrays = field(default_factory=dict)  # the buffers of the last call
    calls: list[tuple[Kernel, Arrays]] = field(default_factory=list)  # of kernels, in order

    def __post_init__(self) -> None:
        nodes = ast.parse(self.text).body
        refuse_rebinding(nodes)
        self.functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        marks = {n: {d.id for d in f.decorator_list if isinstance(d, ast.Name)} for n, f in self.functions.items()}
        self.kernels = {n: kernel_of(f) for n, f in self.functions.items() if marks[n] & KERNELS}
        run = [f for n, f in self.functions.items() if marks[n] & CALLERS or n.endswith("_memory")]
        self.space = (
            {"range": range, "prange": range, "min": min, "max": max, "abs": abs, "len": len, "int": int, "bool": bool}
            | {"float": lambda u: u, "real": lambda u: u, "borrowed": lambda array: array, "view": view, "tuple": tuple}
            | {"math": SimpleNamespace(pi=math.pi, cos=math.cos, sin=math.sin, inf=math.inf), "uniform": uniform}
            | {"np": SimpleNamespace(**LIBRARY), "aligned": lambda count: np.full(count, np.nan)}
            | {"observe": lambda *given: None, "meet": lambda *given: None, "add_gradients_in_tree": add_up}
            | {"sum_of_squares": lambda v, start, stop: (v[start:stop] ** 2).sum()}
            | {"square": lambda u: u * u, "maximum": np.maximum, "minimum": np.minimum, "__builtins__": {}}
            | {"Views": Views, "slots": self.slots, "slot": lambda **shapes: shapes, "parts": self.parts}
            | {name: self.called(kernel) for name, kernel in self.kernels.items()}
        )
        for node in nodes:
            match node:
                case ast.ClassDef(name, [ast.Name("NamedTuple")]):
                    rows = [row for row in node.body if isinstance(row, ast.AnnAssign)]
                    fields = [row.target.id for row in rows if isinstance(row.target, ast.Name)]
                    defaults = [ast.literal_eval(row.value) for row in rows if row.value is not None]
                    self.space[name] = namedtuple(name, fields, defaults=defaults)
                case ast.Assign([ast.Name(name)]) if name.isupper() or name.startswith("CONSTANT_"):
                    if "__" in ast.unparse(node) and name != "THIS":
                        raise Unclear(f"line {node.lineno}: {name} is not understood")
                    if name != "THIS":
                        self.define(ast.unparse(node))
                    if name == "PARAMETERS":
                        self.space[name] = placed(self.space[name])
        for f in run:
            refuse_unknown(f, {*self.space, *(g.name for g in run)})
            names = [a.arg for a in f.args.args]
            body = "\n    ".join("\n".join(map(ast.unparse, f.body)).splitlines())
            self.define(f"def {f.name}({', '.join(names)}):\n    {body}")

    def parts(self, flat: np.ndarray) -> Views:
        """The parts of a flat vector, one after another, and itself as `flat`."""
        found = self.tensors(flat)
        whole = "flat" + "_" * sum(f"flat{'_' * k}" in found for k in range(len(found)))
        return Views(**found, **{whole: flat})

    def tensors(self, flat: np.ndarray) -> Arrays:
        return {r.name: self.space["view"](flat, r.offset, r.shape or (1,)) for r in self.space["PARAMETERS"]}

    def slots(self, flat: Any, *shared: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        """Views of a flat array: those of each dict share a stretch of it, which is as long as its first one."""
        start, found = 0, dict[str, Any]()
        for shapes in shared:
            found |= {name: self.space["view"](flat, start, shape) for name, shape in shapes.items()}
            start += math.prod(next(iter(shapes.values()))) + GAP
        return found

    def define(self, text: str) -> None:
        exec(compile(text, "module", "exec"), self.space)

    def called(self, kernel: Kernel) -> Callable[..., None]:
        names = [a.arg for a in kernel.function.args.args]

        def call(*arguments: Any) -> None:
            given = dict(zip(names, arguments, strict=True))
            arrays = {name: given[name] for name in kernel.arrays}
            sizes = {name: given[name] for name in names if name not in arrays}
            for name, (_, axes) in kernel.arrays.items():
                plain = zip(axes, arrays[name].shape, strict=True)
                sizes |= {axis.id: extent for axis, extent in plain if isinstance(axis, ast.Name)}
            bounds = kernel.bounds(sizes)
            for name in kernel.integers - {line.target for line in kernel.lines}:
                count = min(bounds.get(name, 1 << 40), self.limits.get(name, 1 << 40))
                values = arrays[name][
                    ~np.isin(arrays[name], [row.ignore for row in self.space["INPUTS"] if row.ignore is not None])
                ]
                if values.size and (values.min() < 0 or values.max() >= count):
                    raise IndexError(f"{kernel.function.name}: {name} has numbers outside of 0 … {count - 1}")
            self.calls.append((kernel, arrays))
            try:
                kernel.compute(arrays, sizes)
            except (ValueError, IndexError, Unclear) as problem:
                raise type(problem)(f"in a call of {kernel.function.name}: {problem}") from problem

        return call

    def as_called(self, kernel: Kernel) -> list[Kernel]:
        """The kernel with the whole numbers of each call: what is shown of it is shown for these."""
        name, arguments = kernel.function.name, kernel.function.args.args
        own = [call for word, call in self.mentions if word == name]
        calls = [call for call in own if call]
        if len(own) > 2 * len(calls):
            raise Unclear(f"{name} is called by another name")
        pairs = (zip(arguments, call.args, strict=True) for call in calls)
        numbers = [[(a.arg, n.value) for a, n in own if isinstance(n, ast.Constant)] for own in pairs]
        given = [{word: number for word, number in own if isinstance(number, int)} for own in numbers]
        return [replace(kernel, given=own) for k, own in enumerate(given or [{}]) if own not in given[:k]]

    @cached_property
    def mentions(self) -> list[tuple[str, ast.Call | None]]:
        """Each name in a function that is no argument there, and each call of one."""
        found = list[tuple[str, ast.Call | None]]()
        for function in self.functions.values():
            own = {a.arg for a in function.args.args}
            for node in ast.walk(function):
                match node:
                    case ast.Call(ast.Name(name)) if name not in own:
                        found.append((name, node))
                    case ast.Name(name) if name not in own:
                        found.append((name, None))
        return found

    @cached_property
    def limits(self) -> Sizes:
        """How many values labels, tables and places of maxima have, by name."""
        found = {row.name: row.classes for row in self.space["INPUTS"] if row.classes}
        tables = {n: v for n, v in self.space.items() if isinstance(v, np.ndarray) and v.dtype.kind == "i" and v.size}
        found |= {name.removeprefix("CONSTANT_"): int(value.max()) + 1 for name, value in tables.items()}
        for kernel in self.kernels.values():
            ranges = kernel.ranges(dict.fromkeys(kernel.sizes, 2))
            for line in kernel.lines:
                if (fold := fold_of(line.value)) and fold[2]:
                    found[line.target] = max(found.get(line.target, 0), ranges(line)[fold[2][0]])
        return found

    # ---- data

    @property
    def sizes(self) -> Sizes:
        axes = [*self.space["SIZES"], *(axis for row in self.space["INPUTS"] for axis in row.shape)]
        names = dict.fromkeys(name for axis in axes for name in re.findall(NAME, str(axis)))
        return {name: 3 + k for k, name in enumerate(names)}

    def drawn(self, spread: float, low: float = 0.5, high: float = 1.5, apart: bool = False, less: float = 0) -> Arrays:
        """Parameters, inputs and constants at random, by name; but for weights, numbers between two, parameters `less`.

        `apart`: one row's labels are all different, as far as there are so many.
        """
        rng, found = np.random.default_rng(0), Arrays()
        for number, row in enumerate(self.space["INPUTS"]):
            shape = tuple(int(Scope({}, self.sizes).value(tree(str(axis)))) for axis in row.shape) or (1,)
            labels = rng.integers(0, row.classes or 2, shape)
            labels.flat[:1] = (row.classes or 2) - 1
            labels.flat[1:2] = labels.flat[1:2] if row.ignore is None else row.ignore
            labels.flat[-1:] = 0
            if apart:
                labels = (np.arange(math.prod(shape)).reshape(shape) + number) % (row.classes or 2)
            found[row.name] = labels if row.dtype == "int64" else rng.uniform(low, high, shape)
        for row in self.space["PARAMETERS"]:
            weights = rng.normal(size=row.shape) * spread
            found[row.name] = weights if len(row.shape) > 1 else rng.uniform(low, high, row.shape) - less
        constants = {name: value for name, value in self.space.items() if isinstance(value, np.ndarray)}
        return found | constants | {name.removeprefix("CONSTANT_"): value for name, value in constants.items()}

    @property
    def trained(self) -> dict[str, slice]:
        """The places of trained parameters in the flat vector."""
        rows = (row for row in self.space["PARAMETERS"] if row.trained)
        return {row.name: slice(row.offset, row.offset + math.prod(row.shape)) for row in rows}

    def flat(self, by_name: Arrays) -> np.ndarray:
        return np.concatenate([by_name[row.name].ravel() for row in self.space["PARAMETERS"]])

    def call(self, name: str, given: dict[str, Any], apart: bool = False, kind: Any = float) -> dict[str, Any]:
        """Run a function by the names of its arguments; `apart`: each buffer has an array of its own."""
        base, space = name.removesuffix("_kernel"), self.space
        memory = self.functions.get(f"{base}_memory", self.functions["new_memory"])
        given = {**given, **space[memory.name](*(self.sizes[a.arg] for a in memory.args.args))._asdict()}
        given |= self.weights(base) | self.results(base, kind)
        names = [a.arg for a in self.functions[name].args.args]
        given |= {n: given[n.rstrip("_")] for n in names if n.rstrip("_") in given and n not in given}
        if missing := [n for n in names if n not in given]:
            raise Unclear(f"{name}: no value is known for {', '.join(missing)}")
        layouts = [layout for layout in self.functions if layout.endswith("buffers")] if apart else []
        alone = {n: lambda *own, made=space[n]: self.kept(separate(made(*own), kind)) for n in layouts}
        self.calls.clear()
        with instead(space, alone):
            result = space[name](*(given[n] for n in names))
        return given if result is None else {**given, "": result}

    def results(self, name: str, kind: Any = float) -> Arrays:
        """The arrays that a function for callers makes for its results, by name."""
        found, scope = Arrays(), {"sizes": self.sizes, "__builtins__": {}}
        starts = {"empty": math.nan, "zeros": 0, "full": -1}
        for node in ast.walk(self.functions[name]) if name in self.functions else ():
            match node:
                case ast.Assign([ast.Name(out)], ast.Call(ast.Attribute(ast.Name("np"), word), arguments)):
                    start, one = starts[word.removesuffix("_like")], len(arguments) == 1  # zeros_like(parameters)
                    extents = len(self.flat(self.drawn(0.3))) if one else eval(ast.unparse(arguments[0]), scope)
                    real = one or ast.unparse(arguments[-1]) == "real"
                    found[out] = np.full(extents, start, kind) if real else np.full(extents, -1)
        return found

    def weights(self, name: str) -> Arrays:
        """Random arrays for what a function for callers takes besides inputs and vectors: weights of a prediction."""
        found, rng = Arrays(), np.random.default_rng(5)
        for node in ast.walk(self.functions[name]) if name in self.functions else ():
            match node:
                case ast.Assign([ast.Name(own)], ast.Call(ast.Name("check_input"), [ast.Call(_, [_, shape, *_]), *_])):
                    found[own] = rng.normal(size=[self.sizes.get(e, e) for e in ast.literal_eval(shape)] or 1)
        return found

    @property
    def objective(self) -> str:
        return (re.findall(r"return work\.(\w+)\[0\]", self.text) or ["loss"])[0]

    def kept(self, work: Any) -> Any:
        self.work = work._asdict()
        return work

    # ---- the formulas that the module opens with

    @cached_property
    def formulas(self) -> list[Line] | None:
        """None where they are not computed here: with derivatives in them, or equal layers folded."""
        comment = re.search(r"^# The model:\n#\n((?:#.*\n)+)", self.text, re.MULTILINE)
        texts = unwrapped([line[6:] for line in comment[1].splitlines()]) if comment else ["…"]
        return None if any("∂" in text or text.startswith("…") for text in texts) else [line_of(text) for text in texts]

    def evaluated(self, lines: list[Line], arrays: Arrays, training: int = 1) -> Arrays:
        """What formulas give, by name. All arrays are made first: a recurrence reads what a later formula gives."""
        targets = {line.target for line in lines}
        arrays = {**{n: a for n, a in self.work.items() if n not in targets}, **arrays}  # random numbers are buffers
        sizes, ranges, made = self.sizes | {"training": training}, dict[str, Sizes](), set[str]()
        for line in lines:
            known = shortest_axes([line], {name: array.shape for name, array in arrays.items()})
            ranges[line.text] = known | {n: int(Scope({}, sizes).value(e)) for n, e in line.said.items()}
            by_entries = line.target in made and any(isinstance(s, ast.Constant) for s in line.subscripts)  # a matrix
            if line.target not in arrays or by_entries:
                scope = Scope(arrays, sizes, ranges[line.text])
                scope.axes = {name: axis for axis, name in enumerate(scope.ranges)}
                shape = [int(scope.value(s).real.max()) + 1 for s in line.subscripts]
                shape = [*map(max, shape, arrays[line.target].shape)] if by_entries else shape
                start = 0 if line.adds else -np.inf if line.largest is not None else np.nan
                arrays[line.target] = np.full(shape, start, complex)
                made.add(line.target)
        run_formulas(lines, Scope(arrays, sizes), lambda line: ranges[line.text])
        return arrays


# ---- the whole: checks ---------------------------------------------------------------------------

STEP = 1e-30  # of complex steps: f(x + ih) = f(x) + ih·f'(x), to the last digit


def inputs_of(module: Module, drawn: Arrays, **others: Any) -> dict[str, Any]:
    """Arguments by name: all but the parameters' own names."""
    own, flat = {row.name for row in module.space["PARAMETERS"]}, module.flat(drawn)
    given = {name: value for name, value in drawn.items() if name not in own}
    given |= {"parameters": flat, "gradient": np.full(flat.shape, np.nan, flat.dtype)}
    return {**given, "seed": 0, "step_number": 0, "row": 0, "training": True, **others}


def in_domain(module: Module) -> Arrays:
    """Numbers at which the model has an objective, if some are found: correlations below 1, logarithms of shares."""
    for less, apart, (low, high) in itertools.product((0, 5), (False, True), ((0.5, 1.5), (0.05, 0.45), (0.001, 0.01))):
        drawn = module.drawn(0.3, low, high, apart, less)
        with contextlib.suppress(Exception), np.errstate(all="ignore"):  # what fails here is found by a check
            if np.isfinite(module.call("loss_kernel", inputs_of(module, drawn))[""]):
                return drawn
    return module.drawn(0.3)


def check_memory(module: Module, name: str, drawn: Arrays) -> None:
    """One memory for all buffers gives the same as an array for each, and no NaN of before is left in it."""
    v = np.random.default_rng(2).normal(size=module.flat(drawn).shape)
    shared, apart = (module.call(name, inputs_of(module, drawn, v=v), one) for one in (False, True))
    for key in apart.keys() - drawn.keys() - {"reals", "integers", "parameters"}:
        if key != "gradient" or "gradient" in (a.arg for a in module.functions[name].args.args):
            a, b, what = np.asarray(shared[key]), np.asarray(apart[key]), key or "its result"
            end = max((part.stop for part in module.trained.values()), default=0)
            filled = b[:end] if key == "gradient" else b  # nothing is written for what is not trained
            assert not np.isnan(filled).any(), f"{what} has NaN: a buffer is read before it is complete"
            assert np.array_equal(a, b, equal_nan=True), f"{what} is another where buffers share memory"


def check_lifetimes(module: Module, drawn: Arrays) -> None:
    """Buffers that are in use at once lie apart, whatever the sizes: all offsets are linear in each."""
    module.call("gradient_kernel", inputs_of(module, drawn), apart=True)
    names, spans = {id(array): name for name, array in module.work.items()}, dict[str, list[int]]()
    names |= {id(drawn[name]): name for name in module.work.keys() & drawn.keys()}  # rows are gathered before a step
    for moment, (_, arrays) in enumerate(module.calls):
        for array in arrays.values():
            if name := names.get(id(array)) or names.get(id(array.base)):
                spans.setdefault(name, [-1 if name in drawn else moment, moment])[1] = moment
    record = {"view": lambda flat, start, shape: (flat, start, start + math.prod(shape))}
    counts = [a.arg for a in module.functions["buffers"].args.args][1:]
    tuples = SimpleNamespace(reals="reals", integers="integers")
    for sizes in itertools.product((1, 2, 10**9), repeat=len(counts)):
        with instead(module.space, record):
            places = module.space["buffers"](tuples, *sizes)._asdict()
        for (a, (first, last)), (b, (start, end)) in itertools.combinations(spans.items(), 2):
            (flat, low, high), (other, below, above) = places[a], places[b]
            apart = flat != other or high <= below or above <= low or last < start or end < first
            assert apart, (
                f"buffers {a} and {b} are in use at once and overlap, for {dict(zip(counts, sizes, strict=True))}"
            )


OUTSIDE_TRAINING = ("evaluation_gradient", "evaluation_input_gradients")


def check_gradient(module: Module, drawn: Arrays, kernel: str = "gradient") -> None:
    """The gradient is the derivative of the formulas that the module opens with, and they give its results."""
    training = kernel not in OUTSIDE_TRAINING
    found = module.call(f"{kernel}_kernel", inputs_of(module, drawn), apart=True)
    rng, direction, slope, size = np.random.default_rng(1), Arrays(), 0.0, 0.0
    bars = bars_of(module, kernel, found)
    floor = 1e-6 * max(np.abs(own).max() for own in bars.values()) or 1  # rounding below
    for name, own in bars.items():
        direction[name] = rng.normal(size=own.shape) / max(np.abs(own).max(), floor, 1e-10)
        slope, size = slope + (direction[name] * own).sum(), size + np.abs(direction[name] * own).sum()
    moved = {name: drawn[name] + 1j * STEP * along for name, along in direction.items()}
    alone = found
    if not training or "evaluate" not in module.functions:
        alone = module.call("loss_kernel", inputs_of(module, drawn, training=training), apart=True)
    if module.formulas is None:  # of its own forward pass: a certificate says more
        given = inputs_of(module, {**drawn, **moved}, training=training)
        values = {module.objective: np.asarray(module.call("loss_kernel", given, apart=True, kind=complex)[""])}
    else:
        values = module.evaluated(module.formulas, {**drawn, **moved}, int(training))
    loss = complex(values[module.objective].reshape(()))
    assert not differs(alone[""], found[""]), f"loss gives {alone['']!r}, a step {found['']!r}"
    assert not differs(loss.real, found[""]), f"the model's formulas give {loss.real!r}, the kernels {found['']!r}"
    assert abs(loss.imag / STEP - slope) <= 1e-9 * size, (
        f"the slope of the formulas is {loss.imag / STEP!r}, by the gradient {slope!r}"
    )
    outside = training == ("evaluate" not in module.functions)
    if "prediction_kernel" in module.functions and outside and module.formulas:
        result = module.call("prediction_kernel", inputs_of(module, drawn), apart=True)[""]
        said = line_of(
            unwrapped((ast.get_docstring(module.functions["predict"]) or "").split("\n\n")[0].splitlines())[0]
        )
        if said.target in {line.target for line in module.formulas}:
            assert not differs(values[said.target].real, result).any(), f"{said.target} is not what the formulas give"


def bars_of(module: Module, kernel: str, found: Arrays) -> Arrays:
    """The derivatives that a kernel gives, by the names of trained tensors or of inputs."""
    if "gradient" in (a.arg for a in module.functions[f"{kernel}_kernel"].args.args):
        return {name: own for name, own in module.tensors(found["gradient"]).items() if name in module.trained}
    pairs = re.findall(r"'(\w+)': (?:float\()?(\w+)", ast.unparse(module.functions[kernel].body[-1]))
    return {name: found[own] for name, own in pairs}


SECOND = ("hessian", "hessian_vector_product", "jacobian", "jacobian_vector_product", "vector_jacobian_product")


def check_second(module: Module, drawn: Arrays, name: str) -> None:
    """Hessians and Jacobians are derivatives of the gradient, the prediction or the residuals, along a direction."""
    v = np.random.default_rng(2).normal(size=module.flat(drawn).shape)
    found = module.call(f"{name}_kernel", inputs_of(module, drawn, v=v), apart=True)
    residuals = [*module.results("residuals")] if name == "jacobian" else []
    first = "gradient" if name.startswith("hessian") else "residuals" if residuals else "prediction"
    parts = {name: drawn[name] + 1j * STEP * part for name, part in module.tensors(v).items()}
    moved = module.call(f"{first}_kernel", inputs_of(module, {**drawn, **parts}), apart=True, kind=complex)
    values = [moved[key] for key in residuals or [{"gradient": "gradient", "prediction": ""}[first]]]
    slopes = [np.asarray(value).imag / STEP for value in values]
    arrays = [found[key] for key in module.results(name)]
    if arrays[-1].dtype.kind == "i":  # sparse: entries with their columns
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        given = [np.where(columns >= 0, entries * v[columns], 0).sum(-1) for entries, columns in pairs]
    elif name in ("hessian", "jacobian"):
        given = [np.tensordot(v, array, 1) if residuals else np.tensordot(array, v, 1) for array in arrays]
    elif name == "vector_jacobian_product":
        (weights,) = module.weights(name)
        given, slopes = [arrays[0] @ v], [(found[weights] * slopes[0]).sum()]
    else:
        given = arrays
    for own, slope in zip(given, slopes, strict=True):
        assert not differs(own, slope).any(), f"{name} is not the derivative along a random direction"


def update_said(module: Module) -> Callable[..., None]:
    """The update as its docstring says it, of each tensor element by element."""
    function = module.functions["update_kernel"]
    texts, names = unwrapped((ast.get_docstring(function) or "").splitlines()), [a.arg for a in function.args.args[3:]]
    lines = [line_of(text) for text in texts if not REMARK.match(text)]
    remarks = [tuple(text.split(": ", 1)) for text in texts if REMARK.match(text)]
    own = {tensor: [words for names, words in remarks if tensor in names.split(", ")] for tensor in module.trained}

    def update(parameters: np.ndarray, gradient: np.ndarray, state: Any, *rates: float) -> None:
        state.step[0] += 1
        slots = {"θ": parameters, **{name: slot for name, slot in state._asdict().items() if name != "step"}}
        followed = [gradient[part] for name, part in module.trained.items() if FROZEN not in own[name]]
        for tensor, part in module.trained.items():
            arrays = {name: array[part] for name, array in {"g": gradient, **slots}.items()}
            arrays |= {name: np.array(rate) for name, rate in zip(names, rates, strict=True)}
            arrays["t"] = np.array(float(state.step[0]))
            norms = {"gradient_norm": np.concatenate(followed), "tensor_norm": arrays["g"]}
            arrays |= {name: np.linalg.norm(norms[name]) for name, words in NORMS.items() if (name, words) in remarks}
            update_by(lines, own[tensor], arrays)
            for name, array in slots.items():
                array[part] = arrays[name]

    return update


def check_update(module: Module) -> None:
    """The update does what its docstring says, before and after a warm-up."""
    rng, kind, rates = np.random.default_rng(3), module.space["State"], rates_of(module)
    count, end = len(module.flat(module.drawn(0.3))), max(part.stop for part in module.trained.values())
    for step in (3, 12):
        state = kind(*(np.array([step]) if name == "step" else rng.uniform(0.1, 1, count) for name in kind._fields))
        done = {"θ": rng.uniform(0.1, 1, count), "g": rng.normal(size=count), **state._asdict()}
        said = {name: array.copy() for name, array in done.items()}
        for update, own in ((module.space["update_kernel"], done), (update_said(module), said)):
            parameters, gradient, *slots = own.values()
            update(parameters, gradient, kind(*slots), *rates.values())
        assert state.step[0] == step + 1, f"after step {step} the step is {state.step[0]}"
        for name, (tensor, part) in itertools.product(("θ", *kind._fields[1:]), module.trained.items()):
            same = not differs(done[name][part], said[name][part]).any()
            assert same, f"{name} of {tensor} is not what the docstring says"
        assert np.array_equal(done["θ"][end:], said["θ"][end:]), "what is not trained is changed too"
    module.space["update_kernel"] = update_said(module)  # its loops do the same, and take longer


def update_by(lines: list[Line], remarks: list[str], arrays: Arrays) -> None:
    """Carry out an update's formulas on the arrays of one tensor, by the settings that remarks on it say."""
    if FROZEN in remarks:
        return
    settings = [text for words in remarks if " = " in words for text in re.split(rf", (?={NAME} = )", words)]
    own = [line_of(text.removesuffix(" before the schedule")) for text in settings]
    arrays |= {line.target: Scope(arrays, {}).value(line.value) for line in own}
    for line in lines:
        arrays[line.target] = Scope(arrays, {}).value(line.value)


def check_training(module: Module, drawn: Arrays) -> None:
    """Epochs and descents do what steps and updates one after another do, and refuse wrong rows and labels."""
    order = np.array([2, 0, 1, 1, 0])
    for name, batches in (("epoch", [order[:2], order[2:4], order[4:]]), ("descent", [order] * 3)):
        by_rows = name == "epoch"
        steps = [*trained(module, drawn, batches, by_rows)] if name in module.functions else []
        for drops, count in ((False, 5), (True, 5), (True, 4))[: 3 if by_rows else 1] if steps else ():
            parameters, losses = steps[1 if drops else 2]
            found = run_training(module, drawn, name, order[:count], drops)
            same = np.array_equal(found["parameters"], parameters, equal_nan=True)
            assert same, f"{name} ends at other parameters than its steps"
            given = found[""][1] if by_rows else found["losses"]
            expected = np.average(losses, weights=[*map(len, batches[: len(losses)])]) if by_rows else np.array(losses)
            bounded = np.isfinite(given) | np.isfinite(expected)  # the mean of losses that grow without end may be NaN
            assert not np.any(differs(given, expected) & bounded), f"{name} gives other losses than its steps"
    if "epoch" in module.functions:
        rows = module.sizes[module.space["SAMPLE_AXIS"]]
        wrong: list[tuple[Arrays, np.ndarray]] = [({}, np.array([0, row])) for row in (-1, rows)]
        for entry in (e for e in module.space["INPUTS"] if e.classes is not None):
            wrong += [({entry.name: np.full_like(drawn[entry.name], label)}, order) for label in (-3, entry.classes)]
        for changed, own in wrong:
            refused = run_training(module, {**drawn, **changed}, "epoch", own, False)[""][0]
            assert refused, f"epoch takes rows {own.tolist()}, or labels {[v.flat[0] for v in changed.values()]}"


def check_leaves(module: Module, drawn: Arrays) -> None:
    """The sums of leaves are those of their blocks of rows, each of which has its share of what has no rows."""
    sampled = [e.name for e in module.space["INPUTS"] if e.shape[:1] == (module.space["SAMPLE_AXIS"],)]
    rows, block, leaf, flat = 5, 2, 4, module.flat(drawn)  # two blocks a leaf, and a shorter one
    drawn = {**drawn, **{name: np.resize(drawn[name], (rows, *drawn[name].shape[1:])) for name in sampled}}
    count, counts = -(-rows // leaf), {"rows_of_leaf": leaf, "rows_of_block": block, "rows_of_all": rows}
    sums = {"objectives": np.full(count, np.nan), "leaf_gradients": np.full((count, flat.size), np.nan)}
    more = {**sums, **counts, "of_block": np.full(flat.size, np.nan), "block_share": np.full(1, np.nan), "row": 3}
    found = module.call("gradients_of_leaves", inputs_of(module, drawn, **more))
    more["objectives"] = np.full(count, np.nan)
    losses = module.call("objectives_of_leaves", inputs_of(module, drawn, **more))["objectives"]
    values, gradients = np.zeros(count), np.zeros((count, flat.size))
    for first in range(0, rows, block):
        part = slice(first, min(first + block, rows))
        share = (part.stop - first) / rows
        given = inputs_of(module, {**drawn, **{name: drawn[name][part] for name in sampled}}, row=3 + first)
        one = module.call("gradient_kernel", {**given, "block_share": np.full(1, share)})
        weight = share if module.space["COMBINED"] == "mean" else 1
        values[first // leaf] += weight * one[""]
        gradients[first // leaf] += weight * one["gradient"]
    for own, expected in ((found["objectives"], values), (losses, values), (found["leaf_gradients"], gradients)):
        assert not differs(own, expected).any(), "leaves have other sums than their blocks"
    if "epoch_by_leaves" in module.functions:
        check_epoch_by_leaves(module, drawn, counts)


def check_epoch_by_leaves(module: Module, drawn: Arrays, counts: dict[str, int]) -> None:
    """Its steps are updates by the sums of leaves, whether one thread computes these or two."""
    sampled = [e.name for e in module.space["INPUTS"] if e.shape[:1] == (module.space["SAMPLE_AXIS"],)]
    order, flat, rates = np.array([2, 0, 4, 1, 3, 1, 1, 2, 0, 4]), module.flat(drawn), rates_of(module)
    parameters, state, expected = flat.copy(), fresh_state(module, flat.size), []
    for batch in (order[:5], order[5:]):
        rows = {**drawn, **{name: drawn[name][batch] for name in sampled}}
        sums = {"objectives": np.zeros(2), "leaf_gradients": np.zeros((2, flat.size)), "of_block": np.zeros(flat.size)}
        given = inputs_of(module, rows, **sums, **counts, block_share=np.full(1, np.nan), step_number=state.step[0])
        module.call("gradients_of_leaves", {**given, "parameters": parameters})
        expected.append(sums["objectives"].sum())
        module.space["update_kernel"](parameters, sums["leaf_gradients"].sum(0), state, *rates.values())
        for members in (1, 2) if len(expected) == 1 else (1,):  # which meet once a batch
            own, seen = fresh_state(module, flat.size), order[: 5 * len(expected)]
            sums = {"objectives": np.full(2, np.nan), "leaf_gradients": np.full((2, flat.size), np.nan)}
            sums |= {"losses": np.full(len(seen), np.nan), "of_block": np.full(flat.size, np.nan)}
            more = {**counts, "order": seen, "batch_size": 5, "members": members, "meeting": np.zeros(2, int)}
            given = inputs_of(module, drawn, **sums, **more, **rates, block_share=np.full(1, np.nan))
            given |= {"steps" if n == "step" else n: a for n, a in own._asdict().items()}
            for member in reversed(range(members)):
                module.call("epoch_by_leaves", {**given, "member": member})
                assert member == 0 or np.isnan(sums["objectives"][0]), "two threads compute the same leaf"
            found = (given["parameters"], parameters), (sums["losses"][::5], np.array(expected))
            same = not any(differs(*pair).any() for pair in found)
            assert same, f"an epoch by leaves, which {members} threads share, is none of steps by their sums"


def rates_of(module: Module) -> dict[str, float]:
    hyper = [a.arg for a in module.functions["update_kernel"].args.args[3:]]
    return {name: 9.0 if name.endswith("steps") else 0.1 + 0.05 * k for k, name in enumerate(hyper)}


def fresh_state(module: Module, count: int) -> Any:
    kind = module.space["State"]
    return kind(*(np.zeros(1, int) if name == "step" else np.zeros(count) for name in kind._fields))


def run_training(module: Module, drawn: Arrays, name: str, order: np.ndarray, drops: bool) -> dict[str, Any]:
    state = fresh_state(module, len(module.flat(drawn)))
    given = inputs_of(module, drawn, order=order, batch_size=2, drop_last=drops, losses=np.zeros(3), **rates_of(module))
    given |= {"steps" if n == "step" else n: a for n, a in state._asdict().items()}
    return module.call(name, given, kind=float)


def trained(
    module: Module, drawn: Arrays, batches: list[np.ndarray], by_rows: bool
) -> Iterator[tuple[np.ndarray, list[float]]]:
    """Parameters and losses after each of some steps and updates."""
    space, axis = module.space, module.space["SAMPLE_AXIS"]
    sampled = {e.name for e in space["INPUTS"] if by_rows and e.shape and e.shape[0] == axis}
    parameters = module.flat(drawn)
    gradient, state, losses = np.full(parameters.shape, np.nan), fresh_state(module, len(parameters)), list[float]()
    memory = space["new_memory"](*(module.sizes[a.arg] for a in module.functions["new_memory"].args.args))
    for batch in batches:
        fields = (f if f in drawn else f.rstrip("_") for f in space["Data"]._fields)
        data = space["Data"](*(drawn[f][batch] if f in sampled else drawn[f] for f in fields))
        sizes = module.sizes | ({axis: len(batch)} if by_rows else {})
        work = space["buffers"](memory, *(sizes[a.arg] for a in module.functions["buffers"].args.args[1:]))
        if "draw" in module.functions:
            space["draw"](0, state.step[0], 0, work)
        losses.append(float(space["step"](space["split"](parameters), space["split"](gradient), data, work)))
        space["update_kernel"](parameters, gradient, state, *rates_of(module).values())
        if "take_next" in module.functions:
            space["take_next"](space["split"](parameters), work)
        yield parameters.copy(), [*losses]


# ---- certificates --------------------------------------------------------------------------------


def element(tensor: str, subscripts: list[ast.expr]) -> str:
    return f"{tensor}[{', '.join(map(ast.unparse, subscripts))}]" if subscripts else tensor


@dataclass
class Points(Scope):
    """Random numbers for each element and each index that a formula has, the same wherever it stands."""

    tensors: set[str] = field(default_factory=set)
    winners: dict[str, str] = field(default_factory=dict)  # of a maximum: its indices, as the elements that hold them
    numbers: Arrays = field(default_factory=dict)

    def key(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        return re.sub(NAME, lambda word: self.winners.get(word[0], word[0]), text) if self.winners else text

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Subscript() | ast.Name() if not (
                isinstance(node, ast.Name) and node.id in {*self.sizes, "inf", "π", "e", "true", "false"}
            ):
                key, rng = self.key(node), np.random.default_rng([len(self.numbers)])
                index = isinstance(node, ast.Name) and node.id not in self.tensors
                if key not in self.numbers:
                    self.numbers[key] = rng.integers(0, 4, 64) if index else rng.uniform(0.2, 1.4, 64)
                return self.numbers[key]
        return super().value(node)

    def guarded(self, value: ast.expr, guard: ast.expr | None) -> Any:
        fold = fold_of(value)
        found = self.value(fold[3] if fold else value) + np.zeros(64)
        return found if guard is None else np.where(self.value(guard), found, 0)

    def places_of(self, node: ast.expr | Line) -> list[list[float]]:
        """The subscripts of an element, at all points."""
        subscripts = (
            node.subscripts if isinstance(node, Line) else indices(node) if isinstance(node, ast.Subscript) else []
        )
        return [(self.value(s) + np.zeros(64)).tolist() for s in subscripts]

    def slope(self, line: Line, key: str) -> Any:
        self.guarded(line.value, line.guard)  # draws all numbers
        before = self.numbers[key]
        self.numbers[key] = before + 1j * STEP
        found = self.guarded(line.value, line.guard).imag / STEP
        self.numbers[key] = before
        return found


def check_rules(module: Module, certificate: dict[str, Any], drawn: Arrays) -> None:
    """Each adjoint is target_bar times the derivative of its formula, at random points; none is missing or too much."""
    lines = [line_of(text) for text in certificate["stable"]]
    adjoints = [(line_of(entry["formula"]), entry["of"]) for entry in certificate["adjoints"]]
    bars, used, edges, maxima = certificate["bars"], set[int](), set[tuple[str, str]](), dict[str, dict[str, str]]()
    tensors = {*drawn, *module.work, *bars.values(), *(line.target for line in lines)}
    for number, line in enumerate(lines):
        kind, _, winner, body = fold_of(line.value) or ("", [], [], line.value)
        if winner:  # it holds whole numbers: where the maximum of the next formula is
            maxima.setdefault(ast.unparse(body), {})[winner[0]] = element(line.target, line.subscripts)
            continue
        winners = maxima.get(ast.unparse(body), {}) if kind == "max_of" else {}
        points = Points({}, module.sizes | {"training": 1}, tensors=tensors, winners=winners)
        points.guarded(line.value, line.guard)
        nodes = {points.key(n): n for n in ast.walk(body) if isinstance(n, ast.Subscript | ast.Name)}
        for key in [k for k in nodes if k in points.numbers and k.partition("[")[0] in tensors]:
            tensor, at = key.partition("[")[0], points.places_of(nodes[key])
            slope = points.slope(line, key)
            edges |= {(tensor, line.target)} if slope.any() else set()
            if line.target in bars and tensor in bars:
                points.numbers[element(bars[line.target], line.subscripts)] = np.ones(64)
                mine = [k for k, (a, of) in enumerate(adjoints) if of == number and a.target == bars[tensor]]
                own = [k for k in mine if points.places_of(adjoints[k][0]) == at]
                total = sum(points.guarded(adjoints[k][0].value, adjoints[k][0].guard) for k in own)
                used |= {*own}
                assert not differs(total, slope).any(), f"the adjoints of {line.text!r} are not its derivative by {key}"
    if more := [adjoints[k][0].text for k in range(len(adjoints)) if k not in used]:
        raise AssertionError(f"{more[0]!r} follows from nothing")
    after, before = {*module.trained}, {certificate["objective"]}
    for _ in lines:
        after |= {target for tensor, target in edges if tensor in after}
        before |= {tensor for tensor, target in edges if target in before}
    missing = sorted((after & before) - {*bars})
    assert not missing, f"nothing is added to the adjoint of {missing[0]}" if missing else ""


def check_certificate(module: Module, certificate: dict[str, Any], drawn: Arrays) -> None:
    """The stable formulas give what the declared ones do, and their adjoints the gradient of the module."""
    found = module.call("gradient_kernel", inputs_of(module, drawn), apart=True)
    values = module.evaluated([line_of(text) for text in certificate["stable"]], drawn)
    objective = complex(values[certificate["objective"]].reshape(())).real
    assert not differs(objective, found[""]), f"its formulas give the objective {objective!r}, the module {found['']!r}"
    if not any("∂" in text for text in certificate["declared"]):
        declared = module.evaluated([line_of(text) for text in certificate["declared"]], drawn)
        for name in declared.keys() & values.keys() - drawn.keys() - module.work.keys():
            used = values[name] != 0  # elements that nobody reads are not computed
            same = declared[name].shape == used.shape and not differs(declared[name], values[name])[used].any()
            assert same, f"{name}: the stable formulas give other values than the declared ones"
    check_rules(module, certificate, drawn)
    zeros = {bar: np.zeros(values[name].shape, complex) for name, bar in certificate["bars"].items()}
    back = [line_of(text) for text in (*certificate["seeds"], *(entry["formula"] for entry in certificate["adjoints"]))]
    slopes = module.evaluated(back, {**values, **zeros})
    for name, own in bars_of(module, "gradient", found).items():
        bar = certificate["bars"].get(name)
        expected = slopes[bar].real.reshape(own.shape) if bar else 0 * own
        assert not differs(own, expected).any(), f"the module's gradient by {name} is not what the adjoints give"


# ---- elementary functions ------------------------------------------------------------------------


def check_elementary(module: Module, dtype: str) -> None:
    """Each function that has a bound in its docstring is as near to Python's, in the module's own precision."""
    real = getattr(np, dtype)
    names = {n: f for n, f in module.functions.items() if any(ast.unparse(d) == "elementary" for d in f.decorator_list)}
    library = {"np": np, "math": math, "real": real, "abs": abs, "max": max, "min": min, "range": range}
    library["__builtins__"] = {}
    library |= {name: value for name, value in module.space.items() if name.isupper()}
    for function in names.values():
        refuse_unknown(function, {*library, *names})
        plain = ast.FunctionDef(function.name, function.args, function.body, [])
        exec(compile(ast.unparse(ast.fix_missing_locations(plain)), function.name, "exec"), library)
    for name in ("square", "cube", "difference", "maximum", "minimum"):
        for u, v in itertools.product((real(-1.5), real(0.25), real(3), real("nan")), repeat=2):
            if name in names:
                own = (u, v)[: len(names[name].args.args)]
                exact = real(IN_LOOPS[name](*map(float, own)))
                assert np.array_equal(library[name](*own), exact, equal_nan=True), f"{name} of {own} is not {exact}"
    points = np.random.default_rng(4).uniform(-1, 1, 400) * 10 ** np.linspace(-3, 1.3, 400)
    for name, function in names.items():
        if name in FUNCTIONS and len(function.args.args) == 1:
            doc = "at most 0 ulp off" if name == "sign" else ast.get_docstring(function) or ""
            stated = [*map(float, re.findall(r"at most ([\d.]+) ulp", doc))]
            assert stated, f"{name} has no docstring with a bound, so that it was not compared"
            given = points.astype(real)
            wide = given.astype(np.longdouble)
            exact, other = (np.asarray(FUNCTIONS[name](u)).real for u in (wide, 1 - wide))
            found = np.array([library[name](u) for u in given])
            finite = np.isfinite(exact) & (np.abs(exact) < np.finfo(real).max) & (np.abs(exact) > np.finfo(real).tiny)
            # A second bound is that of the difference which it is for u < 0, in units of the larger term.
            reflected = (given < 0) & (len(stated) > 1)
            size = np.where(reflected, np.maximum(np.abs(exact), np.abs(other)), np.abs(exact))
            rest = np.maximum(np.abs(found - exact) - 8 * np.finfo(exact.dtype).eps, 0)  # beyond the rounding of exact
            far = rest / np.spacing(size.astype(real)) - np.where(reflected, stated[-1], stated[0])
            more = far[finite].max(initial=-1)
            assert more <= 4 * (dtype == "float64") + 0.5, f"{name} is {more} ulp more off than its docstring says"


# ---- what callers use ----------------------------------------------------------------------------

NUMPY_KIND = r"(?:real|np\.int64|np\.float64)"
MORE = r"(?:, \((?:\w+|bool\(training\)|, |,)*\))?(?:, drawn=True)?"
PIECE = r"(?:float\(\w+\[0\]\)|\w+(?:\.reshape\((?:-1|\d+, -1)\)(?:\.T)?)?)"
PIECES = rf"{PIECE}(?:, {PIECE})*"
# The statements of functions for callers: checks of arguments, arrays for results, and last the call or the result.
CHECKS = (
    r"(\w+) = check_count\('\1', \1, 0\)",
    r"(\w+) = check_hyperparameter\('\1', \1(?:, (?:least|above)=0)?\)",
    r"(\w+) = check_input\(Input\('\w+', \(.*\), '\w+', None, None\), \1, dict\(sizes\)\)",
    r"check_vector\('(\w+)', \1\)",
    r"check_(state)\(state\)",
    r"check_labels\((?:INPUTS|\((?:INPUTS\[\d+\](?:, |,)?)*\)), arrays\)",
    r"(arrays), (?:sizes|_) = check_inputs\((?:INPUTS|\((?:INPUTS\[\d+\](?:, |,)?)*\)), arrays\)",
    r"memory = kept_memory\(\w+_memory, \((?:sizes\['\w+'\](?:, |,)?)*\)\)",
    rf"\w+ = np\.(?:empty|zeros|full)\(\(.*\), (?:-1, )?{NUMPY_KIND}\)",
    r"\w+ = np\.(?:empty|zeros)_like\(parameters\)",
    r"parts = \((?:\(\w+, \w+\)(?:, |,)?)+\)",
)
RETURNED = {
    "loss": rf"objective_of\(parameters, arrays{MORE}\)",
    "loss_and_gradient": rf"gradient_of\(parameters, arrays{MORE}\)",
    "predict": rf"(float\()?predicted\(prediction_kernel, parameters, arrays{MORE}\)(?(1)\))",
    "train_epoch": rf"epoch_of\(epoch, parameters, state, order, batch_size, drop_last, arrays, rates{MORE}\)",
    "mean_gradient": rf"gradient_of_batches\(gradient_by_batches, parameters, order, batch_size, arrays{MORE}\)",
    "descend": rf"descent_of\(parameters, state, steps, arrays, rates{MORE}\)",
    "activations": r"looks_at_layers\(observation, parameters, arrays(?:, \w+)?\)",
    "workspace": r"buffers\(new_memory\(()\)\)|buffers\(new_memory\((.+)\), \2\)",
    "optimizer_state": rf"State\((?:np\.(?:zeros|full)\((?:1|COUNT), (?:[\d.e-]+, )?{NUMPY_KIND}\)(?:, )?)+\)",
}
OF_DERIVATIVES = (
    rf"{PIECES}|\({PIECES}\)|sparse_rows\(parts\)|np\.concatenate\(\({PIECES},?\)\)"
    rf"|\(float\(loss\), (?:gradient|{{(?:'\w+': {PIECE}(?:, )?)+}})\)"
)
OUTSIDE = r"if not training:\n    return evaluation_gradient\({}(?:, seed=seed)?\)"
OWN = ("marked", "initial_parameters")  # one is known by its text, the other is not checked


def check_public(module: Module, function: ast.FunctionDef) -> None:
    """What callers use checks its arguments, and gives what a kernel or the part that all modules share gives."""
    name, own = function.name, [a.arg for a in (*function.args.args, *function.args.kwonlyargs)]
    body = function.body[1:] if ast.get_docstring(function) else function.body
    inputs = [row.name for row in module.space["INPUTS"] if row.name in own]
    rates, checked = [a.arg for a in module.functions["update_kernel"].args.args[3:]], set[str]()
    for node in body:
        text, calls_kernel = ast.unparse(node), False
        match node:
            case ast.Assign([ast.Name("arrays" | "rates" as word)], ast.Tuple(given)):
                right = [ast.unparse(a) for a in given] == {"arrays": inputs, "rates": rates}[word]
            case ast.Expr(ast.Call() as call) | ast.Assign([ast.Name("loss")], ast.Call() as call) if (
                ast.unparse(call.func) == f"{name}_kernel"
            ):
                right, calls_kernel = passes(module, name, [ast.unparse(a) for a in call.args]), True
            case ast.If() if name == "loss_and_gradient":
                right = re.fullmatch(OUTSIDE.format(", ".join(["parameters", *inputs])), text) is not None
            case ast.Return(ast.expr() as value) if node is body[-1]:
                right = gives(module, name, ast.unparse(value))
            case _:
                found = next(filter(None, (re.fullmatch(pattern, text) for pattern in CHECKS)), None)
                checked |= {*found.groups()} if found else set()
                rows = re.findall(r"INPUTS\[(\d+)\]", text)
                right = bool(found) and (not rows or inputs == [module.space["INPUTS"][int(k)].name for k in rows])
        assert right, f"line {node.lineno}: {text.splitlines()[0]!r} is not what a generated function has here"
        unchecked = [a for a in own if a not in checked and a not in inputs] if calls_kernel else []
        assert not unchecked, f"{unchecked[0]} is passed to the kernel without a check"
        assert not calls_kernel or not inputs or "arrays" in checked, "inputs are passed without a check"
    ends = isinstance(body[-1], ast.Return) or (name == "update" and calls_kernel)
    assert ends, "its last line gives no result"


def passes(module: Module, name: str, given: list[str]) -> bool:
    """Whether a call passes what the kernel's arguments are named after: inputs and memory stand for several."""
    wanted = [a.arg for a in module.functions[f"{name}_kernel"].args.args]
    before = given[: given.index("*arrays")] if "*arrays" in given else given
    after = given[len(before) :]
    constants = [word.removeprefix("CONSTANT_") for word in after if word.startswith("CONSTANT_")]
    known = all(re.fullmatch(r"\*arrays|\*memory|CONSTANT_\w+|seed", word) for word in after)
    in_order = constants == [a.rstrip("_") for a in wanted if a.rstrip("_") in constants]
    return known and in_order and wanted[: len(before)] == before and (bool(after) or wanted == before)


def gives(module: Module, name: str, result: str) -> bool:
    """Whether a result is the one that a function of this name has; a derivative's has its arrays in their order."""
    if name in RETURNED:
        return re.fullmatch(RETURNED[name], result) is not None
    made = [*module.results(name)]
    arrays = [word for word in re.findall(r"\b\w+\b(?!')", result) if word in made]
    by_name = all(array.startswith(key) for key, array in re.findall(r"'(\w+)': (?:float\()?(\w+)", result))
    whole = by_name and ("parts" in result or arrays == made)
    return f"{name}_kernel" in module.functions and whole and re.fullmatch(OF_DERIVATIVES, result) is not None


# ---- all of it -----------------------------------------------------------------------------------


def parts_of(text: str) -> Module:
    """Raises Unclear where the text holds what this file does not know."""
    end = FIXED.search(text)
    return Module(text[: end.start()] if end else text)


def edited(text: str) -> Iterator[str]:
    """Whether the text after the header is another one than the header was made for, by its digest."""
    header = re.search(r', body sha256 ([0-9a-f]{16})\n"""\n', text)
    if header is None:
        yield "the module: its header has no `body sha256`, so that nobody knows whether it was edited"
    elif hashlib.sha256(text[header.end() :].encode()).hexdigest()[:16] != header[1]:
        yield "the module: edited since it was generated (its `body sha256` is another one)"


def findings(text: str, certificate: dict[str, Any] | None) -> Iterator[str]:
    """What is wrong in a module's text, a line each."""
    end = FIXED.search(text)
    if end is None:
        yield "the part that all modules have is not there"
        return
    if hashlib.sha256(text[end.end() :].lstrip("\n").encode()).hexdigest()[:16] != end[2]:
        yield "the part that all modules have was changed: its digest is another one"
    made = list(attempt("the module", parts_of, text))
    if not isinstance(made[0], Module):
        yield made[0]
        return
    module, functions = made[0], [*made[0].functions]
    for name, kernel in module.kernels.items():
        called = next(attempt(name, module.as_called, kernel))
        yield from [called] if isinstance(called, str) else []
        for own in called if isinstance(called, list) else []:
            words = ", ".join([name, *(f"{n} = {number}" for n, number in own.given.items())])
            yield from attempt(words, check_loops, own, module.limits)
            yield from (f"{words}: {problem}" for problem in Accesses(own, module.limits).found)
    drawn = in_domain(module)
    kernels = [n.removesuffix("_kernel") for n in functions if n.endswith("_kernel") and n != "update_kernel"]
    checks: list[tuple[Any, ...]] = [(f"{name}_kernel", check_memory, f"{name}_kernel", drawn) for name in kernels]
    checks += [("buffers", check_lifetimes, drawn), ("the gradient", check_gradient, drawn)]
    checks += [(name, check_gradient, drawn, name) for name in kernels if name in OUTSIDE_TRAINING]
    checks += [(name, check_second, drawn, name) for name in kernels if name in SECOND]
    checks += [("update_kernel", check_update), ("training", check_training, drawn)]
    checks += [("leaves", check_leaves, drawn)] if "gradients_of_leaves" in functions else []
    public = [f for n, f in module.functions.items() if n not in OWN and not n.endswith("_memory")]
    checks += [(f.name, check_public, f) for f in public if not f.decorator_list]
    checks += [("elementary functions", check_elementary, end[1])]
    checks += [("the certificate", check_certificate, certificate, drawn)] if certificate else []
    for words, check, *arguments in checks:
        yield from attempt(words, check, module, *arguments)


def attempt(words: str, check: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """The problem that a check finds, in words; what it makes, if anything."""
    try:
        with np.errstate(all="ignore"):
            result = check(*arguments)
    except Exception as problem:  # a text that nobody trusts may fail in any way
        kind = "" if isinstance(problem, AssertionError) else f"{type(problem).__name__}: "
        yield f"{words}: {kind}{problem}"
    else:
        if result is not None:
            yield result


NOT_CHECKED = (
    "initial values and defaults of arguments, rounding in kernels, that the formulas are those that were meant",
    "each adjoint by itself (give the certificate)",
)


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    try:
        text = Path(arguments[0]).read_text(encoding="utf-8")
        certificate = json.loads(Path(arguments[1]).read_text(encoding="utf-8")) if len(arguments) > 1 else None
    except (OSError, ValueError) as problem:
        print(f"cannot read: {problem}")
        return 2
    found = [*edited(text), *findings(text, certificate)]
    print(*found or [f"{arguments[0]}: nothing found"], sep="\n")
    print(f"not checked: {', '.join(NOT_CHECKED[: 1 if certificate else 2])}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
