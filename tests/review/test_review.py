"""What `derivgen review` says of edits is what a second comparison finds, another one than its own."""

from __future__ import annotations

import ast
import json
import re
import tempfile
from functools import cache
from pathlib import Path

import pytest
import second_comparison as second
from edits import EDITS, Edit
from example_files import EXAMPLES
from sampled import some
from second_comparison import Module, canonical, how_far, same_bits

from derivgen.project.spec import load_target
from derivgen.review.compare import BEHIND, CHANGED, REORDERED, SAME, SIZES, Kernel, Review, compared
from derivgen.review.page import page
from derivgen.review.sections import sections_of
from derivgen.review.state import State, state_of

MOST = 60  # lines of a review
ROUNDING = 1e-4  # relative, of numbers of 32 bits


@cache
def made(example: str, text: str) -> State:
    """The state of an example's spec with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{example}.py"
        path.write_text(text, encoding="utf-8")
        return state_of(load_target(str(path)), "some state", None)


@cache
def review_of(edit: Edit) -> Review:
    return compared(made(edit.example, edit.before), made(edit.example, edit.after), {})


@cache
def modules(edit: Edit) -> tuple[Module, Module]:
    """Both modules, the first under the names that the edit says are others now."""
    changes = edit.changes if edit.title.startswith("a renamed") else ()
    names = dict([re.findall(r"\w+", text)[-1] for text in change] for change in changes)
    return Module(made(edit.example, edit.before).text, names), Module(made(edit.example, edit.after).text, {})


every_edit = pytest.mark.parametrize("edit", some(EDITS), ids=lambda e: f"{e.example}-{e.title}")


@every_edit
def test_a_review_is_short(edit: Edit) -> None:
    assert page([review_of(edit)], "text").count("\n") < MOST


@every_edit
def test_kernels_are_what_a_second_comparison_finds(edit: Edit) -> None:
    review, (a, b) = review_of(edit), modules(edit)
    pairs = {k.name: a.renamed(k.before or k.name) for k in review.kernels if k.how != "new"}
    gone = {*map(a.renamed, review.gone)}
    assert {k.name for k in review.kernels} == b.kernels.keys()
    assert {*pairs.values()} | gone == a.kernels.keys() and not gone & b.kernels.keys()
    left = [canonical(a.kernels[name]) for name in gone]
    for k in review.kernels:
        if k.how == "new":
            assert k.name not in a.kernels and canonical(b.kernels[k.name]) not in left, k
        else:
            check_kernel(a, pairs[k.name], b, k)


def check_kernel(a: Module, old: str, b: Module, k: Kernel) -> None:
    """What is said of a kernel is so by its syntax, and by what it computes where it takes the same arrays."""
    x, y = a.kernels[old], b.kernels[k.name]
    is_same, behind_is_same = canonical(x) == canonical(y), a.behind(old) == b.behind(k.name)
    if k.numbers == SAME:
        assert is_same and behind_is_same, k
        if ast.dump(x) != ast.dump(y):
            seeds = [str(place) for place in range(len(x.args.args))]
            assert same_bits(a.results(old, seeds).values(), b.results(k.name, seeds).values()), k
        return
    if k.numbers == SIZES:
        sizes = [(int(old), int(new)) for old, new in re.findall(r"\b(\d+) → (\d+)", k.how)]
        assert not is_same and behind_is_same and second.same_but_for(x, y, sizes), k
        return
    names = a.arguments(old)
    off = how_far(a.results(old, names), b.results(k.name, names)) if names == b.arguments(k.name) else None
    if k.numbers == BEHIND:
        assert is_same and not behind_is_same and off is not None and 0 < off < ROUNDING, k
    elif k.numbers == REORDERED:
        assert not is_same and ast.get_docstring(x) == ast.get_docstring(y), k
        assert off is None or off < ROUNDING, k
    else:
        assert k.numbers == CHANGED and not is_same, k
        assert off is None or off > ROUNDING, k


@every_edit
def test_other_parts_are_what_a_second_comparison_finds(edit: Edit) -> None:
    review, (a, b) = review_of(edit), modules(edit)
    parts = {c.name for c in review.parts}
    fixed = {name for name in parts if name.startswith("what all ")}
    assert bool(fixed) == (a.fixed != b.fixed)
    assert ("frame" in parts) == (a.frame != b.frame)
    assert parts - fixed - {"frame"} == second.differing_functions(a, b) | second.differing_rows(a.arrays, b.arrays)
    assert second.differing_signatures(a, b) <= parts
    (names, size), (new_names, new_size) = second.buffers_of(a), second.buffers_of(b)
    assert names == new_names or "buffers" in parts
    assert ("workspace, bytes" in {c.name for c in review.cost}) == (size != new_size)


@every_edit
def test_the_contract_is_what_a_second_comparison_finds(edit: Edit) -> None:
    review, (a, b) = review_of(edit), modules(edit)
    found = {"dtype"} if a.run.real != b.run.real else set()
    for word, old, new in (("input", a.inputs, b.inputs), ("parameter", a.parameters, b.parameters)):
        found |= {f"{word} {name}" for name in second.differing_rows(old, new)}
        found |= {f"order of {word}s"} if second.in_another_order(old, new) else set()
    renamed = {c.before: c.after for c in review.contract if c.name.endswith(" renamed")}
    said = {c.name for c in review.contract if c.before not in renamed}
    assert {name for name in said if not name.startswith(("update", "functions of"))} == found
    assert all(a.renamed(old) == new for old, new in (review.renamed | renamed).items())
    assert bool(review.renamed) == bool(a.names)


@every_edit
def test_formulas_are_what_a_second_comparison_finds(edit: Edit) -> None:
    review, (a, b) = review_of(edit), modules(edit)
    assert {c.name for c in review.formulas} == second.differing_rows(a.formulas, b.formulas)


@every_edit
def test_gradients_are_what_a_second_comparison_finds(edit: Edit) -> None:
    """They have the same bits if and only if no formula, derivative or kernel is said to have changed."""
    review, (a, b) = review_of(edit), modules(edit)
    if a.is_short and a.parameters == b.parameters and a.inputs == b.inputs:
        equal = all(k.numbers == SAME or k.how == "new" for k in review.kernels)
        said = equal and not (review.formulas or review.derivatives)
        gradients = a.gradient, {name: b.gradient[name] for name in a.gradient}
        assert said == same_bits(*(g.values() for g in gradients))


def reviewed(example: str, title: str) -> str:
    return page([review_of(next(e for e in EDITS if (e.example, e.title) == (example, title)))], "text")


def test_a_changed_loss() -> None:
    text = reviewed("xor", "another loss")
    assert "- loss = Σ_n (y[n] - output[n])²/2\n  + loss = Σ_n (y[n] - output[n])⁴/2" in text
    error = re.search(r"differences at 50 digits, 4 gradients: error (\S+) at most", text)
    assert error is not None and float(error[1]) < 1e-25
    assert "the same text: hidden_forward, hidden_backward" in text


def test_a_rename_is_one() -> None:
    text = reviewed("characters_lstm", "a renamed layer")
    assert "Kernels to read" not in text and "Formulas changed" not in text
    assert "h_backward" in text and "parameter renamed: lstm_W → h_W" in text


def test_a_rule_changes_no_derivative() -> None:
    text = reviewed("characters_transformer", "another optimizer")
    assert "Derivatives" not in text and "Kernels to read" not in text
    assert "update rule: adam(" in text


def test_other_forms() -> None:
    edit = next(e for e in EDITS if e.title == "another loss")
    found = [review_of(edit)]
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


def test_sections_are_all_of_a_module() -> None:
    after = made(EDITS[0].example, EDITS[0].after)
    found = sections_of(after.text)
    assert [s.kind for s in found[:2]] == ["frame", "kernel"] and found[-1].kind == "fixed"
    for s in found[1:]:
        assert s.text in after.text
    assert len({s.digest for s in found}) == len(found)


SPEC = """\
from sympy import Piecewise, Sum, sin
from derivgen import Model, optimizers
from derivgen.optimizers import t as step

model = Model("wave")
N = model.batch("N")
n, t = model.indices(n=N, t=20)
x, w = model.input("x", N, 20), model.parameter("w", 20, init="ones")
k = model.constant("k", t, sin(t / 100))
z = model.let("z", (n, t), sin(w[t] * x[n, t]) * k[t])
u = model.let("u", (n, t), Piecewise((z[n, t - 1], t >= 1), (0, True)))
model.minimize(Sum(z[n, t] * u[n, t], n, t) / N)
model.update(optimizers.gradient_descent(1 / (10 + step)))
"""
WHOLE_NUMBERS = {
    "sin(t / 100)": ("sin(t / 50)", "CONSTANT_k: "),
    "t >= 1": ("t >= 2", "u_forward: computes something else"),
    "10 + step": ("20 + step", "learning_rate = 1/(t + 10) → learning_rate = 1/(t + 20)"),
}


@pytest.mark.parametrize("old", WHOLE_NUMBERS)
def test_whole_numbers_that_are_no_sizes_are_told(old: str) -> None:
    new, words = WHOLE_NUMBERS[old]
    review = compared(made("wave", SPEC), made("wave", SPEC.replace(old, new)), {})
    assert review.is_of_substance and words in page([review], "text")
