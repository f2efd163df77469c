"""The form of update rules: assignments in a parameter θ, its gradient g, slots and the step count t.

The assignments are carried out in order for every element of every parameter. What a rule assigns to is θ, a slot
(kept from step to step), g (what the rest of the rule takes for the gradient), a hyperparameter (a rate that depends on
t), or a name of its own for a value that several assignments use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derivgen.errors import nearest
from derivgen.file import contract
from derivgen.form.expressions import Read, substitute
from derivgen.update.expressions import check_expression

theta, g, t = sp.symbols("theta g t", real=True)
# Euclidean norms of the gradient as the step gave it: of all that is trained, and of one tensor.
gradient_norm, tensor_norm = sp.symbols("gradient_norm tensor_norm", real=True)
GIVEN = (theta, g, t, gradient_norm, tensor_norm)


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
    positive: tuple[str, ...] = ()  # those of them that must be above 0

    @property
    def varying(self) -> frozenset[str]:
        """The names that have a value for each parameter; all others have one for a whole tensor, or for the step.

        A slot whose values differ by tensor is kept for each parameter.
        """
        slots, found, by_tensor = {slot.name for slot, _ in self.slots}, {"theta", "g"}, {"tensor_norm"}
        while True:
            before = len(found) + len(by_tensor)
            for target, e in self.assignments:
                if (found | by_tensor) & names_in(e):
                    (found if found & names_in(e) or target.name in slots else by_tensor).add(target.name)
            if len(found) + len(by_tensor) == before:
                return frozenset(found)

    @property
    def shared_slots(self) -> tuple[str, ...]:
        """The slots that are the same for every parameter, and so kept once."""
        varying = self.varying
        return tuple(slot.name for slot, _ in self.slots if slot.name not in varying)

    @property
    def versions(self) -> tuple[tuple[Read, sp.Expr], ...]:
        """The assignments with each name's values told apart: m[0] is what a step starts with, m[1] the next one."""
        count: Counter[str] = Counter()
        found = []
        for target, e in self.assignments:
            value = substitute(e, {s: Read(s.name, count[s.name]) for s in e.free_symbols})
            count[target.name] += 1
            found.append((Read(target.name, count[target.name]), value))
        return tuple(found)

    @property
    def shared_assignments(self) -> tuple[tuple[Read, sp.Expr], ...]:
        """The assignments of slots that are kept once, in terms of hyperparameters, such slots and the step alone."""
        values: dict[Read, sp.Expr] = {}
        found, shared, varying = [], self.shared_slots, self.varying
        for target, e in self.versions:
            if target.tensor in shared:
                found.append((target, substitute(e, values)))
            elif target.tensor not in varying:
                values[target] = substitute(e, values)
        return tuple(found)

    @property
    def uses(self) -> frozenset[str]:
        """Every name that some expression reads."""
        return frozenset(name for _, e in self.assignments for name in names_in(e))


def names_in(expression: sp.Basic) -> set[str]:
    return {s.name for s in expression.free_symbols}


def hyperparameter(name: str, nonnegative: bool = True, positive: bool = False) -> sp.Symbol:
    """The symbol of a hyperparameter in a rule's expressions.

    `nonnegative`: a value below 0 raises an error; `positive`: 0 raises an error too, for example because something is
    divided by it.
    """
    bounds = {"nonnegative": nonnegative, "positive": positive}
    return sp.Symbol(name, real=True, **{bound: True for bound, holds in bounds.items() if holds})


