"""Damages files that derivgen reads: `python scripts/damage_files.py [--seconds S] [--start SEED]`.

Bits are flipped, ends cut off, parts overwritten, taken out or put in, numbers made huge, in files of each kind. What
is then read must be refused as a user's error, by a DerivgenError, and no other; where the format has a checksum, it
must be refused or be what was written. A case that fails is printed with its number, and its file is kept.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from random import Random, SystemRandom
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from contract_module import write_module

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.runtime import tensors
from derivgen.runtime.train import run

ROWS = 12
SETTINGS = {"epochs": 3, "batch_size": 4, "seed": 3, "validation_split": 0.25, "keep_best": True, "monitor": True}
STEP, NAME = 8, "step-000000008.safetensors"  # of three an epoch


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: one that is whole, and what reads it. `checked`: what is read of a damaged one must be what was
    written; `forged`: after the damage its checksum is made right.
    """

    path: Path
    read: Callable[[Path], Any]
    checked: bool = True
    forged: bool = False


def points() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    real = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in {"x": (ROWS, 2), "t": ROWS}.items()
    }
    return {**real, "k": generator.integers(0, 2, ROWS), "u": np.ones(2, np.float32)}


def fit(module: ModuleType, folder: Path, **options: Any) -> runtime.Fit:
    """A training with checkpoints in a folder; the monitor's warnings are of no matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return runtime.fit(module, points(), checkpoints=folder, **SETTINGS, **options)


def checkpoint_of(module: ModuleType, folder: Path) -> Path:
    """A checkpoint in the middle of an epoch, after others."""
    fit(module, folder, checkpoint_every=STEP, keep=9)
    return folder / NAME


def kinds(folder: Path) -> dict[str, Kind]:
    """Whole files in a folder, of every kind."""
    module = runtime.load(write_module(folder))
    checkpoint = checkpoint_of(module, folder / "run")
    write_files(folder, module, runtime.read_checkpoint(checkpoint, module))

    def data(path: Path) -> Any:
        return runtime.read_data(path, module)[0]

    def table(path: Path) -> Any:
        return runtime.read_data([path, folder / "u.npz"], module)[0]

    def x(path: Path) -> Any:
        return runtime.read_data([f"x={path}", folder / "rest.npz"], module)[0]

    def parameters(path: Path) -> Any:
        return {"parameters": runtime.load_parameters(path, module)}

    def state_dict(path: Path) -> Any:
        return {"parameters": runtime.load_state_dict(path, module)}

    def history(path: Path) -> Any:
        return {"epochs": runtime.read_history(path)}

    def resume(path: Path) -> Any:
        return resumed(path, module)

    readers = {"stored.npz": data, "deflated.npz": data, "parameters.npz": parameters}
    readers |= {"parameters.safetensors": parameters, "state_dict.safetensors": state_dict}
    unchecked = {"x.npy": x, "table.csv": table, "table.parquet": table, "history.jsonl": history}
    return {
        **{name: Kind(folder / name, read) for name, read in readers.items()},
        **{name: Kind(folder / name, read, checked=False) for name, read in unchecked.items()},
        "checkpoint": Kind(checkpoint, resume),
        "forged checkpoint": Kind(checkpoint, resume, checked=False, forged=True),
    }


def write_files(folder: Path, module: ModuleType, checkpoint: runtime.Checkpoint) -> None:
    data, u = points(), points()["u"]
    columns = {"x_0": data["x"][:, 0], "x_1": data["x"][:, 1], "k": data["k"], "t": data["t"]}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    np.savez(folder / "stored.npz", **data)
    np.savez_compressed(folder / "deflated.npz", **data)
    np.save(folder / "x.npy", data.pop("x"))
    np.savez(folder / "rest.npz", **data)
    np.savez(folder / "u.npz", u=u)
    (folder / "table.csv").write_text("".join(f"{line}\n" for line in lines))
    write_parquet(folder / "table.parquet", columns)
    for suffix in (".npz", ".safetensors"):
        runtime.save_parameters(folder / f"parameters{suffix}", module, checkpoint.parameters)
    runtime.save_state_dict(folder / "state_dict.safetensors", module, checkpoint.parameters)
    (folder / "history.jsonl").write_bytes(checkpoint.history)


def write_parquet(path: Path, columns: dict[str, np.ndarray]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def resumed(path: Path, module: ModuleType) -> dict[str, Any]:
    """What a training that goes on from a checkpoint comes to, and the parameters that are read from it alone."""
    alone, _ = runtime.read_parameters(path, module)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=path.stem) as folder:
        shutil.copy(path, Path(folder) / NAME)
        result = fit(module, Path(folder), resume=True)
    epochs = [epoch._replace(seconds=0.0) for epoch in result.history]
    return {"alone": alone, "parameters": result.parameters, "last": result.last, "m": result.state.m, "epochs": epochs}


# ---- damage


def flipped(data: bytearray, random: Random) -> bytes:
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def cut(data: bytearray, random: Random) -> bytes:
    return bytes(data[: random.randrange(len(data))])


def overwritten(data: bytearray, random: Random) -> bytes:
    """By another part of itself."""
    length, start, at = random.randrange(1, 64), random.randrange(len(data)), random.randrange(len(data))
    data[at : at + length] = data[start : start + length]
    return bytes(data)


def without(data: bytearray, random: Random) -> bytes:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 4, 64))]
    return bytes(data)


def longer(data: bytearray, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice((b"\0", b"[" * 5000, b"9" * 5000, random.randbytes(8), bytes(data[:64])))
    return bytes(data)


def huge(data: bytearray, random: Random) -> bytes:
    """A number in the text or in the bytes."""
    digits = [match.span() for match in re.finditer(rb"\d+", data)]
    if digits and random.random() < 0.5:
        start, end = random.choice(digits)
        value = random.choice(
            (b"0", b"-1", b"1e999", b"true", b"null", str(2**63).encode(), b"9" * random.choice((30, 400)))
        )
        data[start:end] = value if random.random() < 0.5 else value[: end - start].ljust(end - start)
    else:
        at, width = random.randrange(len(data)), random.choice((2, 4, 8))
        data[at : at + width] = random.choice((b"\xff", b"\0", b"\x7f")) * width
    return bytes(data)


DAMAGES = (flipped, cut, overwritten, without, longer, huge)


def sealed(data: bytes) -> bytes:
    """A safetensors file with the checksum of what is in it now."""
    end = 8 + tensors.header_length(data)
    for found in re.findall(f'"{tensors.CHECKSUM}":"([0-9a-f]{{8}})"'.encode(), data[:end]):
        head = tensors.with_checksum(data[:end], found.decode(), tensors.NO_CHECKSUM)
        right = tensors.checksum(head, memoryview(data)[end:])
        return tensors.with_checksum(head, tensors.NO_CHECKSUM, right) + data[end:]
    return data


def damage(kind: Kind, folder: Path, seed: int, whole: Any) -> str | None:
    """What is wrong with how a file that was damaged by a seed is read, None where nothing is."""
    random = Random(f"{seed} {kind.path.name} {kind.forged}")
    data = random.choice(DAMAGES)(bytearray(kind.path.read_bytes()), random)
    path = folder / f"damaged{kind.path.suffix}"
    path.write_bytes(sealed(data) if kind.forged else data)
    try:
        found = kind.read(path)
    except DerivgenError as error:
        return None if path.stem in str(error) else f"the message names no file: {error}"
    except BaseException:  # whatever it is
        return traceback.format_exc(limit=-4)
    return "other numbers were taken" if kind.checked and not same(found, whole) else None


def same(found: dict[str, Any], whole: dict[str, Any]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        return a.tobytes() == b.tobytes() if isinstance(b, np.ndarray) else a == b

    return found.keys() == whole.keys() and all(equal(found[name], whole[name]) for name in whole)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--start", type=int, default=SystemRandom().randrange(10**9), help="the first case's number")
    options = parser.parse_args()
    run.SECONDS_BETWEEN = 1e9
    folder = Path(tempfile.mkdtemp(prefix="damaged"))
    files = kinds(folder)
    whole = {name: kind.read(kind.path) for name, kind in files.items()}
    end, cases, failures = time.monotonic() + options.seconds, 0, 0
    for seed in takewhile(lambda _: time.monotonic() < end, count(options.start)):
        for name in files:
            cases += 1
            if problem := damage(files[name], folder, seed, whole[name]):
                failures += 1
                suffix = files[name].path.suffix
                shutil.copy(folder / f"damaged{suffix}", folder / f"failed-{seed}-{name.partition('.')[0]}{suffix}")
                print(f"{seed} {name}: {problem}", flush=True)
    print(f"{cases} damaged files, {failures} not as they must be; the first was {options.start}; files in {folder}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
