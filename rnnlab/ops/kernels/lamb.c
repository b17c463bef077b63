#include "common.h"

/* LAMB, see rnnlab/training/optim.py: two passes over memory where torch's operations make a dozen */

#define BLOCK 4096    /* values summed up in floats before a double takes over */

/* Moments of p's gradient g are updated; lengths (threads, 2) get the squared lengths of p and of its step, to be added
 * up by thread, because the sum has to be the same one every time. measured, unless it is 0, has a 1 for each row of
 * `row` values that is part of the lengths, and a 0 for the others. */
void lamb_moments(const float *p, const float *g, float *m, float *v, double *lengths, const uint8_t *measured,
                  int64_t count, int64_t row, double beta1, double beta2, float eps, float decay, int threads)
{
    /* 1 - 0.999 in floats is off by 5e-5 of itself */
    const float keep1 = (float)beta1, keep2 = (float)beta2, add1 = (float)(1.0 - beta1), add2 = (float)(1.0 - beta2);
    if (count < SMALL)
        threads = 1;
#pragma omp parallel num_threads(threads)
    {
        double of_p = 0.0, of_step = 0.0;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < count; first += BLOCK) {
            const int64_t width = count - first < BLOCK ? count - first : BLOCK;
            const float *own = p + first;
            float step[BLOCK], kept[BLOCK];
            for (int64_t i = 0; i < width; i++) {
                const int64_t at = first + i;
                m[at] = keep1 * m[at] + add1 * g[at];
                v[at] = keep2 * v[at] + add2 * g[at] * g[at];
                step[i] = m[at] / (sqrtf(v[at]) + eps) + decay * p[at];
            }
            if (measured) {
                for (int64_t i = 0; i < width; i++) {
                    const int counts = measured[(first + i) / row];
                    kept[i] = counts ? own[i] : 0.0f;
                    step[i] = counts ? step[i] : 0.0f;
                }
                own = kept;
            }
            of_p += dot(own, own, width);
            of_step += dot(step, step, width);
        }
        lengths[2 * omp_get_thread_num()] = of_p;
        lengths[2 * omp_get_thread_num() + 1] = of_step;
    }
}

/* p -= rate times its step. */
void lamb_step(float *p, const float *m, const float *v, int64_t count, float eps, float decay, float rate, int threads)
{
    if (count < SMALL)
        threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i++)
        p[i] -= rate * (m[i] / (sqrtf(v[i]) + eps) + decay * p[i]);
}
