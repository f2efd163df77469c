"""A generation that takes long says where it is; one that does not is silent."""

from __future__ import annotations

import cProfile
import pstats
import time

import sympy as sp

from derivgen import Model, stages
from derivgen.layers import dense
from derivgen.pipeline import generate_body


def layers(count: int) -> Model:
    model = Model("stack")
    N = model.batch("N")
    x = model.input("x", N, 4)
    for k in range(count):
        x = dense(x, 4, sp.tanh, name=f"layer{k}")
    n, h = model.indices(n=N, h=4)
    model.minimize(sp.Sum(x[n, h] ** 2, n, h) / N)
    return model


def test_a_long_generation_says_its_stage_and_its_layer() -> None:
    said: list[str] = []
    with stages.announced(said.append, long=0.02):
        generate_body(layers(30))
    assert len(said) > 3 and all(line.startswith("generating for ") for line in said)
    assert any(", layer layer" in line for line in said)


def test_a_short_one_and_what_is_no_generation_say_nothing() -> None:
    said: list[str] = []
    with stages.announced(said.append, long=5):
        generate_body(layers(1))
    with stages.announced(said.append, long=0.01):
        time.sleep(0.1)
    assert said == []


def test_a_command_that_generates_no_module_counts_from_its_start(monkeypatch) -> None:
    monkeypatch.setattr(stages, "HERE", stages.Place())
    said: list[str] = []
    with stages.announced(said.append, long=0.05):
        for _ in range(20):
            stages.reached("count")
            time.sleep(0.01)
    assert said and all(line == "generating for 0 s: count" for line in said)


def test_work_grows_as_the_layers_do() -> None:
    """Four times as many equal layers are some four times as much work; growth with the square would be sixteen."""

    def calls(count: int) -> int:
        model = layers(count)
        with cProfile.Profile() as profile:
            generate_body(model)
        return pstats.Stats(profile).total_calls

    assert calls(100) < 5 * calls(25)