def rule(
    name: str,
    assignments: Sequence[tuple[sp.Symbol, Any]],
    /,
    slots: Mapping[sp.Symbol, float] | None = None,
    **hyperparameters: float | sp.Expr | Schedule,
) -> UpdateRule:
    """A custom update rule.

    `assignments` are carried out in order; t counts the steps from 1. A hyperparameter is a default, which callers of
    the module may replace, or an expression in t, or a schedule. Raises ValueError if a symbol has no value, if a name
    has another meaning, if a default is out of its range, or if an expression has a part that a rule can't have.
    """
    made = [
        (sp.Symbol(str(target), real=True), expression_of(name, target, e)) for target, e in pairs(name, assignments)
    ]
    schedules, defaults = scheduled(name, hyperparameters)
    symbols = {s for _, e in (*schedules, *made) for s in e.free_symbols}
    assigned = [(target, plain(e)) for target, e in (*schedules, *made)]
    if not isinstance(slots, Mapping | None):
        raise ValueError(f"rule {name}: expected slots as what they start with, {{m: 0.0}}, found {slots!r}")
    start = "a number to start with"
    kept = {sp.Symbol(str(s), real=True): number(name, str(s), value, start) for s, value in (slots or {}).items()}
    check_names(name, [*defaults, *map(str, kept)], given=defaults)
    twice = next((str(slot) for slot in kept if str(slot) in {**hyperparameters, **defaults}), None)
    if twice:
        raise ValueError(f"rule {name}: {twice} is a slot and a hyperparameter: rename one of them")
    check_values(name, assigned, kept, defaults)
    nonnegative = tuple(h for h in defaults if any(s.name == h and s.is_nonnegative for s in symbols))
    positive = tuple(h for h in defaults if any(s.name == h and s.is_positive for s in symbols))
    for h in nonnegative:
        if defaults[h] < 0 or (h in positive and defaults[h] == 0):
            least = "above" if h in positive else "at least"
            raise ValueError(f"rule {name}: {h} must be {least} 0, found {defaults[h]:g}")
    return UpdateRule(name, tuple(assigned), tuple(kept.items()), tuple(defaults.items()), nonnegative, positive)


def pairs(name: str, assignments: Any) -> Sequence[tuple[Any, Any]]:
    """The assignments as they are; ValueError where these are no pairs."""
    given = assignments if isinstance(assignments, Sequence) else ()
    if not given or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in given):
        raise ValueError(
            f"rule {name}: expected assignments in order such as [(m, mu*m + g), (theta, theta - eta*m)], found "
            f"{assignments!r}"
        )
    return given


def expression_of(name: str, target: object, given: Any) -> sp.Expr:
    try:
        e = sp.sympify(given)
    except sp.SympifyError:
        e = None
    if not isinstance(e, sp.Expr):
        raise ValueError(f"rule {name}: expected an expression for {target}, found {given!r}")
    return e


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
            if not all(isinstance(own, tuple) and len(own) == 2 for own in value.hyperparameters):
                raise ValueError(
                    f"rule {name}: {h}: a schedule's hyperparameters are pairs of name and default, such as "
                    f'(("slope", 0.01),), found {value.hyperparameters!r}'
                )
            twice = next((other for other, _ in value.hyperparameters if other in {*hyperparameters, *defaults}), None)
            if twice:
                raise ValueError(
                    f"rule {name}: two schedules have a hyperparameter {twice}: write one as an expression"
                )
            if value.expression != initial:
                assignments.append((symbol, value.expression.xreplace({initial: symbol})))
            own = {other: number(name, other, default) for other, default in value.hyperparameters}
            defaults |= {h: number(name, h, value.initial), **own}
        elif isinstance(value, sp.Expr) and not value.is_number:
            assignments.append((symbol, value))
        else:
            defaults[h] = number(name, h, value)
    return assignments, defaults


def schedule_of(value: sp.Expr | float) -> Schedule:
    """An expression in t as a schedule, whose first value callers may replace."""
    e = plain(expression_of("schedule", "rate", value))
    first = number("schedule", "rate", e.subs(t, 1), "a number or an expression in t alone")
    return Schedule(first, initial * e / first if e.has(t) else initial)


def number(name: str, h: str, value: Any, expected: str = "a number or an expression in t") -> float:
    """The value of a hyperparameter, or what a slot starts with."""
    try:
        made = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        made = math.nan
    if math.isnan(made):
        raise ValueError(f"rule {name}: {h} must be {expected}, found {value!r}")
    return made


def check_names(name: str, names: Iterable[str], given: Iterable[str] = ()) -> None:
    """ValueError where a hyperparameter or a slot has a name that means something else.

    `given`: the hyperparameters, which callers give to `runtime.fit` beside its own arguments.
    """
    for own in names:
        why = contract.refusal(own, "hyperparameter")
        if why or own.startswith(("_", "factor_", "CONSTANT_")) or own in map(str, GIVEN):
            raise ValueError(f"rule {name}: {why or f'{own} has a meaning of its own in the update: rename it'}")
    for h in given:
        if h in contract.FIT_ARGUMENTS:
            raise ValueError(f"rule {name}: {h} is an argument of runtime.fit: rename the hyperparameter")


Assignments = Sequence[tuple[sp.Symbol, sp.Expr]]


