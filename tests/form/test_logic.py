"""Conditions put together mean what And and Or mean, for comparisons of data too, which may all fail at NaN."""

from __future__ import annotations

import itertools
from random import Random

import pytest
import sympy as sp
from sympy.logic.boolalg import Boolean

from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, about, all_of, any_of, conjuncts, index_symbol, indices_of, negation

i, j = index_symbol("i"), index_symbol("j")
ATOMS = [Read("x", i) > 0, Read("y", j) > 1, Read("x", j) <= Read("y", i), sp.Gt(i, 2), sp.Lt(j, 3)]


def condition(rng: Random, depth: int) -> Boolean:
    if depth == 0:
        atom = rng.choice(ATOMS)
        return negation(atom) if rng.random() < 0.4 else atom
    return rng.choice([sp.And, sp.Or])(*(condition(rng, depth - 1) for _ in range(rng.randint(1, 3))))


def holds(c: Boolean, truth: dict[Boolean, bool]) -> bool:
    if isinstance(c, sp.And | sp.Or):
        return (all if isinstance(c, sp.And) else any)(holds(part, truth) for part in c.args)
    if isinstance(c, sp.Not):
        return not holds(c.args[0], truth)
    return bool(c) if c in (sp.true, sp.false) else truth[c] if c in truth else not truth[c.negated]


def worlds() -> list[dict[Boolean, bool]]:
    return [dict(zip(ATOMS, truths, strict=True)) for truths in itertools.product([False, True], repeat=len(ATOMS))]


@pytest.mark.parametrize("seed", range(150))
def test_together_and_one_of(seed: int) -> None:
    rng = Random(seed)
    with as_written():
        parts = [condition(rng, rng.randint(0, 2)) for _ in range(rng.randint(1, 4))]
        both, either = all_of(*parts), any_of(*parts)
        for truth in worlds():
            values = [holds(c, truth) for c in parts]
            assert holds(both, truth) == all(values), parts
            assert holds(either, truth) == any(values), parts
            assert holds(both, truth) == all(holds(c, truth) for c in conjuncts(both)), parts


@pytest.mark.parametrize("seed", range(50))
def test_what_a_condition_says_of_some_indices_follows_from_it(seed: int) -> None:
    rng = Random(seed)
    with as_written():
        whole = condition(rng, 3)
        said = about(whole, {i})
        assert indices_of(said) <= {i}
        assert all(holds(said, truth) for truth in worlds() if holds(whole, truth))


def test_an_alternative_after_another_does_not_repeat_that_it_fails() -> None:
    with as_written():
        x, y, z = ATOMS[:3]
        assert any_of(x, sp.And(negation(x), y)) == sp.Or(x, y)
        assert any_of(sp.And(x, y), sp.And(x, z)) == sp.And(x, sp.Or(y, z))
        assert all_of(x, sp.Or(negation(x), y)) == sp.And(x, y)
        assert any_of(sp.And(x, y), sp.And(x, negation(y))) == x
        assert all_of(x, negation(x)) == sp.false
