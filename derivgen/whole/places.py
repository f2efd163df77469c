"""Where the functions of the whole model find a tensor, by itself and as a run of equal calls goes through a family."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derivgen.code.tree import Arrays, Item, View
from derivgen.form.expressions import index_symbol
from derivgen.form.program import Role
from derivgen.plan.plan import Plan, field


def run_index() -> sp.Symbol:
    """The number of a call in its run."""
    return index_symbol("k")


class Places:
    """Tensors as arguments."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.table = plan.table
        self.parameters = {bar: p for p, bar in plan.program.gradients}

    def one(self, name: str) -> Arrays:
        """A tensor."""
        family, position = self.plan.families.get(name, ((name,), 0))
        return self.member(family, sp.Integer(position))

    def each(self, names: Sequence[str]) -> Arrays:
        """What an argument goes through in a run, in terms of the run's index."""
        if len(set(names)) == 1:
            return self.one(names[0])
        family, first = self.plan.families[names[0]]
        return self.member(family, first + (self.plan.families[names[1]][1] - first) * run_index())

    def member(self, family: tuple[str, ...], position: sp.Expr) -> Arrays:
        """The member of a family at a position."""
        owner, name = self.owner(family[0]), family[0]
        if owner == "":
            return self.plan.local_names[name]
        if owner in ("theta", "bar", "into", "dot"):
            if position.is_number:
                return f"{owner}.{self.parameter(family[int(position)], owner)}"
            start = self.plan.offsets[self.parameter(name, owner)] + int(self.plan.stride(family) or 0) * position
            return View(f"{owner}.{self.plan.flat}", start, self.table[name].shape)
        places, array = self.plan.places.get(family, 1), f"{owner}.{field(name)}"
        if places == 1:
            return array
        return Item(array, position if places == len(family) else sp.Mod(position, places, evaluate=position.is_number))

    def parameter(self, name: str, owner: str) -> str:
        """What a gradient or a tangent is of; a parameter itself."""
        return self.parameters.get(name, str(self.table[name].of) if owner == "dot" else name)

    def owner(self, name: str) -> str:
        """The tuple of a step that has the tensor (theta, bar, into, dot, data, work), or none of them."""
        if name in self.parameters:
            return "into" if name in self.plan.schedule.in_place else "bar"
        role = self.table[name].role
        if name in self.plan.local_names:
            return ""
        if role is Role.SEED:
            return "dot"
        if role in (Role.PARAMETER, Role.RUNNING):
            return "theta"
        return "data" if role in (Role.INPUT, Role.LABELS, Role.CONSTANT) else "work"
