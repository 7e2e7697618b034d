// rows.cpp - loops over one row of numbers: norms, activations, rotation, sums. All are bound by the bytes they touch.
#include "loops.h"
#include "random.h"

namespace kn::KN_ISA {

// out = in * weight / sqrt(mean(in^2) + eps)  (Zhang & Sennrich 2019, arXiv 1910.07467)
template <class W>
void rmsnorm(float *out, float *in, const float *added, const W *weight, int32_t width, float eps) {
  Vector squares[4] = {};
  float tail = 0;
  int32_t i = 0;
  for (; i + 4 * LANES <= width; i += 4 * LANES) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      Vector x = load(in + i + j * LANES);
      if (added) store(in + i + j * LANES, x = x + load(added + i + j * LANES));
      squares[j] = fma(x, x, squares[j]);
    }
  }
  for (; i < width; i++) {
    if (added) in[i] += added[i];
    tail += in[i] * in[i];
  }
  const float mean = (sum_of((squares[0] + squares[1]) + (squares[2] + squares[3])) + tail) / (float)width;
  const float factor = 1.0f / __builtin_sqrtf(mean + eps);
  for (i = 0; i + LANES <= width; i += LANES) store(out + i, load(in + i) * factor * load(weight + i));
  for (; i < width; i++) out[i] = in[i] * factor * load1(weight + i);
}
template void rmsnorm<uint16_t>(float *, float *, const float *, const uint16_t *, int32_t, float);
template void rmsnorm<float>(float *, float *, const float *, const float *, int32_t, float);

void add(float *out, const float *in, int32_t width) {
  int32_t i = 0;
  for (; i + LANES <= width; i += LANES) store(out + i, load(out + i) + load(in + i));
  for (; i < width; i++) out[i] += in[i];
}

void mul(float *out, const float *in, int32_t width) {
  int32_t i = 0;
  for (; i + LANES <= width; i += LANES) store(out + i, load(out + i) * load(in + i));
  for (; i < width; i++) out[i] *= in[i];
}

namespace {
// x / (1 + e^-x); a tail shorter than a vector takes the same path, so that its rounding does not depend on the width.
KN_INLINE Vector silu_of(Vector x) { return x / (exp(-x) + 1.0f); }
KN_INLINE Vector load_part(const float *p, int32_t count) {
  Vector v = {};
  memcpy(&v, p, (size_t)count * 4);
  return v;
}
}  // namespace

void silu(float *out, const float *gate, int32_t width) {
  int32_t i = 0;
  for (; i + LANES <= width; i += LANES) store(out + i, silu_of(load(gate + i)));
  if (i < width) {
    const Vector v = silu_of(load_part(gate + i, width - i));
    memcpy(out + i, &v, (size_t)(width - i) * 4);
  }
}

void silu_mul(float *out, const float *gate, const float *up, int32_t width) {
  int32_t i = 0;
  for (; i + LANES <= width; i += LANES) store(out + i, silu_of(load(gate + i)) * load(up + i));
  if (i < width) {
    const Vector v = silu_of(load_part(gate + i, width - i)) * load_part(up + i, width - i);
    memcpy(out + i, &v, (size_t)(width - i) * 4);
  }
}

// half is 32 or 64: whole vectors in every instruction set.
void rotate(float *x, const float *cosine, const float *sine, int32_t half) {
  for (int32_t i = 0; i < half; i += LANES) {
    const Vector a = load(x + i), b = load(x + half + i), c = load(cosine + i), s = load(sine + i);
    store(x + i, fma(a, c, -(b * s)));
    store(x + half + i, fma(b, c, a * s));
  }
}

void round_bf16(uint16_t *out, const float *in, int32_t width) {
  int32_t i = 0;
  for (; i + LANES <= width; i += LANES) {
    const Words rounded = to_bf16(load(in + i));
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i *)(out + i), _mm512_cvtepi32_epi16((__m512i)rounded));
#else
    const Halves h = __builtin_convertvector(rounded, Halves);
    memcpy(out + i, &h, sizeof h);
#endif
  }
  for (; i < width; i++) out[i] = to_bf16(in[i]);
}

int32_t argmax(const float *values, int32_t count) {
  const float lowest = -__builtin_inff();
  Vector best[4];
  for (Vector &b : best) b = splat(lowest);
  int32_t i = 0;
  for (; i + 4 * LANES <= count; i += 4 * LANES) {
    for (int j = 0; j < 4; j++) best[j] = max(load(values + i + j * LANES), best[j]);
  }
  float most = max_of(max(max(best[0], best[1]), max(best[2], best[3])));
  for (; i < count; i++) most = values[i] > most ? values[i] : most;
  for (i = 0; i < count; i++) {
    if (values[i] == most) return i;
  }
  return 0;  // every value is NaN
}

double sum_exp(const float *values, int32_t count, float shift) {
  double total = 0;
  int32_t i = 0;
  while (i + LANES <= count) {  // f32 partial sums of at most 64 terms a lane, then f64
    Vector part = {};
    for (int j = 0; j < 64 && i + LANES <= count; j++, i += LANES) part = part + exp(load(values + i) - shift);
    total += sum_of(part);
  }
  if (i < count) {
    const Vector v = exp(load_part(values + i, count - i) - shift);
    for (int32_t j = 0; j < count - i; j++) total += v[j];
  }
  return total;
}

void exp_shifted(float *out, const float *in, int32_t count, float shift) {
  int32_t i = 0;
  for (; i + LANES <= count; i += LANES) store(out + i, exp(load(in + i) - shift));
  if (i < count) {
    const Vector v = exp(load_part(in + i, count - i) - shift);
    memcpy(out + i, &v, (size_t)(count - i) * 4);
  }
}

// Written for the compiler to vectorise: eight draws side by side.
void philox(uint32_t *out, const int32_t *ids, int32_t count, uint32_t k0, uint32_t k1, uint32_t c1) {
  for (int32_t i = 0; i < count; i++) out[i] = kn_philox(k0, k1, (uint32_t)ids[i], c1, 0, 0);
}

float sum(const float *values, int64_t count) {
  Vector part[8] = {};
  int64_t i = 0;
  for (; i + 8 * LANES <= count; i += 8 * LANES) {
    for (int j = 0; j < 8; j++) part[j] = part[j] + load(values + i + j * LANES);
  }
  float total = 0;
  for (; i < count; i++) total += values[i];
  for (const Vector &p : part) total += sum_of(p);
  return total;
}

}  // namespace kn::KN_ISA
