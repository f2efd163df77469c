"""What formulas share is computed once: in Python variables, in sums that have all terms of another one."""

from __future__ import annotations

import pytest

from derivgen import Model
from derivgen.declare import lower
from derivgen.form.as_written import as_written
from derivgen.form.notation import print_program
from derivgen.form.program import Role
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program, generate_body

HEAD = """
from sympy import Piecewise, Sum, exp, log, sqrt
from derivgen import Model
model = Model("parts")
N = model.batch("N")
n = model.indices(n=N)
x, y, z = (model.input(name, N) for name in "xyz")
w = model.parameter("w")
"""


def model_of(lines: str) -> Model:
    namespace: dict[str, object] = {}
    with as_written(distribute=False):
        exec(HEAD + lines, namespace)
    model = namespace["model"]
    assert isinstance(model, Model)
    return model


def statements(lines: str) -> list[str]:
    return [line.split("  #")[0].strip() for line in print_program(declared_program(model_of(lines))).splitlines()]


def parts(lines: str) -> list[str]:
    """The definitions of what is shared."""
    return [line for line in statements(lines) if "_part" in line.split("=")[0]]


PART = "k = x[n]*w + y[n]**2*z[n]\n"
SHARED = {
    "two lets": PART + 'a, b = model.let("a", n, sqrt(k)), model.let("b", n, k**3)\nmodel.minimize(Sum(a[n]*b[n], n))',
    "one let": PART + 'a = model.let("a", n, sqrt(k)*exp(k + x[n]))\nmodel.minimize(Sum(a[n], n))',
    "times a number": PART + 'a = model.let("a", n, (x[n] + k/2)*sqrt(k))\nmodel.minimize(Sum(a[n], n))',
    "within a larger sum": PART + 'a = model.let("a", n, (k + z[n])**3*sqrt(k))\nmodel.minimize(Sum(a[n], n))',
    "over some of the rows": PART + 'a = model.let("a", n, sqrt(k)*exp(x[n]))\n'
    "model.minimize(Sum(a[n], n) + Sum(sqrt(k)*exp(k), (n, 0, N - 2)))",
    "in a recurrence": PART + 'a = model.recur("a", (n,), lambda a: a[n - 1]*k + sqrt(k), initial=0)\n'
    "model.minimize(Sum(a[n], n))",
}


