"""A European call by Monte Carlo, under geometric Brownian motion: its Greeks are the derivatives of the price.

The price is the discounted mean of the payoff over N normal numbers z. It stands as the objective, which is the word
for what a module differentiates; nobody wants its minimum. What is differentiated by are parameters: the gradient is
delta, vega, rho and -theta, the Hessian holds gamma, vanna, volga and the others.

The payoff max(S - strike, 0) has a kink, which the mean of its second derivatives misses. Smoothed over `width`, a
small amount of money, it becomes width·log(1 + exp((S - strike)/width)); this makes prices too large by
(π·width)²/6·∂²price/∂strike², and likewise their derivatives, up to terms of width⁴.

Source: Black and Scholes 1973, "The pricing of options and corporate liabilities"; Glasserman 2003, "Monte Carlo
methods in financial engineering", chapter 7, for derivatives by paths.
"""

from sympy import Sum, exp, log, sqrt

from derivgen import Model, named

model = Model("option_greeks", dtype="float64")
N = model.batch("N")
n = model.indices(n=N)

z = model.input("z", N)
strike, width = model.input("strike"), model.input("width")
spot = model.parameter("spot", init=100)
volatility = model.parameter("volatility", init=0.2)  # per root of a year
rate = model.parameter("rate", init=0.03)  # per year, continuously compounded
maturity = model.parameter("maturity", init=0.5)  # in years

growth = named("growth", (rate - volatility**2 / 2) * maturity + volatility * sqrt(maturity) * z[n])
S = model.let("S", n, spot * exp(growth), layer="value")
payoff = model.let("payoff", n, width * log(1 + exp((S[n] - strike) / width)), layer="value")
value = model.let("value", n, named("discount", exp(-rate * maturity)) * payoff[n])
model.minimize(Sum(value[n], n) / N)
model.second_order("hessian")
