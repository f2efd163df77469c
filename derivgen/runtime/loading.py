"""Generated modules from a path."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import sys
import zlib
from pathlib import Path
from types import ModuleType

from derivgen.errors import DerivgenError
from derivgen.file import store
from derivgen.file.contract import CONTRACT

# What this runtime uses; `predict`, `activations`, `train_epoch` and `mean_gradient` are there where the model has
# them.
REQUIRED = (
    "PARAMETERS",
    "INPUTS",
    "LAYERS",
    "SAMPLE_AXIS",
    "initial_parameters",
    "views",
    "loss",
    "loss_and_gradient",
    "optimizer_state",
    "update",
    "descend",
)


def load(path: Path | str) -> ModuleType:
    """The generated module at a path; what it is is read from its text before anything of it is executed.

    Raises DerivgenError, with the reason, where there is no such file, where it is not a generated module, and where
    it is of another version of the contract.
    """
    path = Path(path).absolute()
    text = store.read(path)
    if text is None:
        raise DerivgenError(f"{path} does not exist: `derivgen generate SPEC` writes a module")
    check_contract(path, text)
    return already_loaded(path, text) or execute(path, text)


def already_loaded(path: Path, text: str) -> ModuleType | None:
    """The module that this process made from the same text, as `import` would give it.

    A second copy would have NamedTuples of its own, which numba's cache takes for other types: it would compile anew.
    """
    if store.is_edited(text):
        return None
    for module in list(sys.modules.values()):
        facts = getattr(module, "__dict__", {})
        if facts.get("__file__") == str(path) and text.startswith(f'"""{facts.get("__doc__")}"""'):
            return module
    return None


def check_contract(path: Path, text: str) -> None:
    header = store.read_header(text)
    if header is None:
        raise DerivgenError(
            f"{path} is not a generated module (it lacks derivgen's header): give the path of a file that "
            "`derivgen generate` wrote"
        )
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise DerivgenError(f"{path}:{error.lineno} is not valid Python, {error.msg}: generate it again") from error
    names = top_level_names(tree)
    if "CONTRACT" not in names:
        raise DerivgenError(f"{path} defines no CONTRACT, so it can't be told how to call it: generate it again")
    version = names["CONTRACT"]
    if not isinstance(version, ast.Constant) or version.value != CONTRACT:
        found = ast.unparse(version) if version else "something else"
        raise DerivgenError(
            f"{path} is of contract version {found}, this runtime knows version {CONTRACT}: generate it again with "
            f"the derivgen that is installed here (the file was made by derivgen {header.version})"
        )
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DerivgenError(
            f"{path} lacks {', '.join(missing)}, which every generated module defines: generate it again"
        )


def top_level_names(tree: ast.Module) -> dict[str, ast.expr | None]:
    """Each name that a module's text defines, with its value where it is a plain assignment."""
    names: dict[str, ast.expr | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = None
        elif isinstance(node, ast.Assign):
            names.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
    return names


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
        raise DerivgenError(f"{path} can't be imported, {type(error).__name__}: {error}") from error
    return module
