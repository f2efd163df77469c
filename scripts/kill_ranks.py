"""Kills a rank of a training at random moments, and goes on: `python scripts/kill_ranks.py [TIMES]`, 20 if omitted.

Each time one of two ranks is killed. The others must end within 10 seconds; then 1, 2 and 3 ranks go on from the last
checkpoint, each from a copy of the folder, to the bits of a training that nothing has ended.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "runtime"))

from blocks_model import model
from test_ranks import LIBRARIES, LONG, alone, errors_of, found, processes, started

import derivgen


def main(times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        derivgen.generate(model(), "blocks.py")
        wanted = alone(LONG)
        shutil.rmtree("kept")
        failed = 0
        for number in range(times):
            library = list(LIBRARIES)[number % len(LIBRARIES)]
            process = started(2, LONG, "slow", library=library)
            while len(list(processes())) < 2:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 6))
            os.kill(random.choice([*processes()]), signal.SIGKILL)
            start = time.monotonic()
            errors_of(process)
            seconds = time.monotonic() - start
            kept = len(list(Path("kept").glob("*"))) if Path("kept").is_dir() else 0
            same = []
            for ranks in (1, 2, 3):
                if kept:
                    shutil.copytree("kept", "whole")
                errors_of(started(ranks, LONG, *(["resume"] if kept else []), library=library))
                same.append(found() == [wanted] * ranks)
                shutil.rmtree("kept")
                if kept:
                    Path("whole").rename("kept")
            shutil.rmtree("kept", ignore_errors=True)
            failed += seconds > 10 or not all(same)
            print(
                f"{number + 1:3} {library:8} ended after {seconds:.1f} s, {kept} checkpoints, on 1, 2, 3 ranks: {same}"
            )
    print(f"{times - failed} of {times} as they should be")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
