/* LSTM: the part that is sequential, h_{t-1} U^T and the gates; the products over all positions are torch's */

#include "rows.h"

#define GATES 4    /* i f g o */

/* In: gates (steps, batch, 4 D) holding x W^T in the order i f g o; bias (4 D); u (4 D, D); h0, c0 (batch, D).
 * Out: gates after their nonlinearity, y and c (steps, batch, D). packed: room for D (rounded up to UNITS) times 4 D. */
void lstm_forward(float *gates, const float *bias, const float *u, const float *h0, const float *c0, float *y, float *c,
                  float *packed, int64_t steps, int64_t batch, int64_t dim, int64_t half, int threads)
{
    const int64_t groups = (dim + UNITS - 1) / UNITS, stride = (half ? (dim + 1) / 2 : dim) * GATES * UNITS;
    if (groups < threads)
        threads = (int)groups;
#pragma omp parallel num_threads(threads)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t first = groups * me / all, last = groups * (me + 1) / all;
        for (int64_t group = first; group < last; group++)
            pack_forward(u, packed + group * stride, dim, group, GATES, (int)half);
        for (int64_t t = 0; t < steps; t++) {
            const float *h = t ? y + (t - 1) * batch * dim : h0, *c_before = t ? c + (t - 1) * batch * dim : c0;
            for (int64_t group = first; group < last; group++)
                for (int64_t sequence = 0; sequence < batch; sequence += TILE) {
                    const int tile = batch - sequence < TILE ? (int)(batch - sequence) : TILE;
                    vec sums[MOST_GATES][TILE];
                    sums_of_tile(packed + group * stride, h + sequence * dim, sums, dim, GATES, tile, (int)half);
                    const int64_t unit = group * UNITS, width = dim - unit < UNITS ? dim - unit : UNITS;
                    for (int b = 0; b < tile; b++) {
                        float *g = gates + (t * batch + sequence + b) * 4 * dim + unit;
                        const float *add = bias + unit;
                        const float *s0 = (float *)&sums[0][b], *s1 = (float *)&sums[1][b];
                        const float *s2 = (float *)&sums[2][b], *s3 = (float *)&sums[3][b];
                        const int64_t at = (sequence + b) * dim + unit;
                        float *c_now = c + t * batch * dim + at, *y_now = y + t * batch * dim + at;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
                        for (int64_t j = 0; j < width; j++) {
                            const float i = sigmoid(g[j] + add[j] + s0[j]);
                            const float f = sigmoid(g[dim + j] + add[dim + j] + s1[j]);
                            const float z = tanh_fast(g[2 * dim + j] + add[2 * dim + j] + s2[j]);
                            const float o = sigmoid(g[3 * dim + j] + add[3 * dim + j] + s3[j]);
                            const float cell = f * c_before[at + j] + i * z;
                            g[j] = i, g[dim + j] = f, g[2 * dim + j] = z, g[3 * dim + j] = o;
                            c_now[j] = cell;
                            y_now[j] = o * tanh_fast(cell);
                        }
                    }
                }
#pragma omp barrier
        }
    }
}

/* Of the above, for grad_y (steps, batch, D); on entry grad_h and grad_c hold the gradients of the last h and c.
 * Out: grad_gates (steps, batch, 4 D), before their nonlinearity; grad_h and grad_c (batch, D), of h0 and c0.
 * packed: room for D (rounded up to UNITS_BACK) times 4 D. */
