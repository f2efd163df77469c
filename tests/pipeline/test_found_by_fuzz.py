"""Specs that the guarded fuzz found, cut down: each went past an array once, or was refused though it is legal."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp
from generated import agrees_with_the_oracle, execute, module_text

from derivgen import MaxOver, Model, stop_gradient
from derivgen.form.as_written import as_written
from derivgen.oracle.differences import compare_gradients
from derivgen.pipeline import declared_program
from derivgen.project.gradcheck import module_gradient, random_direction, random_values

SPECS = {
    "rows up to the smaller one of two limits": """
N = model.batch("N")
D, H, C = model.sizes(D=3, H=2, C=4)
x = model.input("x", N, H)
W = model.parameter("W", H, 2, 2)
n = model.indices(n=N)
h = model.indices(h=H)
h2 = model.indices(h2=H)
l = model.indices(l=2)
l2 = model.indices(l2=2)
a1 = model.let("a1", (n, h), Piecewise((tanh(Piecewise((W[h + 1, h - h, n - h]*x[n, h], And(h - h >= 0, 2 > h - h,
    n - h >= 0, n - h <= 1)), (0, True))/2), h < H - 1), (0, True)))
a2 = model.let("a2", (n, h), tanh(Sum(Piecewise((a1[n, h + 2*h2 - 2], And(h + 2*h2 - 2 >= 0, h + 2*h2 - 2 < H)),
    (0, True))*W[h2, l, l2], h2, l, l2)/4))
a3 = model.let("a3", (), sqrt(1 + ((((Sum(a1[N - 1, h]*Piecewise((a2[n, h - 1], And(0 <= h - 1, H > h - 1)),
    (Rational(1, 2), True)), h, n)/N)/3)**H)/3)**2))
model.minimize((a3/2)**2)
""",
    "a condition that reads through what another one guards": """
a, q, z = model.input("a", 2), model.parameter("q", 6), model.constant("z", [0, 0, 2, 1, 4, 2])
n = model.indices(n=6)
a1 = model.let("a1", n, Piecewise((Piecewise((q[n]**2, a[z[n]] >= 0.5), (0, True)), z[n] <= 1), (0, True)))
model.minimize(Sum(a1[n], n))
""",
    "conditions on tables in tables around a sum": """
q = model.parameter("q", 5)
f, g = model.constant("f", [0, 1, 3, 7]), model.constant("g", [2, 1, 5])
u, v = model.indices(u=4, v=5)
term = Piecewise((Sum(q[v]*q[g[f[u]]], v), g[f[u]] < 5), (0, True))
model.minimize(Sum(Piecewise((term, f[u] < 3), (0, True)), u))
""",
    "the place of a maximum in a condition": """
N = model.batch("N")
V, x = model.parameter("V", 7), model.input("x", N)
n, v = model.indices(n=N, v=7)
a1 = model.let("a1", n, MaxOver(Piecewise((V[v]*x[n], And(v < N, x[v] >= 1)), (-2, True)), v))
model.minimize(Sum(a1[n], n))
""",
    "alternatives on indices around a condition on data": """
N = model.batch("N")
x, z, q = model.input("x", N), model.input("z", 4), model.parameter("q", 5)
n, u = model.indices(n=N, u=3)
term = Piecewise((q[u]**2, z[n] >= 0), (0, True))
a1 = model.let("a1", (n, u), Piecewise((term, Or(n < 3, And(n < 4, u > 1))), (0, True)))
model.minimize(Sum(a1[n, u]*x[n], n, u))
""",
    "guards that contradict each other": """
N = model.batch("N")
x, s, a3 = model.input("x", N), model.parameter("s", 4), model.parameter("a3", 6)
n = model.indices(n=N)
never = Piecewise((a3[n], Not(n >= 6)), (0, True))*Piecewise((s[n], 4 > n), (0, True))
model.minimize(Sum(Piecewise((a3[n], 6 > n), (never, True)) * x[n], n))
""",
    "a let times 0": """
s = model.parameter("s")
u, j = model.indices(u=1, j=5)
a1 = model.let("a1", u, s*s)
a2 = model.let("a2", j, Piecewise((a1[j], j < 1), (0, j < 4), (0, True)))
a3 = model.let("a3", j, a2[j]*Sum(0, u))
model.minimize(Sum(a3[j], j))
""",
    "branches that SymPy joins by or": """
