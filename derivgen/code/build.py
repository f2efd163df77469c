"""Kernels of a schedule → code, as plain as it can be: each statement at its point of the loops, each sum term by term.

Loop(n, N, (Compute(z[n] += x[n,k]·w[k]),))  →  for n: z[n] = 0; for k: z[n] += x[n,k]·w[k]
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import takewhile

import sympy as sp

from derivgen.arrange.contractions import Operand
from derivgen.code.formulas import formulas_of
from derivgen.code.names import Locals
from derivgen.code.tree import (
    NEUTRAL,
    Assign,
    Block,
    Code,
    Fill,
    For,
    Function,
    If,
    Kind,
    Let,
    Matrix,
    Product,
    Scale,
    Scratch,
)
from derivgen.form.expressions import (
    TRUE,
    Read,
    index_symbol,
    is_size,
    replace_reads,
    size_symbol,
    substitute,
)
from derivgen.form.functions import of_ordinal, ordinal
from derivgen.form.program import Program, Statement
from derivgen.schedule import nests
from derivgen.schedule.repeat import arguments_of
from derivgen.schedule.schedule import Kernel

ONE = sp.Integer(1)
DERIVED = ("bar", "dot", "by")  # begin what a derivative of a layer is called after the layer


def code_of(program: Program, kernel: Kernel, name: str, reserved: Iterable[str]) -> Function:
    """The code of one kernel; no name in it is one of those that its language reserves."""
    return Builder(program, kernel, reserved).function(name)


class Builder:
    """The names of one kernel's code, and its nodes as statements."""

    def __init__(self, program: Program, kernel: Kernel, reserved: Iterable[str]) -> None:
        self.program, self.kernel = program, kernel
        self.heirs, self.rows = dict(kernel.heirs), dict(kernel.rows)
        self.locals = Locals(reserved)
        self.symbols: dict[sp.Symbol, sp.Symbol] = {}
        self.give_names()
        self.resolved = cache(self.resolve)

    def function(self, name: str) -> Function:
        formulas = formulas_of(self.program, self.kernel, self.tensor)
        table, order, winners = self.program.table, self.program.order, winners_of(self.program)
        arguments = arguments_of(self.program, self.kernel)
        names = (self.name(t) for t in sorted(self.tensors, key=lambda t: order.get(t, len(order))))
        ranks = {name: rank for rank, name in enumerate(dict.fromkeys(names))}
        body = (*map(self.scratch, self.rows), *self.nodes(self.kernel.body))
        below = {self.name(t): self.resolved(extent) for t, extent in winners.items() if t in self.tensors}
        arrays = {self.tensor(t): replace(table[t], shape=tuple(map(self.resolved, table[t].shape))) for t in arguments}
        named = {new.name: old.name for old, new in self.symbols.items() if is_size(old)}
        return Function(name, arrays, body, ranks, below, formulas, named=named, taken=frozenset(self.locals.taken))

    # ---- names

    def give_names(self) -> None:
        """Names of all that the spec's are for, before there are others; these go past those of other kernels too."""
        statements = self.kernel.statements
        own = [name for s in statements for name in (s.target, *(r.tensor for r in s.reads))]
        names = (*self.kernel.read, *self.kernel.written, *own, *self.heirs.values())
        self.tensors = tuple(dict.fromkeys(names))
        self.roles = self.roles_in(self.kernel.layer, [r.index.name for s in statements for r in s.domain])
        for name in self.tensors:
            self.tensor(name)
        for name, size in self.program.sizes:
            if isinstance(size, sp.Symbol):
                self.symbols[size] = size_symbol(self.locals.of(size, name))
        for index in dict.fromkeys(r.index for s in statements for r in s.domain):
            self.symbols[index] = index_symbol(self.locals.of(index, index.name))
        self.symbols = {old: new for old, new in self.symbols.items() if old != new}
        self.locals.taken.update(self.program.table)

    def roles_in(self, layer: str, indices: Iterable[str]) -> dict[str, str]:
        """Shorter names: of tensors of the kernel's layer, and where all others begin with that of another layer.

        `norm1_gain` is `gain` in the kernels of norm1. Where attention reads `block1_attention_query` and writes
        `block1_attention_heads`, these are `query` and `heads`. So the kernels of equal layers and blocks are one text.
        """
        own = {name: name.removeprefix(f"{layer}_") for name in self.tensors if is_part(name, layer)}
        others = [name for name in self.tensors if name not in own]
        layers = {s.layer for s in self.program.statements}
        around = [name for name in layers if len(others) > 1 and all(is_part(other, name) for other in others)]
        prefix = max(around, key=len, default="")
        short = own | {name: name.removeprefix(f"{prefix}_") for name in others if prefix}
        wanted = [short.get(name, name) for name in self.tensors]
        taken = {*indices, *(name for name, _ in self.program.sizes), *(n for n in wanted if wanted.count(n) > 1)}
        functions = {*self.locals.taken, *dir(builtins)}  # `exp_2` would say nothing beside exp, nor `sum_bar`
        return {n: role for n, role in short.items() if role not in taken and stem(role) not in functions}

    def tensor(self, name: str) -> str:
        """A tensor's own array, or its scalar."""
        return self.locals.of(("tensor", name), self.roles.get(name, name))

    def name(self, tensor: str) -> str:
        """The array or the scalar that holds a tensor."""
        return self.tensor(self.heirs.get(tensor, tensor))

    def scratch(self, tensor: str) -> Scratch:
        """The elements of a tensor that an iteration has."""
        own = self.program.tensor(tensor).shape[self.rows[tensor] :]
        return Scratch(self.tensor(tensor), own if len(own) > 1 else (ONE, *own))

    def place(self, read: Read) -> Read:
        if read.tensor in self.kernel.scalars:
            return Read(self.tensor(read.tensor))
        if read.tensor in self.rows:
            own = tuple(map(self.resolved, read.subscripts[self.rows[read.tensor] :]))
            return Read(self.tensor(read.tensor), *(own if len(own) > 1 else (sp.S.Zero, *own)))
        subscripts = tuple(map(self.resolved, read.subscripts)) or (sp.S.Zero,)
        return Read(self.name(read.tensor), *subscripts)

    def resolve(self, e: sp.Basic) -> sp.Basic:
        """An expression with its reads resolved to places."""
        return substitute(replace_reads(e, self.place), self.symbols)

    # ---- nodes

    def nodes(self, body: Iterable[nests.Node]) -> Block:
        return tuple(code for node in body for code in self.node(node))

    def node(self, node: nests.Node) -> Block:
        match node:
            case nests.Loop():
                return self.loop(node)
            case nests.Contraction():
                return (self.product(node),)
            case nests.Fill():
                return (Fill(self.name(node.tensor), node.value),)
            case nests.Compute():
                return self.compute(node)

    def loop(self, loop: nests.Loop) -> Block:
        """The loop, between what the reductions that it is the outermost loop of start from, and what maxima end in."""
        reduced = [c for c in nests.work_in(loop) if isinstance(c, nests.Compute) and is_reduced_by(c, loop)]
        before = [code for c in reduced for code in self.start(c)]
        after = [code for c in reduced for code in self.end(c)]
        backwards = loop.scan is not None and loop.scan.reverse
        code = For(
            self.resolved(loop.index),
            self.resolved(loop.extent),
            self.nodes(loop.body),
            backwards=backwards,
            parallel=loop.parallel,
            steps=loop.scan is not None,
        )
        return (*dict.fromkeys(before), code, *dict.fromkeys(after))

    def start(self, c: nests.Compute) -> list[Code]:
        """The start of a reduction whose target nothing has written before, or that looks for a maximum's place."""
        s = c.statement
        if not c.winners:
            return [Assign(self.place(s.write), "=", NEUTRAL[s.operator])] if c.first else []
        goes_on = s.operator == "max=" and not c.first
        best = ordinal(self.place(s.write) if goes_on else -sp.oo)
        lets = [Let(self.best(c), best, kind=Kind.INTEGER)]
        return [*lets, *(Let(self.winner(w), sp.S.Zero, kind=Kind.INTEGER) for w in c.winners)]

    def end(self, c: nests.Compute) -> list[Code]:
        if not c.winners:
            return []
        largest = [Assign(self.place(c.statement.write), "=", of_ordinal(Read(self.best(c))))]
        places = [w for w in c.winners if w.target not in self.kernel.scalars]
        stores = [Assign(self.place(w.write), "=", Read(self.winner(w))) for w in places]
        return [*(largest if c.statement.operator == "max=" else []), *stores]

    def best(self, c: nests.Compute) -> str:
        """The local that ranks the largest value so far."""
        s = c.statement
        return self.locals.of(("best", s.write), f"{s.target}_ordinal")

    def winner(self, s: Statement) -> str:
        """The local that holds where the largest value so far stands."""
        if s.target in self.kernel.scalars:
            return self.tensor(s.target)
        return self.locals.of(("winner", s.write), "_".join((s.target, *map(str, s.subscripts))))

    def compute(self, c: nests.Compute) -> Block:
        s = c.statement
        code = self.search(c) if c.winners else (self.assignment(s, c.first),)
        return code if s.guard == TRUE else (If(self.resolved(s.guard), code),)

    def assignment(self, s: Statement, first: bool) -> Code:
        assigns = s.operator == "+=" and first and not s.reduced
        operator = "=" if assigns or s.operator == "argmax=" else s.operator
        return Assign(self.place(s.write), operator, self.resolved(s.expression))

    def search(self, c: nests.Compute) -> Block:
        """The indices move on where the value is larger than the best so far, or the first NaN."""
        best, value = Read(self.best(c)), Read(self.locals.of(("value", c.statement.write), "value"))
        ranked = Let(value.tensor, ordinal(self.resolved(c.statement.expression)), kind=Kind.INTEGER)
        moves = [Assign(Read(self.winner(w)), "=", self.resolved(w.winner)) for w in c.winners]
        return (ranked, If(sp.Gt(value, best, evaluate=False), (Assign(best, "=", value), *moves)))

    # ---- products of matrices

    def product(self, c: nests.Contraction) -> Product:
        p = c.product
        assign, add = (Scale.NEGATE, Scale.SUBTRACT) if p.negative else (Scale.ASSIGN, Scale.ADD)
        scale = Scale.FACTORS if c.scaled else assign if c.first else add
        return Product(self.matrix(p.left), self.matrix(p.right), self.matrix(p.out), scale)

    def matrix(self, o: Operand) -> Matrix:
        """A tensor at a point of the batch as a matrix, or as a vector."""
        shape = self.program.tensor(o.tensor).shape
        free = [self.resolved(shape[axis]) for axis in o.free]
        rows, columns = [*filter(None, (tuple(free[: o.rows]), tuple(free[o.rows :]))), ()][:2]
        point = tuple(self.resolved(i) if i in o.batch else None for i in o.read.subscripts)
        return Matrix(self.name(o.tensor), point, rows, columns, o.transposed and bool(columns))


def is_part(name: str, layer: str) -> bool:
    """Whether a tensor is named after a layer, and is neither the layer's own value nor a derivative of it."""
    rest = name.removeprefix(f"{layer}_")
    return rest != name and rest.isidentifier() and rest.split("_")[0] not in DERIVED


def stem(name: str) -> str:
    """A name without a number after it, and without what it is called as a derivative."""
    return "_".join(takewhile(lambda word: word not in DERIVED and not word.isdigit(), name.split("_")))


def is_reduced_by(c: nests.Compute, loop: nests.Loop) -> bool:
    """Whether a loop is the outermost one of those that a reduction runs over."""
    return c.statement.operator != "=" and nests.carrier(c.statement) == loop.index


def winners_of(program: Program) -> dict[str, sp.Expr]:
    """For each tensor of places of maxima, the extent of the index whose values it holds."""
    return {
        s.target: next(r.extent for r in s.domain if r.index == s.winner)
        for s in program.statements
        if s.winner is not None
    }
