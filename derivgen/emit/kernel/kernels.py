"""Kernels of a schedule → numba functions: loop nests as `for` loops, contractions as calls of BLAS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.emit.kernel.elementary import CALLED, MAXIMUM, OF_ORDINAL, ORDINAL
from derivgen.emit.kernel.locals import Locals
from derivgen.emit.kernel.products import ADD, ASSIGN, FACTORS, GEMM, ProductText
from derivgen.emit.kernel.scalar import ScalarText
from derivgen.emit.kernel.statements import StatementText
from derivgen.emit.text import STEP, WIDTH, bracketed, broken, docstring, indented
from derivgen.form.expressions import Read, guarded, is_size, size_symbol, substitute
from derivgen.form.notation import Plain
from derivgen.form.program import Program, Role, Statement, is_plain_index
from derivgen.plan.names import kernel_name
from derivgen.rewrite.conditions import is_lone
from derivgen.schedule.hoisted import divisions_before
from derivgen.schedule.nests import BLOCK, Compute, Contraction, Fill, Loop, Node, statements_of, store_guards, work_in
from derivgen.schedule.repeat import arguments_of
from derivgen.schedule.schedule import Kernel
from derivgen.stages import reached

# LLVM unrolls a short loop whose extent it knows, which takes it long, and then does not vectorize it.
UNROLLED = 3

# What the text of a kernel refers to besides its own names; `check_names` holds each kernel to it.
REFERRED_TO = {*CALLED, "np", "real", "prange", "min", GEMM, ASSIGN, ADD}

START = {"+=": "real(0)", "max=": "real(-np.inf)", "argmax=": "0"}


@dataclass(frozen=True, slots=True)
class KernelText:
    """A kernel's function: its name, its arguments by tensor (then factors, if any, and run-time sizes), its lines."""

    name: str
    arguments: tuple[str, ...]
    scaled: bool
    sizes: tuple[str, ...]
    lines: tuple[str, ...]
    used: frozenset[str]


def write_kernel(program: Program, kernel: Kernel, name: str = "") -> KernelText:
    """The text of one kernel."""
    reached("write", kernel.layer)
    return Writer(program, kernel).write(name or kernel_name(kernel))


