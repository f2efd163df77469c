"""Scalar expressions → Python text in double precision, for what is computed once in a step, whatever the module's dtype."""

from __future__ import annotations

import sympy as sp

from derivgen.emit.kernel.scalar import ScalarText

# Functions of the module by what stands in their place; others are numpy's own, or Python's.
FORMS = {
    "asinh": "np.arcsinh({})",
    "acosh": "np.arccosh({})",
    "atan2": "np.arctan2({}, {})",
    "erf": "math.erf({})",
    "erfc": "math.erfc({})",
    "sigmoid": "np.exp(-np.logaddexp(0, -({})))",
    "softplus": "np.logaddexp(0, {})",
    "xlogy": "({0} * np.log({1}) if {0} != 0 else 0.0)",
    "difference": "np.subtract({}, {})",
    "cube": "np.power({}, 3)",
    "abs": "abs({})",
}


class DoubleText(ScalarText):
    """Writes scalar expressions in float64: literals are bare, functions are numpy's."""

    def number(self, e: sp.Expr) -> str:
        if e in (sp.oo, -sp.oo):
            return "np.inf" if e == sp.oo else "-np.inf"
        if e == sp.pi:
            return "math.pi"
        return str(e) if e.is_Integer else repr(float(e))

    def is_integral(self, e: sp.Expr) -> bool:
        return False

    def call(self, function: str, *arguments: str) -> str:
        if form := FORMS.get(function):
            return form.format(*arguments)
        name = function if function.startswith("np.") else f"np.{function}"
        return f"{name}({', '.join(arguments)})"
