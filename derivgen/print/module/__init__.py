"""The text of everything around the kernels."""
