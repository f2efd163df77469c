"""docs/own_layers.md: its code runs as one spec, its gradients are right, and its layers are PyTorch's and Keras's."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import check_module, execute, module_text

from derivgen.declare.model import Model
from derivgen.form.as_written import as_written
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import random_values
from derivgen.project.spec import load_target

PAGE = Path(__file__).parents[2] / "docs" / "own_layers.md"
MOST_LINES = 12  # those of the library's layers
SHORTEST = {"radial_basis", "maxout", "pixel_shuffle"}

Tensors = dict[str, torch.Tensor]


def code() -> str:
    return "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def layer(name: str) -> Callable[..., Any]:
    """A function of the page."""
    tree = ast.parse(code())
    kept = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ImportFrom)]
    space: dict[str, Any] = {}
    exec(compile(ast.Module(kept, []), str(PAGE), "exec"), space)
    return space[name]  # type: ignore[no-any-return]


def test_the_gradients_of_the_page(tmp_path: Path) -> None:
    spec = tmp_path / "own.py"
    spec.write_text(code(), encoding="utf-8")
    model = load_target(str(spec)).model
    declared = declared_program(model)
    assert check_module(execute(module_text(model)), declared, random_values(declared, "float64", 3, 0)) == []


def test_six_short_layers() -> None:
    functions = [node for node in ast.parse(code()).body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == 6
    for function in functions:
        lines = ast.unparse(function).splitlines()[1:]
        assert len([line for line in lines if line.strip()]) <= (5 if function.name in SHORTEST else MOST_LINES)


def sliding(t: Tensors, window: int) -> torch.Tensor:
    """PyTorch's attention with a mask of the keys that are neither later nor too far back."""
    back = torch.arange(t["q"].shape[1])[:, None] - torch.arange(t["q"].shape[1])
    return F.scaled_dot_product_attention(t["q"], t["k"], t["v"], attn_mask=(back >= 0) & (back < window))


def gru(t: Tensors) -> torch.Tensor:
    """Keras's GRU with reset_after=False, a step after the other."""
    W, U, V, b = (t[f"y_{k}"] for k in "WUVb")
    h, steps = torch.zeros(t["x"].shape[0], V.shape[0], dtype=torch.float64), []
    for x in t["x"].unbind(1):
        reset, update = (torch.sigmoid(x @ W[:, g] + h @ U[:, g] + b[g]) for g in (0, 1))
        h = update * h + (1 - update) * torch.tanh(x @ W[:, 2] + (reset * h) @ V + b[2])
        steps.append(h)
    return torch.stack(steps, 1)


CASES: dict[str, tuple[Callable[[Model], Any], Callable[[Tensors], torch.Tensor]]] = {
    "radial basis": (
        lambda m: layer("radial_basis")(m.parameter("x", 5, 3), 4, name="y"),
        lambda t: torch.exp(-(torch.cdist(t["x"], t["y_c"]) ** 2)),
    ),
    "maxout": (
        lambda m: layer("maxout")(m.parameter("x", 5, 3), 4, 3, name="y"),
        lambda t: torch.einsum("ni,ijk->njk", t["x"], t["y_W"]).amax(-1),
    ),
    "pixel shuffle": (
        lambda m: layer("pixel_shuffle")(m.parameter("x", 2, 12, 3, 2), 2, name="y"),
        lambda t: F.pixel_shuffle(t["x"], 2),
    ),
    **{
        f"local response norm of {size}": (
            lambda m, size=size: layer("local_response_norm")(
                m.parameter("x", 2, 5, 3, 4), size, name="y", alpha=0.3, beta=0.6, k=1.5
            ),
            lambda t, size=size: F.local_response_norm(t["x"], size, 0.3, 0.6, 1.5),
        )
        for size in (1, 2, 3, 9)
    },
    **{
        f"a window of {window}": (
            lambda m, window=window: layer("sliding_attention")(
                m.parameter("q", 2, 6, 3), m.parameter("k", 2, 6, 3), m.parameter("v", 2, 6, 4), window, name="y"
            ),
            lambda t, window=window: sliding(t, window),
        )
        for window in (1, 3, 8)
    },
    "a GRU": (lambda m: layer("gru_reset_before")(m.parameter("x", 2, 5, 3), 4, name="y"), gru),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_against_pytorch(case: str, dtype: str) -> None:
    declare, reference = CASES[case]
    against_torch(as_written()(declare), reference, dtype=dtype)


def test_run_time_sizes() -> None:
    """The attention and the recurrence over a time that is known at run time."""

    @as_written()
    def declare(model: Model) -> Any:
        N, T = model.batch("N"), model.batch("T")
        x = model.input("x", N, T, 3)
        h = layer("gru_reset_before")(x, 4, name="y")
        z = layer("sliding_attention")(h, h, h, 2, name="z")
        n, t, j = model.local_indices(*z.shape)
        return sp.Sum(z[n, t, j] ** 2, n, t, j)

    def reference(t: Tensors) -> torch.Tensor:
        h = gru(t)
        return (sliding({"q": h, "k": h, "v": h}, 2) ** 2).sum()

    against_torch(declare, reference, rows=4)
