/* Decode attention: out[r, h] = softmax(q[r, h] K_r^T * scale) V_r for rows of one query each.
 *
 * Bytes: the cache once, rows * length * G * D * 4. Flops: 4 * H * D per key, 1 to 16 per byte: memory bound at every group size,
 * because the tensor cores do the products (the query heads of a KV head are the 16 rows of an mma; CUDA cores would stall from 4 up).
 *
 * Balance (as stream-K): all key tiles of all (row, KV head) units lie in one flat list; block c of C takes tiles W*c/C .. W*(c+1)/C
 * of it, whatever the lengths are, so a frozen grid suits every replay. The list is never stored: each block sums kv_length and
 * finds its start. A unit that crosses blocks leaves f32 partials (O, m, l); the block that comes last merges them.
 *
 * A block has 4 warps; warp w takes keys 16w..16w+15 of each tile, with its own softmax state and its own cp.async ring, so warps
 * meet only at the end of a unit. The ring runs on across units. Loads are issued STAGES tiles ahead.
 * Sources: FlashAttention-2 (arXiv 2307.08691), Flash-Decoding (split KV), Stream-K (arXiv 2301.03598). */
#include "attention.cuh"

constexpr int kWarps = kTileKeys / kRunKeys;
constexpr int kPartsMax = 1024; /* most blocks of a launch */

/* Arrivals at a unit that crosses blocks, by its first block. Zero between launches: the last to arrive clears it. Launches of one
 * process on one GPU must therefore follow each other, which they do: a device has one stream, an engine one device. */
static __device__ unsigned arrivals[kPartsMax];

/* A place in the flat list. */
struct Place {
  int row, group, tile;
  int length, tiles; /* of the row */
  int next_length;   /* of the row after, asked for early */
};

static __host__ __device__ __forceinline__ int tile_count(int length) { return length > 0 ? (length + kTileKeys - 1) / kTileKeys : 1; }
static __host__ __device__ __forceinline__ int range_start(int block, int tiles, int blocks) {
  return static_cast<int>(static_cast<long long>(tiles) * block / blocks);
}
/* The block whose range holds tile `tile`. */
static __host__ __device__ __forceinline__ int range_owner(int tile, int tiles, int blocks) {
  return static_cast<int>((static_cast<long long>(tile + 1) * blocks - 1) / tiles);
}

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

/* Softmax state of the warp over its keys of one unit: rows g and g + 8 of the fragments. */
template <int D>
struct Accumulator {
  uint32_t q[D / 16][4];
  float o[D / 8][4];
  float m[2], l[2];
};

template <int D, int ROWS>
static __device__ __forceinline__ void begin_unit(const AttentionArguments &a, Accumulator<D> &s, const Place &p, int lane) {
  const int group = a.heads / a.kv_heads, g = lane >> 2, t = lane & 3;
  const bf16 *row = a.q + static_cast<long long>(p.row) * a.q_stride + (p.group * group) * D + 2 * t;
#pragma unroll
  for (int k = 0; k < D / 16; k++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int head = g + 8 * (i & 1);
      const bool valid = head < group && (ROWS == 16 || !(i & 1));
      s.q[k][i] = valid ? *reinterpret_cast<const uint32_t *>(row + head * D + k * 16 + 8 * (i >> 1)) : 0;
    }
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) s.o[n][i] = 0;
  s.m[0] = s.m[1] = -INFINITY;
  s.l[0] = s.l[1] = 0;
}

/* 16 keys of which the first `valid` (at least one) count. */
template <int D, int ROWS>
static __device__ __forceinline__ void accumulate(Accumulator<D> &s, uint32_t stage, int valid, float scale_log2, int lane) {
  constexpr int units = D / 8;
  const int t = lane & 3;
  float score[2][4] = {};
#pragma unroll
  for (int k = 0; k < D / 16; k++) {
    uint32_t b[4];
    load_matrices(b, stage + swizzled((lane >> 4) * 8 + (lane & 7), k * 2 + ((lane >> 3) & 1), units));
    multiply_add(score[0], s.q[k], b[0], b[1]);
    multiply_add(score[1], s.q[k], b[2], b[3]);
  }
  if (valid < kRunKeys) {
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (n * 8 + 2 * t + (i & 1) >= valid) score[n][i] = -INFINITY;
  }
  float shrink[2] = {1, 1};
#pragma unroll
  for (int half = 0; half < ROWS / 8; half++) {
    float *x = &score[0][2 * half], *y = &score[1][2 * half];
    const float top = quad_max(fmaxf(fmaxf(x[0], x[1]), fmaxf(y[0], y[1]))) * scale_log2;
    const float m = fmaxf(s.m[half], top);
    shrink[half] = exp2_fast(s.m[half] - m);
    x[0] = exp2_fast(x[0] * scale_log2 - m);
    x[1] = exp2_fast(x[1] * scale_log2 - m);
    y[0] = exp2_fast(y[0] * scale_log2 - m);
    y[1] = exp2_fast(y[1] * scale_log2 - m);
    s.m[half] = m;
    s.l[half] = s.l[half] * shrink[half] + ((x[0] + x[1]) + (y[0] + y[1]));
  }
  if (__any_sync(0xffffffffu, shrink[0] != 1 || shrink[1] != 1)) {
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int i = 0; i < 2 * (ROWS / 8); i++) s.o[n][i] *= shrink[i >> 1];
  }
  const uint32_t p[4] = {pack2(score[0][0], score[0][1]), ROWS == 16 ? pack2(score[0][2], score[0][3]) : 0,
                         pack2(score[1][0], score[1][1]), ROWS == 16 ? pack2(score[1][2], score[1][3]) : 0};
