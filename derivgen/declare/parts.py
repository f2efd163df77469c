"""What a spec's formulas share, in Python variables or by repetition, is computed once: a tensor of its own.

A spec's intermediate values are Python variables as often as lets; SymPy copies what they hold into each formula that
uses them. Lowering keeps numbers outside of sums (`as_written`), so that k1 in u + h/2·k1 is still the sum that it was.
Of two sums one may have all terms of the other: p + 2·q and p + 2·q - s. Of two products one may be a multiple of the
other: b·c - a·d and 2·a·d.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cache

import sympy as sp

from derivgen.form.check import check_program
from derivgen.form.expressions import TRUE, Read, bottom_up, index_symbol, indices_of, substitute
from derivgen.form.functions import partial
from derivgen.form.program import Program, Range, Role, Statement, Tensor, are_plain, names_of
from derivgen.rewrite.calls import is_costly

LEAST = 3  # operations that are worth a name


def share_sums(program: Program) -> Program:
    """A sum, or a maximum, of several formulas is computed once.

    `a_sum[n] += Σ_k x[n,k]·w[k]`, `b_sum[n] += Σ_k x[n,k]·w[k]` and `b[n] = b_sum[n]²` → the first one and
    `b[n] = a_sum[n]²`
    """
    first: dict[object, str] = {}
    names: dict[str, str] = {}
    statements = list[Statement]()
    for s in (s.renamed(names) for s in program.statements):
        only = program.tensor(s.target).role is Role.HELPER and len(program.writers[s.target]) == 1
        if only and s.reduced and s.operator in ("+=", "max=") and s.target not in program.outputs:
            found = first.setdefault(canonical(s), s.target)
            if found != s.target:
                names[s.target] = found
                continue
        statements.append(s)
    return program.with_statements(statements).live(program.outputs) if names else program


def canonical(s: Statement) -> object:
    """Equal for statements that compute the same, whatever their targets, layers and indices are called."""
    kept = [r for r in s.domain if r not in s.reduced]
    ordered = sorted(kept, key=lambda r: s.subscripts.index(r.index)) if are_plain(s.subscripts) else kept
    ranges = [*ordered, *s.reduced]
    places = {r.index: index_symbol(f"i{k}") for k, r in enumerate(ranges)}
    scan = s.scan and replace(s.scan, index=places.get(s.scan.index, s.scan.index))
    parts = tuple(substitute(e, places) for e in (*s.subscripts, s.expression, s.guard))
    return s.operator, parts, tuple(r.extent for r in ranges), scan


def share_parts(program: Program) -> Program:
    """A part of several formulas, or of one in several places, is computed once.

    `y[n] = (a[n] + b[n]·c[n])²` and `z[n] = x[n]·(a[n] + b[n]·c[n])` → `y_part[n] = a[n] + b[n]·c[n]`,
    `y[n] = y_part[n]²` and `z[n] = x[n]·y_part[n]`
    """
    parts = shared(program)
    if not parts:
        return program
    names, tensors, statements = names_of(program), list[Tensor](), list[Statement]()
    held: dict[sp.Expr, Read] = {}
    for s in program.statements:
        for part in parts_for(s, parts):
            if part not in held:
                domain = domain_in(s, part)
                held[part] = Read(names.fresh(f"{s.layer}_part"), *(r.index for r in domain))
                tensors.append(Tensor(held[part].tensor, tuple(r.extent for r in domain), Role.HELPER))
                made = replace(s, target=held[part].tensor, subscripts=held[part].subscripts, operator="=")
                inside = shortened(part, {p: r for p, r in held.items() if p != part})
                statements.append(replace(made, expression=inside, domain=domain, winner=None))
        statements.append(replace(s, expression=shortened(s.expression, held)))
    return check_program(program.with_statements(statements, tensors))


@dataclass
class Use:
    """Where a node stands: its statements' ranges, and the nodes that it is an operand of."""

    parents: set[object] = field(default_factory=set)
    ranges: set[tuple[Range, ...]] = field(default_factory=set)
    always: bool = False  # some statement computes it at every point


class Uses:
    """The uses of all nodes of some formulas, equal ones as one."""

    def __init__(self) -> None:
        self.uses: dict[sp.Expr, Use] = {}

    @property
    def sums(self) -> list[sp.Add]:
        return [e for e in self.uses if isinstance(e, sp.Add)]

    def visit(self, node: sp.Basic, s: Statement, parent: object, always: bool) -> None:
        if not isinstance(node, sp.Expr) or isinstance(node, Read | partial) or not node.args:
            return
        use, ranges = self.uses.setdefault(node, Use()), domain_in(s, node)
        seen = ranges in use.ranges and (use.always or not always)  # its operands are known, too
        use.parents.add(parent)
        use.ranges.add(ranges)
        use.always |= always
        if seen:
            return
        if isinstance(node, sp.Piecewise):
            for value in (pair.args[0] for pair in node.args):
                self.visit(value, s, node, False)
        else:
            for argument in operands_of(node):
                self.visit(argument, s, node, always)

    def note_parts_of_sums(self) -> None:
        """A sum whose terms, or their negatives, are all in another one is an operand of that."""
        by_term: dict[sp.Expr, list[sp.Expr]] = {}
        for e in self.sums:
            for term in e.args:
                by_term.setdefault(term, []).append(e)
        for part in self.sums:
            for terms in (part.args, negated(part)):
                for whole in min((by_term.get(term, []) for term in terms), key=len):
                    if whole != part and set(terms) <= set(whole.args):
                        self.uses[part].parents.add(whole)


