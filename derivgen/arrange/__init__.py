"""Stage 5: passes that make better loops and products of matrices.

In: a simplified `Program`. Out: one whose statements are what loops will hold.
"""
