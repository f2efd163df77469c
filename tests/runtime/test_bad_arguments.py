"""What callers of compiled modules may pass, and how the rest is refused: by name, in words, with nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy as sp
from generated import execute, module_text
from native_modules import native, needs_compiler

from derivgen import MaxOver, Model, activations, layers, losses, optimizers
from derivgen.form.as_written import as_written
from derivgen.runtime.loading import load


def digits_like() -> Model:
    """A softmax classifier, 4-3-3."""
    model = Model("arguments")
    N = model.batch("N")
    D, H, C = model.sizes(D=4, H=3, C=3)
    n, d, h, c = model.indices(n=N, d=D, h=H, c=C)
    x, y = model.input("x", N, D), model.labels("y", N, classes=C)
    W, b, V = (
        model.parameter("W", D, H, init="normal"),
        model.parameter("b", H),
        model.parameter("V", H, C, init="normal"),
    )
    a = model.let("a", (n, h), sp.tanh(sp.Sum(x[n, d] * W[d, h], d) + b[h]))
    z = model.let("z", (n, c), sp.Sum(a[n, h] * V[h, c], h))
    p = model.let("p", (n, c), sp.exp(z[n, c]) / sp.Sum(sp.exp(z[n, c]), c))
    model.minimize(sp.Sum(-sp.log(p[n, y[n]]), n) / N)
    model.predict(p)
    model.update(optimizers.momentum())
    return model


def odd_inputs() -> Model:
    """A scalar input, ignored labels, an input without the sample axis, and a prediction that reads labels."""
    model = Model("odd_arguments")
    N = model.batch("N")
    D, C = model.sizes(D=2, C=3)
    n, d = model.indices(n=N, d=D)
    x, e = model.input("x", N, D), model.labels("e", N, classes=C, ignore=-100)
    u, s, whole = model.input("u", D), model.input("s"), model.labels("whole", D, classes=C)
    w, v = model.parameter("w", D, init="ones"), model.parameter("v", C, init="ones")
    z = model.let("z", (n,), sp.Sum(x[n, d] * u[d] * w[d] * v[whole[d]], d) * s)
    q = model.let("q", (n,), v[e[n]] * z[n])
    model.minimize(sp.Sum((v[e[n]] - z[n]) ** 2, n) / N)
    model.predict(q)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arguments")


def compiled(model: Model, folder: Path, dtype: str) -> ModuleType:
    path = folder / f"{model.name}_kernels.py"
    path.write_text(module_text(model, dtype), encoding="utf-8")
    return load(path)


KINDS = [pytest.param(compiled, id="numba"), pytest.param(native, id="native", marks=needs_compiler)]


@pytest.fixture(scope="module", params=KINDS)
def digits(folder: Path, request: pytest.FixtureRequest) -> ModuleType:
    return request.param(digits_like(), folder, "float32")


@pytest.fixture(scope="module", params=KINDS)
def odd(folder: Path, request: pytest.FixtureRequest) -> ModuleType:
    return request.param(odd_inputs(), folder, "float64")


ROWS = 7


def digits_data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(ROWS, 4)).astype(np.float32), "y": rng.integers(0, 3, ROWS)}


def odd_data() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "x": rng.normal(size=(ROWS, 2)),
        "e": np.array([0, 1, 2, -100, 2, 1, -100]),
        "u": rng.normal(size=2),
        "s": 0.5,
        "whole": np.array([2, 0]),
    }


class Caller:
    """Calls public functions with good arguments, except those given, and sees that refusals change nothing."""

    def __init__(self, module: ModuleType, inputs: dict[str, Any]) -> None:
        self.module, self.inputs = module, inputs
        self.parameters, self.state = module.initial_parameters(3), module.optimizer_state()
        self.gradient = np.linspace(0, 1, len(self.parameters)).astype(module.real)
        code = module.predict.__code__
        self.predicted = [i.name for i in module.INPUTS if i.name in code.co_varnames[: code.co_argcount]]

    def call(self, function: str, changes: dict[str, Any], without: str | None = None) -> Any:
        wanted = self.predicted if function == "predict" else list(self.inputs)
        inputs = {} if function == "update" else {name: self.inputs[name] for name in wanted}
        own = {
            "update": {"gradient": self.gradient, "state": self.state},
            "train_epoch": {"state": self.state, "order": np.arange(ROWS), "batch_size": 3},
            "descend": {"state": self.state, "steps": 2},
        }.get(function, {})
        arguments = {"parameters": self.parameters, **own, **inputs, **changes}
        arguments.pop(without or "", None)
        return getattr(self.module, function)(**arguments)

    def refuse(self, function: str, words: list[str], changes: dict[str, Any], without: str | None = None) -> None:
        before = [a.tobytes() for a in (self.parameters, *self.state)]
        kept = {name: a.tobytes() for name, a in changes.items() if isinstance(a, np.ndarray) and a.dtype != object}
        with pytest.raises((ValueError, TypeError)) as error:
            self.call(function, changes, without)
        assert type(error.value) in (ValueError, TypeError)
        for word in words:
            assert word in str(error.value), f"{function}: expected {word!r} in: {error.value}"
        assert [a.tobytes() for a in (self.parameters, *self.state)] == before, f"{function} changed something"
        assert {name: changes[name].tobytes() for name in kept} == kept


@pytest.fixture
def on_digits(digits: ModuleType) -> Caller:
    return Caller(digits, digits_data())


@pytest.fixture
def on_odd(odd: ModuleType) -> Caller:
    return Caller(odd, odd_data())


EVALUATIONS = ("loss", "loss_and_gradient", "train_epoch", "descend")
X = digits_data()["x"]
Y = digits_data()["y"]


def with_label(value: int, at: int = -1, dtype: type = np.int64) -> np.ndarray:
    labels = Y.astype(dtype)
    labels[at] = value
    return labels


# ---- inputs

BAD_X = {
    "too wide": (np.ones((ROWS, 5), np.float32), ["x", "expected 4", "found 5"]),
    "too narrow": (np.ones((ROWS, 3), np.float32), ["x", "expected 4", "found 3"]),
    "transposed": (X.T, ["x", "expected 4"]),
    "rank 1": (X[0], ["x", "expected 2 axes", "(4,)"]),
    "rank 3": (X[None], ["x", "expected 2 axes"]),
    "rank 0": (np.float32(1), ["x", "found"]),
    "float64": (X.astype(np.float64), ["x", "expected dtype float32", "found float64", "astype"]),
    "float16": (X.astype(np.float16), ["x", "float32", "float16"]),
    "integers": (np.ones((ROWS, 4), np.int64), ["x", "float32", "int64"]),
    "bools": (np.ones((ROWS, 4), bool), ["x", "float32", "bool"]),
    "complex": (X.astype(np.complex64), ["x", "float32", "complex64"]),
    "objects": (X.astype(object), ["x", "float32", "object"]),
    "strings": (X.astype(str), ["x", "float32"]),
    "big-endian": (X.astype(">f4"), ["x", "float32", ">f4"]),
    "list": (X.tolist(), ["x", "numpy array", "list"]),
    "None": (None, ["x", "numpy array", "NoneType"]),
    "a number": (1.0, ["x", "numpy array", "float"]),
    "empty batch": (X[:0], ["x", "empty", "(0, 4)"]),
    "masked": (np.ma.array(X, mask=X < 0), ["x", "masked", "x.filled"]),
    "masked nowhere": (np.ma.array(X), ["x", "masked"]),  # or what is refused would depend on the numbers
}


@pytest.mark.parametrize("function", [*EVALUATIONS, "predict"])
@pytest.mark.parametrize(("bad", "words"), BAD_X.values(), ids=BAD_X)
def test_bad_data_is_refused(on_digits: Caller, function: str, bad: Any, words: list[str]) -> None:
    on_digits.refuse(function, words, {"x": bad})


BAD_Y = {
    "floats": (Y.astype(np.float32), ["y", "integer labels", "float32"]),
    "bools": (Y.astype(bool), ["y", "integer labels", "bool"]),
    "objects": (Y.astype(object), ["y", "integer labels", "object"]),
    "list": (Y.tolist(), ["y", "numpy array", "list"]),
    "one-hot": (np.eye(3, dtype=np.int64)[Y], ["y", "expected 1 axes"]),
    "fewer rows": (Y[:-1], ["y", f"expected {ROWS}", f"found {ROWS - 1}"]),
    "more rows": (np.append(Y, 0), ["y", f"expected {ROWS}", f"found {ROWS + 1}"]),
    "empty": (Y[:0], ["y", "empty"]),
    "below 0": (with_label(-1), ["y", "0 .. 2", "found -1", f"{ROWS - 1}"]),
    "classes": (with_label(3), ["y", "0 .. 2", "found 3"]),
    "first row": (with_label(3, at=0), ["y", "0 .. 2", "found 3", "(0,)"]),
    "far outside": (with_label(10**15), ["y", "0 .. 2", "found 1000000000000000"]),
    "least int64": (with_label(-(2**63)), ["y", "0 .. 2", f"found {-(2**63)}"]),
    "largest int64": (with_label(2**63 - 1), ["y", "0 .. 2", f"found {2**63 - 1}"]),
    "largest uint64": (with_label(2**64 - 1, dtype=np.uint64), ["y", "0 .. 2"]),
    "int8": (with_label(-128, dtype=np.int8), ["y", "0 .. 2", "found -128"]),
    "masked": (np.ma.array(Y, mask=Y == 1), ["y", "masked", "y.filled"]),
}


@pytest.mark.parametrize("function", EVALUATIONS)
@pytest.mark.parametrize(("bad", "words"), BAD_Y.values(), ids=BAD_Y)
def test_bad_labels_are_refused(on_digits: Caller, function: str, bad: Any, words: list[str]) -> None:
    on_digits.refuse(function, words, {"y": bad})


BAD_ODD = {
    "scalar of rank 1": ({"s": np.ones(1)}, ["s", "0 axes"]),
    "scalar of float32": ({"s": np.array(1, np.float32)}, ["s", "float64", "float32"]),
    "scalar of text": ({"s": "1"}, ["s", "str"]),
    "scalar of bool": ({"s": True}, ["s", "bool"]),
    "scalar of complex": ({"s": 1j}, ["s", "complex"]),
    "scalar past floats": ({"s": 10**400}, ["s"]),
    "scalar of None": ({"s": None}, ["s", "NoneType"]),
    "scalar that is masked": ({"s": np.ma.array(0.5, mask=True)}, ["s", "masked"]),
    "whole input of batch shape": ({"u": np.ones((ROWS, 2))}, ["u", "1 axes"]),
    "whole input too long": ({"u": np.ones(3)}, ["u", "expected 2", "found 3"]),
    "float32": ({"x": np.ones((ROWS, 2), np.float32)}, ["x", "float64", "float32"]),
    "whole label": ({"whole": np.array([0, 3])}, ["whole", "0 .. 2", "found 3"]),
    "whole label that is another's ignored": ({"whole": np.array([-100, 0])}, ["whole", "0 .. 2", "found -100"]),
    "beside the ignored": ({"e": np.array([0, 1, 2, -100, 2, 1, -99])}, ["e", "0 .. 2 or -100", "found -99"]),
    "ignored by wrapping around": (
        {"e": np.array([0, 1, 2, 0, 2, 1, 2**64 - 100], np.uint64)},
        ["e", "0 .. 2 or -100"],
    ),
}


@pytest.mark.parametrize("function", [*EVALUATIONS, "predict"])
@pytest.mark.parametrize(("changes", "words"), BAD_ODD.values(), ids=BAD_ODD)
def test_bad_inputs_of_other_kinds_are_refused(
    on_odd: Caller, function: str, changes: dict[str, Any], words: list[str]
) -> None:
    on_odd.refuse(function, words, changes)


@pytest.mark.parametrize("function", EVALUATIONS)
def test_missing_extra_and_misspelled_names_are_refused(on_digits: Caller, function: str) -> None:
    on_digits.refuse(function, ["'x'"], {}, without="x")
    on_digits.refuse(function, ["'y'"], {}, without="y")
    on_digits.refuse(function, ["'z'"], {"z": X})
    on_digits.refuse(function, ["'X'"], {"X": X}, without="x")
    on_digits.refuse(function, ["'learning_rte'"], {"learning_rte": 0.1})


# ---- vectors, state, order, counts

BAD_VECTORS = {
    "too long": (lambda v: np.append(v, v[:1]), ["shape"]),
    "too short": (lambda v: v[:-1].copy(), ["shape"]),
    "a column": (lambda v: v[:, None].copy(), ["shape"]),
    "empty": (lambda v: v[:0].copy(), ["shape"]),
    "float64": (lambda v: v.astype(np.float64), ["float32", "float64"]),
    "big-endian": (lambda v: v.astype(">f4"), ["float32", ">f4"]),
    "integers": (lambda v: v.astype(np.int32), ["float32", "int32"]),
    "list": (lambda v: v.tolist(), ["numpy array", "list"]),
    "None": (lambda v: None, ["numpy array", "NoneType"]),
    "every second": (lambda v: np.repeat(v, 2)[::2], ["contiguous"]),
    "reversed": (lambda v: v[::-1], ["contiguous"]),
    "read-only": (lambda v: read_only(v), ["writeable"]),
    "masked": (lambda v: np.ma.array(v, mask=v > 0), ["masked", "filled"]),
}


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    """The same numbers at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@pytest.mark.parametrize("function", [*EVALUATIONS, "predict", "update"])
@pytest.mark.parametrize(("change", "words"), BAD_VECTORS.values(), ids=BAD_VECTORS)
def test_bad_parameters_are_refused(on_digits: Caller, function: str, change: Any, words: list[str]) -> None:
    on_digits.refuse(function, ["parameters", *words], {"parameters": change(on_digits.parameters)})


