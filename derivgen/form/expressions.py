"""Scalar expressions: SymPy trees whose leaves are numbers, indices, run-time sizes and reads of tensors.

Every stage shares these few node kinds and helpers. Inside a Program there are no bound indices (sums are
statements), so substitution by `xreplace` is safe here, and only here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterator, Mapping, Set
from typing import Any

import sympy as sp
from sympy.core.symbol import Str
from sympy.logic.boolalg import Boolean

from derivgen.form.places import integer_symbol, place_of, tensor_name

TRUE = sp.true
ORDERED = (sp.Lt, sp.Le, sp.Gt, sp.Ge)


def is_of_data(condition: Boolean) -> bool:
    """Whether this is a comparison by order of what is read, which fails at NaN together with its opposite."""
    return isinstance(condition, ORDERED) and bool(reads_of(condition))


class Read(sp.Expr):
    """A[h(d)]: the value of a tensor at subscripts that are integer expressions of indices, sizes and integer reads."""

    is_commutative = True
    is_real = True

    def __new__(cls, tensor: str | Str, *subscripts: Any) -> Read:
        name = tensor if isinstance(tensor, Str) else tensor_name(tensor, place_of(tensor))
        return interned(name, *map(sp.sympify, subscripts))

    @property
    def tensor(self) -> str:
        return self._args[0].name

    @property
    def subscripts(self) -> tuple[sp.Expr, ...]:
        return self._args[1:]

    def _sympystr(self, printer: Any) -> str:
        return f"{self.tensor}[{', '.join(printer.doprint(s) for s in self.subscripts)}]"


@functools.lru_cache(maxsize=2**16)
def interned(name: Str, *subscripts: sp.Expr) -> Read:
    """Equal reads are one object, of which SymPy finds out once what it asks of each."""
    return sp.Expr.__new__(Read, name, *subscripts)


LETTERS = "ijklmnpqrstuvw"  # of the indices of tables, which the spec does not name


def index_symbol(name: str) -> sp.Symbol:
    """The symbol of an index, 0 .. extent - 1."""
    return integer_symbol(name, nonnegative=True)


def size_symbol(name: str) -> sp.Symbol:
    """The symbol of a size known at run time, at least 1."""
    return integer_symbol(name, positive=True)


def is_index(symbol: sp.Basic) -> bool:
    return isinstance(symbol, sp.Symbol) and bool(symbol.is_integer) and not symbol.is_positive


def is_size(symbol: sp.Basic) -> bool:
    return isinstance(symbol, sp.Symbol) and bool(symbol.is_integer) and bool(symbol.is_positive)


def is_division(node: sp.Basic) -> bool:
    """Whether this divides by something that is read."""
    return isinstance(node, sp.Pow) and node.exp.is_negative is True and bool(reads_of(node))


def is_integral(expression: sp.Basic, integer: Callable[[Read], bool]) -> bool:
    """Whether this is an integer combination of indices, sizes and reads, which must be of integer tensors."""
    if isinstance(expression, Read):
        return integer(expression)
    if expression.is_Symbol or expression.is_Integer:
        return bool(expression.is_integer)
    return isinstance(expression, sp.Add | sp.Mul) and all(is_integral(a, integer) for a in expression.args)


@functools.lru_cache(maxsize=2**16)
def indices_of(expression: sp.Basic) -> frozenset[sp.Symbol]:
    return frozenset(s for s in expression.free_symbols if is_index(s))


def subexpressions(expression: sp.Basic) -> Iterator[sp.Basic]:
    """Every node, parents first, in argument order (so deterministic, unlike `atoms`)."""
    yield expression
    for argument in expression.args:
        yield from subexpressions(argument)


def read_or_opposite(expression: sp.Expr) -> Read | None:
    """The read that an expression is, except for a minus sign; None if it is none."""
    return next((e for e in (expression, -expression) if isinstance(e, Read)), None)


def unconditional_parts(expression: sp.Expr) -> Iterator[sp.Expr]:
    """The real parts outside branches: taking one of those out would evaluate what the branch guards."""
    if not isinstance(expression, sp.Expr) or expression.is_number or isinstance(-expression, Read):
        return
    yield expression
    if not isinstance(expression, Read | sp.Piecewise):
        for argument in expression.args:
            yield from unconditional_parts(argument)


def reads_of(*expressions: sp.Basic) -> list[Read]:
    """The distinct reads, those inside subscripts included, in order of appearance."""
    if len(expressions) == 1:
        return list(reads_in(expressions[0]))
    return list(dict.fromkeys(read for e in expressions for read in reads_in(e)))


@functools.lru_cache(maxsize=2**16)
def reads_in(expression: sp.Basic) -> tuple[Read, ...]:
    """The reads of one expression: looked up many times by every stage."""
    return tuple(dict.fromkeys(node for node in subexpressions(expression) if isinstance(node, Read)))


sympy_order = functools.cmp_to_key(sp.Basic.compare)  # the key that sorts expressions that nothing else tells apart


def substitute(expression: Any, mapping: Mapping[Any, Any]) -> Any:
    """Simultaneous replacement of whole nodes."""
    return expression.xreplace(dict(mapping)) if mapping else expression


def rename_tensors(expression: Any, names: Mapping[str, str]) -> Any:
    """The same expression reading other tensors."""

    def renamed(read: Read) -> sp.Expr:
        subscripts = [rename_tensors(s, names) for s in read.subscripts]
        return Read(names.get(read.tensor, read.tensor), *subscripts)

    return replace_reads(expression, renamed)


def replace_reads(expression: Any, replacement: Callable[[Read], sp.Expr]) -> Any:
    """Each outermost read replaced by what the function gives for it; of a partial derivative, those in subscripts."""
    if isinstance(expression, Read):
        return replacement(expression)
    if not expression.args:
        return expression
    if getattr(expression, "keeps_reads", False):
        arguments = [Read(r.tensor, *(replace_reads(s, replacement) for s in r.subscripts)) for r in expression.args]
    else:
        arguments = [replace_reads(a, replacement) for a in expression.args]
    if all(new is old for new, old in zip(arguments, expression.args, strict=True)):
        return expression
    return expression.func(*arguments)


def bottom_up(expression: Any, rewrite: Callable[[sp.Basic], sp.Basic]) -> Any:
    """Rewrite every node, children first; subscripts of reads are left alone."""
    if expression.args and not isinstance(expression, Read):
        arguments = [bottom_up(a, rewrite) for a in expression.args]
        if any(new is not old for new, old in zip(arguments, expression.args, strict=True)):
            expression = expression.func(*arguments)
    return rewrite(expression)


def bottom_up_known(expression: Any, known: Conditions, rewrite: Callable[[sp.Basic, Conditions], sp.Basic]) -> Any:
    """As `bottom_up`, with what is known where a node is evaluated: the conditions of the branches around it."""
    if isinstance(expression, sp.Piecewise):
        pairs, rest = [], known
        for pair in expression.args:
            value, condition = pair.args
            found = bottom_up_known(value, (*rest, *parts_of(condition)), rewrite)
            pairs.append((found, bottom_up_known(condition, rest, rewrite)))
            rest = (*rest, *parts_of(negation(condition)))
        if any(tuple(pair.args) != new for pair, new in zip(expression.args, pairs, strict=True)):
            expression = expression.func(*pairs)
    elif expression.args and not isinstance(expression, Read):
        arguments = [bottom_up_known(a, known, rewrite) for a in expression.args]
        if any(new is not old for new, old in zip(arguments, expression.args, strict=True)):
            expression = expression.func(*arguments)
    return rewrite(expression, known)


def any_of(*conditions: Boolean) -> Boolean:
    """One of these at least: what all of them share, and one of the rests.

    c or not c is true, at NaN too, which SymPy does not see where not c is kept as it is.
    """
    if TRUE in conditions:
        return TRUE
    union = sp.Or(*conditions)
    if not isinstance(union, sp.Or):
        return union
    alternatives = [{*parts_of(c)} for c in union.args]
    lone = {c for own in alternatives if len(own) == 1 for c in own}
    if any(negation(c) in own for c in lone for own in alternatives if len(own) > 1):  # c, or not c and d
        return any_of(*lone, *(sp.And(*(own - {negation(c) for c in lone})) for own in alternatives if len(own) > 1))
    if common := set.intersection(*alternatives):
        return all_of(*common, any_of(*(sp.And(*(own - common)) for own in alternatives)))
    return TRUE if any(negation(c) in union.args for c in union.args) else union


def all_of(*conditions: Boolean) -> Boolean:
    """The conditions together. Nearly all are TRUE, or one alone, and SymPy's `And` takes long to see that.

    Of c and (not c or d), d is left of the second.
    """
    left = [c for c in conditions if c is not TRUE]
    if len(left) < 2:
        return left[0] if left else TRUE
    parts = dict.fromkeys(part for c in left for part in parts_of(c))
    if any(isinstance(part, sp.Not) and part.args[0] in parts for part in parts):
        return sp.false
    return sp.And(*(without_refuted(part, parts) if isinstance(part, sp.Or) else part for part in parts))


def without_refuted(union: sp.Or, held: Container[Boolean]) -> Boolean:
    """A disjunction without what can't be, where these conditions hold."""
    return sp.Or(*(c for c in union.args if negation(c) not in held and getattr(c, "negated", None) not in held))


