"""The logger of the runtime: what it does, for Python's `logging`; a program that wants to see it adds a handler."""

from __future__ import annotations

import logging

LOG = logging.getLogger("derivgen")
LOG.addHandler(logging.NullHandler())
