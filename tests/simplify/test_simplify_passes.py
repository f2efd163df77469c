"""Each pass that makes less work: a program computes the same after it, and worked examples read as they should."""

from __future__ import annotations

import pytest
from passes import Example, Pass, by_name, check_steps, derivatives, examples_of, kept, passes_of, simplified

from derivgen.form.program import Role
from derivgen.rewrite.scans import leave_scans
from derivgen.simplify import simplify
from derivgen.simplify.additions import assign_once, assign_parts, count_instead_of_adding, drop_zero_additions
from derivgen.simplify.copies import read_through_constants, read_through_copies
from derivgen.simplify.factors import (
    add_up,
    divide_sums_once,
    join_sums,
    numbers_outside,
    read_through_quotients,
    shared_outside,
)
from derivgen.simplify.guarded import (
    at_the_only_index,
    compare_arguments,
    decide_comparisons,
    forget_implied_guards,
    guards_outside,
    read_through_guarded_copies,
)
from derivgen.simplify.held import keep_calls, reuse_held_values
from derivgen.simplify.simplify import drop_dead_statements, forget_stop_gradients
from derivgen.simplify.stored import store_diagonals, write_through_copies

PASSES = (forget_stop_gradients, *passes_of(simplify))
SELDOM = {assign_parts}  # no random spec has what it changes

