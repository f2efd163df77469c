"""Checks the whole Hessians of the deepest layers and examples: `python scripts/deep_hessians.py [NAME …]`.

All take five minutes to generate and to run as plain Python; the tests check their products with vectors.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / folder) for folder in ("", "derive")]

from example_files import NAMES  # noqa: E402
from test_second_order_layers import DEEP, FUNCTIONS, check_example, check_layer  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DEEP)}; all if none is said")
    names = parser.parse_args().names or DEEP
    if unknown := [name for name in names if name not in DEEP]:
        parser.error(f"{unknown[0]} is none of {', '.join(DEEP)}")
    for name in names:
        print(f"{name}: ", end="", flush=True)
        start = time.perf_counter()
        (check_example if name in NAMES else check_layer)(name, FUNCTIONS)
        print(f"passed in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
