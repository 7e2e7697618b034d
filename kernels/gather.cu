/* gather.cu - out [S, width] = in [., width][index [S]]. 4 bytes moved an element: bound by latency (S is at most the rows of a step). */
#include "device.cuh"

template <int V>
static __global__ void gather_kernel(bf16 *out, const bf16 *in, const int32_t *index, int width) {
  const bf16 *from = in + (long long)index[blockIdx.x] * width;
  griddep_wait();
  griddep_launch();
  bf16 *to = out + (long long)blockIdx.x * width;
  for (int i = V * threadIdx.x; i < width; i += V * blockDim.x) {
    float values[V];
    load_values<V>(from + i, values);
    store_values<V>(to + i, values);
  }
}

extern "C" int32_t kn_gather_rows(kn_device *device, kn_addr out, kn_addr in, kn_addr index, int32_t samples, int32_t width) {
  KN_OPERATION(device, "kn_gather_rows");
  KN_REQUIRE(device, samples >= 0 && width > 0, "kn_gather_rows: samples %d, width %d", samples, width);
  KN_REQUIRE(device, samples == 0 || (out && in && index), "kn_gather_rows: an address is absent");
  const bool vectors = width % 8 == 0 && aligned16(out) && aligned16(in);
  return launch(device, "kn_gather_rows", vectors ? gather_kernel<8> : gather_kernel<1>, samples, 256, 0, pointer<bf16>(out),
                pointer<bf16>(in), pointer<int32_t>(index), width);
}
