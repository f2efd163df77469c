"""Objectives as functions of a vector: minimizing, fitting, least squares, curves."""
