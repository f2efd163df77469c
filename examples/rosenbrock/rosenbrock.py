"""Rosenbrock's valley in ten dimensions: a function to minimize, with no data. Its minimum is 0, at x = (1, …, 1).

Source: Rosenbrock 1960, in the chained form of scipy.optimize.rosen.
"""

import numpy as np
from sympy import Sum

from derivgen import Model

model = Model("rosenbrock", dtype="float64")
D = model.sizes(D=10)
i = model.indices(i=D - 1)

x = model.parameter("x", D, init=np.tile([1.3, 0.7, 0.8, 1.9, 1.2], 2))
model.minimize(Sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2, i))
