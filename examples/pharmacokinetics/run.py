"""Fit the plasma concentrations of six volunteers after indomethacin: `python examples/pharmacokinetics/run.py`.

Data: Kwan, Breault, Umbenhauer, McMahon and Duggan 1976, "Kinetics of indomethacin absorption, elimination, and
enterohepatic circulation in man", Journal of Pharmacokinetics and Biopharmaceutics 4; `Indometh` of R's data sets.
These state no dose. With 25 mg the clearances are those in the literature; they and the volumes are proportional to it.
"""

from pathlib import Path

import numpy as np

from derivgen import runtime

DOSE = 25.0  # mg
TIMES = np.array([0.25, 0.5, 0.75, 1, 1.25, 2, 3, 4, 5, 6, 8])  # h
CONCENTRATIONS = np.array(  # mg/L, a row for each subject
    [
        [1.50, 0.94, 0.78, 0.48, 0.37, 0.19, 0.12, 0.11, 0.08, 0.07, 0.05],
        [2.03, 1.63, 0.71, 0.70, 0.64, 0.36, 0.32, 0.20, 0.25, 0.12, 0.08],
        [2.72, 1.49, 1.16, 0.80, 0.80, 0.39, 0.22, 0.12, 0.11, 0.08, 0.08],
        [1.85, 1.39, 1.02, 0.89, 0.59, 0.40, 0.16, 0.11, 0.10, 0.07, 0.07],
        [2.05, 1.04, 0.81, 0.39, 0.30, 0.23, 0.13, 0.11, 0.08, 0.10, 0.06],
        [2.31, 1.44, 1.03, 0.84, 0.64, 0.42, 0.24, 0.17, 0.13, 0.10, 0.09],
    ]
)
SUBJECTS, SAMPLES = CONCENTRATIONS.shape


def measurements() -> dict[str, np.ndarray | float]:
    """The data as the module takes them, a row for each of the 66 samples."""
    return {
        "dose": DOSE,
        "subject": np.repeat(np.arange(SUBJECTS), SAMPLES),
        "time": np.tile(TIMES, SUBJECTS),
        "concentration": CONCENTRATIONS.ravel(),
    }


def print_subjects(fit: runtime.CurveFit) -> None:
    """Each subject's clearances and volumes, with the relative standard errors that those of logarithms are."""
    print("subject" + "".join(f"{name:>16}" for name in ("CL, L/h", "Q, L/h", "V1, L", "V2, L")))
    for s in range(SUBJECTS):
        cells = (f"{np.exp(fit.views[k][s]):.2f} ± {100 * fit.standard_errors[k][s]:.0f} %" for k in fit.views)
        print(f"{s + 1:7}" + "".join(f"{cell:>16}" for cell in cells))


def main() -> runtime.CurveFit:
    """The fit of all subjects at once, by a sparse Jacobian."""
    module, data = runtime.load(Path(__file__).with_name("pharmacokinetics_kernels.py")), measurements()
    fit = runtime.fit_curve(module, data, ftol=1e-14, xtol=1e-12, gtol=1e-12)
    jacobian = module.jacobian(fit.parameters, **data)
    rows, columns = jacobian.shape
    print_subjects(fit)
    print(f"coefficient of variation of the errors: {100 * fit.residual_deviation:.1f} %")
    print(f"Jacobian of {rows}×{columns}: {jacobian.nnz} of {rows * columns} elements; {fit.evaluations} evaluations")
    return fit


if __name__ == "__main__":
    main()
