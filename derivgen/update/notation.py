"""An update rule in words: its assignments as formulas, and what differs by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy as sp

from derivgen.form.expressions import Read, substitute
from derivgen.form.notation import Plain
from derivgen.update.groups import Group, Setting, setting_for
from derivgen.update.rule import UpdateRule, names_in, theta

NORMS = {
    "gradient_norm": "the Euclidean norm of the gradient as the step gave it, of all that is trained",
    "tensor_norm": "the Euclidean norm of the gradient as the step gave it, of one tensor",
}
FEW = 6  # names that are all told


def term_order(rule: UpdateRule) -> dict[str, int]:
    """Hyperparameters before slots before θ and g, in sums and products."""
    names = [
        *(name for name, _ in rule.hyperparameters),
        *(target.name for target, _ in rule.assignments if target != theta),
        *(slot.name for slot, _ in rule.slots),
        *("theta", "θ", "g", "t"),
    ]
    return {name: position for position, name in enumerate(dict.fromkeys(names))}


def as_reads(e: sp.Expr) -> sp.Expr:
    """The expression with reads in place of symbols."""
    return substitute(e, {s: Read(s.name) for s in e.free_symbols})


def equations(rule: UpdateRule) -> list[tuple[sp.Expr, sp.Expr]]:
    """(what is assigned, its value) of each assignment, in reads; θ by its letter."""
    letter = {theta: sp.Symbol("θ", real=True)}
    return [(as_reads(target.xreplace(letter)), as_reads(e.xreplace(letter))) for target, e in rule.assignments]


def formulas(rule: UpdateRule) -> list[str]:
    """A formula an assignment."""
    plain = Plain(term_order(rule))
    return [f"{plain.expression(target)} = {plain.expression(e)}" for target, e in equations(rule)]


def rule_words(rule: UpdateRule, given: Mapping[str, float] | None = None) -> str:
    """`adam; learning_rate 0.001 by a schedule (decay_steps 1000, end_rate 0), beta_1 0.9`, with the given values."""
    values = {name: f"{name} {value:.15g}" for name, value in (dict(rule.hyperparameters) | dict(given or {})).items()}
    by_step = {target.name: names_in(e) - {target.name} for target, e in rule.assignments if target.name in values}
    inside = [name for name in values if any(name in names for names in by_step.values())]
    words = []
    for name in values:
        own = ", ".join(values[other] for other in inside if other in by_step.get(name, ()))
        by = f" by a schedule{f' ({own})' if own else ''}" if name in by_step else ""
        words += [f"{values[name]}{by}"] if name not in inside else []
    return "; ".join(filter(None, (rule.name, ", ".join(words))))


def remarks(rule: UpdateRule, groups: Sequence[Group], tensors: Sequence[str]) -> list[tuple[str, str]]:
    """Explanations of the formulas as (names, words): given values, and tensors with settings of their own."""
    in_groups = {name for _, setting in groups for _, e in setting or () for name in names_in(e)}
    said = [("t", "the step, from 1")] if "t" in rule.uses | in_groups else []
    said += [(name, words) for name, words in NORMS.items() if name in rule.uses]
    return [*said, *settings_by_tensor(rule, groups, tensors)]


def settings_by_tensor(rule: UpdateRule, groups: Sequence[Group], tensors: Sequence[str]) -> list[tuple[str, str]]:
    """(tensors with a setting of their own, which it is)"""
    by_setting: dict[Setting | None, list[str]] = {}
    for name in tensors:
        by_setting.setdefault(setting_for(name, groups), []).append(name)
    return [(", ".join(names), setting_words(rule, setting)) for setting, names in by_setting.items() if setting != ()]


def setting_words(rule: UpdateRule, setting: Setting | None) -> str:
    """The setting of a group of tensors, in words."""
    if setting is None:
        return "frozen, left as it is"
    plain, assigned = Plain(term_order(rule)), {target.name for target, _ in rule.assignments}
    return ", ".join(
        f"{h} = {plain.expression(as_reads(e))}{' before the schedule' if h in assigned else ''}" for h, e in setting
    )


def some(names: Sequence[str]) -> str:
    """All of a few names; of many the first and the last."""
    return ", ".join(names) if len(names) <= FEW else f"{names[0]}, {names[1]}, …, {names[-1]} ({len(names)} tensors)"
