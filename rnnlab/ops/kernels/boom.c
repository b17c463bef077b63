#include "rows.h"

/* Boom: y[d] = sum over chunks c of dropout(v sigmoid(1.702 v))[c D + d] for v = u + bias
 *
 * u and grad_u (steps, batch, F) are floats or, with `half`, bfloat16; bias (F), y and grad_y (.., D) are floats. */

void boom_forward(const void *u, const float *bias, float *y, int64_t steps, int64_t batch, int64_t inner, int64_t dim,
                  int64_t half, int64_t key, int64_t first_sequence, int64_t threshold, float scale, int threads)
{
    if (steps * batch * inner < SMALL)
        threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < steps * batch; row++) {
        const uint32_t base = sequence_key(first_sequence + row % batch, key) + (uint32_t)(row / batch * inner);
        memset(y + row * dim, 0, (size_t)dim * sizeof(float));
        for (int64_t chunk = 0; chunk < inner; chunk += dim)
            for (int64_t first = 0; first < dim; first += STRIP) {
                const int64_t width = dim - first < STRIP ? dim - first : STRIP, at = chunk + first;
                const float *add = bias + at;
                float v[STRIP], *sum = y + row * dim + first;
                load(u, row * inner + at, v, width, (int)half);
                for (uint32_t d = 0; d < (uint32_t)width; d++) {
                    const float x = v[d] + add[d], g = x * sigmoid(1.702f * x) * scale;
                    sum[d] += mix(base + (uint32_t)at + d) >= (uint32_t)threshold ? g : 0.0f;
                }
            }
    }
}

void boom_backward(const void *u, const float *bias, const float *grad_y, void *grad_u, int64_t steps, int64_t batch,
                   int64_t inner, int64_t dim, int64_t half, int64_t key, int64_t first_sequence, int64_t threshold,
                   float scale, int threads)
{
    if (steps * batch * inner < SMALL)
        threads = 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < steps * batch; row++) {
        const uint32_t base = sequence_key(first_sequence + row % batch, key) + (uint32_t)(row / batch * inner);
        for (int64_t chunk = 0; chunk < inner; chunk += dim)
            for (int64_t first = 0; first < dim; first += STRIP) {
                const int64_t width = dim - first < STRIP ? dim - first : STRIP, at = chunk + first;
                const float *add = bias + at, *grad = grad_y + row * dim + first;
                float v[STRIP];
                load(u, row * inner + at, v, width, (int)half);
                for (uint32_t d = 0; d < (uint32_t)width; d++) {
                    const float x = v[d] + add[d], s = sigmoid(1.702f * x);
                    const float g = grad[d] * (s + 1.702f * x * s * (1.0f - s)) * scale;
                    v[d] = mix(base + (uint32_t)at + d) >= (uint32_t)threshold ? g : 0.0f;
                }
                store(v, grad_u, row * inner + at, width, (int)half);
            }
    }
}

/* The whole layer for a few positions: y (rows, D) = Boom of u = W x, for x (rows, D), W (F, D). */
void boom_step(const float *x, const float *w, const float *bias, float *y, int64_t rows, int64_t inner, int64_t dim,
               int threads)
{
    if (inner * dim < SMALL)
        threads = 1;
    const int64_t strip = strip_width(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < dim; first += strip) {
        const int64_t last = first + strip < dim ? first + strip : dim;
        for (int64_t group = first; group < last; group += ROWS)
            for (int64_t start = 0; start < rows; start += SEQUENCES) {
                const int some = rows - start < SEQUENCES ? (int)(rows - start) : SEQUENCES;
                const int units = last - group < ROWS ? (int)(last - group) : ROWS;
                float sums[ROWS][SEQUENCES] = {{0}};
                for (int64_t f = group; f < inner; f += dim) {
                    float values[ROWS][SEQUENCES];
                    for (int b = 0; b < some; b += TILE) {
                        const int tile = some - b < TILE ? some - b : TILE;
                        const float *row = x + (start + b) * dim;
                        float products[ROWS][TILE];
                        if (units == ROWS)
                            rows_times(w + f * dim, row, NULL, NULL, dim, dim, products, ROWS, tile);
                        else
                            for (int i = 0; i < units; i++)
                                rows_times(w + (f + i) * dim, row, NULL, NULL, dim, dim, products + i, 1, tile);
                        for (int i = 0; i < units; i++)
                            memcpy(values[i] + b, products[i], (size_t)tile * sizeof(float));
                    }
                    for (int i = 0; i < units; i++)
                        for (int b = 0; b < some; b++) {
                            const float v = values[i][b] + bias[f + i];
                            sums[i][b] += v * sigmoid(1.702f * v);
                        }
                }
                for (int i = 0; i < units; i++)
                    for (int b = 0; b < some; b++)
                        y[(start + b) * dim + group + i] = sums[i][b];
            }
    }
}
