/* attention_list.cuh - the work of a decode step as one flat list of key tiles, ordered by (row, KV head, tile), of which each block
 * takes an equal range (stream_k.cuh); and the loader that brings a range's tiles into shared memory. The list is never stored:
 * each block sums kv_length to find its start, then walks. */
#ifndef PAGEDBENCH_ATTENTION_LIST_CUH
#define PAGEDBENCH_ATTENTION_LIST_CUH

#include "attention.cuh"
#include "stream_k.cuh"

constexpr int kDecodeWarps = kTileKeys / kRunKeys; /* warp w takes run w of each tile */

/* A place in the list. */
struct Place {
  int row, group, tile;
  int length, tiles; /* of the row */
  int next_length;   /* of the row after, asked for early */
};

static __host__ __device__ __forceinline__ int tile_count(int length) { return length > 0 ? (length + kTileKeys - 1) / kTileKeys : 1; }

static __device__ __forceinline__ void ask_next(const AttentionArguments &a, Place &p) {
  p.next_length = p.row + 1 < a.rows ? a.kv_length[p.row + 1] : 0;
}
/* Returns true when it entered another row. */
static __device__ __forceinline__ bool advance(const AttentionArguments &a, Place &p) {
  if (++p.tile < p.tiles) return false;
  p.tile = 0;
  if (++p.group < a.kv_heads) return false;
  p.group = 0;
  p.row++;
  p.length = p.next_length;
  p.tiles = tile_count(p.length);
  ask_next(a, p);
  return true;
}

/* With fewer tiles a block than this only every second one works, one on each SM: what more loads in flight win, longer merges lose
 * (H100, Llama-3-8B, 16 rows of 640 keys, 4.8 tiles a block: step 6.58 to 6.67 ms, with half the blocks 6.48). */
constexpr int kTilesEach = 8;

/* When the longest unit is at most this many tiles longer than an equal range would be, each unit is one block's: then nothing is merged,
 * which saves more than the balance costs (H100, Llama-3-8B, 640 keys a row: step of 16 rows 6.20 -> 6.08 ms, of 32 7.03 -> 6.90). */
constexpr int kWholeTiles = 2;

/* The block's range of the flat list, and where it starts. Called by all threads. */
struct Share {
  int blocks, tiles, start, end;
  bool whole; /* each unit (row, KV head) is one block's: nothing to merge */
};
static __device__ __forceinline__ Share find_share(const AttentionArguments &a, Place &place) {
  __shared__ int warp_tiles[kDecodeWarps], warp_most[kDecodeWarps], found[4];
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int each = (a.rows + kDecodeWarps * 32 - 1) / (kDecodeWarps * 32), from = thread * each, to = min(from + each, a.rows);
  int own = 0, most = 0;
  for (int row = from; row < to; row++) {
    const int tiles = tile_count(a.kv_length[row]);
    own += tiles;
    most = max(most, tiles);
  }
  most = __reduce_max_sync(0xffffffffu, most);
  int before = own; /* inclusive sums of the warp, then exclusive of the block */
#pragma unroll
  for (int offset = 1; offset < 32; offset <<= 1) {
    const int other = __shfl_up_sync(0xffffffffu, before, offset);
    if (lane >= offset) before += other;
  }
  if (lane == 31) {
    warp_tiles[warp] = before;
    warp_most[warp] = most;
  }
  __syncthreads();
  int total = 0;
  before -= own;
  for (int w = 0; w < kDecodeWarps; w++) {
    if (w < warp) before += warp_tiles[w];
    total += warp_tiles[w];
    most = max(most, warp_most[w]);
  }
  Share share;
  share.tiles = total * a.kv_heads;
  const int grid = static_cast<int>(gridDim.x);
  share.blocks = min(share.tiles < grid * kTilesEach ? (grid + 1) / 2 : grid, share.tiles);
  const int units = a.rows * a.kv_heads;
  share.whole = units <= grid && (most - kWholeTiles) * share.blocks <= share.tiles;
  if (share.whole) {
    share.blocks = units;
    if (static_cast<int>(blockIdx.x) < units) {
      place.row = blockIdx.x / a.kv_heads;
      place.group = blockIdx.x % a.kv_heads;
      place.tile = 0;
      place.length = a.kv_length[place.row];
      place.tiles = tile_count(place.length);
      ask_next(a, place);
    }
    share.start = 0;
    share.end = place.tiles;
    return share;
  }
  share.start = range_start(blockIdx.x, share.tiles, share.blocks);
  share.end = range_start(blockIdx.x + 1, share.tiles, share.blocks);
  int rest = share.start - before * a.kv_heads; /* tiles between the start of this thread's rows and ours */
  if (rest >= 0 && rest < own * a.kv_heads) {
    for (int row = from; row < to; row++) {
      const int length = a.kv_length[row], tiles = tile_count(length);
      if (rest < tiles * a.kv_heads) {
        found[0] = row;
        found[1] = rest / tiles;
        found[2] = rest % tiles;
        found[3] = length;
        break;
      }
      rest -= tiles * a.kv_heads;
    }
  }
  __syncthreads();
  place.row = found[0];
  place.group = found[1];
  place.tile = found[2];
  place.length = found[3];
  place.tiles = tile_count(place.length);
  if (blockIdx.x < share.blocks) ask_next(a, place);
  return share;
}

