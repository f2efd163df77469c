"""Attention: means of values, weighted by how queries match keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derivgen.declare.model import TensorSymbol
from derivgen.layers.attention_masks import element_of, pairs_of, scored, seen_keys
from derivgen.layers.checks import described, digits, divided, fixed, has_shape, is_tensor, parts
from derivgen.layers.positions import rotary_tables, turned
from derivgen.layers.shape import concatenate
from derivgen.layers.weights import glorot

AXES = "(batch, time, …, features)"
SHARING = ": with enable_gqa=True several heads of queries share one of keys, if the numbers are known and divide"
EXPECTED = "a query (batch, time, …, features), a key (batch, steps, …, features) and a value (batch, steps, …, width)"


def scaled_dot_product_attention(
    query: TensorSymbol,
    key: TensorSymbol,
    value: TensorSymbol,
    *,
    name: str,
    causal: bool = False,
    mask: TensorSymbol | None = None,
    lengths: TensorSymbol | None = None,
    window: int | None = None,
    attn_bias: TensorSymbol | None = None,
    scale: float | sp.Expr | None = None,
    softcap: float | None = None,
    enable_gqa: bool = False,
    past_key: TensorSymbol | None = None,
    past_value: TensorSymbol | None = None,
) -> Any:
    """softmax(scores)·value with scores = query·keyᵀ / √features, computed for each head separately.

    query (batch, time, heads…, features), key (batch, steps, heads…, features), value (batch, steps, heads…, width);
    the result is (batch, time, heads…, width). Query t sees key u if all of these hold; if it sees none, it gives 0:

    - `causal`: u ≤ t, no later step.
    - `window`: t - window < u < t + window; with `causal` these are the last `window` steps up to its own.
    - `mask`: the mask is > 0 there. Its axes are (batch, steps), (time, steps), (batch, time, steps), (heads…, time,
      steps) or (batch, heads…, time, steps); the first of these that fits counts.
    - `lengths`, labels (batch,): u < length.

    `scale`, a number or an expression, replaces 1 / √features. `softcap` then makes softcap·tanh(scores / softcap) of
    the scores, and `attn_bias`, with the axes of a mask, is added to them. With `enable_gqa` keys and values may have
    fewer heads, each for as many neighbouring heads of queries. `past_key` and `past_value` (batch, past, heads…, …)
    stand before the others, as the lets `<name>_present_key` and `<name>_present_value`: query t then stands at step
    past + t, and the steps of masks, biases and lengths count from the first past one.

    As keras.ops.dot_product_attention and torch.nn.functional.scaled_dot_product_attention; softcap and past as in
    ONNX's Attention.
    """
    layer = "scaled_dot_product_attention"
    if not fit_together(layer, query, key, value, enable_gqa):
        return query
    key, value, past = all_keys(layer, name, query, (key, value), (past_key, past_value))
    model, pairs, features = query.model, pairs_of(query, key, past), query.shape[-1]
    e, f = model.local_indices(features, value.shape[-1], letters="ef" if len(query.shape) == 4 else "")
    z = scored(layer, model, sp.Sum(query[pairs.query(e)] * key[pairs.key(e)], e), features, scale, softcap)
    bias = element_of(layer, model, "attn_bias", attn_bias, pairs.shapes())
    scores = model.let(f"{name}_scores", pairs.scores, z if bias is None else z + bias, layer=name)
    seen = seen_keys(layer, model, pairs, causal, window, mask, lengths)
    weights = softmax_where(seen, scores, pairs.scores, f"{name}_weights", name)
    return model.let(name, pairs.query(f), sp.Sum(weights[pairs.scores] * value[pairs.key(f)], pairs.step[1]))


def softmax_where(conditions: list[Any], scores: TensorSymbol, at: tuple[Any, ...], name: str, layer: str) -> Any:
    """The softmax along the last axis of those that the conditions hold for; the others are 0."""
    power, inside = sp.exp(scores[at]), sp.And(*conditions)
    if conditions:
        total = sp.Sum(sp.Piecewise((power, inside), (0, True)), at[-1])
        return scores.model.let(name, at, sp.Piecewise((power / total, inside), (0, True)), layer=layer)
    return scores.model.let(name, at, power / sp.Sum(power, at[-1]), layer=layer)


def multi_head_attention(
    x: TensorSymbol,
    num_heads: int,
    *,
    name: str,
    memory: TensorSymbol | None = None,
    causal: bool = False,
    mask: TensorSymbol | None = None,
    lengths: TensorSymbol | None = None,
    rotary: bool = False,
    bias: bool = True,
    window: int | None = None,
    attn_bias: TensorSymbol | None = None,
    scale: float | sp.Expr | None = None,
    softcap: float | None = None,
    num_kv_heads: int | None = None,
    past_key: TensorSymbol | None = None,
    past_value: TensorSymbol | None = None,
) -> Any:
    """Attention of a sequence to itself, or to `memory`, in several heads; input and output are (batch, time,
    features).

    Weights `<name>_query_W`, `<name>_key_W`, `<name>_value_W` (features, num_heads, features / num_heads) and
    `<name>_out_W` (num_heads, features / num_heads, features), each with a bias `_b`. The keys have a bias only with
    `rotary`, which turns queries and keys by their positions, or with `softcap`: otherwise it is common to all keys,
    and the softmax does not depend on it. As torch.nn.MultiheadAttention with batch_first; its weights have the shapes
    of keras.layers.MultiHeadAttention.

    With `num_kv_heads`, keys and values have so many heads, each for num_heads / num_kv_heads heads of queries. A past
    (batch, past, num_kv_heads, features / num_heads) has keys and values after their projections; with `rotary` its
    keys are turned already, and x begins at the position `past`. The other arguments are those of
    scaled_dot_product_attention.
    """
    memory, layer = x if memory is None else memory, "multi_head_attention"
    if not all(is_tensor(each, layer, range(3, 4), "(batch, time, features)") for each in (x, memory)):
        return x
    H, K = head_counts(x, layer, num_heads, num_kv_heads)
    width = divided(x.model, x.shape[-1], H)
    tensors = projections(x, memory, name, ([H, width], [K, width]), bias, bias and (rotary or softcap is not None))
    tensors = turned_both(layer, *tensors, name, past_key) if rotary else tensors
    seen: dict[str, Any] = {"causal": causal, "mask": mask, "lengths": lengths, "window": window}
    seen |= {"attn_bias": attn_bias, "scale": scale, "softcap": softcap, "enable_gqa": K != H}
    seen |= {"past_key": past_key, "past_value": past_value}
    mixed = scaled_dot_product_attention(*tensors, name=f"{name}_heads", **seen)
    return projection(mixed, f"{name}_out", "hed", [H, width], [x.shape[-1]], bias, name)


def head_counts(x: TensorSymbol, layer: str, num_heads: Any, num_kv_heads: Any) -> tuple[int, int]:
    """The heads of queries, and those of keys and values; the same where only the first is given, or is refused."""
    known = len(x.model.problems)
    H = parts(x.model, layer, "num_heads", num_heads, x.shape[-1], "features")
    if num_kv_heads is None or len(x.model.problems) > known:
        return H, H
    return H, parts(x.model, layer, "num_kv_heads", num_kv_heads, H, "heads")


def projections(
    x: TensorSymbol, memory: TensorSymbol, name: str, heads: tuple[list[Any], list[Any]], bias: bool, key_bias: bool
) -> tuple[TensorSymbol, TensorSymbol, TensorSymbol]:
    """Queries of x, keys and values of the memory; `heads` are the axes that queries have, and those of the others."""
    query = projection(x, f"{name}_query", "dhe", [x.shape[-1]], heads[0], bias)
    key = projection(memory, f"{name}_key", "dhe", [memory.shape[-1]], heads[1], key_bias)
    return query, key, projection(memory, f"{name}_value", "dhe", [memory.shape[-1]], heads[1], bias)


def turned_both(
    layer: str, query: TensorSymbol, key: TensorSymbol, value: TensorSymbol, name: str, past: Any
) -> tuple[TensorSymbol, TensorSymbol, TensorSymbol]:
    """Queries and keys turned by their positions, which begin after the past; as they are after a refusal."""
    before = [past] if isinstance(past, TensorSymbol) and len(past.shape) == 4 else []
    tables = rotary_tables(query, key, layer, name, past=before)
    if tables is None:
        return query, key, value
    return turned(query, *tables, f"{query.name}_turned"), turned(key, *tables, f"{key.name}_turned"), value


def projection(
    x: TensorSymbol, name: str, letters: str, inputs: list[Any], outputs: list[Any], bias: bool, let: str = ""
) -> TensorSymbol:
    """x·W + b along the last axes of a (batch, time, …) tensor, several axes to several; drawn as one matrix."""
    model = x.model
    n, t, *indices = model.local_indices(*x.shape[:2], *inputs, *outputs, letters=f"nt{letters}")
    i, o = indices[: len(inputs)], indices[len(inputs) :]
    W = model.parameter(f"{name}_W", *inputs, *outputs, init=glorot(model, inputs, outputs))
    z = sp.Sum(x[(n, t, *i)] * W[(*i, *o)], *i)
    if bias:
        z += model.parameter(f"{name}_b", *outputs)[tuple(o)]
    return model.let(let or name, (n, t, *o), z)


def fit_together(layer: str, query: TensorSymbol, key: TensorSymbol, value: TensorSymbol, grouped: bool) -> bool:
    """Whether three tensors fit together, noted if not; if `grouped`, heads of queries may share one of keys."""
    if not all(is_tensor(x, layer, range(3, 100), AXES) for x in (query, key, value)):
        return False
    (batch, *_, features), steps, groups = query.shape, key.shape[1], are_grouped(query, key)
    heads = key.shape[2:-1] if grouped and groups else query.shape[2:-1]
    if has_shape(key, (batch, steps, *heads, features)) and has_shape(value, (batch, steps, *heads, value.shape[-1])):
        return True
    found = f"{described(query)}, {described(key)} and {described(value)}"
    advice = SHARING if key.shape[2:-1] != query.shape[2:-1] and grouped != groups else ""
    query.model.problem(f"{layer} expects {EXPECTED}, found {found}{advice}")
    return False


def are_grouped(query: TensorSymbol, key: TensorSymbol) -> bool:
    """Whether both have one axis of heads, and queries a multiple of the keys' heads, all known at generation."""
    if not len(query.shape) == len(key.shape) == 4:
        return False
    many, few = (fixed(query.model, each.shape[2]) for each in (query, key))
    return bool(many.is_Integer and few.is_Integer and many % few == 0)


