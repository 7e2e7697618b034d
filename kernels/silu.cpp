// silu.cpp - out [T, width] = silu(gate) * up, where gate_up [T, 2 * width] holds both halves side by side. Bytes: 12 a number
// of out. Bound by memory once out of cache; the exponential costs about as much.
#include "row_loop.h"

using kn::pointer;

namespace {

void check(const kn_device &device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  kn::check_at_least("tokens", tokens, 0);
  kn::check_at_least("width", width, 1);
  kn::check_range(device, "out", out, 4.0 * tokens * width);
  kn::check_range(device, "gate_up", gate_up, 8.0 * tokens * width);
}

}  // namespace

int32_t kn_silu_mul(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  return kn::guard(device, [&] {
    check(*device, out, gate_up, tokens, width);
    kn::enqueue(*device, "kn_silu_mul", [=] {
      kn::for_rows(*device, tokens, 2 * width, [&](int64_t row) {
        const float *gate = pointer<float>(gate_up) + row * 2 * width;
        device->inner.silu_mul(pointer<float>(out) + row * width, gate, gate + width, width);
      });
    });
  });
}

int32_t kn_silu(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  return kn::guard(device, [&] {
    check(*device, out, gate_up, tokens, width);
    kn::enqueue(*device, "kn_silu", [=] {
      kn::for_rows(*device, tokens, width, [&](int64_t row) {
        device->inner.silu(pointer<float>(out) + row * width, pointer<float>(gate_up) + row * 2 * width, width);
      });
    });
  });
}

int32_t kn_mul(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  return kn::guard(device, [&] {
    check(*device, out, gate_up, tokens, width);
    kn::enqueue(*device, "kn_mul", [=] {
      kn::for_rows(*device, tokens, width, [&](int64_t row) {
        device->inner.mul(pointer<float>(out) + row * width, pointer<float>(gate_up) + row * 2 * width + width, width);
      });
    });
  });
}
