"""The text of a spec, from its draft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import sympy as sp

from derivgen.importing.draft import (
    Draft,
    InputStatement,
    LayerStatement,
    LetStatement,
    ParameterStatement,
    Statement,
    Tensors,
)
from derivgen.importing.elements import Over, Tensor, affine_text
from derivgen.importing.names import unique, usable

WIDTH = 120
SERIES = {"n": "i", "t": "tus", "c": "cdo", "i": "", "h": "hg", "e": "ef", "k": "km", "d": "d"}  # of one kind of axis
LETTERS = "ijkhedgpqrsabcfuvwmo"
# What specs import, as far as they use it.
CLASSES = ("Abs", "And", "Eq", "Max", "Min", "Not", "Or", "Piecewise", "Sum", "Xor")
INVERSES = ("acos", "acosh", "asin", "asinh", "atan", "atanh")
FUNCTIONS = ("ceiling", "cos", "cosh", "erf", "exp", "floor", "log", "oo", "sign", "sin", "sinh", "sqrt", "tan", "tanh")
SYMPY = (*CLASSES, *INVERSES, *FUNCTIONS)
DERIVGEN = ("MaxOver", "Model", "activations", "layers", "losses")


# What layers of the library append to their names, for tensors of their own.
CONVOLUTION = ("_W", "_b", "_padded")
NORM = ("_gain", "_shift", "_mean", "_rate")
PROJECTIONS = ("_query", "_key", "_value", "_out", "_heads")
TRANSPOSED = (*CONVOLUTION, "_spread", "_taps", "_whole")
FINAL = ("_final", "_unmasked", "_kept")
PARTS: dict[str, tuple[str, ...]] = {
    **{f"layers.{word}_pool{d}d": ("_padded", "_count", "_powers") for word in ("avg", "max", "lp") for d in (1, 2, 3)},
    **{f"layers.conv{d}d": CONVOLUTION for d in (1, 2, 3)},
    **{f"layers.conv_transpose{d}d": TRANSPOSED for d in (1, 2, 3)},
    "layers.argmax": ("_largest",),
    "layers.argmin": ("_largest",),
    "layers.batch_norm": (*NORM, "_variance", "_deviation", "_running_mean", "_running_variance"),
    "layers.bidirectional": (
        *("_forward", "_backward"),
        *(f"{way}{part}" for way in ("_forward", "_backward") for part in ("_final", "_cell_final")),
    ),
    "layers.dense": ("_W", "_b"),
    "layers.dropout": ("_random",),
    "layers.embedding": ("_W",),
    "layers.global_lp_pool": ("_powers",),
    "layers.group_norm": NORM,
    "layers.gru": ("_W", "_U", "_b", "_a", "_inputs", "_state", "_update", "_reset", "_new", "_U_gates", *FINAL),
    "layers.instance_norm": NORM,
    "layers.layer_norm": NORM,
    "layers.local_response_norm": ("_padded", "_mean"),
    "layers.lstm": (
        *("_W", "_U", "_b", "_P", "_cell", "_gates", "_input", "_forget", "_new", "_output"),
        *(*FINAL, "_cell_final"),
    ),
    "layers.multi_head_attention": (*PROJECTIONS, *(f"{p}{w}" for p in PROJECTIONS for w in ("_W", "_b", "_scores"))),
    "layers.rms_norm": ("_gain", "_rate"),
    "layers.scaled_dot_product_attention": (
        *("_scores", "_weights", "_present_key", "_present_value"),
        *("_repeated_key", "_repeated_value"),
    ),
    "layers.simple_rnn": ("_W", "_U", "_b", *FINAL),
}


def settle_names(draft: Draft) -> None:
    """Give all tensors names that a spec may use, and that are theirs alone."""
    taken = {str(size) for size in draft.runtime.values()} | {"probabilities"}  # of the loss
    for statement in draft.statements:
        kind = "input" if isinstance(statement, InputStatement) else "tensor"
        parts = ["", *(PARTS.get(statement.function, ()) if isinstance(statement, LayerStatement) else ())]
        name = tried = usable(statement.tensor.name, kind)
        number = 1
        while any(tried + part in taken for part in parts):
            number += 1
            tried = f"{name}_{number}"
        statement.tensor.name = tried
        for ending, state in getattr(statement, "states", {}).items():
            state.name = tried + ending
        taken |= {tried + part for part in parts}


class Letters:
    """A letter for each index: one of each size, and a second one where a formula needs two."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.taken = {s.tensor.name for s in draft.statements} | {str(size) for size in draft.runtime.values()}
        self.sizes: dict[str, sp.Expr] = {}

    def of(self, statement: LetStatement) -> dict[sp.Symbol, sp.Symbol]:
        indices = [i for axis in statement.axes for i in axis]
        indices += [i for part in statement.element.walk() if isinstance(part, Over) for i in part.indices]
        names: dict[sp.Symbol, sp.Symbol] = {}
        for index in dict.fromkeys(indices):
            names[index] = sp.Symbol(self.letter(index, {str(name) for name in names.values()}))
        return names

    def letter(self, index: sp.Symbol, used: set[str]) -> str:
        size = self.draft.sizes[index]
        wanted = ["n", "m"] if size == self.draft.batch else list(SERIES.get(index.name, index.name))
        known = [letter for letter, other in self.sizes.items() if other == size and letter not in used]
        free = (c for c in [*wanted, *LETTERS] if c not in self.taken and c not in self.sizes and c not in used)
        letter = next((c for c in wanted if c in known), None) or next(iter(known), "") or next(free, "")
        letter = letter or unique("k", self.taken | self.sizes.keys() | used)
        self.sizes[letter] = size
        return letter


