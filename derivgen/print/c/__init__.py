"""Code → C99: the same kernels, under the same formulas and names."""
