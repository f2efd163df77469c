"""Functions of each element: activations, arithmetic, conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import sympy as sp

from derivgen.importing import elements
from derivgen.importing.draft import DYNAMIC, Constant, Draft, LayerStatement, Operand, masked, text_of
from derivgen.importing.elements import CONDITION, Element, Formula, Index, Number, Read, Value, call, is_condition
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.names import identifier, is_given, layer_of
from derivgen.importing.operators.views import regrouped

SELU = (1.6732632423543772, 1.0507009873554805)  # alpha and gamma of the library's
Operator = Callable[..., Any]
Binary = Callable[[Element, Element], Element]


def broadcast(draft: Draft, combine: Binary, a: Value, b: Value) -> Value:
    """A combination of each element of a with one of b, axes of one element repeated."""
    rank = max(len(a.axes), len(b.axes))
    left, right = (((),) * (rank - len(v.axes)) + v.axes for v in (a, b))
    axes: list[tuple[sp.Symbol, ...]] = []
    of_a: dict[sp.Symbol, sp.Expr] = {}
    of_b: dict[sp.Symbol, sp.Expr] = {}
    for p, q in zip(left, right, strict=True):
        axis, in_a, in_b = same_axis(draft, p, q)
        axes.append(axis)
        of_a |= in_a
        of_b |= in_b
    return Value(tuple(axes), combine(a.element.replaced(of_a), b.element.replaced(of_b)))


def same_axis(draft: Draft, p: Any, q: Any) -> tuple[Any, dict[sp.Symbol, sp.Expr], dict[sp.Symbol, sp.Expr]]:
    """(the indices of an axis of both, what the indices of each become)"""
    if not p or not q:
        return p or q, {}, {}
    if found := regrouped(draft, p, [draft.sizes[i] for i in q]):
        axis = tuple(i for group in found[0] for i in group)
        return axis, found[1], {i: draft.joined(group) for i, group in zip(q, found[0], strict=True)}
    if found := regrouped(draft, q, [draft.sizes[i] for i in p]):
        axis = tuple(i for group in found[0] for i in group)
        return axis, {i: draft.joined(group) for i, group in zip(p, found[0], strict=True)}, found[1]
    raise Refusal(f"axes of {draft.extent(p)} and {draft.extent(q)} elements do not fit together: {DYNAMIC}")


def binary(combine: Binary) -> Operator:
    def apply(draft: Draft, node: Node, a: Operand, b: Operand) -> Value:
        return taken_in(draft, node, a, b) or broadcast(draft, combine, draft.value(a), draft.value(b))

    return apply


def variadic(function: str) -> Operator:
    def apply(draft: Draft, node: Node, *operands: Operand) -> Value:
        values = [draft.value(x) for x in operands]
        return reduce(lambda a, b: broadcast(draft, lambda p, q: call(function, p, q), a, b), values)

    return apply


# ---- what belongs to the layer before


def layer_read(value: Operand) -> LayerStatement | None:
    """The layer of which this is all, and that nobody else reads."""
    if not (isinstance(value, Value) and value.alone and isinstance(value.element, Read)):
        return None
    read, statement = value.element, value.element.tensor.statement
    over = [s for s, size in zip(read.subscripts, read.tensor.shape, strict=True) if size != 1]
    whole = {*over} == {*value.indices} and len(value.indices) == len(over)
    return statement if whole and isinstance(statement, LayerStatement) else None


# Of each operator, the option of a layer that a vector of its features may become, and its ending.
PARTS = {
    ("Add", "layers.dense"): ("bias", "_b"),
    ("Add", "layers.group_norm"): ("center", "_shift"),
    ("Mul", "layers.group_norm"): ("scale", "_gain"),
}


def taken_in(draft: Draft, node: Node, a: Operand, b: Operand) -> Value | None:
    """A bias, a gain or a shift as one of the layer before it."""
    value, constant = (b, a) if isinstance(a, Constant) else (a, b)
    statement = layer_read(value)
    if not (statement and isinstance(constant, Constant) and isinstance(value, Value)) or constant.name in draft.frozen:
        return None
    option, ending = PARTS.get((node.operator, statement.function), ("", ""))
    if statement.options.get(option) != "False" or statement.activation or not along_channels(value, constant):
        return None
    statement.weights[ending] = constant.array.reshape(-1)
    del statement.options[option]
    renamed(draft, statement, constant)
    return value


def along_channels(value: Value, constant: Constant) -> bool:
    """Whether a constant has a number for each channel of a layer, and nothing else."""
    assert isinstance(value.element, Read)
    shape, subscripts = value.element.tensor.shape, value.element.subscripts
    place = 1 if len(shape) == 4 else len(shape) - 1
    if shape[place] == 1:
        return bool(constant.array.size == 1)
    axis = value.axes.index((subscripts[place],)) - len(value.axes) if (subscripts[place],) in value.axes else 0
    sizes = constant.array.shape
    return -len(sizes) <= axis < 0 and constant.array.size == sizes[axis] == shape[place]


def renamed(draft: Draft, statement: LayerStatement, constant: Constant) -> None:
    """The layer after its bias, where its weights had no name."""
    layer = layer_of(constant.name) or constant.name.removesuffix("_bias")
    alone = draft.graph.uses[constant.name] <= 1  # exporters let layers share what is equal, under one name
    if alone and is_given(constant.name) and layer != constant.name and not is_given(statement.named_after):
        statement.tensor.name, statement.named_after = identifier(layer) or statement.tensor.name, constant.name


def function(name: str, *options: tuple[str, Any]) -> Operator:
    """An activation, of which options that are not the library's defaults are shown."""

    def apply(draft: Draft, node: Node, x: Operand) -> Value:
        given = [text_of(node.get(k, default)) for k, default in options if node.get(k, default) != default]
        return activated(draft, x, name, "".join(f", {text}" for text in given))

    return apply


