"""What a module on disk should be: for `generate`, `check`, `diff` and `train`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivgen.errors import DerivgenError
from derivgen.file import disk, headers, store
from derivgen.file.contract import DTYPES
from derivgen.project.building import expected_native, library_fault, native_output, options_of
from derivgen.project.c_sources import c_output, expected_c, files_beside, header_of_c, options_of_c
from derivgen.project.spec import Target, load_targets
from derivgen.version import __version__

if TYPE_CHECKING:
    from derivgen.errors import Problem

EXAMPLE = '[tool.derivgen]\nmodules = { "digits.py" = "digits_kernels.py" }'


@dataclass(frozen=True, slots=True)
class Module:
    """A spec (or SPEC:NAME) and the module that it is checked against; None stands for the default path."""

    spec: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A module compared with its spec; `stale` says why it is not up to date, and is empty where it is."""

    path: Path
    stale: str
    diff: str = ""
    command: str = ""
    warnings: tuple[Problem, ...] = ()


def render(
    target: Target,
    output: Path,
    dtype: str | None = None,
    parallel: bool = False,
    header: headers.Header | None = None,
) -> tuple[str, tuple[Problem, ...]]:
    """(the module's text, warnings) of a model that goes to a path; raises SpecError where the spec is refused.

    A module that was made from Python keeps the command that its `header` names.
    """
    from derivgen.pipeline import generate_body

    store.refuse_output(output, target.spec)
    usual = target.model.dtype or DTYPES[0]
    generated = generate_body(target.model, dtype or usual, parallel)
    if header is not None and not header.by_command:
        return headers.assemble(generated, header.spec_file, header.command), generated.warnings
    command = own_command(target, output, dtype, parallel)
    return headers.assemble(generated, target.spec.name, command), generated.warnings


def own_command(target: Target, output: Path, dtype: str | None, parallel: bool) -> str:
    """The command that a module's header names, with the options that are not the default."""
    option = None if dtype in (None, target.model.dtype or DTYPES[0]) else dtype
    name = None if output.name == target.output.name else output.name
    return headers.command_line(target.spec.name, target.model_name, option, name, parallel)


def is_up_to_date(target: Target, output: Path) -> bool:
    """Whether the module on disk is the one that its spec generates, by the digests of its header, without generating.

    Raises SpecError where the spec is refused.
    """
    text = disk.read(output) or ""
    header = headers.read_header(text)
    if header is None or headers.is_edited(text):
        return False
    from derivgen.pipeline import spec_digest
    from derivgen.print.templates import generator_digest

    dtype, parallel = options(header)
    real = dtype or target.model.dtype or DTYPES[0]  # the digest of the spec says nothing of it
    return (
        (header.version, header.generator) == (__version__, generator_digest()[:8])
        and (header.model, header.spec_file) == (target.model.name, target.spec.name)
        and header.command == own_command(target, output, dtype, parallel)
        and f"\nreal = np.{real}\n" in text
        and header.spec_digest == spec_digest(target.model)
    )


def header_on_disk(path: Path) -> headers.Header | None:
    return headers.read_header(disk.read(path) or "")


def expected_text(target: Target, output: Path) -> tuple[str, tuple[Problem, ...]]:
    """(text, warnings) that a module should have, generated with the options that its header on disk names."""
    header = header_on_disk(output)
    if header is not None and header.native:
        module = expected_native(target, output, header)
        return module.text, module.warnings
    return render(target, output, *options(header), header)


def difference_on_disk(target: Target, text: str | None = None) -> str:
    """What is wrong with the module beside a spec that generates this text; empty if nothing is, or it is missing."""
    present = disk.read(target.output)
    if present is None or headers.is_same(present, text or expected_text(target, target.output)[0]):
        return ""
    return "was edited by hand" if headers.is_edited(present) else "is not what the spec generates now"


def options(header: headers.Header | None) -> tuple[str | None, bool]:
    """(dtype, whether large loops run in threads) as a header names them, or the default."""
    return (header.dtype, header.parallel) if header else (None, False)


def check_module(module: Module) -> Iterator[Check]:
    """Compare a pair, or all the models of a spec with their default paths: native modules where there are some.

    Files of C beside a module, of its name, are compared too; a pair may be of a spec and a file of C alone.
    """
    targets = load_targets(module.spec)
    if module.path is None:
        for target in targets:
            in_c = files_beside(c_output(target))
            built = [path for path in (native_output(target),) if path.exists()]
            paths = [target.output, *built] if target.output.exists() or not (built or in_c) else built
            yield from (check_target(target, path) for path in paths)
            yield from check_c(target, c_output(target), told=bool(paths)) if in_c else ()
    else:
        target, is_of_c = choose(targets, module), module.path.suffix == ".c"
        yield from () if is_of_c else (check_target(target, module.path),)
        file = module.path.with_suffix(".c")
        yield from check_c(target, file, told=not is_of_c) if is_of_c or files_beside(file) else ()


