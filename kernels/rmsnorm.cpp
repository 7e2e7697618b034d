// rmsnorm.cpp - out [T, width] = in / sqrt(mean(in^2) + eps) * weight, alone or of residual + in. Bytes: 8 (fused: 16) a
// number. Bound by memory; at decode sizes everything is in cache.
#include <cstring>

#include "row_loop.h"

using kn::pointer;

namespace {

void check(const kn_device &device, kn_addr weight, int32_t tokens, int32_t width) {
  kn::check_at_least("tokens", tokens, 0);
  kn::check_at_least("width", width, 1);
  kn::check_range(device, "weight", weight, static_cast<double>(device.weight_bytes()) * width);
}

// in [T, width] becomes from + added when there is something to add.
void run(kn_device &device, float *out, float *in, const float *from, const float *added, kn_addr weight, int32_t tokens, int32_t width, float eps) {
  kn::for_rows(device, tokens, width, [&](int64_t row) {
    const int64_t at = row * width;
    const float *more = added ? added + at : nullptr;
    if (from != in) std::memcpy(in + at, from + at, static_cast<size_t>(width) * 4);
    if (device.options.bf16) device.inner.bf16.rmsnorm(out + at, in + at, more, pointer<uint16_t>(weight), width, eps);
    else device.inner.f32.rmsnorm(out + at, in + at, more, pointer<float>(weight), width, eps);
  });
}

}  // namespace

int32_t kn_rmsnorm(kn_device *device, kn_addr out, kn_addr in, kn_addr weight, int32_t tokens, int32_t width, float eps) {
  return kn::guard(device, [&] {
    check(*device, weight, tokens, width);
    kn::check_range(*device, "out", out, 4.0 * tokens * width);
    kn::check_range(*device, "in", in, 4.0 * tokens * width);
    kn::enqueue(*device, "kn_rmsnorm",
                [=] { run(*device, pointer<float>(out), pointer<float>(in), pointer<float>(in), nullptr, weight, tokens, width, eps); });
  });
}

int32_t kn_add_rmsnorm(kn_device *device, kn_addr out, kn_addr residual_out, kn_addr residual, kn_addr in, kn_addr weight,
                       int32_t tokens, int32_t width, float eps) {
  return kn::guard(device, [&] {
    check(*device, weight, tokens, width);
    kn::check_range(*device, "out", out, 4.0 * tokens * width);
    kn::check_range(*device, "residual_out", residual_out, 4.0 * tokens * width);
    kn::check_range(*device, "residual", residual, 4.0 * tokens * width);
    kn::check_range(*device, "in", in, 4.0 * tokens * width);
    kn::enqueue(*device, "kn_add_rmsnorm", [=] {
      run(*device, pointer<float>(out), pointer<float>(residual_out), pointer<float>(residual), pointer<float>(in), weight, tokens, width,
          eps);
    });
  });
}

int32_t kn_add(kn_device *device, kn_addr residual, kn_addr in, int32_t tokens, int32_t width) {
  return kn::guard(device, [&] {
    kn::check_at_least("tokens", tokens, 0);
    kn::check_at_least("width", width, 1);
    kn::check_range(*device, "residual", residual, 4.0 * tokens * width);
    kn::check_range(*device, "in", in, 4.0 * tokens * width);
    kn::enqueue(*device, "kn_add", [=] {
      kn::for_rows(*device, tokens, width, [&](int64_t row) {
        device->inner.add(pointer<float>(residual) + row * width, pointer<float>(in) + row * width, width);
      });
    });
  });
}
