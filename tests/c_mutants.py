"""Mutants of files of C: one small mistake each, as a hand or a bug would make it."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from derivgen.verify import verify_c

OPERATORS = {" + ": " - ", " - ": " + ", " * ": " / ", " / ": " * ", " < ": " <= ", " >= ": " > ", " > ": " >= "}
OPERATORS |= {" == ": " != ", " && ": " || ", " || ": " && ", " += ": " -= ", " -= ": " += "}
OTHERS = {"exp": "log", "log": "exp", "sin": "cos", "cos": "sin", "sqrt": "abs", "abs": "sqrt", "tanh": "exp"}
OTHERS |= {"min": "max", "max": "min", "maximum": "minimum", "minimum": "maximum"}
FUNCTION = re.compile(r"^(?:static (?:inline )?)?[\w ]+? \*?(\w+)\([^;{}]*?\)\n\{\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
NO_CODE = re.compile(r"/\*.*?\*/|^ *#(?:[^\n\\]|\\.)*", re.DOTALL | re.MULTILINE)
ELEMENTARY = re.compile(r"^static inline[^;{]*?\bf(?:32|64)_\w+\([^;]*?\)\n\{\n.*?^\}$", re.MULTILINE | re.DOTALL)
# What is no translation of the module's text, or is drawn by other random numbers.
LIBRARY = re.compile(r"gemm\w*|uniform|philox|fraction|observe|sum_of_squares|draw\w*|\w+_initial")


@dataclass(frozen=True)
class Mutant:
    """A file of C with one mistake."""

    kind: str
    function: str
    change: str
    text: str


def mutants(text: str) -> Iterator[Mutant]:
    for found in FUNCTION.finditer(text):
        if not LIBRARY.fullmatch(found[1]):
            for kind, start, end, new in changes(found[1], text, found.start(2), found.end(2)):
                line = text[text.rfind("\n", 0, start) + 1 : text.find("\n", start)].strip()
                change = f"{text[start:end]!r} → {new!r} in {line[:100]}"
                yield Mutant(kind, found[1], change, text[:start] + new + text[end:])


def changes(name: str, text: str, start: int, end: int) -> Iterator[tuple[str, int, int, str]]:
    """(kind, where it begins, where it ends, what stands there instead)"""
    body = NO_CODE.sub(lambda m: " " * len(m[0]), text[start:end])
    letters = re.findall(r"for \(ptrdiff_t (\w+) =", body)
    for m in re.finditer("|".join(map(re.escape, OPERATORS)), body):
        yield "operator", start + m.start(), start + m.end(), OPERATORS[m[0]]
    for m in re.finditer(r"(?<=[(= ])-(?=[\w(])", body):
        yield "sign", start + m.start(), start + m.end(), ""
    for m in re.finditer(r"for \(ptrdiff_t (\w+) = ([^;]+); \1 (?:<|>=) ([^;]+);", body):
        yield "bound", start + m.start(2), start + m.end(2), f"{m[2]} + 1"
        yield "bound", start + m.start(3), start + m.end(3), f"{m[3]} - 1"
    for m in re.finditer(r"\[([^][]+)\]", body):
        yield "index", start + m.start(1), start + m.end(1), f"{m[1]} + 1"
        for letter in letters:
            if re.search(rf"\b{letter}\b", m[1]) and (other := next((a for a in letters if a != letter), "")):
                wrong = re.sub(rf"\b{letter}\b", other, m[1], count=1)
                yield "index", start + m.start(1), start + m.end(1), wrong
    for m in re.finditer(r"(?<![\w.])(\d+)(?![\w.])(?!\.)", body):
        kind = "stride" if "gemm(" in text[text.rfind(";", 0, start + m.start()) : start + m.start()] else "number"
        yield kind, start + m.start(), start + m.end(), str(int(m[1]) + 1)
    for m in re.finditer(r"\d+\.\d+(?:e-?\d+)?", body):
        yield "constant", start + m.start(), start + m.end(), wrong_digit(m[0])
    for m in re.finditer(r"\((float|double|ptrdiff_t)\)(?=[\w(])", body):
        yield "cast", start + m.start(), start + m.end(), ""
        if m[1] != "ptrdiff_t":
            yield "cast", start + m.start(1), start + m.end(1), {"float": "double", "double": "float"}[m[1]]
    for m in re.finditer(r"^ +(?:const )?(float|double) \w+(?= =|;)", body, re.MULTILINE):
        yield "type", start + m.start(1), start + m.end(1), {"float": "double", "double": "float"}[m[1]]
    for m in re.finditer(r"(?<=[(\n] )?([\w&>.\[\]-]+), ([\w&>.\[\]-]+)(?=[,)\n])", body):
        if m[1] != m[2]:
            yield "arguments", start + m.start(1), start + m.end(2), f"{m[2]}, {m[1]}"
    for m in re.finditer(r"^ +[^\s/(].*;\n", body, re.MULTILINE):
        if not re.match(r" +(const |\w+ \w+( =|;)|\(void\)|struct|return)", m[0]) and balanced(m[0]):
            yield ("clear" if "_fill(" in m[0] else "lost"), start + m.start(), start + m.end(), ""
    for m in re.finditer(r"\(([^()?:]+)\) \? ([^()?:;]+) : ([^()?:;]+)(?=[;)])", body):
        yield "choice", start + m.start(2), start + m.end(3), f"{m[3]} : {m[2]}"
    for m in re.finditer(rf"\bf(32|64)_({'|'.join(OTHERS)})\(", body):
        yield "function", start + m.start(2), start + m.end(2), OTHERS[m[2]]


def balanced(line: str) -> bool:
    return line.count("(") == line.count(")")


def wrong_digit(number: str) -> str:
    """A number whose last digit but zeros is another one."""
    place = max(k for k, c in enumerate(number.partition("e")[0]) if c.isdigit() and (c != "0" or k == 0))
    return f"{number[:place]}{(int(number[place]) + 4) % 10}{number[place + 1 :]}"


def sample(text: str, count: int, seed: int = 0) -> list[Mutant]:
    """Some mutants, of each kind as many as there are."""
    by_kind: dict[str, list[Mutant]] = {}
    for mutant in mutants(text):
        by_kind.setdefault(mutant.kind, []).append(mutant)
    rng, chosen = random.Random(seed), list[Mutant]()
    pools = [rng.sample(found, len(found)) for _, found in sorted(by_kind.items())]
    while len(chosen) < count and any(pools):
        chosen += [pool.pop() for pool in pools if pool]
    return chosen[:count]


def is_found(python: str, c: str, header: str) -> bool:
    """Whether something differs, besides the digests of the headers."""
    return any("DIFFERENT" in line and "edited" not in line for line in verify_c.findings(python, c, header))


Check = Callable[[verify_c.Module, verify_c.CFile, str, str], str]


def once(check: Check) -> Check:
    """The check of an elementary function, made once for each text of them all."""
    known: dict[tuple[str, str, str], str | Exception] = {}

    @functools.wraps(check)
    def checked(module: verify_c.Module, file: verify_c.CFile, type_: str, name: str) -> str:
        key = "\n".join(ELEMENTARY.findall(file.text)), type_, name
        if key not in known:
            try:
                known[key] = check(module, file, type_, name)
            except Exception as problem:
                known[key] = problem
        found = known[key]
        if isinstance(found, Exception):
            raise found
        return found

    return checked
