/* dropout: see rnnlab/ops/dropout.py */

#include "common.h"

/* y = x where hash >= threshold, times scale, else 0, for x, y (outer, batch, inner), floats or, with `half`, bfloat16;
 * x and y may be one array. */
void dropout_apply(const void *x, void *y, int64_t outer, int64_t batch, int64_t inner, int64_t half,
                   int64_t key, int64_t first_sequence, int64_t threshold, float scale, int threads)
{
    if (outer * batch * inner < SMALL)
        threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < outer * batch; row++) {
        const uint32_t base = sequence_key(first_sequence + row % batch, key) + (uint32_t)(row / batch * inner);
        if (half) {
            const uint16_t *from = (const uint16_t *)x + row * inner;
            uint16_t *to = (uint16_t *)y + row * inner;
            for (uint32_t i = 0; i < (uint32_t)inner; i++)
                to[i] = to_bf16(mix(i + base) >= (uint32_t)threshold ? from_bf16(from[i]) * scale : 0.0f);
        } else {
            const float *from = (const float *)x + row * inner;
            float *to = (float *)y + row * inner;
            for (uint32_t i = 0; i < (uint32_t)inner; i++)
                to[i] = mix(i + base) >= (uint32_t)threshold ? from[i] * scale : 0.0f;
        }
    }
}
