"""The update rule → its loop over the flat vector, or over the parts of it that have settings of their own.

What depends on the step, and not on the parameter, is computed once, in double precision whatever the module's dtype:
1 - β^t of a β near 1 keeps its digits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sympy as sp

from derivgen.code.routine import FACTORS, Group, Linkage, Routine, Type, array
from derivgen.code.tree import Assign, Block, Call, Code, Extent, For, Kind, Let, Note, Number, Receive
from derivgen.form.expressions import Read, index_symbol, reads_of, replace_reads
from derivgen.form.program import Tensor
from derivgen.plan.module_plan import ModulePlan
from derivgen.plan.ranges import in_step, merged
from derivgen.schedule.repeat import LEAST
from derivgen.update.hoisted import hoisted
from derivgen.update.notation import as_reads, formulas, setting_words, some, term_order
from derivgen.update.ordered import ordered
from derivgen.update.rule import factors_of, names_in, t
from derivgen.whole.calls import STATE
from derivgen.whole.library import SUM_OF_SQUARES

GRADIENT_NORM, TENSOR_NORM = "gradient_norm", "tensor_norm"


def step_number() -> Read:
    return Read("state.step", 0)


class Rule:
    """The functions of a module's rule.

    `called`: names of functions that no local may have.
    """

    def __init__(self, plan: ModulePlan, called: Collection[str]) -> None:
        self.plan, self.rule, self.parts, self.called = plan, plan.rule, plan.update_parts, called
        self.count, self.in_parts = plan.parameter_count, bool(plan.training.in_place)
        parts = self.parts
        one_loop = len(parts) == 1 and not parts[0].setting and len(parts[0].ranges) == 1 and not self.in_parts
        one_loop = one_loop and parts[0].ranges[0][0] == 0  # the first ones may be frozen
        self.ranged = not one_loop
        self.hyperparameters = [self.local(name) for name, _ in self.rule.hyperparameters]
        self.order = ordered(self.rule)
        self.hoisted = hoisted(self.order)
        self.arrays = {slot.name: f"state.{slot.name}" for slot, _ in self.rule.slots}
        at = index_symbol("i")
        self.places = {"theta": Read("parameters", at), "g": Read("gradient", at)}
        self.places |= {s: Read(a, 0 if s in self.rule.shared_slots else at) for s, a in self.arrays.items()}
        order = term_order(self.rule)
        self.rank = {place.tensor: order[name] for name, place in self.places.items()}
        self.rank |= {self.local(name): rank for name, rank in order.items()}
        self.rank |= {self.local(own): order[name] for own, name in self.order.own.items()}

    def local(self, name: str) -> str:
        """A name of the rule inside its functions, past what is called there."""
        return f"{name}_" if name.rstrip("_") in self.called else name

    def resolved(self, e: sp.Expr) -> sp.Expr:
        """An expression of the rule with its reads resolved to places."""
        return replace_reads(e, lambda read: self.places.get(read.tensor, Read(self.local(read.tensor))))

    # ---- types

    @property
    def slots(self) -> dict[str, Tensor]:
        """What the rule keeps, except for the steps taken."""
        return {slot: array(slot, *self.extent(slot)) for slot in self.plan.slots}

    def extent(self, slot: str) -> tuple[int]:
        return (1,) if slot in self.rule.shared_slots else (self.count,)

    @property
    def state(self) -> Group:
        return Group(STATE, {"step": array("step", 1, integer=True), **self.slots})

    # ---- functions

    def functions(self) -> list[Routine]:
        """Those of the rule."""
        return [
            *((self.range_function(),) if self.ranged else ()),
            self.kernel(),
        ]

    def routine(self, name: str, more: dict[str, Type], body: Block, words: Sequence[str], **options: Any) -> Routine:
        flat = {name: array(name, self.count) for name in ("parameters", "gradient")}
        rates = dict.fromkeys(self.hyperparameters, Kind.DOUBLE)
        return Routine(name, flat | more | rates, body, tuple(words), order=self.rank, **options)

    def kernel(self) -> Routine:
        """The step of the rule."""
        body: list[Code] = [Assign(step_number(), "+=", sp.S.One), *self.of_step()]
        if self.ranged:
            body += self.calls()
        else:
            body += [*self.before_the_loop(), self.whole_loop()]
        words = [*formulas(self.rule), *self.plan.update_remarks]
        return self.routine("update_kernel", {"state": self.state}, tuple(body), words)

    def calls(self) -> Block:
        """The ranges of all parts, each with its setting."""
        codes: list[Code] = []
        for setting, ranges, names in self.parts:
            what = f": {setting_words(self.rule, setting)}" if setting else ""
            codes.append(Note(f"{some(names)}{what}"))
            settings = {name: self.resolved(as_reads(e)) for name, e in setting}
            own = (settings.get(name, Read(self.local(name))) for name, _ in self.rule.hyperparameters)
            numbers = [Number(e, Kind.DOUBLE) for e in (*map(Read, self.kept), *own)]
            for starts, length in in_step(ranges):
                codes += range_calls(starts, length, numbers)
        return tuple(codes)

    def range_function(self) -> Routine:
        """The function that updates some of the parameters."""
        t_ = (Let("t", step_number(), Kind.DOUBLE),) if "t" in self.hoisted.read else ()
        norm = norm_of(TENSOR_NORM, [(Read("start"), Read("stop"))]) if TENSOR_NORM in self.hoisted.read else ()
        more: dict[str, Type] = {"state": self.state, "start": Kind.INTEGER, "stop": Kind.INTEGER}
        return self.routine(
            "update_range",
            more | dict.fromkeys(self.kept, Kind.DOUBLE),
            (*t_, *norm, *self.before_the_loop(), self.loop(Read("stop"), Read("start"))),
            [*formulas(self.rule), "for the parameters from start to before stop"],
            linkage=Linkage.INTERNAL,
            given=(sp.Ge(Read("start"), 0), sp.Le(Read("stop"), self.count)),
        )

    def whole_loop(self) -> Code:
        """The one loop over all that is trained."""
        ((_, stop),) = self.parts[0].ranges
        whole = Extent("parameters", 0) if stop == self.count else sp.Integer(stop)
        return self.loop(whole)

    # ---- statements

    @property
    def kept(self) -> list[str]:
        """What the kernel hands to the loop's function besides the rule's own."""
        return [*([GRADIENT_NORM] if GRADIENT_NORM in self.hoisted.read else []), *self.order.kept]

    @property
    def read(self) -> frozenset[str]:
        """What the text reads besides parameters and settings."""
        return self.hoisted.read.union(read.tensor for _, e in self.order.step for read in reads_of(e))

    def of_step(self) -> Block:
        """What is the same for all parameters: the step count, the gradient's norm, and slots that are kept once."""
        here = {name for part in self.parts for _, e in part.setting for name in names_in(e)}
        here |= {read.tensor for _, e in self.order.step for read in reads_of(e)}
        here |= set() if self.ranged else self.hoisted.read
        codes: list[Code] = [Let("t", step_number(), Kind.DOUBLE)] if "t" in here else []
        if GRADIENT_NORM in self.read:
            ranges = merged(r for part in self.parts for r in part.ranges)
            codes += norm_of(GRADIENT_NORM, [(sp.Integer(a), sp.Integer(b)) for a, b in ranges])
        if TENSOR_NORM in self.hoisted.read and not self.ranged:
            codes += norm_of(TENSOR_NORM, [(sp.S.Zero, sp.Integer(self.parts[0].ranges[0][1]))])
        before = dict(self.places)
        self.places |= {slot: Read(f"state.{slot}", 0) for slot in self.rule.shared_slots}
        codes += [self.assigned(target.name, e, double=True) for target, e in self.order.step]
        self.places = before
        return tuple(codes)

    def before_the_loop(self) -> Block:
        """What is the same for every parameter of the loop; of the module's dtype where the loop reads it."""
        fixed = (Let(self.local(target.name), self.resolved(e), Kind.DOUBLE) for target, e in self.hoisted.fixed)
        factors = (Let(name.tensor, self.resolved(e), Kind.ROUNDED) for e, name in self.hoisted.factors.items())
        bare = (Let(self.local(name), self.resolved(Read(name)), Kind.ROUNDED) for name in self.hoisted.bare)
        return (*fixed, *factors, *bare)

    def loop(self, stop: sp.Expr, start: sp.Expr = sp.S.Zero) -> Code:
        """The loop over parameters; a slot that is read again is stored last.

        A store before the next load makes processors wait where the slots lie at one distance from a page's start.
        """
        places, codes, stores = dict(self.places), list[Code](), list[Code]()
        for slot in self.rule.shared_slots:
            del self.places[slot]
        for position, (target, e) in enumerate(self.hoisted.loop):
            name = target.name
            again = name in self.places and any(Read(name) in reads_of(x) for _, x in self.hoisted.loop[position + 1 :])
            if again:
                local = self.local(name)
                codes.append(Let(local, self.resolved(e)))
                stores += [Assign(places[name], "=", Read(local))] if name != "g" else []
                self.places[name] = Read(local)
            else:
                codes.append(self.assigned(name, e))
        self.places = places
        return For(index_symbol("i"), stop, (*codes, *stores), start)

    def assigned(self, name: str, e: sp.Expr, double: bool = False) -> Code:
        """target = e, or target += its change; a local where the target has no place."""
        own, place = Read(name), self.places.get(name)
        if place is None:
            return Let(self.local(name), self.resolved(e), Kind.DOUBLE if double else Kind.REAL)
        if isinstance(e, sp.Add) and own in e.args:
            return Assign(place, "+=", self.resolved(e - own), double)
        return Assign(place, "=", self.resolved(e), double)

    @property
    def factors(self) -> Block:
        """What sets the factors of products that are added to parameters."""
        scales = factors_of(self.rule)
        assert scales is not None
        t_ = (Let("t", step_number(), Kind.DOUBLE),) if any(t in e.free_symbols for e in scales) else ()
        values = (self.resolved(as_reads(e)) for e in scales)
        return (*t_, *(Assign(Read(FACTORS, k), "=", value, double=True) for k, value in enumerate(values)))


def norm_of(name: str, ranges: Sequence[tuple[sp.Expr, sp.Expr]]) -> Block:
    """A local that becomes the Euclidean norm of some ranges of the gradient."""
    calls = (Call(SUM_OF_SQUARES, ("gradient", Number(start), Number(stop))) for start, stop in ranges)
    sums = (Receive(Read(name), "+=" if k else "=", call) for k, call in enumerate(calls))
    return (*sums, Assign(Read(name), "=", sp.sqrt(Read(name)), double=True))


def range_calls(starts: Sequence[int], length: int, numbers: Sequence[Number]) -> Block:
    """The call of the loop's function for one range, or for several of a length in a loop."""
    in_loop = len(starts) >= LEAST
    first = index_symbol("first") if in_loop else sp.Integer(starts[0])
    call = Call("update_range", ("parameters", "gradient", "state", Number(first), Number(first + length), *numbers))
    if not in_loop:
        return (call,)
    return (For(first, sp.Integer(starts[-1] + 1), (call,), sp.Integer(starts[0]), starts[-1] - starts[-2]),)
