/* layer.cu - the chains of a layer that end in a product's epilogue: sum, norm, q k v, rotation, cache write; and sum, norm, gate and
 * up, activation. For one token of a small model each is one kernel, because a step of it is a chain of launches (SmolLM2: 270 of some
 * 1.4 us became 150); otherwise the single operations in turn, which move little beside the weights.
 *
 * A warp owns pairs of weight rows that meet in the epilogue: the two halves of a rotation, a gate and its up. Every warp computes the
 * norm of the token itself, in the registers that it needs it in: the sum costs each warp 2 K reads from L2 and saves a kernel. The first
 * warp stores the sum, to another buffer than the others read. Rounding is that of the single operations: bf16 after each. */
#include "matmul.cuh"
#include "matmul_rows.cuh"

#include <initializer_list>

static __device__ __forceinline__ float rounded(float value) { return __bfloat162float(__float2bfloat16_rn(value)); }

struct NormArguments {
  bf16 *residualOut;
  const bf16 *residual, *branch, *norm; /* branch: null when there is nothing to add */
  const bf16 *weight;
  int k;
  float eps;
};

/* x = rmsnorm(residual + branch) * norm. Call after griddep_wait; `norm` has been asked for before. */
template <int UNITS>
static __device__ __forceinline__ void load_normed(TokenPart<UNITS> &token, const NormArguments &a, const RowPart<UNITS> &norm, int lane, bool stores) {
  float sum = 0.0f;
  token.load(a.residual, a.k, lane);
  if (a.branch != nullptr) {
    TokenPart<UNITS> branch;
    branch.load(a.branch, a.k, lane);
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
#pragma unroll
      for (int j = 0; j < 8; j++) token.x[u][j] = rounded(token.x[u][j] + branch.x[u][j]);
      const int at = 8 * (lane + 32 * u);
      if (stores && at < a.k) store_values<8>(a.residualOut + at, token.x[u]);
    }
  }
#pragma unroll
  for (int u = 0; u < UNITS; u++)
#pragma unroll
    for (int j = 0; j < 8; j++) sum = fmaf(token.x[u][j], token.x[u][j], sum);
  const float inverse = rsqrtf(warp_sum(sum) / a.k + a.eps);
#pragma unroll
  for (int u = 0; u < UNITS; u++) {
    float scale[8];
    unpack8(norm.unit[u], scale);
#pragma unroll
    for (int j = 0; j < 8; j++) token.x[u][j] = rounded(token.x[u][j] * (inverse * scale[j]));
  }
}

struct AttentionInputArguments {
  NormArguments n;
  bf16 *qkv;
  const bf16 *bias;
  const int32_t *position, *kvSlot;
  const float *rope;
  char *kv;
  long long blockStride;
  int blockSize, heads, kvHeads, headDim;
};

template <int UNITS>
static __global__ void __launch_bounds__(32 * kRowWarps) attention_input_kernel(const __grid_constant__ AttentionInputArguments a) {
  const int lane = threadIdx.x & 31, pair = blockIdx.x * kRowWarps + (threadIdx.x >> 5);
  const int half = a.headDim / 2, pairs = (a.heads + 2 * a.kvHeads) * half;
  const int head = min(pair, pairs - 1) / half, i = min(pair, pairs - 1) % half, row = head * a.headDim + i;
  RowPart<UNITS> low, high, norm;
  low.request(a.n.weight + static_cast<long long>(row) * a.n.k, a.n.k, lane);
  high.request(a.n.weight + static_cast<long long>(row + half) * a.n.k, a.n.k, lane);
  norm.request(a.n.norm, a.n.k, lane);
  const float *angles = a.rope + static_cast<long long>(*a.position) * a.headDim + i;
  const float cosine = angles[0], sine = angles[half];
  const int slot = *a.kvSlot;
  griddep_wait();
  griddep_launch();
  if (pair >= pairs) return;
  TokenPart<UNITS> token;
  load_normed(token, a.n, norm, lane, pair == 0);
  float x = row_product(low, token), y = row_product(high, token);
  if (lane != 0) return;
  if (a.bias != nullptr) {
    x += __bfloat162float(a.bias[row]);
    y += __bfloat162float(a.bias[row + half]);
  }
  x = rounded(x);
  y = rounded(y);
  if (head < a.heads + a.kvHeads) {
    const float before = x;
    x = before * cosine - y * sine;
    y = y * cosine + before * sine;
  }
  bf16 *to = a.qkv + row;
  if (head >= a.heads) /* k head g = head - H, v head g = head - H - G: together the index over [k, v][G] */
    to = reinterpret_cast<bf16 *>(a.kv + slot / a.blockSize * a.blockStride) +
         (static_cast<long long>(head - a.heads) * a.blockSize + slot % a.blockSize) * a.headDim + i;
  to[0] = __float2bfloat16_rn(x);
  to[half] = __float2bfloat16_rn(y);
}

