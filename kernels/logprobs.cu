/* logprobs.cu - log-softmax of logits f32 [S, V] at the sampled token and at the `top` likeliest. A block a row; about five passes
 * over 4 V bytes, the later ones from L2: bound by the latency of one block (some 40 us), not by bandwidth. */
#include "select.cuh"

static constexpr int MOST_TOP = 20;

static __global__ void __launch_bounds__(SELECT_THREADS)
    logprobs_kernel(float *outLogprob, int32_t *outToken, const float *logits, const int32_t *tokens, int vocab, int top) {
  __shared__ SelectShared shared;
  griddep_wait();
  griddep_launch();
  const Row row = {logits + (long long)blockIdx.x * vocab, vocab, 1.0f};
  float *logprob = outLogprob + (long long)blockIdx.x * (1 + top);
  int32_t *token = outToken + (long long)blockIdx.x * (1 + top);
  float most = -INFINITY, least = INFINITY;
  row.each([&](int, float x) {
    most = fmaxf(most, x);
    if (x > -INFINITY) least = fminf(least, x);
  });
  most = block_max(most, shared.scratch);
  least = -block_max(-least, shared.scratch);
  float sum = 0.0f;
  row.each([&](int, float x) { sum += expf(x - most); });
  const float norm = most + logf(block_sum(sum, shared.scratch));
  if (threadIdx.x == 0) {
    const int sampled = tokens[blockIdx.x];
    token[0] = sampled;
    logprob[0] = sampled >= 0 && sampled < vocab ? row.logits[sampled] - norm : -INFINITY;
  }
  if (top == 0) return;

  const Cut cut = select_goal<false>(row, shared, least, most, most, static_cast<float>(top));
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  row.each([&](int id, float x) {
    if (!cut.keeps(x, id)) return;
    const int at = atomicAdd(&shared.count, 1);
    if (at < MOST_TOP) shared.candidates[at] = order_key(x, id);
  });
  __syncthreads();
  const int found = min(shared.count, top);
  sort_candidates(shared, found);
  if (threadIdx.x < top) {
    const unsigned long long key = threadIdx.x < found ? shared.candidates[threadIdx.x] : 0;
    token[1 + threadIdx.x] = threadIdx.x < found ? static_cast<int32_t>(static_cast<uint32_t>(key)) : -1;
    logprob[1 + threadIdx.x] = threadIdx.x < found ? key_value(key) - norm : -INFINITY;
  }
}

extern "C" int32_t kn_logprobs(kn_device *device, kn_addr out_logprob, kn_addr out_token, kn_addr logits, kn_addr tokens, int32_t samples,
                               int32_t vocab, int32_t top) {
  KN_OPERATION(device, "kn_logprobs");
  KN_REQUIRE(device, samples >= 0 && vocab > 0, "kn_logprobs: samples %d, vocab %d", samples, vocab);
  KN_REQUIRE(device, top >= 0 && top <= MOST_TOP && top <= vocab, "kn_logprobs: top %d is not in 0..%d", top, MOST_TOP < vocab ? MOST_TOP : vocab);
  KN_REQUIRE(device, samples == 0 || (out_logprob && out_token && logits && tokens), "kn_logprobs: an address is absent");
  return launch(device, "kn_logprobs", logprobs_kernel, samples, SELECT_THREADS, 0, pointer<float>(out_logprob), pointer<int32_t>(out_token),
                pointer<float>(logits), pointer<int32_t>(tokens), vocab, top);
}
