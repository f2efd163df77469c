"""Convolutions, pools and normalizations: calls of the layers. Sequences are (batch, channel, time) in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.draft import Constant, Draft, text_of
from derivgen.importing.elements import Read, Tensor, Value
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.names import is_given


def laid_out(draft: Draft, x: Value) -> Tensor:
    """The tensor as derivgen has it: (batch, time, channel), or (batch, channel, row, column)."""
    if len(x.axes) > 4:
        raise Refusal("windows over three axes are not covered: use one or two")
    axes = (x.axes[0], x.axes[2], x.axes[1]) if len(x.axes) == 3 else x.axes
    return draft.tensor(replace(x, axes=axes))


def as_in_onnx(draft: Draft, tensor: Tensor) -> Value:
    """The opposite."""
    value = draft.whole(tensor, {3: "ntc", 4: "ncij"}.get(len(tensor.shape), "nc"))
    return replace(value, axes=(value.axes[0], value.axes[2], value.axes[1])) if len(value.axes) == 3 else value


def convolution(draft: Draft, node: Node, x: Value, w: Constant, b: Constant | None = None) -> Value:
    filters, _, *taps = w.array.shape
    strides, dilations, pads = numbers(node, taps)
    source, padding = laid_out(draft, x), paddings(pads, dilations, taps)
    each = zip(spatial(source), taps, strides, dilations, pads, strict=True)
    shape = arranged(source.shape[0], filters, [positions(*axis) for axis in each])
    options = {"stride": unless(strides, 1), "padding": unless(padding, 0), "dilation": unless(dilations, 1)}
    options["groups"] = unless([node.get("group", 1)], 1)
    return convolved(draft, node, f"layers.conv{len(taps)}d", source, w, b, shape, options)


def transposed(draft: Draft, node: Node, x: Value, w: Constant, b: Constant | None = None) -> Value:
    _, filters, *taps = w.array.shape
    source, (strides, dilations, pads) = laid_out(draft, x), numbers(node, taps)
    more, padding = node.get("output_padding") or [0] * len(taps), [low for low, _ in pads]
    each = zip(spatial(source), taps, strides, dilations, padding, more, strict=True)
    places = [(size - 1) * s - 2 * p + d * (k - 1) + o + 1 for size, k, s, d, p, o in each]
    options = {"stride": unless(strides, 1), "padding": unless(padding, 0), "output_padding": unless(more, 0)}
    options["dilation"] = unless(dilations, 1)
    shape = arranged(source.shape[0], filters, places)
    return convolved(draft, node, f"layers.conv_transpose{len(taps)}d", source, w, b, shape, options)


def convolved(
    draft: Draft,
    node: Node,
    layer: str,
    source: Tensor,
    w: Constant,
    b: Constant | None,
    shape: tuple[Any, ...],
    options: dict[str, Any],
) -> Value:
    """The call of a convolution with its weights."""
    draft.share(w, b)
    weights = {"_W": w.array} | ({} if b is None else {"_b": b.array})
    filters, taps = shape[-1] if len(shape) == 3 else shape[1], w.array.shape[2:]
    options |= {"bias": False if b is None else None}
    name = draft.called(node, "conv", w, b)
    return as_in_onnx(draft, draft.layer(layer, source, name, shape, filters, taps, weights=weights, **options))


def pool(draft: Draft, node: Node, x: Value) -> Value:
    taps, word = list(node.get("kernel_shape")), "max" if node.operator == "MaxPool" else "avg"
    name = draft.called(node, "pool")
    source, (strides, dilations, pads) = laid_out(draft, x), numbers(node, taps)
    padding = paddings(pads, dilations, taps)
    if word == "avg" and any(map(sum, pads)) and not node.get("count_include_pad", 0):
        raise Refusal("a mean without its padding is not covered: use count_include_pad=True, or no padding")
    if any(2 * max(pad) > k for pad, k in zip(pads, taps, strict=True)):
        raise Refusal("a padding of more than half of the window is not covered: pad with a node Pad before it")
    each = zip(spatial(source), taps, strides, dilations, pads, strict=True)
    shape = arranged(source.shape[0], channels(source), [positions(*numbers) for numbers in each])
    options: dict[str, Any] = {"stride": None if strides == taps else text_of(strides), "padding": unless(padding, 0)}
    return as_in_onnx(draft, draft.layer(f"layers.{word}_pool{len(taps)}d", source, name, shape, taps, **options))


def global_pool(draft: Draft, node: Node, x: Value) -> Value:
    word = "max" if node.operator == "GlobalMaxPool" else "avg"
    name = draft.called(node, "pool")
    source = laid_out(draft, x)
    tensor = draft.layer(f"layers.global_{word}_pool", source, name, (source.shape[0], channels(source)))
    value = as_in_onnx(draft, tensor)
    return replace(value, axes=(*value.axes, *[()] * (len(x.axes) - 2)))


def batch_norm(
    draft: Draft, node: Node, x: Value, scale: Constant, shift: Constant, mean: Constant, variance: Constant
) -> Value:
    draft.share(scale, shift)
    name = draft.called(node, "norm", scale, shift, mean)
    momentum = round(1 - node.get("momentum", 0.9), 6)
    weights = {"_gain": scale.array, "_shift": shift.array}
    weights |= {"_running_mean": mean.array, "_running_variance": variance.array}
    options = {"momentum": None if momentum == 0.1 else momentum, "epsilon": epsilon(node)}
    source = laid_out(draft, x)
    return as_in_onnx(draft, draft.layer("layers.batch_norm", source, name, source.shape, weights=weights, **options))


def layer_norm(draft: Draft, node: Node, x: Value, scale: Constant, shift: Constant | None = None) -> Value:
    if node.get("axis", -1) % len(x.axes) != len(x.axes) - 1:
        raise Refusal("a norm over several axes is not covered: flatten them, or normalize the last one alone")
    draft.share(scale, shift)
    name = draft.called(node, "norm", scale, shift)
    source, over = draft.rows(x)
    weights, options = gain_and_shift(scale, shift)
    options["epsilon"] = epsilon(node)
    tensor = draft.layer("layers.layer_norm", source, name, source.shape, weights=weights, **options)
    last = draft.axis(source.shape[-1], "d")
    return Value((*x.axes[:-1], last), Read(tensor, (*over, *(last or (sp.S.Zero,)))), alone=True)


def gain_and_shift(scale: Constant | None, shift: Constant | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(the weights, the options) of a norm; what only multiplies by 1 or adds 0, and has no name, is left out."""
    pairs = (("_gain", "scale", scale, 1), ("_shift", "center", shift, 0))
    there = {e: c.array for e, _, c, neutral in pairs if c and (is_given(c.name) or (c.array != neutral).any())}
    return there, {option: None if ending in there else False for ending, option, _, _ in pairs}


