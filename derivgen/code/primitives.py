"""Functions of code alone: how maxima are found, and powers by how they are computed."""

from __future__ import annotations

import sympy as sp

from derivgen.form.functions import Primitive


class ordinal(sp.Function):
    """The rank of a real among all of its kind, as an integer; NaN ranks above all.

    A compiler vectorizes a maximum of integers, but none of reals that keeps NaN.
    """

    nargs = 1
    is_integer = True


class of_ordinal(Primitive):
    """The real of a rank."""

    nargs = 1
