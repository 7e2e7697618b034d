/* Prefill attention on compute capability 9.0: what attention_prefill.cu computes, with the matrix products of a warpgroup (wgmma).
 *
 * Flops and bytes as there. Bound by the tensor cores; per SM and 128 x 128 tile of scores the products take 2,048 clocks, the
 * exponentials 1,024 and the 64 KB of keys and values some 1,700 of the L2's share, so all three must run side by side:
 *  - one block an SM stays for the whole launch and takes tiles of 128 packed query rows (attention_tile.cuh) until none is left,
 *    the first by its place, the others by a counter: tiles differ in length, and the next one's start hides behind this one's end;
 *  - warp 0 finds tiles and has the copy engine bring keys and values, in tiles of 128 at absolute positions, into two rings of two;
 *    warps 1 to 3 bring queries, one tile ahead; two warpgroups of 128 threads compute 64 rows each;
 *  - a warpgroup starts the scores of key tile n + 1 with the values of tile n, and works on the probabilities of n + 1 while the
 *    latter runs; the warpgroups take turns in starting products, so one's exponentials run under the other's products.
 *
 * Barriers: filled (keys or values have come), emptied (every warp's products have read them), asked (a tile is found), queries (its rows are
 * in shared memory), done (its results are written, its queries' room is free). A ring's stage is in phase (use / 2) & 1.
 * What lies in the cache from a row's length on may be anything: scores there are masked, values are overwritten by zeros.
 * Source: FlashAttention-3 (arXiv 2407.08608). */
#include "attention_wgmma.cuh"
#include "tensor_map.cuh"

#ifdef KN_HOPPER

/* ---- the consumers: two warpgroups ----------------------------------------------------------------------------------- */

/* What a thread holds of its warp's 16 rows: index [half: g, g + 8]. */
template <int D>
struct Rows {
  float o[D / 2];
  uint32_t p[kKeys / 16][4]; /* probabilities of a key tile, rounded */
  float m[2], l[2];          /* l: of this thread's keys only */
  int last[2];               /* the last key that the row sees, less this thread's first column */
};

/* s [64, 128] = q k^T, started and committed. */
template <int D>
static __device__ __forceinline__ void start_scores(float (&s)[kKeys / 2], uint64_t q, uint64_t k) {
  products_begin();
#pragma unroll
  for (int i = 0; i < D / 16; i++) {
    const int bytes = i / 4 * Shared<D>::plane_bytes + i % 4 * 32;
    if (i == 0)
      multiply_shared<false>(s, operand_at(q, bytes), operand_at(k, bytes));
    else
      multiply_shared<true>(s, operand_at(q, bytes), operand_at(k, bytes));
  }
  products_commit();
}

/* o [64, D] += p [64, 128] v, started and committed. */
template <int D>
static __device__ __forceinline__ void start_values(Rows<D> &r, uint64_t v) {
  products_begin();
#pragma unroll
  for (int k = 0; k < kKeys / 16; k++) multiply_registers(r.o, r.p[k], operand_at(v, k * 16 * kPlaneRowBytes));
  products_commit();
}

/* Takes out what lies after a row's own position. */
template <int D>
static __device__ __forceinline__ void mask(const Rows<D> &r, float (&s)[kKeys / 2], int first_key) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int last = r.last[half] - first_key;
#pragma unroll
    for (int n = 0; n < kKeys / 8; n++)
#pragma unroll
      for (int j = 0; j < 2; j++)
        if (n * 8 + j > last) s[n * 4 + half * 2 + j] = -INFINITY;
  }
}

/* Turns scores into probabilities relative to the rows' new maxima; shrink: by what older sums shrink. */
template <int D>
static __device__ __forceinline__ void softmax(Rows<D> &r, float (&s)[kKeys / 2], float (&shrink)[2], float scale_log2) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float top[2] = {s[half * 2], s[half * 2 + 1]};
#pragma unroll
    for (int n = 1; n < kKeys / 8; n++)
#pragma unroll
      for (int j = 0; j < 2; j++) top[j] = fmaxf(top[j], s[n * 4 + half * 2 + j]);
    const float m = fmaxf(r.m[half], quad_max(fmaxf(top[0], top[1])) * scale_log2);
    const float base = m == -INFINITY ? 0 : m;
    shrink[half] = exp2_fast(r.m[half] - base);
    r.m[half] = m;
    float sum[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < kKeys / 8; n++)
#pragma unroll
      for (int j = 0; j < 2; j++) {
        float &x = s[n * 4 + half * 2 + j];
        x = exp2_fast(fmaf(x, scale_log2, -base));
        sum[j] += x;
      }
    r.l[half] = fmaf(r.l[half], shrink[half], sum[0] + sum[1]);
  }
}

