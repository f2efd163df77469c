"""Update rules, schedules, decay and clipping against PyTorch's optimizers, and against their formulas at 50 digits."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from types import ModuleType

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from generated import execute, module_text

from derivgen import Model, optimizers, runtime, schedules
from derivgen.errors import SpecError
from derivgen.file import contract
from derivgen.form.functions import stop_gradient
from derivgen.optimizers import (
    UpdateRule,
    clip_global_norm,
    clip_norm,
    clip_value,
    decoupled_decay,
    frozen,
    hyperparameter,
    l2_decay,
    rule,
)
from derivgen.pipeline import declared_program, generate_body
from derivgen.schedule import parallel

theta, g, t = optimizers.theta, optimizers.g, optimizers.t
gradient_norm, tensor_norm = optimizers.gradient_norm, optimizers.tensor_norm
lr = hyperparameter("learning_rate")

STEPS = 200
SHAPES = {"W": (3, 2), "b": (2,), "V": (2, 3)}
RNG = np.random.default_rng(0)
START = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
# Some gradients are 0, some change their sign, and their scale changes by orders.
GRADIENTS = [
    {name: RNG.normal(size=s) * 10.0 ** RNG.uniform(-3, 1) * (RNG.random(s) > 0.1) for name, s in SHAPES.items()}
    for _ in range(STEPS)
]


def quadratic(rule: UpdateRule, groups: dict | None = None, names: str = "WbV") -> Model:
    """A model with these parameters; its gradients are not used."""
    model = Model("quadratic")
    terms = []
    for name, shape in ((name, SHAPES[name]) for name in names):
        tensor, indices = model.parameter(name, *shape, init=START[name]), model.local_indices(*shape)
        terms.append(sp.Sum(tensor[tuple(indices)] ** 2, *indices))
    model.minimize(sum(terms))
    model.update(rule, groups)
    return model


def flat(tensors: dict) -> np.ndarray:
    return np.concatenate([np.ravel(t) for t in tensors.values()])


def ours(
    rule: UpdateRule,
    dtype: str = "float64",
    groups: dict | None = None,
    steps: int = STEPS,
    names: str = "WbV",
    **settings: float,
):
    return trained(execute(module_text(quadratic(rule, groups, names), dtype)), steps, names, **settings)


def trained(module: ModuleType, steps: int, names: str = "WbV", **settings: float) -> np.ndarray:
    parameters, state = module.initial_parameters(), module.optimizer_state()
    for gradient in GRADIENTS[:steps]:
        own = flat({name: gradient[name] for name in names}).astype(parameters.dtype)
        module.update(parameters, own, state, **settings)
    assert state.step[0] == steps
    return parameters


@pytest.fixture(autouse=True)
def double_precision():
    """NAdam's product of momenta is of PyTorch's default dtype, whatever the parameters'."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def theirs(make: Callable, groups: Callable | None = None, clip: Callable | None = None, scheduler=None):
    tensors = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in START.items()}
    optimizer = make(list(tensors.values()) if groups is None else groups(tensors))
    schedule = scheduler(optimizer) if scheduler else None
    for gradient in GRADIENTS:
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradient[name])
        if clip:
            clip(list(tensors.values()))
        optimizer.step()
        if schedule:
            schedule.step()
    return flat({name: tensor.detach().numpy() for name, tensor in tensors.items()})


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    assert np.abs(wanted - flat(START)).max() > 1e-4  # it has moved
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