q, x = model.parameter("q", 4), model.input("x", 7)
n = model.indices(n=7)
model.minimize(Sum(Piecewise((0, n > 5), (0, n >= 4), (q[n]**2 * x[n], True)), n))
""",
    "an alternative on indices before one on a table": """
q, x, f = model.parameter("q", 7), model.input("x", 7), model.constant("f", [1, 3, 2, 5])
n = model.indices(n=7)
model.minimize(Sum(Piecewise((0, n > 3), (0, f[n] > 2), (q[n]**2 * x[n], True)), n))
""",
    "two sums into one element under guards that exclude each other": """
m, q = model.parameter("m", 5), model.parameter("q", 1, 1)
u, v, t, i = model.indices(u=1, v=1, t=1, i=6)
j, k = model.indices(j=6, k=6)
a1 = model.let("a1", u, m[0])
branches = (Sum(a1[u]*q[u, u], (j, 1, 4)), Ne(u, 2)), (Sum(a1[u]*i, (k, u, 5)), True)
a2 = model.let("a2", (u, i), Piecewise(*branches))
model.minimize(Sum(a1[t + v]*a2[t, i], t, i, v))
""",
    "a default that SymPy leaves out": """
N = model.batch("N")
q, y = model.parameter("q", 5), model.input("y", N)
n = model.indices(n=N)
model.minimize(Sum(Piecewise((Piecewise((0, y[n] > 1), (q[n], 5 > n), (0, True)), n < 5), (0, True)), n))
""",
    "many alternatives beside a plain one": """
N = model.batch("N")
q, y = model.parameter("q", 3), model.input("y", N)
n = model.indices(n=N)
term = q[n] * y[n]
for k in range(8):
    term = Piecewise((term, Or(n > k, n < 2*k + 1, Eq(n, 3))), (0, True))
model.minimize(Sum(Piecewise((term, n < 3), (0, True)), n))
""",
    "a label that only some rows are read through": """
N = model.batch("N")
x, y, q = model.input("x", N), model.labels("y", N, classes=3, ignore=-100), model.parameter("q", 3)
n = model.indices(n=N)
a = model.let("a", n, x[n] + Piecewise((q[y[n - 1]]**2, n > 0), (0, True)))
model.minimize(Sum(a[n]**2, n))
""",
    "a label of the place of a maximum": """
N = model.batch("N")
V, s = model.parameter("V"), model.parameter("s", 4)
y = model.labels("y", N, classes=2, ignore=-100)
n, u, v = model.indices(n=N, u=4, v=4)
read = Piecewise((V*s[y[v] - 1], And(v <= N - 1, Not(y[v] - 1 < 0))), (0, True))
a = model.let("a", (n, u), MaxOver(Piecewise((s[u]*read, 2*v + n <= 3), (0, True)) + 1, v))
model.minimize(Sum(Piecewise((a[n, u], And(u <= N - 1, y[u] - 1 > -1)), (0, True)), n, u))
""",
    "conditions on a table at an index that runs over less than the rows": """
N = model.batch("N")
z, q, g = model.input("z", N), model.parameter("q"), model.constant("g", [3, -1, 3, 5, 1])
n, u = model.indices(n=N, u=5)
a = model.let("a", n, q/(z[n] - 0.25))
model.minimize(Sum(Piecewise((a[u], And(u < N, g[u] > 0)), (0, True))**2, u))
""",
    "two disjunctions, of which one keeps the reads of the other inside": """
x, m, s = model.input("x", 3), model.parameter("m", 5), model.parameter("s")
f = model.constant("f", [0, 4, 5])
u, v = model.indices(u=4, v=4)
place = 4*u + v
inner = Or(And(f[place] >= 2, f[place] < 6, u <= 1), And(f[place] >= 1, f[place] < 6, u > 1))
outer = Or(And(place < 3, v > 0, f[place] > 0), And(place < 2, v < 1))
a = model.let("a", (u, v), Piecewise((Piecewise((m[f[place] - 1], inner), (0, True))*s, outer), (0.5, True)))
model.minimize(Sum(a[u, v]**2, u, v))
""",
    "a singular let in a sum under alternatives of another index": """
