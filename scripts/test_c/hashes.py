"""One hash at strict flags: of all results, ten epochs among them, on four architectures and two kinds of vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compilers import WARNINGS, compiled, flags
from facts import Case
from jobs import Pool, Result, run
from sanitizers import BOARD, INCLUDED, SHARED, write_driver
from tools import has

# Networks and formulas, of few rows and small arrays: the board has 4 MB.
EMULATED = ("digits", "matrix_factorization", "option_greeks", "pendulum", "logistic_regression", "xor", "soft_forest")
ARENA = 3_000_000  # bytes for all arrays of a call


@dataclass(frozen=True)
class Machine:
    """A compiler with its flags, and what runs the program; of a board, the image."""

    compiler: str
    more: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    board: bool = False


QEMU = ("-display", "none", "-chardev", "stdio,id=text", "-semihosting-config", "enable=on,target=native,chardev=text")
M7_BOARD, M3_BOARD = (("qemu-system-arm", "-machine", name) for name in ("mps2-an500", "mps2-an385"))
M7 = ("-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
EVERYWHERE = {"x86-64 by gcc": Machine("gcc"), "x86-64 by clang": Machine("clang")}
MACHINES = {
    "x86-64 with its longest vectors": Machine("gcc", ("-O3", "-march=native")),
    "the least stack": Machine("gcc", ("-DDERIVGEN_STACK=1024",)),
    "aarch64": Machine("aarch64-linux-gnu-gcc", (), ("qemu-aarch64",)),
    "riscv64": Machine("riscv64-linux-gnu-gcc", (), ("qemu-riscv64",)),
    "Cortex-M7": Machine("arm-none-eabi-gcc", M7, M7_BOARD, True),
    "Cortex-M0": Machine("arm-none-eabi-gcc", ("-mcpu=cortex-m0",), M3_BOARD, True),
}


def hash_of(case: Case, name: str, machine: Machine) -> str:
    """What the driver prints there, or what went wrong."""
    main = write_driver(case)
    program = case.folder / f"hashed_{'_'.join(name.split())}"
    strict = [*WARNINGS, *flags()["strict"], *machine.more]
    files: list[Path] = [main, *SHARED]
    if machine.board:
        strict += ["-mthumb", "-ffreestanding", "-ffunction-sections", f"-DARENA={ARENA}"]
        files += [BOARD / "board.c", case.source]
        end = ["-nostdlib", "-Wl,--gc-sections", "-T", linker_script(case), "-lc", "-lgcc"]
    else:
        own = compiled(case, machine.compiler, "strict")[0] if name in EVERYWHERE else case.source
        files, end = [*files, BOARD / "host.c", own], ["-static"] if machine.runner else []
    code, text = run([machine.compiler, *strict, *INCLUDED, *files, *end, "-o", program], case.folder)
    if code:
        return text.strip()[:300]
    words = [*machine.runner, *([*QEMU, "-kernel"] if machine.board else []), program]
    code, text = run(words, case.folder)
    return next((line for line in text.splitlines() if line.startswith("hash ")), f"exit code {code}: {text[-200:]}")


def linker_script(case: Case) -> Path:
    """That of the example's board, with all the memory that it has."""
    path = case.folder / "board.ld"
    text = (BOARD / "board.ld").read_text(encoding="utf-8")
    partial = path.with_name(f"board_{os.getpid()}.ld")  # several jobs may write it
    partial.write_text(text.replace("512K", "4M").replace("64K", "4M"), encoding="utf-8")
    partial.rename(path)
    return path


def hashes(cases: list[Case], pool: Pool) -> Iterator[Result]:
    machines = {name: m for name, m in (EVERYWHERE | MACHINES).items() if has(m.compiler, *m.runner[:1])}
    items = [(c, name, m) for c in cases for name, m in machines.items() if name in EVERYWHERE or c.name in EMULATED]
    found = pool.map(hash_of, items)
    by_case: dict[Case, dict[str, str]] = {}
    for (case, name, _), line in zip(items, found, strict=True):
        by_case.setdefault(case, {})[name] = line
    for number in sorted({len(own) for own in by_case.values()}):
        own = {case: lines for case, lines in by_case.items() if len(lines) == number}
        names = ", ".join(next(iter(own.values())))
        wrong = [
            f"{case.words}, {name}: {line}"
            for case, lines in own.items()
            if len({*lines.values()}) > 1 or not all(line.startswith("hash ") for line in lines.values())
            for name, line in lines.items()
        ]
        yield Result(f"one hash of {len(own)} models: {names}", tuple(wrong))
