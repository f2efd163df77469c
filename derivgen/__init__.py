"""derivgen: from SymPy expressions to one readable file of numba kernels with derived gradients."""

__version__ = "0.1.0"
