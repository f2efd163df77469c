"""A library of C → the module of Python that calls it: numba's module, but for what is compiled there."""

from __future__ import annotations

from collections.abc import Sequence

from derivgen.code.routine import Linkage, Routine
from derivgen.form.as_written import as_written
from derivgen.form.expressions import size_symbol
from derivgen.plan.module_plan import ModulePlan
from derivgen.print.c.module import Sources
from derivgen.print.c.public import CHECKED, Public
from derivgen.print.c.routines import RETURNED, STATUS
from derivgen.print.c.words import INDEX, INTEGER, REAL
from derivgen.print.kernels import integer_text, size_names, write_routine
from derivgen.print.layout import Bracket, bracketed, indented, line
from derivgen.print.module.module import fixed_text, shared_values, tuples
from derivgen.print.templates import environment
from derivgen.print.text import docstring, titled
from derivgen.whole.whole import Whole

# What a function of C is given, a letter each; what it returns by a pointer at last has another one than an array.
LETTERS = {INDEX: "n", INTEGER: "i", STATUS: "t", "double": "d", "float": "f"}
ARRAY, NUMBER, NUMBER_IF_ALLOWED, FILLED = "arqo"
SIGNATURES = """\
# What each function of C is given, a letter for each argument: a an array, n a size, i an integer, t a truth value, d
# and f a number in double and single precision. The last one may be what it returns: r a number, q a number unless a
# row number or a label is out of range, o an array."""
# Of processors of Intel and AMD: what compilers call them, and how a program asks for them.
INSTRUCTIONS = {
    "__SSE3__": "sse3",
    "__SSSE3__": "ssse3",
    "__SSE4_1__": "sse4.1",
    "__SSE4_2__": "sse4.2",
    "__POPCNT__": "popcnt",
    "__AVX__": "avx",
    "__AVX2__": "avx2",
    "__FMA__": "fma",
    "__BMI__": "bmi",
    "__BMI2__": "bmi2",
    "__AVX512F__": "avx512f",
    "__AVX512CD__": "avx512cd",
    "__AVX512VL__": "avx512vl",
    "__AVX512DQ__": "avx512dq",
    "__AVX512BW__": "avx512bw",
}


@as_written()
def write_native(
    formulas: Sequence[str],
    plan: ModulePlan,
    whole: Whole,
    sources: Sources,
    built_from: str,
    block: int | None,
    parallel: bool,
) -> str:
    """The module's text after its header docstring.

    `sources`: what the library is compiled from, whose digest is `built_from`; the rest as `write_module` has it.
    """
    names = size_names((name for name, value in plan.program.sizes if not value.is_Integer), ())
    routines = {r.name: r for r in whole.routines}
    layout = next(r for r in whole.steps if r.linkage is Linkage.LAYOUT and r.name != "split")
    own = [Calling(routines[p.of], p, plan) for p in sources.functions]
    rows = [f'    "{c.name}": "{c.letters}",' for c in own]
    values = shared_values(formulas, plan, names, block, parallel) | {
        "language": "native",
        "built_from": built_from,
        "integer_names": "",
        "kernel_sections": [],
        "tuples": [t for t in tuples(plan) if t["name"] in ("Memory", "State")],
        "model_title": titled("what C computes"),
        "model_functions": [
            "\n".join([SIGNATURES, "SIGNATURES = {", *rows, "}"]),
            "\n".join(write_routine(layout, whole.signatures).lines[1:]),
            *(c.text() for c in own),
        ],
        "elementary": "",
    }
    return environment().get_template("module.py.jinja").render(**values) + fixed_text(plan.dtype, "native")


def write_built(built_from: str, dtype: str) -> str:
    """The file of C by which a library says what it is compiled from."""
    template = environment().get_template("native/built.c.jinja")
    return template.render(built_from=built_from, instructions=INSTRUCTIONS.items(), real=REAL[dtype])


class Calling:
    """The function of Python that calls one of C: numba's kernels have the same arguments."""

    def __init__(self, routine: Routine, public: Public, plan: ModulePlan) -> None:
        self.routine, self.public, self.plan = routine, public, plan
        self.name = public.text.name
        *given, last = public.text.parameters
        self.returned = last if last.of == RETURNED else None
        self.given = given if self.returned else [*given, last]

    @property
    def fills(self) -> bool:
        """Whether what it returns is an array."""
        return self.routine.name == "prediction_kernel" and bool(self.prediction_shape)

    @property
    def prediction_shape(self):  # type: ignore[no-untyped-def]
        return self.plan.prediction_program.tensor(str(self.plan.prediction_name)).shape

    @property
    def letters(self) -> str:
        letters = LETTERS[INDEX] * len(self.public.text.sizes)
        letters += "".join(ARRAY if p.pointer else LETTERS[p.type] for p in self.given)
        if self.returned is None:
            return letters
        checked = self.routine.name in CHECKED
        return letters + (FILLED if self.fills else NUMBER_IF_ALLOWED if checked else NUMBER)

    def text(self) -> str:
        items = [*map(self.size, self.public.text.sizes), *(p.of for p in self.given)]
        if self.fills:
            extents = [integer_text(e, self.size) for e in self.prediction_shape]
            items.append(f"np.empty(({', '.join(extents)}{',' if len(extents) == 1 else ''}), real)")
        called = line("return ", Bracket(f"compiled.{self.name}", tuple(items)), depth=1)
        head = bracketed(f"def {self.routine.name}(", list(self.routine.arguments), "):")
        return "\n".join([*head, *indented([*docstring(self.words), *called])])

    @property
    def words(self) -> list[str]:
        """What it does, for readers."""
        return list(self.routine.words)

    def size(self, name: str) -> str:
        """A run-time size as an array shows it."""
        if ".shape[" in name:
            return name
        shapes = ((own, t.shape) for own, t in self.routine.arguments.items() if t in self.plan.inputs)
        return next(
            f"{own}.shape[{shape.index(size_symbol(name))}]" for own, shape in shapes if size_symbol(name) in shape
        )
