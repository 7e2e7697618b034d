/* attention_tile.cuh - one block's work in prefill attention: 128 packed query rows of one (row, KV head); how it is found, and how its
 * queries, keys and values come to shared memory. */
#ifndef PAGEDBENCH_ATTENTION_TILE_CUH
#define PAGEDBENCH_ATTENTION_TILE_CUH

#include "attention.cuh"

constexpr int kTileRows = 128, kPrefillWarps = 4, kPrefillThreads = kPrefillWarps * 32;
constexpr int kSpans = kTileKeys / kRunKeys; /* block ids to a key tile, at most */

/* One block's work. */
struct Tile {
  int row, first_packed; /* row of the step; first packed row */
  int token, count;      /* first token and number of its queries */
  int length;            /* keys in the cache */
};

static __host__ __device__ __forceinline__ int tiles_of(int count, int group) { return (count * group + kTileRows - 1) / kTileRows; }

/* Tile `index` over all rows of the launch; false: there are not so many. Every warp finds it for itself. */
static __device__ __forceinline__ bool find_tile(const AttentionArguments &a, int index, Tile &tile) {
  const int lane = threadIdx.x & 31, group = a.heads / a.kv_heads;
  for (int base = a.first_row; base < a.rows; base += 32) {
    const int row = base + lane;
    int token = 0, count = 0;
    if (row < a.rows) {
      token = a.query_start[row];
      count = a.query_start[row + 1] - token;
    }
    const int own = tiles_of(count, group);
    int sum = own;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
      const int other = __shfl_up_sync(0xffffffffu, sum, offset);
      if (lane >= offset) sum += other;
    }
    const unsigned reached = __ballot_sync(0xffffffffu, index < sum);
    if (reached != 0) {
      const int at = __ffs(reached) - 1;
      const int last_first = __shfl_sync(0xffffffffu, sum, at) - 1 - index; /* tiles of the row in reverse: longest first */
      tile.row = base + at;
      tile.first_packed = last_first * kTileRows;
      tile.token = __shfl_sync(0xffffffffu, token, at);
      tile.count = __shfl_sync(0xffffffffu, count, at);
      tile.length = a.kv_length[tile.row];
      return true;
    }
    index -= __shfl_sync(0xffffffffu, sum, 31);
  }
  return false;
}

/* q of the tile to shared memory [128, D], zeros beyond the row's last query. */
template <int D>
static __device__ __forceinline__ void load_queries(const AttentionArguments &a, const Tile &tile, int kv_head, uint32_t shared_q) {
  constexpr int units = D / 8;
  const int group = a.heads / a.kv_heads, end = tile.count * group;
#pragma unroll 4
  for (int i = threadIdx.x; i < kTileRows * units; i += kPrefillThreads) {
    const int row = i / units, unit = i % units, packed = tile.first_packed + row, query = packed / group;
    const bool valid = packed < end;
    const bf16 *source = a.q + static_cast<long long>(tile.token + (valid ? query : 0)) * a.q_stride + (kv_head * group + packed - query * group) * D;
    copy_async(shared_q + swizzled(row, unit, units), source + unit * 8, valid);
  }
}

/* The block ids of key tile `n`. */
static __device__ __forceinline__ void ask_blocks(const AttentionArguments &a, const int *table, int length, int n, int (&blocks)[kSpans]) {
#pragma unroll
  for (int i = 0; i < kSpans; i++) {
    const int key = n * kTileKeys + i * kRunKeys;
    blocks[i] = key < length ? table[key >> a.block_shift] : 0;
  }
}

/* Keys and values of tile n to shared memory, each [64, D]; zeros from `length` on, whatever the cache holds there. */
template <int D>
static __device__ __forceinline__ void load_keys(const AttentionArguments &a, int kv_head, int length, int n, const int (&blocks)[kSpans],
                                                 uint32_t shared_k, uint32_t shared_v) {
  constexpr int units = D / 8, rows_a_pass = kPrefillThreads / units, passes = kTileKeys / rows_a_pass;
  const long long values = value_offset<D>(a.kv_heads, a.block_shift);
  const int in_pass = threadIdx.x / units, unit = threadIdx.x % units;
#pragma unroll
  for (int i = 0; i < passes; i++) {
    const int row = i * rows_a_pass + in_pass, key = n * kTileKeys + row;
    const char *source = a.kv + blocks[i * rows_a_pass / kRunKeys] * a.block_stride + key_offset<D>(kv_head, key, a.block_shift) + unit * 16;
    const bool valid = key < length;
    copy_async(shared_k + swizzled(row, unit, units), source, valid);
    copy_async(shared_v + swizzled(row, unit, units), source + values, valid);
  }
}

/* The last key that packed row `packed` sees. */
static __device__ __forceinline__ int last_key(const Tile &tile, int packed, int group) {
  return tile.length - tile.count + min(packed / group, tile.count - 1);
}

#endif
