"""Files of a training's checkpoints: what they hold, how they get to the disk whole, and which are refused.

A checkpoint is a safetensors file: the parameters under their own names, the update rule's slots as `state.<slot>`,
the best parameters as `best.<name>`, the history as `history.lines`; its metadata says of which module it is. One
process at a time writes a folder. What a training's progress must be, resuming.py checks.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.file import disk, headers
from derivgen.runtime.arrays import Array, Kind
from derivgen.runtime.json_text import MALFORMED, parse_json, short, shown
from derivgen.runtime.tensors import WRITER, decode_safetensors, encode_safetensors, kind_of, kinds_of

FORMAT = "derivgen checkpoint"
FORMAT_VERSION = 3
LINES = "history.lines"  # no parameter has a dot in its name
STEP = "state.step"
FILE = re.compile(r"step-(\d{9,})\.safetensors")


class CheckpointError(DerivgenError):
    """A checkpoint could not be written or read; the checkpoints on the disk stay as they are.

    If `fit` could not write a checkpoint, the attribute `fit` is the training until then.
    """

    fit: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state from which a training can continue.

    It has the parameters, shape (P,), the update rule's state as `optimizer_state` makes it, the best parameters, shape
    (P,), if they are kept, other facts that the training needs, of types that JSON has (a tuple becomes a list), and
    the epochs so far, one line of JSON for each as in a history file.
    """

    parameters: Array
    state: Any
    best: Array | None
    progress: Mapping[str, Any]
    history: bytes = b""


def write_checkpoint(folder: Path | str, module: ModuleType, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `step-<steps>.safetensors`, completely or not at all, and remove older ones except the newest `keep`.

    Returns the path. Files with later steps belong to another training, and stay. Raises ValueError or TypeError if the
    checkpoint does not belong to this module, and CheckpointError if the file can't be written: older checkpoints then
    remain.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, found {keep}")
    tensors = tensors_of(module, checkpoint)
    problem = differing_tensor(module, tensors)
    if problem:
        raise ValueError(f"the checkpoint does not fit the module: {problem}")
    data = encode_safetensors(tensors, facts_of(module, checkpoint.progress))
    folder = Path(folder)
    path = folder / f"step-{int(checkpoint.state.step[0]):09d}.safetensors"
    with disk_errors(path, "written"):
        make_folder(folder)
        disk.write_bytes(path, data)
        sync_folder(folder)
        previous = older(path)
        for old in previous[: max(0, len(previous) + 1 - keep)]:
            old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path | str, module: ModuleType) -> Checkpoint:
    """The checkpoint in a file, bit for bit; its arrays are new.

    Raises DerivgenError if the file is not a checkpoint, is damaged, or belongs to another spec, dtype, contract or
    format. Raises CheckpointError if it can't be read.
    """
    path = Path(path)
    tensors, metadata, progress = read_whole(path)
    refuse_other_module(path, module, metadata)
    problem = differing_tensor(module, tensors)
    if problem:
        raise DerivgenError(f"{path} does not fit the module: {problem}. {instead(path)}")
    return assembled(module, tensors, progress)


def read_checkpoint_parameters(path: Path | str, module: ModuleType) -> tuple[Array, str]:
    """(the flat parameters, shape (P,), the best ones if they were kept; which they are, in words) of a checkpoint.

    It may be another spec's, as one with another update rule, if the parameters have the same names, shapes and dtypes.
    Raises as `read_checkpoint` otherwise.
    """
    path = Path(path)
    tensors, _, progress = read_whole(path)
    prefix = "best." if any(name.startswith("best.") for name in tensors) else ""
    expected = {f"{prefix}{name}": kind for name, kind in kinds_of(module).items()}
    problem = difference(expected, {name: t for name, t in tensors.items() if name.rpartition(".")[0] == prefix[:-1]})
    if problem:
        raise DerivgenError(f"{path} is of another model: {problem}: give parameters of this one")
    with malformed(path):
        words = f"the best, of epoch {progress['best_epoch']:d}" if prefix else f"step {tensors[STEP].item()}"
    return flat_vector(module, tensors, prefix), f"{path}, {words}"


