/* attention.cuh - what kn_attention's kernels share: their arguments, and where a key lies. */
#ifndef PAGEDBENCH_ATTENTION_CUH
#define PAGEDBENCH_ATTENTION_CUH

#include "tensor_core.cuh"

/* Keys are taken in tiles at absolute positions 0, 64, 128, ...; a run of 16 never leaves a block. */
constexpr int kTileKeys = 64;
constexpr int kRunKeys = 16;
constexpr int kGroupMax = 16; /* most query heads to a KV head */

struct AttentionArguments {
  bf16 *out;       /* [T, H * D] */
  const bf16 *q;   /* head h of token t at q + t * q_stride + h * D */
  const char *kv;  /* block b at kv + b * block_stride: [k, v][G][block_size][D] */
  float *partials; /* decode: attention_decode.cu */
  const int *query_start, *kv_length, *row_slot, *slot_table;
  long long block_stride; /* bytes */
  int q_stride, slot_stride;
  int first_row, rows; /* this launch does rows first_row .. rows - 1 */
  int heads, kv_heads;
  int block_shift;  /* log2(block_size) */
  float scale_log2; /* scale * log2(e): softmax by exp2 */
};

static __device__ __forceinline__ const int *block_table(const AttentionArguments &a, int slot) {
  return a.slot_table + static_cast<long long>(slot) * a.slot_stride + KN_SLOT_BLOCKS;
}

/* Bytes from the start of a block to key `position` (within the sequence) of KV head `group`; its value lies value_offset further. */
template <int D>
static __host__ __device__ __forceinline__ long long key_offset(int group, int position, int block_shift) {
  return ((static_cast<long long>(group) << block_shift) + (position & ((1 << block_shift) - 1))) * (D * 2);
}
template <int D>
static __host__ __device__ __forceinline__ long long value_offset(int kv_heads, int block_shift) {
  return (static_cast<long long>(kv_heads) << block_shift) * (D * 2);
}

int32_t attention_decode(kn_device *device, AttentionArguments arguments, int head_dim);
double attention_decode_workspace(const kn_device *device, int head_dim);
int32_t attention_prefill(kn_device *device, AttentionArguments arguments, int head_dim, int tokens);
int32_t attention_wgmma(kn_device *device, AttentionArguments arguments, int head_dim, int tokens); /* when device->attentionTickets */
int32_t attention_wgmma_create(kn_device *device); /* leaves attentionTickets null where the driver has no tensor maps */
void attention_wgmma_destroy(kn_device *device);

#endif
