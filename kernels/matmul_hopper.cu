/* matmul_hopper.cu - out [M, N] = in [M, K] * weight[N, K]^T (+ bias) with the instructions of compute capability 9.0a; or, for a weight
 * [gate rows; up rows] of [2 N, K], out [M, N] = silu(in * gate^T) * (in * up^T), which saves 4 M N written and read again.
 * Flops 2 M N K (4 M N K with gate and up); bound by the tensor cores from some 300 tokens on, below by the bandwidth of the weights.
 *
 * A block stays on its multiprocessor and takes 128 x WIDTH tiles in turn. One thread asks the copy engine for slices of 64 columns of
 * both matrices, into a ring of STAGES buffers; two groups of four warps multiply them, 64 rows each, with the sums in registers (at
 * most 128 a thread), and write them out from there while the next tile's slices arrive:
 *
 *    full[s]:  copies of slice s have landed      producer expects its bytes, the copy engine counts them
 *    empty[s]: every warp has multiplied slice s  8 warps arrive, of both blocks of a cluster
 *
 * A cluster of two blocks takes tiles one above the other, which share their weights: each block asks for half of these, for both.
 * Gate and up: the first half of a tile's weight rows are gate rows, the second the up rows of the same columns; then the two sums that
 * meet in an output lie in one thread, WIDTH / 4 registers apart. They are rounded to bf16 first, as the single operations round them.
 *
 * Tiles are walked down the rows first, in groups of 2,048 rows, so that what runs at one time shares weights and a piece of `in` that
 * stays in L2. Weights are asked for before the wait of a dependent launch (device.cuh), activations behind it. */
#include "hopper.cuh"
#include "matmul.cuh"
#include "tensor_map.cuh"

static constexpr int ROWS = 128, SLICE = 64, SLICE_BYTES = SLICE * 2; /* a slice of a row: one span of the 128-byte swizzle */
static constexpr int THREADS = 384;                                  /* the producer's four warps, then twice four that multiply */
static constexpr int GROUP_ROWS = 2048;
static constexpr int BARRIER_BYTES = 256, ALIGNMENT = 1024;
static constexpr int SHARED_MOST = 227 * 1024;

template <int WIDTH>
struct Tile {
  static constexpr int IN_BYTES = ROWS * SLICE_BYTES, HALF_BYTES = WIDTH / 2 * SLICE_BYTES, STAGE_BYTES = IN_BYTES + 2 * HALF_BYTES;
  static constexpr int FIT = (SHARED_MOST - BARRIER_BYTES - ALIGNMENT) / STAGE_BYTES, STAGES = FIT < 8 ? FIT : 8;
  static constexpr int SHARED_BYTES = STAGES * STAGE_BYTES + BARRIER_BYTES + ALIGNMENT;
  static_assert(STAGES >= 3 && STAGES * 16 <= BARRIER_BYTES && HALF_BYTES % 1024 == 0, "a ring of swizzled tiles");
};

enum HopperOutput { OUT_BF16, OUT_F32, OUT_SILU };

struct HopperArguments {
  CUtensorMap in, weight; /* boxes of 64 rows of in, WIDTH / 2 rows of weight; 64 columns */
  void *out;
  const bf16 *bias;
  int m, n, k; /* n: columns of out */
  int output;  /* HopperOutput */
};

/* Which tile is the t-th of a cluster: its row of tiles (of CLUSTER * 128 rows) and its column of tiles. */
struct TileWalk {
  int rows, columns, groupRows;
  __host__ __device__ TileWalk(int m, int n, int tileRows, int tileColumns)
      : rows((m + tileRows - 1) / tileRows), columns((n + tileColumns - 1) / tileColumns), groupRows(GROUP_ROWS / tileRows) {}
  __host__ __device__ int count() const { return rows * columns; }
  __host__ __device__ void at(int t, int &row, int &column) const {
    const int group = t / (groupRows * columns), rest = t - group * groupRows * columns, first = group * groupRows;
    const int height = rows - first < groupRows ? rows - first : groupRows;
    column = rest / height;
    row = first + rest - column * height;
  }
};

#ifdef KN_HOPPER

static constexpr int PRODUCER_REGISTERS = 40, PRODUCT_REGISTERS = 232; /* 128 * 40 + 256 * 232 = 384 * 168, what the launch gives */

/* word[i] of lane t of four becomes word[t] of lane i. */
static __device__ __forceinline__ void transpose_quad(uint32_t (&word)[4], int lane) {
  const bool odd = lane & 1, high = lane & 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? word[i] : word[i + 1], 1);
    (odd ? word[i] : word[i + 1]) = got;
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const uint32_t got = __shfl_xor_sync(0xffffffffu, high ? word[i] : word[i + 2], 2);
    (high ? word[i] : word[i + 2]) = got;
  }
}

