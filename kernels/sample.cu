/* sample.cu - kn_sample: one token for each sampling row of logits f32 [S, V].
 * Greedy: each logit read once, 4 S V bytes, bound by bandwidth (44 us at S = 256, V = 128256), by latency for few rows.
 *   score_kernel   (chunks x rows)  each block: the best element of its part of a row      -> workspace
 *   finish_kernel  (rows)           the best of the parts -> tokens, history
 * Otherwise rule_kernel runs first, a block a row: penalties and bans in place, then which elements survive min-p, top-k and top-p
 * (select.cuh: no sort); score_kernel then scores logit_scaled - log(-log(u)), whose argmax is a draw from the softmax (the
 * Gumbel-max trick: Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030). Ties: lowest id. */
#include "random.h"
#include "select.cuh"

struct SampleArguments {
  int32_t *tokens;
  float *logits;
  const int32_t *sampleRow, *rowSlot, *kvLength, *slotTable;
  int32_t *history;
  int slotStride, historyStride, samples, vocab, chunks;
  struct Rule *rules;                 /* [S], or null: greedy */
  unsigned long long *best;           /* [S, chunks]: order_key of the score, and the id */
};

/* What is left of a row's sampling state once the survivors are known. */
struct Rule {
  float scale; /* 1 / temperature; 0: greedy */
  Cut cut;     /* survivors */
  uint32_t seedLow, seedHigh, position;
};

static __device__ __forceinline__ const int32_t *slot_of(const SampleArguments &a, int sample, int &slot, int &position) {
  const int row = a.sampleRow[sample];
  slot = a.rowSlot[row];
  position = a.kvLength[row];
  return a.slotTable + (long long)slot * a.slotStride;
}
static __device__ __forceinline__ float as_float(int32_t bits) { return __int_as_float(bits); }

/* Repetition over every token seen, once each; then frequency for each output token and presence once. A bit a token id tells the
 * first visit, so the result does not depend on the order of the threads (equal subtractions commute). */
static __device__ void penalise(float *logits, int vocab, const int32_t *state, const int32_t *seen, int length, uint32_t *bitmap) {
  const float repetition = as_float(state[KN_SLOT_REPETITION]), presence = as_float(state[KN_SLOT_PRESENCE]);
  const float frequency = as_float(state[KN_SLOT_FREQUENCY]);
  const int words = (vocab + 31) / 32, prompt = max(0, state[KN_SLOT_PROMPT]);
  const auto once = [&](int from, auto apply) {
    for (int i = threadIdx.x; i < words; i += blockDim.x) bitmap[i] = 0;
    __syncthreads();
    for (int i = from + threadIdx.x; i < length; i += blockDim.x) {
      const int id = seen[i];
      if (id >= 0 && id < vocab && !(atomicOr(&bitmap[id / 32], 1u << (id % 32)) >> (id % 32) & 1u)) apply(id);
    }
    __syncthreads();
  };
  if (repetition != 1.0f) once(0, [&](int id) { logits[id] = logits[id] > 0.0f ? logits[id] / repetition : logits[id] * repetition; });
  if (frequency != 0.0f) {
    for (int i = prompt + threadIdx.x; i < length; i += blockDim.x)
      if (seen[i] >= 0 && seen[i] < vocab) atomicAdd(&logits[seen[i]], -frequency);
    __syncthreads();
  }
  if (presence != 0.0f) once(prompt, [&](int id) { atomicAdd(&logits[id], -presence); });
}

