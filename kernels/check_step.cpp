// check_step.cpp - kn_step_prepare against plain integers.
#include "check_plan.h"

namespace check {
namespace {

void step_prepare(Target &target, Random &random, Tally &tally) {
  for (int32_t turn = 0; turn < 12; turn++) {
    const int32_t rows = turn == 0 ? 1 : random.between(1, 40), decode = random.between(0, rows);
    Plan plan(40, 2000, 16 << turn % 3);
    Case test(tally, label({{"rows", rows}, {"decode", decode}, {"block", plan.block_size}}));
    // A slot's table must name a block for each position; changes overwrite some of them. No two changes name one place.
    for (int32_t s = 0; s < plan.slots; s++) {
      for (int32_t b = 0; b < plan.max_blocks; b++)
        plan.table[static_cast<size_t>(s * plan.stride() + KN_SLOT_BLOCKS + b)] = random.below(99);
    }
    for (int32_t &id : plan.history) id = random.below(500);
    plan.draw(random, rows, decode, std::min(50, plan.history_stride), 500, turn % 2 ? 0 : -1);
    std::vector<int32_t> seen;
    for (int32_t i = 0; i < plan.at(KN_STEP_CHANGES); i++) {
      while (std::count(seen.begin(), seen.end(), plan.changes()[2 * i]))
        plan.changes()[2 * i] = random.below(plan.slots) * plan.stride() + KN_SLOT_BLOCKS + random.below(plan.max_blocks);
      seen.push_back(plan.changes()[2 * i]);
    }
    const int32_t tokens = plan.at(KN_STEP_TOKENS), samples = plan.at(KN_STEP_SAMPLES);
    const Buffer staging = make_ints(target, plan.staging), table = make_ints(target, plan.table),
                 history = make_ints(target, plan.history);
    const Buffer ids(target, tokens * 4ll), positions(target, tokens * 4ll), kv_slot(target, tokens * 4ll),
        kv_length(target, rows * 4ll);
    const Buffer sample_index(target, samples * 4ll);
    target.ok(target.step_prepare(target.device, staging, table, history, ids, positions, kv_slot, kv_length, sample_index, rows,
                                  tokens, samples, plan.max_rows, plan.max_changes, plan.max_tokens, plan.stride(),
                                  plan.history_stride, plan.block_size),
              "kn_step_prepare");
    for (int32_t i = 0; i < plan.at(KN_STEP_CHANGES); i++)
      plan.table[static_cast<size_t>(plan.changes()[2 * i])] = plan.changes()[2 * i + 1];
    const auto got_ids = read_ints(ids), got_positions = read_ints(positions), got_slots = read_ints(kv_slot),
               got_lengths = read_ints(kv_length);
    for (int32_t r = 0; r < rows; r++) {
      const int32_t slot = plan.row_slot()[r], first = plan.query_start()[r], count = plan.query_start()[r + 1] - first;
      for (int32_t i = 0; i < count; i++) {
        const int32_t p = plan.row_start()[r] + i;
        int32_t &known = plan.history[static_cast<size_t>(slot * plan.history_stride + p)];
        if (plan.row_source()[r] >= 0) known = plan.tokens()[plan.row_source()[r] + i];
        const int32_t block = plan.table[static_cast<size_t>(slot * plan.stride() + KN_SLOT_BLOCKS + p / plan.block_size)];
        test.same(got_ids[static_cast<size_t>(first + i)], known, "ids", first + i);
        test.same(got_positions[static_cast<size_t>(first + i)], p, "positions", first + i);
        test.same(got_slots[static_cast<size_t>(first + i)], block * plan.block_size + p % plan.block_size, "kv_slot", first + i);
      }
      test.same(got_lengths[static_cast<size_t>(r)], plan.row_start()[r] + count, "kv_length", r);
    }
    const auto got_index = read_ints(sample_index);
    for (int32_t s = 0; s < samples; s++)
      test.same(got_index[static_cast<size_t>(s)], plan.query_start()[plan.sample_row()[s] + 1] - 1, "sample_index", s);
    test.same_bytes(table.read(), make_ints(target, plan.table).read(), "slot_table");
    test.same_bytes(history.read(), make_ints(target, plan.history).read(), "history");
    test.guards({&ids, &positions, &kv_slot, &kv_length, &sample_index, &table, &history});
  }
}

}  // namespace

const std::vector<Suite> &step_suites() {
  static const std::vector<Suite> suites = {{"step_prepare", step_prepare}};
  return suites;
}

}  // namespace check
