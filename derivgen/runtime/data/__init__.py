"""Data files, and what a module takes of them."""
