"""A spec and the one with one sign turned have kernels of one structure: no pass hangs a decision on a sign."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from edits import EDITS
from generated import agrees_with_the_oracle, module_text
from sampled import some
from sympy import Abs, Max, Piecewise, Sum, cos, exp, log, sin, sqrt, tanh

from derivgen import Model
from derivgen.project.spec import load_target


def structure(text: str) -> list[tuple[object, ...]]:
    """The kernels' statements, each by what it names and multiplies: all but signs, and the order of terms."""
    found: list[tuple[object, ...]] = []
    for kernel in kernels(text):
        found.append((kernel.name, *(argument.arg for argument in kernel.args.args)))
        for node in ast.walk(kernel):
            if isinstance(node, ast.Assign | ast.Expr):
                found.append((kernel.name, type(node).__name__, contents(node)))
            elif isinstance(node, ast.AugAssign):  # a += b is a = a + b
                found.append((kernel.name, "Assign", contents(ast.Tuple([node.target, node.target, node.value]))))
            elif isinstance(node, ast.For):
                found.append((kernel.name, "For", contents(node.iter)))
            elif isinstance(node, ast.If):
                found.append((kernel.name, "If", contents(node.test)))
    return found


def kernels(text: str) -> list[ast.FunctionDef]:
    marked = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    return [f for f in marked if ast.unparse(f.decorator_list[0]) in ("kernel", "aliased_kernel")]


def contents(node: ast.AST) -> tuple[tuple[str, int], ...]:
    """How often each name, number and operator stands in a statement; a docstring counts as none."""
    count: Counter[str] = Counter()
    for part in ast.walk(node):
        match part:
            case ast.Name():
                count[SCALES.get(part.id, part.id)] += 1
            case ast.Constant(value=int() | float()):
                count[str(part.value)] += 1
            case ast.Mult() | ast.Div() | ast.Pow() | ast.Compare():
                count[type(part).__name__] += 1
    return tuple(sorted(count.items()))


SCALES = {"NEGATE": "ASSIGN", "SUBTRACT": "ADD"}  # what becomes of a product of matrices, but for its sign


def softplus(t: Any, s: int) -> Any:
    return t.c * log(1 + exp(s * (t.z - t.y) / t.c))


def decay(t: Any, s: int) -> Any:
    f = t.let("f", t.c * exp(s * t.z * t.y))
    return (f - t.y) ** 2


def residual(t: Any, s: int) -> Any:
    return (t.y + s * t.c * tanh(t.z)) ** 2


def odd(t: Any, s: int) -> Any:
    f = t.let("f", tanh(s * (t.z - t.c)) * t.y)
    return f**2 + t.c * f


def quotient(t: Any, s: int) -> Any:
    f = t.let("f", t.z / (t.c**2 + s * t.y * t.z))
    return f * sin(f)


def hinge(t: Any, s: int) -> Any:
    return Max(s * (t.z - t.y * t.c), 0) ** 2


def opposite_call(t: Any, s: int) -> Any:
    f = t.let("f", s * exp(-((t.y - t.z) ** 2) / (2 * t.c**2)))
    return f * t.y


def opposite_root(t: Any, s: int) -> Any:
    f = t.let("f", s / sqrt(t.c**2 + t.z**2))
    return f * t.y + f**2


def doubled(t: Any, s: int) -> Any:
    f = t.let("f", -2 * s * exp(t.z) * t.y)
    return f**2 + sin(f) * t.z


def common_factors(t: Any, s: int) -> Any:
    f = t.let("f", t.z * t.y * sin(t.c * t.z) + s * t.z * cos(t.z))
    return f**2


def entropy(t: Any, s: int) -> Any:
    p = t.let("p", 1 / (1 + exp(s * t.z)))
    return -t.y * log(p) - (1 - t.y) * log(1 - p)


def softmax(t: Any, s: int) -> Any:
    power = exp(s * t.x * t.w)
    p = t.model.let("p", (t.n, t.d), power / Sum(power, t.d))
    return Sum(p[t.n, t.d] * t.y * t.x, t.d)


def branches(t: Any, s: int) -> Any:
    f = t.let("f", Piecewise((s * t.z**2 * t.c, t.y > 0), (t.z * t.c, True)))
    return f**2 + Abs(t.z + s * t.y)