@pytest.mark.parametrize(("change", "words"), BAD_VECTORS.values(), ids=BAD_VECTORS)
def test_bad_gradients_and_slots_are_refused(on_digits: Caller, change: Any, words: list[str]) -> None:
    on_digits.refuse("update", ["gradient", *words], {"gradient": change(on_digits.gradient)})
    for function in ("update", "train_epoch", "descend"):
        state = on_digits.state._replace(m=change(on_digits.state.m))
        on_digits.refuse(function, ["state", *words], {"state": state})


BAD_STATES = {
    "None": (lambda s: None, ["state", "optimizer_state", "NoneType"]),
    "plain tuple": (lambda s: tuple(s), ["state", "optimizer_state", "tuple"]),
    "step of int32": (lambda s: s._replace(step=np.zeros(1, np.int32)), ["state", "step", "int64"]),
    "step of shape (2,)": (lambda s: s._replace(step=np.zeros(2, np.int64)), ["state", "step", "(1,)"]),
    "step that is a number": (lambda s: s._replace(step=0), ["state", "step"]),
    "step that is read-only": (lambda s: s._replace(step=read_only(s.step)), ["state", "step"]),
    "step that is masked": (lambda s: s._replace(step=np.ma.array(s.step)), ["state.step", "masked"]),
}


