/* attention_wgmma.cuh - the shared memory of a block of attention_wgmma.cu, and the warps that fill it. */
#ifndef PAGEDBENCH_ATTENTION_WGMMA_CUH
#define PAGEDBENCH_ATTENTION_WGMMA_CUH

#include "attention_tile.cuh"
#include "hopper.cuh"

constexpr int kKeys = 128; /* keys in a tile of this kernel */
constexpr int kStages = 2, kSlots = 2;
constexpr int kGroupThreads = 128, kConsumerThreads = 2 * kGroupThreads, kThreads = kGroupThreads + kConsumerThreads;

/* One block's next work, in shared memory. */
struct Work {
  Tile tile;
  int kv_head, key_tiles; /* key_tiles 0: there is no more */
};

template <int D>
struct alignas(1024) Shared {
  static constexpr int planes = D / kPlaneColumns, plane_bytes = kKeys * kPlaneRowBytes, tile_bytes = planes * plane_bytes;
  unsigned char queries[kSlots][tile_bytes]; /* 128 rows, as keys are 128; later the results */
  unsigned char keys[kStages][tile_bytes], values[kStages][tile_bytes];
  Work work[kSlots];
  uint64_t keys_filled[kStages], keys_emptied[kStages], values_filled[kStages], values_emptied[kStages];
  uint64_t asked[kSlots], queries_filled[kSlots], done[kSlots];
};
static_assert(kTileRows == kKeys, "queries and keys share a layout");

struct WgmmaArguments {
  AttentionArguments a;
  int *tickets;           /* [0]: tiles taken beyond the first of each block; [1]: blocks that found none left. Zero between launches. */
  int box_keys;           /* keys of one copy: min(block_size, 128) */
  unsigned group_inverse; /* ceil(2^32 / group); for a group of 1 unused */
};

#ifdef KN_HOPPER

constexpr int kQueryThreads = kGroupThreads - 32, kConsumerWarps = kConsumerThreads / 32;
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232; /* 128 * 40 + 256 * 232 = 384 * 168 */
constexpr int kTurnBarrier = 1, kGroupBarrier = 3;               /* hardware barriers: + warpgroup; 0 is __syncthreads */

static __device__ __forceinline__ int query_of(int packed, int group, unsigned inverse) {
  return group == 1 ? packed : static_cast<int>(__umulhi(static_cast<unsigned>(packed), inverse));
}

/* ---- the producer: warp 0 -------------------------------------------------------------------------------------------- */

/* The block of the keys that this lane copies of tile n. */
template <int D>
static __device__ __forceinline__ int ask_block(const AttentionArguments &a, const int *table, int length, int n, int first_key) {
  const int key = n * kKeys + first_key;
  return first_key < kKeys && key < length ? table[key >> a.block_shift] : 0;
}

/* Starts the copies of tile n's keys (side 0) or values (side 1); lane l copies `box` keys from first_key on of plane l % planes. */
template <int D>
static __device__ __forceinline__ void copy_tile(const WgmmaArguments &w, const CUtensorMap *map, const Work &work, int side, int n, int block,
                                                 int first_key, uint32_t destination, uint32_t filled, int lane) {
  constexpr int planes = Shared<D>::planes;
  const int key = n * kKeys + first_key, left = min(kKeys, work.tile.length - n * kKeys);
  if (lane == 0) barrier_expect(filled, (max(left, 0) + w.box_keys - 1) / w.box_keys * w.box_keys * planes * kPlaneRowBytes);
  __syncwarp();
  if (first_key < left)
    copy_box(destination + lane % planes * Shared<D>::plane_bytes + first_key * kPlaneRowBytes, map, lane % planes * kPlaneColumns,
             key & ((1 << w.a.block_shift) - 1), side * w.a.kv_heads + work.kv_head, block, filled);
}

