"""Stage 6: loops, the order of kernels, memory, threads, and what they cost.

In: an arranged `Program`. Out: a `Schedule`, each access of which is proved to be inside its array.
"""
