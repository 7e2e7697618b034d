/* silu.cu - out [T, width] = silu(gate) * up, gate_up [T, 2 * width]; and the two halves of it alone.
 * 6 bytes moved an element of out: bound by bandwidth, by latency below some 32 tokens. f32 inside. */
#include "device.cuh"

enum SiluPart { SILU_MUL, SILU, MUL };

static __device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

template <int V, int PART>
static __global__ void __launch_bounds__(256) silu_kernel(bf16 *out, const bf16 *gateUp, unsigned width, long long count, bool early) {
  griddep_pass(early);
  const long long i = V * (blockIdx.x * (long long)blockDim.x + threadIdx.x);
  if (i >= count) return;
  const long long row = i / width;
  const bf16 *gate = gateUp + i + row * width, *up = gate + width;
  float a[V], b[V];
  load_values<V>(PART == MUL ? out + i : gate, a);
  if (PART != SILU) load_values<V>(up, b);
#pragma unroll
  for (int j = 0; j < V; j++) {
    if (PART != MUL) a[j] = silu(a[j]);
    if (PART != SILU) a[j] *= b[j];
  }
  store_values<V>(out + i, a);
}

template <int PART>
static int32_t launch_silu(kn_device *device, const char *name, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  KN_OPERATION(device, name);
  KN_REQUIRE(device, tokens >= 0 && width > 0, "%s: tokens %d, width %d", name, tokens, width);
  KN_REQUIRE(device, tokens == 0 || (out && gate_up), "%s: an address is absent", name);
  const long long count = static_cast<long long>(tokens) * width;
  const bool vectors = width % 8 == 0 && aligned16(out) && aligned16(gate_up);
  return launch(device, name, vectors ? silu_kernel<8, PART> : silu_kernel<1, PART>, divide_up(count, vectors ? 8 * 256 : 256), 256, 0,
                pointer<bf16>(out), pointer<bf16>(gate_up), width, count, tokens >= kEarlyTokens);
}

extern "C" int32_t kn_silu_mul(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  return launch_silu<SILU_MUL>(device, "kn_silu_mul", out, gate_up, tokens, width);
}
extern "C" int32_t kn_silu(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  return launch_silu<SILU>(device, "kn_silu", out, gate_up, tokens, width);
}
extern "C" int32_t kn_mul(kn_device *device, kn_addr out, kn_addr gate_up, int32_t tokens, int32_t width) {
  return launch_silu<MUL>(device, "kn_mul", out, gate_up, tokens, width);
}
