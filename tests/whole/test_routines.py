"""Calls, views and batches are proved: what is passed is what the functions called were proved for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import sympy as sp

from derivgen import Model
from derivgen.code.check_routine import check_routine
from derivgen.code.routine import SIZE, Group, Routine, Signature, array
from derivgen.code.tree import Bind, Block, Bundle, Call, Code, For, If, Kind, Let, Number, Receive, View
from derivgen.code.visit import with_blocks
from derivgen.form.expressions import Read, index_symbol, size_symbol
from derivgen.form.program import InvariantError
from derivgen.optimizers import adam
from derivgen.pipeline import declared_program, module_codes, plan_module, routines
from derivgen.whole.whole import Whole

N = size_symbol("N")
KNOWN = {
    "laid_out": Signature({"n": SIZE}, Group("Work", {"h": array("h", size_symbol("n"), 3)})),
    "kernel": Signature({"x": array("x", N, 2), "h": array("h", N, 3)}),
    "part": Signature({"start": Kind.INTEGER}, given=(sp.Ge(Read("start"), 0), sp.Le(Read("start") + 2, 10))),
}


def routine(*body: Code, **arguments: object) -> Routine:
    return Routine("f", {"x": array("x", N, 2), "flat": array("flat", 10), **arguments}, body, ())


def refused(what: str, *body: Code) -> None:
    with pytest.raises(InvariantError, match=what):
        check_routine(routine(*body), KNOWN)


def test_calls_are_given_arrays_of_the_shapes_that_they_were_proved_for() -> None:
    work = Bind("work", Call("laid_out", (Number(N),)))
    check_routine(routine(work, Call("kernel", ("x", "work.h"))), KNOWN)
    refused("kernel has the shape", Bind("work", Call("laid_out", (Number(N + 1),))), Call("kernel", ("x", "work.h")))
    refused("kernel has the shape", work, Call("kernel", ("work.h", "x")))
    refused("takes 2 arguments", work, Call("kernel", ("x",)))
    refused("names no arrays", Call("kernel", ("x", "work.h")), work)
    refused("no function that is known", Call("unknown", ()))


def test_views_are_parts_of_their_arrays() -> None:
    def viewed(start: int, *shape: int) -> Code:
        return Bind("part", View("flat", sp.Integer(start), tuple(map(sp.Integer, shape))))

    check_routine(routine(viewed(4, 2, 3)), KNOWN)
    refused("not proved to be a part", viewed(5, 2, 3))
    refused("not proved to be a part", viewed(-1, 2))


def test_what_a_function_asks_of_numbers_is_proved() -> None:
    i = index_symbol("i")
    check_routine(routine(For(i, sp.Integer(9), (Call("part", (Number(i),)),))), KNOWN)
    refused("not proved for part", For(i, sp.Integer(10), (Call("part", (Number(i),)),)))


def test_a_name_stays_of_one_type() -> None:
    refused("h is bound to", Bind("h", Bundle("Pair", (("a", "x"),))), Bind("h", "x"))


@cache
def whole() -> Whole:
    model = Model("small")
    rows = model.batch("N")
    n, d, c = model.indices(n=rows, d=4, c=3)
    x, y = model.input("x", rows, 4), model.labels("y", rows, classes=3)
    w = model.parameter("w", 4, 3)
    z = model.let("z", (n, c), sp.Sum(x[n, d] * w[d, c], d))
    model.minimize(sp.Sum(-sp.log(sp.exp(z[n, y[n]]) / sp.Sum(sp.exp(z[n, c]), c)), n) / rows)
    model.update(adam())
    plan = plan_module(model, declared_program(model), "float64")
    return routines(plan, module_codes(plan))


def epoch() -> Routine:
    return next(r for r in whole().routines if r.name == "epoch")


def changed(block: Block, change: Callable[[Code], Block]) -> Block:
    """Every statement of a block, those inside others first, replaced."""
    return tuple(new for code in block for new in change(with_blocks(code, lambda inner: changed(inner, change))))


def without(kind: type[Code]) -> Callable[[Code], Block]:
    return lambda code: () if isinstance(code, kind) else (code,)


def whole_batches(code: Code) -> Block:
    return (
        (Let("rows", Read("batch_size"), Kind.INTEGER),) if isinstance(code, Let) and code.name == "rows" else (code,)
    )


def batch_as_parameters(code: Code) -> Block:
    if not isinstance(code, Receive):
        return (code,)
    return (replace(code, call=replace(code.call, arguments=("batch", *code.call.arguments[1:]))),)


@pytest.mark.parametrize("change", [without(Bind), without(If), whole_batches, batch_as_parameters])
def test_an_epoch_that_lost_something_is_refused(change: Callable[[Code], Block]) -> None:
    """A name, the check of row numbers before labels are read, the smaller last batch, an argument."""
    broken = replace(epoch(), body=changed(epoch().body, change))
    assert broken != epoch()
    with pytest.raises(InvariantError, match="epoch: "):
        check_routine(broken, whole().signatures)


def test_the_epoch_itself_is_proved() -> None:
    check_routine(epoch(), whole().signatures)
