"""Which reads inside a recurrence are proved to be of what earlier steps have written, and which are refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy as sp
from statements import expression_of, program_of

from derivgen.form.as_written import as_written
from derivgen.form.enumerated import never_negative
from derivgen.form.expressions import index_symbol
from derivgen.form.inside import inside
from derivgen.form.program import InvariantError, Range, Role, Tensor

SHAPES = {"h": "6", "s": "6", "x": "6", "y": "6"}
FORWARD, BACKWARD = ", i = 0, 1, …", ", i = …, 1, 0"
COMPLETE = (
    "s[i] += Σ_j h[j]·x[j] if j ≤ i - 1" + FORWARD,
    "s[i] += Σ_j h[j]·x[j] if j < i" + FORWARD,
    "s[i] += Σ_j h[i - 1 - j]·x[j] if i - 1 - j ≥ 0" + FORWARD,
    "s[i] += Σ_j (h[j] if j + 2 < i else 0)" + FORWARD,
    "s[i] += Σ_j h[j]·x[j] if j > i" + BACKWARD,
    "s[i] = (h[0] if i > 0 else 1)" + FORWARD,
    "s[i] = (h[a[i]] if i > 0 else 1)" + FORWARD,
    "s[i] = (h[b[i]] if i < 5 else 1)" + BACKWARD,
)
INCOMPLETE = (
    "s[i] += Σ_j h[j]·x[j] if j ≤ i" + FORWARD,
    "s[i] += Σ_j h[j]·x[j]" + FORWARD,
    "s[i] += Σ_j h[i - j]·x[j] if i ≥ j" + FORWARD,
    "s[i] += Σ_j h[j]·x[j] if j < i" + BACKWARD,
    "s[i] += Σ_j ((h[j] if j < i else 0) + h[j])" + FORWARD,
    "s[i] = h[0]" + FORWARD,
    "s[i] = h[a[i]]" + FORWARD,
    "s[i] = (h[a[i]] if i < 5 else 1)" + FORWARD,
    "s[i] = (h[b[i]] if i < 5 else 1)" + FORWARD,
)
TABLES: dict[str, Any] = {"a": [0, 0, 1, 1, 0, 4], "b": [1, 3, 3, 5, 5, 5]}


def steps_of(line: str) -> Any:
    """A recurrence h that reads s of its step, and a sum s of h."""
    order = FORWARD if line.endswith(FORWARD) else BACKWARD
    used = {name: table for name, table in TABLES.items() if f"{name}[" in line}
    return program_of(f"{line}\nh[i] = x[i]·s[i]{order}\nz[i] = h[i]·y[i]", shapes=SHAPES, tables=used)


@pytest.mark.parametrize("line", COMPLETE)
def test_what_is_written_before_is_complete(line: str) -> None:
    assert len(steps_of(line).statements) == 3


@pytest.mark.parametrize("line", INCOMPLETE)
def test_what_may_be_written_later_is_not(line: str) -> None:
    with pytest.raises(InvariantError, match="s: reads h before it is complete"):
        steps_of(line)


def test_what_is_added_to_earlier_elements_is_complete_where_these_come_later() -> None:
    """The adjoint of a sum over earlier steps: in the opposite order it adds to elements that are not yet read."""
    lines = ("s_bar[i] = h_bar[i]·x[i]", "h_bar[j] += Σ_i s_bar[i]·x[j] if j < i")
    shapes = {**SHAPES, "h_bar": "6", "s_bar": "6"}
    backward, forward = ("".join(f"{line}{order}\n" for line in lines) for order in (BACKWARD, FORWARD))
    assert program_of(f"h_bar[i] += y[i]\n{backward}", shapes=shapes)
    with pytest.raises(InvariantError, match="reads h_bar before it is complete"):
        program_of(f"h_bar[i] += y[i]\n{forward}", shapes=shapes)


def test_proofs_by_tables_agree_with_trying_all_values() -> None:
    """Over tables, claims and conditions; a table that is not known, and an extent, prove nothing."""
    i, j = map(index_symbol, "ij")
    rng = np.random.default_rng(0)
    domain = (Range(i, sp.Integer(4)), Range(j, sp.Integer(4)))
    claims = ["c[i] - i", "i - c[i] - 1", "c[i] + d[j] - 2", "2·c[j] - i", "c[c[i]] - j"]
    paths = ["True", "i > 0", "i < j", "i > 0 and c[i] < j", "i = 2 or j > 2", "c[i] ≠ d[j]"]
    proved = 0
    with as_written():
        for claim, path in itertools.product(claims, paths):
            c, d = (rng.integers(0, 4, 4) for _ in range(2))
            tensors = {
                name: Tensor(name, (sp.Integer(4),), Role.CONSTANT, integer=True, value=value)
                for name, value in {"c": c, "d": d}.items()
            }
            found = never_negative(expression_of(claim), expression_of(path), domain, tensors)
            python = claim.replace("·", "*"), path.replace("=", "==").replace("≠", "!=")
            values = [
                eval(python[0], {"c": c, "d": d, "i": at, "j": other})
                for at, other in itertools.product(range(4), repeat=2)
                if eval(python[1], {"c": c, "d": d, "i": at, "j": other})
            ]
            assert found == all(value >= 0 for value in values), (claim, path, c, d)
            proved += found
            unknown = {name: Tensor(name, (sp.Integer(4),), Role.LABELS, True, 4) for name in "cd"}
            assert not never_negative(expression_of(claim), expression_of(path), domain, unknown)
            endless = tuple(Range(r.index, sp.Symbol("N_", integer=True)) for r in domain)
            assert not never_negative(expression_of(claim), expression_of(path), endless, tensors)
    assert 3 < proved < 27


def test_a_subscript_is_inside_where_a_table_says_so_under_a_condition() -> None:
    i = index_symbol("i")
    table = Tensor("c", (sp.Integer(3),), Role.CONSTANT, integer=True, value=np.array([-1, 0, 1]))
    with as_written():
        read = expression_of("c[i]")
        domain, extent = (Range(i, sp.Integer(3)),), sp.Integer(2)
        assert inside(read, extent, (sp.Gt(i, 0),), domain, {"c": table})
        assert not inside(read, extent, (), domain, {"c": table})
