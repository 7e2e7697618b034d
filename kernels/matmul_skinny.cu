/* matmul_skinny.cu - out [M, N] = in [M, K] * weight[N, K]^T for M up to 64: the products of a decode step.
 * Bytes: 2 N K, each weight once; in and out are small. Flops: 2 M N K, at M = 64 a fifth of what the tensor cores could do in
 * that time: bound by bandwidth (8B, o: 33.6 MB, 11.2 us at 3.0 TB/s).
 *
 * The weight's rows are the 16-row operand of mma.m16n8k16, tokens its columns: few tokens waste little. Work is the flat list of
 * (tile of ROWS weight rows, step of 64 columns), cut evenly over two or three blocks an SM (stream_k.cuh), so that every N and K
 * keeps all SMs reading to the end. Weights and tokens come through a cp.async ring of STAGES steps that runs on across tiles;
 * its first fill of weights is asked for before the previous kernel has ended (griddep_wait).
 * A token's sum is the same for every M of a variant: the cuts depend on N, K and the number of SMs only. */
#include "matmul.cuh"
#include "stream_k.cuh"
#include "tensor_core.cuh"

constexpr int kStep = 64, kUnits = kStep / 8; /* columns of a step; 16-byte units of a row of it */
constexpr int kSkinnyWarps = 4, kSkinnyThreads = kSkinnyWarps * 32;

static __device__ Arrivals skinny_arrivals;

struct SkinnyArguments {
  void *out;
  const bf16 *in, *weight, *bias;
  float4 *partials; /* [2 * blocks][warp][16-row tile of the warp][8 tokens][lane]: accumulators as they stand */
  int m, n, k;
  int steps, pieces; /* of 64 columns in a row; in the whole list */
  int f32;
};

template <int ROWS, int TOKENS, int STAGES>
struct Ring {
  static constexpr int weight_bytes = ROWS * kStep * 2, stage_bytes = weight_bytes + TOKENS * 8 * kStep * 2;
  static constexpr size_t bytes = static_cast<size_t>(stage_bytes) * STAGES;
};

/* Step `step` of tile `tile` of the weight to shared memory [ROWS, 64]; zeros beyond N and K. */
template <int ROWS>
static __device__ __forceinline__ void load_weights(const SkinnyArguments &a, int tile, int step, uint32_t stage) {
  const int row = threadIdx.x / kUnits, unit = threadIdx.x % kUnits, column = step * kStep + unit * 8, first = tile * ROWS + row;
  const bf16 *source = a.weight + static_cast<long long>(first) * a.k + column;
#pragma unroll
  for (int i = 0; i < ROWS; i += kSkinnyThreads / kUnits) {
    copy_async_ahead(stage + swizzled(row + i, unit, kUnits), source + static_cast<long long>(i) * a.k, column < a.k && first + i < a.n);
  }
}
/* The same columns of the tokens to shared memory [8 * TOKENS, 64]. */
template <int TOKENS>
static __device__ __forceinline__ void load_tokens(const SkinnyArguments &a, int step, uint32_t stage) {
  const int row = threadIdx.x / kUnits, unit = threadIdx.x % kUnits, column = step * kStep + unit * 8;
#pragma unroll
  for (int i = 0; i < TOKENS * 8; i += kSkinnyThreads / kUnits) {
    if (TOKENS * 8 < kSkinnyThreads / kUnits && row >= TOKENS * 8) break;
    copy_async(stage + swizzled(row + i, unit, kUnits), a.in + static_cast<long long>(row + i) * a.k + column, column < a.k && row + i < a.m);
  }
}

