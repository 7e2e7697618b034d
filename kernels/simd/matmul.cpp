// matmul.cpp - out [m, n] = x [m, k] * weight [n, k]^T for one span of panels.
//
// A register tile of R rows x P panels walks k once; each loaded weight vector serves R rows. Every output element is one
// chain of multiply-adds over k in rising order, whatever R, P, m or the thread: so a row's result never depends on the rest.
// Bound by memory (weights, read once) for m below some 8, by multiply-adds above.
#include "loops.h"

namespace kn::KN_ISA {
namespace {

#if defined(__AVX512BF16__)
constexpr bool DOT = true;  // vdpbf16ps: two bf16 products added to f32 in each lane
#else
constexpr bool DOT = false;
#endif

// Registers: R * P * SPLIT accumulators, P * SPLIT weights, one x.
#if defined(__AVX512F__)
constexpr int MAX_ROWS = 12;
constexpr int panels_for(int rows) { return rows <= 6 ? 4 : rows <= 8 ? 3 : 2; }
#elif defined(__AVX2__)
constexpr int MAX_ROWS = 5;
constexpr int panels_for(int rows) { return rows <= 2 ? 2 : 1; }
#else
constexpr int MAX_ROWS = 2;
constexpr int panels_for(int) { return 1; }
#endif

template <int V>
struct Accumulator {
  Vector v[V];
};

// bf16: a dword holds k (low half) and k + 1 (high half).
template <int R, int P>
KN_INLINE void accumulate(Accumulator<P * SPLIT> (&sum)[R], const char *x, int64_t x_stride, const uint16_t *weight,
                          int64_t pairs) {
  const uint32_t *w = (const uint32_t *)weight;
  for (int64_t pair = 0; pair < pairs; pair++) {
    Words word[P * SPLIT];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
      for (int s = 0; s < SPLIT; s++) word[p * SPLIT + s] = load_words(w + (p * pairs + pair) * PANEL + s * LANES);
      __builtin_prefetch(w + (p * pairs + pair) * PANEL + 512);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
#if defined(__AVX512BF16__)
      int32_t both;
      memcpy(&both, x + r * x_stride + pair * 4, 4);
      const __m512bh broadcast = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 8
      for (int i = 0; i < P; i++) sum[r].v[i] = (Vector)_mm512_dpbf16_ps((__m512)sum[r].v[i], (__m512bh)word[i], broadcast);
#else
      float even, odd;
      memcpy(&even, x + r * x_stride + pair * 8, 4);
      memcpy(&odd, x + r * x_stride + pair * 8 + 4, 4);
#pragma GCC unroll 8
      for (int i = 0; i < P * SPLIT; i++) {
        sum[r].v[i] = fma((Vector)(word[i] << 16), splat(even), sum[r].v[i]);
        sum[r].v[i] = fma((Vector)(word[i] & 0xffff0000u), splat(odd), sum[r].v[i]);
      }
#endif
    }
  }
}

template <int R, int P>
KN_INLINE void accumulate(Accumulator<P * SPLIT> (&sum)[R], const char *x, int64_t x_stride, const float *weight, int64_t k) {
  for (int64_t i = 0; i < k; i++) {
    Vector w[P * SPLIT];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 4
      for (int s = 0; s < SPLIT; s++) w[p * SPLIT + s] = load(weight + (p * k + i) * PANEL + s * LANES);
      __builtin_prefetch(weight + (p * k + i) * PANEL + 1024);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
      float value;
      memcpy(&value, x + r * x_stride + i * 4, 4);
#pragma GCC unroll 16
      for (int j = 0; j < P * SPLIT; j++) sum[r].v[j] = fma(w[j], splat(value), sum[r].v[j]);
    }
  }
}

// Elements of W in one panel, and how many steps of the k loop it takes.
KN_INLINE int64_t steps(const uint16_t *, int64_t k) { return (k + 1) / 2; }
KN_INLINE int64_t steps(const float *, int64_t k) { return k; }
KN_INLINE int64_t panel_elements(const uint16_t *, int64_t k) { return (k + 1) / 2 * 2 * PANEL; }
KN_INLINE int64_t panel_elements(const float *, int64_t k) { return k * PANEL; }

