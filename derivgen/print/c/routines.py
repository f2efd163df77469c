"""Functions that call kernels → C99: bundles of arrays become pointers, and buffers a struct of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import sympy as sp

from derivgen.code import operations as op
from derivgen.code.routine import SIZE, TRUTH, Group, Linkage, Routine, Signature, Type, Types, as_function, proof_of
from derivgen.code.tree import (
    Arrays,
    Bind,
    Borrowed,
    Bundle,
    Call,
    Code,
    Copied,
    Item,
    Kind,
    Let,
    Number,
    Receive,
    Return,
    View,
)
from derivgen.code.visit import indices_in
from derivgen.form.expressions import Read
from derivgen.form.program import Tensor
from derivgen.print.c.declared import Path
from derivgen.print.c.kernels import Parameter, Printer, Text, function_text, product_of
from derivgen.print.c.scalar import Variable, plus, times
from derivgen.print.c.words import INDEX, INTEGER, PREFIX, RESULT, TRUTH_VALUE, member
from derivgen.print.layout import Bracket, Part, flat, line
from derivgen.whole.calls import VIEWS
from derivgen.whole.library import OBSERVE, PARTS, SUM_OF_SQUARES, UNIFORM
from derivgen.whole.modes import FIRST_STEP, SEED, STEP_NUMBER

WIDE = {SEED, FIRST_STEP, STEP_NUMBER, "step"}  # integers that may be larger than a size
LAID_OUT = "The buffers, in memory; those that begin at one place are never needed at once."
STATUS, COPY, SPLIT = "int", "copy", "split"
RETURNED = "return"  # what the parameter `result` is, which no tensor is called


@dataclass(frozen=True, slots=True)
class Vector:
    """Parts of a flat vector: each starts at an offset that has a name."""

    whole: Variable
    prefix: str

    def part(self, name: str, shape: tuple[op.Operation, ...], flat_name: str) -> Variable:
        return replace(self.whole, shape=shape, offset=None if name == flat_name else f"{self.prefix}_AT_{name}")


@dataclass(frozen=True, slots=True)
class Buffers:
    """Buffers in a struct; `access`: the text before a field's name. `memory`: what they lie in."""

    tag: str
    access: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Fields:
    """Arrays by the names of a bundle."""

    arrays: Mapping[str, Variable]


Bound = Variable | Vector | Buffers | Fields