template <int D>
static __device__ __forceinline__ void round_probabilities(Rows<D> &r, const float (&s)[kKeys / 2]) {
#pragma unroll
  for (int k = 0; k < kKeys / 16; k++)
#pragma unroll
    for (int i = 0; i < 4; i++) r.p[k][i] = pack2(s[k * 8 + i * 2], s[k * 8 + i * 2 + 1]);
}

/* Where a consumer stands. */
template <int D>
struct Place {
  Shared<D> &shared;
  int group, lane; /* warpgroup 0 or 1 */
  uint64_t q;
  int use;         /* key tiles of earlier work */
  bool turns;      /* both warpgroups have rows, and take turns */

  __device__ __forceinline__ uint64_t keys(int n) const { return operand_along_k(shared_address(shared.keys[(use + n) % kStages])); }
  __device__ __forceinline__ uint64_t values(int n) const {
    return operand_along_n(shared_address(shared.values[(use + n) % kStages]), Shared<D>::plane_bytes);
  }
  __device__ __forceinline__ void await_keys(int n) const { await(shared.keys_filled, n); }
  __device__ __forceinline__ void await_values(int n) const { await(shared.values_filled, n); }
  __device__ __forceinline__ void leave_keys(int n) const { leave(shared.keys_emptied, n); }
  __device__ __forceinline__ void leave_values(int n) const { leave(shared.values_emptied, n); }

 private:
  __device__ __forceinline__ void await(const uint64_t (&filled)[kStages], int n) const {
    barrier_wait_opaque(shared_address(&filled[(use + n) % kStages]), ((use + n) / kStages) & 1);
  }
  __device__ __forceinline__ void leave(const uint64_t (&emptied)[kStages], int n) const {
    if (lane == 0) barrier_arrive(shared_address(&emptied[(use + n) % kStages]));
  }
};

/* Scores and probabilities of key tile n while the values of tile n - 1 are added. */
template <int D, bool masked>
static __device__ __forceinline__ void step(const Place<D> &at, Rows<D> &r, int n, float scale_log2) {
  float s[kKeys / 2], shrink[2];
  at.await_keys(n);
  if (at.turns) named_wait(kTurnBarrier + at.group, kConsumerThreads);
  start_scores<D>(s, at.q, at.keys(n));
  at.await_values(n - 1);
  start_values<D>(r, at.values(n - 1));
  if (at.turns) named_arrive(kTurnBarrier + 1 - at.group, kConsumerThreads);
  products_wait<1>();
  settled(s);
  at.leave_keys(n);
  if constexpr (masked) mask<D>(r, s, n * kKeys);
  softmax<D>(r, s, shrink, scale_log2);
  /* These two keep the exponentials here: the assembler moves them behind the next wait, where no product runs beside them, unless a
   * branch stands between. The values have come already, so this branch is never taken. */
  settled(s);
  at.await_values(n - 1);
  products_wait<0>();
  settled(r.o);
  at.leave_values(n - 1);
  round_probabilities<D>(r, s);
#pragma unroll
  for (int i = 0; i < D / 2; i++) r.o[i] *= shrink[(i >> 1) & 1];
}

/* Zeros over the values from row `first` of the tile on: 0 * NaN would be NaN. Each warpgroup does it for itself (both write the same). */
template <int D>
static __device__ __forceinline__ void clear_values(unsigned char *values, int first, int thread, int group) {
  constexpr int units = Shared<D>::planes * 8;
  for (int i = first * units + thread; i < kKeys * units; i += kGroupThreads) {
    const int row = i / units, unit = i % units;
    *reinterpret_cast<uint4 *>(values + unit / 8 * Shared<D>::plane_bytes + row * kPlaneRowBytes + unit % 8 * 16) = make_uint4(0, 0, 0, 0);
  }
  publish_to_async();
  named_wait(kGroupBarrier + group, kGroupThreads);
}

/* Normalises and writes the warp's 16 rows, through the room of its queries. packed: the warp's first row. */
template <int D>
static __device__ __forceinline__ void store_rows(const WgmmaArguments &w, const Work &work, const Rows<D> &r, unsigned char *queries, int row_in_tile,
                                                  int lane) {
  constexpr int units = D / 8;
  const AttentionArguments &a = w.a;
  const int g = lane >> 2, t = lane & 3, group = a.heads / a.kv_heads, end = work.tile.count * group;
  const auto room = [&](int row, int unit) {
    return queries + unit / 8 * Shared<D>::plane_bytes + swizzled(row_in_tile + row, unit % 8, 8);
  };
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float l = quad_sum(r.l[half]), inverse = l > 0 ? 1 / l : 0;
#pragma unroll
    for (int n = 0; n < units; n++)
      *reinterpret_cast<uint32_t *>(room(half * 8 + g, n) + t * 4) =
          pack2(r.o[n * 4 + half * 2] * inverse, r.o[n * 4 + half * 2 + 1] * inverse);
  }
  __syncwarp();
