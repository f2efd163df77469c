"""Conditions with branches, sums, labels and shifts in them, where something once went wrong.

Each is a spec that random ones found, as small as it still failed.
"""

from __future__ import annotations

import numpy as np
import pytest
from direct_evaluation import Direct
from generated import check_module, execute, module_text
from random_specs import IMPORTS, Spec

from derivgen.oracle import differences as oracle
from derivgen.oracle.interpreter import run
from derivgen.pipeline import declared_program

MODEL = f"""{IMPORTS}
model = Model("random")
N = model.batch("N")
D, H = model.sizes(D=4, H=1)
n, i, r, o = model.indices(n=N, i=D, r=3, o=H)
x = model.input("x", N, D)
y = model.labels("y", N, classes=D, ignore=-100)
W = model.parameter("W", D)
"""
PADDED = "Piecewise((W[i + r - 1]*r, And(i + r - 1 >= 0, i + r - 1 < D)), (0, True))"

LINES = {
    "a padded convolution, its unit in the same let": f"""z = W[i] + Sum({PADDED}, r)
model.minimize(Sum(cos(i)*Piecewise((z, z > 0), (exp(z) - 1, True)), i))""",
    "a sum that sizes leave empty": """
a = model.let("a", (n,), Sum(Piecewise((x[n, i]*W[i + 1], i + 1 < D), (0, True)), (i, 3, D - 1)))
b = model.let("b", (), Sum(Sum(Piecewise((x[n, i]*W[i], i < 3), (0, True)), (i, 3, D - 1))*o, n, o))
model.minimize(Sum(a[n]**2, n) + b**2 + Sum(W[i]**2, i))""",
    "calls that stand twice, of reads past the end": """
z = Piecewise((cos(exp(W[i + 1])) - exp(W[i + 1])*W[i], i + 1 < D), (1, True))
model.minimize(Sum(W[i]*z**2 + Piecewise((1, i + 1 >= D), (exp(W[i + 1]), sin(exp(W[i + 1])) > 0), (2, True)), i))""",
    "x·log(x) of branches": """z = 2 + sin(W[i] + Piecewise((W[i - 1], i > 0), (0, True)))
model.minimize(Sum(z*log(z), i))""",
    "a function of a branch on data": """z = Piecewise((W[i], W[i]**2 < 1), (1, True))
model.minimize(Sum(tanh(z)**3, i))""",
    "a branch on data without indices": """z = Piecewise((W[0], Or(W[0]**2 < 1, W[0] <= 0.2)), (1, True))
model.minimize(Sum(W[i]**2*i, i) + tanh(z)**3)""",
    "a branch on a sum of exponentials": """a = model.let("a", (), Sum(exp(W[i]), i))
model.minimize(1/a + Piecewise((W[0]**2, a > 0), (W[1], True)))""",
    "a branch that limits rule out": """
model.minimize(Sum(W[i]*Piecewise((W[i + 1], i < 1), (Rational(1, 2), True)), (i, 1, D - 1)))""",
    "a branch that sizes rule out": """
a = model.let("a", (), Sum(Piecewise((Sum(W[i]*o, i), o > 0), (Rational(1, 3), True))**2, o))
b = model.let("b", (n,), tanh(a*stop_gradient(Piecewise((W[0], n + 1 < H), (0, True)))))
model.minimize(Sum(b[n]**2, n) + W[1]**2)""",
    "a logarithm of a sum in a branch that data rules out": """
z = Piecewise((2*W[0], W[0] <= 0.2), (log(Sum(exp(W[i]), i)), W[0] > 0), (1, True))
model.minimize(Piecewise((z, And(W[0] > 0, W[0] <= 0.2)), (W[1], True))**2)""",
    "labels with alternatives of indices around": """
found = Piecewise((W[y[n]]**2, Or(n < N - 1, n > 0)), (W[0], Or(Ne(n, 1), n < 3)), (1, True))
a = model.let("a", (n,), x[n, 0] + found)
model.minimize(Sum(a[n], n)/N)""",
    "ignored labels in an exponent": """
a = model.let("a", (n,), 2**tanh(Piecewise((W[y[n]]*x[n, 0], n > 0), (W[0], True))))
model.minimize(Sum(a[n], n)/N)""",
    "ignored labels in a power": """
a = model.let("a", (n,), (2 + Piecewise((W[y[n]]**2, x[n, 0] > 0), (W[0]**2, True)))**W[1])
model.minimize(Sum(a[n], n)/N)""",
    "ignored labels in a maximum": """
model.minimize(Sum(Max(Piecewise((W[y[n]], x[n, 0] > 0), (W[0], True)), 0.1, W[1]), n)/N)""",
}


@pytest.mark.parametrize("case", LINES)
def test_value_and_gradient(case: str) -> None:
    spec = Spec(f"{MODEL}{LINES[case]}\n", (("N", 5),), seed=2)
    model = spec.model()
    declared = declared_program(model)
    values = spec.values(declared)
    expected = np.array(Direct(model, values, dict(spec.runtime)).objective())
    assert oracle.relative_error(run(declared, values)[str(declared.objective)], expected) <= 1e-13
    assert check_module(execute(module_text(model)), declared, values) == []
