"""Operators that move elements: they change which index is where, and write no line of the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derivgen.importing.draft import (
    DYNAMIC,
    Constant,
    Draft,
    InputStatement,
    LayerStatement,
    LetStatement,
    Operand,
    text_of,
)
from derivgen.importing.elements import Element, Index, Number, Read, Tensor, Value, piecewise
from derivgen.importing.graph import Node, Refusal

Symbols = tuple[sp.Symbol, ...]


def identity(draft: Draft, node: Node, x: Value, *_: Operand) -> Value:
    return x


def cast_like(draft: Draft, node: Node, x: Operand, like: Operand) -> Operand:
    """A constant beside a tensor of real numbers becomes one of these."""
    if isinstance(x, Constant) and x.array.dtype != object and like is not None:
        return replace(x, array=x.array.astype(np.float32 if isinstance(like, Value) else like.array.dtype))
    return x


def transpose(draft: Draft, node: Node, x: Value) -> Value:
    order = node.get("perm") or range(len(x.axes))[::-1]
    return replace(x, axes=tuple(x.axes[k] for k in order))


def moved(x: Value, start: int, end: int) -> Value:
    """The value with an axis at another place."""
    axes = list(x.axes)
    axes.insert(end, axes.pop(start))
    return replace(x, axes=tuple(axes))


def squeeze(draft: Draft, node: Node, x: Value, axes: Constant | None = None) -> Value:
    rank = len(x.axes)
    gone = {a % rank for a in integers(axes)} if axes else {k for k, axis in enumerate(x.axes) if not axis}
    if any(x.axes[k] for k in gone):
        raise Refusal("an axis that is squeezed has more than one element: export the model again")
    return replace(x, axes=tuple(axis for k, axis in enumerate(x.axes) if k not in gone))


def unsqueeze(draft: Draft, node: Node, x: Value, axes: Constant) -> Value:
    rank = len(x.axes) + axes.array.size
    new, old = {a % rank for a in integers(axes)}, list(x.axes)
    return replace(x, axes=tuple(() if k in new else old.pop(0) for k in range(rank)))


def flatten(draft: Draft, node: Node, x: Value) -> Value:
    at = node.get("axis", 1)
    at = at % len(x.axes) if at < 0 else at
    return replace(x, axes=tuple(tuple(i for axis in part for i in axis) for part in (x.axes[:at], x.axes[at:])))


def reshape(draft: Draft, node: Node, x: Value, shape: Constant) -> Value:
    wanted = list(shape.array.reshape(-1))
    if not node.get("allowzero"):
        wanted = [draft.extent(x.axes[k]) if size == 0 else size for k, size in enumerate(wanted)]
    value = draft.fresh(x)
    ways = [without_rest(draft, value, sizes) for sizes in with_batch(draft, wanted)]
    return reshaped(draft, value, next((way for way in ways if regrouped(draft, value.indices, way)), ways[0]))


def with_batch(draft: Draft, sizes: list[Any]) -> list[list[Any]]:
    """The sizes, and ways to read them where the file has a number for the batch: each time in another size."""
    rows, ways = draft.rows_of_file, [sizes]
    for k, size in enumerate(sizes if rows else []):
        if size != -1 and sp.sympify(size).is_Integer and size % rows == 0:
            ways.append([*sizes[:k], int(size) // rows * draft.batch, *sizes[k + 1 :]])
    return ways


def without_rest(draft: Draft, x: Value, sizes: list[Any]) -> list[sp.Expr]:
    """The sizes with a number for -1."""
    rest = sp.cancel(sp.Mul(*draft.shape(x)) / sp.Mul(*(size for size in sizes if size != -1)))
    return [rest if size == -1 else sp.sympify(size) for size in sizes]


def reshaped(draft: Draft, x: Value, sizes: Sequence[Any]) -> Value:
    """The value with other axes; by a flat tensor in between where no axis can be joined or split."""
    if not all(sp.sympify(size).is_integer for size in sizes):
        raise Refusal(f"a reshape of {draft.shape(x)} to {tuple(sizes)} is not covered: {DYNAMIC}")
    found = regrouped(draft, x.indices, sizes)
    if found is None:
        x = draft.whole(draft.tensor(replace(x, axes=(x.indices,))))
        found = regrouped(draft, x.indices, sizes)
    if found is None or mixes(draft, found[1].values()):
        raise Refusal(f"a reshape to {tuple(sizes)} is not covered: keep the run-time sizes on axes of their own")
    return replace(x, axes=tuple(found[0]), element=x.element.replaced(found[1]))


def mixes(draft: Draft, subscripts: Iterable[sp.Expr]) -> bool:
    """Whether an index is multiplied by a size that is known at run time, which no subscript can have."""
    terms = [sp.expand(s) for s in subscripts]
    return not all(s.coeff(i).is_Integer for s in terms for i in s.free_symbols & {*draft.sizes})


def regrouped(
    draft: Draft, indices: Sequence[sp.Symbol], sizes: Sequence[Any]
) -> tuple[list[Symbols], dict[sp.Symbol, sp.Expr]] | None:
    """(the indices of each axis of these sizes, what indices that are split become), or None."""
    groups: list[Symbols] = []
    splits: dict[sp.Symbol, sp.Expr] = {}
    rest = list(indices)
    for size in sizes:
        group, split, left = first_ones(draft, rest, sp.sympify(size))
        if left != 1:
            return None
        splits = {i: made.xreplace(split) for i, made in splits.items()} | split
        groups.append(group)
    return None if rest else (groups, splits)


def first_ones(draft: Draft, rest: list[sp.Symbol], size: sp.Expr) -> tuple[Symbols, dict[sp.Symbol, sp.Expr], sp.Expr]:
    """(indices taken from the beginning of `rest`, what the last one is split into, what is left of the size)"""
    group: list[sp.Symbol] = []
    while size != 1 and rest and is_whole(size / draft.sizes[rest[0]]):
        group.append(rest.pop(0))
        size = sp.cancel(size / draft.sizes[group[-1]])
    if size == 1 or not rest or not is_whole(draft.sizes[rest[0]] / size):
        return tuple(group), {}, size
    whole = rest.pop(0)
    outer, inner = draft.index(size, "h"), draft.index(draft.sizes[whole] / size, "e")
    rest.insert(0, inner)
    return (*group, outer), {whole: outer * draft.sizes[inner] + inner}, sp.S.One


def is_whole(ratio: sp.Expr) -> bool:
    return bool(sp.cancel(ratio).is_integer)


# ---- parts


def split(draft: Draft, node: Node, x: Value, sizes: Constant | None = None) -> tuple[Value, ...]:
    axis = node.get("axis", 0) % len(x.axes)
    whole, count = draft.extent(x.axes[axis]), len(node.outputs)
    lengths = list(integers(sizes)) if sizes else [whole / count] * count
    starts = np.cumsum([0, *lengths[:-1]])
    return tuple(part(draft, x, axis, start, length) for start, length in zip(starts, lengths, strict=True))


def split_to_sequence(draft: Draft, node: Node, x: Value, sizes: Constant | None = None) -> list[Value]:
    """As split, into a list that SequenceAt takes apart."""
    axis = node.get("axis", 0) % len(x.axes)
    whole = draft.extent(x.axes[axis])
    lengths = integers(sizes) if sizes else [1]
    lengths = lengths if sizes and sizes.array.ndim else lengths * int(whole / lengths[0])
    if sum(lengths) != whole or not (sizes or node.get("keepdims", 1)):
        raise Refusal("a list of parts that do not fill an axis is not covered: use split with sizes that do")
    starts = np.cumsum([0, *lengths[:-1]])
    return [part(draft, x, axis, int(start), length) for start, length in zip(starts, lengths, strict=True)]


def sequence_at(draft: Draft, node: Node, parts: list[Value], place: Constant) -> Value:
    return parts[int(place.array.reshape(()))]


def part(draft: Draft, x: Value, axis: int, start: Any, length: Any, step: int = 1) -> Value:
    """Elements start, start + step, … of an axis."""
    x, whole = draft.fresh(x), draft.extent(x.axes[axis])
    if length == whole and start == 0 and step == 1:
        return x
    refuse_outside(whole, start, length)
    x = draft.whole(draft.tensor(x)) if len(x.axes[axis]) > 1 else x
    own = x.axes[axis]
    new = draft.axis(length, own[0].name if own else "i")
    at = start + step * (new[0] if new else 0)
    element = seen_through(x.element.replaced({own[0]: sp.sympify(at)} if own else {}))
    return replace(x, axes=(*x.axes[:axis], new, *x.axes[axis + 1 :]), element=element, alone=False)


def seen_through(element: Element) -> Element:
    """What an element is read of, where a let only moves elements, or a layer puts tensors side by side."""
    if not isinstance(element, Read):
        return element
    statement, at = element.tensor.statement, element.subscripts
    if isinstance(statement, LetStatement) and all(len(axis) == 1 for axis in statement.axes):
        own = {axis[0]: s for axis, s in zip(statement.axes, at, strict=True)}
        return seen_through(statement.element.replaced(own)) if isinstance(statement.element, Read) else element
    if isinstance(statement, LayerStatement) and statement.function == "layers.concatenate":
        axis = int(statement.options.get("axis", len(at) - 1))
        return beside(statement.sources, at, axis, element) if at[axis].is_Integer else element
    return element


def beside(sources: Sequence[Tensor], at: Sequence[sp.Expr], axis: int, element: Element) -> Element:
    """The element of the source that has this place; the element as it is where sizes are known at run time."""
    place = at[axis]
    for source in sources:
        if not source.shape[axis].is_Integer:
            return element
        if place < source.shape[axis]:
            return seen_through(Read(source, (*at[:axis], place, *at[axis + 1 :])))
        place -= source.shape[axis]
    return element


def refuse_outside(whole: sp.Expr, start: Any, length: Any) -> None:
    """Of an axis of a run-time size only the ends, and all but so many elements, are sure to be there."""
    ends = sp.sympify(start), sp.sympify(whole - start - length)  # what is left before and after
    if not whole.is_Integer and not (length == 1 and 0 in ends) and not all(end.is_nonnegative for end in ends):
        raise Refusal(f"elements {start} .. of an axis with {whole} may not be there: {DYNAMIC}")


def cut(draft: Draft, node: Node, x: Value, starts: Constant, ends: Constant, *more: Constant | None) -> Value:
    """Slice."""
    first = [s.array.reshape(-1).tolist() for s in (starts, ends)]
    axes = [a % len(x.axes) for a in integers(more[0])] if more and more[0] else range(len(first[0]))
    steps = integers(more[1]) if len(more) > 1 and more[1] else [1] * len(first[0])
    for axis, start, end, step in zip(axes, *first, steps, strict=True):
        whole = draft.extent(x.axes[axis])
        low, high = (bound(value, whole, step) for value in (start, end))
        length = high - low if step == 1 else -((low - high) // step)
        if not sp.sympify(length).is_positive:
            raise Refusal(f"the slice {start}:{end} of {whole} elements may be empty: keep at least one")
        x = part(draft, x, axis, low, length, step)
    return x


def bound(value: Any, whole: sp.Expr, step: int) -> Any:
    """A bound of a slice as a place on the axis."""
    if isinstance(value, sp.Expr) and not value.is_Integer:
        return value
    if value < 0:
        return -1 if step < 0 and value < -(2**31) else sp.Max(whole + value, 0) if whole.is_Integer else whole + value
    if whole.is_Integer:
        return min(int(value), int(whole) if step > 0 else int(whole) - 1)
    return whole if value > 2**31 else int(value)


def gather(draft: Draft, node: Node, x: Operand, ids: Operand) -> Value:
    if isinstance(x, Constant):
        return embedded(draft, node, x, ids)
    if not (isinstance(ids, Constant) and isinstance(x, Value)):
        raise Refusal("elements chosen by another tensor are covered for a table of weights alone: use one-hot inputs")
    axis, chosen = node.get("axis", 0) % len(x.axes), ids.array.reshape(-1)
    whole = draft.extent(x.axes[axis])
    places = [c + whole if not isinstance(c, sp.Expr) and c < 0 else c for c in chosen]
    steps = set(np.diff(chosen).tolist()) or {1}
    if len(steps) > 1 or 0 in steps or ids.array.ndim > 1:
        raise Refusal("a list of indices that is not evenly spaced is not covered: use slices")
    taken = part(draft, x, axis, places[0], len(places), steps.pop())
    return taken if ids.array.ndim else replace(taken, axes=(*taken.axes[:axis], *taken.axes[axis + 1 :]))


def embedded(draft: Draft, node: Node, table: Constant, ids: Operand) -> Value:
    if node.get("axis", 0) or table.array.ndim != 2:
        raise Refusal("an embedding along another axis than the first one is not covered: use a table of rows")
    value, read, _ = labels_of(ids, table.array.shape[0])
    source, features = read.tensor, table.array.shape[1]
    draft.share(table)
    name, shape = draft.called(node, "embedding", table), (*source.shape, features)
    tensor = draft.layer("layers.embedding", source, name, shape, features, weights={"_W": table.array})
    last = draft.index(features, "d")
    return Value((*value.axes, (last,)), Read(tensor, (*read.subscripts, last)), alone=True)


def labels_of(ids: Operand, classes: int, what: str = "an embedding") -> tuple[Value, Read, int]:
    """(the integers below this number, what is read of an input that they are, the number)"""
    read = ids.element if isinstance(ids, Value) else None
    if not isinstance(ids, Value) or not isinstance(read, Read) or not is_integer_input(read.tensor):
        raise Refusal(f"{what} of anything but an integer input is not covered: make it an input of the model")
    statement = read.tensor.statement
    if statement.classes not in (0, classes):
        both = f"{statement.classes} and {classes} classes"
        raise Refusal(f"{what} of {read.tensor.name}, which would have {both}, is not covered: use as many")
    statement.classes = classes
    return ids, read, classes


def is_integer_input(tensor: Tensor) -> bool:
    return isinstance(tensor.statement, InputStatement) and tensor.statement.integer


# ---- more elements


def concatenate(draft: Draft, node: Node, *given: Operand) -> Value:
    values = [draft.value(x) for x in given]
    axis, order = node.get("axis") % len(values[0].axes), batch_first(draft, values)
    name = draft.called(node, "joined")
    sources = [draft.tensor(replace(v, axes=tuple(v.axes[k] for k in order))) for v in values]
    sizes = list(sources[0].shape)
    at = order.index(axis)
    sizes[at] = sp.Add(*(source.shape[at] for source in sources))
    place = None if at == len(order) - 1 else at
    tensor = draft.layer("layers.concatenate", sources[0], name, sizes, axis=place)
    tensor.statement.sources = sources
    whole = draft.whole(tensor)
    return replace(whole, axes=tuple(whole.axes[order.index(k)] for k in range(len(order))))


def batch_first(draft: Draft, values: Sequence[Value]) -> list[int]:
    """The order of axes in which the batch's is the first."""
    axes = range(len(values[0].axes))
    batch = next((k for k in axes if any(draft.extent(v.axes[k]) == draft.batch for v in values)), 0)
    return sorted(axes, key=lambda k: k != batch)


