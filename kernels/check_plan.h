// check_plan.h - a random step as engines/ would stage it: the int32 staging block of kernels.h, the slot table and the history.
#pragma once

#include <algorithm>

#include "check.h"

namespace check {

// The limits and tables that a step is written for.
struct Plan {
  int32_t max_rows, max_changes, max_tokens, slots, max_blocks, history_stride, block_size;
  std::vector<int32_t> staging, table, history;

  Plan(int32_t rows, int32_t tokens, int32_t block)
      : max_rows(rows),
        max_changes(4 * rows),
        max_tokens(tokens),
        slots(rows + 3),
        max_blocks(8),
        history_stride(8 * block),
        block_size(block) {
    staging.assign(static_cast<size_t>(16 + 5 * max_rows + 1 + 2 * max_changes + max_tokens), -7);
    table.assign(static_cast<size_t>(slots * stride()), 0);
    history.assign(static_cast<size_t>(slots * history_stride), 0);
  }
  int32_t stride() const { return KN_SLOT_BLOCKS + max_blocks; }
  int32_t *row_slot() { return staging.data() + KN_STEP_HEADER; }
  int32_t *row_start() { return row_slot() + max_rows; }
  int32_t *row_source() { return row_start() + max_rows; }
  int32_t *query_start() { return row_source() + max_rows; }
  int32_t *sample_row() { return query_start() + max_rows + 1; }
  int32_t *changes() { return sample_row() + max_rows; }
  int32_t *tokens() { return changes() + 2 * max_changes; }

  // A random step: some rows decode one token from the history, others bring a chunk of a prompt. Every row samples but `skip`.
  void draw(Random &random, int32_t rows, int32_t decode_rows, int32_t most_queries, int32_t vocab, int32_t skip) {
    int32_t *header = staging.data();
    int32_t used = 0, total = 0, samples = 0, change = 0;
    query_start()[0] = 0;
    for (int32_t r = 0; r < rows; r++) {
      const bool decode = r < decode_rows;
      const int32_t queries = decode ? 1 : random.between(1, most_queries);
      row_slot()[r] = (r * 2 + 1) % slots;
      row_start()[r] = random.between(decode ? 1 : 0, history_stride - queries);
      row_source()[r] = decode ? -1 : used;
      if (!decode) {
        for (int32_t i = 0; i < queries; i++) tokens()[used++] = random.below(vocab);
      }
      query_start()[r + 1] = total += queries;
      if (r != skip) sample_row()[samples++] = r;
      for (int i = 0; i < 3 && change < max_changes; i++) {
        changes()[2 * change] = row_slot()[r] * stride() + KN_SLOT_BLOCKS + random.below(max_blocks);
        changes()[2 * change++ + 1] = 1 + random.below(slots * max_blocks - 1);
      }
    }
    header[KN_STEP_ROWS] = rows;
    header[KN_STEP_TOKENS] = total;
    header[KN_STEP_SAMPLES] = samples;
    header[KN_STEP_CHANGES] = change;
    header[KN_STEP_DECODE_ROWS] = decode_rows;
  }
  int32_t at(int32_t field) const { return staging[static_cast<size_t>(field)]; }
};

}  // namespace check
