"""Records of the layers in training, and warnings: vanishing and exploding gradients, dead units."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.json_text import short, shown

Array = np.ndarray[Any, Any]

ROWS = 1024  # of the training data that the monitor looks at, at the end of each epoch
VANISHED = 1e-4  # a gradient smaller than this part of the last layer's
EXPLODED = 1e3  # a gradient larger than that many times the last layer's, or itself before training
LARGEST_STEP = 0.1  # of a layer's parameters, in one update
DEAD = 0.5  # of a layer's units


class LayerRecord(NamedTuple):
    """A layer at the end of an epoch: root mean squares, which layers of different sizes can be compared by.

    `gradient`, `update` and `parameters` are of the layer's parameters, NaN-free and None where it has none; `update`
    is that of one step on the monitor's rows. `activation` is that of the layer's values, `dead` the share of its units
    that are 0 in every row; None where the layer gives a single number.
    """

    layer: str
    gradient: float | None
    update: float | None
    parameters: float | None
    activation: float | None
    dead: float | None


def layer_record_of(fields: Mapping[str, Any]) -> LayerRecord:
    """The record with these fields; DerivgenError where `observe_layers` makes none such."""
    if set(fields) != set(LayerRecord._fields):
        raise DerivgenError(f"a layer must be an object of {', '.join(LayerRecord._fields)}")
    record = LayerRecord(**fields)
    if not isinstance(record.layer, str):
        raise DerivgenError(f"layer must be a layer's name, found {shown(record.layer)}")
    for name, value in zip(record._fields[1:], record[1:], strict=True):
        if value is not None and not isinstance(value, float):
            raise DerivgenError(f"{name} of layer {short(record.layer)} must be a number or null, found {shown(value)}")
    return record


def is_finite(record: LayerRecord) -> bool:
    return all(value is None or math.isfinite(value) for value in record[1:])


def observe_layers(
    module: ModuleType, parameters: Array, state: Any, data: Mapping[str, Array], settings: Mapping[str, float]
) -> tuple[LayerRecord, ...]:
    """A record a layer, at these parameters on these data; nothing is changed."""
    draws = {"seed": settings["seed"]} if "seed" in settings else {}
    gradient = module.loss_and_gradient(parameters, **data, **draws)[1]
    moved = parameters.copy()
    rates = {name: value for name, value in settings.items() if name != "seed"}
    module.update(moved, gradient, copy.deepcopy(state), **rates)
    vectors = [module.views(vector) for vector in (gradient, moved - parameters, parameters)]
    seen = module.activations(parameters, **data, **draws) if hasattr(module, "activations") else []
    records = []
    for number, layer in enumerate(module.LAYERS):
        sizes = [root_mean_square([view[name] for name in layer.parameters]) for view in vectors]
        activation, dead = (float(value) for value in seen[number]) if len(seen) else (math.nan, math.nan)
        known = (None, None) if math.isnan(dead) else (activation, dead)
        records.append(LayerRecord(layer.name, *sizes, *known))
    return tuple(records)


def root_mean_square(tensors: Sequence[Array]) -> float | None:
    """Of all elements together; None of no tensors."""
    if not tensors:
        return None
    squares = sum(float(np.sum(np.square(t, dtype=np.float64))) for t in tensors)
    return math.sqrt(squares / sum(t.size for t in tensors))


def warnings_of(records: Sequence[LayerRecord], first: Sequence[LayerRecord]) -> dict[str, str]:
    """What is wrong with some layers, in words by what it is of; `first` are the records before training."""
    gradients = {r.layer: r.gradient for r in records if r.gradient is not None}
    if not gradients:
        return {}
    found = {**vanishing(gradients), **exploding(gradients, first)}
    for r in records:
        if r.update and r.parameters and r.update > LARGEST_STEP * r.parameters:
            share = r.update / r.parameters
            found[f"step of {r.layer}"] = (
                f"layer {r.layer}: one step changes its parameters by {share:.0%}: lower the learning rate"
            )
        if r.dead is not None and r.dead > DEAD:
            found[f"dead units of {r.layer}"] = (
                f"layer {r.layer}: {r.dead:.0%} of its units are dead, 0 in every row: lower the learning rate, or "
                "take an activation that is nowhere flat (leaky_relu, gelu)"
            )
    return found


def vanishing(gradients: Mapping[str, float]) -> dict[str, str]:
    """Layers whose gradient is far smaller than that of the last one, which is next to the loss, as one warning."""
    last = list(gradients)[-1]
    small = [name for name, size in gradients.items() if size < VANISHED * gradients[last]]
    if not small:
        return {}
    least = min(small, key=gradients.__getitem__)
    text = (
        f"the gradient vanishes in {layers_text(small)}: {gradients[least]:.2g} in {least}, {gradients[last]:.2g} in "
        f"{last}. Take another activation (relu, tanh with glorot_uniform), normalization, or shortcuts around layers"
    )
    return {"vanishing gradients": text}


def exploding(gradients: Mapping[str, float], first: Sequence[LayerRecord]) -> dict[str, str]:
    """Layers whose gradient is far larger than that of the last one, or than it was, as one warning."""
    last = list(gradients)[-1]
    before = {r.layer: r.gradient for r in first}
    large = {}
    for name, size in gradients.items():
        start = before.get(name)
        if start and not size <= EXPLODED * start:
            large[name] = f"{size:.2g} in {name}, {start:.2g} before training"
        elif gradients[last] and not size <= EXPLODED * gradients[last]:
            large[name] = f"{size:.2g} in {name}, {gradients[last]:.2g} in {last}"
    if not large:
        return {}
    worst = max(large, key=gradients.__getitem__)
    text = (
        f"the gradient explodes in {layers_text(list(large))}: {large[worst]}. Lower the learning rate, or clip the "
        "gradient (optimizers.clip_global_norm)"
    )
    return {"exploding gradients": text}


def layers_text(names: Sequence[str]) -> str:
    """`layer a`, `layers a, b`, `layers a, …, z (12)`"""
    if len(names) == 1:
        return f"layer {names[0]}"
    return f"layers {', '.join(names)}" if len(names) <= 4 else f"layers {names[0]}, …, {names[-1]} ({len(names)})"