def activated(draft: Draft, x: Operand, name: str, options: str = "") -> Value:
    """An activation of the layer before it, if that has none yet; otherwise a formula."""
    statement, short = layer_read(x), f"activations.{name}" if name == "tanh" else name
    if statement and statement.takes_activation and not statement.activation and short.startswith("activations."):
        assert isinstance(x, Value)
        statement.activation = f"lambda z: {name}(z{options})" if options else short
        return x
    value = draft.value(x)
    return replace(value, element=call(name, value.element, options=options), alone=False, name="")


def shrink(draft: Draft, node: Node, x: Operand) -> Value:
    lambd, bias = (float(str(node.get(key, default))) for key, default in (("lambd", 0.5), ("bias", 0.0)))
    if bias in (0, lambd):
        name = "soft_shrink" if bias else "hard_shrink"
        return activated(draft, x, f"activations.{name}", "" if lambd == 0.5 else f", {text_of(lambd)}")
    value = draft.value(x)
    moved = elements.subtracted(value.element, elements.scaled(bias, call("sign", value.element)))
    seen = Formula("{} > {}", (call("Abs", value.element), Number(lambd)), CONDITION)
    return replace(value, element=elements.piecewise(moved, seen, Number(0)), alone=False, name="")


def thresholded(draft: Draft, node: Node, x: Operand) -> Value:
    return activated(draft, x, "activations.threshold", f", {text_of(float(node.get('alpha', 1.0)))}, 0")


def swish(draft: Draft, node: Node, x: Operand) -> Value:
    alpha = node.get("alpha", 1.0)
    if alpha == 1:
        return activated(draft, x, "activations.silu")
    value = draft.value(x)
    gate = call("activations.sigmoid", elements.scaled(alpha, value.element))
    return replace(value, element=elements.multiplied(value.element, gate), alone=False, name="")


def mean(draft: Draft, node: Node, *operands: Operand) -> Value:
    total = reduce(lambda a, b: broadcast(draft, plus, a, b), map(draft.value, operands))
    return replace(total, element=elements.scaled(1 / len(operands), total.element))


def leaky_relu(draft: Draft, node: Node, x: Operand) -> Value:
    slope = text_of(float(node.get("alpha", 0.01)))
    return activated(draft, x, "activations.leaky_relu", "" if slope == "0.01" else f", {slope}")


