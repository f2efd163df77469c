"""Checks random specs that no test has, until the time is over: `python scripts/fuzz.py [--seconds S] [--start SEED]`.

Loss, prediction and gradients of each module's text, as plain Python, against the 50-digit oracle; with
`--second-order` every function of derivatives that a spec can have, of short specs, in which no input is called u. A
spec that fails is printed as a file that can be cut down by hand.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from itertools import count, takewhile
from pathlib import Path
from random import Random, SystemRandom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from generated import check_module, execute, module_text
from random_specs import Spec, Writer
from second_order_oracle import LONGEST, random_point

from derivgen.pipeline import declared_program

LETS = 5


def check(spec: Spec) -> None:
    model = spec.model()
    declared = declared_program(model)
    check_module(execute(module_text(model)), declared, spec.values(declared))


def check_second_order(spec: Spec) -> None:
    random_point(spec, execute).check()


def fails(spec: Spec, checking: Callable[[Spec], None]) -> bool:
    """Whether a spec fails, which is then shown."""
    try:
        checking(spec)
    except Exception:  # whatever it is
        print(spec, traceback.format_exc(limit=-3), sep="\n", flush=True)
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--start", type=int, default=SystemRandom().randrange(10**9), help="the first spec's number")
    parser.add_argument("--second-order", action="store_true", help="functions of derivatives")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    end = time.monotonic() + options.seconds
    numbers = takewhile(lambda _: time.monotonic() < end, count(options.start))
    lets, checking, longest = (1, check_second_order, LONGEST) if options.second_order else (LETS, check, math.inf)
    specs = (Writer(Random(number)).spec(lets) for number in numbers)
    found = [fails(spec, checking) for spec in specs if len(spec.text) <= longest]
    print(f"{len(found)} specs from {options.start} on, {sum(found)} failed")
    return min(1, sum(found))


if __name__ == "__main__":
    sys.exit(main())
