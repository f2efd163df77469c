"""Checks every example's module, certificate and C by `derivgen.verify`: `python scripts/verify_examples.py [NAME …]`.

Prints what is found and the seconds of each; the tests have the longest of them at smaller sizes. C is generated in the
module's dtype, and compared with it.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from c_texts import both
from example_files import EXAMPLES, NAMES

from derivgen.project.spec import load_target
from derivgen.review.certificate import certificate
from derivgen.verify import verify, verify_c


def main() -> int:
    warnings.simplefilter("ignore")
    if unknown := {*sys.argv[1:]} - {*NAMES}:
        print(f"no example: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
        return 2
    wrong = 0
    for name in sys.argv[1:] or NAMES:
        began, spec = time.process_time(), EXAMPLES / name / f"{name}.py"
        model = load_target(str(spec)).model
        own = json.loads(json.dumps(certificate(model, spec)))
        found = [*verify.findings(spec.with_name(f"{name}_kernels.py").read_text(encoding="utf-8"), own)]
        found += [line for line in verify_c.findings(*both(model, model.dtype or "float32")) if "DIFFERENT" in line]
        print(
            f"{name}: {len(found) or 'nothing'} found, {time.process_time() - began:.1f} s",
            *found,
            sep="\n    ",
            flush=True,
        )
        wrong += bool(found)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