@dataclass
class Module:
    """What the functions of one module know of each other.

    `name`, `prefix`: what names of its functions, and of its enumerators, start with; `doubles`: arrays in double
    precision, whatever the module's dtype; `whole`: how the parts of a flat vector call it; `texts`: functions that are
    written already; `layouts`: structs of buffers, by the names of their fields.
    """

    dtype: str
    name: str
    signatures: Mapping[str, Signature]
    doubles: Collection[str]
    whole: str
    texts: dict[str, Text] = field(default_factory=dict)
    layouts: dict[frozenset[str], str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return self.name.upper()


def write_routine(routine: Routine, module: Module) -> Text:
    """A function that calls others, which are written already."""
    function = as_function(routine, module.signatures)
    printer = RoutinePrinter(routine, module, function, proof_of(routine, function))
    if routine.linkage is Linkage.LAYOUT:
        text = printer.layout()
    else:
        body = printer.block(routine.body, 1)
        text = printer.text(body, routine.words)
    module.texts[routine.name] = text
    return text


class RoutinePrinter(Printer):
    """The state of writing one routine. `bound`: what names stand for, besides the arrays of arguments."""

    def __init__(self, routine: Routine, module: Module, function, proof) -> None:  # type: ignore[no-untyped-def]
        super().__init__(replace(function, body=routine.body), proof, module.dtype)
        self.routine, self.module = routine, module
        self.shapes = Types(routine, module.signatures)
        self.bound: dict[str, Bound] = {}
        self.returns, self.results = "void", list[Parameter]()
        self.given = frozenset(routine.arguments)
        for name, t in routine.arguments.items():
            if isinstance(t, Group):
                self.bound[name] = self.argument(name, t)

    # ---- what is given

    def argument(self, name: str, group: Group) -> Bound:
        """What a bundle is as an argument."""
        own = self.name(name)
        if group == self.module.signatures[PARTS].result:
            return Vector(Variable(own, self.real, (op.Name("P"),)), self.module.prefix)
        if group.kind == VIEWS:
            return Buffers(self.module.layouts[frozenset(group.fields)], f"{own}->", own)
        fields = {
            part: self.array(f"{name}.{part}", self.name(f"{name}_{part}"), t) for part, t in group.fields.items()
        }
        return Fields(fields)

    def array(self, name: str, own: str, t: Tensor) -> Variable:
        return Variable(own, self.type_of(name, t), tuple(map(self.extent, t.shape or (sp.S.One,))))

    def type_of(self, name: str, t: Tensor) -> str:
        return INTEGER if t.integer else "double" if name in self.module.doubles else self.real

    def parameters(self) -> list[Parameter]:
        found: list[Parameter] = []
        for name, t in self.routine.arguments.items():
            found += self.parameters_of(name, t)
        return found

    def parameters_of(self, name: str, t: Type) -> list[Parameter]:
        own = self.name(name)
        match t, self.bound.get(name):
            case Group(), Vector():
                return [Parameter(own, name, self.real, True, own in self.written)]
            case Group(), Buffers(tag):
                return [Parameter(own, name, f"struct {tag}", True)]
            case Group(), Fields(arrays):
                return [
                    Parameter(a.base, f"{name}.{part}", a.type, True, a.base in self.written)
                    for part, a in arrays.items()
                ]
            case Tensor(), _:
                return [Parameter(own, name, self.type_of(name, t), True, own in self.written)]
        return [Parameter(own, name, self.type_of_number(name, t))]

    def type_of_number(self, name: str, t: Type) -> str:
        if t == TRUTH:
            return TRUTH_VALUE
        if t in (Kind.INTEGER, SIZE):
            return INTEGER if name in WIDE else INDEX
        return "double" if t is Kind.DOUBLE else self.real

    # ---- names

    def name(self, name: str) -> str:
        return RESULT if name == RETURNED else super().name(name)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (*super().prefixes, f"{self.module.prefix}_")

    def variable(self, name: str) -> Variable:
        owner, _, part = name.rpartition(".")
        bound = self.bound.get(owner or name)
        if owner and bound is not None:
            return self.part(bound, part, self.function.arrays[name])
        if isinstance(bound, Variable):
            return bound
        t = self.routine.arguments.get(name)
        if isinstance(t, Tensor):
            return self.array(name, self.name(name), t)
        if t is not None:
            return Variable(self.name(name), self.type_of_number(name, t))
        if name == "ASSIGN":
            self.scalar.used.add(("ASSIGN", ""))
            return Variable("ASSIGN", self.real, (op.Number(sp.Integer(2), integer=True),))
        return super().variable(name)

    def part(self, bound: Bound, name: str, t: Tensor) -> Variable:
        shape = tuple(map(self.extent, t.shape or (sp.S.One,)))
        match bound:
            case Vector():
                return bound.part(name, shape, self.module.whole)
            case Buffers():
                return Variable(f"{bound.access}{member(name)}", INTEGER if t.integer else self.real, shape)
            case Fields():
                return replace(bound.arrays[name], shape=shape)
        raise AssertionError(f"{name} is no part of an array")

    def resolved(self, e: sp.Expr) -> op.Operation:
        """An integer expression, its lengths as sizes."""
        return self.operations.integer(self.shapes.resolved(sp.sympify(e)))

    def arrays(self, a: Arrays) -> Bound:
        """What arrays are, without a name."""
        match a:
            case str():
                return self.bound.get(a) or self.look(a)
            case Borrowed(name):
                return self.bound.get(name) or self.look(name)
            case View():
                flat = self.look(a.flat)
                start = self.resolved(a.start)
                shape = tuple(map(self.resolved, a.shape or (sp.S.One,)))
                return replace(flat, shape=shape, offset=start)
            case Item():
                stack = self.look(a.stack)
                assert stack.shape is not None
                start = times(product_of(stack.shape[1:]), self.resolved(a.index))
                if stack.offset is not None:
                    assert not isinstance(stack.offset, str)
                    start = plus(stack.offset, start)
                return replace(stack, shape=stack.shape[1:] or stack.shape[:0], offset=start)
            case Bundle():
                return Fields({name: self.alone(part) for name, part in a.fields})
            case Call(function, (vector,)) if function == SPLIT:
                return Vector(self.alone(vector), self.module.prefix)  # type: ignore[arg-type]
        raise AssertionError(f"{a} are no arrays")

    def alone(self, a: Arrays) -> Variable:
        found = self.arrays(a)
        assert isinstance(found, Variable)
        return found

    # ---- statements

    def statement(self, code: Code, depth: int, path: Path) -> list[str]:
        if not isinstance(code, Let) or code.name not in self.routine.arguments:
            return super().statement(code, depth, path)
        # A setting that is given takes another value, or is rounded: C's text calls it otherwise from here on.
        if code.value == Read(code.name) and self.dtype == "float64":
            return []
        value, type_ = self.by_kind(code), self.types[code.name]
        own = self.variables[code.name] = Variable(self.name(f"{code.name}_"), type_)
        return line(f"const {own.type} {own.base} = ", value, ";", depth)

    def calling(self, code: Code, depth: int, path: Path) -> list[str]:
        match code:
            case Call():
                return line("", self.call(code), ";", depth)
            case Receive():
                return self.receive(code, depth, path)
            case Bind():
                return self.bind(code, depth)
            case Return():
                return self.returned(code, depth)
        raise AssertionError(f"{code} is no statement")

    def bind(self, code: Bind, depth: int) -> list[str]:
        """A name for arrays, which C's text needs for buffers alone."""
        self.shapes.bind(code)
        self.variables = {n: v for n, v in self.variables.items() if n.partition(".")[0] != code.name}
        if isinstance(code.value, Call) and code.value.function != SPLIT:
            layout = self.module.texts[code.value.function]
            own = self.name(code.name)
            self.bound[code.name] = Buffers(layout.returns.removeprefix("struct "), f"{own}.", f"&{own}")
            return line(f"const {layout.returns} {own} = ", self.call(code.value), ";", depth)
        bound = self.arrays(code.value)
        self.bound[code.name] = bound
        return []

    def receive(self, code: Receive, depth: int, path: Path) -> list[str]:
        type_ = self.returned_by(code.call)
        if code.place.subscripts:
            place, wanted = self.scalar.place(self.operations.place(code.place))
            self.wrote(code.place.tensor)
            value = self.call(code.call)
            value = value if type_ == wanted else self.cast(value, wanted)
            return line(f"{flat(place)} {code.operator} ", value, ";", depth)
        name = code.place.tensor
        self.types.setdefault(name, type_)
        self.variables.pop(name, None)
        opening = self.opening(code, name, path) if code.operator == "=" else f"{self.name(name)} {code.operator} "
        return line(opening, self.call(code.call), ";", depth)

    def returned_by(self, call: Call) -> str:
        return "double" if call.function == SUM_OF_SQUARES else self.module.texts[call.function].returns

    def returned(self, code: Return, depth: int) -> list[str]:
        match code.results:
            case (sp.logic.boolalg.BooleanAtom() as failed, value):
                assert isinstance(value, sp.Expr)
                self.returns = STATUS
                self.result(self.real)
                own = [] if failed else line(f"*{RESULT} = ", self.value(value), ";", depth)
                return [*own, f"return {int(bool(failed))};"]
            case (Copied(array),):
                source = self.alone(array)
                assert source.shape is not None
                self.result(self.real)
                self.scalar.used.add((COPY, self.dtype))
                items = (self.scalar.integer(product_of(source.shape)), self.scalar.pointer(source), RESULT)
                return line("", Bracket(f"{PREFIX[self.dtype]}_{COPY}", items), ";", depth)
            case (Call() as call,):
                self.returns = self.returned_by(call)
                return line("return ", self.call(call), ";", depth)
            case (sp.Expr() as value,):
                self.returns = self.real
                return line("return ", self.value(value), ";", depth)
        raise AssertionError(f"{code} returns nothing that C can")

    def result(self, type_: str) -> None:
        if not self.results:
            self.results.append(Parameter(RESULT, RETURNED, type_, True, True))

    # ---- calls

    def call(self, call: Call) -> Part:
        match call.function, call.arguments:
            case "uniform", (*numbers, array):
                return self.call_uniform(numbers, array)  # type: ignore[arg-type]
            case "observe", (values, rows, observed):
                return self.call_observe(values, rows, observed)  # type: ignore[arg-type]
            case "sum_of_squares", (vector, start, stop):
                self.scalar.used.add((SUM_OF_SQUARES, self.dtype))
                ends = [self.number(n, INDEX) for n in (start, stop)]  # type: ignore[arg-type]
                return Bracket(SUM_OF_SQUARES, (self.scalar.pointer(self.alone(vector)), *ends))  # type: ignore[arg-type]
        text, signature = self.module.texts[call.function], self.module.signatures[call.function]
        self.scalar.used.add((call.function, "own"))
        given = dict(zip(signature.arguments, call.arguments, strict=True))
        sizes = self.shapes.sizes(call, signature)
        items: list[Part] = [self.size(size, given, sizes) for size in text.sizes]
        items += [self.passed(p, given) for p in text.parameters if p.of != RETURNED]
        return Bracket(call.function, tuple(items))

    def size(self, name: str, given: Mapping[str, Arrays | Number], sizes: Mapping[sp.Symbol, sp.Expr]) -> Part:
        """A run-time size of a function that is called."""
        found = next((e for size, e in sizes.items() if size.name == name), None)
        if found is None:  # the length of an array that no size of the spec says
            array, _, axis = name.partition(".shape[")
            owner, _, part = array.rpartition(".")
            t = self.shapes.of(given[owner or array])  # type: ignore[arg-type]
            own = t.fields[part] if isinstance(t, Group) else t
            found = own.shape[int(axis.rstrip("]"))]
        return self.scalar.integer(self.resolved(found))

    def passed(self, p: Parameter, given: Mapping[str, Arrays | Number]) -> Part:
        """What is passed as a parameter."""
        if p.of in given:
            argument = given[p.of]
            if isinstance(argument, Number):
                return self.number(argument, p.type)
            return self.address(self.arrays(argument), p)
        owner, _, part = p.of.rpartition(".")
        fields = self.arrays(given[owner])  # type: ignore[arg-type]
        assert isinstance(fields, Fields)
        return self.address(fields.arrays[part], p)

    def address(self, bound: Bound, p: Parameter) -> Part:
        match bound:
            case Vector(whole):
                bound = whole
            case Buffers():
                return bound.pointer
            case Fields():
                raise AssertionError(f"{p.of} is no single array")
        assert isinstance(bound, Variable)
        if p.written:
            self.written.add(bound.base)
        return self.scalar.pointer(bound)

    def number(self, n: Number, type_: str) -> Part:
        if n.kind is not Kind.INTEGER:
            return self.value(n.value, "float64")
        if type_ == TRUTH_VALUE:
            return self.scalar.part(self.operations.condition(n.value))
        o = self.resolved(n.value)
        return self.scalar.integer_as(o, type_)

    def call_uniform(self, numbers: list[Number], array: Arrays) -> Part:
        """uniform(seed, step, number, row, out, its rows, its columns)"""
        self.scalar.used.add((UNIFORM, self.dtype))
        out = self.alone(array)
        assert out.shape is not None
        self.written.add(out.base)
        types = (INTEGER, INTEGER, INDEX, INDEX)
        given = [self.number(n, type_) for n, type_ in zip(numbers, types, strict=True)]
        shape = [self.scalar.integer(e) for e in (out.shape[0], product_of(out.shape[1:]))]
        return Bracket(UNIFORM, (*given, self.scalar.pointer(out), *shape))

    def call_observe(self, values: Arrays, rows: Number, observed: Arrays) -> Part:
        """observe(values, rows, how many values, observed)"""
        self.scalar.used.add((OBSERVE, self.dtype))
        seen, out = self.alone(values), self.alone(observed)
        assert seen.shape is not None
        self.written.add(out.base)
        count = self.scalar.integer(product_of(seen.shape))
        return Bracket(OBSERVE, (self.scalar.pointer(seen), self.number(rows, INDEX), count, self.scalar.pointer(out)))

    # ---- whole functions

    def sizes(self) -> tuple[str, ...]:
        """The run-time sizes that the text names, in the order of what has them."""
        named = self.scalar.names - {str(i) for i in indices_in(self.function.body)} - {*self.routine.arguments}
        extents = (e for t in self.function.arrays.values() for e in t.shape)
        order = [size.name for e in extents for size in sorted(e.free_symbols, key=str)]
        return tuple(sorted(named, key=lambda name: (".shape[" in name, order.index(name))))

    def text(self, body: list[str], words: tuple[str, ...]) -> Text:
        given, returns = [*self.parameters(), *self.results], f"static {self.returns}"
        return function_text(self.routine.name, returns, words, self.sizes(), given, body, self)

    def layout(self) -> Text:
        """The function that lays buffers out, after the struct of their pointers, in the order of memory."""
        (returned,) = self.routine.body
        assert isinstance(returned, Return)
        (bundle,) = returned.results
        if not isinstance(bundle, Bundle):  # parts of a flat vector, whose offsets are enumerators
            return Text(self.routine.name, (), (), (), (), frozenset())
        tag, views = self.routine.name, {part: self.alone(view) for part, view in bundle.fields}
        lines, fields = list[str](), list[str]()
        for first, *others in (names for _, names in bundle.slots):
            fields += (f"    {views[name].type} *{member(name)};" for name in (first, *others))
            lines += line(f"work.{member(first)} = ", self.scalar.pointer(views[first]), ";")
            lines += (f"work.{member(name)} = work.{member(first)};" for name in others)
            self.written.add(views[first].base)
        self.module.layouts[frozenset(views)] = tag
        self.returns = f"struct {tag}"
        text = self.text([f"struct {tag} work;", *lines, "return work;"], (LAID_OUT,))
        return replace(text, head=(f"struct {tag} {{", *fields, "};", "", *text.head))
