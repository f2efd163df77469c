"""Stage 1: what a spec's calls declare, and how it becomes a Program.

In: a `Model`. Out: a checked `Program`, or all problems at once.
"""
