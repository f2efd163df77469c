"""Kernels that are the same but for integers share one function, and compute what each of them did alone."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import sympy as sp
from code_text import function
from generated import agrees_with_the_oracle, module_text

from derivgen import Model, activations, layers, losses
from derivgen.code.check import check_code
from derivgen.code.common import Common, Different
from derivgen.code.common_kernels import affine, in_terms_of, proved, with_integers
from derivgen.code.tree import Function
from derivgen.form.as_written import as_written
from derivgen.form.expressions import guarded, size_symbol
from derivgen.form.places import names_in_order
from derivgen.form.program import InvariantError, Role, Tensor
from derivgen.pipeline import declared_program, module_codes, plan_module, routines
from derivgen.schedule.schedule import Kernel
from derivgen.verify import verify


def windows(name: str, spans: dict[str, tuple[int, int, int, int]]) -> Model:
    """tanh of sums over windows of three rows: let → (how many, stride, dilation, channels).

    Innermost is the loop over channels, of which there are too many for it to be written out.
    """
    model = Model(name)
    n = model.batch("N")
    terms = []
    for let, (count, stride, dilation, channels) in spans.items():
        i, t, r, c = model.local_indices(n, count, 3, channels, letters="itrc")
        x = model.input(f"{let}_x", n, stride * (count - 1) + 2 * dilation + 1, channels)
        w = model.parameter(f"{let}_w", 3, channels, init="ones")
        a = model.let(let, (i, t, c), sp.tanh(sp.Sum(x[i, stride * t + dilation * r, c] * w[r, c], r)))
        i, t, c = model.local_indices(n, count, channels, letters="itc")
        terms.append(model.let(f"{let}_loss", (), sp.Sum(a[i, t, c] ** 2, i, t, c)))
    model.minimize(sum(terms))
    return model


def dilations() -> Model:
    """Offsets r, 2·r and 4·r: the first has no factor."""
    return windows("dilations", {"a": (4, 1, 1, 17), "b": (4, 1, 2, 17), "c": (4, 1, 4, 17)})


def strides() -> Model:
    return windows("strides", {"a": (4, 1, 1, 17), "b": (4, 2, 1, 17)})


def extents() -> Model:
    return windows("extents", {"a": (4, 1, 1, 17), "b": (4, 1, 1, 19), "c": (4, 1, 1, 23)})


def growing() -> Model:
    """Windows of one kind over rows of 9 and of 12 places: each row is longer by 2 than there are windows in it."""
    return windows("growing", {"a": (9, 1, 1, 17), "b": (12, 1, 1, 17)})


def two_integers() -> Model:
    """Strides 1, 2 and 2, dilations 3, 1 and 2: neither is a function of the other, nor the extent of one of them."""
    return windows("two", {"a": (4, 1, 3, 17), "b": (4, 2, 1, 17), "c": (4, 2, 2, 17), "last": (4, 1, 1, 17)})


def shifts() -> Model:
    """What stood some steps before, with zeros before the start."""
    model = Model("shifts")
    n = model.batch("N")
    terms = []
    for let, shift in (("a", 4), ("b", 7)):
        i, t, c = model.local_indices(n, 9, 17, letters="itc")
        x, w = model.input(f"{let}_x", n, 9, 17), model.parameter(f"{let}_w", 17, init="ones")
        a = model.let(let, (i, t, c), guarded(sp.sin(x[i, t - shift, c] * w[c]), t >= shift))
        terms.append(model.let(f"{let}_loss", (), sp.Sum(a[i, t, c] ** 2, i, t, c)))
    model.minimize(sum(terms))
    return model


def pools() -> Model:
    """Sums over windows of 4 and of 6 rows, as far apart as they are long."""
    model = Model("pools")
    n = model.batch("N")
    terms = []
    for let, size in (("a", 4), ("b", 6)):
        i, t, r, c = model.local_indices(n, 3, size, 17, letters="itrc")
        x, w = model.input(f"{let}_x", n, 3 * size, 17), model.parameter(f"{let}_w", 17, init="ones")
        a = model.let(let, (i, t, c), sp.tanh(sp.Sum(x[i, size * t + r, c], r) * w[c] / 9))
        i, t, c = model.local_indices(n, 3, 17, letters="itc")
        terms.append(model.let(f"{let}_loss", (), sp.Sum(a[i, t, c] ** 2, i, t, c)))
    model.minimize(sum(terms))
    return model


def lengths() -> Model:
    """Sums of 2 and of 3 terms, whose number compilers are told, and of 4 and 5, each times another real."""
    model = Model("lengths")
    n = model.batch("N")
    terms = []
    for let, size in (("a", 2), ("b", 3), ("c", 4), ("d", 5)):
        i, t, r, c = model.local_indices(n, 3, size, 17, letters="itrc")
        x, w = model.input(f"{let}_x", n, 3, size, 17), model.parameter(f"{let}_w", 17, init="ones")
        a = model.let(let, (i, t, c), sp.tanh(size * sp.Sum(x[i, t, r, c], r) * w[c] / 50))
        i, t, c = model.local_indices(n, 3, 17, letters="itc")
        terms.append(model.let(f"{let}_loss", (), sp.Sum(a[i, t, c] ** 2, i, t, c)))
    model.minimize(sum(terms))
    return model


def passed(text: str) -> dict[str, set[tuple[int, ...]]]:
    """By kernel, the integers that its calls pass; without kernels that have one call alone."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            numbers = (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, int))
            found.setdefault(node.func.id, []).append(tuple(numbers))
    return {name: {*own} for name, own in found.items() if name.endswith(("_forward", "_backward")) and any(own)}