def group_norm(draft: Draft, node: Node, x: Value, scale: Constant, shift: Constant) -> Value:
    """InstanceNormalization and GroupNormalization; the first also of groups, as PyTorch exports nn.GroupNorm."""
    draft.share(scale, shift)
    grouped = tensor_of_groups(draft, x)
    source, groups = grouped or laid_out(draft, x), node.get("num_groups", draft.extent(x.axes[1]))
    found, options = gain_and_shift(scale, shift)
    weights = {ending: spread(array, channels(source)) for ending, array in found.items()}
    name, options["epsilon"] = draft.called(node, "norm", scale, shift), epsilon(node)
    tensor = draft.layer("layers.group_norm", source, name, source.shape, groups, weights=weights, **options)
    if grouped and isinstance(x.element, Read):
        return replace(x, element=replace(x.element, tensor=tensor), alone=True, name="")
    return as_in_onnx(draft, tensor)


def spread(array: np.ndarray, count: sp.Expr) -> np.ndarray:
    """A value for each channel, from one for each group."""
    return np.repeat(array, int(count) // array.size)


def tensor_of_groups(draft: Draft, x: Value) -> Tensor | None:
    """The images whose channels this value has in groups: (batch, group, all else)."""
    if not isinstance(x.element, Read) or len(x.axes) != 3 or len(x.element.tensor.shape) != 4:
        return None
    _, c, *places = x.element.subscripts
    (group, within) = (x.axes[1], x.axes[2][: len(x.axes[2]) - 2])
    channel = sum((draft.extent(within) * g for g in group), sp.S.Zero) + sum(within, sp.S.Zero)
    return x.element.tensor if sp.expand(c - channel) == 0 and tuple(places) == x.axes[2][-2:] else None


# ---- numbers


def numbers(node: Node, taps: Sequence[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """(strides, dilations, paddings before and after) of each axis."""
    count = len(taps)
    strides, dilations = (list(node.get(word) or [1] * count) for word in ("strides", "dilations"))
    if str(node.get("auto_pad", "NOTSET")).startswith("SAME"):
        if any(s > 1 for s in strides) or any(d * (k - 1) % 2 for d, k in zip(dilations, taps, strict=True)):
            raise Refusal("auto_pad SAME of an even window, or with a stride, is not covered: give numbers")
        return strides, dilations, [(d * (k - 1) // 2,) * 2 for d, k in zip(dilations, taps, strict=True)]
    pads = list(node.get("pads") or [0] * 2 * count)
    return strides, dilations, list(zip(pads[:count], pads[count:], strict=True))


def paddings(pads: Sequence[tuple[int, int]], dilations: Sequence[int], taps: Sequence[int]) -> list[int] | str:
    """The argument `padding`."""
    if all(before == after for before, after in pads):
        return [before for before, _ in pads]
    if len(pads) == 1 and pads[0] == (dilations[0] * (taps[0] - 1), 0):
        return '"causal"'
    raise Refusal(f"paddings {pads[0]} that differ are not covered: pad with a node Pad before it")


def positions(length: sp.Expr, taps: int, stride: int, dilation: int, pad: tuple[int, int]) -> sp.Expr:
    last = length + sum(pad) - dilation * (taps - 1) - 1
    if stride > 1 and not last.is_Integer:
        raise Refusal(f"a stride of {stride} needs a size that is known: export the model with this axis fixed")
    return last // stride + 1 if stride > 1 else last + 1


def spatial(x: Tensor) -> tuple[sp.Expr, ...]:
    return x.shape[1:-1] if len(x.shape) < 4 else x.shape[2:]


def channels(x: Tensor) -> sp.Expr:
    return x.shape[-1] if len(x.shape) < 4 else x.shape[1]


def arranged(batch: Any, count: Any, places: Sequence[Any]) -> tuple[Any, ...]:
    return (batch, *places, count) if len(places) < 2 else (batch, count, *places)


def unless(values: Any, default: int) -> str | None:
    """The argument's text where it is not the default."""
    if isinstance(values, str):
        return values
    return None if all(v == default for v in values) else text_of(list(values))


def epsilon(node: Node) -> float | None:
    value = float(str(np.float32(node.get("epsilon", 1e-5))))
    return None if value == 1e-5 else value


TABLE: dict[str, Callable[..., Any]] = {
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Conv": convolution,
    "ConvTranspose": transposed,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "GroupNormalization": group_norm,
    "InstanceNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "MaxPool": pool,
}
