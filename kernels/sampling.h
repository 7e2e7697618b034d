// sampling.h - the rules by which one row's next token is drawn; sample.cpp is the operation around them.
#pragma once

#include <cstdint>

#include "simd/inner_loops.h"

namespace kn {

struct SamplingState {
  float temperature, top_p, min_p, repetition, presence, frequency;
  int32_t top_k;
  uint32_t seed_low, seed_high;
  int32_t prompt, min_length;
  int32_t stop[4];

  // slot: the KN_SLOT_BLOCKS numbers at the head of a slot's row in slot_table.
  static SamplingState of(const int32_t *slot);
  bool greedy() const { return !(temperature >= 1e-6f); }
};

// Space for one row: `vocab` numbers each.
struct SamplingSpace {
  int32_t *ids;     // of the survivors
  float *masses;    // exp(logit - largest) of every token
  uint32_t *words;  // random, of the survivors
  static int64_t elements(int32_t vocab) { return 3ll * vocab; }
};

// One token for logits [vocab] (overwritten) at position n; history holds the n tokens before it.
int32_t sample_row(const InnerLoops &loops, const SamplingState &state, float *logits, int32_t vocab, const int32_t *history,
                   int32_t n, SamplingSpace space);

}  // namespace kn
