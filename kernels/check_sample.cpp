// check_sample.cpp - sampling against a scalar reference in f64, and log-probabilities.
//
// A draw is a chain of comparisons. Where one is closer than the tolerance of f32 arithmetic, either outcome is right; so the
// reference keeps two sets of survivors, `sure` (clear of every threshold) and `possible` (within the tolerance of it), and a
// token passes when it is possible and no sure token beats it by more than the tolerance.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "check.h"
#include "random.h"

namespace check {
namespace {

struct State {
  float temperature = 1, top_p = 1, min_p = 0, repetition = 1, presence = 0, frequency = 0;
  int32_t top_k = 0, prompt = 0, min_length = 0;
  uint32_t seed_low = 0, seed_high = 0;
  int32_t stop[4] = {-1, -1, -1, -1};

  void write(int32_t *slot) const {
    const auto put = [&](int at, float value) { std::memcpy(slot + at, &value, 4); };
    put(KN_SLOT_TEMPERATURE, temperature);
    put(KN_SLOT_TOP_P, top_p);
    put(KN_SLOT_MIN_P, min_p);
    put(KN_SLOT_REPETITION, repetition);
    put(KN_SLOT_PRESENCE, presence);
    put(KN_SLOT_FREQUENCY, frequency);
    slot[KN_SLOT_TOP_K] = top_k;
    slot[KN_SLOT_SEED_LOW] = static_cast<int32_t>(seed_low);
    slot[KN_SLOT_SEED_HIGH] = static_cast<int32_t>(seed_high);
    slot[KN_SLOT_PROMPT] = prompt;
    slot[KN_SLOT_MIN_LENGTH] = min_length;
    for (int i = 0; i < 4; i++) slot[KN_SLOT_STOP_0 + i] = stop[i];
    slot[KN_SLOT_FLAGS] = 0;
  }
};

constexpr double TOLERANCE = 2e-5;  // of a logit after penalties and temperature, relative to the largest size, or absolute below 1

struct Draw {
  int32_t token;              // of the reference
  std::vector<double> value;  // logit, or logit with noise, by token
  std::vector<bool> sure, possible;
  double tolerance;