def read_whole(path: Path) -> tuple[dict[str, Array], dict[str, str], dict[str, Any]]:
    """(tensors, metadata, progress) of a checkpoint of whatever module.

    Raises DerivgenError where it is none, or damaged.
    """
    data = bytes_of(path)
    try:
        tensors, metadata = decode_safetensors(path, data)
    except DerivgenError as error:
        raise DerivgenError(f"{error}. {instead(path)}") from error
    refuse_foreign(path, metadata)
    with malformed(path):
        return tensors, metadata, dict(parse_json(metadata["progress"]))


@contextmanager
def malformed(path: Path) -> Iterator[None]:
    """What Python raises in this block on a part that no training has written so, as DerivgenError."""
    try:
        yield
    except MALFORMED as error:
        if isinstance(error, DerivgenError):
            raise
        raise altered(path, f"{type(error).__name__}, {short(str(error))}") from error


def altered(path: Path, problem: str) -> DerivgenError:
    """The error for what no training has written so, though the checksum is right."""
    return DerivgenError(f"{path} is no checkpoint that training wrote: {problem}. {instead(path)}")


def is_checkpoint(path: Path | str) -> bool:
    """Whether a file is a checkpoint, and not one of parameters alone. Raises DerivgenError where it can't be read."""
    path = Path(path)
    if path.suffix != ".safetensors":
        return False
    return decode_safetensors(path, bytes_of(path))[1].get("format") == FORMAT


def bytes_of(path: Path) -> bytes:
    disk.refuse_special(path)
    with disk_errors(path, "read"):
        return path.read_bytes()


def latest_checkpoint(folder: Path | str) -> Path | None:
    """The checkpoint with the most steps in a folder; None if there is none, or if there is no such folder."""
    folder = Path(folder)
    with disk_errors(folder, "read"):
        files = checkpoints_in(folder) if folder.exists() else {}
    return files[max(files)] if files else None


# ---- tensors


def tensors_of(module: ModuleType, checkpoint: Checkpoint) -> dict[str, Array]:
    """The tensors, under the names that they have in the file."""
    best = {} if checkpoint.best is None else module.views(checkpoint.best)
    return {
        **module.views(checkpoint.parameters),
        **{f"state.{slot}": array for slot, array in checkpoint.state._asdict().items()},
        **{f"best.{name}": array for name, array in best.items()},
        LINES: np.frombuffer(checkpoint.history, np.uint8),
    }


def differing_tensor(module: ModuleType, tensors: Mapping[str, Array]) -> str | None:
    """What is wrong with the first tensor that is missing, unknown, or not of the module's shape and dtype."""
    parameters, lines = module.initial_parameters(), tensors.get(LINES, np.zeros(0, np.uint8)).tobytes()
    best = parameters if any(name.startswith("best.") for name in tensors) else None
    expected = tensors_of(module, Checkpoint(parameters, module.optimizer_state(), best, {}, lines))
    return difference({name: kind_of(tensor) for name, tensor in expected.items()}, tensors)


def difference(expected: Mapping[str, Kind], tensors: Mapping[str, Array]) -> str | None:
    """What is wrong with the first tensor that has another shape or dtype than expected; None where all fit."""
    found = {name: kind_of(tensor) for name, tensor in tensors.items()}
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            kinds = (expected.get(name), found.get(name))
            wanted, there = (f"{k.dtype} of shape {k.shape}" if k else "absent" for k in kinds)
            return f"{name} must be {wanted}, found {there}"
    return None


def assembled(module: ModuleType, tensors: Mapping[str, Array], progress: Mapping[str, Any]) -> Checkpoint:
    fresh = module.optimizer_state()
    # Copies, which can be written to whatever memory they were read into.
    state = fresh._replace(**{slot: np.array(tensors[f"state.{slot}"]) for slot in fresh._fields})
    kept = any(name.startswith("best.") for name in tensors)
    best = flat_vector(module, tensors, "best.") if kept else None
    return Checkpoint(flat_vector(module, tensors), state, best, progress, tensors[LINES].tobytes())


