"""Stage 6: loops, the order of kernels, memory, threads, and what they cost.

In: an arranged `Program`. Out: a `Schedule`, neutral of the language.
"""
