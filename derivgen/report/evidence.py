"""What proves a module's kernels to their readers, from its text alone."""

from __future__ import annotations

from derivgen.verify import verify


def docstring_verdicts(text: str) -> dict[str, str]:
    """Whether each kernel's loops give what its docstring says, and stay inside of their arrays."""
    parts, found = verify.parts_of(text), dict[str, str]()
    for name, kernel in parts.kernels.items():
        problems = [*verify.attempt("", verify.check_loops, kernel, parts.limits)]
        problems += verify.Accesses(kernel, parts.limits).found
        right = "its loops give what the docstring says, at random numbers; each access is proved inside its array"
        found[name] = "; ".join(problems) or right
    return found
