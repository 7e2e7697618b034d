// step.cpp - expands the staging block of a step: block-table changes, token ids, positions, cache slots, lengths. A few
// kilobytes; bound by nothing.
#include "device.h"

using kn::check_at_least;
using kn::check_range;
using kn::fail;
using kn::pointer;

namespace {

struct Step {
  const int32_t *row_slot, *row_start, *row_source, *query_start, *sample_row, *changes, *tokens;
  int32_t *slot_table, *history, *ids, *positions, *kv_slot, *kv_length, *sample_index;
  int32_t rows, tokens_count, samples, max_tokens, slot_stride, history_stride, block_size;
  int64_t slots, table_size;  // slots that both tables hold; int32 numbers in slot_table
};

void apply_changes(const Step &step, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    const int32_t at = step.changes[2 * i];
    if (at < 0 || at >= step.table_size) fail(KN_INVALID_ARGUMENT, "staging: change %d names element %d of slot_table", i, at);
    step.slot_table[at] = step.changes[2 * i + 1];
  }
}

void expand_row(const Step &step, int32_t r) {
  const int32_t slot = step.row_slot[r];
  const int32_t start = step.row_start[r];
  const int32_t source = step.row_source[r];
  const int32_t first = step.query_start[r];
  const int32_t count = step.query_start[r + 1] - first;
  if (slot < 0 || slot >= step.slots) fail(KN_INVALID_ARGUMENT, "staging: row_slot[%d] is %d", r, slot);
  if (first < 0 || count < 0 || first + count > step.tokens_count)
    fail(KN_INVALID_ARGUMENT, "staging: query_start[%d] is %d", r, first);
  if (start < 0 || start + count > step.history_stride)
    fail(KN_INVALID_ARGUMENT, "staging: row %d ends at position %d", r, start + count);
  if (source >= 0 && source + count > step.max_tokens) fail(KN_INVALID_ARGUMENT, "staging: row_source[%d] is %d", r, source);
  if (count > 0 && (start + count - 1) / step.block_size >= step.slot_stride - KN_SLOT_BLOCKS) {
    fail(KN_INVALID_ARGUMENT, "staging: row %d needs block %d of its table", r, (start + count - 1) / step.block_size);
  }
  int32_t *history = step.history + static_cast<int64_t>(slot) * step.history_stride;
  const int32_t *blocks = step.slot_table + static_cast<int64_t>(slot) * step.slot_stride + KN_SLOT_BLOCKS;
  for (int32_t i = 0; i < count; i++) {
    const int32_t position = start + i;
    if (source >= 0) history[position] = step.tokens[source + i];
    step.ids[first + i] = history[position];
    step.positions[first + i] = position;
    step.kv_slot[first + i] = blocks[position / step.block_size] * step.block_size + position % step.block_size;
  }
  step.kv_length[r] = start + count;
}

void run(const Step &step, const int32_t *header) {
  if (header[KN_STEP_ROWS] != step.rows || header[KN_STEP_TOKENS] != step.tokens_count || header[KN_STEP_SAMPLES] != step.samples) {
    fail(KN_INVALID_ARGUMENT, "staging: header has %d rows, %d tokens, %d samples; the call has %d, %d, %d", header[KN_STEP_ROWS],
         header[KN_STEP_TOKENS], header[KN_STEP_SAMPLES], step.rows, step.tokens_count, step.samples);
  }
  apply_changes(step, header[KN_STEP_CHANGES]);
  for (int32_t r = 0; r < step.rows; r++) expand_row(step, r);
  for (int32_t s = 0; s < step.samples; s++) {
    const int32_t row = step.sample_row[s];
    if (row < 0 || row >= step.rows) fail(KN_INVALID_ARGUMENT, "staging: sample_row[%d] is %d", s, row);
    step.sample_index[s] = step.query_start[row + 1] - 1;
  }
}

}  // namespace

int32_t kn_step_prepare(kn_device *device, kn_addr staging, kn_addr slot_table, kn_addr history, kn_addr ids, kn_addr positions,
                        kn_addr kv_slot, kn_addr kv_length, kn_addr sample_index, int32_t rows, int32_t tokens, int32_t samples,
                        int32_t max_rows, int32_t max_changes, int32_t max_tokens, int32_t slot_stride, int32_t history_stride,
                        int32_t block_size) {
  return kn::guard(device, [&] {
    check_at_least("rows", rows, 0);
    check_at_least("tokens", tokens, 0);
    check_at_least("samples", samples, 0);
    check_at_least("max_rows", max_rows, rows);
    check_at_least("max_changes", max_changes, 0);
    check_at_least("max_tokens", max_tokens, 0);
    check_at_least("slot_stride", slot_stride, KN_SLOT_BLOCKS + 1);
    check_at_least("history_stride", history_stride, 1);
    kn::check_block_size(block_size);
    const int64_t elements = KN_STEP_HEADER + 5ll * max_rows + 1 + 2ll * max_changes + max_tokens;
    check_range(*device, "staging", staging, 4.0 * static_cast<double>(elements));
    check_range(*device, "ids", ids, 4.0 * tokens);
    check_range(*device, "positions", positions, 4.0 * tokens);
    check_range(*device, "kv_slot", kv_slot, 4.0 * tokens);
    check_range(*device, "kv_length", kv_length, 4.0 * rows);
    check_range(*device, "sample_index", sample_index, 4.0 * samples);

    Step step{};
    const int32_t *header = pointer<int32_t>(staging);
    step.row_slot = header + KN_STEP_HEADER;
    step.row_start = step.row_slot + max_rows;
    step.row_source = step.row_start + max_rows;
    step.query_start = step.row_source + max_rows;
    step.sample_row = step.query_start + max_rows + 1;
    step.changes = step.sample_row + max_rows;
    step.tokens = step.changes + 2 * max_changes;
    step.slot_table = pointer<int32_t>(slot_table);
    step.history = pointer<int32_t>(history);
    step.ids = pointer<int32_t>(ids);
    step.positions = pointer<int32_t>(positions);
    step.kv_slot = pointer<int32_t>(kv_slot);
    step.kv_length = pointer<int32_t>(kv_length);
    step.sample_index = pointer<int32_t>(sample_index);
    step.rows = rows;
    step.tokens_count = tokens;
    step.samples = samples;
    step.max_tokens = max_tokens;
    step.slot_stride = slot_stride;
    step.history_stride = history_stride;
    step.block_size = block_size;
    step.table_size = static_cast<int64_t>(kn::bytes_after(*device, "slot_table", slot_table) / 4);
    step.slots = std::min<int64_t>(step.table_size / slot_stride,
                                   static_cast<int64_t>(kn::bytes_after(*device, "history", history) / 4) / history_stride);
    kn::enqueue(*device, "kn_step_prepare", [=] {
      if (header[KN_STEP_CHANGES] < 0 || header[KN_STEP_CHANGES] > max_changes) {
        fail(KN_INVALID_ARGUMENT, "staging: header has %d changes, max_changes is %d", header[KN_STEP_CHANGES], max_changes);
      }
      run(step, header);
    });
  });
}