@pytest.mark.parametrize("function", ["update", "train_epoch", "descend"])
@pytest.mark.parametrize(("change", "words"), BAD_STATES.values(), ids=BAD_STATES)
def test_bad_states_are_refused(on_digits: Caller, function: str, change: Any, words: list[str]) -> None:
    on_digits.refuse(function, words, {"state": change(on_digits.state)})


BAD_SINGLE_SLOTS = {
    "read-only": (read_only, ["writeable"]),
    "None": (lambda a: None, ["numpy array", "NoneType"]),
    "a list": (lambda a: a.tolist(), ["numpy array", "list"]),
    "a number": (lambda a: 1.0, ["numpy array", "float"]),
    "float32": (lambda a: a.astype(np.float32), ["float64"]),
    "shape (2,)": (lambda a: np.repeat(a, 2), ["(1,)"]),
    "masked": (np.ma.array, ["masked"]),
}


@pytest.mark.parametrize(("change", "words"), BAD_SINGLE_SLOTS.values(), ids=BAD_SINGLE_SLOTS)
def test_slots_that_are_kept_once_are_checked_as_the_others(change: Any, words: list[str]) -> None:
    """NAdam's product of momenta is one number for all parameters."""
    model = digits_like()
    model.update(optimizers.nadam())
    caller = Caller(execute(module_text(model, "float32"), numpy=np), digits_data())
    state = caller.state._replace(mu_product=change(caller.state.mu_product))
    for function in ("update", "train_epoch", "descend"):
        caller.refuse(function, ["state.mu_product", *words], {"state": state})


