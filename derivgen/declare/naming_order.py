"""The order in which the parts of an expression are lowered, and so named: that of the declaration, not of names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sympy as sp
from sympy.tensor.indexed import Idx

from derivgen.declare.model import LOCAL
from derivgen.form.places import place_of


class NamingOrder:
    """A key to sort by. Sums over data are named before others: a penalty that is added to a loss then renames nothing.

    Else the order is that of the declaration: SymPy's own hangs on names.
    """

    def __init__(self, runtime_sizes: Collection[sp.Symbol]) -> None:
        self.runtime_sizes = runtime_sizes
        self.texts: dict[Any, str] = {}

    def __call__(self, e: sp.Basic) -> tuple[bool, str]:
        return not any(s in self.runtime_sizes for s in e.free_symbols), self.by_places(e)

    def by_places(self, e: Any) -> str:
        """An expression with places in the order of declaration for its names."""
        if e not in self.texts:
            if isinstance(e, sp.Symbol):
                own = e.name.removeprefix(LOCAL)
                self.texts[e] = own.zfill(6) if own.isdigit() else place_of(own) or own
            elif isinstance(e, Idx):
                self.texts[e] = self.by_places(e.label)
            elif not getattr(e, "args", ()):
                self.texts[e] = str(e)
            else:
                parts = [self.by_places(a) for a in e.args]
                unordered = isinstance(e, sp.Add | sp.Mul | sp.And | sp.Or)
                self.texts[e] = f"{type(e).__name__}({','.join(sorted(parts) if unordered else parts)})"
        return self.texts[e]
