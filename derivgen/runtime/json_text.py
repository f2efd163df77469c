"""JSON from files that somebody else may have written."""

from __future__ import annotations

import json
from typing import Any

SHOWN = 60  # characters of a value in a message
# What Python raises where values are not of the types that are expected of them.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says; NaN and infinities are numbers, as Python writes them.

    Raises ValueError, in a few words that name no file, where it can't be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, {error.msg} at column {error.colno}") from error
    except RecursionError:
        raise ValueError("not to be read, it has too many brackets inside brackets") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON, byte 0x{error.object[error.start]:02x} is no UTF-8") from error
    except ValueError as error:
        raise ValueError("not to be read, a whole number in it has too many digits") from error


def shown(value: Any) -> str:
    """A value as JSON, or the start of it where it is long."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = repr(type(value).__name__)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def short(text: str) -> str:
    """A text that can stand in a message, as it is if it can."""
    return text if text.isprintable() and len(text) <= SHOWN else shown(text)