N = model.batch("N")
z, s, q = model.input("z", N), model.parameter("s"), model.parameter("q", 5)
n, j, v = model.indices(n=N, j=4, v=5)
a = model.let("a", n, s*log(z[n] - 1.25))
inside = Or(And(z[n] > 1.25, j <= 2), And(z[n] > 1.25, j > 2))
b = model.let("b", j, Sum(Piecewise((Sum(z[n]*a[n]*q[v], v), inside), (0, True)), n))
model.minimize(Sum(b[j]**2, j))
""",
    "a singular let read under alternatives of another index": """
z, q = model.input("z", 4), model.parameter("q")
u, v, r = model.indices(u=3, v=2, r=6)
a = model.let("a", u, sqrt((z[u] - 1.25)*exp(q/2)))
inside = Or(And(z[u] > 1.25, u + v >= 1), And(z[u] > 1.25, v < 1))
b = model.let("b", u*2 + v, Piecewise((a[u], inside), (0, True)))
model.minimize(Sum(b[r]**2, r))
""",
    "equal layers that gather through two columns of a table": """
N = model.batch("N")
n, s, k = model.indices(n=N, s=4, k=4)
tab = model.labels("tab", N, 2, classes=4)
x, W = model.input("x", N, 4), model.parameter("W", 4, 4)
a = model.let("a", (n, s), Sum(tanh(x[n, k] + W[k, tab[n, 0]]*W[s, k]), k))
b = model.let("b", (n, s), Sum(tanh(a[n, k] + W[k, tab[n, 1]]*W[s, k]), k))
model.minimize(Sum(b[n, s]**2, n, s))
""",
    "a value that two arrays keep, in blocks of rows": """
N = model.batch("N")
n, t, d = model.indices(n=N, t=2, d=1)
y = model.labels("y", N, classes=3)
V, p = model.parameter("V", 3, 1), model.parameter("p", 2)
model.minimize(Sum(log(Sum(exp(p[t]*V[y[n], d]), d)), t, n))
""",
    "a sum over a few elements, which then get other values": """
h, j = model.indices(h=3, j=3)
b = model.parameter("b", 3)
a = model.let("a", (j, h), b[j]*b[h])
model.minimize(Sum(b[h], h) + Sum(a[h, j]**2, h, j))
""",
    "two exponentials in a product, of which a tensor holds one": """
N = model.batch("N")
n = model.indices(n=N)
z, U = model.input("z", N), model.parameter("U")
S = model.let("S", n, 2*exp(z[n]))
model.minimize(Sum(erf(U)*exp(z[n])/S[n], n))
""",
    "a product of matrices with sides of one element": """
N = model.batch("N")
n, h = model.indices(n=N, h=1)
x, W = model.input("x", N, 1), model.parameter("W", 1, 1)
a = model.recur("a", (n, h), lambda a: a[n + 1, h] + W[0, h]*x[n, 0], initial=0.5)
model.minimize(Sum(a[n, h], n, h))
""",
    "sums over the rows with a label": """
N = model.batch("N")
n, c, h = model.indices(n=N, c=3, h=2)
y, x = model.labels("y", N, classes=3), model.input("x", N)
w, u = model.parameter("w", 2), model.parameter("u", 3)
total = model.let("total", (c, h), Sum(Piecewise((x[n]*w[h], Eq(y[n], c)), (0, True)), n))
model.minimize(Sum(tanh(total[c, h])*u[c], c, h) + Sum(Piecewise((u[c]**2*x[n], Eq(c, y[n])), (0, True)), c, n))
""",
    "a softmax over the rows with a label": """
N = model.batch("N")
n, c = model.indices(n=N, c=3)
y, x, w = model.labels("y", N, classes=3), model.input("x", N), model.parameter("w")
norm = model.let("norm", c, Sum(Piecewise((exp(900 + w*x[n]), Eq(y[n], c)), (0, True)), n))
model.minimize(Sum((exp(900 + w*x[n])/norm[y[n]])**2*x[n], n))
""",
    "a root of squares with scales": """
m, l, d = model.indices(m=3, l=3, d=2)
c, s = model.parameter("c", 3, 2), model.parameter("s", 2)
model.minimize(Sum(sqrt(Sum(((c[m, d] - c[l, d])*exp(-s[d]))**2, d)), m, l))
""",
}


def declared(text: str) -> Model:
    model = Model("found")
    names = {**vars(sp), "MaxOver": MaxOver, "stop_gradient": stop_gradient, "model": model}
    with as_written():
        exec(text, names)
    return model


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_values_and_gradients_are_the_oracle_s(text: str) -> None:
    agrees_with_the_oracle(declared(text), {"N": 7})


def test_a_fixed_row_that_may_not_exist_is_read_where_it_does() -> None:
    """The guard on the number of rows has no index."""
    model = declared("""
