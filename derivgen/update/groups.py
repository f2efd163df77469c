"""Groups of tensors in an update rule, by patterns of names: each with hyperparameters of its own, or frozen."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import sympy as sp

from derivgen.errors import nearest
from derivgen.form.expressions import reads_of
from derivgen.update.expressions import check_expression
from derivgen.update.rule import UpdateRule, names_in, plain

Setting = tuple[tuple[str, sp.Expr], ...]  # what hyperparameters are for some tensors
Group = tuple[str, Setting | None]  # the pattern of their names, and the setting; None: they are left alone


class _Frozen:
    """The setting of tensors that the update leaves alone."""

    def __repr__(self) -> str:
        return "frozen"


frozen = _Frozen()


def groups_of(rule: UpdateRule, groups: Mapping[str, Any]) -> tuple[Group, ...]:
    """The groups as given to `Model.update`; ValueError where a hyperparameter is unknown or can't differ by tensor."""
    if not isinstance(groups, Mapping) or not all(isinstance(pattern, str) for pattern in groups):
        raise ValueError(
            "groups: expected a mapping from patterns of parameters' names to what differs for them, such as "
            f"{{'*_b': {{'weight_decay': 0}}}}, found {groups!r}"
        )
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
    shared = {read.tensor for _, e in rule.shared_assignments for read in reads_of(e)}
    for h in given:
        if h not in own:
            raise ValueError(
                f"group {pattern!r}: {rule.name} has no hyperparameter {h}{nearest(str(h), own) or '.'} It has "
                f"{', '.join(own)}"
            )
        if h in shared:
            raise ValueError(
                f"group {pattern!r}: {h} can't differ by tensor: {rule.name} keeps one value of it for all"
            )
    return tuple((h, value_of(rule, f"group {pattern!r}: {h}", h, value)) for h, value in given.items())


def value_of(rule: UpdateRule, where: str, h: str, value: Any) -> sp.Expr:
    """The value of a hyperparameter in a group."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real | sp.Expr):
        raise ValueError(f"{where} must be a number or an expression in hyperparameters and t, found {value!r}")
    e = plain(sp.sympify(value))
    check_expression(where, e)
    unknown = sorted(names_in(e) - {*dict(rule.hyperparameters), "t"})
    if unknown:
        raise ValueError(f"{where} uses {unknown[0]}, which is no hyperparameter of {rule.name}")
    if h in rule.positive and e.is_nonpositive:
        raise ValueError(f"{where} must be above 0, found {value}")
    if h in rule.nonnegative and e.is_negative:
        raise ValueError(f"{where} must be at least 0, found {value}")
    return e


def setting_for(name: str, groups: Sequence[Group]) -> Setting | None:
    """The hyperparameters of a tensor's groups, None if it is frozen; later groups go before earlier ones."""
    found: dict[str, sp.Expr] | None = {}
    for pattern, setting in groups:
        if fnmatchcase(name, pattern):
            found = None if setting is None else {**(found or {}), **dict(setting)}
    return None if found is None else tuple(sorted(found.items()))
