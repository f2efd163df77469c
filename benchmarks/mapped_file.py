"""Training from files larger than memory should take: `python benchmarks/mapped_file.py [--gigabytes 4] [--rows R]`.

Writes rows of 256 features in float32 and their labels as .npy files into a temporary folder (TMPDIR says where), and
trains a classifier 256-32-10 with Adam for one epoch of all rows, or of the first R, in a process of its own. Prints
the file's size, the time, and the anonymous memory (RssAnon of Linux, sampled every 50 ms; pages of the file, which
the system drops when it needs memory, are no part of it); exits with 1 where its peak is not below 1 GB.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from derivgen import runtime

FEATURES, HIDDEN, CLASSES, BATCH = 256, 32, 10, 256
ROWS_AT_ONCE = 2**16  # 64 MB
LIMIT = 1e9  # bytes
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


# ---- files


def write_data(folder: Path, rows: int) -> None:
    """x.npy and y.npy; a row's label is the largest of ten random linear functions of it."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((FEATURES, CLASSES), np.float32)
    x = open_memmap(folder / "x.npy", "w+", np.float32, (rows, FEATURES))
    y = open_memmap(folder / "y.npy", "w+", np.int64, (rows,))
    for start in range(0, rows, ROWS_AT_ONCE):
        part = rng.standard_normal((min(ROWS_AT_ONCE, rows - start), FEATURES), np.float32)
        x[start : start + len(part)] = part
        y[start : start + len(part)] = (part @ truth).argmax(1)
    x.flush()
    y.flush()


def write_module(path: Path) -> Path:
    from derivgen import Model, generate, layers, losses, optimizers
    from derivgen.activations import relu

    model = Model("mapped", dtype="float32")
    N = model.batch("N")
    z = layers.dense(layers.dense(model.input("x", N, FEATURES), HIDDEN, relu, name="hidden"), CLASSES, name="out")
    model.minimize(losses.softmax_cross_entropy(z, model.labels("y", N, classes=CLASSES)))
    model.update(optimizers.adam(0.001))
    return generate(model, path)


def refuse_full_disk(folder: Path, rows: int) -> None:
    needed, free = rows * (4 * FEATURES + 8) * 1.02, shutil.disk_usage(folder).free
    if needed > free:
        sys.exit(
            f"the files need {needed / 1e9:.1f} GB, the temporary folder has {free / 1e9:.1f} GB free: give fewer "
            "--gigabytes, or a folder on another disk by TMPDIR"
        )


# ---- training


def train(folder: Path, rows: int | None) -> None:
    """One epoch, in this process."""
    module = runtime.load(folder / "mapped_kernels.py")
    data, _ = runtime.read_data([f"x={folder / 'x.npy'}", f"y={folder / 'y.npy'}"], module)
    data = {name: array[:rows] for name, array in data.items()}
    first = {name: array[:BATCH] for name, array in data.items()}
    runtime.fit(module, first, epochs=1, batch_size=BATCH)  # compiles
    before = anonymous("self")
    start = time.perf_counter()
    fit = runtime.fit(module, data, epochs=1, batch_size=BATCH, progress=False)
    seconds, count = time.perf_counter() - start, len(data["y"])
    print(
        f"one epoch      {seconds:.1f} s for {count} rows, {count / seconds:.0f} rows/s; loss {fit.history[0].loss:.3f}"
    )
    print(f"memory before  {before / 1e9:.3f} GB", flush=True)


def anonymous(process: int | str) -> int:
    """Bytes of a process's anonymous memory; 0 where it has ended."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def peak_of(command: list[str]) -> int:
    """The peak of a command's anonymous memory, seen from outside: compiled code would keep a thread of it waiting."""
    peak = 0
    with subprocess.Popen(command, env={**os.environ, **ONE_THREAD}) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    return peak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4, help="size of x.npy")
    parser.add_argument("--rows", type=int, help="rows to train on; all of them if unsaid")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    options = parser.parse_args()
    if options.train:
        train(options.train, options.rows)
        return 0
    rows = max(BATCH, int(options.gigabytes * 1e9) // (4 * FEATURES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        refuse_full_disk(folder, rows)
        write_data(folder, rows)
        write_module(folder / "mapped_kernels.py")
        print(f"x.npy          {(folder / 'x.npy').stat().st_size / 1e9:.2f} GB, {rows} rows", flush=True)
        few = ["--rows", str(options.rows)] if options.rows else []
        peak = peak_of([sys.executable, __file__, "--train", name, *few])
    print(f"memory's peak  {peak / 1e9:.3f} GB, {'below' if peak < LIMIT else 'not below'} {LIMIT / 1e9:.0f} GB")
    return int(peak >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
