"""A second printer of code: plain Python without numba, as short as a printer can be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.special
import sympy as sp

from derivgen.code import operations as op
from derivgen.code.proof import Proof
from derivgen.code.tree import Assign, Block, Code, Fill, For, Function, If, Let, Matrix, Product, Scale
from derivgen.form import functions as form

NAMES: dict[type | str, Callable[..., float]] = {
    sp.exp: np.exp,
    sp.log: np.log,
    sp.sin: math.sin,
    sp.cos: math.cos,
    sp.tan: math.tan,
    sp.sinh: np.sinh,
    sp.cosh: np.cosh,
    sp.tanh: math.tanh,
    sp.atan: math.atan,
    sp.atan2: math.atan2,
    sp.erf: math.erf,
    sp.erfc: math.erfc,
    form.erfc: math.erfc,
    sp.Abs: abs,
    sp.sign: np.sign,
    sp.floor: math.floor,
    sp.ceiling: math.ceil,
    form.difference: lambda u, v: u - v,
    form.sigmoid: scipy.special.expit,
    form.softplus: lambda u: np.logaddexp(0, u),
    form.log1p: np.log1p,
    form.expm1: np.expm1,
    form.xlogy: scipy.special.xlogy,
    form.logaddexp: np.logaddexp,
    form.root: math.sqrt,
    form.ordinal: lambda u: u,  # as a real, which Python orders too: examples have no NaN
    form.of_ordinal: lambda u: u,
    op.ROOT: math.sqrt,
    op.SQUARE: lambda u: u * u,
    op.CUBE: lambda u: u * u * u,
    op.INTEGER_POWER: pow,
    op.POWER: pow,
    op.MAXIMUM: max,
    op.MINIMUM: min,
    sp.Min: min,
    sp.Max: max,
}
CALLED = {f"f{k}": function for k, function in enumerate(NAMES.values())}
TEXTS = dict(zip(NAMES, CALLED, strict=True))


def compiled(function: Function) -> Callable[..., None]:
    """A kernel as a Python function of its arrays, then the factors of products, then its run-time sizes by name."""
    namespace: dict[str, object] = {**CALLED, "inf": math.inf, "pi": math.pi, "min": min}
    exec(text_of(function), namespace)
    return namespace["kernel"]  # type: ignore[return-value]


def text_of(function: Function) -> str:
    printer = Printer(function)
    head = ", ".join([*function.arrays, "_alpha", "_beta", *(size for size, _ in function.sizes)])
    return "\n".join([f"def kernel({head}):", *printer.block(function.body), "    return"])


class Printer:
    def __init__(self, function: Function) -> None:
        proof = Proof(function)
        self.operations = op.Operations(function.order, proof.is_integer)
        self.integers = {name for name, t in proof.table.items() if t.integer}

    # ---- statements

    def block(self, block: Block) -> list[str]:
        return [f"    {line}" for code in block for line in self.statement(code)] or ["    pass"]

    def statement(self, code: Code) -> list[str]:
        match code:
            case Let():
                return [f"{code.name} = {self.value(code.value, code.integer)}"]
            case Assign():
                place = self.text(self.operations.place(code.place))
                value = self.value(code.value, code.place.tensor in self.integers)
                return [
                    f"{place} = max({place}, {value})"
                    if code.operator == "max="
                    else f"{place} {code.operator} {value}"
                ]
            case For():
                bounds = f"range({self.value(code.start, True)}, {self.value(code.stop, True)}, {code.step})"
                return [
                    f"for {code.index} in {f'reversed({bounds})' if code.backwards else bounds}:",
                    *self.block(code.body),
                ]
            case If():
                otherwise = ["else:", *self.block(code.otherwise)] if code.otherwise else []
                test = self.text(self.operations.condition(code.condition))
                return [f"if {test}:", *self.block(code.body), *otherwise]
            case Fill():
                return [f"{code.array}[...] = {self.value(code.value)}"]
            case Product():
                left, right, out = map(self.matrix, (code.left, code.right, code.out))
                if code.scale is Scale.FACTORS:
                    return [f"{out}[...] = _alpha * ({left} @ {right}) + (_beta * {out} if _beta else 0)"]
                return [f"{out}[...] {'+=' if code.scale is Scale.ADD else '='} {left} @ {right}"]

    def matrix(self, m: Matrix) -> str:
        at = ", ".join(":" if i is None else self.value(i, True) for i in m.point)
        sides = ", ".join(self.value(e, True) for e in m.sides)
        shaped = f".reshape({sides})" if m.is_reshaped else ""
        return f"{m.array}[{at or '...'}]{shaped}{'.T' if m.transposed else ''}"

    # ---- values, each in parentheses

    def value(self, e: sp.Expr, integer: bool = False) -> str:
        return self.text(self.operations.integer(e) if integer else self.operations.real(e))

    def text(self, o: op.Operation) -> str:
        match o:
            case op.Number():
                exact = o.integer or o.value.is_Integer
                return f"({int(o.value)})" if exact else f"({float(o.value)!r})"
            case op.Name():
                return o.name
            case op.Place():
                return f"{o.name}[{', '.join(map(self.text, o.subscripts))}]" if o.subscripts else o.name
            case op.ToReal():
                return self.text(o.value)
            case op.Sum():
                return f"({''.join(('-' if minus else '+') + self.text(term) for minus, term in o.terms)})"
            case op.Quotient():
                above, below = (" * ".join(map(self.text, factors)) for factors in (o.above, o.below))
                return f"({'-' if o.negative else ''}{above}{f' / ({below})' if below else ''})"
            case op.Call():
                return f"{TEXTS[o.function]}({', '.join(map(self.text, o.arguments))})"
            case op.Choice():
                branches = "".join(f"{self.text(value)} if {self.text(c)} else " for value, c in o.branches)
                return f"({branches}{self.text(o.default)})"
            case op.Comparison():
                return f"({self.text(o.left)} {o.relation} {self.text(o.right)})"
            case op.All():
                return f"({' and '.join(map(self.text, o.parts))})"
            case op.Any():
                return f"({' or '.join(map(self.text, o.parts))})"
            case op.Not():
                return f"(not {self.text(o.part)})"
            case op.Truth():
                return str(o.value)
