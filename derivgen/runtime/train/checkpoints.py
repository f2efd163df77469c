"""Files of a training's checkpoints: what they hold, how they get to the disk whole, and which are refused.

A checkpoint is a safetensors file: the parameters under their own names, the update rule's slots as `state.<slot>`,
the best parameters as `best.<name>`, the history as `history.lines`; its metadata says of which module it is. One
process at a time writes a folder. What a training's progress must be, resuming.py checks.
"""

from __future__ import annotations

import errno
import functools
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

from derivgen.errors import DerivgenError, listed
from derivgen.file import store
from derivgen.runtime.arrays import Array, Kind
from derivgen.runtime.json_text import is_whole, parse_json, short, shown
from derivgen.runtime.tensors import WRITER, decode_safetensors, encode_safetensors, kind_of, kinds_of

FORMAT = "derivgen checkpoint"
FORMAT_VERSION = 2
LINES = "history.lines"  # no parameter has a dot in its name
STEP = "state.step"
FACTS = ("format", "format_version", "contract", "model", "spec", "dtype", "progress")
FILE = re.compile(r"step-(\d{9,})\.safetensors")

ADVICE = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free some of your quota on that disk",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EACCES: "give a folder that this user may write",
    errno.EPERM: "give a folder that this user may write",
    errno.EROFS: "give a folder on a disk that can be written",
    errno.EEXIST: "that is a file, give a folder",
    errno.ENOTDIR: "that is a file, give a folder",
    errno.EISDIR: "that is a folder, give a file",
    errno.ENOENT: "give the path of one that exists",
}


class CheckpointError(DerivgenError):
    """The disk did not take, or did not give, a checkpoint; those that it has stay as they are.

    Of one that `fit` could not write, `fit` is what was trained so far.
    """

    fit: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Where training may go on: parameters, shape (P,), the update rule's state as `optimizer_state` makes it, the best
    parameters, shape (P,), if they are kept, what else the training must know, of types that JSON has (a tuple comes
    back as a list), and the epochs so far, a line of JSON each as in the file of a history.
    """

    parameters: Array
    state: Any
    best: Array | None
    progress: Mapping[str, Any]
    history: bytes = b""


def write_checkpoint(folder: Path | str, module: ModuleType, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `step-<steps>.safetensors`, whole or not at all, and remove the older ones beyond the newest `keep`.

    Gives the path. Files of later steps are another training's, and stay. Raises ValueError or TypeError where the
    checkpoint is not this module's, CheckpointError where the disk refuses: older checkpoints are still there then.
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
        remove_stale(folder.resolve())
        store.write_bytes(path, data)
        sync_folder(folder)
        previous = older(path)
        for old in previous[: max(0, len(previous) + 1 - keep)]:
            old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path | str, module: ModuleType) -> Checkpoint:
    """The checkpoint in a file, to the bit; its arrays are fresh.

    Raises DerivgenError where the file is no checkpoint, is damaged, or is of another spec, dtype, contract or
    format; CheckpointError where it can't be read.
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
    kept = any(name.startswith("best.") for name in tensors)
    prefix = "best." if kept else ""
    expected = {f"{prefix}{name}": kind for name, kind in kinds_of(module).items()}
    problem = difference(expected, {name: t for name, t in tensors.items() if name.rpartition(".")[0] == prefix[:-1]})
    if problem:
        raise DerivgenError(f"{path} is of another model: {problem}: give parameters of this one")
    words = f"step {tensors[STEP].item()}"
    if kept:
        epoch = progress.get("best_epoch")
        words = f"the best, of epoch {epoch if is_whole(epoch) else '?'}"
    return flat_vector(module, tensors, prefix), f"{path}, {words}"


def read_whole(path: Path) -> tuple[dict[str, Array], dict[str, str], dict[str, Any]]:
    """(tensors, metadata, progress) of a checkpoint of whatever module; DerivgenError where it is none, or damaged."""
    data = bytes_of(path)
    try:
        tensors, metadata = decode_safetensors(path, data)
    except DerivgenError as error:
        raise DerivgenError(f"{error}. {instead(path)}") from error
    refuse_foreign(path, metadata)
    missing = [name for name in FACTS if name not in metadata]
    if missing:
        raise altered(path, f"its metadata lack {listed(missing)}")
    refuse_step(path, tensors)
    return tensors, metadata, progress_in(path, metadata["progress"])


def refuse_step(path: Path, tensors: Mapping[str, Array]) -> None:
    """DerivgenError where the steps so far are no such number, or another one than in the file's name."""
    problem = difference({STEP: Kind((1,), np.dtype(np.int64))}, {STEP: tensors[STEP]} if STEP in tensors else {})
    if problem:
        raise altered(path, problem)
    name, step = FILE.fullmatch(path.name), tensors[STEP].item()
    if step < 0 or (name and int(name[1]) != step):
        wanted = f"{int(name[1])}, as the file's name says" if name else "a whole number"
        raise altered(path, f"{STEP} must be {wanted}, found {step}")


def progress_in(path: Path, text: str) -> dict[str, Any]:
    try:
        progress = parse_json(text)
    except ValueError as error:
        raise altered(path, f"progress is {error}") from error
    if not isinstance(progress, dict):
        raise altered(path, f"progress must be an object, found {shown(progress)}")
    return progress