def expand(draft: Draft, node: Node, x: Operand, shape: Constant) -> Value:
    value, sizes = draft.value(x), list(shape.array.reshape(-1))
    axes: list[Symbols] = [()] * max(0, len(sizes) - len(value.axes)) + list(value.axes)
    sizes = [1] * (len(axes) - len(sizes)) + sizes
    return replace(value, axes=tuple(a or draft.axis(size) for a, size in zip(axes, sizes, strict=True)), alone=False)


def filled(draft: Draft, node: Node, shape: Constant) -> Value:
    """ConstantOfShape."""
    value = float(np.reshape(node.attributes.get("value", 0.0), -1)[0])
    return Value(tuple(draft.axis(size) for size in shape.array.reshape(-1)), Number(value))


def pad(
    draft: Draft, node: Node, x: Value, pads: Constant, fill: Operand = None, axes: Constant | None = None
) -> Value:
    arounds = arounds_of(pads, [a % len(x.axes) for a in integers(axes)] if axes else range(len(x.axes)))
    outside, mode = number_of(draft, fill), MODES.get(node.get("mode", "constant"))
    if isinstance(outside, Number) and (order := spatial_order(x, arounds)):
        return padded_layer(draft, node, x, order, arounds, mode, outside)
    if mode:
        raise Refusal(
            f"padding by {node.get('mode')} is not covered here: pad one axis of sequences, or those of images"
        )
    for axis, (before, after) in arounds.items():
        x = padded(draft, x, axis, before, after, outside)
    return draft.named(replace(x, name=draft.called(node, "padded")))


