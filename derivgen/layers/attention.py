"""Attention: means of values, weighted by how queries match keys."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derivgen.layers.checks import described, equal_sizes, fixed, is_tensor, parts
from derivgen.layers.positions import rotary_tables, turned
from derivgen.layers.weights import glorot
from derivgen.model import Model, TensorSymbol

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
    """softmax(query·keyᵀ / √features)·value, for each head by itself: (batch, time, …, features).

    query (batch, time, heads…, features), key (batch, steps, heads…, features), value (batch, steps, heads…, width); the
    result is (batch, time, heads…, width). With causal a query sees no later step; mask (batch, steps) is 1 at the
    steps that are seen, and 0 elsewhere; lengths, labels (batch,), count those that are seen, from the first. A query
    that sees nothing gives 0. As keras.ops.dot_product_attention, and torch's function of this name without heads.
    """
    layer = "scaled_dot_product_attention"
    if not fit_together(layer, query, key, value):
        return query
    mask, lengths = seen_arguments(layer, key, mask, lengths)
    model, (batch, times, *heads, features) = query.model, query.shape
    letters = "ntuhef" if len(heads) == 1 else "ntu"
    n, t, u, *h, e, f = model.local_indices(
        batch, times, key.shape[1], *heads, features, value.shape[-1], letters=letters
    )
    product = sp.Sum(query[(n, t, *h, e)] * key[(n, u, *h, e)], e)
    scores = model.let(f"{name}_scores", (n, *h, t, u), product / sp.sqrt(features))
    seen = [u <= t] if causal else []
    seen += [mask[n, u] > 0] if mask is not None else []
    seen += [u < lengths[n]] if lengths is not None else []
    weights = softmax_where(seen, scores, (n, *h, t, u), f"{name}_weights")
    return model.let(name, (n, t, *h, f), sp.Sum(weights[(n, *h, t, u)] * value[(n, u, *h, f)], u))


def softmax_where(conditions: list[Any], scores: TensorSymbol, at: tuple[Any, ...], name: str) -> Any:
    """The softmax along the last axis of those that the conditions hold for; the others are 0."""
    power, inside = sp.exp(scores[at]), sp.And(*conditions)
    if conditions:
        total = sp.Sum(sp.Piecewise((power, inside), (0, True)), at[-1])
        return scores.model.let(name, at, sp.Piecewise((power / total, inside), (0, True)))
    return scores.model.let(name, at, power / sp.Sum(power, at[-1]))


def multi_head_attention(
    x: TensorSymbol,
    heads: int,
    *,
    name: str,
    memory: TensorSymbol | None = None,
    causal: bool = False,
    mask: TensorSymbol | None = None,
    lengths: TensorSymbol | None = None,
    rotary: bool = False,
    bias: bool = True,
) -> Any:
    """Attention of a sequence to itself, or to `memory`, in several heads: (batch, time, features), of that shape again.

    Weights `<name>_query_W`, `<name>_key_W`, `<name>_value_W` (features, heads, features / heads) and `<name>_out_W`
    (heads, features / heads, features), each with a `_b`, but not the keys where they are not turned: what all keys
    have in common, the softmax does not see. rotary turns queries and keys by their positions. As
    torch.nn.MultiheadAttention with batch_first, its weights in the shapes of keras.layers.MultiHeadAttention.
    """
    layer = "multi_head_attention"
    memory = x if memory is None else memory
    if not all(is_tensor(each, layer, range(3, 4), "(batch, time, features)") for each in (x, memory)):
        return x
    model, features = x.model, x.shape[-1]
    H = parts(model, layer, "heads", heads, features, "features")
    each = features if H == 1 else fixed(model, features) / H
    query, key, value = (
        projection(source, f"{name}_{word}", "dhe", [source.shape[-1]], [H, each], shift)
        for source, word, shift in ((x, "query", bias), (memory, "key", bias and rotary), (memory, "value", bias))
    )
    tables = rotary_tables(query, key, layer, name) if rotary else None
    if tables is not None:
        query, key = (turned(part, *tables, f"{part.name}_turned") for part in (query, key))
    seen: dict[str, Any] = {"causal": causal, "mask": mask, "lengths": lengths}
    mixed = scaled_dot_product_attention(query, key, value, name=f"{name}_heads", **seen)
    return projection(mixed, f"{name}_out", "hed", [H, each], [features], bias, name)


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
    model, fit = query.model, len(query.shape) == len(key.shape) == len(value.shape)
    pairs = [(query, key, 0), (key, value, 0), (key, value, 1)]
    pairs += [(query, key, axis) for axis in range(2, len(query.shape))]
    pairs += [(key, value, axis) for axis in range(2, len(query.shape) - 1)]
    if fit and all(equal_sizes(model, a.shape[axis], b.shape[axis]) for a, b, axis in pairs):
        return True
    model.problem(
        f"{layer} takes a query (batch, time, …, features), a key (batch, steps, …, features) and a value "
        f"(batch, steps, …, width), found {described(query)}, {described(key)} and {described(value)}"
    )
    return False


def seen_arguments(
    layer: str, key: TensorSymbol, mask: TensorSymbol | None, lengths: TensorSymbol | None
) -> tuple[TensorSymbol | None, TensorSymbol | None]:
    """The mask and the lengths; None in place of what does not fit the keys."""
    model, (batch, steps, *_) = key.model, key.shape
    mask = fitting(model, layer, "mask", mask, (batch, steps))
    lengths = fitting(model, layer, "lengths", lengths, (batch,))
    if lengths is not None and not lengths.is_integer:
        model.problem(f"{layer}: lengths must be declared by model.labels, found {described(lengths)}")
        lengths = None
    return mask, lengths


def fitting(model: Model, layer: str, word: str, tensor: Any, shape: tuple[Any, ...]) -> TensorSymbol | None:
    """The tensor where it has this shape; None where it has not, which is noted, or is None."""
    if tensor is None:
        return None
    own = tensor.shape if isinstance(tensor, TensorSymbol) else ()
    if len(own) == len(shape) and all(equal_sizes(model, a, b) for a, b in zip(own, shape, strict=True)):
        return tensor
    found = described(tensor) if isinstance(tensor, TensorSymbol) else repr(tensor)
    model.problem(f"{layer}: {word} must be a tensor of shape {shape}, found {found}")
    return None
