"""Stage 7: what each kernel does, as code that is neutral of the language.

In: a `Schedule`. Out: for each kernel a `Function` of statements, each access of which is proved inside its array.
"""
