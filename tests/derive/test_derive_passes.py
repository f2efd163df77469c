"""Passes that differentiate: worked examples, and derivatives of random programs against differences at 60 digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from passes import (
    Case,
    Example,
    Pass,
    Values,
    assert_same,
    ends,
    examples_of,
    folder_passes,
    given_to,
    kept,
    outputs_of,
    prepared,
    seeds,
)
from second_order_oracle import has_single_rows

import derivgen.derive
from derivgen.derive.by_row import by_row
from derivgen.derive.differentiate import adjoint, tangent
from derivgen.derive.partials import with_tangents
from derivgen.derive.second_order import REQUESTS, gradient_program, request_for
from derivgen.errors import Refused
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.expressions import Read, is_size
from derivgen.form.functions import partial
from derivgen.form.program import Program, Role, Statement, Tensor
from derivgen.oracle.interpreter import Held, run
from derivgen.oracle.reals import context

STEP_DIGITS, RAISED = 20, 60
SEVERAL = 24  # programs for what takes longer


def tangents(program: Program) -> Program:
    """The program with tangents by all parameters, which are asked for."""
    extended, dots = tangent(program, [t.name for t in program.parameters])
    return replace(extended, results=tuple(dots[name] for name in program.outputs if name in dots))


EXAMPLES: dict[Pass, tuple[Example, ...]] = {
    adjoint: (
        Example(
            """
            z[n] += Σ_k x[n,k]·w[k]
            loss += Σ_n sin(z[n])
            """,
            """
            z[n] += Σ_k x[n,k]·w[k]
            loss += Σ_n sin(z[n])
            loss_bar += 1
            z_bar[n] += loss_bar·cos(z[n])
            w_bar[k] += Σ_n x[n,k]·z_bar[n]
            """,
            roles={"x": Role.INPUT},
            same=False,
        ),
        Example(  # at the first maximum
            """
            z[k] = w[k]²
            m = max_k z[k]
            loss = m·v
            """,
            """
            z[k] = w[k]²
            m_arg_k = (k of) argmax_k z[k]
            m = max_k z[k]
            loss = m·v
            loss_bar += 1
            m_bar += v·loss_bar
            v_bar += m·loss_bar
            z_bar[m_arg_k] += m_bar
            w_bar[k] += 2·w[k]·z_bar[k]
            """,
            same=False,
        ),
        Example(  # the condition goes with the read
            """
            z[i] = (w[i]² if x[i] > 1 else v[i])
            loss += Σ_i z[i] if i > 0
            """,
            """
            z[i] = (w[i]² if x[i] > 1 else v[i])
            loss += Σ_i z[i] if i > 0
            loss_bar += 1
            z_bar[i] += loss_bar if i > 0
            w_bar[i] += 2·w[i]·z_bar[i] if x[i] > 1
            v_bar[i] += z_bar[i] if not (x[i] > 1)
            """,
            roles={"x": Role.INPUT},
            same=False,
        ),
        Example(
            """
            h[t] = w[t] + (h[t - 1]·v if t > 0 else 0), t = 0, 1, …
            loss += Σ_t h[t]²
            """,
            """
            h[t] = w[t] + (h[t - 1]·v if t > 0 else 0), t = 0, 1, …
            loss += Σ_t h[t]²
            loss_bar += 1
            h_bar[t] += 2·h[t]·loss_bar
            w_bar[t] += h_bar[t], t = …, 1, 0
            h_bar[t - 1] += v·h_bar[t] if t > 0, t = …, 1, 0
            v_bar += Σ_t h[t - 1]·h_bar[t] if t > 0, t = …, 1, 0
            """,
            same=False,
        ),
        Example(
            "loss += Σ_j stop_gradient(w[y[j]])·w[y[j]]",
            """
            loss += Σ_j w[y[j]]·w[y[j]]
            loss_bar += 1
            w_bar[y[j]] += loss_bar·w[y[j]]
            """,
            roles={"y": Role.LABELS},
            shapes={"w": "4"},
            same=False,
        ),
    ),
    tangents: (
        Example(
            """
            z[n] += Σ_k x[n,k]·w[k]
            loss += Σ_n sin(z[n])
            """,
            """
            z[n] += Σ_k x[n,k]·w[k]
            z_dot[n] += Σ_k x[n,k]·w_dot[k]
            loss += Σ_n sin(z[n])
            loss_dot += Σ_n z_dot[n]·cos(z[n])
            """,
            roles={"x": Role.INPUT},
            same=False,
        ),
        Example(
            """
            m = max_k w[k]
            loss = m·v
            """,
            """
            m_arg_k = (k of) argmax_k w[k]
            m = max_k w[k]
            m_dot = w_dot[m_arg_k]
            loss = m·v
            loss_dot = m·v_dot + v·m_dot
            """,
            same=False,
        ),
        Example(
            "z[i] = (w[i]² if x[i] > 1 else 0)",
            """
            z[i] = (w[i]² if x[i] > 1 else 0)
            z_dot[i] = (2·w_dot[i]·w[i] if x[i] > 1 else 0)
            """,
            roles={"x": Role.INPUT},
            same=False,
        ),
    ),
    with_tangents: (
        Example(
            """
            u[n] = sin(x[n,0]·w)
            z[n] = partial(u[n], x[n,0])
            """,
            """
            u_by_x0[n] = w·cos(x[n,0]·w)
            z[n] = u_by_x0[n]
            """,
            roles={"x": Role.INPUT},
            shapes={"x": "n 1"},
        ),
        Example(
            """
            u[n] = sin(x[n]·w)
            z[n] = partial(u[n], x[n], x[n])
            """,
            """
            u_by_x_by_x[n] = -w²·sin(x[n]·w)
            z[n] = u_by_x_by_x[n]
            """,
            roles={"x": Role.INPUT},
        ),
        Example(
            """
            a[k] = sin(v·w[k])
            u += Σ_k a[k]²
            z[k] = partial(u, w[k])
            """,
            """
            a[k] = sin(v·w[k])
            a_by_w[k] = v·cos(v·w[k])
            u_by_w[k] += 2·a[k]·a_by_w[k]
            z[k] = u_by_w[k]
            """,
        ),
        Example(  # q[f[k]] is q[0] at some k; there is no f[k] at others
            """
            u[k] = (w[k]·q[f[k]]² if k < 2 else 0)
            z[k] = partial(u[k], q[0])
            """,
            """
            u_by_q0[k] += 2·q[f[k]]·w[k] if k < 2 and f[k] = 0
            z[k] = u_by_q0[k]
            """,
            roles={"f": Role.LABELS},
            shapes={"f": "2", "q": "4"},
        ),
        kept("z[i] = w[i]²"),
    ),
    by_row: (
        Example(
            """
            m[k] += Σ_n x[n,k]/N
            loss += Σ_n,k w[k]·(m[k] - x[n,k])
            """,
            """
            m[n,k] += x[n,k]
            loss[n] += Σ_k w[k]·(m[n,k] - x[n,k])
            """,
            roles={"x": Role.INPUT},
            same=False,
        ),
        Example(
            """
            z[n] += Σ_k x[n,k]·w[k]
            loss += Σ_n sin(z[n])/N
            """,
            """
            z[n] += Σ_k x[n,k]·w[k]
            loss[n] += sin(z[n])
            """,
            roles={"x": Role.INPUT},
            same=False,
        ),
    ),
}


@pytest.mark.parametrize(("run", "example"), examples_of(EXAMPLES))
def test_example(run: Pass, example: Example) -> None:
    example.check(run)


def test_every_pass_has_an_example() -> None:
    functions = {r.build for r in REQUESTS}
    assert {*folder_passes(derivgen.derive)} - functions - {gradient_program} <= {*EXAMPLES}


# ---- differences


def differences(program: Program, values: Values, sizes: Mapping[str, int], direction: Values) -> dict[str, Any]:
    """The derivatives of a program's outputs along a direction; what stop_gradient holds is held."""
    mp, held = context(RAISED), Held()
    run(program, given_to(program, values, sizes), sizes, digits=RAISED, held=held)
    step = mp.mpf(10) ** -STEP_DIGITS

    def at(sign: int) -> dict[str, Any]:
        there = {name: values[name] + reals(mp, d) * sign * step for name, d in direction.items()}
        return run(program, given_to(program, {**values, **there}, sizes), sizes, digits=RAISED, held=held)

    after, before = at(1), at(-1)
    return {name: (after[name] - before[name]) / (2 * step) for name in program.outputs}


