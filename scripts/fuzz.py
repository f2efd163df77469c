"""Checks random specs that no test has: `python scripts/fuzz.py [--seconds S | --count C] [--start SEED]`.

Loss, prediction and gradients of each module's text, as plain Python, against the 50-digit oracle; with
`--second-order` every function of derivatives that a spec can have, of short specs, in which no input is called u; with
`--guarded` specs whose reads only guards keep legal, every access of whose arrays is checked
(`tests/guarded_specs.py`), and with `--guarded --compiled` the same specs as numba compiles them with
NUMBA_BOUNDSCHECK=1. A spec that fails is printed as a file that can be cut down by hand, or by `--shrink`, which cuts
it for a minute first.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import count, islice, takewhile
from pathlib import Path
from random import Random, SystemRandom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from generated import check_module, execute, module_text
from guarded_check import check_compiled, check_guarded
from guarded_specs import GuardedWriter
from random_specs import Spec, Writer
from second_order_oracle import LONGEST, random_point
from shrinking import shrink

from derivgen.errors import SpecError
from derivgen.pipeline import declared_program

LETS = 5
MOST_REFUSED = 0.1  # of guarded specs, by lowering, which may not follow every proof


def check(spec: Spec) -> None:
    model = spec.model()
    declared = declared_program(model)
    check_module(execute(module_text(model)), declared, spec.values(declared))


def check_second_order(spec: Spec) -> None:
    random_point(spec, execute).check()


def failure(spec: Spec, checking: Callable[[Spec], None]) -> str:
    """What kind of error a spec ends in, nothing where it passes."""
    try:
        checking(spec)
    except Exception as error:  # whatever it is
        return type(error).__name__
    return ""


def outcome(spec: Spec, checking: Callable[[Spec], None], refusals: bool, shrinks: bool) -> str:
    """Whether a spec passes, is refused, where specs may be, or fails, and is shown then."""
    try:
        checking(spec)
    except Exception as error:  # whatever it is
        if refusals and isinstance(error, SpecError):
            return "refused"
        print(spec, traceback.format_exc(limit=-3), sep="\n", flush=True)
        if shrinks:
            print("smaller:", shrink(spec, lambda s: failure(s, checking)), sep="\n", flush=True)
        return "failed"
    return "passed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--count", type=int, help="so many specs, however long they take")
    parser.add_argument("--start", type=int, default=SystemRandom().randrange(10**9), help="the first spec's number")
    parser.add_argument("--second-order", action="store_true", help="functions of derivatives")
    parser.add_argument("--guarded", action="store_true", help="specs that guards keep legal, every access checked")
    parser.add_argument("--compiled", action="store_true", help="guarded ones as numba compiles them, bounds checked")
    parser.add_argument("--shrink", action="store_true", help="show each failing spec cut down, too")
    options = parser.parse_args()
    if options.compiled and not options.guarded:
        parser.error("--compiled is for --guarded")
    if options.compiled:
        os.environ["NUMBA_BOUNDSCHECK"] = "1"  # before numba is imported
    warnings.simplefilter("ignore")
    end = math.inf if options.count else time.monotonic() + options.seconds
    numbers = takewhile(lambda _: time.monotonic() < end, islice(count(options.start), options.count))
    if options.guarded:
        checking = check_compiled if options.compiled else check_guarded
        specs = (GuardedWriter(Random(number)).spec() for number in numbers)
    else:
        lets, checking, longest = (1, check_second_order, LONGEST) if options.second_order else (LETS, check, math.inf)
        specs = (s for s in (Writer(Random(number)).spec(lets) for number in numbers) if len(s.text) <= longest)
    found = Counter(outcome(spec, checking, options.guarded, options.shrink) for spec in specs)
    refused = f", {found['refused']} were refused" if options.guarded else ""
    print(f"{found.total()} specs from {options.start} on, {found['failed']} failed{refused}")
    return int(bool(found["failed"]) or found["refused"] > max(1, MOST_REFUSED * found.total()))


if __name__ == "__main__":
    sys.exit(main())
