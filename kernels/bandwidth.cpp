// bandwidth.cpp - the machine's own ceilings: copying and reading memory as fast as all threads can.
#include <algorithm>
#include <cstring>
#include <vector>

#include "device.h"

using kn::check_range;
using kn::pointer;

namespace {
constexpr int64_t PART = 1 << 20;  // bytes of one task
}

int32_t kn_copy(kn_device *device, kn_addr destination, kn_addr source, double bytes) {
  return kn::guard(device, [&] {
    check_range(*device, "destination", destination, bytes);
    check_range(*device, "source", source, bytes);
    const int64_t size = static_cast<int64_t>(bytes);
    kn::enqueue(*device, "kn_copy", [=] {
      device->pool.run(static_cast<int>((size + PART - 1) / PART), [&](int part, int) {
        const int64_t at = part * PART;
        std::memcpy(pointer<char>(destination) + at, pointer<char>(source) + at, static_cast<size_t>(std::min(PART, size - at)));
      });
    });
  });
}

int32_t kn_read(kn_device *device, kn_addr out, kn_addr source, double bytes) {
  return kn::guard(device, [&] {
    check_range(*device, "out", out, 4);
    check_range(*device, "source", source, bytes);
    const int64_t size = static_cast<int64_t>(bytes);
    kn::enqueue(*device, "kn_read", [=] {
      const int parts = static_cast<int>((size + PART - 1) / PART);
      float *sums = device->scratch.get<float>(static_cast<uint64_t>(std::max(1, parts)));
      device->pool.run(parts, [&](int part, int) {
        const int64_t at = part * PART;
        sums[part] = device->inner.sum(pointer<float>(source + static_cast<uint64_t>(at)), std::min(PART, size - at) / 4);
      });
      float total = 0;
      for (int part = 0; part < parts; part++) total += sums[part];
      *pointer<float>(out) = total;
    });
  });
}
