"""The form of update rules: assignments in a parameter θ, its gradient g, slots and the step count t.

The assignments are carried out in order for every element of every parameter. What a rule assigns to is θ, a slot
(kept from step to step), g (what the rest of the rule takes for the gradient), a hyperparameter (a rate that depends on
t), or a name of its own for a value that several assignments use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import sympy as sp

from derivgen import contract
from derivgen.errors import nearest
from derivgen.expressions import subexpressions
from derivgen.functions import DERIVATIVES

theta, g, t = sp.symbols("theta g t", real=True)
# Euclidean norms of the gradient as the step gave it: of all that is trained, and of one tensor.
gradient_norm, tensor_norm = sp.symbols("gradient_norm tensor_norm", real=True)
GIVEN = (theta, g, t, gradient_norm, tensor_norm)

Setting = tuple[tuple[str, sp.Expr], ...]  # what hyperparameters are for some tensors
Group = tuple[str, Setting | None]  # the pattern of their names, and the setting; None: they are left alone


class _Frozen:
    """The setting of tensors that the update leaves alone."""

    def __repr__(self) -> str:
        return "frozen"


frozen = _Frozen()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A hyperparameter as an expression in t, its value `initial`, and other hyperparameters with their defaults."""

    initial: float
    expression: sp.Expr
    hyperparameters: tuple[tuple[str, float], ...] = ()


initial = sp.Symbol("initial", real=True)  # in a schedule's expression


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """Assignments in order, the slots' initial values, and the hyperparameters' defaults."""

    name: str
    assignments: tuple[tuple[sp.Symbol, sp.Expr], ...]
    slots: tuple[tuple[sp.Symbol, float], ...]
    hyperparameters: tuple[tuple[str, float], ...]
    nonnegative: tuple[str, ...] = ()  # hyperparameters that must be at least 0

    @property
    def varying(self) -> frozenset[str]:
        """The names that have a value for each parameter; all others have one for a whole tensor, or for the step."""
        found = {"theta", "g"}
        while True:
            more = {target.name for target, e in self.assignments if found & names_in(e)} - found
            if not more:
                return frozenset(found)
            found |= more

    @property
    def shared_slots(self) -> tuple[str, ...]:
        """The slots that are the same for every parameter, and so kept once."""
        return tuple(slot.name for slot, _ in self.slots if slot.name not in self.varying)

    @property
    def shared_assignments(self) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
        """Those to slots that are kept once, in terms of hyperparameters, slots and the step alone."""
        values: dict[sp.Symbol, sp.Expr] = {}
        found = []
        for target, e in self.assignments:
            if target.name in self.shared_slots:
                found.append((target, e.xreplace(values)))
            elif target.name not in self.varying:
                values[target] = e.xreplace(values)
        return tuple(found)

    @property
    def uses(self) -> frozenset[str]:
        """Every name that some expression reads."""
        return frozenset(name for _, e in self.assignments for name in names_in(e))


def names_in(expression: sp.Basic) -> set[str]:
    return {s.name for s in expression.free_symbols}


def hyperparameter(name: str, nonnegative: bool = True) -> sp.Symbol:
    """The symbol of a hyperparameter in a rule's expressions; `nonnegative`: a value below 0 is refused."""
    return sp.Symbol(name, real=True, nonnegative=True) if nonnegative else sp.Symbol(name, real=True)


def rule(
    name: str,
    assignments: Sequence[tuple[sp.Symbol, Any]],
    slots: Mapping[sp.Symbol, float] | None = None,
    **hyperparameters: float | sp.Expr | Schedule,
) -> UpdateRule:
    """An update rule of one's own.

    `assignments` are carried out in order; t counts the steps from 1. A hyperparameter is a default, which callers of
    the module may replace, or an expression in t, or a schedule. Raises ValueError where a symbol has no value, where
    a name has another meaning, and where a default is out of its range.
    """
    made = [(sp.Symbol(str(target), real=True), sp.sympify(e)) for target, e in assignments]
    nonnegative = {s.name for _, e in made for s in e.free_symbols if s.is_nonnegative}
    schedules, defaults = scheduled(name, hyperparameters)
    assigned = [(target, plain(e)) for target, e in (*schedules, *made)]
    kept = {sp.Symbol(str(slot), real=True): float(value) for slot, value in (slots or {}).items()}
    check_names(name, [*defaults, *map(str, kept)])
    check_values(name, assigned, kept, defaults)
    for h, value in defaults.items():
        if h in nonnegative and value < 0:
            raise ValueError(f"rule {name}: {h} must be at least 0, found {value:g}")
    bounded = tuple(h for h in defaults if h in nonnegative)
    return UpdateRule(name, tuple(assigned), tuple(kept.items()), tuple(defaults.items()), bounded)


