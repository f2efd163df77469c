"""Products of matrices: by a call of BLAS, or by loops where these are faster."""

from __future__ import annotations

import ast

import pytest
from generated import check_module, execute, kernel_functions, module_text

from derivgen import layers, losses
from derivgen.declare.model import Model
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values


def network(features: int, units: int, outputs: int) -> Model:
    model = Model("network")
    n = model.batch("N")
    x, y = model.input("x", n, features), model.input("y", n, outputs)
    hidden = layers.dense(x, units, name="hidden")
    model.minimize(losses.mean_squared_error(layers.dense(hidden, outputs, name="last"), y))
    return model


def calls(text: str) -> dict[str, list[str]]:
    """What each kernel calls to multiply matrices."""
    found: dict[str, list[str]] = {}
    for function in kernel_functions(text):
        names = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
        found[function.name] = [name for name in names if name in BLAS]
    return found


BLAS = ("gemm", "np.dot")


@pytest.mark.parametrize("features", [2, 4])
def test_a_few_rows_are_combined_by_loops(features: int) -> None:
    """Each lies along its memory: those of the weights for a row, and those of the weights' gradient."""
    found = calls(module_text(network(features, 16, 8)))
    assert not found["hidden_forward"]
    assert not found["hidden_backward"]
    assert found["last_backward"]


@pytest.mark.parametrize("sizes", [(5, 16), (2, 15)])
def test_more_rows_or_shorter_ones_are_for_blas(sizes: tuple[int, int]) -> None:
    found = calls(module_text(network(*sizes, 8)))
    assert found["hidden_forward"] == ["gemm"]
    assert found["hidden_backward"] == ["gemm"]


def test_a_column_is_a_vector() -> None:
    """In both directions; and its gradient with respect to what it multiplies is a product of two vectors."""
    found = calls(module_text(network(6, 8, 1)))
    assert found["last_forward"] == ["np.dot"]
    assert "np.dot" in found["last_backward"]


@pytest.mark.parametrize("sizes", [(2, 16, 1), (4, 16, 2), (1, 16, 3), (3, 1, 16)])
def test_their_gradients_are_right(sizes: tuple[int, int, int]) -> None:
    model = network(*sizes)
    declared = declared_program(model)
    values = random_values(declared, "float64", rows=7, seed=1)
    assert check_module(execute(module_text(model)), declared, values) == []
