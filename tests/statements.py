"""Programs from their own notation: a test of a pass is what stands before it and what stands after it, as printed.

    z[n] += Σ_k x[n,k]·w[k] if n > 0
    h[t] = h[t - 1] + z[t], t = 0, 1, …

The first letter of an index is its extent's. A tensor that no statement writes is a parameter, one that ends in `_bar`
or `_dot` an adjoint, any other a helper; what nothing reads is asked for. Constants with the same first letter hold the
same.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import sympy as sp

from derivgen.explain.parse import FUNCTIONS
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import TRUE, Read, index_symbol, indices_of, size_symbol
from derivgen.form.functions import partial, stop_gradient
from derivgen.form.program import Program, Range, Role, Scan, Statement, Tensor

FIXED = {"i": 3, "j": 4, "k": 5, "o": 2, "r": 2, "t": 4}
EXTENTS = {"n": size_symbol("N"), **{letter: sp.Integer(extent) for letter, extent in FIXED.items()}}
LAYER = "layer"
ROOT = {"sqrt": sp.sqrt}
SILENT = {"stop_gradient": stop_gradient, "partial": partial}  # that print otherwise
STEPS = {", {} = 0, 1, …": False, ", {} = …, 1, 0": True}
BINARY = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
RELATIONS = {ast.Eq: sp.Eq, ast.NotEq: sp.Ne, ast.Lt: sp.Lt, ast.LtE: sp.Le, ast.Gt: sp.Gt, ast.GtE: sp.Ge}
SIGNS = {"√": "sqrt", "^": "**", "·": "*", "≤": "<=", "≥": ">=", "≠": "!=", "²": "**2", "³": "**3", "⁴": "**4"}
LINE = re.compile(r"(\w+)(?:\[(.*?)\])? (\+?=) (?:(Σ|max|\((\w+) of\) argmax)_([\w,]+) )?(.*)")


@as_written()
def program_of(
    text: str,
    roles: Mapping[str, Role] | None = None,
    shapes: Mapping[str, str] | None = None,
    outputs: tuple[str, ...] | None = None,
    tables: Mapping[str, Sequence[int]] | None = None,
) -> Program:
    """The program of some lines of notation; `tables` are constants of integers.

    `shapes` of tensors, as indices of these extents or as numbers, are those of their first access where unsaid; all
    statements are of one layer; the output `loss` is the objective.
    """
    tables = {name: np.array(numbers) for name, numbers in (tables or {}).items()}
    roles = {**(roles or {}), **dict.fromkeys(tables, Role.CONSTANT)}
    shapes = {**(shapes or {}), **{name: str(len(numbers)) for name, numbers in tables.items()}}
    integers = {*tables} | {name for name, role in roles.items() if role in (Role.LABELS, Role.MODE)}
    statements = [statement_of(line.strip()) for line in text.strip().splitlines()]
    extents = {name: tuple(map(extent_of, given.split())) for name, given in shapes.items()}
    for access in (a for s in statements for a in (*s.reads, s.write)):
        if access.tensor not in extents:
            extents[access.tensor] = tuple(extent_of(str(i)) for i in access.subscripts)
    written = {s.target for s in statements}
    integers |= {s.target for s in statements if s.operator == "argmax="}
    tensors = [
        Tensor(
            name,
            shape,
            roles.get(name, role_of(name) if name in written else Role.PARAMETER),
            integer=name in integers,
            classes=4 if roles.get(name) is Role.LABELS else None,
            value=tables.get(name, table_of(name, shape)) if roles.get(name) is Role.CONSTANT else None,
        )
        for name, shape in extents.items()
    ]
    if outputs is None:
        read = {r.tensor for s in statements for r in s.reads}
        outputs = tuple(dict.fromkeys(s.target for s in statements if s.target not in read))
    loss = "loss" if "loss" in outputs else None
    results = tuple(name for name in outputs if name != loss)
    sizes = (("N", size_symbol("N")),)
    return check_program(Program("example", tuple(tensors), tuple(statements), sizes, loss, results=results))


def role_of(name: str) -> Role:
    return Role.ADJOINT if name.endswith(("_bar", "_dot")) else Role.LET if name == "loss" else Role.HELPER


def table_of(name: str, shape: tuple[sp.Expr, ...]) -> np.ndarray:
    """The numbers of a constant: the same for names with the same first letter."""
    return ord(name[0]) / 100 + np.arange(math.prod(map(int, shape)), dtype=float).reshape(tuple(map(int, shape)))


def extent_of(text: str) -> sp.Expr:
    """The extent of an axis: of the index that it is accessed at, or a number."""
    return EXTENTS[text[0]] if text[0] in EXTENTS else sp.Integer(text)


def statement_of(line: str) -> Statement:
    scan = None
    for steps, reverse in STEPS.items():
        if found := re.search(re.escape(steps).replace(r"\{\}", r"(\w+)") + "$", line):
            scan = Scan("scan", index_symbol(found[1]), reverse)
            line = line[: found.start()]
    parts = LINE.fullmatch(line)
    assert parts is not None, f"no statement: {line}"
    target, subscripts, sign, reduction, winner, reduced, right = parts.groups()
    value, guard = right, "True"
    if found := re.search(r" if ([^()]*(?:\([^()]*\)[^()]*)*)$", right):
        value, guard = right[: found.start()], found[1]
    write = expression_of(f"({subscripts},)" if subscripts else "()")
    expression, condition = expression_of(value), expression_of(guard)
    indices = dict.fromkeys(i for e in write for i in sorted(indices_of(e), key=str))
    indices |= dict.fromkeys(map(index_symbol, reduced.split(",") if reduced else ()))
    operator = {None: sign, "Σ": "+=", "max": "max="}.get(reduction, "argmax=")
    domain = tuple(Range(i, EXTENTS[i.name[0]]) for i in indices)
    direction = "backward" if "_bar" in target else "tangent" if "_dot" in target else "forward"
    chosen = None if winner is None else index_symbol(winner)
    return Statement(target, write, operator, expression, domain, condition, LAYER, direction, chosen, scan)


def expression_of(text: str) -> sp.Basic:
    for sign, python in SIGNS.items():
        text = text.replace(sign, python)
    text = re.sub(r"(?<![<>!=])=(?!=)", "==", text)
    return made(ast.parse(text.strip(), mode="eval").body)


def made(node: ast.AST) -> sp.Basic:
    match node:
        case ast.Constant(bool(value)):
            return sp.true if value else sp.false
        case ast.Constant(value):
            return sp.sympify(value)
        case ast.Name(name):
            if re.fullmatch(f"[{''.join(EXTENTS)}][0-9]*", name):
                return index_symbol(name)
            return EXTENTS["n"] if name == "N" else sp.false if name == "false" else Read(name)
        case ast.Tuple(elements):
            return tuple(map(made, elements))
        case ast.Subscript(ast.Name(name), ast.Tuple(subscripts)):
            return Read(name, *map(made, subscripts))
        case ast.Subscript(ast.Name(name), subscript):
            return Read(name, made(subscript))
        case ast.UnaryOp(ast.USub(), operand):
            return -made(operand)
        case ast.UnaryOp(ast.Not(), operand):
            return sp.Not(made(operand))
        case ast.BinOp(left, operation, right):
            return BINARY[type(operation)](made(left), made(right))
        case ast.BoolOp(operation, parts):
            return (sp.And if isinstance(operation, ast.And) else sp.Or)(*map(made, parts))
        case ast.Compare(left, [relation], [right]):
            return RELATIONS[type(relation)](made(left), made(right))
        case ast.IfExp(condition, value, other):
            return sp.Piecewise((made(value), made(condition)), (made(other), TRUE))
        case ast.Call(ast.Name(name), arguments):
            return {**FUNCTIONS, **ROOT, **SILENT}[name](*map(made, arguments))
    raise AssertionError(f"no meaning in a program: {ast.unparse(node)}")
