/* The linear recurrence: see rnnlab/ops/recurrence.py */

#include "common.h"

/* h_t = a_t h_{t-1} + b_t for a, b, h (steps, channels) and h_{-1} = h0 (channels).
 * The carry is a double: with a_t near 1 the rounding of a float would add up over thousands of steps. */
void recurrence_forward(const float *a, const float *b, const float *h0, float *h,
                        int64_t steps, int64_t channels, int threads)
{
    if (steps * channels < SMALL)
        threads = 1;
    const int64_t strip = strip_width(channels, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < channels; first += strip) {
        const int64_t width = channels - first < strip ? channels - first : strip;
        double carry[STRIP];
        for (int64_t i = 0; i < width; i++)
            carry[i] = h0[first + i];
        for (int64_t t = 0; t < steps; t++) {
            const int64_t row = t * channels + first;
            for (int64_t i = 0; i < width; i++) {
                carry[i] = a[row + i] * carry[i] + b[row + i];
                h[row + i] = (float)carry[i];
            }
        }
    }
}

/* Gradients of the above for an incoming grad_h: with g_t = grad_h_t + a_{t+1} g_{t+1},
 * grad_b_t = g_t, grad_a_t = g_t h_{t-1}, grad_h0 = a_0 g_0. */
void recurrence_backward(const float *a, const float *h, const float *h0, const float *grad_h,
                         float *grad_a, float *grad_b, float *grad_h0,
                         int64_t steps, int64_t channels, int threads)
{
    if (steps * channels < SMALL)
        threads = 1;
    const int64_t strip = strip_width(channels, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < channels; first += strip) {
        const int64_t width = channels - first < strip ? channels - first : strip;
        double carry[STRIP];    /* a_{t+1} g_{t+1} */
        for (int64_t i = 0; i < width; i++)
            carry[i] = 0.0;
        for (int64_t t = steps - 1; t >= 0; t--) {
            const int64_t row = t * channels + first;
            const float *before = t > 0 ? h + row - channels : h0 + first;
            for (int64_t i = 0; i < width; i++) {
                const double g = grad_h[row + i] + carry[i];
                grad_b[row + i] = (float)g;
                grad_a[row + i] = (float)(g * before[i]);
                carry[i] = a[row + i] * g;
            }
        }
        for (int64_t i = 0; i < width; i++)
            grad_h0[first + i] = (float)carry[i];
    }
}