static __device__ __forceinline__ void store16(bf16 *out, int row, int column, int m, int n, const uint32_t (&word)[4]) {
  if (row < m && column < n)
    *reinterpret_cast<uint4 *>(out + static_cast<long long>(row) * n + column) = make_uint4(word[0], word[1], word[2], word[3]);
}

/* Writes GROUPS groups of 8 columns of rows `row` and `row` + 8. word(j, half): the lane's pair of group j, of the lower row if half. The
 * four lanes of a row exchange pairs, so that each stores 16 bytes: whole sectors of 32 bytes. */
template <int GROUPS, typename Word>
static __device__ __forceinline__ void store_groups(bf16 *out, int row, int column, int m, int n, int lane, Word word) {
  static_assert(GROUPS % 2 == 0, "groups go in fours, the last two together");
  const int t = lane & 3;
#pragma unroll
  for (int j = 0; j + 4 <= GROUPS; j += 4)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      uint32_t words[4] = {word(j, half), word(j + 1, half), word(j + 2, half), word(j + 3, half)};
      transpose_quad(words, lane);
      store16(out, row + 8 * half, column + 8 * (j + t), m, n, words);
    }
  if constexpr (GROUPS % 4 == 2) {
    constexpr int j = GROUPS - 2;
    uint32_t words[4] = {word(j, 0), word(j, 1), word(j + 1, 0), word(j + 1, 1)};
    transpose_quad(words, lane);
    store16(out, row + 8 * (t & 1), column + 8 * (j + t / 2), m, n, words);
  }
}

static __device__ __forceinline__ float rounded(float value) { return __bfloat162float(__float2bfloat16_rn(value)); }
/* What silu.cu computes: x / (1 + exp(-x)) * y of the rounded x and y. */
static __device__ __forceinline__ float gated(float gate, float up) {
  const float x = rounded(gate);
  return __fdividef(x, 1.0f + __expf(-x)) * rounded(up);
}

template <int WIDTH>
static __device__ __forceinline__ void store_tile(const HopperArguments &a, float (&sum)[WIDTH / 2], int row, int column, int lane) {
  const int t = lane & 3;
  if (a.output == OUT_SILU) {
    store_groups<WIDTH / 16>(static_cast<bf16 *>(a.out), row, column, a.m, a.n, lane, [&](int j, int half) {
      const int i = 4 * j + 2 * half;
      return pack2(gated(sum[i], sum[i + WIDTH / 4]), gated(sum[i + 1], sum[i + 1 + WIDTH / 4]));
    });
    return;
  }
  if (a.bias != nullptr) {
#pragma unroll
    for (int j = 0; j < WIDTH / 8; j++) {
      if (column + 8 * j >= a.n) continue;
      const bf16 *bias = a.bias + column + 8 * j + 2 * t;
      const float x = __bfloat162float(bias[0]), y = __bfloat162float(bias[1]);
      sum[4 * j] += x;
      sum[4 * j + 1] += y;
      sum[4 * j + 2] += x;
      sum[4 * j + 3] += y;
    }
  }
  if (a.output == OUT_F32) {
#pragma unroll
    for (int j = 0; j < WIDTH / 8; j++) {
      float *to = static_cast<float *>(a.out) + static_cast<long long>(row) * a.n + column + 8 * j + 2 * t;
      if (column + 8 * j >= a.n) continue;
      if (row < a.m) *reinterpret_cast<float2 *>(to) = make_float2(sum[4 * j], sum[4 * j + 1]);
      if (row + 8 < a.m) *reinterpret_cast<float2 *>(to + 8ll * a.n) = make_float2(sum[4 * j + 2], sum[4 * j + 3]);
    }
    return;
  }
  store_groups<WIDTH / 8>(static_cast<bf16 *>(a.out), row, column, a.m, a.n, lane,
                          [&](int j, int half) { return pack2(sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1]); });
}

/* What both sides of the ring walk through: the stage of a slice, and the parity of its use. */
template <int STAGES>
struct RingPosition {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
};

