"""How many mistakes `verify.py` finds: `python scripts/verify_mutants.py [COUNT]`, that many mutants of each example.

It prints what was not found, and a count a kind; then the same of mutated certificates.
"""

from __future__ import annotations

import ast
import functools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from module_mutants import certificate_mutants, sample

from derivgen.project.spec import load_target
from derivgen.review.certificate import certificate
from derivgen.verify import verify

EXAMPLES = Path(__file__).parents[1] / "examples"


def once_a_kernel(
    check: Callable[[verify.Kernel, verify.Sizes], None],
) -> Callable[[verify.Kernel, verify.Sizes], None]:
    """The check, made once for each text of a kernel."""
    known: dict[str, Exception | None] = {}

    @functools.wraps(check)
    def checked(kernel: verify.Kernel, limits: verify.Sizes) -> None:
        text = ast.unparse(kernel.function)
        if text not in known:
            try:
                known[text] = check(kernel, limits)
            except Exception as problem:
                known[text] = problem
        if problem := known[text]:
            raise problem

    return checked


def main() -> None:
    verify.check_loops = once_a_kernel(verify.check_loops)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    found, made = Counter[str](), Counter[str]()
    for module in sorted(EXAMPLES.glob("*/*_kernels.py")):
        began, text = time.process_time(), module.read_text(encoding="utf-8")
        for mutant in sample(text, count):
            made[mutant.kind] += 1
            if next(verify.findings(mutant.text, None), None):
                found[mutant.kind] += 1
            else:
                print(f"not found: {module.stem}, {mutant.function}, {mutant.kind}: {mutant.change}")
        spec = module.with_name(f"{module.parent.name}.py")
        own = certificate(load_target(str(spec)).model, spec)
        parts = verify.parts_of(text)
        changes = [*certificate_mutants(own)]
        for change, mutated in random.Random(0).sample(changes, min(count, len(changes))):
            made["certificate"] += 1
            with np.errstate(all="ignore"):
                if [*verify.attempt("certificate", verify.check_certificate, parts, mutated, parts.drawn(0.3))]:
                    found["certificate"] += 1
                else:
                    print(f"not found: the certificate of {module.stem}: {change}")
        print(f"{module.stem}: {time.process_time() - began:.0f} s", flush=True)
    for kind, number in sorted(made.items()):
        print(f"{kind}: {found[kind]} of {number} found")
    modules = made.total() - made["certificate"]
    print(f"{modules} mutants of modules, {found.total() - found['certificate']} found")


if __name__ == "__main__":
    main()
