"""Models that together have all that modules are made of, with names to be given: what they call and return.

Each takes `called(kind, default)`, the name of one thing of that kind, and gives the model; `use` calls all public
functions of its module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import sympy as sp
from generated import execute

from derivgen import Model, layers, optimizers
from derivgen.file import contract
from derivgen.optimizers import decoupled_decay, frozen, hyperparameter, l2_decay, rule
from derivgen.pipeline import generate_body
from derivgen.print.naming import functions_of

Called = Callable[[str, str], str]

theta, g, t = optimizers.theta, optimizers.g, optimizers.t
gradient_norm, tensor_norm = optimizers.gradient_norm, optimizers.tensor_norm
ROWS = 4


def own_rule(called: Called, by_tensor: bool = True) -> optimizers.UpdateRule:
    """A rule with slots that are kept once and for each parameter, a value of its own, and norms."""
    rate, more = (
        hyperparameter(called("hyperparameter", "rate")),
        hyperparameter(called("second hyperparameter", "more")),
    )
    slot, kept = sp.Symbol(called("slot", "slot"), real=True), sp.Symbol(called("kept slot", "kept"), real=True)
    own = sp.Symbol(called("value of a rule", "own"), real=True)
    assignments = [
        (kept, kept * more + 1 / t),
        (own, g / (1 + gradient_norm) + sp.tanh(theta * more)),
        (slot, sp.exp(-rate) * slot + own * kept + own**2),
        (theta, theta - rate * slot / (1 + (tensor_norm if by_tensor else 1 / t))),
    ]
    return rule("own", assignments, {slot: 0.0, kept: 1.0}, **{rate.name: 0.01, more.name: 0.5})


def training(called: Called, modes: bool = True) -> Model:
    """Most kinds of names, in a step and around it; with modes, a random tensor, a running one and both passes too."""
    model = Model(called("model", "named"), dtype="float64")
    N = model.batch(called("batch", "N"))
    D = model.sizes(**{called("size", "D"): 3})
    n, d = model.indices(**{called("index", "n"): N, called("second index", "d"): D})
    k = sp.Symbol(called("summed symbol", "k"), integer=True)
    x, s = model.input(called("input", "x"), N, D), model.input(called("scalar input", "s"))
    y = model.labels(called("labels", "y"), N, 2, classes=3, ignore=-1)
    q = model.labels(called("second labels", "q"), classes=2)
    W = model.parameter(called("parameter", "W"), D, init="orthogonal")
    b = model.parameter(called("second parameter", "b"), init=0.25)
    w = model.constant(called("constant", "w"), np.linspace(-1, 1, 3))
    mean = model.let(called("let", "mean"), d, sp.Sum(x[n, d], n) / N)
    extra: Any = 0
    if modes:
        r = model.random(called("random", "r"), N)
        m = model.running(called("running", "m"), D, init="ones", next=lambda d: 0.5 * m[d] + 0.1 * mean[d])
        extra = sp.Piecewise((r[n], sp.Eq(model.training, 1)), (0.5, True)) + sp.Sum(m[d] * W[d], d)
    inner = sp.Sum(x[n, d] * W[d] * w[d] + mean[d], d) + W[q] ** 3 + s * b
    z = model.let(
        called("second let", "z"), n, sp.tanh(inner) + sp.Sum(sp.exp(x[n, k] * W[k]), (k, 0, 1)) * sp.Max(b, 0)
    )
    h = model.recur(
        called("recurrence", "h"), (n, d), lambda h: sp.sin(h[n, d - 1] * b) + x[n, d] * W[d] / (1 + b**2) + z[n]
    )
    model.minimize(sp.Sum((h[n, D - 1] - W[y[n, 0]] + extra) ** 2, n) / N)
    model.predict(z)
    model.update(own_rule(called), {called("parameter", "W"): {called("hyperparameter", "rate"): 0.02}})
    model.second_order(*(contract.OF_EVALUATION if modes else ()))
    return model


def network(called: Called) -> Model:
    """Products of matrices that go to the parameters, and equal layers in a loop."""
    model = Model(called("model", "network"), dtype="float64")
    N = model.batch(called("batch", "N"))
    D, C = model.sizes(**{called("size", "D"): 64, called("second size", "C"): 3})
    n, c = model.indices(**{called("index", "n"): N, called("second index", "c"): C})
    x, y = model.input(called("input", "x"), N, D), model.labels(called("labels", "y"), N, classes=C)
    W = model.parameter(called("parameter", "W"), D, C, init="truncated_normal")
    for k in range(4):
        x = layers.dense(x, D, sp.tanh, name=f"{called('layer', 'dense')}{k}")
    i = model.local_indices(D)[0]
    z = model.let(called("let", "z"), (n, c), sp.Sum(x[n, i] * W[i, c], i))
    p = model.let(called("second let", "p"), (n, c), sp.exp(z[n, c]) / sp.Sum(sp.exp(z[n, c]), c))
    model.minimize(sp.Sum(-sp.log(p[n, y[n]]), n) / N)
    model.predict(p)
    return model


def drawing(called: Called, modes: bool = True) -> Model:
    """A prediction that draws, data that no rows are taken of, and groups."""
    model = Model(called("model", "drawing"), dtype="float64")
    N, M = model.batch(called("batch", "N")), model.batch(called("second batch", "M"))
    n, j = model.indices(**{called("index", "n"): N, called("second index", "j"): M})
    x, y = model.input(called("input", "x"), N, M), model.labels(called("labels", "y"), M, classes=2)
    W, b = (
        model.parameter(called("parameter", "W"), 2, init="normal"),
        model.parameter(called("second parameter", "b"), 3),
    )
    noise = model.random(called("random", "r"), N)[n] if modes else 1
    z = model.let(called("let", "z"), n, sp.Sum(x[n, j] * W[y[j]], j) + noise * b[0])
    model.minimize(sp.Sum(z[n] ** 2, n) + b[1] * b[2])
    model.predict(z)
    rule = optimizers.clip_norm(decoupled_decay(optimizers.adam()))
    model.update(rule, {called("second parameter", "b"): {"weight_decay": 0}})
    return model


def single(called: Called) -> Model:
    """Parameters alone, two of them frozen or decayed; no input."""
    model = Model(called("model", "single"), dtype="float64")
    W, b = model.parameter(called("parameter", "W"), init=0.5), model.parameter(called("second parameter", "b"), 2)
    model.minimize((1 - W) ** 2 + 100 * (b[0] - W**2) ** 2 + b[1])
    model.update(
        optimizers.clip_global_norm(l2_decay(optimizers.momentum())), {called("second parameter", "b"): frozen}
    )
    return model


def stack(called: Called) -> Model:
    """Many tensors, of which each other one is frozen."""
    model = Model(called("model", "stack"), dtype="float64")
    tensors = [model.parameter(f"{called('parameter', 'W')}{k}", 2, init="ones") for k in range(16)]
    model.minimize(sum(w[0] ** 2 * w[1] for w in tensors))
    model.update(own_rule(called, by_tensor=False), {f"{called('parameter', 'W')}*[13579]": frozen})
    return model


def curve(called: Called) -> Model:
    """Least squares and all derivatives of second order."""
    model = Model(called("model", "curve"), dtype="float64")
    N = model.batch(called("batch", "N"))
    n, d = model.indices(**{called("index", "n"): N, called("second index", "d"): 2})
    s, x = model.input(called("second input", "s"), N), model.input(called("input", "x"), N)
    y = model.labels(called("labels", "y"), N, classes=3)
    W = model.parameter(called("parameter", "W"), 3, init="uniform")
    b = model.parameter(called("second parameter", "b"), 2, init="ones")
    w = model.constant(called("constant", "w"), [1.0, 0.5])
    f = model.let(called("let", "f"), n, sp.Sum(b[d] * sp.exp(-(b[d] ** 2) * x[n] * w[d]), d) + W[y[n]] * x[n])
    p = model.let(called("second let", "p"), n, sp.tanh(f[n]) + f[n])
    model.least_squares(model.let(called("residual", "r"), n, p[n] - s[n]))
    model.predict(p)
    model.update(own_rule(called, by_tensor=False))
    model.second_order(*(name for name in contract.DERIVATIVES if name not in ("residuals", *contract.OF_EVALUATION)))
    return model


def outputs(called: Called, modes: bool = True) -> Model:
    """Hessians of several parameters, and the Jacobian of two residuals, sparse."""
    model = Model(called("model", "outputs"), dtype="float64")
    N = model.batch(called("batch", "N"))
    n, d = model.indices(**{called("index", "n"): N, called("second index", "d"): 5})
    x, y = model.input(called("input", "x"), N), model.labels(called("labels", "y"), N, classes=5)
    W = model.parameter(called("parameter", "W"), 5, init="normal")
    b = model.parameter(called("second parameter", "b"), 5, init="normal")
    noise = model.random(called("random", "q"), N)[n] if modes else 1
    first = model.let(called("let", "first"), n, W[y[n]] * x[n] + noise)
    second = model.let(called("second let", "second"), d, b[d] * W[d])
    model.least_squares(first, second)
    model.second_order("hessian", "hessian_diagonal", "hessian_vector_product")
    return model


STILL = (network, single, stack, curve)
MODAL = (training, drawing, outputs)


def inputs_of(module: ModuleType) -> list[np.ndarray]:
    """Values of the inputs, in the spec's order; a size at run time is ROWS."""
    rng, values = np.random.default_rng(5), []
    for entry in module.INPUTS:
        shape = [extent if isinstance(extent, int) else ROWS for extent in entry.shape]
        values.append(rng.integers(0, entry.classes, shape) if entry.classes else rng.uniform(-1, 1, shape))
    return values