SUM = "m = model.indices(m=N)\nk = Sum(x[m]*exp(w*z[m] + y[n]), m)\n"
SUMS = {
    "two lets": SUM + 'a, b = model.let("a", n, sqrt(k)), model.let("b", n, k**3)\nmodel.minimize(Sum(a[n]*b[n], n))',
    "a let and the objective": SUM + 'a = model.let("a", n, sqrt(k))\nmodel.minimize(Sum(a[n]*k, n))',
    "other indices": SUM + 'l = model.indices(l=N)\na = model.let("a", n, sqrt(k))\n'
    "model.minimize(Sum(a[l]*Sum(x[n]*exp(w*z[n] + y[l]), n)**2, l))",
    "sums of sums": SUM
    + 'a, b = (model.let(name, n, f(Sum(k*z[n], n) + k)) for name, f in (("a", sqrt), ("b", exp)))\n'
    "model.minimize(Sum(a[n]*b[n], n))",
    "members of a recurrence": SUM.replace("y[n]", "y[m]") + 'a, b = model.recur(["a", "b"], [(n,)]*2, lambda a, b: '
    "(a[n - 1]*k, b[n - 1] + k**2), initial=[1, 0])\nmodel.minimize(Sum(a[n]*b[n], n))",
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_in_a_variable_is_computed_once(name: str) -> None:
    found = [line for line in statements(SUMS[name]) if "exp(" in line.split("=")[1] and "Σ" in line]
    assert len(found) == 1
    assert len([line for line in statements(SUMS[name]) if " += Σ" in line or "= Σ" in line]) <= 3


@pytest.mark.parametrize("name", SUMS)
def test_sums_once_are_the_sums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = declared_program(model_of(SUMS[name]))
    monkeypatch.setattr(lower, "share_sums", lambda program: program)
    again = declared_program(model_of(SUMS[name]))
    assert len(again.statements) > len(program.statements)
    values = {t.name: [0.3, 0.7, 1.1] for t in program.of_role(Role.INPUT)} | {"w": 0.4}
    found, wanted = (run(p, values)[str(p.objective)][()] for p in (program, again))
    assert abs(found - wanted) <= 1e-13 * abs(wanted)


OTHER_SUMS = {
    "another range": SUM + "model.minimize(Sum(k*Sum(x[m]*exp(w*z[m] + y[n]), (m, 0, N - 2)), n))",
    "another condition": SUM
    + "model.minimize(Sum(k*Sum(Piecewise((x[m]*exp(w*z[m] + y[n]), y[m] > 0), (0, True)), m), n))",
    "other tensors": SUM + "model.minimize(Sum(k*Sum(z[m]*exp(w*z[m] + y[n]), m), n))",
    "axes the other way": SUM + "model.minimize(Sum(k*Sum(x[n]*exp(w*z[n] + y[m]), m), n))",
}


@pytest.mark.parametrize("name", OTHER_SUMS)
def test_other_sums_are_others(name: str) -> None:
    assert len([line for line in statements(OTHER_SUMS[name]) if "exp(" in line]) == 2


@pytest.mark.parametrize("name", SHARED)
def test_a_variable_is_computed_once(name: str) -> None:
    (line,) = parts(SHARED[name])
    assert line.split(" = ")[1].split(", n")[0] in ("x[n]·w + y[n]²·z[n]", "y[n]²·z[n] + x[n]·w")


OPPOSITE = """k = x[n]*y[n]*z[n]*w
a, b = model.let("a", n, x[n] + k), model.let("b", n, x[n] - 2*k)
model.minimize(Sum(sqrt(a[n])*b[n], n))"""


def test_a_product_is_computed_once_whatever_number_it_is_multiplied_with() -> None:
    (line,) = parts(OPPOSITE)
    assert line.split(" = ")[1].split(", n")[0] == "x[n]·y[n]·z[n]·w"
    assert sum("_part[n]" in line.split(" = ")[1] for line in statements(OPPOSITE) if " = " in line) == 2


KEPT = {
    "too short": 'k = x[n]*w\na = model.let("a", n, sqrt(k)*exp(k))\nmodel.minimize(Sum(a[n], n))',
    "once": PART + 'a = model.let("a", n, sqrt(k))\nmodel.minimize(Sum(a[n], n))',
    "only under a guard": PART + 'a = model.let("a", n, Piecewise((sqrt(k)*exp(k), x[n] > 0), (0, True)))\n'
    "model.minimize(Sum(a[n], n))",
    "the whole of a let": PART + 'a, b = model.let("a", n, k), model.let("b", n, exp(k))\n'
    "model.minimize(Sum(a[n]*b[n], n))",
    "part of a stable form": 'k = 1 + exp(x[n]*w + y[n]*z[n])\na = model.let("a", n, log(k) + 1/k)\n'
    "model.minimize(Sum(a[n], n))",
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_shared(name: str) -> None:
    assert parts(KEPT[name]) == []


@pytest.mark.parametrize("name", [*SHARED, *KEPT])
def test_values_are_those_of_the_formulas_in_full(name: str) -> None:
    """The same lines with nothing shared, since they are read one after another by another SymPy."""
    lines = (SHARED | KEPT)[name]
    program = declared_program(model_of(lines))
    values = {t.name: [0.3, 0.7, 1.1] for t in program.of_role(Role.INPUT)} | {"w": 0.4}
    namespace: dict[str, object] = {}
    exec(HEAD + lines.replace("k = ", "k = 0*x[n] + "), namespace)
    again = declared_program(namespace["model"])
    found, wanted = (run(p, values)[str(p.objective)][()] for p in (program, again))
    assert abs(found - wanted) <= 1e-13 * abs(wanted)


def test_stages_of_runge_and_kutta_stay_as_long_as_they_are_written() -> None:
    rk = """
a, b = model.parameter("a"), model.parameter("b")
def rate(u, v):
    return a*u - b*u*v, b*u*v - v
def step(u, v):
    h = 0.1
    k1 = rate(u, v)
    k2 = rate(u + h/2*k1[0], v + h/2*k1[1])
    k3 = rate(u + h/2*k2[0], v + h/2*k2[1])
    k4 = rate(u + h*k3[0], v + h*k3[1])
    return tuple(s + h/6*(p + 2*q + 2*r + t) for s, p, q, r, t in zip((u, v), k1, k2, k3, k4))
u, v = model.recur(["u", "v"], [(n,), (n,)], lambda u, v: step(u[n - 1], v[n - 1]), initial=[w, 1])
model.minimize(Sum((u[n] - x[n])**2 + (v[n] - y[n])**2, n)/N)
"""
    body = generate_body(model_of(rk), "float64").body
    kernels = body[body.index("# ---- u ---") : body.index("# ---- the whole model")].splitlines()
    assert len(kernels) <= 25 * len((HEAD + rk).splitlines())


def test_numbers_go_into_sums_at_the_end() -> None:
    (line, *_) = statements("model.minimize(Sum(2*(x[n] + w), n))")
    assert "2·x[n] + 2·w" in line
