/* SRU: c_t = c_{t-1} + w (z - c_{t-1}), y_t = r c_t + (1 - r) alpha x_t in one pass over time; see rnnlab/ops/sru.py */

#include "common.h"

/* In: projected (steps, batch, 3 D) holding z, f and the reset gate's; x (steps, batch, D); v (D), by which the reset
 * gate sees c_{t-1}; c0 (batch, D). Out: gates (steps, batch, 2 D), w = sigmoid(-f) and r; y, c (steps, batch, D). */
void sru_forward(const float *projected, const float *x, const float *v, const float *c0, float *gates, float *y, float *c,
                 int64_t steps, int64_t batch, int64_t dim, float alpha, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        double carry[STRIP];
        to_doubles(carry, c0 + sequence * dim + first, width);
        for (int64_t t = 0; t < steps; t++) {
            const int64_t row = t * batch + sequence, at = row * dim + first;
            const float *z = projected + row * 3 * dim + first, *f = z + dim, *reset = f + dim;
            float *w = gates + row * 2 * dim + first, *r = w + dim;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
            for (int64_t j = 0; j < width; j++) {
                w[j] = sigmoid(-f[j]);
                r[j] = sigmoid(reset[j] + v[first + j] * (float)carry[j]);
                carry[j] += w[j] * (z[j] - carry[j]);
                c[at + j] = (float)carry[j];
                y[at + j] = r[j] * c[at + j] + (1.0f - r[j]) * alpha * x[at + j];
            }
        }
    }
}

/* Of the above, for grad_y (steps, batch, D); on entry grad_c (batch, D) holds the gradient of the last c.
 * Out: grad_projected, grad_x; grad_v (batch, D), of v by each sequence; grad_c, of c0. */
void sru_backward(const float *projected, const float *x, const float *v, const float *c0, const float *gates,
                  const float *c, const float *grad_y, float *grad_projected, float *grad_x, float *grad_v,
                  float *grad_c, int64_t steps, int64_t batch, int64_t dim, float alpha, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        double carry[STRIP], of_v[STRIP];
        to_doubles(carry, grad_c + sequence * dim + first, width);
        memset(of_v, 0, sizeof of_v);
        for (int64_t t = steps - 1; t >= 0; t--) {
            const int64_t row = t * batch + sequence, at = row * dim + first;
            const float *z = projected + row * 3 * dim + first, *w = gates + row * 2 * dim + first, *r = w + dim;
            const float *before = t > 0 ? c + at - batch * dim : c0 + sequence * dim + first;
            float *grad_z = grad_projected + row * 3 * dim + first, *grad_f = grad_z + dim, *grad_reset = grad_f + dim;
#pragma GCC ivdep
            for (int64_t j = 0; j < width; j++) {
                const float dy = grad_y[at + j], passed = 1.0f - r[j];
                const float reset = dy * (c[at + j] - alpha * x[at + j]) * r[j] * passed;
                const double dc = carry[j] + dy * r[j];
                const float d = (float)dc;
                grad_x[at + j] = dy * passed * alpha;
                grad_reset[j] = reset;
                grad_z[j] = d * w[j];
                grad_f[j] = d * (before[j] - z[j]) * w[j] * (1.0f - w[j]);
                of_v[j] += reset * before[j];
                carry[j] = dc * (1.0 - w[j]) + reset * v[first + j];
            }
        }
        to_floats(grad_c + sequence * dim + first, carry, width);
        to_floats(grad_v + sequence * dim + first, of_v, width);
    }
}