def numbers(found: Any) -> list[Any]:
    """The numbers in what a function returns."""
    if isinstance(found, dict | tuple):
        return [n for part in (found.values() if isinstance(found, dict) else found) for n in numbers(part)]
    return [found.toarray() if hasattr(found, "toarray") else np.array(found)]


def use(module: ModuleType) -> list[np.ndarray]:
    """Numbers from every public function, all inputs by name where they can be."""
    values, names = inputs_of(module), [entry.name for entry in module.INPUTS]
    inputs, parameters = dict(zip(names, values, strict=True)), module.initial_parameters(3)
    draws = {"seed": 7} if hasattr(module, "draw") else {}
    found = [parameters.copy(), *numbers(module.loss_and_gradient(parameters, **inputs, **draws))]
    for function in ("loss", "predict", "activations", *contract.DERIVATIVES):
        if hasattr(module, function):
            call = getattr(module, function)
            taken = call.__code__.co_varnames[: call.__code__.co_argcount]
            vector = contract.VECTORS.get(function)
            given = {name: value for name, value in inputs.items() if name in taken}
            if vector == "v":
                given = {**given, "v": np.linspace(-1, 1, parameters.size)}
            first = [np.linspace(-1, 1, ROWS)] if vector == "u" else []
            found += numbers(call(parameters, *first, **given))
    module.workspace(*[ROWS] * module.workspace.__code__.co_argcount)
    state, gradient = module.optimizer_state(), module.loss_and_gradient(parameters, **inputs)[1]
    module.update(parameters, gradient, state)
    if hasattr(module, "train_epoch"):
        order = np.array([2, 0, 1])
        found += numbers(module.mean_gradient(parameters, order, 2, **inputs))
        found.append(np.array(module.train_epoch(parameters, state, order, 2, **inputs, **draws)))
    found += [module.descend(parameters, state, 2, **inputs), *(np.array(slot) for slot in state)]
    return [*found, parameters.copy(), *(np.array(view) for view in module.views(parameters).values())]