class Writer:
    """The state of writing one kernel."""

    def __init__(self, program: Program, kernel: Kernel) -> None:
        self.program, self.kernel = program, kernel
        self.table = program.table
        self.order = program.order
        self.text = ScalarText(self.order, self.access, self.symbol)
        self.text.is_integer = lambda read: read.tensor in self.table and self.table[read.tensor].integer
        self.heirs = dict(kernel.heirs)
        self.carried: dict[Read, str] = {}  # what is written → the scalar that its reduction runs in
        self.divided: dict[sp.Basic, Read] = {}  # divisions outside of the loops that need them → their scalars
        self.locals = Locals(REFERRED_TO)
        self.give_names()
        self.needed_sizes: set[str] = set()
        self.scaled = {n.statement.target for n in kernel.body if isinstance(n, Contraction) and n.scaled}
        self.factors = self.temporary(FACTORS)
        self.statements = StatementText(self.text, self.temporary)
        self.products = ProductText(self.name, lambda tensor: self.table[tensor].shape, self.product_integer)
        self.depth = 0  # loops and guards around the line that is being written

    def write(self, name: str) -> KernelText:
        body = self.nodes(self.kernel.body)
        arguments = arguments_of(self.program, self.kernel)
        known, unknown = self.size_lines(arguments)
        factors = [self.factors] if self.scaled else []
        signature = bracketed(f"def {name}(", [*map(self.tensor, arguments), *factors, *map(self.size, unknown)], "):")
        decorator = "@parallel_kernel" if any(runs_in_threads(node) for node in self.kernel.body) else "@kernel"
        lines = [decorator, *signature, *indented(docstring(self.formulas())), *indented([*known, *body])]
        used = frozenset(self.text.used)
        return KernelText(name, arguments, bool(self.scaled), tuple(unknown), tuple(lines), used)

    def formulas(self) -> list[str]:
        """One line a statement, in order of execution; the first write of a tensor reads as an equation.

        A sum that no caller knows of, and that one formula reads, is written inside that formula. Last come the arrays
        that hold one tensor after another.
        """
        plain = Plain(self.order, self.inlined_sums())
        lines, seen = [], set[str]()
        fills = {n.tensor for n in self.kernel.body_nodes if isinstance(n, Fill)}
        started = {n.tensor if isinstance(n, Fill) else n.statement.target for n in self.kernel.body_nodes if starts(n)}
        for s in self.kernel.statements:
            if s.target in plain.inlined:
                continue
            if s.target in fills and is_lone(self.program, s):
                s = replace(s, operator="=", expression=guarded(s.expression, s.guard), guard=sp.true)
            text = scaled_formula(plain, s) if s.target in self.scaled else plain.statement(s)
            plainly = s.target in started - seen and all(is_plain_index(i) for i in s.subscripts)
            plainly = plainly and not (s.scan and s.target in fills)  # other steps add to it
            lines.append(text.replace(" += ", " = ", 1) if plainly else text)
            seen.add(s.target)
        for array in dict.fromkeys(self.heirs.values()):
            before = [name for name, heir in self.heirs.items() if heir == array and name in seen]
            lines += [f"{array} holds {' and '.join(before)} before"] if before else []
        return lines

    def inlined_sums(self) -> dict[str, Statement]:
        writes = Counter(s.target for s in self.kernel.statements)
        inlined: dict[str, Statement] = {}
        for s in self.kernel.statements:
            helper = self.table[s.target].role is Role.HELPER and s.operator == "+=" and writes[s.target] == 1
            reader = next((t for t in self.kernel.statements if s.write in t.reads and not t.reduced), None)
            if (
                helper
                and s.target in self.kernel.inside
                and len(self.program.readers[s.target]) == 1
                and reader is not None
            ):
                inlined[s.target] = s
        return inlined

    # ---- names

    def give_names(self) -> None:
        """Names of all that the spec's are for, before there are others; these go past those of other kernels too."""
        statements = self.kernel.statements
        own = [name for s in statements for name in (s.target, *(r.tensor for r in s.reads))]
        for name in (*self.kernel.read, *self.kernel.written, *own, *self.heirs.values()):
            self.tensor(name)
        for name, _ in self.program.sizes:
            self.size(name)
        for index in dict.fromkeys(r.index for s in statements for r in s.domain):
            self.symbol(index)
        self.locals.taken.update(self.table)

    def tensor(self, name: str) -> str:
        """A tensor's own array, or its scalar."""
        return self.locals.of(("tensor", name), name)

    def size(self, name: str) -> str:
        return self.symbol(size_symbol(name))

    def symbol(self, index_or_size: sp.Symbol) -> str:
        return self.locals.of(index_or_size, index_or_size.name)

    def temporary(self, wanted: str, value: Read | None = None) -> str:
        """The scalar of a value until it is written, or one that each statement may use anew."""
        return self.locals.of((wanted, value), wanted)

    # ---- sizes

    def size_lines(self, arguments: Iterable[str]) -> tuple[list[str], list[str]]:
        """Lines that read run-time sizes off the arguments' shapes, and the sizes that no argument shows."""
        lines, unknown = [], []
        for size in sorted(self.needed_sizes):
            where = next(
                (
                    f"{self.tensor(name)}.shape[{axis}]"
                    for name in arguments
                    for axis, extent in enumerate(self.table[name].shape)
                    if is_size(extent) and extent.name == size
                ),
                None,
            )
            if where is None:
                unknown.append(size)
            else:
                lines.append(f"{self.size(size)} = {where}")
        return lines, unknown

    def note_sizes(self, *expressions: sp.Basic) -> None:
        self.needed_sizes |= {s.name for e in expressions for s in e.free_symbols if is_size(s)}

    # ---- accesses

    def access(self, read: Read) -> str:
        name = read.tensor
        if read in self.carried:
            return self.carried[read]
        if name not in self.table:  # a temporary
            return name
        if name in self.kernel.scalars:
            return self.tensor(name)
        if not read.subscripts:
            return f"{self.name(name)}[0]"
        return f"{self.name(name)}[{', '.join(self.text.integer(s) for s in read.subscripts)}]"

    # ---- nodes

    def nodes(self, body: Iterable[Node]) -> list[str]:
        lines: list[str] = []
        for node in body:
            match node:
                case Loop():
                    lines += self.loop(node)
                case Contraction():
                    lines += self.contraction(node)
                case Fill():
                    lines.append(f"{self.name(node.tensor)}[:] = {self.text.real(node.value)}")
                case Compute():
                    lines += self.compute(node)
        return lines

    def loop(self, loop: Loop) -> list[str]:
        """The loop, between the starts and the stores of the reductions that it carries."""
        if loop.guard != sp.true:
            return self.under(loop.guard, lambda: self.loop(replace(loop, guard=sp.true)))
        self.note_sizes(loop.extent if loop.bound is None else loop.bound)
        new: dict[Read, Compute] = {}
        for c in loop.carried:
            if c.statement.write not in {*self.carried, *new}:
                new[c.statement.write] = c
        starts = [line for c in new.values() for line in self.start(c)]
        outside = dict(self.divided)
        starts += self.divisions(loop)
        lines = self.blocks(loop) if loop.in_blocks else self.iterations(loop, self.bounds(loop))
        self.divided = outside
        guards = store_guards(loop)
        stores = [line for c in new.values() for line in self.store(c, guards)]
        return [*starts, *lines, *stores]

    def iterations(self, loop: Loop, bounds: str) -> list[str]:
        self.depth += 1
        body = indented(self.nodes(loop.body))
        self.depth -= 1
        return [f"for {self.symbol(loop.index)} in {'prange' if loop.parallel else 'range'}({bounds}):", *body]

    def bounds(self, loop: Loop) -> str:
        backwards = loop.scan is not None and loop.scan.reverse
        return f"{self.text.integer(loop.extent - 1)}, -1, -1" if backwards else self.extent(loop)

    def blocks(self, loop: Loop) -> list[str]:
        """The loop in blocks of iterations: each adds its part to the totals."""
        first, extent = self.temporary("first"), self.extent(loop)
        totals = {c.statement.write: self.carried[c.statement.write] for c in loop.in_blocks}
        parts = {write: self.temporary(f"{write.tensor}_part") for write in totals}
        self.carried |= parts
        self.depth += 1
        lines = self.iterations(loop, f"{first}, min({first} + {BLOCK}, {extent})")
        self.depth -= 1
        self.carried |= totals
        starts = [f"{part} = real(0)" for part in parts.values()]
        sums = [f"{totals[write]} += {part}" for write, part in parts.items()]
        return [f"for {first} in range(0, {extent}, {BLOCK}):", *indented([*starts, *lines, *sums])]

    def divisions(self, loop: Loop) -> list[str]:
        """Lines of the divisions that are done before a loop."""
        lines: list[str] = []
        for part in divisions_before(loop, self.divided, self.kernel.scalars, self.table):
            self.note_sizes(part)
            number = len(self.divided) + 1
            name = self.temporary("reciprocal" if number == 1 else f"reciprocal_{number}")
            self.statements.restart()
            lines += self.assignment(name, "=", part)
            self.divided[part] = Read(name)
        return lines

    def extent(self, loop: Loop) -> str:
        """How often a loop runs: but for the shortest loops that is read off an array, see UNROLLED."""
        if loop.bound is not None:
            return self.text.integer(loop.bound)
        if loop.extent.is_Integer and loop.extent > UNROLLED:
            for access in (a for c in work_in(loop) for s in statements_of(c) for a in (s.write, *s.reads)):
                shape = () if access.tensor in self.kernel.scalars else self.table[access.tensor].shape
                for axis, place in enumerate(zip(access.subscripts, shape, strict=False)):
                    if place == (loop.index, loop.extent):
                        return f"{self.name(access.tensor)}.shape[{axis}]"
        return self.text.integer(loop.extent)

    def start(self, c: Compute) -> list[str]:
        """Each result of a reduction in a scalar: itself if it lives in this kernel's loops only, the ordinal of a maximum.

        LLVM vectorizes a maximum of whole numbers, but none of reals that keeps NaN.
        """
        lines = []
        for s in c.statements:
            goes_on = not c.first and s.target in self.kernel.scalars
            start = self.access(s.write) if s.operator == "max=" and not c.first else START[s.operator]
            name = self.carried[s.write] = self.carried_name(s)
            if s.operator == "max=":
                lines.append(f"{name} = {self.text.call(ORDINAL, start)}")
            elif not goes_on:
                lines.append(f"{name} = {start}")
        if c.statement.operator == "argmax=":
            lines.append(f"{self.best(c)} = {self.text.call(ORDINAL, START['max='])}")
        return lines

    def carried_name(self, s: Statement) -> str:
        if s.operator == "max=":
            return self.temporary(f"{s.target}_ordinal", s.write)
        if s.target in self.kernel.scalars:
            return self.tensor(s.target)
        wanted = "_".join((s.target, *map(str, s.subscripts))) if s.subscripts else f"{s.target}_total"
        return self.temporary(wanted, s.write)

    def best(self, c: Compute) -> str:
        """The scalar of the largest value so far."""
        operator = c.statement.operator
        if operator == "max=":
            return self.carried[c.statement.write]
        return self.temporary(f"{c.statement.target}_ordinal", c.statement.write)

    def store(self, c: Compute, guards: Mapping[Read, Boolean]) -> list[str]:
        lines = []
        for s in c.statements:
            value = self.carried.pop(s.write)
            if s.operator == "max=":
                line = f"{self.access(s.write)} = {self.text.call(OF_ORDINAL, value)}"
            elif s.target in self.kernel.scalars:
                continue
            else:
                line = f"{self.access(s.write)} {'=' if c.first else '+='} {value}"
            lines += self.under(guards[s.write], partial(self.broken, line))
        return lines

    def broken(self, line: str) -> list[str]:
        return broken(line, self.room)

    def under(self, guard: Boolean, write: Callable[[], list[str]]) -> list[str]:
        """Lines under a condition, written where they have the room that it leaves."""
        if guard == sp.true:
            return write()
        self.note_sizes(guard)
        self.depth += 1
        lines = write()
        self.depth -= 1
        return self.statements.guard(guard, lines, self.room)

    # ---- statements

    def compute(self, c: Compute) -> list[str]:
        c = replace(c, statement=replace(c.statement, expression=substitute(c.statement.expression, self.divided)))
        s = c.statement
        self.note_sizes(s.expression, *s.subscripts)
        self.statements.restart()
        return self.under(s.guard, lambda: self.computed(c))

    def computed(self, c: Compute) -> list[str]:
        """The lines of a statement, where its guard holds."""
        s = c.statement
        if c.winners:
            return self.winners(c)
        if s.operator == "max=":
            return self.maximum(s)
        if s.target in self.table and self.table[s.target].integer:
            return broken(f"{self.access(s.write)} = {self.text.integer(s.expression)}", self.room)
        assigns = s.operator == "=" or (c.first and s.write not in self.carried)
        return self.stored(s, *self.in_place("=" if assigns else "+=", s))

    def stored(self, s: Statement, operator: str, expression: sp.Expr) -> list[str]:
        """The assignment of a statement; where it is too long, the subscripts of its target get names first."""
        lines = self.assignment(self.access(s.write), operator, expression)
        places = [i for i in s.subscripts if not (is_plain_index(i) or i.is_Integer)]
        if all(len(line) <= self.room for line in lines) or not places or s.write in self.carried:
            return lines
        self.statements.restart()
        names = {place: self.statements.temporary("place") for place in places}
        before = [f"{names[place].tensor} = {self.text.integer(place)}" for place in names]
        target = self.access(Read(s.target, *(names.get(i, i) for i in s.subscripts)))
        return [*before, *self.assignment(target, operator, expression)]

    def in_place(self, operator: str, s: Statement) -> tuple[str, sp.Expr]:
        """(operator, expression): what only adds to the value whose memory the target takes over says so."""
        terms = sp.Add.make_args(s.expression)
        own = [
            t for t in terms if isinstance(t, Read) and self.heirs.get(t.tensor) == self.heirs.get(s.target, s.target)
        ]
        only = operator == "=" and len(own) == 1 and len(terms) > 1
        return ("+=", sp.Add(*(t for t in terms if t is not own[0]))) if only else (operator, s.expression)

    def maximum(self, s: Statement) -> list[str]:
        """The target becomes the larger of itself and the expression: of their ordinals, where it is carried."""
        target, ranked = self.access(s.write), s.write in self.carried
        function = "max" if ranked else MAXIMUM
        self.text.used.add(ORDINAL if ranked else MAXIMUM)

        def operands(value: str) -> list[str]:
            return [target, f"{ORDINAL}({value})" if ranked else value]

        line = f"{target} = {function}({', '.join(operands(self.text.real(s.expression)))})"
        if len(line) <= self.room:
            return [line]
        value = self.temporary("value")
        larger = bracketed(f"{target} = {function}(", operands(value), ")", 1 + self.depth)
        return [*self.assignment(value, "=", s.expression), *larger]

    def winners(self, c: Compute) -> list[str]:
        """The indices move on where the value is larger than the best so far, or the first NaN."""
        best, value, expression = self.best(c), self.temporary("value"), c.statement.expression
        lines = [f"{value} = {self.text.call(ORDINAL, self.text.real(expression))}"]
        if len(lines[0]) > self.room:
            number = self.temporary("number")
            lines = [*self.assignment(number, "=", expression), f"{value} = {ORDINAL}({number})"]
        moves = [f"{best} = {value}", *(f"{self.access(w.write)} = {self.text.integer(w.winner)}" for w in c.winners)]
        return [*lines, f"if {value} > {best}:", *indented(moves)]

    def assignment(self, target: str, operator: str, expression: sp.Expr) -> list[str]:
        return self.statements.assignment(target, operator, expression, self.room)

    @property
    def room(self) -> int:
        """Columns of the line that is being written."""
        return WIDTH - len(STEP) * (1 + self.depth)

    def contraction(self, c: Contraction) -> list[str]:
        factors = self.factors if c.scaled else ASSIGN if c.first else ADD
        lines = self.products.lines(c.product, factors, self.depth + 1)
        if any(GEMM in line for line in lines):
            self.text.used.add(GEMM)
        return lines

    def name(self, tensor: str) -> str:
        """A tensor's array."""
        return self.tensor(self.heirs.get(tensor, tensor))

    def product_integer(self, e: sp.Expr) -> str:
        self.note_sizes(e)
        return self.text.integer(e)


def scaled_formula(plain: Plain, s: Statement) -> str:
    """`W_bar[d,h] = α·Σ_n x[n,d]·z_bar[n,h] + β·W_bar[d,h]`"""
    target, _, total = plain.statement(s).partition(" += ")
    return f"{target} = α·{total} + β·{target}"


def runs_in_threads(node: Node) -> bool:
    return isinstance(node, Loop) and node.parallel


def starts(node: Node) -> bool:
    """Whether a node is the first to write its tensor."""
    match node:
        case Compute():
            return node.first
        case _:
            return isinstance(node, Fill) or (isinstance(node, Contraction) and node.first)
