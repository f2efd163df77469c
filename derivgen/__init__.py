"""derivgen: from SymPy expressions to one readable file of numba kernels with derived gradients.

Names are imported when first used: the runtime, which never needs SymPy, does not pay for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from derivgen.expressions import MaxOver
    from derivgen.functions import stop_gradient
    from derivgen.model import Model
    from derivgen.pipeline import generate

__version__ = "0.1.0"
__all__ = ["MaxOver", "Model", "generate", "stop_gradient"]

_HOMES = {
    "MaxOver": "derivgen.expressions",
    "Model": "derivgen.model",
    "generate": "derivgen.pipeline",
    "stop_gradient": "derivgen.functions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'derivgen' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
