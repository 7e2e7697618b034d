// weights.cpp - weight matrices packed for kn_matmul (see simd/inner_loops.h), from host memory or from a seed; and vectors.
// Bound by the bytes written; done once.
#include <cmath>
#include <cstring>
#include <utility>

#include "convert.h"
#include "device.h"
#include "random.h"

using kn::check_at_least;
using kn::check_range;
using kn::enqueue;
using kn::fail;
using kn::guard;
using kn::PANEL;
using kn::pointer;

namespace {

int64_t packed_bytes(const kn_device &device, int32_t n, int32_t k) {
  const int64_t columns = (static_cast<int64_t>(n) + PANEL - 1) / PANEL * PANEL;
  return device.options.bf16 ? columns * ((k + 1) / 2) * 4 : columns * k * 4;
}

void check_weight(const kn_device &device, kn_addr weight, int32_t n, int32_t k) {
  check_at_least("n", n, 1);
  check_at_least("k", k, 1);
  check_range(device, "weight", weight, static_cast<double>(packed_bytes(device, n, k)));
}

// Fills the packed matrix from element(row, column) -> f32, panel by panel on all threads.
template <class Element>
void pack(kn_device &device, kn_addr weight, int32_t n, int32_t k, Element element) {
  const int32_t panels = (n + PANEL - 1) / PANEL;
  const int32_t pairs = (k + 1) / 2;
  const bool bf16 = device.options.bf16;
  device.pool.run(panels, [&](int panel, int) {
    for (int lane = 0; lane < PANEL; lane++) {
      const int32_t row = panel * PANEL + lane;
      if (bf16) {
        uint16_t *out = pointer<uint16_t>(weight) + (static_cast<int64_t>(panel) * pairs * PANEL + lane) * 2;
        for (int32_t i = 0; i < 2 * pairs; i++) {
          out[(i / 2) * PANEL * 2 + i % 2] = row < n && i < k ? kn::bf16_from_f32(element(row, i)) : 0;
        }
      } else {
        float *out = pointer<float>(weight) + static_cast<int64_t>(panel) * k * PANEL + lane;
        for (int32_t i = 0; i < k; i++) out[i * PANEL] = row < n ? element(row, i) : 0.0f;
      }
    }
  });
}

}  // namespace

int32_t kn_weight_bytes(kn_device *device, int32_t n, int32_t k, double *bytes) {
  return guard(device, [&] {
    check_at_least("n", n, 1);
    check_at_least("k", k, 1);
    if (bytes == nullptr) fail(KN_INVALID_ARGUMENT, "bytes is null");
    *bytes = static_cast<double>(packed_bytes(*device, n, k));
  });
}

int32_t kn_weight_load(kn_device *device, kn_addr weight, const void *source, int32_t source_dtype, int32_t n, int32_t k) {
  return guard(device, [&] {
    check_weight(*device, weight, n, k);
    if (source == nullptr) fail(KN_INVALID_ARGUMENT, "source is null");
    const int64_t width = k;
    const auto *words = static_cast<const uint16_t *>(source);
    const auto *floats = static_cast<const float *>(source);
    switch (source_dtype) {
      case KN_F32:
        return pack(*device, weight, n, k, [=](int32_t r, int32_t c) { return floats[r * width + c]; });
      case KN_BF16:
        return pack(*device, weight, n, k, [=](int32_t r, int32_t c) { return kn::f32_from_bf16(words[r * width + c]); });
      case KN_F16:
        return pack(*device, weight, n, k, [=](int32_t r, int32_t c) { return kn::f32_from_f16(words[r * width + c]); });
      default:
        fail(KN_INVALID_ARGUMENT, "source_dtype is %d, must be KN_F32, KN_BF16 or KN_F16", source_dtype);
    }
  });
}

int32_t kn_weight_random(kn_device *device, kn_addr weight, int32_t n, int32_t k, int32_t seed, float scale) {
  return guard(device, [&] {
    check_weight(*device, weight, n, k);
    enqueue(*device, "kn_weight_random", [=] {
      const float amplitude = scale * 1.7320508f;  // a uniform draw from +-sqrt(3) has unit variance
      const int64_t width = k;
      pack(*device, weight, n, k, [=](int32_t r, int32_t c) {
        const uint32_t hash = kn_hash32(static_cast<uint32_t>(seed), static_cast<uint64_t>(r * width + c));
        const float u = static_cast<float>(hash >> 8) * (1.0f / 16777216.0f);
        return amplitude * (2.0f * u - 1.0f);  // 2u - 1 is exact: only two roundings, equal on every backend
      });
    });
  });
}

int32_t kn_vector_load(kn_device *device, kn_addr vector, const float *source, int32_t n) {
  return guard(device, [&] {
    check_at_least("n", n, 1);
    check_range(*device, "vector", vector, static_cast<double>(n) * static_cast<double>(device->weight_bytes()));
    if (source == nullptr) fail(KN_INVALID_ARGUMENT, "source is null");
    if (device->options.bf16) {
      for (int32_t i = 0; i < n; i++) pointer<uint16_t>(vector)[i] = kn::bf16_from_f32(source[i]);
    } else {
      std::memcpy(pointer<float>(vector), source, static_cast<size_t>(n) * 4);
    }
  });
}