template <int WIDTH, int CLUSTER>
static __device__ __forceinline__ void produce(const HopperArguments &a, const TileWalk &walk, uint32_t ring, uint32_t full, uint32_t empty, int rank) {
  using T = Tile<WIDTH>;
  const bool silu = a.output == OUT_SILU;
  const int width = silu ? WIDTH / 2 : WIDTH, slices = (a.k + SLICE - 1) / SLICE, secondHalf = silu ? a.n : WIDTH / 2;
  const auto load_weight = [&](int stage, int slice, int column) {
    const uint32_t to = ring + stage * T::STAGE_BYTES + T::IN_BYTES, barrier = full + 8 * stage;
    barrier_expect(barrier, T::STAGE_BYTES);
    if (CLUSTER == 2) {
      load_box(to + rank * T::HALF_BYTES, &a.weight, slice * SLICE, column * width + rank * secondHalf, barrier, 3);
    } else {
      load_box(to, &a.weight, slice * SLICE, column * width, barrier);
      load_box(to + T::HALF_BYTES, &a.weight, slice * SLICE, column * width + secondHalf, barrier);
    }
  };
  const auto load_in = [&](int stage, int slice, int row) {
    const uint32_t to = ring + stage * T::STAGE_BYTES, barrier = full + 8 * stage;
    const int first = (row * CLUSTER + rank) * ROWS;
    load_box(to, &a.in, slice * SLICE, first, barrier);
    load_box(to + T::IN_BYTES / 2, &a.in, slice * SLICE, first + ROWS / 2, barrier);
  };
  prefetch_map(&a.weight);
  prefetch_map(&a.in);
  int row, column;
  walk.at(blockIdx.x / CLUSTER, row, column); /* the grid has no more clusters than there are tiles */
  const int early = slices < T::STAGES ? slices : T::STAGES;
  for (int s = 0; s < early; s++) load_weight(s, s, column);
  griddep_wait();
  griddep_launch();
  RingPosition<T::STAGES> at;
  int asked = early;
  for (int tile = blockIdx.x / CLUSTER; tile < walk.count(); tile += gridDim.x / CLUSTER) {
    walk.at(tile, row, column);
    for (int slice = 0; slice < slices; slice++) {
      if (asked > 0) {
        asked--;
      } else {
        barrier_wait(empty + 8 * at.stage, at.parity ^ 1);
        load_weight(at.stage, slice, column);
      }
      load_in(at.stage, slice, row);
      at.advance();
    }
  }
}

template <int WIDTH, int CLUSTER>
static __device__ __forceinline__ void multiply(const HopperArguments &a, const TileWalk &walk, uint32_t ring, uint32_t full, uint32_t empty, int rank) {
  using T = Tile<WIDTH>;
  const int lane = threadIdx.x & 31, slices = (a.k + SLICE - 1) / SLICE;
  const int half = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / 128), 0) - 1; /* the same in a warp, and known to be */
  const int rowInTile = 64 * half + 16 * (threadIdx.x / 32 % 4) + lane / 4, width = a.output == OUT_SILU ? WIDTH / 2 : WIDTH;
  const uint64_t in = operand_along_k(ring + half * (T::IN_BYTES / 2)), weight = operand_along_k(ring + T::IN_BYTES);
  const auto release = [&](int stage) {
    if (CLUSTER == 2) {
      if (lane < CLUSTER) barrier_arrive(empty + 8 * stage, lane);
    } else if (lane == 0) {
      barrier_arrive(empty + 8 * stage);
    }
  };
  griddep_wait();
  griddep_launch();
  RingPosition<T::STAGES> at;
  float sum[WIDTH / 2];
  for (int tile = blockIdx.x / CLUSTER; tile < walk.count(); tile += gridDim.x / CLUSTER) {
    int before = 0; /* the stage that the products under way, all but the newest, still read */
#pragma unroll 1
    for (int slice = 0; slice < slices; slice++) {
      const uint32_t offset = at.stage * (T::STAGE_BYTES / 16);
      barrier_wait(full + 8 * at.stage, at.parity);
      settled(sum);
      products_begin();
#pragma unroll
      for (int step = 0; step < SLICE / 16; step++) product<WIDTH>(sum, in + offset + 2 * step, weight + offset + 2 * step, slice + step);
      products_commit();
      settled(sum);
      products_wait<1>();
      if (slice > 0) release(before);
      before = at.stage;
      at.advance();
    }
    products_wait<0>();
    settled(sum);
    release(before);
    int row, column;
    walk.at(tile, row, column);
    store_tile<WIDTH>(a, sum, (row * CLUSTER + rank) * ROWS + rowInTile, column * width, lane);
  }
}

#endif

