"""Where the functions of the whole model find a tensor, by itself and as a run of equal calls goes through a family."""

from __future__ import annotations

from collections.abc import Sequence

from derivgen.form.program import Role
from derivgen.plan.plan import Plan, field
from derivgen.print.layout import bracketed
from derivgen.print.text import tuple_text


class Places:
    """Writes tensors as arguments."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.table = plan.table
        self.parameters = {bar: p for p, bar in plan.program.gradients}
        self.single = {t.name for t in plan.single_parameters}

    def one(self, name: str) -> str:
        """A tensor."""
        family, position = self.plan.families.get(name, ((name,), 0))
        return self.member(family, position, 0)

    def each(self, names: Sequence[str]) -> str:
        """What an argument goes through in a run, in terms of the loop's index k."""
        if len(set(names)) == 1:
            return self.one(names[0])
        family, first = self.plan.families[names[0]]
        return self.member(family, first, self.plan.families[names[1]][1] - first)

    def member(self, family: tuple[str, ...], first: int, step: int) -> str:
        """The member of a family at the position first + step·k."""
        owner, name = self.owner(family[0]), family[0]
        if owner == "":
            return self.plan.local_names[name]
        if owner in ("theta", "bar", "into", "dot"):
            parameter = self.parameters.get(name, str(self.table[name].of) if owner == "dot" else name)
            if parameter in self.single and step == 0:
                return f"{owner}.{field(parameter)}"
            t, stride = self.table[name], int(self.plan.stride(family) or 0)
            start = progression(self.plan.offsets[parameter] + stride * first, stride * step)
            return view(f"{owner}.{self.plan.flat}", start, list(map(str, t.shape)))
        places = self.plan.places.get(family, 1)
        if places == 1:
            return f"{owner}.{field(name)}"
        if places == len(family):
            return f"{owner}.{field(name)}[{progression(first, step)}]"
        turn = progression(first, step)
        turn = str(first % places) if step == 0 else f"{turn} % {places}" if turn == "k" else f"({turn}) % {places}"
        return f"{owner}.{field(name)}[{turn}]"

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


def view(flat: str, start: str, shape: Sequence[str]) -> str:
    """A part of a flat array from `start` on, as an array of this shape; a single number is an array of one."""
    return f"view({flat}, {start}, {tuple_text(shape or ['1'])})"


def view_lines(name: str, flat: str, start: str, shape: Sequence[str], depth: int) -> list[str]:
    """The same as an argument of this name, over several lines where it is too long."""
    return bracketed(f"{name}=view(", [flat, start, tuple_text(shape or ["1"])], "),", depth)


def progression(first: int, step: int) -> str:
    """first + step·k"""
    if step == 0:
        return str(first)
    term = "k" if abs(step) == 1 else f"{abs(step)} * k"
    if step < 0:
        return f"{first} - {term}"
    return f"{first} + {term}" if first and abs(step) > 1 else f"{term} + {first}" if first else term