def reals(mp: Any, values: Any) -> Any:
    return np.vectorize(mp.mpf, otypes=[object])(values)


def stable_programs() -> Iterator[tuple[Case, Program, dict[str, int]]]:
    for case, stable in ends(prepared()):
        yield case, stable, dict(case.spec.runtime)


def direction_of(program: Program, values: Values) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {p.name: rng.uniform(-1, 1, np.shape(values[p.name])) for p in program.parameters}


def training(stable: Program) -> Program:
    return adjoint(stable.live([str(stable.objective)]))


def assert_derivative(case: Case, program: Program, found: Values, wanted: Values) -> None:
    try:
        assert_same(wanted, found)
    except AssertionError as error:
        error.add_note(f"{case.spec}\n{program}")
        raise


def test_adjoint_is_the_slope() -> None:
    """Σ (gradient · direction) is the objective's derivative along a direction."""
    for case, stable, sizes in stable_programs():
        program = training(stable)
        found, direction = outputs_of(program, case.values, sizes), direction_of(program, case.values)
        slope = sum(np.sum(found[bar] * direction[name]) for name, bar in program.gradients)
        loss = str(stable.objective)
        wanted = differences(stable.live([loss]), case.values, sizes, direction)
        assert_derivative(case, program, {loss: slope}, wanted)


