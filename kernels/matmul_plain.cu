/* matmul_plain.cu - out [M, N] = in [M, K] * weight[N, K]^T for shapes whose rows do not start at 16-byte boundaries (K no multiple of
 * 8). A warp per output element, lanes over K. For test shapes; no model has such a K, so it is not tuned. */
#include "matmul.cuh"

template <typename Out>
static __global__ void __launch_bounds__(256) plain_kernel(Out *out, const bf16 *in, const bf16 *weight, const bf16 *bias, int m, int n, int k) {
  griddep_wait();
  griddep_launch();
  const long long index = blockIdx.x * 8LL + (threadIdx.x >> 5);
  if (index >= (long long)m * n) return;
  const bf16 *x = in + index / n * k, *w = weight + index % n * k;
  float sum = 0.0f;
  for (int i = threadIdx.x & 31; i < k; i += 32) sum += __bfloat162float(x[i]) * __bfloat162float(w[i]);
  sum = warp_sum(sum);
  if (bias != nullptr) sum += __bfloat162float(bias[index % n]);
  if ((threadIdx.x & 31) == 0) out[index] = static_cast<Out>(sum);
}

int32_t plain_launch(kn_device *device, const MatmulProblem &p) {
  const int blocks = divide_up((long long)p.m * p.n, 8);
  if (p.f32)
    return launch(device, "kn_matmul", plain_kernel<float>, blocks, 256, 0, static_cast<float *>(p.out), p.in, p.weight, p.bias, p.m, p.n, p.k);
  return launch(device, "kn_matmul", plain_kernel<bf16>, blocks, 256, 0, static_cast<bf16 *>(p.out), p.in, p.weight, p.bias, p.m, p.n, p.k);
}
