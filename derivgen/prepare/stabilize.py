"""Textbook formulas → primitives that neither overflow nor cancel.

Input: a declared Program. Output: a Program of the same values, in exact arithmetic. Two parts:

* reductions of exponentials: S[g] = Σ w·exp(u) becomes exp(m[g])·Σ w·exp(u - m[g]) with m[g] = max u, a constant to
  the derivative (S does not depend on m, to all orders); where S is read, exp(m) meets the logarithm or the other
  exponentials of the product, and cancels before anything is computed. The differences u - m are a tensor that is
  read wherever one stands: (u - m) + log Σ, added up in another order, would lose the logarithm's digits;
* scalar patterns, one row each in REWRITES, seen through lets where a logarithm stands above them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sympy as sp

from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import (
    TRUE,
    Read,
    about,
    all_of,
    bottom_up,
    guarded,
    indices_of,
    reads_of,
    replace_reads,
    subexpressions,
)
from derivgen.form.functions import erfc, expm1, log1p, log_total, logaddexp, sigmoid, softplus, stop_gradient, xlogy
from derivgen.form.program import (
    Names,
    Program,
    Role,
    Scan,
    Statement,
    Tensor,
    is_plain_index,
    names_of,
    variables_of,
)
from derivgen.form.ragged import read_at
from derivgen.form.squares import as_root, is_square
from derivgen.prepare.separated import ENOUGH, parts_of_exponent
from derivgen.prepare.vanishing import LOWEST, Vanishing
from derivgen.rewrite.conditions import at_read
from derivgen.rewrite.held import Held, Reuse
from derivgen.rewrite.scans import leave_scans

ZERO, ONE = sp.Integer(0), sp.Integer(1)


@as_written()
def stabilize(program: Program) -> Program:
    """Stable forms take the place of formulas that overflow or cancel.

    `a[n] = log(1 + exp(x[n]))` → `a[n] = softplus(x[n])`
    """
    return check_program(leave_scans(Stabilizer(program).run()))


class Stabilizer:
    """The state of one pass over the statements: what the tensors so far hold."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names: Names = names_of(program)
        self.reuse = Reuse(program)
        self.tensors = list(program.tensors)
        self.statements: list[Statement] = []
        self.scaled: dict[str, Statement] = {}  # the statement S = exp(m)·total of each sum of exponentials
        self.squares: set[str] = set()  # tensors that are sums of squares
        self.powers: dict[tuple[object, ...], tuple[sp.Expr, sp.Expr]] = {}  # largest and exp(shifted) of each exponent
        self.shifts: list[Held] = []  # exponents less their maximum: to be read, not subtracted again
        self.positive: set[str] = set()  # totals of exponentials
        self.vanishing = Vanishing(program)
        self.empty: set[str] = set()  # totals that are 0 where all of their exponents are -oo
        self.held: dict[str, Statement] = {}  # elementwise definitions, to see through
        self.scan: Scan | None = None  # of the statement at hand
        self.variables = variables_of(program)  # not to see through: something is differentiated by them

    def run(self) -> Program:
        for statement in self.program.statements:
            self.scan = statement.scan
            expression, guard = self.stable(statement.expression), self.stable(statement.guard)
            rewritten = replace(statement, expression=expression, guard=guard)
            for shift in self.shifts:
                rewritten = replace(rewritten, expression=self.reuse.apply(rewritten, shift))
            if self.is_sum_of_exponentials(rewritten):
                self.shift_sum(rewritten)
                continue
            self.keep(rewritten)
            if is_scaled(rewritten) and rewritten.target not in self.variables:
                self.scaled[rewritten.target] = rewritten
        tensors = sorted(self.tensors, key=lambda t: t.role in (Role.LET, Role.HELPER))
        return replace(self.program, tensors=tuple(tensors), statements=tuple(self.statements))

    def keep(self, s: Statement) -> None:
        """Take a statement over; one that is in no recurrence comes before the steps of the last one."""
        self.statements.insert(self.place_of(s), s)
        if (
            s.operator == "="
            and all(map(is_plain_index, s.subscripts))
            and s.guard == TRUE
            and s.target not in self.variables
        ):
            self.held[s.target] = s
        if s.operator in ("=", "+=") and is_square(s.expression, self.squares):
            self.squares.add(s.target)

    def place_of(self, s: Statement) -> int:
        ends = len(self.statements)
        if s.scan is None and self.scan is not None:
            while ends and self.statements[ends - 1].scan == self.scan:
                ends -= 1
        return ends

    # ---- sums of exponentials

    def is_sum_of_exponentials(self, s: Statement) -> bool:
        """Whether a later statement takes a logarithm of the sum or divides by it: else the shift has no use."""
        own = {r.index for r in s.reduced}
        exponents = exponents_of(s)
        if (
            s.target in self.variables
            or s.operator != "+="
            or len(exponents) != 1
            or not indices_of(exponents[0]) & own
        ):
            return False
        partners = {s.target, *(t.target for t in self.program.statements if exponents_of(t) == [exponents[0]])}
        return any(is_log_or_quotient_of(s.target, partners, later.expression) for later in self.program.statements)

    def shift_sum(self, s: Statement) -> None:
        """The statement of the sum of shifted exponentials; readers of the sum itself get exp(max)·total."""
        exponential = next(f for f in sp.Mul.make_args(s.expression) if isinstance(f, sp.exp))
        weight = sp.Mul(*(f for f in sp.Mul.make_args(s.expression) if f is not exponential))
        parts = parts_of_exponent(s, exponential.args[0])
        if parts and weight == 1 and self.is_lone(exponential) and self.leaves_scan(s, parts):
            self.separated_sum(s, parts)
            return
        shift, power = self.shifted(s, exponential.args[0])
        helper = self.program.tensor(s.target).role is Role.HELPER
        total = s.target if helper else self.declare(f"{s.layer}_sum", self.program.tensor(s.target).shape)
        self.keep(replace(s, target=total, expression=weight * power))
        if weight.is_positive:
            self.positive.add(total)
        if self.vanishing.is_infinite(exponential.args[0]):
            self.empty.add(total)
        held = replace(
            s,
            operator="=",
            expression=sp.exp(stop_gradient(shift)) * Read(total, *s.subscripts),
            domain=tuple(r for r in s.domain if r not in s.reduced),
            guard=TRUE,
        )
        self.scaled[s.target] = held
        if not helper:
            self.statements.append(held)

    def is_lone(self, exponential: sp.Expr) -> bool:
        """Whether one statement alone sums up these exponentials."""
        return sum(exponents_of(t) == [exponential.args[0]] for t in self.program.statements) == 1

    def leaves_scan(self, s: Statement, parts: Sequence[sp.Expr]) -> bool:
        """Whether each part of an exponent has the steps of its recurrence, or reads nothing of it."""
        written = {t.target for t in self.program.statements if s.scan is not None and t.scan == s.scan}
        fixed = (p for p in parts if s.scan is not None and s.scan.index not in indices_of(p))
        return all(written.isdisjoint(r.tensor for r in reads_of(p)) for p in fixed)

    def separated_sum(self, s: Statement, parts: Sequence[sp.Expr]) -> None:
        """The statements of a sum of exponentials as a product, or as it stands where the product is too small.

        `S[n,k] += Σ_j exp(f[n,j] + A[j,k])` → maxima, exponentials of `f[n,j] - f_max[n]` and of `A[j,k] - A_max[k]`,
        `S_product[n,k] += Σ_j f_exp[n,j]·A_exp[j,k]`, …
        """
        shape = self.program.tensor(s.target).shape
        exponent = sp.Add(*parts)
        found = [self.shifted(of_part(s, part), part) for part in parts]
        product, most, total = (Read(self.declare(f"{s.layer}_{w}", shape), *s.subscripts) for w in SEPARATED)
        own = tuple(r for r in s.domain if r not in s.reduced)
        enough = sp.Gt(product, ENOUGH)
        self.keep(replace(s, target=product.tensor, expression=sp.Mul(*(power for _, power in found))))
        rest = replace(s, guard=all_of(s.guard, sp.Not(enough)))
        self.keep(replace(rest, target=most.tensor, operator="max=", expression=stop_gradient(exponent)))
        self.keep(replace(s, target=total.tensor, expression=guarded(product, enough), domain=own))
        if self.vanishing.is_infinite(exponent):
            self.empty.add(total.tensor)
        highest = self.finite(most, exponent)
        self.keep(replace(rest, target=total.tensor, expression=sp.exp(exponent - highest)))
        self.positive.add(total.tensor)
        shift = sp.Piecewise((sp.Add(*(largest for largest, _ in found)), enough), (highest.args[0], TRUE))
        held = replace(s, operator="=", domain=own, expression=sp.exp(stop_gradient(shift)) * total)
        self.scaled[s.target] = held
        if self.program.tensor(s.target).role is not Role.HELPER:
            self.statements.append(held)

    def shifted(self, s: Statement, exponent: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """(the largest exponent, exp(exponent - largest)) over the exponent's indices; one pair for equal ones.

        Of a ragged row no tensor holds the exponentials: it would have an element for each entry in each row.
        """
        own = indices_of(exponent) | indices_of(s.guard)
        domain = tuple(r for r in s.domain if r.index in own)
        key = (exponent, s.guard, domain)
        if key not in self.powers:
            reduced = {r.index for r in s.reduced}
            outer = tuple(r for r in domain if r.index not in reduced)
            box = tuple(r.extent for r in domain)
            largest = Read(self.declare(f"{s.layer}_max", tuple(r.extent for r in outer)), *(r.index for r in outer))
            maximum = replace(s, target=largest.tensor, subscripts=largest.subscripts, domain=domain, operator="max=")
            self.keep(replace(maximum, expression=stop_gradient(exponent)))
            highest = self.finite(largest, exponent)
            shift = exponent - highest
            if read_at(s):
                self.powers[key] = highest.args[0], sp.exp(shift)
                return self.powers[key]
            difference, power = (
                Read(self.declare(f"{s.layer}_{word}", box), *(r.index for r in domain)) for word in ("shift", "exp")
            )
            elementwise = replace(s, subscripts=difference.subscripts, domain=domain, operator="=", guard=TRUE)
            for target, value in ((difference, shift), (power, sp.exp(difference))):
                self.keep(replace(elementwise, target=target.tensor, expression=guarded(value, s.guard)))
            self.shifts.append(Held(difference, shift, box, s.guard))
            self.powers[key] = highest.args[0], power
        return self.powers[key]

    def declare(self, base: str, shape: tuple[sp.Expr, ...]) -> str:
        name = self.names.fresh(base)
        self.tensors.append(Tensor(name, shape, Role.HELPER))
        return name

    # ---- expressions

    def stable(self, expression: sp.Basic) -> Any:
        """The expression or condition after every pattern of REWRITES, sums of exponentials in their scaled form."""
        opened = replace_reads(expression, lambda read: self.see(read, self.scaled))
        return bottom_up(bottom_up(opened, self.rewrite), self.defined)

    def defined(self, node: sp.Basic) -> sp.Basic:
        """The logarithm of exponentials that may all be exp(-oo): -oo, without a derivative by them there."""
        match node:
            case xlogy(args=[weight, Read() as total]) if total.tensor in self.empty:
                return sp.Piecewise((node, sp.Gt(total, ZERO)), (xlogy(weight, stop_gradient(total)), TRUE))
            case sp.log(args=[Read() as total]) if total.tensor in self.empty:
                return sp.Piecewise((node, sp.Gt(total, ZERO)), (-sp.oo, TRUE))
            case logaddexp() if self.vanishing.is_infinite(node):
                largest = sp.Max(*node.args)
                return sp.Piecewise((node, sp.Gt(largest, LOWEST)), (stop_gradient(largest), TRUE))
        return node

    def see(self, read: Read, definitions: dict[str, Statement]) -> sp.Expr:
        """The expression that a tensor holds at these subscripts, or the read itself."""
        definition = definitions.get(read.tensor)
        if definition is None:
            return read
        return at_read(definition, read, definition.expression)

    def rewrite(self, node: sp.Basic) -> sp.Basic:
        if isinstance(node, sp.log):
            return self.logarithm(node.args[0])
        if isinstance(node, xlogy):
            return self.weighted_logarithm(*node.args)
        if (by_root := as_root(node, self.squares)) is not node:
            return by_root
        for pattern in REWRITES.get(node.func, ()):
            rewritten = pattern(node)
            if rewritten is not node:
                return bottom_up(rewritten, self.rewrite_log_free)
        return node

    def logarithm(self, u: sp.Expr) -> sp.Expr:
        """log u: exponentials leave it, first as u stands, then with the lets in it opened."""
        stable = self.stable_log(u)
        if stable is not None:
            known, rest = stable
            return bottom_up(known if rest == 1 else known + sp.log(rest), self.rewrite_log_free)
        return log1p(u - 1) if isinstance(u, sp.Add) and ONE in u.args else sp.log(u)

    def weighted_logarithm(self, weight: sp.Expr, u: sp.Expr) -> sp.Expr:
        """xlogy(w, u) = w·log(u) where a rule speaks of u: that logarithm is finite, and u above 0."""
        stable = self.stable_log(u)
        if stable is None:
            return xlogy(weight, u)
        known, rest = bottom_up(stable[0], self.rewrite_log_free), stable[1]
        logarithm = weight * known + (ZERO if rest == 1 else xlogy(weight, rest))
        if not self.vanishing.is_infinite(known):
            return logarithm
        return sp.Piecewise((logarithm, sp.Abs(known) < -LOWEST), (xlogy(weight, stop_gradient(u)), TRUE))

    def stable_log(self, u: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
        """(a, v) of log u = a + log v where a keeps its precision, or None where no rule speaks of u."""
        opened = bottom_up(replace_reads(u, lambda read: self.see(read, self.held)), self.rewrite)
        for candidate in (u, opened):
            factors = sp.Mul.make_args(candidate)
            outside = [self.log_of_factor(f) for f in factors]
            known = [part for part in outside if part is not None]
            if known:
                rest = sp.Mul(*(f for f, part in zip(factors, outside, strict=True) if part is None))
                return sp.Add(*known), rest
        return None

    def log_of_factor(self, factor: sp.Expr) -> sp.Expr | None:
        """The logarithm of a factor that is positive whatever its arguments, or None where that is not known."""
        base, exponent = (factor.base, factor.exp) if isinstance(factor, sp.Pow) else (factor, ONE)
        if isinstance(factor, sp.exp):
            return factor.args[0]
        if isinstance(base, sigmoid):
            return -exponent * softplus(-base.args[0])
        if isinstance(base, sp.cosh):
            return exponent * log_cosh(base.args[0])
        if isinstance(base, Read) and base.tensor in self.positive and factor is not base:
            return exponent * sp.log(base)
        if isinstance(base, sp.Add):
            logarithm = self.log_of_sum(base)
            return None if logarithm is None else exponent * logarithm
        return None

    def log_of_sum(self, u: sp.Add) -> sp.Expr | None:
        """log(1 + exp(a)) = softplus(a);  log(exp(a) + exp(b)) = logaddexp(a, b);  more terms: m + log Σ exp(· - m)."""
        exponents = exponents_of_terms(u)
        if exponents is None:
            return None
        if len(exponents) == 2:
            a, b = sorted(exponents, key=lambda a: a != 0)
            return softplus(b) if a == 0 else logaddexp(*exponents)
        most = sp.Max(*exponents)
        largest = self.finite(most, most)
        logarithm = log_total if self.vanishing.is_infinite(most) else sp.log
        return largest + logarithm(shifted_sum(exponents, largest))

    def finite(self, largest: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        """What is subtracted from exponents: their largest, but no -oo."""
        return stop_gradient(sp.Max(largest, LOWEST) if self.vanishing.is_infinite(exponent) else largest)

    def rewrite_log_free(self, node: sp.Basic) -> sp.Basic:
        return node if isinstance(node, sp.log) else self.rewrite(node)


SEPARATED = ("product", "max", "sum")  # words for the tensors of a separated sum


def of_part(s: Statement, part: sp.Expr) -> Statement:
    """The statement of a part of an exponent: outside of a recurrence whose steps it does not have."""
    own = indices_of(part)
    scan = s.scan if s.scan is not None and s.scan.index in own else None
    return replace(s, domain=tuple(r for r in s.domain if r.index in own), guard=about(s.guard, own), scan=scan)


def is_scaled(s: Statement) -> bool:
    """Whether a statement is S = exp(m)·total where m is a constant to the derivative: a running sum is."""
    powers = [f for f in sp.Mul.make_args(s.expression) if isinstance(f, sp.exp)]
    plain = s.operator == "=" and s.guard == TRUE and all(map(is_plain_index, s.subscripts))
    return plain and len(powers) == 1 and isinstance(powers[0].args[0], stop_gradient)


def exponents_of(s: Statement) -> list[sp.Expr]:
    return [f.args[0] for f in sp.Mul.make_args(s.expression) if isinstance(f, sp.exp)]


def is_log_or_quotient_of(tensor: str, partners: set[str], expression: sp.Expr) -> bool:
    """Whether the expression has the tensor under a logarithm or a fraction bar, or over a partner's."""
    for node in subexpressions(expression):
        inside = isinstance(node, sp.log) or (isinstance(node, sp.Pow) and node.exp.is_negative)
        if inside and any(isinstance(x, Read) and x.tensor == tensor for x in subexpressions(node.args[0])):
            return True
        if isinstance(node, sp.Mul) and any(isinstance(f, Read) and f.tensor == tensor for f in node.args):
            below = [f.base for f in node.args if isinstance(f, sp.Pow) and f.exp.is_negative]
            if any(isinstance(f, Read) and f.tensor in partners for f in below):
                return True
    return False


# ---- logarithms


def exponents_of_terms(u: sp.Expr) -> list[sp.Expr] | None:
    """The exponents of a sum of exponentials, a + log c for c·exp(a); None for another sum, or one that is shifted."""
    if not isinstance(u, sp.Add) or not u.has(sp.exp) or u.has(stop_gradient):
        return None
    exponents = [exponent_of_term(term) for term in u.args]
    return exponents if None not in exponents else None


def exponent_of_term(term: sp.Expr) -> sp.Expr | None:
    """a + log c of c·exp(a), which may be 0 in some cases: `exp(a) if c else 0` is exp of `a if c else -oo`."""
    coefficient, e = term.as_coeff_Mul()
    if isinstance(e, sp.Piecewise):
        pairs = [(-sp.oo if value == 0 else exponent_of_term(value), c) for value, c in e.args]
        exponent = sp.Piecewise(*pairs) if all(value is not None for value, _ in pairs) else None
    else:
        exponent = e.args[0] if isinstance(e, sp.exp) else ZERO if e == 1 else None
    return exponent + sp.log(coefficient) if exponent is not None and coefficient.is_positive else None


def shifted_sum(exponents: Sequence[sp.Expr], largest: sp.Expr) -> sp.Expr:
    return sp.Add(*(sp.exp(a - largest) for a in exponents))


def log_cosh(a: sp.Expr) -> sp.Expr:
    """log(1 + sinh(a)²)/2 near 0, where it is about a²/2; |a| + log(1 + exp(-2·|a|)) - log(2) where |a| ≥ 1."""
    near = log1p(sp.sinh(a) ** 2) / 2
    far = sp.Abs(a) + log1p(sp.exp(-2 * sp.Abs(a))) - sp.log(2)
    return sp.Piecewise((near, sp.Abs(a) < 1), (far, True))


# ---- scalar patterns


def quotient_of_exponentials(node: sp.Mul) -> sp.Basic:
    """exp(a)·sigmoid(-a) = sigmoid(a);  (2·sinh(a) / (exp(a) + exp(-a)))^k = tanh(a)^k."""
    factors = list(node.args)
    for i, factor in enumerate(factors):
        if isinstance(factor, sp.exp):
            partner = sigmoid(-factor.args[0])
            for j, other in enumerate(factors):
                base, exponent = (other.base, other.exp) if isinstance(other, sp.Pow) else (other, ONE)
                if base == partner and exponent.is_Integer and exponent.is_positive:
                    rest = [f for k, f in enumerate(factors) if k not in (i, j)]
                    return sp.Mul(*rest, sigmoid(factor.args[0]), partner ** (exponent - 1))
    for i, factor in enumerate(factors):
        sine, power = factor.as_base_exp()
        if not isinstance(sine, sp.sinh):
            continue
        angle = sine.args[0]
        for j, other in enumerate(factors):
            denominator, exponent = other.as_base_exp()
            terms = dict(map(coefficient_last, sp.Add.make_args(denominator)))
            scale = terms.get(sp.exp(angle))
            if exponent == -power and scale is not None and terms == {sp.exp(angle): scale, sp.exp(-angle): scale}:
                rest = [f for k, f in enumerate(factors) if k not in (i, j)]
                return sp.Mul(*rest, (sp.tanh(angle) / (2 * scale)) ** power)
    return node


def softmax_of_terms(node: sp.Mul) -> sp.Basic:
    """exp(a)/(exp(a) + exp(b)) = sigmoid(a - b);  exp(a)/Σ exp(·)^k = exp(a - k·m)/(Σ exp(· - m))^k, m the largest."""
    powers = [f for f in node.args if isinstance(f, sp.exp)]
    for factor in node.args if powers else ():
        total, exponent = factor.as_base_exp()
        exponents = exponents_of_terms(total) if exponent.is_Integer and exponent.is_negative else None
        if exponents is None:
            continue
        rest, a = [f for f in node.args if f is not factor and f is not powers[0]], powers[0].args[0]
        others = [b for b in exponents if b != a]
        if exponent == -1 and len(exponents) == 2 and len(others) == 1:
            return sp.Mul(*rest, sigmoid(a - others[0]))
        largest = stop_gradient(sp.Max(*exponents))
        return sp.Mul(*rest, sp.exp(a + exponent * largest), shifted_sum(exponents, largest) ** exponent)
    return node


def coefficient_last(term: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """(what a number is times, that number) of a term."""
    coefficient, rest = term.as_coeff_Mul()
    return rest, coefficient


def one_exponential(node: sp.Mul) -> sp.Basic:
    """exp(a)·exp(b) = exp(a + b): what overflows in one factor may vanish in the other."""
    powers = [f for f in node.args if isinstance(f, sp.exp)]
    if len(powers) < 2:
        return node
    rest = [f for f in node.args if not isinstance(f, sp.exp)]
    return sp.Mul(*rest, sp.exp(sp.Add(*(f.args[0] for f in powers))))


def x_log_x(node: sp.Mul) -> sp.Basic:
    """x·log(x) = xlogy(x, x), which is 0 at 0."""
    for factor in node.args:
        if isinstance(factor, sp.log) and factor.args[0] in node.args:
            rest = [f for f in node.args if f not in (factor, factor.args[0])]
            return sp.Mul(*rest, xlogy(factor.args[0], factor.args[0]))
    return node


def reciprocal_of_exponential(node: sp.Pow) -> sp.Basic:
    """(1 + exp(a))^-k = sigmoid(-a)^k."""
    base, exponent = node.args
    rest = base - 1 if isinstance(base, sp.Add) else base
    if exponent.is_Integer and exponent.is_negative and isinstance(rest, sp.exp) and rest is not base:
        return sigmoid(-rest.args[0]) ** -exponent
    return node


def one_minus(node: sp.Add) -> sp.Basic:
    """c - c·sigmoid(a) = c·sigmoid(-a);  c·exp(a) - c = c·expm1(a)."""
    constant = node.as_coeff_Add()[0]
    for term in node.args if constant != 0 else ():
        function, coefficient = coefficient_last(term)
        if coefficient == -constant and isinstance(function, sigmoid | sp.exp):
            rest = (t for t in node.args if t is not term and t != constant)
            a = function.args[0]
            return sp.Add(*rest, constant * sigmoid(-a) if isinstance(function, sigmoid) else coefficient * expm1(a))
    return node


def difference_of_exponentials(node: sp.Add) -> sp.Basic:
    """c·exp(a) - c·exp(-a) = 2·c·sinh(a)."""
    terms = dict(map(coefficient_last, node.args))
    for function, c in terms.items():
        if isinstance(function, sp.exp) and c.is_positive:
            opposite = sp.exp(-function.args[0])
            if terms.get(opposite) == -c:
                rest = (c * f for f, c in terms.items() if f not in (function, opposite))
                return sp.Add(*rest, 2 * c * sp.sinh(function.args[0]))
    return node


def complement_of_erf(node: sp.Add) -> sp.Basic:
    """c + c·erf(a) = c·erfc(-a);  c - c·erf(a) = c·erfc(a);  2·c - c·erfc(a) = c·erfc(-a)."""
    constant, terms = node.as_coeff_Add()
    for term in terms.args if isinstance(terms, sp.Add) else (terms,):
        coefficient, function = term.as_coeff_Mul()
        rest = sp.Add(*(t for t in sp.Add.make_args(terms) if t is not term))
        if isinstance(function, sp.erf) and constant in (coefficient, -coefficient) and constant != 0:
            return rest + constant * erfc(function.args[0] * (-1 if constant == coefficient else 1))
        if isinstance(function, sp.erfc | erfc) and constant == -2 * coefficient and constant != 0:
            return rest + constant / 2 * erfc(-function.args[0])
    return node


REWRITES: dict[type, tuple[Callable[[sp.Basic], sp.Basic], ...]] = {
    sp.Mul: (one_exponential, quotient_of_exponentials, softmax_of_terms, x_log_x),
    sp.Pow: (reciprocal_of_exponential,),
    sp.Add: (one_minus, difference_of_exponentials, complement_of_erf),
}