  bool accepts(int32_t id) const {
    if (id < 0 || id >= static_cast<int32_t>(value.size()) || !possible[static_cast<size_t>(id)]) return false;
    for (size_t v = 0; v < value.size(); v++) {
      if (sure[v] && value[v] > value[static_cast<size_t>(id)] + tolerance) return false;
    }
    return true;
  }
};

void keep(const State &state, const std::vector<double> &logit, double slack, std::vector<bool> &kept);

Draw reference(const State &state, const float *logits, int32_t vocab, const std::vector<int32_t> &history) {
  std::vector<double> value(logits, logits + vocab);
  const int32_t n = static_cast<int32_t>(history.size());
  std::vector<int32_t> output(value.size());
  std::vector<bool> seen(value.size());
  for (int32_t i = 0; i < n; i++) {
    seen[static_cast<size_t>(history[static_cast<size_t>(i)])] = true;
    if (i >= state.prompt) output[static_cast<size_t>(history[static_cast<size_t>(i)])]++;
  }
  for (size_t v = 0; v < value.size(); v++) {
    if (seen[v]) value[v] = value[v] > 0 ? value[v] / state.repetition : value[v] * state.repetition;
    value[v] -= state.frequency * static_cast<double>(output[v]) + (output[v] > 0 ? state.presence : 0.0f);
  }
  if (n < state.min_length) {
    for (const int32_t id : state.stop) {
      if (id >= 0) value[static_cast<size_t>(id)] = -INFINITY;
    }
  }
  const bool greedy = state.temperature < 1e-6f;
  double size = 1;
  for (double &v : value) {
    if (!greedy) v /= state.temperature;
    if (std::isfinite(v)) size = std::max(size, std::fabs(v));
  }
  Draw draw;
  draw.tolerance = TOLERANCE * size;
  draw.sure.assign(value.size(), true);
  draw.possible.assign(value.size(), true);
  if (!greedy) {
    keep(state, value, -draw.tolerance, draw.sure);
    keep(state, value, draw.tolerance, draw.possible);
    for (size_t v = 0; v < value.size(); v++) {
      const uint32_t word = kn_philox(state.seed_low, state.seed_high, static_cast<uint32_t>(v), static_cast<uint32_t>(n), 0, 0);
      value[v] -= std::log(-std::log((static_cast<double>(word >> 8) + 0.5) / 16777216.0));
    }
  }
  draw.value = value;
  draw.token = 0;
  for (size_t v = 0; v < value.size(); v++) {
    if (draw.sure[v] && (value[v] > value[static_cast<size_t>(draw.token)] || !draw.sure[static_cast<size_t>(draw.token)]))
      draw.token = static_cast<int32_t>(v);
  }
  return draw;
}

// Survivors of min-p, top-k and top-p, with thresholds lowered by `slack` (in logits; raised when negative).
void keep(const State &state, const std::vector<double> &logit, double slack, std::vector<bool> &kept) {
  const double most = *std::max_element(logit.begin(), logit.end());
  std::vector<size_t> order(logit.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logit[a] > logit[b] || (logit[a] == logit[b] && a < b); });
  const double floor = state.min_p > 0 ? most + std::log(static_cast<double>(state.min_p)) : -INFINITY;
  const bool ranked = state.top_k > 0 && state.top_k < static_cast<int32_t>(logit.size());
  const double kth = ranked ? logit[order[static_cast<size_t>(state.top_k - 1)]] : -INFINITY;
  const auto before_nucleus = [&](size_t v, double by) {
    return v == order[0] || (logit[v] > -INFINITY && logit[v] >= floor - by && logit[v] >= kth - by);
  };
  double total = 0, before = 0;
  for (const size_t v : order) total += before_nucleus(v, 0) ? std::exp(logit[v] - most) : 0;
  // The mass before a token errs with the thresholds and with the sums.
  const double goal = state.top_p < 1 ? total * (static_cast<double>(state.top_p) + slack) : INFINITY;
  for (const size_t v : order) {
    kept[v] = v == order[0] || (before_nucleus(v, slack) && before < goal);
    if (before_nucleus(v, 0)) before += std::exp(logit[v] - most);
  }
}

State draw_state(Random &random, int32_t turn, int32_t vocab, int32_t n) {
  State state;
  state.temperature = turn % 8 == 0 ? 0.0f : 0.3f + random.uniform() * 1.5f;
  if (turn & 1) state.top_k = random.between(1, 60);
  if (turn & 2) state.top_p = 0.3f + 0.69f * random.uniform();
  if (turn & 4) state.min_p = 0.2f * random.uniform();
  if (turn % 3 == 0) {
    state.repetition = 1.0f + random.uniform();
    state.presence = random.uniform() * 2 - 1;
    state.frequency = random.uniform();
  }
  state.prompt = random.between(0, n);
  if (turn % 5 == 0) {
    state.min_length = n + random.between(0, 1);
    for (int32_t &id : state.stop) id = random.below(3) ? random.below(vocab) : -1;
  }
  state.seed_low = static_cast<uint32_t>(random.next());
  state.seed_high = static_cast<uint32_t>(random.next());
  return state;
}

void sample_case(Target &target, Random &random, Tally &tally, int32_t vocab, int32_t samples, bool greedy_only) {
  Case test(tally, label({{"vocab", vocab}, {"samples", samples}, {"greedy", greedy_only}}));
  const int32_t rows = samples + 3, slots = rows + 2, slot_stride = KN_SLOT_BLOCKS + 3, history_stride = 200;
  std::vector<int32_t> table(static_cast<size_t>(slots * slot_stride)), history(static_cast<size_t>(slots * history_stride));
  std::vector<int32_t> row_slot, kv_length, sample_row;
  for (int32_t &id : history) id = random.below(vocab);
  for (int32_t r = 0; r < rows; r++) {
    row_slot.push_back(slots - 1 - r);
    kv_length.push_back(r == 0 ? history_stride : random.between(1, history_stride - 1));  // row 0: no room left in the history
    if (r < samples) sample_row.push_back((r + 2) % rows);
  }
  std::vector<float> values = random.normals(static_cast<int64_t>(samples) * vocab, 3);
  std::vector<State> states;
  for (int32_t s = 0; s < samples; s++) {
    const int32_t row = sample_row[static_cast<size_t>(s)], n = kv_length[static_cast<size_t>(row)];
    State state = draw_state(random, s, vocab, n);
    if (greedy_only) state = State{.temperature = 0};
    state.write(table.data() + row_slot[static_cast<size_t>(row)] * slot_stride);
    states.push_back(state);
    float *row_values = values.data() + static_cast<int64_t>(s) * vocab;
    if (s % 4 == 0) row_values[random.below(vocab)] = 40;  // a certain token
    if (s % 8 == 0 && vocab > 4)
      row_values[vocab - 1] = row_values[vocab / 2] = row_values[vocab - 2] = 50;  // a tie: the lowest id
  }
  const Buffer logits = make_floats(target, values), rows_of = make_ints(target, sample_row), slot_of = make_ints(target, row_slot);
  const Buffer lengths = make_ints(target, kv_length), slot_table = make_ints(target, table), past = make_ints(target, history);
  const Buffer tokens(target, samples * 4ll);
  double bytes = 0;
  target.ok(target.sample_workspace(target.device, samples, vocab, &bytes), "kn_sample_workspace");
  const Buffer workspace(target, static_cast<int64_t>(bytes));
  target.ok(target.sample(target.device, tokens, logits, rows_of, slot_of, lengths, slot_table, slot_stride, past, history_stride,
                          samples, vocab, greedy_only, workspace),
            "kn_sample");
  const std::vector<int32_t> got = read_ints(tokens), after = read_ints(past);
  std::vector<int32_t> expected_history = history;
  for (int32_t s = 0; s < samples; s++) {
    const size_t row = static_cast<size_t>(sample_row[static_cast<size_t>(s)]);
    const int32_t n = kv_length[row], slot = row_slot[row];
    const int32_t token = got[static_cast<size_t>(s)];
    const auto start = history.begin() + slot * history_stride;
    const Draw draw =
        reference(states[static_cast<size_t>(s)], values.data() + static_cast<int64_t>(s) * vocab, vocab, {start, start + n});
    if (token != draw.token) {
      if (draw.accepts(token)) test.tally().by_margin++;
      else test.same(token, draw.token, "token of sample", s);
    }
    if (n < history_stride) expected_history[static_cast<size_t>(slot * history_stride + n)] = token;
  }
  for (size_t i = 0; i < after.size(); i++) test.same(after[i], expected_history[i], "history", static_cast<int64_t>(i));
  if (greedy_only) test.same_bytes(logits.read(), make_floats(target, values).read(), "logits after greedy_only");
  test.guards({&tokens, &logits, &past, &slot_table, &workspace});
}

void sample(Target &target, Random &random, Tally &tally) {
  const int32_t rounds = target.options.quick ? 1 : 3;
  for (int32_t round = 0; round < rounds; round++) {
    for (const int32_t vocab : {2, 17, 100, 1000, 49152}) {
      for (const int32_t samples : {1, 7, 24}) {
        if (vocab == 49152 && samples == 24 && target.options.quick) continue;
        sample_case(target, random, tally, vocab, samples, false);
        sample_case(target, random, tally, vocab, samples, true);
      }
    }
    if (round == 0) sample_case(target, random, tally, 128256, 9, false);
  }
}

// Broken logits give some token of the vocabulary, and +inf wins; nothing crashes.
void sample_broken(Target &target, Random &random, Tally &tally) {
  const float inf = INFINITY, nan = std::nanf("");
  for (const int32_t vocab : {5, 1000}) {
    for (const bool greedy : {false, true}) {
      Case test(tally, label({{"vocab", vocab}, {"greedy", greedy}}));
      const int32_t samples = 5, at = random.below(vocab);
      std::vector<float> values = random.normals(static_cast<int64_t>(samples) * vocab);
      for (int32_t v = 0; v < vocab; v++) {
        values[static_cast<size_t>(v)] = -inf;
        values[static_cast<size_t>(vocab + v)] = nan;
      }
      values[static_cast<size_t>(2 * vocab + at)] = inf;
      values[static_cast<size_t>(3 * vocab + at)] = nan;
      values[static_cast<size_t>(4 * vocab + at)] = 3e38f;  // infinite once it is divided by the temperature
      std::vector<int32_t> rows, table(static_cast<size_t>(samples) * KN_SLOT_BLOCKS);
      for (int32_t s = 0; s < samples; s++) {
        rows.push_back(s);
        State state{.temperature = greedy ? 0.0f : 0.5f, .top_p = 0.9f, .min_p = 0.01f, .top_k = 3};
        state.write(table.data() + s * KN_SLOT_BLOCKS);
      }
      const Buffer logits = make_floats(target, values), index = make_ints(target, rows), slots = make_ints(target, table);
      const Buffer history = make_ints(target, std::vector<int32_t>(static_cast<size_t>(samples))), tokens(target, samples * 4);
      double bytes = 0;
      target.ok(target.sample_workspace(target.device, samples, vocab, &bytes), "kn_sample_workspace");
      const Buffer workspace(target, static_cast<int64_t>(bytes));
      target.ok(target.sample(target.device, tokens, logits, index, index, index, slots, KN_SLOT_BLOCKS, history, 1, samples, vocab,
                              greedy, workspace),
                "kn_sample");
      const std::vector<int32_t> got = read_ints(tokens);
      for (size_t s = 0; s < got.size(); s++) {
        if (got[s] < 0 || got[s] >= vocab) test.same(got[s], 0, "token outside of the vocabulary, sample", static_cast<int64_t>(s));
      }
      for (const size_t s : {2, 4}) test.same(got[s], at, "token of the infinite logit, sample", static_cast<int64_t>(s));
      test.guards({&tokens, &logits, &history, &workspace});
    }
  }
}

void logprobs(Target &target, Random &random, Tally &tally) {
  for (const int32_t vocab : {21, 1000, 49152}) {
    for (const int32_t top : {0, 1, 5, 20}) {
      const int32_t samples = random.between(1, 9);
      Case test(tally, label({{"vocab", vocab}, {"top", top}, {"samples", samples}}));
      const std::vector<float> values = random.normals(static_cast<int64_t>(samples) * vocab, 3);
      std::vector<int32_t> ids(static_cast<size_t>(samples));
      for (int32_t &id : ids) id = random.below(vocab);
      const Buffer logits = make_floats(target, values), tokens = make_ints(target, ids);
      const Buffer out(target, 4ll * samples * (1 + top)), out_ids(target, 4ll * samples * (1 + top));
      target.ok(target.logprobs(target.device, out, out_ids, logits, tokens, samples, vocab, top), "kn_logprobs");
      const std::vector<float> got = read_floats(out);
      const std::vector<int32_t> got_ids = read_ints(out_ids);
      for (int32_t s = 0; s < samples; s++) {
        const float *row = values.data() + static_cast<int64_t>(s) * vocab;
        std::vector<float> sorted(row, row + vocab);
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        double total = 0;
        for (int32_t v = 0; v < vocab; v++) total += std::exp(static_cast<double>(row[v]) - sorted[0]);
        const double norm = sorted[0] + std::log(total);
        std::vector<int32_t> used;
        for (int32_t i = 0; i <= top; i++) {
          const int64_t at = static_cast<int64_t>(s) * (1 + top) + i;
          const int32_t id = got_ids[static_cast<size_t>(at)];
          if (id < 0 || id >= vocab) {
            test.same(id, 0, "out_token (outside of the vocabulary)", at);
            continue;
          }
          if (i == 0) test.same(id, ids[static_cast<size_t>(s)], "out_token", at);
          else test.near(row[id], sorted[static_cast<size_t>(i - 1)], 1e-9, "logit of the i-th likeliest", at);
          if (i > 0 && std::count(used.begin(), used.end(), id)) test.fail("a token stands twice among the likeliest");
          if (i > 0) used.push_back(id);
          test.near(got[static_cast<size_t>(at)], row[id] - norm, 2e-5, "out_logprob", at);  // f32 exponentials and sums, slack 4
        }
      }
      test.guards({&out, &out_ids, &logits});
    }
  }
}

}  // namespace

const std::vector<Suite> &sample_suites() {
  static const std::vector<Suite> suites = {{"sample", sample}, {"sample_broken", sample_broken}, {"logprobs", logprobs}};
  return suites;
}

}  // namespace check
