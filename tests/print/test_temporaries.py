"""Scalars that hold parts of a long expression: none is written again before it was read."""

from __future__ import annotations

import pytest
from generated import check_module, execute, module_text
from random_specs import IMPORTS, Spec

from derivgen.pipeline import declared_program

MODEL = f"""{IMPORTS}
model = Model("random")
D = model.sizes(D=3)
d, d2 = model.indices(d=D, d2=D)
b = model.parameter("b", D)
V = model.parameter("V", D)
"""


@pytest.mark.parametrize(
    "expression",
    [
        "atan((b[d]*V[d]/2 + V[d])/(1 + (b[d]*V[d]/2 + V[d])**2))",
        "(exp(tanh(b[d]/3)) - exp(-tanh(V[d]/3)))/(exp(tanh(b[d]*V[d]/3)) + exp(-tanh(b[d] + V[d])))",
        "log(Sum(exp(V[d2]/3 + b[d2]/3 + Piecewise((V[d - 1]*b[d2], d > 0), (0, True))/6), d2))",
    ],
)
def test_gradient(expression: str) -> None:
    lines = f'a = model.let("a", (d,), {expression})\nmodel.minimize(Sum(a[d]*cos(d), d))\n'
    spec = Spec(MODEL + lines, (), seed=1)
    declared = declared_program(spec.model())
    assert check_module(execute(module_text(spec.model())), declared, spec.values(declared)) == []