def plain(expression: sp.Expr) -> sp.Expr:
    """The expression in symbols that are told apart by their names alone."""
    return expression.xreplace({s: sp.Symbol(s.name, real=True) for s in expression.free_symbols})


def scheduled(
    name: str, hyperparameters: Mapping[str, Any]
) -> tuple[list[tuple[sp.Symbol, sp.Expr]], dict[str, float]]:
    """(assignments of what depends on t, the defaults of what callers may give)"""
    assignments: list[tuple[sp.Symbol, sp.Expr]] = []
    defaults: dict[str, float] = {}
    for h, value in hyperparameters.items():
        symbol = sp.Symbol(h, real=True)
        if isinstance(value, Schedule):
            twice = next((other for other, _ in value.hyperparameters if other in {*hyperparameters, *defaults}), None)
            if twice:
                raise ValueError(
                    f"rule {name}: two schedules have a hyperparameter {twice}: write one as an expression"
                )
            if value.expression != initial:
                assignments.append((symbol, plain(value.expression).xreplace({initial: symbol})))
            defaults |= {h: number(name, h, value.initial), **dict(value.hyperparameters)}
        elif isinstance(value, sp.Expr) and not value.is_number:
            assignments.append((symbol, value))
        else:
            defaults[h] = number(name, h, value)
    return assignments, defaults


def number(name: str, h: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"rule {name}: {h} must be a number or an expression in t, found {value!r}") from None


def check_names(name: str, names: Iterable[str]) -> None:
    """ValueError where a hyperparameter or a slot has a name that means something else."""
    reserved = (*contract.ARGUMENTS, *map(str, GIVEN), "i", "step", "start", "stop")
    for given in names:
        why = contract.refusal(given, "hyperparameter")
        if why or given.startswith(("_", "factor_")) or given in reserved:
            raise ValueError(f"rule {name}: {why or f'{given} has a meaning of its own in the update: rename it'}")


def check_values(
    name: str,
    assignments: Sequence[tuple[sp.Symbol, sp.Expr]],
    slots: Mapping[sp.Symbol, float],
    defaults: Mapping[str, float],
) -> None:
    """ValueError where an assignment reads what has no value, assigns what nothing reads, or uses unknown functions."""
    known = {*map(str, GIVEN), *map(str, slots), *defaults}
    read: set[str] = set()
    for target, expression in assignments:
        unknown = sorted(names_in(expression) - known)
        if unknown:
            near = nearest(unknown[0], known)
            raise ValueError(f"rule {name}: {target} uses {unknown[0]}, which has no value there{near}: pass a default")
        if target in (t, gradient_norm, tensor_norm):
            raise ValueError(f"rule {name}: assigns {target}, which is given")
        function = next((e.func for e in subexpressions(expression) if not is_known(e)), None)
        if function is not None:
            raise ValueError(f"rule {name}: {target} uses {function.__name__}, which derivgen does not know")
        if target.name not in known:
            check_names(name, [target.name])
        known.add(target.name)
        read |= names_in(expression)
    assigned = [target.name for target, _ in assignments]
    if "theta" not in assigned:
        raise ValueError(f"rule {name}: assigns nothing to theta")
    lost = [a for a in assigned if a not in {"theta", *map(str, slots)} and a not in read]
    if lost:
        near = nearest(lost[0], ["theta", *map(str, slots)])
        raise ValueError(f"rule {name}: nothing reads {lost[0]}, which is neither theta nor a slot{near}")


