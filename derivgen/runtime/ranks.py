"""Processes of MPI, its ranks, that share the rows of each sum: all take the same steps, to the same bits.

Each rank has all the data, of which it computes the leaves that are its own. What they give is added along the tree in
which one process alone adds it, so that no number of ranks changes a bit. Sums of no more rows than a block, and what
has no such sums, each rank computes itself.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from derivgen.errors import DerivgenError
from derivgen.runtime.data.rows import digest

Array = np.ndarray[Any, Any]

PATIENCE = 2.0  # seconds that a rank which raises an error waits for the others to raise one too
HEARD = 0.5  # seconds that a launcher has for passing on the last words, before it ends everything


class Ranks:
    """What a module's sums over rows ask for: which leaves are this rank's, and what all ranks' give."""

    def __init__(self, comm: Any) -> None:
        """`comm`: a communicator of mpi4py, or None for one process alone."""
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.Get_rank()
        self.size: int = 1 if comm is None else comm.Get_size()

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            self.comm.Barrier()

    def leaves(self, count: int) -> range:
        """The leaves of this rank, of so many."""
        return self.leaves_of(self.rank, count)

    def leaves_of(self, rank: int, count: int) -> range:
        return range(count * rank // self.size, count * (rank + 1) // self.size)

    def sum(self, values: dict[int, float], gradients: dict[int, Array], count: int, into: Array | None) -> float:
        """The sum of the leaves' values; `into`, if not None, takes that of their gradients, on each rank.

        Those of this rank are given, by leaf. Neighbours in the tree are added by the rank that has the first of them.
        """
        owners = [rank for rank in range(self.size) for _ in self.leaves_of(rank, count)]
        none = np.empty(0) if into is None else into
        step = 1
        while step < count:
            for k in range(0, count - step, 2 * step):
                here, there = owners[k], owners[k + step]
                if there == self.rank != here:
                    self.comm.Send(packed(values[k + step], gradients.get(k + step, none)), here)
                elif here == self.rank:
                    if there != here:
                        message = packed(0.0, none)
                        self.comm.Recv(message, there)
                        values[k + step], gradients[k + step] = unpacked(message, none.dtype)
                    values[k] += values[k + step]
                    if into is not None:
                        gradients[k] += gradients[k + step]
            step *= 2
        message = packed(values.get(0, 0.0), gradients.get(0, none))
        self.comm.Bcast(message, owners[0])
        value, gradient = unpacked(message, none.dtype)
        none[:] = gradient
        return value


def packed(value: float, gradient: Array) -> Array:
    """A message of both, in bytes."""
    return np.concatenate([np.array([value]).view(np.uint8), gradient.view(np.uint8)])


def unpacked(message: Array, dtype: np.dtype[Any]) -> tuple[float, Array]:
    return float(message[:8].view(np.float64)[0]), message[8:].view(dtype)


@contextmanager
def sharing(module: ModuleType, comm: Any, data: Mapping[str, Any], **settings: object) -> Iterator[Ranks]:
    """The module's sums over rows are shared by the ranks of a communicator of mpi4py.

    `data` and `settings` must be the same on all of them. Does nothing where there is no communicator, or one process
    alone.
    """
    with together(comm) as ranks:
        if ranks.size == 1:
            yield ranks
            return
        refuse_differences(ranks, module, data, settings)
        module.RANKS = ranks  # type: ignore[attr-defined]
        try:
            yield ranks
        finally:
            module.RANKS = None  # type: ignore[attr-defined]


@contextmanager
def together(comm: Any) -> Iterator[Ranks]:
    """The ranks of a communicator. What all of them raise is raised; what some raise ends all, with one message."""
    ranks = Ranks(comm)
    if ranks.size == 1:
        yield ranks
        return
    errors = comm.Dup()
    try:
        yield ranks
    except BaseException as error:
        others, start = errors.Ibarrier(), time.monotonic()
        while not others.Test():
            time.sleep(0.01)
            if time.monotonic() - start > PATIENCE:
                words = str(error) or type(error).__name__
                kind = "" if isinstance(error, DerivgenError) else f"{type(error).__name__}: "
                print(f"rank {ranks.rank} of {ranks.size} ends all: {kind}{words}", file=sys.stderr, flush=True)
                time.sleep(HEARD)
                comm.Abort(1)
        raise
    finally:
        errors.Free()


def refuse_differences(
    ranks: Ranks, module: ModuleType, data: Mapping[str, Any], settings: Mapping[str, object]
) -> None:
    """Raise DerivgenError, on all ranks alike, where they would not take the same steps."""
    if not hasattr(module, "RANKS"):
        raise DerivgenError(f"{module.__name__} can't share its rows: generate it again with this derivgen")
    own = {"the module": text_of(module), **{f"the data {name}": digest(array) for name, array in data.items()}}
    own |= {name: repr(value) for name, value in settings.items()}
    for rank, theirs in enumerate(found := ranks.comm.allgather(own)):
        first = found[0]
        for what in {**first, **theirs}:
            if first.get(what) != theirs.get(what):
                raise DerivgenError(
                    f"ranks must be given the same: {what} is {first.get(what, 'missing')} on rank 0, and "
                    f"{theirs.get(what, 'missing')} on rank {rank}"
                )


def text_of(module: ModuleType) -> str:
    """What a module computes, by a digest of what its header says of it."""
    return f"{module.__name__}, {hashlib.sha256(str(module.__doc__).encode()).hexdigest()[:16]}"