def weakened(condition: Boolean, keeps: Callable[[Boolean], bool]) -> Boolean:
    """A condition of some of the comparisons in another one: it holds wherever that one does."""
    if isinstance(condition, sp.And | sp.Or):
        together = all_of if isinstance(condition, sp.And) else any_of
        return together(*(weakened(c, keeps) for c in condition.args))
    return condition if keeps(condition) else TRUE


def about(condition: Boolean, indices: Set[sp.Symbol]) -> Boolean:
    """The part of a condition that is about these indices alone."""
    return weakened(condition, lambda part: indices_of(part) <= indices)


def branches_of(e: sp.Piecewise) -> tuple[list[tuple[sp.Expr, Boolean]], sp.Expr]:
    """(the branches but the last one, each with its condition; the value of the last one)

    The last one is the default, whatever its condition: SymPy leaves out a default that the branches around rule out.
    """
    *branches, (default, _) = (tuple(pair.args) for pair in e.args)
    return branches, default


def indicator(condition: Boolean) -> sp.Expr:
    """1 where the condition holds, else 0."""
    return sp.Piecewise((sp.Integer(1), condition), (sp.Integer(0), TRUE))


def is_guarded(expression: sp.Basic) -> bool:
    """Whether this is a value under a guard and 0 elsewhere: Piecewise((value, guard), (0, True))."""
    return (
        isinstance(expression, sp.Piecewise)
        and len(expression.args) == 2
        and expression.args[1].args[0] == 0
        and expression.args[1].args[1] == TRUE
    )