BAD_ORDERS = {
    "past the end": (np.array([0, 1, ROWS]), [f"0 .. {ROWS - 1}", f"found {ROWS}", "position 2"]),
    "negative": (np.array([0, -1]), [f"0 .. {ROWS - 1}", "found -1", "position 1"]),
    "largest uint64": (np.array([2**64 - 1], np.uint64), [f"0 .. {ROWS - 1}"]),
    "least int64": (np.array([-(2**63)]), [f"0 .. {ROWS - 1}"]),
    "empty": (np.zeros(0, np.int64), ["(0,)", "at least one row"]),
    "two axes": (np.zeros((2, 2), np.int64), ["(rows,)", "(2, 2)"]),
    "rank 0": (np.array(0), ["(rows,)", "()"]),
    "floats": (np.zeros(2), ["integers", "float64"]),
    "bools": (np.ones(ROWS, bool), ["integers", "bool"]),
    "objects": (np.array([0, 1], object), ["integers", "object"]),
    "list": ([0, 1], ["numpy array", "list"]),
    "range": (range(2), ["numpy array", "range"]),
    "None": (None, ["numpy array", "NoneType"]),
    "masked": (np.ma.array([0, 1], mask=[False, True]), ["masked"]),
}


@pytest.mark.parametrize(("order", "words"), BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_bad_orders_are_refused(on_digits: Caller, order: Any, words: list[str]) -> None:
    on_digits.refuse("train_epoch", ["order", *words], {"order": order})


BAD_NUMBERS = {
    ("train_epoch", "batch_size"): [0, -1, -(2**63), 2.0, True, "2", None, np.float32(2), 2**70],
    ("descend", "steps"): [-1, 2.0, True, "2", None, -(2**70)],
    ("train_epoch", "learning_rate"): ["0.1", None, True, 1j, [0.1], np.ones(1, np.float32), 10**400],
    ("descend", "momentum"): ["0.9", None, False, 10**400],
    ("update", "learning_rate"): ["0.1", None, True, np.ones(2)],
}


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [(*key, value) for key, values in BAD_NUMBERS.items() for value in values],
    ids=lambda v: repr(v)[:20],
)
def test_bad_numbers_are_refused(on_digits: Caller, function: str, name: str, value: Any) -> None:
    on_digits.refuse(function, [name], {name: value})