void lstm_backward(const float *gates, const float *u, const float *c0, const float *c, const float *grad_y,
                   float *grad_gates, float *grad_h, float *grad_c, float *packed, int64_t steps, int64_t batch,
                   int64_t dim, int64_t half, int threads)
{
    const int64_t groups = (dim + UNITS_BACK - 1) / UNITS_BACK, stride = (half ? GATES / 2 : GATES) * dim * UNITS_BACK;
    if (groups < threads)
        threads = (int)groups;
#pragma omp parallel num_threads(threads)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t first = groups * me / all, last = groups * (me + 1) / all;
        const int64_t unit_first = first * UNITS_BACK, unit_last = last * UNITS_BACK < dim ? last * UNITS_BACK : dim;
        for (int64_t group = first; group < last; group++)
            pack_backward(u, packed + group * stride, dim, group, GATES, (int)half);
        for (int64_t t = steps - 1; t >= 0; t--) {
            const float *c_before = t ? c + (t - 1) * batch * dim : c0;
            for (int64_t sequence = 0; sequence < batch; sequence++) {
                const int64_t row = t * batch + sequence;
                const float *g = gates + row * 4 * dim;
                float *dg = grad_gates + row * 4 * dim;
#pragma GCC ivdep
                for (int64_t d = unit_first; d < unit_last; d++) {
                    const float i = g[d], f = g[dim + d], z = g[2 * dim + d], o = g[3 * dim + d];
                    const float squashed = tanh_fast(c[row * dim + d]);
                    const float dh = grad_y[row * dim + d] + grad_h[sequence * dim + d];
                    const float dc = grad_c[sequence * dim + d] + dh * o * (1.0f - squashed * squashed);
                    dg[d] = dc * z * i * (1.0f - i);
                    dg[dim + d] = dc * c_before[sequence * dim + d] * f * (1.0f - f);
                    dg[2 * dim + d] = dc * i * (1.0f - z * z);
                    dg[3 * dim + d] = dh * squashed * o * (1.0f - o);
                    grad_c[sequence * dim + d] = dc * f;
                }
            }
#pragma omp barrier
            for (int64_t group = first; group < last; group++)
                for (int64_t sequence = 0; sequence < batch; sequence += TILE_BACK) {
                    const int tile = batch - sequence < TILE_BACK ? (int)(batch - sequence) : TILE_BACK;
                    const float *dg = grad_gates + (t * batch + sequence) * 4 * dim;
                    vec sums[2][TILE_BACK];
                    units_of_tile(packed + group * stride, dg, sums, dim, GATES, tile, (int)half);
                    const int64_t unit = group * UNITS_BACK, width = dim - unit < UNITS_BACK ? dim - unit : UNITS_BACK;
                    for (int b = 0; b < tile; b++) {
                        float row[UNITS_BACK];
                        memcpy(row, &sums[0][b], sizeof sums[0][b]);
                        memcpy(row + UNITS, &sums[1][b], sizeof sums[1][b]);
                        memcpy(grad_h + (sequence + b) * dim + unit, row, (size_t)width * sizeof(float));
                    }
                }
        }
    }
}

/* One position, for inference: x, h, c, y, c_out (batch, D); w, u (4 D, D); both biases (4 D). */
void lstm_step(const float *x, const float *w, const float *u, const float *w_bias, const float *u_bias, const float *h,
               const float *c, float *y, float *c_out, int64_t batch, int64_t dim, int threads)
{
    if (dim * dim < SMALL)
        threads = 1;
    const int64_t strip = strip_width(dim, threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < dim; first += strip) {
        const int64_t last = first + strip < dim ? first + strip : dim;
        for (int64_t group = first; group < last; group += UNITS)
            for (int64_t sequence = 0; sequence < batch; sequence += SEQUENCES) {
                const int some = batch - sequence < SEQUENCES ? (int)(batch - sequence) : SEQUENCES;
                const int units = last - group < UNITS ? (int)(last - group) : UNITS;
                float gates[GATES][SEQUENCES][UNITS];
                for (int unit = 0; unit < units; unit++)
                    for (int b = 0; b < some; b += TILE) {
                        const int64_t d = group + unit, start = (sequence + b) * dim;
                        const int tile = some - b < TILE ? some - b : TILE;
                        float sums[ROWS][TILE];
                        rows_times(w + d * dim, x + start, u + d * dim, h + start, dim * dim, dim, sums, GATES, tile);
                        for (int gate = 0; gate < GATES; gate++)
                            for (int i = 0; i < tile; i++)
                                gates[gate][b + i][unit] = sums[gate][i] + w_bias[gate * dim + d] + u_bias[gate * dim + d];
                    }
                for (int b = 0; b < some; b++) {
                    const int64_t at = (sequence + b) * dim + group;
                    for (int unit = 0; unit < units; unit++) {
                        const float i = sigmoid(gates[0][b][unit]), f = sigmoid(gates[1][b][unit]);
                        const float o = sigmoid(gates[3][b][unit]);
                        const float next = f * c[at + unit] + i * tanh_fast(gates[2][b][unit]);
                        c_out[at + unit] = next;
                        y[at + unit] = o * tanh_fast(next);
                    }
                }
            }
    }
}