def is_known(node: sp.Basic) -> bool:
    """Whether a part of an expression is arithmetic, a condition, or a function of the docs' table."""
    return not isinstance(node, sp.Function) or isinstance(node, sp.Piecewise) or node.func in DERIVATIVES


# ---- what changes a rule


def before(rule: UpdateRule, target: sp.Symbol, expression: sp.Expr, **hyperparameters: float) -> UpdateRule:
    """The rule after one more assignment, which comes first."""
    return changed(rule, [(target, expression), *rule.assignments], rule.name, **hyperparameters)


def changed(
    of: UpdateRule, assignments: Sequence[tuple[sp.Symbol, sp.Expr]], name: str, **hyperparameters: float
) -> UpdateRule:
    """The rule with other assignments, and with hyperparameters besides its own."""
    twice = next((h for h in hyperparameters if h in dict(of.hyperparameters)), None)
    if twice:
        raise ValueError(f"rule {of.name} has a hyperparameter {twice} already")
    made = rule(name, assignments, dict(of.slots), **{**dict(of.hyperparameters), **hyperparameters})
    bounded = dict.fromkeys((*of.nonnegative, *made.nonnegative))
    return replace(made, nonnegative=tuple(h for h, _ in made.hyperparameters if h in bounded))


def factors_of(rule: UpdateRule) -> tuple[sp.Expr, sp.Expr] | None:
    """(α, β) of an update θ = α·g + β·θ whose factors are known before the gradient is, else None."""
    if rule.slots or rule.uses & {"gradient_norm", "tensor_norm"}:
        return None
    values: dict[sp.Symbol, sp.Expr] = {}
    for target, expression in rule.assignments:
        values[target] = expression.xreplace(values)
    change = sp.expand(values[theta])
    alpha, beta = change.coeff(g, 1), change.coeff(theta, 1)
    linear = sp.expand(change - alpha * g - beta * theta) == 0 and not (alpha.free_symbols | beta.free_symbols) & {
        g,
        theta,
    }
    return (alpha, beta) if linear and alpha != 0 else None


# ---- what differs by tensor


def groups_of(rule: UpdateRule, groups: Mapping[str, Any]) -> tuple[Group, ...]:
    """The groups as given to `Model.update`; ValueError where a hyperparameter is unknown or can't differ by tensor."""
    return tuple((pattern, setting_of(rule, pattern, given)) for pattern, given in groups.items())


def setting_of(rule: UpdateRule, pattern: str, given: Any) -> Setting | None:
    if given is frozen:
        return None
    if not isinstance(given, Mapping):
        raise ValueError(
            f"group {pattern!r}: expected the hyperparameters that differ, such as {{'weight_decay': 0}}, or "
            f"optimizers.frozen; found {given!r}"
        )
    own = dict(rule.hyperparameters)
    shared = {name for _, e in rule.shared_assignments for name in names_in(e)}
    for h, value in given.items():
        if h not in own:
            raise ValueError(
                f"group {pattern!r}: {rule.name} has no hyperparameter {h}{nearest(h, own)} It has {', '.join(own)}"
            )
        if h in shared:
            raise ValueError(
                f"group {pattern!r}: {h} can't differ by tensor: {rule.name} keeps one value of it for all"
            )
        unknown = sorted(names_in(sp.sympify(value)) - {*own, "t"})
        if unknown:
            raise ValueError(f"group {pattern!r}: {h} uses {unknown[0]}, which is no hyperparameter of {rule.name}")
        if h in rule.nonnegative and sp.sympify(value).is_negative:
            raise ValueError(f"group {pattern!r}: {h} must be at least 0, found {value}")
    return tuple((h, plain(sp.sympify(value))) for h, value in given.items())


def setting_for(name: str, groups: Sequence[Group]) -> Setting | None:
    """What differs for a tensor, None if it is left alone; of several groups the later ones win."""
    found: dict[str, sp.Expr] = {}
    for pattern, setting in groups:
        if fnmatchcase(name, pattern):
            if setting is None:
                return None
            found |= dict(setting)
    return tuple(sorted(found.items()))