def test_drop_last_without_a_whole_batch_is_refused(on_digits: Caller) -> None:
    on_digits.refuse("train_epoch", ["drop_last", f"{ROWS} rows", "batch_size 8"], {"batch_size": 8, "drop_last": True})


@pytest.mark.parametrize("at", range(ROWS))
def test_a_bad_label_anywhere_in_order_changes_nothing(on_digits: Caller, at: int) -> None:
    """Checked before the first step, wherever it stands; a row that order leaves out is not read."""
    order = np.roll(np.arange(ROWS), -at - 1)
    assert order[-1] == at
    on_digits.refuse("train_epoch", ["y", "found 3"], {"order": order, "y": with_label(3, at), "batch_size": 2})
    assert np.isfinite(on_digits.call("train_epoch", {"order": order[:-1], "y": with_label(3, at), "batch_size": 2}))


# ---- what must work, with the same numbers


def sliced(a: np.ndarray) -> np.ndarray:
    return np.repeat(a, 2, axis=0)[::2]


def mapped(a: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / f"{a.ndim}{a.dtype}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


LAYOUTS: dict[str, Callable[[np.ndarray, Path], np.ndarray]] = {
    "sliced": lambda a, _: sliced(a),
    "reversed twice": lambda a, _: a[::-1].copy()[::-1],
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "read-only": lambda a, _: read_only(a),
    "memory-mapped": mapped,
    "unaligned": lambda a, _: unaligned(a),
    "broadcast": lambda a, _: np.broadcast_to(a, a.shape),
    "subclass": lambda a, _: a.view(np.recarray) if a.ndim == 1 else a.view(np.matrix),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_of_any_layout_give_the_same_numbers(digits: ModuleType, tmp_path: Path, layout: str) -> None:
    data = digits_data()
    other = {name: LAYOUTS[layout](a, tmp_path) for name, a in data.items()}
    numbers = []
    for inputs in (data, other):
        caller = Caller(digits, inputs)
        numbers.append([*(np.array(caller.call(f, {})) for f in ("loss", "predict", "train_epoch", "descend"))])
        numbers[-1] += [caller.call("loss_and_gradient", {})[1], caller.parameters, caller.state.m]
    for found, expected in zip(numbers[1], numbers[0], strict=True):
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "int64", "uint64", ">i4", ">i8"])
def test_labels_and_orders_of_any_integer_dtype_work(on_digits: Caller, dtype: str) -> None:
    assert on_digits.call("loss", {"y": Y.astype(dtype)}) == on_digits.call("loss", {})
    other = Caller(on_digits.module, digits_data())
    mean = on_digits.call("train_epoch", {"y": Y.astype(dtype), "order": np.arange(ROWS).astype(dtype)})
    assert mean == other.call("train_epoch", {})
    assert on_digits.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.parametrize("scalar", [0.5, np.float64(0.5), np.array(0.5)])
