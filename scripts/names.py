"""Gives every name that modules have to every kind of thing that a spec names: `python scripts/names.py [MODEL …]`.

Each is refused at the spec's line, or the module gives the numbers that it gives with other names. The tests look at
some of the pairs, this at all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from naming_models import MODAL, STILL, check_renamed, generated, kinds_of, names_in_modules, renamings, use


def main() -> int:
    names, failures = names_in_modules(), 0
    for make in (*MODAL, *STILL):
        if sys.argv[1:] and make.__name__ not in sys.argv[1:]:
            continue
        kinds, expected = kinds_of(make), use(generated(make, {})[0])
        pairs = refused = failed = 0
        for rotation in range(len(kinds)):
            for renamed in renamings(names, kinds, rotation):
                pairs += len(renamed)
                try:
                    refused += len(check_renamed(make, renamed, expected))
                except Exception as error:
                    failed += 1
                    print(f"{make.__name__}, {renamed}: {type(error).__name__}: {error}", flush=True)
        print(f"{make.__name__}: {pairs} pairs of a name and a kind, {refused} refused, {failed} failures", flush=True)
        failures += failed
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
