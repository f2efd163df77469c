"""Which folder may import which: the table of docs/architecture.md, and no circle between files."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "derivgen"
EVERYWHERE = {"errors", "stages", "version", "interrupts", "initializers"}  # that import nothing of these folders
MAY_IMPORT = {
    "form": "",
    "rewrite": "form",
    "file": "",
    "oracle": "form",
    "simplify": "form rewrite",
    "arrange": "form rewrite",
    "prepare": "form rewrite",
    "update": "form file",
    "runtime": "file",
    "derive": "form simplify",
    "schedule": "form rewrite arrange update",
    "functions": "form",
    "optimizers": "update",
    "schedules": "update",
    "declare": "form rewrite file derive update optimizers",
    "code": "form rewrite arrange schedule",
    "plan": "form file derive schedule update code",
    "whole": "form file schedule update code plan",
    "print": "form file schedule update code plan whole",
    "activations": "form declare",
    "losses": "form declare activations",
    "layers": "form declare activations",
    "pipeline": "form file declare prepare derive simplify arrange schedule code plan whole print update",
    "project": "form file declare prepare oracle print runtime pipeline",
    "importing": "file runtime layers",
    "explain": "form declare prepare derive simplify update oracle pipeline",
    "review": "form declare file derive prepare oracle update plan print pipeline project explain verify",
    "verify": "",
    "report": "form code declare prepare oracle schedule plan print pipeline explain review verify",
    "command": "file plan runtime pipeline project importing explain review report",
    "derivgen": "form declare project",
    "sklearn": "form file declare prepare runtime pipeline project derivgen activations layers losses optimizers",
    "__main__": "command",
}


def modules() -> dict[str, Path]:
    files = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(("derivgen", *f.relative_to(PACKAGE).with_suffix("").parts)) for f in files]
    return {name.removesuffix(".__init__"): f for name, f in zip(names, files, strict=True)}


def imported(file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, in functions and for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names = [f"{node.module}.{a.name}" for a in node.names]
            found |= {name if name in known else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return found & known.keys()


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_folders_import_what_the_table_says() -> None:
    known = modules()
    allowed = {name: {*may.split(), name, *EVERYWHERE} for name, may in MAY_IMPORT.items()}
    allowed |= dict.fromkeys(EVERYWHERE, EVERYWHERE)
    found = {(m, t) for m, file in known.items() for t in imported(file, known)}
    assert {f"{m} imports {t}" for m, t in found if room(t) not in allowed[room(m)]} == set()


def test_no_file_imports_itself_through_others() -> None:
    known = modules()
    TopologicalSorter({m: imported(file, known) for m, file in known.items()}).prepare()
