"""The 27 nonlinear regressions of NIST's Statistical Reference Datasets, with two starts each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from module_by_hand import Input, module_of

from derivgen import Model

Array = np.ndarray[Any, Any]
FILE = Path(__file__).parent / "data" / "nist_strd.toml"


@dataclass(frozen=True)
class Problem:
    name: str
    formula: str  # y = f(x; b1, b2, …), without the error
    starts: Array  # shape (2, T)
    parameters: Array  # certified, as are the next two
    standard_errors: Array
    residual_deviation: float
    data: dict[str, Array]

    @cached_property
    def symbols(self) -> list[sp.Symbol]:
        return [sp.Symbol(f"b{k + 1}") for k in range(len(self.parameters))]

    @cached_property
    def residual(self) -> sp.Expr:
        """f - y in the symbols of the parameters and of the data's columns."""
        left, right = self.formula.split("=")
        return sp.sympify(right) - sp.sympify(left)

    @cached_property
    def functions(self) -> dict[str, Any]:
        """The residuals, shape (R,), and their Jacobian, shape (R, T), as a module has them, by SymPy in NumPy."""
        arguments = [self.symbols, [sp.Symbol(name) for name in self.data]]
        value = sp.lambdify(arguments, self.residual)
        slopes = sp.lambdify(arguments, [self.residual.diff(b) for b in self.symbols], cse=True)

        def jacobian(b: Array, **data: Array) -> Array:
            columns = slopes(b, [*data.values()])
            return np.stack([np.broadcast_to(column, data["y"].shape) for column in columns], axis=1)

        return {"residuals": lambda b, **data: value(b, [*data.values()]), "jacobian": jacobian}

    def module(self, start: Any) -> Any:
        """A module with one parameter b, that starts here."""
        inputs = [Input(name, ("N",)) for name in self.data]
        return module_of({"b": (len(self.parameters),)}, inputs, np.asarray(start, float), **self.functions)

    def model(self) -> Model:
        """The spec, with the parameters b1, b2, …"""
        model = Model(self.name.lower(), dtype="float64")
        N = model.batch("N")
        n = model.indices(n=N)
        columns = {sp.Symbol(name): model.input(name, N)[n] for name in self.data}
        parameters = {b: model.parameter(b.name) for b in self.symbols}
        model.least_squares(model.let("r", n, self.residual.subs({**columns, **parameters})))
        return model


def problems() -> dict[str, Problem]:
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: problem_of(name, table) for name, table in tables.items()}


def problem_of(name: str, table: dict[str, Any]) -> Problem:
    certified = {key: np.array(table.pop(key), float) for key in ("starts", "parameters", "standard_errors")}
    own = {key: table.pop(key) for key in ("formula", "residual_deviation")}
    return Problem(name, **own, **certified, data={column: np.array(values, float) for column, values in table.items()})


def digits(found: Any, certified: Array) -> float:
    """The decimal digits that agree in all of these, at most the 11 that are certified."""
    off = np.max(np.abs(np.asarray(found) / certified - 1))
    return float(np.clip(-np.log10(max(off, 1e-11)), 0, 11)) if np.isfinite(off) else 0.0
