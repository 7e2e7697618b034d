/* attention_merge.cuh - adding up what was computed over parts of the keys: with a part's maximum m, sum l of exp2(score - m) and
 * O = sum of exp2(score - m) * v, two parts join as m' = max, each scaled by exp2(m - m'). First the four warps of a block, through
 * shared memory; then, for a unit that crosses blocks, the blocks' partials in the workspace. */
#ifndef PAGEDBENCH_ATTENTION_MERGE_CUH
#define PAGEDBENCH_ATTENTION_MERGE_CUH

#include "attention_list.cuh"

/* Shared memory behind the rings: what the four warps hand each other at the end of a unit. */
template <int D>
struct Handover {
  static constexpr int stride = D + 4;
  float *o; /* [warp][group][stride] */
  float *m; /* [warp][group] */
  float *l;
  __device__ __forceinline__ Handover(unsigned char *shared, int group)
      : o(reinterpret_cast<float *>(shared)), m(o + kDecodeWarps * group * stride), l(m + kDecodeWarps * group) {}
  static size_t bytes(int group) { return sizeof(float) * kDecodeWarps * group * (stride + 2); }
};

/* One partial: O [group, D], then m [16], l [16]. A block owns two: of a unit begun by an earlier block, and of one it hands on. */
template <int D>
static __host__ __device__ __forceinline__ constexpr int partial_floats() {
  return kGroupMax * (D + 2);
}

static __device__ __forceinline__ float4 scaled_sum(float4 x, float a, float4 y, float b) {
  return make_float4(x.x * a + y.x * b, x.y * a + y.y * b, x.z * a + y.z * b, x.w * a + y.w * b);
}
static __device__ __forceinline__ void store4(bf16 *out, float4 v, float l) {
  const float r = l > 0 ? 1 / l : 0;
  *reinterpret_cast<uint2 *>(out) = make_uint2(pack2(v.x * r, v.y * r), pack2(v.z * r, v.w * r));
}

/* Adds up the warps. whole: writes the result; else the block's partial. Called by all threads. */
template <int D, int ROWS>
static __device__ __forceinline__ void end_unit(const AttentionArguments &a, const float (&o_warp)[D / 8][4], const float (&m_warp)[2],
                                                const float (&l_warp)[2], const Handover<D> &hand, const Place &p,
                                                bool whole, float *partial) {
  const int group = a.heads / a.kv_heads, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int half = 0; half < ROWS / 8; half++) {
    const int head = g + 8 * half, at = warp * group + head;
    const float l = quad_sum(l_warp[half]);
    if (head < group) {
#pragma unroll
      for (int n = 0; n < D / 8; n++)
        *reinterpret_cast<float2 *>(hand.o + at * Handover<D>::stride + n * 8 + 2 * t) = make_float2(o_warp[n][2 * half], o_warp[n][2 * half + 1]);
      if (t == 0) {
        hand.m[at] = m_warp[half];
        hand.l[at] = l;
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * (D / 4); i += kDecodeWarps * 32) {
    const int head = i / (D / 4), d = (i % (D / 4)) * 4;
    float m = -INFINITY, l = 0;
    for (int w = 0; w < kDecodeWarps; w++) m = fmaxf(m, hand.m[w * group + head]);
    float4 o = make_float4(0, 0, 0, 0);
    for (int w = 0; w < kDecodeWarps; w++) {
      const int at = w * group + head;
      const float weight = hand.m[at] == -INFINITY ? 0 : exp2_fast(hand.m[at] - m);
      o = scaled_sum(o, 1, *reinterpret_cast<const float4 *>(hand.o + at * Handover<D>::stride + d), weight);
      l += hand.l[at] * weight;
    }
    if (whole) {
      store4(a.out + (static_cast<long long>(p.row) * a.heads + p.group * group + head) * D + d, o, l);
    } else {
      __stcg(reinterpret_cast<float4 *>(partial + head * D + d), o);
      if (d == 0) {
        __stcg(partial + kGroupMax * D + head, m);
        __stcg(partial + kGroupMax * (D + 1) + head, l);
      }
    }
  }
  if (!whole) __threadfence();
  __syncthreads();
}

/* Adds up the partials of blocks first .. last, in their order. Called by all threads of the last block to arrive. */
template <int D>
static __device__ __forceinline__ void merge_unit(const AttentionArguments &a, const Place &p, int first, int last) {
  const int group = a.heads / a.kv_heads;
  for (int i = threadIdx.x; i < group * (D / 4); i += kDecodeWarps * 32) {
    const int head = i / (D / 4), d = (i % (D / 4)) * 4;
    float m = -INFINITY, l = 0;
    float4 o = make_float4(0, 0, 0, 0);
#pragma unroll 4
    for (int block = first; block <= last; block++) {
      const float *partial = a.partials + static_cast<long long>(2 * block + (block == first)) * partial_floats<D>();
      const float4 o_part = __ldcg(reinterpret_cast<const float4 *>(partial + head * D + d));
      const float m_part = __ldcg(partial + kGroupMax * D + head), l_part = __ldcg(partial + kGroupMax * (D + 1) + head);
      const float top = fmaxf(m, m_part), keep = exp2_fast(m - top), weight = exp2_fast(m_part - top);
      o = scaled_sum(o, keep, o_part, weight);
      l = l * keep + l_part * weight;
      m = top;
    }
    store4(a.out + (static_cast<long long>(p.row) * a.heads + p.group * group + head) * D + d, o, l);
  }
}

#endif