def test_a_scalar_input_may_be_a_number_or_an_array_of_rank_0(on_odd: Caller, scalar: Any) -> None:
    assert on_odd.call("loss", {"s": scalar}) == on_odd.call("loss", {})


@pytest.mark.parametrize("batch_size", [ROWS, ROWS + 1, 10**6, 2**63 - 1, np.int8(100), np.uint64(9)])
def test_a_batch_larger_than_the_rows_is_one_step(on_digits: Caller, batch_size: Any) -> None:
    other = Caller(on_digits.module, digits_data())
    assert on_digits.call("train_epoch", {"batch_size": batch_size}) == other.call("train_epoch", {"batch_size": ROWS})
    assert on_digits.state.step[0] == other.state.step[0] == 1
    assert on_digits.parameters.tobytes() == other.parameters.tobytes()


def test_rows_may_repeat_and_be_more_than_there_are(on_digits: Caller) -> None:
    order = np.tile(np.arange(ROWS), 3)
    assert np.isfinite(on_digits.call("train_epoch", {"order": order, "batch_size": 3 * ROWS}))
    assert on_digits.state.step[0] == 1


def test_no_steps_are_no_losses(on_digits: Caller) -> None:
    before = on_digits.parameters.copy()
    assert on_digits.call("descend", {"steps": 0}).shape == (0,)
    assert on_digits.parameters.tobytes() == before.tobytes()


def test_ignored_labels_are_never_used_as_an_index(on_odd: Caller) -> None:
    """Rows of that value count as absent."""
    ignored = on_odd.call("loss", {"e": np.full(ROWS, -100)})
    assert ignored == 0
    prediction = on_odd.call("predict", {})
    assert prediction[3] == prediction[6] == 0 and np.all(prediction[:3] != 0)


# ---- non-finite data


def nonlinear(function: str) -> Model:
    model = Model("bend")
    N = model.batch("N")
    n, d = model.indices(n=N, d=3)
    x, w = model.input("x", N, 3), model.parameter("w", 3, init="ones")
    z = model.let("z", (n, d), x[n, d] * w[d])
    bent = {
        "tanh": lambda: sp.tanh(z[n, d]),
        "relu": lambda: sp.Max(z[n, d], 0),
        "two-sided": lambda: sp.Min(sp.Max(z[n, d], -1), 1),
        "branch": lambda: sp.Piecewise((z[n, d], z[n, d] > 0), (z[n, d] / 8, True)),
        "square": lambda: z[n, d] ** 2,
        "sigmoid": lambda: 1 / (1 + sp.exp(-z[n, d])),
        "softplus": lambda: sp.log(1 + sp.exp(z[n, d])),
        "softmax": lambda: sp.exp(z[n, d]) / sp.Sum(sp.exp(z[n, d]), d),
        "absolute": lambda: sp.Abs(z[n, d]),
        "sign": lambda: sp.sign(z[n, d]),
        "floor": lambda: sp.floor(z[n, d]),
        "mod": lambda: sp.Mod(z[n, d], 3),
        "maximum": lambda: MaxOver(z[n, d], d) + d,
        "two arguments": lambda: sp.Max(z[n, d], w[d]) + sp.Min(z[n, d], w[d]),
    }[function]()
    a = model.let("a", (n, d), bent)
    model.minimize(sp.Sum(a[n, d] * (d + 1), n, d) / N)
    return model


