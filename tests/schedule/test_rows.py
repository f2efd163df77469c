"""Rows together: statements over the same rows in one kernel, and what a row adds to one element in one statement."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from statements import program_of

from derivgen.form.notation import Plain
from derivgen.form.program import Program, Role, Statement
from derivgen.schedule.nests import Loop
from derivgen.schedule.rows import one_sum_a_place, rows_together, with_branches
from derivgen.schedule.schedule import schedule


def layered(text: str) -> Program:
    """A program whose lets are layers of their own; `loss` is asked for."""
    program = program_of(text, outputs=("loss",))
    statements = []
    for s in program.statements:
        object.__setattr__(s, "layer", s.target)
        statements.append(s)
    return program.with_statements(statements)


def kernels(text: str) -> dict[str, list[str]]:
    """The tensors that each kernel writes, in order."""
    result = schedule(layered(text), together=True)
    return {k.layer: [s.target for s in k.statements] for k in result.kernels}


def printed(program: Program, statements: Sequence[Statement]) -> list[str]:
    return [Plain(program.order).statement(s) for s in statements]


def test_lets_over_the_same_rows_are_one_kernel_after_its_last_one() -> None:
    text = """
        r[n] = x[n]·w
        e[n] = r[n]² - y[n]
        loss += Σ_n e[n]²
    """
    assert kernels(text) == {"e": ["r", "e", "loss"]}
    (kernel,) = schedule(layered(text), together=True).kernels
    assert kernel.scalars == {"r", "e"}
    assert len([node for node in kernel.body if isinstance(node, Loop)]) == 1


def test_rows_of_another_kind_between_are_passed() -> None:
    text = """
        r[n] = x[n]·w
        a[i] = v[i]²
        e[n] = r[n]² - y[n]
        loss += Σ_n e[n]²
        loss += Σ_i a[i]
    """
    found = kernels(text)
    assert found["e"][:2] == ["r", "e"]
    assert [name for own in found.values() for name in own].count("a") == 1


def test_a_sum_over_all_rows_ends_what_is_together() -> None:
    found = kernels("s += Σ_n x[n]\ne[n] = x[n]·s\nloss += Σ_n e[n]·y[n]")
    assert all(not {"s", "e"} <= {*own} for own in found.values())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["g[i] += x[i]", "h[i] = y[i]", "g[i] += z[i]"], ["h[i] = y[i]", "g[i] += x[i] + z[i]"]),
        (["g[i] = x[i]", "g[i] += z[i]"], ["g[i] = x[i] + z[i]"]),
        (["g[i] = x[i]", "g[2 - i] += y[i]", "g[i] += z[i]"], ["g[i] = x[i]", "g[2 - i] += y[i]", "g[i] += z[i]"]),
        (["g[0] += Σ_i x[i]", "g[1] += Σ_i z[i]"], ["g[0] += Σ_i x[i]", "g[1] += Σ_i z[i]"]),
    ],
)
def test_one_sum_a_place(before: list[str], after: list[str]) -> None:
    program, wanted = (program_of("\n".join(lines)) for lines in (before, after))
    assert printed(program, one_sum_a_place(program.statements)) == printed(wanted, wanted.statements)


def test_what_is_under_a_guard_in_its_own_row_is_0_elsewhere() -> None:
    program = program_of("g[i] += x[i] if y[i] > 0\nh[i] += x[i] if y[i] > 0")
    (g, h) = with_branches(program, program.statements, {"g"})
    assert printed(program, [g]) == ["g[i] = (x[i] if y[i] > 0 else 0)"]
    assert h == program.statements[1]


def test_statements_in_an_order_that_is_one() -> None:
    """Each tensor is complete before it is read."""
    program = layered("r[n] = x[n]·w\na[i] = v[i]²\ne[n] = r[n]² - y[n]\nloss += Σ_n e[n]²\nloss += Σ_i a[i]")
    found, _ = rows_together(program, program.statements)
    last = {s.target: k for k, s in enumerate(found)}
    assert all(last.get(r.tensor, -1) < k for k, s in enumerate(found) for r in s.reads)


def test_what_other_rows_need_is_no_local() -> None:
    found = kernels("r[i] = x[i]²\ne[i] = r[2 - i]·y[i]\nloss += Σ_i e[i]²")
    assert all(not {"r", "e"} <= {*own} for own in found.values())


def test_the_few_elements_that_a_row_has_of_a_tensor_need_no_memory() -> None:
    text = """
        u[n,i] = x[n,i]·w
        r[n] += Σ_i u[n,i]²
        e[n] += Σ_i r[n]·u[n,i]
        loss += Σ_n e[n]²
    """
    (kernel,) = schedule(layered(text), together=True).kernels
    assert dict(kernel.rows) == {"u": 1}
    assert kernel.scalars == {"r", "e"}
    assert kernel.written == ("loss",)


def test_pairs_of_rows_are_one_loop() -> None:
    text = """
        d[n,n2] += Σ_i (x[n,i] - x[n2,i])² if n < n2
        loss += Σ_n,n2 d[n,n2]² if n < n2
    """
    (kernel,) = schedule(layered(text), together=True).kernels
    assert kernel.scalars == {"d"}


def test_a_number_that_rows_need_comes_before_them() -> None:
    text = """
        e[n] = x[n]·w
        a = exp(b)
        loss += Σ_n a·e[n]²
    """
    (kernel,) = (k for k in schedule(layered(text), together=True).kernels if k.layer == "e")
    assert [s.target for s in kernel.statements] == ["e", "loss"]


def test_a_sine_and_a_cosine_of_one_angle_are_one_kernel() -> None:
    text = """
        c[n,k] = cos(x[n,k]·w)
        s[n,k] = sin(x[n,k]·w)
        loss += Σ_n,k c[n,k]·s[n,2]
    """
    assert ["c", "s"] in kernels(text).values()
    apart = text.replace("sin(x[n,k]·w)", "sin(x[n,k]·v)")
    assert ["c", "s"] not in kernels(apart).values()


def test_a_sum_over_rows_of_few_elements_joins_what_has_these_elements() -> None:
    text = """
        e[k,n] = x[k,n]·y[n]²
        g[k] += Σ_n e[k,n]·z[k,n]
        loss += Σ_k g[k]²
    """
    (kernel,) = (k for k in schedule(layered(text), together=True).kernels if "g" in k.written)
    assert kernel.scalars == {"e"}


def test_scatters_of_a_row_stay_with_the_row() -> None:
    text = """
        e[n] = x[n]·w
        g[l[n],k] += e[n]·v[k]
        loss += Σ_n e[n]²
        loss += Σ_i,k g[i,k]²
    """
    program = program_of(text, roles={"l": Role.LABELS}, shapes={"g": "i k"}, outputs=("loss",))
    for s in program.statements:
        object.__setattr__(s, "layer", s.target)
    found = schedule(program.with_statements(program.statements), together=True).kernels
    assert any({"e", "g"} <= {s.target for s in k.statements} for k in found)


def test_a_number_that_waits_for_one_of_some_steps_comes_after_all_of_them() -> None:
    text = """
        e[n] = x[n]·w
        h[t] = v[t] + (h[t - 1] if t > 0 else 0), t = 0, 1, …
        g[t] = h[t]², t = 0, 1, …
        a = h[3]
        loss += Σ_n e[n]²
        loss += Σ_t a·g[t]
    """
    found, labels = rows_together(layered(text), layered(text).statements)
    targets = [s.target for s in found]
    assert labels == {("e", "forward")}
    assert targets.index("g") == targets.index("h") + 1
