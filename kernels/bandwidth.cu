/* bandwidth.cu - the machine's own ceilings: copying (read + write) and reading (what decode is bound by) at the memory's rate.
 * Each thread has four independent 16-byte accesses in flight; a grid of a few blocks a multiprocessor strides over the memory. */
#include "device.cuh"

static constexpr int UNROLL = 4;

static __global__ void __launch_bounds__(512) copy_kernel(uint4 *to, const uint4 *from, long long count) {
  griddep_wait();
  const long long stride = (long long)gridDim.x * blockDim.x * UNROLL;
  for (long long i = (long long)blockIdx.x * blockDim.x * UNROLL + threadIdx.x; i < count; i += stride) {
    uint4 v[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; u++)
      if (i + u * 512 < count) v[u] = __ldcs(from + i + u * 512);
#pragma unroll
    for (int u = 0; u < UNROLL; u++)
      if (i + u * 512 < count) __stcs(to + i + u * 512, v[u]);
  }
}

extern "C" int32_t kn_copy(kn_device *device, kn_addr destination, kn_addr source, double bytes) {
  KN_OPERATION(device, "kn_copy");
  KN_REQUIRE(device, bytes >= 0 && (bytes < 1 || (destination && source)), "kn_copy: no address or bytes %.0f", bytes);
  if (bytes < 1) return KN_OK;
  const size_t size = static_cast<size_t>(bytes);
  if (!aligned16(destination) || !aligned16(source) || size % 16 != 0) {
    KN_CUDA(device, cudaMemcpyAsync(pointer<void>(destination), pointer<void>(source), size, cudaMemcpyDeviceToDevice, device->stream));
    return KN_OK;
  }
  const long long count = static_cast<long long>(size / 16);
  const int needed = divide_up(count, 512 * UNROLL), most = device->multiprocessors * 16;
  return launch(device, "kn_copy", copy_kernel, needed < most ? needed : most, 512, 0, pointer<uint4>(destination), pointer<uint4>(source), count);
}

static __global__ void clear_kernel(float *out) {
  griddep_wait();
  *out = 0.0f;
}

/* *out += the sum of `count` vectors of four f32, and of `rest` more f32. */
static __global__ void __launch_bounds__(512) read_kernel(float *out, const float4 *from, long long count, int rest) {
  __shared__ float scratch[32];
  griddep_wait();
  const long long stride = (long long)gridDim.x * blockDim.x * UNROLL;
  float sum = 0.0f;
  for (long long i = (long long)blockIdx.x * blockDim.x * UNROLL + threadIdx.x; i < count; i += stride) {
    float4 v[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; u++) v[u] = i + u * 512 < count ? __ldcs(from + i + u * 512) : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int u = 0; u < UNROLL; u++) sum += (v[u].x + v[u].y) + (v[u].z + v[u].w);
  }
  if (blockIdx.x == 0 && threadIdx.x < rest) sum += reinterpret_cast<const float *>(from + count)[threadIdx.x];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) atomicAdd(out, sum);
}

extern "C" int32_t kn_read(kn_device *device, kn_addr out, kn_addr source, double bytes) {
  KN_OPERATION(device, "kn_read");
  KN_REQUIRE(device, out && bytes >= 0 && (bytes < 1 || source), "kn_read: no address or bytes %.0f", bytes);
  KN_REQUIRE(device, aligned16(source), "kn_read: source is not aligned to 16 bytes");
  KN_TRY(launch(device, "kn_read", clear_kernel, 1, 1, 0, pointer<float>(out)));
  const long long values = static_cast<long long>(bytes) / 4, count = values / 4;
  const int needed = divide_up(count, 512 * UNROLL), most = device->multiprocessors * 8;
  return launch(device, "kn_read", read_kernel, needed < 1 ? 1 : needed < most ? needed : most, 512, 0, pointer<float>(out), pointer<float4>(source),
                count, static_cast<int>(values % 4));
}
