"""Specs on disk: Python files that define one or more models."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, NoReturn

from derivgen.errors import PACKAGE, DerivgenError, Place, Problem, SpecError, nearest
from derivgen.file import disk, headers
from derivgen.project.advice import advice
from derivgen.project.failing import innermost

if TYPE_CHECKING:
    from derivgen.declare.model import Model

SPEC_MODULE = "__derivgen_spec__"
MISTYPED = 0.75  # how alike the names of two files are, of which one may be the other mistyped
UNKNOWN_ARGUMENT = re.compile(r"got an unexpected keyword argument '(\w+)'")


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a spec, and where its module and trained parameters go by default."""

    spec: Path
    model: Model
    one_of_several: bool

    @property
    def output(self) -> Path:
        return self.beside("kernels.py")

    @property
    def parameters(self) -> Path:
        return self.beside("parameters.npz")

    def beside(self, ending: str) -> Path:
        """The model's file beside its spec; two specs have none in common."""
        middle = f"_{self.model.name}" if self.one_of_several else ""
        return self.spec.with_name(f"{self.spec.stem}{middle}_{ending}")

    @property
    def model_name(self) -> str | None:
        """What SPEC:NAME must name; None where the spec has one model only."""
        return str(self.model.name) if self.one_of_several else None


def load_targets(argument: str) -> tuple[Target, ...]:
    """The models of SPEC in order of definition, or the one of SPEC:NAME (a model's name, or a variable's).

    Raises SpecError where the spec can't be executed and DerivgenError where it has no such model.
    """
    path, name = split_argument(argument)
    models = load_models(path)
    targets = {variable: Target(path, model, len(models) > 1) for variable, model in models.items()}
    if name is None:
        return tuple(targets.values())
    by_name = {str(t.model.name): t for t in targets.values()}
    chosen = by_name.get(name) or targets.get(name)
    if chosen is None:
        raise DerivgenError(f"{path} defines no model {name!r}: it has {', '.join(by_name)}")
    return (chosen,)


def load_target(argument: str) -> Target:
    """The model of SPEC or SPEC:NAME. Raises DerivgenError where SPEC alone leaves the choice open."""
    targets = load_targets(argument)
    if len(targets) > 1:
        choices = ", ".join(f"{argument}:{t.model.name}" for t in targets)
        raise DerivgenError(f"{argument} defines {len(targets)} models: pick one of {choices}")
    return targets[0]


def split_argument(argument: str) -> tuple[Path, str | None]:
    """(path, NAME or None) of SPEC or SPEC:NAME; a file whose own name holds a colon goes before."""
    path, colon, name = argument.rpartition(":")
    if not colon or Path(argument).exists() or path.endswith(":") or not name.isidentifier():
        return Path(argument), None
    return Path(path), name


def load_models(path: Path) -> dict[str, Model]:
    """Execute a spec: its models by the first variable that holds each, in order of definition."""
    from derivgen.declare.model import Model
    from derivgen.form.as_written import as_written

    code = compile_spec(path, read_source(path))
    module = ModuleType(SPEC_MODULE)
    module.__file__ = code_name(path)
    with spec_imports(path.absolute().parent, module), as_written(distribute=False):
        try:
            exec(code, module.__dict__)
        except (Exception, SystemExit) as error:
            refuse_raised(path, error, models_of(module, Model))
    models = models_of(module, Model)
    if not models:
        raise DerivgenError(f"{path} defines no model: {no_model_hint(path)}")
    check_names(models)
    return models


def code_name(path: Path) -> str:
    return str(path.absolute())


def models_of(module: ModuleType, kind: type[Model]) -> dict[str, Model]:
    found: dict[int, tuple[str, Model]] = {}
    for variable, value in module.__dict__.items():
        if isinstance(value, kind):
            found.setdefault(id(value), (variable, value))
    return dict(found.values())


def no_model_hint(path: Path) -> str:
    from derivgen.file import disk

    header = headers.read_header(disk.read(path) or "")
    if header is not None:
        return f"it is a generated module. Give the spec that it was generated from, {header.spec_file}"
    return f'expected a global such as `model = Model("{path.stem}")` with its objective given to model.minimize'


def check_names(models: dict[str, Model]) -> None:
    first: dict[str, Model] = {}
    problems = []
    for model in models.values():
        earlier = first.setdefault(str(model.name), model)
        if earlier is not model:
            there = f" (the other is at {earlier.place})" if earlier.place else ""
            message = f"two models are named {model.name!r}{there}: their modules would be one file, so rename one"
            problems.append(Problem(model.place, message))
    if problems:
        raise SpecError(problems)