def flat_vector(module: ModuleType, tensors: Mapping[str, Array], prefix: str = "") -> Array:
    count = sum(math.prod(p.shape) for p in module.PARAMETERS)
    flat = np.empty(count, module.PARAMETERS[0].dtype)
    for name, view in module.views(flat).items():
        view[...] = tensors[prefix + name]
    return flat


# ---- metadata


def facts_of(module: ModuleType, progress: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a checkpoint of this module."""
    # Of what was loaded: the file may have been generated anew since.
    header = headers.read_header(f'"""{module.__doc__}"""\n')
    if header is None:
        raise DerivgenError(
            f"{module.__name__} lacks derivgen's header, so that its spec can't be told: import a module as it was "
            "generated, and run Python without -OO, which drops it"
        )
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "contract": str(module.CONTRACT),
        "model": header.model,
        "spec": header.spec_digest,
        "dtype": str(module.PARAMETERS[0].dtype),
        "progress": json.dumps(progress),
    }


def refuse_foreign(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise DerivgenError(
            f"{path} is a safetensors file, but no checkpoint: expected the format {shown(FORMAT)} in its metadata, "
            f"found {shown(metadata.get('format'))}. {instead(path)}; parameters alone are for load_parameters"
        )
    version = metadata.get("format_version")
    if version != str(FORMAT_VERSION):
        raise DerivgenError(
            f"{path} is a checkpoint of format {shown(version)}, expected {FORMAT_VERSION}: read it with "
            f"{writer_of(metadata)}"
        )


def writer_of(metadata: Mapping[str, str]) -> str:
    return short(metadata.get(WRITER, "the derivgen that wrote it"))


def refuse_other_module(path: Path, module: ModuleType, metadata: Mapping[str, str]) -> None:
    """Raise DerivgenError where a checkpoint is of another contract, spec or dtype than a module."""
    own = facts_of(module, {})
    differing = [fact for fact in ("contract", "spec", "dtype") if metadata.get(fact) != own[fact]]
    if differing:
        facts = ("model", *differing)
        expected, found = (", ".join(f"{fact} {short(str(of.get(fact)))}" for fact in facts) for of in (own, metadata))
        raise DerivgenError(
            f"{path} was written by another module: expected {expected}, found {found}: generate that module by "
            f"{writer_of(metadata)}, or start anew in another folder"
        )


# ---- the disk


@contextmanager
def disk_errors(path: Path, done: str) -> Iterator[None]:
    """What the system refuses in this block, as a CheckpointError: the path can't be `done`."""
    try:
        yield
    except (OSError, DerivgenError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError):
            raise
        kept = "; the older checkpoints are as they were" if done == "written" else ""
        words = f"{reason.strerror or reason}: fix that, or give another path{kept}"
        raise CheckpointError(f"{path} can't be {done}: {words}") from error


def check_folder(folder: Path) -> None:
    """Make the folder. Raises CheckpointError where no file can be written there."""
    with disk_errors(folder, "written"):
        make_folder(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def make_folder(folder: Path) -> None:
    """The folder, with those above it, so that they last."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems keep no such promise, and say so.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def checkpoints_in(folder: Path) -> dict[int, Path]:
    """The files that are named as checkpoints, by their steps."""
    named = ((FILE.fullmatch(place.name), place) for place in folder.iterdir())
    return {int(name[1]): place for name, place in named if name and place.is_file()}


def older(path: Path) -> list[Path]:
    """The checkpoints of fewer steps beside this one, the oldest first."""
    name = FILE.fullmatch(path.name)
    files = checkpoints_in(path.parent)
    return [files[step] for step in sorted(files) if name and step < int(name[1])]


def instead(path: Path) -> str:
    """What to do without this file."""
    if not FILE.fullmatch(path.name):
        return "Give a file that training wrote, step-<steps>.safetensors"
    with disk_errors(path.parent, "read"):
        others = older(path)
    if others:
        return f"Move it away: then resuming continues from {others[-1]}"
    return "Move it away, and start anew: no older one is beside it"
