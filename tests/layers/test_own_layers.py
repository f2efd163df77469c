"""docs/own_layers.md: its code runs, as one spec, and its gradients are right."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from generated import check_module, execute, module_text

from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values
from derivgen.project.spec import load_target

PAGE = Path(__file__).parents[2] / "docs" / "own_layers.md"


def code() -> str:
    return "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def test_the_gradients_of_the_page(tmp_path: Path) -> None:
    spec = tmp_path / "own.py"
    spec.write_text(code(), encoding="utf-8")
    model = load_target(str(spec)).model
    declared = declared_program(model)
    assert check_module(execute(module_text(model)), declared, random_values(declared, "float64", 3, 0)) == []


def test_three_layers_of_at_most_five_lines() -> None:
    functions = [node for node in ast.parse(code()).body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == 3
    for function in functions:
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno + 1 <= 5, function.name
