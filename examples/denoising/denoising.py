"""Denoising of an image by total variation: the parameter is the image itself.

½·Σ (u - f)² + weight·Σ √(dx² + dy² + epsilon²), with f the noisy image and dx, dy the differences to the pixel on the
right and the one below, which are 0 at the border. epsilon makes the variation smooth where the image is flat.

Source: Rudin, Osher and Fatemi 1992, "Nonlinear total variation based noise removal algorithms".
"""

from sympy import Piecewise, Sum, sqrt

from derivgen import Model

model = Model("denoising", dtype="float64")
H, W = model.sizes(H=64, W=64)
i, j = model.indices(i=H, j=W)

f = model.input("f", H, W)
weight, epsilon = model.input("weight"), model.input("epsilon")
u = model.parameter("u", H, W)

dx = model.let("dx", (i, j), Piecewise((u[i, j + 1] - u[i, j], j < W - 1), (0, True)))
dy = model.let("dy", (i, j), Piecewise((u[i + 1, j] - u[i, j], i < H - 1), (0, True)))
variation = model.let("variation", (i, j), sqrt(dx[i, j] ** 2 + dy[i, j] ** 2 + epsilon**2))
model.minimize(Sum((u[i, j] - f[i, j]) ** 2, i, j) / 2 + weight * Sum(variation[i, j], i, j))
