"""Who is somebody's father, aunt, nephew, …? Distributed codes of persons and relations, learned from two family trees.

A person (24 units, one of them on) and a relation (12) are each encoded by 6 units; 12 units join the two codes, 6
decode what they say, and the 24 output units are the persons that are meant, one or two. All units are logistic. E is
half the sum of squares of what the outputs are off 1 or 0, but an output that should be on has no error above 0.8, and
one that should be off none below 0.2.

The update is the paper's: Δw(t) = -ε·∂E/∂w + α·Δw(t - 1), where E is the sum over all examples, with smaller ε and α
in the first 20 sweeps; then a weight loses a share of itself. The paper's numbers are weights from -0.3 .. 0.3 at the
start, 1,500 sweeps with ε = 0.01 and α = 0.9 (0.005 and 0.5 in the first 20), and a decay of 0.2 %. With these no
network that was tried left the plateau on which it answers all questions alike. Here weights start in -1 .. 1, ε is
five times as large, the decay half, and there are 5,000 sweeps.

Sources: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors", Nature 323; Hinton
1986, "Learning distributed representations of concepts".
"""

from sympy import Piecewise, Sum, Symbol, exp

from derivgen import Model, initializers
from derivgen.optimizers import g, hyperparameter, rule, t, theta

model = Model("family_trees")
N = model.batch("N")
P, R, E, C = model.sizes(P=24, R=12, E=6, C=12)
n, p, e, c = model.indices(n=N, p=P, e=E, c=C)

person, relation = model.labels("person", N, classes=P), model.labels("relation", N, classes=R)
meant = model.input("meant", N, P)  # 1 or 0
spread = initializers.uniform(-1, 1)


def parameter(name, *sizes):
    return model.parameter(name, *sizes, init=spread)


def logistic(z):
    return 1 / (1 + exp(-z))


W1, b1 = parameter("W_person", P, E), parameter("b_person", E)
W2, b2 = parameter("W_relation", R, E), parameter("b_relation", E)
W3, W4, b3 = parameter("W_code", E, C), parameter("W_link", E, C), parameter("b_joined", C)
W5, b4 = parameter("W_decoded", C, E), parameter("b_decoded", E)
W6, b5 = parameter("W_output", E, P), parameter("b_output", P)

# A unit of 24 that is on selects its row of weights.
code = model.let("code", (n, e), logistic(W1[person[n], e] + b1[e]))
link = model.let("link", (n, e), logistic(W2[relation[n], e] + b2[e]))
both = Sum(code[n, e] * W3[e, c], e) + Sum(link[n, e] * W4[e, c], e)
joined = model.let("joined", (n, c), logistic(both + b3[c]))
decoded = model.let("decoded", (n, e), logistic(Sum(joined[n, c] * W5[c, e], c) + b4[e]))
output = model.let("output", (n, p), logistic(Sum(decoded[n, e] * W6[e, p], e) + b5[p]))

o, m = output[n, p], meant[n, p]
on = Piecewise((0, o > 0.8), ((1 - o) ** 2, True))
off = Piecewise((0, o < 0.2), (o**2, True))
model.minimize(Sum(m * on + (1 - m) * off, n, p) / 2)
model.predict(output)

delta, early = Symbol("delta", real=True), t <= 20
epsilon = Piecewise((hyperparameter("learning_rate") / 2, early), (hyperparameter("learning_rate"), True))
alpha = Piecewise((0.5, early), (hyperparameter("momentum"), True))
step = [(delta, alpha * delta - epsilon * g), (theta, (1 - hyperparameter("decay")) * (theta + delta))]
model.update(rule("back_propagation", step, {delta: 0}, learning_rate=0.05, momentum=0.9, decay=0.001))
