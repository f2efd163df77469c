"""Random specs in C: losses, predictions and gradients against the 50-digit oracle, under flags for speed and for bits.

Of text for numba, tests/pipeline/test_random_specs.py asserts the same of the same specs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from generated import check_module
from native_modules import native, needs_compiler
from random_specs import Spec, for_each_spec, many

from derivgen.pipeline import declared_program

EXAMPLES = many(5)
RARE = 0.1  # gradients that are 0 by cancellation

pytestmark = needs_compiler


@pytest.mark.parametrize("strict", [False, True], ids=["fast", "strict"])
def test_gradients(strict: bool, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def check(spec: Spec) -> None:
        model = spec.model()
        declared = declared_program(model)
        folder = tmp_path / str(seen["specs"])
        folder.mkdir()
        seen["specs"] += 1
        module = native(model, folder, "float64", strict=strict)
        seen["cancelled"] += bool(check_module(module, declared, spec.values(declared)))

    for_each_spec(check, EXAMPLES, start=100 + strict)
    assert seen["specs"] == EXAMPLES
    assert seen["cancelled"] <= max(1, RARE * EXAMPLES)