def arounds_of(pads: Constant, axes: Sequence[int]) -> dict[int, tuple[int, int]]:
    """What is added (before, after) each axis that gets longer or shorter."""
    amounts, count = integers(pads), len(axes)
    pairs = zip(amounts[:count], amounts[count:], strict=True)
    return {axis: pair for axis, pair in zip(axes, pairs, strict=True) if any(pair)}


def number_of(draft: Draft, fill: Operand) -> Element:
    """What a pad adds: 0, a number, or an element of a tensor."""
    if isinstance(fill, Constant):
        return Number(float(fill.array.reshape(-1)[0]))
    return draft.value(fill).element if fill else Number(0)


MODES = {"edge": '"replicate"', "reflect": '"reflect"', "wrap": '"circular"'}


def spatial_order(x: Value, arounds: dict[int, tuple[int, int]]) -> list[int]:
    """The order of axes in which those that get longer are spatial ones of the library; none where there is no such."""
    rank = len(x.axes)
    if any(v < 0 for pair in arounds.values() for v in pair) or not arounds or 0 in arounds:
        return []
    if rank == 3 and len(arounds) == 1:
        return [0, *arounds, 3 - next(iter(arounds))]
    return list(range(rank)) if rank in (4, 5) and 1 not in arounds else []


def padded_layer(
    draft: Draft,
    node: Node,
    x: Value,
    order: list[int],
    arounds: dict[int, tuple[int, int]],
    mode: str | None,
    fill: Element,
) -> Value:
    """layers.pad of the value with its axes in another order."""
    source = draft.tensor(replace(x, axes=tuple(x.axes[k] for k in order)))
    pairs = [arounds.get(k, (0, 0)) for k in (order[1:2] if len(order) == 3 else order[2:])]
    alike = all(before == after for before, after in pairs)
    padding = text_of([before for before, _ in pairs]) if alike else str(tuple(pairs) if pairs[1:] else pairs[0])
    value = None if mode or fill == Number(0) else fill.text({})[0]
    shape = [size + sum(arounds.get(k, ())) for k, size in zip(order, source.shape, strict=True)]
    more = [mode] if mode else []
    padded = draft.layer("layers.pad", source, draft.called(node, "padded"), shape, padding, *more, value=value)
    whole = draft.whole(padded)
    return replace(whole, axes=tuple(whole.axes[order.index(k)] for k in range(len(order))))


