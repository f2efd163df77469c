"""Each pass that makes better loops: a program computes the same after it, and worked examples read as they should."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from passes import (
    SIZES,
    Example,
    Pass,
    arranged,
    assert_same,
    by_name,
    check_steps,
    drawn,
    examples_of,
    kept,
    outputs_of,
    passes_of,
    stepped,
    steps_of,
)
from statements import program_of

from derivgen.arrange import arrange, axes_order, contractions, order_of_sums, products, transposes
from derivgen.arrange.arrange import read_earlier_again, recompute_differences, share_calls
from derivgen.arrange.axes_order import axes_in_order
from derivgen.arrange.neighbours import factors_with_neighbours, share_with_neighbours
from derivgen.arrange.order_of_sums import sums_first
from derivgen.arrange.products import contract_products
from derivgen.arrange.shifts import invert_shifts
from derivgen.arrange.sums_in_steps import sums_in_steps
from derivgen.arrange.time_major import time_major
from derivgen.arrange.transposes import transposed_for_reuse
from derivgen.form.as_written import as_written
from derivgen.form.check import check_program
from derivgen.form.program import Program, Role
from derivgen.rewrite.conditions import assign_under_guards

PASSES = passes_of(arrange)
PRODUCTS = 60
CHEAP_COPIES = {"is_few": lambda extent: False, "FEW": 3, "REUSE": 4, "PRICE": 0.1, "MANY": 6, "SHARE": 0}
SCATTERED = 40

NEIGHBOURS = (share_with_neighbours, factors_with_neighbours)
UNLIKELY = (contract_products, transposed_for_reuse, *NEIGHBOURS)  # in random programs, whose tensors are small
EXAMPLES: dict[Pass, tuple[Example, ...]] = {
    recompute_differences: (
        Example(
            """
            d[i] = x[i] - y[i]
            z[i] = d[i]·w[i]
            v[i] = d[2 - i] + w[i]
            """,
            """
            z[i] = w[i]·(x[i] - y[i])
            v[i] = w[i] + (x[2 - i] - y[2 - i])
            """,
        ),
        Example(
            """
            d[i,j] += x[i,j] - y[i] if i ≥ j
            z[i,j] += exp(d[i,j]) if i ≥ j
            """,
            "z[i,j] += exp(x[i,j] - y[i]) if i ≥ j",
        ),
        kept("d[i] = x[i] + y[i]\nz[i] = d[i]·w[i]"),
        kept("d[i] = x[i] - y[i]²\nz[i] = d[i]·w[i]"),
        kept("d[i] = x[i] - y[i]\nz[i] = d[i]·w[i]", outputs=("d", "z")),
        kept("d[i] += x[i] - y[i] if i > 0\nz[i] = d[i]·w[i]"),
    ),
    assign_under_guards: (
        Example("z[i] += x[i] if i > 0", "z[i] = (x[i] if i > 0 else 0)"),
        kept("z[i] += x[i] if i > 0\nz[i] += y[i]"),
        kept("z[i,j] += x[i,j] if i ≥ j"),  # the loop over j ends at i
        kept("z[i] += Σ_j x[i,j] if i > 0"),
        kept("z[i,i] += x[i] if i > 0"),
    ),
    share_calls: (
        Example(
            "a[i,k] = x[i,k]·exp(y[i])",
            """
            layer_exp[i] = exp(y[i])
            a[i,k] = layer_exp[i]·x[i,k]
            """,
        ),
        Example(
            """
            a[i] = x[i]·exp(y[i])
            b[i] = v[i]·exp(y[i])
            """,
            """
            layer_exp[i] = exp(y[i])
            a[i] = layer_exp[i]·x[i]
            b[i] = layer_exp[i]·v[i]
            """,
        ),
        Example(  # parts of a tensor
            """
            a[i,0] = cos(y[i])
            a[i,1] = -sin(y[i])
            a[i,2] = sin(y[i])
            a[i,3] = cos(y[i])
            """,
            """
            layer_cos[i] = cos(y[i])
            a[i,0] = layer_cos[i]
            layer_sin[i] = sin(y[i])
            a[i,1] = -layer_sin[i]
            a[i,2] = layer_sin[i]
            a[i,3] = layer_cos[i]
            """,
            shapes={"a": "3 4"},
        ),
        kept("a[i,0] = cos(y[i])\na[i,1] = sin(y[i])", shapes={"a": "3 2"}),
        kept("a[i] = exp(y[i])\nb[i] = v[i]·exp(y[i])"),  # b can read a
        kept("a[i] = x[i]·exp(y[i])\nb[i] = v[i]·exp(y[i] + 1)"),
        kept("a[i] = x[i]·exp(y[i])\nb_bar[i] = v[i]·exp(y[i])"),  # of two passes
        kept("a[i] = x[i]·exp(y[i])\nb[j] = v[j]·exp(y[j])", shapes={"y": "4"}),
        kept("a[i,k] = (x[i,k]·log(y[i]) if y[i] > 1 else 0)"),
    ),
    share_with_neighbours: (
        Example(
            """
            s += Σ_i √(x[i]² + 1)
            z[i] += y[i]/√(x[i]² + 1)
            z[i + 1] += w[i]/√(x[i]² + 1) if i < 2
            """,
            """
            s += Σ_i √(x[i]² + 1)
            layer_over_root[i] = 1/√(x[i]² + 1)
            z[i] += layer_over_root[i]·y[i]
            z[i + 1] += layer_over_root[i]·w[i] if i < 2
            """,
            shapes={"z": "i"},
        ),
        Example(  # under a guard a call may have become shorter
            """
            z[i] += y[i]·exp(w[i] + (x[i + 1] if i < 2 else 0))
            z[i + 1] += y[i]·exp(x[i + 1] + w[i]) if i < 2
            """,
            """
            layer_exp[i] = exp(w[i] + (x[i + 1] if i < 2 else 0))
            z[i] += layer_exp[i]·y[i]
            z[i + 1] += layer_exp[i]·y[i] if i < 2
            """,
            shapes={"z": "i", "x": "i"},
        ),
        Example(  # what the value reads is complete before the first that makes it, not before all that adds
            """
            z[i] += w[i]
            v[i] = x[i]²
            z[i] += y[i]·exp(v[i])
            z[i + 1] += w[i]·exp(v[i]) if i < 2
            """,
            """
            z[i] += w[i]
            v[i] = x[i]²
            layer_exp[i] = exp(v[i])
            z[i] += layer_exp[i]·y[i]
            z[i + 1] += layer_exp[i]·w[i] if i < 2
            """,
            shapes={"z": "i"},
        ),
        kept("z[i] += y[i]·exp(w[i])\nz[i] += x[i]·exp(w[i])"),
        kept("z[i] += y[i]·exp(w[i])\nz[i + 1] += x[i]·exp(x[i]) if i < 2", shapes={"z": "i"}),
        kept(  # at the last point the call would read outside of x
            "z[i] += y[i]·exp(x[i + 1]) if i < 2\nz[i + 1] += w[i]·exp(x[i + 1]) if i < 2", shapes={"z": "i", "x": "i"}
        ),
    ),
    factors_with_neighbours: (
        Example(
            """
            x_bar[i] += -2·t[i]·(x[i + 1] - x[i])/√(y[i] + 3) if i < 2
            x_bar[i + 1] += t[i]·w[i]/√(y[i] + 3) if i < 2
            """,
            """
            layer_factor[i] = (t[i]/√(y[i] + 3) if i < 2 else 0)
            x_bar[i] += -2·layer_factor[i]·(x[i + 1] - x[i]) if i < 2
            x_bar[i + 1] += layer_factor[i]·w[i] if i < 2
            """,
            shapes={"x": "i", "x_bar": "i"},
        ),
        kept("x_bar[i] += t[i]·w[i] if i < 2\nx_bar[i + 1] += t[i]·y[i] if i < 2", shapes={"x_bar": "i"}),
        kept("x_bar[i] += t[i]·exp(y[i])\nx_bar[i] += w[i]·exp(y[i])"),
    ),
    sums_in_steps: (
        Example(
            """
            p_bar[t,i] = w[i]·y_bar[t,i], t = …, 1, 0
            y_bar[t - 1,i] += p_bar[t,i] if t ≥ 1, t = …, 1, 0
            s_bar += Σ_t,i x[t,i]·y_bar[t,i]
            """,
            """
            p_bar[t,i] = w[i]·y_bar[t,i], t = …, 1, 0
            s_bar += Σ_t,i x[t,i]·y_bar[t,i], t = …, 1, 0
            y_bar[t - 1,i] += p_bar[t,i] if t ≥ 1, t = …, 1, 0
            """,
        ),
        Example(  # one for each step, under another index; and one that reads what stands between
            """
            p_bar[t,i] = w[i]·y_bar[t,i], t = …, 1, 0
            y_bar[t - 1,i] += p_bar[t,i] if t ≥ 1, t = …, 1, 0
            v_bar[t,i] = x[t,i]²
            s_bar += Σ_t,i y_bar[t,i]·v_bar[t,i]
            a_bar[t2] += Σ_i x[t2,i]·p_bar[t2,i]
            """,
            """
            p_bar[t,i] = w[i]·y_bar[t,i], t = …, 1, 0
            a_bar[t] += Σ_i x[t,i]·p_bar[t,i], t = …, 1, 0
            y_bar[t - 1,i] += p_bar[t,i] if t ≥ 1, t = …, 1, 0
            v_bar[t,i] = x[t,i]²
            s_bar += Σ_t,i y_bar[t,i]·v_bar[t,i]
            """,
        ),
        kept(  # a row's own sum, which is no local
            """
            p_bar[t,i] = w[i]·y_bar[t,i], t = …, 1, 0
            y_bar[t - 1,i] += p_bar[t,i] if t ≥ 1, t = …, 1, 0
            v_bar[i] += Σ_t x[t,i]·y_bar[t,i]²
            """
        ),
        kept(  # steps that only hand on
            """
            y_bar[t - 1,i] += y_bar[t,i] if t ≥ 1, t = …, 1, 0
            s_bar += Σ_t,i x[t,i]·y_bar[t,i]
            """
        ),
        kept(  # another step's value, or other points
            """
            h[t,i] = (h[t - 1,i]·w[i] if t > 0 else 1), t = 0, 1, …
            s_bar += Σ_t,i (h[t - 1,i]·x[t,i] if t > 0 else 0)
            v += Σ_t,i,j h[t,i]·z[t,j]²
            """
        ),
    ),
    read_earlier_again: (
        Example(
            """
            h_previous[t,i] = (h[t - 1,i] if t > 0 else 0), t = 0, 1, …
            h[t,i] = w[i]·x[t,i] + h_previous[t,i]², t = 0, 1, …
            w_bar[i] += Σ_t h_previous[t,i]·y_bar[t,i]
            """,
            """
            h_previous[t,i] = (h[t - 1,i] if t > 0 else 0), t = 0, 1, …
            h[t,i] = w[i]·x[t,i] + h_previous[t,i]², t = 0, 1, …
            h_earlier[t,i] = (h[t - 1,i] if t > 0 else 0)
            w_bar[i] += Σ_t h_earlier[t,i]·y_bar[t,i]
            """,
        ),
        kept(  # a product of matrices
            """
            h_previous[t,i] = (h[t - 1,i] if t > 0 else 0), t = 0, 1, …
            h[t,i] = x[t,i] + h_previous[t,i]², t = 0, 1, …
            w_bar[i,j] += Σ_t h_previous[t,i]·y_bar[t,j]
            """
        ),
        kept(  # each row with a value of its own before the first step
            """
            h_previous[t,i] = (h[t - 1,i] if t > 0 else v[i]), t = 0, 1, …
            h[t,i] = x[t,i] + h_previous[t,i]², t = 0, 1, …
            w_bar[i] += Σ_t h_previous[t,i]·y_bar[t,i]
            """
        ),
        kept(  # a step is one number
            """
            h_previous[t] = (h[t - 1] if t > 0 else 0), t = 0, 1, …
            h[t] = x[t] + h_previous[t]², t = 0, 1, …
            w_bar += Σ_t h_previous[t]·y_bar[t]
            """
        ),
    ),
    time_major: (
        Example(
            """
            z[i,t] = w[i]·x[i,t]
            h[i,t] = z[i,t] + (h[i,t - 1] if t > 0 else 0), t = 0, 1, …
            y[i,t] = h[i,t]²
            """,
            """
            z[t,i] = w[i]·x[i,t]
            h[t,i] = z[t,i] + (h[t - 1,i] if t > 0 else 0), t = 0, 1, …
            y[i,t] = h[t,i]²
            """,
        ),
        kept("z[i,t] = w[i]·x[i,t]"),
        Example(  # in subscripts and guards too
            """
            h[i,t] = x[i,t] + (h[i,t - 1] if t > 0 else 0), t = 0, 1, …
            m[i,t] = (r of) argmax_r h[i,t]·w[r], t = 0, 1, …
            y[i,m[i,t]] += x[i,t] if h[i,t] > 2, t = 0, 1, …
            """,
            """
            h[t,i] = x[i,t] + (h[t - 1,i] if t > 0 else 0), t = 0, 1, …
            m[t,i] = (r of) argmax_r h[t,i]·w[r], t = 0, 1, …
            y[i,m[t,i]] += x[i,t] if h[t,i] > 2, t = 0, 1, …
            """,
            shapes={"y": "i r"},
        ),
        kept("h[t] = x[t] + (h[t - 1] if t > 0 else 0), t = 0, 1, …"),
        kept(  # z has two axes of time
            """
            z[t,t2] = x[t,t2]²
            h[t] = z[0,t] + z[t,0] + (h[t - 1] if t > 0 else 0), t = 0, 1, …
            """,
        ),
    ),
    contract_products: (
        Example(
            "c[i,j] += Σ_k v[k]·x[i,k]·y[j,k]",
            """
            c_factor[i,k] = v[k]·x[i,k]
            c[i,j] += Σ_k c_factor[i,k]·y[j,k]
            """,
        ),
        Example(
            "c[i,j] += Σ_k y[k,j]·sin(x[i,k])",
            """
            c_factor[i,k] = sin(x[i,k])
            c[i,j] += Σ_k c_factor[i,k]·y[k,j]
            """,
        ),
        Example(
            "c[i,j] += Σ_k s[i]·x[i,k]·y[k,j]",
            """
            c_product[i,j] += Σ_k x[i,k]·y[k,j]
            c[i,j] += c_product[i,j]·s[i]
            """,
        ),
        Example(
            "c[i,j] += Σ_r,k x[i,k + r]·y[r,j,k]",
            """
            c_factor[i,r,k] = x[i,k + r]
            c_factor_2[j,r,k] = y[r,j,k]
            c[i,j] += Σ_r,k c_factor[i,r,k]·c_factor_2[j,r,k]
            """,
            shapes={"x": "i 7"},
        ),
        Example(
            "c[y[i],j] += Σ_k v[k,j]·x[i,k]",
            """
            c_product[i,j] += Σ_k v[k,j]·x[i,k]
            c[y[i],j] += c_product[i,j]
            """,
            shapes={"c": "4 j"},
            roles={"y": Role.LABELS},
        ),
        Example(
            """
            c[i,j] += Σ_k y[k,j]·sin(x[i,k])
            v[i,j] += Σ_k y[k,j]·cos(x[i,k])
            z[i,j] += Σ_k u[k,j]·sin(x[i,k])
            """,
            """
            c_factor[i,k] = sin(x[i,k])
            c[i,j] += Σ_k c_factor[i,k]·y[k,j]
            v_factor[i,k] = cos(x[i,k])
            v[i,j] += Σ_k v_factor[i,k]·y[k,j]
            z[i,j] += Σ_k c_factor[i,k]·u[k,j]
            """,
        ),
        kept("c[i,j] += Σ_k x[i,k]·y[k,j]"),
        kept("c[i,j] += Σ_k x[i,k]·y[k,j] if i < k"),  # what the guard keeps from being read is not read
        kept("c[i] += Σ_k y[k]·x[i,k]·sin(v[k])"),
    ),
    invert_shifts: (
        Example(
            """
            z[i + 1] += x[i] if i < 2
            z[i] += y[i]
            """,
            "z[i] += y[i] + (x[i - 1] if i ≥ 1 else 0)",
            shapes={"z": "i"},
        ),
        Example("z[i - 1] += x[i] if i ≥ 1", "z[i] += x[i + 1]", shapes={"z": "2"}),
        Example(  # sums over the same, with one condition
            """
            z[i] += Σ_j w[i + 1,j]·y[i,j] if i < 2
            z[i - 1] += Σ_j w[i - 1,j]·y[i,j] if i ≥ 1
            """,
            "z[i] += Σ_j (w[i + 1,j]·y[i,j] + w[i,j]·y[i + 1,j] if i < 2 else 0)",
            shapes={"z": "i", "w": "i j", "y": "i j"},
        ),
        kept(
            """
            z[i + 1] += Σ_j w[i,j] if i < 2
            z[i] += Σ_k x[i,k]
            """,
            shapes={"z": "i"},
        ),
        Example(
            """
            z[i + 1,j] += w[i,j] if i < 2 and j ≥ 1
            z[i - 1,j] += y[i]·x[i,j] if i ≥ 1
            """,
            "z[i,j] += (w[i - 1,j] if i ≥ 1 and j ≥ 1 else 0) + (y[i + 1]·x[i + 1,j] if i < 2 else 0)",
            shapes={"z": "i j"},
        ),
        kept(
            """
            z[i + 1] += exp(x[i]) if i < 2
            z[i] += y[i]
            """,
            shapes={"z": "i"},
        ),
        kept("z[i + 1] += x[i] if i < 2", shapes={"z": "i"}),
        kept("z[2·i] += x[i]", shapes={"z": "5"}),
        kept("z[i + 1] += Σ_j w[i,j]", shapes={"z": "4"}),
    ),
    axes_in_order: (
        Example(
            """
            s[k,j] = w[k,j] - v[k]
            z[n,i,k] = exp(s[k,y[n,i]])
            """,
            """
            s[j,k] = w[k,j] - v[k]
            z[n,i,k] = exp(s[y[n,i],k])
            """,
            shapes={"w": "k j", "y": "n i"},
            roles={"s": Role.LET, "y": Role.LABELS},
        ),
        kept(
            """
            s[k,j] = w[k,j] - v[k]
            z[n,i] = exp(s[1,y[n,i]])
            """,
            shapes={"w": "k j", "y": "n i"},
            roles={"s": Role.LET, "y": Role.LABELS},
        ),
    ),
    transposed_for_reuse: (
        Example(
            "z[k,k2] += Σ_r (c[k,r] - c[k2,r])²",
            """
            c_transposed[r,k] = c[k,r]
            z[k,k2] += Σ_r (c_transposed[r,k] - c_transposed[r,k2])²
            """,
        ),
        Example(
            """
            z_bar[k,k2] = x[k]·x[k2]
            c_bar[k,r] = v[r]·w[k]
            c_bar[k,r] += Σ_k2 z_bar[k,k2]·(c[k,r] - c[k2,r])
            c_bar[k2,r] += Σ_k z_bar[k,k2]·(c[k2,r] - c[k,r])
            """,
            """
            z_bar[k,k2] = x[k]·x[k2]
            c_bar[k,r] = v[r]·w[k]
            c_transposed[r,k] = c[k,r]
            c_bar_transposed[r,k] += Σ_k2 z_bar[k,k2]·(c_transposed[r,k] - c_transposed[r,k2])
            c_bar_transposed[r,k2] += Σ_k z_bar[k,k2]·(c_transposed[r,k2] - c_transposed[r,k])
            c_bar[k,r] += c_bar_transposed[r,k]
            """,
        ),
        Example(
            "z[n,o,k] += Σ_r exp(J[k,y[n,o,r]])",
            """
            J_transposed[i1,i0] = J[i0,i1]
            z[n,o,k] += Σ_r exp(J_transposed[y[n,o,r],k])
            """,
            shapes={"J": "k 4"},
            roles={"y": Role.LABELS},
        ),
        kept(
            "z[k,k2] += Σ_r (x[s[k,r]] - x[s[k2,r]])²",  # integers stay
            shapes={"x": "4"},
            roles={"s": Role.LABELS},
        ),
        Example(  # z is both written and read
            """
            z[k,r] += Σ_k2 exp(c[k,r] - c[k2,r])
            s[k,k2] += Σ_r (z[k,r] - z[k2,r])²
            """,
            """
            c_transposed[r,k] = c[k,r]
            z[k,r] += Σ_k2 exp(c_transposed[r,k] - c_transposed[r,k2])
            s[k,k2] += Σ_r (z[k,r] - z[k2,r])²
            """,
        ),
        kept("z[k,r] = exp(c[k,r])"),  # read once
        kept("z[k,k2] += Σ_r c[k,r]·c[k2,r]"),  # a product of matrices
    ),
    sums_first: (
        Example(
            "z[i] += Σ_j,k x[k,j]·y[i,j]",
            """
            z_sum[j] += Σ_k x[k,j]
            z[i] += Σ_j z_sum[j]·y[i,j]
            """,
        ),
        Example(
            "z[i,j] += Σ_k,r u[i,k]·v[k,r]·w[r,j]",
            """
            z_sum[i,r] += Σ_k u[i,k]·v[k,r]
            z[i,j] += Σ_r z_sum[i,r]·w[r,j]
            """,
        ),
        Example(
            "z[i,j] += Σ_k y[j]·x[i,k]",
            """
            z_sum[i] += Σ_k x[i,k]
            z[i,j] += z_sum[i]·y[j]
            """,
        ),
        Example(
            "z[i] += Σ_j,k x[k,j]·y[i,j] if k > j",
            """
            z_sum[j] += Σ_k x[k,j] if k > j
            z[i] += Σ_j z_sum[j]·y[i,j]
            """,
        ),
        kept("c[i,j] += Σ_k x[i,k]·y[k,j]"),
        kept("z[i] += Σ_j,k x[k,j]·y[i,j] if k > i"),
    ),
}


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of the small tensors here are worth copies and calls."""
    for module, name, value in (
        (products, "WORTH_COPYING", 0.1),
        (products, "COPYING", 0),
        (contractions, "WORTH_A_CALL", 1),
        (order_of_sums, "WORTH_A_SUM", 1),
        (axes_order, "FEW", 3),
        *((transposes, name, value) for name, value in CHEAP_COPIES.items()),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("_cheap")
@pytest.mark.parametrize(("run", "example"), examples_of(EXAMPLES))
def test_example(run: Pass, example: Example) -> None:
    example.check(run)


def test_every_pass_has_an_example() -> None:
    assert {*EXAMPLES} == {*PASSES}


@pytest.mark.parametrize("run", by_name(p for p in PASSES if p not in UNLIKELY))
def test_same_values(run: Pass) -> None:
    assert check_steps(run, arranged())


@pytest.mark.usefixtures("_cheap")
@pytest.mark.parametrize("run", by_name([contract_products]))
def test_same_values_of_products(run: Pass) -> None:
    """Random programs have few products of two matrices, so these are random too."""
    programs = [program_of(random_product(Random(seed))) for seed in range(PRODUCTS)]
    assert changed_by(run, programs) >= PRODUCTS // 2


@pytest.mark.usefixtures("_cheap")
@pytest.mark.parametrize("run", by_name(NEIGHBOURS))
def test_same_values_of_what_is_added_to_neighbours(run: Pass) -> None:
    """So are additions to neighbours."""
    shapes = {"y": "i", "u": "i", "z": "i"}
    programs = [program_of(random_scatter(Random(seed)), shapes=shapes) for seed in range(SCATTERED)]
    assert changed_by(run, programs) >= SCATTERED // 3


@pytest.mark.usefixtures("_cheap")
def test_same_values_of_copies() -> None:
    """Random programs have few pairs of rows, so these are random too."""
    programs = [program_of(random_pairs(Random(seed))) for seed in range(PRODUCTS)]
    assert changed_by(transposed_for_reuse, programs) >= PRODUCTS // 2
    steps = [s for s in steps_of(transposed_for_reuse, arranged()) if isinstance(s.before, Program)]
    assert sum(stepped(s.run, s.case, s.before).check() for s in steps) > 0


def random_pairs(random: Random) -> str:
    """What pairs of rows add up, and what they add to both rows, after and before other statements on these."""
    inner = ["(c[k,r] - c[k2,r])²", "exp(c[k,r]·c[k2,r])", "v[r]·(c[k,r] - c[k2,r])²", "sin(c[k,r] - w[k2])·c[k2,r]"]
    lines = [f"z[k,k2] += Σ_r {random.choice(inner)}", "z_bar[k,k2] = w[k]·z[k,k2]"]
    lines += ["c_bar[k,r] = v[r]·w[k]"] if random.random() < 0.5 else []
    guard = random.choice(["", " if k > k2", " if w[k] > 1"])
    shares = [
        f"c_bar[k,r] += Σ_k2 z_bar[k,k2]·(c[k,r] - c[k2,r]){guard}",
        f"c_bar[k2,r] += Σ_k z_bar[k,k2]·cos(c[k2,r] - c[k,r]){guard}",
    ]
    random.shuffle(shares)
    lines += shares[: random.randint(1, 2)]
    lines += ["c_bar[k,r] += c[k,r]"] if random.random() < 0.5 else []
    lines += ["loss += Σ_k,r c_bar[k,r]²"] if random.random() < 0.5 else []
    return "\n".join(lines)


def changed_by(run: Pass, programs: Sequence[Program]) -> int:
    """How many programs a pass changes; all compute the same after it."""
    changed = 0
    for program in programs:
        values = {t.name: drawn(t) for t in program.parameters}
        with as_written():
            after = check_program(run(program))
        changed += after != program
        assert_same(outputs_of(program, values, SIZES), outputs_of(after, values, SIZES))
    return changed


def random_scatter(random: Random) -> str:
    """Values, most of them one value, that points add to themselves and to neighbours, some under guards."""
    values = ["exp(x[i])", "1/√(x[i]² + y[i]²)", "sin(x[i]·y[i])/(w[i]² + 1)", "exp(x[i] + (y[i + 1] if i < 2 else 0))"]
    value, lines = random.choice(values), [random.choice(["v[i] = exp(x[i])", "s += Σ_i √(x[i]² + y[i]²)"])]
    for _ in range(random.randint(2, 5)):
        place = random.choice(["i", "i + 1", "i - 1"])
        guard = {"i": random.choice(["", " if i < 2"]), "i + 1": " if i < 2", "i - 1": " if i > 0"}[place]
        own = value if random.random() < 0.8 else random.choice(values)
        lines.append(f"{random.choice('uz')}[{place}] += {random.choice(['2', 'w[i]', 'x[i]·w[i]'])}·{own}{guard}")
    return "\n".join(lines)


def random_product(random: Random) -> str:
    """A sum of products of two tensors, of some axes in any order, perhaps with factors beside, shifts and a batch."""
    batch, summed = random.choice(["", "", "n", "o"]), random.choice(["k", "k", "kr"])

    def read(name: str, indices: str) -> str:
        return f"{name}[{','.join(random.sample(indices, len(indices)))}]"

    factors = [read("x", batch + "i" + summed), read("y", batch + "j" + summed)]
    factors[0] = random.choice(["{}", "{}", "sin({})"]).format(factors[0])
    factors += random.sample(["s[i]", "v[k]", "u[j]", "2"], random.choice([0, 0, 1, 2]))
    return f"{read('c', batch + 'ij')} += Σ_{','.join(summed)} {'·'.join(factors)}"