def test_tangents_are_the_slopes() -> None:
    """Of the objective, and of its gradient."""
    for k, (case, stable, sizes) in enumerate(stable_programs()):
        for program in (stable, training(stable))[: 1 + (k < SEVERAL)]:
            extended, dots = tangent(program, [p.name for p in program.parameters])
            asked = replace(extended, results=tuple(dots[name] for name in program.outputs if name in dots))
            direction = {t.of: seeds(asked, sizes)[t.name] for t in asked.of_role(Role.SEED)}
            found = outputs_of(asked, case.values, sizes)
            wanted = differences(program, case.values, sizes, direction)
            for name in dots.keys() & {*program.outputs}:
                assert_derivative(case, asked, {name: found[dots[name]]}, {name: wanted[name]})


def test_with_tangents_gives_partial_derivatives() -> None:
    """Of the objective by the first element of each parameter, and by all elements along its last axis."""
    refused = 0
    for case, stable, sizes in stable_programs():
        program = with_partials(stable)
        wanted = outputs_of(program, case.values, sizes)
        try:
            found = outputs_of(with_tangents(program), case.values, sizes)
        except Refused:
            refused += 1
            continue
        assert_derivative(case, program, found, wanted)
    assert refused <= SEVERAL


@as_written()
def with_partials(stable: Program) -> Program:
    """The objective's partial derivatives by an element of each parameter."""
    stable, made, tensors = stable.live([str(stable.objective)]), [], []
    for p in stable.parameters:
        name = f"slope_{p.name}"
        tensors.append(Tensor(name, (), Role.HELPER))
        slope = partial(Read(str(stable.objective)), Read(p.name, *(sp.Integer(0) for _ in p.shape)))
        made.append(Statement(name, (), "=", slope, ()))
    program = stable.with_statements([*stable.statements, *made], tensors)
    return check_program(replace(program, results=tuple(t.name for t in tensors)))


def test_by_row_gives_batches_of_one() -> None:
    checked = 0
    for case, stable, sizes in stable_programs():
        objective = stable.live([str(stable.objective)])
        if checked == SEVERAL // 2 or len(sizes) != 1 or not has_single_rows(case.spec.model()):
            continue
        checked += 1
        ((size, count),), loss = sizes.items(), str(stable.objective)
        rows = [t.name for t in objective.of_role(Role.INPUT, Role.LABELS) if t.shape and is_size(t.shape[0])]
        found = outputs_of(by_row(objective), case.values, sizes)[loss]
        for row in range(count):
            one = {name: case.values[name][row : row + 1] for name in rows}
            wanted = outputs_of(objective, {**case.values, **one}, {size: 1})
            assert_derivative(case, objective, {loss: found[row]}, wanted)
    assert checked == SEVERAL // 2


# ---- functions of derivatives


@pytest.mark.parametrize("name", ["hessian", "hessian_vector_product", "jacobian", "jacobian_vector_product"])
def test_functions_of_derivatives_are_slopes(name: str) -> None:
    """A matrix times a direction is the derivative of the gradient, or of the prediction, along it."""
    checked = 0
    for case, stable, sizes in stable_programs():
        request = request_for(name, case.declared)
        if checked == SEVERAL or (request.of_prediction and stable.prediction is None):
            continue
        checked += 1
        program = check_program(request.build(stable))
        given = {t.of: seeds(program, sizes)[t.name] for t in program.of_role(Role.SEED)}
        direction = given or direction_of(stable, case.values)
        whole = {p.name: direction.get(p.name, np.zeros(np.shape(case.values[p.name]))) for p in stable.parameters}
        found = outputs_of(program, case.values, sizes)
        if request.of_prediction:
            source = stable.live([str(stable.prediction)])
            direction = {n: d for n, d in direction.items() if n in source.table}
            slopes = differences(source, case.values, sizes, direction)[str(stable.prediction)]
        else:
            source = training(stable)
            after = differences(source, case.values, sizes, direction)
            slopes = np.concatenate([np.ravel(after[bar]) for _, bar in source.gradients])
        if name in ("hessian", "jacobian"):
            flat = np.concatenate([np.ravel(whole[p.name]) for p in stable.parameters])
            matrix = found[program.results[0]]
            made = np.where(matrix == matrix, matrix, 0) @ flat  # what no statement writes is 0 by its structure
        elif request.of_prediction:
            made = found[program.results[0]]
        else:
            dots = dict(program.gradients)
            parts = {p.name: found[dots[p.name]] if p.name in dots else 0 * whole[p.name] for p in stable.parameters}
            made = np.concatenate([np.ravel(parts[p.name]) for p in stable.parameters])
        assert_derivative(case, program, {name: made}, {name: slopes})
    assert checked == SEVERAL
