"""The Python text of an elementary function → C99 that computes the same bits as the text with numpy's scalars.

A text is straight-line code of reals, integers and conditions, with `while` and `if` at most. Integers are unsigned in
C and hold the same bits: sums, products and shifts to the left wrap around. Where a sign counts (comparisons, shifts to
the right, conversions), an interval proves that there is none, or a function looks at the sign bit.

    far = place & 64 != 0                         const _Bool far = (place & 64U) != 0U;
    k = nearest(v * real(1.442695))  # whole      const float k = f32_nearest(v * 1.442695f); /* whole */
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import replace

from derivgen.print.c.expressions import (
    BITS,
    INTEGER,
    OPERATORS,
    PREFIX,
    REAL,
    Definition,
    Expressions,
    Value,
    c_type,
    integer,
)
from derivgen.print.layout import STEP, WIDTH, Bracket, Part, broken, flat, indented

FIELDS = ("first", "second")  # of a struct of two results

# The parameters that are not reals. Of digits no one has a sign.
PARAMETERS = {
    "integer_power": {"k": "int64"},
    "of_ordinal": {"k": "integer"},
    "as_real": {"i": "uint64"},
    "high_product": {"m": "uint32", "w": "uint32"},
    "shifted": {"w": "uint32", "v": "uint32", "s": "uint32"},
}


def translated(text: str, dtype: str, known: Callable[[str], Definition]) -> list[Definition]:
    """The functions of a text in C; `known` has those that it calls, but does not define itself."""
    found: dict[str, Definition] = {}

    def here_or_known(name: str) -> Definition:
        return found.get(name) or known(name)

    for item in ast.parse(text).body:
        if isinstance(item, ast.FunctionDef):
            found[item.name] = Translator(text, dtype, here_or_known).definition(item)
        else:
            assert isinstance(item, ast.Assign) and isinstance(item.value, ast.Call)
            name, numbers = ast.unparse(item.targets[0]), tuple(ast.literal_eval(item.value.args[0]))
            above = [words for number, words, alone in comments(text) if alone and number == item.lineno - 1]
            found[name] = table(name, numbers, above)
    return [d for d in found.values() if d.prototype]


def table(name: str, numbers: tuple[int, ...], above: list[str]) -> Definition:
    """NAME = np.array([…], np.int64), of numbers that are not negative."""
    head = f"static const uint64_t {name.lower()}[{len(numbers)}] = {{"
    lines = [*above, head, *(f"{STEP}0x{n:013X}ULL," for n in numbers), "};"]
    return Definition(name, "\n".join(lines), numbers=numbers)


def comments(text: str) -> Iterator[tuple[int, str, bool]]:
    """The comments of a text: line, comment in C, whether it has the line to itself."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], comment(token.string.lstrip("# "))[0], not token.line[: token.start[1]].strip()


def comment(words: str) -> list[str]:
    first, *others = words.splitlines()
    assert not {"*/", "/*", "//"} & {words[k : k + 2] for k in range(len(words))}, words
    return [f"/* {first}", *(f" * {o.strip()}".rstrip() for o in others), " */"] if others else [f"/* {first} */"]


def outer_type(type_: str, dtype: str) -> str:
    """The type of a parameter, or of a single result: only there an integer has a sign."""
    return f"{type_}_t" if type_ in ("int32", "int64") else c_type(type_, dtype)


def pair_type(results: tuple[str, ...], dtype: str) -> str:
    """The name of a struct of two results."""
    return f"{PREFIX[dtype]}_{'pair' if results == (REAL, REAL) else 'real_and_bits'}"


def pair_of(results: tuple[str, ...], dtype: str) -> str:
    """A struct of two results."""
    lines = [f"{c_type(t, dtype)} {field};" for t, field in zip(results, FIELDS, strict=True)]
    return "\n".join(["typedef struct {", *indented(lines), f"}} {pair_type(results, dtype)};"])


def stored(nodes: list[ast.stmt]) -> list[str]:
    """The names that statements assign to, as often as they do."""
    names = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))
    return [n.id for n in names if isinstance(n.ctx, ast.Store)]


def line(opening: str, part: Part, closing: str, depth: int) -> list[str]:
    """opening, part, closing: on one line where there is room for it at this depth, else broken after the opening."""
    alone, room = f"{opening}{flat(part)}{closing}", WIDTH - len(STEP) * depth
    if len(alone) <= room:
        return [alone]
    *others, last = broken(part, room - len(STEP))
    return [opening.rstrip(), *indented([*others, f"{last}{closing}"])]