/* The warp's side of the ring: brings in run `warp` of each tile. `block` is asked for one tile ahead of its use. */
template <int D>
struct Loader {
  Place place;
  const int *table;
  int next_slot, block;

  __device__ __forceinline__ void ask_block(const AttentionArguments &a, int warp) {
    const int key = place.tile * kTileKeys + warp * kRunKeys;
    block = key < place.length ? table[key >> a.block_shift] : 0;
  }
  __device__ __forceinline__ void ask_slot(const AttentionArguments &a) {
    next_slot = place.row + 1 < a.rows ? a.row_slot[place.row + 1] : 0;
  }
  __device__ __forceinline__ void start(const AttentionArguments &a, const Place &at, int warp) {
    place = at;
    table = block_table(a, a.row_slot[at.row]);
    ask_slot(a);
    ask_block(a, warp);
  }
  /* Whether the warp's run of this tile has the key that this very step writes: the last one of the row. */
  __device__ __forceinline__ bool holds_newest(int warp) const {
    const int key = place.tile * kTileKeys + warp * kRunKeys;
    return key < place.length && place.length <= key + kRunKeys;
  }
  __device__ __forceinline__ void issue(const AttentionArguments &a, uint32_t stage, int warp, int lane) {
    constexpr int units = D / 8;
    const int key = place.tile * kTileKeys + warp * kRunKeys, valid = place.length - key;
    if (valid <= 0) return;
    const char *keys = a.kv + block * a.block_stride + key_offset<D>(place.group, key, a.block_shift);
    const char *values = keys + value_offset<D>(a.kv_heads, a.block_shift);
#pragma unroll
    for (int i = 0; i < units / 2; i++) { /* 16 keys lie together: 16 * units pieces */
      const int piece = i * 32 + lane, row = piece / units;
      copy_async(stage + swizzled(row, piece % units, units), keys + piece * 16, row < valid);
    }
#pragma unroll
    for (int i = 0; i < units / 2; i++) {
      const int piece = i * 32 + lane, row = piece / units;
      copy_async(stage + kRunKeys * D * 2 + swizzled(row, piece % units, units), values + piece * 16, row < valid);
    }
  }
  __device__ __forceinline__ void next(const AttentionArguments &a, int warp) {
    if (advance(a, place)) {
      table = block_table(a, next_slot);
      ask_slot(a);
    }
    ask_block(a, warp);
  }
};

#endif