def spec_text(
    draft: Draft, model: str, source: str, weights: str, dtype: str, prediction: Tensor, loss: list[str]
) -> str:
    """The whole file."""
    letters = Letters(draft)
    lines = [line for s in draft.statements for line in statement_lines(s, letters)]
    lines += [*loss, f"model.predict({prediction.name})"]
    head = [f"model = Model({quoted(model)}" + (f", dtype={quoted(dtype)})" if dtype != "float32" else ")")]
    sizes = [str(size) for size in draft.runtime.values()]
    if sizes:
        head.append(f"{', '.join(sizes)} = {', '.join(f'model.batch({quoted(size)})' for size in sizes)}")
    if letters.sizes:
        ranges = ", ".join(f"{letter}={size}" for letter, size in letters.sizes.items())
        head.append(f"{', '.join(letters.sizes)} = model.indices({ranges})")
    body = "\n".join([*head, *lines])
    about = "\n".join([f"{source}.\n", f"Its weights are in {weights}.", *draft.notes])
    return f'"""{about}\n"""\n\n{imports(body)}\n\n{body}\n'


def imports(body: str) -> str:
    words = set(re.findall(r"(?<![\w.\"])[A-Za-z_]+(?!\w*=[^=])", body))
    sympy, own = ([w for w in sorted(names) if w in words] for names in (SYMPY, DERIVGEN))
    lines = [f"from sympy import {', '.join(sympy)}", ""] if sympy else []
    return "\n".join([*lines, f"from derivgen import {', '.join(own)}"])


def statement_lines(statement: Statement, letters: Letters) -> list[str]:
    name = statement.tensor.name
    if isinstance(statement, InputStatement):
        sizes = "".join(f", {size}" for size in statement.tensor.shape)
        if statement.classes:
            return [f"{name} = model.labels({quoted(name)}{sizes}, classes={statement.classes})"]
        return [f"{name} = model.input({quoted(name)}{sizes})"]
    if isinstance(statement, ParameterStatement):
        return [parameter_line(statement)]
    if isinstance(statement, LetStatement):
        return let_lines(statement, letters.of(statement), letters.draft.sizes)
    return call_lines(statement)


def parameter_line(statement: ParameterStatement) -> str:
    name, array = statement.tensor.name, statement.array
    sizes = "".join(f", {size}" for size in statement.tensor.shape)
    if not statement.trained:
        at = ", ".join("ijkl"[: array.ndim])
        again = f"lambda {at}: {name}[{at}]" if array.ndim else "0"
        return f"{name} = model.running({quoted(name)}{sizes}, next={again})  # it is not trained"
    init = ', init="glorot_uniform"' if array.ndim > 1 else ', init="ones"' if abs(array - 1).mean() < 0.5 else ""
    return f"{name} = model.parameter({quoted(name)}{sizes}{init})"


