"""The update rule → its assignments in the order of the text, each reading the values that it reads in the rule.

A step sets first what is kept once, then what is the same for a whole tensor, then each parameter: an assignment may
stand before others that it follows in the rule. What still has to read an earlier value of a name gets it by a name of
that value's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen.file import contract
from derivgen.form.expressions import Read, reads_of, substitute
from derivgen.update.rule import UpdateRule

Assignment = tuple[sp.Symbol, sp.Expr]
Version = tuple[Read, sp.Expr]


@dataclass(frozen=True, slots=True)
class Ordered:
    """A rule's assignments, reading by the names of the text.

    `step`: of what is kept once; `fixed`: before the loop, and read there; `loop`: for each parameter. `kept`: earlier
    values of what is kept once that `fixed` and `loop` read. `varying`: names that differ by parameter. `own`: the
    text's own names, with those of the rule that they are for.
    """

    step: tuple[Assignment, ...]
    fixed: tuple[Assignment, ...]
    loop: tuple[Assignment, ...]
    kept: tuple[str, ...]
    varying: frozenset[str]
    own: dict[str, str]


def ordered(rule: UpdateRule) -> Ordered:
    """The assignments by their place."""
    varying, hyperparameters = rule.varying, dict(rule.hyperparameters)
    step, loop = rule.shared_assignments, [(v, e) for v, e in rule.versions if v.tensor in varying]
    fixed = live([(v, e) for v, e in rule.versions if v.tensor not in {*varying, *rule.shared_slots}], loop)
    names = Names(rule)
    for v, _ in loop:
        if v.tensor in hyperparameters:  # whose value before is an argument, which each parameter starts from
            names.give(v, names.text.get(Read(v.tensor, 1)) or names.fresh(f"{v.tensor}_1"))
    saved, kept = names.of_the_step(step, [e for _, e in (*fixed, *loop)])
    names.of_the_fixed(fixed, loop)
    return Ordered(
        (*saved, *names.assignments(step)),
        names.assignments(fixed),
        names.assignments(loop),
        tuple(kept),
        frozenset(names.of(Read(name, 1)) for name in varying),
        names.own,
    )


def live(fixed: Sequence[Version], loop: Sequence[Version]) -> list[Version]:
    """The fixed assignments that the loop reads, directly or through others."""
    read = {read for _, e in loop for read in reads_of(e)}
    found: list[Version] = []
    for v, e in reversed(fixed):
        if v in read:
            found.insert(0, (v, e))
            read.update(reads_of(e))
    return found


class Names:
    """The text's names of the values of a rule: the rule's own, where no other value of that name is still read."""

    def __init__(self, rule: UpdateRule) -> None:
        self.shared = rule.shared_slots
        self.taken = {s.name for target, e in rule.assignments for s in (target, *e.free_symbols)}
        self.taken |= {*dict(rule.hyperparameters), *(slot.name for slot, _ in rule.slots)}
        self.text: dict[Read, str] = {}
        self.own: dict[str, str] = {}

    def fresh(self, name: str) -> str:
        while name in self.taken or contract.refusal(name, "hyperparameter"):
            name += "_"
        self.taken.add(name)
        return name

    def give(self, version: Read, name: str) -> None:
        self.text[version], self.own[name] = name, version.tensor

    def of(self, version: Read) -> str:
        return self.text.get(version, version.tensor)

    def assignments(self, versions: Iterable[Version]) -> tuple[Assignment, ...]:
        return tuple(
            (
                sp.Symbol(self.of(v), real=True),
                substitute(e, {read: Read(self.of(read)) for read in reads_of(e)}),
            )
            for v, e in versions
        )

    def of_the_step(self, step: Sequence[Version], later: Sequence[sp.Expr]) -> tuple[list[Assignment], list[str]]:
        """Names the values of what is kept once; gives assignments that come first, and what `later` reads by name.

        The last value of a slot is in its place, the first one until then.
        """
        saved, kept = [], []
        read_later = {read for e in later for read in reads_of(e)}
        for slot in self.shared:
            own = [v for v, _ in step if v.tensor == slot]
            first, last = Read(slot, 0), next((k for k, (v, _) in enumerate(step) if own and v == own[-1]), len(step))
            for v in own[:-1]:
                self.give(v, self.fresh(f"{slot}_{v.subscripts[0]}"))
            after = {read for _, e in step[last + 1 :] for read in reads_of(e)}
            if own and first in after | read_later:
                self.give(first, self.fresh(f"{slot}_before"))
                saved.append((sp.Symbol(self.of(first), real=True), Read(slot)))
            kept += [self.of(v) for v in (first, *own[:-1]) if v in read_later and v in self.text]
        return saved, kept

    def of_the_fixed(self, fixed: Sequence[Version], loop: Sequence[Version]) -> None:
        """Names the values of what stands before the loop."""
        last_read = {read: position for position, (_, e) in enumerate(fixed) for read in reads_of(e)}
        last_read |= {read: len(fixed) for _, e in loop for read in reads_of(e)}
        for position, (v, _) in enumerate(fixed):
            earlier = [Read(v.tensor, k) for k in range(int(v.subscripts[0]))]
            if any(self.of(e) == v.tensor and last_read.get(e, 0) > position for e in earlier):
                self.give(v, self.fresh(f"{v.tensor}_{v.subscripts[0]}"))