N = model.batch("N")
y, m = model.input("y", N), model.parameter("m", 6)
n, u = model.indices(n=N, u=4)
a3 = model.let("a3", (n, u), (Sum(Piecewise((m[u], n > 0), (0, True)), u) + m[u])**2)
model.minimize(Sum(Piecewise((m[u]*a3[3, u], N > 3), (0, True)), u) + Sum(y[n], n))
model.second_order("hessian_diagonal", "hessian")
""")
    module = execute(module_text(model))
    for rows in (2, 3, 4, 6):
        data = {"y": np.linspace(0.5, 1, rows)}
        point = np.linspace(0.3, 1.1, 6)
        diagonal, hessian = module.hessian_diagonal(point, **data), module.hessian(point, **data)
        assert np.allclose(diagonal, np.diag(hessian), rtol=1e-13, atol=0)
        assert np.any(diagonal) == (rows > 3)


def test_what_never_is_has_a_derivative_of_0() -> None:
    """The guard and the limits of the inner sum exclude each other."""
    model = declared("""
s, m = model.parameter("s", 5), model.parameter("m", 4)
u, v = model.indices(u=5, v=6)
inner = Sum(Piecewise((s[v + 3], v + 3 < 5), (0, True))*m[u - 3], (v, 2, 4))
a1 = model.let("a1", u, Sum(Piecewise((inner/5, u - 3 > -1), (0, True)), u))
model.minimize(0)
model.predict(a1)
model.second_order("jacobian_vector_product")
""")
    module = execute(module_text(model))
    found = module.jacobian_vector_product(np.ones(9), np.ones(9))
    assert np.array_equal(found, np.zeros(5))


def test_the_jacobian_of_a_read_that_a_guard_keeps_inside_ends_with_it() -> None:
    """At a row's own number, and at one that a table gives."""
    model = declared("""
N = model.batch("N")
z, s, f = model.input("z", N), model.parameter("s", 5), model.constant("f", [1, 6, 3, 9, 0, 2, 4])
n, u = model.indices(n=N, u=7)
parts = Sum(Piecewise((s[f[u]] * z[n], f[u] < 5), (0, True)), u)
a1 = model.let("a1", n, Piecewise((s[n], 5 > n), (0, True))*z[n] + parts)
model.minimize(Sum(a1[n]**2, n))
model.predict(a1)
model.second_order("jacobian")
""")
    module = execute(module_text(model))
    z = np.linspace(1, 2, 7)
    wanted = [[z[n] * ((n == k) + 1) for k in range(5)] for n in range(7)]
    assert np.allclose(module.jacobian(np.ones(5), z=z), wanted, rtol=1e-14, atol=0)


def test_an_absent_label_leaves_out_the_rows_that_are_read_through_it() -> None:
    """The label before row 0 is not asked for, and that of row 1 is absent to row 2."""
    model = declared("""
N = model.batch("N")
x, y, q = model.input("x", N), model.labels("y", N, classes=3, ignore=-100), model.parameter("q", 3)
n = model.indices(n=N)
a = model.let("a", n, x[n] + Piecewise((q[y[n - 1]], n > 0), (0, True)))
model.minimize(Sum(a[n], n))
""")
    module = execute(module_text(model))
    data = {"x": np.array([1.0, 2.0, 4.0]), "y": np.array([2, -100, 0])}
    loss, gradient = module.loss_and_gradient(np.array([8.0, 16.0, 32.0]), **data)
    assert (loss, gradient.tolist()) == (1 + (2 + 32), [0, 0, 1])


def test_a_derivative_takes_what_it_reads_beside_the_prediction() -> None:
    """The terms with z cancel in the prediction; of their derivatives one is stopped, so that the other is left."""
    model = declared("""
z, m = model.input("z", 3), model.parameter("m", 3)
v = model.indices(v=3)
b = model.let("b", v, 2*m[v] + (m[v]*z[v] - stop_gradient(m[v]*z[v])))
model.minimize(Sum(b[v], v))
model.predict(b)
model.second_order("jacobian")
""")
    module = execute(module_text(model))
    z = np.array([1.0, 5.0, -3.0])
    assert np.array_equal(module.predict(np.ones(3), z=z), np.full(3, 2.0))
    assert np.array_equal(module.jacobian(np.ones(3), z=z), np.diag(2 + z))