BENT = (
    "tanh",
    "relu",
    "two-sided",
    "branch",
    "square",
    "sigmoid",
    "softplus",
    "softmax",
    "absolute",
    "sign",
    "floor",
    "mod",
    "maximum",
    "two arguments",
)


@pytest.mark.parametrize("function", BENT)
@pytest.mark.parametrize("where", ["x", "parameters"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_nan_ends_in_a_loss_that_is_nan(function: str, where: str, at: int) -> None:
    module = bent_module(function)
    data, parameters = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, -1.0]]), np.ones(3)
    if where == "x":
        data[1, at] = np.nan
    else:
        parameters[at] = np.nan
    with np.errstate(all="ignore"):
        assert np.isnan(module.loss(parameters, data))
        assert np.isnan(module.loss_and_gradient(parameters, data)[0])
        assert np.isnan(module.train_epoch(parameters, module.optimizer_state(), np.array([0, 1]), 2, data))


MODULES: dict[str, ModuleType] = {}


def bent_module(function: str) -> ModuleType:
    if function not in MODULES:
        MODULES[function] = execute(module_text(nonlinear(function)))
    return MODULES[function]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_pass_through_compiled_kernels(on_digits: Caller, value: float) -> None:
    """NaN and infinity through softmax end in a loss that is not finite, and never in an exception."""
    parameters = on_digits.parameters.copy()
    parameters[-1] = value  # in V, behind the tanh
    assert not np.isfinite(on_digits.call("loss", {"parameters": parameters}))
    assert not np.isfinite(on_digits.call("train_epoch", {"parameters": parameters.copy()}))
    assert not np.isfinite(on_digits.call("descend", {"parameters": parameters.copy()})[-1])
    data = X.copy()
    data[2, 1] = value
    if np.isnan(value):  # tanh of an infinite number is finite
        assert np.isnan(on_digits.call("loss", {"x": data}))
        assert np.isnan(on_digits.call("predict", {"x": data})[2]).all()


def test_hyperparameters_that_are_not_finite_are_not_refused(on_digits: Caller) -> None:
    on_digits.call("descend", {"learning_rate": float("nan")})
    assert np.isnan(on_digits.parameters).all()


# ---- bounds


@as_written()
def images() -> Model:
    """A guard inside a convolution inside a nonlinearity inside a sum; a padded, strided convolution;
    batch norm, a padded pool, dropout.
    """
    model = Model("images")
    N, L, K = model.batch("N"), *model.sizes(L=5, K=3)
    n, i, r = model.indices(n=N, i=L, r=K)
    x, W = model.input("x", N, 2, 5, L), model.parameter("W", K, init="normal")
    at = 2 * i + r - 3
    inner = sp.Sum(sp.Piecewise((x[n, 1, 4, at] * W[r], sp.And(at >= 0, at < L)), (0, True)), r)
    a = layers.conv2d(x, 4, 3, activations.relu, name="c", stride=2, padding=(2, 1), groups=2)
    a = layers.batch_norm(a, name="b")
    a = layers.max_pool2d(a, 3, name="m", stride=2, padding=1)
    a = layers.dropout(layers.flatten(a, name="f"), 0.4, name="drop")
    z = layers.dense(a, 3, name="z")
    loss = losses.softmax_cross_entropy(z, model.labels("y", N, classes=3, ignore=-100))
    model.minimize(loss + sp.Sum(sp.tanh(inner) * (i + 1), n, i) / N)
    model.predict(z)
    return model


