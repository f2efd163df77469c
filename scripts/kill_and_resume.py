"""Kills a training at random moments and resumes it: `python scripts/kill_and_resume.py [--kills 30] [--seed 0]`.

A model with running and random tensors, slots, a schedule and a group is trained in one process, and again in processes
that SIGKILL ends: at any moment, while a checkpoint is being written, or after an epoch that no checkpoint has yet.
After each kill every checkpoint must be readable, and the next process must go on from the newest; in the end
parameters, state, history (but `seconds`) and the checkpoints' names must be equal to the bit. Whether the disk keeps
its word in a power failure is not tested.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np

from derivgen import runtime
from derivgen.errors import DerivgenError
from derivgen.file import disk

KEEP, EVERY, ROWS, FEATURES, BATCH = 2, 3, 320, 4, 16
MOMENTS = ("any", "writing", "epoch", "writing")
LONGEST_DELAY, LONGEST_WAIT = 0.01, 2.0  # seconds; the first of the order of what one checkpoint takes
EPOCHS_A_KILL, STEPS_AN_EPOCH = 6, ROWS // BATCH
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


# ---- the training


def write_module(path: Path) -> Path:
    """The module of a model with everything that a checkpoint must hold."""
    from derivgen import Model, generate, layers, losses, optimizers, schedules

    model = Model("resumed", dtype="float32")
    N = model.batch("N")
    a = layers.dropout(layers.batch_norm(model.input("x", N, FEATURES), name="norm"), 0.2, name="drop")
    z = layers.dense(a, 1, name="out")
    model.minimize(losses.mean_squared_error(z, model.input("t", N, 1)))
    model.update(optimizers.adamw(schedules.inverse_square_root(0.1)), {"*_b": {"weight_decay": 0}})
    return generate(model, path)


def points(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, FEATURES))
    t = x @ rng.normal(size=(FEATURES, 1)) + 0.1 * rng.normal(size=(ROWS, 1))
    return {"x": x.astype(np.float32), "t": t.astype(np.float32)}


def train(module: Path, run: Path, seed: int, epochs: int, wait: int) -> None:
    """Train in this process, from the last checkpoint of the run; tells its first epoch.

    After epoch `wait` it waits to be killed: on a fast disk it would be over before.
    """
    told: list[int] = []

    def tell(epoch: runtime.Epoch, views: object) -> None:
        if not told:
            told.append(epoch.epoch)
            print(epoch.epoch, flush=True)
        while epoch.epoch == wait:
            time.sleep(1)

    fit = runtime.fit(
        runtime.load(module),
        points(seed),
        epochs=epochs,
        batch_size=BATCH,
        seed=seed,
        history=run / "history.jsonl",
        checkpoints=run / "checkpoints",
        checkpoint_every=EVERY,
        keep=KEEP,
        resume=True,
        callbacks=[tell],
    )
    np.savez(run / "fit.npz", parameters=fit.parameters, **fit.state._asdict())


def start(module: Path, run: Path, seed: int, epochs: int, wait: int = 0) -> subprocess.Popen[str]:
    """A process that trains."""
    run.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--seed", str(seed), "--train", *map(str, (module, run, epochs, wait))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD})


def train_to_the_end(module: Path, run: Path, seed: int, epochs: int) -> None:
    """Train in another process, which nobody kills."""
    with start(module, run, seed, epochs) as process:
        process.communicate()
    if process.returncode:
        raise DerivgenError(f"the training in {run.name} ended with status {process.returncode}")


# ---- kills


@dataclass(frozen=True, slots=True)
class Left:
    """What a killed process left: epochs and step of the newest checkpoint, files half written, checkpoints more than
    are kept, and lines of the history beyond the newest checkpoint."""

    epochs: int
    step: int
    half_written: int
    too_many: int
    lines_ahead: int


def look(run: Path, module: ModuleType) -> Left:
    """Read all that is there; DerivgenError where a file of no temporary's name is no checkpoint, or there is none."""
    read, half_written = [], 0
    for path in sorted((run / "checkpoints").iterdir()):
        if is_half_written(path.name):
            half_written += 1
        else:
            read.append(runtime.read_checkpoint(path, module))
    if not read:
        raise DerivgenError("a kill left no checkpoint")
    newest = read[-1]
    epochs = newest.history.count(b"\n")
    return Left(epochs, int(newest.state.step[0]), half_written, max(0, len(read) - KEEP), lines_of(run) - epochs)


def is_half_written(name: str) -> bool:
    return disk.TEMPORARY.fullmatch(name) is not None


def lines_of(run: Path) -> int:
    return (run / "history.jsonl").read_bytes().count(b"\n")


def has_reached(folder: Path, step: int) -> bool:
    newest = runtime.latest_checkpoint(folder)
    return newest is not None and int(newest.stem.removeprefix("step-")) >= step


