"""Lets that are parts of a layer: computed in its kernels, in its loops, and in its memory."""

from __future__ import annotations

import ast
import re

import pytest
from generated import check_module, execute, kernel_functions, module_text

from derivgen import layers, losses
from derivgen.declare.model import Model
from derivgen.errors import SpecError
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values


def normalized(rank: int) -> Model:
    """A layer norm after a dense layer, which takes a gradient from it."""
    model = Model("normalized")
    shape = (model.batch("N"), *[4, 5][: rank - 2], 6)
    x, y = model.input("x", *shape), model.input("y", *shape)
    a = layers.layer_norm(layers.dense(x, 6, name="dense1"), name="norm1")
    model.minimize(losses.mean_squared_error(layers.dense(a, 6, name="dense2"), y))
    return model


def attending(causal: bool) -> Model:
    model = Model("attending")
    shape = (model.batch("N"), 16, 24)
    x, y = model.input("x", *shape), model.input("y", *shape)
    model.minimize(losses.mean_squared_error(layers.multi_head_attention(x, 3, name="attention", causal=causal), y))
    return model


def kernel(text: str, name: str) -> ast.FunctionDef:
    return next(f for f in kernel_functions(text) if f.name == name)


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_layer_norm_goes_over_its_rows_once(rank: int) -> None:
    text = module_text(normalized(rank))
    for name in ("norm1_forward", "norm1_backward"):
        body = kernel(text, name)
        for _ in range(rank - 1):  # a loop for each axis of the rows, and none beside it
            loops = [node for node in body.body if isinstance(node, ast.For)]
            assert len(loops) == 1, ast.unparse(body)
            body = loops[0]
    assert not re.search(r"def norm1_(mean|rate)", text)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_takes_one_head_at_a_time(causal: bool) -> None:
    """Scores, weights and mixed values of a head follow each other in one loop over batch and heads."""
    text = module_text(attending(causal))
    for name in ("attention_heads_forward", "attention_heads_backward"):
        loops = [node for node in kernel(text, name).body if isinstance(node, ast.For)]
        assert len(loops) == 1
        assert len(loops[0].body) == 1


def test_attention_stores_its_weights_and_their_adjoint_alone() -> None:
    """No scores beside the weights, which the backward pass reads; their memory is that of what becomes the weights."""
    squares = re.findall(r"(\w+)=\(N, 3, 16, 16\)", module_text(attending(causal=False)))
    assert len(squares) == 2
    assert squares[0] == "attention_heads_weights"
    assert squares[1].endswith("_bar")


def test_causal_attention_needs_no_more_memory_forwards_than_backwards() -> None:
    """Of the memory of a step three such matrices are needed at once: weights, and two that the backward pass reads."""
    text = module_text(attending(causal=True))
    slots = [slot for slot in text.split("slot(")[1:] if "(N, 3, 16, 16)" in slot.partition("),\n")[0]]
    assert text.count("=(N, 3, 16, 16)") == 4
    assert len(slots) == 3


@pytest.mark.parametrize("rank", [2, 3])
def test_parts_change_no_value(rank: int) -> None:
    model = normalized(rank)
    declared = declared_program(model)
    values = random_values(declared, "float64", rows=3, seed=1)
    assert check_module(execute(module_text(model)), declared, values) == []


@pytest.mark.parametrize(
    ("lets", "found"),
    [
        ([("a", "whole"), ("b", None), ("whole", None)], "b"),
        ([("a", "inner"), ("inner", "whole"), ("whole", None)], "inner"),
    ],
    ids=["something between", "a part with parts"],
)
def test_parts_stand_together_before_their_let(lets: list[tuple[str, str | None]], found: str) -> None:
    model = Model("parts")
    n = model.indices(n=3)
    x = model.parameter("x", 3)
    for name, layer in lets:
        x = model.let(name, n, x[n] ** 2, layer=layer)
    model.minimize(x[0])
    with pytest.raises(SpecError, match=rf"let a: expected let \w+ after the parts of layer \w+, found {found}"):
        module_text(model)
