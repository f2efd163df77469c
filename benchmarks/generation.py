"""Processor time to declare and generate long specs, each in a process: `python benchmarks/generation.py`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import sympy as sp

from derivgen import Model
from derivgen.form.as_written import as_written
from derivgen.layers import dense
from derivgen.pipeline import generate_body


def rows(parameters: int) -> tuple[Model, sp.Expr, sp.Expr, sp.Idx]:
    model = Model("long")
    N = model.batch("N")
    n = model.indices(n=N)
    return model, model.input("x", N), model.parameter("p", parameters), n


def minimized(model: Model, e: sp.Expr, n: sp.Idx) -> Model:
    model.minimize(sp.Sum(e, n) / (n.upper + 1))
    return model


def lets(count: int) -> Model:
    model, x, p, n = rows(count)
    value = x[n]
    for k in range(count):
        value = model.let(f"l{k}", n, sp.sin(value) * p[k] + x[n])[n]
    return minimized(model, value**2, n)


def guards(count: int) -> Model:
    model, x, p, n = rows(count + 1)
    terms = (sp.Piecewise((p[k] * x[n] ** 2 + p[k + 1], x[n] > k / 10), (0, True)) for k in range(count))
    return minimized(model, sum(terms) ** 2, n)


def nested(count: int) -> Model:
    model, x, p, n = rows(1)
    e = p[0] * x[n]
    for _ in range(count):
        e = sp.tanh(e)
    return minimized(model, e, n)


def maximum(count: int) -> Model:
    model, x, p, n = rows(count)
    return minimized(model, sp.Max(*(p[k] * x[n] + k for k in range(count))), n)


def layers(count: int) -> Model:
    model = Model("layers")
    N = model.batch("N")
    h = model.input("x", N, 16)
    for k in range(count):
        h = dense(h, 16, sp.tanh, name=f"layer{k}")
    n, j = model.indices(n=N, j=16)
    model.minimize(sp.Sum(h[n, j] ** 2, n, j) / N)
    return model


SHAPES: dict[str, tuple[Callable[[int], Model], tuple[int, ...]]] = {
    "lets": (lets, (50, 100, 300)),
    "guards": (guards, (25, 50, 100)),
    "nested": (nested, (30, 60, 120)),
    "maximum": (maximum, (10, 25, 50)),
    "layers": (layers, (200, 1000, 2000)),
}


def measure(shape: str, count: int) -> None:
    start = time.process_time()
    with as_written():
        model = SHAPES[shape][0](count)
    text = generate_body(model).body
    print(f"{shape:8} {count:5}  {time.process_time() - start:6.2f} s  {len(text) / 1000:7.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        for name, (_, counts) in SHAPES.items():
            for number in counts:
                subprocess.run([sys.executable, __file__, name, str(number)], check=True)
