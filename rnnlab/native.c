/* The CPU kernels of rnnlab, compiled once by rnnlab/native.py and called through ctypes.
 *
 * Arrays are contiguous and row-major; the last argument of every function is the number of threads it may use.
 * Nothing here may run under -ffast-math: a NaN that enters has to come out.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
static int omp_get_num_threads(void) { return 1; }
#endif

#define STRIP 512          /* channels a thread works on at a time: their doubles stay in the first-level cache */
#define SMALL (1 << 15)    /* below this many values, waking threads costs more than it saves */

static int64_t strip_width(int64_t channels, int threads)
{
    int64_t share = (channels + threads - 1) / threads;
    share = (share + 15) / 16 * 16;    /* whole cache lines, so that two threads never write to one */
    return share < STRIP ? share : STRIP;
}

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

/* functions of one number, branch-free so that loops over them vectorize; a NaN stays a NaN */

/* e^x to 2 ulp: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; beyond +-87 the result is that of +-87. */
static inline float exp_fast(float x)
{
    x = x > 87.0f ? 87.0f : x;
    x = x < -87.0f ? -87.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f;    /* 1.5 * 2^23: the low bits now hold round(x / ln 2) */
    const float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { float f; uint32_t i; } scale, bits = { .f = shifted };
    scale.i = (bits.i + 127u) << 23;
    return p * scale.f;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exp_fast(-x)); }

static inline float tanh_fast(float x) { return 2.0f / (1.0f + exp_fast(-2.0f * x)) - 1.0f; }

/* rows of floats, and what is kept of them in bfloat16 */

#define WIDE 16                      /* floats in an AVX-512 register */

static inline float from_bf16(uint16_t x)
{
    union { uint32_t i; float f; } bits = { .i = (uint32_t)x << 16 };
    return bits.f;
}

static inline uint16_t to_bf16(float x)
{
    union { float f; uint32_t i; } bits = { .f = x };
    const uint32_t rounded = (bits.i + 0x7fffu + ((bits.i >> 16) & 1u)) >> 16;
    return x == x ? (uint16_t)rounded : 0x7fc0;    /* or a NaN could round to infinity */
}

static inline void load(const void *from, int64_t at, float *to, int64_t count, int half)
{
    if (half)
        for (int64_t i = 0; i < count; i++)
            to[i] = from_bf16(((const uint16_t *)from)[at + i]);
    else
        memcpy(to, (const float *)from + at, (size_t)count * sizeof(float));
}

static inline void store(const float *from, void *to, int64_t at, int64_t count, int half)
{
    if (half)
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)to)[at + i] = to_bf16(from[i]);
    else
        memcpy((float *)to + at, from, (size_t)count * sizeof(float));
}

/* Sums run in strips, because the compiler may not reorder them. */

static inline float total(float *sums)
{
    for (int width = WIDE / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            sums[j] += sums[j + width];
    return sums[0];
}

static inline float dot(const float *x, const float *y, int64_t count)
{
    const int64_t whole = count / (2 * WIDE) * (2 * WIDE);
    float even[WIDE] = {0}, odd[WIDE] = {0}, rest = 0.0f;
    for (int64_t i = 0; i < whole; i += 2 * WIDE)
        for (int j = 0; j < WIDE; j++) {
            even[j] += x[i + j] * y[i + j];
            odd[j] += x[i + WIDE + j] * y[i + WIDE + j];
        }
    for (int64_t i = whole; i < count; i++)
        rest += x[i] * y[i];
    for (int j = 0; j < WIDE; j++)
        even[j] += odd[j];
    return total(even) + rest;
}

static inline void softmax(float *x, int64_t count)
{
    const int64_t whole = count / WIDE * WIDE;
    float most[WIDE], sums[WIDE] = {0}, sum = 0.0f;
    for (int j = 0; j < WIDE; j++)
        most[j] = x[0];
    for (int64_t i = 0; i < whole; i += WIDE)
        for (int j = 0; j < WIDE; j++)
            most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
    for (int64_t i = whole; i < count; i++)
        most[0] = x[i] > most[0] ? x[i] : most[0];
    for (int j = 1; j < WIDE; j++)
        most[0] = most[j] > most[0] ? most[j] : most[0];
    const float top = most[0];
    for (int64_t i = 0; i < whole; i += WIDE)
        for (int j = 0; j < WIDE; j++) {
            x[i + j] = exp_fast(x[i + j] - top);
            sums[j] += x[i + j];
        }
    for (int64_t i = whole; i < count; i++) {
        x[i] = exp_fast(x[i] - top);
        sum += x[i];
    }
    const float share = 1.0f / (total(sums) + sum);
    for (int64_t i = 0; i < count; i++)
        x[i] *= share;
}

/* dropout: see rnnlab/dropout.py, whose torch operations this repeats bit for bit */

static inline uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}

