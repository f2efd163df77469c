"""Whether the schedule of the learning rate ends before the training does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from types import ModuleType

NEGLIGIBLE = 1e-3  # of the initial rate: what is less trains next to nothing


def schedule_end(module: ModuleType, given: Mapping[str, float], before: int, each: int, epochs: int) -> str:
    """That the learning rate is next to 0 before the last epoch, with what to do; empty where it is not.

    `given`: hyperparameters that replace the module's own; `before`: steps of earlier trainings; `each`: steps in one
    epoch.
    """
    rule = inspect.signature(module.update).parameters.values()
    values = {a.name: float(given.get(a.name, a.default)) for a in rule if a.kind is a.KEYWORD_ONLY}
    if {"learning_rate", "decay_steps", "end_rate"} <= values.keys():
        name, end = "decay_steps", values["end_rate"]
    elif {"learning_rate", "total_steps", "start_factor", "end_factor"} <= values.keys():
        name = "total_steps"
        end = values["learning_rate"] / values["start_factor"] / values["end_factor"]
    else:
        return ""
    if scheduled(module, name) != "learning_rate" or end > NEGLIGIBLE * values["learning_rate"]:
        return ""
    warmup = values.get("warmup_steps", 0.0)
    last, steps = int(warmup + values[name]), before + each * epochs
    if steps <= last:
        return ""
    epoch, wanted = 1 + max(0, last - before) // each, f"{name}={steps - warmup:.15g}"
    added = f" after warmup_steps={warmup:.15g}" if warmup else ""
    earlier = f" (with {before:,} earlier ones)" if before else ""
    return (
        f"the learning rate is {end:.3g} from step {last + 1:,} on (epoch {epoch}): its schedule has "
        f"{name}={values[name]:.15g}{added}, this training {steps:,} steps{earlier}: give {wanted} (--set {wanted})"
    )


def scheduled(module: ModuleType, name: str) -> str:
    """The hyperparameter that the rule computes from this one, by the rule's formulas in the docstring of `update`."""
    text, _, _ = (module.update.__doc__ or "").partition(name)
    return (re.findall(r"(\w+) = ", text) or [""])[-1]