def padded(draft: Draft, x: Value, axis: int, before: int, after: int, fill: Element) -> Value:
    """More elements around an axis; fewer where numbers are negative."""
    x = draft.whole(draft.tensor(x)) if len(x.axes[axis]) > 1 else draft.fresh(x)
    (old,), whole = x.axes[axis] or (draft.index(1),), draft.extent(x.axes[axis])
    new = draft.index(whole + before + after, old.name)
    element = x.element.replaced({old: new - before})
    bounds = [(">=", sp.Integer(before))] * (before > 0) + [("<", whole + before)] * (after > 0)
    form = ", ".join(f"{{}} {sign} {{}}" for sign, _ in bounds)
    if bounds:
        inside = Index(form if len(bounds) == 1 else f"And({form})", tuple(s for _, end in bounds for s in (new, end)))
        element = piecewise(element, inside, fill)
    return replace(x, axes=(*x.axes[:axis], (new,), *x.axes[axis + 1 :]), element=element, alone=False)


def dropout(draft: Draft, node: Node, x: Value, ratio: Constant | None = None, mode: Constant | None = None) -> Value:
    """Of a model that was exported in training; in evaluation, nothing."""
    if mode is None or not mode.array.all():
        return x
    source, over = draft.rows(x)
    rate = float(ratio.array.reshape(-1)[0]) if ratio else 0.5
    tensor = draft.layer("layers.dropout", source, draft.called(node, "dropout"), source.shape, rate)
    last = x.axes[-1]
    return replace(x, element=Read(tensor, (*over, draft.joined(last))), alone=True)


