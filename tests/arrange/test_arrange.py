"""Sums of products as products of matrices, against numpy's einsum; shared calls; differences computed again."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from generated import execute, module_text
from random_specs import IMPORTS, Spec


def windows(x: np.ndarray, count: int) -> np.ndarray:
    """x[..., j + r] for the first `count` places j, and r below 5."""
    return np.lib.stride_tricks.sliding_window_view(x, 5, axis=-1)[..., :count, :]


HEAD = """
model = Model("sums")
N = model.batch("N")
I, J, K, L = model.sizes(I=24, J=28, K=64, L=20)
n, i, j, k, l, r = model.indices(n=N, i=I, j=J, k=K, l=L, r=5)
W = model.parameter("W", L, I, 5)
x = model.input("x", N, I, K)
A, B, D = model.parameter("A", I, K), model.parameter("B", K, J), model.parameter("D", L, K)
s, v = model.parameter("s", I), model.parameter("v", K)
"""
PRODUCTS: dict[str, tuple[str, str, Callable[[SimpleNamespace], np.ndarray], int]] = {
    # name: the let's indices and expression, what numpy makes of it, and the calls of BLAS that it takes
    "plain": ("i, j", "Sum(A[i, k]*B[k, j], k)", lambda t: t.A @ t.B, 1),
    "target transposed": ("j, i", "Sum(A[i, k]*B[k, j], k)", lambda t: (t.A @ t.B).T, 1),
    "operand transposed": ("i, l", "Sum(A[i, k]*D[l, k], k)", lambda t: t.A @ t.D.T, 1),
    "a factor outside": ("i, j", "Sum(s[i]*A[i, k]*B[k, j], k)", lambda t: t.s[:, None] * (t.A @ t.B), 1),
    "a number": ("i, j", "Sum(3*A[i, k]*B[k, j], k)", lambda t: 3 * (t.A @ t.B), 1),
    "a minus sign": ("i, j", "-Sum(A[i, k]*B[k, j], k)", lambda t: -(t.A @ t.B), 1),
    "a product less": ("i, j", "s[i] - Sum(A[i, k]*B[k, j], k)", lambda t: t.s[:, None] - t.A @ t.B, 1),
    "a minus sign before no tensor": ("i, j", "-Sum(sin(A[i, k])*B[k, j], k)", lambda t: -(np.sin(t.A) @ t.B), 1),
    "a matrix and a vector less": ("i", "s[i] - Sum(A[i, k]*v[k], k)", lambda t: t.s - t.A @ t.v, 1),
    "factors of one side": ("i, j", "Sum(A[i, k]*v[k]*B[k, j], k)", lambda t: (t.A * t.v) @ t.B, 1),
    "no tensor": ("i, j", "Sum(sin(A[i, k])*B[k, j], k)", lambda t: np.sin(t.A) @ t.B, 1),
    "leading axes": ("n, i, j", "Sum(x[n, i, k]*B[k, j], k)", lambda t: t.x @ t.B, 1),
    "a batch": ("n, i, l", "Sum(x[n, i, k]*x[n, l, k], k)", lambda t: np.einsum("nik,nlk->nil", t.x, t.x[:, :20]), 1),
    "a whole batch": (
        "n, i, l",
        "Sum(x[n, i, k]*x[n, i, k]*D[l, k], k)",
        lambda t: np.einsum("nik,lk->nil", t.x**2, t.D),
        1,
    ),
    "a sum of products": (
        "i, j",
        "Sum(A[i, k]*B[k, j] + sin(A[i, k])*B[k, j], k)",
        lambda t: t.A @ t.B + np.sin(t.A) @ t.B,
        2,
    ),
    "a window": (
        "n, l, j",
        "Sum(x[n, i, j + r]*W[l, i, r], i, r)",
        lambda t: np.einsum("nijr,lir->nlj", windows(t.x, 28), t.W),
        1,
    ),
    "channels between": (
        "n, l, i",
        "Sum(x[n, i, k]*D[l, k], k)",
        lambda t: np.einsum("nik,lk->nli", t.x, t.D),
        1,
    ),
    "rows in another order": (
        "i, n, l",
        "Sum(x[n, i, k]*D[l, k], k)",
        lambda t: np.einsum("nik,lk->inl", t.x, t.D),
        1,
    ),
    "a guard": (  # in loops: a product would evaluate what the guard keeps from being evaluated
        "i, j",
        "Sum(Piecewise((A[i, k]*B[k, j], k > i), (0, True)), k)",
        lambda t: np.triu(t.A, 1) @ t.B,
        0,
    ),
    "an index beside": ("i, j", "Sum(A[i, k]*B[k, j], k, r)", lambda t: 5 * (t.A @ t.B), 1),
    "a vector": ("i,", "Sum(A[i, k]*v[k], k)", lambda t: t.A @ t.v, 1),
    "an outer product": ("i, j", "A[i, 0]*B[0, j]", lambda t: np.outer(t.A[:, 0], t.B[0]), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_what_numpy_gives(name: str) -> None:
    out, expression, wanted, calls = PRODUCTS[name]
    indices = out.strip(",")
    text = f'{IMPORTS}{HEAD}a = model.let("a", ({out}), {expression})\nmodel.predict(a)\n'
    text += f"model.minimize(Sum(a[{indices}]**2, {indices}))\n"
    source = module_text(Spec(text, (), 0).model())
    forward = source.split("def a_forward(")[1].split("\n\n\n")[0]
    assert forward.count(" gemm(") + forward.count(" np.dot(") == calls
    module = execute(source)
    rng = np.random.default_rng(0)
    parameters = rng.standard_normal(sum(int(np.prod(p.shape)) for p in module.PARAMETERS))
    values = SimpleNamespace(**module.views(parameters), x=rng.standard_normal((4, 24, 64)))
    given = [values.x] if "x" in module.predict.__code__.co_varnames else []
    found, expected = module.predict(parameters, *given), wanted(values)
    assert np.abs(found - expected).max() <= 1e-13 * np.abs(expected).max()


def test_heads_of_attention_are_products_without_copies() -> None:
    """v[n,:,h,:] has rows that are not adjacent; BLAS takes their distance. Those of q are adjacent: q is our own."""
    text = f"""{IMPORTS}