def shared(program: Program) -> list[sp.Expr]:
    """The nodes of a program's formulas that are worth a tensor and have none, inner ones first."""
    found = Uses()
    for position, s in enumerate(program.statements):
        if s.operator in ("=", "+="):
            found.visit(s.expression, s, position, s.guard == TRUE)
    found.note_parts_of_sums()
    whole = {s.expression for s in program.statements if s.operator == "="}
    return sorted(
        (e for e, use in found.uses.items() if e not in whole and is_shared(use) and is_worth_it(e)), key=operations
    )


def is_shared(use: Use) -> bool:
    return use.always and len(use.parents) > 1 and len(use.ranges) == 1


def is_worth_it(e: sp.Expr) -> bool:
    """Whether an expression is long enough, and no part of a pattern that `stabilize` knows."""
    if not isinstance(e, sp.Add | sp.Mul | sp.Piecewise):
        return False  # calls and reciprocals are shared later
    factors = (f for term in sp.Add.make_args(e) for f in sp.Mul.make_args(term))
    patterned = any(isinstance(f, sp.exp | sp.cosh | sp.sinh) for f in factors)
    if patterned and any(indices_of(f) for f in e.atoms(sp.exp, sp.cosh, sp.sinh)):
        return False
    return operations(e) >= LEAST


@cache
def operations(e: sp.Basic) -> int:
    """How many operations an expression takes, a call or a division as many as are worth a name."""
    if isinstance(e, Read) or not e.args:
        return 0
    costly = is_costly(e) or (isinstance(e, sp.Pow) and e.exp.is_negative)
    own = LEAST if costly else sum(not a.is_Number for a in e.args) - isinstance(e, sp.Mul | sp.Add)
    return own + sum(map(operations, e.args))


def domain_in(s: Statement, e: sp.Expr) -> tuple[Range, ...]:
    """The ranges of a tensor that holds an expression: in a recurrence, that of its steps is among them."""
    used = {*indices_of(e), *((s.scan.index,) if s.scan is not None else ())}
    return tuple(r for r in s.domain if r.index in used)


def parts_for(s: Statement, parts: list[sp.Expr]) -> Iterator[sp.Expr]:
    """The parts that a statement computes at every point, in their order."""
    if s.operator in ("=", "+=") and s.guard == TRUE:
        own = Uses()
        own.visit(s.expression, s, None, True)
        sums = [set(e.args) for e in own.sums]
        for part in parts:
            inside = part in own.uses and own.uses[part].always
            if inside or (isinstance(part, sp.Add) and any(within(part, terms) for terms in sums)):
                yield part


def operands_of(e: sp.Basic) -> tuple[sp.Basic, ...]:
    """The operands of a node; a product with a number is one of that number and all the rest."""
    if isinstance(e, sp.Mul) and len(e.args) > 2 and e.args[0].is_Number:
        return e.args[0], e.func(*e.args[1:])
    return e.args


def negated(e: sp.Add) -> tuple[sp.Expr, ...]:
    return tuple(-term for term in e.args)


def within(part: sp.Add, terms: Set[sp.Expr]) -> int:
    """1 or -1 where a sum, or its negative, is a part of these terms; else 0."""
    return 1 if set(part.args) <= terms else -1 if set(negated(part)) <= terms else 0


def shortened(e: sp.Expr, held: Mapping[sp.Expr, Read]) -> sp.Expr:
    """The expression in terms of the parts that are held, the largest ones first."""
    sums = sorted((p for p in held if isinstance(p, sp.Add)), key=lambda p: -len(p.args))

    def replaced(node: sp.Basic) -> sp.Basic:
        if node in held:
            return held[node]
        if isinstance(node, Read | partial) or not node.args:
            return node
        terms, found = list(node.args), list[sp.Expr]()
        for part in sums if isinstance(node, sp.Add) else ():
            if sign := within(part, set(terms)):
                own = part.args if sign > 0 else negated(part)
                terms = [term for term in terms if term not in own]
                found.append(sign * held[part])
        operands = list(map(replaced, terms if isinstance(node, sp.Add) else operands_of(node)))
        return node if operands == list(operands_of(node)) and not found else node.func(*operands, *found)

    return replaced(e)


def distributed(program: Program) -> Program:
    """Numbers go into sums, as SymPy writes them: 2·(a + b) is 2·a + 2·b."""

    def written(node: sp.Basic) -> sp.Basic:
        whole = isinstance(node, sp.Mul) and len(node.args) == 2 and node.args[0].is_Number
        return node.func(*node.args) if whole and isinstance(node.args[1], sp.Add) else node

    return program.with_statements([s.mapped(lambda e: bottom_up(e, written)) for s in program.statements])
