"""Two compilers take every file without a warning, at three kinds of flags; how long the longest files take."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from facts import DTYPES, EXAMPLES, SCIENCE, Case, generate
from jobs import Pool, Result, run
from tools import has

WARNINGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
SECONDS = {"digits_convolutional": 2.0, "characters_transformer": 2.0, "wavenet": 2.0}  # of a build; of others 1


@cache
def flags(compiler: str = "gcc") -> dict[str, tuple[str, ...]]:
    """Without optimization; for the same bits on all machines; as `derivgen build` compiles, where a compiler can."""
    from derivgen.project.building import FAST, STRICT, known_flags

    return {"plain": ("-O0",), "strict": STRICT, "fast": known_flags([compiler], FAST)}


def compiled(case: Case, compiler: str, kind: str, more: tuple[str, ...] = ()) -> tuple[Path, str]:
    """The object file of a model, made once, and what the compiler says."""
    made = case.folder / f"{compiler}_{kind}.o"
    if made.exists():
        return made, ""
    words = [compiler, *WARNINGS, "-fPIC", *(more or flags(compiler)[kind]), "-c", case.source, "-o", made]
    code, text = run(words, case.folder)
    return made, text or ("" if code == 0 else f"exit code {code}")


def warned(case: Case, compiler: str, kind: str) -> list[str]:
    _, text = compiled(case, compiler, kind)
    return [f"{case.words}: {line}" for line in text.splitlines() if ": error: " in line or "exit code" in line]


def warnings(cases: list[Case], pool: Pool) -> Iterator[Result]:
    for compiler in ("gcc", "clang"):
        for kind, words in (flags(compiler) if has(compiler) else {}).items():
            found = pool.map(warned, [(case, compiler, kind) for case in cases])
            wrong = tuple(line for lines in found for line in lines)
            yield Result(f"no warning by {compiler} {' '.join(words)}: {len(cases)} files", wrong)


def build_times(cases: list[Case], pool: Pool) -> Iterator[Result]:
    """One build at a time, from nothing: its processor's seconds, which other programs hardly change."""
    folder = cases[0].folder.parent
    specs = [*(EXAMPLES / name / f"{name}.py" for name in SECONDS), *sorted(SCIENCE.glob("*.py"))]
    timed = [Case(spec, DTYPES[0], folder / f"timed_{spec.stem}") for spec in specs] if has("gcc") else []
    list(pool.map(generate, [(case,) for case in timed]))
    times = {case.name: seconds(case) for case in timed}
    words = ", ".join(f"{name} {t:.1f}{'' if t <= asked(name) else ' (slow)'}" for name, t in times.items())
    yield Result(f"seconds for a build by gcc at the fast flags, asked are 2, 2, 2, then 1: {words}", note=True)


def asked(name: str) -> float:
    return SECONDS.get(name, 1.0)


def seconds(case: Case) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["gcc", "-std=c99", "-shared", "-fPIC", *flags()["fast"], case.source, "-o", "timed.so"]
    code, text = run(words, case.folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 0, text
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