def test_a_sum_of_no_terms_has_no_derivative() -> None:
    """The recurrence starts at 0 and adds a product with a sum of no terms: the derivative reads no other factor."""
    model = declared("""
z, m = model.input("z", 1, 2), model.parameter("m", 3)
u, v = model.indices(u=4, v=4)
read = Piecewise((0, 2*v < 1), (1, 2*v > 1), (z[2*v - 1, 0], True))
factor = Sum(read*Piecewise((m[v], v < 3), (0, True)), v)
a = model.recur("a", u, lambda a: factor*Sum(0, (v, 3, 3)) + a[u + 1]/2, 0)
b = model.let("b", u, a[u]**2)
model.minimize(Sum(b[u], u))
model.predict(b)
model.second_order("jacobian")
""")
    module = execute(module_text(model))
    assert np.array_equal(module.jacobian(np.ones(3)), np.zeros((4, 3)))
    assert np.array_equal(module.predict(np.ones(3)), np.zeros(4))


def test_the_curvature_of_a_loss_that_is_linear_in_a_let_of_others() -> None:
    """a is linear in the loss, b is not and reads a: the curved part has adjoints of a,
    and the step through b too."""
    model = declared("""
m, s = model.parameter("m", 3), model.parameter("s")
u, v, k, r = model.indices(u=3, v=4, k=5, r=12)
a = model.let("a", v*3 + u, s*m[u])
b = model.let("b", k, s*a[0])
model.minimize(Sum(sin(b[k]), k) + Sum(a[v], (v, 1, 3)))
model.second_order("gauss_newton_vector_product", "hessian")
""")
    module = execute(module_text(model))
    point, along = np.array([0.5, -1.5, 0.75, 1.25]), np.array([1.0, 2.0, -1.0, 0.5])
    m, s = point[:3], point[3]
    # The outputs are b, m and s: of these the loss has -5·sin(b) along b, and 1 between s and each m[1 .. 2].
    slope = np.array([s**2, 0, 0, 2 * s * m[0]])
    outer = -5 * np.sin(s**2 * m[0]) * np.outer(slope, slope)
    for place in (1, 2, 0):
        outer[place, 3] += 1
        outer[3, place] += 1
    found = module.gauss_newton_vector_product(point, along)
    assert np.allclose(found, outer @ along, rtol=1e-13, atol=0)


def test_a_kernel_that_adds_is_not_shared_where_nothing_was_written_before() -> None:
    """In a step V_bar has the guarded penalty already; in the product with uᵀ there is none."""
    model = declared("""
x, V, m = model.input("x", 4), model.parameter("V"), model.parameter("m", 4)
i = model.indices(i=4)
a = model.let("a", i, Piecewise((V*x[i], x[i] > 0), (0, True)))
b = model.let("b", i, a[i]*m[i])
model.minimize(Sum(b[i]**2, i) + Piecewise((V**2, x[1] > 0), (0, True)))
model.predict(b)
model.second_order("vector_jacobian_product")
""")
    module = execute(module_text(model))
    x, point, u = np.array([1.0, -1.0, 2.0, 3.0]), np.arange(1.0, 6.0), np.array([1.0, 1.0, -1.0, 2.0])
    product, memory = np.full(5, 7.0), module.vector_jacobian_product_memory()
    module.vector_jacobian_product_kernel(point, u, product, x, *memory)
    V, m, above = point[0], point[1:], np.maximum(x, 0)
    assert product.tolist() == [np.sum(u * above * m), *(u * V * above)]


def test_a_comparison_fails_at_nan_however_it_was_written() -> None:
    """x > 0 and its negation decide the branches of x, of its gradient and of a copy at another index."""
    model = declared("""
N = model.batch("N")
x, w = model.input("x", N), model.parameter("w")
n, k = model.indices(n=N, k=N)
a = model.let("a", n, Piecewise((w, x[n] > 0), (3*w, True)))
b = model.let("b", k, Piecewise((a[k], x[k] > 0), (2*a[k], True)))
model.minimize(Sum(b[n], n))
""")
    module = execute(module_text(model))
    loss, gradient = module.loss_and_gradient(np.ones(1), x=np.array([1.0, -1.0, np.nan]))
    assert (loss, gradient.tolist()) == (13, [13])


