"""Two exponential decays over a background, y = background + Σ_k amplitude_k·exp(-rate_k·x), fitted by least squares.

One amplitude turns out negative, so that the curve rises before it falls, as the intermediate of two consecutive
reactions does. `jacobian_vector_product` is for the band around the curve.

Source: Osborne 1972, "Some aspects of nonlinear least squares calculations"; the problem MGH17 of NIST's Statistical
Reference Datasets, nonlinear regression, whose second start this is.
"""

from sympy import Sum, exp

from derivgen import Model

model = Model("decay_curve", dtype="float64")
N = model.batch("N")
K = model.sizes(K=2)
n, k = model.indices(n=N, k=K)

x = model.input("x", N)
y = model.input("y", N)
background = model.parameter("background", init=0.5)
amplitude = model.parameter("amplitude", K, init=[1.5, -1])
rate = model.parameter("rate", K, init=[0.01, 0.02])

curve = model.let("curve", n, background + Sum(amplitude[k] * exp(-rate[k] * x[n]), k))
r = model.let("r", n, curve[n] - y[n])
model.least_squares(r)
model.predict(curve)
model.second_order("jacobian_vector_product")
