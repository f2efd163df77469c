"""derivgen: from SymPy expressions to one readable file of numba kernels with derived gradients.

Names are imported when first used: the runtime, which never needs SymPy, does not pay for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivgen.declare.contraction import contract
    from derivgen.declare.model import Model
    from derivgen.form.expressions import MaxOver, named
    from derivgen.form.functions import stop_gradient
    from derivgen.project.generate import generate

from derivgen.version import __version__ as __version__

__all__ = ["MaxOver", "Model", "contract", "generate", "named", "stop_gradient"]

_HOMES = {
    "MaxOver": "derivgen.form.expressions",
    "Model": "derivgen.declare.model",
    "contract": "derivgen.declare.contraction",
    "generate": "derivgen.project.generate",
    "named": "derivgen.form.expressions",
    "stop_gradient": "derivgen.form.functions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'derivgen' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
