"""The form that every stage shares: expressions, functions, statements, programs, notation, proofs of bounds."""
