"""Where the functions of the whole model find a tensor, by itself and as a run of equal calls goes through a family."""

from __future__ import annotations

from collections.abc import Sequence

from derivgen.emit.layout import tuple_text
from derivgen.emit.plan import Plan, field
from derivgen.program import Role


class Places:
    """Writes tensors as arguments."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.table = {**plan.prediction_table, **plan.program.table}
        self.parameters = {bar: p for p, bar in plan.program.gradients}

    def one(self, name: str) -> str:
        """A tensor."""
        family, position = self.plan.families.get(name, ((name,), 0))
        return self.member(family, str(position))

    def each(self, names: Sequence[str]) -> str:
        """What an argument goes through in a run, in terms of the loop's index k."""
        family, first = self.plan.families.get(names[0], ((names[0],), 0))
        if len(set(names)) == 1:
            return self.one(names[0])
        sign = "+" if self.plan.families[names[1]][1] > first else "-"
        return self.member(family, f"k + {first}" if sign == "+" and first else "k" if sign == "+" else f"{first} - k")

    def member(self, family: tuple[str, ...], position: str) -> str:
        """The member of a family at a position, which is a number or depends on k."""
        owner, name = self.owner(family[0]), family[0]
        places = self.plan.places.get(family, 1)
        if len(family) == 1 or (owner == "work" and places == 1):
            return f"{owner}.{field(self.parameters.get(name, name))}"
        if owner == "work":
            place = position if places == len(family) else in_turn(position, places)
            return f"{owner}.{field(name)}[{place}]"
        start, step = self.plan.offsets[name], self.plan.stride(family)
        shape = tuple_text([str(extent) for extent in self.table[name].shape] or ["1"])
        return f"part({owner}.flat, {offset_text(start, int(step or 0), position)}, {shape})"

    def owner(self, name: str) -> str:
        """What a step is given that has the tensor: theta, bar, into, data or work."""
        if name in self.parameters:
            return "into" if name in self.plan.training.in_place else "bar"
        role = self.table[name].role
        if role is Role.PARAMETER:
            return "theta"
        return "data" if role in (Role.INPUT, Role.LABELS, Role.CONSTANT) else "work"


def in_turn(position: str, places: int) -> str:
    if position.isdigit():
        return str(int(position) % places)
    return f"{position} % {places}" if position == "k" else f"({position}) % {places}"


def offset_text(start: int, step: int, position: str) -> str:
    """start + step·position, as one number as far as it can be."""
    if position.isdigit():
        return str(start + step * int(position))
    first, _, rest = position.partition(" - ")
    if rest:
        return f"{start + step * int(first)} - {step} * k"
    _, _, shift = position.partition(" + ")
    return f"{start + step * int(shift or 0)} + {step} * k"