/* sum [16 * TILES rows of the warp, 8 * TOKENS] += one step */
template <int TILES, int TOKENS>
static __device__ __forceinline__ void multiply_step(float (&sum)[TILES][TOKENS][4], uint32_t weights, uint32_t tokens, int warp, int lane) {
  uint32_t b[4];
#pragma unroll
  for (int k = 0; k < kStep / 16; k++) {
    uint32_t a[TILES][4];
#pragma unroll
    for (int i = 0; i < TILES; i++)
      load_matrices(a[i], weights + swizzled((warp * TILES + i) * 16 + (lane & 15), k * 2 + (lane >> 4), kUnits));
    if constexpr (TOKENS == 1) { /* one load brings 32 columns of 8 tokens */
      if (k % 2 == 0) load_matrices(b, tokens + swizzled(lane & 7, k * 2 + (lane >> 3), kUnits));
#pragma unroll
      for (int i = 0; i < TILES; i++) multiply_add(sum[i][0], a[i], b[k % 2 * 2], b[k % 2 * 2 + 1]);
    } else {
#pragma unroll
      for (int j = 0; j < TOKENS / 2; j++) { /* 16 columns of 16 tokens */
        load_matrices(b, tokens + swizzled(j * 16 + (lane >> 4) * 8 + (lane & 7), k * 2 + ((lane >> 3) & 1), kUnits));
#pragma unroll
        for (int i = 0; i < TILES; i++) {
          multiply_add(sum[i][2 * j], a[i], b[0], b[1]);
          multiply_add(sum[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }
}

template <int TILES, int TOKENS>
static __device__ __forceinline__ float4 *partial_of(const SkinnyArguments &a, int slot) {
  return a.partials + static_cast<long long>(slot) * kSkinnyThreads * TILES * TOKENS + threadIdx.x;
}

template <int TILES, int TOKENS>
static __device__ __forceinline__ void store_sums(const SkinnyArguments &a, const float (&sum)[TILES][TOKENS][4], int tile, int warp, int lane) {
#pragma unroll
  for (int i = 0; i < TILES; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = ((tile * kSkinnyWarps + warp) * TILES + i) * 16 + half * 8 + (lane >> 2);
      if (row >= a.n) continue;
      const float bias = a.bias != nullptr ? __bfloat162float(a.bias[row]) : 0;
#pragma unroll
      for (int j = 0; j < TOKENS; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int token = j * 8 + (lane & 3) * 2 + e;
          if (token >= a.m) continue;
          const float value = sum[i][j][2 * half + e] + bias;
          const long long at = static_cast<long long>(token) * a.n + row;
          if (a.f32) static_cast<float *>(a.out)[at] = value;
          else static_cast<bf16 *>(a.out)[at] = __float2bfloat16_rn(value);
        }
    }
}

/* End of the block's part of a tile: writes the result, or its partial, or, as the last, the sum of the partials. Clears the sums. */
template <int TILES, int TOKENS>
static __device__ __forceinline__ void end_tile(const SkinnyArguments &a, float (&sum)[TILES][TOKENS][4], int tile, int warp, int lane) {
  const int block = blockIdx.x, first = range_owner(tile * a.steps, a.pieces, gridDim.x),
            last = range_owner(tile * a.steps + a.steps - 1, a.pieces, gridDim.x);
  bool writes = first == last;
  if (!writes) {
    float4 *partial = partial_of<TILES, TOKENS>(a, 2 * block + (block == first));
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
      for (int j = 0; j < TOKENS; j++)
        __stcg(partial + (i * TOKENS + j) * kSkinnyThreads, make_float4(sum[i][j][0], sum[i][j][1], sum[i][j][2], sum[i][j][3]));
    __threadfence();
    writes = arrives_last(skinny_arrivals, first, last);
    if (writes) {
#pragma unroll
      for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int j = 0; j < TOKENS; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
      for (int from = first; from <= last; from++) {
        const float4 *other = partial_of<TILES, TOKENS>(a, 2 * from + (from == first));
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
          for (int j = 0; j < TOKENS; j++) {
            const float4 v = __ldcg(other + (i * TOKENS + j) * kSkinnyThreads);
            sum[i][j][0] += v.x;
            sum[i][j][1] += v.y;
            sum[i][j][2] += v.z;
            sum[i][j][3] += v.w;
          }
      }
    }
  }
  if (writes) store_sums<TILES, TOKENS>(a, sum, tile, warp, lane);
#pragma unroll
  for (int i = 0; i < TILES; i++)
#pragma unroll
    for (int j = 0; j < TOKENS; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
}

/* ROWS of the weight a tile: 64 or 128, each of 4 warps a quarter. TOKENS: eights of tokens, at least M / 8. */
template <int ROWS, int TOKENS, int STAGES>
static __global__ void __launch_bounds__(kSkinnyThreads, 2) skinny_kernel(const __grid_constant__ SkinnyArguments a) {
  DYNAMIC_SHARED(shared);
  using Stages = Ring<ROWS, TOKENS, STAGES>;
  constexpr int tiles = ROWS / (16 * kSkinnyWarps);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int start = range_start(blockIdx.x, a.pieces, gridDim.x), count = range_start(blockIdx.x + 1, a.pieces, gridDim.x) - start;
  const uint32_t ring = shared_address(shared);
  int tile = start / a.steps, step = start % a.steps;

  int load_tile = tile, load_step = step;
  const auto next_load = [&] {
    if (++load_step == a.steps) {
      load_step = 0;
      load_tile++;
    }
  };
#pragma unroll
  for (int i = 0; i < STAGES - 1; i++) {
    if (i < count) load_weights<ROWS>(a, load_tile, load_step, ring + i * Stages::stage_bytes);
    next_load();
  }
  griddep_wait();
  griddep_launch();
#pragma unroll
  for (int i = 0; i < STAGES - 1; i++) {
    if (i < count) load_tokens<TOKENS>(a, (step + i) % a.steps, ring + i * Stages::stage_bytes + Stages::weight_bytes);
    copy_commit();
  }

  float sum[tiles][TOKENS][4] = {};
  int stage = 0, load_stage = STAGES - 1;
  for (int i = 0; i < count; i++) {
    copy_wait<STAGES - 2>();
    __syncthreads(); /* step i is here, and nobody reads step i - 1 any more */
    if (i + STAGES - 1 < count) {
      const uint32_t to = ring + load_stage * Stages::stage_bytes;
      load_weights<ROWS>(a, load_tile, load_step, to);
      load_tokens<TOKENS>(a, load_step, to + Stages::weight_bytes);
      next_load();
    }
    copy_commit();
    const uint32_t from = ring + stage * Stages::stage_bytes;
    multiply_step<tiles, TOKENS>(sum, from, from + Stages::weight_bytes, warp, lane);
    stage = stage + 1 == STAGES ? 0 : stage + 1;
    load_stage = load_stage + 1 == STAGES ? 0 : load_stage + 1;
    if (++step == a.steps || i + 1 == count) {
      end_tile<tiles, TOKENS>(a, sum, tile, warp, lane);
      step = 0;
      tile++;
    }
  }
}

/* The launch of one variant, or only its fitness (dry). */
template <int ROWS, int TOKENS, int STAGES>
static int32_t launch_skinny(kn_device *device, const MatmulProblem &p, bool dry) {
  const size_t bytes = Ring<ROWS, TOKENS, STAGES>::bytes, reserved = 1024 + 128;
  const int fitting = static_cast<int>(device->properties.sharedMemPerMultiprocessor / (bytes + reserved));
  const int steps = divide_up(p.k, kStep), pieces = divide_up(p.n, ROWS) * steps;
  int blocks = device->multiprocessors * (fitting > 3 ? 3 : fitting);
  if (blocks > kRangesMax) blocks = kRangesMax;
  if (blocks > pieces) blocks = pieces;
  const size_t partials = static_cast<size_t>(blocks) * 2 * ROWS * TOKENS * 8 * sizeof(float);
  if (bytes + 128 > device->sharedBytesMax || fitting < 1 || partials > device->matmul->workspaceBytes)
    return dry ? KN_UNSUPPORTED : fail(device, KN_UNSUPPORTED, "kn_matmul: the skinny kernel needs %zu bytes of workspace, %zu of shared memory", partials, bytes);
  if (dry) return KN_OK;
  const SkinnyArguments a{p.out, p.in, p.weight, p.bias, static_cast<float4 *>(device->matmul->workspace), p.m, p.n, p.k, steps, pieces, p.f32};
  return launch(device, "kn_matmul (skinny)", skinny_kernel<ROWS, TOKENS, STAGES>, dim3(blocks), dim3(kSkinnyThreads), bytes, a);
}

template <int ROWS>
static int32_t launch_rows(kn_device *device, const MatmulProblem &p, bool dry) {
  if (p.m <= 8) return launch_skinny<ROWS, 1, ROWS == 128 ? 5 : 8>(device, p, dry);
  if (p.m <= 16) return launch_skinny<ROWS, 2, ROWS == 128 ? 5 : 7>(device, p, dry);
  if (p.m <= 32) return launch_skinny<ROWS, 4, ROWS == 128 ? 4 : 6>(device, p, dry);
  return launch_skinny<ROWS, 8, ROWS == 128 ? 4 : 6>(device, p, dry);
}

/* Variant 0: tiles of 128 weight rows, two blocks an SM; variant 1: 64 rows, up to three. */
int skinny_variants(kn_device *device, const MatmulProblem &p) {
  if (p.m < 1 || p.m > 64 || p.k % 8 != 0 || device->matmul == nullptr) return 0;
  return launch_rows<128>(device, p, true) == KN_OK && launch_rows<64>(device, p, true) == KN_OK ? 2 : 0;
}

int32_t skinny_launch(kn_device *device, const MatmulProblem &p, int variant) {
  return variant == 0 ? launch_rows<128>(device, p, false) : launch_rows<64>(device, p, false);
}