def depth_to_space(draft: Draft, node: Node, x: Value) -> Value:
    size, (n, c, i, j) = node.get("blocksize"), draft.shape(x)
    shape = (n, c / size**2, i * size, j * size)
    if node.get("mode", "DCR") == "CRD":
        name, source = draft.called(node, "shuffled"), draft.tensor(x)
        return draft.whole(draft.layer("layers.pixel_shuffle", source, name, shape, size), "ncij")
    x = reshaped(draft, draft.fresh(x), (n, size, size, shape[1], i, j))
    return reshaped(draft, replace(x, axes=tuple(x.axes[k] for k in (0, 3, 4, 1, 5, 2))), shape)


def space_to_depth(draft: Draft, node: Node, x: Value) -> Value:
    size, (n, c, i, j) = node.get("blocksize"), draft.shape(x)
    shape = (n, c * size**2, i / size, j / size)
    if node.get("mode", "DCR") == "CRD":
        name, source = draft.called(node, "unshuffled"), draft.tensor(x)
        return draft.whole(draft.layer("layers.pixel_unshuffle", source, name, shape, size), "ncij")
    x = reshaped(draft, draft.fresh(x), (n, c, i / size, size, j / size, size))
    return reshaped(draft, replace(x, axes=tuple(x.axes[k] for k in (0, 3, 5, 1, 2, 4))), shape)


