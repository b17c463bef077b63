#include "common.h"

/* QRNN: the gates and fo-pooling, c_t = c_{t-1} + w (z - c_{t-1}), h_t = o c_t, in one pass over time */

/* In: gates (steps, batch, 3 D) holding the projections of z, f, o; bias (3 D); c0 (batch, D).
 * Out: gates tanh(z), sigmoid(-f), sigmoid(o); w is `keep` times the second; y, c (steps, batch, D). */
void qrnn_forward(float *gates, const float *bias, const float *c0, float *y, float *c, int64_t steps, int64_t batch,
                  int64_t dim, float keep, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        const float *z_bias = bias + first, *f_bias = z_bias + dim, *o_bias = f_bias + dim;
        double carry[STRIP];
        to_doubles(carry, c0 + sequence * dim + first, width);
        for (int64_t t = 0; t < steps; t++) {
            float *z = gates + (t * batch + sequence) * 3 * dim + first, *w = z + dim, *o = w + dim;
            const int64_t at = (t * batch + sequence) * dim + first;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
            for (int64_t j = 0; j < width; j++) {
                z[j] = tanh_fast(z[j] + z_bias[j]);
                w[j] = sigmoid(-(w[j] + f_bias[j]));
                o[j] = sigmoid(o[j] + o_bias[j]);
                carry[j] += keep * w[j] * (z[j] - carry[j]);
                c[at + j] = (float)carry[j];
                y[at + j] = o[j] * c[at + j];
            }
        }
    }
}

/* Of the above, for grad_y (steps, batch, D); on entry grad_c (batch, D) holds the gradient of the last c.
 * Out: grad_gates (steps, batch, 3 D), of the projections; grad_c, of c0. */
void qrnn_backward(const float *gates, const float *c0, const float *c, const float *grad_y, float *grad_gates,
                   float *grad_c, int64_t steps, int64_t batch, int64_t dim, float keep, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        double carry[STRIP];
        to_doubles(carry, grad_c + sequence * dim + first, width);
        for (int64_t t = steps - 1; t >= 0; t--) {
            const int64_t row = (t * batch + sequence) * 3 * dim + first, at = (t * batch + sequence) * dim + first;
            const float *z = gates + row, *w = z + dim, *o = w + dim;
            const float *before = t > 0 ? c + at - batch * dim : c0 + sequence * dim + first;
            float *grad_z = grad_gates + row, *grad_f = grad_z + dim, *grad_o = grad_f + dim;
#pragma GCC ivdep
            for (int64_t j = 0; j < width; j++) {
                const float dy = grad_y[at + j];
                const double dc = carry[j] + dy * o[j];
                const float d = (float)dc;
                grad_o[j] = dy * c[at + j] * o[j] * (1.0f - o[j]);
                grad_z[j] = d * keep * w[j] * (1.0f - z[j] * z[j]);
                grad_f[j] = d * (before[j] - z[j]) * keep * w[j] * (1.0f - w[j]);
                carry[j] = dc * (1.0 - keep * w[j]);    /* a float near 1 would be off alike at every position */
            }
        }
        to_floats(grad_c + sequence * dim + first, carry, width);
    }
}