def guarded(expression: sp.Expr, guard: Boolean) -> sp.Expr:
    if guard == TRUE:
        return expression
    return sp.Piecewise((expression, guard), (sp.Integer(0), TRUE))


def product(*factors: sp.Expr) -> sp.Expr:
    """The product, with a guard around the whole of it: what is 0 by its guard must not meet an infinite factor."""
    plain: list[sp.Expr] = []
    guards: list[Boolean] = []
    for factor in factors:
        value, guard = split_guard(factor)
        plain.append(value)
        guards.append(guard)
    return guarded(sp.Mul(*plain), all_of(*guards))


def split_guard(expression: sp.Expr) -> tuple[sp.Expr, Boolean]:
    """(value, guard) of an expression that is 0 where the guard fails; seen through factors."""
    if is_guarded(expression):
        value, inner = split_guard(expression.args[0].args[0])
        return value, all_of(expression.args[0].args[1], inner)
    if isinstance(expression, sp.Mul) and any(is_guarded(a) for a in expression.args):
        parts = [split_guard(a) for a in expression.args]
        return sp.Mul(*(value for value, _ in parts)), all_of(*(guard for _, guard in parts))
    return expression, TRUE


@functools.lru_cache(maxsize=2**14)
def conjuncts(condition: Boolean) -> tuple[Boolean, ...]:
    """The parts of an And in the order in which they are tested: of `a[z[n]] > 0` and `z[n] < 2` the latter first.

    A part may keep what others read inside a tensor, see `order_of_tests`. Of two disjunctions with reads each may do
    so for the other, so what they say of shallower reads comes before both.
    """
    parts = parts_of(condition)
    unions = [c for c in parts if isinstance(c, sp.Or) and depth_of_reads(c) > 0]
    if len(unions) > 1:
        parts = tuple(dict.fromkeys((*parts, *(part for c in unions for part in first_of(c)))))
    return tuple(sorted(parts, key=order_of_tests))


def alternatives(union: sp.Or) -> tuple[Boolean, ...]:
    """The parts of an Or in the order in which they are tested, as those of an And."""
    return tuple(sorted(union.args, key=lambda c: order_of_tests(c, downwards=True)))


def order_of_tests(condition: Boolean, downwards: bool = False) -> tuple[Any, ...]:
    """Conditions without reads come first, then those with reads at indices, then those with reads at such reads.

    Among these, the limits of one value stand together, the lower one first: `i ≥ 1 and i < 9 and j ≥ 1`. `downwards`:
    so do what lies below and above, `i < 1 or i ≥ 9`.
    """
    test = condition.args[0] if isinstance(condition, sp.Not) else condition
    value = test.lhs if isinstance(test, sp.core.relational.Relational) else test
    last = isinstance(condition, (sp.Gt, sp.Ge) if downwards else (sp.Lt, sp.Le))
    return depth_of_reads(condition), sympy_order(value), last, sympy_order(condition)


def first_of(union: sp.Or) -> Iterator[Boolean]:
    """Consequences of a disjunction for indices alone, then for reads at them, and so on, except the whole of it."""
    for depth in range(depth_of_reads(union)):
        yield from parts_of(weakened(union, functools.partial(is_shallow, depth=depth)))


