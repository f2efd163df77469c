"""Curve fits of the 27 nonlinear regressions of NIST, two starts each: `python benchmarks/nist.py [ftol=1e-8 …]`.

A line a run: evaluations of the residuals, digits of the parameters and of their standard errors that are as certified
(of at most 11), and how the search ended. Arguments are those of `runtime.fit_curve`.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from nist_problems import digits, problems

from derivgen import runtime


def main(arguments: list[str]) -> None:
    options = {name: float(value) for name, _, value in (argument.partition("=") for argument in arguments)}
    evaluations = certified = 0
    warnings.simplefilter("ignore")
    for problem in problems().values():
        for number, start in enumerate(problem.starts, 1):
            fit = runtime.fit_curve(problem.module(start), problem.data, **options)
            found = digits(fit.parameters, problem.parameters)
            errors = digits(fit.standard_errors["b"], problem.standard_errors)
            evaluations += fit.evaluations
            certified += min(found, errors) >= 6
            ending = fit.message if fit.success else f"NOT CONVERGED: {fit.message}"
            print(f"{problem.name:9}{number}  {fit.evaluations:5}  {found:4.1f}  {errors:4.1f}  {ending}")
    print(f"{certified} of 54 runs at 6 certified digits of both, {evaluations:,} evaluations")


if __name__ == "__main__":
    main(sys.argv[1:])
