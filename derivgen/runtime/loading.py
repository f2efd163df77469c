"""Generated modules from a path."""

from __future__ import annotations

import glob
import importlib.util
import linecache
import re
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from derivgen.errors import DerivgenError
from derivgen.file import disk, headers
from derivgen.file.contract import CONTRACT
from derivgen.runtime.generated import GeneratedModule


def load(path: Path | str) -> GeneratedModule:
    """Load the generated module at a path; its header and contract are read from the text before any of it is executed.

    Raises DerivgenError, with the reason, if there is no such file, if it is not a generated module, or if it has
    another version of the contract.
    """
    path = Path(path).absolute()
    text = disk.read(path)
    if text is None:
        raise DerivgenError(f"{path} does not exist: `derivgen generate SPEC` writes a module")
    check_contract(path, text)
    return cast(GeneratedModule, already_loaded(path, text) or execute(path, text))


def refuse_other(module: object) -> None:
    """Raise TypeError for what is no generated module, such as the path of one."""
    if hasattr(module, "CONTRACT"):
        return
    found = type(module).__name__
    where = repr(str(module)) if isinstance(module, str | Path) else "path"
    raise TypeError(f"expected a generated module, found {found}: give runtime.load({where})")


def already_loaded(path: Path, text: str) -> ModuleType | None:
    """The module that this process made from the same text, as `import` would give it.

    A second copy would have NamedTuples of its own, which numba's cache takes for other types: it would compile anew.
    """
    if headers.is_edited(text):
        return None
    for module in list(sys.modules.values()):
        facts = getattr(module, "__dict__", {})
        if facts.get("__file__") == str(path) and text.startswith(f'"""{facts.get("__doc__")}"""'):
            return module
    return None


def check_contract(path: Path, text: str) -> None:
    header = headers.read_header(text)
    if header is None:
        made = modules_beside(path)
        instead = f"give {' or '.join(made)}" if made else "give the path of a file that `derivgen generate` wrote"
        raise DerivgenError(f"{path} is not a generated module (it lacks derivgen's header): {instead}")
    version = re.search(r"^CONTRACT = (.*)$", text, re.MULTILINE)
    if version is None or version[1] != str(CONTRACT):
        raise DerivgenError(
            f"{path} is of contract version {version[1] if version else 'unknown'}, this runtime knows version "
            f"{CONTRACT}: generate it again with the derivgen that is installed here (the file was made by derivgen "
            f"{header.version})"
        )


def modules_beside(spec: Path) -> list[str]:
    """The generated modules that a spec may have beside it, by their names."""
    found = sorted(spec.parent.glob(f"{glob.escape(spec.stem)}*_kernels.py"))
    return [path.name for path in found if headers.read_header(disk.read(path) or "") is not None]


def interpreted(module: ModuleType) -> ModuleType:
    """A generated module as Python runs it: nothing is compiled. States are those of the module itself.

    Raises DerivgenError where its file is gone, or calls a library of C.
    """
    text = disk.read(Path(str(module.__file__)))
    if text is None:
        raise DerivgenError(f"{module.__file__} does not exist any more: generate it again")
    if is_native(text):
        raise DerivgenError(
            f"{module.__file__} calls a library of C, which Python can't interpret: give the module that `derivgen "
            "generate` writes"
        )
    same = ModuleType(f"{module.__name__}_interpreted", module.__doc__)
    same.__file__ = module.__file__
    import numba

    config: Any = numba.config
    compiling, config.DISABLE_JIT = config.DISABLE_JIT, True
    try:
        exec(compile(text, str(module.__file__), "exec", dont_inherit=True), same.__dict__)
    finally:
        config.DISABLE_JIT = compiling
    same.__dict__["State"] = module.State
    return same


def execute(path: Path, text: str) -> ModuleType:
    """Run the text under the file's own path, on which numba's cache hangs.

    Python's own cache of bytecode is left out: it takes a file of the same size, rewritten within one second, for
    the old one.
    """
    name = f"derivgen_module_{zlib.crc32(str(path).encode()):08x}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise DerivgenError(f"{path} has no name of a Python file: rename it to {path.stem}.py")
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    linecache.checkcache(str(path))
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous
        if isinstance(error, ImportError) and is_native(text):  # which says what to do
            raise DerivgenError(str(error)) from error
        raise DerivgenError(f"{path} can't be imported, {type(error).__name__}: {error}: generate it again") from error
    return module


def is_native(text: str) -> bool:
    """Whether a module calls a library of C."""
    return '\nBUILT_FROM = "' in text
