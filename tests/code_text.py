"""Code as text, in the notation that the numba printer has: parsed for tests of passes, and printed to compare."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping

import sympy as sp

from derivgen.code.check import check_code
from derivgen.code.proof import Proof
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let, Scratch
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.functions import difference, sigmoid
from derivgen.form.program import Role, Tensor
from derivgen.print.kernels import Printer

SHAPES = {"x": (6,), "y": (6,), "z": (6,), "w": (6, 6), "r": ("N",), "l": ("N", range(6)), "u": (40,), "v": (40,)}
SHAPES |= {"hidden": (6, "N"), "hidden_bar": (6, "N")}
FUNCTIONS = {"exp": sp.exp, "sin": sp.sin, "cos": sp.cos, "np.sqrt": sp.sqrt}
FUNCTIONS |= {"sigmoid": sigmoid, "difference": difference}


class Parser:
    """Reads statements; `arrays` by name, upper-case names are run-time sizes, names of loops are indices.

    Loops over `steps(N)` and over `back(N)` are those of recurrences, the latter with the last step first. A local that
    was made before a block is assigned in it.
    """

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        self.arrays, self.indices = dict(arrays), set[str]()
        self.made, self.outside = set[str](), set[str]()

    def block(self, nodes: list[ast.stmt]) -> Block:
        before = self.made, self.outside
        self.made, self.outside = {*self.made}, self.made
        found = tuple(map(self.statement, nodes))
        self.made, self.outside = before
        return found

    def statement(self, node: ast.stmt) -> Code:
        match node:
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id=word), args=bounds)):
                limits = [self.value(b) for b in bounds]
                self.indices.add(name)
                start = limits[0] if limits[1:] else sp.S.Zero
                back, steps = word == "back", word != "range"
                return For(index_symbol(name), limits[-1], self.block(node.body), start, backwards=back, steps=steps)
            case ast.If():
                return If(self.value(node.test), self.block(node.body), self.block(node.orelse))
            case ast.AugAssign():
                value = self.value(node.value)
                return Assign(self.value(node.target), "+=", -value if isinstance(node.op, ast.Sub) else value)
            case ast.Assign(targets=[target], value=ast.Call(func=ast.Name(id="maximum"), args=[_, value])):
                return Assign(self.value(target), "max=", self.value(value))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="scratch"), args=extents)):
                shape = tuple(map(self.value, extents))
                self.arrays[name] = Tensor(name, shape, Role.HELPER)
                return Scratch(name, shape)
            case ast.AnnAssign(target=target, value=ast.expr() as given):
                return Assign(self.value(target), "=", self.value(given))
            case ast.Assign(targets=[target]):
                place, value = self.value(target), self.value(node.value)
                if place.subscripts or place.tensor in self.outside:
                    return Assign(place, "=", value)
                self.made.add(place.tensor)
                return Let(place.tensor, value)
        raise AssertionError(ast.dump(node))

    def value(self, node: ast.expr):
        match node:
            case ast.Constant(value=number):
                return sp.sympify(number)
            case ast.Name(id=name) if name in self.indices:
                return index_symbol(name)
            case ast.Name(id=name):
                return size_symbol(name) if name.isupper() else Read(name)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=places)):
                return Read(name, *map(self.value, places))
            case ast.Subscript(value=ast.Name(id=name), slice=place):
                return Read(name, self.value(place))
            case ast.UnaryOp(op=ast.USub()):
                return -self.value(node.operand)
            case ast.UnaryOp(op=ast.Not()):
                return sp.Not(self.value(node.operand))
            case ast.BoolOp():
                return (sp.And if isinstance(node.op, ast.And) else sp.Or)(*map(self.value, node.values))
            case ast.IfExp():
                return sp.Piecewise((self.value(node.body), self.value(node.test)), (self.value(node.orelse), True))
            case ast.Compare(left=left, ops=[relation], comparators=[right]):
                kinds = {ast.Lt: sp.Lt, ast.LtE: sp.Le, ast.Gt: sp.Gt, ast.GtE: sp.Ge, ast.Eq: sp.Eq, ast.NotEq: sp.Ne}
                return kinds[type(relation)](self.value(left), self.value(right), evaluate=False)
            case ast.BinOp(left=left, op=kind, right=right):
                a, b = self.value(left), self.value(right)
                return {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b, ast.Div: a / b, ast.Pow: a**b}[type(kind)]
            case ast.Call(func=ast.Name(id="real"), args=[value]):
                return self.value(value)
            case ast.Call(func=ast.Name(id="min" | "max" as word), args=[a, b]):
                return (sp.Min if word == "min" else sp.Max)(self.value(a), self.value(b))
            case ast.Call(func=function, args=values):
                return FUNCTIONS[ast.unparse(function)](*map(self.value, values))
        raise AssertionError(ast.dump(node))


def function(text: str, **shapes: tuple) -> Function:
    """The function of some lines, on arrays of these shapes.

    A letter in a shape is a run-time size; a range makes it an array of labels below a number.
    """
    arrays = {}
    for name, shape in shapes.items():
        classes = shape[-1].stop if isinstance(shape[-1], range) else None
        extents = tuple(
            size_symbol(e) if isinstance(e, str) else sp.Integer(e) for e in shape if not isinstance(e, range)
        )
        role = Role.LET if classes is None else Role.LABELS
        arrays[name] = Tensor(name, extents, role, integer=classes is not None, classes=classes)
    parser = Parser(arrays)
    with as_written():
        body = parser.block(ast.parse(textwrap.dedent(text)).body)
    return Function("f", arrays, body, {name: k for k, name in enumerate(parser.arrays)}, taken=frozenset(arrays))


def text_of(code: Function) -> str:
    """The lines of a function's body, checked first."""
    with as_written():
        lines = Printer(check_code(code), Proof(code)).block(code.body, 0)
    return "\n".join(lines)


def shown(text: str) -> str:
    return textwrap.dedent(text).strip("\n")
