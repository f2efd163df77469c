"""Independent ways to the same numbers: an interpreter of programs, and derivatives by differences."""