def choose(targets: tuple[Target, ...], module: Module) -> Target:
    """The model of a pair: the spec's only one, else the one that the module's header names."""
    if len(targets) == 1 or module.path is None:
        return targets[0]
    header = header_on_disk(module.path)
    for target in targets:
        if header is not None and target.model.name == header.model:
            return target
    choices = ", ".join(f"{module.spec}:{t.model.name}" for t in targets)
    raise DerivgenError(f"{module.spec} defines {len(targets)} models: name one in pyproject.toml, of {choices}")


def check_target(target: Target, output: Path) -> Check:
    text, warnings = expected_text(target, output)
    header = header_on_disk(output)
    is_built = header is not None and header.native and headers.is_same(disk.read(output), text)
    fault = library_fault(output, text) if is_built else ""
    if fault:
        return Check(output, f"stale: {fault}", "", fixing_command(target, output, header, False), warnings)
    return check_file(output, text, warnings, lambda force: fixing_command(target, output, header, force))


def check_c(target: Target, output: Path, told: bool) -> Iterator[Check]:
    """The header and the file of C of a model, and that for CasADi; `told`: its warnings are those of a module too."""
    expected, header = expected_c(target, output), header_of_c(output)
    for path, text in expected.texts.items():
        warnings = () if told or path != output else expected.warnings
        yield check_file(path, text, warnings, lambda force: fixing_command_of_c(target, output, header, force))


def check_file(path: Path, text: str, warnings: tuple[Problem, ...], fixed_by: Callable[[bool], str]) -> Check:
    """A file compared with the text that it should have; `fixed_by`: the command that makes it, perhaps by force."""
    present = disk.read(path)
    header = headers.read_header(present or "")
    if headers.is_same(present, text):
        return Check(path, "", warnings=warnings)
    if present is not None and present.strip() and header is None:
        raise DerivgenError(
            f"{path} was not generated by derivgen (its header is missing or changed): move it away, then generate"
        )
    edited = present is not None and headers.is_edited(present)
    command = fixed_by(edited)
    if present is None:
        what = {".h": "header", ".c": "file of C"}.get(path.suffix, "module")
        return Check(path, f"stale: the {what} is missing", "", command, warnings)
    why = why_stale(header, headers.read_header(text), edited)
    return Check(path, f"stale: {why}", store.diff(path, text), command, warnings)


def why_stale(present: headers.Header | None, wanted: headers.Header | None, edited: bool) -> str:
    """What made a module another one than it should be."""
    if edited:
        return "edited by hand since it was generated"
    if present is None or wanted is None or present.spec_digest != wanted.spec_digest:
        return "the spec has changed since it was generated"
    if present.by != wanted.by:
        return f"made by {present.by}; {wanted.by} writes another text, of the same spec"
    return "the spec generates another text"


def fixing_command(target: Target, output: Path, header: headers.Header | None, force: bool) -> str:
    """The command that makes a module anew, to be run in the current folder."""
    if header is not None and not header.by_command:
        return header.command
    dtype, parallel = options(header)
    native = header is not None and header.native
    usual = native_output(target) if native else target.output
    path = None if output.absolute() == usual.absolute() else shortest(output)
    more = options_of(header).words if header is not None and native else []
    kind = headers.BUILD if native else "generate"
    command = headers.command_line(shortest(target.spec), target.model_name, dtype, path, parallel, more, kind)
    return f"{command} --force" if force else command


def fixing_command_of_c(target: Target, output: Path, header: headers.Header | None, force: bool) -> str:
    """The command that makes files of C anew, to be run in the current folder."""
    path = None if output.absolute() == c_output(target).absolute() else shortest(output)
    dtype = header.dtype if header is not None else None
    more = options_of_c(header)
    command = headers.command_line(shortest(target.spec), target.model_name, dtype, path, more=more)
    return f"{command} --force" if force else command


def shortest(path: Path) -> str:
    """A path as seen from the current folder, where that is shorter."""
    relative = os.path.relpath(path)
    return min(str(path), relative, key=len)


def project_modules() -> list[Module]:
    """The pairs of [tool.derivgen] in the nearest pyproject.toml, whose folder their paths are relative to."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            return [
                Module(shortest(folder / spec), Path(shortest(folder / path)))
                for spec, path in read_pairs(file).items()
            ]
    raise DerivgenError(
        f"found no pyproject.toml in {here} or above: give SPEC, or list the modules there by\n{EXAMPLE}"
    )


def read_pairs(file: Path) -> dict[str, str]:
    try:
        settings: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DerivgenError(f"{file} can't be read: {error.strerror}") from error
    except ValueError as error:  # of TOML, and of UTF-8
        raise DerivgenError(f"{file} is not valid TOML: {error}") from error
    pairs = settings
    for key in ("tool", "derivgen", "modules"):
        pairs = pairs.get(key) if isinstance(pairs, dict) else None
    if not isinstance(pairs, dict) or not pairs or not all(isinstance(path, str) for path in pairs.values()):
        raise DerivgenError(f"{file} lists no modules: expected pairs of spec and module such as\n{EXAMPLE}")
    return pairs
