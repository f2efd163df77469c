"""Load a generated module, feed it data, keep its parameters. Needs NumPy, and numba for the module; never SymPy."""

from derivgen.runtime.checkpoints import (
    Checkpoint,
    CheckpointError,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from derivgen.runtime.curves import CurveFit, fit_curve
from derivgen.runtime.data import read_data
from derivgen.runtime.fitting import least_squares
from derivgen.runtime.history import Epoch, plot_history, read_history
from derivgen.runtime.loading import load
from derivgen.runtime.metrics import METRICS
from derivgen.runtime.minimizing import minimize
from derivgen.runtime.nonfinite import NonFiniteError
from derivgen.runtime.options import Fit
from derivgen.runtime.predicting import predict, read_parameters
from derivgen.runtime.spectrum import Curvature, curvature, fisher_diagonal
from derivgen.runtime.tensors import load_parameters, load_state_dict, save_parameters, save_state_dict
from derivgen.runtime.training import fit

__all__ = [
    "METRICS",
    "Checkpoint",
    "CheckpointError",
    "Curvature",
    "CurveFit",
    "Epoch",
    "Fit",
    "NonFiniteError",
    "curvature",
    "fisher_diagonal",
    "fit",
    "fit_curve",
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