static __global__ void __launch_bounds__(SELECT_THREADS) rule_kernel(const SampleArguments a) {
  __shared__ SelectShared shared;
  griddep_wait();
  griddep_launch();
  int slot, position;
  const int32_t *state = slot_of(a, blockIdx.x, slot, position);
  float *logits = a.logits + (long long)blockIdx.x * a.vocab;
  penalise(logits, a.vocab, state, a.history + (long long)slot * a.historyStride, min(position, a.historyStride), shared.bins);
  if (threadIdx.x == 0 && position < state[KN_SLOT_MIN_LENGTH]) {
    for (int i = KN_SLOT_STOP_0; i <= KN_SLOT_STOP_3; i++)
      if (state[i] >= 0 && state[i] < a.vocab) logits[state[i]] = -INFINITY;
  }
  __syncthreads();

  const float temperature = as_float(state[KN_SLOT_TEMPERATURE]), minP = as_float(state[KN_SLOT_MIN_P]), topP = as_float(state[KN_SLOT_TOP_P]);
  const int topK = state[KN_SLOT_TOP_K];
  const bool greedy = !(temperature >= 1e-6f), ranked = topK > 0 && topK < a.vocab, nucleus = topP < 1.0f;
  Rule rule = {greedy ? 0.0f : 1.0f / temperature, {-INFINITY, -1}, static_cast<uint32_t>(state[KN_SLOT_SEED_LOW]),
               static_cast<uint32_t>(state[KN_SLOT_SEED_HIGH]), static_cast<uint32_t>(position)};
  if (!greedy && (minP > 0.0f || ranked || nucleus)) {
    const Row row = {logits, a.vocab, rule.scale};
    float most = -INFINITY, least = INFINITY;
    row.each([&](int, float x) {
      most = fmaxf(most, x);
      if (x > -INFINITY) least = fminf(least, x);
    });
    most = block_max(most, shared.scratch);
    least = -block_max(-least, shared.scratch);
    if (most > -INFINITY) {
      if (minP > 0.0f) rule.cut = {fminf(most, most + logf(minP)), a.vocab};
      float floor = fmaxf(least, rule.cut.value);
      if (ranked) {
        float survivors = 0.0f;
        row.each([&](int, float x) { survivors += x >= floor; });
        if (block_sum(survivors, shared.scratch) > topK) {
          rule.cut = {select_goal<false>(row, shared, floor, most, most, static_cast<float>(topK)).value, a.vocab}; /* ties survive */
          floor = rule.cut.value;
        }
      }
      if (nucleus) {
        float mass = 0.0f;
        row.each([&](int, float x) { mass += x >= floor ? __expf(x - most) : 0.0f; });
        mass = block_sum(mass, shared.scratch);
        rule.cut = select_goal<true>(row, shared, fmaxf(floor, most - 80.0f), most, most, fmaxf(topP, 0.0f) * mass);
      }
    }
  }
  if (threadIdx.x == 0) a.rules[blockIdx.x] = rule;
}

static __global__ void __launch_bounds__(256) score_kernel(const SampleArguments a) {
  __shared__ unsigned long long parts[8];
  griddep_wait();
  griddep_launch();
  const int sample = blockIdx.y, part = (a.vocab + a.chunks - 1) / a.chunks, length = (part + 3) / 4 * 4, first = blockIdx.x * length;
  const Rule rule = a.rules != nullptr ? a.rules[sample] : Rule{};
  float best = -INFINITY;
  int chosen = a.vocab;
  const Row row = {a.logits + (long long)sample * a.vocab + first, max(0, min(length, a.vocab - first)), 1.0f};
  if (rule.scale == 0.0f) {
    row.each([&](int i, float x) { /* ids ascend within a thread: the first of equals stays */
      if (x > best) {
        best = x;
        chosen = first + i;
      }
    });
  } else {
    row.each([&](int i, float logit) {
      const int id = first + i;
      const float x = __fmul_rn(logit, rule.scale);
      if (!rule.cut.keeps(x, id) || x + 17.4f < best) return; /* 17.4: no noise of 24 bits is larger */
      const uint32_t word = kn_philox(rule.seedLow, rule.seedHigh, static_cast<uint32_t>(id), rule.position, 0, 0);
      const float score = x - logf(-logf(kn_uniform(word)));
      if (score > best) {
        best = score;
        chosen = id;
      }
    });
  }
  unsigned long long key = chosen < a.vocab ? order_key(best, chosen) : ~0ull;
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) key = min(key, __shfl_xor_sync(0xffffffffu, key, offset));
  if ((threadIdx.x & 31) == 0) parts[threadIdx.x >> 5] = key;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < 8; w++) key = min(key, parts[w]);
    a.best[(long long)sample * a.chunks + blockIdx.x] = key;
  }
}

