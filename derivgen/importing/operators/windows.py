"""Convolutions, pools and normalizations: calls of the layers. Sequences are (batch, channel, time) in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.draft import Constant, Draft, text_of
from derivgen.importing.elements import Read, Tensor, Value, call
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.names import is_given
from derivgen.importing.operators.products import dense, mean_of, reduction
from derivgen.importing.operators.views import integers
from derivgen.layers.windows import Window, as_many_after, as_many_before


def laid_out(draft: Draft, x: Value) -> Tensor:
    """The tensor as derivgen has it: (batch, time, channel), or (batch, channel, row, column), or with a depth."""
    if len(x.axes) > 5:
        raise Refusal("windows over more than three axes are not covered: use up to three")
    axes = (x.axes[0], x.axes[2], x.axes[1]) if len(x.axes) == 3 else x.axes
    return draft.tensor(replace(x, axes=axes))


def as_in_onnx(draft: Draft, tensor: Tensor) -> Value:
    """The opposite."""
    value = draft.whole(tensor, {3: "ntc", 4: "ncij", 5: "ncdij"}.get(len(tensor.shape), "nc"))
    return replace(value, axes=(value.axes[0], value.axes[2], value.axes[1])) if len(value.axes) == 3 else value


def convolution(draft: Draft, node: Node, x: Value, w: Constant, b: Constant | None = None) -> Value:
    filters, _, *taps = w.array.shape
    if not any(x.axes[2:]) and {*taps, node.get("group", 1)} == {1} and not any(node.get("pads") or ()):
        return of_one_place(draft, node, x, w, b)
    source = laid_out(draft, x)
    frames = windows(node, source, taps)
    shape = arranged(source.shape[0], filters, [f.positions for f in frames])
    options = {"stride": unless([f.stride for f in frames], 1), "padding": padding_of(node, frames)}
    options |= {"dilation": unless([f.dilation for f in frames], 1), "groups": unless([node.get("group", 1)], 1)}
    source, margins = without_margins(x, source, frames)
    options |= margins
    return convolved(draft, node, f"layers.conv{len(taps)}d", source, w, b, shape, options)


def without_margins(x: Value, source: Tensor, frames: Sequence[Window]) -> tuple[Tensor, dict[str, str]]:
    """(what a pad before a convolution pads, the arguments that stand for it); the tensor itself where none does."""
    pad = source.statement
    if not x.alone or getattr(pad, "function", "") != "layers.pad" or "value" in pad.options:
        return source, {}
    if any(any(f.around) for f in frames):
        return source, {}
    padding, *mode = pad.arguments
    padding = '"causal"' if padding == f"({frames[0].reach}, 0)" and not mode and len(frames) == 1 else padding
    return pad.sources[0], {"padding": padding, **({"padding_mode": mode[0]} if mode else {})}


def of_one_place(draft: Draft, node: Node, x: Value, w: Constant, b: Constant | None) -> Value:
    """A convolution of one tap on images of one element is a dense layer."""
    draft.share(w, b)
    W, bias = w.array.reshape(w.array.shape[:2]).T, None if b is None or is_absent(b) else b.array
    value = dense(draft, node, replace(x, axes=x.axes[:2]), W, bias, w, b)
    return replace(value, axes=(*value.axes, *x.axes[2:]))


def is_absent(b: Constant) -> bool:
    """Whether a bias is the zero that exporters write where there is none."""
    return not is_given(b.name) and not b.array.any()


def transposed(draft: Draft, node: Node, x: Value, w: Constant, b: Constant | None = None) -> Value:
    _, filters, *taps = w.array.shape
    groups, source = node.get("group", 1), laid_out(draft, x)
    more = list(node.get("output_padding") or [0] * len(taps))
    frames = scatters(node, source, taps, more)
    places = [(f.length - 1) * f.stride - sum(f.around) + f.reach + o + 1 for f, o in zip(frames, more, strict=True)]
    options = {"stride": unless([f.stride for f in frames], 1), "padding": padding_of(node, frames)}
    options |= {"output_padding": unless(more, 0), "dilation": unless([f.dilation for f in frames], 1)}
    shape, options["groups"] = arranged(source.shape[0], filters * groups, places), unless([groups], 1)
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
    b = None if b is None or is_absent(b) else b
    draft.share(w, b)
    weights = {"_W": w.array} | ({} if b is None else {"_b": b.array})
    filters, taps = shape[-1] if len(shape) == 3 else shape[1], w.array.shape[2:]
    options |= {"bias": False if b is None else None}
    name = draft.called(node, "conv", w, b)
    return as_in_onnx(draft, draft.layer(layer, source, name, shape, filters, taps, weights=weights, **options))


def pool(draft: Draft, node: Node, x: Value) -> Value:
    taps, name = list(node.get("kernel_shape")), draft.called(node, "pool")
    source = laid_out(draft, x if not odd_power(node) else magnitude(draft, x))
    frames = windows(node, source, taps)
    if any(2 * max(f.around) > f.reach + 1 for f in frames):
        raise Refusal("a padding of more than half of the window is not covered: pad with a node Pad before it")
    layer, arguments = f"layers.{POOLS[node.operator]}_pool{len(taps)}d", [*powers(node), taps]
    shape = arranged(source.shape[0], channels(source), [f.positions for f in frames])
    return as_in_onnx(draft, draft.layer(layer, source, name, shape, *arguments, **pool_options(node, frames)))


def pool_options(node: Node, frames: Sequence[Window]) -> dict[str, Any]:
    """The arguments that are not the layer's defaults."""
    strides, uncounted = (
        [f.stride for f in frames],
        node.operator == "AveragePool" and any(any(f.around) for f in frames),
    )
    options: dict[str, Any] = {"stride": None if strides == [f.taps for f in frames] else text_of(strides)}
    options |= {"padding": padding_of(node, frames), "dilation": unless([f.dilation for f in frames], 1)}
    options["ceil_mode"] = True if any(f.spare for f in frames) else None
    options["count_include_pad"] = False if uncounted and not node.get("count_include_pad", 0) else None
    return options