optim = torch.optim
RULES = {
    "gradient descent": (optimizers.gradient_descent(0.02), lambda p: optim.SGD(p, 0.02)),
    "gradient descent, l2": (
        l2_decay(optimizers.gradient_descent(0.02), 0.1),
        lambda p: optim.SGD(p, 0.02, weight_decay=0.1),
    ),
    "momentum": (optimizers.momentum(0.02, 0.8), lambda p: optim.SGD(p, 0.02, momentum=0.8)),
    "nesterov": (optimizers.nesterov(0.02, 0.8), lambda p: optim.SGD(p, 0.02, momentum=0.8, nesterov=True)),
    "nesterov, l2": (
        l2_decay(optimizers.nesterov(0.02, 0.8), 0.1),
        lambda p: optim.SGD(p, 0.02, momentum=0.8, nesterov=True, weight_decay=0.1),
    ),
    "adagrad": (optimizers.adagrad(), optim.Adagrad),
    "adagrad, accumulator": (
        optimizers.adagrad(0.1, epsilon=1e-6, initial_accumulator_value=0.3),
        lambda p: optim.Adagrad(p, 0.1, eps=1e-6, initial_accumulator_value=0.3),
    ),
    "adagrad, decay of the rate": (
        optimizers.adagrad(0.1 / (1 + (optimizers.t - 1) * sp.Float("0.05"))),
        lambda p: optim.Adagrad(p, 0.1, lr_decay=0.05),
    ),
    "adadelta": (optimizers.adadelta(), optim.Adadelta),
    "adadelta, options": (
        l2_decay(optimizers.adadelta(0.5, rho=0.8, epsilon=1e-4), 0.1),
        lambda p: optim.Adadelta(p, 0.5, rho=0.8, eps=1e-4, weight_decay=0.1),
    ),
    "rmsprop": (optimizers.rmsprop(), optim.RMSprop),
    "rmsprop, centered": (optimizers.rmsprop(centered=True), lambda p: optim.RMSprop(p, centered=True)),
    "rmsprop, momentum": (
        optimizers.rmsprop(0.003, rho=0.9, momentum=0.7, epsilon=1e-6),
        lambda p: optim.RMSprop(p, 0.003, alpha=0.9, momentum=0.7, eps=1e-6),
    ),
    "rmsprop, all": (
        l2_decay(optimizers.rmsprop(0.003, momentum=0.7, centered=True), 0.1),
        lambda p: optim.RMSprop(p, 0.003, momentum=0.7, centered=True, weight_decay=0.1),
    ),
    "adam": (optimizers.adam(), optim.Adam),
    "adam, options": (
        l2_decay(optimizers.adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-5), 0.1),
        lambda p: optim.Adam(p, 0.01, betas=(0.8, 0.99), eps=1e-5, weight_decay=0.1),
    ),
    "amsgrad": (optimizers.amsgrad(0.01), lambda p: optim.Adam(p, 0.01, amsgrad=True)),
    "adamw": (optimizers.adamw(), optim.AdamW),
    "adamw, options": (optimizers.adamw(0.01, weight_decay=0.2), lambda p: optim.AdamW(p, 0.01, weight_decay=0.2)),
    "amsgrad, decoupled decay": (
        decoupled_decay(optimizers.amsgrad(0.01), 0.2),
        lambda p: optim.AdamW(p, 0.01, amsgrad=True, weight_decay=0.2),
    ),
    "adamax": (optimizers.adamax(), optim.Adamax),
    "adamax, options": (
        l2_decay(optimizers.adamax(0.01, 0.8, 0.99, 1e-4), 0.1),
        lambda p: optim.Adamax(p, 0.01, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1),
    ),
    "nadam": (optimizers.nadam(), optim.NAdam),
    "nadam, options": (
        decoupled_decay(optimizers.nadam(0.01, 0.8, 0.99, 1e-5, momentum_decay=0.1), 0.1),
        lambda p: optim.NAdam(
            p, 0.01, (0.8, 0.99), 1e-5, weight_decay=0.1, momentum_decay=0.1, decoupled_weight_decay=True
        ),
    ),
    "rprop": (optimizers.rprop(), optim.Rprop),
    "rprop, options": (
        optimizers.rprop(0.02, eta_minus=0.4, eta_plus=1.5, step_min=1e-3, step_max=0.5),
        lambda p: optim.Rprop(p, 0.02, etas=(0.4, 1.5), step_sizes=(1e-3, 0.5)),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_are_those_of_pytorch(name: str) -> None:
    rule, make = RULES[name]
    close(ours(rule), theirs(make))


def test_every_rule_is_compared() -> None:
    """Lion, which PyTorch has not, by its formula below."""
    compared = {rule.name for rule, _ in RULES.values()} | {"lion"}
    assert compared == {*optimizers.BY_NAME}


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lion_is_the_paper_s(decay: float) -> None:
    """Chen et al. 2023, algorithm 2, at 50 digits."""
    rate, b1, b2 = 0.01, 0.9, 0.99
    with mpmath.workdps(50):
        theta, m = [mpmath.mpf(float(x)) for x in flat(START)], [mpmath.mpf(0)] * len(flat(START))
        for gradients in GRADIENTS:
            for i, g in enumerate(map(float, flat(gradients))):
                c = mpmath.mpf(b1) * m[i] + (1 - mpmath.mpf(b1)) * g
                theta[i] -= mpmath.mpf(rate) * (mpmath.sign(c) + decay * theta[i])
                m[i] = mpmath.mpf(b2) * m[i] + (1 - mpmath.mpf(b2)) * g
        wanted = np.array([float(x) for x in theta])
    rule = optimizers.lion(rate, b1, b2)
    close(ours(decoupled_decay(rule, decay) if decay else rule), wanted)


# ---- clipping


CLIPS = {
    "value": (clip_value, lambda p: torch.nn.utils.clip_grad_value_(p, 0.5)),
    "tensor norm": (clip_norm, lambda p: [torch.nn.utils.clip_grad_norm_([one], 0.5) for one in p]),
    "global norm": (clip_global_norm, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5)),
}


@pytest.mark.parametrize("name", CLIPS)
def test_clipping_is_pytorch_s(name: str) -> None:
    clip, of_torch = CLIPS[name]
    rule = clip(l2_decay(optimizers.momentum(0.02), 0.1), 0.5)
    wanted = theirs(lambda p: optim.SGD(p, 0.02, momentum=0.9, weight_decay=0.1), clip=of_torch)
    close(ours(rule), wanted)
    unclipped = theirs(lambda p: optim.SGD(p, 0.02, momentum=0.9, weight_decay=0.1))
    assert np.abs(wanted - unclipped).max() > 0.01


def test_a_norm_beyond_float32_is_no_infinity() -> None:
    """Squares of 1e30 overflow in float32."""
    module = execute(module_text(quadratic(clip_global_norm(optimizers.gradient_descent(1.0), 1.0)), "float32"))
    parameters, start = module.initial_parameters(), module.initial_parameters()
    module.update(parameters, np.full_like(parameters, 1e30), module.optimizer_state())
    assert np.allclose(start - parameters, 1 / math.sqrt(len(start)), rtol=1e-5)


