"""Start-up times of the digits example, as whole processes: `python benchmarks/startup.py`.

Prints the medians of: generating the module; the first training step after process start, beyond importing numba and
scipy.linalg, with a cold and with a warm cache of compiled code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "digits"
ROUNDS = 5

IMPORTS = "import time; start = time.perf_counter(); import numba, scipy.linalg, numpy as np; "
FIRST_STEP = """
imported = time.perf_counter()
import digits_kernels as module
x, y = np.zeros((32, 64), np.float32), np.zeros(32, np.int64)
parameters, state = module.initial_parameters(0), module.optimizer_state()
module.train_epoch(parameters, state, np.arange(32), 32, x, y)
print(time.perf_counter() - imported)
"""


def first_step(folder: Path) -> float:
    own = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    environment = {**os.environ, **own}
    command = [sys.executable, "-c", IMPORTS + FIRST_STEP]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def generation(folder: Path) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "derivgen", "generate", str(folder / "digits.py"), "--force"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    cold, warm, generating = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shutil.copy(EXAMPLE / "digits.py", folder)
            generating.append(generation(folder))
            cold.append(first_step(folder))
            warm.append(first_step(folder))
    print(f"generate, whole process             {median(generating):5.2f} s")
    print(f"first step beyond imports, cold     {median(cold):5.2f} s")
    print(f"first step beyond imports, warm     {median(warm):5.2f} s")


if __name__ == "__main__":
    main()
