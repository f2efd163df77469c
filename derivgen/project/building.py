"""A spec's native module: a file of Python, and the library that the system's C compiler makes for it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from derivgen.errors import DerivgenError
from derivgen.file import disk, headers, store
from derivgen.file.contract import DTYPES
from derivgen.project.spec import Target
from derivgen.stages import reached

if TYPE_CHECKING:
    from derivgen.errors import Problem

COMPILERS = ("cc", "gcc", "clang")
ENDING = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
MARK = b"derivgen_built_from"  # a function of each library
LIBRARY = {
    "linux": ("-std=c99", "-shared", "-fPIC", "-Wl,-z,defs"),
    "win32": ("-std=c99", "-shared"),
}.get(sys.platform, ("-std=c99", "-shared", "-fPIC"))
STRICT = ("-O3", "-ffp-contract=off")  # the same bits on all machines, as with -O2, which is a quarter as fast
# docs/decisions.md says what each is for. No compiler but GCC knows all, and -march=native it knows not everywhere.
FAST: tuple[str, ...] = ("-march=native", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
FAST += ("-freciprocal-math", "-fno-tree-pre", "-fopenmp-simd", "-DDERIVGEN_SIMD")
BLAS = "DERIVGEN_CBLAS"  # what products of matrices are compiled with, to be made by another function
THREADS = ("-fopenmp", "-DDERIVGEN_THREADS")
MISSING = (
    "install one (Debian, Ubuntu: apt install gcc; Fedora: dnf install gcc; macOS: xcode-select --install; Windows: "
    "MinGW-w64), or name one by --cc or by the environment variable CC"
)


@dataclass(frozen=True, slots=True)
class Options:
    """How a library is compiled: for the same bits on all machines; in threads; with SciPy's BLAS."""

    strict: bool = False
    parallel: bool = False
    blas: bool = False

    @property
    def words(self) -> list[str]:
        """Those that only `derivgen build` has."""
        return [f"--{name}" for name in ("strict", "blas") if getattr(self, name)]


USUAL = Options()


@dataclass(frozen=True, slots=True)
class NativeModule:
    """The text of a module; what its library is compiled from, by the files' names."""

    text: str
    sources: Mapping[str, str]
    warnings: tuple[Problem, ...]


def native_output(target: Target) -> Path:
    """Where the module goes by default: beside the spec."""
    return target.beside("native.py")


def sources_of(stem: str) -> tuple[str, ...]:
    """The names of the files that the library of a module of this name is compiled from."""
    return f"{stem}.h", f"{stem}.c", f"{stem}_built.c"


def library_of(module: Path) -> Path:
    """Where a module's library is: Python would take `digits_native.so` for an extension module of its own."""
    return module.with_name(f"lib{module.stem}.{ENDING}")


def render_native(target: Target, output: Path, dtype: str | None = None, options: Options = USUAL) -> NativeModule:
    """The module of a model that goes to a path, and its library's sources; SpecError where the spec is refused."""
    from derivgen.pipeline import generate_native

    store.refuse_output(output, target.spec)
    usual = target.model.dtype or DTYPES[0]
    generated, sources = generate_native(target.model, dtype or usual, output.stem, options.parallel)
    command = native_command(target, output, dtype, options)
    texts = {
        name: headers.assemble(replace(generated, body=text), target.spec.name, command, of_c=True)
        for name, text in sources.items()
    }
    return NativeModule(headers.assemble(generated, target.spec.name, command), texts, generated.warnings)


def native_command(target: Target, output: Path, dtype: str | None, options: Options) -> str:
    """The command that a module's header names, with the options that are not the default."""
    option = None if dtype in (None, target.model.dtype or DTYPES[0]) else dtype
    name = None if output.name == native_output(target).name else output.name
    given = option, name, options.parallel, options.words, headers.BUILD
    return headers.command_line(target.spec.name, target.model_name, *given)


def expected_native(target: Target, output: Path, header: headers.Header) -> NativeModule:
    """What a module should be, by the options that its header on disk names."""
    return render_native(target, output, header.dtype, options_of(header))


def options_of(header: headers.Header) -> Options:
    return Options(header.strict, header.parallel, header.blas)


