// row_loop.h - runs a function over rows of `width` elements, on all threads when there is enough to do.
#pragma once

#include <algorithm>

#include "device.h"

namespace kn {

template <class Row>
void for_rows(kn_device &device, int32_t rows, int32_t width, Row &&row) {
  constexpr int32_t TASK_ELEMENTS = 1 << 13;  // some 2 us of work, about what waking a thread costs
  const int32_t each = std::max(1, TASK_ELEMENTS / std::max(1, width));
  device.pool.run((rows + each - 1) / each, [&](int part, int) {
    const int32_t end = std::min(rows, (part + 1) * each);
    for (int32_t r = part * each; r < end; r++) row(static_cast<int64_t>(r));
  });
}

}  // namespace kn