static inline uint32_t sequence_key(int64_t sequence, int64_t key) { return mix((uint32_t)sequence * 0x9e3779b9u + (uint32_t)key); }

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
    for (int64_t first = 0; first < dim; first += strip)
        for (int64_t d = first; d < first + strip && d < dim; d++)
            for (int64_t row = 0; row < rows; row++) {
                float sum = 0.0f;
                for (int64_t f = d; f < inner; f += dim) {
                    const float v = dot(w + f * dim, x + row * dim, dim) + bias[f];
                    sum += v * sigmoid(1.702f * v);
                }
                y[row * dim + d] = sum;
            }
}

/* LSTM: the part that is sequential, h_{t-1} U^T and the gates; the products over all positions are torch's */

/* A thread computes UNITS hidden units for TILE batch at a time. Their 4 TILE sums have to fit the processor's vector
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
 * memory to read at every position, which is what bounds a wide LSTM. Sums and states are floats. */
static inline vec low_of(words w) { return (vec)(w << 16); }
static inline vec high_of(words w) { return (vec)(w & 0xffff0000u); }
static inline uint32_t pair(float low, float high) { return (uint32_t)to_bf16(low) | (uint32_t)to_bf16(high) << 16; }

/* U (4 D, D), gate-major, to packed (D / UNITS, D, 4, UNITS), or (D / UNITS, D / 2, 4, UNITS) pairs: what one group of
 * units needs, in the order it is read. */
static void pack_forward(const float *u, float *packed, int64_t dim, int64_t group, int half)
{
    for (int64_t first = 0; first < dim; first += UNITS) {    /* whole cache lines of a row at a time */
        const int64_t width = dim - first < UNITS ? dim - first : UNITS;
        float *block = packed + first / (1 + half) * 4 * UNITS;
        for (int64_t row = 0; row < 4 * UNITS; row++) {
            const int64_t gate = row / UNITS, unit = group * UNITS + row % UNITS;
            float values[UNITS] = {0};
            uint32_t pairs[UNITS / 2];
            if (unit < dim)
                memcpy(values, u + (gate * dim + unit) * dim + first, (size_t)width * sizeof(float));
            if (half) {
                store(values, pairs, 0, UNITS, 1);
                for (int64_t k = 0; k < width; k += 2)
                    ((uint32_t *)block)[k / 2 * 4 * UNITS + row] = pairs[k / 2];
            } else
                for (int64_t k = 0; k < width; k++)
                    block[k * 4 * UNITS + row] = values[k];
        }
    }
}

#define INLINE static inline __attribute__((always_inline))    /* what is constant at the call is constant inside */

/* sums[gate][sequence] = h (batch, dim) times a packed group */
INLINE void gates_of_group(const float *packed, const float *h, vec sums[4][TILE], int64_t dim,
                           const int batch, const int half)
{
    vec i[TILE] = {0}, f[TILE] = {0}, g[TILE] = {0}, o[TILE] = {0};    /* stay in registers where `batch` is constant */
    for (int64_t k = 0; k < dim; k += 1 + half, packed += 4 * UNITS) {
        const words *w = (const words *)packed;
        const vec *v = (const vec *)packed;
        for (int b = 0; b < batch; b++) {
            const float x = h[b * dim + k];
            i[b] += x * (half ? low_of(w[0]) : v[0]);
            f[b] += x * (half ? low_of(w[1]) : v[1]);
            g[b] += x * (half ? low_of(w[2]) : v[2]);
            o[b] += x * (half ? low_of(w[3]) : v[3]);
        }
        for (int b = 0; half && k + 1 < dim && b < batch; b++) {
            const float x = h[b * dim + k + 1];
            i[b] += x * high_of(w[0]);
            f[b] += x * high_of(w[1]);
            g[b] += x * high_of(w[2]);
            o[b] += x * high_of(w[3]);
        }
    }
    memcpy(sums[0], i, sizeof i);
    memcpy(sums[1], f, sizeof f);
    memcpy(sums[2], g, sizeof g);
    memcpy(sums[3], o, sizeof o);
}