SHARED: dict[Callable[[], Model], dict[str, set[tuple[int, ...]]]] = {
    dilations: {"a_forward": {(1,), (2,)}, "c_forward": {(1,), (2,), (4,)}, "a_backward": {(1,), (2,), (4,)}},
    strides: {"b_forward": {(1,), (2,)}, "a_backward": {(1,), (2,)}},
    extents: {},
    growing: {},
    two_integers: {
        "a_forward": {(3, 1), (1, 2), (2, 2)},
        "last_forward": {(3, 1), (1, 2), (2, 2), (1, 1)},
        "a_backward": {(3, 1), (1, 2), (2, 2), (1, 1)},
    },
    shifts: {"a_forward": {(4,), (7,)}, "a_backward": {(4,), (7,)}},
    pools: {"b_forward": {(4,), (6,)}},
    lengths: {},
}


@pytest.mark.parametrize("declared", SHARED, ids=lambda f: f.__name__)
def test_one_function_is_given_the_integers_that_differ(declared: Callable[[], Model]) -> None:
    assert passed(module_text(declared())) == SHARED[declared]
    agrees_with_the_oracle(declared(), {"N": 2})


def lines_of(text: str, kernel: str) -> str:
    return text.split(f"\ndef {kernel}(")[1].split("\n\n\n")[0]


def test_what_grows_with_an_argument_is_written_so() -> None:
    assert "x: Real[N, 2 * stride + 4, 17]" in lines_of(module_text(dilations()), "a_forward")
    two = lines_of(module_text(two_integers()), "a_forward")
    assert "x: Real[N, 2 * stride + 3 * stride_2 + 1, 17]" in two
    assert "a[n,t,i] = tanh(Σ_r x[n,stride·r + stride_2·t,i]·w[r,i])" in two


def test_extents_are_read_off_arrays() -> None:
    text = module_text(extents())
    assert text.count("def a_forward(") == 1
    assert "def b_forward(" not in text
    assert "x: Real[N, 6, size_i], w: Real[3, size_i]" in lines_of(text, "a_forward")


def test_an_extent_is_written_by_another_where_the_proof_needs_it() -> None:
    text = module_text(growing())
    assert "b_backward" not in text
    assert "x: Real[N, size_t + 2, 17],\n    a: Real[N, size_t, 17]" in lines_of(text, "a_backward")


def test_a_pass_forwards_shares_nothing_with_one_backwards() -> None:
    """What drops some elements drops the same of their adjoints."""
    model = Model("dropped")
    n = model.batch("N")
    a = layers.dense(model.input("x", n, 20), 20, activations.tanh, name="a")
    kept = layers.dropout(a, sp.Rational(1, 4), name="kept")
    z = layers.dense(kept, 20, activations.sigmoid, name="z")
    model.minimize(losses.mean_squared_error(z, model.input("y", n, 20)))
    text = module_text(model)
    own, back = (lines_of(text, f"kept_{way}").split('"""')[2] for way in ("forward", "backward"))
    assert own == back.replace("kept_bar", "a").replace("a_bar", "kept")


def test_numbers_in_reals_and_lengths_that_compilers_are_told_are_not_given() -> None:
    text = module_text(lengths())
    assert all(f"def {let}_" in text for let in "abcd")
    assert "stride" not in text.split("# ---- what the model has")[0]


# ---- what is proved


def codes_of(model: Model) -> dict[Kernel, Function]:
    return module_codes(plan_module(model, declared_program(model), "float64"))


@pytest.mark.parametrize("declared", [shifts, two_integers], ids=lambda f: f.__name__)
@as_written()
@names_in_order()
def test_a_call_passes_nothing_that_its_function_is_not_proved_for(declared: Callable[[], Model]) -> None:
    model = declared()
    plan = plan_module(model, declared_program(model), "float64")
    codes = module_codes(plan)
    routines(plan, codes)
    for name in {code.name for code in codes.values() if code.instances}:
        less = {k: replace(c, instances=c.instances[1:]) if c.name == name else c for k, c in codes.items()}
        with pytest.raises(InvariantError, match=rf"{name} is not proved for"):
            routines(plan, less)


@as_written()
@names_in_order()
def test_accesses_are_proved_for_these_integers_alone() -> None:
    (forward,) = {code.name: code for code in codes_of(shifts()).values() if code.name == "a_forward"}.values()
    assert forward.instances == ({"shift": 4}, {"shift": 7})
    for shift in (4, 7):
        check_code(with_integers(forward, {"shift": shift}))
    with pytest.raises(InvariantError, match=r"x\[n, t \+ 1, c\] is not proved to be inside x"):
        check_code(with_integers(forward, {"shift": -1}))