def elu(draft: Draft, node: Node, x: Operand) -> Value:
    alpha = text_of(float(node.get("alpha", 1.0)))
    return activated(draft, x, f"activations.{node.operator.lower()}", "" if alpha == "1.0" else f", {alpha}")


def selu(draft: Draft, node: Node, x: Operand) -> Value:
    alpha, gamma = node.get("alpha", SELU[0]), node.get("gamma", SELU[1])
    if abs(alpha - SELU[0]) + abs(gamma - SELU[1]) < 1e-6:
        return activated(draft, x, "activations.selu")
    value = draft.value(x)
    element = call("activations.elu", value.element, options=f", {text_of(float(alpha))}")
    return replace(value, element=elements.scaled(gamma, element), alone=False, name="")


def gelu(draft: Draft, node: Node, x: Operand) -> Value:
    return activated(draft, x, "activations.gelu", ', "tanh"' if node.get("approximate") == "tanh" else "")


def hard_sigmoid(draft: Draft, node: Node, x: Operand) -> Value:
    slope, middle = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(slope - 1 / 6) < 1e-6 and middle == 0.5:
        return activated(draft, x, "activations.hard_sigmoid")
    value = draft.value(x)
    line = elements.added(elements.scaled(slope, value.element), Number(middle))
    return replace(value, element=call("Min", call("Max", line, Number(0)), Number(1)), alone=False, name="")


def clip(draft: Draft, node: Node, x: Operand, low: Operand = None, high: Operand = None) -> Value:
    bounds = tuple(float(b.array.reshape(-1)[0]) if isinstance(b, Constant) else None for b in (low, high))
    if bounds in ((0, None), (0, 6)):
        return activated(draft, x, "activations.relu" if bounds[1] is None else "activations.relu6")
    if bounds == (-1, 1):
        return activated(draft, x, "activations.hard_tanh")
    value = draft.value(x)
    element = value.element if bounds[0] is None else call("Max", value.element, Number(bounds[0]))
    element = element if bounds[1] is None else call("Min", element, Number(bounds[1]))
    return replace(value, element=element, alone=False, name="")


def prelu(draft: Draft, node: Node, x: Operand, slope: Operand) -> Value:
    return broadcast(draft, lambda z, s: call("activations.prelu", z, s), draft.value(x), draft.value(slope))


def reciprocal(draft: Draft, node: Node, x: Operand) -> Value:
    value = draft.value(x)
    return replace(value, element=elements.divided(Number(1), value.element), alone=False, name="")


def negative(draft: Draft, node: Node, x: Operand) -> Value:
    value = draft.value(x)
    return replace(value, element=elements.scaled(-1, value.element), alone=False, name="")


def plus(a: Element, b: Element) -> Element:
    """a + b; under a mask of -∞, a where it is seen."""
    for value, other in ((a, b), (b, a)):
        match other:
            case Formula("Piecewise({}, {})", (Formula(_, (Number(0), seen)), Formula(_, (Number(hidden),)))):
                if hidden == float("-inf"):
                    return masked(value, seen)
    return elements.added(a, b)


def times(a: Element, b: Element) -> Element:
    """a·b; z·sigmoid(z) as silu(z), z·tanh(softplus(z)) as mish(z), and a·(1/b) as a/b."""
    for value, other in ((a, b), (b, a)):
        if isinstance(other, Formula) and other.form == "activations.sigmoid({})" and other.arguments == (value,):
            return call("activations.silu", value)
        if other == call("tanh", call("activations.softplus", value)):
            return call("activations.mish", value)
        match other:
            case Formula("{} / {}", (Number(1), below)):
                return elements.divided(value, below)
    return elements.multiplied(a, b)


# ---- conditions


def comparison(form: str) -> Operator:
    def apply(draft: Draft, node: Node, a: Operand, b: Operand) -> Value:
        asks = (elements.SUM, elements.SUM)
        return broadcast(draft, lambda p, q: Formula(form, (p, q), CONDITION, asks), draft.value(a), draft.value(b))

    return apply