POOLS = {"AveragePool": "avg", "GlobalAveragePool": "avg", "GlobalLpPool": "lp", "GlobalMaxPool": "max"}
POOLS |= {"LpPool": "lp", "MaxPool": "max"}


def powers(node: Node) -> list[int]:
    """The argument norm_type."""
    return [node.get("p", 2)] if node.operator == "LpPool" else []


def odd_power(node: Node) -> bool:
    """Whether the sign of an element counts in a power, as it does in the library and not in ONNX."""
    return bool(sum(powers(node)) % 2)


def magnitude(draft: Draft, x: Value) -> Value:
    return replace(x, element=call("Abs", x.element), alone=False, name="magnitude")


def global_pool(draft: Draft, node: Node, x: Value) -> Value:
    word, name, source = POOLS[node.operator], draft.called(node, "pool"), laid_out(draft, x)
    power = [node.get("p", 2)] if word == "lp" and node.get("p", 2) != 2 else []
    tensor = draft.layer(f"layers.global_{word}_pool", source, name, (source.shape[0], channels(source)), *power)
    value = as_in_onnx(draft, tensor)
    return replace(value, axes=(*value.axes, *[()] * (len(x.axes) - 2)))


def mean_over_places(draft: Draft, node: Node, x: Value, axes: Constant | None = None) -> Value:
    """ReduceMean, which is a global pool where it is one over all places of images or volumes."""
    given = sorted(a % len(x.axes) for a in (integers(axes) if axes else node.get("axes") or ()))
    plain = isinstance(x.element, Read) and all(len(axis) == 1 for axis in x.axes)
    if not (plain and len(x.axes) in (4, 5) and given == [*range(2, len(x.axes))]):
        return mean(draft, node, x, axes)
    value = global_pool(draft, replace(node, operator="GlobalAveragePool"), x)
    return value if node.get("keepdims", 1) else replace(value, axes=value.axes[:2])


mean = reduction(mean_of)


def local_response_norm(draft: Draft, node: Node, x: Value) -> Value:
    size, source = node.get("size"), laid_out(draft, x)
    if size % 2 == 0:
        raise Refusal("an even size is not covered, whose odd channel is after the others: use an odd one")
    given = (("alpha", "alpha", 1e-4), ("beta", "beta", 0.75), ("k", "bias", 1.0))
    found = {key: float(str(np.float32(node.get(attribute, default)))) for key, attribute, default in given}
    options: dict[str, Any] = {key: found[key] if found[key] != default else None for key, _, default in given}
    name = draft.called(node, "norm")
    return as_in_onnx(draft, draft.layer("layers.local_response_norm", source, name, source.shape, size, **options))


