"""Files of checkpoints: to the bit and back, whole or not at all, and never taken for what they are not."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import safetensors.numpy
from contract_module import write_module

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.runtime.tensors import decode_safetensors, encode_safetensors, load_parameters, save_parameters
from derivgen.runtime.train.checkpoints import (
    Checkpoint,
    CheckpointError,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)


@pytest.fixture
def module(tmp_path):
    return runtime.load(write_module(tmp_path / "module"))


def checkpoint_of(module, step=7, seed=0, best=True, progress=None):
    generator = np.random.default_rng(seed)

    def draw(a):
        return generator.normal(size=a.shape).astype(a.dtype)

    state = module.optimizer_state()
    state = type(state)(np.array([step]), *map(draw, state[1:]))
    flat = module.initial_parameters()
    return Checkpoint(draw(flat), state, draw(flat) if best else None, progress or {"epoch": 3}, b"{}\n")


def same(a, b):
    """Whether two checkpoints are the same to the bit."""
    arrays = [[c.parameters, *c.state, *([] if c.best is None else [c.best])] for c in (a, b)]
    return (
        len(arrays[0]) == len(arrays[1])
        and all(
            x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
            for x, y in zip(*arrays, strict=True)
        )
        and a.progress == b.progress
    )


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---- there and back


@pytest.mark.parametrize("best", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model", ["regression", "bowl"])  # the bowl has a tensor without axes
def test_a_checkpoint_survives_to_the_bit(tmp_path, model, dtype, best):
    module = runtime.load(write_module(tmp_path, model, dtype))
    written = checkpoint_of(module, best=best)
    unusual = [np.nan, -0.0, np.inf, np.finfo(dtype).smallest_subnormal]
    written.parameters[:] = unusual
    written.state.m[:] = unusual
    payload = written.parameters.view({"float32": np.uint32, "float64": np.uint64}[dtype])
    payload[0] |= 0x1234
    path = write_checkpoint(tmp_path / "run" / "checkpoints", module, written, keep=2)
    assert path == tmp_path / "run" / "checkpoints" / "step-000000007.safetensors"
    read = read_checkpoint(path, module)
    assert same(read, written) and not same(read, checkpoint_of(module, best=best))
    assert read.parameters.tobytes()[:2] == b"\x34\x12" or sys.byteorder == "big"
    assert type(read.state) is type(module.optimizer_state())
    for array in (read.parameters, *read.state, *([read.best] if best else [])):
        assert array.flags.writeable and array.flags.c_contiguous and array.flags.aligned


def test_a_random_generator_goes_on_as_if_nothing_had_been(tmp_path, module):
    generator = np.random.default_rng(5)
    generator.integers(0, 10, 3, np.uint32)  # leaves half a word over
    progress = {"random": generator.bit_generator.state, "history": [{"loss": 0.1 + 0.2, "validation": None}]}
    assert progress["random"]["state"]["state"] > 2**64 and progress["random"]["has_uint32"] == 1
    path = write_checkpoint(tmp_path, module, checkpoint_of(module, progress=progress), keep=1)
    read = read_checkpoint(path, module).progress
    assert read == progress
    again = np.random.default_rng()
    again.bit_generator.state = read["random"]
    assert np.array_equal(again.integers(0, 10, 100, np.uint32), generator.integers(0, 10, 100, np.uint32))
    assert np.array_equal(again.normal(size=100), generator.normal(size=100))


def test_progress_keeps_what_only_pythons_json_can_say(tmp_path, module):
    progress = {
        "best": float("inf"),
        "numbers": [1e-323, -0.0, 2**200, True, np.float64(0.1)],
        "text": 'ε "\n\x7f',
        "pair": (1, 2),
    }
    path = write_checkpoint(tmp_path, module, checkpoint_of(module, progress=progress), keep=1)
    read = read_checkpoint(path, module).progress
    assert read == {**progress, "pair": [1, 2]} and np.signbit(read["numbers"][1])


def test_any_reader_of_safetensors_finds_the_tensors_by_name(tmp_path, module):
    written = checkpoint_of(module)
    path = write_checkpoint(tmp_path, module, written, keep=1)
    tensors = safetensors.numpy.load_file(path)
    assert set(tensors) == {"W", "b", "best.W", "best.b", "state.step", "state.m", "history.lines"}
    assert np.array_equal(tensors["W"], module.views(written.parameters)["W"])
    assert np.array_equal(tensors["best.b"], module.views(written.best)["b"])
    assert np.array_equal(tensors["state.m"], written.state.m) and tensors["state.step"].tolist() == [7]
    with safetensors.safe_open(path, framework="numpy") as file:
        said = file.metadata()
    assert said["model"] == "regression" and said["spec"] == "0123456789abcdef" and said["dtype"] == "float32"
    assert json.loads(said["progress"]) == {"epoch": 3}


def test_the_same_checkpoint_is_the_same_bytes_in_every_process(tmp_path, module):
    path = write_checkpoint(tmp_path / "here", module, checkpoint_of(module), keep=1)
    code = f"""
        m = runtime.load({module.__file__!r})
        write_checkpoint({str(tmp_path / "there")!r}, m, checkpoint_of(m), keep=1)
    """
    in_another_process(code)
    assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()


def test_a_module_that_was_generated_has_checkpoints(tmp_path):
    from sympy import Sum

    from derivgen import Model, generate, optimizers

    model = Model("line")
    N = model.batch("N")
    n, x, w = model.indices(n=N), model.input("x", N), model.parameter("w", init="ones")
    model.minimize(Sum((x[n] * w - 1) ** 2, n) / N)
    model.update(optimizers.adam())
    generated = runtime.load(generate(model, tmp_path / "line_kernels.py"))
    written = checkpoint_of(generated)
    assert {"step", "m", "v"} <= set(written.state._fields)
    assert same(read_checkpoint(write_checkpoint(tmp_path, generated, written, keep=1), generated), written)


# ---- which files there are


def test_only_the_newest_are_kept(tmp_path, module):
    foreign = ["notes.txt", "step-1.safetensors", "step-000000001.safetensors.bak", "astep-000000001.safetensors"]
    for name in foreign:
        (tmp_path / name).write_text("mine")
    (tmp_path / "step-000000000.safetensors").mkdir()
    for step in (5, 10, 999_999_999, 1_000_000_000):
        write_checkpoint(tmp_path, module, checkpoint_of(module, step), keep=2)
    kept = ["step-999999999.safetensors", "step-1000000000.safetensors"]
    assert names(tmp_path) == sorted([*foreign, "module", "step-000000000.safetensors", *kept])
    assert latest_checkpoint(tmp_path) == tmp_path / kept[1]


def test_files_of_later_steps_are_another_trainings_and_stay(tmp_path, module):
    for step in (100, 200, 1, 2, 3):
        path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module, step), keep=2)
        assert path.exists()
    assert names(tmp_path / "c") == [f"step-{n:09d}.safetensors" for n in (2, 3, 100, 200)]


def test_one_may_be_kept_and_the_same_step_written_again(tmp_path, module):
    for seed, step in enumerate((1, 2, 2)):
        path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module, step, seed), keep=1)
    assert names(tmp_path / "c") == [path.name]
    assert same(read_checkpoint(path, module), checkpoint_of(module, 2, 2))
    with pytest.raises(ValueError, match="keep must be at least 1, found 0"):
        write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=0)


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert latest_checkpoint(tmp_path / "none") is None
    assert latest_checkpoint(str(tmp_path)) is None
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="Not a directory: fix that, or give another path"):
        latest_checkpoint(tmp_path / "file")


# ---- what is refused


def refused(path, module, message, error=DerivgenError):
    with pytest.raises(error, match=message) as refusal:
        read_checkpoint(path, module)
    assert str(path) in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"digest": "f" * 16},
            "expected model regression, spec ffffffffffffffff, found model regression, spec 0123456789abcdef",
        ),
        ({"model": "bowl", "digest": "f" * 16}, "expected model bowl, spec f{16}, found model regression, spec"),
        (
            {"dtype": "float64"},
            "expected model regression, dtype float64, found model regression, dtype float32: generate that",
        ),
    ],
)
def test_a_checkpoint_of_another_module_is_refused(tmp_path, module, changes, message):
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    other = runtime.load(write_module(tmp_path / "other", **changes))
    refused(path, other, f"was written by another module: {message}")


def test_a_checkpoint_of_another_contract_is_refused(tmp_path, module, monkeypatch):
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    was = module.CONTRACT
    monkeypatch.setattr(module, "CONTRACT", was + 1)
    message = f"contract {was + 1}, found .*, contract {was}: generate that module by derivgen"
    refused(path, module, message)


def test_the_spec_is_that_of_what_was_loaded_not_of_the_file_since(tmp_path, module):
    write_module(tmp_path / "module", digest="e" * 16)
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    assert same(read_checkpoint(path, module), checkpoint_of(module))
    refused(path, runtime.load(module.__file__), "expected .*spec e{16}, found .*spec 0123456789abcdef")


def rewritten(path, change):
    """The file after `change(tensors, metadata)`, its checksum right again."""
    tensors, metadata = decode_safetensors(path, path.read_bytes())
    change(tensors, metadata)
    path.write_bytes(encode_safetensors(tensors, metadata))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("b"), r"b must be float32 of shape \(2,\), found absent"),
        (lambda t, m: t.pop("state.m"), r"state\.m must be float32 of shape .*, found absent"),
        (lambda t, m: t.pop("best.W"), r"best\.W must be float32 of shape .*, found absent"),
        (lambda t, m: t.update(extra=t["b"]), r"extra must be absent, found float32 of shape"),
        (
            lambda t, m: t.update(W=np.zeros(3, np.float32)),
            r"W must be float32 of shape \(2,\), found float32 of shape \(3,\)",
        ),
        (lambda t, m: t.update({"state.step": np.zeros(1, np.int32)}), r"state\.step must be int64 .*, found int32"),
        (lambda t, m: m.update(format_version="4"), 'of format "4", expected 3: read it with derivgen 0'),
        (lambda t, m: m.update(format_version="²"), "of format .*, expected 3"),
        (lambda t, m: m.update(format="pt"), 'is a safetensors file, but no checkpoint: .*found "pt"'),
        (
            lambda t, m: m.pop("spec"),
            "was written by another module: expected .*, found .*spec None",
        ),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(tmp_path, module, change, message):
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    rewritten(path, lambda t, m: None)
    assert same(read_checkpoint(path, module), checkpoint_of(module))
    rewritten(path, change)
    refused(path, module, message)


def test_every_flipped_byte_is_noticed(tmp_path, module):
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    data = path.read_bytes()
    damaged = tmp_path / "c" / "step-000000008.safetensors"
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        damaged.write_bytes(changed)
        with pytest.raises(DerivgenError):
            read_checkpoint(damaged, module)


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path, module):
    older = write_checkpoint(tmp_path / "c", module, checkpoint_of(module, 6), keep=2)
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module, 7), keep=2)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert f"Move it away: then resuming continues from {older}" in refused(
            path, module, "is no whole safetensors file"
        )
    path.write_bytes(data[:-40] + bytes(40))  # as a crash of the machine leaves a file without fsync
    assert (
        f"is damaged: its bytes are not those of the checksum. Move it away: then resuming continues from {older}"
        in refused(path, module, "damaged")
    )
    older.unlink()
    refused(path, module, "Move it away, and start anew: no older one is beside it")


def test_swapped_tensors_are_noticed(tmp_path, module):
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    data = path.read_bytes()
    swapped = data.replace(b'"W":', b'"?":').replace(b'"b":', b'"W":').replace(b'"?":', b'"b":')
    assert swapped != data
    path.write_bytes(swapped)
    refused(path, module, "is damaged")


def test_foreign_files_are_refused(tmp_path, module):
    save_parameters(tmp_path / "p.safetensors", module, module.initial_parameters())
    np.savez(tmp_path / "p.npz", W=np.zeros(2))
    (tmp_path / "p.pickle").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    (tmp_path / "p.txt").write_text("hello")
    (tmp_path / "empty").touch()
    refused(tmp_path / "p.safetensors", module, "but no checkpoint: .*found null.*load_parameters")
    for name in ("p.npz", "p.pickle", "p.txt", "empty"):
        refused(tmp_path / name, module, "is no whole safetensors file.* Give a file that training wrote")
    refused(tmp_path, module, "can't be read: Is a directory: fix that, or give another path", CheckpointError)
    refused(tmp_path / "none", module, "can't be read: No such file .*give another path", CheckpointError)
    path = write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)
    with pytest.raises(DerivgenError, match=r"holds best\.W, which is no parameter"):
        load_parameters(path, module)


def changed(checkpoint, **fields):
    return Checkpoint(**{name: fields.get(name, getattr(checkpoint, name)) for name in checkpoint.__slots__})


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"progress": {"a": [{"b": np.float32(1)}]}}, TypeError, "float32 is not JSON serializable"),
        ({"parameters": np.zeros(4)}, ValueError, "W must be float32 of shape"),
        ({"best": np.zeros(4)}, ValueError, r"best\.W must be float32 of shape"),
    ],
)
def test_a_checkpoint_that_no_one_could_read_is_not_written(tmp_path, module, fields, error, message):
    with pytest.raises(error, match=message):
        write_checkpoint(tmp_path / "c", module, changed(checkpoint_of(module), **fields), keep=1)
    state = checkpoint_of(module).state
    with pytest.raises(ValueError, match=r"state\.step must be int64 of shape \(1,\), found int64 of shape \(2,\)"):
        broken = state._replace(step=np.zeros(2, np.int64))
        write_checkpoint(tmp_path / "c", module, changed(checkpoint_of(module), state=broken), keep=1)
    assert not (tmp_path / "c").exists()


def test_a_module_without_its_header_has_no_checkpoints(tmp_path, module, monkeypatch):
    monkeypatch.setattr(module, "__doc__", None)
    with pytest.raises(DerivgenError, match=r"lacks derivgen's header.*without -OO"):
        write_checkpoint(tmp_path / "c", module, checkpoint_of(module), keep=1)


# ---- a disk that refuses


@pytest.fixture
def folder(tmp_path, module):
    """A folder with one checkpoint, of step 1."""
    write_checkpoint(tmp_path / "c", module, checkpoint_of(module, 1), keep=3)
    return tmp_path / "c"


def stays(folder, module):
    assert names(folder) == ["step-000000001.safetensors"]
    assert same(read_checkpoint(latest_checkpoint(folder), module), checkpoint_of(module, 1))


def failing(code):
    def call(*_, **__):
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("function", ["os.fsync", "os.open", "os.replace"])
@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")]
)
def test_a_disk_that_refuses_keeps_the_older_ones(folder, module, monkeypatch, function, code, words):
    with monkeypatch.context() as patch:
        patch.setattr(function, failing(code))
        file, kept = r"step-000000002\.safetensors", "the older checkpoints are as they were"
        message = rf"{file} can't be written: {words}: fix that, .*; {kept}"
        with pytest.raises(CheckpointError, match=message):
            write_checkpoint(folder, module, checkpoint_of(module, 2), keep=1)
    stays(folder, module)
    write_checkpoint(folder, module, checkpoint_of(module, 2), keep=1)
    assert names(folder) == ["step-000000002.safetensors"]


def test_the_folder_is_brought_to_the_disk_before_older_ones_go(folder, module, monkeypatch):
    real, synced = os.fsync, []

    def fsync(descriptor):
        status = os.fstat(descriptor)
        synced.append(status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(CheckpointError, match="Input/output error: fix that, or give another path"):
        write_checkpoint(folder, module, checkpoint_of(module, 2), keep=1)
    # The temporary file, which has the checkpoint's name by then, before the folder.
    assert synced == [place.stat().st_ino for place in (folder / "step-000000002.safetensors", folder)]
    assert (folder / "step-000000001.safetensors").exists()


def test_a_file_system_that_syncs_no_folders_will_do(folder, module, monkeypatch):
    real = os.fsync
    monkeypatch.setattr("os.fsync", lambda d: failing(errno.EINVAL)() if os.path.isdir(d) else real(d))
    path = write_checkpoint(folder, module, checkpoint_of(module, 2), keep=1)
    assert names(folder) == [path.name]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, module, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match=r"can't be written: (File exists|Not a directory): fix that"):
        write_checkpoint(tmp_path / place, module, checkpoint_of(module), keep=1)
    assert (tmp_path / "file").read_text() == "mine"


def in_another_process(code, status=0):
    prelude = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from test_checkpoint_files import *
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="the system has no such limit")
def test_a_write_that_the_system_cuts_off_keeps_the_older_ones(folder, module):
    size = (folder / "step-000000001.safetensors").stat().st_size
    output = in_another_process(f"""
        import resource, signal
        m = runtime.load({module.__file__!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}))
        try:
            write_checkpoint({str(folder)!r}, m, checkpoint_of(m, 2), keep=1)
        except CheckpointError as error:
            print(error)
    """)
    assert "step-000000002.safetensors can't be written: File too large: fix that, or give another path" in output
    stays(folder, module)


@pytest.mark.skipif(os.name != "posix", reason="folders have no such permissions")
def test_a_folder_that_one_may_not_write_is_refused(folder, module):
    output = in_another_process(f"""
        m = runtime.load({module.__file__!r})
        folder = Path({str(folder)!r})
        if os.getuid() == 0:  # whom permissions don't stop
            for place in (folder, *folder.parents[:3]):
                place.chmod(0o755)
            os.seteuid(65534)
        else:
            folder.chmod(0o555)
        for place in (folder, folder / "new"):
            try:
                write_checkpoint(place, m, checkpoint_of(m, 2), keep=1)
            except CheckpointError as error:
                print(error)
    """)
    folder.chmod(0o755)
    assert output.count("Permission denied: fix that, or give another path") == 2, output
    stays(folder, module)


@pytest.mark.skipif(os.name != "posix", reason="there are no signals")
def test_a_process_killed_in_a_write_leaves_the_older_ones(folder, module):
    code = f"""
        import signal
        m = runtime.load({module.__file__!r})
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        write_checkpoint({str(folder)!r}, m, checkpoint_of(m, 2), keep=1)
    """
    in_another_process(code, status=-9)
    assert len(names(folder)) == 2 and names(folder)[0].startswith(".derivgen-")
    assert latest_checkpoint(folder) == folder / "step-000000001.safetensors"
    in_another_process(f"""
        m = runtime.load({module.__file__!r})
        write_checkpoint({str(folder)!r}, m, checkpoint_of(m, 2), keep=2)
    """)
    assert names(folder) == ["step-000000001.safetensors", "step-000000002.safetensors"]
