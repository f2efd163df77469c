"""Attention: means of values, weighted by how queries match keys."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.declare.model import Model, TensorSymbol
from derivgen.layers.checks import described, divided, has_shape, is_tensor, parts
from derivgen.layers.positions import rotary_tables, turned
from derivgen.layers.weights import glorot

AXES = "(batch, time, …, features)"


def scaled_dot_product_attention(
    query: TensorSymbol,
    key: TensorSymbol,
    value: TensorSymbol,
    *,
    name: str,
    causal: bool = False,
    mask: TensorSymbol | None = None,
    lengths: TensorSymbol | None = None,
) -> Any:
    """softmax(query·keyᵀ / √features)·value, computed for each head separately.

    query (batch, time, heads…, features), key (batch, steps, heads…, features), value (batch, steps, heads…, width);
    the result is (batch, time, heads…, width). With `causal` a query sees no later step. `mask` (batch, steps) is 1 at
    the steps that are seen, and 0 elsewhere. `lengths`, labels (batch,), are the numbers of steps that are seen,
    counted from the first. A query that sees nothing gives 0. As keras.ops.dot_product_attention, and torch's function
    of this name without heads.
    """
    layer = "scaled_dot_product_attention"
    if not fit_together(layer, query, key, value):
        return query
    model, (batch, times, *heads, features), width = query.model, query.shape, value.shape[-1]
    letters = "ntuhef" if len(heads) == 1 else "ntu"
    n, t, u, *h, e, f = model.local_indices(batch, times, key.shape[1], *heads, features, width, letters=letters)
    product = sp.Sum(query[(n, t, *h, e)] * key[(n, u, *h, e)], e)
    scores = model.let(f"{name}_scores", (n, *h, t, u), product / sp.sqrt(features), layer=name)
    seen = seen_keys(layer, key, (n, t, u), causal, mask, lengths)
    weights = softmax_where(seen, scores, (n, *h, t, u), f"{name}_weights", name)
    return model.let(name, (n, t, *h, f), sp.Sum(weights[(n, *h, t, u)] * value[(n, u, *h, f)], u))


def seen_keys(layer: str, key: TensorSymbol, at: tuple[Any, ...], causal: bool, mask: Any, lengths: Any) -> list[Any]:
    """The conditions under which query t of row n sees key u; what does not fit the keys is noted, and left out."""
    model, (n, t, u), (batch, steps, *_) = key.model, at, key.shape
    seen = [u <= t] if causal else []
    if fits(model, layer, "mask", mask, (batch, steps)):
        seen.append(mask[n, u] > 0)
    if fits(model, layer, "lengths", lengths, (batch,)):
        if lengths.is_integer:
            return [*seen, u < lengths[n]]
        model.problem(f"{layer}: lengths must be declared by model.labels, found {described(lengths)}")
    return seen


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
) -> Any:
    """Attention of a sequence to itself, or to `memory`, in several heads; input and output are (batch, time,
    features).

    Weights `<name>_query_W`, `<name>_key_W`, `<name>_value_W` (features, num_heads, features / num_heads) and
    `<name>_out_W` (num_heads, features / num_heads, features), each with a bias `_b`. The keys have a bias only with
    `rotary`, which turns queries and keys by their positions: otherwise it is common to all keys, and the softmax does
    not depend on it. As torch.nn.MultiheadAttention with batch_first; its weights have the shapes of
    keras.layers.MultiHeadAttention.
    """
    memory, layer = x if memory is None else memory, "multi_head_attention"
    if not all(is_tensor(each, layer, range(3, 4), "(batch, time, features)") for each in (x, memory)):
        return x
    H = parts(x.model, layer, "num_heads", num_heads, x.shape[-1], "features")
    split = [H, divided(x.model, x.shape[-1], H)]
    query = projection(x, f"{name}_query", "dhe", [x.shape[-1]], split, bias)
    key = projection(memory, f"{name}_key", "dhe", [memory.shape[-1]], split, bias and rotary)
    value = projection(memory, f"{name}_value", "dhe", [memory.shape[-1]], split, bias)
    query, key = turned_both(layer, query, key, name) if rotary else (query, key)
    seen: dict[str, Any] = {"causal": causal, "mask": mask, "lengths": lengths}
    mixed = scaled_dot_product_attention(query, key, value, name=f"{name}_heads", **seen)
    return projection(mixed, f"{name}_out", "hed", split, [x.shape[-1]], bias, name)


def turned_both(layer: str, query: TensorSymbol, key: TensorSymbol, name: str) -> tuple[TensorSymbol, TensorSymbol]:
    """Queries and keys turned by their positions; as they are after a refusal."""
    tables = rotary_tables(query, key, layer, name)
    if tables is None:
        return query, key
    return turned(query, *tables, f"{query.name}_turned"), turned(key, *tables, f"{key.name}_turned")


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


def fit_together(layer: str, query: TensorSymbol, key: TensorSymbol, value: TensorSymbol) -> bool:
    """Whether three tensors fit together, noted if not."""
    if not all(is_tensor(x, layer, range(3, 100), AXES) for x in (query, key, value)):
        return False
    (batch, _, *heads, features), steps = query.shape, key.shape[1]
    if has_shape(key, (batch, steps, *heads, features)) and has_shape(value, (batch, steps, *heads, value.shape[-1])):
        return True
    query.model.problem(
        f"{layer} expects a query (batch, time, …, features), a key (batch, steps, …, features) and a value "
        f"(batch, steps, …, width), found {described(query)}, {described(key)} and {described(value)}"
    )
    return False


def fits(model: Model, layer: str, word: str, tensor: Any, shape: tuple[Any, ...]) -> bool:
    """Whether there is a tensor, and it has this shape; noted if it has another."""
    if tensor is None or (isinstance(tensor, TensorSymbol) and has_shape(tensor, shape)):
        return tensor is not None
    found = described(tensor) if isinstance(tensor, TensorSymbol) else repr(tensor)
    model.problem(f"{layer}: {word} must be a tensor of shape {shape}, found {found}")
    return False