model = Model("attention")
N = model.batch("N")
T, H, E = model.sizes(T=8, H=2, E=16)
n, t, u, h, e = model.indices(n=N, t=T, u=T, h=H, e=E)
x, v = model.input("x", N, T, H, E), model.input("v", N, T, H, E)
W = model.parameter("W", H, E)
q = model.let("q", (n, t, h, e), x[n, t, h, e]*W[h, e])
s = model.let("s", (n, h, t, u), Sum(q[n, t, h, e]*q[n, u, h, e], e))
o = model.let("o", (n, t, h, e), Sum(s[n, h, t, u]*v[n, u, h, e], u))
model.predict(o)
model.minimize(Sum(o[n, t, h, e]**2, n, t, h, e))
"""
    source = module_text(Spec(text, (), 0).model())
    assert "gemm(q[h, n], q[h, n].T, ASSIGN, s[n, h])" in source
    assert "gemm(s[n, h], v[n, :, h], ASSIGN, o[h, n])" in source
    rng = np.random.default_rng(0)
    x, v, w = rng.standard_normal((3, 8, 2, 16)), rng.standard_normal((3, 8, 2, 16)), rng.standard_normal(32)
    q = x * w.reshape(2, 16)
    expected = np.einsum("nhtu,nuhe->nthe", np.einsum("nthe,nuhe->nhtu", q, q), v)
    found = execute(source).predict(w, x, v)
    assert np.abs(found - expected).max() <= 1e-13 * np.abs(expected).max()


def kernel_of(lines: str, name: str) -> str:
    text = f"{IMPORTS}{HEAD}{lines}"
    return module_text(Spec(text, (), 0).model()).split(f"def {name}(")[1].split("\n\n\n")[0]


def test_a_call_that_no_inner_loop_changes_is_made_outside_it() -> None:
    text = kernel_of(
        'a = model.let("a", (i, k), exp(s[i])*A[i, k])\nmodel.minimize(Sum(a[i, k]**2, i, k))\n', "a_forward"
    )
    assert text.split('"""')[2].count("exp(s[i])") == 1


def test_a_call_of_two_statements_is_made_once() -> None:
    lines = 'a = model.let("a", (i,), sin(s[i]*A[i, 0]))\nmodel.minimize(Sum(a[i]**2, i))\n'
    text = kernel_of(lines, "a_gradient").split('"""')[2]
    assert text.count(" cos(") == 1


def test_a_call_that_lets_share_and_that_their_rows_do_not_change_is_made_once() -> None:
    """Where no adjoint needs the call: it is kept for no other reason."""
    lines = (
        'w = model.parameter("w")\na = model.let("a", (i,), exp(w)*s[i])\nb = model.let("b", (i,), exp(w)*a[i]**2)\n'
        "model.minimize(w**2)\nmodel.predict(b)\n"
    )
    text = module_text(Spec(f"{IMPORTS}{HEAD}{lines}", (), 0).model())
    assert sum(line.strip().startswith(("a_exp[0] = ", "b_exp[0] = ")) for line in text.splitlines()) == 1


def test_a_call_of_the_forward_pass_is_not_made_again_by_the_backward_pass() -> None:
    lines = 'a = model.let("a", (i,), cosh(s[i])*exp(sin(s[i])))\nmodel.minimize(Sum(a[i]**2, i))\n'
    assert kernel_of(lines, "a_gradient").split('"""')[2].count(" exp(") == 1