/* A warp a row. A row without any finite logit yields token 0. */
static __global__ void __launch_bounds__(32) finish_kernel(const SampleArguments a) {
  griddep_wait();
  griddep_launch();
  unsigned long long key = ~0ull;
  for (int i = threadIdx.x; i < a.chunks; i += 32) key = min(key, a.best[(long long)blockIdx.x * a.chunks + i]);
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) key = min(key, __shfl_xor_sync(0xffffffffu, key, offset));
  if (threadIdx.x != 0) return;
  int slot, position;
  slot_of(a, blockIdx.x, slot, position);
  const int32_t token = key == ~0ull ? 0 : static_cast<int32_t>(static_cast<uint32_t>(key));
  a.tokens[blockIdx.x] = token;
  if (position >= 0 && position < a.historyStride) a.history[(long long)slot * a.historyStride + position] = token;
}

static int chunks_of(const kn_device *device, int samples, int vocab) {
  const int wanted = divide_up(4LL * device->multiprocessors, samples > 0 ? samples : 1), most = divide_up(vocab, 1024);
  return wanted < 1 ? 1 : wanted > most ? most : wanted;
}

extern "C" int32_t kn_sample(kn_device *device, kn_addr tokens, kn_addr logits, kn_addr sample_row, kn_addr row_slot, kn_addr kv_length,
                             kn_addr slot_table, int32_t slot_stride, kn_addr history, int32_t history_stride, int32_t samples,
                             int32_t vocab, int32_t greedy_only, kn_addr workspace) {
  KN_OPERATION(device, "kn_sample");
  KN_REQUIRE(device, samples >= 0 && samples <= 65535, "kn_sample: samples %d", samples);
  KN_REQUIRE(device, vocab > 0 && (vocab + 31) / 32 * 4 <= (int)(sizeof(SelectShared::bins) + sizeof(SelectShared::candidates)),
             "kn_sample: vocab %d is not in 1..%d", vocab, (int)(sizeof(SelectShared::bins) + sizeof(SelectShared::candidates)) * 8);
  KN_REQUIRE(device, slot_stride >= KN_SLOT_BLOCKS && history_stride > 0, "kn_sample: slot_stride %d, history_stride %d", slot_stride, history_stride);
  if (samples == 0) return KN_OK;
  KN_REQUIRE(device, tokens && logits && sample_row && row_slot && kv_length && slot_table && history && workspace, "kn_sample: an address is absent");
  SampleArguments a = {pointer<int32_t>(tokens), pointer<float>(logits), pointer<int32_t>(sample_row), pointer<int32_t>(row_slot),
                       pointer<int32_t>(kv_length), pointer<int32_t>(slot_table), pointer<int32_t>(history), slot_stride, history_stride, samples,
                       vocab, chunks_of(device, samples, vocab), nullptr, nullptr};
  a.best = pointer<unsigned long long>(workspace + (static_cast<kn_addr>(samples) * sizeof(Rule) + 255) / 256 * 256);
  if (!greedy_only) {
    a.rules = pointer<Rule>(workspace);
    KN_TRY(launch(device, "kn_sample", rule_kernel, samples, SELECT_THREADS, 0, a));
  }
  KN_TRY(launch(device, "kn_sample", score_kernel, dim3(a.chunks, samples), 256, 0, a));
  return launch(device, "kn_sample", finish_kernel, samples, 32, 0, a);
}

extern "C" int32_t kn_sample_workspace(kn_device *device, int32_t max_samples, int32_t vocab, double *bytes) {
  KN_CALL(device);
  KN_REQUIRE(device, bytes != nullptr && max_samples >= 0 && vocab > 0, "kn_sample_workspace: max_samples %d, vocab %d", max_samples, vocab);
  /* Rows times chunks is at most 4 blocks a multiprocessor and one more a row. */
  *bytes = static_cast<double>(max_samples) * (sizeof(Rule) + 8) + 4.0 * device->multiprocessors * 8 + 4096;
  return KN_OK;
}
