/* RG-LRU: log a = r k, h_t = a h_{t-1} + sqrt(1 - a^2) i x_t in one pass over time; see rnnlab/ops/rg_lru.py */

#include "common.h"

/* In: projected (steps, batch, 2 D) holding the gates of the recurrence and of the input; x (steps, batch, D);
 * k (D), the logarithm of a where the gate is 1; h0 (batch, D).
 * Out: gates (steps, batch, 2 D), r and i; h (steps, batch, D). */
void rg_lru_forward(const float *projected, const float *x, const float *k, const float *h0, float *gates, float *h,
                    int64_t steps, int64_t batch, int64_t dim, int threads)
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
            const float *recurrence = projected + row * 2 * dim + first, *input = recurrence + dim;
            float *r = gates + row * 2 * dim + first, *i = r + dim;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
            for (int64_t j = 0; j < width; j++) {
                r[j] = sigmoid(recurrence[j]);
                i[j] = sigmoid(input[j]);
                const float less = expm1_fast(r[j] * k[first + j]);    /* a - 1, exact where a is near 1 */
                carry[j] += less * carry[j] + sqrtf(-less * (2.0f + less)) * i[j] * x[at + j];
                h[at + j] = (float)carry[j];
            }
        }
    }
}

/* Of the above, for grad_h (steps, batch, D); the slope of the root is at most `steepest`.
 * Out: grad_projected, grad_x; grad_k (batch, D), of k by each sequence; grad_h0 (batch, D). */
void rg_lru_backward(const float *x, const float *k, const float *h0, const float *gates, const float *h,
                     const float *grad_h, float *grad_projected, float *grad_x, float *grad_k, float *grad_h0,
                     int64_t steps, int64_t batch, int64_t dim, float steepest, int threads)
{
    threads = useful_threads(steps * batch * dim, threads);
    const int64_t strips = batch * strips_of_sequence(dim, threads);
    const float least = 1.0f / steepest;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < strips; number++) {
        const Strip strip = strip_at(number, dim, threads);
        const int64_t sequence = strip.sequence, first = strip.first, width = strip.width;
        double carry[STRIP], of_k[STRIP];
        for (int64_t j = 0; j < width; j++)
            carry[j] = of_k[j] = 0.0;
        for (int64_t t = steps - 1; t >= 0; t--) {
            const int64_t row = t * batch + sequence, at = row * dim + first;
            const float *r = gates + row * 2 * dim + first, *i = r + dim;
            const float *before = t > 0 ? h + at - batch * dim : h0 + sequence * dim + first;
            float *grad_recurrence = grad_projected + row * 2 * dim + first, *grad_input = grad_recurrence + dim;
#pragma GCC ivdep
            for (int64_t j = 0; j < width; j++) {
                const float less = expm1_fast(r[j] * k[first + j]), a = 1.0f + less, share = sqrtf(-less * (2.0f + less));
                const double dh = carry[j] + grad_h[at + j];
                const float d = (float)dh, driven = d * i[j] * x[at + j];
                const float twice = 2.0f * share, root = twice > least ? twice : least;
                const float of_log = d * before[j] * a - driven * 2.0f * a * a / root;
                grad_x[at + j] = d * share * i[j];
                grad_input[j] = d * share * x[at + j] * i[j] * (1.0f - i[j]);
                grad_recurrence[j] = of_log * k[first + j] * r[j] * (1.0f - r[j]);
                of_k[j] += of_log * r[j];
                carry[j] = dh + dh * less;
            }
        }
        to_floats(grad_h0 + sequence * dim + first, carry, width);
        to_floats(grad_k + sequence * dim + first, of_k, width);
    }
}