def has_come(moment: str, run: Path, wait: int) -> bool:
    """Whether it is any moment, a file is being written, or epoch `wait` is in the history but in no checkpoint."""
    match moment:
        case "writing":
            return any(map(is_half_written, os.listdir(run / "checkpoints")))
        case "epoch":
            return lines_of(run) >= wait
    return True


def kill_once(process: subprocess.Popen[str], run: Path, step: int, delay: float, moment: str, wait: int) -> int:
    """Kill a training after its first epoch and a checkpoint of that step, so many seconds later, at the next moment of
    that kind; the first epoch."""
    assert process.stdout is not None
    first = process.stdout.readline()
    while process.poll() is None and not has_reached(run / "checkpoints", step):
        time.sleep(0.001)
    time.sleep(delay)
    end = time.monotonic() + LONGEST_WAIT  # it may be beyond its last file
    while process.poll() is None and time.monotonic() < end and not has_come(moment, run, wait):
        pass
    process.kill()
    if not first or process.wait() != -signal.SIGKILL:
        raise DerivgenError(f"a training ended before it was killed, with status {process.returncode}")
    return int(first)


def kill_often(module: Path, run: Path, seed: int, epochs: int, kills: int) -> Iterator[Left]:
    """What each kill left; DerivgenError where a process did not go on from the newest checkpoint."""
    random, loaded, left = Random(seed), runtime.load(module), Left(0, 0, 0, 0, 0)
    for kill in range(kills):
        wait = EPOCHS_A_KILL * (kill + 1)
        # A new checkpoint at least: before it, a temporary may be there that an earlier kill left.
        step = random.randint(left.step + 1, wait * STEPS_AN_EPOCH - EVERY)
        delay = random.uniform(0, LONGEST_DELAY)
        with start(module, run, seed, epochs, wait) as process:
            first = kill_once(process, run, step, delay, MOMENTS[kill % len(MOMENTS)], wait)
        before, left = left, look(run, loaded)
        if first != before.epochs + 1 or left.step <= before.step:
            raise DerivgenError(
                f"after kill {kill} the newest checkpoint was of step {before.step}, in epoch {before.epochs + 1}, but "
                f"the next process began with epoch {first}, and left step {left.step}"
            )
        yield left


def differences(run: Path, other: Path) -> list[str]:
    """What is not equal to the bit in the results of two trainings."""
    with np.load(run / "fit.npz") as mine, np.load(other / "fit.npz") as theirs:
        found = [
            name
            for name in dict.fromkeys((*mine, *theirs))
            if name not in mine
            or name not in theirs
            or mine[name].dtype != theirs[name].dtype
            or mine[name].tobytes() != theirs[name].tobytes()
        ]
    histories = [
        [epoch._replace(seconds=0.0) for epoch in runtime.read_history(folder / "history.jsonl")]
        for folder in (run, other)
    ]
    found += ["history"] if histories[0] != histories[1] else []
    names = [sorted(os.listdir(folder / "checkpoints")) for folder in (run, other)]
    return [*found, "names of checkpoints"] if names[0] != names[1] else found


def kill_and_resume(folder: Path, kills: int, seed: int) -> tuple[list[Left], list[str]]:
    """(what each kill left, what differs from the uninterrupted training) of trainings in a folder."""
    epochs = EPOCHS_A_KILL * (kills + 1)
    module, whole, killed = write_module(folder / "resumed_kernels.py"), folder / "whole", folder / "killed"
    train_to_the_end(module, whole, seed, epochs)
    left = list(kill_often(module, killed, seed, epochs, kills))
    train_to_the_end(module, killed, seed, epochs)
    return left, differences(killed, whole)


def report(left: list[Left], differing: list[str]) -> None:
    print("kills at step ", *(one.step for one in left))
    print(f"a file half written after {sum(one.half_written > 0 for one in left)} kills, ", end="")
    print(f"an old one not yet removed after {sum(one.too_many > 0 for one in left)}, ", end="")
    print(f"the history ahead of the checkpoint after {sum(one.lines_ahead > 0 for one in left)}")
    verdict = f"different: {', '.join(differing)}" if differing else "parameters, state and history equal to the bit"
    print(f"{len(left)} kills: {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the training, and of the moments")
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)  # what the processes are that get killed
    options = parser.parse_args()
    if options.train:
        module, run, epochs, wait = options.train
        train(Path(module), Path(run), options.seed, int(epochs), int(wait))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            left, differing = kill_and_resume(Path(folder), options.kills, options.seed)
        except DerivgenError as error:
            print(error)
            return 1
    report(left, differing)
    return min(1, len(differing))


if __name__ == "__main__":
    sys.exit(main())
