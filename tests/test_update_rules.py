"""Update rules, schedules, decay and clipping against PyTorch's optimizers, and against their formulas at 50 digits."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from generated import execute, module_text

from derivgen import Model, optimizers, schedules
from derivgen.errors import SpecError
from derivgen.optimizers import UpdateRule, clip_global_norm, clip_norm, clip_value, decoupled_decay, l2_decay
from derivgen.pipeline import declared_program

STEPS = 200
SHAPES = {"W": (3, 2), "b": (2,), "V": (2, 3)}
RNG = np.random.default_rng(0)
START = {name: RNG.normal(size=shape) for name, shape in SHAPES.items()}
# Some gradients are 0, some change their sign, and their scale changes by orders.
GRADIENTS = [
    {name: RNG.normal(size=s) * 10.0 ** RNG.uniform(-3, 1) * (RNG.random(s) > 0.1) for name, s in SHAPES.items()}
    for _ in range(STEPS)
]


def quadratic(rule: UpdateRule, groups: dict | None = None) -> Model:
    """A model with these parameters; its gradients are not used."""
    model = Model("quadratic")
    terms = []
    for name, shape in SHAPES.items():
        tensor, indices = model.parameter(name, *shape, init=START[name]), model.local_indices(*shape)
        terms.append(sp.Sum(tensor[tuple(indices)] ** 2, *indices))
    model.minimize(sum(terms))
    model.update(rule, groups)
    return model


def flat(tensors: dict) -> np.ndarray:
    return np.concatenate([np.ravel(t) for t in tensors.values()])


def ours(rule: UpdateRule, dtype: str = "float64", groups: dict | None = None, steps: int = STEPS, **settings: float):
    module = execute(module_text(quadratic(rule, groups), dtype))
    parameters, state = module.initial_parameters(), module.optimizer_state()
    for gradient in GRADIENTS[:steps]:
        module.update(parameters, flat(gradient).astype(dtype), state, **settings)
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


def test_later_groups_win() -> None:
    both = {"*": optimizers.frozen, "W": {"learning_rate": 0.5}}
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(ours(optimizers.adam(), groups={"W": {"learning_rate": 0.5}}), flat(START))
    np.testing.assert_array_equal(ours(optimizers.adam(), groups=both), flat(START))  # frozen is for good


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


def by_assignments(rule: UpdateRule, steps: int) -> np.ndarray:
    """The rule's assignments evaluated at 50 digits, an element at a time, with what is kept in the slots."""
    with mpmath.workdps(50):
        defaults = {name: mpmath.mpf(value) for name, value in rule.hyperparameters}
        functions = [
            (target.name, sorted(e.free_symbols, key=str), sp.lambdify(sorted(e.free_symbols, key=str), e, "mpmath"))
            for target, e in rule.assignments
        ]
        thetas = [mpmath.mpf(float(x)) for x in flat(START)]
        kept = [{slot.name: mpmath.mpf(value) for slot, value in rule.slots} for _ in thetas]
        for step, gradients in enumerate(GRADIENTS[:steps], start=1):
            norm = mpmath.sqrt(sum(mpmath.mpf(float(g)) ** 2 for g in flat(gradients)))
            for i, g in enumerate(map(float, flat(gradients))):
                values = {**defaults, **kept[i], "theta": thetas[i], "g": mpmath.mpf(g), "t": mpmath.mpf(step)}
                values["gradient_norm"] = norm
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
    from derivgen.optimizers import g, gradient_norm, hyperparameter, rule, t, theta

    own = rule("own", [(theta, theta - hyperparameter("eta") * g / gradient_norm / sp.sqrt(t))], eta=0.1)
    close(ours(own, steps=20), by_assignments(own, 20), 1e-13)


# ---- what is refused

theta, g, t = optimizers.theta, optimizers.g, optimizers.t
lr = optimizers.hyperparameter("learning_rate")


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
