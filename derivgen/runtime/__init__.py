"""Load a generated module, feed it data, keep its parameters. Needs NumPy, and numba for the module; never SymPy."""

from derivgen.runtime.files import load_parameters, read_data, save_parameters
from derivgen.runtime.loading import load
from derivgen.runtime.monitor import NonFiniteError
from derivgen.runtime.training import Epoch, Fit, fit

__all__ = [
    "Epoch",
    "Fit",
    "NonFiniteError",
    "fit",
    "load",
    "load_parameters",
    "read_data",
    "save_parameters",
]
