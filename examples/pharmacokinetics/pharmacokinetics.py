"""Two compartments after an intravenous bolus: the clearances and volumes of each subject, by weighted least squares.

The dose enters the central compartment, of volume V1, and leaves the body from there with the clearance CL; Q is the
clearance between it and the peripheral compartment, of volume V2. In the micro constants k10 = CL/V1, k12 = Q/V1 and
k21 = Q/V2 the concentration is A·exp(-alpha·t) + B·exp(-beta·t), where alpha and beta are the roots of
λ² - (k10 + k12 + k21)·λ + k10·k21. Parameters are the logarithms of clearances and volumes, which are positive.

Residuals are relative to the measured concentration, for errors with a constant coefficient of variation. Each depends
on the four parameters of its own subject alone, so that the module's Jacobian is sparse.

Source: Gibaldi and Perrier 1982, "Pharmacokinetics", 2nd edition, multicompartment models.
"""

from math import log

from sympy import exp, sqrt

from derivgen import Model, initializers

model = Model("pharmacokinetics", dtype="float64")
N = model.batch("N")
S = model.sizes(S=6)
n, s = model.indices(n=N, s=S)

dose = model.input("dose")  # mg
subject = model.labels("subject", N, classes=S)
time = model.input("time", N)  # h
concentration = model.input("concentration", N)  # mg/L
ten = initializers.constant(log(10))
log_CL, log_Q = model.parameter("log_CL", S, init=ten), model.parameter("log_Q", S, init=ten)  # of L/h
log_V1, log_V2 = model.parameter("log_V1", S, init=ten), model.parameter("log_V2", S, init=ten)  # of L

k10 = model.let("k10", s, exp(log_CL[s] - log_V1[s]), layer="k21")
k12 = model.let("k12", s, exp(log_Q[s] - log_V1[s]), layer="k21")
k21 = model.let("k21", s, exp(log_Q[s] - log_V2[s]))
# alpha - beta is the root of (k10 + k12 + k21)² - 4·k10·k21; as a sum of positive terms it does not cancel, neither
# does beta.
gap = model.let("gap", s, sqrt((k10[s] + k12[s] - k21[s]) ** 2 + 4 * k12[s] * k21[s]), layer="beta")
alpha = model.let("alpha", s, (k10[s] + k12[s] + k21[s] + gap[s]) / 2, layer="beta")
beta = model.let("beta", s, k10[s] * k21[s] / alpha[s])
A = model.let("A", s, dose * exp(-log_V1[s]) * (alpha[s] - k21[s]) / gap[s], layer="B")
B = model.let("B", s, dose * exp(-log_V1[s]) * (k21[s] - beta[s]) / gap[s])

i = subject[n]
c = model.let("c", n, A[i] * exp(-alpha[i] * time[n]) + B[i] * exp(-beta[i] * time[n]))
r = model.let("r", n, (c[n] - concentration[n]) / concentration[n])
model.least_squares(r)
model.predict(c)
