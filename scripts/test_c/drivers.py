"""A program in C that calls every function of a model, with ordinary arguments and with wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import header
from facts import Case, Facts, facts
from header import Header, Parameter, Prototype

OK, BAD_SIZE, OUT_OF_RANGE, BAD_SETTING, ANY = 0, 1, 2, 3, -1
MEMORY = ("reals", "integers")
EPOCHS = 10
TOO_LARGE, TOO_SMALL = "INT64_MAX", "INT64_MIN"


@dataclass(frozen=True)
class Trouble:
    """What is done to ordinary arguments, before memory is taken for them or after, and the status that is right."""

    words: str
    wanted: int
    before: str = ""
    after: str = ""


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def driver(case: Case) -> str:
    """The text of the program: it prints a hash, and with TROUBLES each function that has another status."""
    own = header.read(case.header.read_text(encoding="utf-8"))
    return Driver(case, own, facts(case)).text()


class Driver:
    def __init__(self, case: Case, own: Header, known: Facts) -> None:
        self.case, self.header, self.known = case, own, known
        self.real = "float" if case.dtype == "float32" else "double"
        self.prefix = own.name.upper()

    def text(self) -> str:
        called = [f for name, f in self.header.functions.items() if f.returns == "int" and name != "initial"]
        called.sort(key=lambda f: not f.name.endswith(("_train_epoch", "_descend")))  # they make parameters
        bodies = [line for f in called for line in self.function(f)]
        runs = [line for f in called for line in self.runs(f)]
        return "\n".join(
            [
                f'#include "{self.case.header.name}"',
                '#include "driver.h"',
                "#ifdef TROUBLES",
                "#include <float.h>",
                "#include <math.h>",
                "#endif",
                "",
                f"static {self.real} theta[{self.prefix}_PARAMETERS];",
                *bodies,
                "",
                "int main(void)",
                "{",
                *indented([*self.initial(), *runs, "return finish();"]),
                "}",
                "",
            ]
        )

    def initial(self) -> list[str]:
        def call(seed: str) -> str:
            return f'expect("{self.header.name}_initial", "{seed}", {self.header.name}_initial({seed}, theta), {OK});'

        return ["#ifdef TROUBLES", call(TOO_LARGE), call(TOO_SMALL), call("-1"), "#endif", call("3")]

    def runs(self, f: Prototype) -> list[str]:
        last = len(self.troubles(f))
        loop = ["#ifdef TROUBLES", f"for (int t = 1; t <= {last}; ++t) {{", f"    call_{f.name}(t);", "}", "#endif"]
        return [f"call_{f.name}(0);", *loop]

    # ---- arguments

    def values(self, f: Prototype) -> dict[str, str]:
        """Ordinary numbers."""
        rows = self.known.rows
        usual = {"batch_size": (rows + 2) // 3, "order_length": rows, "losses_length": 3, "seed": 5}
        sizes = count(rows, 2)
        return {
            p.name: str(usual.get(p.name) or self.known.settings.get(p.name) or self.usual(p, sizes))
            for p in f.parameters
            if not p.pointer
        }

    def usual(self, p: Parameter, sizes: Iterator[int]) -> int:
        return next(sizes) if p.type == "ptrdiff_t" and p.name != "row" else 0

    def memory(self, p: Parameter, f: Prototype) -> str:
        """How long callers make the memory of a function: what the header's functions say; of an epoch, for a batch."""
        word = {"reals": "workspace_size", "integers": "workspace_integers"}[p.name]
        own = f"{f.name.removeprefix(self.header.name + '_')}_{word}"
        teller = self.header.functions.get(own) or self.header.functions[word]
        rows = f.sizes[0] if f.sizes else ""
        given = ("batch_size" if size == rows and "batch_size" in f.sizes else size for size in teller.sizes)
        return f"{teller.name}({', '.join(size if size in f.sizes else '7' for size in given)})"

    def array(self, p: Parameter, f: Prototype) -> list[str]:
        """Memory for an array, and what it holds."""
        length = self.memory(p, f) if p.name in MEMORY else p.count
        lines = [f"const ptrdiff_t {p.name}_count = {length};"]
        lines += [f"{p.type} *{p.name} = take({p.name}_count, sizeof(*{p.name}));"]
        slot = 0.0 if p.name == "steps" else self.known.slots.get(p.name) if p.written else None
        if p.name == "parameters":
            value: str | None = "theta[i]"
        elif p.name == "order":
            value = f"(order_count - 1 - i) % {f.sizes[0]}"
        elif slot is not None:
            value = f"({p.type}){slot!r}"
        else:
            value = None
        if value is not None:
            return [*lines, f"for (ptrdiff_t i = 0; i < {p.name}_count; ++i) {{", f"    {p.name}[i] = {value};", "}"]
        if p.written or p.name in MEMORY:
            return lines
        classes = f"{self.classes(p)}, " if p.type == "int64_t" else ""
        return [*lines, f"draw_{p.type}({p.name}_count, {classes}{p.name});"]

    def classes(self, p: Parameter) -> int:
        return self.known.classes.get(p.name) or self.known.classes[p.name.rstrip("_")]

    # ---- troubles

    def troubles(self, f: Prototype) -> list[Trouble]:
        """All of them; where a call takes long, of those that are computed with only those of the parameters."""
        return [t for t in self.all_troubles(f) if t.wanted > OK or not self.known.costly or "parameters" in t.words]

    def all_troubles(self, f: Prototype) -> Iterator[Trouble]:
        for size in f.sizes:
            wanted = (OK, ANY) if size == "losses_length" else (BAD_SIZE, BAD_SIZE)
            for value, status in zip(("0", "-1", "PTRDIFF_MIN"), (*wanted, wanted[1]), strict=True):
                yield Trouble(f"{size} = {value}", status, after=f"{size} = {value};")
        if "batch_size" in f.sizes:
            rows = f.sizes[0]
            yield Trouble("more rows a batch than there are", OK, before=f"batch_size = {rows} + 5;")
            yield Trouble("one batch", OK, before=f"batch_size = {rows};", after="batch_size = PTRDIFF_MAX;")
            yield Trouble("one row", OK, before="order_length = 1;")
            yield Trouble("rows repeated", OK, before=f"order_length = {rows} + 8;")
            for value in ("-1", rows, TOO_LARGE, TOO_SMALL):
                yield Trouble(f"row {value}", OUT_OF_RANGE, after=f"order[order_count - 1] = {value};")
        for p in f.parameters:
            yield from self.of_array(p) if p.pointer else self.of_number(p)

    def of_array(self, p: Parameter) -> Iterator[Trouble]:
        at = f"{p.name}[{p.name}_count - 1]"
        if p.name == "steps":
            for value in ("-5", TOO_LARGE, TOO_SMALL):
                yield Trouble(f"step {value}", BAD_SETTING, after=f"steps[0] = {value};")
        elif p.written or p.name in (*MEMORY, "order"):
            return
        elif p.type == "int64_t":
            known = self.known.ignored.get(p.name, self.known.ignored.get(p.name.rstrip("_")))
            for value in {"-1", str(self.classes(p)), TOO_LARGE, TOO_SMALL} - {str(known)}:
                yield Trouble(f"{p.name}: {value}", OUT_OF_RANGE, after=f"{at} = {value};")
        else:
            for value in ("NAN", "INFINITY", "-INFINITY", "FLT_MAX", "-FLT_MAX", "FLT_MIN"):
                yield Trouble(f"{p.name}: {value}", OK, after=f"{p.name}[0] = {value}; {at} = {value};")
            every = f"for (ptrdiff_t i = 0; i < {p.name}_count; ++i) {{ {p.name}[i] = 0; }}"
            yield Trouble(f"{p.name}: zeros", OK, after=every)

    def of_number(self, p: Parameter) -> Iterator[Trouble]:
        if p.type == "double":
            negative = BAD_SETTING if p.name in self.known.refused else OK
            zero = BAD_SETTING if self.known.refused.get(p.name) else OK
            wanted = {"NAN": negative, "-1.0": negative, "0.0": zero, "INFINITY": OK}
            for value, status in wanted.items():
                yield Trouble(f"{p.name} = {value}", status, after=f"{p.name} = {value};")
        elif p.type == "int64_t" or p.name == "row":
            for value in ("-4", "1024", *((TOO_LARGE, TOO_SMALL) if p.name != "row" else ())):
                yield Trouble(f"{p.name} = {value}", ANY, after=f"{p.name} = {value};")
        elif p.type == "int":
            yield Trouble(f"{p.name} = 1", OK, after=f"{p.name} = 1;")
            yield Trouble(f"{p.name} = -1", OK, after=f"{p.name} = -1;")

    # ---- calls

    def function(self, f: Prototype) -> list[str]:
        pointers = [p for p in f.parameters if p.pointer]
        types = {p.name: p.type for p in f.parameters}
        numbers = [f"{types[name]} {name} = {value};" for name, value in self.values(f).items()]
        arrays = [line for p in pointers for line in self.array(p, f)]
        written = [p for p in pointers if p.written and p.name not in MEMORY]
        hashed = [f"hash_{p.type}({p.name}_count, {p.name});" for p in written]
        arguments = ", ".join(p.name for p in f.parameters)
        call = f"{f.name}({arguments});"
        epochs = f"for (int epoch = 1; (epoch < {EPOCHS}) && (status == 0); ++epoch) {{"
        again = [epochs, f"    status = {call}", "}"]
        kept = ["for (ptrdiff_t i = 0; i < parameters_count; ++i) {", "    theta[i] = parameters[i];", "}"]
        trains = any(p.name == "parameters" for p in written)
        ordinary = [*(again if trains else []), *hashed, *(kept if trains else [])]
        wrong = ["start_hash(start);", *hashed, f'expect_unchanged("{f.name}", words[trouble], status, start, given);']
        body = [
            *self.table(f),
            *numbers,
            *self.switch(f, "before"),
            *arrays,
            *self.switch(f, "after"),
            "const uint64_t start = hash_so_far();",
            *["if (trouble != 0) {", *indented(hashed), "}"],
            "const uint64_t given = hash_so_far();",
            f"int status = {call}",
            *["if (trouble == 0) {", *indented(ordinary), "} else {", *indented(wrong), "}"],
            f'expect("{f.name}", words[trouble], status, wanted[trouble]);',
            "give_back();",
        ]
        return ["", f"static void call_{f.name}(int trouble)", "{", *indented(body), "}"]

    def table(self, f: Prototype) -> list[str]:
        rows = [Trouble("ordinary", OK), *self.troubles(f)]
        words = ", ".join(f'"{t.words}"' for t in rows)
        wanted = ", ".join(str(t.wanted) for t in rows)
        return [f"static const char *const words[] = {{{words}}};", f"static const int wanted[] = {{{wanted}}};"]

    def switch(self, f: Prototype, when: str) -> list[str]:
        found = [(n, getattr(t, when)) for n, t in enumerate(self.troubles(f), 1)]
        lines = [f"case {n}: {text} break;" for n, text in found if text]
        return ["#ifdef TROUBLES", "switch (trouble) {", *lines, "default: break;", "}", "#endif"] if lines else []
