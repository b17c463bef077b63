/* What LSTM and GRU share: h_{t-1} U^T for a group of hidden units and a few sequences of the batch, and its transpose.
 *
 * `gates` is 4 or 3, and a constant wherever these functions are called. */

#ifndef RNNLAB_GATES_H
#define RNNLAB_GATES_H

#include "common.h"

/* A thread computes UNITS hidden units for TILE sequences at a time. Their TILE sums a gate have to fit the processor's vector
 * registers beside the weights: spilled to memory, they cost six times as much. */
#if defined(__AVX512F__)             /* 32 registers of 16 floats */
#define UNITS 16
#define TILE 4
#elif defined(__AVX__)               /* 16 registers of 8 */
#define UNITS 8
#define TILE 2
#elif defined(__aarch64__)           /* 32 registers of 4 */
#define UNITS 4
#define TILE 4
#else                                /* 16 registers of 4 */
#define UNITS 4
#define TILE 2
#endif
typedef float vec __attribute__((vector_size(UNITS * sizeof(float)), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(UNITS * sizeof(uint32_t)), aligned(4), may_alias));

/* With `half` the packed weights are bfloat16, those of k and k + 1 in one word, the first in its low half: half the
 * memory to read at every position, which is what bounds a wide layer. Sums and states are floats. */
static inline vec low_of(words w) { return (vec)(w << 16); }
static inline vec high_of(words w) { return (vec)(w & 0xffff0000u); }
static inline uint32_t pair(float low, float high) { return (uint32_t)to_bf16(low) | (uint32_t)to_bf16(high) << 16; }

#define INLINE static inline __attribute__((always_inline))    /* what is constant at the call is constant inside */
#define MOST_GATES 4

/* U (gates D, D), gate-major, to packed (D / UNITS, D, gates, UNITS), or (D / UNITS, D / 2, gates, UNITS) pairs: what
 * one group of units needs, in the order it is read. */
static inline void pack_forward(const float *u, float *packed, int64_t dim, int64_t group, const int gates, int half)
{
    for (int64_t first = 0; first < dim; first += UNITS) {    /* whole cache lines of a row at a time */
        const int64_t width = dim - first < UNITS ? dim - first : UNITS;
        float *block = packed + first / (1 + half) * gates * UNITS;
        for (int64_t row = 0; row < gates * UNITS; row++) {
            const int64_t gate = row / UNITS, unit = group * UNITS + row % UNITS;
            float values[UNITS] = {0};
            uint32_t pairs[UNITS / 2];
            if (unit < dim)
                memcpy(values, u + (gate * dim + unit) * dim + first, (size_t)width * sizeof(float));
            if (half) {
                store(values, pairs, 0, UNITS, 1);
                for (int64_t k = 0; k < width; k += 2)
                    ((uint32_t *)block)[k / 2 * gates * UNITS + row] = pairs[k / 2];
            } else
                for (int64_t k = 0; k < width; k++)
                    block[k * gates * UNITS + row] = values[k];
        }
    }
}

/* sums[gate][sequence] = h (batch, dim) times a packed group. The sums stay in registers where `batch` is constant. */
INLINE void sums_of_group(const float *packed, const float *h, vec sums[MOST_GATES][TILE], int64_t dim, const int gates,
                          const int batch, const int half)
{
    vec own[MOST_GATES][TILE] = {{{0}}};
    for (int64_t k = 0; k < dim; k += 1 + half, packed += gates * UNITS) {
        const words *w = (const words *)packed;
        const vec *v = (const vec *)packed;
        for (int b = 0; b < batch; b++) {
            const float x = h[b * dim + k];
            for (int gate = 0; gate < gates; gate++)
                own[gate][b] += x * (half ? low_of(w[gate]) : v[gate]);
        }
        for (int b = 0; half && k + 1 < dim && b < batch; b++) {
            const float x = h[b * dim + k + 1];
            for (int gate = 0; gate < gates; gate++)
                own[gate][b] += x * high_of(w[gate]);
        }
    }
    memcpy(sums, own, sizeof own);
}

INLINE void sums_of_tile(const float *packed, const float *h, vec sums[MOST_GATES][TILE], int64_t dim, const int gates,
                         int batch, int half)
{
    if (half && batch == TILE)
        sums_of_group(packed, h, sums, dim, gates, TILE, 1);
    else if (half)
        sums_of_group(packed, h, sums, dim, gates, batch, 1);
    else if (batch == TILE)
        sums_of_group(packed, h, sums, dim, gates, TILE, 0);
    else
        sums_of_group(packed, h, sums, dim, gates, batch, 0);
}

#define UNITS_BACK (2 * UNITS)
#define TILE_BACK (2 * TILE)

/* U (gates D, D) to packed (D / UNITS_BACK, gates D, UNITS_BACK), or (D / UNITS_BACK, gates D / 2, UNITS_BACK) pairs;
 * a last row without a pair is paired with zeros */
static inline void pack_backward(const float *u, float *packed, int64_t dim, int64_t group, const int gates, int half)
{
    for (int64_t k = 0; k < gates * dim; k += 1 + half)
        for (int64_t j = 0; j < UNITS_BACK; j++, packed++) {
            const int64_t unit = group * UNITS_BACK + j;
            const float next = half && k + 1 < gates * dim && unit < dim ? u[(k + 1) * dim + unit] : 0.0f;
            if (half)
                *(uint32_t *)packed = unit < dim ? pair(u[k * dim + unit], next) : 0;
            else
                *packed = unit < dim ? u[k * dim + unit] : 0.0f;
        }
}

/* sums[sequence] = dg (batch, gates dim) times a packed group, its low units, then its high ones */
INLINE void units_of_group(const float *packed, const float *dg, vec sums[2][TILE_BACK], int64_t dim, const int gates,
                           const int batch, const int half)
{
    const int64_t rows = gates * dim;
    vec low[TILE_BACK] = {0}, high[TILE_BACK] = {0};
    for (int64_t k = 0; k < rows; k += 1 + half, packed += UNITS_BACK) {
        const words *w = (const words *)packed;
        const vec *v = (const vec *)packed;
        for (int b = 0; b < batch; b++) {
            const float x = dg[b * rows + k];
            low[b] += x * (half ? low_of(w[0]) : v[0]);
            high[b] += x * (half ? low_of(w[1]) : v[1]);
        }
        for (int b = 0; half && k + 1 < rows && b < batch; b++) {
            const float x = dg[b * rows + k + 1];
            low[b] += x * high_of(w[0]);
            high[b] += x * high_of(w[1]);
        }
    }
    memcpy(sums[0], low, sizeof low);
    memcpy(sums[1], high, sizeof high);
}

INLINE void units_of_tile(const float *packed, const float *dg, vec sums[2][TILE_BACK], int64_t dim, const int gates,
                          int batch, int half)
{
    if (half && batch == TILE_BACK)
        units_of_group(packed, dg, sums, dim, gates, TILE_BACK, 1);
    else if (half)
        units_of_group(packed, dg, sums, dim, gates, batch, 1);
    else if (batch == TILE_BACK)
        units_of_group(packed, dg, sums, dim, gates, TILE_BACK, 0);
    else
        units_of_group(packed, dg, sums, dim, gates, batch, 0);
}

#endif
