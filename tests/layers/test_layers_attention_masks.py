"""What attention does to its scores, and which keys it sees, against PyTorch and against the definition in loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from against_torch import against_torch
from generated import module_text
from refused import MARK, refuse, run
from torch.nn.attention.flex_attention import flex_attention

from derivgen import layers
from derivgen.declare.model import Model

both = pytest.mark.parametrize("dtype", ["float64", "float32"])
Tensors = dict[str, torch.Tensor]

# Sizes of most tests, all different: a mask of one of the shapes has none of the others.
BATCH, TIME, STEPS, HEADS = 2, 3, 5, 4
SHAPES = [(BATCH, STEPS), (TIME, STEPS), (BATCH, TIME, STEPS), (HEADS, TIME, STEPS), (BATCH, HEADS, TIME, STEPS)]


def everything(*_: int) -> bool:
    return True


def by_definition(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    seen: Callable[[int, int, int, int], bool] = everything,
    bias: torch.Tensor | None = None,
    scale: Any = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """(batch, time, heads, features), one query after another; `seen` is asked of row, head, query and key.

    As ONNX's Attention: the product is scaled, capped, and then the bias is added.
    """
    batch, time, heads, features = q.shape
    group, rows = heads // k.shape[2], []
    for n, t, h in itertools.product(range(batch), range(time), range(heads)):
        keys = [u for u in range(k.shape[1]) if seen(n, h, t, u)]
        scores = k[n, keys, h // group] @ q[n, t, h] * (features**-0.5 if scale is None else scale)
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        scores = scores if bias is None else scores + bias[n, h, t, keys]
        rows.append(torch.softmax(scores, 0) @ v[n, keys, h // group])
    return torch.stack(rows).reshape(batch, time, heads, v.shape[-1])


def for_each_pair(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A mask or a bias of one of the shapes, for each row, head, query and key."""
    at = {(BATCH, STEPS): "bu", (TIME, STEPS): "tu", (BATCH, TIME, STEPS): "btu", (HEADS, TIME, STEPS): "htu"}
    axes = at.get(shape, "bhtu")
    ones = torch.ones(BATCH, HEADS, TIME, STEPS, dtype=torch.float64)
    return torch.einsum(f"{axes},bhtu->bhtu", x.double(), ones)


def in_torch(t: Tensors, **settings: Any) -> torch.Tensor:
    """PyTorch's own function, which has the heads before the steps."""
    heads = (t[name].transpose(1, 2) for name in "qkv")
    return F.scaled_dot_product_attention(*heads, **settings).transpose(1, 2)


def tensors(model: Model, heads: int = HEADS, steps: int = STEPS, time: int = TIME) -> tuple[Any, Any, Any]:
    """Queries of 4 heads, keys and values of so many."""
    q = model.parameter("q", BATCH, time, HEADS, 2)
    return q, model.parameter("k", BATCH, steps, heads, 2), model.parameter("v", BATCH, steps, heads, 3)


