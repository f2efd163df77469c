"""`derivgen train --mpi`: the processes of mpiexec that train together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from derivgen.errors import DerivgenError

if TYPE_CHECKING:
    from derivgen.runtime.ranks import Ranks


@contextmanager
def in_ranks(mpi: bool) -> Iterator[Ranks]:
    """The processes that train together, of which the first alone says what is done, and what all have to say."""
    from derivgen.runtime.ranks import Ranks, together

    comm = communicator() if mpi else None
    if Ranks(comm).rank == 0:
        with together(comm) as ranks:
            yield ranks
        return
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), together(comm) as ranks:
            yield ranks
    except DerivgenError:
        raise SystemExit(1) from None


def communicator() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the package, or the library that it calls, is missing
        raise DerivgenError(
            f'--mpi needs mpi4py and a library of MPI: pip install "derivgen[mpi]" mpich ({error})'
        ) from None
    return MPI.COMM_WORLD
