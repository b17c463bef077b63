/* minGRU: h_t = h_{t-1} + z (n - h_{t-1}) in one pass over time; see rnnlab/ops/min_gru.py */

#include "common.h"

/* In: projected (steps, batch, 2 D) holding n and the update gate's; h0 (batch, D).
 * Out: z = sigmoid(update), h (steps, batch, D). */
void min_gru_forward(const float *projected, const float *h0, float *z, float *h, int64_t steps, int64_t batch,
                     int64_t dim, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        double carry[STRIP];
        to_doubles(carry, h0 + sequence * dim + first, width);
        for (int64_t t = 0; t < steps; t++) {
            const int64_t row = t * batch + sequence, at = row * dim + first;
            const float *candidate = projected + row * 2 * dim + first, *update = candidate + dim;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
            for (int64_t j = 0; j < width; j++) {
                z[at + j] = sigmoid(update[j]);
                carry[j] += z[at + j] * (candidate[j] - carry[j]);
                h[at + j] = (float)carry[j];
            }
        }
    }
}

/* Of the above, for grad_h (steps, batch, D). Out: grad_projected, and grad_h0 (batch, D). */
void min_gru_backward(const float *projected, const float *h0, const float *z, const float *h, const float *grad_h,
                      float *grad_projected, float *grad_h0, int64_t steps, int64_t batch, int64_t dim, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        double carry[STRIP];
        for (int64_t j = 0; j < width; j++)
            carry[j] = 0.0;
        for (int64_t t = steps - 1; t >= 0; t--) {
            const int64_t row = t * batch + sequence, at = row * dim + first;
            const float *candidate = projected + row * 2 * dim + first;
            const float *before = t > 0 ? h + at - batch * dim : h0 + sequence * dim + first;
            float *grad_candidate = grad_projected + row * 2 * dim + first, *grad_update = grad_candidate + dim;
#pragma GCC ivdep
            for (int64_t j = 0; j < width; j++) {
                const float gate = z[at + j];
                const double dh = carry[j] + grad_h[at + j];
                grad_candidate[j] = (float)dh * gate;
                grad_update[j] = (float)dh * (candidate[j] - before[j]) * gate * (1.0f - gate);
                carry[j] = dh * (1.0 - gate);
            }
        }
        to_floats(grad_h0 + sequence * dim + first, carry, width);
    }
}
