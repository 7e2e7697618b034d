/* Prefill attention: rows of one to thousands of queries over their whole cache, causal: query i of a row sees keys
 * 0 .. kv_length - count + i, so a chunk attends to what earlier chunks left in the cache.
 *
 * Flops: 4 * D * H for each (query, visible key); bytes: q and out once, the keys of a (row, KV head) once a tile of 128 query rows,
 * mostly from L2. Bound by the tensor cores (mma.sync, about two thirds of the card's peak at best).
 *
 * A tile is 128 packed rows of one (row, KV head): packed row p is query p / group, head p % group, so that the heads that share
 * keys share their loads. 4 warps hold 32 rows each (two mma rows of tiles: halves the shared-memory traffic), keys come in tiles
 * of 64 at absolute positions through a two-stage cp.async ring, softmax state and probabilities stay in registers.
 * The grid is an upper bound; each block finds its row and tile in query_start. The longest tiles of a row go first.
 * Source: FlashAttention-2 (arXiv 2307.08691). */
#include "attention_tile.cuh"

/* What a warp holds of its 32 rows: index [16-row tile][half: g, g + 8]. */
template <int D>
struct WarpRows {
  float o[2][D / 8][4];
  float m[2][2], l[2][2];
};

/* score [32, 64] = q k^T */
template <int D>
static __device__ __forceinline__ void scores(float (&s)[2][kTileKeys / 8][4], uint32_t shared_q, uint32_t shared_k, int lane) {
  constexpr int units = D / 8;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; n++)
#pragma unroll
      for (int j = 0; j < 4; j++) s[i][n][j] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    uint32_t q[2][4];
    load_matrices(q[0], shared_q + swizzled(lane & 15, k * 2 + (lane >> 4), units));
    load_matrices(q[1], shared_q + swizzled(16 + (lane & 15), k * 2 + (lane >> 4), units));
#pragma unroll
    for (int n = 0; n < kTileKeys / 16; n++) {
      uint32_t b[4];
      load_matrices(b, shared_k + swizzled(n * 16 + (lane >> 4) * 8 + (lane & 7), k * 2 + ((lane >> 3) & 1), units));
#pragma unroll
      for (int i = 0; i < 2; i++) {
        multiply_add(s[i][2 * n], q[i], b[0], b[1]);
        multiply_add(s[i][2 * n + 1], q[i], b[2], b[3]);
      }
    }
  }
}

/* Takes out what lies after a row's own position. first_packed: the warp's first row. */
static __device__ __forceinline__ void mask(float (&s)[2][kTileKeys / 8][4], const Tile &tile, int first_packed, int group, int first_key,
                                            int lane) {
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int last = last_key(tile, first_packed + i * 16 + half * 8 + (lane >> 2), group) - first_key - 2 * (lane & 3);
#pragma unroll
      for (int n = 0; n < kTileKeys / 8; n++)
#pragma unroll
        for (int j = 0; j < 2; j++)
          if (n * 8 + j > last) s[i][n][2 * half + j] = -INFINITY;
    }
}

/* Turns scores into probabilities relative to the rows' new maxima, and rescales what the rows hold. */
template <int D>
static __device__ __forceinline__ void softmax(WarpRows<D> &w, float (&s)[2][kTileKeys / 8][4], float scale_log2) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float top = -INFINITY;
#pragma unroll
      for (int n = 0; n < kTileKeys / 8; n++)
#pragma unroll
        for (int j = 0; j < 2; j++) top = fmaxf(top, s[i][n][2 * half + j]);
      const float m = fmaxf(w.m[i][half], quad_max(top) * scale_log2);
      const float base = m == -INFINITY ? 0 : m, shrink = exp2_fast(w.m[i][half] - base);
      float sum = 0;
#pragma unroll
      for (int n = 0; n < kTileKeys / 8; n++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          float &x = s[i][n][2 * half + j];
          x = exp2_fast(x * scale_log2 - base);
          sum += x;
        }
      w.m[i][half] = m;
      w.l[i][half] = w.l[i][half] * shrink + sum;
#pragma unroll
      for (int n = 0; n < D / 8; n++) {
        w.o[i][n][2 * half] *= shrink;
        w.o[i][n][2 * half + 1] *= shrink;
      }
    }
  }
}

/* o [32, D] += p [32, 64] v [64, D] */
template <int D>
static __device__ __forceinline__ void add_values(WarpRows<D> &w, const float (&s)[2][kTileKeys / 8][4], uint32_t shared_v, int lane) {
  constexpr int units = D / 8;
#pragma unroll
  for (int k = 0; k < kTileKeys / 16; k++) {
    uint32_t p[2][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      p[i][0] = pack2(s[i][2 * k][0], s[i][2 * k][1]);
      p[i][1] = pack2(s[i][2 * k][2], s[i][2 * k][3]);
      p[i][2] = pack2(s[i][2 * k + 1][0], s[i][2 * k + 1][1]);
      p[i][3] = pack2(s[i][2 * k + 1][2], s[i][2 * k + 1][3]);
    }
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
      uint32_t b[4];
      load_matrices_transposed(b, shared_v + swizzled(k * 16 + (lane & 15), n * 2 + (lane >> 4), units));
#pragma unroll
      for (int i = 0; i < 2; i++) {
        multiply_add(w.o[i][2 * n], p[i], b[0], b[1]);
        multiply_add(w.o[i][2 * n + 1], p[i], b[2], b[3]);
      }
    }
  }
}

