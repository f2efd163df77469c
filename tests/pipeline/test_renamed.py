"""Another name for what a spec declares changes names in the module, and nothing else: no order, and so no bit."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import pytest
from example_files import EXAMPLES, NAMES
from random_specs import AWKWARD_NAMES, Spec, for_each_spec, many
from sampled import some

from derivgen.file.contract import DTYPES
from derivgen.pipeline import generate_body
from derivgen.project.spec import load_target

INDICES = re.compile(r"^.* = model\.indices\((.*)\)$", re.MULTILINE)
KEPT = {"N", "M", "D", "H", "C", "T", "B"}  # sizes
LETTERS = "zyxwvutsrqponmlkjihgfedcba"


def backwards(names: list[str]) -> dict[str, str]:
    """New names, in the opposite order of the alphabet; none is a part of another name."""
    pairs = enumerate(sorted(names))
    return {name: f"{LETTERS[k // 26]}{LETTERS[k % 26]}0{name}" for k, name in pairs}


def declared(text: str) -> list[str]:
    """The names that a random spec gives to tensors and indices."""
    names = re.findall(r'model\.\w+\("(\w+)"', text) + re.findall(r"'(state\d+)'", text)
    indices = [pair.split("=")[0].strip() for found in INDICES.findall(text) for pair in found.split(",")]
    return [name for name in dict.fromkeys([*names, *indices]) if name not in KEPT]


def named_again(text: str, new: dict[str, str]) -> str:
    for old, name in new.items():
        text = re.sub(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", old, text)
    return text


def functions(module: str) -> dict[str, str]:
    """The functions and classes of a module's text, without its line breaks."""
    tops = (node for node in ast.parse(module).body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return {node.name: re.sub(r"\s+", "", ast.unparse(node)) for node in tops}


def test_random_specs() -> None:
    def check(spec: Spec) -> None:
        names = declared(spec.text)
        if not {*names}.isdisjoint(AWKWARD_NAMES):
            return  # a name of the module's own gets an underscore
        new, text = backwards(names), spec.text
        for old, name in new.items():
            text = re.sub(rf"\b{old}\b", name, text)
        before = generate_body(spec.model(), "float64").body
        after = generate_body(replace(spec, text=text).model(), "float64").body
        assert functions(named_again(after, new)) == functions(before)

    for_each_spec(check, many(5), start=20, lets=3)


@pytest.mark.parametrize("example", some(name for name in NAMES if name != "matrix_factorization"))
def test_examples(example: str, tmp_path) -> None:
    """The words in quotes that begin a name of the committed module; in matrix_factorization one is a name of all."""
    spec = (EXAMPLES / example / f"{example}.py").read_text(encoding="utf-8")
    before = (EXAMPLES / example / f"{example}_kernels.py").read_text(encoding="utf-8")
    there = re.findall(r'\b(?:Parameter|Input|Layer)\("(\w+)"', before)
    words = {word for word in re.findall(r'"([A-Za-z]\w*)"', spec) if word not in KEPT}
    new = backwards([word for word in words if any(name == word or name.startswith(f"{word}_") for name in there)])
    assert len(new) >= 1
    for old, name in new.items():
        spec = spec.replace(f'"{old}"', f'"{name}"')
    path = tmp_path / f"{example}.py"
    path.write_text(spec, encoding="utf-8")
    model = load_target(str(path)).model
    after = generate_body(model, model.dtype or DTYPES[0])
    assert functions(named_again(after.body, new)) == functions(before)
