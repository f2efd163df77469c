"""Passes over code: random kernels compute the same after each, in code that is proved; worked examples."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from code_cases import differences, random_cases
from code_text import SHAPES, function, shown, text_of

from derivgen.code import row_blocks, row_work
from derivgen.code.blocks import in_blocks
from derivgen.code.borders import borders_apart
from derivgen.code.bound import bounded
from derivgen.code.branch import branched
from derivgen.code.carry import carried
from derivgen.code.check import check_code
from derivgen.code.copies import without_copies
from derivgen.code.guards import branches_together, guarded_once, joined
from derivgen.code.hoist import hoisted
from derivgen.code.in_place import in_place
from derivgen.code.last_values import last_values_in_locals
from derivgen.code.passes import PASSES
from derivgen.code.powers import powers_shared, roots_shared
from derivgen.code.read_once import read_once
from derivgen.code.rolled import rolled
from derivgen.code.row_blocks import in_row_blocks
from derivgen.code.running import with_running_sums
from derivgen.code.scratch import scratch_in_locals
from derivgen.code.share import shared
from derivgen.code.tree import Function
from derivgen.code.unroll import unrolled
from derivgen.code.unused import without_unused
from derivgen.code.walk import Fresh
from derivgen.form.as_written import as_written

EXAMPLES = {
    "a loop around the iteration that takes another way": (
        borders_apart,
        """
        for s in range(N):
            for t in range(N):
                a = 1 / (r[s] - r[t]) if s != t else 0
                if t != s:
                    hidden[0, t] += r[t] * a
                else:
                    hidden[0, t] = 3
        """,
        """
        for s in range(N):
            for t in range(s):
                a = real(1) / (r[s] - r[t])
                hidden[0, t] += r[t] * a
            hidden[0, s] = real(3)
            for t in range(s + 1, N):
                a = real(1) / (r[s] - r[t])
                hidden[0, t] += r[t] * a
        """,
    ),
    "a loop around an iteration whose value another statement of it reads": (
        borders_apart,
        """
        for s in range(N):
            for t in range(N):
                a = r[t] / r[s] if s != t else 2
                hidden[0, t] = a * a
        """,
        """
        for s in range(N):
            for t in range(s):
                a = r[t] / r[s]
                hidden[0, t] = a * a
            a = real(2)
            hidden[0, s] = a * a
            for t in range(s + 1, N):
                a = r[t] / r[s]
                hidden[0, t] = a * a
        """,
    ),
    "a choice of numbers at hand by one iteration": (
        borders_apart,
        """
        a = exp(r[0])
        for s in range(N):
            for t in range(N):
                hidden[0, t] = exp(r[t]) + (a if s == t else 0)
        """,
        None,
    ),
    "an iteration that may not be one of the loop, that the loop changes, or of a short loop": (
        borders_apart,
        """
        for s in range(N + 1):
            for t in range(N):
                if t != s:
                    hidden[0, t] = exp(r[t])
        for t in range(N):
            if t != l[0]:
                r[t] = exp(r[t])
        for s in range(6):
            for t in range(6):
                if t != s:
                    w[s, t] = exp(x[t])
        """,
        None,
    ),
    "a sum of the terms up to each iteration": (
        with_running_sums,
        """
        for t in range(6):
            y[t] = 0
            for s in range(t + 1):
                y[t] += x[s] * z[s]
        """,
        """
        y_so_far = real(0)
        for t in range(6):
            y_so_far += x[t] * z[t]
            y[t] = y_so_far
        """,
    ),
    "a sum of the terms after each iteration, between other work": (
        with_running_sums,
        """
        for t in range(6):
            z[t] = x[t] ** 2
            y[t] = 0
            for s in range(t + 1, 6):
                if x[s] > 0:
                    y[t] += x[s]
            w[t, 0] = y[t]
        """,
        """
        for t in range(6):
            z[t] = x[t] * x[t]
        y_so_far = real(0)
        for t in range(5, -1, -1):
            y[t] = y_so_far
            if x[t] > real(0):
                y_so_far += x[t]
        for t in range(6):
            w[t, 0] = y[t]
        """,
    ),
    "sums of both sides of each iteration, to which terms are added in the loop inside": (
        with_running_sums,
        """
        for t in range(6):
            for s in range(t, 6):
                y[s] += x[t]
        for t in range(6):
            for s in range(t):
                z[s] += x[t]
        """,
        """
        y_so_far = real(0)
        for t in range(6):
            y_so_far += x[t]
            y[t] += y_so_far
        z_so_far = real(0)
        for t in range(5, -1, -1):
            z[t] += z_so_far
            z_so_far += x[t]
        """,
    ),
    "a sum in a local": (
        with_running_sums,
        """
        for t in range(6):
            a: local = 0
            for s in range(t, 6):
                a += x[s]
            y[t] = z[t] / a
        """,
        """
        a = scratch(1, 6)
        a_so_far = real(0)
        for t in range(5, -1, -1):
            a_so_far += x[t]
            a[0, t] = a_so_far
        for t in range(6):
            y[t] = z[t] / a[0, t]
        """,
    ),
    "a sum in a local in a loop that others add to, as well": (
        with_running_sums,
        """
        for t in range(6):
            a: local = 0
            for s in range(t + 1):
                a += x[s]
            y[0] += z[t] / a
        """,
        """
        a_so_far = real(0)
        for t in range(6):
            a_so_far += x[t]
            a = a_so_far
            y[0] += z[t] / a
        """,
    ),
    "a sum from each iteration on, in a loop whose order counts": (
        with_running_sums,
        """
        for t in range(6):
            y[t] = 0
            for s in range(t, 6):
                y[t] += x[s]
            z[0] = z[0] * y[t] + 1
        """,
        None,
    ),
    "a sum of what the loop writes": (
        with_running_sums,
        """
        for t in range(6):
            y[t] = 0
            for s in range(t):
                y[t] += x[s]
            x[t] += y[t]
        """,
        None,
    ),
    "a sum of terms that hang on the iteration": (
        with_running_sums,
        """
        for t in range(6):
            y[t] = 0
            for s in range(t + 1):
                y[t] += x[s] * z[t]
        """,
        None,
    ),
    "a sum over another part of the terms": (
        with_running_sums,
        """
        for t in range(6):
            y[t] = 0
            for s in range(1, t + 1):
                y[t] += x[s]
        for t in range(4):
            y[t] = 0
            for s in range(t, 6):
                y[t] += x[s]
        """,
        None,
    ),
    "powers of 3/2 and 5/2 of a sum": (
        roots_shared,
        """
        for t in range(6):
            y[t] = z[t] / np.sqrt(x[t] ** 2 + 1) ** 3
            z[t] = np.sqrt(x[t] ** 2 + 1) ** -5
        """,
        """
        for t in range(6):
            root_1 = np.sqrt(x[t] * x[t] + real(1))
            root_1_inverse = real(1) / root_1
            root_1_inverse_2 = root_1_inverse * root_1_inverse
            root_1_inverse_3 = root_1_inverse * root_1_inverse_2
            root_1_inverse_5 = root_1_inverse_2 * root_1_inverse_3
            y[t] = z[t] * root_1_inverse_3
            z[t] = root_1_inverse_5
        """,
    ),
    "a root and its reciprocal": (
        roots_shared,
        """
        for t in range(6):
            y[t] = np.sqrt(x[t] ** 2 + 1)
            z[t] = 1 / np.sqrt(x[t] ** 2 + 1)
        """,
        """
        for t in range(6):
            root_1 = np.sqrt(x[t] * x[t] + real(1))
            root_1_inverse = real(1) / root_1
            y[t] = root_1
            z[t] = root_1_inverse
        """,
    ),
    "one power of 3/2 of an element": (
        roots_shared,
        """
        for t in range(6):
            y[t] = np.sqrt(x[t]) ** 3
        """,
        None,
    ),
    "branches under one condition with a sum between": (
        branches_together,
        """
        for t in range(6):
            if x[t] > 0:
                a = exp(x[t])
            else:
                a = 0
            y[0] += x[t]
            if x[t] > 0:
                z[t] = 2 * exp(x[t])
        """,
        """
        for t in range(6):
            if x[t] > real(0):
                a = exp(x[t])
                z[t] = real(2) * exp(x[t])
            else:
                a = real(0)
            y[0] += x[t]
        """,
    ),
    "branches of which one reads what is between": (
        branches_together,
        """
        for t in range(6):
            if x[t] > 0:
                y[t] = exp(x[t])
            z[t] = 2 * x[t]
            if x[t] > 0:
                z[t] += exp(x[t])
        """,
        None,
    ),
    "branches of which one reads what the other one sets": (
        branches_together,
        """
        for t in range(6):
            if x[t] > 0:
                y[t] = exp(x[t])
            z[t] = x[t]
            if x[t] > 0:
                w[t, 0] = sin(y[t])
        """,
        None,
    ),
    "a call in a branch of some iterations": (
        hoisted,
        """
        for t in range(6):
            if x[t] > 0:
                y[t] = exp(z[0]) + 1 / z[1]
        """,
        """
        exp_1 = exp(z[0])
        for t in range(6):
            if x[t] > real(0):
                y[t] = exp_1 + real(1) / z[1]
        """,
    ),
    "a call under a condition that the loop does not change": (
        hoisted,
        """
        for t in range(6):
            if z[0] > 0:
                y[t] = exp(z[0]) * x[t]
            x[t] = 1
        """,
        None,
    ),
    "copies of neighbours": (
        rolled,
        """
        for t in range(6):
            w[t, 0] = x[1]
            w[t, 1] = x[2]
            w[t, 2] = x[3]
            y[t] = z[t]
        """,
        """
        for t in range(6):
            for k in range(3):
                w[t, k] = x[k + 1]
            y[t] = z[t]
        """,
    ),
    "two copies": (
        rolled,
        """
        for t in range(6):
            w[t, 0] = x[1]
            w[t, 1] = x[2]
        """,
        None,
    ),
    "copies by other steps": (
        rolled,
        """
        for t in range(6):
            w[t, 0] = x[1]
            w[t, 1] = x[2]
            w[t, 2] = x[0]
        """,
        None,
    ),
    "a guard that keeps an index below a bound": (
        bounded,
        """
        for t in range(6):
            for u in range(6):
                if u <= t:
                    y[t] += x[u]
        """,
        """
        for t in range(6):
            for u in range(t + 1):
                y[t] += x[u]
        """,
    ),
    "a guard beside work that has none": (
        bounded,
        """
        for t in range(6):
            for u in range(6):
                y[u] = x[u]
                if u <= t:
                    z[t] += x[u]
        """,
        None,
    ),
    "a bound from below": (
        bounded,
        """
        for t in range(6):
            for u in range(6):
                if u > t:
                    y[t] += x[u]
        """,
        """
        for t in range(6):
            for u in range(t + 1, 6):
                y[t] += x[u]
        """,
    ),
    "bounds on both sides": (
        bounded,
        """
        for t in range(6):
            for u in range(6):
                if u >= t and u <= t and u < 5:
                    y[t] += x[u]
        """,
        """
        for t in range(6):
            for u in range(t, t + 1):
                if u < 5:
                    y[t] += x[u]
        """,
    ),
    "a bound that a label gives": (
        bounded,
        """
        for n in range(N):
            for u in range(6):
                if u < l[n]:
                    r[n] += x[u]
        """,
        """
        for n in range(N):
            for u in range(l[n]):
                r[n] += x[u]
        """,
    ),
    "a bound that may pass the extent": (
        bounded,
        """
        for t in range(6):
            for u in range(6):
                if u < 2 * t:
                    y[t] += x[u]
        """,
        None,
    ),
    "a window, which the ends of the axis cut": (
        bounded,
        """
        for n in range(40):
            for k in range(40):
                if n - k <= 2 and k - n < 3:
                    u[n] += v[k]
        """,
        """
        for n in range(40):
            for k in range(max(0, n - 2), min(40, n + 3)):
                u[n] += v[k]
        """,
    ),
    "a window of a loop that is written out": (
        bounded,
        """
        for n in range(40):
            for k in range(6):
                if n - k <= 2 and k - n < 4:
                    u[n] += v[k]
        """,
        None,
    ),
    "neighbours under one condition": (
        joined,
        """
        for t in range(6):
            if x[t] > 0:
                y[t] = x[t]
            if x[t] > 0:
                z[t] = y[t]
        """,
        """
        for t in range(6):
            if x[t] > real(0):
                y[t] = x[t]
                z[t] = y[t]
        """,
    ),
    "a condition that the first branch changes": (
        joined,
        """
        for t in range(6):
            if x[t] > 0:
                x[t] = y[t]
            if x[t] > 0:
                z[t] = y[t]
        """,
        None,
    ),
    "a condition that a loop does not change": (
        guarded_once,
        """
        for t in range(6):
            for u in range(6):
                if t < 2:
                    y[t] += x[u]
        """,
        """
        for t in range(6):
            if t < 2:
                for u in range(6):
                    y[t] += x[u]
        """,
    ),
    "a condition on data that the loop does not change": (
        guarded_once,
        """
        for t in range(6):
            for u in range(6):
                if z[t] > 2:
                    y[t] += x[u]
        """,
        """
        for t in range(6):
            if z[t] > real(2):
                for u in range(6):
                    y[t] += x[u]
        """,
    ),
    "a condition on data that the loop changes": (
        guarded_once,
        """
        for t in range(6):
            for u in range(6):
                if y[t] < 2:
                    y[t] += x[u]
        """,
        None,
    ),
    "a condition on the index of the loop": (
        guarded_once,
        """
        for u in range(6):
            if u < 2:
                y[2] += x[u]
        """,
        None,
    ),
    "sums into elements that are never the same": (
        carried,
        """
        for t in range(6):
            z[0] += x[t]
            z[1] += y[t]
        """,
        """
        z_total = real(0)
        z_1 = real(0)
        for t in range(6):
            z_total += x[t]
            z_1 += y[t]
        z[0] += z_total
        z[1] += z_1
        """,
    ),
    "sums into elements that may be the same": (
        carried,
        """
        for t in range(6):
            z[0] += x[t]
            z[t] += y[t]
        """,
        """
        z_total = real(0)
        for t in range(6):
            z_total += x[t]
            z[t] += y[t]
        z[0] += z_total
        """,
    ),
    "a sum into an element that another statement sets": (
        carried,
        """
        for t in range(6):
            z[0] += x[t]
            z[t] = y[t]
        """,
        None,
    ),
    "a sum that starts at 0, into an element that may get more": (
        carried,
        """
        z[0] = 0
        for t in range(6):
            z[0] += x[t]
            z[t] += y[t]
        """,
        """
        z[0] = real(0)
        z_total = real(0)
        for t in range(6):
            z_total += x[t]
            z[t] += y[t]
        z[0] += z_total
        """,
    ),
    "a sum that starts at 0": (
        carried,
        """
        for t in range(6):
            y[t] = 0
            for u in range(6):
                y[t] += x[u]
        """,
        """
        for t in range(6):
            y_t = real(0)
            for u in range(6):
                y_t += x[u]
            y[t] = y_t
        """,
    ),
    "a sum that goes on": (
        carried,
        """
        for u in range(6):
            if u > 1:
                y[2] += x[u]
        """,
        """
        y_2 = real(0)
        for u in range(6):
            if u > 1:
                y_2 += x[u]
        y[2] += y_2
        """,
    ),
    "a sum under a condition that keeps its place inside": (
        carried,
        """
        for t in range(9):
            for u in range(6):
                if t < 6:
                    y[t] += x[u]
        """,
        """
        for t in range(9):
            y_t = real(0)
            for u in range(6):
                if t < 6:
                    y_t += x[u]
            if t < 6:
                y[t] += y_t
        """,
    ),
    "a place that a condition on both indices keeps inside": (
        carried,
        """
        for t in range(9):
            for u in range(6):
                if t + u < 6:
                    y[t] += x[u]
        """,
        None,
    ),
    "a sum that is read in its loop": (
        carried,
        """
        for u in range(6):
            y[0] += x[u]
            z[u] = y[0]
        """,
        None,
    ),
    "an addition": (
        in_place,
        """
        for t in range(6):
            y[t] = y[t] + x[t] * z[t]
        """,
        """
        for t in range(6):
            y[t] += x[t] * z[t]
        """,
    ),
    "a division by what a loop does not change": (
        hoisted,
        """
        for t in range(6):
            for u in range(6):
                w[t, u] = x[u] / y[t]
        """,
        """
        for t in range(6):
            reciprocal = real(1) / y[t]
            for u in range(6):
                w[t, u] = x[u] * reciprocal
        """,
    ),
    "a division by what a loop changes": (
        hoisted,
        """
        for u in range(6):
            x[u] = z[u] / x[0]
        """,
        None,
    ),
    "a division that a condition guards": (
        hoisted,
        """
        for u in range(6):
            if u < 3:
                x[u] = z[u] / y[0]
        """,
        None,
    ),
    "a call in two statements": (
        shared,
        """
        for t in range(6):
            y[t] = exp(x[t])
            z[t] = 2 * exp(x[t])
        """,
        """
        for t in range(6):
            exp_1 = exp(x[t])
            y[t] = exp_1
            z[t] = real(2) * exp_1
        """,
    ),
    "cases of which one has a call": (
        shared,
        """
        for t in range(6):
            y[t] = z[t] - (2 * exp(x[t]) if w[t, 0] > 0 else 1)
            z[t] = 2 * exp(x[t]) if w[t, 0] > 0 else 1
            if w[t, 0] > 0:
                v[t] = exp(x[t]) * x[t]
            if not (w[t, 0] > 0) and x[t] > 0:
                v[t] = exp(x[t])
        """,
        """
        for t in range(6):
            case_1 = real(2) * exp(x[t]) if w[t, 0] > real(0) else real(1)
            y[t] = z[t] - case_1
            z[t] = case_1
            if w[t, 0] > real(0):
                v[t] = real(0.5) * x[t] * case_1
            if x[t] > real(0) and not (w[t, 0] > real(0)):
                v[t] = exp(x[t])
        """,
    ),
    "cases whose operand changes before their call is made again": (
        shared,
        """
        for t in range(6):
            y[t] = z[t] - (exp(x[t]) if w[t, 0] > 0 else 1)
            z[t] = exp(x[t]) if w[t, 0] > 0 else 1
            x[t] = 2 * z[t]
            if w[t, 0] > 0:
                v[t] = exp(x[t])
        """,
        """
        for t in range(6):
            case_1 = exp(x[t]) if w[t, 0] > real(0) else real(1)
            y[t] = z[t] - case_1
            z[t] = case_1
            x[t] = real(2) * z[t]
            if w[t, 0] > real(0):
                v[t] = exp(x[t])
        """,
    ),
    "cases without a call, and cases that are made once": (
        shared,
        """
        for t in range(6):
            y[t] = x[t] if w[t, 0] > 0 else 1
            z[t] = x[t] if w[t, 0] > 0 else 1
            v[t] = exp(x[t]) if w[t, 0] > 0 else 1
            if w[t, 0] > 0:
                u[t] = exp(x[t])
        """,
        None,
    ),
    "a cosine and a sine of one angle with a store between": (
        shared,
        """
        for t in range(6):
            y[t] = cos(2 * x[t])
            z[t] = y[t] + sin(2 * x[t])
        """,
        """
        for t in range(6):
            cos_1 = cos(real(2) * x[t])
            sin_1 = sin(real(2) * x[t])
            y[t] = cos_1
            z[t] = y[t] + sin_1
        """,
    ),
    "a cosine and a sine of one angle without a store between": (
        shared,
        """
        for t in range(6):
            a = cos(x[t])
            y[t] = a * sin(x[t])
        """,
        None,
    ),
    "a cosine, and a sine in a branch": (
        shared,
        """
        for t in range(6):
            y[t] = cos(x[t])
            if y[t] > 0:
                z[t] = sin(x[t])
        """,
        None,
    ),
    "a call whose operand changes between": (
        shared,
        """
        for t in range(6):
            y[t] = exp(x[t])
            x[t] = 2 * y[t]
            z[t] = exp(x[t])
        """,
        None,
    ),
    "a call that all branches make": (
        shared,
        """
        for t in range(6):
            if y[t] > 0:
                z[t] = exp(x[t])
            else:
                z[t] = 1 + exp(x[t])
        """,
        """
        for t in range(6):
            exp_1 = exp(x[t])
            if y[t] > real(0):
                z[t] = exp_1
            else:
                z[t] = exp_1 + real(1)
        """,
    ),
    "a call that one branch makes": (
        shared,
        """
        for t in range(6):
            if y[t] > 0:
                z[t] = exp(x[t])
            if z[t] > 0:
                y[t] = exp(x[t])
        """,
        None,
    ),
    "a call that a branch makes, and what follows it": (
        shared,
        """
        for t in range(6):
            if y[t] > 0:
                z[t] = exp(x[t])
            y[t] = exp(x[t])
        """,
        """
        for t in range(6):
            exp_1 = exp(x[t])
            if y[t] > real(0):
                z[t] = exp_1
            y[t] = exp_1
        """,
    ),
    "an element that two statements read": (
        read_once,
        """
        for t in range(6):
            y[t] = 2 * x[t]
            z[t] = x[t] + 1
        """,
        """
        for t in range(6):
            x_t = x[t]
            y[t] = real(2) * x_t
            z[t] = x_t + real(1)
        """,
    ),
    "an element that is written between": (
        read_once,
        """
        for t in range(6):
            y[t] = 2 * x[t]
            x[t] = z[t]
            z[t] = x[t] + 1
        """,
        None,
    ),
    "an element that a loop with stores reads": (
        read_once,
        """
        for t in range(6):
            y[t] = x[t] * z[0]
        """,
        """
        z_0 = z[0]
        for t in range(6):
            y[t] = x[t] * z_0
        """,
    ),
    "an element that each iteration of an inner loop reads twice": (
        read_once,
        """
        for s in range(6):
            for t in range(6):
                w[s, t] = x[s] * y[t]
                z[t] += x[s]
        """,
        """
        for s in range(6):
            x_s = x[s]
            for t in range(6):
                w[s, t] = x_s * y[t]
                z[t] += x_s
        """,
    ),
    "an element outside of the array before the loop that reads it": (
        read_once,
        """
        for s in range(6):
            for t in range(s):
                y[t] = x[s - 1] * z[t]
                w[s, t] = x[s - 1]
        """,
        """
        for s in range(6):
            for t in range(s):
                x_ = x[s - 1]
                y[t] = x_ * z[t]
                w[s, t] = x_
        """,
    ),
    "branches with calls": (
        branched,
        """
        for t in range(6):
            y[t] = exp(x[t]) if x[t] < 0 else 1
        """,
        """
        for t in range(6):
            if x[t] < real(0):
                y[t] = exp(x[t])
            else:
                y[t] = real(1)
        """,
    ),
    "branches after one another": (
        branched,
        """
        for t in range(6):
            y[t] = exp(x[t]) if x[t] < 0 else (sin(x[t]) if x[t] < 1 else 1)
        """,
        """
        for t in range(6):
            if x[t] < real(0):
                y[t] = exp(x[t])
            elif x[t] < real(1):
                y[t] = sin(x[t])
            else:
                y[t] = real(1)
        """,
    ),
    "a choice": (
        branched,
        """
        for t in range(6):
            y[t] = x[t] if x[t] < 0 else 1
        """,
        None,
    ),
    "a sum of a few terms beside others": (
        unrolled,
        """
        for t in range(6):
            y[t] = 0
            for u in range(3):
                y[t] += w[t, u]
            z[t] = y[t]
        """,
        """
        for t in range(6):
            y[t] = w[t, 0] + w[t, 1] + w[t, 2]
            z[t] = y[t]
        """,
    ),
    "a few additions beside others": (
        unrolled,
        """
        for t in range(6):
            z[t] = x[t]
            for u in range(2):
                w[t, u] += x[t]
                y[u] += x[t]
        """,
        """
        for t in range(6):
            z[t] = x[t]
            w[t, 0] += x[t]
            y[0] += x[t]
            w[t, 1] += x[t]
            y[1] += x[t]
        """,
    ),
    "all that a row does": (
        unrolled,
        """
        for t in range(6):
            for u in range(3):
                y[t] += w[t, u]
        """,
        None,
    ),
    "many terms": (
        unrolled,
        """
        for t in range(6):
            z[t] = x[t]
            for u in range(6):
                y[t] += w[t, u]
        """,
        None,
    ),
    "powers of one value": (
        powers_shared,
        """
        for t in range(6):
            y[t] = x[t] ** 6 - 1 / x[t] ** 2
            z[t] = x[0] ** 3 / x[t] ** 3
        """,
        """
        for t in range(6):
            x_2 = x[t] * x[t]
            x_3 = x[t] * x_2
            x_6 = x_3 * x_3
            x_inverse = real(1) / x[t]
            x_inverse_2 = x_inverse * x_inverse
            x_inverse_3 = x_inverse * x_inverse_2
            y[t] = x_6 - x_inverse_2
            z[t] = (x[0] * x[0] * x[0]) * x_inverse_3
        """,
    ),
    "a square": (
        powers_shared,
        """
        for t in range(6):
            y[t] = x[t] ** 2 + x[t]
        """,
        None,
    ),
    "powers of what changes between": (
        powers_shared,
        """
        for t in range(6):
            y[t] = x[t] ** 6
            x[t] = 1
            z[t] = x[t] ** 5
        """,
        None,
    ),
    "sums into elements one of which lies before the other": (
        carried,
        """
        for t in range(6):
            for u in range(t + 1, 6):
                y[u] += x[t]
                y[t] += x[u]
        """,
        """
        for t in range(6):
            y_t = real(0)
            for u in range(t + 1, 6):
                y_t += x[u]
                y[u] += x[t]
            y[t] += y_t
        """,
    ),
    "elements of its own": (
        scratch_in_locals,
        """
        p = scratch(1, 3)
        for t in range(6):
            p[0, 0] = x[t]
            p[0, 2] = y[t]
            p[0, 2] += x[t]
            z[t] = p[0, 0] * p[0, 2]
        """,
        """
        for t in range(6):
            p_0 = x[t]
            p_2 = y[t]
            p_2 += x[t]
            z[t] = p_0 * p_2
        """,
    ),
    "elements of its own that a loop goes through": (
        scratch_in_locals,
        """
        p = scratch(1, 6)
        for t in range(6):
            p[0, t] = x[t]
            z[t] = p[0, t]
        """,
        None,
    ),
    "a value of the step before": (
        last_values_in_locals,
        """
        for t in steps(6):
            y[t] = x[t] * y[t - 1] if t >= 1 else x[0]
            z[t] = 2 * y[t]
        """,
        """
        y_last = real(0)
        for t in range(6):
            y_last = x[t] * y_last if t >= 1 else x[0]
            y[t] = y_last
            z[t] = real(2) * y_last
        """,
    ),
    "values of two steps before, of another array too": (
        last_values_in_locals,
        """
        for t in steps(6):
            y[t] = y[t - 1] + y[t - 2] if t >= 2 else 1
            z[t] = y[t - 1] + z[t - 1] if t >= 1 else 0
        """,
        """
        y_last = real(0)
        y_last_ = real(0)
        z_last = real(0)
        for t in range(6):
            y_now = y_last + y_last_ if t >= 2 else real(1)
            y[t] = y_now
            z_last = y_last + z_last if t >= 1 else real(0)
            z[t] = z_last
            y_last_ = y_last
            y_last = y_now
        """,
    ),
    "a value of the step before, last step first": (
        last_values_in_locals,
        """
        for n in back(N):
            r[n] = r[n] * r[n + 1] if n + 1 < N else x[0]
        """,
        None,
    ),
    "an adjoint of the step before": (
        last_values_in_locals,
        """
        for t in back(6):
            z[t] = y[t]
            if t >= 1:
                y[t - 1] += x[t] * y[t]
        """,
        """
        y_now = y[5]
        for t in range(5, -1, -1):
            z[t] = y_now
            if t >= 1:
                y_next = x[t] * y_now + y[t - 1]
                y[t - 1] = y_next
                y_now = y_next
        """,
    ),
    "an adjoint that is read after it is handed on": (
        last_values_in_locals,
        """
        for t in back(6):
            if t >= 1:
                y[t - 1] += x[t] * y[t]
            z[t] = 2 * y[t]
        """,
        None,
    ),
    "an adjoint that not each step hands on": (
        last_values_in_locals,
        """
        for t in back(6):
            if t >= 2:
                y[t - 1] += x[t] * y[t]
        """,
        None,
    ),
    "an adjoint of any step": (
        last_values_in_locals,
        """
        for t in back(6):
            if x[t] > 0 and t >= 1:
                y[t - 1] += x[t] * y[t]
        """,
        None,
    ),
    "a last iteration of its own": (
        borders_apart,
        """
        for n in range(N):
            if N > n + 1:
                r[n] = exp(r[n + 1])
            else:
                r[n] = 0
        """,
        """
        for n in range(N - 1):
            r[n] = exp(r[n + 1])
        for n in range(N - 1, N):
            r[n] = real(0)
        """,
    ),
    "a first iteration of its own": (
        borders_apart,
        """
        for t in range(6):
            z[t] = x[t]
            if t >= 1:
                y[t] = exp(x[t - 1])
        """,
        """
        for t in range(1):
            z[t] = x[t]
        for t in range(1, 6):
            z[t] = x[t]
            y[t] = exp(x[t - 1])
        """,
    ),
    "a formula with choices at both ends": (
        borders_apart,
        """
        for t in range(40):
            v[t] = (u[t - 1] if t > 0 else 0) + (u[t + 1] if t < 39 else 0) + (u[t - 2] if t >= 2 and x[0] > 0 else 0)
        """,
        """
        for t in range(2):
            v[t] = u[t + 1] + (u[t - 1] if t > 0 else real(0))
        for t in range(2, 39):
            v[t] = u[t + 1] + u[t - 1] + (u[t - 2] if x[0] > real(0) else real(0))
        v[39] = u[38] + (u[37] if x[0] > real(0) else real(0))
        """,
    ),
    "nothing but in one way": (
        borders_apart,
        """
        for n in range(N):
            if n + 1 < N:
                r[n] = exp(r[n + 1])
        """,
        """
        for n in range(N - 1):
            r[n] = exp(r[n + 1])
        """,
    ),
    "a branch on data": (
        borders_apart,
        """
        for t in range(6):
            if x[t] >= 1:
                y[t] = exp(x[t])
        """,
        None,
    ),
    "a border that may lie outside": (
        borders_apart,
        """
        for n in range(N):
            if n >= 2:
                r[n] = exp(r[n])
        """,
        None,
    ),
    "rows whose elements lie apart": (
        in_row_blocks,
        """
        for n in range(N):
            y[l[n]] += exp(x[l[n]] * r[n])
        """,
        """
        rows = scratch(2, 256)
        for first in range(0, N, 256):
            for row in range(min(256, N - first)):
                rows[0, row] = x[l[first + row]]
            for row in range(min(256, N - first)):
                x_l = rows[0, row]
                rows[1, row] = exp(r[first + row] * x_l)
            for row in range(min(256, N - first)):
                y[l[first + row]] += rows[1, row]
        """,
    ),
    "rows with branches": (
        in_row_blocks,
        """
        for n in range(N):
            s = r[n]
            if s > 0:
                a = exp(s) + exp(-s)
                b = 2 * a
            else:
                b = 1
            r[n] = b * x[0]
        """,
        """
        x_0 = x[0]
        for n in range(N):
            s = r[n]
            a = exp(-s) + exp(s)
            b = real(2) * a if s > real(0) else real(1)
            r_ = b * x_0
            r[n] = r_
        """,
    ),
    "rows of which a branch alone reads something": (
        in_row_blocks,
        """
        for n in range(N):
            if r[n] > 0:
                y[l[n]] += exp(x[l[n]])
        """,
        None,
    ),
    "rows of which a label's value tells what there is": (
        in_row_blocks,
        """
        for n in range(N):
            if l[n] > 0:
                y[l[n] - 1] += 3 * exp(exp(x[l[n] - 1]))
        """,
        """
        rows = scratch(2, 256)
        for first in range(0, N, 256):
            for row in range(min(256, N - first)):
                rows[0, row] = x[l[first + row] - 1] if l[first + row] > 0 else real(0)
            for row in range(min(256, N - first)):
                x_ = rows[0, row]
                exp_1 = exp(x_)
                exp_2 = exp(exp_1)
                rows[1, row] = real(3) * exp_2
            for row in range(min(256, N - first)):
                if l[first + row] > 0:
                    y[l[first + row] - 1] += rows[1, row]
        """,
    ),
    "rows of which a branch reads what the loop changes": (
        in_row_blocks,
        """
        for n in range(N):
            if l[n] > 0:
                y[l[n] - 1] += exp(exp(r[n]))
                r[n] = exp(exp(y[l[n] - 1]))
        """,
        None,
    ),
    "rows of a step, whose number tells what there is": (
        in_row_blocks,
        """
        for t in range(6):
            for n in range(N):
                s = (hidden[t - 1, n] if t > 0 else 0) + x[l[n]]
                hidden[t, n] = exp(exp(s))
                if t > 0:
                    hidden_bar[t - 1, n] += s
        """,
        """
        rows = scratch(2, 256)
        for t in range(6):
            for first in range(0, N, 256):
                for row in range(min(256, N - first)):
                    rows[0, row] = x[l[first + row]]
                for row in range(min(256, N - first)):
                    x_l = rows[0, row]
                    s = x_l + (hidden[t - 1, first + row] if t > 0 else real(0))
                    hidden[t, first + row] = exp(exp(s))
                    rows[1, row] = s
                if t > 0:
                    for row in range(min(256, N - first)):
                        hidden_bar[t - 1, first + row] += rows[1, row]
        """,
    ),
    "rows of which both ways of a branch set an element": (
        in_row_blocks,
        """
        for t in range(6):
            for n in range(N):
                if t > 0:
                    hidden[t, n] = exp(exp(x[l[n]]))
                else:
                    hidden[t, n] = 1
        """,
        """
        rows = scratch(1, 256)
        for t in range(6):
            for first in range(0, N, 256):
                for row in range(min(256, N - first)):
                    rows[0, row] = x[l[first + row]] if t > 0 else real(0)
                for row in range(min(256, N - first)):
                    x_l = rows[0, row]
                    exp_1 = exp(x_l)
                    exp_2 = exp(exp_1)
                    hidden[t, first + row] = exp_2 if t > 0 else real(1)
        """,
    ),
    "rows that read what the row before them stored": (
        in_row_blocks,
        """
        for t in range(6):
            for n in range(1, N):
                hidden[t, n] = exp(exp(x[l[n]] + hidden[t, n - 1]))
        """,
        None,
    ),
    "rows that lie side by side": (
        in_row_blocks,
        """
        for n in range(N):
            r[n] = exp(r[n])
        """,
        None,
    ),
    "rows that read what others store": (
        in_row_blocks,
        """
        for n in range(N):
            x[l[n]] = exp(exp(exp(x[0] * r[n])))
        """,
        None,
    ),
    "too little to compute": (
        in_row_blocks,
        """
        for n in range(N):
            y[l[n]] += x[l[n]] * r[n]
        """,
        None,
    ),
    "a copy of a local": (
        without_copies,
        """
        for t in range(6):
            exp_1 = exp(x[t])
            a = exp_1
            for u in range(6):
                b = a
                w[t, u] = b + exp_1
        """,
        """
        for t in range(6):
            b = exp(x[t])
            for u in range(6):
                w[t, u] = real(2) * b
        """,
    ),
    "a copy of a formula's value": (
        without_copies,
        """
        for t in range(6):
            h = scratch(1)
            exp_1 = exp(x[t])
            h = exp_1
            b = h
            w[t, 0] = b + exp_1
        """,
        """
        for t in range(6):
            h = scratch(1)
            h = exp(x[t])
            w[t, 0] = real(2) * h
        """,
    ),
    "a copy of what changes": (
        without_copies,
        """
        for t in range(6):
            a = x[t]
            b = a
            a += y[t]
            z[t] = a * b
        """,
        None,
    ),
    "locals that nobody reads": (
        without_unused,
        """
        for t in range(6):
            a = exp(x[t])
            b = 2 * a
            y[t] = x[t]
        """,
        """
        for t in range(6):
            y[t] = x[t]
        """,
    ),
    "a local that one branch reads": (
        without_unused,
        """
        for t in range(6):
            if x[t] > 0:
                a = exp(x[t])
                y[t] = a
            else:
                a = 0
        """,
        """
        for t in range(6):
            if x[t] > real(0):
                a = exp(x[t])
                y[t] = a
        """,
    ),
    "a local that the next iteration reads": (
        without_unused,
        """
        a = 0
        for t in range(6):
            y[t] = a
            a = x[t]
        """,
        None,
    ),
    "a loop of which nothing is left": (
        without_unused,
        """
        for t in range(6):
            if x[t] > 0:
                a = exp(x[t])
        y[0] = 1
        """,
        """
        y[0] = real(1)
        """,
    ),
    "a total over rows that are added to": (
        in_blocks,
        """
        s = 0
        for n in range(N):
            r[n] += x[1]
            s += r[n]
        x[0] = s
        """,
        """
        x[0] = real(0)
        for first in range(0, N, 4096):
            s_part = real(0)
            for row in range(min(4096, N - first)):
                r[first + row] += x[1]
                s_part += r[first + row]
            x[0] += s_part
        """,
    ),
    "a total over rows": (
        in_blocks,
        """
        s = 0
        for n in range(N):
            s += r[n]
        y[0] = s
        """,
        """
        y[0] = real(0)
        for first in range(0, N, 4096):
            s_part = real(0)
            for n in range(first, min(first + 4096, N)):
                s_part += r[n]
            y[0] += s_part
        """,
    ),
    "a total over rows that is no sum alone": (
        in_blocks,
        """
        s = 0
        for n in range(N):
            s += r[n]
        y[0] = s / 2
        """,
        """
        s = real(0)
        for first in range(0, N, 4096):
            s_part = real(0)
            for n in range(first, min(first + 4096, N)):
                s_part += r[n]
            s += s_part
        y[0] = real(0.5) * s
        """,
    ),
    "a total over rows whose place is read before": (
        in_blocks,
        """
        s = 0
        x[0] = y[0]
        for n in range(N):
            s += r[n]
        y[0] = s
        """,
        """
        s = real(0)
        x[0] = y[0]
        for first in range(0, N, 4096):
            s_part = real(0)
            for n in range(first, min(first + 4096, N)):
                s_part += r[n]
            s += s_part
        y[0] = s
        """,
    ),
    "a total over rows to what is there": (
        in_blocks,
        """
        s = 0
        for n in range(N):
            s += r[n]
        y[0] += s
        """,
        """
        for first in range(0, N, 4096):
            s_part = real(0)
            for n in range(first, min(first + 4096, N)):
                s_part += r[n]
            y[0] += s_part
        """,
    ),
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda name: f"{EXAMPLES[name][0].__name__}: {name}")
def test_worked_examples(example: str) -> None:
    change, before, after = EXAMPLES[example]
    given = function(before, **SHAPES)
    with as_written():
        found = text_of(change(given))
    assert found == (text_of(given) if after is None else shown(after))


@pytest.mark.parametrize(
    ("text", "position", "name"),
    [("s_1 = x[0]; y[0] = 1; y[1] = s_1", 1, "s_2"), ("s_1 = x[0]; y[1] = s_1; y[0] = 1", 2, "s_1")],
)
def test_new_locals_differ_from_those_that_last_past_other_statements(text: str, position: int, name: str) -> None:
    with as_written():
        given = function(text, **SHAPES)
        fresh = Fresh(given)
        fresh.restart(given.body[position])
        assert fresh.numbered("s") == name


@pytest.mark.parametrize("change", PASSES, ids=lambda change: change.__name__)
def test_random_kernels_compute_the_same_after_it(change: Callable[[Function], Function]) -> None:
    position = PASSES.index(change)
    changed = [c for c in random_cases() if c.stages[position] != c.stages[position + 1]]
    assert changed, "no kernel has what this pass changes"
    with as_written():
        for case in changed:
            before, after = case.stages[position : position + 2]
            check_code(after)
            assert differences(case, before, after) == [], (case.seed, after.name)


def test_random_kernels_compute_the_same_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "FEWEST": 1,
        "ROWS": 2,
        "SHARE": 0,
    }.items():  # of the few rows of random specs, all pay
        monkeypatch.setattr(row_blocks, name, value)
    monkeypatch.setattr(row_work, "LEAST", -1000)
    position, changed = PASSES.index(in_row_blocks), 0
    with as_written():
        for case in random_cases():
            before = case.stages[position]
            after = in_row_blocks(before)
            changed += after != before
            check_code(after)
            assert differences(case, before, after) == [], (case.seed, after.name)
    assert changed > 10