def test_a_softmax_keeps_no_differences_and_loses_no_digits() -> None:
    """Logits of 10,000 in float32: log Σ - (u - m) as (m + log Σ) - u would be off in the fourth digit."""
    lines = 'z = model.let("z", (i,), 10000*s[i])\nmodel.minimize(-log(exp(z[0])/Sum(exp(z[i]), i)))\n'
    assert "_shift" not in kernel_of(lines, "loss_forward")
    head = HEAD.replace('x = model.input("x", N, I, K)', "")
    module = execute(module_text(Spec(IMPORTS + head + lines, (), 0).model(), "float32"))
    parameters = np.zeros(sum(int(np.prod(p.shape)) for p in module.PARAMETERS), np.float32)
    logits = module.views(parameters)["s"]
    logits[:2] = 1.0, 1.00004
    exact = (logits.astype(np.float64) * 10000 - 10000.0 * float(logits.max())).astype(np.float64)
    wanted = np.log(np.exp(exact).sum()) - exact[0]
    assert abs(module.loss(parameters) - wanted) <= 2e-3 * wanted  # what float32 makes of the logits themselves


def test_what_a_guard_keeps_from_being_evaluated_is_not_evaluated() -> None:
    """A mean over the first of some rows, none of them in the first: 0, and not 0/0."""
    text = f"""{IMPORTS}{HEAD}
c = model.input("c", I)
a = model.let("a", (i, j), Sum(Piecewise((A[i, k]*B[k, j]/c[i], k < c[i]), (0, True)), k))
model.predict(a)
model.minimize(Sum(a[i, j]**2, i, j))
"""
    module = execute(module_text(Spec(text, (), 0).model()))
    rng = np.random.default_rng(0)
    parameters = rng.standard_normal(sum(int(np.prod(p.shape)) for p in module.PARAMETERS))
    counts = np.arange(24.0)
    x = rng.standard_normal((1, 24, 64))
    loss, gradient = module.loss_and_gradient(parameters, x, counts)
    t = module.views(parameters)
    wanted = [(t["A"][i, :i] @ t["B"][:i] / i if i else np.zeros(28)) for i in range(24)]
    np.testing.assert_allclose(module.predict(parameters, counts), wanted, rtol=1e-12, atol=1e-13)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_what_several_lets_share_is_computed_before_the_first_that_is_needed() -> None:
    """Of two of three equal softmaxes only the logarithm is needed: they belong to the loss, without exponentials."""
    text = f"""{IMPORTS}
model = Model("random")
D = model.sizes(D=4)
d = model.indices(d=D)
W = model.parameter("W", D)
a, b, c = (model.let(name, d, exp(W[d])/Sum(exp(W[d]), d)) for name in "abc")
model.minimize(-log(a[0]) - log(b[0]) + c[1])
"""
    W = np.random.default_rng(0).standard_normal(4)
    p = np.exp(W) / np.exp(W).sum()
    np.testing.assert_allclose(execute(module_text(Spec(text, (), 0).model())).loss(W), p[1] - 2 * np.log(p[0]))


def test_helpers_of_one_name_in_training_and_prediction_are_two_buffers() -> None:
    """Training reads s1 where the prediction computes cos(A): their first copies differ in shape."""
    text = f"""{IMPORTS}
model = Model("random")
I, J, K = model.sizes(I=40, J=20, K=64)
i, j, k = model.indices(i=I, j=J, k=K)
A, D = model.parameter("A", I, K), model.parameter("D", K, J)
s1 = model.let("s1", (i, k), cos(A[i, k]))
a = model.let("a", (i, j), Sum(cos(A[i, k])*sin(D[k, j]), k))
model.minimize(Sum(a[i, j]**2, i, j) + Sum(s1[i, k], i, k))
model.predict(a)
"""
    module = execute(module_text(Spec(text, (), 0).model()))
    parameters = np.random.default_rng(0).standard_normal(40 * 64 + 64 * 20)
    t = module.views(parameters)
    product = np.cos(t["A"]) @ np.sin(t["D"])
    np.testing.assert_allclose(module.predict(parameters), product, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(module.loss(parameters), (product**2).sum() + np.cos(t["A"]).sum(), rtol=1e-12)


def test_a_prediction_reads_sizes_off_its_own_inputs() -> None:
    text = f"""{IMPORTS}
model = Model("random")
N = model.batch("N")
n = model.indices(n=N)
x1, x2, q = model.input("x1", N), model.input("x2", N), model.parameter("q")
c = model.let("c", (), q*N)
p = model.let("p", (n,), x2[n]*c)
model.minimize(Sum((p[n] - x1[n])**2, n))
model.predict(p)
"""
    module = execute(module_text(Spec(text, (), 0).model()))
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(module.predict(np.array([0.5]), x), 1.5 * x, rtol=1e-15)
