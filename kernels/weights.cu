/* weights.cu - weight matrices and vectors. Layout of a matrix [N, K] on this backend: plain row-major bf16.
 * The kernels here do not call griddep_launch(): later kernels may read weights before their griddep_wait(). */
#include <cuda_fp16.h>

#include "device.cuh"
#include "random.h"

static int32_t check_matrix(kn_device *device, const char *name, kn_addr weight, int32_t n, int32_t k);

extern "C" int32_t kn_weight_bytes(kn_device *device, int32_t n, int32_t k, double *bytes) {
  KN_CALL(device);
  KN_REQUIRE(device, bytes != nullptr && n > 0 && k > 0, "kn_weight_bytes: n %d, k %d", n, k);
  *bytes = 2.0 * n * k;
  return KN_OK;
}

/* bf16 [count] = source [count]. Bound by the upload before it (50 GB/s), not by this. */
template <typename Source>
static __global__ void convert_kernel(bf16 *out, const Source *in, long long count) {
  griddep_wait();
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x)
    out[i] = __float2bfloat16_rn(static_cast<float>(in[i]));
}

extern "C" int32_t kn_weight_load(kn_device *device, kn_addr weight, const void *source, int32_t source_dtype, int32_t n, int32_t k) {
  KN_OPERATION(device, "kn_weight_load");
  KN_TRY(check_matrix(device, "kn_weight_load", weight, n, k));
  KN_REQUIRE(device, source != nullptr, "kn_weight_load: no source");
  KN_REQUIRE(device, !device->capturing, "kn_weight_load: blocks, so it cannot be part of a graph");
  KN_REQUIRE(device, source_dtype == KN_F32 || source_dtype == KN_BF16 || source_dtype == KN_F16, "kn_weight_load: source_dtype %d", source_dtype);
  const long long count = static_cast<long long>(n) * k;
  if (source_dtype == KN_BF16) return kn_upload(device, weight, source, 2.0 * count);
  const size_t elementBytes = source_dtype == KN_F32 ? 4 : 2;
  const long long chunk = count < (32 << 20) ? count : (32 << 20); /* elements of temporary device memory */
  void *temporary = nullptr;
  const cudaError_t code = cudaMalloc(&temporary, chunk * elementBytes);
  if (code != cudaSuccess) return fail_cuda(device, "kn_weight_load: temporary memory of at most 128 MiB", code);
  int32_t status = KN_OK;
  for (long long done = 0; done < count && status == KN_OK; done += chunk) {
    const long long part = count - done < chunk ? count - done : chunk;
    status = kn_upload(device, reinterpret_cast<uintptr_t>(temporary), static_cast<const char *>(source) + done * elementBytes,
                       static_cast<double>(part) * elementBytes);
    bf16 *out = pointer<bf16>(weight) + done;
    if (status == KN_OK && source_dtype == KN_F32)
      status = launch(device, "kn_weight_load", convert_kernel<float>, 2048, 256, 0, out, static_cast<const float *>(temporary), part);
    if (status == KN_OK && source_dtype == KN_F16)
      status = launch(device, "kn_weight_load", convert_kernel<__half>, 2048, 256, 0, out, static_cast<const __half *>(temporary), part);
    if (status == KN_OK) status = kn_synchronize(device);
  }
  cudaFree(temporary);
  return status;
}

/* bf16 [count]: element i from hash32(seed, i). 2 bytes written an element; bound by the hash's integer arithmetic. */
static __global__ void random_kernel(bf16 *out, long long count, uint32_t seed, float amplitude) {
  griddep_wait();
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
    const float u = (float)(kn_hash32(seed, (uint64_t)i) >> 8) * (1.0f / 16777216.0f);
    out[i] = __float2bfloat16_rn(amplitude * (2.0f * u - 1.0f));
  }
}

extern "C" int32_t kn_weight_random(kn_device *device, kn_addr weight, int32_t n, int32_t k, int32_t seed, float scale) {
  KN_OPERATION(device, "kn_weight_random");
  KN_TRY(check_matrix(device, "kn_weight_random", weight, n, k));
  return launch(device, "kn_weight_random", random_kernel, device->multiprocessors * 8, 256, 0, pointer<bf16>(weight),
                static_cast<long long>(n) * k, static_cast<uint32_t>(seed), scale * 1.7320508f);
}

extern "C" int32_t kn_vector_load(kn_device *device, kn_addr vector, const float *source, int32_t n) {
  KN_CALL(device);
  KN_REQUIRE(device, source != nullptr && n > 0, "kn_vector_load: no source, or n %d", n);
  std::vector<bf16> rounded(n);
  for (int32_t i = 0; i < n; i++) rounded[i] = __float2bfloat16_rn(source[i]);
  return kn_upload(device, vector, rounded.data(), 2.0 * n);
}

static int32_t check_matrix(kn_device *device, const char *name, kn_addr weight, int32_t n, int32_t k) {
  KN_REQUIRE(device, n > 0 && k > 0, "%s: n %d, k %d", name, n, k);
  KN_REQUIRE(device, weight != 0 && aligned16(weight), "%s: weight is absent or not aligned to 16 bytes", name);
  return KN_OK;
}