def read_source(path: Path) -> str:
    """The spec's text, in the encoding that it declares (PEP 263), UTF-8 if omitted."""
    if path.is_dir():
        raise DerivgenError(f"{path} is a folder, expected a spec: give the Python file in it")
    if path.suffix != ".py":
        raise DerivgenError(f"{path} is no Python file: a spec is a .py file that defines a derivgen.Model")
    disk.refuse_special(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        near = nearest_file(path) or ": `derivgen new NAME` writes a spec to start from"
        raise DerivgenError(f"{path} does not exist{near}") from None
    except OSError as error:
        raise DerivgenError(f"{path} can't be read: {error.strerror}. Check the path and its permissions") from error
    try:
        return importlib.util.decode_source(data)
    except UnicodeDecodeError as error:
        place = Place(code_name(path), data[: error.start].count(b"\n") + 1)
        message = f"not a text in {error.encoding}, found byte 0x{data[error.start]:02x}: save the file as UTF-8"
        raise SpecError([Problem(place, message)]) from error
    except SyntaxError as error:
        raise SpecError([Problem(Place(code_name(path), 1), f"{error.msg}: save the file as UTF-8")]) from error


def nearest_file(path: Path) -> str:
    """`; did you mean coffee.py?`, of the files of Python beside one that does not exist; or nothing."""
    stems = [other.stem for other in path.parent.glob("*.py") if not other.stem.endswith("_kernels")]
    return nearest(path.stem, sorted(stems), MISTYPED).replace("?", ".py?")


def compile_spec(path: Path, source: str) -> CodeType:
    try:
        return compile(source, code_name(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f": {error.text.strip()}" if error.text else ""
        problem = Problem(Place(code_name(path), error.lineno or 1), f"not valid Python, {error.msg}{line}")
        raise SpecError([problem]) from error
    except ValueError as error:
        raise SpecError([Problem(Place(code_name(path), 1), f"not valid Python, {error}")]) from error


def refuse_raised(path: Path, error: BaseException, models: dict[str, Model]) -> NoReturn:
    """Raise SpecError for what a spec raised, at the user's innermost line, after what its models had refused."""
    if isinstance(error, SpecError):
        raise error
    if isinstance(error, SystemExit):
        text = f"the spec ended itself by SystemExit({error.code!r}): define the model without leaving Python"
    elif isinstance(error, DerivgenError):
        text = str(error)
    elif isinstance(error, RecursionError) and is_sympys(error):
        text = "an expression is nested too deeply: give parts of it a let"
    elif is_said_by_derivgen(error):
        text = str(error)
    else:
        text = unknown_argument(error) or advice(error) or f"the spec raised {type(error).__name__}: {error}"
    refused = [problem for model in models.values() for problem in model.problems]
    raise SpecError([*refused, Problem(user_place(path, error), text)]) from error


def is_sympys(error: BaseException) -> bool:
    """Whether SymPy raised an error, and not the spec's own functions."""
    return "sympy" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def is_said_by_derivgen(error: BaseException) -> bool:
    """Whether a `raise` of this package is what raised an error of the spec, so that its words are ours."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    mistaken = isinstance(error, ValueError | TypeError | AttributeError)
    return mistaken and PACKAGE in Path(innermost.filename).parents and (innermost.line or "").startswith("raise ")


def unknown_argument(error: BaseException) -> str:
    """What is wrong, in words, where the user's line calls a function of derivgen with an argument that it lacks."""
    found = UNKNOWN_ARGUMENT.search(str(error)) if isinstance(error, TypeError) else None
    failing = innermost(error) if found else None
    function = failing.called if failing else None
    if found is None or not str(getattr(function, "__module__", "")).startswith(PACKAGE.name):
        return ""
    taken = list(inspect.signature(function).parameters)  # type: ignore[arg-type]
    near = nearest(found[1], taken) or ";"
    name = getattr(function, "__name__", function)
    return f"{name} has no argument {found[1]}{near} its arguments are {', '.join(taken)}"


def user_place(path: Path, error: BaseException) -> Place:
    """The innermost line of the traceback in the spec, or in a file beside it that it imports."""
    folder = path.absolute().parent
    place = Place(code_name(path), 1)
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if folder in file.parents and PACKAGE not in file.parents and "site-packages" not in file.parts:
            place = Place(frame.filename, frame.lineno or 1)
    return place


@contextmanager
def spec_imports(folder: Path, module: ModuleType) -> Iterator[None]:
    """A spec imports its neighbours while it is executed; afterwards they are forgotten.

    Two specs in one process, as in `derivgen check`, may each have a `layers.py` beside them.
    """
    path, known = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder))
    sys.modules[SPEC_MODULE] = module
    try:
        yield
    finally:
        sys.path[:] = path
        del sys.modules[SPEC_MODULE]
        tops = {name.partition(".")[0] for name in set(sys.modules) - known} - known
        neighbours = {top for top in tops if lies_in(sys.modules.get(top), folder)}
        for name in [name for name in sys.modules if name.partition(".")[0] in neighbours]:
            del sys.modules[name]


def lies_in(module: ModuleType | None, folder: Path) -> bool:
    """Whether a top-level module is a file or a package right in this folder."""
    file = getattr(module, "__file__", None)
    return file is not None and folder in (Path(file).parent, Path(file).parent.parent)
