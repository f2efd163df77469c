"""Products of matrices and sums over axes: dense layers, and sums of products as formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing import elements
from derivgen.importing.draft import DYNAMIC, Constant, Draft, Operand
from derivgen.importing.elements import Element, Number, Over, Read, Size, Value, call
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.operators.elementwise import broadcast, same_axis
from derivgen.importing.operators.views import integers, labels_of, moved


def gemm(draft: Draft, node: Node, a: Operand, b: Operand, c: Operand = None) -> Value:
    if not isinstance(b, Constant) or not isinstance(a, Value) or not (c is None or isinstance(c, Constant)):
        raise Refusal("a product A·B + C of which B or C is no constant is not covered: use MatMul and Add")
    x = replace(a, axes=a.axes[::-1]) if node.get("transA") else a
    W = (b.array.T if node.get("transB") else b.array) * b.array.dtype.type(node.get("alpha", 1.0))
    draft.share(b, c)
    return dense(draft, node, x, W, bias_of(node, c, W.shape[1]), b, c)


def bias_of(node: Node, c: Constant | None, units: int) -> np.ndarray | None:
    """beta·C, a number for each unit."""
    if c is None:
        return None
    if c.array.size != 1 and not c.array.size == c.array.shape[-1] == units:
        raise Refusal("a product with another matrix added is not covered: use MatMul and Add")
    return np.broadcast_to(c.array.reshape(-1), (units,)) * c.array.dtype.type(node.get("beta", 1.0))


def dense(draft: Draft, node: Node, x: Value, W: np.ndarray, bias: np.ndarray | None, *named: Operand) -> Value:
    """layers.dense along the last axis."""
    if draft.extent(x.axes[-1]) != W.shape[0]:
        raise Refusal(f"a product over {draft.extent(x.axes[-1])} elements needs as many weights: {DYNAMIC}")
    name = draft.called(node, "dense", *named)
    source, over = draft.rows(x)
    weights = {"_W": W} | ({} if bias is None else {"_b": bias})
    absent = False if bias is None else None
    units, shape = W.shape[1], source.shape[:-1]
    tensor = draft.layer("layers.dense", source, name, (*shape, units), units, weights=weights, bias=absent)
    tensor.statement.named_after = next((c.name for c in named if isinstance(c, Constant) and c.name), "")
    last = draft.axis(units, "k")
    return Value((*x.axes[:-1], last), Read(tensor, (*over, *(last or (sp.S.Zero,)))), alone=True)


def matmul(draft: Draft, node: Node, a: Operand, b: Operand) -> Value:
    if isinstance(a, Value) and isinstance(b, Constant) and b.array.ndim == 2:
        draft.share(b)
        return dense(draft, node, a, b.array, None, b)
    p, q = (draft.simple(draft.value(x)) for x in (a, b))
    row, column = len(p.axes) > 1, len(q.axes) > 1
    k, of_p, of_q = same_axis(draft, p.axes[-1], q.axes[-2] if column else q.axes[-1])
    p = Value((*p.axes[:-1], ()) if row else ((), ()), p.element.replaced(of_p))
    q = Value((*q.axes[:-2], (), q.axes[-1]) if column else ((), ()), q.element.replaced(of_q))
    result = broadcast(draft, lambda x, y: summed(elements.multiplied(x, y), k), p, q)
    kept = [axis for axis, there in zip(result.axes[-2:], (row, column), strict=True) if there]
    name = draft.called(node, word_of_product(draft, node, a))
    return replace(result, axes=(*result.axes[:-2], *kept), name=name)


def word_of_product(draft: Draft, node: Node, a: Operand) -> str:
    """`scores` before a softmax, `context` after one."""
    if leads_to(draft, node.outputs[0], "Softmax"):
        return "scores"
    statement = getattr(getattr(getattr(a, "element", None), "tensor", None), "statement", None)
    softmax = getattr(statement, "function", "") == "activations.softmax" or getattr(statement, "is_softmax", False)
    return "context" if softmax else "product"


def leads_to(draft: Draft, name: str, operator: str, steps: int = 4) -> bool:
    users = draft.graph.consumers(name)
    on = [node for node in users if node.operator in ("Mul", "Div", "Add", "Where", "Cast")]
    return any(n.operator == operator for n in users) or (
        steps > 0 and any(leads_to(draft, n.outputs[0], operator, steps - 1) for n in on)
    )


def summed(product: Element, over: tuple[sp.Symbol, ...]) -> Element:
    """The sum, with a number that all terms have before it."""
    product, factor = elements.factored(product)
    return elements.scaled(factor, Over("Sum", product, over) if over else product)


def einsum_letters(node: Node) -> tuple[str, str]:
    """What stands before the arrow, and after it."""
    left, _, right = node.get("equation").replace(" ", "").partition("->")
    if "." in left or not right:
        raise Refusal("an einsum with dots, or without ->, is not covered: write all of its letters")
    return left, right


def einsum(draft: Draft, node: Node, *operands: Operand) -> Value:
    left, right = einsum_letters(node)
    axes: dict[str, Any] = {}
    element: Element = Number(1)
    for letters, x in zip(left.split(","), operands, strict=True):
        value = draft.simple(draft.value(x))
        for letter, own in zip(letters, value.axes, strict=True):
            axes[letter], before, after = same_axis(draft, axes.get(letter, ()), own)
            element, value = element.replaced(before), replace(value, element=value.element.replaced(after))
        element = elements.multiplied(element, value.element)
    gone = (i for letter, axis in axes.items() if letter not in right for i in axis)
    return Value(tuple(axes[letter] for letter in right), summed(element, tuple(gone)))


# ---- along axes


def reduction(combine: Callable[[Element, tuple[sp.Symbol, ...], sp.Expr], Element]) -> Any:
    def apply(draft: Draft, node: Node, x: Value, axes: Constant | None = None) -> Value:
        given = integers(axes) if axes else node.get("axes") or []
        everything = range(0 if node.get("noop_with_empty_axes") else len(x.axes))
        gone = {a % len(x.axes) for a in given} or {*everything}
        value = draft.value(x)
        over = tuple(i for k in sorted(gone) for i in value.axes[k])
        element = combine(value.element, over, draft.extent(over)) if over else value.element
        kept = [() if k in gone else axis for k, axis in enumerate(value.axes)]
        left = kept if node.get("keepdims", 1) else [axis for k, axis in enumerate(kept) if k not in gone]
        return Value(tuple(left), element)

    return apply


def mean_of(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    count = Number(float(size)) if size.is_Integer else Size(size)
    return elements.divided(summed(element, over), count)


def total(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return summed(element, over)


def norm(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return call("sqrt", squares(element, over, size))


def squares(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return Over("Sum", elements.power(element, Number(2)), over)


def magnitudes(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return Over("Sum", call("Abs", element), over)


def log_total(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return call("log", summed(element, over))


def maximum(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return Over("MaxOver", element, over)


def minimum(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return elements.negated(Over("MaxOver", elements.negated(element), over))


def log_sum(element: Element, over: tuple[sp.Symbol, ...], size: sp.Expr) -> Element:
    return call("log", Over("Sum", call("exp", element), over))


def softmax(draft: Draft, node: Node, x: Value) -> Value:
    """Along the last axis by the library; under a mask, or along another axis, as a formula."""
    axis = node.get("axis", -1) % len(x.axes)
    word = "log_softmax" if node.operator == "LogSoftmax" else "softmax"
    name = draft.called(node, "weights" if leads_to(draft, node.outputs[0], "MatMul") else word)
    value = moved(x, axis, len(x.axes) - 1)
    if isinstance(x.element, elements.Formula) and x.element.form == "Piecewise({}, {})" and word == "softmax":
        return masked_softmax(draft, x, x.axes[axis], name)
    source, over = draft.rows(value)
    tensor = draft.layer(f"activations.{word}", source, name, source.shape)
    return replace(x, element=Read(tensor, (*over, draft.joined(x.axes[axis]))), alone=True)


def masked_softmax(draft: Draft, x: Value, over: tuple[sp.Symbol, ...], name: str) -> Value:
    """exp(z)/Σ exp(z) over what is seen, 0 elsewhere; z is a let of its own."""
    (value, seen), *_ = (tuple(part.parts()) for part in x.element.parts())
    scores = draft.named(replace(x, element=value))
    power = call("exp", scores.element)
    total = Over("Sum", elements.piecewise(power, seen, Number(0)), over)
    element = elements.piecewise(elements.divided(power, total), seen, Number(0))
    result = draft.named(replace(x, element=element, name=name))
    assert isinstance(result.element, Read)
    result.element.tensor.statement.is_softmax = True
    return result


def lp_normalized(draft: Draft, node: Node, x: Value) -> Value:
    """x over its norm along an axis, 0 where that is 0."""
    value = draft.fresh(draft.simple(x))
    axis, of = node.get("axis", -1), magnitudes if node.get("p", 2) == 1 else norm
    over = value.axes[axis]
    length = replace(value, axes=tuple(() if a is over else a for a in value.axes), element=of(value.element, over, 1))
    below = draft.named(replace(length, name="norm"))
    return broadcast(draft, over_length, value, below)


def over_length(x: Element, length: Element) -> Element:
    there = elements.Formula("{} > {}", (length, Number(0)), elements.CONDITION)
    return elements.piecewise(elements.divided(x, length), there, Number(0))


# ---- places along an axis


def along_axis(layer: str) -> Callable[..., Value]:
    """A layer of the same shape along an axis, of which `exclusive` and `reverse` may be asked."""

    def apply(draft: Draft, node: Node, x: Value, axis: Constant) -> Value:
        source, rank, (at,) = draft.tensor(x), len(x.axes), integers(axis)
        options: dict[str, Any] = {word: True for word in ("exclusive", "reverse") if node.get(word)}
        options["axis"] = None if at % rank == rank - 1 else at % rank
        name = draft.called(node, layer.removeprefix("layers."))
        return draft.whole(draft.layer(layer, source, name, source.shape, **options))

    return apply


def place(draft: Draft, node: Node, x: Value) -> Value:
    """ArgMax and ArgMin."""
    source, axis, layer = draft.tensor(x), node.get("axis", 0) % len(x.axes), node.operator.lower()
    shape = [*source.shape[:axis], *source.shape[axis + 1 :]]
    option = None if axis == len(shape) else axis
    tensor = draft.layer(f"layers.{layer}", source, draft.called(node, layer), shape, axis=option)
    value = draft.whole(tensor)
    return replace(value, axes=(*value.axes[:axis], *[()] * node.get("keepdims", 1), *value.axes[axis:]))


def one_hot(draft: Draft, node: Node, ids: Operand, depth: Constant, values: Constant) -> Value:
    """1 at the id, and 0 elsewhere; other values by a formula."""
    value, read, classes = labels_of(ids, int(depth.array.reshape(-1)[0]), "a one-hot code")
    at = node.get("axis", -1) % (len(value.axes) + 1)
    tensor = draft.layer("layers.one_hot", read.tensor, draft.called(node, "one_hot"), (*read.tensor.shape, classes))
    last, (off, on) = draft.axis(classes, "c"), values.array.reshape(-1).tolist()
    element = elements.scaled(on - off, Read(tensor, (*read.subscripts, draft.joined(last))))
    axes = (*value.axes[:at], last, *value.axes[at:])
    return Value(axes, elements.added(element, Number(off)) if off else element, alone=True)


TABLE: dict[str, Callable[..., Any]] = {
    "ArgMax": place,
    "ArgMin": place,
    "CumProd": along_axis("layers.cumprod"),
    "CumSum": along_axis("layers.cumsum"),
    "Einsum": einsum,
    "Gemm": gemm,
    "LogSoftmax": softmax,
    "LpNormalization": lp_normalized,
    "MatMul": matmul,
    "OneHot": one_hot,
    "ReduceL1": reduction(magnitudes),
    "ReduceL2": reduction(norm),
    "ReduceLogSum": reduction(log_total),
    "ReduceLogSumExp": reduction(log_sum),
    "ReduceMax": reduction(maximum),
    "ReduceMin": reduction(minimum),
    "ReduceSum": reduction(total),
    "ReduceSumSquare": reduction(squares),
    "Softmax": softmax,
}
