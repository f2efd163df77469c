"""Stage 9: text.

In: code, and a `ModulePlan`. Out: the text of a module of numba kernels. Nothing but this folder knows the language.
"""