#pragma unroll
  for (int n = 0; n < D / 16; n++) {
    uint32_t b[4];
    load_matrices_transposed(b, stage + kRunKeys * D * 2 + swizzled(lane & 15, n * 2 + (lane >> 4), units));
    multiply_add(s.o[2 * n], p, b[0], b[1]);
    multiply_add(s.o[2 * n + 1], p, b[2], b[3]);
  }
}

/* Shared memory behind the rings: what the four warps hand each other at the end of a unit. */
template <int D>
struct Handover {
  static constexpr int stride = D + 4;
  float *o; /* [warp][group][stride] */
  float *m; /* [warp][group] */
  float *l;
  __device__ __forceinline__ Handover(unsigned char *shared, int group)
      : o(reinterpret_cast<float *>(shared)), m(o + kWarps * group * stride), l(m + kWarps * group) {}
  static size_t bytes(int group) { return sizeof(float) * kWarps * group * (stride + 2); }
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
static __device__ __forceinline__ void end_unit(const AttentionArguments &a, Accumulator<D> &s, const Handover<D> &hand, const Place &p,
                                                bool whole, float *partial) {
  const int group = a.heads / a.kv_heads, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int half = 0; half < ROWS / 8; half++) {
    const int head = g + 8 * half, at = warp * group + head;
    const float l = quad_sum(s.l[half]);
    if (head < group) {
#pragma unroll
      for (int n = 0; n < D / 8; n++)
        *reinterpret_cast<float2 *>(hand.o + at * Handover<D>::stride + n * 8 + 2 * t) = make_float2(s.o[n][2 * half], s.o[n][2 * half + 1]);
      if (t == 0) {
        hand.m[at] = s.m[half];
        hand.l[at] = l;
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * (D / 4); i += kWarps * 32) {
    const int head = i / (D / 4), d = (i % (D / 4)) * 4;
    float m = -INFINITY, l = 0;
    for (int w = 0; w < kWarps; w++) m = fmaxf(m, hand.m[w * group + head]);
    float4 o = make_float4(0, 0, 0, 0);
    for (int w = 0; w < kWarps; w++) {
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

/* The last of the blocks first .. last to bring a partial of the unit adds them up, in their order. */
template <int D>
static __device__ __forceinline__ void merge_unit(const AttentionArguments &a, const Place &p, int first, int last) {
  __shared__ bool mine;
  if (threadIdx.x == 0) {
    mine = atomicAdd(&arrivals[first], 1u) == static_cast<unsigned>(last - first);
    if (mine) arrivals[first] = 0;
    __threadfence();
  }
  __syncthreads();
  if (!mine) return;
  const int group = a.heads / a.kv_heads;
  for (int i = threadIdx.x; i < group * (D / 4); i += kWarps * 32) {
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

/* The block's range of the flat list, and where it starts. Called by all threads. */
struct Share {
  int blocks, tiles, start, end;
};
static __device__ __forceinline__ Share find_share(const AttentionArguments &a, Place &place) {
  __shared__ int warp_tiles[kWarps], found[4];
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int each = (a.rows + kWarps * 32 - 1) / (kWarps * 32), from = thread * each, to = min(from + each, a.rows);
  int own = 0;
  for (int row = from; row < to; row++) own += tile_count(a.kv_length[row]);
  int before = own; /* inclusive sums of the warp, then exclusive of the block */
#pragma unroll
  for (int offset = 1; offset < 32; offset <<= 1) {
    const int other = __shfl_up_sync(0xffffffffu, before, offset);
    if (lane >= offset) before += other;
  }
  if (lane == 31) warp_tiles[warp] = before;
  __syncthreads();
  int total = 0;
  before -= own;
  for (int w = 0; w < kWarps; w++) {
    if (w < warp) before += warp_tiles[w];
    total += warp_tiles[w];
  }
  Share share;
  share.tiles = total * a.kv_heads;
  share.blocks = min(static_cast<int>(gridDim.x), share.tiles);
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

template <int D, int ROWS, int STAGES>
static __global__ void __launch_bounds__(kWarps * 32, 2) attention_decode_kernel(const __grid_constant__ AttentionArguments a) {
  DYNAMIC_SHARED(shared);
  constexpr int stage_bytes = 2 * kRunKeys * D * 2;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const uint32_t ring = shared_address(shared) + warp * STAGES * stage_bytes;
  const Handover<D> hand(shared + kWarps * STAGES * stage_bytes, a.heads / a.kv_heads);
  griddep_wait();
  griddep_launch();

  Place place;
  const Share share = find_share(a, place);
  if (blockIdx.x >= share.blocks) return;
  const int count = share.end - share.start;

  Loader<D> loader;
  loader.start(a, place, warp);
#pragma unroll
  for (int i = 0; i < STAGES; i++) {
    if (i < count) loader.issue(a, ring + i * stage_bytes, warp, lane);
    copy_commit();
    if (i + 1 < count) loader.next(a, warp);
  }

  Accumulator<D> state;
  begin_unit<D, ROWS>(a, state, place, lane);
  int stage = 0;
  for (int i = 0; i < count; i++) {
    copy_wait<STAGES - 1>();
    __syncwarp();
    const uint32_t at = ring + stage * stage_bytes;
    const int valid = place.length - place.tile * kTileKeys - warp * kRunKeys;
    if (valid > 0) accumulate<D, ROWS>(state, at, valid, a.scale_log2, lane);
    __syncwarp();
    if (i + STAGES < count) loader.issue(a, at, warp, lane);
    copy_commit();
    if (i + STAGES + 1 < count) loader.next(a, warp);
    stage = stage + 1 == STAGES ? 0 : stage + 1;

    if (place.tile + 1 == place.tiles || i + 1 == count) {
      const int unit = share.start + i - place.tile;
      const int first = range_owner(unit, share.tiles, share.blocks), last = range_owner(unit + place.tiles - 1, share.tiles, share.blocks);
      const bool whole = first == last;
      end_unit<D, ROWS>(a, state, hand, place, whole, a.partials + static_cast<long long>(2 * blockIdx.x + (first == blockIdx.x)) * partial_floats<D>());
      if (!whole) merge_unit<D>(a, place, first, last);
      if (i + 1 == count) break;
      advance(a, place);
      begin_unit<D, ROWS>(a, state, place, lane);
    } else {
      place.tile++;
    }
  }
}

static int blocks_of(const kn_device *device, size_t shared_bytes) {
  const size_t reserved = 1024 + 128; /* of the system, and the static part */
  const int each = 2 * (shared_bytes + reserved) <= device->properties.sharedMemPerMultiprocessor ? 2 : 1;
  return device->multiprocessors * each < kPartsMax ? device->multiprocessors * each : kPartsMax;
}

template <int D, int ROWS, int STAGES>
static int32_t launch_decode(kn_device *device, const AttentionArguments &a) {
  const size_t bytes = kWarps * STAGES * 2 * kRunKeys * D * 2 + Handover<D>::bytes(a.heads / a.kv_heads);
  KN_TRY(prefer_shared(device, "kn_attention (decode)", attention_decode_kernel<D, ROWS, STAGES>));
  return launch(device, "kn_attention (decode)", attention_decode_kernel<D, ROWS, STAGES>, dim3(blocks_of(device, bytes)), dim3(kWarps * 32),
                bytes, a);
}

int32_t attention_decode(kn_device *device, AttentionArguments arguments, int head_dim) {
  const bool tall = arguments.heads / arguments.kv_heads > 8;
  if (head_dim == 64) return tall ? launch_decode<64, 16, 4>(device, arguments) : launch_decode<64, 8, 4>(device, arguments);
  if (tall) return launch_decode<128, 16, 2>(device, arguments);
  /* Three stages fill half an SM of compute capability 9.0 to the byte; the others have less. */
  return device->capability >= 90 ? launch_decode<128, 8, 3>(device, arguments) : launch_decode<128, 8, 2>(device, arguments);
}

double attention_decode_workspace(const kn_device *device, int head_dim) {
  const double blocks = device->multiprocessors * 2 < kPartsMax ? device->multiprocessors * 2 : kPartsMax;
  return blocks * 2 * sizeof(float) * (head_dim == 64 ? partial_floats<64>() : partial_floats<128>());
}
