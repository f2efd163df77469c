"""Files that are damaged, claim what they don't hold, or are none: refused in our words, before they are read."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import damage_files
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from contract_module import write_module
from test_data_files import CLASSIFIER, WEIGHTED, X, Y, given, model

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.file import disk, store
from derivgen.project import spec
from derivgen.runtime import predicting
from derivgen.runtime.arrays import Kind, open_npz
from derivgen.runtime.data.data import read_data
from derivgen.runtime.tensors import decode_safetensors

CASES = 60  # of each kind of file
VALUES = model(given("x", "N", 2))


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return runtime.load(write_module(tmp_path_factory.mktemp("module")))


# ---- damage


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return damage_files.kinds(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    "name",
    [
        *("stored.npz", "deflated.npz", "x.npy", "table.csv", "table.parquet", "history.jsonl"),
        *("parameters.npz", "parameters.safetensors", "state_dict.safetensors", "checkpoint", "forged checkpoint"),
    ],
)
def test_damaged_files_are_refused_or_are_what_was_written(kinds, tmp_path, name):
    whole = kinds[name].read(kinds[name].path)
    problems = [damage_files.damage(kinds[name], tmp_path, seed, whole) for seed in range(CASES)]
    assert [problem for problem in problems if problem] == []


def flips(data, step=1):
    for bit in range(0, 8 * len(data), step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


@pytest.mark.parametrize("save", [runtime.save_parameters, runtime.save_state_dict])
def test_every_flipped_bit_of_our_safetensors_is_refused(tmp_path, module, save):
    path = tmp_path / "p.safetensors"
    save(path, module, np.arange(4, dtype=np.float32))
    load = runtime.load_parameters if save is runtime.save_parameters else runtime.load_state_dict
    assert load(path, module).tolist() == [0, 1, 2, 3]
    taken = [data for data in flips(path.read_bytes()) if not is_refused(path, data)]
    assert taken == []


def is_refused(path, data):
    try:
        decode_safetensors(path, data)
    except DerivgenError as error:
        return path.name in str(error)
    return False


def test_a_flipped_bit_of_an_npz_is_refused_or_changes_no_number(tmp_path, module):
    path = tmp_path / "p.npz"
    runtime.save_parameters(path, module, np.arange(4, dtype=np.float32))
    refusals = 0
    for data in flips(path.read_bytes(), 7):
        path.write_bytes(data)
        try:
            assert runtime.load_parameters(path, module).tolist() == [0, 1, 2, 3]
        except DerivgenError as error:
            assert "p.npz" in str(error)
            refusals += 1
    assert refusals > 300


def test_safetensors_of_other_programs_need_no_checksum(tmp_path, module):
    path, tensors = tmp_path / "p.safetensors", {"W": X[0], "b": X[1]}
    for metadata in (None, {"format": "pt"}, {"crc32": "0"}):
        safetensors.numpy.save_file(tensors, path, metadata)
        assert runtime.load_parameters(path, module).tolist() == [*X[0], *X[1]]
    runtime.save_parameters(path, module, np.zeros(4, np.float32))
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    safetensors.numpy.save_file(tensors, path, metadata)  # whoever keeps our checksum with other numbers
    with pytest.raises(DerivgenError, match="is damaged: its bytes are not those of the checksum"):
        runtime.load_parameters(path, module)


# ---- headers


def npy(shape, dtype="<f4", data=b"", version=1):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2 * version, "little") + header + data


def npz(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


CLAIMS = [
    ((2**40, 2), "<f4", r"claims float32 of shape \(1099511627776, 2\), which is not the 24 bytes after it"),
    ((2**62, 2**62), "<f4", "claims float32 of shape"),
    ((10**4000,), "<f4", r'claims float32 of shape "\(10{57}…, which is not'),
    ((-3, -2), "<f4", r"claims the shape \(-3, -2\)"),
    ((0, -1), "<f4", r"claims the shape \(0, -1\)"),
    ("(True, 6)", "<f4", r"claims the shape \(True, 6\)"),
    ("(2.0, 3)", "<f4", "its header can't be read"),
    ("None", "<f4", "its header can't be read"),
    (f"({'(' * 3000}", "<f4", "its header can't be read"),
    ((3, 2), "<f4000", "its header can't be read"),
    ((3, 2), ("<f4", (10**12,)), "its header can't be read"),
    ((3, 2), {}, r"claims \[\] of shape"),
    ((3, 2), "|O", "Python objects, in a pickle, which is never read"),
    ((3, 2), "<f8", "claims float64 of shape"),
    ((), "<f4", "claims float32 of shape"),
]


@pytest.mark.parametrize(("shape", "dtype", "message"), CLAIMS)
def test_a_header_that_claims_what_is_not_there_is_refused(tmp_path, module, shape, dtype, message):
    data = npy(shape, dtype, X.tobytes())
    (tmp_path / "x.npy").write_bytes(data)
    npz(tmp_path / "d.npz", {"x": data})
    npz(tmp_path / "p.npz", {"W": data, "b": npy((2,), data=X[0].tobytes())})
    for name in ("x.npy", "d.npz"):
        with pytest.raises(DerivgenError, match=rf"{name} is not an .* of .*plain array.*{message}"):
            read_data(tmp_path / name, VALUES)
    with pytest.raises(DerivgenError, match=rf"p\.npz is not an \.npz file of plain arrays .*{message}"):
        runtime.load_parameters(tmp_path / "p.npz", module)


def test_a_header_of_another_format_is_refused(tmp_path):
    for version in (3, 9):
        (tmp_path / "x.npy").write_bytes(
            npy((3, 2), data=X.tobytes(), version=2).replace(b"\2\0", bytes([version, 0]), 1)
        )
        with pytest.raises(DerivgenError, match=rf"its format is {version}\.0, expected 1\.0 or 2\.0"):
            read_data(tmp_path / "x.npy", VALUES)
    (tmp_path / "x.npy").write_bytes(npy((3, 2), data=X.tobytes(), version=2))
    assert np.array_equal(read_data(tmp_path / "x.npy", VALUES)[0]["x"], X)


@pytest.mark.parametrize("cast", [False, True])
def test_shapes_that_no_cast_fixes_are_refused_before_reading(tmp_path, monkeypatch, cast):
    monkeypatch.setattr(np.lib.format, "read_array", None)
    for shape in ((3,), (3, 3), (3, 2, 1), ()):
        np.savez(tmp_path / "d.npz", x=np.zeros(shape, np.float32), y=Y)
        np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
        for files in ([tmp_path / "d.npz"], [tmp_path / "x.npy", f"y={tmp_path / 'x.npy'}"]):
            with pytest.raises(
                DerivgenError, match=r"x must be of shape \(N, 2\), found \([^)]*\): (reshape it|use x)"
            ):
                read_data(files, CLASSIFIER, cast=cast)


def test_a_zip_directory_that_can_t_be_true_is_refused(tmp_path):
    path, header = tmp_path / "d.npz", npy((2**20, 2))
    npz(path, {"x": header}, zipfile.ZIP_BZIP2)
    with pytest.raises(DerivgenError, match="x is compressed by a method that NumPy does not write"):
        read_data(path, VALUES)
    claimed = len(header) + 2**23
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for place in (24, 20):  # in the directory: the size, and that of what is compressed
            forged = bytearray(npz(path, {"x": header}, method).read_bytes())
            at = forged.index(b"PK\1\2")
            for field in {24, place}:
                forged[at + field : at + field + 4] = claimed.to_bytes(4, "little")
            path.write_bytes(forged)
            with pytest.raises(DerivgenError, match=f"x claims {claimed} bytes, which are not in it"):
                read_data(path, VALUES)


def test_a_name_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("x.npy", npy((3, 2), data=X.tobytes()))
    with pytest.raises(DerivgenError, match="it holds x twice"):
        read_data(tmp_path / "d.npz", VALUES)


# ---- well compressed


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """256 MiB of zeros in 256 KiB: `x` and `z`, besides `y`."""
    path = tmp_path_factory.mktemp("bomb") / "d.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("x", "z"):
            with archive.open(f"{name}.npy", "w") as member:
                member.write(npy((2**23, 4)))
                for _ in range(32):
                    member.write(bytes(2**22))
        archive.writestr("y.npy", npy((3,), "<i8", Y.tobytes()))
    assert path.stat().st_size < 2**21
    return path


@contextmanager
def little_memory(bytes_at_most=2**22):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < bytes_at_most
    finally:
        tracemalloc.stop()


def test_what_nobody_asked_for_is_not_read(tmp_path, bomb):
    labels = model(given("y", "N", dtype="int64", classes=3))
    with little_memory():
        inputs, unused = read_data(bomb, labels)
    assert inputs["y"].tolist() == Y.tolist() and unused == ("x", "z")
    with little_memory():
        assert read_data(bomb, model(given("x", "N", 4), *labels.INPUTS), needed=["y"])[0].keys() == {"y"}
    np.savez(tmp_path / "d.npz", y=Y, names=np.array(["a", None], object))
    assert read_data(tmp_path / "d.npz", labels)[1] == ("names",)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (given("x", "N", 2), r"x must be of shape \(N, 2\), found \(8388608, 4\)"),
        (given("x", "N"), r"x must be of shape \(N\,\), found"),
    ],
)
def test_what_does_not_fit_is_not_read(bomb, declared, message):
    with little_memory(), pytest.raises(DerivgenError, match=message):
        read_data(bomb, model(declared))


def test_parameters_that_do_not_fit_are_not_read(tmp_path, module, bomb):
    with little_memory(), pytest.raises(DerivgenError, match="lacks the parameter W"):
        runtime.load_parameters(bomb, module)
    large = npy((2**20, 4), data=bytes(2**24))
    npz(tmp_path / "p.npz", {"W": large, "b": npy((2,), data=X[0].tobytes())})
    with little_memory(), pytest.raises(DerivgenError, match=r"W must be float32 of shape \(2,\), found .*1048576, 4"):
        runtime.load_parameters(tmp_path / "p.npz", module)


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    data = b"\x93NUMPY\2\0" + (2**26).to_bytes(4, "little") + b" " * 2**26
    npz(tmp_path / "d.npz", {"x": data})
    with little_memory(), pytest.raises(DerivgenError, match="its header can't be read"):
        read_data(tmp_path / "d.npz", VALUES)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux bounds a process's memory so")
def test_what_memory_is_too_small_for_is_told(bomb):
    code = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
from test_damaged_files import *
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, used + 2**25))
try:
    read_data({str(bomb)!r}, model(given("x", "N", 4)))
except DerivgenError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "d.npz: x takes 0.1 GiB, for which memory is too small: save it as x.npy" in done.stdout


def test_an_archive_gives_kinds_without_its_arrays(bomb):
    with open_npz(bomb) as archive, little_memory():
        assert list(archive.members) == ["x", "z", "y"]
        assert archive.kind("x") == Kind((2**23, 4), np.dtype("float32"))


# ---- brackets


BRACKETS = "[" * 10**5


def test_brackets_without_end_are_refused(tmp_path, module):
    message = "not to be read, it has too many brackets inside brackets"
    history = tmp_path / "h.jsonl"
    for line in (BRACKETS, BRACKETS + "]" * 10**5, '{"a":' * 10**5):
        history.write_text(f"{line}\n")
        with pytest.raises(DerivgenError, match=rf"h\.jsonl:1 is no epoch of a history: {message}"):
            runtime.read_history(history)
        with pytest.raises(DerivgenError, match="is no history of a training"):
            runtime.fit(module, damage_files.points(), epochs=1, history=history)
    history.write_text(f"{'9' * 5000}\n")
    with pytest.raises(DerivgenError, match="a whole number in it has too many digits"):
        runtime.read_history(history)
    path = tmp_path / "p.safetensors"
    for header in (f'{{"__metadata__":{BRACKETS}', f'{{"W":{BRACKETS}', BRACKETS):
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
        with pytest.raises(DerivgenError, match="is no whole safetensors file"):
            runtime.load_parameters(path, module)


# ---- what is no file


@contextmanager
def at_once(seconds=5):
    """The block fails, and does not wait, where something in it does."""

    def late(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["a pipe", "a socket", "a device"])
def special(request, tmp_path, monkeypatch):
    """(what makes a path of a name that is no file, what it is); whatever is called, nothing takes its place."""
    monkeypatch.setattr("os.replace", lambda *_: pytest.fail("a file was put in its place"))
    sockets = []

    def make(name):
        path = tmp_path / name
        if request.param == "a pipe":
            os.mkfifo(path)
        elif request.param == "a socket":
            sockets.append(socket.socket(socket.AF_UNIX))
            sockets[-1].bind(os.path.relpath(path))  # names of sockets are short
        else:
            path.symlink_to("/dev/zero")
        return path

    monkeypatch.chdir(tmp_path)
    yield make, request.param
    for one in sockets:
        one.close()


@pytest.mark.skipif(os.name != "posix", reason="there are no such files")
def test_what_is_no_file_is_not_read(special, module):
    make, what = special
    readers = {
        "x.npy": lambda path: read_data(path, VALUES),
        "x.npz": lambda path: read_data(path, VALUES),
        "x.csv": lambda path: read_data(path, VALUES),
        "x.parquet": lambda path: read_data(path, VALUES),
        "p.npz": lambda path: predicting.read_parameters(path, module),
        "p.safetensors": lambda path: predicting.read_parameters(path, module),
        "q.safetensors": lambda path: runtime.load_state_dict(path, module),
        "step-000000001.safetensors": lambda path: runtime.read_checkpoint(path, module),
        "h.jsonl": runtime.read_history,
        "kernels.py": runtime.load,
        "spec.py": spec.read_source,
    }
    for name, read in readers.items():
        with at_once(), pytest.raises(DerivgenError, match=rf"{name} is no regular file, but {what}: give another"):
            read(make(name))
    assert runtime.latest_checkpoint(Path()) is None


@pytest.mark.skipif(os.name != "posix", reason="there are no such files")
def test_what_is_no_file_is_not_written(special, module):
    make, what = special
    flat, checks = module.initial_parameters(), [lambda path: disk.write_bytes(path, b""), disk.check_writable]
    writers = {
        "p.npz": [*checks, lambda path: runtime.save_parameters(path, module, flat)],
        "p.safetensors": [*checks, lambda path: runtime.save_state_dict(path, module, flat)],
        "o.npy": [lambda path: predicting.write_prediction(path, flat)],
        "l.png": [lambda path: runtime.plot_history(path, [runtime.Epoch(1, 1.0, None, 0.1)])],
        "h.jsonl": [lambda path: runtime.fit(module, damage_files.points(), epochs=1, history=path)],
        "k.py": [lambda path: store.write(path, "text", force=True)],
    }
    for name, all_writers in writers.items():
        path = make(name)
        for write in all_writers:
            with at_once(), pytest.raises(DerivgenError, match=rf"{name} is no regular file, but {what}: give another"):
                write(path)
        assert not path.is_file()
    assert not list(Path().glob(".derivgen*"))


def test_folders_are_no_files(tmp_path, module):
    for suffix in (".npy", ".npz", ".csv", ".parquet", ".safetensors", ".jsonl"):
        path = tmp_path / f"x{suffix}"
        path.mkdir()
        with pytest.raises(DerivgenError, match="folder"):
            disk.check_writable(path)
        with pytest.raises(DerivgenError, match=r"can't be written: Is a directory"):
            disk.write_bytes(path, b"")
        if suffix in (".npz", ".safetensors"):
            with pytest.raises(DerivgenError, match=r"can't be read: Is a directory"):
                runtime.load_parameters(path, module)
        if suffix not in (".safetensors", ".jsonl"):
            with pytest.raises(DerivgenError, match="can't be read: it is a folder"):
                read_data(path, WEIGHTED)


def test_files_are_read_and_written_through_links(tmp_path, module):
    for name in ("p.npz", "p.safetensors", "h.jsonl"):
        (tmp_path / f"real-{name}").touch()
        (tmp_path / name).symlink_to(tmp_path / f"real-{name}")
    for name in ("p.npz", "p.safetensors"):
        runtime.save_parameters(tmp_path / name, module, np.arange(4, dtype=np.float32))
        assert runtime.load_parameters(tmp_path / f"real-{name}", module).tolist() == [0, 1, 2, 3]
        assert runtime.load_parameters(tmp_path / name, module).tolist() == [0, 1, 2, 3]
    runtime.fit(module, damage_files.points(), epochs=2, history=tmp_path / "h.jsonl")
    assert len(runtime.read_history(tmp_path / "real-h.jsonl")) == 2
    assert all((tmp_path / name).is_symlink() for name in ("p.npz", "p.safetensors", "h.jsonl"))
