"""Update rules as expressions in the parameter θ, its gradient g, slots of the rule and the step count t.

Names of rules and defaults are PyTorch's, names of hyperparameters Keras's. For rates that depend on t see
`derivgen.schedules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeAlias

import sympy as sp

from derivgen.errors import nearest
from derivgen.update.groups import frozen
from derivgen.update.rule import (
    Schedule,
    UpdateRule,
    before,
    changed,
    g,
    gradient_norm,
    hyperparameter,
    refuse_no_rule,
    rule,
    t,
    tensor_norm,
    theta,
)

__all__ = [
    "UpdateRule",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "clip_global_norm",
    "clip_norm",
    "clip_value",
    "decoupled_decay",
    "frozen",
    "g",
    "gradient_descent",
    "gradient_norm",
    "hyperparameter",
    "l2_decay",
    "lion",
    "momentum",
    "nadam",
    "nesterov",
    "rmsprop",
    "rprop",
    "rule",
    "t",
    "tensor_norm",
    "theta",
]

Rate: TypeAlias = "float | sp.Expr | Schedule"

eta, mu, smooth, b1, b2, eps = map(hyperparameter, ("learning_rate", "momentum", "rho", "beta_1", "beta_2", "epsilon"))
m, v, a, u = sp.symbols("m v a u", real=True)  # slots


def gradient_descent(learning_rate: Rate = 0.01) -> UpdateRule:
    """θ ← θ - η·g. Source: Cauchy 1847; PyTorch's SGD."""
    return rule("gradient_descent", [(theta, theta - eta * g)], learning_rate=learning_rate)


def momentum(learning_rate: Rate = 0.01, momentum: Rate = 0.9) -> UpdateRule:
    """Heavy ball: m ← μ·m + g, θ ← θ - η·m. Source: Polyak 1964; PyTorch's SGD(momentum)."""
    steps = [(m, mu * m + g), (theta, theta - eta * m)]
    return rule("momentum", steps, {m: 0}, learning_rate=learning_rate, momentum=momentum)


def nesterov(learning_rate: Rate = 0.01, momentum: Rate = 0.9) -> UpdateRule:
    """Momentum with look-ahead: θ ← θ - η·(g + μ·m). Source: Sutskever et al. 2013; PyTorch's SGD(nesterov=True)."""
    steps = [(m, mu * m + g), (theta, theta - eta * (g + mu * m))]
    return rule("nesterov", steps, {m: 0}, learning_rate=learning_rate, momentum=momentum)


def adagrad(learning_rate: Rate = 0.01, epsilon: float = 1e-10, initial_accumulator_value: float = 0.0) -> UpdateRule:
    """Steps divided by the root of the sum of all squared gradients. Source: Duchi et al. 2011; PyTorch's Adagrad."""
    steps = [(a, a + g**2), (theta, theta - eta * g / (sp.sqrt(a) + eps))]
    return rule("adagrad", steps, {a: initial_accumulator_value}, learning_rate=learning_rate, epsilon=epsilon)


def adadelta(learning_rate: Rate = 1.0, rho: Rate = 0.9, epsilon: float = 1e-6) -> UpdateRule:
    """Steps in the ratio of two running root mean squares. Source: Zeiler 2012; PyTorch's Adadelta."""
    delta = sp.Symbol("delta", real=True)
    steps = [
        (v, smooth * v + (1 - smooth) * g**2),
        (delta, g * sp.sqrt(u + eps) / sp.sqrt(v + eps)),
        (u, smooth * u + (1 - smooth) * delta**2),
        (theta, theta - eta * delta),
    ]
    return rule("adadelta", steps, {v: 0, u: 0}, learning_rate=learning_rate, rho=rho, epsilon=epsilon)


def rmsprop(
    learning_rate: Rate = 0.01,
    rho: Rate = 0.99,
    momentum: Rate = 0.0,
    epsilon: float = 1e-8,
    centered: bool = False,
) -> UpdateRule:
    """Steps divided by a running root mean square. Source: Hinton 2012; PyTorch's RMSprop.

    `centered`: divide by the root of a running variance, which is kept from falling below 0 by rounding. With momentum
    0 there is no momentum slot.
    """
    steps: list[tuple[sp.Symbol, sp.Expr]] = [(v, smooth * v + (1 - smooth) * g**2)]
    square, slots, settings = v, {v: 0.0}, {"learning_rate": learning_rate, "rho": rho, "epsilon": epsilon}
    if centered:
        steps.append((a, smooth * a + (1 - smooth) * g))
        square, slots[a] = sp.Max(v - a**2, 0), 0.0
    change = g / (sp.sqrt(square) + eps)
    if momentum == 0:
        steps.append((theta, theta - eta * change))
    else:
        steps += [(m, mu * m + change), (theta, theta - eta * m)]
        slots[m], settings["momentum"] = 0.0, momentum
    return rule("rmsprop", steps, slots, **settings)


