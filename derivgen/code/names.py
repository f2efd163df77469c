"""The names of one function of the generated text."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable


def past(name: str, taken: Container[str]) -> str:
    """The name, with as many underscores as it needs to differ from those that are taken."""
    while name in taken:
        name += "_"
    return name


class Locals:
    """Gives each meaning a name of its own, which is none that the function's text refers to.

    A tensor, a size and an index of one name are three meanings, and so are the values that a formula is cut into.
    """

    def __init__(self, referred_to: Iterable[str]) -> None:
        self.taken = {*referred_to}
        self.names: dict[Hashable, str] = {}

    def of(self, meaning: Hashable, wanted: str) -> str:
        """The name of a meaning: the wanted one, or past it."""
        if meaning not in self.names:
            self.names[meaning] = past(wanted, self.taken)
            self.taken.add(self.names[meaning])
        return self.names[meaning]
