"""What a model takes in C: memory that callers give, tables of numbers, local arrays, and the code of a compiler.

Local arrays are counted in the text, as on a machine without vectors and with pointers of 8 bytes: those of a function
together with those of what it calls, along the deepest chain of calls. A compiler keeps other values on the stack, too.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sympy as sp

from derivgen.errors import DerivgenError
from derivgen.file.contract import DTYPES
from derivgen.project.building import compiler, run
from derivgen.project.c_sources import c_output, render_c
from derivgen.project.spec import Target

BYTES = {"float": 4, "double": 8, "ptrdiff_t": 8, "int": 4, "int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8}
POINTER = 8
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FUNCTION = re.compile(r"^[^\n #/}][^;{}]*?\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
LOCAL = re.compile(r"^ +(?:const )?(\w+) (\*?)\w+((?:\[[^]]+\])+)(?= =|;)", re.MULTILINE)
TABLE = re.compile(r"^ *static const (\w+) \w+((?:\[[^]]+\])+) =", re.MULTILINE)
STRUCT = re.compile(r"^struct (\w+) \{\n(.*?)^\};$", re.MULTILINE | re.DOTALL)
ENUM = re.compile(r"^enum \{(.*?)\};", re.MULTILINE | re.DOTALL)
OBJECT = ("-std=c99", "-Os", "-c", "-o", "object.o")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what callers give, by name; tables; local arrays along a chain of functions; code, if it is known."""

    given: tuple[tuple[str, sp.Expr], ...]
    tables: int
    stack: int
    chain: tuple[str, ...]
    code: int | None
    words: str  # by which compiler, or why there is no code


def memory_of(target: Target, dtype: str | None, cc: str | None) -> Memory:
    """What a model's functions of C take. Raises SpecError where the spec is refused."""
    output, real = c_output(target), dtype or target.model.dtype or DTYPES[0]
    made = render_c(target, output, dtype)
    text = without_vectors(COMMENT.sub("", made.texts[output]))
    numbers = enumerators(text, real)
    stack, chain = deepest(text, numbers)
    tables = sum(BYTES[kind] * elements(extents, numbers) for kind, extents in TABLE.findall(text))
    code, words = code_of({path.name: own for path, own in made.texts.items()}, output.name, cc)
    count = int(enumerators(made.texts[output.with_suffix(".h")], real)[f"{target.model.name.upper()}_PARAMETERS"])
    item, rule = BYTES["float" if real == "float32" else "double"], target.model.rule
    given = {"parameters": sp.Integer(item * count), "gradient": sp.Integer(item * count)}
    own = [BYTES["double"] if s.name in rule.shared_slots else item * count for s, _ in rule.slots]
    given["state of the update"] = sp.Integer(BYTES["int64_t"] + sum(own))
    for w in made.sources.workspaces:
        name = f"workspace of {w.function}" if w.function else "workspace"
        given[name] = sp.expand(item * w.reals + BYTES["int64_t"] * (w.integers or 0))
    return Memory(tuple(given.items()), tables, stack, chain, code, words)


# ---- the text


def without_vectors(text: str) -> str:
    """The lines that a compiler reads for a machine of which nothing is defined."""
    lines, taken = list[str](), [True]
    for line in text.splitlines():
        word = line.replace("# ", "#").split()[0] if line.startswith("#") else ""
        if word in ("#if", "#ifdef", "#ifndef"):
            taken.append(word == "#ifndef")
        elif word == "#else":
            taken[-1] = not taken[-1]
        elif word == "#elif":
            taken[-1] = False
        elif word == "#endif":
            taken.pop()
        elif all(taken):
            lines.append(line)
    return "\n".join(lines)


def enumerators(text: str, dtype: str) -> dict[str, int]:
    """The numbers of a text's enumerators, and of macros that are numbers."""
    found = {name: int(n) for name, n in re.findall(r"^#define (\w+) (\d+)$", text, re.MULTILINE)}
    sizes = BYTES | {"gemm_vector": BYTES["float" if dtype == "float32" else "double"]}
    for block in ENUM.findall(COMMENT.sub("", text)):
        for name, expression in re.findall(r"(\w+) = ([^,]+)", block):
            own = re.sub(r"\(int\)sizeof\((\w+)\)", lambda m: str(sizes[m[1]]), expression.strip())
            own = re.sub(r"^\((.+)\) \? (\w+) : (\w+)$", r"\2 if \1 else \3", own).replace("/", "//")
            found[name] = int(eval(own, {"__builtins__": {}}, found))
    return found


def elements(extents: str, numbers: Mapping[str, int]) -> int:
    """How many elements `[4][WIDE]` says."""
    found = 1
    for extent in re.findall(r"\[([^]]+)\]", extents):
        found *= int(eval(extent, {"__builtins__": {}}, dict(numbers)))
    return found


def deepest(text: str, numbers: Mapping[str, int]) -> tuple[int, tuple[str, ...]]:
    """The most bytes of local arrays and structs that are there at once, and the functions that have these."""
    bodies = dict(FUNCTION.findall(text))
    structs = {name: POINTER * fields.count(";") for name, fields in STRUCT.findall(text)}
    own = {name: sum(local_sizes(body, numbers, structs)) for name, body in bodies.items()}
    known = dict[str, tuple[int, tuple[str, ...]]]()

    def chain(name: str) -> tuple[int, tuple[str, ...]]:
        if name not in known:
            called = [n for n in dict.fromkeys(re.findall(r"\b(\w+)\(", bodies[name])) if n in bodies and n != name]
            most, names = max((chain(n) for n in called), key=lambda pair: pair[0], default=(0, ()))
            known[name] = own[name] + most, ((name,) if own[name] else ()) + names
        return known[name]

    return max((chain(name) for name in bodies), key=lambda pair: pair[0], default=(0, ()))


def local_sizes(body: str, numbers: Mapping[str, int], structs: Mapping[str, int]) -> Iterator[int]:
    for kind, pointer, extents in LOCAL.findall(body):
        yield elements(extents, numbers) * (POINTER if pointer else BYTES.get(kind, POINTER))
    for name in re.findall(r"^ +(?:const )?struct (\w+) \w+(?= =|;)", body, re.MULTILINE):
        yield structs.get(name, 0)


# ---- the code


def code_of(texts: Mapping[str, str], file: str, cc: str | None) -> tuple[int | None, str]:
    """The bytes of an object with its tables, and by what it was made; or why that is not known."""
    try:
        command = compiler(cc)
    except DerivgenError:
        if cc:
            raise
        return None, "no C compiler is found: name one by --cc or CC"
    size = shutil.which(re.sub(r"(gcc|cc|clang)(-[\d.]+)?$", "size", command[0])) or shutil.which("size")
    with tempfile.TemporaryDirectory(prefix="derivgen-") as folder:
        for name, text in texts.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        done = run([*command, *OBJECT, file], folder)
        if done.returncode:
            raise DerivgenError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
        machine = run([*command, "-dumpmachine"], folder).stdout.strip()
        told = run([size, "object.o"], folder).stdout.split() if size else []
    if len(told) < 8 or not told[6].isdigit():
        return None, "there is no `size`, which tells of an object"
    return int(told[6]), f"{Path(command[0]).name} -Os for {machine or 'its machine'}"