def adam(learning_rate: Rate = 0.001, beta_1: Rate = 0.9, beta_2: Rate = 0.999, epsilon: float = 1e-8) -> UpdateRule:
    """Adaptive moments with bias correction. Source: Kingma and Ba 2015, algorithm 1; PyTorch's Adam."""
    step = (m / (1 - b1**t)) / (sp.sqrt(v / (1 - b2**t)) + eps)
    return moments("adam", [(theta, theta - eta * step)], {}, learning_rate, beta_1, beta_2, epsilon=epsilon)


def moments(
    name: str,
    steps: list[tuple[sp.Symbol, sp.Expr]],
    slots: dict[sp.Symbol, float],
    learning_rate: Rate,
    beta_1: Rate,
    beta_2: Rate,
    **more: float,
) -> UpdateRule:
    """A rule whose first two slots are the running means of g and of g²."""
    means = [(m, b1 * m + (1 - b1) * g), (v, b2 * v + (1 - b2) * g**2)]
    settings = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, **more}
    return rule(name, [*means, *steps], {m: 0, v: 0, **slots}, **settings)


def amsgrad(learning_rate: Rate = 0.001, beta_1: Rate = 0.9, beta_2: Rate = 0.999, epsilon: float = 1e-8) -> UpdateRule:
    """Adam with the largest second moment so far. Source: Reddi et al. 2018; PyTorch's Adam(amsgrad=True)."""
    largest = sp.Symbol("v_max", real=True)
    step = (m / (1 - b1**t)) / (sp.sqrt(largest / (1 - b2**t)) + eps)
    steps = [(largest, sp.Max(largest, v)), (theta, theta - eta * step)]
    return moments("amsgrad", steps, {largest: 0}, learning_rate, beta_1, beta_2, epsilon=epsilon)