template <class W, int R, int P>
void tile(const MatmulTask &task, int32_t row, int32_t panel) {
  const W *weight = (const W *)task.weight;
  weight += panel * panel_elements(weight, task.k);
  const char *x = (const char *)task.x + row * task.x_stride;
  Accumulator<P * SPLIT> sum[R] = {};
  accumulate<R, P>(sum, x, task.x_stride, weight, steps(weight, task.k));

  for (int p = 0; p < P; p++) {
    const int32_t column = (panel + p) * PANEL;
    const int32_t width = task.n - column < PANEL ? task.n - column : PANEL;
    float bias[PANEL] = {};
    if (task.bias) {
      for (int32_t i = 0; i < width; i++) bias[i] = load1((const W *)task.bias + column + i);
    }
    for (int r = 0; r < R; r++) {
      float *out = task.out + (int64_t)(row + r) * task.n + column;
      float line[PANEL];
      for (int s = 0; s < SPLIT; s++) store(line + s * LANES, sum[r].v[p * SPLIT + s] + load(bias + s * LANES));
      if (width == PANEL) memcpy(out, line, sizeof line);
      else memcpy(out, line, (size_t)width * 4);
    }
  }
}

// All panels of [first, last) for R rows: P at a time, then the rest one by one.
template <class W, int R>
void strip(const MatmulTask &task, int32_t row, int32_t first, int32_t last) {
  constexpr int P = panels_for(R);
  int32_t panel = first;
  for (; panel + P <= last; panel += P) tile<W, R, P>(task, row, panel);
  if constexpr (P > 2) {
    for (; panel + 2 <= last; panel += 2) tile<W, R, 2>(task, row, panel);
  }
  for (; panel < last; panel++) tile<W, R, 1>(task, row, panel);
}

template <class W, int R>
void strip_of(int rows, const MatmulTask &task, int32_t row, int32_t first, int32_t last) {
  if (rows == R) return strip<W, R>(task, row, first, last);
  if constexpr (R > 1) strip_of<W, R - 1>(rows, task, row, first, last);
}

}  // namespace

// Rows are cut into tiles of nearly equal height: 16 as 8 + 8, not 12 + 4.
template <class W>
void matmul(const MatmulTask &task, int32_t row, int32_t rows, int32_t first, int32_t last) {
  int32_t tiles = (rows + MAX_ROWS - 1) / MAX_ROWS;
  const int32_t end = row + rows;
  for (; tiles > 0; tiles--) {
    const int32_t height = (end - row + tiles - 1) / tiles;
    strip_of<W, MAX_ROWS>(height, task, row, first, last);
    row += height;
  }
}
template void matmul<uint16_t>(const MatmulTask &, int32_t, int32_t, int32_t, int32_t);
template void matmul<float>(const MatmulTask &, int32_t, int32_t, int32_t, int32_t);

template <>
int64_t x_bytes<uint16_t>(int32_t k) {
  return (int64_t)(k + 1) / 2 * (DOT ? 4 : 8);
}
template <>
int64_t x_bytes<float>(int32_t k) {
  return (int64_t)k * 4;
}

template <>
void prepare_x<uint16_t>(void *out, const float *x, int32_t k) {
  if (DOT) {
    round_bf16((uint16_t *)out, x, k);
    if (k & 1) ((uint16_t *)out)[k] = 0;
    return;
  }
  float *rounded = (float *)out;
  int32_t i = 0;
  for (; i + LANES <= k; i += LANES) store(rounded + i, (Vector)(to_bf16(load(x + i)) << 16));
  for (; i < k; i++) {
    const uint16_t half = to_bf16(x[i]);
    rounded[i] = load1(&half);
  }
  if (k & 1) rounded[k] = 0;
}
template <>
void prepare_x<float>(void *out, const float *x, int32_t k) {
  memcpy(out, x, (size_t)k * 4);
}

}  // namespace kn::KN_ISA
