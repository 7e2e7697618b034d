/* rope.cu - rotary position embedding (Su et al. 2021, arXiv:2104.09864; halves paired, as Llama in Hugging Face) of q and k, and
 * the write of k and v into the paged cache; fused, and the two apart. qkv [T, (H + 2G) * D].
 * Bytes a token: (H + 2G) * D * 2 read and (H + 3 G) * D * 2 written (8B: 12 KB and 14 KB). Bound by latency at decode,
 * by bandwidth at prefill. An item is 8 elements of a head and the 8 they pair with (q, k), or 16 elements of v. */
#include "device.cuh"

struct RopeArguments {
  bf16 *qkv;
  const int32_t *positions, *kvSlot;
  const float *rope;
  char *kv;
  long long blockStride;
  int blockSize, tokens, heads, kvHeads, headDim;
};

/* cosines and sines of 8 elements */
static __device__ __forceinline__ void load_rotation(const float *cosines, const float *sines, float (&c)[8], float (&s)[8]) {
  *reinterpret_cast<float4 *>(c) = *reinterpret_cast<const float4 *>(cosines);
  *reinterpret_cast<float4 *>(c + 4) = *reinterpret_cast<const float4 *>(cosines + 4);
  *reinterpret_cast<float4 *>(s) = *reinterpret_cast<const float4 *>(sines);
  *reinterpret_cast<float4 *>(s + 4) = *reinterpret_cast<const float4 *>(sines + 4);
}

template <bool ROTATE, bool STORE>
static __global__ void __launch_bounds__(128) rope_kernel(const RopeArguments a) {
  const int half = a.headDim / 2, perHead = half / 8;
  const int firstHead = ROTATE ? 0 : a.heads, lastHead = a.heads + a.kvHeads + (STORE ? a.kvHeads : 0);
  const int perToken = (lastHead - firstHead) * perHead;
  const long long item = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  const int token = static_cast<int>(item / perToken);
  const int within = static_cast<int>(item - (long long)token * perToken);
  const int head = firstHead + within / perHead, i = within % perHead * 8;
  const bool valid = token < a.tokens, rotates = ROTATE && head < a.heads + a.kvHeads;
  float c[8], s[8];
  int slot = 0;
  if (valid && rotates) { /* metadata of the step and the table of angles: before the wait */
    const float *cosines = a.rope + (long long)a.positions[token] * a.headDim + i;
    load_rotation(cosines, cosines + half, c, s);
  }
  if (STORE && valid && head >= a.heads) slot = a.kvSlot[token];
  griddep_pass(true);
  if (!valid) return;
  bf16 *low = a.qkv + ((long long)token * (a.heads + 2 * a.kvHeads) + head) * a.headDim + i, *high = low + half;
  float x[8], y[8];
  load_values<8>(low, x);
  load_values<8>(high, y);
  if (rotates) {
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float before = x[j];
      x[j] = before * c[j] - y[j] * s[j];
      y[j] = y[j] * c[j] + before * s[j];
    }
    store_values<8>(low, x);
    store_values<8>(high, y);
  }
  if (STORE && head >= a.heads) { /* k head g = head - H, v head g = head - H - G: together the index over [k, v][G] */
    bf16 *to = reinterpret_cast<bf16 *>(a.kv + slot / a.blockSize * a.blockStride) +
               ((long long)(head - a.heads) * a.blockSize + slot % a.blockSize) * a.headDim + i;
    store_values<8>(to, x);
    store_values<8>(to + half, y);
  }
}

template <bool ROTATE, bool STORE>
static int32_t launch_rope(kn_device *device, const char *name, const RopeArguments &a) {
  KN_OPERATION(device, name);
  KN_REQUIRE(device, a.tokens >= 0 && a.heads > 0 && a.kvHeads > 0, "%s: tokens %d, heads %d, kv_heads %d", name, a.tokens, a.heads, a.kvHeads);
  KN_REQUIRE(device, a.headDim > 0 && a.headDim % 16 == 0, "%s: head_dim %d is no multiple of 16", name, a.headDim);
  KN_REQUIRE(device, a.tokens == 0 || (a.qkv && (!ROTATE || (a.positions && a.rope)) && (!STORE || (a.kvSlot && a.kv))), "%s: an address is absent", name);
  KN_REQUIRE(device, !STORE || (a.blockSize > 0 && a.blockStride > 0 && a.blockStride % 16 == 0), "%s: block_size %d, block_stride %lld", name,
             a.blockSize, a.blockStride);
  const int heads = (ROTATE ? a.heads : 0) + a.kvHeads + (STORE ? a.kvHeads : 0);
  return launch(device, name, rope_kernel<ROTATE, STORE>, divide_up((long long)a.tokens * heads * (a.headDim / 16), 128), 128, 0, a);
}

extern "C" int32_t kn_rope_store(kn_device *device, kn_addr qkv, kn_addr positions, kn_addr kv_slot, kn_addr rope, kn_addr kv,
                                 double block_stride, int32_t block_size, int32_t tokens, int32_t heads, int32_t kv_heads, int32_t head_dim) {
  const RopeArguments a = {pointer<bf16>(qkv), pointer<int32_t>(positions), pointer<int32_t>(kv_slot), pointer<float>(rope), pointer<char>(kv),
                           static_cast<long long>(block_stride), block_size, tokens, heads, kv_heads, head_dim};
  return launch_rope<true, true>(device, "kn_rope_store", a);
}
extern "C" int32_t kn_rope(kn_device *device, kn_addr qkv, kn_addr positions, kn_addr rope, int32_t tokens, int32_t heads, int32_t kv_heads,
                           int32_t head_dim) {
  const RopeArguments a = {pointer<bf16>(qkv), pointer<int32_t>(positions), nullptr, pointer<float>(rope), nullptr, 0, 0, tokens, heads, kv_heads,
                           head_dim};
  return launch_rope<true, false>(device, "kn_rope", a);
}
extern "C" int32_t kn_kv_store(kn_device *device, kn_addr qkv, kn_addr kv_slot, kn_addr kv, double block_stride, int32_t block_size,
                               int32_t tokens, int32_t heads, int32_t kv_heads, int32_t head_dim) {
  const RopeArguments a = {pointer<bf16>(qkv), nullptr, pointer<int32_t>(kv_slot), nullptr, pointer<char>(kv),
                           static_cast<long long>(block_stride), block_size, tokens, heads, kv_heads, head_dim};
  return launch_rope<false, true>(device, "kn_kv_store", a);
}