template <int WIDTH, int CLUSTER>
static __global__ void __launch_bounds__(THREADS, 1) hopper_kernel(const __grid_constant__ HopperArguments a) {
#ifdef KN_HOPPER
  using T = Tile<WIDTH>;
  extern __shared__ __align__(ALIGNMENT) unsigned char shared[];
  const uint32_t ring = (static_cast<uint32_t>(__cvta_generic_to_shared(shared)) + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
  const uint32_t full = ring + T::STAGES * T::STAGE_BYTES, empty = full + 8 * T::STAGES;
  const int rank = CLUSTER == 1 ? 0 : static_cast<int>(cluster_rank());
  const TileWalk walk(a.m, a.n, CLUSTER * ROWS, a.output == OUT_SILU ? WIDTH / 2 : WIDTH);
  if (threadIdx.x == 0) {
    for (int s = 0; s < T::STAGES; s++) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, 8 * CLUSTER);
    }
    barrier_init_fence();
  }
  if (CLUSTER == 1) __syncthreads();
  else cluster_sync();
  if (threadIdx.x < 128) {
    fewer_registers<PRODUCER_REGISTERS>();
    if (threadIdx.x == 0) {
      produce<WIDTH, CLUSTER>(a, walk, ring, full, empty, rank);
    } else {
      griddep_wait();
      griddep_launch();
    }
  } else {
    more_registers<PRODUCT_REGISTERS>();
    multiply<WIDTH, CLUSTER>(a, walk, ring, full, empty, rank);
  }
  if (CLUSTER > 1) cluster_sync(); /* the other block may still arrive at barriers here */
#endif
}

/* Widths of 224 and 96 are for few tokens: 14,336 and 6,144 columns then fill 132 multiprocessors in whole waves. */
struct HopperVariant {
  int width, cluster, leastTokens, mostTokens;
};
static constexpr HopperVariant VARIANTS[] = {{256, 2, 129, 1 << 30}, {256, 1, 1, 1 << 30}, {224, 2, 129, 2048}, {224, 1, 1, 512},
                                             {128, 2, 129, 2048},    {128, 1, 1, 2048},    {96, 2, 129, 512},   {64, 2, 129, 512},
                                             {64, 1, 1, 256}};
static constexpr int VARIANT_COUNT = sizeof VARIANTS / sizeof VARIANTS[0];

template <int WIDTH, int CLUSTER>
static int32_t launch_hopper(kn_device *device, const HopperArguments &a) {
  const TileWalk walk(a.m, a.n, CLUSTER * ROWS, a.output == OUT_SILU ? WIDTH / 2 : WIDTH);
  const int room = device->multiprocessors / CLUSTER, clusters = walk.count() < room ? walk.count() : room;
  return launch_clusters(device, "kn_matmul", hopper_kernel<WIDTH, CLUSTER>, CLUSTER, dim3(clusters * CLUSTER), THREADS, Tile<WIDTH>::SHARED_BYTES, a);
}

static int32_t launch_variant(kn_device *device, const MatmulProblem &p, int n, HopperOutput output, int variant) {
  KN_REQUIRE(device, variant >= 0 && variant < VARIANT_COUNT, "kn_matmul: no variant %d of the Hopper kernel", variant);
  HopperArguments a{};
  KN_TRY(tensor_map(device, p.in, p.m, p.k, ROWS / 2, &a.in));
  KN_TRY(tensor_map(device, p.weight, p.n, p.k, VARIANTS[variant].width / 2, &a.weight));
  a.out = p.out;
  a.bias = p.bias;
  a.m = p.m;
  a.n = n;
  a.k = p.k;
  a.output = output;
  switch (variant) {
    case 0: return launch_hopper<256, 2>(device, a);
    case 1: return launch_hopper<256, 1>(device, a);
    case 2: return launch_hopper<224, 2>(device, a);
    case 3: return launch_hopper<224, 1>(device, a);
    case 4: return launch_hopper<128, 2>(device, a);
    case 5: return launch_hopper<128, 1>(device, a);
    case 6: return launch_hopper<96, 2>(device, a);
    case 7: return launch_hopper<64, 2>(device, a);
    default: return launch_hopper<64, 1>(device, a);
  }
}

static bool suits(const kn_device *device, const MatmulProblem &p, int n) {
  return device->capability == 90 && device->tensorMapEncoder != nullptr && device->sharedBytesMax >= SHARED_MOST && p.k % 8 == 0 && n % 8 == 0;
}

int hopper_variants(kn_device *device, const MatmulProblem &p) { return suits(device, p, p.n) ? VARIANT_COUNT : 0; }
/* From 64 tokens on: below, most rows of a tile would be empty. */
bool hopper_worth_timing(const MatmulProblem &p, int variant) {
  return p.m >= 64 && p.m >= VARIANTS[variant].leastTokens && p.m <= VARIANTS[variant].mostTokens;
}
int32_t hopper_launch(kn_device *device, const MatmulProblem &p, int variant) {
  return launch_variant(device, p, p.n, p.f32 ? OUT_F32 : OUT_BF16, variant);
}

int hopper_silu_variants(kn_device *device, const MatmulProblem &p) {
  return p.n % 2 == 0 && suits(device, p, p.n / 2) && p.bias == nullptr && !p.f32 ? VARIANT_COUNT : 0;
}
int32_t hopper_silu_launch(kn_device *device, const MatmulProblem &p, int variant) { return launch_variant(device, p, p.n / 2, OUT_SILU, variant); }