def resize(draft: Draft, node: Node, x: Value, *sized: Constant | None) -> Value:
    """Each element so many times, by whole factors."""
    factors = enlarged(draft, node, x, *sized)
    if not is_nearest(node) or factors[:2] != [1, 1] or not all(f.is_Integer and f.is_positive for f in factors):
        raise Refusal("only mode nearest with whole factors is covered: use nn.Upsample(scale_factor=2)")
    if all(f == 1 for f in factors):
        return x
    source, name = laid_out(draft, x), draft.called(node, "upsampled")
    places = [f * size for f, size in zip(factors[2:], spatial(source), strict=True)]
    shape = arranged(source.shape[0], channels(source), places)
    return as_in_onnx(draft, draft.layer("layers.upsample", source, name, shape, factors[2:]))


def enlarged(
    draft: Draft, node: Node, x: Value, _: Any = None, scales: Constant | None = None, sizes: Constant | None = None
) -> list[sp.Expr]:
    """The factor of each axis."""
    shape, found = draft.shape(x), [sp.S.One] * len(x.axes)
    given = (sizes or scales).array.reshape(-1)  # type: ignore[union-attr]
    for axis, number in zip(node.get("axes") or range(len(given)), given, strict=True):
        found[axis] = sp.cancel(sp.sympify(number) / shape[axis]) if sizes else sp.nsimplify(float(number))
    return found


def is_nearest(node: Node) -> bool:
    """Whether whole factors repeat elements: places are rounded around their middles, or cut to their beginnings."""
    place, rounded = node.get("coordinate_transformation_mode", "half_pixel"), node.get("nearest_mode", "round")
    fits = rounded == "floor" if place == "asymmetric" else "half_pixel" in place and rounded.startswith("round")
    return bool(node.get("mode", "nearest") == "nearest" and fits)


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
    """LayerNormalization and RMSNormalization, along the last axes."""
    first = node.get("axis", -1) % len(x.axes)
    if first < len(x.axes) - 1:
        return norm_over_axes(draft, node, x, range(first, len(x.axes)), scale, shift)
    draft.share(scale, shift)
    name = draft.called(node, "norm", scale, shift)
    source, over = draft.rows(x)
    layer, weights, options = norm_of(node, scale, shift)
    tensor = draft.layer(layer, source, name, source.shape, weights=weights, **options)
    last = draft.axis(source.shape[-1], "d")
    return Value((*x.axes[:-1], last), Read(tensor, (*over, *(last or (sp.S.Zero,)))), alone=True)


def norm_of(
    node: Node, scale: Constant | None, shift: Constant | None
) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
    """(the layer, its weights, its options)"""
    weights, options = gain_and_shift(scale, shift)
    if node.operator == "RMSNormalization":
        return "layers.rms_norm", weights, {"scale": options["scale"], "epsilon": epsilon(node, 1e-6)}
    return "layers.layer_norm", weights, options | {"epsilon": epsilon(node)}


def norm_over_axes(
    draft: Draft, node: Node, x: Value, axes: Sequence[int], scale: Constant | None, shift: Constant | None
) -> Value:
    if 0 in axes:
        raise Refusal("a norm over the batch is not covered: normalize the axes after it")
    draft.share(scale, shift)
    source, name = draft.tensor(x), draft.called(node, "norm", scale, shift)
    layer, weights, options = norm_of(node, scale, shift)
    own = tuple(int(source.shape[k]) for k in axes)
    weights = {ending: np.broadcast_to(array, own) for ending, array in weights.items()}
    options["axis"] = f"({', '.join(map(str, axes))})"
    return draft.whole(draft.layer(layer, source, name, source.shape, weights=weights, **options))


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
    layer, given = ("group_norm", [groups]) if grouped or "num_groups" in node.attributes else ("instance_norm", [])
    tensor = draft.layer(f"layers.{layer}", source, name, source.shape, *given, weights=weights, **options)
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


def windows(node: Node, source: Tensor, taps: Sequence[int]) -> list[Window]:
    """A window for each spatial axis."""
    bare = [with_known_steps(Window(*each)) for each in zip(spatial(source), taps, *steps(node, taps), strict=True)]
    return [over_the_end(node, replace(w, around=p)) for w, p in zip(bare, paddings(node, bare), strict=True)]


