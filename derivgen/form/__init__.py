"""The statement form that every stage shares: expressions, functions, statements, programs, their notation and proofs of bounds."""
