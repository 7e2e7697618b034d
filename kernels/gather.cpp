// gather.cpp - out [S, width] = in[index[s]]: the rows that get logits. Bytes: 8 a number. Bound by memory.
#include <cstring>

#include "row_loop.h"

using kn::pointer;

int32_t kn_gather_rows(kn_device *device, kn_addr out, kn_addr in, kn_addr index, int32_t samples, int32_t width) {
  return kn::guard(device, [&] {
    kn::check_at_least("samples", samples, 0);
    kn::check_at_least("width", width, 1);
    kn::check_range(*device, "out", out, 4.0 * samples * width);
    kn::check_range(*device, "index", index, 4.0 * samples);
    const int64_t rows =
        samples == 0 ? 0 : static_cast<int64_t>(kn::bytes_after(*device, "in", in) / 4 / static_cast<uint64_t>(width));
    kn::enqueue(*device, "kn_gather_rows", [=] {
      const int32_t *from = pointer<int32_t>(index);
      for (int32_t s = 0; s < samples; s++) {
        if (from[s] < 0 || from[s] >= rows) kn::fail(KN_INVALID_ARGUMENT, "index[%d] is %d, outside of `in`", s, from[s]);
      }
      kn::for_rows(*device, samples, width, [&](int64_t s) {
        std::memcpy(pointer<float>(out) + s * width, pointer<float>(in) + static_cast<int64_t>(from[s]) * width,
                    static_cast<size_t>(width) * 4);
      });
    });
  });
}
