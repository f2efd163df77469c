"""What may be -∞ by the formulas, as the logarithm of a probability of 0, and what may be 0.

log Σ_j exp(u[j]) is -∞ where all u[j] are, as declared. There u[j] - max u would be -∞ + ∞, and the derivative 0/0:
`prepare/stabilize.py` guards a logarithm of which this module says that it may come to that, and no other, since in
most models it can't. What parameters hold does not count: none is -∞, and 0 only by chance.
"""

from __future__ import annotations

import sympy as sp

from derivgen.form.expressions import TRUE, Read
from derivgen.form.functions import log_total, logaddexp, stop_gradient
from derivgen.form.program import Program, Role, Statement

LOWEST = sp.Float("-1e38")  # what is not above it counts as the logarithm of 0; float32 holds it


class Vanishing:
    """The tensors of a program that may hold an infinity, and those that may hold 0."""

    def __init__(self, program: Program) -> None:
        self.infinite: set[str] = set()
        self.zero = {t.name for t in program.tensors if t.role in (Role.INPUT, Role.CONSTANT)}
        found = -1
        while found != len(self.infinite) + len(self.zero):  # a recurrence reads what comes later
            found = len(self.infinite) + len(self.zero)
            for s in program.statements:
                self.look_at(s)

    def look_at(self, s: Statement) -> None:
        if self.is_infinite(s.expression):
            self.infinite.add(s.target)
        if self.is_zero(s.expression) or (s.operator == "+=" and s.guard != TRUE):
            self.zero.add(s.target)

    def is_infinite(self, e: sp.Basic) -> bool:
        """Whether an expression may be -∞, or ∞, of which the exponent may have the opposite."""
        match e:
            case Read():
                return e.tensor in self.infinite
            case sp.Piecewise():
                return any(self.is_infinite(pair.args[0]) for pair in e.args)
            case sp.Max() | sp.Min() | logaddexp():
                return all(map(self.is_infinite, e.args))
            case sp.Add() | sp.Mul() | stop_gradient():
                return any(map(self.is_infinite, e.args))
            case sp.log() | log_total():
                return self.is_zero(e.args[0])
        return e in (sp.oo, -sp.oo)

    def is_zero(self, e: sp.Basic) -> bool:
        """Whether an expression may be 0 for another reason than that its terms happen to cancel."""
        match e:
            case Read():
                return e.tensor in self.zero
            case sp.Piecewise():
                return any(self.is_zero(pair.args[0]) for pair in e.args)
            case sp.Add():
                return all(map(self.is_zero, e.args))
            case sp.Mul() | stop_gradient():
                return any(map(self.is_zero, e.args))
            case sp.Pow():
                return bool(e.exp.is_positive) and self.is_zero(e.base)
            case sp.exp():
                return self.is_infinite(e.args[0])
        return e == 0
