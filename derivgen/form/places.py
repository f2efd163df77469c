"""The order of names: that in which they are declared, which SymPy then has for the arguments of sums and products.

`h + W` is `h + W` under all names, if h is declared before W. Outside of a generation names have the alphabet's order.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import sympy as sp
from sympy.core.symbol import Str

NUMBER = re.compile(r"\d+")


class Places:
    """Places of names, as texts that are ordered as the names were declared."""

    def __init__(self) -> None:
        self.declared: dict[str, int] = {}
        self.known: dict[str, str] = {}

    def declare(self, names: Iterable[str]) -> None:
        for name in names:
            self.declared.setdefault(name, len(self.declared))
        self.known.clear()

    def of(self, name: str) -> str:
        if name not in self.known:
            self.known[name] = "_".join(self.parts(name.split("_")))
        return self.known[name]

    def parts(self, words: list[str]) -> Iterator[str]:
        """What is named after declared names follows these, `h_sum` and `h_bar` after h; all others come last."""
        while words:
            stems = ("_".join(words[:count]) for count in range(len(words), 0, -1))
            stem = next((stem for stem in stems if stem in self.declared), None)
            own = f"~{NUMBER.sub(lambda digits: digits[0].zfill(6), words[0])}"
            yield own if stem is None else f"{self.declared[stem]:06}"
            words = words[1 if stem is None else stem.count("_") + 1 :]


PLACES: ContextVar[Places | None] = ContextVar("PLACES", default=None)


@contextmanager
def names_in_order() -> Iterator[None]:
    """Within this, SymPy orders names as they are declared; else by the alphabet. Also a decorator.

    SymPy orders the arguments of sums and products, and all passes go through them in that order. By the alphabet, a
    tensor's new name would give another order of summation, and so other bits.
    """
    outer = PLACES.set(Places()) if PLACES.get() is None else None
    try:
        yield
    finally:
        if outer is not None:
            PLACES.reset(outer)


def declare_in_order(names: Iterable[str]) -> None:
    """Note names in the order of their declaration, before anything is made of them."""
    if (places := PLACES.get()) is not None:
        places.declare(names)


def place_of(name: str) -> str | None:
    """The place of a name; None where the order is the alphabet's."""
    places = PLACES.get()
    return None if places is None else places.of(name)


class TensorName(Str):
    """A tensor's name with its place, which is what SymPy orders it by."""

    __slots__ = ("place",)

    def __new__(cls, name: str, place: str) -> TensorName:
        made = super().__new__(cls, name)
        made.place = place
        return made

    def _hashable_content(self) -> tuple[Any, ...]:
        return self.place, self.name

    def sort_key(self, order: Any = None) -> Any:
        return self.class_key(), (1, (self.place,)), sp.S.One.sort_key(), sp.S.One


class IntegerSymbol(sp.Symbol):
    """An index or a size with its place, which is what SymPy orders it by."""

    place: str | None

    def _hashable_content(self) -> tuple[Any, ...]:
        own = super()._hashable_content()
        return own if self.place is None else (self.place, *own)

    def sort_key(self, order: Any = None) -> Any:
        return self.class_key(), (1, (self.place or self.name,)), sp.S.One.sort_key(), sp.S.One


@functools.lru_cache(maxsize=2**14)
def tensor_name(name: str, place: str | None) -> Str:
    return Str(name) if place is None else TensorName(name, place)


@functools.lru_cache(maxsize=2**14)
def placed(kind: type[IntegerSymbol], name: str, place: str | None, **assumptions: bool) -> Any:
    """A symbol of an integer; equal ones are one object."""
    made = kind.__xnew__(kind, name, integer=True, **assumptions)
    made.place = place
    return made


def integer_symbol(name: str, **assumptions: bool) -> sp.Symbol:
    symbol: IntegerSymbol = placed(IntegerSymbol, name, place_of(name), **assumptions)
    return symbol