/* PAIRS pairs a warp, so that the norm is computed by fewer warps. */
template <int UNITS, int PAIRS>
static __global__ void __launch_bounds__(32 * kRowWarps) mlp_input_kernel(const __grid_constant__ NormArguments a, bf16 *gated, int inner) {
  const int lane = threadIdx.x & 31, warp = blockIdx.x * kRowWarps + (threadIdx.x >> 5), first = warp * PAIRS;
  RowPart<UNITS> gate[PAIRS], up[PAIRS], norm;
#pragma unroll
  for (int p = 0; p < PAIRS; p++) {
    const long long row = min(first + p, inner - 1);
    gate[p].request(a.weight + row * a.k, a.k, lane);
    up[p].request(a.weight + (row + inner) * a.k, a.k, lane);
  }
  norm.request(a.norm, a.k, lane);
  griddep_wait();
  griddep_launch();
  if (first >= inner) return;
  TokenPart<UNITS> token;
  load_normed(token, a, norm, lane, warp == 0);
#pragma unroll
  for (int p = 0; p < PAIRS; p++) {
    const float x = rounded(row_product(gate[p], token)), y = rounded(row_product(up[p], token));
    if (lane == 0 && first + p < inner) gated[first + p] = __float2bfloat16_rn(x / (1.0f + __expf(-x)) * y);
  }
}

/* Whether the one-kernel form runs: one token, everything in one wave, addresses for 16-byte loads. */
static bool one_kernel(const kn_device *device, int32_t tokens, int32_t width, long long warps, std::initializer_list<kn_addr> addresses) {
  for (const kn_addr address : addresses)
    if (!aligned16(address)) return false;
  return tokens == 1 && !device->deterministic && fits_one_wave(device, width, warps);
}

/* normed = rmsnorm(residual + branch), or of the residual alone. */
static int32_t norm_of_sum(kn_device *device, kn_addr residual_out, kn_addr normed, kn_addr residual, kn_addr branch, kn_addr norm, float eps,
                           int32_t tokens, int32_t width) {
  if (branch == 0) return kn_rmsnorm(device, normed, residual, norm, tokens, width, eps);
  return kn_add_rmsnorm(device, normed, residual_out, residual, branch, norm, tokens, width, eps);
}

