"""Stage 8: what a module contains.

In: schedules and an update rule. Out: a `ModulePlan`: arguments, tuples, functions, costs.
"""