def altered(path: Path, problem: str) -> DerivgenError:
    """The error for what no training has written so, though the checksum is right."""
    return DerivgenError(f"{path} is no checkpoint that training wrote: {problem}. {instead(path)}")


def is_checkpoint(path: Path | str) -> bool:
    """Whether a file is a checkpoint, and not one of parameters alone; DerivgenError where it can't be read."""
    path = Path(path)
    if path.suffix != ".safetensors":
        return False
    return decode_safetensors(path, bytes_of(path))[1].get("format") == FORMAT


def bytes_of(path: Path) -> bytes:
    store.refuse_special(path)
    with disk_errors(path, "read"):
        return path.read_bytes()


def latest_checkpoint(folder: Path | str) -> Path | None:
    """The checkpoint of most steps in a folder; None where there is none, or no folder."""
    folder = Path(folder)
    with disk_errors(folder, "read"):
        files = checkpoints_in(folder) if folder.exists() else {}
    return files[max(files)] if files else None


# ---- tensors


def tensors_of(module: ModuleType, checkpoint: Checkpoint) -> dict[str, Array]:
    """By the names that they have in the file."""
    best = {} if checkpoint.best is None else module.views(checkpoint.best)
    return {
        **module.views(checkpoint.parameters),
        **{f"state.{slot}": array for slot, array in checkpoint.state._asdict().items()},
        **{f"best.{name}": array for name, array in best.items()},
        LINES: np.frombuffer(checkpoint.history, np.uint8),
    }


def differing_tensor(module: ModuleType, tensors: Mapping[str, Array]) -> str | None:
    """What is wrong with the first tensor that is missing, unknown, or not of the module's shape and dtype."""
    parameters = kinds_of(module)
    slots = {f"state.{slot}": kind_of(a) for slot, a in module.optimizer_state()._asdict().items()}
    best = {f"best.{name}": kind for name, kind in parameters.items()}
    lines = {LINES: Kind((tensors[LINES].size if LINES in tensors else 0,), np.dtype(np.uint8))}  # of any length
    return difference(
        {**parameters, **slots, **(best if any(name in tensors for name in best) else {}), **lines}, tensors
    )


def difference(expected: Mapping[str, Kind], tensors: Mapping[str, Array]) -> str | None:
    """The same of these shapes and dtypes by name."""
    for name in [*expected, *tensors]:
        if name not in tensors:
            return f"{name} is missing, expected {listed(expected)}"
        if name not in expected:
            return f"{name} is unknown, expected {listed(expected)}"
        (shape, dtype), found = expected[name], tensors[name]
        if found.shape != shape or found.dtype != dtype:
            return f"{name} must be {dtype} of shape {shape}, found {found.dtype} of shape {found.shape}"
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
    """What a file says of itself."""
    # Of what was loaded: the file may have been generated anew since.
    header = store.read_header(f'"""{module.__doc__}"""\n')
    if header is None:
        raise DerivgenError(
            f"{module.__name__} lacks derivgen's header, so that its spec can't be told: import a module as it was "
            "generated, and run Python without -OO, which drops it"
        )
    check_plain(progress, "progress")
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "contract": str(module.CONTRACT),
        "model": header.model,
        "spec": header.spec_digest,
        "dtype": str(module.PARAMETERS[0].dtype),
        "progress": json.dumps(progress),
    }


def check_plain(value: Any, where: str) -> None:
    """TypeError where JSON would refuse a value, or change it: it makes texts of all keys."""
    match value:
        case Mapping():
            for key, part in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"{where} must have texts as keys, found {key!r}")
                check_plain(part, f"{where}[{key!r}]")
        case list() | tuple():
            for i, part in enumerate(value):
                check_plain(part, f"{where}[{i}]")
        case None | bool() | int() | float() | str():
            pass
        case _:
            raise TypeError(f"{where} must be a number, a text, a list or a dict, found {type(value).__name__}")


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
    found, expected = {fact: short(metadata[fact]) for fact in FACTS}, facts_of(module, {})
    rows = {
        "contract": ("contract version {contract}", f"generate the module with {writer_of(metadata)}"),
        "spec": (
            "spec sha256 {spec}, model {model}",
            "load the module of the spec that it was trained by, or start anew in another folder",
        ),
        "dtype": ("dtype {dtype}", f"generate the module with --dtype {found['dtype']}"),
    }
    for fact, (text, advice) in rows.items():
        if found[fact] != expected[fact]:
            raise DerivgenError(
                f"{path} was written by another module: expected {text.format(**expected)}, found "
                f"{text.format(**found)}: {advice}"
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
        advice = ADVICE.get(reason.errno or 0, "mend that, or give another path")
        kept = "; the older checkpoints are as they were" if done == "written" else ""
        raise CheckpointError(f"{path} can't be {done}: {reason.strerror or reason}: {advice}{kept}") from error


def check_folder(folder: Path) -> None:
    """Make the folder; CheckpointError where no file can be written there."""
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


@functools.cache
def remove_stale(folder: Path) -> None:
    """Remove what a killed process left half written; once, for no temporary is stale that this process made."""
    for place in folder.iterdir():
        if store.TEMPORARY.fullmatch(place.name):
            place.unlink(missing_ok=True)


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
        return f"Move it away: then resuming goes on from {others[-1]}"
    return "Move it away, and start anew: no older one is beside it"
