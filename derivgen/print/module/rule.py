"""The update rule → its loop over the flat vector, or over the parts of it that have settings of their own.

What depends on the step, and not on the parameter, is computed once, in double precision whatever the module's dtype:
1 - β^t of a β near 1 keeps its digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derivgen.code.check import check_code
from derivgen.code.operations import Operations
from derivgen.code.tree import Assign, Code, For, Function, Kind, Let, statements_in, values_of
from derivgen.form.expressions import Read, index_symbol, reads_of, replace_reads, size_symbol
from derivgen.form.program import Role, Tensor
from derivgen.plan.ranges import Part, in_step, merged
from derivgen.print.elementary import local_name
from derivgen.print.kernels import ALPHA_BETA, Printer
from derivgen.print.layout import STEP, WIDTH, Bracket, Chain, bracketed, flat, indented, line
from derivgen.print.module.initial import number_text
from derivgen.print.scalar import Double
from derivgen.print.text import docstring, wrapped
from derivgen.schedule.repeat import LEAST
from derivgen.update.hoisted import hoisted
from derivgen.update.notation import as_reads, formulas, setting_words, some, term_order
from derivgen.update.ordered import ordered
from derivgen.update.rule import UpdateRule, factors_of, names_in, t

START, STOP = size_symbol("start"), size_symbol("stop")  # of a range of the flat vector

SUM_OF_SQUARES = '''\
@internal
def sum_of_squares(vector, start, stop):
    """Of a part of a vector, in double precision: a square of float32 may overflow."""
    total = 0.0
    for i in range(start, stop):
        total += float(vector[i]) * float(vector[i])
    return total'''


@dataclass(frozen=True, slots=True)
class RuleText:
    """The update's functions, and the elementary functions that it calls.

    `factors`: lines that give what a gradient and a parameter are multiplied by, where the update is their sum.
    """

    functions: tuple[str, ...]
    used: frozenset[str]
    factors: tuple[str, ...]
    parallel: bool


class RuleWriter:
    """Writes the functions of one rule.

    `parts`: what is updated; `count`: the flat vector's length; `remarks`: lines for the reader of its formulas.
    `in_parts`: products of matrices update some of the ranges; `threads`: one loop over all runs in threads.
    """

    def __init__(
        self,
        rule: UpdateRule,
        parts: Sequence[Part],
        count: int,
        remarks: Sequence[str],
        in_parts: bool,
        threads: bool,
    ) -> None:
        self.rule, self.parts, self.count, self.remarks, self.in_parts = rule, parts, count, remarks, in_parts
        one_loop = len(parts) == 1 and not parts[0].setting and len(parts[0].ranges) == 1 and not in_parts
        one_loop = one_loop and parts[0].ranges[0][0] == 0  # the first ones may be frozen
        self.ranged, self.threads = not one_loop, threads and one_loop
        self.hyperparameters = [local_name(name) for name, _ in rule.hyperparameters]
        # What a loop in threads writes to the arrays of a tuple is lost (numba 0.68): a function takes them one by one.
        self.order = ordered(rule)
        self.hoisted = hoisted(self.order)
        self.arrays = {slot.name: f"state.{slot.name}" for slot, _ in rule.slots}
        if self.threads:
            self.arrays = {slot: self.apart(f"state_{slot}") for slot in self.arrays}
        at = index_symbol("i")
        self.places = {"theta": Read("parameters", at), "g": Read("gradient", at)}
        self.places |= {s: Read(a, 0 if s in rule.shared_slots else at) for s, a in self.arrays.items()}
        order = term_order(rule)
        self.rank = {place.tensor: order[name] for name, place in self.places.items()}
        self.rank |= {local_name(name): rank for name, rank in order.items()}
        self.rank |= {local_name(own): order[name] for own, name in self.order.own.items()}
        self.used: set[str] = set()

    def apart(self, name: str) -> str:
        """A name that differs from all that the rule has."""
        taken = {*self.hyperparameters, *self.order.own, *self.hoisted.bare, *term_order(self.rule)}
        return self.apart(f"{name}_") if name in taken else name

    def resolved(self, e: sp.Expr) -> sp.Expr:
        """An expression of the rule with its reads resolved to places."""
        return replace_reads(e, lambda read: self.places.get(read.tensor, Read(local_name(read.tensor))))

    def write(self) -> RuleText:
        functions = [SUM_OF_SQUARES] if self.read & {"gradient_norm", "tensor_norm"} else []
        functions += [self.range_function()] if self.ranged else []
        functions += [self.threads_function()] if self.threads else []
        factors = self.factor_lines() if self.in_parts else []
        functions.append(self.kernel())
        return RuleText(tuple(functions), frozenset(self.used), tuple(factors), self.threads)

    # ---- functions

    def kernel(self) -> str:
        """The step of the rule."""
        signature = bracketed("def update_kernel(", ["parameters", "gradient", "state", *self.hyperparameters], "):")
        body = [*docstring([*formulas(self.rule), *self.remarks]), "state.step[0] += 1", *self.step_lines()]
        if self.ranged:
            body += self.calls()
        elif self.threads:
            arrays = [f"state.{slot}" for slot in self.arrays]
            given = ["parameters", "gradient", *arrays, *self.of_the_step(), *self.hyperparameters]
            body += bracketed("update_in_threads(", given, ")", depth=1)
        else:
            body += self.printed([*self.before_the_loop(), *self.whole_loop()], 1)
        return "\n".join(["@kernel", *signature, *indented(body)])

    def calls(self) -> list[str]:
        """The ranges of all parts, each with its setting."""
        lines = []
        for setting, ranges, names in self.parts:
            what = f": {setting_words(self.rule, setting)}" if setting else ""
            lines += wrapped(f"# {some(names)}{what}", WIDTH - len(STEP), "# ")
            settings = {name: self.given(e) for name, e in setting}
            values = [settings.get(name, local_name(name)) for name, _ in self.rule.hyperparameters]
            for starts, length in in_step(ranges):
                lines += range_call(starts, length, [*self.of_the_step(), *values])
        return lines

    def given(self, e: sp.Expr) -> str:
        """A setting as an argument; a float always, for which numba has compiled the function."""
        return number_text(float(e)) if e.is_number else self.in_double(as_reads(e))

    def range_function(self) -> str:
        """The function that updates some of the parameters."""
        given = ["parameters", "gradient", "state", "start", "stop", *self.of_the_step()]
        signature = bracketed("def update_range(", [*given, *self.hyperparameters], "):")
        doc = docstring([*formulas(self.rule), "for the parameters from start to before stop"])
        t_line = ["t = float(state.step[0])"] if "t" in self.hoisted.read else []
        norm = "tensor_norm = math.sqrt(sum_of_squares(gradient, start, stop))"
        norms = [norm] if "tensor_norm" in self.hoisted.read else []
        codes = [*self.before_the_loop(), *self.loop(STOP, START)]
        body = [*doc, *t_line, *norms, *self.printed(codes, 1)]
        return "\n".join(["@internal", *signature, *indented(body)])

    def threads_function(self) -> str:
        """The function whose loop over all parameters runs in threads."""
        given = ["parameters", "gradient", *self.arrays.values(), *self.of_the_step(), *self.hyperparameters]
        body = [*docstring(formulas(self.rule)), *self.printed([*self.before_the_loop(), *self.whole_loop()], 1)]
        signature = bracketed("def update_in_threads(", given, "):")
        return "\n".join(["@parallel_kernel", *signature, *indented(body)])

    def whole_loop(self) -> list[Code]:
        """The one loop over all that is trained."""
        ((_, stop),) = self.parts[0].ranges
        shown = ("parameters", 0) if stop == self.count else None
        return self.loop(sp.Integer(stop), shown=shown, parallel=self.threads)

    # ---- lines

    def of_the_step(self) -> list[str]:
        """What the kernel hands to the loop's function besides the rule's own."""
        names = ["gradient_norm"] if self.ranged else ["t", "gradient_norm", "tensor_norm"]
        return [*(name for name in names if name in self.hoisted.read), *self.order.kept]

    @property
    def read(self) -> frozenset[str]:
        """What the text reads besides parameters and settings."""
        return self.hoisted.read.union(read.tensor for _, e in self.order.step for read in reads_of(e))

    def step_lines(self) -> list[str]:
        """What is the same for all parameters: the step count, the gradient's norm, and slots that are kept once."""
        here = {name for part in self.parts for _, e in part.setting for name in names_in(e)}
        here |= {read.tensor for _, e in self.order.step for read in reads_of(e)}
        here |= set() if self.ranged else self.hoisted.read
        lines = ["t = float(state.step[0])"] if "t" in here else []
        if "gradient_norm" in self.read:
            ranges = merged(r for part in self.parts for r in part.ranges)
            sums = tuple(f"sum_of_squares(gradient, {start}, {stop})" for start, stop in ranges)
            total = Chain(sums[0], tuple(("+", s) for s in sums[1:])) if sums[1:] else sums[0]
            lines += line("gradient_norm = ", Bracket("math.sqrt", (total,)), depth=1)
        if "tensor_norm" in self.hoisted.read and not self.ranged:
            lines.append(f"tensor_norm = math.sqrt(sum_of_squares(gradient, 0, {self.parts[0].ranges[0][1]}))")
        before = dict(self.places)
        self.places |= {slot: Read(f"state.{slot}", 0) for slot in self.rule.shared_slots}
        codes = [self.assigned(target.name, e, double=True) for target, e in self.order.step]
        self.places = before
        return [*lines, *self.printed(codes, 1)]

    def before_the_loop(self) -> list[Code]:
        """What is the same for every parameter of the loop; of the module's dtype where the loop reads it."""
        fixed = [Let(local_name(target.name), self.resolved(e), Kind.DOUBLE) for target, e in self.hoisted.fixed]
        factors = [Let(name.tensor, self.resolved(e), Kind.ROUNDED) for e, name in self.hoisted.factors.items()]
        bare = [Let(local_name(name), self.resolved(Read(name)), Kind.ROUNDED) for name in self.hoisted.bare]
        return [*fixed, *factors, *bare]

    def loop(self, stop: sp.Expr, start: sp.Expr = sp.S.Zero, **marks: Any) -> list[Code]:
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
                local = local_name(name)
                codes.append(Let(local, self.resolved(e)))
                stores += [Assign(places[name], "=", Read(local))] if name != "g" else []
                self.places[name] = Read(local)
            else:
                codes.append(self.assigned(name, e))
        self.places = places
        return [For(index_symbol("i"), stop, (*codes, *stores), start, **marks)]

    def assigned(self, name: str, e: sp.Expr, double: bool = False) -> Code:
        """target = e, or target += its change; a local where the target has no place."""
        own, place = Read(name), self.places.get(name)
        if place is None:
            return Let(local_name(name), self.resolved(e), Kind.DOUBLE if double else Kind.REAL)
        if isinstance(e, sp.Add) and own in e.args:
            return Assign(place, "+=", self.resolved(e - own), double)
        return Assign(place, "=", self.resolved(e), double)

    def printed(self, codes: Sequence[Code], depth: int) -> list[str]:
        """Lines of code on the flat vectors, proved to stay inside them."""
        flat = (sp.Integer(self.count),)
        arrays = {
            name: Tensor(name, flat, Role.PARAMETER) for name in ("parameters", "gradient", *self.arrays.values())
        }
        shared = {f"state.{s}": Tensor(f"state.{s}", (sp.S.One,), Role.PARAMETER) for s in self.rule.shared_slots}
        arrays |= shared | {self.arrays[s]: shared[f"state.{s}"] for s in self.rule.shared_slots}
        scalars = {
            r.tensor for c in codes for inner in statements_in((c,)) for e in values_of(inner) for r in reads_of(e)
        }
        function = Function("update", arrays, tuple(codes), self.rank, scalars=(*sorted(scalars - arrays.keys()),))
        inside = sp.Ge(START, 0), sp.Le(STOP, self.count)
        printer = Printer(check_code(replace(function, given=inside)))
        lines = printer.block(function.body, depth)
        self.used |= printer.scalar.used
        return lines

    def factor_lines(self) -> list[str]:
        """Lines that set the factors of products that are added to parameters."""
        scales = factors_of(self.rule)
        assert scales is not None
        t_line = ["t = float(state.step[0])"] if any(t in e.free_symbols for e in scales) else []
        values = [self.in_double(as_reads(e)) for e in scales]
        return [*t_line, *(f"{ALPHA_BETA}[{k}] = {value}" for k, value in enumerate(values))]

    def in_double(self, e: sp.Expr) -> str:
        """A value of the step in double precision."""
        return flat(Double().part(Operations(self.rank, lambda _: False).real(self.resolved(e))))


def range_call(starts: Sequence[int], length: int, values: Sequence[str], depth: int = 1) -> list[str]:
    """The call of the loop's function for one range, or for several of a length in a loop."""
    loop = len(starts) >= LEAST
    first, stop = ("first", f"first + {length}") if loop else (str(starts[0]), str(starts[0] + length))
    given = ["parameters", "gradient", "state", first, stop, *values]
    call = bracketed("update_range(", given, ")", depth + loop)
    head = f"for first in range({starts[0]}, {starts[-1] + 1}, {starts[-1] - starts[-2]}):" if loop else ""
    return [head, *indented(call)] if loop else call