def is_shallow(condition: Boolean, depth: int) -> bool:
    return depth_of_reads(condition) <= depth


def parts_of(condition: Boolean) -> tuple[Boolean, ...]:
    """The parts of an And, in any order."""
    if condition is TRUE:
        return ()
    return tuple(condition.args) if isinstance(condition, sp.And) else (condition,)


def depth_of_reads(expression: sp.Basic) -> int:
    """How many reads stand in each other's subscripts."""
    inner = max((depth_of_reads(s) for read in reads_of(expression) for s in read.subscripts), default=0)
    return inner + 1 if reads_of(expression) else 0


def negation(condition: Boolean) -> Boolean:
    """not c, which goes inside: not (c or d) is not c and not d.

    Of a comparison of data it stays as it is, since not (x > 0) holds at NaN and x ≤ 0 does not.
    """
    if isinstance(condition, sp.Not):
        return condition.args[0]
    if isinstance(condition, sp.And | sp.Or):
        other = sp.And if isinstance(condition, sp.Or) else sp.Or
        return other(*map(negation, condition.args))
    return sp.Not(condition, evaluate=not is_of_data(condition))


# The conditions that all hold where something is evaluated. As one And, many branches would take long to collect.
Conditions = tuple[Boolean, ...]


GuardedRead = tuple[Read, Conditions, bool]


def guarded_reads(expression: sp.Basic, path: Conditions = ()) -> tuple[GuardedRead, ...]:
    """(read, the conditions under which it is evaluated, whether the value depends on it smoothly) per occurrence.

    Reads in conditions and in subscripts are evaluated too, but carry no derivative. `path`: where the expression is.
    """
    found = reads_under_guards(expression)
    return tuple((read, (*path, *own), smooth) for read, own, smooth in found) if path else found


@functools.lru_cache(maxsize=2**14)
def reads_under_guards(expression: sp.Basic) -> tuple[GuardedRead, ...]:
    """The guarded reads of one expression: looked up many times by every stage."""
    return tuple(walk_under_guards(expression, ()))


def walk_under_guards(expression: sp.Basic, path: Conditions) -> Iterator[GuardedRead]:
    if isinstance(expression, Read):
        yield expression, path, True
        for subscript in expression.subscripts:
            for read, condition, _ in walk_under_guards(subscript, path):
                yield read, condition, False
    elif isinstance(expression, sp.Piecewise):
        rest = path
        for pair in expression.args:
            value, condition = pair.args
            yield from condition_reads(condition, rest)
            yield from walk_under_guards(value, (*rest, *parts_of(condition)))
            rest = (*rest, *parts_of(negation(condition)))
    elif isinstance(expression, Boolean):
        yield from condition_reads(expression, path)
    elif getattr(expression, "is_constant_to_derivatives", False):
        yield from ((read, condition, False) for read, condition, _ in walk_under_guards(expression.args[0], path))
    else:
        for argument in expression.args:
            yield from walk_under_guards(argument, path)


def condition_reads(condition: Boolean, path: Conditions) -> Iterator[GuardedRead]:
    """The reads of a condition, each under the conjuncts that are tested before it."""
    if isinstance(condition, sp.Or):
        for alternative in alternatives(condition):
            yield from condition_reads(alternative, path)
            path = (*path, *parts_of(negation(alternative)))
        return
    for conjunct in conjuncts(condition):
        if isinstance(conjunct, sp.Or):
            yield from condition_reads(conjunct, path)
        elif reads_of(conjunct):
            for side in conjunct.args:
                yield from ((read, where, False) for read, where, _ in walk_under_guards(side, path))
        path = (*path, conjunct)


class named(sp.Expr):
    """An expression with a name: `named("discount", exp(-rate * maturity))` is a tensor of that name in the module.

    For use in specs; in a Program it is a tensor over the indices that the expression has.
    """

    is_commutative = True
    is_real = True

    def __new__(cls, name: Any, expression: Any) -> named:
        return sp.Expr.__new__(cls, Str(name if isinstance(name, str) else repr(name)), sp.sympify(expression))

    @property
    def name(self) -> str:
        """The name as a string."""
        return str(self.args[0].name)


class MaxOver(sp.Expr):
    """The largest value of an expression over indices: `MaxOver(x[i, k], k)`; on a tie the first has the derivative.

    For use in specs; in a Program it is a `max=` statement.
    """

    is_commutative = True
    is_real = True

    def __new__(cls, body: Any, *indices: Any) -> MaxOver:
        return sp.Expr.__new__(cls, sp.sympify(body), *(sp.sympify(i) for i in indices))
