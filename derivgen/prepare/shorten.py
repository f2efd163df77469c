"""Program → the same program with long formulas in parts, each a tensor of its own.

The reverse rule writes a formula's local derivative once for each read. That of u² with a hundred reads in u has u in
it a hundred times, that of a branch all conditions before it. So what is long, and would be repeated, gets a tensor:
for `loss += (… a hundred terms …)²` that is `part = … a hundred terms …` and `loss += part²`, whose adjoints are
`part_bar = 2·part` and a hundred short ones. Programs, and the time to make them, then grow as their formulas do.

    z = f(g(a, b, …)),  long    →    part = g(a, b, …)
                                     z = f(part)

A branch that several calls have inside them is such a part too: the derivatives by what is read in it would have these
calls under its condition, where nothing else computes the same.

A maximum in a recurrence has parts, where its arguments may be rounded otherwise at another place. One of them
is often what an earlier step has stored. Then all derivatives must find the same one of two equal ones the larger.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    TRUE,
    Read,
    all_of,
    conjuncts,
    guarded,
    index_symbol,
    indices_of,
    is_division,
    negation,
    reads_of,
    substitute,
)
from derivgen.form.functions import partial
from derivgen.form.program import Names, Operator, Program, Range, Role, Statement, Tensor, names_of
from derivgen.rewrite.calls import is_costly

REPEATED = 200  # nodes that a part's adjoints may repeat: its reads times its nodes
HIGHEST = 16  # levels of a formula
BRANCHES = 8  # of a Piecewise: each has the conditions of all before it
ARGUMENTS = 4  # of a maximum that are no numbers: each is compared with all others
CALLS = 2  # that have one branch inside them
FACTORS = 8  # of a product: the derivative by each has all others


@as_written()
def shorten(program: Program) -> Program:
    """Each long formula is computed in parts, which are tensors.

    `loss += Σ_n (a[n] + b[n] + …)²` → `loss_part[n] = a[n] + b[n] + …` and `loss += Σ_n loss_part[n]²`
    """
    if not any(map(is_long, program.statements)):
        return program
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    for s in program.statements:
        if not is_long(s):
            statements.append(s)
            continue
        parts = Parts(s, names)
        statements += parts.statements()
        tensors += parts.tensors
    return check_program(program.with_statements(statements, tensors))


def is_long(s: Statement) -> bool:
    e = s.expression
    apart = any(repeats(node, s.scan is not None) for node in compounds(e))
    return height(e) > HIGHEST or apart or bool(inner_branches(e)) or repeated_conditions(e, size(s.guard)) > REPEATED


def inner_branches(e: sp.Basic) -> frozenset[sp.Piecewise]:
    """The outermost branches of which a read is inside of several calls."""
    calls = [node for node in compounds(e) if is_costly(node) and node.has(sp.Piecewise)]
    found = {p for call in calls for p in outermost_branches(call)}
    return frozenset(
        p for p in found if any(reads_of(pair.args[0]) for pair in p.args) and sum(c.has(p) for c in calls) >= CALLS
    )


def outermost_branches(e: sp.Basic) -> list[sp.Piecewise]:
    """The branches in an expression that stand in no other one."""
    if isinstance(e, sp.Piecewise):
        return [e]
    return [] if isinstance(e, Read) else [p for a in e.args for p in outermost_branches(a)]


def repeated_conditions(e: sp.Basic, before: int) -> int:
    """The most nodes of conditions, with those before, that the adjoints of what one branch reads repeat."""
    if isinstance(e, Read) or not e.has(sp.Piecewise):
        return 0
    if not isinstance(e, sp.Piecewise):
        return max(repeated_conditions(a, before) for a in e.args)
    most = 0
    for value, condition in (pair.args for pair in e.args):
        before += size(condition)
        most = max(most, before * len(reads_of(value)), repeated_conditions(value, before))
    return most


@functools.lru_cache(maxsize=2**16)
def height(e: sp.Basic) -> int:
    """The levels of an expression; a read is one."""
    return 1 if isinstance(e, Read) else 1 + max(map(height, e.args), default=0)


@functools.lru_cache(maxsize=2**16)
def size(e: sp.Basic) -> int:
    """The nodes of an expression; a read is one."""
    return 1 if isinstance(e, Read) else 1 + sum(map(size, e.args))


def compounds(e: sp.Basic) -> list[sp.Basic]:
    """The distinct nodes that have operands."""
    found: dict[sp.Basic, None] = {}
    waiting = [e]
    while waiting:
        node = waiting.pop()
        if node.args and not isinstance(node, Read) and node not in found:
            found[node] = None
            waiting += node.args
    return list(found)


def repeats(e: sp.Basic, in_steps: bool) -> bool:
    """Whether the local derivatives of a node are too long together, or compare what must be one value in all steps."""
    match e:
        case sp.Piecewise():
            return len(all_branches(e)) > BRANCHES
        case sp.Max() | sp.Min():
            compares = in_steps and any(map(is_unsettled, e.args))
            return len(variables_of(e)) > ARGUMENTS or is_repeated(e) or compares
        case sp.Mul():
            return len(variables_of(e)) > 1 and is_repeated(e)
        case sp.Pow() | sp.Function():
            return not isinstance(e, partial) and is_repeated(e)
        case _:
            return False


def is_unsettled(e: sp.Basic) -> bool:
    """Whether a compiler may round a value otherwise at another place: one with a division, or with three operands."""

    def is_loose(node: sp.Basic) -> bool:
        long = isinstance(node, sp.Add | sp.Mul) and len(variables_of(node)) > 2
        return long or (is_division(node) and bool(reads_of(node)))

    return any(map(is_loose, compounds(e)))


def all_branches(e: sp.Piecewise) -> list[sp.Basic]:
    """The pairs of a Piecewise, and of one that is its last branch, and so on."""
    pairs = list(e.args)
    while pairs[-1].args[1] == TRUE and isinstance(pairs[-1].args[0], sp.Piecewise):
        pairs[-1:] = pairs[-1].args[0].args
    return pairs


def is_repeated(e: sp.Basic) -> bool:
    return len(reads_of(e)) * size(e) > REPEATED


def variables_of(e: sp.Basic) -> list[sp.Expr]:
    """The operands that read something."""
    return [a for a in e.args if reads_of(a)]


class Parts:
    """One statement in parts: the tensors and the statements that are made so far."""

    def __init__(self, whole: Statement, names: Names) -> None:
        self.whole, self.names = whole, names
        self.tensors: list[Tensor] = []
        self.made: list[Statement] = []
        self.known: dict[sp.Expr, Read] = {}  # what parts hold
        self.inner = inner_branches(whole.expression)

    def statements(self) -> list[Statement]:
        """The parts, then the statement that reads them."""
        expression = self.short(self.whole.expression, self.whole.guard)
        return [*self.made, replace(self.whole, expression=expression)]

    # ---- formulas

    def short(self, e: sp.Expr, path: Boolean) -> sp.Expr:
        """A formula that is evaluated under a condition, in terms of parts."""
        if isinstance(e, (Read, partial)) or not reads_of(e):
            return e
        if isinstance(e, sp.Piecewise):
            branches = self.branches(all_branches(e), path)
            return self.holding("part", guarded(branches, path)) if e in self.inner else branches
        operands = [self.lower(a, path) if isinstance(a, sp.Expr) else a for a in e.args]
        result = e if all(a is b for a, b in zip(operands, e.args, strict=True)) else e.func(*operands)
        if not repeats(result, self.whole.scan is not None):
            return result
        if isinstance(result, sp.Max | sp.Min) and len(variables_of(result)) > ARGUMENTS:
            return self.extremum(result, path)
        if isinstance(result, sp.Mul) and len(variables_of(result)) > FACTORS:
            groups = [result.args[k : k + FACTORS] for k in range(0, len(result.args), FACTORS)]
            return self.short(sp.Mul(*(self.part(sp.Mul(*g), path) for g in groups)), path)
        return result.func(*(self.part(a, path) if len(reads_of(a)) > 1 else a for a in result.args))

    def lower(self, e: sp.Expr, path: Boolean) -> sp.Expr:
        """An operand of few levels."""
        short = self.short(e, path)
        return self.part(short, path) if height(short) >= HIGHEST else short

    def branches(self, pairs: Sequence[sp.Basic], path: Boolean) -> sp.Expr:
        """The branches of a Piecewise: the first ones, and a part for the others, evaluated if it is reached."""
        found, rest = [], path
        for value, condition in (pair.args for pair in pairs[:BRANCHES]):
            here = all_of(rest, condition)
            long = size(here) * len(reads_of(value)) > REPEATED
            found.append((self.part(value, self.reached(here, value)) if long else self.lower(value, here), condition))
            rest = all_of(rest, negation(condition))
        if len(pairs) > BRANCHES:
            reached = self.reached(rest, *pairs[BRANCHES:])
            others = self.part(self.branches(pairs[BRANCHES:], reached), reached)
            found.append((others, TRUE))
        return sp.Piecewise(*found)

    def reached(self, condition: Boolean, *values: sp.Basic) -> Boolean:
        """A condition for values, told by a tensor; what it says of subscripts stays: it may keep them inside."""
        parts = conjuncts(condition)
        places = {place for read in reads_of(*values) for place in reads_of(*read.subscripts)}
        kept = [c for c in parts if not reads_of(c) or not places.isdisjoint(reads_of(c))]
        if len(kept) == len(parts):
            return condition
        told = self.holding("reached", guarded(sp.Integer(1), condition))
        return all_of(*kept, sp.Gt(told, 0, evaluate=False))

    def extremum(self, e: sp.Expr, path: Boolean) -> sp.Expr:
        """A maximum over an index of its arguments, numbers first: on a tie the first one has the derivative."""
        sign = 1 if isinstance(e, sp.Max) else -1
        arguments = sorted(e.args, key=lambda a: bool(reads_of(a)))
        over = Range(index_symbol(self.names.fresh("k")), sp.Integer(len(arguments)))
        domain = self.domain(e, path)
        row = self.tensor("arguments", (*domain, over))
        for k, argument in enumerate(arguments):
            self.define(substitute(row, {over.index: sp.Integer(k)}), guarded(sign * argument, path), domain)
        largest = self.tensor("largest", domain)
        self.define(largest, row, (*domain, over), "max=")
        return sign * largest

    # ---- parts

    def part(self, e: sp.Expr, path: Boolean) -> sp.Expr:
        """A formula as a tensor that holds it where a condition holds."""
        if isinstance(e, Read) or not reads_of(e):
            return e
        return self.holding("part", guarded(self.short(e, path), path))

    def holding(self, word: str, e: sp.Expr) -> Read:
        """The tensor that holds a value; equal ones are one."""
        if e not in self.known:
            domain = self.domain(e)
            self.known[e] = self.tensor(word, domain)
            self.define(self.known[e], e, domain)
        return self.known[e]

    def domain(self, *expressions: sp.Basic) -> tuple[Range, ...]:
        """The indices of a tensor that holds an expression: in a recurrence, that of its steps is among them."""
        used = {i for e in expressions for i in indices_of(e)}
        used |= {self.whole.scan.index} if self.whole.scan is not None else set()
        return tuple(r for r in self.whole.domain if r.index in used)

    def tensor(self, word: str, domain: tuple[Range, ...]) -> Read:
        """A new tensor, read at its own indices."""
        name = self.names.fresh(f"{self.whole.layer}_{word}")
        self.tensors.append(Tensor(name, tuple(r.extent for r in domain), Role.HELPER))
        return Read(name, *(r.index for r in domain))

    def define(self, place: Read, e: sp.Expr, domain: tuple[Range, ...], operator: Operator = "=") -> None:
        made = replace(self.whole, target=place.tensor, subscripts=place.subscripts, operator=operator, expression=e)
        self.made.append(replace(made, domain=domain, guard=TRUE))