# ---- what differs by tensor


def test_groups_are_those_of_pytorch() -> None:
    """No decay on the bias, a tenth of the rate for V."""
    rule = optimizers.adamw(0.01, weight_decay=0.2)
    groups = {"b": {"weight_decay": 0}, "V": {"learning_rate": optimizers.hyperparameter("learning_rate") / 10}}

    def of_torch(p):
        return [
            {"params": [p["W"]]},
            {"params": [p["b"]], "weight_decay": 0.0},
            {"params": [p["V"]], "lr": 0.001},
        ]

    close(ours(rule, groups=groups), theirs(lambda p: optim.AdamW(p, 0.01, weight_decay=0.2), groups=of_torch))


def test_groups_follow_what_callers_give() -> None:
    groups = {"V": {"learning_rate": optimizers.hyperparameter("learning_rate") / 10}}
    given = ours(optimizers.adam(0.5), groups=groups, learning_rate=0.01)
    np.testing.assert_array_equal(given, ours(optimizers.adam(0.01), groups=groups))


@pytest.mark.parametrize("rule", [optimizers.nadam(0.01), clip_global_norm(optimizers.gradient_descent(0.01), 0.5)])
def test_frozen_tensors_stay(rule: UpdateRule) -> None:
    """And are no part of the norm; the slots that are kept once move on once."""

    def without_bias(p):
        p["b"].requires_grad_(False)
        return [p["W"], p["V"]]

    found = ours(rule, groups={"b*": optimizers.frozen})
    np.testing.assert_array_equal(found[6:8], START["b"])
    if rule.name == "nadam":
        wanted = theirs(lambda p: optim.NAdam(p, 0.01), groups=without_bias)
    else:
        wanted = theirs(
            lambda p: optim.SGD(p, 0.01),
            groups=without_bias,
            clip=lambda p: torch.nn.utils.clip_grad_norm_([p[0], p[2]], 0.5),
        )
    close(found, wanted)


def test_docstrings_say_which_tensors_differ() -> None:
    rate = optimizers.hyperparameter("learning_rate")
    groups = {"b": {"weight_decay": 0, "learning_rate": rate / 10}, "V": optimizers.frozen}
    module = execute(module_text(quadratic(optimizers.adamw(), groups)))
    for function in (module.update, module.update_kernel):
        lines = [line.strip() for line in function.__doc__.splitlines()]
        said = [
            "t: the step, from 1",
            "b: learning_rate = learning_rate/10, weight_decay = 0",
            "V: frozen, left as it is",
        ]
        assert "\n".join(said) in "\n".join(lines)


def test_later_groups_win() -> None:
    """A setting after frozen trains, with nothing of what was set before it."""
    rule, rate = optimizers.adamw(0.01, weight_decay=0.2), {"learning_rate": 0.05}
    found = ours(rule, groups={"W*": {"weight_decay": 0}, "*": frozen, "W": rate})
    wanted = ours(rule, groups={"W": rate, "b": frozen, "V": frozen})
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(found[6:], flat(START)[6:])
    assert np.abs(found[:6] - flat(START)[:6]).min() > 0.01
    np.testing.assert_array_equal(ours(rule, groups={"*": frozen, "W": {}, "[!W]": {}}), ours(rule))
    last = ours(rule, groups={"W": rate, "[WV]": frozen})
    np.testing.assert_array_equal(np.delete(last, [6, 7]), np.delete(flat(START), [6, 7]))


@pytest.mark.parametrize("name", ["W", "V"])
def test_the_first_or_the_last_tensor_is_frozen(name: str) -> None:
    """What is left is one stretch of the flat vector, not always from its start."""
    rule = clip_global_norm(optimizers.momentum(0.02), 0.5)
    left = "WbV".replace(name, "")
    found, wanted = ours(rule, groups={name: frozen}), ours(rule, names=left)
    start = dict(zip("WbV", (slice(6), slice(6, 8), slice(8, 14)), strict=True))
    np.testing.assert_array_equal(found[start[name]], np.ravel(START[name]))
    np.testing.assert_array_equal(np.delete(found, np.r_[start[name]]), wanted)


def test_freezing_all_is_refused() -> None:
    with pytest.raises(SpecError, match="freeze every parameter, so that nothing is trained") as refusal:
        declared_program(quadratic(optimizers.adam(), {"*": frozen}))
    (problem,) = refusal.value.problems
    assert problem.place is not None and problem.place.file == __file__


# ---- rates that depend on t