def tile(draft: Draft, node: Node, x: Value, repeats: Constant) -> Value:
    axes = [(*draft.axis(k, "r"), *axis) for k, axis in zip(repeats.array.reshape(-1), x.axes, strict=True)]
    return replace(x, axes=tuple(axes), alone=False)


def triangle(draft: Draft, node: Node, x: Value, k: Constant | None = None) -> Value:
    """Trilu: 0 below a diagonal, or above it."""
    value, offset = draft.fresh(x), int(k.array.reshape(-1)[0]) if k else 0
    value = value if all(len(axis) == 1 for axis in value.axes[-2:]) else draft.whole(draft.tensor(value))
    row, column = (draft.joined(axis) for axis in value.axes[-2:])
    seen = Index("{} >= {}" if node.get("upper", 1) else "{} <= {}", (column, row + offset))
    return replace(value, element=piecewise(value.element, seen, Number(0)), alone=False, name="")


def integers(constant: Constant) -> list[int]:
    return [int(v) for v in constant.array.reshape(-1)]


TABLE: dict[str, Callable[..., Any]] = {
    "CastLike": cast_like,
    "Concat": concatenate,
    "ConstantOfShape": filled,
    "DepthToSpace": depth_to_space,
    "Dropout": dropout,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": cut,
    "SequenceAt": sequence_at,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "SplitToSequence": split_to_sequence,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": triangle,
    "Unsqueeze": unsqueeze,
}
