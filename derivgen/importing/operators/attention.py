"""The operator Attention: queries, keys and values (batch, head, time, feature), or with the heads in the features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from derivgen.importing.draft import Draft, InputStatement, LayerStatement, Operand, text_of
from derivgen.importing.elements import Index, Read, Tensor, Value, is_condition
from derivgen.importing.graph import Node, Refusal
from derivgen.importing.operators.views import reshaped

LAYER = "layers.scaled_dot_product_attention"


def attention(
    draft: Draft, node: Node, q: Operand, k: Operand, v: Operand, mask: Operand = None, *more: Operand
) -> Value:
    """The layer; `more` are past keys and values, and lengths."""
    if len(more) > 2 and more[2] is not None:
        raise Refusal("lengths of keys are not covered: give a mask")
    query, key, value = (in_heads(draft, node, x, w) for x, w in ((q, "q"), (k, "kv"), (v, "kv")))
    past = [of_heads(draft, x) for x in more[:2] if x is not None]
    shape, name = (*query.shape[:-1], value.shape[-1]), draft.called(node, "attention")
    options = options_of(node, query.shape[2] != key.shape[2])
    call: LayerStatement = draft.layer(LAYER, query, name, shape, **options).statement
    call.sources = (query, key, value)
    call.tensors = dict(zip(("past_key", "past_value"), past, strict=False))
    take_in_mask(draft, call, mask)
    return as_in_onnx(draft.whole(call.tensor, "nthe"), len(draft.value(q).axes))


def as_in_onnx(whole: Value, rank: int) -> Value:
    """The result with the heads before the time, or in the features."""
    n, t, h, e = whole.axes
    return replace(whole, axes=(n, t, h + e) if rank == 3 else (n, h, t, e))


def in_heads(draft: Draft, node: Node, x: Operand, word: str) -> Tensor:
    """(batch, time, head, feature)"""
    value = draft.value(x)
    if len(value.axes) == 4:
        return of_heads(draft, value)
    (n, t, width), heads = draft.shape(value), node.get(f"{word}_num_heads")
    return draft.tensor(reshaped(draft, value, (n, t, heads, width / heads)))


def of_heads(draft: Draft, x: Operand) -> Tensor:
    value = draft.value(x)
    return draft.tensor(replace(value, axes=tuple(value.axes[k] for k in (0, 2, 1, 3))))


def options_of(node: Node, grouped: bool) -> dict[str, Any]:
    scale, softcap = node.get("scale"), node.get("softcap", 0.0)
    options: dict[str, Any] = {"causal": True if node.get("is_causal") else None}
    options |= {"scale": None if scale is None else text_of(float(scale))}
    options["window"] = window_of(node)
    return options | {"softcap": text_of(float(softcap)) if softcap else None, "enable_gqa": True if grouped else None}


def window_of(node: Node) -> int | None:
    """How many steps a query sees, its own one too: as many after it as before, where it sees later ones."""
    before, after = (node.get(f"{side}_window_size", -1) for side in ("left", "right"))
    if before < 0 and (after < 0 or node.get("is_causal")):
        return None
    if before < 0 or (before != after and not node.get("is_causal")):
        raise Refusal("a window of other sizes before and after is not covered: use one size, or a mask")
    return int(before) + 1


def take_in_mask(draft: Draft, call: LayerStatement, mask: Operand) -> None:
    """A condition as `causal` or `mask`, numbers as `attn_bias`, without the axes along which they are the same."""
    if mask is None:
        return
    value = draft.value(mask)
    axes = tuple(axis for axis in value.axes if axis)
    if len(axes) > 1 and value.element == Index("{} <= {}", (axes[-1][0], axes[-2][0])):
        call.options["causal"] = "True"
        return
    integer = isinstance(value.element, Read) and is_integer(value.element)
    word = "mask" if integer or is_condition(value.element) else "attn_bias"
    draft.statements.remove(call)
    call.tensors[word] = draft.tensor(replace(value, axes=axes, name=word))
    draft.statements.append(call)


def is_integer(read: Read) -> bool:
    return isinstance(read.tensor.statement, InputStatement) and read.tensor.statement.integer


TABLE = {"Attention": attention}
