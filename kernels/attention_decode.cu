/* Decode attention: out[r, h] = softmax(q[r, h] K_r^T * scale) V_r for rows of one query each.
 *
 * Bytes: the cache once, rows * length * G * D * 4. Flops: 4 * H * D per key, 1 to 16 per byte: memory bound at every group size,
 * because the tensor cores do the products (the query heads of a KV head are the 16 rows of an mma; CUDA cores would stall from 4 up).
 *
 * Balance (as stream-K): all key tiles of all (row, KV head) units lie in one flat list; block c of C takes tiles W*c/C .. W*(c+1)/C
 * of it, whatever the lengths are, so a frozen grid suits every replay. The list is never stored: each block sums kv_length and finds its
 * start. A unit that crosses blocks leaves f32 partials (O, m, l); the block that comes last merges them. Where units are few and about
 * as long as each other, each is one block's instead, and nothing is merged.
 *
 * A block has 4 warps; warp w takes keys 16w..16w+15 of each tile, with its own softmax state and its own cp.async ring, so warps
 * meet only at the end of a unit. The ring runs on across units. Loads are issued STAGES tiles ahead, the first of them while the
 * kernel that writes this step's keys still runs: only a row's newest key is not there yet.
 * Sources: FlashAttention-2 (arXiv 2307.08691), Flash-Decoding (split KV), Stream-K (arXiv 2301.03598). */
#include "attention_list.cuh"
#include "attention_merge.cuh"

static __device__ Arrivals arrivals; /* one set: the launches of a process on one GPU follow each other on one stream */

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

template <int D, int ROWS, int STAGES>
static __global__ void __launch_bounds__(kDecodeWarps * 32, 2) attention_decode_kernel(const __grid_constant__ AttentionArguments a) {
  DYNAMIC_SHARED(shared);
  constexpr int stage_bytes = 2 * kRunKeys * D * 2;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const uint32_t ring = shared_address(shared) + warp * STAGES * stage_bytes;
  const Handover<D> hand(shared + kDecodeWarps * STAGES * stage_bytes, a.heads / a.kv_heads);

  /* Before the wait: only what kn_step_prepare, an upload or an earlier step wrote (device.cuh). */
  Place place;
  const Share share = find_share(a, place);
  const bool idle = blockIdx.x >= share.blocks;
  Loader<D> loader;
  const int count = idle ? 0 : share.end - share.start;
  int early = 0; /* tiles asked for already: older steps wrote them, and their kernels have ended */
  if (!idle) loader.start(a, place, warp);
#pragma unroll
  for (int i = 0; i < STAGES; i++) {
    if (early < i || i >= count || loader.holds_newest(warp)) continue;
    loader.issue(a, ring + i * stage_bytes, warp, lane);
    copy_commit();
    if (i + 1 < count) loader.next(a, warp);
    early++;
  }
  griddep_wait();
  griddep_launch();
  if (idle) return;
#pragma unroll
  for (int i = 0; i < STAGES; i++) {
    if (i < early) continue;
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
      const bool whole = share.whole || first == last;
      float *partial = a.partials + static_cast<long long>(2 * blockIdx.x + (first == static_cast<int>(blockIdx.x))) * partial_floats<D>();
      end_unit<D, ROWS>(a, state.o, state.m, state.l, hand, place, whole, partial);
      if (!whole && arrives_last(arrivals, first, last)) merge_unit<D>(a, place, first, last);
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
  return device->multiprocessors * each < kRangesMax ? device->multiprocessors * each : kRangesMax;
}

template <int D, int ROWS, int STAGES>
static int32_t launch_decode(kn_device *device, const AttentionArguments &a) {
  const size_t bytes = kDecodeWarps * STAGES * 2 * kRunKeys * D * 2 + Handover<D>::bytes(a.heads / a.kv_heads);
  const dim3 grid(blocks_of(device, bytes)), block(kDecodeWarps * 32);
  return launch(device, "kn_attention (decode)", attention_decode_kernel<D, ROWS, STAGES>, grid, block, bytes, a);
}

int32_t attention_decode(kn_device *device, AttentionArguments arguments, int head_dim) {
  const bool tall = arguments.heads / arguments.kv_heads > 8;
  if (head_dim == 64) return tall ? launch_decode<64, 16, 4>(device, arguments) : launch_decode<64, 8, 4>(device, arguments);
  if (tall) return launch_decode<128, 16, 2>(device, arguments);
  /* Three stages fill half an SM of compute capability 9.0 to the byte; the others have less. */
  return device->capability >= 90 ? launch_decode<128, 8, 3>(device, arguments) : launch_decode<128, 8, 2>(device, arguments);
}

double attention_decode_workspace(const kn_device *device, int head_dim) {
  const double blocks = device->multiprocessors * 2 < kRangesMax ? device->multiprocessors * 2 : kRangesMax;
  return blocks * 2 * sizeof(float) * (head_dim == 64 ? partial_floats<64>() : partial_floats<128>());
}