def test_the_definition_is_that_of_pytorch() -> None:
    """With a cap, heads that share keys, and a window: flex_attention has them all, but no gradients on a CPU."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, heads, 2, dtype=torch.float64) for heads in (4, 2, 2))
    bias = torch.randn(2, 4, 4, 4, dtype=torch.float64)

    def score(s: Any, n: Any, h: Any, t: Any, u: Any) -> Any:
        return torch.where((t - u).abs() < 2, 0.5 * torch.tanh(s / 0.5) + bias[n, h, t, u], -torch.inf)

    heads = (x.transpose(1, 2) for x in (q, k, v))
    with pytest.warns(UserWarning, match="without torch.compile"):
        expected = flex_attention(*heads, score_mod=score, enable_gqa=True, scale=0.7).transpose(1, 2)
    found = by_definition(q, k, v, lambda n, h, t, u: abs(t - u) < 2, bias, 0.7, 0.5)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


# ---- masks and biases


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_mask_of_pairs(shape: tuple[int, ...]) -> None:
    """What is greater than 0 is seen; each query sees the first key."""
    mask = np.random.default_rng(3).integers(-1, 3, shape).astype(float)
    mask[..., 0] = 0.5

    def declare(model: Model) -> object:
        return layers.scaled_dot_product_attention(*tensors(model), name="y", mask=model.input("mask", *shape))

    against_torch(declare, lambda t: in_torch(t, attn_mask=for_each_pair(t["mask"] > 0, shape) > 0), {"mask": mask})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_learned_bias_of_pairs(shape: tuple[int, ...]) -> None:
    def declare(model: Model) -> object:
        return layers.scaled_dot_product_attention(*tensors(model), name="y", attn_bias=model.parameter("b", *shape))

    against_torch(declare, lambda t: in_torch(t, attn_mask=for_each_pair(t["b"], shape)))


@pytest.mark.parametrize("heads", [(), (2, 3)], ids=str)
@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
def test_any_number_of_axes_of_heads(heads: tuple[int, ...], batch: tuple[int, ...]) -> None:
    """None, or two of them, with a bias that is the same for all rows or not."""

    def declare(model: Model) -> object:
        q, k, v = (model.parameter(name, 2, steps, *heads, 2) for name, steps in (("q", 4), ("k", 5), ("v", 5)))
        bias = model.parameter("b", *batch, *heads, 4, 5)
        return layers.scaled_dot_product_attention(q, k, v, name="y", attn_bias=bias, causal=True)

    def reference(t: Tensors) -> torch.Tensor:
        parts = (t[name].flatten(2, -2) if heads else t[name][:, :, None] for name in "qkv")
        bias = t["b"].reshape(*(batch or (1,)), -1, 4, 5).expand(2, -1, -1, -1)
        y = by_definition(*parts, lambda n, h, i, u: u <= i, bias)
        return y.reshape(2, 4, *heads, 2)

    against_torch(declare, reference)


@both
def test_a_mask_and_a_bias_and_no_later_step(dtype: str) -> None:
    """A mask as a constant of integers; query 0 sees nothing, and gives 0."""
    mask = np.array([[0, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 0, 1, 1, 1]])

    def declare(model: Model) -> object:
        bias, seen = model.parameter("b", HEADS, TIME, STEPS), model.constant("mask", mask)
        return layers.scaled_dot_product_attention(*tensors(model), name="y", mask=seen, attn_bias=bias, causal=True)

    def reference(t: Tensors) -> torch.Tensor:
        bias = t["b"].expand(BATCH, HEADS, TIME, STEPS)
        y = by_definition(t["q"], t["k"], t["v"], lambda n, h, i, u: u <= i and bool(mask[i, u]), bias)
        assert not y[:, 0].any()
        return y

    against_torch(declare, reference, dtype=dtype)


def test_two_axes_are_batch_and_steps_where_both_fit() -> None:
    mask = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1.0]])

    def declare(model: Model) -> object:
        q, k, v = (model.parameter(name, 3, 3, 2) for name in "qkv")
        return layers.scaled_dot_product_attention(q, k, v, name="y", mask=model.input("mask", 3, 3))

    def reference(t: Tensors) -> torch.Tensor:
        return F.scaled_dot_product_attention(t["q"], t["k"], t["v"], attn_mask=(t["mask"] > 0)[:, None, :])

    against_torch(declare, reference, {"mask": mask})


def test_minus_infinity_in_a_bias_hides_a_key() -> None:
    bias = np.random.default_rng(2).standard_normal((TIME, STEPS))
    bias[0, 1:], bias[2, 0] = -np.inf, -np.inf

    def declare(model: Model) -> object:
        bias = model.input("b", TIME, STEPS)
        return layers.scaled_dot_product_attention(*tensors(model), name="y", attn_bias=bias)

    against_torch(declare, lambda t: in_torch(t, attn_mask=t["b"]), {"b": bias})


def test_a_mask_for_each_pair_of_run_time_lengths() -> None:
    """Of packed sequences: a query sees the keys of its own one; and a bias of each row, computed in the spec."""
    parts, x = np.array([[0, 0, 1, 1], [0, 1, 1, 1]]), np.random.default_rng(1).standard_normal((2, 4, 4))

    def declare(model: Model) -> object:
        N, T = model.batch("N"), model.batch("T")
        x, part, slope = model.input("x", N, T, 4), model.labels("part", N, T, classes=2), model.parameter("slope")
        n, t, u, i = model.local_indices(N, T, T, 4)
        same = model.let("same", (n, t, u), sp.Piecewise((1, sp.Eq(part[n, t], part[n, u])), (0, True)))
        far = model.let("far", (t, u), slope * abs(t - u))
        y = layers.multi_head_attention(x, 2, name="y", mask=same, attn_bias=far)
        return sp.Sum(y[n, t, i] ** 2 * (i + 1), n, t, i)

    def reference(t: Tensors) -> torch.Tensor:
        far = t["slope"] * (torch.arange(4)[:, None] - torch.arange(4)).abs()
        same = t["part"][:, None, :, None] == t["part"][:, None, None, :]
        y = multi_head(t, t["x"], attn_mask=torch.where(same, far, -torch.inf))
        return (y**2 * torch.arange(1, 5)).sum()

    against_torch(declare, reference, {"part": parts, "x": x})


# ---- scale, softcap, windows


@pytest.mark.parametrize("scale", [0.3, sp.Rational(1, 3), 0, -2])
def test_scale(scale: Any) -> None:
    def declare(model: Model) -> object:
        return layers.scaled_dot_product_attention(*tensors(model), name="y", scale=scale)

    against_torch(declare, lambda t: in_torch(t, scale=float(scale)))


@both
def test_a_learned_scale(dtype: str) -> None:
    """In place of 1 / √features, here the exponential of a parameter."""

    def declare(model: Model) -> object:
        scale = sp.exp(model.parameter("log_scale"))
        return layers.scaled_dot_product_attention(*tensors(model), name="y", scale=scale)

    against_torch(
        declare, lambda t: by_definition(t["q"], t["k"], t["v"], scale=torch.exp(t["log_scale"])), dtype=dtype
    )


@pytest.mark.parametrize("scale", [None, 2.0])
@both
def test_softcap_is_before_the_bias(scale: float | None, dtype: str) -> None:
    def declare(model: Model) -> object:
        settings = {"attn_bias": model.parameter("b", HEADS, TIME, STEPS), "softcap": 0.5, "scale": scale}
        return layers.scaled_dot_product_attention(*tensors(model), name="y", **settings)

    def reference(t: Tensors) -> torch.Tensor:
        bias = t["b"].expand(BATCH, HEADS, TIME, STEPS)
        return by_definition(t["q"], t["k"], t["v"], bias=bias, scale=scale, softcap=0.5)

    against_torch(declare, reference, dtype=dtype)


def test_softcap_of_huge_scores() -> None:
    """tanh is 1 there: finite, with gradients of 0."""
    values = {"q": np.full((BATCH, TIME, HEADS, 2), 1e6), "k": np.random.default_rng(0).standard_normal((2, 5, 4, 2))}

    def declare(model: Model) -> object:
        return layers.scaled_dot_product_attention(*tensors(model), name="y", softcap=50, causal=True)

    def reference(t: Tensors) -> torch.Tensor:
        return by_definition(t["q"], t["k"], t["v"], lambda n, h, i, u: u <= i, softcap=50)

    against_torch(declare, reference, values)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 2, 9])
def test_window(window: int, causal: bool) -> None:
    """Of 6 queries and 3 keys: the last queries see no key where the window is small."""

    def declare(model: Model) -> object:
        q, k, v = tensors(model, time=6, steps=3)
        return layers.scaled_dot_product_attention(q, k, v, name="y", causal=causal, window=window)

    def seen(n: int, h: int, t: int, u: int) -> bool:
        return t - window < u <= t if causal else abs(t - u) < window

    against_torch(declare, lambda t: by_definition(t["q"], t["k"], t["v"], seen))


def test_a_window_of_a_declared_size_and_lengths_that_end_inside_of_it() -> None:
    def declare(model: Model) -> object:
        window, size = model.sizes(W=2), model.labels("size", BATCH, classes=STEPS + 1)
        return layers.scaled_dot_product_attention(*tensors(model, time=5), name="y", window=window, lengths=size)

    def reference(t: Tensors) -> torch.Tensor:
        return by_definition(t["q"], t["k"], t["v"], lambda n, h, i, u: abs(i - u) < 2 and u < int(t["size"][n]))

    against_torch(declare, reference, {"size": np.array([4, 2])})


# ---- heads that share keys


@pytest.mark.parametrize("heads", [1, 2, 4])
@both
def test_grouped_queries(heads: int, dtype: str) -> None:
    def declare(model: Model) -> object:
        return layers.scaled_dot_product_attention(*tensors(model, heads), name="y", enable_gqa=True, causal=True)

    against_torch(declare, lambda t: in_torch(t, enable_gqa=True, is_causal=True), dtype=dtype)


def multi_head(t: Tensors, x: torch.Tensor, name: str = "y", **settings: Any) -> torch.Tensor:
    """Attention of x to itself with this layer's weights, by PyTorch's function."""
    words = ("query", "key", "value")
    parts = [torch.einsum("ntd,dhe->nhte", x, t[f"{name}_{word}_W"]) for word in words]
    parts[0], parts[2] = (parts[i] + t[f"{name}_{words[i]}_b"][:, None] for i in (0, 2))
    mixed = F.scaled_dot_product_attention(*parts, enable_gqa=parts[0].shape[1] != parts[1].shape[1], **settings)
    return torch.einsum("nhte,hed->ntd", mixed, t[f"{name}_out_W"]) + t[f"{name}_out_b"]


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_multi_head_attention_with_fewer_heads_of_keys(heads: int) -> None:
    """Their projections are smaller."""

    def declare(model: Model) -> object:
        y = layers.multi_head_attention(model.parameter("x", 2, 3, 8), 4, name="y", num_kv_heads=heads, scale=0.9)
        shapes = {name: declared.shape for name, declared in model.declarations.items()}
        assert shapes["y_key_W"] == shapes["y_value_W"] == (8, heads, 2)
        assert shapes["y_value_b"] == (heads, 2)
        return y

    against_torch(declare, lambda t: multi_head(t, t["x"], scale=0.9))


def test_a_bias_of_keys_counts_inside_of_a_softcap() -> None:
    """Otherwise it is common to all keys, and there is none."""

    def declare(model: Model) -> object:
        x, memory = model.parameter("x", 2, 3, 4), model.parameter("m", 2, 5, 3)
        y = layers.multi_head_attention(x, 2, name="y", memory=memory, softcap=0.5, window=2)
        assert "y_key_b" in model.declarations
        return y

    def reference(t: Tensors) -> torch.Tensor:
        q, k, v = (
            torch.einsum("ntd,dhe->nthe", t[of], t[f"y_{word}_W"]) + t[f"y_{word}_b"]
            for of, word in (("x", "query"), ("m", "key"), ("m", "value"))
        )
        mixed = by_definition(q, k, v, lambda n, h, i, u: abs(i - u) < 2, softcap=0.5)
        return torch.einsum("nthe,hed->ntd", mixed, t["y_out_W"]) + t["y_out_b"]

    against_torch(declare, reference)


@both
def test_a_block_of_grouped_queries_in_a_window(dtype: str) -> None:
    """Of run-time length, with heads as a declared size."""

    def declare(model: Model) -> object:
        N, T, H = model.batch("N"), model.batch("T"), model.sizes(H=4)
        x = model.input("x", N, T, 8)
        settings = {"num_kv_heads": 2, "causal": True, "window": 2}
        y = layers.transformer_block(x, H, 5, name="y", **settings)
        n, t, i = model.local_indices(N, T, 8)
        return sp.Sum(y[n, t, i] ** 2 * (i + 1), n, t, i)

    def reference(t: Tensors) -> torch.Tensor:
        seen = torch.ones(4, 4, dtype=torch.bool).tril().triu(-1)
        normed = F.layer_norm(t["x"], (8,), t["y_norm1_gain"], t["y_norm1_shift"])
        x = t["x"] + multi_head(t, normed, "y_attention", attn_mask=seen)
        normed = F.layer_norm(x, (8,), t["y_norm2_gain"], t["y_norm2_shift"])
        x = x + torch.relu(normed @ t["y_dense1_W"] + t["y_dense1_b"]) @ t["y_dense2_W"] + t["y_dense2_b"]
        return (x**2 * torch.arange(1, 9)).sum()

    x = np.random.default_rng(5).standard_normal((3, 4, 8)).astype(dtype)
    against_torch(declare, reference, {"x": x}, dtype=dtype)


# ---- past keys and values


@pytest.mark.parametrize("settings", [{}, {"causal": True}, {"causal": True, "window": 3}, {"window": 2}], ids=str)
def test_past_keys_and_values(settings: dict[str, Any]) -> None:
    """Before the others; query 0 stands after them. The two heads of keys are shared."""

    def declare(model: Model) -> object:
        q, k, v = tensors(model, 2, steps=TIME)
        past = {"past_key": model.parameter("pk", BATCH, 2, 2, 2), "past_value": model.parameter("pv", BATCH, 2, 2, 3)}
        bias = model.parameter("b", TIME, TIME + 2)
        return layers.scaled_dot_product_attention(
            q, k, v, name="y", enable_gqa=True, attn_bias=bias, **past, **settings
        )

    def seen(n: int, h: int, t: int, u: int) -> bool:
        away, window = t + 2 - u, settings.get("window", 99)
        return 0 <= away < window if settings.get("causal") else abs(away) < window

    def reference(t: Tensors) -> torch.Tensor:
        k, v = torch.cat([t["pk"], t["k"]], 1), torch.cat([t["pv"], t["v"]], 1)
        return by_definition(t["q"], k, v, seen, t["b"].expand(BATCH, HEADS, TIME, TIME + 2))

    against_torch(declare, reference)


@pytest.mark.parametrize("dtype", ["float32"])
def test_a_past_of_run_time_length(dtype: str) -> None:
    """The present keys are a let, with the past ones in front."""
    rng = np.random.default_rng(7)
    values = {"x": rng.standard_normal((2, 3, 4)), "pk": rng.standard_normal((2, 5, 2, 2))}
    values["pv"] = rng.standard_normal((2, 5, 2, 2))

    def declare(model: Model) -> object:
        N, T, P = model.batch("N"), model.batch("T"), model.batch("P")
        x, past = model.input("x", N, T, 4), [model.input(name, N, P, 2, 2) for name in ("pk", "pv")]
        y = layers.multi_head_attention(x, 2, name="y", causal=True, past_key=past[0], past_value=past[1])
        n, t, i = model.local_indices(N, T, 4)
        return sp.Sum(y[n, t, i] ** 2 * (i + 1), n, t, i)

    def reference(t: Tensors) -> torch.Tensor:
        q, k, v = (torch.einsum("ntd,dhe->nthe", t["x"], t[f"y_{word}_W"]) for word in ("query", "key", "value"))
        k, v = torch.cat([t["pk"], k], 1), torch.cat([t["pv"], v + t["y_value_b"]], 1)
        mixed = by_definition(q + t["y_query_b"], k, v, lambda n, h, i, u: u <= i + 5)
        y = torch.einsum("nthe,hed->ntd", mixed, t["y_out_W"]) + t["y_out_b"]
        return (y**2 * torch.arange(1, 5)).sum()

    against_torch(declare, reference, {name: value.astype(dtype) for name, value in values.items()}, dtype)


def test_positions_begin_after_the_past() -> None:
    """Queries and keys are turned by the angles of steps 2, 3, 4; past keys are as they were given."""

    def declare(model: Model) -> object:
        past = {"past_key": model.parameter("pk", 2, 2, 1, 4), "past_value": model.parameter("pv", 2, 2, 1, 4)}
        settings: dict[str, Any] = {"num_kv_heads": 1, "rotary": True, "causal": True}
        return layers.multi_head_attention(model.parameter("x", 2, 3, 8), 2, name="y", **settings, **past)

    def turned(x: torch.Tensor) -> torch.Tensor:
        angles = torch.arange(2, 5)[:, None] * torch.tensor([1.0, 0.01], dtype=torch.float64)
        turn = torch.polar(torch.ones((), dtype=torch.float64), angles)[:, None, :]
        return torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:3], 2, 2)) * turn).reshape(x.shape)

    def reference(t: Tensors) -> torch.Tensor:
        q, k, v = (
            torch.einsum("ntd,dhe->nthe", t["x"], t[f"y_{word}_W"]) + t[f"y_{word}_b"]
            for word in ("query", "key", "value")
        )
        k, v = torch.cat([t["pk"], turned(k)], 1), torch.cat([t["pv"], v], 1)
        mixed = by_definition(turned(q), k, v, lambda n, h, i, u: u <= i + 2)
        return torch.einsum("nthe,hed->ntd", mixed, t["y_out_W"]) + t["y_out_b"]

    against_torch(declare, reference)


# ---- the generated module


def test_gradients_of_all_arguments_together(tmp_path: Path) -> None:
    """By the command, of a compiled module of run-time sizes."""
    (tmp_path / "spec.py").write_text(
        """
