"""A library of C, at strict and at fast flags, gives the numbers of the module for numba: all functions, ten epochs.

Each function keeps the tolerance. Steps can enlarge rounding without bound: a rule that divides by the root of an
average of squares moves a parameter whose gradient is rounding alone by a whole rate. Where a result of steps differs
by more, it is compared with numba's own errors: how its results move when each parameter starts an ulp elsewhere, when
sums are in order instead of in vectors, and from float32 to float64. Where a number falls on the other side of a
branch (of a ReLU), all later ones differ; a start where that happens tells nothing, and the next is taken. A mistake
is seen from all of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from facts import EXAMPLES, ROOT, Case
from jobs import Pool, Result
from tools import has

if TYPE_CHECKING:
    import numpy as np

    from derivgen.project.spec import Target

TOLERANCES = {"float32": 2e-5, "float64": 1e-12}
EPOCHS = 10
STARTS, MOVES = (1, 2, 3), 4  # seeds of initial parameters; how often these are moved by an ulp
MARGIN = 4  # by how many of its own errors C's results of steps may differ from numba's
BY_STEPS = {"epochs", "after epochs", "dropped", "descent", "after all", "losses of ten epochs", "parameters"}
VECTORS = '"fastmath": {"reassoc", "contract", "arcp"}'


@dataclass(frozen=True)
class Comparison:
    """By flags, then by results: how much these differ; and numba's own errors, where one differs too much."""

    start: int
    bound: float
    differences: Mapping[str, Mapping[str, float]]
    own: Mapping[str, float]

    def words(self) -> str:
        largest = ", ".join(f"{kind} {max(errors.values()):.1e}" for kind, errors in self.differences.items())
        words = f"{len(self.differences['strict'])} results as numba has them; differences at most {largest}"
        words += f", where numba's own errors are {max(self.own.values()):.1e}" if self.own else ""
        return words + (f", from start {self.start}" if self.start > STARTS[0] else "")

    def wrong(self) -> dict[str, str]:
        """By results, what to say of those that differ too much."""
        return {
            name: f"{name}, {kind} flags: {error:.1e}, more than {self.allowed(name):.1e}"
            for kind, errors in self.differences.items()
            for name, error in errors.items()
            if not error <= self.allowed(name)
        }

    def allowed(self, name: str) -> float:
        own = self.own.get(name, 0.0) if is_by_steps(name) else 0.0
        return max(self.bound, MARGIN * own if own < 1 else 0.0)  # what moves by all of itself tells nothing


def is_by_steps(name: str) -> bool:
    return name in BY_STEPS or name.startswith("state.")


def compared(case: Case) -> Comparison:
    sys.path.insert(0, str(ROOT / "tests"))
    from derivgen import runtime
    from derivgen.project.building import Options, build, render_native
    from derivgen.project.spec import load_target

    target, modules = load_target(str(case.spec)), {}
    for kind, options in {"strict": Options(strict=True), "fast": Options()}.items():
        path = case.folder / f"{case.name}_{kind}.py"
        build(render_native(target, path, case.dtype, options), path, cc="gcc", options=options)
        modules[kind] = runtime.load(path)
    reference = module_for_numba(target, case, case.dtype)
    found = from_start(STARTS[0], case, reference, modules)
    for start in STARTS[1:]:
        if not found.wrong() or not all(map(is_by_steps, found.wrong())):
            break
        found = from_start(start, case, reference, modules)
    return found


def from_start(start: int, case: Case, reference: ModuleType, modules: Mapping[str, ModuleType]) -> Comparison:
    import native_modules

    bound, data = TOLERANCES[case.dtype], native_modules.data_for(reference)
    wanted = numbers_of(reference, data, start)
    found = {
        kind: native_modules.differences(numbers_of(module, data, start), wanted) for kind, module in modules.items()
    }
    if max(error for errors in found.values() for error in errors.values()) <= bound:
        return Comparison(start, bound, found, {})
    errors = [native_modules.differences(other, wanted) for other in other_ways(start, case, reference, data)]
    return Comparison(start, bound, found, {name: max(error[name] for error in errors) for name in wanted})


def other_ways(start: int, case: Case, reference: ModuleType, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All results, by numba too, with other rounding."""
    import native_modules

    from derivgen import runtime
    from derivgen.project.spec import load_target

    for move in range(MOVES):
        yield numbers_of(reference, data, start, move)
    text = Path(str(reference.__file__)).read_text(encoding="utf-8")
    assert VECTORS in text
    in_order = case.folder / f"{case.name}_in_order.py"
    in_order.write_text(text.replace(VECTORS, '"fastmath": {"contract"}'), encoding="utf-8")
    yield numbers_of(runtime.load(in_order), data, start)
    if case.dtype == "float32":
        exact = module_for_numba(load_target(str(case.spec)), case, "float64")
        yield numbers_of(exact, native_modules.data_for(exact), start)


def module_for_numba(target: Target, case: Case, dtype: str) -> ModuleType:
    import derivgen
    from derivgen import runtime

    if dtype == (target.model.dtype or "float32"):
        return runtime.load(EXAMPLES / case.name / f"{case.name}_kernels.py")
    path = case.folder / f"{case.name}_{dtype}.py"
    return runtime.load(path if path.exists() else derivgen.generate(target.model, path, dtype))


def numbers_of(module: ModuleType, data: dict[str, Any], start: int, move: int | None = None) -> dict[str, Any]:
    """All results; `move`: the seed by which each parameter starts an ulp elsewhere."""
    import native_modules
    import numpy as np

    rng = None if move is None else np.random.default_rng(move)
    return native_modules.numbers_of(module, data, start, rng) | ten_epochs(module, data, start, rng)


def ten_epochs(module: ModuleType, data: dict[str, Any], start: int, rng: np.random.Generator | None) -> dict[str, Any]:
    """Parameters and loss after ten epochs, or ten steps, from where the module starts.

    Where the loss becomes infinite at the module's own rate, the rate is a thousandth of it.
    """
    import native_modules
    import numpy as np

    order, found = np.arange(native_modules.ROWS), {}
    rate = inspect.signature(module.descend).parameters["learning_rate"].default
    for slower in (1, 1000):
        parameters, state = native_modules.moved(module.initial_parameters(start), rng), module.optimizer_state()
        given = data | {"learning_rate": rate / slower}
        if hasattr(module, "train_epoch"):
            given |= native_modules.seeds(module.train_epoch)
            losses = [module.train_epoch(parameters, state, order, 4, **given) for _ in range(EPOCHS)]
        else:
            losses = [module.descend(parameters, state, 1, **given)[-1] for _ in range(EPOCHS)]
        found = {"losses of ten epochs": losses, "parameters": parameters}
        if np.isfinite(losses).all():
            break
    return found


def numbers(cases: list[Case], pool: Pool) -> Iterator[Result]:
    models = cases if has("gcc") else []
    for case, comparison in zip(models, pool.map(compared, [(case,) for case in models]), strict=True):
        yield Result(f"{case.words}: {comparison.words()}", tuple(comparison.wrong().values()))
