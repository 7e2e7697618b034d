// matmul.cpp - out [M, N] = in [M, K] * weight [N, K]^T (+ bias). Bytes: N*K*w once, in and out. Bound by memory up to M of
// some 8 rows, by multiply-adds above.
//
// The activations are brought to the inner loop's form once (for bf16 weights: rounded to bf16), then tasks of a few panels of
// columns and up to 96 rows are handed to the threads. A task's row block stays in the second-level cache while its panels pass.
#include <algorithm>

#include "device.h"

namespace {

constexpr int32_t ROW_BLOCK = 96;            // rows of a task: a multiple of every register tile's height
constexpr int32_t SMALL_ELEMENTS = 1 << 14;  // below this, preparing activations is not worth waking threads

template <class W>
void run(kn_device &device, const kn::TypedLoops<W> &loops, kn::MatmulTask task, const float *in) {
  const int64_t stride = (loops.x_bytes(task.k) + 63) / 64 * 64;
  char *x = device.scratch.get<char>(static_cast<uint64_t>(stride * task.m));
  const bool small = static_cast<int64_t>(task.m) * task.k < SMALL_ELEMENTS;
  const int32_t rows_each = small ? task.m : std::max(1, SMALL_ELEMENTS / 2 / task.k);
  device.pool.run((task.m + rows_each - 1) / rows_each, [&](int part, int) {
    const int32_t end = std::min(task.m, (part + 1) * rows_each);
    for (int32_t row = part * rows_each; row < end; row++)
      loops.prepare_x(x + row * stride, in + static_cast<int64_t>(row) * task.k, task.k);
  });
  task.x = x;
  task.x_stride = stride;

  // Columns of a task: some tens of kilobytes of weights, and enough tasks for the threads to share evenly.
  const int32_t panels = (task.n + kn::PANEL - 1) / kn::PANEL;
  const int32_t row_blocks = (task.m + ROW_BLOCK - 1) / ROW_BLOCK;
  const int32_t span = panels >= 64 * device.pool.threads() ? 8 : task.m <= 6 && panels >= 16 * device.pool.threads() ? 4 : 2;
  const int32_t spans = (panels + span - 1) / span;
  device.pool.run(spans * row_blocks, [&](int index, int) {
    const int32_t row = index / spans * ROW_BLOCK;
    const int32_t first = index % spans * span;
    loops.matmul(task, row, std::min(ROW_BLOCK, task.m - row), first, std::min(panels, first + span));
  });
}

}  // namespace

int32_t kn_matmul(kn_device *device, kn_addr out, kn_addr in, kn_addr weight, kn_addr bias, int32_t m, int32_t n, int32_t k,
                  int32_t out_dtype) {
  return kn::guard(device, [&] {
    kn::check_at_least("m", m, 0);
    kn::check_at_least("n", n, 1);
    kn::check_at_least("k", k, 1);
    if (out_dtype != KN_F32) kn::fail(KN_UNSUPPORTED, "out_dtype is %d, the CPU's activations and logits are KN_F32", out_dtype);
    double weight_bytes = 0;
    kn_weight_bytes(device, n, k, &weight_bytes);
    kn::check_range(*device, "out", out, 4.0 * m * n);
    kn::check_range(*device, "in", in, 4.0 * m * k);
    kn::check_range(*device, "weight", weight, weight_bytes);
    if (bias) kn::check_range(*device, "bias", bias, static_cast<double>(device->weight_bytes()) * n);
    if (m == 0) return;
    kn::enqueue(*device, "kn_matmul", [=] {
      const kn::MatmulTask task{nullptr, 0, kn::pointer<void>(weight), kn::pointer<void>(bias), kn::pointer<float>(out), m, n, k};
      if (device->options.bf16) run(*device, device->inner.bf16, task, kn::pointer<float>(in));
      else run(*device, device->inner.f32, task, kn::pointer<float>(in));
    });
  });
}