template <int D>
static __device__ __forceinline__ void produce_keys(const WgmmaArguments &w, const CUtensorMap *map, Shared<D> &shared, int lane) {
  const AttentionArguments &a = w.a;
  const int first_key = lane / Shared<D>::planes * w.box_keys;
  int use = 0; /* tiles that went through the rings */
  const auto keys = [&](const Work &work, int n, int block) {
    const int at = use + n, stage = at % kStages;
    barrier_wait_opaque(shared_address(&shared.keys_emptied[stage]), ((at / kStages) & 1) ^ 1);
    copy_tile<D>(w, map, work, 0, n, block, first_key, shared_address(shared.keys[stage]), shared_address(&shared.keys_filled[stage]), lane);
  };
  for (int i = 0, index = blockIdx.x;; i++) {
    if (i > 0) {
      if (lane == 0) index = static_cast<int>(gridDim.x) + atomicAdd(w.tickets, 1);
      index = __shfl_sync(0xffffffffu, index, 0);
    }
    Work work{};
    const int *table = nullptr;
    int block = 0;
    /* Before the wait of the first round: only what kn_step_prepare or an upload wrote (device.cuh). */
    const bool found = find_tile(a, index / a.kv_heads, work.tile);
    if (found) {
      const int group = a.heads / a.kv_heads;
      work.kv_head = index % a.kv_heads;
      work.key_tiles = max(1, (last_key(work.tile, work.tile.first_packed + kTileRows - 1, group) + kKeys) / kKeys);
      table = block_table(a, a.row_slot[work.tile.row]);
      block = ask_block<D>(a, table, work.tile.length, 0, first_key);
    }
    if (i == 0) {
      griddep_wait();
      griddep_launch();
    }
    const int slot = i % kSlots;
    barrier_wait_opaque(shared_address(&shared.done[slot]), ((i / kSlots) & 1) ^ 1);
    if (lane == 0) {
      shared.work[slot] = work;
      barrier_arrive(shared_address(&shared.asked[slot]));
    }
    __syncwarp();
    if (!found) break;
    keys(work, 0, block);
    for (int n = 0; n < work.key_tiles; n++) {
      const int next = n + 1 < work.key_tiles ? ask_block<D>(a, table, work.tile.length, n + 1, first_key) : 0;
      if (n + 1 < work.key_tiles) keys(work, n + 1, next);
      const int at = use + n, stage = at % kStages;
      barrier_wait_opaque(shared_address(&shared.values_emptied[stage]), ((at / kStages) & 1) ^ 1);
      copy_tile<D>(w, map, work, 1, n, block, first_key, shared_address(shared.values[stage]), shared_address(&shared.values_filled[stage]), lane);
      block = next;
    }
    use += work.key_tiles;
  }
  /* Every block comes here after its last ticket; the last one leaves the counters as the next launch needs them. */
  if (lane == 0 && atomicAdd(w.tickets + 1, 1) == static_cast<int>(gridDim.x) - 1) {
    w.tickets[0] = 0;
    w.tickets[1] = 0;
  }
}

/* ---- queries: warps 1 to 3 ------------------------------------------------------------------------------------------- */

/* q of each tile to shared memory, zeros beyond the row's last query. */
template <int D>
static __device__ __forceinline__ void produce_queries(const WgmmaArguments &w, Shared<D> &shared, int thread) {
  constexpr int units = D / 8, rows_a_pass = kQueryThreads / units;
  const AttentionArguments &a = w.a;
  const int group = a.heads / a.kv_heads, unit = thread % units;
  griddep_wait();
  for (int i = 0;; i++) {
    const int slot = i % kSlots;
    barrier_wait_opaque(shared_address(&shared.asked[slot]), (i / kSlots) & 1);
    const Work &work = shared.work[slot];
    if (work.key_tiles == 0) {
      barrier_arrive(shared_address(&shared.queries_filled[slot]));
      return;
    }
    const int first = work.tile.first_packed, end = work.tile.count * group;
    const bf16 *q = a.q + static_cast<long long>(work.tile.token) * a.q_stride + work.kv_head * group * D + unit * 8;
    const uint32_t destination = shared_address(shared.queries[slot]) + unit / 8 * Shared<D>::plane_bytes;
#pragma unroll 4
    for (int row = thread / units; row < kTileRows; row += rows_a_pass) {
      const int packed = first + row;
      const bool valid = packed < end;
      const int query = valid ? query_of(packed, group, w.group_inverse) : 0, head = valid ? packed - query * group : 0;
      copy_async(destination + swizzled(row, unit % 8, 8), q + static_cast<long long>(query) * a.q_stride + head * D, valid);
    }
    copy_commit();
    copy_wait<0>();
    publish_to_async();
    barrier_arrive(shared_address(&shared.queries_filled[slot]));
    barrier_arrive(shared_address(&shared.done[slot]));
  }
}

#endif
#endif
