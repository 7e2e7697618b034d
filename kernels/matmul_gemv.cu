/* matmul_gemv.cu - out [M, N] = in [M, K] * weight[N, K]^T for M up to 16: the products of a small decode step.
 * Bytes: 2 N K (weights, each once), the rest is small; flops 2 M N K: bound by bandwidth (8B qkv: 50.3 MB, 16.8 us at 3.0 TB/s).
 *
 * A block owns 16 rows of the weight; its warps take pieces of 32 columns in turn. Weights go from memory straight into the
 * operand registers of mma.m16n8k16 (rows of the weight = rows of the operand, tokens = its columns), without shared memory:
 * a product does not care in which order k is summed, so thread (g, t) loads the 16 bytes at columns 8t .. 8t + 7 of rows g and
 * g + 8 of the weight and of token g, and calls them columns {2t, 2t+1, 2t+8, 2t+9} of two instructions. Several pieces are
 * requested before the first is used; the first ones even before the previous kernel has ended (griddep_wait). */
#include "matmul.cuh"
#include "mma.cuh"

/* WARPS a block, UNROLL pieces of 32 columns requested at once by a warp, TILES of 8 tokens. */
template <int WARPS, int UNROLL, int TILES, typename Out>
static __global__ void __launch_bounds__(32 * WARPS, 1024 / (32 * WARPS) / (TILES == 1 ? 1 : 2) + (TILES == 1 ? 0 : 1))
    gemv_kernel(Out *out, const bf16 *in, const bf16 *weight, const bf16 *bias, int m, int n, int k) {
  __shared__ float partial[WARPS][TILES][8][17];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  const int firstRow = blockIdx.x * 16;
  const bf16 *low = weight + (long long)min(firstRow + g, n - 1) * k, *high = weight + (long long)min(firstRow + g + 8, n - 1) * k;
  const bf16 *x[TILES];
#pragma unroll
  for (int j = 0; j < TILES; j++) x[j] = in + (long long)min(8 * j + g, m - 1) * k;

  float sum[TILES][4] = {};
  uint4 a[UNROLL], b[UNROLL];
  int column = 32 * warp + 8 * t;
  const auto request = [&] {
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
      const int at = column + u * 32 * WARPS;
      a[u] = b[u] = make_uint4(0, 0, 0, 0);
      if (at < k) {
        a[u] = load_stream(low + at);
        b[u] = load_stream(high + at);
      }
    }
  };
  const int rounds = (k + 32 * WARPS * UNROLL - 1) / (32 * WARPS * UNROLL);
  request();
  griddep_wait();
  griddep_launch();
  for (int round = 0; round < rounds; round++) {
    uint4 c[UNROLL][TILES];
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
      const int at = column + u * 32 * WARPS;
#pragma unroll
      for (int j = 0; j < TILES; j++) c[u][j] = at < k ? *reinterpret_cast<const uint4 *>(x[j] + at) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
#pragma unroll
      for (int j = 0; j < TILES; j++) {
        mma_bf16(sum[j], a[u].x, b[u].x, a[u].y, b[u].y, c[u][j].x, c[u][j].y);
        mma_bf16(sum[j], a[u].z, b[u].z, a[u].w, b[u].w, c[u][j].z, c[u][j].w);
      }
    }
    column += 32 * WARPS * UNROLL;
    if (round + 1 < rounds) request();
  }

#pragma unroll
  for (int j = 0; j < TILES; j++) {
    partial[warp][j][2 * t][g] = sum[j][0];
    partial[warp][j][2 * t + 1][g] = sum[j][1];
    partial[warp][j][2 * t][g + 8] = sum[j][2];
    partial[warp][j][2 * t + 1][g + 8] = sum[j][3];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < TILES * 128; i += 32 * WARPS) {
    const int row = i & 15, token = i >> 4;
    if (token >= m || firstRow + row >= n) continue;
    float total = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) total += partial[w][token >> 3][token & 7][row];
    if (bias != nullptr) total += __bfloat162float(bias[firstRow + row]);
    out[(long long)token * n + firstRow + row] = static_cast<Out>(total);
  }
}

template <int WARPS, int UNROLL, typename Out>
static int32_t launch_gemv(kn_device *device, const MatmulProblem &p) {
  const auto kernel = p.m <= 8 ? gemv_kernel<WARPS, UNROLL, 1, Out> : gemv_kernel<WARPS, UNROLL, 2, Out>;
  return launch(device, "kn_matmul", kernel, divide_up(p.n, 16), 32 * WARPS, 0, static_cast<Out *>(p.out), p.in, p.weight, p.bias, p.m, p.n, p.k);
}
template <typename Out>
static int32_t launch_variant(kn_device *device, const MatmulProblem &p, int variant) {
  switch (variant) {
    case 0: return launch_gemv<8, 4, Out>(device, p);
    case 1: return launch_gemv<4, 4, Out>(device, p);
    default: return launch_gemv<16, 4, Out>(device, p);
  }
}

int gemv_variants(kn_device *, const MatmulProblem &p) { return p.m <= 16 ? 3 : 0; }
int32_t gemv_launch(kn_device *device, const MatmulProblem &p, int variant) {
  return p.f32 ? launch_variant<float>(device, p, variant) : launch_variant<bf16>(device, p, variant);
}
