/* rmsnorm.cu - out [T, width] = x / sqrt(mean(x^2) + eps) * weight, alone or of residual + in (Zhang and Sennrich 2019,
 * arXiv:1910.07467). One pass: the row stays in registers between the sum and the scaling. Bytes an element: 4 alone, 8 with the
 * residual. Bound by bandwidth, by latency (2-3 us) up to some 64 tokens. The residual is rounded to bf16 before the norm reads
 * it, as in Hugging Face's implementation. */
#include "device.cuh"

/* A block per token; thread i holds elements V * (i + c * blockDim.x) .. + V for c < C. */
template <int V, int C, bool ADD>
static __global__ void __launch_bounds__(V == 8 ? 512 : 1024)
    rmsnorm_kernel(bf16 *out, bf16 *residualOut, const bf16 *residual, const bf16 *in, const bf16 *weight, int width, float eps) {
  constexpr bool early = C * V <= 16; /* the weights fit beside the row: read them before the wait */
  __shared__ float scratch[32];
  const long long row = (long long)blockIdx.x * width;
  float scale[C][V], x[C][V];
#pragma unroll
  for (int c = 0; c < C; c++) {
    const int i = V * (threadIdx.x + c * blockDim.x);
    if (early && i < width) load_values<V>(weight + i, scale[c]);
  }
  griddep_pass(gridDim.x >= kEarlyTokens);
  float sum = 0.0f;
#pragma unroll
  for (int c = 0; c < C; c++) {
    const int i = V * (threadIdx.x + c * blockDim.x);
    if (i >= width) continue;
    load_values<V>(in + row + i, x[c]);
    if (ADD) {
      float before[V];
      load_values<V>(residual + row + i, before);
#pragma unroll
      for (int j = 0; j < V; j++) x[c][j] = __bfloat162float(__float2bfloat16_rn(x[c][j] + before[j]));
      store_values<V>(residualOut + row + i, x[c]);
    }
#pragma unroll
    for (int j = 0; j < V; j++) sum += x[c][j] * x[c][j];
  }
  const float inverse = rsqrtf(block_sum(sum, scratch) / width + eps);
#pragma unroll
  for (int c = 0; c < C; c++) {
    const int i = V * (threadIdx.x + c * blockDim.x);
    if (i >= width) continue;
    if (!early) load_values<V>(weight + i, scale[c]);
#pragma unroll
    for (int j = 0; j < V; j++) x[c][j] *= inverse * scale[c][j];
    store_values<V>(out + row + i, x[c]);
  }
}

template <int V, bool ADD>
static int32_t launch_rmsnorm(kn_device *device, const char *name, bf16 *out, bf16 *residualOut, const bf16 *residual, const bf16 *in, const bf16 *weight,
                              int32_t tokens, int32_t width, float eps) {
  const int pieces = divide_up(width, V), limit = V == 8 ? 512 : 1024;
  const int threads = pieces < limit ? (pieces + 31) / 32 * 32 : limit;
  const int chunks = divide_up(pieces, threads);
  if (chunks > 8) return fail(device, KN_UNSUPPORTED, "%s: width %d is beyond what a block holds (%d)", name, width, 8 * V * limit);
  const auto kernel = chunks == 1   ? rmsnorm_kernel<V, 1, ADD>
                      : chunks == 2 ? rmsnorm_kernel<V, 2, ADD>
                      : chunks <= 4 ? rmsnorm_kernel<V, 4, ADD>
                                    : rmsnorm_kernel<V, 8, ADD>;
  return launch(device, name, kernel, tokens, threads, 0, out, residualOut, residual, in, weight, width, eps);
}

extern "C" int32_t kn_rmsnorm(kn_device *device, kn_addr out, kn_addr in, kn_addr weight, int32_t tokens, int32_t width, float eps) {
  KN_OPERATION(device, "kn_rmsnorm");
  KN_REQUIRE(device, tokens >= 0 && width > 0, "kn_rmsnorm: tokens %d, width %d", tokens, width);
  KN_REQUIRE(device, tokens == 0 || (out && in && weight), "kn_rmsnorm: an address is absent");
  const bool vectors = width % 8 == 0 && aligned16(out) && aligned16(in) && aligned16(weight);
  return (vectors ? launch_rmsnorm<8, false> : launch_rmsnorm<1, false>)(device, "kn_rmsnorm", pointer<bf16>(out), nullptr, nullptr, pointer<bf16>(in),
                                                                         pointer<bf16>(weight), tokens, width, eps);
}

extern "C" int32_t kn_add_rmsnorm(kn_device *device, kn_addr out, kn_addr residual_out, kn_addr residual, kn_addr in, kn_addr weight,
                                  int32_t tokens, int32_t width, float eps) {
  KN_OPERATION(device, "kn_add_rmsnorm");
  KN_REQUIRE(device, tokens >= 0 && width > 0, "kn_add_rmsnorm: tokens %d, width %d", tokens, width);
  KN_REQUIRE(device, tokens == 0 || (out && residual_out && residual && in && weight), "kn_add_rmsnorm: an address is absent");
  const bool vectors = width % 8 == 0 && aligned16(out) && aligned16(in) && aligned16(weight) && aligned16(residual) && aligned16(residual_out);
  return (vectors ? launch_rmsnorm<8, true> : launch_rmsnorm<1, true>)(device, "kn_add_rmsnorm", pointer<bf16>(out), pointer<bf16>(residual_out),
                                                                       pointer<bf16>(residual), pointer<bf16>(in), pointer<bf16>(weight), tokens, width, eps);
}

/* residual += in, 6 bytes an element. */
template <int V>
static __global__ void add_kernel(bf16 *residual, const bf16 *in, long long count) {
  griddep_wait();
  griddep_launch();
  const long long i = V * (blockIdx.x * (long long)blockDim.x + threadIdx.x);
  if (i >= count) return;
  float a[V], b[V];
  load_values<V>(residual + i, a);
  load_values<V>(in + i, b);
#pragma unroll
  for (int j = 0; j < V; j++) a[j] += b[j];
  store_values<V>(residual + i, a);
}

extern "C" int32_t kn_add(kn_device *device, kn_addr residual, kn_addr in, int32_t tokens, int32_t width) {
  KN_OPERATION(device, "kn_add");
  KN_REQUIRE(device, tokens >= 0 && width > 0, "kn_add: tokens %d, width %d", tokens, width);
  KN_REQUIRE(device, tokens == 0 || (residual && in), "kn_add: an address is absent");
  const long long count = static_cast<long long>(tokens) * width;
  const bool vectors = count % 8 == 0 && aligned16(residual) && aligned16(in);
  return launch(device, "kn_add", vectors ? add_kernel<8> : add_kernel<1>, divide_up(count, vectors ? 8 * 256 : 256), 256, 0,
                pointer<bf16>(residual), pointer<bf16>(in), count);
}
