"""Update rules as expressions in the parameter θ, its gradient g, slots of the rule and the step count t.

A rule is a list of assignments, carried out in order for every parameter; its other symbols are hyperparameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen import contract

theta, g, t = sp.symbols("theta g t", real=True)


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """Assignments to θ and to the slots, the slots' initial values, and the hyperparameters' defaults."""

    name: str
    assignments: tuple[tuple[sp.Symbol, sp.Expr], ...]
    slots: tuple[tuple[sp.Symbol, float], ...]
    hyperparameters: tuple[tuple[str, float], ...]


def rule(
    name: str,
    assignments: Sequence[tuple[sp.Symbol, sp.Expr]],
    slots: Mapping[sp.Symbol, float] | None = None,
    **hyperparameters: float,
) -> UpdateRule:
    """An update rule of one's own.

    `assignments` are carried out in order, the last of them to θ; t counts the steps from 1.
    Raises ValueError where a symbol is neither θ, g, t, a slot nor a hyperparameter.
    """
    slots = dict(slots or {})
    for given in (*hyperparameters, *map(str, slots)):
        why = contract.refusal(given, "hyperparameter")
        if why or given.startswith("_") or given in (*contract.ARGUMENTS, "theta", "g", "t", "i", "step"):
            raise ValueError(f"rule {name}: {why or f'{given} has a meaning of its own in the update: rename it'}")
    known = {theta, g, t, *slots} | {sp.Symbol(h, real=True) for h in hyperparameters}
    for target, expression in assignments:
        unknown = sorted(map(str, sp.sympify(expression).free_symbols - known))
        if unknown:
            raise ValueError(f"rule {name}: {target} uses {unknown[0]}, which is no slot and has no default: pass it")
        if target not in (theta, *slots):
            raise ValueError(f"rule {name}: assigns {target}, which is neither theta nor a slot")
    if not assignments or theta not in [target for target, _ in assignments]:
        raise ValueError(f"rule {name}: assigns nothing to theta")
    frozen = tuple((target, sp.sympify(e)) for target, e in assignments)
    defaults = tuple((h, float(value)) for h, value in hyperparameters.items())
    return UpdateRule(name, frozen, tuple((s, float(v)) for s, v in slots.items()), defaults)


def factors_of(rule: UpdateRule) -> tuple[sp.Expr, sp.Expr] | None:
    """(α, β) of an update θ = α·g + β·θ without slots, else None."""
    if rule.slots or len(rule.assignments) != 1:
        return None
    change = sp.expand(rule.assignments[0][1])
    alpha, beta = change.coeff(g, 1), change.coeff(theta, 1)
    linear = sp.expand(change - alpha * g - beta * theta) == 0 and not (alpha.free_symbols | beta.free_symbols) & {
        g,
        theta,
    }
    return (alpha, beta) if linear and alpha != 0 else None


def hyperparameter(name: str) -> sp.Symbol:
    """The symbol of a hyperparameter in a rule's expressions."""
    return sp.Symbol(name, real=True)


def gradient_descent(learning_rate: float = 0.01) -> UpdateRule:
    """θ ← θ - η·g. Source: Cauchy 1847; argument as torch.optim.SGD's lr."""
    eta = hyperparameter("learning_rate")
    return rule("gradient_descent", [(theta, theta - eta * g)], learning_rate=learning_rate)


def momentum(learning_rate: float = 0.01, momentum: float = 0.9) -> UpdateRule:
    """m ← μ·m + g, θ ← θ - η·m. Source: Polyak 1964; arguments as torch.optim.SGD's."""
    eta, mu, m = hyperparameter("learning_rate"), hyperparameter("momentum"), sp.Symbol("m", real=True)
    assignments = [(m, mu * m + g), (theta, theta - eta * m)]
    return rule("momentum", assignments, {m: 0.0}, learning_rate=learning_rate, momentum=momentum)


def adam(learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8) -> UpdateRule:
    """Adaptive moments with bias correction. Source: Kingma and Ba 2015, algorithm 1."""
    eta, b1, b2, eps = map(hyperparameter, ("learning_rate", "beta_1", "beta_2", "epsilon"))
    m, v = sp.symbols("m v", real=True)
    step = (m / (1 - b1**t)) / (sp.sqrt(v / (1 - b2**t)) + eps)
    return rule(
        "adam",
        [(m, b1 * m + (1 - b1) * g), (v, b2 * v + (1 - b2) * g**2), (theta, theta - eta * step)],
        {m: 0.0, v: 0.0},
        learning_rate=learning_rate,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
    )
