"""A file of C that gives a model's functions to CasADi, by the interface of its `external`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import sympy as sp

from derivgen.code.names import past
from derivgen.errors import DerivgenError
from derivgen.form.program import Tensor
from derivgen.form.sizes import element_count
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.c.kernels import without_last_commas
from derivgen.print.c.patterns import Pattern, dense, empty, known_columns, sparse
from derivgen.print.c.public import Public, Workspace
from derivgen.print.c.routines import RETURNED
from derivgen.print.c.words import KEYWORDS, comment, titled
from derivgen.print.layout import WIDTH, bracketed, indented
from derivgen.print.templates import environment
from derivgen.print.text import wrapped

# What CasADi allows as a name of a function, an input or an output (Function::check_name).
NAME = re.compile(r"(?!(null|jac|hess)$)[A-Za-z](_?[A-Za-z0-9])*_?")
OWN = {"clear", "given", "read_labels", "stack", "no_columns", "add_dense", "start_columns", "add_sparse", "casadi_int"}


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or an output of a function: its name, its number of elements, its pattern."""

    name: str
    count: int
    pattern: Pattern


@dataclass(slots=True)
class External:
    """A function of CasADi: its slots, what it takes of CasADi's work vectors, its text."""

    name: str
    inputs: Sequence[Slot]
    outputs: Sequence[Slot]
    reals: int = 0
    integers: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> list[str]:
        """The lines of its body."""
        labels = any("integers[" in line for line in self.lines)
        given = "int64_t *const integers = (int64_t *)iw;" if labels else "(void)iw;"
        nothing = ["if (res[0] == NULL) {", *indented(["return 0;"]), "}"]
        return ["(void)mem;", given, *nothing, *self.lines]

    def take(self, count: int) -> str:
        """Some reals of the work vector."""
        self.reals += count
        return f"&w[{self.reals - count}]"

    def take_integers(self, count: int) -> str:
        self.integers += count
        return f"&integers[{self.integers - count}]"


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of a Jacobian: those of one let of residuals."""

    first: int
    rows: int
    results: tuple[Tensor, ...]  # a matrix, column by column; or entries and their columns


def write_casadi(
    plan: ModulePlan, functions: Sequence[Public], memory: Sequence[Workspace], rows: int | None, stem: str
) -> str:
    """The file's text; raises DerivgenError for a model that CasADi's interface does not suit."""
    check(plan, rows)
    writer = Writer(plan, {p.function: p for p in functions}, memory, rows)
    externals = writer.externals()
    patterns = dict.fromkeys(s.pattern for e in externals for s in (*e.inputs, *e.outputs))
    values = {
        "words": "\n".join(comment(words(plan, externals, rows, stem))),
        "stem": stem,
        "externals": externals,
        "patterns": [p.text for p in patterns],
        "used": writer.used,
        "titled": titled,
    }
    return environment().get_template("c/casadi.c.jinja").render(**values)


WORDS = (
    "`parameters` is the flat vector, in the order of {prefix}_AT_… in the header; the other inputs are the model's. "
    "CasADi stores matrices column by column, and nothing is copied: column k of an input is row k of the model's "
    "array, flat if that has more axes. A vector is one column. Labels are given as reals.",
    "",
    "Derivatives are those with respect to `parameters`. With respect to the other inputs they are 0 for CasADi, which "
    "is wrong if an input depends on what a solver searches for.",
)


def words(plan: ModulePlan, externals: Sequence[External], rows: int | None, stem: str) -> list[str]:
    """What the comment at the top says."""
    name = plan.program.name
    sizes = "".join(f", {size} = {rows}" for size in unknown_sizes(plan))
    signatures = [
        f"  {e.name}: ({', '.join(s.name for s in e.inputs)}) -> ({', '.join(s.name for s in e.outputs)})"
        for e in externals
    ]
    return [
        f"The model {name} as functions that CasADi loads by `external`{sizes}:",
        "",
        *(line for text in signatures for line in wrapped(text, WIDTH - 6, "      ")),
        "",
        "In Python, after a C compiler has made a shared library of this file and the other one:",
        "",
        f"  cc -O2 -std=c99 -shared -fPIC -o {name}.so {stem}.c {stem.removesuffix('_kernels')}_casadi.c",
        f'  function = casadi.external("{name}", "./{name}.so")',
        "",
        *(line for text in WORDS for line in wrapped(text.format(prefix=name.upper()), WIDTH - 6, "")),
    ]


def check(plan: ModulePlan, rows: int | None) -> None:
    name, sizes = plan.program.name, unknown_sizes(plan)
    if plan.dtype != "float64":
        raise DerivgenError(f"CasADi computes in float64, and {name} in {plan.dtype}: add --dtype float64")
    if len(sizes) > 1:
        raise DerivgenError(
            f"CasADi needs the shapes of all inputs, and {', '.join(sizes)} are known at run time only: fix all of "
            "them but one in the spec, as in model.sizes(N=100)"
        )
    if sizes and rows is None:
        raise DerivgenError(f"CasADi needs the shapes of all inputs: give the value of {sizes[0]} by --rows")
    if plan.has_modes:
        raise DerivgenError(
            f"{name} draws random numbers, or has another objective in training than in evaluation; a function of "
            "CasADi has to give the same value at each call"
        )
    for word in (name, *(t.name for t in plan.inputs)):
        if not NAME.fullmatch(word) or (word == name and word in KEYWORDS | OWN):
            raise DerivgenError(f"no function or input of CasADi can be named {word}: rename it in the spec")


def unknown_sizes(plan: ModulePlan) -> list[str]:
    return [name for name, value in plan.program.sizes if not value.is_Integer]


class Writer:
    """Writes the functions of one model. `used`: the helpers in C that they call."""

    def __init__(
        self, plan: ModulePlan, functions: Mapping[str, Public], memory: Sequence[Workspace], rows: int | None
    ) -> None:
        self.plan, self.functions, self.rows = plan, functions, rows
        self.count = plan.parameter_count
        self.memory = {w.function: w for w in memory}
        self.parts = {p.function: p for p in plan.parts}
        self.inputs = [Slot("parameters", self.count, dense(self.count, 1)), *map(self.input, plan.inputs)]
        self.used = set[str]()

    def size(self, e: sp.Expr) -> int:
        """A size, with the rows that are given."""
        return int(e.subs(dict.fromkeys(e.free_symbols, self.rows)))

    def elements(self, t: Tensor) -> int:
        return self.size(element_count(t))

    def input(self, t: Tensor) -> Slot:
        """A vector is a column; column k of a matrix is row k of an array with more axes, without copying."""
        columns = self.size(t.shape[0]) if len(t.shape) > 1 else 1
        count = self.elements(t)
        return Slot(t.name, count, dense(count // columns, columns))

    def output(self, word: str, count: int) -> Slot:
        return Slot(past(word, {s.name for s in self.inputs}), count, dense(count, 1))

    # ---- the functions

    def externals(self) -> list[External]:
        name, size = self.plan.program.name, self.count
        objective = self.value(name, "loss", self.output("objective", 1), {RETURNED: "res[0]"})
        gradient = self.derivative(objective, dense(1, size))
        self.clear(gradient, size, "res[0]")
        self.call(gradient, "loss_and_gradient", {"gradient": "res[0]", RETURNED: gradient.take(1)})
        found = [objective, gradient]
        if "hessian" in self.parts:
            hessian = self.derivative(gradient, dense(size, size))
            self.clear(hessian, size * size, "res[0]")
            self.call(hessian, "hessian", {"hessian": "res[0]"})
            found.append(hessian)
        return [*found, *(self.residuals(f"residuals_{name}") if self.plan.program.residuals else [])]

    def residuals(self, name: str) -> list[External]:
        plan = self.parts["residuals"]
        rows = [self.elements(t) for t in plan.results]
        firsts = [0, *accumulate(rows)]
        places = {plan.local_names[t.name]: at("res[0]", first) for t, first in zip(plan.results, firsts, strict=False)}
        value = self.value(name, "residuals", self.output("residuals", firsts[-1]), places)
        results = self.parts["jacobian"].results
        width = len(results) // len(rows)
        parts = [Part(firsts[k], n, results[width * k : width * (k + 1)]) for k, n in enumerate(rows)]
        return [value, self.matrix(value, parts) if width == 1 else self.entries(value, parts)]

    def matrix(self, of: External, parts: Sequence[Part]) -> External:
        """The Jacobian of residuals, whose parts are matrices, column by column."""
        rows = sum(p.rows for p in parts)
        external = self.derivative(of, dense(rows, self.count))
        if len(parts) == 1:
            self.clear(external, rows * self.count, "res[0]")
            self.call(external, "jacobian", self.named(parts[0].results, ["res[0]"]))
            return external
        areas = [external.take(p.rows * self.count) for p in parts]
        self.clear(external, rows * self.count, areas[0])
        given = self.named([p.results[0] for p in parts], areas)
        stacked = [
            f"stack({self.count}, {p.rows}, {area}, {rows}, {at('res[0]', p.first)});"
            for p, area in zip(parts, areas, strict=True)
        ]
        self.call(external, "jacobian", given, stacked)
        self.used |= {"stack"}
        return external

    def entries(self, of: External, parts: Sequence[Part]) -> External:
        """The Jacobian of residuals, whose parts are entries of rows with their columns."""
        rows, statements = sum(p.rows for p in parts), self.parts["jacobian"].program.statements
        columns = [
            known_columns(p.results[1], [s for s in statements if s.target == p.results[1].name], self.size)
            for p in parts
        ]
        known = [c for c in columns if c is not None]
        widest = max(self.elements(p.results[0]) // p.rows for p in parts)
        pattern = dense(rows, self.count)
        if len(known) == len(parts):
            padded = [np.pad(c, ((0, 0), (0, widest - c.shape[1])), constant_values=-1) for c in known]
            pattern = sparse("jacobian_of_residuals", np.concatenate(padded), self.count)
        external = self.derivative(of, pattern)
        helper = "add_dense" if pattern == dense(rows, self.count) else "add_sparse"
        self.used |= {"no_columns", helper}
        added, given = list[str](), list[str]()
        more = f"{rows}, res[0]"
        if helper == "add_sparse":
            more = f"{pattern.name}, next, res[0]"
            external.lines.append(f"casadi_int *const next = &iw[{external.integers}];")
            external.take_integers(self.count)
            added.append(f"start_columns({pattern.name}, next);")
        self.clear(external, pattern.nonzeros, "res[0]")
        for p in parts:
            count = self.elements(p.results[0])
            areas = [external.take(count), external.take_integers(count)]
            self.clear(external, count, areas[0])
            external.lines.append(f"no_columns({count}, {areas[1]});")
            added.append(f"{helper}({p.first}, {p.rows}, {count // p.rows}, {areas[0]}, {areas[1]}, {more});")
            given += areas
        self.call(external, "jacobian", self.named([t for p in parts for t in p.results], given), added)
        return external

    def named(self, results: Sequence[Tensor], areas: Sequence[str]) -> dict[str, str]:
        names = self.parts["jacobian"].local_names
        return {names[t.name]: area for t, area in zip(results, areas, strict=True)}

    def value(self, name: str, function: str, output: Slot, results: Mapping[str, str]) -> External:
        """A function of the model itself, whose only output has these parts."""
        external = External(name, self.inputs, [output])
        self.begin(external)
        if output.count > 1:
            self.clear(external, output.count, "res[0]")
        self.call(external, function, results)
        return external

    def derivative(self, of: External, pattern: Pattern) -> External:
        """CasADi's Jacobian of a function: a block of each output by each input; only the first one is not empty."""
        outs = [Slot(f"out_{s.name}", s.count, empty(*s.pattern.numbers[:2])) for s in of.outputs]
        blocks = [
            Slot(f"jac_{o.name}_{i.name}", o.count * i.count, empty(o.count, i.count))
            for o in of.outputs
            for i in of.inputs
        ]
        blocks[0] = Slot(blocks[0].name, blocks[0].count, pattern)
        external = External(f"jac_{of.name}", [*of.inputs, *outs], blocks)
        self.begin(external)
        return external

    # ---- their text

    def begin(self, external: External) -> None:
        """Room for the zeros of inputs that are not given."""
        external.take(max(s.count for s in self.inputs))

    def clear(self, external: External, count: int, place: str) -> None:
        external.lines.append(f"clear({count}, {place});")

    def call(self, external: External, function: str, results: Mapping[str, str], then: Sequence[str] = ()) -> None:
        """The call of a function of the header, and what is done with its results."""
        public = self.functions[function]
        text = public.text
        arguments, labels = [str(self.rows) for _ in text.sizes], list[str]()
        of_data = {t.name: (k + 1, t) for k, t in enumerate(self.plan.inputs)}
        workspace = self.memory.get(function if function in self.parts else None)
        for p in text.parameters:
            if p.of in results:
                arguments.append(results[p.of])
            elif p.of in ("reals", "integers"):
                assert workspace is not None
                take = external.take if p.of == "reals" else external.take_integers
                arguments.append(take(self.size(sp.sympify(getattr(workspace, p.of)))))
            else:
                k, t = (0, None) if p.of == "parameters" else of_data[public.tensors[p.of]]
                slot = self.inputs[k]
                if t is not None and t.integer:
                    area = external.take_integers(slot.count)
                    labels += [f"if (!read_labels({slot.count}, arg[{k}], {area})) {{", *indented(["return 1;"]), "}"]
                    arguments.append(area)
                    self.used.add("read_labels")
                else:
                    arguments.append(f"given({slot.count}, arg[{k}], w)")
        opened = f"{'const int status =' if then else 'return'} {text.name}("
        external.lines += [*labels, *without_last_commas(bracketed(opened, arguments, ");", depth=1))]
        if then:
            external.lines += ["if (status != 0) {", *indented(["return status;"]), "}", *then, "return 0;"]


def at(array: str, place: int) -> str:
    return f"&{array}[{place}]" if place else array