def let_lines(
    statement: LetStatement, names: Mapping[sp.Symbol, sp.Symbol], sizes: Mapping[sp.Symbol, sp.Expr]
) -> list[str]:
    name = statement.tensor.name
    left = [joined_text(axis, sizes, names) for axis in statement.axes]
    over = left[0] if len(left) == 1 else f"({', '.join(left)})"
    formula = statement.element.text(names)[0]
    return wrapped(f"{name} = model.let(", [quoted(name), over, formula], ")")


def joined_text(
    axis: Iterable[sp.Symbol], sizes: Mapping[sp.Symbol, sp.Expr], names: Mapping[sp.Symbol, sp.Symbol]
) -> str:
    inner: sp.Expr = sp.S.One
    terms: list[sp.Expr] = []
    for index in reversed(list(axis)):
        terms.insert(0, inner * index)
        inner *= sizes[index]
    return affine_text(sp.Add(*terms), names)


def call_lines(statement: LayerStatement) -> list[str]:
    name = statement.tensor.name
    sources = [s.name for s in statement.sources]
    many = [f"[{', '.join(sources)}]"] if statement.function == "layers.concatenate" else sources
    arguments = [*many, *statement.arguments, *([statement.activation] if statement.activation else [])]
    if statement.function == "layers.bidirectional":
        arguments = [statement.arguments[0], *sources, *statement.arguments[1:]]
    arguments += [f"{key}={nested(given)}" for key, given in statement.tensors.items()]
    arguments += [*(f"{key}={value}" for key, value in statement.options.items()), f"name={quoted(name)}"]
    return wrapped(f"{targets(statement)} = {statement.function}(", arguments, ")")


def nested(given: Tensors) -> str:
    return given.name if isinstance(given, Tensor) else f"({', '.join(map(nested, given))})"


def targets(statement: LayerStatement) -> str:
    """What a call is assigned to: a tensor, and the states that it returns besides, of each direction as one."""
    states = [state.name for state in statement.states.values()]
    if statement.function == "layers.bidirectional" and len(states) == 4:
        states = [f"({', '.join(pair)})" for pair in (states[:2], states[2:])]
    return ", ".join([statement.tensor.name, *states])


def wrapped(start: str, arguments: list[str], end: str) -> list[str]:
    """One line, or one for each argument where that is too long."""
    line = f"{start}{', '.join(arguments)}{end}"
    if len(line) <= WIDTH:
        return [line]
    inside = f"    {', '.join(arguments)}"
    if len(inside) <= WIDTH:
        return [start, inside, end]
    lines = [line for argument in arguments for line in (*broken(argument)[:-1], f"{broken(argument)[-1]},")]
    return [start, *(f"    {line}" for line in lines), end]


def broken(formula: str) -> list[str]:
    """One line; where that is too long, a call with a line for each argument, or one for each term or factor."""
    name, bracket, rest = formula.partition("(")
    if len(formula) < WIDTH - 5:
        return [formula]
    arguments = outer_arguments(rest[:-1]) if rest.endswith(")") and name.isidentifier() else []
    if arguments:
        return [name + bracket, *(f"    {line}" for a in arguments for line in [f"{a},"]), ")"]
    return outer_terms(formula, " + ", " - ") or outer_terms(formula, " * ", " / ") or [formula]


def outer_terms(text: str, *signs: str) -> list[str]:
    """The parts between signs that stand outside of brackets, each after its sign; none where there is no sign."""
    lines, depth, start = [], 0, 0
    for k, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if not depth and text[k : k + 3] in signs:
            lines.append(text[start:k])
            start = k + 1
    return [*lines, text[start:]] if lines else []


def outer_arguments(text: str) -> list[str]:
    """The arguments of a call; none where its bracket closes before the end."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if depth < 0:
            return []
        parts = [*parts, ""] if letter == "," and not depth else [*parts[:-1], parts[-1] + letter]
    return [part.strip() for part in parts]


def quoted(text: str) -> str:
    return f'"{text}"'