EXAMPLES: dict[Pass, tuple[Example, ...]] = {
    forget_stop_gradients: (Example("z[i] = w[i]·stop_gradient(sin(x[i]))", "z[i] = w[i]·sin(x[i])"),),
    numbers_outside: (
        Example("z[i] = w[i]·(2·x[i] - 2·y[i])", "z[i] = 2·w[i]·(x[i] - y[i])"),
        kept("z[i] = w[i]·(2·x[i] - y[i])"),
    ),
    decide_comparisons: (
        Example("z[i] = (x[i] if i < 7 else 0)", "z[i] = x[i]"),
        Example("z[i] = (x[i - 1] if i ≥ 1 and i < 99 else 0)", "z[i] = (x[i - 1] if i ≥ 1 else 0)"),
        Example("z[i] = (x[i] if i > 9 else w[i])", "z[i] = w[i]"),
        Example("z[i] = (x[i] if (i < 4 or i > 2) else 0)", "z[i] = x[i]"),
        kept("z[i] = (x[i] if i < 2 else 0)"),
        kept("z[i] = (x[i] if (i < 1 or i > 1) else 0)"),
        kept("z[i] = (x[i] if (x[i] < 4 or x[i] > 2) else 0)"),  # which NaN does not
        kept("z[n] = (r[n] if n < 9 else 0)"),
    ),
    at_the_only_index: (
        Example("z[i] += Σ_t x[t,i] if t < 1", "z[i] += x[0,i]"),
        Example("z += Σ_n,i x[n,i] if n ≤ 0", "z += Σ_i x[0,i]"),
        Example("z[i] += Σ_t x[t,i] if t > 2 and w[i] > 0", "z[i] += x[3,i] if w[i] > 0"),
        Example("z += Σ_i,i2 x[i,i2] if i = i2", "z += Σ_i2 x[i2,i2]", shapes={"x": "i i"}),
        kept("z += Σ_i,j x[i,j] if i = j"),  # of other extents
        kept("z[i] += Σ_t x[t,i] if t < 2"),
        kept("z[i] += Σ_t x[t,i] if t < w[i]"),
        kept("z[t] += x[t] if t < 1"),
    ),
    guards_outside: (
        Example("z[i,j] = (x[j]/s[i] if i ≥ j else 0)", "z[i,j] += x[j]/s[i] if i ≥ j"),
        kept("h[t] = (h[t - 1]·w[t] if t > 0 else 0), t = 0, 1, …"),  # later steps read what this one assigns
        kept("z[i] = (x[i] if i > 0 else 1)"),
        kept("z[0] = (x if y > 1 else 0)\nz[i + 1] = w[i]", shapes={"z": "4"}),
    ),
    count_instead_of_adding: (
        Example("z[i] += Σ_k 2·w[i]", "z[i] += 10·w[i]"),
        Example("z[i] += Σ_n,k w[i,k]", "z[i] += Σ_k N·w[i,k]"),
        kept("z[i] += Σ_k w[i] if k > i"),
        kept("z[i] = max_k w[i]"),
    ),
    drop_dead_statements: (
        Example(
            """
            a[i] = w[i]
            b[i] = a[i]²
            loss += Σ_i a[i]
            """,
            """
            a[i] = w[i]
            loss += Σ_i a[i]
            """,
            outputs=("loss",),
        ),
    ),
    leave_scans: (
        Example(
            """
            z[t] = w[t]·x[t], t = 0, 1, …
            h[t] = z[t] + (h[t - 1] if t > 0 else 0), t = 0, 1, …
            y[t] = sin(h[t]), t = 0, 1, …
            v[t] = h[t]·y[t], t = 0, 1, …
            """,
            """
            z[t] = w[t]·x[t]
            h[t] = z[t] + (h[t - 1] if t > 0 else 0), t = 0, 1, …
            y[t] = sin(h[t])
            v[t] = h[t]·y[t]
            """,
        ),
        kept(
            """
            y[t] = w[t]·(h[t - 1] if t > 0 else 0), t = 0, 1, …
            h[t] = sin(y[t]), t = 0, 1, …
            """,
        ),
        kept(  # a call of each step
            """
            h[t] = (h[t - 1] if t > 0 else 1)·exp(x[t]), t = 0, 1, …
            z[0] += Σ_t h[t]·exp(x[t]), t = 0, 1, …
            """,
            shapes={"z": "4"},
        ),
        Example(
            """
            h[t] = (h[t - 1] if t > 0 else 1)·exp(x[t]), t = 0, 1, …
            z[0] += Σ_t h[t]·x[t], t = 0, 1, …
            """,
            """
            h[t] = (h[t - 1] if t > 0 else 1)·exp(x[t]), t = 0, 1, …
            z[0] += Σ_t h[t]·x[t]
            """,
            shapes={"z": "4"},
        ),
    ),
    assign_once: (
        Example("w_bar[i] += x[i]·z_bar[i]", "w_bar[i] = x[i]·z_bar[i]"),
        Example("w_bar[i] += Σ_k x[i,k] if false", "w_bar[i] = 0"),
        kept("w_bar[i] += Σ_k z_bar[i,k]"),
        kept("w_bar[i] += x[i] if i > 0"),
        kept("w_bar[i,i] += x[i]"),  # the rest of w_bar is 0
        kept("w_bar[i] += x[i]\nw_bar[i] += y[i]"),
        kept("w_bar[i,i] += x[i] if false"),
    ),
    assign_parts: (
        Example(
            """
            w_bar[0,k] += x[k]
            w_bar[1,k] += y[k]
            """,
            """
            w_bar[0,k] = x[k]
            w_bar[1,k] = y[k]
            """,
            shapes={"w_bar": "2 k"},
        ),
        kept("w_bar[0,k] += x[k]\nw_bar[0,k] += y[k]", shapes={"w_bar": "1 k"}),
        kept("w_bar[0,k] += x[k]\nw_bar[1,k] += y[k]", shapes={"w_bar": "3 k"}),
        kept("w_bar[0,k] += x[k]\nw_bar[1,k] += Σ_j y[j,k]", shapes={"w_bar": "2 k"}),
        kept("w_bar[0,k] += x[k]\nw_bar[1,k] += y[k]\nw_bar[0,k] += v[k]", shapes={"w_bar": "2 k"}),
    ),
    read_through_constants: (
        Example("c[i] = 2\nz[i] = c[i]·w[i] if c[i] > x[i]", "z[i] = 2·w[i] if 2 > x[i]"),
        Example("c[i] = -1\nz[i] = c[i]·w[i] + x[i]", "z[i] = x[i] - w[i]", roles={"c": Role.LET}),
        kept("c[i] = 2\nz[i] = c[i]·w[i]", roles={"c": Role.LET}),  # whose name says more than the number
        kept("c[i] = i\nz[i] = c[i]·w[i]"),
        kept("c[i] = 2\nz[i] = c[i]·w[i]", outputs=("c", "z")),
    ),
    forget_implied_guards: (
        Example(
            """
            y[i,j] += x[i,j]² if i ≥ j
            z[i,j] += y[i,j] if i ≥ j
            """,
            """
            y[i,j] += x[i,j]² if i ≥ j
            z[i,j] += y[i,j]
            """,
        ),
        kept("y[i,i2] += x[i,i2]² if i > i2\nz[i,i2] += y[i2,i] if i > i2"),  # of other elements
        kept("y[i,j] += x[i,j]² if i > 0\nz[i,j] += y[i,j] if i ≥ j"),
        kept("y[i] += x[i]² if i > 0\ny[i] += x[i]\nz[i] += y[i] if i > 0"),
        kept("y[i] += Σ_j x[i,j] if i ≥ j\nz[i,j] += y[i] if i ≥ j"),  # there are terms for other j
    ),
    read_through_copies: (
        Example("c[i,k] = x[k,i]\nz[i] += Σ_k c[i,k]·w[k]", "z[i] += Σ_k x[k,i]·w[k]"),
        Example("c[i,k] = -x[k,i]\nz[i] += Σ_k c[i,k]·w[k]", "z[i] += Σ_k (-x[k,i]·w[k])"),
        Example("c[i] = x[i + 1]\nz[i] = c[2 - i]·w[i]", "z[i] = x[3 - i]·w[i]", shapes={"x": "j"}),
        Example(  # the better name stays
            """
            s[i] = exp(x[i])
            z[i] = s[i]
            loss += Σ_i s[i]²
            """,
            """
            z[i] = exp(x[i])
            loss += Σ_i z[i]²
            """,
            roles={"z": Role.LET},
            outputs=("loss", "z"),
        ),
        kept("c[i] = x[i]\nz[i] = c[i]·w[i]", outputs=("c", "z")),
        kept("c[0] = x\nc[i + 1] = w[i]\nz[j] = c[j]·y[j]", shapes={"c": "j"}),
        kept("s[i] = exp(x[i])\ns_bar[i] = s[i]", outputs=("s_bar",)),  # no gradient is of the forward pass
    ),
    read_through_guarded_copies: (
        Example(
            """
            c[i,j] += x[i,j] if i ≥ j
            z[i] += Σ_j c[i,j]·w[j] if i ≥ j
            """,
            "z[i] += Σ_j x[i,j]·w[j] if i ≥ j",
        ),
        kept("c[i,j] += x[i,j] if i ≥ j\nz[i] += Σ_j c[i,j]·w[j]"),
        kept("c[i,j] += x[i,j] if i ≥ j\nz[i] += Σ_j c[i,j]·w[j] if i ≥ j", outputs=("c", "z")),
    ),
    store_diagonals: (
        Example(
            """
            c[k,k2] = x[k]·y[k2]
            z[k] = c[k,k]·w[k]
            """,
            """
            c[k] = x[k]·y[k]
            z[k] = c[k]·w[k]
            """,
        ),
        Example(  # of x·y only that with y[k] is read
            """
            c[k,k2] += Σ_j x[k,j]·y[k2,j] if k2 > j
            z[k] = c[k,k]
            """,
            """
            c[k] += Σ_j x[k,j]·y[k,j] if k > j
            z[k] = c[k]
            """,
        ),
        kept("c[k,k2] = x[k]·y[k2]\nz[k] = c[k,k]·w[k]\nv[k] += Σ_k2 c[k,k2]"),
        kept("c[k,k2] = x[k]·y[k2]\nz[k] = c[k,k]·w[k]", outputs=("c", "z")),
    ),
    drop_zero_additions: (
        Example("z[i] += x[i]\nz[i] += y[i] if false", "z[i] += x[i]"),
        kept("z[i] += x[i] if false"),
        Example("w_bar[i] += 0\nw_bar[i] += x[i]", "w_bar[i] += x[i]"),
        Example("w_bar[i] += 0\nw_bar[i] += 0", "w_bar[i] += 0"),
    ),
    keep_calls: (
        Example(
            """
            a[i] = x[i]·exp(x[i])
            x_bar[i] = y[i]·exp(x[i]) + x[i]·y[i]·exp(x[i])
            """,
            """
            layer_exp[i] = exp(x[i])
            a[i] = layer_exp[i]·x[i]
            x_bar[i] = y[i]·exp(x[i]) + x[i]·y[i]·exp(x[i])
            """,
        ),
        Example(
            """
            a[i,k] = x[k]·exp(y[i,k])
            y_bar[i,k] = v[i]·exp(y[i,k])
            """,
            """
            layer_exp[i,k] = exp(y[i,k])
            a[i,k] = layer_exp[i,k]·x[k]
            y_bar[i,k] = v[i]·exp(y[i,k])
            """,
        ),
        kept("a[i] = x[i]·exp(x[i])\nb[i] = y[i]·exp(x[i])"),  # one pass: reuse is what reads it again
        kept("a[i] = exp(x[i])\nx_bar[i] = y[i]·exp(x[i])"),
        kept("a[i] = (x[i]·log(x[i]) if x[i] > 1 else 0)\nx_bar[i] = y[i]·log(x[i]) if x[i] > 1"),
    ),
    reuse_held_values: (
        Example(
            """
            a[i] = tanh(z[i])
            z_bar[i] = y[i]·(1 - tanh(z[i])²)
            """,
            """
            a[i] = tanh(z[i])
            z_bar[i] = y[i]·(1 - a[i]²)
            """,
            outputs=("a", "z_bar"),
        ),
        Example(  # of the other sign
            """
            a[i] = -y[i]·exp(z[i])
            z_bar[i] = y[i]·w[i]·exp(z[i])
            """,
            """
            a[i] = -y[i]·exp(z[i])
            z_bar[i] = -a[i]·w[i]
            """,
            outputs=("a", "z_bar"),
        ),
        Example(  # a sum of the other sign in a product
            """
            a[i] = y[i]·(w[i]² - 1)
            z_bar[i] = 2·y[i]·(1 - w[i]²)
            """,
            """
            a[i] = y[i]·(w[i]² - 1)
            z_bar[i] = -2·a[i]
            """,
            outputs=("a", "z_bar"),
        ),
        Example(  # under the guard alone
            """
            a[i] += exp(z[i]) if i > 0
            b[i] = y[i]·exp(z[i])
            c[i] += y[i]·exp(z[i]) if i > 0
            """,
            """
            a[i] += exp(z[i]) if i > 0
            b[i] = y[i]·exp(z[i])
            c[i] += a[i]·y[i] if i > 0
            """,
            outputs=("a", "b", "c"),
        ),
        Example(
            """
            a[i] = sigmoid(z[i])
            z_bar[i] = sigmoid(-z[i])·sigmoid(z[i])
            """,
            """
            a[i] = sigmoid(z[i])
            z_bar[i] = a[i]·(1 - a[i])
            """,
            outputs=("a", "z_bar"),
        ),
        Example(
            """
            a[i] = w[i]·x[i]
            b[i] = w[i]·x[i]·y[i]
            c[i] = w[i] + w[i]²·x[i]²
            """,
            """
            a[i] = w[i]·x[i]
            b[i] = a[i]·y[i]
            c[i] = a[i]·w[i]·x[i] + w[i]
            """,
            outputs=("a", "b", "c"),
        ),
        kept("a[i] += exp(z[i])\na[i] += y[i]\nb[i] = exp(z[i])", outputs=("a", "b")),  # a holds more
        kept("z_bar[i] = exp(z[i])\na[i] = y[i]·exp(z[i])", outputs=("a", "z_bar")),  # forward comes before backward
    ),
    divide_sums_once: (
        Example("z[i] += Σ_k x[i,k]/s[i]", "z_sum[i] += Σ_k x[i,k]\nz[i] += z_sum[i]/s[i]"),
        Example("z[i] += Σ_k x[i,k]/s[i] if i > 0", "z_sum[i] += Σ_k x[i,k] if i > 0\nz[i] += z_sum[i]/s[i] if i > 0"),
        kept("z[i] += Σ_k x[i,k]/s[k]"),
        kept("z[i] += Σ_k x[i,k]/s[i] if k < i"),  # without a term, where s may be 0
        kept("z[i] = max_k x[i,k]/s[i]"),
    ),
    read_through_quotients: (
        Example(
            """
            p[i,k] = e[i,k]/s[i]
            p_bar[i,k] = y[i,k]/s[i]
            z_bar[i,k] = e[i,k]·p_bar[i,k]
            """,
            """
            p[i,k] = e[i,k]/s[i]
            p_bar[i,k] = y[i,k]/s[i]
            z_bar[i,k] = p[i,k]·y[i,k]
            """,
            outputs=("p", "z_bar"),
        ),
        kept("p_bar[i,k] = y[i,k]/s[i]\nz_bar[i,k] = e[i,k]·p_bar[i,k]"),
        kept(  # p_bar is 0 where i is
            """
            p[i,k] = e[i,k]/s[i]
            p_bar[i,k] += y[i,k]/s[i] if i > 0
            z_bar[i,k] = e[i,k]·p_bar[i,k]
            """,
            outputs=("p", "z_bar"),
        ),
        kept(  # what holds e/s comes later
            """
            p_bar[i,k] = y[i,k]/s[i]
            z_bar[i,k] = e[i,k]·p_bar[i,k]
            v_bar[i,k] = e[i,k]/s[i]
            """,
        ),
    ),
    add_up: (
        Example("z_bar[i] += x[i]·y[i]\nz_bar[i] += x[i]·v[i]", "z_bar[i] += x[i]·(y[i] + v[i])"),
        Example("z_bar[i] += x[i]\nz_bar[i] += y[i]\nz_bar[i] += v[i]", "z_bar[i] += x[i] + y[i] + v[i]"),
        Example("z_bar[i] += x[i]·y[i]\nz_bar[i] += -x[i]·y[i]", "z_bar[i] += 0"),
        kept("z_bar[i] += x[i]·y[i]\nz_bar[i] += x[i]·v[i] if i > 0"),
        kept("z_bar[i] += x[i]·y[i]\nz_bar[2 - i] += x[i]·v[i]"),
        kept("z_bar[i] += x[i]·y[i]\nz_bar[i] += Σ_k x[i]·v[i,k]"),
        Example(
            "z_bar[i] += x[i]·y[i], i = …, 1, 0\nz_bar[i] += x[i]·v[i], i = …, 1, 0",
            "z_bar[i] += x[i]·(y[i] + v[i]), i = …, 1, 0",
        ),
        Example(  # one element of the step before, and one of this
            """
            z_bar[i - 1] += x[i]·y[i] if i > 0, i = …, 1, 0
            z_bar[i] += x[i], i = …, 1, 0
            z_bar[i] += y[i], i = …, 1, 0
            """,
            """
            z_bar[i - 1] += x[i]·y[i] if i > 0, i = …, 1, 0
            z_bar[i] += x[i] + y[i], i = …, 1, 0
            """,
        ),
    ),
    join_sums: (
        Example("z_bar += Σ_i x[i]·y[i]\nz_bar += Σ_i y[i]·v[i]", "z_bar += Σ_i y[i]·(x[i] + v[i])"),
        Example("z_bar += Σ_i 2·u·x[i]/y\nz_bar += Σ_i 2·v[i]/y", "z_bar += Σ_i 2·(u·x[i] + v[i])/y"),
        kept("z_bar[i] += Σ_k y[k]·x[i,k]\nz_bar[i] += Σ_k y[k]·v[i,k]"),  # products of matrices
        kept("z_bar += Σ_i x[i]·y[i]\nz_bar += Σ_i v[i] if i > 0"),
        kept("z_bar += Σ_i x[i]·y[i]\nz_bar += Σ_k v[k]"),
    ),
    shared_outside: (
        Example("z_bar[i] = x[i]·y[i] + x[i]·u·v[i] + u", "z_bar[i] = u + x[i]·(y[i] + u·v[i])"),
        Example("z_bar[i] = -4·v[i]·x[i] - 2·x[i]·y[i]", "z_bar[i] = -2·x[i]·(2·v[i] + y[i])"),
        Example(  # the difference is a factor that saves more than u
            "z_bar[i] = v[i]·u + x[i]·(x[i] - v[i]) + u·y[i]·(x[i] - v[i])",
            "z_bar[i] = v[i]·u + (x[i] - v[i])·(x[i] + u·y[i])",
        ),
        Example(
            "z_bar[i] = (v[i]·x[i] + x[i]·y[i] if x[i]·u + y[i]·u > 0 else 0)",
            "z_bar[i] = (x[i]·(v[i] + y[i]) if x[i]·u + y[i]·u > 0 else 0)",
        ),
        kept("z_bar[i] = 2·x[i] - 400·x[i]·(y[i] - v[i])"),  # y - v, which may be small, would be no difference
        kept("z_bar[i] = y[i]·sin(u·v[i] + u·x[i])"),  # as in the forward pass, so that the call may be shared
        kept("z[i] = v[i]·x[i] + x[i]·y[i]"),  # as declared
    ),
    compare_arguments: (
        Example("z[i] = (x[i] if max(y[i], 1) > 1 else 0)", "z[i] = (x[i] if y[i] > 1 else 0)"),
        Example("z[i] = (x[i] if min(y[i], 1) < 1 else 0)", "z[i] = (x[i] if y[i] < 1 else 0)"),
        kept("z[i] = (x[i] if max(y[i], 1) ≥ 1 else 0)"),
        kept("z[i] = (x[i] if max(y[i], 1) > 2 else 0)"),
    ),
    write_through_copies: (
        Example("c[i,k] = x[i]·y[k]\nz[5·i + k] = c[i,k]", "z[5·i + k] = x[i]·y[k]", shapes={"z": "15"}),
        Example("c[i2,k2] = x[i2]·y[k2]\nz[5·i + k] = c[i,k]", "z[5·i2 + k2] = x[i2]·y[k2]", shapes={"z": "15"}),
        Example("c[i,k] = x[i]·y[k]\nz[5·i + k] = -c[i,k]", "z[5·i + k] = -x[i]·y[k]", shapes={"z": "15"}),
        kept("c[i,k] = x[i]·y[k]\nz[5·i + k] = c[i,k]\nv[i] = c[i,0]", shapes={"z": "15"}),
        kept("c[i,k] += Σ_j x[i,j]·y[k,j]\nz[5·i + k] = c[i,k]", shapes={"z": "15"}),
    ),
}


@pytest.mark.parametrize(("run", "example"), examples_of(EXAMPLES))
def test_example(run: Pass, example: Example) -> None:
    example.check(run)


@pytest.mark.parametrize("run", by_name(PASSES))
def test_same_values(run: Pass) -> None:
    assert check_steps(run, simplified()) or run in SELDOM


def test_every_pass_has_an_example() -> None:
    assert {*EXAMPLES} == {*PASSES}


def test_programs_of_derivatives_are_simplified_on_the_way() -> None:
    assert [error for _, error in derivatives() if isinstance(error, Exception)] == []
