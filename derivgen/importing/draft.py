"""A spec under construction: its statements, the weights of its tensors, and what could not be covered."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.elements import (
    Element,
    Index,
    Number,
    Over,
    Read,
    Size,
    Tensor,
    Value,
    factored,
    is_condition,
    piecewise,
)
from derivgen.importing.graph import Graph, Input, Node, Refusal
from derivgen.importing.names import identifier, is_given, layer_name, layer_of

DYNAMIC = "export the model with dynamic axes, so that its run-time sizes have names"
UNNAMED = re.compile(r"(input|inputs|arg|args)(\.|_)?\d*(_\d+)?$")  # inputs to which nobody gave a name
NEVER = -1e30  # what is added to scores that are not seen is less
WINDOWS = ("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "LpPool", "MaxPool", "Resize")
LONGEST = 14  # parts of a formula: a longer one gets a let
# What modules of PyTorch do beside their main operation, which gives its result the module's name.
BESIDES = {"Shape", "Constant", "Gather", "Unsqueeze", "Squeeze", "Concat", "Reshape", "Transpose", "Slice", "Cast"}
BESIDES |= {"Mul", "Add", "Div", "Sub", "Mod", "Identity", "Expand", "ConstantOfShape", "Equal", "Where", "Flatten"}
BESIDES |= {"CastLike", "Sqrt", "Reciprocal", "Pow", "SequenceAt", "SplitToSequence", "Size", "Range", "Pad", "Neg"}


@dataclass(frozen=True)
class Constant:
    """An array of the graph, of numbers or of sizes; `name`: what it is called there, where somebody named it."""

    array: np.ndarray
    name: str = ""


Operand = Value | Constant | None
Tensors = Any  # a tensor, or a tuple of these


@dataclass(eq=False)
class InputStatement:
    tensor: Tensor
    integer: bool
    classes: int = 0


@dataclass(eq=False)
class ParameterStatement:
    """A tensor of a plain formula; one that is not `trained` keeps its values."""

    tensor: Tensor
    array: np.ndarray
    trained: bool


@dataclass(eq=False)
class LayerStatement:
    """A call of a layer. `weights`: an array for each ending of its parameters' names; `tensors`: keywords that are
    tensors, or pairs of them; `states`: what it returns besides, by the endings of their names.
    """

    tensor: Tensor
    function: str
    sources: Sequence[Tensor]
    arguments: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    activation: str = ""
    takes_activation: bool = False
    named_after: str = ""  # the weight that gave its name
    tensors: dict[str, Tensors] = field(default_factory=dict)
    states: dict[str, Tensor] = field(default_factory=dict)


@dataclass(eq=False)
class LetStatement:
    tensor: Tensor
    axes: tuple[tuple[sp.Symbol, ...], ...]
    element: Element
    is_softmax: bool = False


Statement = InputStatement | ParameterStatement | LayerStatement | LetStatement


class Draft:
    """`frozen`: names of constants that are not trained."""

    def __init__(self, graph: Graph, frozen: Iterable[str] = ()) -> None:
        self.graph = graph
        self.frozen = set(frozen)
        self.statements: list[Statement] = []
        self.sizes: dict[sp.Symbol, sp.Expr] = {}  # of indices
        self.runtime: dict[str, sp.Symbol] = {}  # sizes, by their names in the graph
        self.parameters: dict[str, Tensor] = {}
        self.shared: Counter[str] = Counter()  # how many layers a named weight belongs to
        self.notes: list[str] = []
        self.rows_of_file = 0  # of a file that has a number for the batch
        self.views: dict[Any, Tensor] = {}  # lets that only move elements
        self.busy = Counter(node.path for node in graph.nodes if node.operator not in BESIDES)

    # ---- sizes and indices

    @property
    def batch(self) -> sp.Expr:
        """The first size that is known at run time; 0 where there is none."""
        return next(iter(self.runtime.values()), sp.S.Zero)

    def index(self, size: Any, letter: str = "i") -> sp.Symbol:
        made = sp.Dummy(letter, integer=True)
        self.sizes[made] = sp.sympify(size)
        return made

    def axis(self, size: Any, letter: str = "i") -> tuple[sp.Symbol, ...]:
        """The indices of an axis: none where it has one element."""
        return () if size == 1 else (self.index(size, letter),)

    def extent(self, axis: Iterable[sp.Symbol]) -> sp.Expr:
        return sp.Mul(*(self.sizes[i] for i in axis))

    def shape(self, value: Value) -> tuple[sp.Expr, ...]:
        return tuple(self.extent(axis) for axis in value.axes)

    def fresh(self, value: Value) -> Value:
        """The same tensor with indices that no other operand has."""
        new = {i: self.index(self.sizes[i], i.name) for i in value.indices}
        inner = {i for part in value.element.walk() if isinstance(part, Over) for i in part.indices}
        new |= {i: self.index(self.sizes[i], i.name) for i in inner}
        axes = tuple(tuple(new[i] for i in axis) for axis in value.axes)
        return replace(value, axes=axes, element=value.element.replaced(new))

    # ---- tensors

    def input(self, given: Input, shape: Sequence[sp.Expr]) -> Value:
        name = identifier(given.name)
        tensor = Tensor("x" if not name or UNNAMED.match(name) else name, tuple(shape))
        self.add(InputStatement(tensor, given.dtype.kind in "iub"))
        windows = any(node.operator in WINDOWS for node in self.graph.consumers(given.name))
        known = {2: "nt" if given.dtype.kind == "i" else "nd", 3: "nct" if windows else "ntd", 4: "ncij"}
        letters = known.get(len(shape), "n" + "i" * 9)
        return self.whole(tensor, letters)

    def add(self, statement: Statement) -> Tensor:
        self.statements.append(statement)
        statement.tensor.statement = statement
        return statement.tensor

    def whole(self, tensor: Tensor, letters: str = "") -> Value:
        """All of a tensor, axis by axis."""
        axes = tuple(self.axis(size, letter) for size, letter in zip(tensor.shape, letters or "i" * 99, strict=False))
        return Value(axes, Read(tensor, tuple(axis[0] if axis else sp.S.Zero for axis in axes)), alone=True)

    def parameter(self, constant: Constant) -> Value:
        """A constant of the graph as a parameter, or as a tensor that is not trained; one for each name."""
        name, array = (
            (identifier(constant.name) if is_given(constant.name) else "") or "table",
            np.squeeze(constant.array),
        )
        key = f"{constant.name} {array.shape} {hash(array.tobytes())}"
        if key not in self.parameters:
            tensor = Tensor(name, tuple(map(sp.sympify, array.shape)))
            trained = is_given(constant.name) and constant.name not in self.frozen
            self.parameters[key] = self.add(ParameterStatement(tensor, array, trained))
        tensor = self.parameters[key]
        axes = tuple(self.axis(size) for size in constant.array.shape)
        return Value(axes, Read(tensor, tuple(axis[0] for axis in axes if axis)))

    def value(self, operand: Operand) -> Value:
        """An operand as a formula of fresh indices: small constants are numbers, other ones parameters."""
        if isinstance(operand, Value):
            return self.fresh(operand)
        assert operand is not None
        array = operand.array
        axes = tuple(self.axis(size) for size in array.shape)
        if array.size == 1 and not is_given(operand.name):
            item = array.reshape(-1)[0]
            return Value(axes, Size(item) if isinstance(item, sp.Expr) else Number(float(item)))
        if array.dtype.kind in "biu" or (array.astype(float) < NEVER).any():
            return Value(axes, self.triangle(array, axes))
        if (array == array.flat[0]).all() and not is_given(operand.name):
            return Value(axes, Number(float(array.flat[0])))
        return self.parameter(operand)

    def triangle(self, array: np.ndarray, axes: Sequence[tuple[sp.Symbol, ...]]) -> Element:
        """A table of booleans, or of 0 and -∞, as a condition on its indices."""
        array = np.where(array < NEVER, -np.inf, array) if array.dtype.kind == "f" else array
        allowed, plane = array == (1 if array.dtype == bool else 0), array.shape[-2:]
        if array.dtype.kind in "bf" and array.size == np.prod(plane) and len(plane) == 2:
            for form, offset in itertools.product(("{} <= {}", "{} > {}"), range(-2, 3)):
                below = np.tri(*plane, k=offset, dtype=bool)
                if (allowed.reshape(plane) == (below if form == "{} <= {}" else ~below)).all() and all(axes[-2:]):
                    (t,), (u,) = axes[-2:]
                    seen = Index(form, (u, t + offset))
                    return seen if array.dtype == bool else masked(Number(0), seen)
        if allowed.all():
            return Index("True", ()) if array.dtype == bool else Number(0)
        raise Refusal(
            "a table of integers, or a mask that is not causal, is not covered: make it an input of the model"
        )

    def let(self, name: str, axes: tuple[tuple[sp.Symbol, ...], ...], element: Element, whole: bool = False) -> Tensor:
        """A let, of a condition as 1 or 0; `whole`: with the axes of one element too."""
        element = piecewise(Number(1), element, Number(0)) if is_condition(element) else element
        axes = tuple(axis or (self.index(1, "z"),) for axis in axes if axis or whole)
        return self.add(LetStatement(Tensor(name, tuple(map(self.extent, axes))), axes, element))

    def ordered(self, indices: Iterable[sp.Symbol]) -> list[sp.Symbol]:
        """The batch's index first."""
        return sorted(indices, key=lambda i: self.sizes[i] != self.batch)

    def named(self, value: Value) -> Value:
        """The value by a let of its own, unless it is read off a tensor."""
        if isinstance(value.element, Read | Number | Size):
            return value
        over = self.ordered(value.indices)
        tensor = self.let(value.name or "part", tuple((i,) for i in over), value.element)
        return replace(value, element=Read(tensor, tuple(over)), alone=True)

    def simple(self, value: Value) -> Value:
        """The value, by a let where it is more than an element with a factor: a part of a sum of products."""
        return value if isinstance(factored(value.element)[0], Read | Number | Size) else self.named(value)

    def tensor(self, value: Value) -> Tensor:
        """The value as a tensor with these axes, for a layer to take."""
        value = self.merged(value)
        if not isinstance(value.element, Read):
            return self.let(value.name or "part", value.axes, value.element, whole=True)
        source, subscripts = value.element.tensor, value.element.subscripts
        own = [axis[0] if len(axis) == 1 else sp.S.Zero if not axis else None for axis in value.axes]
        if list(subscripts) == own and self.shape(value) == source.shape:
            return source
        flat = subscripts == value.indices and len(value.axes) == 2 and len(value.axes[0]) == 1 < len(value.axes[1])
        if flat and tuple(map(self.sizes.__getitem__, subscripts)) == source.shape:
            return self.layer("layers.flatten", source, f"{source.name}_flat", self.shape(value))
        return self.moved(value, f"{source.name}_{self.manner(value)}")

    def merged(self, value: Value) -> Value:
        """The value with one index for an axis whose indices are only read together."""
        reads = [s for part in value.element.walk() for s in getattr(part, "subscripts", ())]
        for k, axis in enumerate(value.axes):
            one, number = self.index(self.extent(axis), axis[-1].name if axis else "i"), self.joined(axis)
            touched = [s for s in reads if s.free_symbols & {*axis}]
            rest = [sp.expand(s - number) for s in touched]
            if len(axis) > 1 and touched and not any(s.free_symbols & {*axis} for s in rest):
                element = value.element.replaced(
                    {axis[0]: one / (number.coeff(axis[0])), **dict.fromkeys(axis[1:], sp.S.Zero)}
                )
                value = replace(value, axes=(*value.axes[:k], (one,), *value.axes[k + 1 :]), element=element)
        return value

    def joined(self, group: Sequence[sp.Symbol]) -> sp.Expr:
        """The number whose digits these indices are."""
        total = sp.S.Zero
        for index in group:
            total = total * self.sizes[index] + index
        return sp.expand(total)

    def manner(self, value: Value) -> str:
        """What a part of a tensor, or a tensor in another order, is called after it."""
        assert isinstance(value.element, Read)
        pairs = list(zip(value.element.subscripts, value.element.tensor.shape, strict=True))
        fixed = [(s, size) for s, size in pairs if not s.free_symbols & {*self.sizes} and size != 1]
        if fixed:
            s, size = fixed[0]
            return "first" if s == 0 else "last" if s == size - 1 else f"at_{s}"
        if any(len(axis) > 1 for axis in value.axes):
            return "flat"
        if not all(value.axes) or len(value.indices) > len(pairs):
            return "expanded"
        return "transposed" if all(s in self.sizes and self.sizes[s] == size for s, size in pairs) else "part"

    def moved(self, value: Value, name: str) -> Tensor:
        """A let of elements of one tensor; the same one where it is there already."""
        read = value.element
        assert isinstance(read, Read)
        places = {i: sp.Symbol(f"_{k}") for k, i in enumerate(value.indices)}
        axes = tuple(tuple((places[i], self.sizes[i]) for i in axis) for axis in value.axes)
        key = (id(read.tensor), axes, tuple(s.xreplace(places) for s in read.subscripts))
        if key not in self.views:
            self.views[key] = self.let(name, value.axes, read, whole=True)
        return self.views[key]

    def rows(self, value: Value) -> tuple[Tensor, list[sp.Symbol]]:
        """(a tensor with an axis for each index of the leading axes, the batch first, and the last axis; these)"""
        *leading, last = value.axes
        over = self.ordered(i for axis in leading for i in axis)
        return self.tensor(replace(value, axes=(*((i,) for i in over), last))), over

    def layer(
        self,
        function: str,
        x: Tensor,
        name: str,
        shape: Sequence[Any],
        *arguments: Any,
        weights: dict[str, np.ndarray] | None = None,
        **options: Any,
    ) -> Tensor:
        texts = {key: text_of(value) for key, value in options.items() if value is not None}
        tensor = Tensor(name, tuple(map(sp.sympify, shape)))
        takes = function == "layers.dense" or function.startswith("layers.conv")
        given = tuple(map(text_of, arguments))
        call = LayerStatement(tensor, function, [x], given, texts, weights or {}, takes_activation=takes)
        return self.add(call)

    # ---- names

    def called(self, node: Node, kind: str, *weights: Operand) -> str:
        """The name of what a node computes: that of its weights, of its module, or of what it does."""
        for weight in weights:
            layer = layer_of(weight.name) if isinstance(weight, Constant) and is_given(weight.name) else ""
            if layer and layer.startswith(node.path):  # another one's where two modules share a weight
                return layer_name(layer, kind)
        alone = self.busy[node.path] == (node.operator not in BESIDES)
        if node.path and (alone or node.path.rpartition(".")[2].rstrip("0123456789") == kind):
            return layer_name(node.path, kind)
        return layer_name(f"{node.path}.{kind}" if node.path else kind, kind)

    def share(self, *weights: Operand) -> None:
        """Count the layers that a weight belongs to."""
        for weight in weights:
            if isinstance(weight, Constant) and weight.name:
                if weight.name in self.frozen:
                    self.notes.append(
                        f"{weight.name} is frozen in PyTorch, and trained here: see model.update(groups=…)."
                    )
                self.shared[weight.name] += not (weight.array == weight.array.flat[0]).all()


def masked(value: Element, seen: Element) -> Element:
    return piecewise(value, seen, Number(float("-inf")))


def text_of(value: Any) -> str:
    """An argument as a person writes it: one number where all of a pair are equal."""
    if isinstance(value, tuple | list):
        items = [int(v) for v in value]
        return str(items[0]) if len(set(items)) == 1 else f"({', '.join(map(str, items))})"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(float(str(np.float32(value))))
    return str(value)
