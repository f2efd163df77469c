"""A library of C, at strict and at fast flags, gives the numbers of the module for numba: all functions, ten epochs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from facts import EXAMPLES, ROOT, Case
from jobs import Pool, Result
from tools import has

TOLERANCES = {"float32": 2e-5, "float64": 1e-12}
EPOCHS = 10


def compared(case: Case) -> dict[str, dict[str, float]]:
    """By flags, the largest difference of each result."""
    sys.path.insert(0, str(ROOT / "tests"))
    import native_modules

    import derivgen
    from derivgen import runtime
    from derivgen.project.building import Options, build, render_native
    from derivgen.project.spec import load_target

    target = load_target(str(case.spec))
    if case.dtype == (target.model.dtype or "float32"):
        reference = runtime.load(EXAMPLES / case.name / f"{case.name}_kernels.py")
    else:
        reference = runtime.load(derivgen.generate(target.model, case.folder / f"{case.name}_kernels.py", case.dtype))
    data = native_modules.data_for(reference)
    wanted = native_modules.numbers_of(reference, data) | ten_epochs(reference, data)
    found = {}
    for kind, options in {"strict": Options(strict=True), "fast": Options()}.items():
        path = case.folder / f"{case.name}_{kind}.py"
        build(render_native(target, path, case.dtype, options), path, cc="gcc", options=options)
        module = runtime.load(path)
        numbers = native_modules.numbers_of(module, data) | ten_epochs(module, data)
        found[kind] = native_modules.differences(numbers, wanted)
    return found


def ten_epochs(module: ModuleType, data: dict[str, Any]) -> dict[str, Any]:
    """Parameters and loss after ten epochs from where the module starts, or after ten steps."""
    import native_modules
    import numpy as np

    parameters, state = module.initial_parameters(1), module.optimizer_state()
    if not hasattr(module, "train_epoch"):
        return {"ten steps": module.descend(parameters, state, EPOCHS, **data), "parameters": parameters}
    order = np.arange(native_modules.ROWS)
    seed = native_modules.seeds(module.train_epoch)
    losses = [module.train_epoch(parameters, state, order, 4, **data, **seed) for _ in range(EPOCHS)]
    return {"ten epochs": losses, "parameters": parameters}


def numbers(cases: list[Case], pool: Pool) -> Iterator[Result]:
    models = cases if has("gcc") else []
    for case, by_flags in zip(models, pool.map(compared, [(case,) for case in models]), strict=True):
        bound = TOLERANCES[case.dtype]
        largest = ", ".join(f"{kind} {max(errors.values()):.1e}" for kind, errors in by_flags.items())
        wrong = [
            f"{name}, {kind} flags: {error:.1e}, more than {bound:.0e}"
            for kind, errors in by_flags.items()
            for name, error in errors.items()
            if not error <= bound
        ]
        count = len(by_flags["strict"])
        yield Result(f"{case.words}: {count} results as numba has them; differences at most {largest}", tuple(wrong))