def stages(t: Any, s: int) -> Any:
    k = t.let("k", sin(t.z) * t.c)
    k2 = t.let("k2", sin(t.z + s * k / 2) * t.c)
    return (t.z + s * k2 - t.y) ** 2


def matrices(t: Any, s: int) -> Any:
    """Wide enough that its sums are products of matrices."""
    K, L = t.model.sizes(K=40, L=30)
    k, j = t.model.indices(k=K, j=L)
    u, W, b = t.model.input("u", t.N, K), t.model.parameter("W", K, L, init="normal"), t.model.parameter("b2", L)
    h = t.model.let("h", (t.n, j), tanh(b[j] + s * Sum(u[t.n, k] * W[k, j], k)))
    V = t.model.parameter("V", L, K, init="normal")
    r = t.model.let("r", (t.n, k), u[t.n, k] + s * Sum(h[t.n, j] * V[j, k], j))
    return Sum(r[t.n, k] ** 2, k)


SPECS: tuple[Callable[[Any, int], Any], ...] = (
    *(softplus, decay, residual, odd, quotient, hinge, opposite_call, opposite_root, doubled, common_factors),
    *(entropy, softmax, branches, stages, matrices),
)


def model_of(objective: Callable[[Any, int], Any], sign: int) -> Model:
    model = Model("mirrored")
    N, D = model.batch("N"), model.sizes(D=3)
    n, d = model.indices(n=N, d=D)
    x, y, w = model.input("x", N, D), model.input("y", N), model.parameter("w", D, init="normal")
    b, c = model.parameter("b"), model.parameter("c", init=1.5)
    z = model.let("z", n, Sum(x[n, d] * w[d], d) + b)
    given = SimpleNamespace(model=model, N=N, n=n, d=d, x=x[n, d], y=y[n], w=w[d], c=c, z=z[n])
    given.let = lambda name, expression: model.let(name, n, expression)[n]
    model.minimize(Sum(objective(given, sign), n) / N)
    return model


@pytest.mark.parametrize("hessian", [False, True], ids=["gradient", "hessian"])
@pytest.mark.parametrize("objective", some(SPECS), ids=lambda f: f.__name__)
def test_a_turned_sign_turns_signs_alone(objective: Callable[[Any, int], Any], hessian: bool) -> None:
    texts = []
    for sign in (1, -1):
        model = model_of(objective, sign)
        if hessian and objective is not matrices:  # whose Hessian has 3 million elements
            model.second_order("hessian")
        texts.append(module_text(model))
    assert kernels_differ(*texts)
    assert structure(texts[0]) == structure(texts[1])


def kernels_differ(a: str, b: str) -> bool:
    """Whether the sign is in the kernels at all."""
    return [ast.dump(k) for k in kernels(a)] != [ast.dump(k) for k in kernels(b)]


@pytest.mark.parametrize("objective", some(SPECS), ids=lambda f: f.__name__)
def test_the_mirror_image_has_right_gradients(objective: Callable[[Any, int], Any]) -> None:
    agrees_with_the_oracle(model_of(objective, -1), {"N": 4})


def test_a_put_has_the_kernels_of_a_call(tmp_path: Any) -> None:
    edit = next(e for e in EDITS if e.title == "the mirror image, a put")
    texts = []
    for text in (edit.before, edit.after):
        path = tmp_path / f"{edit.example}.py"
        path.write_text(text, encoding="utf-8")
        texts.append(module_text(load_target(str(path)).model))
    assert structure(texts[0]) == structure(texts[1])


def test_structure_sees_another_factor() -> None:
    """The comparison itself: a factor more, a term less, another array are no signs."""
    before = "@kernel\ndef f(a: Real[N], b: Real[N]):\n    a[0] = b[0] * b[1] - a[1]\n"
    for after in ("b[0] * b[1] * b[2] - a[1]", "b[0] * b[1]", "b[0] * b[1] - b[1]", "b[0] / b[1] - a[1]"):
        assert structure(before) != structure(before.replace("b[0] * b[1] - a[1]", after))
    assert structure(before) == structure(before.replace("b[0] * b[1] - a[1]", "a[1] - b[0] * b[1]"))