# ---- names of every kind

MEANT = {("value of a rule", "theta"), ("value of a rule", "g")}  # θ and its gradient themselves


def kinds_of(make: Callable[[Called], Model]) -> list[str]:
    """The kinds of names that a model has."""
    found: dict[str, None] = {}
    make(lambda kind, default: found.setdefault(kind) or f"own_{default}")
    return list(found)


def names_in_modules() -> list[str]:
    """Every function, argument and local of the models' modules, and all that these refer to."""
    found: set[str] = set()
    for make in (*STILL, *MODAL):
        for f in functions_of(generate_body(make(lambda kind, default: default), "float64").body):
            found |= {f.name, *f.bound, *f.referred_to}
    return sorted(found)


def renamings(names: Sequence[str], kinds: Sequence[str], rotation: int) -> Iterator[dict[str, str]]:
    """Names by kind, such that each name is once of some kind; of another one by another rotation."""
    for start in range(0, len(names), len(kinds)):
        yield {kinds[(k + rotation) % len(kinds)]: name for k, name in enumerate(names[start : start + len(kinds)])}


def generated(make: Callable[[Called], Model], renamed: Mapping[str, str]) -> tuple[ModuleType, list[str]]:
    """(the module with these names, but those that were refused; what was said of these)

    A refusal is at a line of the spec, and holds the name.
    """
    names, said = {kind: name for kind, name in renamed.items() if (kind, name) not in MEANT}, list[str]()
    while True:
        try:
            body = generate_body(make(lambda kind, default: names.get(kind, f"own_{default}")), "float64").body
            return execute(body), said
        except ValueError as error:
            problems = getattr(error, "problems", ())
            assert all(p.place is not None and p.place.file == __file__ for p in problems), error
            messages = [p.message for p in problems] or [str(error)]
            refused = [kind for kind, name in names.items() if any(re.search(rf"\b{name}\b", m) for m in messages)]
            assert refused, error
            said += messages
            for kind in refused:
                del names[kind]


def check_renamed(make: Callable[[Called], Model], renamed: Mapping[str, str], expected: list[np.ndarray]) -> list[str]:
    """Raise AssertionError where a module with these names gives other numbers; gives what was refused."""
    module, said = generated(make, renamed)
    for position, (found, want) in enumerate(zip(use(module), expected, strict=True)):
        error = f"{make.__name__} with {dict(renamed)}, number {position}"
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-11, err_msg=error)
    return said
