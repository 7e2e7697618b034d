// sample.cpp - one token for each sampling row; rules in sampling.cpp. Bytes: V * 4 a row when greedy, a few times that
// otherwise. Bound by memory (greedy) or by the passes over the survivors.
#include "device.h"
#include "sampling.h"

using kn::check_at_least;
using kn::check_range;
using kn::fail;
using kn::pointer;

int32_t kn_sample(kn_device *device, kn_addr tokens, kn_addr logits, kn_addr sample_row, kn_addr row_slot, kn_addr kv_length,
                  kn_addr slot_table, int32_t slot_stride, kn_addr history, int32_t history_stride, int32_t samples, int32_t vocab,
                  int32_t greedy_only, kn_addr workspace) {
  (void)workspace;
  return kn::guard(device, [&] {
    check_at_least("samples", samples, 0);
    check_at_least("vocab", vocab, 1);
    check_at_least("slot_stride", slot_stride, KN_SLOT_BLOCKS);
    check_at_least("history_stride", history_stride, 1);
    if (samples == 0) return;
    check_range(*device, "tokens", tokens, 4.0 * samples);
    check_range(*device, "logits", logits, 4.0 * samples * vocab);
    check_range(*device, "sample_row", sample_row, 4.0 * samples);
    const int64_t slots = std::min(static_cast<int64_t>(kn::bytes_after(*device, "slot_table", slot_table) / 4) / slot_stride,
                                   static_cast<int64_t>(kn::bytes_after(*device, "history", history) / 4) / history_stride);
    const int64_t rows = static_cast<int64_t>(
        std::min(kn::bytes_after(*device, "row_slot", row_slot), kn::bytes_after(*device, "kv_length", kv_length)) / 4);
    kn::enqueue(*device, "kn_sample", [=] {
      const int32_t *row_of = pointer<int32_t>(sample_row);
      const int32_t *slot_of = pointer<int32_t>(row_slot);
      for (int32_t s = 0; s < samples; s++) {
        if (row_of[s] < 0 || row_of[s] >= rows) fail(KN_INVALID_ARGUMENT, "sample_row[%d] is %d", s, row_of[s]);
        const int32_t slot = slot_of[row_of[s]];
        if (slot < 0 || slot >= slots) fail(KN_INVALID_ARGUMENT, "row_slot[%d] is %d", row_of[s], slot);
      }
      const uint64_t space = greedy_only ? 0 : static_cast<uint64_t>(kn::SamplingSpace::elements(vocab));
      for (kn::Scratch &scratch : device->thread_scratch) scratch.get<int32_t>(space);
      device->pool.run(samples, [&](int s, int thread) {
        float *row = pointer<float>(logits) + static_cast<int64_t>(s) * vocab;
        const int64_t slot = slot_of[row_of[s]];
        const int32_t n = pointer<int32_t>(kv_length)[row_of[s]];
        int32_t *tokens_before = pointer<int32_t>(history) + slot * history_stride;
        int32_t token;
        if (greedy_only) {
          token = device->inner.argmax(row, vocab);
        } else {
          int32_t *ids = device->thread_scratch[static_cast<size_t>(thread)].get<int32_t>(space);
          const auto state = kn::SamplingState::of(pointer<int32_t>(slot_table) + slot * slot_stride);
          token = kn::sample_row(device->inner, state, row, vocab, tokens_before, std::min(n, history_stride),
                                 {ids, reinterpret_cast<float *>(ids + vocab), reinterpret_cast<uint32_t *>(ids + 2 * vocab)});
        }
        pointer<int32_t>(tokens)[s] = token;
        if (n >= 0 && n < history_stride) tokens_before[n] = token;
      });
    });
  });
}

int32_t kn_sample_workspace(kn_device *device, int32_t, int32_t, double *bytes) {
  return kn::guard(device, [&] {
    if (bytes == nullptr) fail(KN_INVALID_ARGUMENT, "bytes is null");
    *bytes = 256;
  });
}
