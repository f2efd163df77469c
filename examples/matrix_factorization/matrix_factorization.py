"""Matrix factorization with biases: r_ui ≈ μ + a_u + b_i + p_u·q_i, fitted to the entries that are known.

Each known entry is a row of the data: its user, its item and its rating. The penalty stands within the sum over the
entries, so a mini-batch penalizes the rows of P and Q that it reads.

Source: Koren, Bell and Volinsky 2009, "Matrix factorization techniques for recommender systems", equation 5.
"""

from sympy import Sum

from derivgen import Model, optimizers

model = Model("matrix_factorization")
N = model.batch("N")
users, items, K = model.sizes(users=1797, items=64, K=8)
n, k = model.indices(n=N, k=K)

user = model.labels("user", N, classes=users)
item = model.labels("item", N, classes=items)
rating = model.input("rating", N)
mean, penalty = model.input("mean"), model.input("penalty")
P, Q = model.parameter("P", users, K, init="normal"), model.parameter("Q", items, K, init="normal")
a, b = model.parameter("a", users), model.parameter("b", items)

predicted = model.let("predicted", n, mean + a[user[n]] + b[item[n]] + Sum(P[user[n], k] * Q[item[n], k], k))
size = model.let("size", n, a[user[n]] ** 2 + b[item[n]] ** 2 + Sum(P[user[n], k] ** 2 + Q[item[n], k] ** 2, k))
model.minimize(Sum((rating[n] - predicted[n]) ** 2 + penalty * size[n], n) / N)
model.predict(predicted)
model.update(optimizers.adam())
