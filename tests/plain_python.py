"""A second printer of code: plain Python without numba, as short as a printer can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace

import numpy as np
import scipy.special
import sympy as sp
from plain_library import fill_uniform, observe, parts_by, view

from derivgen.code import operations as op
from derivgen.code.proof import Proof
from derivgen.code.routine import Routine, Signature, as_function, is_scaled, proof_of, unknown_sizes
from derivgen.code.tree import (
    Arrays,
    Assign,
    Bind,
    Block,
    Borrowed,
    Break,
    Bundle,
    Call,
    Code,
    Copied,
    Fill,
    For,
    Function,
    If,
    Item,
    Kind,
    Let,
    Matrix,
    Note,
    Number,
    Product,
    Receive,
    Return,
    Scratch,
    View,
)
from derivgen.form import functions as form
from derivgen.whole.whole import Whole

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
    form.ordinal: lambda u: u,  # as a real, which Python orders too: examples have no NaN
    form.of_ordinal: lambda u: u,
    form.log_total: np.log,
    **dict.fromkeys((form.root, op.ROOT), math.sqrt),
    op.SQUARE: lambda u: u * u,
    op.CUBE: lambda u: u * u * u,
    **dict.fromkeys((op.INTEGER_POWER, op.POWER), pow),
    op.MAXIMUM: max,
    op.MINIMUM: min,
    sp.Min: min,
    sp.Max: max,
    sp.Mod: lambda a, b: a % b,
}
CALLED = {f"f{k}": function for k, function in enumerate(NAMES.values())}
TEXTS = dict(zip(NAMES, CALLED, strict=True))


def module(whole: Whole, codes: Iterable[Function]) -> dict[str, Callable]:
    """The functions of a module: its kernels, what calls them, and what a language brings."""
    texts = [kernel_text(code) for code in codes]
    texts += [routine_text(routine, whole.signatures) for routine in whole.routines]
    parts = parts_by(whole.signatures["parts"].result.fields)
    namespace = {**CALLED, **LIBRARY, "parts": parts, "inf": math.inf, "pi": math.pi, "min": min, "ASSIGN": (1.0, 0.0)}
    exec("\n\n".join(texts), namespace)
    return namespace


def kernel_text(kernel: Function) -> str:
    head = ", ".join([*kernel.arrays, *(["alpha_beta"] if is_scaled(kernel) else []), *unknown_sizes(kernel)])
    sizes = [f"    {size} = {place[0]}.shape[{place[1]}]" for size, place in kernel.sizes if place is not None]
    return "\n".join([f"def {kernel.name}({head}):", *sizes, *Printer(kernel, Proof(kernel)).block(kernel.body)])


def routine_text(routine: Routine, known: Mapping[str, Signature]) -> str:
    function = as_function(routine, known)
    printer = Printer(function, proof_of(routine, function))
    return "\n".join([f"def {routine.name}({', '.join(routine.arguments)}):", *printer.block(routine.body)])


LIBRARY = {
    "view": view,
    "bundle": SimpleNamespace,
    "empty": np.empty,
    "scaled": lambda product, out, alpha, beta: alpha * product + (beta * out if beta else 0),
    "uniform": fill_uniform,
    "observe": observe,
    "sum_of_squares": lambda vector, start, stop: sum(float(x) ** 2 for x in vector[start:stop]),
}


class Printer:
    def __init__(self, function: Function, proof: Proof) -> None:
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
                bounds = ", ".join(self.value(sp.sympify(e), True) for e in (code.start, code.stop, code.step))
                steps = f"reversed(range({bounds}))" if code.backwards else f"range({bounds})"
                return [f"for {code.index} in {steps}:", *self.block(code.body)]
            case If():
                otherwise = ["else:", *self.block(code.otherwise)] if code.otherwise else []
                test = self.text(self.operations.condition(code.condition))
                return [f"if {test}:", *self.block(code.body), *otherwise]
            case Fill():
                stop = "" if code.stop is None else self.value(code.stop, True)
                return [f"{code.array}[{self.value(code.start, True)} : {stop}] = {self.value(code.value)}"]
            case Product():
                left, right, out = map(self.matrix, (code.left, code.right, code.out))
                known = {"ASSIGN": "1, 0", "ADD": "1, 1", "NEGATE": "-1, 0", "SUBTRACT": "-1, 1"}
                factors = known.get(code.scale.name, "*alpha_beta")
                return [f"{out}[...] = scaled({left} @ {right}, {out}, {factors})"]
            case Scratch():
                return [f"{code.name} = empty({code.shape})"]
            case Receive():
                return [f"{self.text(self.operations.place(code.place))} {code.operator} {self.passed(code.call)}"]
            case Bind():
                return [f"{code.name} = {self.passed(code.value)}"]
            case Return():
                return [f"return {', '.join(map(self.passed, code.results))}"]
            case Break():
                return ["break"]
            case Note():
                return [f"# {code.words}"]
        return [self.passed(code)]

    def passed(self, a: Arrays | Number | sp.Basic) -> str:
        """What a function is given, or returns."""
        match a:
            case View():
                numbers = (self.value(e, True) for e in (a.start, *(a.shape or (sp.S.One,))))
                return f"view({', '.join([a.flat, *numbers])})"
            case Item():
                return f"{a.stack}[{self.value(a.index, True)}]"
            case Bundle():
                return f"bundle({', '.join(f'{name}={self.passed(part)}' for name, part in a.fields)})"
            case Borrowed():
                return a.array
            case Copied():
                return f"{self.passed(a.array)}.copy()"
            case Call():
                return f"{a.function}({', '.join(map(self.passed, a.arguments))})"
            case Number():
                return self.value(a.value, a.kind is Kind.INTEGER)
        return str(a) if a in (sp.true, sp.false) or isinstance(a, str) else self.value(a)

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
            case op.Length():
                return f"{o.array}.shape[{o.axis}]"
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
