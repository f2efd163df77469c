"""Whether a checkpoint is one that this training could have written.

A checksum tells damage, and not a file that somebody has made or changed. So a training that goes on from a checkpoint
takes it over, and then writes its progress again: it must come to the same text. Contradictions to what else is there
are looked for by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.runtime.json_text import shown
from derivgen.runtime.train.checkpoints import Checkpoint, altered


def random_state(generator: np.random.Generator, saved: Any) -> dict[str, Any]:
    """The generator's own state with the saved numbers; NumPy raises an error where they are none."""
    own: dict[str, Any] = dict(generator.bit_generator.state)
    state = {**own["state"], "state": saved["state"]["state"]}
    return {**own, "state": state, "has_uint32": int(saved["has_uint32"] > 0), "uinteger": saved["uinteger"]}


def refuse_forgery(path: Path, found: Mapping[str, Any], own: Mapping[str, Any], wrong: Mapping[str, bool]) -> None:
    """Raise DerivgenError where the progress that was found is not one's own, or something is wrong."""
    for name in dict.fromkeys((*own, *found)):
        texts = [json.dumps(part[name], sort_keys=True) if name in part else "nothing" for part in (own, found)]
        if texts[0] != texts[1]:
            wanted = shown(own[name]) if name in own else "absent"
            raise altered(path, f"{name} must be {wanted}, found {shown(found[name]) if name in found else 'nothing'}")
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise altered(path, f"{name} contradicts what else is in it, or the training that goes on from it")


def tensors_not_finite(module: ModuleType, checkpoint: Checkpoint) -> dict[str, bool]:
    """For each tensor, whether it has a number that is not finite: no training goes on from there."""
    tensors = {**module.views(checkpoint.parameters)}
    tensors |= {f"state.{slot}": array for slot, array in checkpoint.state._asdict().items()}
    if checkpoint.best is not None:
        tensors |= {f"best.{name}": view for name, view in module.views(checkpoint.best).items()}
    return {name: not np.isfinite(tensor).all() for name, tensor in tensors.items()}