#pragma unroll 4
  for (int i = lane; i < 16 * units; i += 32) {
    const int row = i / units, unit = i % units, packed = work.tile.first_packed + row_in_tile + row;
    if (packed >= end) continue;
    const int query = query_of(packed, group, w.group_inverse);
    bf16 *out = a.out + (static_cast<long long>(work.tile.token + query) * a.heads + work.kv_head * group + packed - query * group) * D + unit * 8;
    *reinterpret_cast<uint4 *>(out) = *reinterpret_cast<const uint4 *>(room(row, unit));
  }
  __syncwarp();
}

template <int D>
static __device__ __forceinline__ void consume(const WgmmaArguments &w, Shared<D> &shared, int group, int thread) {
  const int lane = thread & 31, warp = thread >> 5, heads_a_group = w.a.heads / w.a.kv_heads;
  griddep_wait();
  if (group == 1) named_arrive(kTurnBarrier, kConsumerThreads); /* warpgroup 0 has the first turn */
  int use = 0;
  for (int i = 0;; i++) {
    const int slot = i % kSlots;
    barrier_wait_opaque(shared_address(&shared.queries_filled[slot]), (i / kSlots) & 1);
    const Work &work = shared.work[slot];
    const int key_tiles = work.key_tiles;
    if (key_tiles == 0) return;
    const int first_packed = work.tile.first_packed + group * 64, end = work.tile.count * heads_a_group, length = work.tile.length;
    Place<D> at{shared, group, lane, operand_along_k(shared_address(shared.queries[slot]) + group * 64 * kPlaneRowBytes), use,
                work.tile.first_packed + 64 < end};
    if (first_packed >= end) { /* no rows for this warpgroup: it only keeps the rings going */
      for (int n = 0; n < key_tiles; n++) {
        at.await_keys(n);
        at.leave_keys(n);
        at.await_values(n);
        at.leave_values(n);
      }
    } else {
      const auto sees = [&](int packed) {
        return length - work.tile.count + min(query_of(packed, heads_a_group, w.group_inverse), work.tile.count - 1);
      };
      Rows<D> r;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        r.m[half] = -INFINITY;
        r.l[half] = 0;
        r.last[half] = sees(first_packed + warp * 16 + half * 8 + (lane >> 2)) - 2 * (lane & 3);
      }
#pragma unroll
      for (int j = 0; j < D / 2; j++) r.o[j] = 0;
      const int unmasked = (sees(first_packed) + 1) / kKeys; /* key tiles that every row sees whole */

      {
        float s[kKeys / 2], shrink[2];
        at.await_keys(0);
        start_scores<D>(s, at.q, at.keys(0));
        products_wait<0>();
        settled(s);
        at.leave_keys(0);
        if (unmasked < 1) mask<D>(r, s, 0);
        softmax<D>(r, s, shrink, w.a.scale_log2);
        round_probabilities<D>(r, s);
      }
      int n = 1;
      for (; n < min(unmasked, key_tiles); n++) step<D, false>(at, r, n, w.a.scale_log2);
      for (; n < key_tiles; n++) step<D, true>(at, r, n, w.a.scale_log2);
      at.await_values(key_tiles - 1);
      const int filled = length - (key_tiles - 1) * kKeys;
      if (filled < kKeys) clear_values<D>(shared.values[(use + key_tiles - 1) % kStages], max(filled, 0), thread, group);
      start_values<D>(r, at.values(key_tiles - 1));
      products_wait<0>();
      settled(r.o);
      at.leave_values(key_tiles - 1);
      named_wait(kGroupBarrier + group, kGroupThreads); /* every warp's products have read the queries */
      store_rows<D>(w, work, r, shared.queries[slot], group * 64 + warp * 16, lane);
    }
    use += key_tiles;
    __syncwarp();
    barrier_arrive(shared_address(&shared.done[slot]));
  }
}
#endif

