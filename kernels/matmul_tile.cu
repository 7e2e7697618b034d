/* matmul_tile.cu - out [M, N] = in [M, K] * weight[N, K]^T for any M: the fallback where cuBLASLt is absent (on Hopper
 * matmul_hopper.cu goes before it from 64 tokens on), and the only product
 * in deterministic mode. Flops 2 M N K, bytes 2 (M K + N K + M N): bound by bandwidth up to M of some hundreds, then by mma.sync
 * (at most 60-65 % of an H100's peak, which only wgmma reaches).
 *
 * The bits of an output element depend on its row of `in`, its row of the weight, and K alone: every tile size sums k in the same
 * order, 16 at a time, with the same instruction, and K is never split. So M chooses the tile, and a row has the same result in every M.
 *
 * A block computes a BM x 128 tile; `in` and the weight come in slices of 64 columns through STAGES buffers in shared memory
 * (cp.async; 16-byte pieces of a 128-byte row permuted by row % 8 against bank conflicts), then by ldmatrix to mma.m16n8k16. */
#include "matmul.cuh"
#include "mma.cuh"

static constexpr int BN = 128, BK = 64, ROW_BYTES = BK * 2;

static __device__ __forceinline__ uint32_t swizzled(int row, int piece) { return row * ROW_BYTES + ((piece ^ (row & 7)) << 4); }

/* WM x WN warps: WM * WN = 8. BM = WM * MI * 16 rows, BN = WN * NI * 8 columns. */
template <int BM, int WM, int STAGES, typename Out>
static __global__ void __launch_bounds__(256)
    tile_kernel(Out *out, const bf16 *in, const bf16 *weight, const bf16 *bias, int m, int n, int k) {
  constexpr int WN = 8 / WM, MI = BM / WM / 16, NI = BN / WN / 8;
  constexpr int STAGE_BYTES = (BM + BN) * ROW_BYTES;
  static_assert(MI >= 1 && NI % 2 == 0, "ldmatrix takes two n8 tiles at once");
  extern __shared__ __align__(128) unsigned char shared[];
  const uint32_t base = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warpM = warp % WM, warpN = warp / WM;
  const int firstRow = blockIdx.x * BM, firstColumn = blockIdx.y * BN;
  const int slices = (k + BK - 1) / BK;

  const auto load_rows = [&](uint32_t to, const bf16 *from, int rows, int first, int limit, int slice) {
    for (int i = threadIdx.x; i < rows * 8; i += 256) {
      const int row = i >> 3, piece = i & 7, column = slice * BK + piece * 8;
      const bool valid = first + row < limit && column < k;
      copy_async16(to + swizzled(row, piece), valid ? from + (long long)(first + row) * k + column : from, valid);
    }
  };
  const auto load_in = [&](int slice) { load_rows(base + slice % STAGES * STAGE_BYTES, in, BM, firstRow, m, slice); };
  const auto load_weight = [&](int slice) {
    load_rows(base + slice % STAGES * STAGE_BYTES + BM * ROW_BYTES, weight, BN, firstColumn, n, slice);
  };

  for (int s = 0; s < STAGES - 1; s++)
    if (s < slices) load_weight(s);
  griddep_wait();
  griddep_launch();
  for (int s = 0; s < STAGES - 1; s++) {
    if (s < slices) load_in(s);
    copy_commit();
  }

  float sum[MI][NI][4] = {};
  for (int slice = 0; slice < slices; slice++) {
    copy_wait<STAGES - 2>();
    __syncthreads();
    if (slice + STAGES - 1 < slices) {
      load_in(slice + STAGES - 1);
      load_weight(slice + STAGES - 1);
    }
    copy_commit();
    const uint32_t inBase = base + slice % STAGES * STAGE_BYTES, weightBase = inBase + BM * ROW_BYTES;
#pragma unroll
    for (int step = 0; step < BK / 16; step++) {
      uint32_t a[MI][4], b[NI / 2][4];
#pragma unroll
      for (int i = 0; i < MI; i++) /* matrices: rows 0-7, 8-15 of columns 0-7, then of columns 8-15 */
        load_matrices(a[i], inBase + swizzled((warpM * MI + i) * 16 + (lane & 15), 2 * step + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < NI / 2; j++) /* matrices: columns 0-7, 8-15 of weight rows 0-7, then of weight rows 8-15 */
        load_matrices(b[j], weightBase + swizzled((warpN * NI + 2 * j) * 8 + (lane & 7) + (lane >> 4) * 8, 2 * step + ((lane >> 3) & 1)));
#pragma unroll
      for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NI; j++) mma_bf16(sum[i][j], a[i][0], a[i][1], a[i][2], a[i][3], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }

  const int g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int i = 0; i < MI; i++) {
#pragma unroll
    for (int j = 0; j < NI; j++) {
      const int column = firstColumn + (warpN * NI + j) * 8 + 2 * t;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int row = firstRow + (warpM * MI + i) * 16 + g + 8 * h;
        if (row >= m || column >= n) continue;
        const bool pair = column + 1 < n;
        float x = sum[i][j][2 * h], y = sum[i][j][2 * h + 1];
        if (bias != nullptr) {
          x += __bfloat162float(bias[column]);
          if (pair) y += __bfloat162float(bias[column + 1]);
        }
        Out *to = out + (long long)row * n + column;
        if (pair && n % 2 == 0) {
          if constexpr (sizeof(Out) == 4) *reinterpret_cast<float2 *>(to) = make_float2(x, y);
          else *reinterpret_cast<uint32_t *>(to) = pack2(x, y);
        } else {
          to[0] = static_cast<Out>(x);
          if (pair) to[1] = static_cast<Out>(y);
        }
      }
    }
  }
}

template <int BM, int WM, int STAGES, typename Out>
static int32_t launch_tile(kn_device *device, const MatmulProblem &p) {
  return launch(device, "kn_matmul", tile_kernel<BM, WM, STAGES, Out>, dim3(divide_up(p.m, BM), divide_up(p.n, BN)), 256,
                STAGES * (BM + BN) * ROW_BYTES, static_cast<Out *>(p.out), p.in, p.weight, p.bias, p.m, p.n, p.k);
}
template <typename Out>
static int32_t launch_variant(kn_device *device, const MatmulProblem &p, int variant) {
  switch (variant) {
    case 0: return launch_tile<16, 1, 4, Out>(device, p);
    case 1: return launch_tile<64, 2, 3, Out>(device, p);
    default: return launch_tile<128, 2, 3, Out>(device, p);
  }
}

int tile_variants(kn_device *, const MatmulProblem &p) { return p.k % 8 == 0 ? 3 : 0; }
int32_t tile_launch(kn_device *device, const MatmulProblem &p, int variant) {
  KN_REQUIRE(device, divide_up(p.n, BN) <= 65535, "kn_matmul: n %d is beyond the grid", p.n);
  return p.f32 ? launch_variant<float>(device, p, variant) : launch_variant<bf16>(device, p, variant);
}