def check_values(
    name: str, assignments: Assignments, slots: Mapping[sp.Symbol, float], defaults: Mapping[str, float]
) -> None:
    """ValueError where an assignment reads a name without a value, or assigns one that nothing reads."""
    stays = {"theta", *map(str, slots)}
    assigned = {target.name for target, _ in assignments}
    check_reads(name, assignments, {*map(str, GIVEN), *stays, *defaults})
    if "theta" not in assigned:
        raise ValueError(f"rule {name}: assigns nothing to theta")
    check_readers(name, assignments, stays)
    for slot in map(str, slots):
        if slot not in assigned:
            raise ValueError(f"rule {name}: nothing assigns the slot {slot}: a value that stays is a hyperparameter")
    check_hyperparameters(name, assignments, defaults)


def check_reads(name: str, assignments: Assignments, known: set[str]) -> None:
    """ValueError where an assignment reads what has no value there, or assigns what is given."""
    for target, expression in assignments:
        check_expression(f"rule {name}: {target}", expression)
        unknown = sorted(names_in(expression) - known)
        if unknown:
            near = nearest(unknown[0], known)
            raise ValueError(
                f"rule {name}: {target} uses {unknown[0]}, which has no value there{near}: pass a default, or as a "
                "slot what it starts with"
            )
        if target in (t, gradient_norm, tensor_norm):
            raise ValueError(f"rule {name}: assigns {target}, which is given")
        if target.name not in known:
            check_names(name, [target.name])
        known = known | {target.name}


def check_readers(name: str, assignments: Assignments, stays: set[str]) -> None:
    """ValueError where nothing reads a value before the next one; the last value of theta or a slot needs no reader."""
    assigned = [target.name for target, _ in assignments]
    for position, a in enumerate(assigned):
        again = next((k for k in range(position + 1, len(assigned)) if assigned[k] == a), None)
        readers = assignments[position + 1 : None if again is None else again + 1]
        if any(a in names_in(e) for _, e in readers) or (again is None and a in stays):
            continue
        if again is not None:
            raise ValueError(f"rule {name}: nothing reads {a} before it is assigned again: leave the first one out")
        if any(a in names_in(e) for _, e in assignments):
            raise ValueError(f"rule {name}: nothing reads {a} after it is assigned: what the next step needs is a slot")
        raise ValueError(f"rule {name}: nothing reads {a}, which is neither theta nor a slot{nearest(a, stays)}")


def check_hyperparameters(name: str, assignments: Assignments, defaults: Iterable[str]) -> None:
    """ValueError where nothing reads a hyperparameter before it is assigned."""
    assigned = [target.name for target, _ in assignments]
    for h in defaults:
        first = assigned.index(h) + 1 if h in assigned else None
        if not any(h in names_in(e) for _, e in assignments[:first]):
            after = " before it is assigned" if first else ""
            raise ValueError(f"rule {name}: nothing reads the hyperparameter {h}{after}: leave it out, or use it")


# ---- what changes a rule


def refuse_no_rule(rule: object) -> None:
    if not isinstance(rule, UpdateRule):
        raise ValueError(f"expected an update rule such as optimizers.adam(), found {rule!r}")


def before(rule: UpdateRule, target: sp.Symbol, expression: sp.Expr, /, **hyperparameters: float) -> UpdateRule:
    """The rule after one more assignment, which comes first."""
    refuse_no_rule(rule)
    return changed(rule, [(target, expression), *rule.assignments], rule.name, **hyperparameters)


def changed(
    of: UpdateRule, assignments: Sequence[tuple[sp.Symbol, sp.Expr]], name: str, /, **hyperparameters: float
) -> UpdateRule:
    """The rule with other assignments, and with hyperparameters besides its own."""
    twice = next((h for h in hyperparameters if h in dict(of.hyperparameters)), None)
    if twice:
        raise ValueError(f"rule {of.name} has a hyperparameter {twice} already")
    made = rule(name, assignments, dict(of.slots), **{**dict(of.hyperparameters), **hyperparameters})

    def in_order(bounded: set[str]) -> tuple[str, ...]:
        return tuple(h for h, _ in made.hyperparameters if h in bounded)

    nonnegative, positive = {*of.nonnegative, *made.nonnegative}, {*of.positive, *made.positive}
    return replace(made, nonnegative=in_order(nonnegative), positive=in_order(positive))


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
