"""What holds for all tests."""

from __future__ import annotations

import pytest

from derivgen import stages


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine anything takes long: what is printed must not depend on that."""
    monkeypatch.setattr(stages, "LONG", float("inf"))