def test_a_call_that_lasts_past_a_loop_keeps_its_value() -> None:
    """exp(k) is needed before a loop over rows, which has calls of exp of its own, and after it."""
    model = declared("""
N = model.batch("N")
n = model.indices(n=N)
lb = model.labels("lb", N, classes=3)
R, k = model.parameter("R", 3), model.parameter("k")
f = model.let("f", n, Piecewise((exp(R[lb[n]]*k + exp(k)), R[lb[n]] > 0), (R[lb[n]], True)))
model.minimize(Sum(f[n]**2 + k*f[n], n))
""")
    module = execute(module_text(model))
    labels, point, step = np.array([0, 2, 1, 1, 0, 2]), np.array([0.5, -0.25, 0.75, 0.4]), 1e-200

    def objective(v: np.ndarray) -> complex:
        r = v[:3][labels]
        f = np.where(r.real > 0, np.exp(r * v[3] + np.exp(v[3])), r)
        return complex(np.sum(f**2 + v[3] * f))

    slopes = [objective(point + 1j * step * along).imag / step for along in np.eye(4)]
    value, gradient = module.loss_and_gradient(point, lb=labels)
    assert np.isclose(value, objective(point).real, rtol=1e-14)
    assert np.allclose(gradient, slopes, rtol=1e-13, atol=0)


SECOND = {
    "blocks of a Hessian that the kernels of two outputs write": """
N = model.batch("N")
n, h, j = model.indices(n=N, h=3, j=3)
y = model.labels("y", N, classes=2)
W, b, V = model.parameter("W"), model.parameter("b", 3), model.parameter("V", 2, 3)
a0 = model.let("a0", n, b[1]*V[y[n], 0])
a1 = model.let("a1", (n, h), b[h]*a0[n]*Sum(V[0, j], j))
model.minimize(Sum(a1[n, h], n, h))
""",
    "a block of a Hessian to which a recurrence's initial value adds": """
N = model.batch("N")
n, h, j = model.indices(n=N, h=3, j=3)
y, rc = model.labels("y", N, classes=1), model.constant("rc", [-0.97, -0.13, 0.28])
W, b, V, p = model.parameter("W"), model.parameter("b", 3), model.parameter("V", 1, 3), model.parameter("p")
a0 = model.recur("a0", n, lambda a0: tanh(V[y[n], 0] + a0[n + 1]), initial=p/(1 + b[2]**2))
a2 = model.recur("a2", (n, h), lambda a2: Sum(a2[n - 1, j]*V[0, j]*rc[h], j)*sin(p), initial=1)
a3 = model.recur("a3", n, lambda a3: a3[n - 1] + a2[n, 1]*p, initial=a0[N - 1])
model.minimize(Sum(a3[n]**2, n))
""",
}


@pytest.mark.parametrize("text", SECOND.values(), ids=SECOND)
def test_hessians_are_the_oracle_s(text: str) -> None:
    model = declared(text)
    model.second_order("hessian")
    program = declared_program(model)
    values = random_values(program, "float64", 4, 0)
    found = module_gradient(
        execute(module_text(model)), program, values, direction := random_direction(program, "float64", 1), whole=True
    )
    errors = compare_gradients(program, values, found, along=direction, digits=100)
    assert max(c.error for c in errors if c.largest > 1e-20) < 1e-12


def test_two_functions_that_share_a_kernel_give_it_its_arguments_in_one_order() -> None:
    text = """
N = model.batch("N")
n = model.indices(n=N)
z, p = model.input("z", N), model.parameter("p")
a = model.recur("a", n, lambda a: a[n - 1]*log(z[0]**2)*p, initial=p)
model.minimize(Sum(tanh(a[n])*z[n], n))
model.predict(a)
"""
    both, alone, z = declared(text), declared(text), np.array([0.3, -0.5, 0.9])
    both.second_order("hessian_vector_product", "jacobian_vector_product")
    alone.second_order("jacobian_vector_product")
    found, wanted = (
        execute(module_text(model)).jacobian_vector_product(np.array([0.7]), np.array([1.5]), z=z)
        for model in (both, alone)
    )
    assert np.array_equal(found, wanted)
    step, log_z = 1e-20, np.log(z[0] ** 2)
    powers = np.arange(1, 4)
    expected = ((0.7 + 1.5j * step) ** (powers + 1) * log_z**powers).imag / step
    assert np.allclose(found, expected, rtol=1e-13)


