"""The networks that are trained: one row a workload, its spec for derivgen, and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import sympy as sp
from numpy.typing import NDArray

import derivgen
from derivgen import Model, activations, layers, losses, runtime

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Workload:
    """A network of dense layers, its last one without activation; `loss` is softmax, squared or logistic."""

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    batches: int = 10

    @property
    def rows(self) -> int:
        return self.batch * self.batches

    @property
    def title(self) -> str:
        """What the table calls it."""
        words = [self.name, *([] if self.activation == "identity" else [self.activation])]
        return f"{' '.join(words)}{'' if self.loss in self.name else ', ' + self.loss}, {self.batch}"

    def model(self) -> Model:
        model = Model("bench_" + self.name.replace("-", "_").replace(" ", "_"))
        n = model.batch("N")
        first, *hidden, last = self.widths
        a = model.input("x", n, first)
        for k, width in enumerate(hidden, 1):
            a = layers.dense(a, width, getattr(activations, self.activation), name=f"layer{k}")
        z = layers.dense(a, last, activations.identity, name=f"layer{len(hidden) + 1}")
        if self.loss == "softmax":
            model.minimize(losses.softmax_cross_entropy(z, model.labels("y", n, classes=last)))
        elif self.loss == "squared":
            model.minimize(losses.mean_squared_error(z, model.input("y", n, last)))
        else:
            y, (i,) = model.input("y", n), model.local_indices(n)
            p = model.let("p", (i,), 1 / (1 + sp.exp(-z[i, 0])))
            model.minimize(sp.Sum(-y[i] * sp.log(p[i]) - (1 - y[i]) * sp.log(1 - p[i]), i) / n)
        return model

    def module(self, folder: Path) -> ModuleType:
        """The generated module, in float32."""
        model = self.model()
        return runtime.load(derivgen.generate(model, folder / f"{model.name}_kernels.py"))

    def data(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.widths[0])).astype(np.float32)
        if self.loss == "softmax":
            return x, rng.integers(0, self.widths[-1], self.rows)
        if self.loss == "squared":
            return x, rng.standard_normal((self.rows, self.widths[-1])).astype(np.float32)
        return x, rng.integers(0, 2, self.rows).astype(np.float32)

    def parameters(self) -> list[tuple[Array, Array]]:
        """The (weights, bias) of each layer to start from."""
        rng = np.random.default_rng(1)
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return [
            ((rng.standard_normal((i, o)) / np.sqrt(i)).astype(np.float32), np.zeros(o, np.float32)) for i, o in pairs
        ]


WORKLOADS = (
    Workload("2-16-2", (2, 16, 2), "tanh", "softmax", 32),
    Workload("64-64-10", (64, 64, 10), "tanh", "softmax", 32),
    Workload("784-128-10", (784, 128, 10), "tanh", "softmax", 64, 3),
    Workload("784-512-10", (784, 512, 10), "tanh", "softmax", 128, 3),
    Workload("1024-2048-1024", (1024, 2048, 1024), "tanh", "softmax", 256, 3),
    Workload("16 layers of 64", (64,) * 17, "relu", "squared", 32),
    Workload("logistic 30", (30, 1), "identity", "logistic", 32),
)
