"""Spec files, the modules of a project, and checks of their derivatives."""
