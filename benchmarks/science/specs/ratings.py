"""Ratings as products of factors of users and items, with biases and a penalty on what is read."""

from sympy import Sum

from derivgen import Model

model = Model("ratings", dtype="float64")
N = model.batch("N")
users, items, K = model.sizes(users=2000, items=500, K=16)
n, k = model.indices(n=N, k=K)
user, item = model.labels("user", N, classes=users), model.labels("item", N, classes=items)
rating, penalty = model.input("rating", N), model.input("penalty")
P, Q = model.parameter("P", users, K, init="normal"), model.parameter("Q", items, K, init="normal")
a, b = model.parameter("a", users), model.parameter("b", items)

expected = model.let("expected", n, a[user[n]] + b[item[n]] + Sum(P[user[n], k] * Q[item[n], k], k))
size = model.let("size", n, a[user[n]] ** 2 + b[item[n]] ** 2 + Sum(P[user[n], k] ** 2 + Q[item[n], k] ** 2, k))
model.minimize(Sum((rating[n] - expected[n]) ** 2 + penalty * size[n], n) / N)
