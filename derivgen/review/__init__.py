"""What changed between two states of a spec, for who reviews its module.

In: two specs, and their modules' texts. Out: a `Review`: formulas, derivatives, kernels, fixed parts, contract, cost
and signatures before and after, as text, Markdown, HTML or JSON.
"""