def where(draft: Draft, node: Node, condition: Operand, a: Operand, b: Operand) -> Value:
    chosen, first, second = map(draft.value, (condition, a, b))
    pair = broadcast(draft, lambda p, q: elements.piecewise(p, Number(0), q), first, second)

    def selected(both: Element, seen: Element) -> Element:
        assert isinstance(both, Formula)
        p, q = (part.arguments[0] for part in both.arguments if isinstance(part, Formula))
        if is_softplus(p, q, seen):
            return q
        hidden = isinstance(p, Number) and p.value == float("-inf")
        return elements.piecewise(q, opposite(seen), p) if hidden else elements.piecewise(p, seen, q)

    return broadcast(draft, selected, pair, chosen)


def is_softplus(linear: Element, curved: Element, seen: Element) -> bool:
    """Whether softplus(z) is replaced by z where z is so large that both are equal, as PyTorch has it."""
    match seen, curved:
        case Formula("{} > {}", (z, Number(threshold))), Formula("activations.softplus({})", (argument,)):
            return threshold >= 20 and z == linear == argument
    return False


def opposite(condition: Element) -> Element:
    match condition:
        case Index("{} <= {}", subscripts):
            return Index("{} > {}", subscripts)
        case Index("{} > {}", subscripts):
            return Index("{} <= {}", subscripts)
        case Formula("Not({})", (inner,)):
            return inner
    return Formula("Not({})", (condition,), CONDITION)


def negation(draft: Draft, node: Node, x: Operand) -> Value:
    value = draft.value(x)
    return replace(value, element=opposite(value.element), alone=False, name="")


def cast(draft: Draft, node: Node, x: Value) -> Value:
    """A condition as 1 or 0; numbers as they are."""
    if is_condition(x.element):
        return replace(x, element=elements.piecewise(Number(1), x.element, Number(0)), alone=False, name="")
    return x


TABLE: dict[str, Operator] = {
    "Abs": function("Abs"),
    "Acos": function("acos"),
    "Acosh": function("acosh"),
    "Add": binary(plus),
    "And": comparison("And({}, {})"),
    "Asin": function("asin"),
    "Asinh": function("asinh"),
    "Atan": function("atan"),
    "Atanh": function("atanh"),
    "Cast": cast,
    "Ceil": function("ceiling"),
    "Celu": elu,
    "Clip": clip,
    "Cos": function("cos"),
    "Cosh": function("cosh"),
    "Div": binary(elements.divided),
    "Elu": elu,
    "Equal": comparison("Eq({}, {})"),
    "Erf": function("erf"),
    "Exp": function("exp"),
    "Floor": function("floor"),
    "Gelu": gelu,
    "Greater": comparison("{} > {}"),
    "GreaterOrEqual": comparison("{} >= {}"),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": function("activations.hard_swish"),
    "LeakyRelu": leaky_relu,
    "Less": comparison("{} < {}"),
    "LessOrEqual": comparison("{} <= {}"),
    "Log": function("log"),
    "Max": variadic("Max"),
    "Mean": mean,
    "Min": variadic("Min"),
    "Mish": function("activations.mish"),
    "Mul": binary(times),
    "Neg": negative,
    "Not": negation,
    "Or": comparison("Or({}, {})"),
    "PRelu": prelu,
    "Pow": binary(elements.power),
    "Reciprocal": reciprocal,
    "Relu": function("activations.relu"),
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": function("activations.sigmoid"),
    "Sign": function("sign"),
    "Sin": function("sin"),
    "Sinh": function("sinh"),
    "Softplus": function("activations.softplus"),
    "Softsign": function("activations.softsign"),
    "Sqrt": function("sqrt"),
    "Sub": binary(elements.subtracted),
    "Sum": lambda draft, node, *xs: reduce(lambda a, b: broadcast(draft, plus, a, b), map(draft.value, xs)),
    "Swish": swish,
    "Tan": function("tan"),
    "Tanh": function("tanh"),
    "ThresholdedRelu": thresholded,
    "Where": where,
    "Xor": comparison("Xor({}, {})"),
}