@as_written()
def sequences() -> Model:
    """Embedding, attention by a mask and by lengths, three tensors in one, and a recurrence guarded at t = 0."""
    model = Model("sequences")
    N, T = model.batch("N"), model.batch("T")
    n, t, j, k = model.indices(n=N, t=T, j=5, k=5)
    e = layers.embedding(model.labels("ids", N, T, classes=5, ignore=-1), 2, name="e", init="normal")
    seen = {"mask": model.input("mask", N, T), "lengths": model.labels("lengths", N, classes=4)}
    a = layers.scaled_dot_product_attention(e, e, e, name="a", causal=True, **seen)
    c = layers.concatenate([e, a, layers.dense(e, 1, name="d")], name="c")
    U = model.parameter("U", 5, 5, init="orthogonal")

    def step(h: Any) -> sp.Expr:
        earlier = sp.Piecewise((c[n, t - 2, j], t >= 2), (1, True))
        later = sp.tanh(sp.Sum(h[n, t - 1, k] * U[k, j], k) + earlier)
        return sp.Piecewise((later, t > 0), (c[n, t, j] ** 2, True))

    h = model.recur("h", (n, t, j), step)
    out = model.let("out", (n, j), h[n, T - 1, j] + sp.Piecewise((h[n, 1, j], T > 1), (0, True)))
    model.minimize(sp.Sum(out[n, j] ** 2, n, j) / N)
    model.predict(out)
    return model


def images_data() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(ROWS, 2, 5, 5)).astype(np.float32)
    return {"x": x, "y": np.array([0, 2, 1, -100, 2, 0, 1])}


def sequences_data(length: int) -> dict[str, Any]:
    """Some sequences are masked whole, some have no length."""
    rng = np.random.default_rng(length)
    lengths, mask = np.array([3, 0, 1, 3, 2, 3, 0]), rng.integers(0, 2, (ROWS, length)).astype(float)
    mask[0] = 0
    return {"ids": rng.integers(-1, 5, (ROWS, length)), "mask": mask, "lengths": lengths}


BOUNDS = """
import importlib, sys
import numpy as np

sys.path.insert(0, sys.argv[2])
data = np.load(sys.argv[1], allow_pickle=True)
for name, inputs in data:
    module = importlib.import_module(name)
    for rows in (1, 2, 7):
        given = {k: v[:rows] if getattr(v, "ndim", 0) and len(v) == 7 else v for k, v in inputs.items()}
        parameters, state = module.initial_parameters(), module.optimizer_state()
        for order, batch in ((rows, 3), (rows, 1), (rows, 100), (3 * rows, 100)):
            module.train_epoch(parameters, state, np.arange(order) % rows, batch, **given)
        module.descend(parameters, state, 2, **given)
        module.loss_and_gradient(parameters, **given)
        code = module.predict.__code__
        module.predict(parameters, **{k: v for k, v in given.items() if k in code.co_varnames[: code.co_argcount]})
from numba import njit
try:
    njit(lambda a: a[3])(np.ones(2))
except IndexError:
    print("checked")
"""


def test_bounds_hold_where_numba_checks_them(tmp_path: Path) -> None:
    """A fresh process and cache, so that the kernels are compiled with the checks; a plain overrun shows that they are.

    LLVM does not optimize: it takes most of the time, and has nothing to do with the checks.
    """
    cases: list[tuple[Model, str, list[dict[str, Any]]]] = [
        (digits_like(), "float32", [digits_data()]),
        (odd_inputs(), "float64", [odd_data()]),
        (images(), "float32", [images_data()]),
        (sequences(), "float64", [sequences_data(1), sequences_data(2), sequences_data(5)]),
    ]
    for model, dtype, _ in cases:
        (tmp_path / f"{model.name}_bounds.py").write_text(module_text(model, dtype), encoding="utf-8")
    calls = [(f"{model.name}_bounds", inputs) for model, _, given in cases for inputs in given]
    np.save(tmp_path / "data.npy", np.array(calls, dtype=object), allow_pickle=True)
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", BOUNDS, str(tmp_path / "data.npy"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "checked"
