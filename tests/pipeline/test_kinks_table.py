"""docs/spec.md's table of kinks: each row has tests."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

SPEC = Path(__file__).parents[2] / "docs" / "spec.md"

# A row begins so: test file and table, or test file and function, that show it.
ROWS = {
    "`Max(u, 0)` at u = 0": ["conventions.KINKS.relu", "activations.KINKS.relu"],
    "`Max`, `Min`, arguments tie": [
        "conventions.KINKS.a constant wins a tie",
        "conventions.KINKS.tied variables share",
        "layers_stability.KINKS.maximum",
        "layers_stability.KINKS.minimum",
    ],
    "`Abs(u)` at 0": ["conventions.KINKS.absolute value", "layers_stability.KINKS.absolute value"],
    "`Min(Max(u, a), b)`": ["layers_stability.test_clipping_has_derivative_0_at_its_bounds"],
    "`threshold`": [f"activations.KINKS.{name}" for name in ("threshold", "hard_shrink", "soft_shrink")],
    "`relu6`": [
        f"activations.KINKS.{name}" for name in ("relu6", "hard_tanh", "hard_sigmoid", "hard_swish", "sparse_sigmoid")
    ],
    "`leaky_relu`": [
        *(f"activations.KINKS.{name}" for name in ("leaky_relu", "elu", "selu", "celu")),
        "layers_stability.KINKS.prelu",
    ],
    "`mean_absolute_error`": ["layers_stability.KINKS.mean_absolute_error", "losses.KINKS.penalty"],
    "`huber`": ["layers_stability.KINKS.huber", "losses.KINKS.huber at delta"],
    "`smooth_l1`": ["losses_arguments.KINKS.smooth_l1 at beta"],
    "`quantile`": ["losses.KINKS.quantile"],
    "`hinge`": [
        *(f"losses.KINKS.{name}" for name in ("hinge", "squared hinge", "multi-class hinge", "triplet at its margin")),
        *(f"losses_arguments.KINKS.{name}" for name in ("multi_label_margin", "margin_ranking", "contrastive")),
        *(f"losses_arguments.KINKS.{name}" for name in ("hinge_embedding at its margin", "cosine_embedding")),
    ],
    "`cosine`": ["losses.KINKS.cosine with a zero", "layers_stability.KINKS.cosine of a zero"],
    "`MaxOver`": ["conventions.test_a_maximum_gives_all_to_the_first_on_a_tie", "layers_stability.KINKS.MaxOver"],
    "`cummax`": ["layers_cumulative.test_a_tie_of_maxima_shares_the_derivative"],
    "max pools": [
        "layers_windows.test_the_first_of_equal_maxima_takes_all",
        *(f"layers_stability.KINKS.{name}" for name in ("max_pool1d", "max_pool2d", "global_max_pool")),
    ],
    "Lp pools": [
        "layers_pools.test_lp_pool_of_zeros_has_no_derivative",
        "layers_pools.test_global_lp_pool_of_zeros_has_no_derivative",
    ],
    "`sqrt` of a sum of squares": [
        "conventions.KINKS.root of squares",
        "layers_stability.KINKS.norm",
        "norms.test_powers_of_a_norm_have_finite_derivatives_at_0",
    ],
    "`weight_norm`": ["layers_norm_options.test_zeros_have_no_norm_to_divide_by"],
    "`layer_norm`": [
        "layers_normalization.test_layer_norm_of_a_constant_row",
        "layers_stability.EXTREME.layer_norm of constant rows",
        "layers_stability.EXTREME.group_norm of constant groups",
        "layers_stability.EXTREME.instance_norm of constant channels",
        "layers_stability.AS_TORCH.batch_norm of a constant channel",
        "layers_stability.AS_TORCH.rms_norm of zeros",
    ],
    "a softmax over nothing": [
        "layers_stability.test_a_softmax_over_nothing_is_0_in_the_oracle",
        "layers_stability.EXTREME.attention that sees nothing",
    ],
    "`floor`": ["conventions.KINKS.floor", "conventions.KINKS.sign", "layers_stability.KINKS.rounding"],
    "`Mod(u, v)`": [
        "conventions.KINKS.mod",
        "layers_stability.test_the_remainder_has_derivative_0_where_it_is_0",
    ],
    "`u**v` by u": ["layers_stability.KINKS.power"],
    "`u**v` by v": ["conventions.KINKS.exponent at base 0", "layers_stability.KINKS.power"],
    "`Piecewise`": ["conventions.KINKS.branch not taken"],
    "a factor that is 0 by its guard": ["conventions.KINKS.root of relu"],
    "a let read only under a guard": ["conventions.test_a_let_read_under_a_guard_is_differentiated_under_it"],
    "NaN": ["conventions.test_nan_passes_through", "activations.test_nan_passes_through"],
}


def rows() -> list[str]:
    """The first cells of the table."""
    section = SPEC.read_text(encoding="utf-8").split("## Kinks and conventions\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\)\|", line)[1].strip() for line in lines[1:]]


@pytest.mark.parametrize("row", rows())
def test_each_row_has_tests(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("layers", "prepare"):
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / folder))
    (beginning,) = [beginning for beginning in ROWS if row.startswith(beginning)]
    for test in ROWS[beginning]:
        file, what, *case = test.split(".")
        found = getattr(importlib.import_module(f"test_{file}"), what)
        assert callable(found) or case[0] in found, test


def test_each_entry_has_a_row() -> None:
    assert [beginning for beginning in ROWS if not any(row.startswith(beginning) for row in rows())] == []
