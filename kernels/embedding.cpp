// embedding.cpp - out [T, width] = rows ids[t] of the packed table [V, width]. Bytes: T * width * (w + 4). Bound by latency: a
// row's elements lie 64 bytes apart in its panel of the packed matrix (which serves the tied output projection as well).
#include "convert.h"
#include "device.h"

namespace {

void copy_row(const uint16_t *table, int32_t id, float *out, int32_t width) {
  const int64_t pairs = (width + 1) / 2;
  const uint16_t *in = table + (id / kn::PANEL * pairs * kn::PANEL + id % kn::PANEL) * 2;
  for (int32_t i = 0; i < width; i++) out[i] = kn::f32_from_bf16(in[i / 2 * kn::PANEL * 2 + i % 2]);
}

void copy_row(const float *table, int32_t id, float *out, int32_t width) {
  const float *in = table + static_cast<int64_t>(id / kn::PANEL) * width * kn::PANEL + id % kn::PANEL;
  for (int32_t i = 0; i < width; i++) out[i] = in[i * kn::PANEL];
}

}  // namespace

int32_t kn_embedding(kn_device *device, kn_addr out, kn_addr table, kn_addr ids, int32_t tokens, int32_t vocab, int32_t width) {
  return kn::guard(device, [&] {
    kn::check_at_least("tokens", tokens, 0);
    double table_bytes = 0;
    if (const int32_t status = kn_weight_bytes(device, vocab, width, &table_bytes)) throw kn::Failure{status, device->error};
    kn::check_range(*device, "out", out, 4.0 * tokens * width);
    kn::check_range(*device, "table", table, table_bytes);
    kn::check_range(*device, "ids", ids, 4.0 * tokens);
    kn::enqueue(*device, "kn_embedding", [=] {
      const int32_t *id = kn::pointer<int32_t>(ids);
      for (int32_t t = 0; t < tokens; t++) {
        if (id[t] < 0 || id[t] >= vocab) kn::fail(KN_INVALID_ARGUMENT, "ids[%d] is %d, not in 0..%d", t, id[t], vocab - 1);
      }
      device->pool.run(tokens, [&](int t, int) {
        float *row = kn::pointer<float>(out) + static_cast<int64_t>(t) * width;
        if (device->options.bf16) copy_row(kn::pointer<uint16_t>(table), id[t], row, width);
        else copy_row(kn::pointer<float>(table), id[t], row, width);
      });
    });
  });
}
