"""A guarded spec's module as plain Python, every access of its arrays checked, against the 50-digit oracle."""

from __future__ import annotations

import numpy as np
from generated import CheckedArray, CheckedNumpy, check_module, execute, module_text
from guarded_specs import GuardedSpec
from second_order_oracle import point_of

from derivgen.pipeline import declared_program

ROWS = (1, 2, 3, 5, 7)  # values of the run-time size at the second point


def check_guarded(spec: GuardedSpec) -> None:
    """Loss, gradients, prediction at two points, and the derivatives that the spec asks for at the first."""
    model = spec.model()
    declared, text = declared_program(model), module_text(model)
    other = spec.at(ROWS[spec.seed % len(ROWS)], spec.seed + 1)
    for at in (spec, other):
        module = execute(text, numpy=CheckedNumpy("numpy"))
        values = {name: np.asarray(a).view(CheckedArray) for name, a in at.values(declared).items()}
        check_module(module, declared, values)
        if at is spec and model.requests:
            point_of(module, model, values, spec.seed).check()
