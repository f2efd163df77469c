"""Rates that depend on the step count t, as expressions: `optimizers.adam(learning_rate=schedules.cosine(0.001))`.

The first argument is the hyperparameter's default; the others become hyperparameters too, which callers of the module
may replace (`end` is end_rate, `power` is decay_power). PyTorch counts steps from 0, derivgen from 1: PyTorch's step 0
is the step t = 1 here. Any expression in `t` is a schedule too: `adam(learning_rate=0.1 / (10 + t))`.
"""

from __future__ import annotations

import sympy as sp

from derivgen.update.rule import Schedule, hyperparameter, initial, number, schedule_of, t

past = t - 1  # steps


def constant(rate: float = 0.01) -> Schedule:
    """η: the same rate in each step."""
    return Schedule(rate, initial)


def robbins_monro(rate: float = 1.0, offset: float = 1.0) -> Schedule:
    """η/(offset + t): the sum of rates diverges, that of their squares converges. Source: Robbins and Monro 1951."""
    return Schedule(rate, initial / (hyperparameter("offset") + t), (("offset", offset),))


def inverse_square_root(rate: float = 1.0) -> Schedule:
    """η/√t, for which the regret bounds of gradient descent hold. Source: Zinkevich 2003."""
    return Schedule(rate, initial / sp.sqrt(t))


def exponential(rate: float = 0.01, decay_rate: float = 0.96, decay_steps: float = 1000) -> Schedule:
    """η·decay_rate^((t - 1)/decay_steps). Keras's ExponentialDecay; PyTorch's ExponentialLR with decay_steps 1."""
    decay = hyperparameter("decay_rate") ** (past / hyperparameter("decay_steps", positive=True))
    return Schedule(rate, initial * decay, (("decay_rate", decay_rate), ("decay_steps", decay_steps)))


def step(rate: float = 0.01, decay_rate: float = 0.1, decay_steps: float = 1000) -> Schedule:
    """η·decay_rate^⌊(t - 1)/decay_steps⌋. PyTorch's StepLR."""
    decay = hyperparameter("decay_rate") ** sp.floor(past / hyperparameter("decay_steps", positive=True))
    return Schedule(rate, initial * decay, (("decay_rate", decay_rate), ("decay_steps", decay_steps)))


def polynomial(rate: float = 0.01, decay_steps: float = 1000, power: float = 1.0, end: float = 0.0) -> Schedule:
    """From η to `end` in decay_steps steps, along a power of the steps that remain. Keras's PolynomialDecay."""
    last, degree = hyperparameter("end_rate"), hyperparameter("decay_power")
    value = last + (initial - last) * (1 - progress()) ** degree
    return Schedule(rate, value, (("decay_steps", decay_steps), ("decay_power", power), ("end_rate", end)))


def cosine(rate: float = 0.01, decay_steps: float = 1000, end: float = 0.0) -> Schedule:
    """From η to `end` in decay_steps steps, by half a cosine. Source: Loshchilov and Hutter 2017; CosineAnnealingLR."""
    last = hyperparameter("end_rate")
    value = last + (initial - last) * (1 + sp.cos(sp.pi * progress())) / 2
    return Schedule(rate, value, (("decay_steps", decay_steps), ("end_rate", end)))


def progress() -> sp.Expr:
    """The fraction of decay_steps that is over, at most 1."""
    return sp.Min(past / hyperparameter("decay_steps", positive=True), 1)


def warm_up(schedule: Schedule | sp.Expr | float = 0.01, warmup_steps: float = 100) -> Schedule:
    """From η/warmup_steps to η in equal steps, then the schedule from its start. Source: Goyal et al. 2017.

    If the schedule is an expression in t, η is its value at t = 1.
    """
    after = schedule if isinstance(schedule, Schedule) else schedule_of(schedule)
    if "warmup_steps" in dict(after.hyperparameters):
        raise ValueError("warm_up: the schedule has a warm-up already: give it one alone")
    steps = hyperparameter("warmup_steps", positive=True)
    later = after.expression.xreplace({t: t - steps})
    value = sp.Piecewise((initial * t / steps, t <= steps), (later, True))
    return Schedule(after.initial, value, (*after.hyperparameters, ("warmup_steps", warmup_steps)))


def one_cycle(
    rate: float = 0.01,
    total_steps: float = 1000,
    rising: float = 0.3,
    start_factor: float = 25.0,
    end_factor: float = 1e4,
) -> Schedule:
    """From η/start_factor up to η, then down to η/start_factor/end_factor, each along half a cosine.

    `rising`: the fraction of the total_steps - 1 steps that go up. Source: Smith and Topin 2018; PyTorch's OneCycleLR,
    with its pct_start, div_factor and final_div_factor. Raises ValueError if the top is not after the first step and
    before the last.
    """
    names = ("total_steps", "rising", "start_factor", "end_factor")
    total, share, first, last = (hyperparameter(name, positive=True) for name in names)
    steps, part = number("one_cycle", "total_steps", total_steps), number("one_cycle", "rising", rising)
    if not (part * steps > 1 and part < 1):
        raise ValueError(
            "one_cycle: expected rising below 1, and rising·total_steps above 1, so that the top is after the first "
            f"step and before the last; found rising {rising:g} and total_steps {total_steps:g}"
        )
    start = initial / first
    top = share * total - 1
    up = start + (initial - start) * (1 - sp.cos(sp.pi * past / top)) / 2
    left = sp.Min((past - top) / (total - 1 - top), 1)
    down = start / last + (initial - start / last) * (1 + sp.cos(sp.pi * left)) / 2
    values = zip(names, (total_steps, rising, start_factor, end_factor), strict=True)
    return Schedule(rate, sp.Piecewise((up, past <= top), (down, True)), tuple(values))
