// vector.h - one vector of floats, as wide as the instruction set this file is compiled for. GCC's vector extensions do the
// arithmetic; fused multiply-add is spelled out (and -ffp-contract=off), so that the same sum is rounded the same way in every
// loop it is written in. Included only by simd/*.cpp, inside the namespace of the instruction set (KN_ISA).
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define KN_INLINE static inline __attribute__((always_inline))

namespace kn::KN_ISA {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int SPLIT = 16 / LANES;  // vectors in a panel of 16 floats

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));

KN_INLINE Vector fma(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

KN_INLINE Vector splat(float value) {
#if defined(__AVX512F__)
  return (Vector)_mm512_set1_ps(value);
#elif defined(__AVX2__)
  return (Vector)_mm256_set1_ps(value);
#else
  return Vector{value, value, value, value};
#endif
}
KN_INLINE Vector load(const float *p) {
  Vector v;
  memcpy(&v, p, sizeof v);
  return v;
}
KN_INLINE void store(float *p, Vector v) { memcpy(p, &v, sizeof v); }
KN_INLINE Words load_words(const void *p) {
  Words v;
  memcpy(&v, p, sizeof v);
  return v;
}

// bf16 is the upper half of an f32.
KN_INLINE Vector load(const uint16_t *p) {
#if defined(__AVX512F__)
  const Words w = (Words)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__AVX2__)
  const Words w = (Words)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
#else
  Halves h;
  memcpy(&h, p, sizeof h);
  const Words w = __builtin_convertvector(h, Words);
#endif
  return (Vector)(w << 16);
}
KN_INLINE float load1(const float *p) { return *p; }
KN_INLINE float load1(const uint16_t *p) {
  const uint32_t bits = (uint32_t)*p << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

// Round to nearest even; NaN stays NaN (its quiet bit is set).
KN_INLINE uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
KN_INLINE Words to_bf16(Vector v) {  // in the low half of each lane
  const Words bits = (Words)v;
  const Words rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Words nan = (bits >> 16) | 0x40;
  const Words is_nan = (Words)((bits & 0x7fffffff) > 0x7f800000);
  return (is_nan & nan) | (~is_nan & rounded);
}

// a > b ? a : b, so b where either is NaN.
KN_INLINE Vector max(Vector a, Vector b) {
#if defined(__AVX512F__)
  return (Vector)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Vector)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
// Horizontal maximum and sum as a tree: the upper half is folded onto the lower, and so on.
template <int WIDTH>
KN_INLINE Ints fold_indices() {
  Ints indices;
  for (int i = 0; i < LANES; i++) indices[i] = i ^ WIDTH;
  return indices;
}
KN_INLINE float max_of(Vector v) {
  if constexpr (LANES > 8) v = max(v, __builtin_shuffle(v, fold_indices<8>()));
  if constexpr (LANES > 4) v = max(v, __builtin_shuffle(v, fold_indices<4>()));
  v = max(v, __builtin_shuffle(v, fold_indices<2>()));
  return max(v, __builtin_shuffle(v, fold_indices<1>()))[0];
}
KN_INLINE float sum_of(Vector v) {
  if constexpr (LANES > 8) v = v + __builtin_shuffle(v, fold_indices<8>());
  if constexpr (LANES > 4) v = v + __builtin_shuffle(v, fold_indices<4>());
  v = v + __builtin_shuffle(v, fold_indices<2>());
  return (v + __builtin_shuffle(v, fold_indices<1>()))[0];
}

// rows[i][j] <-> rows[j][i]: log2(LANES) rounds, each interleaving the first half of the rows with the second.
KN_INLINE void transpose(Words (&rows)[LANES]) {
  Words low, high;
  for (int i = 0; i < LANES / 2; i++) {
    low[2 * i] = i, low[2 * i + 1] = LANES + i;
    high[2 * i] = LANES / 2 + i, high[2 * i + 1] = LANES + LANES / 2 + i;
  }
#pragma GCC unroll 4
  for (int round = 1; round < LANES; round *= 2) {
    Words mixed[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES / 2; i++) {
      mixed[2 * i] = __builtin_shuffle(rows[i], rows[i + LANES / 2], low);
      mixed[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + LANES / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) rows[i] = mixed[i];
  }
}

// e^x with a relative error below 2e-7 for x <= 88; 0 below -87. x = n ln 2 + r, |r| <= ln 2 / 2; polynomial of e^r as in
// Cephes expf (Moshier, https://www.netlib.org/cephes/); exactly 1 at 0.
KN_INLINE Vector exp(Vector x) {
  const Vector low = splat(-87.0f), high = splat(88.0f);
  const Vector given = x;
  x = x > high ? high : x;
  x = x < low ? low : x;
  const Vector magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest integer
  const Vector shifted = fma(x, splat(1.44269504088896341f), magic);
  const Vector n = shifted - magic;
  Vector r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440e-4f), r);
  Vector p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.0f;
  const Ints exponent = (Ints)shifted << 23;  // the low bits of `shifted` hold n
  const Vector result = (Vector)((Ints)p + exponent);
  return given < low ? Vector{} : result;
}

}  // namespace kn::KN_ISA
