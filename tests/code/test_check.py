"""Code is proved before it is written: each element inside its array, each name with a value where it is used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sympy as sp
from code_text import SHAPES, function
from generated import agrees_with_the_oracle

from derivgen import MaxOver, Model
from derivgen.arrange.arrange import arrange
from derivgen.code.check import check_code
from derivgen.code.passes import kernel_code
from derivgen.code.tree import Assign, Block, Code, For, Function, If, Let
from derivgen.code.visit import statements_in, with_blocks
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read, guarded, index_symbol, reads_of
from derivgen.form.program import InvariantError
from derivgen.pipeline import declared_program, stable_program, training_program
from derivgen.print.kernels import RESERVED
from derivgen.schedule.schedule import schedule


def read_under_two_guards() -> Model:
    """The adjoint of w is 0 from 4 on, and so is that of m, which ends there."""
    model = Model("two_guards")
    u = model.indices(u=6)
    s, m = model.parameter("s", 6, init="ones"), model.parameter("m", 4, init="ones")
    w = model.let("w", u, s[u] ** 2 + guarded(m[u], u < 4))
    z = model.let("z", u, guarded(w[u] ** 2, u < 4))
    model.minimize(sp.Sum(z[u], u))
    return model


def factor_of_a_sum() -> Model:
    """The adjoint of m is a sum over j of summands under a guard on n."""
    model = Model("factor")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, m = model.input("x", N, 3), model.parameter("m", 2, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * guarded(m[n], n < 2), j))
    model.minimize(sp.Sum(z[n] ** 2, n))
    return model


def factor_under_a_guard_on_both() -> Model:
    """The guard that keeps n inside m is one on n and j together: no store after the loop over j could have it."""
    model = Model("both")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, m = model.input("x", N, 3), model.parameter("m", 4, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * guarded(m[n], n + j < 4), j))
    model.minimize(sp.Sum(z[n] ** 2, n))
    return model


def factor_beside_another() -> Model:
    """Two sums in one loop, of which one alone is guarded."""
    model = Model("beside")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, m, b = model.input("x", N, 3), model.parameter("m", 2, init="ones"), model.parameter("b", 3, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * (guarded(m[n], n < 2) + b[j]), j))
    model.minimize(sp.Sum(z[n] ** 3, n))
    return model


def label_inside_a_shorter_axis() -> Model:
    model = Model("label")
    N = model.batch("N")
    n, j = model.indices(n=N, j=3)
    x, y = model.input("x", N, 3), model.labels("y", N, classes=6)
    m = model.parameter("m", 4, 3, init="ones")
    z = model.let("z", n, sp.Sum(x[n, j] * guarded(m[y[n], j] ** 2, y[n] < 4), j))
    model.minimize(sp.Sum(z[n] ** 2, n))
    return model


def largest_under_a_guard() -> Model:
    model = Model("largest")
    u, k = model.indices(u=6, k=5)
    a, m = model.parameter("a", 6, 5, init="glorot_uniform"), model.parameter("m", 3, init="ones")
    z = model.let("z", u, MaxOver(a[u, k] * guarded(m[k], k < 3), k))
    model.minimize(sp.Sum(guarded(z[u] ** 2 * m[u], u < 3), u))
    return model


MODELS = (
    read_under_two_guards,
    factor_of_a_sum,
    factor_under_a_guard_on_both,
    factor_beside_another,
    label_inside_a_shorter_axis,
    largest_under_a_guard,
)


@pytest.mark.parametrize("declared", MODELS, ids=lambda f: f.__name__)
def test_a_guard_keeps_an_index_inside_a_shorter_axis(declared: Callable[[], Model]) -> None:
    agrees_with_the_oracle(declared(), {"N": 5})


def kernels_of(model: Model) -> list[Function]:
    result = schedule(arrange(training_program(stable_program(declared_program(model)))))
    return [kernel_code(result.program, kernel, kernel.layer, RESERVED) for kernel in result.kernels]


@pytest.mark.parametrize("declared", MODELS, ids=lambda f: f.__name__)
def test_code_that_has_lost_a_guard_is_a_fault_with_its_name_and_access(declared: Callable[[], Model]) -> None:
    with as_written():
        found = kernels_of(declared())
        guarded_ones = [f for f in found if any(map(is_guard, statements_in(f.body)))]
        assert guarded_ones
        for function_ in guarded_ones:
            with pytest.raises(InvariantError, match=rf"^{function_.name}: .* is not proved to be inside m"):
                check_code(function_.with_body(without_guards(function_.body)))


def is_guard(code: Code) -> bool:
    """Whether this is a branch on indices and labels, not on the largest value so far."""
    return isinstance(code, If) and all(r.subscripts for r in reads_of(code.condition))


def without_guards(block: Block) -> Block:
    found: list[Code] = []
    for code in block:
        found += without_guards(code.body) if isinstance(code, If) else [with_blocks(code, without_guards)]
    return tuple(found)


FAULTS = {
    "a read past the end": ("for t in range(6): y[t] = x[t + 1]", r"x\[t \+ 1\] is not proved to be inside x"),
    "a read before the start": ("for t in range(6): y[t] = x[t - 1]", "is not proved to be inside x"),
    "a write past the end": ("for t in range(7): y[t] = 0", "is not proved to be inside y"),
    "a store after its loop": ("for t in range(6): y[t] = 0\ny[t] = 1", "t is the index of no loop"),
    "a condition that reads past the end": (
        "for t in range(6):\n  if x[t + 1] > 0: y[t] = 0",
        "is not proved to be inside x",
    ),
    "a guard that the branch before it changed": (
        "for n in range(N):\n  if l[n] < 3:\n    l[n] = 5\n    y[l[n]] = 0\n    z[l[n] + 3] = 0",
        "is not proved to be inside z",
    ),
    "a local that has no value": ("for t in range(6): y[t] = s", "s is used where it need not have a value"),
    "a local of one branch": (
        "for t in range(6):\n  if x[t] > 0: s = x[t]\n  y[t] = s",
        "s is used where it need not have a value",
    ),
    "a local of a loop that may have no iteration": (
        "for n in range(N): s = r[n]\ny[0] = s",
        "s is used where it need not have a value",
    ),
    "a local under a condition that changed since": (
        "for t in range(6):\n  if x[t] > 0: s = x[t]\n  x[t] = 1\n  if x[t] > 0: y[t] = s",
        "s is used where it need not have a value",
    ),
    "two loops over one index": ("for t in range(6):\n  for t in range(3): y[t] = 0", "two loops over t"),
    "a loop up to what a label may pass": (
        "for n in range(N):\n  for t in range(l[n] + 2): y[t] = 0",
        "is not proved to be inside y",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    text, message = FAULTS[fault]
    with as_written(), pytest.raises(InvariantError, match=rf"^f: .*{message}"):
        check_code(function(text, **SHAPES))


SOUND = {
    "a local of both branches": "for t in range(6):\n  if x[t] > 0: s = x[t]\n  else: s = 0\n  y[t] = s",
    "a local used under its own condition": "for t in range(6):\n  if t > 2: s = x[t]\n  if t > 2: y[t] = s",
    "a read that a conjunct keeps inside": "for t in range(6):\n  if t < 5 and x[t + 1] > 0: y[t] = x[t + 1]",
    "a branch of a value": "for t in range(6): y[t] = x[t - 1] if t > 0 else 0",
    "a loop up to a label": "for n in range(N):\n  for t in range(l[n] + 1): y[t] = 0",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_what_is_sound_is_accepted(text: str) -> None:
    with as_written():
        given = function(text, **SHAPES)
        assert check_code(given) is given


t, x_t, y_t = index_symbol("t"), Read("x", index_symbol("t")), Read("y", index_symbol("t"))
MADE_ANEW = {
    "in a loop before it": lambda name: For(t, sp.Integer(6), (Let(name, x_t), Assign(y_t, "=", Read(name)))),
    "at the end of an iteration": lambda name: For(t, sp.Integer(6), (Assign(y_t, "=", Read("s")), Let(name, x_t))),
    "in one of two branches": lambda name: If(sp.Gt(Read("x", 1), 0), (Let(name, Read("x", 2)),)),
}


@pytest.mark.parametrize("made", MADE_ANEW.values(), ids=MADE_ANEW)
def test_a_local_that_is_made_anew_inside_has_no_value_after_it(made: Callable[[str], Code]) -> None:
    """A name is one variable of the function, wherever it is made."""
    start, end = Let("s", Read("x", 0)), Assign(Read("z", 0), "=", Read("s"))
    with as_written():
        given = function("y[0] = 0", **SHAPES)
        check_code(given.with_body((start, made("s_2"), end)))
        with pytest.raises(InvariantError, match="s is used where it need not have a value"):
            check_code(given.with_body((start, made("s"), end)))