def test_a_maximum_under_a_condition_has_a_tangent_there() -> None:
    model = declared("""
N = model.batch("N")
n, h, s = model.indices(n=N, h=2, s=N)
x, p = model.input("x", N), model.parameter("p")
a1 = model.let("a1", h, Piecewise((MaxOver(p*x[s], s), p > 0), (0.5, True)))
model.minimize(Sum(a1[h]**2, h))
model.predict(a1)
model.second_order("jacobian_vector_product")
""")
    module, x = execute(module_text(model)), np.array([0.5, 2.0, -1.0])
    tangents = [module.jacobian_vector_product(np.array([p]), np.array([3.0]), x=x).tolist() for p in (1.0, -1.0)]
    assert tangents == [[6, 6], [0, 0]]


def test_a_model_with_rows_and_without_parameters_has_its_loss() -> None:
    model = declared("""
N = model.batch("N")
n, x = model.indices(n=N), model.input("x", N)
model.minimize(Sum(x[n]**2, n))
""")
    assert execute(module_text(model)).loss(np.zeros(0), x=np.array([1.0, 2.0])) == 5


def test_equal_arguments_of_a_maximum_are_equal_in_all_derivatives() -> None:
    """In each step after the first one, the maximum is of a value and of the same value,
    stored in the step before."""
    module = execute(
        module_text(
            declared("""
N = model.batch("N")
n, d, j = model.indices(n=N, d=3, j=2)
x, U = model.input("x", N), model.parameter("U", 2)
u = (1 + U[j]**2)*log(1 + U[j]**2)
a = model.recur("a", (n, d), lambda a: Max(a[n, d - 1], Sum(x[n]*exp(u), j)/Sum(exp(u), j)), initial=0)
model.minimize(Sum(a[n, d]**2, n, d))
model.second_order("hessian")
""")
        )
    )
    rng = np.random.default_rng(0)
    for _ in range(20):  # a weighted mean of one number does not depend on the weights
        hessian = module.hessian(rng.normal(size=2), x=rng.normal(size=3))
        assert np.abs(hessian).max() < 1e-9


def test_a_choice_in_the_other_way_of_a_branch_on_the_same_condition() -> None:
    model = declared("""
N = model.batch("N")
n, t = model.indices(n=N, t=4)
y = model.labels("y", N, classes=2)
W, a = model.parameter("W", 2), model.parameter("a")
a0 = model.let("a0", n, tanh(W[1])**3)
u = Piecewise((W[0], y[n] > 0), (a0[n], True))
a1 = model.recur("a1", (t, n), lambda a1: a1[t - 1, n]*sin(u) + W[0]*a, initial=1)
model.minimize(Sum(log(1 + exp(a0[n])), n)/N + Sum(a1[t, n], t, n))
model.second_order("hessian_vector_product")
""")
    module, theta, y = execute(module_text(model)), np.array([0.3, -0.7, 0.9]), np.array([0, 1, 1])

    def loss(w0: mpmath.mpf, w1: mpmath.mpf, a: mpmath.mpf) -> mpmath.mpf:
        total = mpmath.log(1 + mpmath.exp(mpmath.tanh(w1) ** 3))
        for label in y:
            state = mpmath.mpf(1)
            for _ in range(4):
                state = state * mpmath.sin(w0 if label > 0 else mpmath.tanh(w1) ** 3) + w0 * a
                total += state
        return total

    with mpmath.workdps(40):
        places = tuple(map(mpmath.mpf, theta.tolist()))
        first = [float(mpmath.diff(loss, places, tuple(int(j == k) for j in range(3)))) for k in range(3)]
        along = [float(mpmath.diff(loss, places, tuple(int(j == k) + int(j == 0) for j in range(3)))) for k in range(3)]
    assert np.allclose(module.loss_and_gradient(theta, y=y)[1], first, rtol=1e-12)
    direction = np.array([1.0, 0.0, 0.0])
    assert np.allclose(module.hessian_vector_product(theta, direction, y=y), along, rtol=1e-11)
