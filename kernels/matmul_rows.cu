/* matmul_rows.cu - out [1, N] = in [1, K] * weight[N, K]^T, a warp to a row, for small matrices (matmul_rows.cuh).
 * Bytes: 2 N K; bound by latency: SmolLM2's o (0.7 MB) and down (1.8 MB) would take 0.2 and 0.6 us at 3.0 TB/s. */
#include "matmul.cuh"
#include "matmul_rows.cuh"

template <int UNITS, typename Out>
static __global__ void __launch_bounds__(32 * kRowWarps) rows_kernel(Out *out, const bf16 *in, const bf16 *weight, const bf16 *bias, int n, int k) {
  const int lane = threadIdx.x & 31, row = blockIdx.x * kRowWarps + (threadIdx.x >> 5);
  RowPart<UNITS> part;
  part.request(weight + static_cast<long long>(min(row, n - 1)) * k, k, lane);
  griddep_wait();
  griddep_launch();
  if (row >= n) return;
  TokenPart<UNITS> token;
  token.load(in, k, lane);
  const float sum = row_product(part, token);
  if (lane == 0) out[row] = static_cast<Out>(bias != nullptr ? sum + __bfloat162float(bias[row]) : sum);
}

int rows_variants(kn_device *device, const MatmulProblem &p) { return p.m == 1 && fits_one_wave(device, p.k, p.n) ? 1 : 0; }

template <typename Out>
static int32_t launch_rows_kernel(kn_device *device, const MatmulProblem &p) {
  return with_units(p.k, [&](auto units) {
    return launch(device, "kn_matmul (rows)", rows_kernel<decltype(units)::value, Out>, divide_up(p.n, kRowWarps), 32 * kRowWarps, 0,
                  static_cast<Out *>(p.out), p.in, p.weight, p.bias, p.n, p.k);
  });
}
int32_t rows_launch(kn_device *device, const MatmulProblem &p) {
  return p.f32 ? launch_rows_kernel<float>(device, p) : launch_rows_kernel<bf16>(device, p);
}