static void gates_of_tile(const float *packed, const float *h, vec sums[4][TILE], int64_t dim, int batch, int half)
{
    if (half && batch == TILE)
        gates_of_group(packed, h, sums, dim, TILE, 1);
    else if (half)
        gates_of_group(packed, h, sums, dim, batch, 1);
    else if (batch == TILE)
        gates_of_group(packed, h, sums, dim, TILE, 0);
    else
        gates_of_group(packed, h, sums, dim, batch, 0);
}

/* In: gates (steps, batch, 4 D) holding x W^T in the order i f g o; bias (4 D); u (4 D, D); h0, c0 (batch, D).
 * Out: gates after their nonlinearity, y and c (steps, batch, D). packed: room for D (rounded up to UNITS) times 4 D. */
void lstm_forward(float *gates, const float *bias, const float *u, const float *h0, const float *c0, float *y, float *c,
                  float *packed, int64_t steps, int64_t batch, int64_t dim, int64_t half, int threads)
{
    const int64_t groups = (dim + UNITS - 1) / UNITS, stride = (half ? (dim + 1) / 2 : dim) * 4 * UNITS;
    if (groups < threads)
        threads = (int)groups;
#pragma omp parallel num_threads(threads)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t first = groups * me / all, last = groups * (me + 1) / all;
        for (int64_t group = first; group < last; group++)
            pack_forward(u, packed + group * stride, dim, group, (int)half);
        for (int64_t t = 0; t < steps; t++) {
            const float *h = t ? y + (t - 1) * batch * dim : h0, *c_before = t ? c + (t - 1) * batch * dim : c0;
            for (int64_t group = first; group < last; group++)
                for (int64_t sequence = 0; sequence < batch; sequence += TILE) {
                    const int tile = batch - sequence < TILE ? (int)(batch - sequence) : TILE;
                    vec sums[4][TILE];
                    gates_of_tile(packed + group * stride, h + sequence * dim, sums, dim, tile, (int)half);
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

#define UNITS_BACK (2 * UNITS)

/* U (4 D, D) to packed (D / UNITS_BACK, 4 D, UNITS_BACK), or (D / UNITS_BACK, 2 D, UNITS_BACK) pairs */
static void pack_backward(const float *u, float *packed, int64_t dim, int64_t group, int half)
{
    for (int64_t k = 0; k < 4 * dim; k += 1 + half)
        for (int64_t j = 0; j < UNITS_BACK; j++, packed++) {
            const int64_t unit = group * UNITS_BACK + j;
            if (half)
                *(uint32_t *)packed = unit < dim ? pair(u[k * dim + unit], u[(k + 1) * dim + unit]) : 0;
            else
                *packed = unit < dim ? u[k * dim + unit] : 0.0f;
        }
}

/* sums[sequence] = dg (batch, 4 dim) times a packed group, its low units, then its high ones */
INLINE void units_of_group(const float *packed, const float *dg, vec sums[2][2 * TILE], int64_t dim,
                           const int batch, const int half)
{
    vec low[2 * TILE] = {0}, high[2 * TILE] = {0};
    for (int64_t k = 0; k < 4 * dim; k += 1 + half, packed += UNITS_BACK) {
        const words *w = (const words *)packed;
        const vec *v = (const vec *)packed;
        for (int b = 0; b < batch; b++) {
            const float x = dg[b * 4 * dim + k];
            low[b] += x * (half ? low_of(w[0]) : v[0]);
            high[b] += x * (half ? low_of(w[1]) : v[1]);
        }
        for (int b = 0; half && b < batch; b++) {
            const float x = dg[b * 4 * dim + k + 1];
            low[b] += x * high_of(w[0]);
            high[b] += x * high_of(w[1]);
        }
    }
    memcpy(sums[0], low, sizeof low);
    memcpy(sums[1], high, sizeof high);
}

static void units_of_tile(const float *packed, const float *dg, vec sums[2][2 * TILE], int64_t dim, int batch, int half)
{
    if (half && batch == 2 * TILE)
        units_of_group(packed, dg, sums, dim, 2 * TILE, 1);
    else if (half)
        units_of_group(packed, dg, sums, dim, batch, 1);
    else if (batch == 2 * TILE)
        units_of_group(packed, dg, sums, dim, 2 * TILE, 0);
    else
        units_of_group(packed, dg, sums, dim, batch, 0);
}

/* Of the above, for grad_y (steps, batch, D); on entry grad_h and grad_c hold the gradients of the last h and c.
 * Out: grad_gates (steps, batch, 4 D), before their nonlinearity; grad_h and grad_c (batch, D), of h0 and c0.
 * packed: room for D (rounded up to UNITS_BACK) times 4 D. */
void lstm_backward(const float *gates, const float *u, const float *c0, const float *c, const float *grad_y,
                   float *grad_gates, float *grad_h, float *grad_c, float *packed, int64_t steps, int64_t batch,
                   int64_t dim, int64_t half, int threads)
{
    const int64_t groups = (dim + UNITS_BACK - 1) / UNITS_BACK, stride = (half ? 2 : 4) * dim * UNITS_BACK;
    if (groups < threads)
        threads = (int)groups;
#pragma omp parallel num_threads(threads)
    {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t first = groups * me / all, last = groups * (me + 1) / all;
        const int64_t unit_first = first * UNITS_BACK, unit_last = last * UNITS_BACK < dim ? last * UNITS_BACK : dim;
        for (int64_t group = first; group < last; group++)
            pack_backward(u, packed + group * stride, dim, group, (int)half);
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
                for (int64_t sequence = 0; sequence < batch; sequence += 2 * TILE) {
                    const int tile = batch - sequence < 2 * TILE ? (int)(batch - sequence) : 2 * TILE;
                    const float *dg = grad_gates + (t * batch + sequence) * 4 * dim;
                    vec sums[2][2 * TILE];
                    units_of_tile(packed + group * stride, dg, sums, dim, tile, (int)half);
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
    for (int64_t first = 0; first < dim; first += strip)
        for (int64_t d = first; d < first + strip && d < dim; d++)
            for (int64_t at = d; at < batch * dim; at += dim) {
                float gates[4];
                for (int gate = 0; gate < 4; gate++) {
                    const int64_t row = gate * dim + d;
                    gates[gate] = dot(w + row * dim, x + at - d, dim) + dot(u + row * dim, h + at - d, dim)
                        + w_bias[row] + u_bias[row];
                }
                const float i = sigmoid(gates[0]), f = sigmoid(gates[1]), z = tanh_fast(gates[2]);
                c_out[at] = f * c[at] + i * z;
                y[at] = sigmoid(gates[3]) * tanh_fast(c_out[at]);
            }
}

/* QRNN: the gates and fo-pooling, c_t = c_{t-1} + w (z - c_{t-1}), h_t = o c_t, in one pass over time */

/* In: gates (steps, batch, 3 D) holding the projections of z, f, o; bias (3 D); c0 (batch, D).
 * Out: gates tanh(z), sigmoid(-f), sigmoid(o); w is `keep` times the second; y, c (steps, batch, D). */
void qrnn_forward(float *gates, const float *bias, const float *c0, float *y, float *c, int64_t steps, int64_t batch,
                  int64_t dim, float keep, int threads)
{
    if (steps * batch * dim < SMALL)
        threads = 1;
    const int64_t strip = strip_width(dim, threads), per_sequence = (dim + strip - 1) / strip;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < batch * per_sequence; number++) {
        const int64_t sequence = number / per_sequence, first = number % per_sequence * strip;
        const int64_t width = dim - first < strip ? dim - first : strip;
        const float *z_bias = bias + first, *f_bias = z_bias + dim, *o_bias = f_bias + dim;
        double carry[STRIP];
        for (int64_t j = 0; j < width; j++)
            carry[j] = c0[sequence * dim + first + j];
        for (int64_t t = 0; t < steps; t++) {
            float *z = gates + (t * batch + sequence) * 3 * dim + first, *w = z + dim, *o = w + dim;
            const int64_t at = (t * batch + sequence) * dim + first;
#pragma GCC ivdep    /* the arrays are distinct, which the compiler cannot know */
            for (int64_t j = 0; j < width; j++) {
                z[j] = tanh_fast(z[j] + z_bias[j]);
                w[j] = sigmoid(-(w[j] + f_bias[j]));
                o[j] = sigmoid(o[j] + o_bias[j]);
                carry[j] += keep * w[j] * (z[j] - carry[j]);
                c[at + j] = (float)carry[j];
                y[at + j] = o[j] * c[at + j];
            }
        }
    }
}

/* Of the above, for grad_y (steps, batch, D); on entry grad_c (batch, D) holds the gradient of the last c.
 * Out: grad_gates (steps, batch, 3 D), of the projections; grad_c, of c0. */
void qrnn_backward(const float *gates, const float *c0, const float *c, const float *grad_y, float *grad_gates,
                   float *grad_c, int64_t steps, int64_t batch, int64_t dim, float keep, int threads)
{
    if (steps * batch * dim < SMALL)
        threads = 1;
    const int64_t strip = strip_width(dim, threads), per_sequence = (dim + strip - 1) / strip;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t number = 0; number < batch * per_sequence; number++) {
        const int64_t sequence = number / per_sequence, first = number % per_sequence * strip;
        const int64_t width = dim - first < strip ? dim - first : strip;
        double carry[STRIP];
        for (int64_t j = 0; j < width; j++)
            carry[j] = grad_c[sequence * dim + first + j];
        for (int64_t t = steps - 1; t >= 0; t--) {
            const int64_t row = (t * batch + sequence) * 3 * dim + first, at = (t * batch + sequence) * dim + first;
            const float *z = gates + row, *w = z + dim, *o = w + dim;
            const float *before = t > 0 ? c + at - batch * dim : c0 + sequence * dim + first;
            float *grad_z = grad_gates + row, *grad_f = grad_z + dim, *grad_o = grad_f + dim;
#pragma GCC ivdep
            for (int64_t j = 0; j < width; j++) {
                const float dy = grad_y[at + j];
                const double dc = carry[j] + dy * o[j];
                const float d = (float)dc;
                grad_o[j] = dy * c[at + j] * o[j] * (1.0f - o[j]);
                grad_z[j] = d * keep * w[j] * (1.0f - z[j] * z[j]);
                grad_f[j] = d * (before[j] - z[j]) * keep * w[j] * (1.0f - w[j]);
                carry[j] = dc * (1.0f - keep * w[j]);
            }
        }
        for (int64_t j = 0; j < width; j++)
            grad_c[sequence * dim + first + j] = (float)carry[j];
    }
}

/* attention over a window: what lies between the products, see components/attention/_window.py
 *
 * Query t of a chunk stands at key `before` + t, behind the positions remembered, and sees itself and the window - 1
 * keys before it. Products and their arguments are floats or, with `half`, bfloat16; in between all is float. */

/* Scores (queries, n) of one head, of queries from `query` on and keys from `key_from` on, become their softmax over
 * the window; dropped, unless it is 0, gets that with its mask. room: (threads, 2 n). */
void attend_forward(void *scores, void *dropped, float *room, int64_t queries, int64_t n, int64_t query,
                    int64_t key_from, int64_t steps, int64_t before, int64_t window, int64_t half, int64_t head,
                    int64_t sequence, int64_t key, int64_t first_sequence, int64_t threshold, float scale, int threads)
{
    if (queries * n < SMALL)
        threads = 1;
#pragma omp parallel num_threads(threads)
    {
        float *row = room + omp_get_thread_num() * 2 * n, *masked = row + n;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < queries; r++) {
            const int64_t t = query + r, here = before + t - key_from;
            const int64_t low = here - window + 1 > 0 ? here - window + 1 : 0, high = here + 1;
            load(scores, r * n, row, n, (int)half);
            memset(row, 0, (size_t)low * sizeof(float));
            memset(row + high, 0, (size_t)(n - high) * sizeof(float));
            softmax(row + low, high - low);
            store(row, scores, r * n, n, (int)half);
            if (dropped) {
                const uint32_t place = (uint32_t)((head * steps + t) * (before + steps) + key_from);
                const uint32_t base = sequence_key(first_sequence + sequence, key) + place;
                for (uint32_t i = 0; i < (uint32_t)n; i++)
                    masked[i] = mix(i + base) >= (uint32_t)threshold ? row[i] * scale : 0.0f;
                store(masked, dropped, r * n, n, (int)half);
            }
        }
    }
}

/* Of the above, for weights (queries, n) as it left them. In: gradient of the dropped weights; out: of the scores.
 * dropped_own, unless it is 0: (queries, n - own_from), the dropped weights of the chunk's own keys once more. */
void attend_backward(const void *weights, void *gradient, void *dropped_own, float *room, int64_t own_from,
                     int64_t queries, int64_t n, int64_t query, int64_t key_from, int64_t steps, int64_t before,
                     int64_t half, int64_t head, int64_t sequence, int64_t key, int64_t first_sequence, int64_t threshold,
                     float scale, int threads)
{
    if (queries * n < SMALL)
        threads = 1;
#pragma omp parallel num_threads(threads)
    {
        float *row = room + omp_get_thread_num() * 2 * n, *grad = row + n;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < queries; r++) {
            const uint32_t place = (uint32_t)((head * steps + query + r) * (before + steps) + key_from);
            const uint32_t base = sequence_key(first_sequence + sequence, key) + place;
            load(weights, r * n, row, n, (int)half);
            load(gradient, r * n, grad, n, (int)half);
            if (threshold)
                for (uint32_t i = 0; i < (uint32_t)n; i++)
                    grad[i] = mix(i + base) >= (uint32_t)threshold ? grad[i] * scale : 0.0f;
            const float mean = dot(row, grad, n);
            for (int64_t i = 0; i < n; i++)
                grad[i] = row[i] * (grad[i] - mean);
            store(grad, gradient, r * n, n, (int)half);
            if (dropped_own) {
                for (uint32_t i = (uint32_t)own_from; i < (uint32_t)n; i++)
                    row[i] = mix(i + base) >= (uint32_t)threshold ? row[i] * scale : 0.0f;
                store(row + own_from, dropped_own, r * (n - own_from), n - own_from, (int)half);
            }
        }
    }
}

/* One query a sequence, for inference: y (batch, H d) = softmax(q K^T) K over the first n of keys (.., batch, H d), q scaled.
 * Every key is read once. room: (threads, d + BATCH + 2). */

#define BATCH 16    /* keys whose scores are known before their values are added up */

static void attend_some(const float *q, const float *keys, float *sums, float *scores, int64_t from, int64_t to,
                        int64_t stride, int64_t width)
{
    float top = -3.0e38f, share = 0.0f;
    memset(sums, 0, (size_t)width * sizeof(float));
    for (int64_t first = from; first < to; first += BATCH) {
        const int64_t count = to - first < BATCH ? to - first : BATCH;
        float most = top;
        for (int64_t i = 0; i < count; i++) {
            scores[i] = dot(q, keys + (first + i) * stride, width);
            most = scores[i] > most ? scores[i] : most;
        }
        const float shrink = exp_fast(top - most);
        share *= shrink;
        for (int64_t j = 0; j < width; j++)
            sums[j] *= shrink;
        for (int64_t i = 0; i < count; i++) {
            const float weight = exp_fast(scores[i] - most), *key = keys + (first + i) * stride;
            share += weight;
            for (int64_t j = 0; j < width; j++)
                sums[j] += weight * key[j];
        }
        top = most;
    }
    sums[width] = top;
    sums[width + 1] = share;
}

void attend_step(const float *q, const float *keys, float *y, float *room, int64_t n, int64_t batch, int64_t heads,
                 int64_t width, int threads)
{
    const int64_t dim = heads * width, stride = batch * dim, own = width + 2 + BATCH;
    if (n * width < SMALL)
        threads = 1;
    for (int64_t at = 0; at < stride; at += width) {
        int64_t parts = 1;
#pragma omp parallel num_threads(threads)
        {
            const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
            float *sums = room + me * own;
            attend_some(q + at, keys + at, sums, sums + width + 2, n * me / all, n * (me + 1) / all, stride, width);
            if (me == 0)
                parts = all;
        }
        float top = room[width], share = 0.0f;
        for (int64_t part = 1; part < parts; part++)
            top = room[part * own + width] > top ? room[part * own + width] : top;
        memset(y + at, 0, (size_t)width * sizeof(float));
        for (int64_t part = 0; part < parts; part++) {
            const float *sums = room + part * own, weight = exp_fast(sums[width] - top);
            share += weight * sums[width + 1];
            for (int64_t j = 0; j < width; j++)
                y[at + j] += weight * sums[j];
        }
        for (int64_t j = 0; j < width; j++)
            y[at + j] /= share;
    }
}

/* LAMB, see rnnlab/training/optim.py: two passes over memory where torch's operations make a dozen */

#define BLOCK 4096    /* values summed up in floats before a double takes over */

/* Moments of p's gradient g are updated; lengths (threads, 2) get the squared lengths of p and of its step, to be added
 * up by thread, because the sum has to be the same one every time. */
void lamb_moments(const float *p, const float *g, float *m, float *v, double *lengths, int64_t count, double beta1,
                  double beta2, float eps, float decay, int threads)
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
            float step[BLOCK];
            for (int64_t i = 0; i < width; i++) {
                const int64_t at = first + i;
                m[at] = keep1 * m[at] + add1 * g[at];
                v[at] = keep2 * v[at] + add2 * g[at] * g[at];
                step[i] = m[at] / (sqrtf(v[at]) + eps) + decay * p[at];
            }
            of_p += dot(p + first, p + first, width);
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