/* Normalises and writes the warp's 32 rows; shared: its own rows of the q tile, no longer needed. */
template <int D>
static __device__ __forceinline__ void store_rows(const AttentionArguments &a, const Tile &tile, int kv_head, WarpRows<D> &w,
                                                  unsigned char *shared, int warp, int lane) {
  constexpr int units = D / 8;
  const int g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float l = quad_sum(w.l[i][half]), r = l > 0 ? 1 / l : 0;
#pragma unroll
      for (int n = 0; n < D / 8; n++)
        *reinterpret_cast<uint32_t *>(shared + swizzled(i * 16 + half * 8 + g, n, units) + t * 4) =
            pack2(w.o[i][n][2 * half] * r, w.o[i][n][2 * half + 1] * r);
    }
  __syncwarp();
  const int group = a.heads / a.kv_heads, end = tile.count * group;
#pragma unroll 4
  for (int i = lane; i < 32 * units; i += 32) {
    const int row = i / units, unit = i % units, packed = tile.first_packed + warp * 32 + row, query = packed / group;
    if (packed >= end) continue;
    bf16 *out = a.out + (static_cast<long long>(tile.token + query) * a.heads + kv_head * group + packed - query * group) * D + unit * 8;
    *reinterpret_cast<uint4 *>(out) = *reinterpret_cast<const uint4 *>(shared + swizzled(row, unit, units));
  }
}

template <int D>
static __global__ void __launch_bounds__(kPrefillThreads, 2) attention_prefill_kernel(const __grid_constant__ AttentionArguments a) {
  DYNAMIC_SHARED(shared);
  constexpr int q_bytes = kTileRows * D * 2, k_bytes = kTileKeys * D * 2;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, kv_head = blockIdx.x % a.kv_heads;
  const uint32_t shared_q = shared_address(shared), ring = shared_q + q_bytes;

  /* Before the wait: only what kn_step_prepare or an upload wrote (device.cuh). */
  __shared__ Tile tile; /* not in registers, which are all taken */
  {
    Tile found;
    if (!find_tile(a, blockIdx.x / a.kv_heads, found)) {
      griddep_wait();
      return;
    }
    if (threadIdx.x == 0) tile = found;
    __syncthreads();
  }
  const int *table = block_table(a, a.row_slot[tile.row]);
  const int group = a.heads / a.kv_heads;
  const int key_tiles = (last_key(tile, tile.first_packed + kTileRows - 1, group) + kTileKeys) / kTileKeys; /* those its last query sees */

  int blocks[kSpans];
  ask_blocks(a, table, tile.length, 0, blocks);
  griddep_wait();
  griddep_launch();
  load_queries<D>(a, tile, kv_head, shared_q);
  if (key_tiles > 0) load_keys<D>(a, kv_head, tile.length, 0, blocks, ring, ring + k_bytes);
  copy_commit();
  ask_blocks(a, table, tile.length, 1, blocks);

  WarpRows<D> w;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      w.m[i][half] = -INFINITY;
      w.l[i][half] = 0;
#pragma unroll
      for (int n = 0; n < D / 8; n++) w.o[i][n][2 * half] = w.o[i][n][2 * half + 1] = 0;
    }
  const int first_packed = tile.first_packed + warp * 32;
  const int all_see = last_key(tile, first_packed, group); /* every row of the warp sees keys up to this one */

  for (int n = 0; n < key_tiles; n++) {
    const uint32_t shared_k = ring + (n & 1) * 2 * k_bytes;
    copy_wait<0>();
    __syncthreads(); /* tile n is here, and nobody reads tile n - 1 any more */
    if (n + 1 < key_tiles) {
      const uint32_t next = ring + ((n + 1) & 1) * 2 * k_bytes;
      load_keys<D>(a, kv_head, tile.length, n + 1, blocks, next, next + k_bytes);
      ask_blocks(a, table, tile.length, n + 2, blocks);
    }
    copy_commit();
    float s[2][kTileKeys / 8][4];
    scores<D>(s, shared_q + warp * 32 * D * 2, shared_k, lane);
    if (n * kTileKeys + kTileKeys - 1 > all_see) mask(s, tile, first_packed, group, n * kTileKeys, lane);
    softmax<D>(w, s, a.scale_log2);
    add_values<D>(w, s, shared_k + k_bytes, lane);
  }
  copy_wait<0>();
  __syncthreads(); /* q is in place even when there was no key, before its room is used again */
  store_rows<D>(a, tile, kv_head, w, shared + warp * 32 * D * 2, warp, lane);
}

template <int D>
static int32_t launch_prefill(kn_device *device, const AttentionArguments &a, int tokens) {
  const size_t bytes = (kTileRows + 4 * kTileKeys) * D * 2;
  const long long tiles = static_cast<long long>(tokens) * (a.heads / a.kv_heads) / kTileRows + (a.rows - a.first_row);
  const dim3 grid(static_cast<unsigned>(tiles * a.kv_heads));
  return launch(device, "kn_attention (prefill)", attention_prefill_kernel<D>, grid, dim3(kPrefillThreads), bytes, a);
}

int32_t attention_prefill(kn_device *device, AttentionArguments arguments, int head_dim, int tokens) {
  return head_dim == 64 ? launch_prefill<64>(device, arguments, tokens) : launch_prefill<128>(device, arguments, tokens);
}
