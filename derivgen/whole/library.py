"""What each language brings itself: functions that routines call, and that are not made from a model.

uniform(seed, step, number, row, out)    fills an array with random numbers, those of form/randomness.py, from a row on
sum_of_squares(vector, start, stop)      of a part of a vector, in double precision
observe(values, rows, observed)          root mean square, and the share of units that are 0 in every row
add_gradients_in_tree(values, gradients) the sums of leaves: the first one's become those of all
meet(meeting, members)                   waits for the other threads; meeting[1] is not 0 if one of them failed
parts(flat)                              the parts of a flat vector, by the names of parameters, and it as a whole
"""

from __future__ import annotations

import sympy as sp

from derivgen.code.routine import ANY, Signature, array
from derivgen.code.tree import Extent, Kind
from derivgen.form.expressions import Read

UNIFORM, SUM_OF_SQUARES, OBSERVE, PARTS = "uniform", "sum_of_squares", "observe", "parts"
ADD_IN_TREE, MEET = "add_gradients_in_tree", "meet"
LENGTH, LEAVES = Extent("vector", 0), Extent("values", 0)

LIBRARY = {
    UNIFORM: Signature(
        {"seed": Kind.INTEGER, "step": Kind.INTEGER, "number": Kind.INTEGER, "row": Kind.INTEGER, "out": ANY}
    ),
    SUM_OF_SQUARES: Signature(
        {"vector": array("vector", LENGTH), "start": Kind.INTEGER, "stop": Kind.INTEGER},
        given=(sp.Ge(Read("start"), 0), sp.Le(Read("stop"), LENGTH)),
    ),
    ADD_IN_TREE: Signature({"values": array("values", LEAVES), "gradients": ANY}),
    MEET: Signature({"meeting": array("meeting", 2, integer=True), "members": Kind.INTEGER}),
    OBSERVE: Signature({"values": ANY, "rows": Kind.INTEGER, "observed": array("observed", 2)}),
}
