/* GRU: the part that is sequential, h_{t-1} U^T and the gates; the products over all positions are torch's */

#include "rows.h"

#define GATES 3    /* r z n */

/* In: gates (steps, batch, 3 D) holding x W^T in the order r z n; bias (4 D): of r and z both added up, of n the one
 * beside W, then the one beside U; u (3 D, D); h0 (batch, D).
 * Out: gates after their nonlinearity; inner (steps, batch, D), U_n h + b_u; y (steps, batch, D).
 * packed: room for D (rounded up to UNITS) times 3 D. */
void gru_forward(float *gates, const float *bias, const float *u, const float *h0, float *inner, float *y,
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
            const float *h = t ? y + (t - 1) * batch * dim : h0;
            for (int64_t group = first; group < last; group++)
                for (int64_t sequence = 0; sequence < batch; sequence += TILE) {
                    const int tile = batch - sequence < TILE ? (int)(batch - sequence) : TILE;
                    vec sums[MOST_GATES][TILE];
                    sums_of_tile(packed + group * stride, h + sequence * dim, sums, dim, GATES, tile, (int)half);
                    const int64_t unit = group * UNITS, width = dim - unit < UNITS ? dim - unit : UNITS;
                    for (int b = 0; b < tile; b++) {
                        const int64_t row = t * batch + sequence + b;
                        float *g = gates + row * 3 * dim + unit;
                        const float *add = bias + unit, *before = h + (sequence + b) * dim + unit;
                        const float *s0 = (float *)&sums[0][b], *s1 = (float *)&sums[1][b];
                        const float *s2 = (float *)&sums[2][b];
                        float *u_now = inner + row * dim + unit, *y_now = y + row * dim + unit;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
                        for (int64_t j = 0; j < width; j++) {
                            const float r = sigmoid(g[j] + add[j] + s0[j]);
                            const float z = sigmoid(g[dim + j] + add[dim + j] + s1[j]);
                            const float un = s2[j] + add[3 * dim + j];
                            const float n = tanh_fast(g[2 * dim + j] + add[2 * dim + j] + r * un);
                            g[j] = r, g[dim + j] = z, g[2 * dim + j] = n;
                            u_now[j] = un;
                            y_now[j] = n + z * (before[j] - n);
                        }
                    }
                }
#pragma omp barrier
        }
    }
}

/* Of the above, for grad_y (steps, batch, D); on entry grad_h holds the gradient of the last h.
 * Out: grad_x and grad_u (steps, batch, 3 D), of x W^T and of h U^T; grad_h (batch, D), of h0.
 * packed: room for D (rounded up to UNITS_BACK) times 3 D, rounded up to pairs. */
void gru_backward(const float *gates, const float *u, const float *h0, const float *inner, const float *y,
                  const float *grad_y, float *grad_x, float *grad_u, float *grad_h, float *packed, int64_t steps,
                  int64_t batch, int64_t dim, int64_t half, int threads)
{
    const int64_t groups = (dim + UNITS_BACK - 1) / UNITS_BACK;
    const int64_t stride = (half ? (GATES * dim + 1) / 2 : GATES * dim) * UNITS_BACK;
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
            const float *h = t ? y + (t - 1) * batch * dim : h0;
            for (int64_t sequence = 0; sequence < batch; sequence++) {
                const int64_t row = t * batch + sequence;
                const float *g = gates + row * 3 * dim;
                float *dx = grad_x + row * 3 * dim, *du = grad_u + row * 3 * dim;
#pragma GCC ivdep
                for (int64_t d = unit_first; d < unit_last; d++) {
                    const float r = g[d], z = g[dim + d], n = g[2 * dim + d];
                    const float dh = grad_y[row * dim + d] + grad_h[sequence * dim + d];
                    const float dn = dh * (1.0f - z) * (1.0f - n * n);
                    const float dz = dh * (h[sequence * dim + d] - n) * z * (1.0f - z);
                    const float dr = dn * inner[row * dim + d] * r * (1.0f - r);
                    dx[d] = dr, dx[dim + d] = dz, dx[2 * dim + d] = dn;
                    du[d] = dr, du[dim + d] = dz, du[2 * dim + d] = dn * r;
                    grad_h[sequence * dim + d] = dh * z;
                }
            }
#pragma omp barrier
            for (int64_t group = first; group < last; group++)
                for (int64_t sequence = 0; sequence < batch; sequence += TILE_BACK) {
                    const int tile = batch - sequence < TILE_BACK ? (int)(batch - sequence) : TILE_BACK;
                    const float *du = grad_u + (t * batch + sequence) * 3 * dim;
                    vec sums[2][TILE_BACK];
                    units_of_tile(packed + group * stride, du, sums, dim, GATES, tile, (int)half);
                    const int64_t unit = group * UNITS_BACK, width = dim - unit < UNITS_BACK ? dim - unit : UNITS_BACK;
                    for (int b = 0; b < tile; b++) {
                        float *dh = grad_h + (sequence + b) * dim + unit, row[UNITS_BACK];
                        memcpy(row, &sums[0][b], sizeof sums[0][b]);
                        memcpy(row + UNITS, &sums[1][b], sizeof sums[1][b]);
                        for (int64_t j = 0; j < width; j++)
                            dh[j] += row[j];
                    }
                }
        }
    }
}

/* One position, for inference: x, h, y (batch, D); w, u (3 D, D); both biases (3 D). */
void gru_step(const float *x, const float *w, const float *u, const float *w_bias, const float *u_bias, const float *h,
              float *y, int64_t batch, int64_t dim, int threads)
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
                float of_x[GATES][SEQUENCES][UNITS], of_h[GATES][SEQUENCES][UNITS];
                for (int unit = 0; unit < units; unit++)
                    for (int b = 0; b < some; b += TILE) {
                        const int64_t d = group + unit, start = (sequence + b) * dim;
                        const int tile = some - b < TILE ? some - b : TILE;
                        float wx[ROWS][TILE], uh[ROWS][TILE];
                        rows_times(w + d * dim, x + start, NULL, NULL, dim * dim, dim, wx, GATES, tile);
                        rows_times(u + d * dim, h + start, NULL, NULL, dim * dim, dim, uh, GATES, tile);
                        for (int gate = 0; gate < GATES; gate++)
                            for (int i = 0; i < tile; i++) {
                                of_x[gate][b + i][unit] = wx[gate][i] + w_bias[gate * dim + d];
                                of_h[gate][b + i][unit] = uh[gate][i] + u_bias[gate * dim + d];
                            }
                    }
                for (int b = 0; b < some; b++) {
                    const int64_t at = (sequence + b) * dim + group;
                    for (int unit = 0; unit < units; unit++) {
                        const float r = sigmoid(of_x[0][b][unit] + of_h[0][b][unit]);
                        const float z = sigmoid(of_x[1][b][unit] + of_h[1][b][unit]);
                        const float n = tanh_fast(of_x[2][b][unit] + r * of_h[2][b][unit]);
                        y[at + unit] = n + z * (h[at + unit] - n);
                    }
                }
            }
    }
}
