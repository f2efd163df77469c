"""What `derivgen review` says of edits is what a second comparison finds, another one than its own."""

from __future__ import annotations

import ast
import io
import itertools
import json
import keyword
import re
import tokenize
from pathlib import Path

import pytest
from edits import EDITS, Edit
from example_files import EXAMPLES

from derivgen.print.kernels import REFERRED_TO
from derivgen.project.spec import load_target
from derivgen.review.compare import CHANGED, REORDERED, SAME, SIZES, compared
from derivgen.review.page import page
from derivgen.review.sections import sections_of
from derivgen.review.state import State, state_of

MOST = 60  # lines of a review


def state(edit: Edit, words: str, folder: Path) -> State:
    path = folder / words / f"{edit.example}.py"
    path.parent.mkdir()
    path.write_text(edit.before if words == "before" else edit.after, encoding="utf-8")
    return state_of(load_target(str(path)), words, None)


def shape_of(text: str, numbers: bool) -> tuple[str, ...]:
    """A kernel's words and signs, its own names by their order, and its whole numbers as # unless `numbers`."""
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.FunctionDef)
    own = {argument.arg for argument in node.args.args}
    own |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - REFERRED_TO - {"range", "max", "Real", "Integer"}
    count, places = itertools.count(), dict[str, int]()
    found, skip = [], ast.get_docstring(node) is not None
    node.name = "kernel"
    for token in tokenize.generate_tokens(io.StringIO(ast.unparse(node)).readline):
        if token.type == tokenize.STRING and skip:
            skip = False
        elif token.type == tokenize.NAME and token.string in own and not keyword.iskeyword(token.string):
            found.append(f"name {places.setdefault(token.string, next(count))}")
        elif token.type == tokenize.NUMBER and token.string.isdigit() and not numbers:
            found.append("#")
        elif token.string.strip():
            found.append(token.string)
    return tuple(found)


def kernels(s: State) -> dict[str, str]:
    """Decorated functions before the tables, by another way than the review's own."""
    head = s.text.split("# ---- what the model has")[0]
    rest = re.split(r"\n\n\n(?=@|# ----|def |class )", s.text.split("# ====")[0])
    found = {}
    for piece in [*re.split(r"\n\n\n(?=@|# ----|def )", head), *rest]:
        if match := re.match(r"@(?:kernel|aliased_kernel|parallel_kernel)\ndef (\w+)\(", piece):
            found[match[1]] = piece.split("\n\n\n")[0]
    return found


@pytest.mark.parametrize("edit", EDITS, ids=lambda e: f"{e.example}-{e.title}")
def test_kernels_are_what_a_second_comparison_finds(edit: Edit, tmp_path: Path) -> None:
    before, after = state(edit, "before", tmp_path), state(edit, "after", tmp_path)
    review = compared(before, after, {})
    assert page([review], "text").count("\n") < MOST
    old, new = kernels(before), kernels(after)
    assert {k.name for k in review.kernels} == new.keys()
    assert {k.before or k.name for k in review.kernels if k.how != "new"} | {*review.gone} == old.keys()
    shapes = {numbers: {shape_of(text, numbers) for text in old.values()} for numbers in (True, False)}
    for k in review.kernels:
        mine = shape_of(new[k.name], True), shape_of(new[k.name], False)
        if k.numbers == SAME:
            assert mine[0] == shape_of(old[k.before or k.name], True), k
        elif k.numbers == SIZES:
            assert mine[1] == shape_of(old[k.before or k.name], False), k
            assert mine[0] != shape_of(old[k.before or k.name], True), k
        else:
            assert k.numbers in (CHANGED, REORDERED)
            assert mine[0] not in shapes[True], k


def reviewed(example: str, title: str, folder: Path) -> str:
    edit = next(e for e in EDITS if (e.example, e.title) == (example, title))
    return page([compared(state(edit, "before", folder), state(edit, "after", folder), {})], "text")


def test_a_changed_loss(tmp_path: Path) -> None:
    text = reviewed("xor", "another loss", tmp_path)
    assert "- loss = Σ_n (y[n] - output[n])²/2\n  + loss = Σ_n (y[n] - output[n])⁴/2" in text
    error = re.search(r"differences at 50 digits, 4 gradients: error (\S+) at most", text)
    assert error is not None and float(error[1]) < 1e-25
    assert "the same text: hidden_forward, hidden_backward" in text


def test_a_rename_is_one(tmp_path: Path) -> None:
    text = reviewed("characters_lstm", "a renamed layer", tmp_path)
    assert "Kernels to read" not in text and "Formulas changed" not in text
    assert "h_backward" in text and "parameter renamed: lstm_W → h_W" in text


def test_a_rule_changes_no_derivative(tmp_path: Path) -> None:
    text = reviewed("characters_transformer", "another optimizer", tmp_path)
    assert "Derivatives" not in text and "Kernels to read" not in text
    assert "update rule: adam(" in text


def test_other_forms(tmp_path: Path) -> None:
    edit = next(e for e in EDITS if e.title == "another loss")
    found = [compared(state(edit, "before", tmp_path), state(edit, "after", tmp_path), {})]
    data = json.loads(page(found, "json"))
    assert data[0]["of_substance"] is True and {k["name"] for k in data[0]["kernels"]} >= {"a1_backward"}
    html = page(found, "html")
    assert html.startswith("<!doctype html>") and '<pre class="before">- loss' in html
    assert "```diff" in page(found, "markdown")


@pytest.mark.parametrize("example", ["heat_equation", "pharmacokinetics", "characters_lstm"])
def test_formulas_are_those_that_the_module_opens_with(example: str) -> None:
    found = state_of(load_target(str(EXAMPLES / example / f"{example}.py")), "now", None)
    opening = found.text.split("# The model:\n")[1].split("\nfrom __future__")[0]
    assert " ".join(opening.replace("#", " ").split()) == " ".join(" ".join(found.formulas.values()).split())


def test_sections_are_all_of_a_module(tmp_path: Path) -> None:
    after = state(EDITS[0], "after", tmp_path)
    found = sections_of(after.text)
    assert [s.kind for s in found[:2]] == ["frame", "kernel"] and found[-1].kind == "fixed"
    for s in found[1:]:
        assert s.text in after.text
    assert len({s.digest for s in found}) == len(found)
