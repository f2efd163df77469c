"""Losses of sequences: connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.activations.checks import tensor
from derivgen.declare.model import TensorSymbol
from derivgen.declare.subscripts import is_integer
from derivgen.errors import counted
from derivgen.form.functions import logaddexp
from derivgen.losses.terms import Terms

NEVER = sp.Float(-1e30)  # the logarithm of the probability of what can't be: finite, so that differences are too


def ctc(
    log_probabilities: TensorSymbol,
    labels: TensorSymbol,
    input_lengths: TensorSymbol,
    target_lengths: TensorSymbol,
    *,
    blank: int = 0,
    zero_infinity: bool = False,
    weights: TensorSymbol | None = None,
    reduction: str = "mean",
    name: str = "ctc",
) -> Any:
    """-log of the probability of all ways to emit a row's labels in its steps, each label one or more times.

    log_probabilities (batch, time, classes), labels (batch, targets), and two tensors of labels (batch,): how many
    steps, and how many labels, belong to a row. Between labels there may be blanks, and between equal ones there must
    be. Where the labels do not fit into the steps the loss is infinite, or 0 with `zero_infinity`. The mean divides
    each term by the number of its labels. The recurrences are `<name>_blank` and `<name>_label`; with reduction "none"
    the terms are the let `name`. As torch.nn.CTCLoss, with the batch first. Source: Graves et al. 2006.
    """
    terms, let = Terms("ctc", log_probabilities=log_probabilities), name if reduction == "none" else None
    steps, size = lengths_of(terms, labels, input_lengths, target_lengths, blank)
    rows = terms.indices[:1]
    if not terms.accepted:
        return terms.reduced(sp.Integer(0), None, reduction, let, rows)
    found = log_probability(log_probabilities, labels, steps, size, blank, name, rows[0])
    term = choice(0 if zero_infinity else sp.oo, found <= NEVER / 2, -found)
    count = sp.Max(size, 1) if reduction == "mean" else 1
    return terms.reduced(term / count, weights, reduction, let, rows)


def lengths_of(terms: Terms, labels: Any, input_lengths: Any, target_lengths: Any, blank: Any) -> tuple[Any, ...]:
    """(the steps, the number of labels) of a row; what does not fit the probabilities is noted."""
    n, c, rank = terms.indices[0], terms.indices[-1], len(terms.indices)
    terms.require(rank == 3, f"expected log_probabilities (batch, time, classes), found {counted(rank, 'axis')}")
    rank_2 = len(tensor("ctc", labels, "labels").shape) == 2
    (k,) = terms.model.local_indices(labels.shape[1] if rank_2 else sp.Symbol("targets", integer=True))
    terms.integers("labels", labels, (n, k))
    classes = (c.upper + 1).subs(terms.model.fixed_sizes)
    fits = is_integer(blank) and blank >= 0 and (classes > blank) != sp.false
    terms.require(fits, f"expected one of the {classes} classes as blank, an integer from 0 on, found {blank!r}")
    steps = terms.integers("input_lengths", input_lengths, (n,))
    return steps, terms.integers("target_lengths", target_lengths, (n,))


def log_probability(
    log_p: TensorSymbol, labels: TensorSymbol, steps: sp.Expr, size: sp.Expr, blank: int, name: str, n: Idx
) -> sp.Expr:
    """The logarithm of the probability of the first `size` labels of row n, as an element of a let."""
    model, times, targets = log_p.model, log_p.shape[1], labels.shape[1]
    t, j, k = model.local_indices(times, targets + 1, targets, letters="tjk")
    blanks, marks = recurrences(log_p, labels, steps, blank, name, (n, t, j, k))
    last = logaddexp(blanks[n, times - 1, size], marks[n, times - 1, size - 1])
    alone = choice(blanks[n, times - 1, 0], sp.Eq(size, 0), NEVER)
    let = choice(last, sp.And(size > 0, size <= targets), alone)
    return model.let(f"{name}_log_probability", n, let)[n]


def recurrences(
    log_p: TensorSymbol, labels: TensorSymbol, steps: sp.Expr, blank: int, name: str, at: tuple[Idx, ...]
) -> tuple[TensorSymbol, ...]:
    """Logarithms of the probability of being, after step t, at a blank after j labels, or at label k.

    After a row's last step they stay as they are.
    """
    n, t, j, k = at
    differs, goes_on = sp.And(k > 0, sp.Ne(labels[n, k], labels[n, k - 1])), t < steps

    def step(blanks: Any, marks: Any, reached: Any) -> tuple[sp.Expr, ...]:
        rests, repeats, enters = blanks[n, t - 1, j], marks[n, t - 1, k], reached[n, t, k]
        at_blank = log_p[n, t, blank] + choice(logaddexp(rests, marks[n, t - 1, j - 1]), j > 0, rests)
        at_label = log_p[n, t, labels[n, k]] + choice(logaddexp(enters, marks[n, t - 1, k - 1]), differs, enters)
        values = choice(at_blank, goes_on, rests), choice(at_label, goes_on, repeats)
        return *values, logaddexp(repeats, blanks[n, t - 1, k])

    names, start = [f"{name}_{word}" for word in ("blank", "label", "reached")], choice(0, sp.Eq(j, 0), NEVER)
    return log_p.model.recur(names, [(n, t, j), (n, t, k), (n, t, k)], step, [start, NEVER, None])[:2]


def choice(value: Any, condition: Any, otherwise: Any) -> sp.Expr:
    return sp.Piecewise((value, condition), (otherwise, True))
