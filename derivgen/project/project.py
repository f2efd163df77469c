"""What a module on disk should be: for `generate`, `check`, `diff` and `train`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivgen.errors import DerivgenError
from derivgen.file import store
from derivgen.file.contract import DTYPES
from derivgen.project.building import expected_native, library_fault, native_output, options_of
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
    header: store.Header | None = None,
) -> tuple[str, tuple[Problem, ...]]:
    """(the module's text, warnings) of a model that goes to a path; raises SpecError where the spec is refused.

    A module that was made from Python keeps the command that its `header` names.
    """
    from derivgen.pipeline import generate_body

    store.refuse_output(output, target.spec)
    usual = target.model.dtype or DTYPES[0]
    generated = generate_body(target.model, dtype or usual, parallel)
    if header is not None and not header.by_command:
        return store.assemble(generated, header.spec_file, header.command), generated.warnings
    return store.assemble(generated, target.spec.name, own_command(target, output, dtype, parallel)), generated.warnings


def own_command(target: Target, output: Path, dtype: str | None, parallel: bool) -> str:
    """The command that a module's header names, with the options that are not the default."""
    option = None if dtype in (None, target.model.dtype or DTYPES[0]) else dtype
    name = None if output.name == target.output.name else output.name
    return store.command_line(target.spec.name, target.model_name, option, name, parallel)


def is_up_to_date(target: Target, output: Path) -> bool:
    """Whether the module on disk is the one that its spec generates, by the digests of its header, without generating.

    Raises SpecError where the spec is refused.
    """
    text = store.read(output) or ""
    header = store.read_header(text)
    if header is None or store.is_edited(text):
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


def header_on_disk(path: Path) -> store.Header | None:
    return store.read_header(store.read(path) or "")


def expected_text(target: Target, output: Path) -> tuple[str, tuple[Problem, ...]]:
    """(text, warnings) that a module should have, generated with the options that its header on disk names."""
    header = header_on_disk(output)
    if header is not None and header.native:
        module = expected_native(target, output, header)
        return module.text, module.warnings
    return render(target, output, *options(header), header)


def difference_on_disk(target: Target, text: str | None = None) -> str:
    """What is wrong with the module beside a spec that generates this text; empty if nothing is, or it is missing."""
    present = store.read(target.output)
    if present is None or store.is_same(present, text or expected_text(target, target.output)[0]):
        return ""
    return "was edited by hand" if store.is_edited(present) else "is not what the spec generates now"


def options(header: store.Header | None) -> tuple[str | None, bool]:
    """(dtype, whether large loops run in threads) as a header names them, or the default."""
    return (header.dtype, header.parallel) if header else (None, False)


def check_module(module: Module) -> Iterator[Check]:
    """Compare a pair, or all the models of a spec with their default paths: native modules where there are some."""
    targets = load_targets(module.spec)
    if module.path is None:
        for target in targets:
            built = [path for path in (native_output(target),) if path.exists()]
            paths = [target.output, *built] if target.output.exists() or not built else built
            yield from (check_target(target, path) for path in paths)
    else:
        yield check_target(choose(targets, module), module.path)


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
    present = store.read(output)
    header = store.read_header(present or "")
    if store.is_same(present, text):
        fault = library_fault(output, text) if header is not None and header.native else ""
        command = fixing_command(target, output, header, False)
        return Check(output, f"stale: {fault}" if fault else "", "", command if fault else "", warnings)
    if present is not None and present.strip() and header is None:
        raise DerivgenError(
            f"{output} was not generated by derivgen (its header is missing or changed): move it away, then generate"
        )
    edited = present is not None and store.is_edited(present)
    command = fixing_command(target, output, header, edited)
    if present is None:
        return Check(output, "stale: the module is missing", "", command, warnings)
    return Check(
        output,
        f"stale: {why_stale(header, store.read_header(text), edited)}",
        store.diff(output, text),
        command,
        warnings,
    )


def why_stale(present: store.Header | None, wanted: store.Header | None, edited: bool) -> str:
    """What made a module another one than it should be."""
    if edited:
        return "edited by hand since it was generated"
    if present is None or wanted is None or present.spec_digest != wanted.spec_digest:
        return "the spec has changed since it was generated"
    if present.by != wanted.by:
        return f"made by {present.by}; {wanted.by} writes another text, of the same spec"
    return "the spec generates another text"


def fixing_command(target: Target, output: Path, header: store.Header | None, force: bool) -> str:
    """The command that makes a module anew, to be run in the current folder."""
    if header is not None and not header.by_command:
        return header.command
    dtype, parallel = options(header)
    native = header is not None and header.native
    usual = native_output(target) if native else target.output
    path = None if output.absolute() == usual.absolute() else shortest(output)
    more = options_of(header).words if header is not None and native else []
    kind = store.BUILD if native else "generate"
    command = store.command_line(shortest(target.spec), target.model_name, dtype, path, parallel, more, kind)
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
