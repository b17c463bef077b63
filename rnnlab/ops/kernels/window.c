#include "common.h"

/* attention over a window: what lies between the products, see rnnlab/ops/window.py
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
