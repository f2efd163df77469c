"""Gradients of the models as a person writes them by hand for numba: one loop over rows, values then adjoints.

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


@njit(**OPTIONS)
def bundle(p, camera, point, seen, weight):
    cameras, points = p[: 49 * 11].reshape(49, 11), p[49 * 11 :].reshape(-1, 3)
    bar = np.zeros_like(p)
    cameras_bar, points_bar = bar[: 49 * 11].reshape(49, 11), bar[49 * 11 :].reshape(-1, 3)
    total = 0.0
    for o in range(len(weight)):
        c, x = cameras[camera[o]], points[point[o]]
        t0, t1, t2 = c[0], c[1], c[2]
        d0, d1, d2 = x[0] - c[3], x[1] - c[4], x[2] - c[5]
        square = t0 * t0 + t1 * t1 + t2 * t2
        angle, cosine, sine, rest = 0.0, 1.0, 1.0, 0.0  # sine and rest: sin a / a and (1 - cos a) / a²
        if square > 0:
            angle = math.sqrt(square)
            cosine = math.cos(angle)
            sine, rest = math.sin(angle) / angle, (1 - cosine) / square
        dot = t0 * d0 + t1 * d1 + t2 * d2
        m0, m1, m2 = t1 * d2 - t2 * d1, t2 * d0 - t0 * d2, t0 * d1 - t1 * d0
        X = d0 * cosine + m0 * sine + t0 * dot * rest
        Y = d1 * cosine + m1 * sine + t1 * dot * rest
        inverse = 1 / (d2 * cosine + m2 * sine + t2 * dot * rest)
        u, v = X * inverse, Y * inverse
        r2 = u * u + v * v
        bent = 1 + c[9] * r2 + c[10] * r2 * r2
        w = weight[o]
        e, f = w * (c[7] + c[6] * bent * u - seen[o, 0]), w * (c[8] + c[6] * bent * v - seen[o, 1])
        total += (e * e + f * f) / 2
        ge, gf = e * w, f * w
        along = ge * u + gf * v
        bent_bar = c[6] * along
        r2_bar = bent_bar * (c[9] + 2 * c[10] * r2)
        u_bar, v_bar = c[6] * bent * ge + 2 * u * r2_bar, c[6] * bent * gf + 2 * v * r2_bar
        g0, g1 = u_bar * inverse, v_bar * inverse
        g2 = -(u * u_bar + v * v_bar) * inverse
        turn = t0 * g0 + t1 * g1 + t2 * g2
        n0, n1, n2 = d1 * g2 - d2 * g1, d2 * g0 - d0 * g2, d0 * g1 - d1 * g0
        a0 = g0 * cosine + (g1 * t2 - g2 * t1) * sine + t0 * turn * rest
        a1 = g1 * cosine + (g2 * t0 - g0 * t2) * sine + t1 * turn * rest
        a2 = g2 * cosine + (g0 * t1 - g1 * t0) * sine + t2 * turn * rest
        k = 0.0
        if square > 0:
            k = (m0 * g0 + m1 * g1 + m2 * g2) * (cosine - sine) + dot * turn * (sine - 2 * rest)
            k = k / square - (d0 * g0 + d1 * g1 + d2 * g2) * sine
        b, y = cameras_bar[camera[o]], points_bar[point[o]]
        b[0] += n0 * sine + (d0 * turn + g0 * dot) * rest + t0 * k
        b[1] += n1 * sine + (d1 * turn + g1 * dot) * rest + t1 * k
        b[2] += n2 * sine + (d2 * turn + g2 * dot) * rest + t2 * k
        b[3] -= a0
        b[4] -= a1
        b[5] -= a2
        b[6] += bent * along
        b[7] += ge
        b[8] += gf
        b[9] += bent_bar * r2
        b[10] += bent_bar * r2 * r2
        y[0] += a0
        y[1] += a1
        y[2] += a2
    return total, bar


@njit(**OPTIONS)
def mixture(p, x):
    alpha, mu, q = p[:25], p[25:275].reshape(25, 10), p[275:525].reshape(25, 10)
    low = p[525:].reshape(25, 10, 10)
    centre, root = np.empty((10, 25)), np.zeros((10, 10, 25))  # components last: the innermost loops are over them
    constant = alpha.copy()
    for k in range(25):
        for i in range(10):
            centre[i, k] = mu[k, i]
            constant[k] += q[k, i]
            root[i, i, k] = math.exp(q[k, i])
            for j in range(i):
                root[i, j, k] = low[k, i, j]
    centre_bar, root_bar, constant_bar = np.zeros_like(centre), root.copy(), np.zeros(25)
    d, y, f = np.empty((10, 25)), np.empty((10, 25)), np.empty(25)
    total = 0.5 * (root * root).sum()
    for n in range(len(x)):
        f[:] = constant
        for i in range(10):
            for k in range(25):
                d[i, k] = x[n, i] - centre[i, k]
                y[i, k] = 0.0
            for j in range(i + 1):
                for k in range(25):
                    y[i, k] += root[i, j, k] * d[j, k]
            for k in range(25):
                f[k] -= 0.5 * y[i, k] * y[i, k]
        most, scale = f.max(), 0.0
        for k in range(25):
            f[k] = math.exp(f[k] - most)
            scale += f[k]
        total -= most + math.log(scale)
        for k in range(25):
            f[k] /= scale
            constant_bar[k] -= f[k]
        for i in range(10):
            for k in range(25):
                y[i, k] *= f[k]
            for j in range(i + 1):
                for k in range(25):
                    root_bar[i, j, k] += y[i, k] * d[j, k]
                    centre_bar[j, k] -= root[i, j, k] * y[i, k]
    bar = np.zeros_like(p)
    most = alpha.max()
    e = np.exp(alpha - most)
    total += len(x) * (most + math.log(e.sum()))
    bar[:25] = constant_bar + len(x) * e / e.sum()
    mu_bar, q_bar, low_bar = bar[25:275].reshape(25, 10), bar[275:525].reshape(25, 10), bar[525:].reshape(25, 10, 10)
    for k in range(25):
        for i in range(10):
            mu_bar[k, i] = centre_bar[i, k]
            q_bar[k, i] = constant_bar[k] + root_bar[i, i, k] * root[i, i, k]
            for j in range(i):
                low_bar[k, i, j] = root_bar[i, j, k]
    return total, bar


@njit(**OPTIONS)
def populations(parameters, prey, hunters):
    a, b, c, d, u, v = parameters
    h, rows, times = 0.05, prey.shape[0], prey.shape[1]
    # at each step, where each of the four rates is taken
    us, vs = np.empty((times + 1, 4)), np.empty((times + 1, 4))
    for t in range(times):
        us[t, 0], vs[t, 0] = u, v
        k, m, move, turn = 0.0, 0.0, 0.0, 0.0
        for s, (part, share) in enumerate(((0.0, 1.0), (h / 2, 2.0), (h / 2, 2.0), (h, 1.0))):
            us[t, s], vs[t, s] = u + part * k, v + part * m
            k, m = (a - b * vs[t, s]) * us[t, s], (d * us[t, s] - c) * vs[t, s]
            move += share * k
            turn += share * m
        u += h / 6 * move
        v += h / 6 * turn
    us[times, 0], vs[times, 0] = u, v
    total = 0.0
    u_sums, v_sums = np.zeros(times), np.zeros(times)
    for n in range(rows):
        for t in range(times):
            e, f = us[t + 1, 0] - prey[n, t], vs[t + 1, 0] - hunters[n, t]
            total += e * e + f * f
            u_sums[t] += e
            v_sums[t] += f
    a_bar, b_bar, c_bar, d_bar, u_bar, v_bar = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(times - 1, -1, -1):
        u_bar += 2 / rows * u_sums[t]
        v_bar += 2 / rows * v_sums[t]
        move, turn, gu, gv = h / 6 * u_bar, h / 6 * v_bar, 0.0, 0.0
        for s, part, share in ((3, 0.0, 1.0), (2, h, 2.0), (1, h / 2, 2.0), (0, h / 2, 1.0)):
            x, y = us[t, s], vs[t, s]
            k, m = share * move + part * gu, share * turn + part * gv
            a_bar += k * x
            b_bar -= k * x * y
            c_bar -= m * y
            d_bar += m * x * y
            gu, gv = k * (a - b * y) + m * d * y, m * (d * x - c) - k * b * x
            u_bar += gu
            v_bar += gv
    return total / rows, np.array([a_bar, b_bar, c_bar, d_bar, u_bar, v_bar])


@njit(**OPTIONS)
def trend(parameters, y):
    level, slope, noise = np.exp(parameters)
    rows, times = y.shape
    es, p1s, q1s, inverses = np.empty(times), np.empty(times), np.empty(times), np.empty(times)
    total, level_bar, slope_bar, noise_bar = 0.0, 0.0, 0.0, 0.0
    for n in range(rows):
        a, b, p, q, r = 0.0, 0.0, 10.0, 0.0, 10.0
        for t in range(times):
            p1, q1, r1 = p + 2 * q + r + level, q + r, r + slope
            s, e = p1 + noise, y[n, t] - a - b
            inverse = 1 / s
            es[t], p1s[t], q1s[t], inverses[t] = e, p1, q1, inverse
            a, b = a + b + p1 * inverse * e, b + q1 * inverse * e
            p, q, r = p1 - p1 * p1 * inverse, q1 - p1 * q1 * inverse, r1 - q1 * q1 * inverse
            total += math.log(s) + e * e * inverse
        a_bar, b_bar, p_bar, q_bar, r_bar = 0.0, 0.0, 0.0, 0.0, 0.0
        for t in range(times - 1, -1, -1):
            inverse = inverses[t]
            k, g, e = p1s[t] * inverse, q1s[t] * inverse, es[t] * inverse
            s_bar = p_bar * k * k + q_bar * k * g + r_bar * g * g - (a_bar * k + b_bar * g) * e + inverse - e * e
            p1_bar = a_bar * e + p_bar * (1 - 2 * k) - q_bar * g + s_bar
            q1_bar = b_bar * e + q_bar * (1 - k) - 2 * r_bar * g
            e_bar = k * a_bar + g * b_bar + 2 * e
            level_bar += p1_bar
            slope_bar += r_bar
            noise_bar += s_bar
            a_bar -= e_bar
            b_bar += a_bar
            p_bar, q_bar, r_bar = p1_bar, 2 * p1_bar + q1_bar, p1_bar + q1_bar + r_bar
    share = 0.5 / rows
    return total * share, share * np.array([level * level_bar, slope * slope_bar, noise * noise_bar])


@njit(**OPTIONS)
def heat(parameters, first, last):
    k, steps, size = parameters.reshape(64, 64), 20, 64
    u = np.empty((steps + 1, size, size))
    u[:] = first
    for t in range(steps):
        now, new = u[t], u[t + 1]
        for i in range(1, size - 1):
            for j in range(1, size - 1):
                around = now[i - 1, j] + now[i + 1, j] + now[i, j - 1] + now[i, j + 1]
                new[i, j] = now[i, j] + k[i, j] * (around - 4 * now[i, j])
    off, bar = u[steps] - last, np.zeros_like(k)
    total = 0.5 * (off * off).sum()
    later, flow = off, np.zeros_like(k)  # flow: k times the adjoint, zero on the border
    for t in range(steps - 1, -1, -1):
        now, earlier = u[t], np.zeros_like(k)
        for i in range(1, size - 1):
            for j in range(1, size - 1):
                around = now[i - 1, j] + now[i + 1, j] + now[i, j - 1] + now[i, j + 1]
                bar[i, j] += later[i, j] * (around - 4 * now[i, j])
                flow[i, j] = k[i, j] * later[i, j]
        for i in range(1, size - 1):
            for j in range(1, size - 1):
                around = flow[i - 1, j] + flow[i + 1, j] + flow[i, j - 1] + flow[i, j + 1]
                earlier[i, j] = later[i, j] + around - 4 * flow[i, j]
        later = earlier
    return total, bar.ravel()


@njit(**OPTIONS)
def volatility(parameters, strike, forward, maturity, price):
    a, b, rho, m, s = parameters
    total, share = 0.0, 1 / len(price)
    a_bar, b_bar, rho_bar, m_bar, s_bar = 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(len(price)):
        k = math.log(strike[n] / forward[n])
        x = k - m
        h = math.sqrt(x * x + s * s)
        root = math.sqrt((a + b * (rho * x + h)) * maturity[n])
        d1 = -k / root + root / 2
        d2 = d1 - root
        first, second = (1 + math.erf(d1 * math.sqrt(0.5))) / 2, (1 + math.erf(d2 * math.sqrt(0.5))) / 2
        e = forward[n] * first - strike[n] * second - price[n]
        total += e * e
        scale = 2 * e * share / math.sqrt(2 * math.pi)
        d1_bar, d2_bar = scale * forward[n] * math.exp(-d1 * d1 / 2), -scale * strike[n] * math.exp(-d2 * d2 / 2)
        root_bar = (d1_bar + d2_bar) * (k / (root * root) + 0.5) - d2_bar
        g = root_bar / (2 * root) * maturity[n]
        a_bar += g
        b_bar += g * (rho * x + h)
        rho_bar += g * b * x
        m_bar -= g * b * (rho + x / h)
        s_bar += g * b * s / h
    return total * share, np.array([a_bar, b_bar, rho_bar, m_bar, s_bar])


@njit(**OPTIONS)
def asian(parameters, z, strike, width):
    spot, volatility, rate = parameters
    rows, times = z.shape
    h = 1 / times
    drift, scale = (rate - volatility * volatility / 2) * h, volatility * math.sqrt(h)
    discount, share = math.exp(-rate), 1 / rows
    price = np.empty(times)
    total, spot_bar, drift_bar, scale_bar = 0.0, 0.0, 0.0, 0.0
    for n in range(rows):
        x = 0.0
        for t in range(times):
            x += drift + scale * z[n, t]
            price[t] = x
        mean = 0.0
        for t in range(times):
            price[t] = math.exp(price[t])
            mean += price[t]
        mean /= times
        u = (spot * mean - strike) / width
        small = math.exp(-abs(u))
        total += width * (max(u, 0.0) + math.log1p(small))
        g = (1.0 if u > 0 else small) / (1 + small)
        spot_bar += g * mean
        back = 0.0
        for t in range(times - 1, -1, -1):
            back += g * price[t]
            drift_bar += back
            scale_bar += back * z[n, t]
    value = discount * share * total
    drift_bar *= discount * share * spot / times
    scale_bar *= discount * share * spot / times
    volatility_bar = scale_bar * math.sqrt(h) - drift_bar * volatility * h
    return value, np.array([discount * share * spot_bar, volatility_bar, drift_bar * h - value])


BY_HAND: dict[str, Any] = {
    f.__name__: f
    for f in (
        bundle,
        bonds,
        mixture,
        pairs,
        survival,
        markov,
        populations,
        trend,
        heat,
        ratings,
        intercepts,
        volatility,
        arm,
        asian,
    )
}