def adamw(
    learning_rate: Rate = 0.001,
    beta_1: Rate = 0.9,
    beta_2: Rate = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> UpdateRule:
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter 2019, algorithm 2; PyTorch's AdamW."""
    return decoupled_decay(adam(learning_rate, beta_1, beta_2, epsilon), weight_decay, name="adamw")


def adamax(learning_rate: Rate = 0.002, beta_1: Rate = 0.9, beta_2: Rate = 0.999, epsilon: float = 1e-8) -> UpdateRule:
    """Adam with the infinity norm. Source: Kingma and Ba 2015, section 7.1; PyTorch's Adamax."""
    steps = [
        (m, b1 * m + (1 - b1) * g),
        (u, sp.Max(b2 * u, sp.Abs(g) + eps)),
        (theta, theta - eta / (1 - b1**t) * m / u),
    ]
    settings = {"learning_rate": learning_rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return rule("adamax", steps, {m: 0, u: 0}, **settings)


def nadam(
    learning_rate: Rate = 0.002,
    beta_1: Rate = 0.9,
    beta_2: Rate = 0.999,
    epsilon: float = 1e-8,
    momentum_decay: float = 0.004,
) -> UpdateRule:
    """Adam with Nesterov's momentum, where μ grows with t. Source: Dozat 2016; PyTorch's NAdam."""
    decay, product = hyperparameter("momentum_decay"), sp.Symbol("mu_product", real=True)

    def mu_at(step: sp.Expr) -> sp.Expr:
        return b1 * (1 - sp.Float("0.96") ** (step * decay) / 2)

    now, following = sp.symbols("mu mu_next", real=True)
    ahead = (1 - now) / (1 - product) * g + following / (1 - product * following) * m
    steps = [
        (now, mu_at(t)),
        (following, mu_at(t + 1)),
        (product, product * now),
        (theta, theta - eta * ahead / (sp.sqrt(v / (1 - b2**t)) + eps)),
    ]
    more = {"epsilon": epsilon, "momentum_decay": momentum_decay}
    return moments("nadam", steps, {product: 1}, learning_rate, beta_1, beta_2, **more)


def lion(learning_rate: Rate = 0.0001, beta_1: Rate = 0.9, beta_2: Rate = 0.99) -> UpdateRule:
    """Steps of the same length, in the direction of the sign of a mean. Source: Chen et al. 2023, algorithm 2 (no
    decay).
    """
    steps = [(theta, theta - eta * sp.sign(b1 * m + (1 - b1) * g)), (m, b2 * m + (1 - b2) * g)]
    return rule("lion", steps, {m: 0}, learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2)


def rprop(
    learning_rate: Rate = 0.01,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    step_min: float = 1e-6,
    step_max: float = 50.0,
) -> UpdateRule:
    """Steps that depend on the sign of the gradient only, and grow while it stays the same; for full-batch training.

    Source: Riedmiller and Braun 1993; PyTorch's Rprop. The learning rate is the length of the first step.
    """
    minus, plus, least, most = map(hyperparameter, ("eta_minus", "eta_plus", "step_min", "step_max"))
    last, length, agreement = sp.symbols("last length agreement", real=True)
    factor = sp.Piecewise((plus, agreement > 0), (minus, agreement < 0), (1, True))
    before_it = sp.Piecewise((eta, sp.Eq(t, 1)), (length, True))
    steps = [
        (agreement, g * last),
        (length, sp.Min(sp.Max(before_it * factor, least), most)),
        (last, sp.Piecewise((0, agreement < 0), (g, True))),
        (theta, theta - length * sp.sign(last)),
    ]
    settings = {"eta_minus": eta_minus, "eta_plus": eta_plus, "step_min": step_min, "step_max": step_max}
    return rule("rprop", steps, {last: 0, length: 0}, learning_rate=learning_rate, **settings)


# ---- decay and clipping: a rule with an assignment more


def l2_decay(rule: UpdateRule, weight_decay: float = 0.01) -> UpdateRule:
    """The rule for the loss + λ/2·Σθ²: g ← g + λ·θ. PyTorch's `weight_decay`, except that of AdamW."""
    refuse_no_rule(rule)
    if rule.uses & {"gradient_norm", "tensor_norm"}:
        raise ValueError(f"l2_decay: {rule.name} clips the gradient, which the decay is not part of: clip after decay")
    return before(rule, g, g + hyperparameter("weight_decay") * theta, weight_decay=weight_decay)


def decoupled_decay(rule: UpdateRule, weight_decay: float = 0.01, name: str = "") -> UpdateRule:
    """The rule, plus θ ← θ - η·λ·θ. Source: Loshchilov and Hutter 2019; PyTorch's AdamW."""
    refuse_no_rule(rule)
    decay = eta * hyperparameter("weight_decay") * theta
    steps = [(target, e - decay if target == theta else e) for target, e in rule.assignments]
    return changed(rule, steps, name or rule.name, weight_decay=weight_decay)


def clip_value(rule: UpdateRule, clip: float = 1.0) -> UpdateRule:
    """Limit the absolute value of each element of g to `clip`. PyTorch's clip_grad_value_, Keras's clipvalue."""
    largest = hyperparameter("clip_value")
    return before(rule, g, sp.Min(sp.Max(g, -largest), largest), clip_value=clip)


def clip_norm(rule: UpdateRule, clip: float = 1.0) -> UpdateRule:
    """g ← g·min(1, clip/‖g‖) for each tensor separately, with ‖g‖ + 1e-6 in place of 0. Keras's clipnorm."""
    return before(rule, g, clipped(hyperparameter("clip_norm"), tensor_norm), clip_norm=clip)


def clip_global_norm(rule: UpdateRule, clip: float = 1.0) -> UpdateRule:
    """As clip_norm, with the norm of all trained parameters. Source: Pascanu et al. 2013; PyTorch's clip_grad_norm_."""
    return before(rule, g, clipped(hyperparameter("clip_global_norm"), gradient_norm), clip_global_norm=clip)


def clipped(largest: sp.Symbol, norm: sp.Symbol) -> sp.Expr:
    return g * sp.Min(1, largest / (norm + sp.Float("1e-6")))


BY_NAME: dict[str, Callable[..., UpdateRule]] = {
    f.__name__: f
    for f in (
        *(gradient_descent, momentum, nesterov, adagrad, adadelta, rmsprop),
        *(adam, amsgrad, adamw, adamax, nadam, lion, rprop),
    )
}


def __getattr__(name: str) -> NoReturn:
    near = nearest(name, BY_NAME) or "."
    raise AttributeError(f"no update rule is called {name}{near} There are {', '.join(BY_NAME)}")


def by_name(name: str) -> UpdateRule:
    """The rule of this name; ValueError, with the nearest name, if there is none."""
    if name not in BY_NAME:
        try:
            __getattr__(name)
        except AttributeError as error:
            raise ValueError(str(error)) from None
    return BY_NAME[name]()
