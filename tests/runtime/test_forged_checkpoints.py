"""Forged checkpoints with a right checksum: each is refused, or means nothing to what follows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from contract_module import write_module
from damage_files import NAME, SETTINGS, checkpoint_of, fit, points, resumed

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.runtime.tensors import decode_safetensors, encode_safetensors

FACTS = ("format", "format_version", "contract", "model", "spec", "dtype", "progress")
NESTED: list = []
for _ in range(500):
    NESTED = [NESTED]
MISSING = object()
WRONG = (None, [], {}, "x", "", -1, 0.5, True, 1e400, float("nan"), 10**400, 2**70, [[1], [[2]]], NESTED)
# What nothing else in a checkpoint tells, and parameters don't come from: reports, and the sum that one goes on from.
FREE = {"loss_sum", "warnings", "records", "seconds", "loss", "metrics", "layers"}


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return runtime.load(write_module(tmp_path_factory.mktemp("module")))


@pytest.fixture(scope="module")
def whole(module, tmp_path_factory):
    return checkpoint_of(module, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def expected(whole, module):
    """What the training comes to that goes on from the checkpoint."""
    return resumed(whole, module)


@pytest.fixture
def forged(tmp_path, whole):
    """Writes the checkpoint after `change(tensors, metadata)`, under its own name, with a right checksum."""

    def forge(change):
        tensors, metadata = decode_safetensors(whole, whole.read_bytes())
        change(tensors, metadata)
        (tmp_path / NAME).write_bytes(encode_safetensors(tensors, metadata))
        return tmp_path / NAME

    return forge


def taken(path, module, expected=None):
    """Whether a training goes on from a checkpoint to the expected numbers; if not, the refusal has its name."""
    result = None
    resume = {"resume": True, "history": path.parent / "history.jsonl"}
    for read in (lambda: runtime.read_parameters(path, module), lambda: fit(module, path.parent, **resume)):
        try:
            result = read()
        except DerivgenError as error:
            assert NAME in str(error) and len(str(error)) < 2000
            result = None
    for other in path.parent.glob("step-*"):
        other.unlink()
    if result is None:
        return False
    for array, name in ((result.last, "last"), (result.state.m, "m")) if expected else ():
        assert array.tobytes() == expected[name].tobytes()
    assert len(result.history) == SETTINGS["epochs"]
    return True


def forgeries(value, path=()):
    """(path, the value with something else there), for every part of it; of a list, for its first."""
    yield from ((path, wrong) for wrong in WRONG if wrong != value)
    if isinstance(value, dict):
        yield (*path, "more"), {**value, "more": None}
        for name, part in value.items():
            rest = {other: value[other] for other in value if other != name}
            yield (*path, name), rest
            yield from ((inside, {**rest, name: changed}) for inside, changed in forgeries(part, (*path, name)))
    if isinstance(value, list) and value:
        yield from ((inside, [changed, *value[1:]]) for inside, changed in forgeries(value[0], (*path, 0)))


def progress_of(metadata):
    return json.loads(metadata["progress"])


def lines_of(tensors):
    return tensors["history.lines"].tobytes().decode().splitlines()


def set_lines(tensors, lines):
    tensors["history.lines"] = np.frombuffer("".join(f"{line}\n" for line in lines).encode(), np.uint8)


# ---- what a training writes


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate": 2, "checkpoint_every": 1},
        {"drop_last": True, "batch_size": 5, "checkpoint_every": 1},
        {"shuffle": False, "batch_size": 100},
        {"validation": points(), "early_stopping": 9, "checkpoint_every": 3},
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_what_a_training_writes_is_taken(module, tmp_path, settings, begun):
    begin = runtime.fit(module, points(), epochs=2)
    start = {"parameters": begin.last, "state": begin.state} if begun else {}
    runtime.fit(module, points(), epochs=2, checkpoints=tmp_path, keep=99, **settings, **start)
    steps = sorted(tmp_path.iterdir())
    whole = runtime.fit(module, points(), epochs=4, checkpoints=tmp_path, keep=99, resume=True, **settings)
    for path in steps:
        folder = tmp_path / path.stem
        folder.mkdir()
        path.rename(folder / path.name)
        resumed = runtime.fit(module, points(), epochs=4, checkpoints=folder, resume=True, **settings)
        assert resumed.last.tobytes() == whole.last.tobytes()


def test_a_training_without_rows_is_taken(tmp_path):
    bowl = runtime.load(write_module(tmp_path, "bowl", "float64"))
    runtime.fit(bowl, {}, epochs=3, checkpoints=tmp_path / "run")
    resumed = runtime.fit(bowl, {}, epochs=5, checkpoints=tmp_path / "run", resume=True)
    assert resumed.last.tobytes() == runtime.fit(bowl, {}, epochs=5).last.tobytes() and resumed.resumed_epochs == 3


# ---- the progress, and the epochs


def test_what_was_written_is_taken(forged, module, expected):
    assert taken(forged(lambda t, m: None), module, expected)


def test_every_field_of_the_progress_is_checked(forged, module, whole, expected):
    progress = progress_of(decode_safetensors(whole, whole.read_bytes())[1])
    assert set(progress) >= {"random", "position", "settings", "data", "records"} and progress["position"] > 0
    assert progress["best_epoch"] > 0 and progress["records"]
    accepted = set()
    for path, changed in forgeries(progress):
        text = json.dumps(changed)
        if path[:2] != ("random", "state") and taken(forged(lambda t, m: m.update(progress=text)), module, expected):  # noqa: B023
            accepted.add(path[0])
    assert accepted <= FREE and {"loss_sum", "warnings", "records"} <= accepted


def test_every_field_of_the_random_state_is_checked(forged, module, whole):
    progress = progress_of(decode_safetensors(whole, whole.read_bytes())[1])
    accepted = []
    for path, changed in forgeries(progress["random"]):
        text = json.dumps({**progress, "random": changed})
        if taken(forged(lambda t, m: m.update(progress=text)), module):  # noqa: B023
            accepted.append((path, changed["state"]["state"]))
    assert accepted == [(("state", "state"), 2**70)]  # which is as good as any, and leads to other numbers


def test_every_field_of_the_epochs_is_checked(forged, module, whole, expected):
    first, last = lines_of(decode_safetensors(whole, whole.read_bytes())[0])
    accepted = set()
    for path, changed in forgeries({**json.loads(last), "metrics": {"accuracy": 0.5}}):
        lines = [first, json.dumps(changed)]
        if taken(forged(lambda t, m: set_lines(t, lines)), module, expected):  # noqa: B023
            accepted.add(path[0])
    assert accepted <= FREE and "loss" in accepted


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: lines[::-1],
        lambda lines: [],
        lambda lines: [*lines, ""],
        lambda lines: ["[" * 10**5, *lines[1:]],
        lambda lines: [line.replace('"step": ', '"step": 1') for line in lines],
    ],
)
def test_other_epochs_are_refused(forged, module, expected, change):
    assert not taken(forged(lambda t, m: set_lines(t, change(lines_of(t)))), module, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": 3}, "position contradicts what else is in it"),
        ({"position": 12}, "position contradicts"),
        ({"position": 4}, r"state\.step contradicts|history\.lines contradicts"),
        ({"position": True}, "position must be 1, found true"),
        ({"loss_sum": math.nan}, "position contradicts"),
        ({"best_epoch": 0}, "best_epoch must be [12], found 0"),
        ({"random": {}}, "KeyError, 'state'"),
        ({"random": None}, "TypeError, "),
        ({"settings": {}}, r"a training with batch_size not given, here it is 4, .*: give the same settings"),
        ({"data": {"x": [1]}}, r"a training with x \[1\], here it is float32 of shape \(12, 2\)"),
        ({"records": [{}]}, "TypeError, .*missing"),
        ({"more": 1}, "more must be absent, found 1"),
    ],
)
def test_the_refusal_names_the_field(forged, module, change, message):
    path = forged(lambda t, m: m.update(progress=json.dumps({**progress_of(m), **change})))
    with pytest.raises(DerivgenError, match=message) as refusal:
        fit(module, path.parent, resume=True)
    assert str(path) in str(refusal.value)


# ---- the facts


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_is_checked(forged, module, expected, fact):
    texts = (
        "",
        "x",
        "-1",
        "0",
        "1e400",
        "NaN",
        "null",
        "true",
        "[]",
        "{}",
        "²",
        "9" * 5000,
        "[" * 10**5,
        "\0",
        MISSING,
    )
    for text in texts:

        def change(tensors, metadata, text=text):
            metadata[fact] = text
            if text is MISSING:
                del metadata[fact]

        # The model's name is for messages: whoever renames a model has the same spec.
        assert taken(forged(change), module, expected) == (fact == "model")
    assert taken(forged(lambda t, m: m.update(more="1")), module, expected)  # a key of another program's


# ---- the tensors


def test_every_tensor_is_checked(forged, module, whole, expected):
    tensors, _ = decode_safetensors(whole, whole.read_bytes())
    assert set(tensors) == {"W", "b", "state.step", "state.m", "best.W", "best.b", "history.lines"}
    for name, tensor in tensors.items():
        others = [tensor.astype(kind) for kind in ("int8", "float16", "float64", "bool") if kind != tensor.dtype]
        others += [tensor[None], tensor[:0], tensor[:-1], np.concatenate([tensor, tensor]), tensor[0]]
        if tensor.dtype.kind == "f":
            others += [np.where(np.arange(tensor.size) == 1, bad, tensor) for bad in np.array([np.nan, np.inf], "f")]
        for other in others:
            assert not taken(forged(lambda t, m: t.update({name: other})), module, expected), name  # noqa: B023
        assert not taken(forged(lambda t, m: t.pop(name)), module, expected), name  # noqa: B023
    for name in ("more", "state.more", "best.more", "history.more"):
        assert not taken(forged(lambda t, m: t.update({name: tensors["W"]})), module, expected)  # noqa: B023
    assert not taken(forged(lambda t, m: (t.pop("best.W"), t.pop("best.b"))), module, expected)


@pytest.mark.parametrize("step", [-1, 0, 1, 7, 9, 11, 2**40, 2**63 - 1, -(2**63)])
def test_steps_are_those_of_the_epochs(forged, module, expected, step):
    def change(tensors, metadata):
        tensors["state.step"] = np.array([step])

    assert not taken(forged(change), module, expected)
    path = forged(change)
    if step >= 0:  # also under a name that fits
        renamed = path.rename(path.with_name(f"step-{step:09d}.safetensors"))
        with pytest.raises(DerivgenError, match=r"state\.step contradicts|history\.lines contradicts"):
            fit(module, renamed.parent, resume=True)


def test_bytes_that_are_no_text_are_no_epochs(forged, module, expected):
    path = forged(lambda t, m: t.update({"history.lines": np.full(9, 0xFF, np.uint8)}))
    with pytest.raises(DerivgenError, match=r"is no checkpoint that training wrote: UnicodeDecodeError, .*byte 0xff"):
        fit(module, path.parent, resume=True)