from sympy import Sum
from derivgen import Model, layers

model = Model("together", dtype="float64")
N, T, P = model.batch("N"), model.batch("T"), model.batch("P")
x, past = model.input("x", N, T, 4), [model.input(name, N, P, 1, 2) for name in ("past_key", "past_value")]
n, t, u, i = model.local_indices(N, T, P + T, 4)
slope = model.parameter("slope", init=0.5)
bias = model.let("bias", (t, u), slope * (t - u))
z = layers.multi_head_attention(
    x, 2, name="z", num_kv_heads=1, causal=True, window=3, attn_bias=bias, scale=0.7, softcap=2,
    past_key=past[0], past_value=past[1],
)
model.minimize(Sum(z[n, t, i] ** 2 * (i + 1), n, t, i))
"""
    )
    result = run("gradcheck", tmp_path / "spec.py", "--quick")
    assert result.exit_code == 0, result.output
    assert "slope" in result.output


def test_products_of_matrices_stay_without_guards() -> None:
    """Each of the six products is one, whatever is seen: masks, windows and biases are outside of them."""
    model = Model("products")
    N, T = model.batch("N"), model.batch("T")
    x = model.input("x", N, T, 128)
    settings = {"mask": model.input("mask", T, T), "window": 5, "attn_bias": model.input("bias", 8, T, T)}
    y = layers.multi_head_attention(x, 8, name="y", causal=True, num_kv_heads=2, softcap=30, **settings)
    n, t, i = model.local_indices(N, T, 128)
    model.minimize(sp.Sum(y[n, t, i] ** 2, n, t, i))
    text = module_text(model, "float32")
    kernels = text[text.index("def y_heads_forward(") : text.index("def y_forward(")]
    assert kernels.count("gemm(") == 6


# ---- bad arguments

PREAMBLE = """\
from sympy import Sum
from derivgen import Model, layers

