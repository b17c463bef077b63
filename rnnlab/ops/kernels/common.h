/* What the CPU kernels of rnnlab share. They are compiled once by rnnlab/ops/native.py and called through ctypes.
 *
 * Arrays are contiguous and row-major; the last argument of every function is the number of threads it may use.
 * Nothing here may run under -ffast-math: a NaN that enters has to come out.
 */

#ifndef RNNLAB_COMMON_H
#define RNNLAB_COMMON_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void) { return 0; }
static inline int omp_get_num_threads(void) { return 1; }
#endif

#define STRIP 512          /* channels a thread works on at a time: their doubles stay in the first-level cache */
#define SMALL (1 << 15)    /* below this many values, waking threads costs more than it saves */

static inline int64_t strip_width(int64_t channels, int threads)
{
    int64_t share = (channels + threads - 1) / threads;
    share = (share + 15) / 16 * 16;    /* whole cache lines, so that two threads never write to one */
    return share < STRIP ? share : STRIP;
}

/* A pass over time in which every channel of every sequence is by itself: (batch, dim) in strips of channels. */

typedef struct { int64_t sequence, first, width; } Strip;

static inline int useful_threads(int64_t values, int threads) { return values < SMALL ? 1 : threads; }

static inline int64_t strips_of_sequence(int64_t dim, int threads)
{
    const int64_t width = strip_width(dim, threads);
    return (dim + width - 1) / width;
}

static inline Strip strip_at(int64_t number, int64_t dim, int threads)
{
    const int64_t width = strip_width(dim, threads), strips = strips_of_sequence(dim, threads);
    const int64_t first = number % strips * width;
    return (Strip){ number / strips, first, dim - first < width ? dim - first : width };
}

static inline void to_doubles(double *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = from[i];
}

static inline void to_floats(float *to, const double *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = (float)from[i];
}

/* functions of one number, branch-free so that loops over them vectorize; a NaN stays a NaN */

/* e^x = 2^n (1 + p), with p a polynomial on [-ln 2 / 2, ln 2 / 2]; beyond +-87 the result is that of +-87. Sets *scale to
 * 2^n, and returns p. */
static inline float exp_parts(float x, float *scale)
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
    union { float f; uint32_t i; } power, bits = { .f = shifted };
    power.i = (bits.i + 127u) << 23;
    *scale = power.f;
    return p * r * r + r;
}

/* e^x to 2 ulp */
static inline float exp_fast(float x)
{
    float scale;
    const float p = exp_parts(x, &scale);
    return (p + 1.0f) * scale;
}

/* e^x - 1 for x <= 0, to a few ulp where x is near 0 as well */
static inline float expm1_fast(float x)
{
    float scale;
    const float p = exp_parts(x, &scale);
    return p * scale + (scale - 1.0f);
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

/* the hash of rnnlab/ops/dropout.py, whose torch operations this repeats bit for bit */

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

#endif
