// sampling.cpp - penalties, bans, temperature, min-p, top-k, top-p, then the draw by the Gumbel-max trick: argmax of
// logit - log(-log(u)) over the survivors has the softmax distribution (Gumbel 1954; Maddison et al. 2014, arXiv 1411.0030).
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels.h"
#include "random.h"

namespace kn {
namespace {

constexpr float NEVER = -std::numeric_limits<float>::infinity();

void penalise(const SamplingState &state, float *logits, int32_t vocab, const int32_t *history, int32_t n, int32_t *counts);
int32_t keep_likely(const SamplingState &state, const float *logits, int32_t vocab, float most, SamplingSpace space);
int32_t keep_nucleus(float top_p, const float *logits, float most, SamplingSpace space, int32_t count);
int32_t draw(const InnerLoops &loops, const SamplingState &state, const float *logits, float most, SamplingSpace space,
             int32_t count, int32_t n);

}  // namespace

SamplingState SamplingState::of(const int32_t *slot) {
  const auto number = [&](int at) {
    float value;
    std::memcpy(&value, slot + at, 4);
    return value;
  };
  SamplingState state{};
  state.temperature = number(KN_SLOT_TEMPERATURE);
  state.top_k = slot[KN_SLOT_TOP_K];
  state.top_p = number(KN_SLOT_TOP_P);
  state.min_p = number(KN_SLOT_MIN_P);
  state.repetition = number(KN_SLOT_REPETITION);
  state.presence = number(KN_SLOT_PRESENCE);
  state.frequency = number(KN_SLOT_FREQUENCY);
  state.seed_low = static_cast<uint32_t>(slot[KN_SLOT_SEED_LOW]);
  state.seed_high = static_cast<uint32_t>(slot[KN_SLOT_SEED_HIGH]);
  state.prompt = slot[KN_SLOT_PROMPT];
  state.min_length = slot[KN_SLOT_MIN_LENGTH];
  for (int i = 0; i < 4; i++) state.stop[i] = slot[KN_SLOT_STOP_0 + i];
  return state;
}

int32_t sample_row(const InnerLoops &loops, const SamplingState &state, float *logits, int32_t vocab, const int32_t *history,
                   int32_t n, SamplingSpace space) {
  penalise(state, logits, vocab, history, n, space.ids);
  if (n < state.min_length) {
    for (const int32_t id : state.stop) {
      if (id >= 0 && id < vocab) logits[id] = NEVER;
    }
  }
  const int32_t best = loops.argmax(logits, vocab);
  if (state.greedy()) return best;
  const float inverse = 1.0f / state.temperature;
  for (int32_t v = 0; v < vocab; v++) logits[v] *= inverse;
  const float most = logits[best];
  if (!std::isfinite(most)) return best;  // one is infinite, or nothing is left to draw from
  loops.exp_shifted(space.masses, logits, vocab, most);
  const int32_t count = keep_likely(state, logits, vocab, most, space);
  return draw(loops, state, logits, most, space, count, n);
}

namespace {

// counts: [vocab], bit 0: the token occurs; the rest: how often among the output.
void penalise(const SamplingState &state, float *logits, int32_t vocab, const int32_t *history, int32_t n, int32_t *counts) {
  if (state.repetition == 1.0f && state.presence == 0.0f && state.frequency == 0.0f) return;
  std::memset(counts, 0, static_cast<size_t>(vocab) * 4);
  for (int32_t i = 0; i < n; i++) {
    const int32_t id = history[i];
    if (id >= 0 && id < vocab) counts[id] = (counts[id] | 1) + (i >= state.prompt ? 2 : 0);
  }
  for (int32_t v = 0; v < vocab; v++) {
    if (counts[v] == 0) continue;
    float value = logits[v] > 0 ? logits[v] / state.repetition : logits[v] * state.repetition;
    const int32_t output = counts[v] >> 1;
    value -= state.frequency * static_cast<float>(output);
    if (output > 0) value -= state.presence;
    logits[v] = value;
  }
}

// Likelier first, then the lower id.
struct Likelier {
  const float *logits;
  bool operator()(int32_t a, int32_t b) const { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); }
};

// The survivors' ids (in no certain order) in space.ids; returns how many, at least one.
int32_t keep_likely(const SamplingState &state, const float *logits, int32_t vocab, float most, SamplingSpace space) {
  // min-p: p >= min_p * max p, in logits; and what the Gumbel noise of 24-bit uniforms, at most 17.4 and at least -2.9, cannot
  // lift above the best token is out of the draw in any case.
  const bool nucleus = state.top_p < 1.0f;
  const bool ranked = state.top_k > 0 && state.top_k < vocab;
  float floor = NEVER;
  if (state.min_p > 0.0f) floor = most + std::log(state.min_p);
  if (!nucleus && !ranked) floor = std::max(floor, most - 20.5f);
  int32_t count = 0;
  for (int32_t v = 0; v < vocab; v++) {
    space.ids[count] = v;
    count += logits[v] >= floor && logits[v] > NEVER;
  }
  if (ranked && state.top_k < count) {
    // Ties with the k-th survive, as in vLLM.
    std::nth_element(space.ids, space.ids + state.top_k - 1, space.ids + count, Likelier{logits});
    const float kth = logits[space.ids[state.top_k - 1]];
    count = static_cast<int32_t>(std::partition(space.ids, space.ids + count, [&](int32_t id) { return logits[id] >= kth; }) -
                                 space.ids);
  }
  return nucleus ? keep_nucleus(state.top_p, logits, most, space, count) : std::max(count, 1);
}

// The smallest set that reaches top_p: a token stays while the mass before it has not reached it. Tokens are binned by their
// distance from the largest logit; only the bin in which the goal is reached is sorted.
int32_t keep_nucleus(float top_p, const float *logits, float most, SamplingSpace space, int32_t count) {
  constexpr int32_t BINS = 1024;
  constexpr float BINS_PER_LOGIT = 40.0f;  // beyond a distance of 25.6, all in the last bin
  const auto bin_of = [&](int32_t id) { return static_cast<int32_t>(std::min((most - logits[id]) * BINS_PER_LOGIT, BINS - 1.0f)); };
  double mass[BINS] = {};
  for (int32_t i = 0; i < count; i++) mass[bin_of(space.ids[i])] += space.masses[space.ids[i]];
  double total = 0;
  for (const double part : mass) total += part;
  const double goal = total * static_cast<double>(top_p);
  double before = 0;
  int32_t last = 0;
  while (last < BINS - 1 && before + mass[last] < goal) before += mass[last++];

  int32_t *const end = space.ids + count;
  int32_t *const edge = std::partition(space.ids, end, [&](int32_t id) { return bin_of(id) < last; });
  int32_t *const edge_end = std::partition(edge, end, [&](int32_t id) { return bin_of(id) == last; });
  std::sort(edge, edge_end, Likelier{logits});
  int32_t *kept = edge;
  while (kept < edge_end && (kept == space.ids || before < goal)) before += space.masses[*kept++];
  return static_cast<int32_t>(kept - space.ids);
}

int32_t draw(const InnerLoops &loops, const SamplingState &state, const float *logits, float most, SamplingSpace space,
             int32_t count, int32_t n) {
  loops.philox(space.words, space.ids, count, state.seed_low, state.seed_high, static_cast<uint32_t>(n));
  int32_t chosen = space.ids[0];
  float best = NEVER;
  float scale = std::numeric_limits<float>::infinity();  // exp(most - best), a little more
  for (int32_t i = 0; i < count; i++) {
    const int32_t id = space.ids[i];
    const float u = kn_uniform(space.words[i]);
    // -log(-log u) <= -log(1 - u): no logarithm is needed to see that the noise cannot lift this token to the best.
    if (1.0f - u > space.masses[id] * scale) continue;
    const float value = logits[id] - std::log(-std::log(u));
    if (value > best || (value == best && id < chosen)) {
      best = value;
      chosen = id;
      scale = std::exp(most - best) * 1.001f;
    }
  }
  return chosen;
}

}  // namespace
}  // namespace kn
