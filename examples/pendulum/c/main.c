/* Finds a pendulum's length, damping and release from noisy angles, in plain C, as ../run.py does in Python.
 *
 * The fit calls two functions of pendulum_kernels.h. With N rows and P parameters,
 *
 *     pendulum_residuals   fills r, N numbers: r[n] = theta[n] - angle[n];
 *     pendulum_jacobian    fills P blocks of N numbers, one for each parameter: jacobian[N·k + n] = ∂r[n]/∂parameter k,
 *                          where k is PENDULUM_AT_length, PENDULUM_AT_damping or PENDULUM_AT_release.
 *
 * The kernels allocate nothing: `work` is theirs, as long as the largest of their workspaces.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pendulum_kernels.h"

enum {
    N = 256,
    P = PENDULUM_PARAMETERS,
    FINER = 4, /* the data come from so many steps for each of the fit */
    MOST_STEPS = 100
};

static const double NOISE = 0.1; /* rad */
static const double TRUE_VALUES[P] = {
    [PENDULUM_AT_length] = 0.8, [PENDULUM_AT_damping] = 0.25, [PENDULUM_AT_release] = 2.0}; /* m, 1/s, rad */
static const char *const NAMES[P] = {
    [PENDULUM_AT_length] = "length", [PENDULUM_AT_damping] = "damping", [PENDULUM_AT_release] = "release"};

static double times[N]; /* s */
static double angle[N]; /* rad */
static double r[N];
static double trial_r[N];
static double jacobian[P * N];

/* A number of mean 0 and variance 1: the sum of twelve uniform ones, by Marsaglia's xorshift, less 6. */
static double normal(void)
{
    static uint32_t state = 1U;
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) {
        state ^= state << 13U;
        state ^= state >> 17U;
        state ^= state << 5U;
        sum += state * 0x1p-32;
    }
    return sum;
}

/* Angles of the true pendulum at each 1/32 s, with noise. */
static void measure(double *work)
{
    static double fine_times[FINER * N];
    static double fine_angle[FINER * N];
    for (ptrdiff_t i = 0; i < (FINER * N); ++i) {
        fine_times[i] = (double)(i + 1) / (32.0 * FINER);
    }
    (void)pendulum_predict(FINER * N, TRUE_VALUES, fine_times, work, fine_angle);
    for (ptrdiff_t n = 0; n < N; ++n) {
        times[n] = fine_times[(FINER * (n + 1)) - 1];
        angle[n] = fine_angle[(FINER * (n + 1)) - 1] + (NOISE * normal());
    }
}

/* Σ_n u[n]·v[n] */
static double dot(const double *u, const double *v)
{
    double sum = 0.0;
    for (ptrdiff_t n = 0; n < N; ++n) {
        sum += u[n] * v[n];
    }
    return sum;
}

/* Solves a·x = b, a symmetric and positive definite, by a = L·Lᵀ. */
static void solve(double a[P][P], const double b[P], double x[P])
{
    double L[P][P];
    for (int i = 0; i < P; ++i) {
        double rest = b[i];
        for (int j = 0; j <= i; ++j) {
            double left = a[i][j];
            for (int k = 0; k < j; ++k) {
                left -= L[i][k] * L[j][k];
            }
            L[i][j] = (i == j) ? sqrt(left) : (left / L[j][j]);
        }
        for (int k = 0; k < i; ++k) {
            rest -= L[i][k] * x[k];
        }
        x[i] = rest / L[i][i];
    }
    for (int i = P - 1; i >= 0; --i) {
        for (int k = i + 1; k < P; ++k) {
            x[i] -= L[k][i] * x[k];
        }
        x[i] /= L[i][i];
    }
}

/* JᵀJ, and Jᵀr */
static void normal_equations(double JJ[P][P], double Jr[P])
{
    for (int i = 0; i < P; ++i) {
        const double *column = &jacobian[N * i]; /* ∂r/∂parameter i, N numbers one after another */
        for (int j = 0; j < P; ++j) {
            JJ[i][j] = dot(column, &jacobian[N * j]);
        }
        Jr[i] = dot(column, r);
    }
}

/* Levenberg's and Marquardt's method: p = p - δ, (JᵀJ + λ·diag JᵀJ)·δ = Jᵀr, λ smaller after each step that reduces
 * Σ r² and larger after each that does not, and is not taken. Returns the number of steps tried.
 */
static int fit(double *parameters, double JJ[P][P], double *work)
{
    double lambda = 1e-3;
    int steps = 0;
    int small = 0;
    (void)pendulum_residuals(N, parameters, r, times, angle, work);
    while ((small == 0) && (steps < MOST_STEPS)) {
        double Jr[P], damped[P][P], step[P], trial[P];
        (void)pendulum_jacobian(N, parameters, jacobian, times, angle, work);
        normal_equations(JJ, Jr);
        for (int i = 0; i < P; ++i) {
            for (int j = 0; j < P; ++j) {
                damped[i][j] = JJ[i][j] * ((i == j) ? (1.0 + lambda) : 1.0);
            }
        }
        solve(damped, Jr, step);
        small = 1;
        for (int i = 0; i < P; ++i) {
            trial[i] = parameters[i] - step[i];
            small = small && (fabs(step[i]) <= (1e-9 * fabs(parameters[i])));
        }
        (void)pendulum_residuals(N, trial, trial_r, times, angle, work);
        if (dot(trial_r, trial_r) < dot(r, r)) {
            memcpy(parameters, trial, sizeof trial);
            memcpy(r, trial_r, sizeof r);
            lambda *= 0.1;
        } else {
            lambda *= 10.0;
        }
        ++steps;
    }
    return steps;
}

static double *allocated(void)
{
    const ptrdiff_t sizes[] = {pendulum_workspace_size(FINER * N), pendulum_residuals_workspace_size(N),
                               pendulum_jacobian_workspace_size(N)};
    ptrdiff_t largest = sizes[0];
    for (int i = 1; i < 3; ++i) {
        largest = (sizes[i] > largest) ? sizes[i] : largest;
    }
    return malloc((size_t)largest * sizeof(double));
}

int main(void)
{
    double parameters[P], JJ[P][P];
    double *work = allocated();
    if (work == NULL) {
        return EXIT_FAILURE;
    }
    measure(work);
    (void)pendulum_initial(0, parameters);
    const int steps = fit(parameters, JJ, work);
    free(work);
    const double deviation = sqrt(dot(r, r) / (N - P));
    printf("parameter  found         standard error  true\n");
    for (int k = 0; k < P; ++k) {
        double unit[P] = {0.0}, column[P]; /* column k of (JᵀJ)⁻¹ */
        unit[k] = 1.0;
        solve(JJ, unit, column);
        printf("%-9s  %-12.9f  %-14.9f  %g\n", NAMES[k], parameters[k], deviation * sqrt(column[k]), TRUE_VALUES[k]);
    }
    printf("residual standard deviation %.6f, %d degrees of freedom, %d steps\n", deviation, N - P, steps);
    return (steps < MOST_STEPS) ? EXIT_SUCCESS : EXIT_FAILURE;
}
