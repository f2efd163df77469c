"""Stage 4: passes that leave less to compute.

In: a derived `Program`. Out: one with the same results in fewer operations.
"""