model = Model("bad")
N, T = model.batch("N"), model.batch("T")
n = model.indices(n=N)
q, few, k = model.input("q", N, 7, 4, 2), model.input("few", N, 7, 2, 2), model.input("k", N, 7, 3, 2)
x, times = model.input("x", N, 7, 8), model.input("times", N, T, 8)
broadcast, mask = model.input("broadcast", 1, 1, 7, 7), model.input("mask", 7, 6)
tau, past, long = model.parameter("tau", 4), model.input("past", N, 5, 4, 2), model.input("long", N, T, 4, 2)
"""
ENDING = """
at = model.local_indices(*z.shape)
model.minimize(Sum(z[at] ** 2, *at) + tau[0])
"""
DOT, HEADED = "scaled_dot_product_attention(q, q, q, name='z', ", "multi_head_attention(x, 4, name='z', "
REFUSED = {
    # the call: words of the refusal
    f"{DOT}mask=mask)": [
        "mask must be",
        "(N, 7) or (7, 7) or (N, 7, 7) or (4, 7, 7) or (N, 4, 7, 7)",
        "mask of shape (7, 6)",
    ],
    f"{DOT}mask=broadcast)": ["mask must be", "(7, 7)", "broadcast of shape (1, 1, 7, 7)", "leave out the axes"],
    f"{DOT}attn_bias=broadcast)": ["attn_bias must be", "broadcast of shape (1, 1, 7, 7)", "leave out the axes"],
    f"{DOT}attn_bias=0.5)": ["attn_bias must be", "found 0.5"],
    f"{DOT}scale='1')": ["scale must be a number, or an expression", "'1'"],
    f"{DOT}scale=float('inf'))": ["scale", "inf"],
    f"{DOT}scale=tau)": ["scale", "without axes", "tau"],
    f"{DOT}scale=few[n, 0, 0, 0])": ["z_scores", "index n"],
    f"{DOT}softcap=0)": ["softcap", "positive", "found 0"],
    f"{DOT}softcap=tau[0])": ["softcap", "tau[0]"],
    f"{DOT}window=0)": ["window", "at least 1", "found 0"],
    f"{DOT}window=2.0)": ["window", "found 2.0"],
    f"{DOT}window=T)": ["window", "found T"],
    f"{DOT}past_key=past)": ["past_key must be of shape (N, past, 4, 2)", "found past of shape (N, 5, 4, 2) and None"],
    f"{DOT}past_value=past)": ["past_key must be", "found None and past"],
    f"{DOT}past_key=past, past_value=long)": [
        "(N, past, 4, 2)",
        "past of shape (N, 5, 4, 2) and long of shape (N, T, 4, 2)",
    ],
    f"{DOT}past_key=few, past_value=few)": ["(N, past, 4, 2)", "few of shape (N, 7, 2, 2)"],
    "scaled_dot_product_attention(q, few, few, name='z')": ["few of shape (N, 7, 2, 2)", "enable_gqa=True"],
    "scaled_dot_product_attention(q, k, k, name='z', enable_gqa=True)": [
        "k of shape (N, 7, 3, 2)",
        "several heads of queries share one of keys",
        "divide",
    ],
    "scaled_dot_product_attention(q, few, q, name='z', enable_gqa=True)": ["value", "q of shape (N, 7, 4, 2)"],
    f"{HEADED}num_kv_heads=3)": ["num_kv_heads must divide the heads", "3 for 4"],
    f"{HEADED}num_kv_heads=0)": ["num_kv_heads", "found 0"],
    f"{HEADED}num_kv_heads='2')": ["num_kv_heads", "'2'"],
    "multi_head_attention(x, 3, name='z', num_kv_heads=3)": ["num_heads must divide the features", "3 for 8"],
    f"{HEADED}num_kv_heads=2, past_key=past, past_value=past)": ["(N, past, 2, 2)", "past of shape (N, 5, 4, 2)"],
    f"{HEADED}rotary=True, past_key=long, past_value=long)": ["long of shape (N, T, 4, 2)", "model.sizes"],
    "transformer_block(x, 4, 8, name='z', window=-1)": ["window", "at least 1", "-1"],
    "transformer_block(x, 4, 8, name='z', attn_bias=x)": ["attn_bias", "x of shape (N, 7, 8)"],
}


@pytest.mark.parametrize("call", REFUSED)
def test_refused_at_its_line(call: str, tmp_path: Path) -> None:
    errors = refuse(tmp_path, f"{PREAMBLE}z = layers.{call}  {MARK}{ENDING}")
    assert len(errors) == 1, errors
    for word in REFUSED[call]:
        assert word in errors[0], f"{word} is not in: {errors[0]}"


def test_what_is_refused_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Each wrong argument of one call is said."""
    arguments = "window=0, softcap=-1, mask=broadcast, past_key=few, past_value=few, attn_bias=mask, scale=None"
    assert len(refuse(tmp_path, f"{PREAMBLE}z = layers.{DOT}{arguments})  {MARK}{ENDING}")) == 5
