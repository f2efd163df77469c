"""Stage 2: a Program before it is differentiated.

In: the declared `Program`. Out: one with the same values, in one mode, short and stable.
"""
