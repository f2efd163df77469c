"""Several accumulations into one tensor, where something once went wrong: each a spec that random ones found."""

from __future__ import annotations

import pytest
from generated import check_module, execute, module_text
from random_specs import IMPORTS, Spec

from derivgen.pipeline import declared_program

MODEL = f"""{IMPORTS}
model = Model("random")
D = model.sizes(D=3)
d, d2 = model.indices(d=D, d2=D)
W = model.parameter("W", D)
V = model.parameter("V", D, D)
"""


@pytest.mark.parametrize(
    "lines",
    [
        # W_bar at three subscripts in one loop nest, not in one scalar.
        """a = model.let("a", (d, d2), Piecewise((W[d]*W[d - 1], d > 0), (0, True)) + W[d2])
model.minimize(Sum(a[d, d2]*cos(1 + 2*d + 3*d2) + V[d, d2]**2, d, d2))""",
        # Two sums into V_bar[d2,d2], both reduced over d.
        """a = model.let("a", (d,), Sum(V[d2, d2]*cos(d2*d), d2) + Sum(V[d2, d2]*sin(d2*d), d2))
model.minimize(Sum(a[d]**2 + W[d]**2, d))""",
        # Two lets of the same value, one of them under another let.
        """a = model.let("a", (d,), exp(W[d])/Sum(exp(W[d]), d))
b = model.let("b", (d,), exp(a[d])/Sum(exp(a[d]), d))
c = model.let("c", (d,), exp(W[d])/Sum(exp(W[d]), d))
model.minimize(Sum(-log(b[d])*cos(d), d) + Sum(sin(c[d] + 1)*d, d) + Sum(V[d, d2]**2, d, d2))""",
        # A sum that two loops of one kernel add to, nowhere stored.
        """a = model.let("a", (d,), Sum(W[d2]**3, d2)/sqrt(1 + Sum(Sum(W[d2]**3, d2)**2, d)))
model.minimize(Sum(a[d]**2, d) + Sum(V[d, d2]**2, d, d2))""",
        # The write that covers a_bar is of another let than the one before it, which needs a cotangent in between.
        """a = model.let("a", (d, d2), sin(V[d, d2]))
b = model.let("b", (d, d2), exp(a[d, d2])/Sum(exp(a[d, d2]), d2))
c = model.let("c", (d,), tanh(Sum(Piecewise((a[d - 1, d2]*a[d - 1, 0], d > 0), (0, True)), d2)))
model.minimize(Sum(-log(b[d, 0]), d) + Sum(c[d]**2 + W[d]**2, d))""",
        # Equal softmaxes, one of them needed for its logarithm only.
        """a = model.let("a", (d,), exp(W[d])/Sum(exp(W[d]), d))
b = model.let("b", (d,), exp(W[d])/Sum(exp(W[d]), d))
model.minimize(-log(a[D - 1]) + Sum(sin(b[d] + 1)*d, d) + Sum(V[d, d2]**2, d, d2))
model.predict(a)""",
        # A sum of the forward pass that is W_bar.
        "model.minimize(Sum(W[d]*Sum(V[d, d2]**3, d2), d))",
    ],
    ids=[
        "three subscripts",
        "the diagonal twice",
        "equal lets",
        "two loops",
        "across lets",
        "a softmax and a log-softmax",
        "a sum that is a gradient",
    ],
)
def test_gradient(lines: str) -> None:
    spec = Spec(f"{MODEL}{lines}\n", (), seed=1)
    declared = declared_program(spec.model())
    assert check_module(execute(module_text(spec.model())), declared, spec.values(declared)) == []