def build(
    module: NativeModule,
    output: Path,
    cc: str | None = None,
    options: Options = USUAL,
    force: bool = False,
) -> dict[Path, str]:
    """Compile the library and write it beside the module: what became of each file.

    `cc`: the compiler's command. Raises DerivgenError where there is none, where it fails, and where a file must not be
    replaced, unless `force`; no file is changed then.
    """
    library = library_of(output)
    disk.check_writable(output)
    in_place = store.is_in_place(output, module.text, force, headers.BUILD)
    if not force:
        refuse_foreign_library(library)
    data = compiled(module.sources, cc, options)
    disk.write_bytes(library, data)  # first: a library of other sources is refused when the module is loaded
    if not in_place:
        disk.write_bytes(output, module.text.encode())
    return {output: "unchanged" if in_place else "written", library: "written"}


def refuse_foreign_library(path: Path) -> None:
    """Raise DerivgenError where writing over this file would lose somebody's work."""
    disk.refuse_special(path)
    if path.is_file() and MARK not in path.read_bytes():
        raise DerivgenError(
            f"{path} exists and was not built by derivgen, so it is left as it is: give another path by -o, or write "
            "over it by derivgen build --force"
        )


def library_fault(output: Path, text: str) -> str:
    """What is wrong with the library beside a module of this text; empty if nothing is."""
    library = library_of(output)
    if not library.is_file():
        return f"{library.name} is missing"
    return "" if built_from(text).encode() in library.read_bytes() else f"{library.name} is made of other sources"


def built_from(text: str) -> str:
    """The digest of the sources of a module's library."""
    _, _, after = text.partition('\nBUILT_FROM = "')
    return after.partition('"')[0]


# ---- the compiler


def compiled(sources: Mapping[str, str], cc: str | None = None, options: Options = USUAL) -> bytes:
    """The library that the compiler makes of these files."""
    command = compiler(cc)
    with tempfile.TemporaryDirectory(prefix="derivgen-") as folder:
        for name, text in sources.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        own = next(text for name, text in sources.items() if name.endswith(".c"))  # of the model
        flags = STRICT if options.strict else known_flags(command, FAST)
        flags += THREADS if options.parallel and "IN_THREADS" in own else ()
        flags += (f"-D{BLAS}=derivgen_gemm",) if options.blas and BLAS in own else ()
        files = [name for name in sources if name.endswith(".c")]
        words = [*command, *LIBRARY, *flags, "-o", "library", *files]
        reached(f"compile the library by {Path(command[0]).name}")
        done = run(words, folder)
        if done.returncode or not Path(folder, "library").is_file():
            raise DerivgenError(
                f"the C compiler failed with exit code {done.returncode}; derivgen build --keep-sources writes the "
                f"sources beside the module. The command was\n    {shlex.join(words)}\n{done.stderr.strip()}"
            )
        return Path(folder, "library").read_bytes()


def compiler(given: str | None) -> list[str]:
    """The words of the compiler's command: what is given, or the variable CC, or the system's. Raises DerivgenError."""
    named, by = (given, "--cc") if given else (os.environ.get("CC"), "CC")
    try:
        words = shlex.split(named or "")
    except ValueError as error:
        raise DerivgenError(f"{by} is {named!r}, which is no command: {error}") from error
    candidates = [words[0]] if words else COMPILERS
    for name in candidates:
        if found := shutil.which(name):
            return [os.path.abspath(found), *words[1:]]
    if words:
        raise DerivgenError(f"the C compiler {words[0]}, which {by} names, is not found: {MISSING}")
    raise DerivgenError(f"no C compiler is found (looked for {', '.join(COMPILERS)}): {MISSING}")


def known_flags(command: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    """Those of the flags that the compiler knows."""

    def knows(*some: str) -> bool:
        return run([*command, *some, "-E", "-x", "c", os.devnull], os.getcwd()).returncode == 0

    return tuple(flags) if knows(*flags) else tuple(filter(knows, flags))


def run(words: Sequence[str], folder: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise DerivgenError(f"{words[0]} can't be run: {error.strerror}. Name a C compiler by --cc or CC") from error