sched = optim.lr_scheduler
SCHEDULES = {
    "constant": (schedules.constant(0.05), lambda o: sched.ConstantLR(o, factor=1.0)),
    "robbins-monro": (schedules.robbins_monro(0.5, 10), lambda o: sched.LambdaLR(o, lambda k: 10 / (11 + k))),
    "exponential": (schedules.exponential(0.05, 0.98, 1), lambda o: sched.ExponentialLR(o, 0.98)),
    "step": (schedules.step(0.05, 0.3, 40), lambda o: sched.StepLR(o, 40, 0.3)),
    "polynomial": (
        schedules.polynomial(0.05, 150, power=2.0),
        lambda o: sched.PolynomialLR(o, total_iters=150, power=2.0),
    ),
    "cosine": (schedules.cosine(0.05, STEPS, end=0.01), lambda o: sched.CosineAnnealingLR(o, STEPS, eta_min=0.01)),
    "warm-up": (
        schedules.warm_up(schedules.exponential(0.05, 0.98, 1), 20),
        lambda o: sched.SequentialLR(
            o,
            [sched.LinearLR(o, 1 / 20, total_iters=19), sched.ExponentialLR(o, 0.98)],
            milestones=[20],
        ),
    ),
    "warm-up of an expression": (
        schedules.warm_up(1 / (10 + optimizers.t), 20),
        lambda o: sched.LambdaLR(o, lambda k: 20 * ((k + 1) / 220 if k < 20 else 1 / (k - 9))),
    ),
    "one's own": (
        schedules.Schedule(
            0.05, schedules.initial / (1 + schedules.hyperparameter("slope") * optimizers.t), (("slope", 0.5),)
        ),
        lambda o: sched.LambdaLR(o, lambda k: 1 / (1 + (k + 1) / 2)),
    ),
    "one-cycle": (schedules.one_cycle(0.05, STEPS), lambda o: sched.OneCycleLR(o, 0.05, STEPS, cycle_momentum=False)),
    "any expression": (
        0.05 / sp.sqrt(optimizers.t),
        lambda o: sched.LambdaLR(o, lambda k: 1 / math.sqrt(k + 1)),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_pytorch(name: str) -> None:
    schedule, of_torch = SCHEDULES[name]
    wanted = theirs(lambda p: optim.SGD(p, 0.05), scheduler=of_torch)
    close(ours(optimizers.gradient_descent(schedule)), wanted)


def test_what_a_schedule_depends_on_is_given_at_run_time() -> None:
    wanted = ours(optimizers.adam(schedules.cosine(0.05, 100, end=0.01)))
    given = ours(optimizers.adam(schedules.cosine()), learning_rate=0.05, decay_steps=100, end_rate=0.01)
    np.testing.assert_array_equal(given, wanted)


# ---- the text against the assignments


def norm_of(vector: np.ndarray) -> mpmath.mpf:
    return mpmath.sqrt(sum(mpmath.mpf(float(x)) ** 2 for x in vector))


def by_assignments(rule: UpdateRule, steps: int, names: str = "WbV") -> np.ndarray:
    """The rule's assignments evaluated at 50 digits, an element at a time, with what is kept in the slots."""
    with mpmath.workdps(50):
        defaults = {name: mpmath.mpf(value) for name, value in rule.hyperparameters}
        functions = [
            (target.name, sorted(e.free_symbols, key=str), sp.lambdify(sorted(e.free_symbols, key=str), e, "mpmath"))
            for target, e in rule.assignments
        ]
        thetas = [mpmath.mpf(float(x)) for x in flat({name: START[name] for name in names})]
        kept = [{slot.name: mpmath.mpf(value) for slot, value in rule.slots} for _ in thetas]
        for step, gradients in enumerate(GRADIENTS[:steps], start=1):
            gradients = {name: gradients[name] for name in names}
            norm = norm_of(flat(gradients))
            norms = [norm_of(np.ravel(one)) for one in gradients.values() for _ in range(one.size)]
            for i, g in enumerate(map(float, flat(gradients))):
                values = {**defaults, **kept[i], "theta": thetas[i], "g": mpmath.mpf(g), "t": mpmath.mpf(step)}
                values |= {"gradient_norm": norm, "tensor_norm": norms[i]}
                for name, symbols, function in functions:
                    values[name] = function(*(values[s.name] for s in symbols))
                thetas[i], kept[i] = values["theta"], {slot: values[slot] for slot in kept[i]}
        return np.array([float(x) for x in thetas])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("name", optimizers.BY_NAME)
def test_kernels_compute_the_assignments(name: str, dtype: str, tolerance: float) -> None:
    """In float32 too the first steps are right: 1 - β² is computed in double precision."""
    rule = optimizers.by_name(name)
    steps = 20 if dtype == "float64" else 3
    close(ours(rule, dtype, steps=steps), by_assignments(rule, steps), tolerance)


def test_a_rule_of_one_s_own_with_a_norm() -> None:
    """Normalized descent, with a rate by the step: θ - η·g/‖g‖/√t."""
    own = rule("own", [(theta, theta - hyperparameter("eta") * g / gradient_norm / sp.sqrt(t))], eta=0.1)
    close(ours(own, steps=20), by_assignments(own, 20), 1e-13)


# ---- the order of the assignments

a, b, c, d, m = sp.symbols("a b c d m", real=True)
descent = (theta, theta - lr * g)
# What is the same for all parameters, and so computed before the loop, is read before it is assigned, or between.
ORDERS: dict[str, UpdateRule] = {
    "a shared slot read before": rule(
        "own", [(theta, theta - lr * c * g), (c, c * sp.Float("0.9"))], {c: 1}, learning_rate=0.1
    ),
    "a shared slot read before and after": rule(
        "own", [(a, c * g), (c, c / 2 + 1), (theta, theta - lr * (a + g / c))], {c: 1}, learning_rate=0.1
    ),
    "a shared slot assigned twice": rule(
        "own",
        [(a, 2 * c), (c, c / 3 + 1), (d, a * c), (c, c / 2), (theta, theta - lr * (d * g + c * a + g**2 / c))],
        {c: 1},
        learning_rate=0.01,
    ),
    "shared slots that read each other": rule(
        "own",
        [(d, d / 2 + c), (c, c / 2 + 1), (d, d / 2 + c), (theta, theta - lr * d * g)],
        {c: 1, d: 2},
        learning_rate=0.1,
    ),
    "a shared slot by a local of before": rule(
        "own", [(a, c), (c, c + 1), (d, d + a), (theta, theta - lr * d / c * g)], {c: 1, d: 0}, learning_rate=0.01
    ),
    "a local assigned twice": rule(
        "own", [(a, lr / t), (b, a + lr), (a, 2 * a * a), (theta, theta - b * g - a * theta)], learning_rate=0.1
    ),
    "a local assigned twice, both read": rule(
        "own", [(a, lr / t), (b, a * g), (a, a / 2), (theta, theta - b - a * g**2)], learning_rate=0.1
    ),
    "a local whose second value differs by parameter": rule(
        "own", [(a, lr / t), (b, a * g), (a, a * g**2), (theta, theta - b - a)], learning_rate=0.1
    ),
    "a rate assigned after use": rule("own", [descent, (lr, lr / 2), (theta, theta - lr * theta)], learning_rate=0.1),
    "a rate assigned twice": rule(
        "own", [descent, (lr, lr / t), descent, (lr, lr / 2), (theta, theta - lr * theta)], learning_rate=0.1
    ),
    "a rate by the parameter": rule(
        "own", [(m, m / 2 + lr * g), (lr, lr / (1 + g**2)), (theta, theta - lr * g - m / 9)], {m: 0}, learning_rate=0.1
    ),
    "a rate by the parameter, twice": rule(
        "own", [(lr, lr / t), descent, (lr, lr / (1 + g**2)), (lr, lr / 2), descent], learning_rate=0.1
    ),
    "a slot assigned twice": rule(
        "own", [(m, m / 2 + g), descent, (m, m / t), (theta, theta - lr * m)], {m: 0}, learning_rate=0.1
    ),
    "a slot that forgets": rule("own", [(m, m + g), (theta, theta - lr * m), (m, 1 / t)], {m: 0}, learning_rate=0.1),
    "a slot by the tensor's norm": rule(
        "own", [(m, m / 2 + tensor_norm), (theta, theta - lr * g / m)], {m: 0}, learning_rate=0.1
    ),
    "a slot by a local by the tensor's norm": rule(
        "own",
        [(a, tensor_norm / t), (c, c / 2 + gradient_norm), (m, m / 2 + a), (theta, theta - lr * g / m / c)],
        {m: 0, c: 0},
        learning_rate=0.5,
    ),
    "names that the text would take": rule(
        "own",
        [(theta, theta - sp.Symbol("c_before") * c * g), (c, c / 2 + sp.Symbol("state_c"))],
        {c: 1},
        c_before=0.1,
        state_c=0.5,
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_values_are_those_of_the_place_where_they_are_read(name: str) -> None:
    """In one loop, over one tensor alone, and in the ranges of groups."""
    own = ORDERS[name]
    h, value = own.hyperparameters[0]
    wanted = by_assignments(own, 10)
    close(ours(own, steps=10), wanted, 1e-13)
    alone = by_assignments(own, 10, "W")
    close(np.append(ours(own, steps=10, names="W"), flat(START)[6:]), np.append(alone, flat(START)[6:]), 1e-13)
    close(ours(own, steps=10, groups={"V": {h: value}}), wanted, 1e-13)


def test_a_slot_kept_once_under_a_condition_on_a_schedule() -> None:
    """The schedule's own cases stand inside the condition then."""
    more = sp.Piecewise((c + 1, lr > sp.Float("0.05")), (c, True))
    own = rule("own", [(c, more), (theta, theta - lr * g / c)], {c: 1}, learning_rate=schedules.warm_up(0.1, 5))
    close(ours(own, steps=10), by_assignments(own, 10), 1e-13)


def test_a_slot_that_is_read_before_it_is_assigned_is_that_of_the_last_step() -> None:
    own = rule("r", [(theta, theta - lr * c * g), (c, c / 2)], {c: 1}, learning_rate=1)
    module = execute(module_text(quadratic(own)))
    parameters, state = np.zeros(14), module.optimizer_state()
    for wanted in (-1.0, -1.5, -1.75):
        module.update(parameters, np.ones(14), state)
        np.testing.assert_array_equal(parameters, np.full(14, wanted))


@pytest.mark.parametrize("clip", [clip_norm, lambda rule, most: clip_norm(clip_global_norm(rule, 1e9), most)])
def test_the_norm_of_one_tensor_alone(clip: Callable) -> None:
    found = ours(clip(optimizers.momentum(0.02), 0.5), names="W")
    np.testing.assert_array_equal(found, ours(clip_global_norm(optimizers.momentum(0.02), 0.5), names="W"))


# ---- numbers and names in the text


def test_infinite_numbers() -> None:
    """As a default, in a group, and as what a slot starts with."""
    unbounded = optimizers.rprop(0.02, step_max=math.inf)
    np.testing.assert_array_equal(ours(unbounded), ours(optimizers.rprop(0.02, step_max=1e300)))
    bounded = optimizers.rprop(0.02, step_max=0.1)
    found = ours(bounded, groups={"V": {"step_max": sp.oo}, "W": {"step_max": math.inf}})
    np.testing.assert_array_equal(np.delete(found, [6, 7]), np.delete(ours(unbounded), [6, 7]))
    np.testing.assert_array_equal(found[6:8], ours(bounded)[6:8])
    for start, most in ((sp.oo, sp.Min), (-math.inf, sp.Max)):
        own = rule(
            "own",
            [(m, most(m, g)), (c, most(c, t)), (theta, theta - lr * m * c)],
            {m: start, c: start},
            learning_rate=0.1,
        )
        close(ours(own, steps=10), by_assignments(own, 10), 1e-13)


def test_a_hyperparameter_has_no_name_of_the_text() -> None:
    """Whatever the functions that take hyperparameters call their own, no hyperparameter may be called so."""
    own = rule("own", [(c, c * t), (m, m + g), (theta, theta - lr * g * c - m)], {c: 1, m: 0}, learning_rate=0.1)
    plain = optimizers.gradient_descent()
    many = dict.fromkeys(("W1", "W3", "W5"), frozen)
    rules = [(own, {}), (plain, {}), (clip_norm(own), {}), (clip_global_norm(own), {}), (clip_global_norm(own), many)]
    known = {"c", "m", "state_c", "state_m", "x", "y", "learning_rate", "clip_norm", "clip_global_norm", "W"}
    known |= {"draw", "check_count", "CONSTANT_W"}  # refused where a module draws; by its beginning
    for own, groups in rules:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parallel, "WORTH_THREADS", 0)
            texts = [generate_body(sampled(own, groups), "float32", option).body for option in (False, True)]
        functions = [f for text in texts for f in ast.walk(ast.parse(text)) if isinstance(f, ast.FunctionDef)]
        taking = [f for f in functions if "learning_rate" in {p.arg for p in (*f.args.args, *f.args.kwonlyargs)}]
        assert {"update", "update_kernel", "epoch", "descent", "train_epoch"} <= {f.name for f in taking}
        names = {node.id for f in taking for node in ast.walk(f) if isinstance(node, ast.Name)}
        for name in sorted(names - known):
            with pytest.raises(ValueError, match=r"rename|choose another name"):
                rule("own", [(theta, theta - sp.Symbol(name) * g)], **{name: 0.1})


def sampled(rule: UpdateRule, groups: dict) -> Model:
    """A model with all that functions which train have names for; many parameters make a long sum of squares."""
    model = Model("sampled")
    N = model.batch("N")
    n, k = model.indices(n=N, k=2)
    x, y = model.input("x", N, 2), model.labels("y", N, classes=2)
    r, W = model.random("r", N, 2), model.constant("W", [1.0, 2.0])
    z = sum(sp.tanh(model.parameter(f"W{i}", 2)[k]) for i in range(8))
    model.minimize(sp.Sum((z * x[n, k] * r[n, k] * W[k] - W[y[n]]) ** 2, n, k) / N)
    model.update(rule, groups)
    return model


def test_the_arguments_of_fit_are_known() -> None:
    own = inspect.signature(runtime.fit).parameters
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    assert {*contract.FIT_ARGUMENTS} == {name for name, p in own.items() if p.kind not in variable}


# ---- what is refused


def own_if(condition: sp.Basic) -> UpdateRule:
    return rule("own", [(theta, theta - sp.Piecewise((lr * g, condition), (0, True)))], learning_rate=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.adm, "no update rule is called adm; did you mean adam?"),
        (lambda: optimizers.by_name("nestrov"), "no update rule is called nestrov; did you mean nesterov?"),
        (lambda: optimizers.adam(learning_rate=-0.1), "adam: learning_rate must be at least 0, found -0.1"),
        (lambda: optimizers.momentum(momentum=-1), "momentum: momentum must be at least 0"),
        (lambda: clip_value(optimizers.adam(), -1.0), "clip_value must be at least 0"),
        (lambda: schedules.cosine(-1.0) and optimizers.adam(schedules.cosine(-1.0)), "learning_rate must be at least"),
        (lambda: optimizers.adam(learning_rate="fast"), "learning_rate must be a number"),
        (lambda: optimizers.rule("own", [(theta, theta - lr * g)]), "uses learning_rate, which has no value there"),
        (
            lambda: optimizers.rule("own", [(theta, theta - sp.Symbol("learning_rat") * g)], learning_rate=0.1),
            "uses learning_rat, which has no value there; did you mean learning_rate?",
        ),
        (
            lambda: optimizers.rule("own", [(sp.Symbol("vv"), g), (theta, theta - g)], {sp.Symbol("v"): 0}),
            "nothing reads vv, which is neither theta nor a slot; did you mean v?",
        ),
        (lambda: optimizers.rule("own", [(theta, theta - sp.gamma(g))]), "uses gamma, which derivgen does not know"),
        (lambda: optimizers.rule("own", [(t, t + 1), (theta, theta - g)]), "assigns t, which is given"),
        (lambda: l2_decay(l2_decay(optimizers.adam())), "has a hyperparameter weight_decay already"),
        (lambda: l2_decay(clip_norm(optimizers.adam())), "clip after decay"),
        (
            lambda: optimizers.adam(schedules.cosine(), beta_1=schedules.cosine(0.9)),
            "two schedules have a hyperparameter decay_steps",
        ),
        # What is assigned and not read.
        (lambda: rule("own", [descent, (lr, lr / 2)], learning_rate=1), "nothing reads learning_rate after it is"),
        (
            lambda: rule("own", [(m, g), (m, 2 * g), (theta, theta - m)], {m: 0}),
            "nothing reads m before it is assigned",
        ),
        (
            lambda: rule("own", [descent], learning_rate=1, momentum=0.9),
            "nothing reads the hyperparameter momentum: leave",
        ),
        (
            lambda: optimizers.adam(schedules.Schedule(0.1, 0.3 / t)),
            "nothing reads the hyperparameter learning_rate before it is assigned",
        ),
        (lambda: rule("own", [(theta, theta - g / m)], {m: 1}), "nothing assigns the slot m"),
        (lambda: rule("own", (theta, theta - g)), "expected assignments in order such as [(m, mu*m + g)"),
        *(
            (lambda change=change: change("adam"), "expected an update rule such as optimizers.adam(), found 'adam'")
            for change in (clip_value, clip_norm, clip_global_norm, l2_decay, decoupled_decay)
        ),
        # Numbers.
        (lambda: optimizers.adam(math.nan), "adam: learning_rate must be a number or an expression in t, found nan"),
        (lambda: optimizers.adam(True), "learning_rate must be a number or an expression in t, found True"),
        (lambda: optimizers.adam("0.1"), "learning_rate must be a number or an expression in t, found '0.1'"),
        (lambda: optimizers.adam(sp.I), "learning_rate must be a number or an expression in t, found I"),
        (lambda: optimizers.adam(10**400), "learning_rate must be a number or an expression in t, found 1000"),
        (lambda: optimizers.adagrad(initial_accumulator_value=math.nan), "a must be a number to start with, found nan"),
        (lambda: rule("own", [(theta, theta - g * sp.nan)]), "theta has nan, which is no real number"),
        (lambda: rule("own", [(theta, theta - g / sp.Integer(0))]), "theta has zoo, which is no real number"),
        (lambda: rule("own", [(theta, theta - g * sp.sqrt(-2))]), "theta has I, which is no real number"),
        # Names.
        (lambda: rule("own", [(m, g), (theta, theta - m)], {m: 0}, m=1), "m is a slot and a hyperparameter"),
        (lambda: rule("own", [(m, g), (theta, theta - m)], {m: 0}, m=1 / t), "m is a slot and a hyperparameter"),
        *(
            (lambda name=name: rule("own", [(theta, theta - sp.Symbol(name) * g)], **{name: 1}), name)
            for name in (*contract.FIT_ARGUMENTS, "arrays", "CONSTANT_w")
            if name != "name"
        ),
        # Expressions.
        (
            lambda: rule(
                "own", [(theta, theta - sp.Piecewise((g, sp.Piecewise((theta, g > 2), (-1, True)) > 0), (0, True)))]
            ),
            "theta has a Piecewise in a condition: give it a name",
        ),
        (lambda: own_if(sp.Xor(g > 0, theta > 0)), "theta has Xor in a condition: write it with comparisons"),
        (lambda: own_if(sp.Contains(g, sp.Interval(0, 1))), "theta has Contains in a condition"),
        (lambda: own_if(sp.Symbol("learning_rate")), "theta has learning_rate as a condition: compare it"),
        (lambda: own_if(sp.And(lr, g > 0)), "theta has learning_rate as a condition: compare it"),
        (lambda: rule("own", [(theta, sp.Piecewise((theta - g, g > 0)))]), "theta has a Piecewise without a default"),
        (
            lambda: rule("own", [(theta, sp.Piecewise((g > 0, t > 1), (theta, True)))]),
            "theta has the condition g > 0 as a value",
        ),
        (
            lambda: rule("own", [(theta, theta - stop_gradient(g))]),
            "stop_gradient(g), which means nothing in a rule: write g",
        ),
        (lambda: rule("own", [(theta, theta - sp.Function("f")(g))]), "theta uses f, which derivgen does not know"),
        (
            lambda: rule("own", [(theta, theta - sp.Sum(g * a, (a, 0, 3)))]),
            "theta uses Sum, which derivgen does not know",
        ),
        (lambda: rule("own", [(theta, theta - sp.IndexedBase("W")[0])]), "theta uses W[0], which has no value there"),
        (lambda: rule("own", [(theta, [theta, g])]), "expected an expression for theta, found [theta, g]"),
        (lambda: rule("own", [(theta, g > 0)]), "expected an expression for theta, found g > 0"),
        (lambda: rule("own", [(theta, None)]), "expected an expression for theta, found None"),
        # Schedules.
        *(
            (lambda make=make: optimizers.adam(make(0.1, decay_steps=0)), "adam: decay_steps must be above 0, found 0")
            for make in (schedules.exponential, schedules.step, schedules.polynomial, schedules.cosine)
        ),
        (lambda: optimizers.adam(schedules.exponential(decay_rate=-1)), "decay_rate must be at least 0, found -1"),
        (lambda: optimizers.adam(schedules.cosine(decay_steps="many")), "decay_steps must be a number"),
        (lambda: optimizers.adam(schedules.warm_up(0.1, 0)), "warmup_steps must be above 0, found 0"),
        (lambda: optimizers.adam(schedules.one_cycle(start_factor=0)), "start_factor must be above 0, found 0"),
        (lambda: optimizers.adam(schedules.one_cycle(end_factor=0)), "end_factor must be above 0, found 0"),
        (lambda: schedules.one_cycle(total_steps=3), "the top is after the first step and before the last"),
        (lambda: schedules.one_cycle(rising=1), "found rising 1 and total_steps 1000"),
        (lambda: schedules.one_cycle(total_steps=0), "the top is after the first step and before the last"),
        (
            lambda: optimizers.adam(schedules.Schedule(0.1, schedules.initial / t, {"slope": 0.1})),
            "a schedule's hyperparameters are pairs of name and default",
        ),
        (lambda: schedules.warm_up(sp.Symbol("a") * t), "rate must be a number or an expression in t alone"),
        (lambda: schedules.warm_up(schedules.warm_up(0.1)), "the schedule has a warm-up already"),
        (lambda: decoupled_decay(optimizers.adam(schedules.cosine(decay_steps=-1))), "decay_steps must be above 0"),
    ],
)
def test_bad_rules_are_refused(make: Callable, message: str) -> None:
    with pytest.raises((ValueError, AttributeError)) as refusal:
        make()
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"bias": {"weight_decay": 0}}, "group 'bias' of the update rule fits no parameter"),
        ({"b": {"weight_decey": 0}}, "adamw has no hyperparameter weight_decey; did you mean weight_decay?"),
        ({"b": {"weight_decay": -1}}, "group 'b': weight_decay must be at least 0"),
        ({"b": "frozen"}, "or optimizers.frozen; found 'frozen'"),
        ({"b": {"weight_decay": sp.Symbol("lambda")}}, "uses lambda, which is no hyperparameter of adamw"),
        *(
            ({"b": {"weight_decay": value}}, "group 'b': weight_decay must be a number or an expression in hyper")
            for value in (None, [0.1], True, "0.1", schedules.cosine())
        ),
        ({"b": {"weight_decay": math.nan}}, "group 'b': weight_decay has nan, which is no real number"),
        ({"b": {"weight_decay": sp.Piecewise((1, t > 3))}}, "weight_decay has a Piecewise without a default"),
        ({"b": None}, "or optimizers.frozen; found None"),
        ({"b": {7: 0}}, "adamw has no hyperparameter 7"),
        ({7: frozen}, "groups: expected a mapping from patterns of parameters' names"),
        (["b"], "groups: expected a mapping from patterns of parameters' names"),
    ],
)
def test_bad_groups_are_refused(groups: dict, message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        declared_program(quadratic(optimizers.adamw(), groups))
    assert message in str(refusal.value)


def test_a_value_that_is_kept_once_can_t_differ_by_tensor() -> None:
    with pytest.raises(SpecError, match="beta_1 can't differ by tensor"):
        declared_program(quadratic(optimizers.nadam(), {"b": {"beta_1": 0.5}}))


def test_modules_refuse_rates_below_0() -> None:
    module = execute(module_text(quadratic(optimizers.adam())))
    parameters = module.initial_parameters()
    with pytest.raises(ValueError, match=r"learning_rate: expected a number of at least 0, found -0\.1"):
        module.descend(parameters, module.optimizer_state(), 1, learning_rate=-0.1)
    np.testing.assert_array_equal(parameters, module.initial_parameters())


def test_groups_keep_to_the_bounds_of_schedules() -> None:
    with pytest.raises(SpecError, match="group 'b': decay_steps must be above 0, found 0"):
        declared_program(quadratic(optimizers.adam(schedules.cosine()), {"b": {"decay_steps": 0}}))


@pytest.mark.parametrize("change", [lambda rule: rule, l2_decay, decoupled_decay, clip_norm])
def test_modules_refuse_to_divide_by_0(change: Callable) -> None:
    """Of a rule that was changed too."""
    module = execute(module_text(quadratic(change(optimizers.adam(schedules.cosine())))))
    parameters = module.initial_parameters()
    for bad in (0, -1.5):
        with pytest.raises(ValueError, match=rf"decay_steps: expected a number above 0, found {bad}"):
            module.descend(parameters, module.optimizer_state(), 1, decay_steps=bad)
    with pytest.raises(ValueError, match="end_rate: expected a number of at least 0, found -1"):
        module.descend(parameters, module.optimizer_state(), 1, end_rate=-1)
    np.testing.assert_array_equal(parameters, module.initial_parameters())
    module.descend(parameters, module.optimizer_state(), 1, decay_steps=5e-324)
