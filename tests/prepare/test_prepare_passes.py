"""Each pass before differentiation: a program computes the same after it, and worked examples read as they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy as sp
from passes import (
    Case,
    Example,
    Pass,
    assert_same,
    by_name,
    cases,
    check_steps,
    examples_of,
    folder_passes,
    kept,
    outputs_of,
    prepared,
    steps_of,
)
from statements import program_of

import derivgen.prepare
from derivgen.form.as_written import as_written
from derivgen.form.expressions import Read
from derivgen.form.program import Program, Role, Tensor
from derivgen.prepare import shorten as limits
from derivgen.prepare.decaying_sums import decaying_sums
from derivgen.prepare.decays_by_kind import decays_by_kind
from derivgen.prepare.determined import at_determined_indices
from derivgen.prepare.equal_constants import equal_constants, with_equal_ones_told
from derivgen.prepare.matrices import matrices
from derivgen.prepare.modes import in_evaluation, in_training
from derivgen.prepare.powers import powers_of_one
from derivgen.prepare.reach_back import reach_back
from derivgen.prepare.running_sums import running_sums
from derivgen.prepare.shifted_tables import shifted_tables
from derivgen.prepare.shorten import shorten
from derivgen.prepare.stabilize import stabilize
from derivgen.prepare.whole_steps import whole_steps

SHORT = {"REPEATED": 10, "HIGHEST": 4, "BRANCHES": 1, "ARGUMENTS": 2, "FACTORS": 2}  # the formulas of examples are long

LABELS = {"k": Role.LABELS}

# What `decaying_sums` makes of a sum.
OF_EXPONENTIALS = """
layer_step[n] = (y·(x[n - 1] - x[n]) if n ≥ 1 else 0)
layer_high[n] = (max(layer_step[n] + layer_high[n - 1], 0) if n ≥ 1 else 0), n = 0, 1, …
layer_grows[n] = (1 if (n ≥ 1 and not (layer_high[n - 1] ≤ 64) or not (layer_step[n] ≤ 0)) else 0)
layer_factor[n] = (exp(y·(x[n - 1] - x[n])) if n ≥ 1 and not (layer_grows[n] > 0) else 0)
layer_rest[n] += Σ_n2 w[n2]·exp(y·(x[n2] - x[n])) if n2 < n and layer_grows[n] > 0
z[n] = layer_rest[n] + (layer_factor[n]·(z[n - 1] + w[n - 1]) if n ≥ 1 and not (layer_grows[n] > 0) else 0), n = 0, 1, …
"""
OF_POWERS = """
layer_step = y
layer_factor = (y if |layer_step| ≤ 1 else 0)
layer_rest[n] += Σ_n2 y^(n - n2)·w[n2] if n2 < n and not (|layer_step| ≤ 1)
z[n] = layer_rest[n] + w[n] + (z[n - 1]·layer_factor if n ≥ 1 and |layer_step| ≤ 1 else 0), n = 0, 1, …
"""

EXAMPLES: dict[Pass, tuple[Example, ...]] = {
    in_training: (
        Example("z[i] = (w[i] if m > 0 else x[i])", "z[i] = w[i]", roles={"m": Role.MODE}),
        kept("z[i] = w[i]"),
        Example("z[i] += x[i] if m > 0", "z[i] += x[i]", roles={"m": Role.MODE}),
    ),
    in_evaluation: (
        Example("z[i] = (w[i] if m > 0 else x[i])", "z[i] = x[i]", roles={"m": Role.MODE}, same=False),
        Example("z[i] += x[i] if m > 0", "z[i] += x[i] if false", roles={"m": Role.MODE}, same=False),
    ),
    at_determined_indices: (
        Example("f[t] += Σ_n x[n] if t = k[n]", "f[k[n]] += x[n]", LABELS),
        Example("f[n] += Σ_j x[j] if j = k[n]", "f[n] += x[k[n]]", LABELS),
        Example("f[i] += Σ_n (x[n]·y[n] if i = k[n] else 0)", "f[k[n]] += x[n]·y[n] if k[n] < 3", LABELS),
        Example("f[i] += Σ_t x[t] if t = i - 1", "f[i] += x[i - 1] if i - 1 ≥ 0"),
        Example("f[i] += Σ_n x[n] if i = k[n] and y[n] > 0", "f[k[n]] += x[n] if k[n] < 3 and y[n] > 0", LABELS),
        Example(
            """
            a[n,t] = (exp(x[n]) if t = k[n] else 0)
            f[t] += Σ_n a[n,t]·y[t]
            """,
            """
            a[n] = exp(x[n])
            f[k[n]] += y[k[n]]·a[n]
            """,
            LABELS,
        ),
        kept("f[i] += Σ_n i·x[n] if i = k[n]", roles=LABELS),  # a label is no number of a formula
        kept("f[i] += x[i] if i = k[i]", roles=LABELS),  # no sum gets shorter
        kept("f[i] += Σ_n x[n] if 2·i = k[n]", roles=LABELS),
        kept("f[i] += Σ_n x[n] if i ≥ k[n]", roles=LABELS),
    ),
    reach_back: (
        Example(
            """
            a[i] = log(x[i])
            z[i] = (a[i]·w[i] if x[i] > 1 else 0)
            """,
            """
            a[i] = (log(x[i]) if x[i] > 1 else 0)
            z[i] = (a[i]·w[i] if x[i] > 1 else 0)
            """,
        ),
        Example(
            """
            a[i] += Σ_k x[i,k]/s[i]
            z[i] = (a[i]·w[i] if i > 0 else 0)
            v[i] = (a[i]² if i > 1 else 0)
            """,
            """
            a[i] += Σ_k x[i,k]/s[i] if (i > 0 or i > 1)
            z[i] = (a[i]·w[i] if i > 0 else 0)
            v[i] = (a[i]² if i > 1 else 0)
            """,
        ),
        kept(  # where i < 2, all of a is read
            """
            a[o] = log(x[o])
            z[i] = (a[i] if i < 2 else w[i])
            """,
            shapes={"a": "o"},
        ),
        Example(
            """
            a[i,k] = x[i,k]²
            z[i] += Σ_k a[i,k] if k < i
            """,
            """
            a[i,k] = (x[i,k]² if i > k else 0)
            z[i] += Σ_k a[i,k] if k < i
            """,
        ),
        kept("a[i] = log(x[i])\nz[i] = (a[i]·w[i] if x[i] > 1 else a[i])"),
        kept("a[i,t] += Σ_k w[k,t]·x[i,k]\nz[i] += Σ_t a[i,t] if t < i"),
        kept("a[i] = log(x[i])\nz[i] = (a[2 - i]·w[i] if x[i] > 1 else 0)"),
        kept("a[i] = x[i]²\nz[i] = (a[i]·w[i] if x[i] > 1 else 0)"),
        kept("a[i] = log(x[i])\nz[i] = (a[i]·w[i] if x[i] > 1 else 0)", outputs=("a", "z")),
        kept("a[i] = log(x[i])\nz[i] = (w[i] if a[i] > 1 else 0)"),
        kept("a[i] = log(x[i])\nz[i] = (a[i]·w[i] if x[i] > 1 else 0)\nv[i] += w[i] if a[i] > 1"),
    ),
    equal_constants: (
        Example(
            """
            a[i,j] = c[i]·x[i]·c_2[i,j]
            z[i] += Σ_j a[i,j]·c_3[i,j]·d[i,j]
            """,
            """
            a[i,j] = c[i]·x[i]·c_2[i,j]
            z[i] += Σ_j a[i,j]·c_2[i,j]·d[i,j]
            """,
            roles=dict.fromkeys(("c", "c_2", "c_3", "d"), Role.CONSTANT),
        ),
    ),
    with_equal_ones_told: (
        Example(
            "z[i] += Σ_j c[i]·c_2[i,j]·c_3[i,j]",
            """
            c_3[i,j] = c_2[i,j]
            z[i] += Σ_j c_3[i,j]·c[i]·c_2[i,j]
            """,
            roles=dict.fromkeys(("c", "c_2", "c_3"), Role.CONSTANT),
        ),
        kept("z[i] = c[i]·d[i]", roles=dict.fromkeys("cd", Role.CONSTANT)),
    ),
    shifted_tables: (
        Example(
            "z[i] = x[f[3·i + 1]]·y[i]",
            "z[i] = y[i]·(x[3·i + 2] if i < 2 else x[3·i - 6])",
            shapes={"x": "8"},
            tables={"f": [1, 2, 3, 4, 5, 6, 7, 0]},
        ),
        Example(
            "z[i] = w[f[i + 5]] + exp(x[i,f[i] + 2])",
            "z[i] = exp(x[i,i + 3]) + (w[i + 6] if i < 2 else w[i - 2])",
            shapes={"x": "3 10", "w": "8"},
            tables={"f": [1, 2, 3, 4, 5, 6, 7, 0]},
        ),
        Example(
            "z[i] = (log(x[f[i]]) if i ≥ 1 else w[f[i]])",
            "z[i] = (log(x[i - 1]) if i ≥ 1 else w[i])",
            shapes={"x": "8", "w": "8"},
            tables={"f": [0, 0, 1, 2, 3, 4, 5, 6]},
        ),
        Example("z[i] = x[f[i]]", "z[i] = x[14 - 2·i]", shapes={"x": "15"}, tables={"f": [14, 12, 10, 8]}),
        kept("z[i] = x[f[i]]", shapes={"x": "8"}, tables={"f": [1, 2, 0, 3]}),
        kept("z[i] = x[f[i]]", shapes={"x": "8"}, tables={"f": [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]}),
        kept("z[i] = (x[i] if x[f[i]] > 1 else 0)", shapes={"x": "8"}, tables={"f": [7, 6, 5, 4]}),
    ),
    whole_steps: (
        Example(
            """
            a[t,i] = (z[t - 1,i] if t ≥ 1 else 0), t = 0, 1, …
            b[t,j] += Σ_i a[t,i]·w[i,j] if t > 0, t = 0, 1, …
            c[t] = max_i exp(a[t,i]) if t > 0 and x[t] > 1, t = 0, 1, …
            z[t,i] = (b[t,i] + (c[t] if x[t] > 1 else 0) if t > 0 else y[i]), t = 0, 1, …
            """,
            """
            a[t,i] = (z[t - 1,i] if t ≥ 1 else 0), t = 0, 1, …
            b[t,j] += Σ_i a[t,i]·w[i,j], t = 0, 1, …
            c[t] = max_i exp(a[t,i]) if x[t] > 1, t = 0, 1, …
            z[t,i] = (b[t,i] + (c[t] if x[t] > 1 else 0) if t > 0 else y[i]), t = 0, 1, …
            """,
            shapes={"b": "4 4"},
        ),
        Example(
            """
            a[t,i] = (z[t + 1,i] if t < 3 else -1), t = …, 1, 0
            b[t] += Σ_i a[t,i]² if t < 3, t = …, 1, 0
            z[t,i] = (b[t] if t < 3 else y[i]), t = …, 1, 0
            """,
            """
            a[t,i] = (z[t + 1,i] if t < 3 else -1), t = …, 1, 0
            b[t] += Σ_i a[t,i]², t = …, 1, 0
            z[t,i] = (b[t] if t < 3 else y[i]), t = …, 1, 0
            """,
        ),
        kept(
            """
            a[t,i] = (z[t - 1,i] if t ≥ 1 else y[i]), t = 0, 1, …
            b[t] += Σ_i a[t,i]² if t > 0, t = 0, 1, …
            z[t,i] = (b[t] if t > 0 else 0), t = 0, 1, …
            """
        ),
        kept(
            """
            a[t,i] = (z[t - 1,i] if t ≥ 1 else 0), t = 0, 1, …
            b[t] += Σ_i 1/a[t,i] if t > 0, t = 0, 1, …
            z[t,i] = (b[t] if t > 0 else 1), t = 0, 1, …
            """
        ),
        kept(
            """
            a[t,i] = (z[t - 1,i] if t ≥ 1 else 0), t = 0, 1, …
            b[t] += Σ_i exp(a[t,i]) if t > 0, t = 0, 1, …
            z[t,i] = b[t] + x[i], t = 0, 1, …
            """
        ),
        kept(
            """
            a[t,i] = (z[t - 1,i] if t ≥ 1 else 0), t = 0, 1, …
            b[t] += Σ_i a[t,i]² if t > 1, t = 0, 1, …
            z[t,i] = (b[t] if t > 1 else 1), t = 0, 1, …
            """
        ),
    ),
    powers_of_one: (
        Example(
            "z[i] = x[i]^(2·y[i]) + x[i]^y[i]·w[i] - x[i]^(-3·y[i])",
            """
            layer_power[i] = x[i]^y[i]
            z[i] = layer_power[i]·w[i] + layer_power[i]² - 1/layer_power[i]³
            """,
        ),
        Example(
            "z[i] += Σ_j (x[j]^(1/2 - y[j]/2)·w[i] + (x[j]^(y[j] - 1) if w[i] > 1 else 0)) if i ≤ j",
            """
            layer_power[j] = x[j]^(1/2 - y[j]/2)
            z[i] += Σ_j (layer_power[j]·w[i] + (1/layer_power[j]² if w[i] > 1 else 0)) if i ≤ j
            """,
        ),
        kept("z[i] = x[i]^(2·y[i]) + x[i]^(3·y[i])"),
        kept("z[i] = w[i]^(2·y[i]) + x[i]^(y[i] + 1) + x[i]^y[i]"),
        kept("z[i] = (x[i]^y[i] if x[i] > 0 else x[i]^(2·y[i]))"),
        kept("z[i] = x[i]^(9·y[i]) + x[i]^y[i]"),
    ),
    matrices: (
        Example(
            "z[n,i] += Σ_j x[n,j]·exp(w[i,j])",
            """
            layer_exp[i,j] = exp(w[i,j])
            z[n,i] += Σ_j layer_exp[i,j]·x[n,j]
            """,
        ),
        Example(
            "z[n,i] += Σ_j (x[n,j]·(tanh(w[i,j]) + 2) - y[n,j]·tanh(w[i,j]))",
            """
            layer_part[i,j] = tanh(w[i,j]) + 2
            layer_tanh[i,j] = tanh(w[i,j])
            z[n,i] += Σ_j (layer_part[i,j]·x[n,j] - layer_tanh[i,j]·y[n,j])
            """,
        ),
        kept("z[n,i] += Σ_j w[i,j]²·x[n,j]"),
        kept("z[n,i] += Σ_j x[n,j]·exp(w[j])"),
        kept("z[n,i] += Σ_j x[n]·exp(w[i,j])"),
        kept("z[i] += Σ_j x[j]·exp(w[i,j])"),
        kept("z[n,i] += Σ_j x[n,j]·exp(w[i,j]) if x[n,j] > 1"),
    ),
    decays_by_kind: (
        Example(
            "z[n] += Σ_n2 w[k[n],k[n2]]·y[n2]·exp(x[n2] - x[n]) if n > n2",
            """
            layer_kind[n,c] += Σ_n2 y[n2]·exp(x[n2] - x[n]) if n > n2 and k[n2] = c
            z[n] += Σ_c w[k[n],c]·layer_kind[n,c]
            """,
            LABELS,
        ),
        Example(
            "z[n] += Σ_n2 exp(v[k[n]]·(x[n2] - x[n])) if n > n2",
            """
            layer_kind[n,c] += Σ_n2 exp(v[c]·(x[n2] - x[n])) if n > n2
            z[n] += layer_kind[n,k[n]]
            """,
            LABELS,
        ),
        Example(
            "z[n] += Σ_n2 exp(x[n2] + y[n] - x[n]) if n > n2",
            """
            layer_part[n] += Σ_n2 exp(x[n2] - x[n]) if n > n2
            z[n] += layer_part[n]·exp(y[n])
            """,
        ),
        kept("z[n] += Σ_n2 exp(x[n2] - x[n])/y[n] if n > n2"),
        kept("z[n] += Σ_n2 v[k[n2]]·exp(x[n2] - x[n]) if n > n2", roles=LABELS),  # which decays as it stands
        kept("z[n] += Σ_n2 w[k[n],k[n2]]·exp(-(x[n2] - x[n])²) if n > n2", roles=LABELS),
    ),
    decaying_sums: (
        Example(
            "z[n] += Σ_n2 w[n2]·exp(y·(x[n2] - x[n])) if n > n2",
            OF_EXPONENTIALS,
        ),
        Example(
            "z[n] += Σ_n2 y^(n - n2)·w[n2] if n ≥ n2",
            OF_POWERS,
        ),
        Example(
            "z[n] += Σ_n2 exp(n - n2)·x[n2] if n ≤ n2",
            "z[n] = x[n] + (exp(-1)·z[n + 1] if N > n + 1 else 0), n = …, 1, 0",
        ),
        kept("z[n] += Σ_n2 exp(n2 - n)·x[n2] if n ≤ n2"),
        kept("z[i] += Σ_i2 exp(i2 - i)·x[i2] if i ≥ i2"),  # of 3
        kept("z[n] += Σ_n2 exp(n2 - n)·x[n] if n ≥ n2"),
        kept("z[n] += Σ_n2 exp(-(x[n] - x[n2])²) if n ≥ n2"),
    ),
    running_sums: (
        Example(
            "z[i] += Σ_i2 w[i2]·x[i2] if i2 ≥ i",
            "z[i] = w[i]·x[i] + (z[i + 1] if i < 2 else 0), i = …, 1, 0",
        ),
        Example("z[k,i] += Σ_i2 x[i2,k] if i2 ≤ i", "z[k,i] = x[i,k] + (z[k,i - 1] if i ≥ 1 else 0), i = 0, 1, …"),
        Example("z[i] += Σ_i2 x[i2] if i2 > i", "z[i] = (z[i + 1] + x[i + 1] if i < 2 else 0), i = …, 1, 0"),
        Example("z[i] += Σ_i2 x[i2] if i2 < i", "z[i] = (z[i - 1] + x[i - 1] if i ≥ 1 else 0), i = 0, 1, …"),
        Example(
            """
            z[i] += Σ_i2 w[i2]·exp(x[i2]) if i2 ≥ i
            v[i] = log(z[i])
            """,
            """
            layer_max[i] = (max(layer_max[i + 1], x[i]) if i < 2 else x[i]), i = …, 1, 0
            layer_factor[i] = (exp(layer_max[i + 1] - layer_max[i]) if i < 2 else 0)
            layer_exp[i] = w[i]·exp(x[i] - layer_max[i])
            layer_sum[i] = layer_exp[i] + (layer_factor[i]·layer_sum[i + 1] if i < 2 else 0), i = …, 1, 0
            z[i] = layer_sum[i]·exp(layer_max[i])
            v[i] = log(z[i])
            """,
        ),
        Example(
            """
            z[i,k] += Σ_i2 w[i2,k]·exp(x[i2]) if i2 < i
            v[i] += Σ_i2 exp(x[i2]) if i2 < i
            y[i,k] = z[i,k]/v[i]
            """,
            """
            layer_max[i] = (max(layer_max[i - 1], x[i]) if i ≥ 1 else x[i]), i = 0, 1, …
            layer_factor[i] = (exp(layer_max[i - 1] - layer_max[i]) if i ≥ 1 else 0)
            layer_exp[i,k] = w[i,k]·exp(x[i] - layer_max[i])
            layer_sum[i,k] = layer_exp[i,k] + (layer_factor[i]·layer_sum[i - 1,k] if i ≥ 1 else 0), i = 0, 1, …
            layer_before[i] = (layer_max[i - 1] if i ≥ 1 else 0)
            layer_before_2[i,k] = (layer_sum[i - 1,k] if i ≥ 1 else 0)
            z[i,k] = layer_before_2[i,k]·exp(layer_before[i])
            layer_exp_2[i] = exp(x[i] - layer_max[i])
            layer_sum_2[i] = layer_exp_2[i] + (layer_factor[i]·layer_sum_2[i - 1] if i ≥ 1 else 0), i = 0, 1, …
            layer_before_3[i] = (layer_sum_2[i - 1] if i ≥ 1 else 0)
            v[i] = layer_before_3[i]·exp(layer_before[i])
            y[i,k] = z[i,k]/v[i]
            """,
        ),
        Example(
            "z[i] += Σ_i2 w[i2]·exp(x[i2]) if i2 ≥ i",
            """
            layer_term[i2] = w[i2]·exp(x[i2])
            z[i] = layer_term[i] + (z[i + 1] if i < 2 else 0), i = …, 1, 0
            """,
        ),
        Example(
            "z[i] += Σ_i2,k x[k]·w[i2,k] if i2 ≤ i and x[k] > 0",
            """
            layer_term[i2] += Σ_k x[k]·w[i2,k] if x[k] > 0
            z[i] = layer_term[i] + (z[i - 1] if i ≥ 1 else 0), i = 0, 1, …
            """,
        ),
        Example(
            """
            a[k,i] = (z[k - 1,i] if k ≥ 1 else 0), k = 0, 1, …
            v[k,i] += Σ_i2 a[k,i2]·x[i2] if i2 ≤ i and w[i2] > 0, k = 0, 1, …
            z[k,i] = tanh(v[k,i]), k = 0, 1, …
            """,
            """
            a[k,i] = (z[k - 1,i] if k ≥ 1 else 0), k = 0, 1, …
            layer_term[k,i2] = (a[k,i2]·x[i2] if w[i2] > 0 else 0), k = 0, 1, …
            v[k,i] += Σ_i2 layer_term[k,i2] if i2 ≤ i, k = 0, 1, …
            z[k,i] = tanh(v[k,i]), k = 0, 1, …
            """,
        ),
        kept(
            """
            z[i] += Σ_i2 w[i2]·exp(x[i2]) if i2 ≥ i and w[i2] > 0
            v[i] = log(z[i])
            """
        ),
        kept("z[i] += Σ_i2 x[i2]·y[i] if i2 ≥ i"),
        kept("z[i] += Σ_k x[k] if k ≥ i"),
        Example("z[i] += Σ_i2 x[i2] if i2 ≥ i + 1", "z[i] = (z[i + 1] + x[i + 1] if i < 2 else 0), i = …, 1, 0"),
    ),
    stabilize: (
        Example(
            """
            s += Σ_i exp(x[i])
            z = log(s)
            """,
            """
            layer_max = max_i x[i]
            layer_shift[i] = x[i] - layer_max
            layer_exp[i] = exp(layer_shift[i])
            s += Σ_i layer_exp[i]
            z = log(s) + layer_max
            """,
        ),
        Example(
            """
            s[i] += Σ_j v[j]·exp(x[i,j]) if i ≥ j
            z[i] = log(s[i])
            """,
            """
            layer_max[i] = max_j x[i,j] if i ≥ j
            layer_shift[i,j] = (x[i,j] - layer_max[i] if i ≥ j else 0)
            layer_exp[i,j] = (exp(layer_shift[i,j]) if i ≥ j else 0)
            s[i] += Σ_j layer_exp[i,j]·v[j] if i ≥ j
            z[i] = log(s[i]) + layer_max[i]
            """,
        ),
        Example(
            """
            s[i,k] += Σ_j exp(x[i,j] + y[j,k])
            z[i,k] = log(s[i,k])
            """,
            """
            layer_max[i] = max_j x[i,j]
            layer_shift[i,j] = x[i,j] - layer_max[i]
            layer_exp[i,j] = exp(layer_shift[i,j])
            layer_max_2[k] = max_j y[j,k]
            layer_shift_2[k,j] = y[j,k] - layer_max_2[k]
            layer_exp_2[k,j] = exp(layer_shift_2[k,j])
            layer_product[i,k] += Σ_j layer_exp[i,j]·layer_exp_2[k,j]
            layer_max_3[i,k] = max_j (x[i,j] + y[j,k]) if not (layer_product[i,k] > 1e-18)
            layer_sum[i,k] += (layer_product[i,k] if layer_product[i,k] > 1e-18 else 0)
            layer_sum[i,k] += Σ_j exp(x[i,j] + y[j,k] - layer_max_3[i,k]) if not (layer_product[i,k] > 1e-18)
            z[i,k] = (layer_max[i] + layer_max_2[k] if layer_product[i,k] > 1e-18 else layer_max_3[i,k]) + log(layer_sum[i,k])
            """,  # noqa: E501
            roles={"s": Role.HELPER},
        ),
        Example("z[i] = 1/(exp(-x[i]) + 1)", "z[i] = sigmoid(x[i])"),
        Example("z[i] = exp(x[i])/(exp(x[i]) + 1)", "z[i] = sigmoid(x[i])"),
        Example("z[i] = 1 - sigmoid(x[i])", "z[i] = sigmoid(-x[i])"),
        Example("z[i] = log(exp(x[i]) + 1)", "z[i] = softplus(x[i])"),
        Example("z[i] = log(exp(x[i]) + exp(y[i]))", "z[i] = logaddexp(x[i], y[i])"),
        Example("z[i] = log(x[i] + 1)", "z[i] = log1p(x[i])"),
        Example("z[i] = x[i]·log(x[i])", "z[i] = xlogy(x[i], x[i])"),
        Example("z[i] = 3·exp(x[i]) - 3", "z[i] = 3·expm1(x[i])"),
        Example("z[i] = exp(x[i]) - exp(-x[i])", "z[i] = 2·sinh(x[i])"),
        Example("z[i] = (exp(x[i]) - exp(-x[i]))/(exp(-x[i]) + exp(x[i]))", "z[i] = tanh(x[i])"),
        Example("z[i] = 1 - erf(x[i])", "z[i] = erfc(x[i])"),
        Example("z[i] = erf(x[i]) + 1", "z[i] = erfc(-x[i])"),
        Example("z[i] = exp(-y[i])·exp(x[i])", "z[i] = exp(x[i] - y[i])"),
        Example(
            "z[i] = log(cosh(x[i]))",
            "z[i] = (log1p(sinh(x[i])²)/2 if |x[i]| < 1 else |x[i]| + log1p(exp(-2·|x[i]|)) - log(2))",
        ),
        kept("z[i] = exp(x[i]) + 1"),
        kept("z[i] = 2 - sigmoid(x[i])"),
        kept("z[i] = exp(x[i]) - exp(-y[i])"),
    ),
    shorten: (
        Example(
            "z[i] = (w[i]·y[i] + x[i])²",
            """
            layer_part[i] = w[i]·y[i] + x[i]
            z[i] = layer_part[i]²
            """,
        ),
        Example(
            "z[i] = max(v[i], x[i], y[i])",
            """
            layer_arguments[i,0] = v[i]
            layer_arguments[i,1] = x[i]
            layer_arguments[i,2] = y[i]
            layer_largest[i] = max_k layer_arguments[i,k]
            z[i] = layer_largest[i]
            """,
        ),
        Example(
            "z[i] = min(v[i], x[i], y[i])",
            """
            layer_arguments[i,0] = -v[i]
            layer_arguments[i,1] = -x[i]
            layer_arguments[i,2] = -y[i]
            layer_largest[i] = max_k layer_arguments[i,k]
            z[i] = -layer_largest[i]
            """,
        ),
        Example(
            "z[i] = (x[i] if y[i] > 1 else (y[i] if v[i] > 1 else w[i]))",
            """
            layer_reached[i] = (1 if not (y[i] > 1) else 0)
            layer_reached_2[i] = (1 if layer_reached[i] > 0 and not (v[i] > 1) else 0)
            layer_part[i] = ((y[i] if v[i] > 1 else w[i]) if layer_reached[i] > 0 else 0)
            z[i] = (x[i] if y[i] > 1 else layer_part[i])
            """,
        ),
        Example(
            "z[i] = exp(sin(cos(exp(sin(x[i])))))",
            """
            layer_part[i] = cos(exp(sin(x[i])))
            z[i] = exp(sin(layer_part[i]))
            """,
        ),
        Example(
            "z[i] = v[i]·x[i]·y[i]",
            """
            layer_part[i] = v[i]·x[i]
            z[i] = layer_part[i]·y[i]
            """,
        ),
        kept("z[i] = y[i]·sin(x[i])"),
    ),
}


@pytest.mark.parametrize(("run", "example"), examples_of(EXAMPLES))
def test_example(run: Pass, example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SHORT.items():
        monkeypatch.setattr(limits, name, value)
    example.check(run)


def test_every_pass_has_an_example() -> None:
    assert {*EXAMPLES} == {*folder_passes(derivgen.prepare)}


@pytest.mark.parametrize("run", by_name([reach_back, stabilize]))
def test_same_values(run: Pass) -> None:
    assert check_steps(run, prepared())


@pytest.mark.parametrize("run", by_name([shorten]))
def test_same_values_of_short_formulas(run: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SHORT.items():
        monkeypatch.setattr(limits, name, value)
    changed = 0
    for step in steps_of(run, prepared()):
        shortened = run(step.before)
        changed += shortened != step.before
        assert_same(step.case.outputs(step.before), step.case.outputs(shortened))
    assert changed


@pytest.mark.parametrize(
    ("run", "training"), [(in_training, 1), (in_evaluation, 0)], ids=lambda x: getattr(x, "__name__", None)
)
def test_same_values_in_a_mode(run: Pass, training: int) -> None:
    """The program in one mode is the one with modes where `model.training` is that number."""
    for case in cases():
        program, sizes = with_modes(case), dict(case.spec.runtime)
        wanted = outputs_of(program, {**case.values, "training": training}, sizes)
        assert_same(wanted, outputs_of(run(program), case.values, sizes))


@as_written()
def with_modes(case: Case) -> Program:
    """The declared program with something else in evaluation, in every other statement."""
    program = case.declared
    training = Tensor("training", (), Role.MODE, integer=True)
    statements = [
        replace(s, expression=sp.Piecewise((s.expression, sp.Eq(Read("training"), 1)), (s.expression / 3 - 1, True)))
        if k % 2 == 0
        else s
        for k, s in enumerate(program.statements)
    ]
    return program.with_statements(statements, [training])


def test_a_copy_in_one_mode_is_a_part_there() -> None:
    program = program_of("z[i] = (w[i] if m > 0 else x[i]²)", roles={"m": Role.MODE, "z": Role.LET})
    assert in_training(program).tensor("z").role is Role.HELPER
    assert in_evaluation(program).tensor("z").role is Role.LET


def test_running_tensors_stay_as_they_are_in_evaluation() -> None:
    program = program_of("z[i] = w[i]/2 + m", roles={"m": Role.MODE, "w": Role.RUNNING})
    program = replace(program, running=(("w", "z"),))
    assert in_training(program).running == (("w", "z"),)
    assert in_evaluation(program).running == ()


@pytest.mark.parametrize(
    "example",
    [
        Example(
            "z[t,i] = max(z[t - 1,i], x[i]/y[i]) if t > 0, t = 0, 1, …",
            """
            layer_part[t,i] = (x[i]/y[i] if t > 0 else 0), t = 0, 1, …
            z[t,i] = max(z[t - 1,i], layer_part[t,i]) if t > 0, t = 0, 1, …
            """,
        ),
        kept("z[t,i] = max(z[t - 1,i], x[i]·y[i]) if t > 0, t = 0, 1, …"),  # which has one rounding
        kept("z[i] = max(v[i], x[i]/y[i])"),  # in no steps
    ],
)
def test_shorten_stores_what_a_maximum_in_steps_may_round_otherwise(example: Example) -> None:
    example.check(shorten)


@pytest.mark.parametrize(
    "example",
    [
        Example(
            "z[i] = log(exp((w[i] if y[i] > 1 else -10)) + exp(v[i]))",
            """
            layer_part[i] = (w[i] if y[i] > 1 else -10)
            z[i] = log(exp(layer_part[i]) + exp(v[i]))
            """,
        ),
        kept("z[i] = v[i] + exp((w[i] if y[i] > 1 else -10))"),  # in one call
        kept("z[i] = log(exp((1 if y[i] > 1 else -10)) + exp(v[i]))"),  # has no derivative
        kept("z[i] = (log(exp(v[i]) + 1) if y[i] > 1 else exp(v[i]))"),  # has calls inside
    ],
)
def test_shorten_stores_a_branch_inside_of_several_calls(example: Example) -> None:
    example.check(shorten)
