"""Gradients of some models as a person writes them by hand for numba: one loop over rows, values then adjoints.

Each takes (parameters, inputs) and gives (objective, gradient). Sums are plain, and formulas those of the specs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray
OPTIONS = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}, "error_model": "numpy"}


@njit(**OPTIONS)
def bonds(parameters, i, j, length, stiffness, p, q, s, angle, bending):
    x = parameters.reshape(-1, 3)
    bar = np.zeros_like(x)
    total = 0.0
    for b in range(i.shape[0]):
        d0, d1, d2 = x[i[b], 0] - x[j[b], 0], x[i[b], 1] - x[j[b], 1], x[i[b], 2] - x[j[b], 2]
        r = math.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
        stretch = stiffness[b] * (r - length[b])
        total += 0.5 * stretch * (r - length[b])
        g = stretch / r
        for k, d in enumerate((d0, d1, d2)):
            bar[i[b], k] += g * d
            bar[j[b], k] -= g * d
    for a in range(p.shape[0]):
        P, Q, S = p[a], q[a], s[a]
        u0, u1, u2 = x[P, 0] - x[Q, 0], x[P, 1] - x[Q, 1], x[P, 2] - x[Q, 2]
        v0, v1, v2 = x[S, 0] - x[Q, 0], x[S, 1] - x[Q, 1], x[S, 2] - x[Q, 2]
        uu, vv = u0 * u0 + u1 * u1 + u2 * u2, v0 * v0 + v1 * v1 + v2 * v2
        n = 1 / math.sqrt(uu * vv)
        c = (u0 * v0 + u1 * v1 + u2 * v2) * n
        t = math.acos(c) - angle[a]
        total += 0.5 * bending[a] * t * t
        g = -bending[a] * t / math.sqrt(1 - c * c)
        for k, u, v in ((0, u0, v0), (1, u1, v1), (2, u2, v2)):
            gu, gv = g * (v * n - c * u / uu), g * (u * n - c * v / vv)
            bar[P, k] += gu
            bar[S, k] += gv
            bar[Q, k] -= gu + gv
    return total, bar.ravel()


@njit(**OPTIONS)
def pairs(parameters, depth, width):
    x = parameters.reshape(-1, 3)
    bar = np.zeros_like(x)
    total, w2 = 0.0, width * width
    for i in range(x.shape[0]):
        x0, x1, x2 = x[i, 0], x[i, 1], x[i, 2]
        b0, b1, b2 = 0.0, 0.0, 0.0
        for j in range(i + 1, x.shape[0]):
            d0, d1, d2 = x0 - x[j, 0], x1 - x[j, 1], x2 - x[j, 2]
            r = 1 / (d0 * d0 + d1 * d1 + d2 * d2)
            s2 = w2 * r
            s6 = s2 * s2 * s2
            total += s6 * s6 - s6
            g = (6 * s6 - 12 * s6 * s6) * r
            b0 += g * d0
            b1 += g * d1
            b2 += g * d2
            bar[j, 0] -= g * d0
            bar[j, 1] -= g * d1
            bar[j, 2] -= g * d2
        bar[i, 0] += b0
        bar[i, 1] += b1
        bar[i, 2] += b2
    return 4 * depth * total, 4 * depth * bar.ravel()


@njit(**OPTIONS)
def survival(beta, x, event):
    eta = x @ beta
    most = eta.max()
    e = np.exp(eta - most)
    risk = np.empty_like(e)
    running, total = 0.0, 0.0
    for n in range(len(e) - 1, -1, -1):
        running += e[n]
        risk[n] = running
    bar, running = np.empty_like(e), 0.0
    for n in range(len(e)):
        total -= event[n] * (eta[n] - most - math.log(risk[n]))
        running += event[n] / risk[n]
        bar[n] = e[n] * running - event[n]
    return total, x.T @ bar


@njit(**OPTIONS)
def markov(p, word):
    states, times = 16, word.shape[1]
    start, a, e = p[:16], p[16:272].reshape(16, 16), p[272:].reshape(16, 30)
    move, shown = np.empty_like(a), np.empty_like(e)
    for j in range(states):
        move[j] = np.exp(a[j] - a[j].max())
        move[j] /= move[j].sum()
        shown[j] = np.exp(e[j] - e[j].max())
        shown[j] /= shown[j].sum()
    rows = word.shape[0]
    first = np.exp(start - start.max())
    total, scale = 0.0, first.sum()
    first /= scale
    begin = start.max() + math.log(scale)
    alpha, factor = np.empty((times, states)), np.empty(times)
    start_bar, move_bar, shown_bar = np.zeros(16), np.zeros_like(a), np.zeros_like(e)
    for n in range(rows):
        before = first
        total -= begin
        for t in range(times):
            now = before @ move
            for k in range(states):
                now[k] *= shown[k, word[n, t]]
            factor[t] = now.sum()
            total -= math.log(factor[t])
            now /= factor[t]
            alpha[t] = now
            before = alpha[t]
        beta = np.ones(states)
        for t in range(times - 1, -1, -1):
            before = alpha[t - 1] if t > 0 else first
            for k in range(states):
                shown_bar[k, word[n, t]] -= alpha[t, k] * beta[k]
            weighted = np.empty(states)
            for k in range(states):
                weighted[k] = shown[k, word[n, t]] * beta[k] / factor[t]
            for j in range(states):
                for k in range(states):
                    move_bar[j, k] -= before[j] * move[j, k] * weighted[k]
            beta = move @ weighted
        for k in range(states):
            start_bar[k] -= first[k] * beta[k]
    for j in range(states):
        move_bar[j] -= move[j] * move_bar[j].sum()
        shown_bar[j] -= shown[j] * shown_bar[j].sum()
    return total / rows, np.concatenate((start_bar, move_bar.ravel(), shown_bar.ravel())) / rows


@njit(**OPTIONS)
def ratings(p, user, item, rating, penalty):
    users, items, width = 2000, 500, 16
    P, Q = p[: users * width].reshape(users, width), p[users * width : (users + items) * width].reshape(items, width)
    a, b = p[(users + items) * width :][:users], p[(users + items) * width + users :]
    bar = np.zeros_like(p)
    P_bar = bar[: users * width].reshape(users, width)
    Q_bar = bar[users * width : (users + items) * width].reshape(items, width)
    a_bar, b_bar = bar[(users + items) * width :][:users], bar[(users + items) * width + users :]
    total, share = 0.0, 1 / len(rating)
    for n in range(len(rating)):
        u, i = user[n], item[n]
        expected, size = a[u] + b[i], a[u] * a[u] + b[i] * b[i]
        for k in range(width):
            expected += P[u, k] * Q[i, k]
            size += P[u, k] * P[u, k] + Q[i, k] * Q[i, k]
        off = expected - rating[n]
        total += off * off + penalty * size
        g, h = 2 * off * share, 2 * penalty * share
        a_bar[u] += g + h * a[u]
        b_bar[i] += g + h * b[i]
        for k in range(width):
            pu, qi = P[u, k], Q[i, k]
            P_bar[u, k] += g * qi + h * pu
            Q_bar[i, k] += g * pu + h * qi
    return total * share, bar


@njit(**OPTIONS)
def intercepts(p, group, x, count):
    beta, intercept, centre, spread = p[:8], p[8:208], p[208], p[209]
    bar = np.zeros_like(p)
    total = 0.0
    eta = x @ beta
    for n in range(len(count)):
        eta[n] += intercept[group[n]]
        rate = math.exp(eta[n])
        total += rate - count[n] * eta[n]
        eta[n] = rate - count[n]
        bar[8 + group[n]] += eta[n]
    bar[:8] = x.T @ eta
    scale = math.exp(-2 * spread)
    for g in range(200):
        off = intercept[g] - centre
        total += off * off * scale / 2 + spread
        bar[8 + g] += off * scale
        bar[208] -= off * scale
        bar[209] += 1 - off * off * scale
    return total, bar


@njit(**OPTIONS)
def arm(p, joint, end):
    bar = np.zeros(14)
    total, share = 0.0, 1 / len(end)
    cosines, sines = np.empty(7), np.empty(7)
    for n in range(len(end)):
        angle, x, y = 0.0, -end[n, 0], -end[n, 1]
        for j in range(7):
            angle += joint[n, j] + p[7 + j]
            cosines[j], sines[j] = math.cos(angle), math.sin(angle)
            x += p[j] * cosines[j]
            y += p[j] * sines[j]
        total += x * x + y * y
        back = 0.0
        for j in range(6, -1, -1):
            bar[j] += 2 * share * (x * cosines[j] + y * sines[j])
            back += 2 * share * p[j] * (y * cosines[j] - x * sines[j])
            bar[7 + j] += back
    return total * share, bar


BY_HAND: dict[str, Any] = {f.__name__: f for f in (bonds, pairs, survival, markov, ratings, intercepts, arm)}