@as_written()
@names_in_order()
def test_what_a_kernel_would_be_alone_is_its_function_with_its_integers() -> None:
    for code in codes_of(two_integers()).values():
        if code.instances:
            alone, instance = with_integers(code, {}), with_integers(code, code.integers)
            assert {str(s) for t in alone.arrays.values() for e in t.shape for s in e.free_symbols} > {"N"}
            assert {str(s) for t in instance.arrays.values() for e in t.shape for s in e.free_symbols} == {"N"}
            assert proved([code], [instance]) == [code]
            other = {name: number + 1 for name, number in code.integers.items()}
            with pytest.raises(Different):
                proved([code], [with_integers(code, other)])


# ---- trees


def common(*texts: str) -> Common:
    found = Common()
    with as_written():
        found.function([function(text) for text in texts])
    return found


def test_integers_of_subscripts_bounds_and_comparisons() -> None:
    found = common(
        "for t in range(2, 6): y[t] = x[t - 2]",
        "for t in range(3, 6): y[t] = x[t - 3]",
    )
    assert [*found.found] == [(2, 3)]
    assert [*common("for t in range(6): y[t] = x[0]", "for k in range(6): z[k] = x[5]").found] == [(0, 5)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("for t in range(6): y[t] = 2 * x[t]", "for t in range(6): y[t] = 3 * x[t]"),
        ("for t in range(6): y[t] = x[t] + 2", "for t in range(6): y[t] = x[t] + 3"),
        ("for t in range(6): y[t] = x[t] ** 2", "for t in range(6): y[t] = x[t] ** 3"),
        ("for t in range(6): y[t] = x[t] * z[t] + x[t]", "for t in range(6): y[t] = x[t] * z[t] + z[t]"),
        (
            "for t in range(6):\n  a = x[t]\n  a = z[t]\n  y[t] = a",
            "for t in range(6):\n  a = x[t]\n  b = z[t]\n  y[t] = a",
        ),
        ("for t in range(6): y[t] = x[t]", "for t in range(6): y[t] += x[t]"),
        ("for t in range(6): y[t] = x[t]", "for t in range(5): y[t] = x[t]"),
        ("for t in range(3): y[t] = x[t]", "for t in range(3): y[t] = x[2 * t]"),
        ("for t in range(2, 4): y[t] = x[t - 2]", "for t in range(2, 4): y[t] = x[t + 1]"),
    ],
    ids=["factor", "term", "power", "reads", "locals", "operator", "short length", "innermost stride", "below zero"],
)
def test_trees_that_differ_otherwise(a: str, b: str) -> None:
    with pytest.raises(Different):
        common(a, b)


def test_a_function_of_integers_is_determined_by_them() -> None:
    assert affine((12, 48, 3), [(4, 16, 1)]) == (3, 0)
    assert affine((268, 304), [(4, 16)]) == (3, 256)
    assert affine((10, 9, 11), [(3, 1, 2), (1, 2, 2)]) == (2, 3, 1)
    assert affine((10, 9), [(3, 1), (1, 2)]) is None  # many functions
    assert affine((1, 4, 9), [(1, 2, 3)]) is None
    assert affine((3, 4), [(1, 3)]) is None  # a half


def test_a_coefficient_has_no_term_and_nothing_falls_where_an_argument_grows() -> None:
    d = size_symbol("d")
    assert in_terms_of((8, 32), {"d": (4, 16)}, "stride") == 2 * d
    assert in_terms_of((5, 17), {"d": (4, 16)}, "stride") is None
    assert in_terms_of((5, 17), {"d": (4, 16)}, "shift") == d + 1
    assert in_terms_of((16, 4), {"d": (4, 16)}, "size") is None


def test_labels_of_other_classes_are_another_argument() -> None:
    y = Tensor("y", (sp.Integer(6),), Role.LABELS, integer=True, classes=3)
    assert Common().tensor([y, replace(y, shape=(sp.Integer(7),))]).classes == 3
    for other in (replace(y, classes=4), replace(y, ignore=2), replace(y, integer=False)):
        with pytest.raises(Different):
            Common().tensor([y, other])


# ---- who reads the module alone


def findings(text: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(verify.findings(text, None))


def test_a_reader_of_the_text_proves_what_calls_pass() -> None:
    text = module_text(shifts())
    assert findings(text) == []
    own = lines_of(text, "a_forward")
    wrong = text.replace(own, own.replace("t >= shift", "t >= 4").replace("t ≥ shift", "t ≥ 4"))
    assert "a_forward, shift = 7: line" in "".join(findings(wrong))
    assert "a_forward, shift = 4: line" not in "".join(findings(wrong))
    aliased = text.replace("    a_forward(data.b_x,", "    other = a_forward\n    other(data.b_x,", 1)
    assert "Unclear: a_forward is called by another name" in "".join(findings(aliased))
