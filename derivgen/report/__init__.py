"""A model and its module on one page, for who must defend them.

In: the state of a spec, and another one to compare with, if any. Out: a page of HTML that stands alone: a row for each
statement, with the spec's lines, the formula and its adjoints, the kernels' lines, and the evidence for them.
"""
