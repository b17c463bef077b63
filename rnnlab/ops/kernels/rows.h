/* What the kernels of one position share: rows of weights, where they lie, times a few vectors of the batch.
 *
 * Every weight is read once for TILE sequences. A sum does not depend on how many others are made beside it. */

#ifndef RNNLAB_ROWS_H
#define RNNLAB_ROWS_H

#include "gates.h"

#define ROWS 4
#define SEQUENCES (8 * TILE)    /* for which a group of units waits, so that the gates are computed side by side */

/* sums[row][b] += the products of w, `rows` rows that lie `apart`, and x (batch, count), up to the last whole vector. Both
 * numbers are constant wherever this is called, so that the sums stay in registers. */
INLINE void add_whole(vec sums[ROWS][TILE], const float *w, int64_t apart, const float *x, int64_t count, const int rows,
                      const int batch)
{
    vec own[ROWS][TILE];
    memcpy(own, sums, sizeof own);
    for (int64_t k = 0; k + UNITS <= count; k += UNITS)
        for (int row = 0; row < rows; row++)
            for (int b = 0; b < batch; b++)
                own[row][b] += *(const vec *)(w + row * apart + k) * *(const vec *)(x + b * count + k);
    memcpy(sums, own, sizeof own);
}

INLINE float sum_of(vec v)
{
    float values[UNITS];
    memcpy(values, &v, sizeof v);
    for (int width = UNITS / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            values[j] += values[j + width];
    return values[0];
}

/* out[row][b] = rows of w times x, and rows of u times h where there are such: all of `count` numbers */
INLINE void rows_of_tile(const float *w, const float *x, const float *u, const float *h, int64_t apart, int64_t count,
                         float out[ROWS][TILE], const int rows, const int batch)
{
    vec sums[ROWS][TILE] = {{{0}}};
    add_whole(sums, w, apart, x, count, rows, batch);
    if (u)
        add_whole(sums, u, apart, h, count, rows, batch);
    for (int row = 0; row < rows; row++)
        for (int b = 0; b < batch; b++) {
            out[row][b] = sum_of(sums[row][b]);
            for (int64_t k = count / UNITS * UNITS; k < count; k++) {
                out[row][b] += w[row * apart + k] * x[b * count + k];
                if (u)
                    out[row][b] += u[row * apart + k] * h[b * count + k];
            }
        }
}

/* the same for the last sequences of a batch as well */
INLINE void rows_times(const float *w, const float *x, const float *u, const float *h, int64_t apart, int64_t count,
                       float out[ROWS][TILE], const int rows, int batch)
{
    if (batch == TILE)
        rows_of_tile(w, x, u, h, apart, count, out, rows, TILE);
    else
        for (int b = 0; b < batch; b++) {
            float one[ROWS][TILE];
            rows_of_tile(w, x + b * count, u, u ? h + b * count : h, apart, count, one, rows, 1);
            for (int row = 0; row < rows; row++)
                out[row][b] = one[row][0];
        }
}

#endif
