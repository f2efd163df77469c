"""What each operator of ONNX becomes. A function gets the draft, the node and its operands, and returns its outputs.

A new operator is a function of a few lines and a row in its file's table; what it does not cover is a row in
`importing/refusals.py`, or a Refusal where that depends on the operands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from derivgen.importing.operators import attention, elementwise, products, recurrent, views, windows

OPERATORS: dict[str, Callable[..., Any]] = {
    **views.TABLE,
    **elementwise.TABLE,
    **products.TABLE,
    **windows.TABLE,
    **recurrent.TABLE,
    **attention.TABLE,
}
