"""Stage 3: derivatives.

In: a prepared `Program`. Out: one with adjoints, tangents, Jacobians or Hessians as further statements.
"""