def all_keys(
    layer: str, name: str, query: TensorSymbol, present: tuple[TensorSymbol, TensorSymbol], past: tuple[Any, Any]
) -> tuple[Any, Any, Any]:
    """Keys and values after past ones, for each head of the queries, and how many are past."""
    key, value, steps = *present, 0
    if past != (None, None) and is_past(layer, present, past):
        key = concatenate((past[0], key), 1, name=f"{name}_present_key")
        value = concatenate((past[1], value), 1, name=f"{name}_present_value")
        steps = past[0].shape[1]
    heads = query.shape[2:-1]
    return repeated(key, heads, f"{name}_repeated_key"), repeated(value, heads, f"{name}_repeated_value"), steps


def repeated(x: TensorSymbol, heads: Sequence[Any], name: str) -> TensorSymbol:
    """Each head of x several times, one copy after another, until there are so many; x itself where it has them."""
    model, (batch, steps, *own, width) = x.model, x.shape
    if has_shape(x, (batch, steps, *heads, width)):
        return x
    few, group = fixed(model, own[0]), fixed(model, heads[0]) / fixed(model, own[0])
    n, u, e = model.local_indices(batch, steps, width, letters="nue")
    k, g = digits(model, (few, group), "kg")
    return model.let(name, (n, u, group * k + g, e), x[n, u, k, e])


def is_past(layer: str, present: tuple[TensorSymbol, TensorSymbol], past: tuple[Any, Any]) -> bool:
    """Whether past keys and values are equally many, with the other axes of the present ones; noted if not."""
    if all(isinstance(x, TensorSymbol) and len(x.shape) > 1 for x in past):
        steps = past[0].shape[1]
        if all(has_shape(x, (y.shape[0], steps, *y.shape[2:])) for x, y in zip(past, present, strict=True)):
            return True
    key, value = (f"({x.shape[0]}, past, {', '.join(map(str, x.shape[2:]))})" for x in present)
    found = " and ".join(described(x) if isinstance(x, TensorSymbol) else repr(x) for x in past)
    present[0].model.problem(f"{layer}: past_key must be of shape {key}, past_value of {value}, found {found}")
    return False
