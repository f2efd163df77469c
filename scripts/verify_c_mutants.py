"""How many mistakes in C `verify_c.py` finds: `python scripts/verify_c_mutants.py [COUNT]`, that many of each example.

It prints what was not found, and a count a kind.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from c_mutants import is_found, once, sample
from c_texts import both
from example_files import EXAMPLES, NAMES

from derivgen.project.spec import load_target
from derivgen.verify import verify_c


def main() -> None:
    verify_c.check_elementary = once(verify_c.check_elementary)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    found, made = Counter[str](), Counter[str]()
    for name in sys.argv[2:] or NAMES:
        began, model = time.process_time(), load_target(str(EXAMPLES / name / f"{name}.py")).model
        python, c, header = both(model, model.dtype or "float32")
        for mutant in sample(c, count):
            made[mutant.kind] += 1
            if is_found(python, mutant.text, header):
                found[mutant.kind] += 1
            else:
                print(f"not found: {name}, {mutant.function}, {mutant.kind}: {mutant.change}", flush=True)
        print(f"{name}: {time.process_time() - began:.0f} s", flush=True)
    for kind, number in sorted(made.items()):
        print(f"{kind}: {found[kind]} of {number} found")
    print(f"{made.total()} mutants, {found.total()} found")


if __name__ == "__main__":
    main()
