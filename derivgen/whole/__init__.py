"""A module's plan and the code of its kernels → the code of the functions that call them.

In: what is called in which order, where each tensor lies, the update rule. Out: routines, each proved to pass what the
functions that it calls were proved for. What a language has to bring itself is named in `library.py`.
"""