class Translator(Expressions):
    """Translates one function."""

    def __init__(self, text: str, dtype: str, known: Callable[[str], Definition]) -> None:
        super().__init__(text, dtype, known)
        self.comments = {number: (words, alone) for number, words, alone in comments(text)}
        self.results: tuple[str, ...] = ()
        self.changed: set[str] = set()  # names that are assigned to more than once
        self.declared: dict[str, str] = {}  # types

    def definition(self, f: ast.FunctionDef) -> Definition:
        docstring, *statements = f.body
        types = {a.arg: PARAMETERS.get(f.name, {}).get(a.arg, REAL) for a in f.args.args}
        types = {name: INTEGER[self.dtype] if t == "integer" else t for name, t in types.items()}
        written = stored(statements)
        self.changed = {name for name in written if name in types or written.count(name) > 1}
        body = [text for name, type_ in types.items() for text in self.parameter(name, type_)]
        body += self.block(statements, docstring.end_lineno or 0, depth=1)
        body = [text for t in self.tables.values() for text in t.splitlines()] + body
        result = pair_type(self.results, self.dtype) if self.results[1:] else outer_type(self.results[0], self.dtype)
        parameters = ", ".join(f"{outer_type(t, self.dtype)} {name}" for name, t in types.items()) or "void"
        head = f"static inline {result} {self.c_name(f.name)}({parameters})"
        words = comment(ast.get_docstring(f) or "")
        text = "\n".join([*words, head, "{", *indented(body), "}"])
        return Definition(f.name, text, f"{head};", self.results, tuple(self.called))

    def parameter(self, name: str, type_: str) -> list[str]:
        """One that is assigned to is a local, which begins with what is given."""
        part = f"(uint{BITS[type_]}_t){name}" if type_ in ("int32", "int64") else name
        v = integer(part, type_) if type_ in BITS else Value(part, type_)
        self.names[name] = replace(v, signed=name if part != name else None)
        if name not in self.changed:
            return []
        self.names[name] = Value(f"{name}_now", type_)
        self.declared[name] = type_
        return [f"{c_type(type_, self.dtype)} {name}_now = {part};"]

    # ---- statements

    def block(self, statements: list[ast.stmt], after: int, depth: int) -> list[str]:
        """Statements, under the comments that stand above them in the text; the first one comes after a line."""
        lines: list[str] = []
        for s in statements:
            above = [self.comments[k][0] for k in range(after + 1, s.lineno) if k in self.comments]
            own = self.statement(s, depth)
            words, alone = self.comments.get(s.lineno, ("", True))
            if not alone and len(own) == 1 and len(own[0]) + 1 + len(words) + len(STEP) * depth <= WIDTH:
                own = [f"{own[0]} {words}"]
            elif not alone:
                above.append(words)
            lines += [*above, *own]
            after = s.end_lineno or 0
        return lines

    def statement(self, s: ast.stmt, depth: int) -> list[str]:
        match s:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                return self.assign(name, self.value(value), depth)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                return self.assign_each([ast.unparse(t) for t in targets], values, depth)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Call() as call):
                return self.assign_pair([ast.unparse(t) for t in targets], call, depth)
            case ast.AugAssign(target=ast.Name(id=name), op=o, value=value):
                old, right = self.names[name], self.value(value)
                whole = self.operation(old, OPERATORS[type(o)], right)
                self.names[name] = replace(whole, part=old.part, kind="")
                right = self.typed(right, old.type, beside=True) if old.type in BITS else right
                return line(f"{old.part} {OPERATORS[type(o)]}= ", right.part, ";", depth)
            case ast.While(test=test, body=body) | ast.If(test=test, body=body, orelse=[]):
                for name in {*stored(body)} & self.declared.keys():  # of the other iterations
                    v = self.names[name]
                    self.names[name] = integer(v.part, v.type) if v.type in BITS else v
                word = "while" if isinstance(s, ast.While) else "if"
                head = line(f"{word} (", self.condition(test).part, ") {", depth)
                return [*head, *indented(self.block(body, s.lineno, depth + 1)), "}"]
            case ast.Return(value=ast.Tuple(elts=values)):
                return self.return_pair([*map(self.value, values)], depth)
            case ast.Return(value=ast.expr() as value):
                v = self.value(value)
                self.results = (v.type,)
                return line("return ", self.signed(v) if v.type in ("int32", "int64") else v.part, ";", depth)
        raise NotImplementedError(ast.unparse(s))

    def assign(self, name: str, v: Value, depth: int) -> list[str]:
        """A local is declared where it is assigned to first."""
        opening = "" if name in self.changed else "const "
        opening = "" if name in self.declared else f"{opening}{c_type(v.type, self.dtype)} "
        target = self.names[name].part if name in self.declared else name
        assert self.declared.setdefault(name, v.type) == v.type, f"{name} is of two types"
        self.names[name] = replace(v, part=target, kind="", signed=None)
        return line(f"{opening}{target} = ", v.part, ";", depth)

    def assign_each(self, targets: list[str], values: list[ast.expr], depth: int) -> list[str]:
        """a, b = v, w, one after another: no value reads a target before it."""
        lines: list[str] = []
        for k, (target, value) in enumerate(zip(targets, values, strict=True)):
            assert not {n.id for n in ast.walk(value) if isinstance(n, ast.Name)} & {*targets[:k]}, ast.unparse(value)
            lines += self.assign(target, self.value(value), depth)
        return lines

    def assign_pair(self, targets: list[str], call: ast.Call, depth: int) -> list[str]:
        """a, b = f(…): the struct that f returns has the name of f."""
        assert isinstance(call.func, ast.Name)
        definition, pair = self.function(call.func.id), call.func.id
        arguments = tuple(self.value(a).part for a in call.args)
        opening = f"const {pair_type(definition.results, self.dtype)} {pair} = "
        lines = line(opening, Bracket(self.c_name(pair), arguments), ";", depth)
        for target, type_, field in zip(targets, definition.results, FIELDS, strict=True):
            part = f"{pair}.{field}"
            if target != "_":
                lines += self.assign(target, integer(part, type_) if type_ in BITS else Value(part, type_), depth)
        return lines

    def return_pair(self, values: list[Value], depth: int) -> list[str]:
        self.results = tuple(v.type for v in values)
        opening = f"const {pair_type(self.results, self.dtype)} both = "
        return [*line(opening, Bracket("", tuple(v.part for v in values), "{}"), ";", depth), "return both;"]