extern "C" int32_t kn_attention_input(kn_device *device, kn_addr qkv, kn_addr residual_out, kn_addr normed, kn_addr residual, kn_addr branch,
                                      kn_addr norm, float eps, kn_addr weight, kn_addr bias, kn_addr positions, kn_addr kv_slot, kn_addr rope,
                                      kn_addr kv, double block_stride, int32_t block_size, int32_t tokens, int32_t width, int32_t heads,
                                      int32_t kv_heads, int32_t head_dim) {
  const int32_t rows = (heads + 2 * kv_heads) * head_dim;
  if (device == nullptr || !one_kernel(device, tokens, width, rows / 2, {residual_out, residual, branch, norm, weight})) {
    KN_TRY(norm_of_sum(device, residual_out, normed, residual, branch, norm, eps, tokens, width));
    KN_TRY(kn_matmul(device, qkv, normed, weight, bias, tokens, rows, width, KN_BF16));
    return kn_rope_store(device, qkv, positions, kv_slot, rope, kv, block_stride, block_size, tokens, heads, kv_heads, head_dim);
  }
  const char *name = "kn_attention_input";
  KN_OPERATION(device, name);
  KN_REQUIRE(device, width > 0 && heads > 0 && kv_heads > 0 && head_dim > 0 && head_dim % 2 == 0, "%s: width %d, heads %d, kv_heads %d, head_dim %d",
             name, width, heads, kv_heads, head_dim);
  KN_REQUIRE(device, qkv && residual && norm && weight && positions && kv_slot && rope && kv && (branch == 0 || residual_out), "%s: an address is absent", name);
  KN_REQUIRE(device, branch == 0 || residual_out != residual, "%s: residual_out is residual", name);
  KN_REQUIRE(device, block_size > 0 && block_stride > 0, "%s: block_size %d, block_stride %.0f", name, block_size, block_stride);
  const AttentionInputArguments a = {{pointer<bf16>(residual_out), pointer<bf16>(residual), pointer<bf16>(branch), pointer<bf16>(norm),
                                      pointer<bf16>(weight), width, eps},
                                     pointer<bf16>(qkv),
                                     pointer<bf16>(bias),
                                     pointer<int32_t>(positions),
                                     pointer<int32_t>(kv_slot),
                                     pointer<float>(rope),
                                     pointer<char>(kv),
                                     static_cast<long long>(block_stride),
                                     block_size,
                                     heads,
                                     kv_heads,
                                     head_dim};
  return with_units(width, [&](auto units) {
    return launch(device, name, attention_input_kernel<decltype(units)::value>, divide_up(rows / 2, kRowWarps), 32 * kRowWarps, 0, a);
  });
}

extern "C" int32_t kn_mlp_input(kn_device *device, kn_addr gated, kn_addr residual_out, kn_addr normed, kn_addr gate_up, kn_addr residual,
                                kn_addr branch, kn_addr norm, float eps, kn_addr weight, int32_t tokens, int32_t width, int32_t inner) {
  /* Two pairs a warp fit the registers up to K = 768. */
  const int pairs = width <= 768 ? 2 : 1;
  if (device == nullptr || !one_kernel(device, tokens, width, divide_up(inner, pairs), {residual_out, residual, branch, norm, weight})) {
    KN_TRY(norm_of_sum(device, residual_out, normed, residual, branch, norm, eps, tokens, width));
    return matmul_silu(device, gated, gate_up, normed, weight, tokens, 2 * inner, width);
  }
  const char *name = "kn_mlp_input";
  KN_OPERATION(device, name);
  KN_REQUIRE(device, width > 0 && inner > 0, "%s: width %d, inner %d", name, width, inner);
  KN_REQUIRE(device, gated && residual && norm && weight && (branch == 0 || residual_out), "%s: an address is absent", name);
  KN_REQUIRE(device, branch == 0 || residual_out != residual, "%s: residual_out is residual", name);
  const NormArguments a = {pointer<bf16>(residual_out), pointer<bf16>(residual), pointer<bf16>(branch), pointer<bf16>(norm), pointer<bf16>(weight), width,
                           eps};
  const dim3 grid(divide_up(inner, pairs * kRowWarps)), block(32 * kRowWarps);
  bf16 *to = pointer<bf16>(gated);
  if (pairs == 2) return launch(device, name, mlp_input_kernel<3, 2>, grid, block, 0, a, to, inner);
  return with_units(width, [&](auto units) { return launch(device, name, mlp_input_kernel<decltype(units)::value, 1>, grid, block, 0, a, to, inner); });
}
