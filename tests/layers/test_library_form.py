"""The library's source: a layer is a short formula without a derivative in it, and says whose names it has."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import derivgen
from derivgen import activations, layers, losses

MOST_LINES = 12
FOLDER = Path(derivgen.__file__).parent
FILES = [file for folder in ("layers", "activations", "losses") for file in sorted((FOLDER / folder).glob("*.py"))]

# What a formula with a derivative of its own would have to call, or import.
DERIVATIVES = {"diff", "Derivative", "adjoint", "tangent", "differentiate", "derive_by_array", "gradient", "rules"}


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef, int]]:
    """Each function of a file, those inside of others too, with its lines of code.

    Not counted are the signature, the docstring, comments and empty lines.
    """
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            first, last = (body[0].lineno - 1, node.end_lineno) if body else (0, 0)
            lines = [line.strip() for line in text.splitlines()[first:last]]
            yield node, sum(bool(line) and not line.startswith("#") for line in lines)


def test_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text(
        'def one(\n    a,\n):\n    """Of it.\n\n    More.\n    """\n    # why\n\n    return (\n        a\n    )\n'
        'def two():\n    def inner():\n        return 1\n\n    return inner\ndef none():\n    """Nothing."""\n'
    )
    assert {node.name: count for node, count in functions(path)} == {"one": 3, "two": 3, "inner": 1, "none": 0}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_every_function_is_short(path: Path) -> None:
    """Of layers, activations and losses, and what they are made of: checks and windows too."""
    assert {node.name: count for node, count in functions(path) if count > MOST_LINES} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_no_derivative_is_written(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names |= {word for node in imports for word in (node.module or "").split(".")}
    names |= {alias.name for node in imports for alias in node.names}
    assert names & DERIVATIVES == set()


# ---- docstrings

FRAMEWORKS = ("torch.", "torchvision.", "keras.", "PyTorch", "Keras", "Source")
LIBRARIES = {"layers": layers, "activations": activations, "losses": losses}


def public(library: ModuleType) -> list[str]:
    """The functions that a spec calls: those of __all__, or those of the module that stand in the docs' tables."""
    if hasattr(library, "__all__"):
        return list(library.__all__)
    docs = (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8")
    return [
        name
        for name, function in inspect.getmembers(library, inspect.isfunction)
        if function.__module__ == library.__name__ and f"`{name}(" in docs
    ]


PUBLIC = [(library, name) for library, module in LIBRARIES.items() for name in public(module)]


@pytest.mark.parametrize(("library", "name"), PUBLIC)
def test_a_docstring_says_what_it_is_and_whose_names_it_has(library: str, name: str) -> None:
    document = inspect.getdoc(getattr(LIBRARIES[library], name)) or ""
    paragraph = document.split("\n\n")[0]
    assert paragraph.endswith("."), f"{name} does not begin with a sentence"
    assert len(paragraph.split(". ")[0]) > 10, paragraph
    assert any(word in document for word in FRAMEWORKS), f"{name} names neither PyTorch nor Keras nor a source"
