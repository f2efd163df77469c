"""Load a generated module, feed it data, keep its parameters. Needs NumPy, and numba for the module; never SymPy."""

from derivgen.runtime.data.data import read_data
from derivgen.runtime.evaluating import evaluate
from derivgen.runtime.generated import GeneratedModule
from derivgen.runtime.loading import load
from derivgen.runtime.nonfinite import NonFiniteError
from derivgen.runtime.predicting import classes_of, predict, read_parameters
from derivgen.runtime.solve.curves import CurveFit, fit_curve
from derivgen.runtime.solve.fitting import least_squares
from derivgen.runtime.solve.minimizing import minimize
from derivgen.runtime.solve.spectrum import Curvature, curvature, fisher_diagonal
from derivgen.runtime.tensors import from_state_dict, load_parameters, load_state_dict, save_parameters, save_state_dict
from derivgen.runtime.train.checkpoints import (
    Checkpoint,
    CheckpointError,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from derivgen.runtime.train.history import Epoch, plot_history, read_history
from derivgen.runtime.train.metrics import METRICS
from derivgen.runtime.train.result import Fit
from derivgen.runtime.train.training import fit

__all__ = [
    "METRICS",
    "Checkpoint",
    "CheckpointError",
    "Curvature",
    "CurveFit",
    "Epoch",
    "Fit",
    "GeneratedModule",
    "NonFiniteError",
    "classes_of",
    "curvature",
    "evaluate",
    "fisher_diagonal",
    "fit",
    "fit_curve",
    "from_state_dict",
    "latest_checkpoint",
    "least_squares",
    "load",
    "load_parameters",
    "load_state_dict",
    "minimize",
    "plot_history",
    "predict",
    "read_checkpoint",
    "read_data",
    "read_history",
    "read_parameters",
    "save_parameters",
    "save_state_dict",
    "write_checkpoint",
]