template <int D>
static __global__ void __launch_bounds__(kThreads, 1) attention_wgmma_kernel(const __grid_constant__ WgmmaArguments w, const __grid_constant__ CUtensorMap map) {
#ifdef KN_HOPPER
  DYNAMIC_SHARED(room);
  const uint32_t skip = (1024 - (shared_address(room) & 1023)) & 1023;
  Shared<D> &shared = *reinterpret_cast<Shared<D> *>(room + skip);
  if (threadIdx.x == 0) {
    prefetch_map(&map);
    for (int i = 0; i < kStages; i++) {
      barrier_init(shared_address(&shared.keys_filled[i]), 1);
      barrier_init(shared_address(&shared.values_filled[i]), 1);
      barrier_init(shared_address(&shared.keys_emptied[i]), kConsumerWarps);
      barrier_init(shared_address(&shared.values_emptied[i]), kConsumerWarps);
    }
    for (int i = 0; i < kSlots; i++) {
      barrier_init(shared_address(&shared.asked[i]), 1);
      barrier_init(shared_address(&shared.queries_filled[i]), kQueryThreads);
      barrier_init(shared_address(&shared.done[i]), kConsumerThreads + kQueryThreads); /* everyone who read the work */
    }
    barrier_init_fence();
    publish_all_to_async();
  }
  __syncthreads();
  const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / kGroupThreads, 0);
  if (warpgroup == 0) {
    fewer_registers<kProducerRegisters>();
    if (threadIdx.x < 32)
      produce_keys<D>(w, &map, shared, threadIdx.x);
    else
      produce_queries<D>(w, shared, threadIdx.x - 32);
  } else {
    more_registers<kConsumerRegisters>();
    consume<D>(w, shared, warpgroup - 1, threadIdx.x % kGroupThreads);
  }
#endif
}

/* ---- host ------------------------------------------------------------------------------------------------------------ */

int32_t attention_wgmma_create(kn_device *device) {
  if (device->tensorMapEncoder == nullptr) return KN_OK;
  KN_CUDA(device, cudaMalloc(&device->attentionTickets, 2 * sizeof(int)));
  KN_CUDA(device, cudaMemsetAsync(device->attentionTickets, 0, 2 * sizeof(int), device->stream));
  return KN_OK;
}

void attention_wgmma_destroy(kn_device *device) {
  if (device->attentionTickets != nullptr) cudaFree(device->attentionTickets);
}

/* The cache as [block][k or v of a KV head][key in the block][D], in boxes of box_keys keys and 64 columns. */
static int32_t map_cache(kn_device *device, const AttentionArguments &a, int head_dim, int box_keys, CUtensorMap &map) {
  const kn_addr address = reinterpret_cast<kn_addr>(a.kv);
  double blocks = 1 << 20; /* of memory that is not ours we do not know; a table never leads beyond its cache */
  auto buffer = device->buffers.upper_bound(address);
  if (buffer != device->buffers.begin()) {
    --buffer;
    const double bytes = buffer->second - static_cast<double>(address - buffer->first);
    if (bytes > 0) blocks = bytes / static_cast<double>(a.block_stride) + 1;
  }
  const cuuint64_t key_bytes = static_cast<cuuint64_t>(head_dim) * sizeof(bf16);
  const cuuint64_t extents[4] = {static_cast<cuuint64_t>(head_dim), 1ull << a.block_shift, 2ull * a.kv_heads, static_cast<cuuint64_t>(blocks)};
  const cuuint64_t strides[3] = {key_bytes, key_bytes << a.block_shift, static_cast<cuuint64_t>(a.block_stride)};
  const cuuint32_t box[4] = {kPlaneColumns, static_cast<cuuint32_t>(box_keys), 1, 1};
  const CUresult code = tensor_map_encode(device, &map, pointer<void>(address), 4, extents, strides, box);
  if (code == CUDA_SUCCESS) return KN_OK;
  return fail(device, KN_INTERNAL, "kn_attention: the driver refused a tensor map of %.0f blocks of %lld bytes (CUresult %d); option \"wgmma\":false does without",
              blocks, a.block_stride, static_cast<int>(code));
}

template <int D>
static int32_t launch_wgmma(kn_device *device, const AttentionArguments &a, int tokens) {
  WgmmaArguments w{};
  const int group = a.heads / a.kv_heads;
  w.a = a;
  w.tickets = device->attentionTickets;
  w.box_keys = min(1 << a.block_shift, kKeys);
  w.group_inverse = group == 1 ? 0 : static_cast<unsigned>(((1ull << 32) + group - 1) / group);
  CUtensorMap map{};
  KN_TRY(map_cache(device, a, D, w.box_keys, map));
  const long long tiles = static_cast<long long>(tokens) * group / kTileRows + (a.rows - a.first_row);
  const dim3 grid(static_cast<unsigned>(min(tiles * a.kv_heads, static_cast<long long>(device->multiprocessors))));
  return launch(device, "kn_attention (wgmma)", attention_wgmma_kernel<D>, grid, dim3(kThreads), sizeof(Shared<D>) + 1024, w, map);
}

int32_t attention_wgmma(kn_device *device, AttentionArguments arguments, int head_dim, int tokens) {
  return head_dim == 64 ? launch_wgmma<64>(device, arguments, tokens) : launch_wgmma<128>(device, arguments, tokens);
}
