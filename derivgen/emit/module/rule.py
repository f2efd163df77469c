"""The update rule → its loop over the flat vector, or over the parts of it that have settings of their own.

What depends on the step, and not on the parameter, is computed once, in double precision whatever the module's dtype:
1 - β^t of a β near 1 keeps its digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derivgen.emit.kernel.double import DoubleText
from derivgen.emit.kernel.elementary import local_name
from derivgen.emit.kernel.products import FACTORS
from derivgen.emit.kernel.scalar import ScalarText
from derivgen.emit.kernel.statements import StatementText
from derivgen.emit.module.initial import number_text
from derivgen.emit.text import STEP, WIDTH, bracketed, docstring, indented, wrapped
from derivgen.form.expressions import Read, reads_of
from derivgen.plan.ranges import Part, in_step, merged
from derivgen.schedule.repeat import LEAST
from derivgen.update.hoisted import hoisted
from derivgen.update.notation import as_reads, formulas, setting_words, some, term_order
from derivgen.update.ordered import ordered
from derivgen.update.rule import UpdateRule, factors_of, names_in, t

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
        self.places = {"theta": "parameters[i]", "g": "gradient[i]"}
        self.places |= {s: f"{a}[{0 if s in rule.shared_slots else 'i'}]" for s, a in self.arrays.items()}
        order = term_order(rule)
        order |= {own: order[name] for own, name in self.order.own.items()}
        self.double = DoubleText(order, self.access, str, general_power="np.power")
        self.text = ScalarText(order, self.access, str)

    def apart(self, name: str) -> str:
        """A name that differs from all that the rule has."""
        taken = {*self.hyperparameters, *self.order.own, *self.hoisted.bare, *term_order(self.rule)}
        return self.apart(f"{name}_") if name in taken else name

    def access(self, read: Read) -> str:
        return self.places.get(read.tensor, local_name(read.tensor))

    def write(self) -> RuleText:
        functions = [SUM_OF_SQUARES] if self.used & {"gradient_norm", "tensor_norm"} else []
        functions += [self.range_function()] if self.ranged else []
        functions += [self.threads_function()] if self.threads else []
        factors = self.factor_lines() if self.in_parts else []
        functions.append(self.kernel())
        return RuleText(tuple(functions), frozenset(self.text.used), tuple(factors))

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
            ((_, stop),) = self.parts[0].ranges
            whole = "parameters.shape[0]" if stop == self.count else str(stop)
            body += [*self.before_the_loop(), f"for i in range({whole}):", *indented(self.loop())]
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
        return number_text(float(e)) if e.is_number else self.double.real(as_reads(e))

    def range_function(self) -> str:
        """The function that updates some of the parameters."""
        given = ["parameters", "gradient", "state", "start", "stop", *self.of_the_step()]
        signature = bracketed("def update_range(", [*given, *self.hyperparameters], "):")
        doc = docstring([*formulas(self.rule), "for the parameters from start to before stop"])
        t_line = ["t = float(state.step[0])"] if "t" in self.hoisted.read else []
        norm = "tensor_norm = math.sqrt(sum_of_squares(gradient, start, stop))"
        norms = [norm] if "tensor_norm" in self.hoisted.read else []
        body = [*doc, *t_line, *norms, *self.before_the_loop(), "for i in range(start, stop):", *indented(self.loop())]
        return "\n".join(["@internal", *signature, *indented(body)])

    def threads_function(self) -> str:
        """The function whose loop over all parameters runs in threads."""
        given = ["parameters", "gradient", *self.arrays.values(), *self.of_the_step(), *self.hyperparameters]
        ((_, stop),) = self.parts[0].ranges
        whole = "parameters.shape[0]" if stop == self.count else str(stop)
        body = [*docstring(formulas(self.rule)), *self.before_the_loop(), f"for i in prange({whole}):"]
        signature = bracketed("def update_in_threads(", given, "):")
        return "\n".join(["@parallel_kernel", *signature, *indented([*body, *indented(self.loop())])])

    # ---- lines

    def of_the_step(self) -> list[str]:
        """What the kernel hands to the loop's function besides the rule's own."""
        names = ["gradient_norm"] if self.ranged else ["t", "gradient_norm", "tensor_norm"]
        return [*(name for name in names if name in self.hoisted.read), *self.order.kept]

    @property
    def used(self) -> frozenset[str]:
        """What the text reads besides parameters and settings."""
        return self.hoisted.read.union(read.tensor for _, e in self.order.step for read in reads_of(e))

    def step_lines(self) -> list[str]:
        """What is the same for all parameters: the step count, the gradient's norm, and slots that are kept once."""
        here = {name for part in self.parts for _, e in part.setting for name in names_in(e)}
        here |= {read.tensor for _, e in self.order.step for read in reads_of(e)}
        here |= set() if self.ranged else self.hoisted.read
        lines = ["t = float(state.step[0])"] if "t" in here else []
        if "gradient_norm" in self.used:
            ranges = merged(r for part in self.parts for r in part.ranges)
            sums = [f"sum_of_squares(gradient, {start}, {stop})" for start, stop in ranges]
            flat = f"gradient_norm = math.sqrt({' + '.join(sums)})"
            if len(flat) <= WIDTH - len(STEP):
                lines.append(flat)
            else:
                lines += ["squares = 0.0", *(f"squares += {s}" for s in sums), "gradient_norm = math.sqrt(squares)"]
        if "tensor_norm" in self.hoisted.read and not self.ranged:
            lines.append(f"tensor_norm = math.sqrt(sum_of_squares(gradient, 0, {self.parts[0].ranges[0][1]}))")
        places = self.places
        self.places = places | {slot: f"state.{slot}[0]" for slot in self.rule.shared_slots}
        for target, e in self.order.step:
            lines += self.line(target.name, e, self.double, depth=1)
        self.places = places
        return lines

    def before_the_loop(self) -> list[str]:
        """What is the same for every parameter of the loop; of the module's dtype where the loop reads it."""
        lines = []
        for target, e in self.hoisted.fixed:
            lines += self.line(target.name, e, self.double, depth=1)
        lines += [f"{name.tensor} = real({self.double.real(e)})" for e, name in self.hoisted.factors.items()]
        return [*lines, *(f"{local_name(name)} = real({self.access(Read(name))})" for name in self.hoisted.bare)]

    def loop(self) -> list[str]:
        """The assignments for one parameter; a slot that is read again is stored last.

        A store before the next load makes processors wait where the slots lie at one distance from a page's start.
        """
        places, lines, stores = dict(self.places), [], []
        for slot in self.rule.shared_slots:
            del self.places[slot]
        for position, (target, e) in enumerate(self.hoisted.loop):
            name = target.name
            again = name in self.places and any(Read(name) in reads_of(x) for _, x in self.hoisted.loop[position + 1 :])
            if again:
                local = local_name(name)
                lines += self.statements(self.text).line(local, "=", e, WIDTH - 2 * len(STEP))
                stores += [f"{places[name]} = {local}"] if name != "g" else []
                self.places[name] = local
            else:
                lines += self.line(name, e, self.text)
        self.places = places
        return [*lines, *stores]

    def statements(self, text: ScalarText) -> StatementText:
        return StatementText(text, self.apart)

    def line(self, target: str, e: sp.Expr, text: ScalarText, depth: int = 2) -> list[str]:
        """target = e, or target += its change."""
        own, room, place = Read(target), WIDTH - depth * len(STEP), self.access(Read(target))
        if isinstance(e, sp.Add) and own in e.args:
            change = e - own
            negative = all(a.could_extract_minus_sign() for a in sp.Add.make_args(change))
            sign, change = ("-=", -change) if negative else ("+=", change)
            return self.statements(text).line(place, sign, change, room)
        return self.statements(text).line(place, "=", e, room)

    def factor_lines(self) -> list[str]:
        """Lines that set the factors of products that are added to parameters."""
        scales = factors_of(self.rule)
        assert scales is not None
        t_line = ["t = float(state.step[0])"] if any(t in e.free_symbols for e in scales) else []
        values = [self.double.real(as_reads(e)) for e in scales]
        return [*t_line, *(f"{FACTORS}[{k}] = {value}" for k, value in enumerate(values))]


def range_call(starts: Sequence[int], length: int, values: Sequence[str], depth: int = 1) -> list[str]:
    """The call of the loop's function for one range, or for several of a length in a loop."""
    loop = len(starts) >= LEAST
    first, stop = ("first", f"first + {length}") if loop else (str(starts[0]), str(starts[0] + length))
    given = ["parameters", "gradient", "state", first, stop, *values]
    call = bracketed("update_range(", given, ")", depth + loop)
    head = f"for first in range({starts[0]}, {starts[-1] + 1}, {starts[-1] - starts[-2]}):" if loop else ""
    return [head, *indented(call)] if loop else call


# ---- what is computed once
