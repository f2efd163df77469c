"""A module of float32 computes in float32: read from what LLVM makes of it, where numba's own code is in as well."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numba import config

from derivgen import runtime

KERNELS = Path(__file__).parents[2] / "examples" / "digits" / "digits_kernels.py"

# Arithmetic, comparisons and conversions of float64; moves, shuffles and logic on 64 bits serve other types too.
INSTRUCTION = re.compile(
    r"v?(?:add|sub|mul|div|sqrt|min|max|h?add|h?sub|addsub|dp|cmp\w*|u?comi|round|rndscale|scalef|reduce|range|getexp"
    r"|getmant|fixupimm|rcp14|rsqrt14|fn?m(?:add|sub|addsub|subadd)\d+)[sp]d|v?cvt\w*[sp]d\w*"
)
# A rate comes in double precision, and is rounded once before the loop of the update.
OF_RATES = re.compile(r"define .*|\S+ = fptrunc double %arg\.learning_rate to float")

EPOCH = {"a1_forward", "a1_backward", "z2_forward", "z2_backward", "loss_forward", "loss_backward"}
EPOCH |= {"epoch", "gather", "update_kernel"}  # forward and step are pasted into the epoch


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The example's module with its epoch compiled here: numba keeps no code that can be read in its cache."""
    module = load(KERNELS.read_text(encoding="utf-8"), tmp_path_factory.mktemp("digits"))
    x, y = np.ones((5, 64), np.float32), np.zeros(5, np.int64)
    module.train_epoch(module.initial_parameters(), module.optimizer_state(), np.arange(5), 2, x, y)
    return module


@pytest.fixture(autouse=True, scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that is empty: what comes from one can't be read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def load(text: str, folder: Path) -> ModuleType:
    path = folder / "digits_kernels.py"
    path.write_text(text, encoding="utf-8")
    return runtime.load(path)


def compiled_functions(module: ModuleType) -> dict[str, Any]:
    """By name, those that the epoch called, itself included."""
    functions = {name: getattr(f, "dispatcher", f) for name, f in vars(module).items()}
    return {name: f for name, f in functions.items() if getattr(f, "signatures", ()) and hasattr(f, "inspect_llvm")}


def sections(text: str, head: re.Pattern[str]) -> list[list[str]]:
    """The lines of each function but numba's wrappers, which make float32 of Python's floats, and back."""
    lines = text.splitlines()
    starts = [k for k, line in enumerate(lines) if head.match(line)]
    parts = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    return [part for part in parts if not re.search(r"_ZN7cpython|cfunc\.", part[0])]


def intermediate_lines(function: Any) -> list[str]:
    """Those of LLVM's optimized code that name float64."""
    found = [p for text in function.inspect_llvm().values() for p in sections(text, re.compile(r"define "))]
    assert found
    lines = (line.strip() for part in found for line in part[: part.index("}")] if "double" in line)
    return [line for line in lines if not OF_RATES.fullmatch(line)]


def instructions(function: Any) -> list[str]:
    """The machine's instructions on float64."""
    found = [p for text in function.inspect_asm().values() for p in sections(text, re.compile(r"[^\s.#].*:"))]
    assert found
    words = (line.split()[0] for part in found for line in part if line.startswith("\t"))
    return [word for word in words if INSTRUCTION.fullmatch(word)]


def test_the_epoch_calls_what_is_read_here(digits: ModuleType) -> None:
    assert compiled_functions(digits).keys() >= EPOCH


def test_no_float64_in_the_intermediate_code(digits: ModuleType) -> None:
    found = {name: intermediate_lines(f) for name, f in compiled_functions(digits).items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="looks for x86-64's names of instructions; the intermediate code is read on every machine",
)
def test_no_float64_in_the_machine_code(digits: ModuleType) -> None:
    found = {name: instructions(f) for name, f in compiled_functions(digits).items()}
    for name in ("update_kernel", "epoch"):
        found[name].remove(next(word for word in found[name] if word in ("cvtsd2ss", "vcvtsd2ss")))  # of the rate
    assert {name: words for name, words in found.items() if words} == {}


def test_a_bare_literal_is_noticed(tmp_path: Path) -> None:
    text = KERNELS.read_text(encoding="utf-8")
    assert text.count("(real(1) - a1[n, h]") == 1
    module = load(text.replace("(real(1) - a1[n, h]", "(1.0 - a1[n, h]"), tmp_path)
    work, bar = module.workspace(5), module.views(module.initial_parameters())
    module.a1_backward(work.x, work.a1, work.a1_bar, work.a1_sum_bar, bar["b1"], bar["W1"])
    assert intermediate_lines(module.a1_backward.dispatcher)
    if platform.machine() in ("x86_64", "AMD64"):
        assert instructions(module.a1_backward.dispatcher)


PAIRS = """{mark}
def pairs(x: Real[N], y: Real[N]):
    for i in range(x.shape[0]):
        total = real(0)
        for j in range(i + 1, x.shape[0]):
            total += x[j] * x[i]
        y[i] = total
"""


def test_a_subscript_is_not_taken_from_the_end(tmp_path: Path) -> None:
    """numba chooses between j and j + length otherwise, for each element of a loop that starts at i + 1."""
    text = KERNELS.read_text(encoding="utf-8")
    end = text.index("\n# ---- ")
    module = load(text[:end] + "\n\n" + PAIRS.format(mark="@kernel") + "\n\n" + text[end:], tmp_path)
    x, y = np.arange(1, 6, dtype=np.float32), np.empty(5, np.float32)
    module.pairs(x, y)
    np.testing.assert_array_equal(y, [14, 24, 27, 20, 0])
    (code,) = module.pairs.dispatcher.inspect_llvm().values()
    (own,) = (p for p in sections(code, re.compile(r"define ")))
    assert [line for line in own if re.search(r"select i1 .* i64", line)] == []