def steps(node: Node, taps: Sequence[int]) -> list[list[int]]:
    """The strides and the dilations."""
    return [list(node.get(word) or [1] * len(taps)) for word in ("strides", "dilations")]


def with_known_steps(w: Window) -> Window:
    if w.stride > 1 and not w.length.is_Integer:
        raise Refusal(f"a stride of {w.stride} needs a size that is known: export the model with this axis fixed")
    return w


def over_the_end(node: Node, w: Window) -> Window:
    """The window, with what a last one needs that starts on the axis, under ceil_mode."""
    rest = -w.last % w.stride if node.get("ceil_mode") and w.stride > 1 else 0
    return replace(w, spare=int(rest)) if rest and w.last + rest < w.length + w.around[0] else w


def paddings(node: Node, frames: Sequence[Window]) -> list[tuple[int, int]]:
    """What is added (before, after) each axis."""
    word, count = node.get("auto_pad", "NOTSET"), len(frames)
    if word in SAME:
        return [SAME[word](w) for w in frames]
    pads = list(node.get("pads") or [0] * 2 * count)
    return list(zip(pads[:count], pads[count:], strict=True))


SAME = {"SAME_UPPER": as_many_after, "SAME_LOWER": as_many_before}


def padding_of(node: Node, frames: Sequence[Window]) -> str | None:
    """The argument `padding`: a word, numbers, or pairs where they differ before and after."""
    arounds, word = [w.around for w in frames], "" if node.operator == "ConvTranspose" else node.get("auto_pad")
    if all(before == after for before, after in arounds):
        return unless([before for before, _ in arounds], 0)
    if len(frames) == 1 and arounds[0] == (frames[0].reach, 0):
        return '"causal"'
    return f'"{word.lower()}"' if word in SAME else text_of(arounds[0]) if len(frames) == 1 else str(tuple(arounds))


def scatters(node: Node, source: Tensor, taps: Sequence[int], more: list[int]) -> list[Window]:
    """What a transposed convolution is the opposite of; `more`, its output_padding, grows where a shape asks for it."""
    bare = [Window(*each) for each in zip(spatial(source), taps, *steps(node, taps), strict=True)]
    same, arounds = node.get("auto_pad", "NOTSET") in SAME, paddings(node, bare)
    wanted = node.get("output_shape") or [w.length * w.stride if same else None for w in bare]
    for k, (w, size) in enumerate(zip(bare, wanted[-len(bare) :], strict=True)):
        if size is not None:
            rest = int((w.length - 1) * w.stride + w.reach + 1 + more[k] - size)
            half = (rest // 2, rest - rest // 2)
            arounds[k] = (0, 0) if rest < 0 else half if node.get("auto_pad") == "SAME_UPPER" else half[::-1]
            more[k] += max(0, -rest)
    return [replace(w, around=p) for w, p in zip(bare, arounds, strict=True)]


def spatial(x: Tensor) -> tuple[sp.Expr, ...]:
    return x.shape[1:-1] if len(x.shape) < 4 else x.shape[2:]


def channels(x: Tensor) -> sp.Expr:
    return x.shape[-1] if len(x.shape) < 4 else x.shape[1]


def arranged(batch: Any, count: Any, places: Sequence[Any]) -> tuple[Any, ...]:
    return (batch, *places, count) if len(places) < 2 else (batch, count, *places)


def unless(values: Sequence[int], default: int) -> str | None:
    """The argument's text where it is not the default."""
    return None if all(v == default for v in values) else text_of(list(values))


def epsilon(node: Node, usual: float = 1e-5) -> float | None:
    """An epsilon that is not the layer's usual one."""
    value = float(str(np.float32(node.get("epsilon", 1e-5))))
    return None if value == usual else value


TABLE: dict[str, Callable[..., Any]] = {
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Conv": convolution,
    "ConvTranspose": transposed,
    "GlobalAveragePool": global_pool,
    "GlobalLpPool": global_pool,
    "GlobalMaxPool": global_pool,
    "GroupNormalization": group_norm,
    "InstanceNormalization": group_norm,
    "LRN": local_response_norm,
    "LayerNormalization": layer_norm,
    "LpPool": pool,
    "MaxPool": pool,
    "RMSNormalization": layer_norm,
    "ReduceMean": mean_over_places,
    "Resize": resize,
}
