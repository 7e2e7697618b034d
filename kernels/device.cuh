/* device.cuh - what every .cu file shares: the device, its errors, and how a kernel is launched.
 *
 * An operation reads:  KN_OPERATION(device, "kn_name");  KN_REQUIRE(device, condition, "text %d", value) ...;
 *                      return launch(device, "kn_name", kernel, grid, block, sharedBytes, arguments...);
 *
 * Programmatic dependent launch (compute capability 9.0 and later): a kernel launched through `launch` may begin once every block of
 * its predecessor on the stream has called griddep_launch() or ended. All blocks of all kernels before it are then on the device, so
 * none can keep another from running. Kernels call griddep_launch() right after griddep_wait(), so that one waits in line, with its
 * weights already on the way; when several waited, their blocks held back what still ran. Only the small kernels between two products do
 * not make their successor wait for their own start (griddep_pass): it then begins as blocks of the product before end. Hence the rules:
 *  - every kernel calls griddep_wait() before it touches memory that an earlier kernel writes, and before it writes any. It returns
 *    when the predecessor has ended, which has itself waited: so everything before has ended;
 *  - weights, the metadata of a step (what kn_step_prepare writes, or an upload) and of the KV cache what earlier steps wrote may be read
 *    before the wait, because kn_step_prepare and the kernels that write weights never call griddep_launch(): whatever begins later begins
 *    after their end, and after that of everything before them. Nothing else may. */
#ifndef PAGEDBENCH_DEVICE_CUH
#define PAGEDBENCH_DEVICE_CUH

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "kernels.h"

using bf16 = __nv_bfloat16;
using bf162 = __nv_bfloat162;

struct Matmul; /* matmul.cuh: cuBLASLt, tuned choices, workspaces */

struct kn_device {
  int ordinal = 0;
  cudaStream_t stream = nullptr;
  cudaDeviceProp properties{};
  int multiprocessors = 0;
  int capability = 0;         /* 10 * major + minor: 80, 86, 89, 90 */
  size_t sharedBytesMax = 0;  /* shared memory a block may ask for, its static part included */
  bool deterministic = false; /* a row's bits do not depend on the batch it stands in */
  bool pdl = false;           /* launch with programmatic stream serialization */
  bool capturing = false;     /* between kn_graph_begin and kn_graph_end */
  bool lost = false;          /* a kernel or copy failed: every later call returns KN_LAUNCH_FAILED */
  std::string error;

  long long failAlloc = 0;  /* fault option: countdown to the failing allocation or operation, 0: off */
  long long failLaunch = 0;

  std::map<kn_addr, double> buffers; /* address -> bytes, of kn_buffer_alloc */
  double heldBytes = 0, peakBytes = 0;
  std::set<kn_addr> hostBuffers;     /* of kn_host_alloc */
  std::vector<cudaEvent_t> events;
  std::vector<cudaGraphExec_t> graphs;
  std::set<const void *> largeShared; /* kernels that went through allow_large_shared */
  Matmul *matmul = nullptr;
  void *tensorMapEncoder = nullptr;   /* the driver's cuTensorMapEncodeTiled; null: none */
  std::map<std::tuple<const void *, int, int, int>, CUtensorMap> tensorMaps; /* address, rows, columns, rows of a box */
  int *attentionTickets = nullptr;  /* attention_wgmma.cu; null: that kernel is not for this device, or switched off */
};

/* ---- errors ---------------------------------------------------------------------------------------------------------- */

/* Keeps the text for kn_last_error and returns `status`. device may be null (failures of kn_device_create). */
int32_t fail(kn_device *device, int32_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A failed CUDA call: out of memory stays an ordinary error; anything else loses the device. */
int32_t fail_cuda(kn_device *device, const char *where, cudaError_t code);
/* The same for a launch, with its extents. */
int32_t fail_launch(kn_device *device, const char *name, dim3 grid, dim3 block, size_t sharedBytes, cudaError_t code);
/* Refuses a null or lost device; counts the operation for the "launch:N" fault. */
int32_t begin_operation(kn_device *device, const char *name);
int32_t begin_call(kn_device *device);

#define KN_TRY(expression)                  \
  do {                                      \
    const int32_t status_ = (expression);   \
    if (status_ != KN_OK) return status_;   \
  } while (0)
#define KN_OPERATION(device, name) KN_TRY(begin_operation(device, name))
#define KN_CALL(device) KN_TRY(begin_call(device))
#define KN_REQUIRE(device, condition, ...) \
  do {                                     \
    if (!(condition)) return fail(device, KN_INVALID_ARGUMENT, __VA_ARGS__); \
  } while (0)
#define KN_CUDA(device, expression)                                            \
  do {                                                                         \
    const cudaError_t code_ = (expression);                                    \
    if (code_ != cudaSuccess) return fail_cuda(device, #expression, code_);    \
  } while (0)
/* After a <<<...>>> launch that does not go through `launch`. */
#define KN_CHECK_LAUNCH(device, name)                                          \
  do {                                                                         \
    const cudaError_t code_ = cudaGetLastError();                              \
    if (code_ != cudaSuccess) return fail_cuda(device, name, code_);           \
  } while (0)

template <typename T>
static inline T *pointer(kn_addr address) {
  return reinterpret_cast<T *>(static_cast<uintptr_t>(address));
}
static inline bool aligned16(kn_addr address) { return (address & 15) == 0; }

/* ---- launching ------------------------------------------------------------------------------------------------------- */

/* Raises the kernel's limit of dynamic shared memory to all that its static part leaves, and asks for the L1's room so that several
 * blocks fit an SM. Once per kernel and device; allowed while a graph is recorded. */
cudaError_t allow_large_shared(kn_device *device, const void *kernel);
constexpr size_t kLargeShared = 32 * 1024; /* beyond it a static part might take the sum over the unasked 48 KiB */

/* Launches on the device's stream, raises the kernel's shared memory limit when needed, checks the error. `cluster`: blocks, along x,
 * that run together and see each other's shared memory (compute capability 9.0 and later; 1: none). */
template <typename... Parameters, typename... Arguments>
static int32_t launch_clusters(kn_device *device, const char *name, void (*kernel)(Parameters...), unsigned cluster, dim3 grid, dim3 block,
                               size_t sharedBytes, Arguments &&...arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return KN_OK;
  if (sharedBytes > kLargeShared) {
    const cudaError_t code = allow_large_shared(device, reinterpret_cast<const void *>(kernel));
    if (code != cudaSuccess) return fail_launch(device, name, grid, block, sharedBytes, code);
  }
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (device->pdl) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = cluster;
    attributes[count].val.clusterDim.y = attributes[count].val.clusterDim.z = 1;
    count++;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = sharedBytes;
  config.stream = device->stream;
  config.attrs = attributes;
  config.numAttrs = count;
  const cudaError_t code = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  return code == cudaSuccess ? KN_OK : fail_launch(device, name, grid, block, sharedBytes, code);
}
template <typename... Parameters, typename... Arguments>
static int32_t launch(kn_device *device, const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                      size_t sharedBytes, Arguments &&...arguments) {
  return launch_clusters(device, name, kernel, 1, grid, block, sharedBytes, static_cast<Arguments &&>(arguments)...);
}

/* Waits until the kernels before this one on the stream have ended and their writes are visible. */
static __device__ __forceinline__ void griddep_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/* Lets the next kernel on the stream be scheduled (it still waits for our end in its own griddep_wait). */
static __device__ __forceinline__ void griddep_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/* Of a small kernel between two large ones: waits; lets the next be scheduled before that, when `early`.
 * H100, Llama-3-8B, a step at context 640: rope alone, 1 row 5.53 -> 5.49 ms; rope, norms and activation, 16 rows 6.32 -> 6.20, 32 and more equal,
 * but 1 row 5.36 -> 6.35 and 8 rows 5.95 -> 7.51: products of up to 8 tokens have more blocks than fit (matmul_gemv.cu). */
constexpr int kEarlyTokens = 9;
static __device__ __forceinline__ void griddep_pass(bool early) {
  if (early) griddep_launch();
  griddep_wait();
  if (!early) griddep_launch();
}

/* ---- bf16 in 16-byte pieces ------------------------------------------------------------------------------------------ */

static __device__ __forceinline__ float2 unpack2(uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
static __device__ __forceinline__ uint32_t pack2(float low, float high) {
  const bf162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t *>(&pair);
}
static __device__ __forceinline__ void unpack8(const uint4 &packed, float (&values)[8]) {
  const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 pair = unpack2(words[i]);
    values[2 * i] = pair.x;
    values[2 * i + 1] = pair.y;
  }
}
static __device__ __forceinline__ uint4 pack8(const float (&values)[8]) {
  return make_uint4(pack2(values[0], values[1]), pack2(values[2], values[3]), pack2(values[4], values[5]), pack2(values[6], values[7]));
}
/* V elements (8: one 16-byte access, address aligned to it; or 1) to and from f32. */
template <int V>
static __device__ __forceinline__ void load_values(const bf16 *address, float (&values)[V]) {
  static_assert(V == 8 || V == 1, "one 16-byte access, or one element");
  if constexpr (V == 8) {
    unpack8(*reinterpret_cast<const uint4 *>(address), values);
  } else {
    values[0] = __bfloat162float(*address);
  }
}
template <int V>
static __device__ __forceinline__ void store_values(bf16 *address, const float (&values)[V]) {
  if constexpr (V == 8) {
    *reinterpret_cast<uint4 *>(address) = pack8(values);
  } else {
    *address = __float2bfloat16_rn(values[0]);
  }
}
/* 16 bytes of data that is read once (weights): not kept in L1. Not ld.global.nc, which the assembler moves behind a griddep_wait(). */
static __device__ __forceinline__ uint4 load_stream(const void *address) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  return v;
}

/* ---- reductions ------------------------------------------------------------------------------------------------------ */

static __device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}
static __device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}
/* Sum over the block, the same in every thread, in a fixed order. scratch: 32 floats of shared memory, free again on return. */
static __device__ __forceinline__ float block_sum(float value, float *scratch) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = (blockDim.x + 31) >> 5;
  value = warp_sum(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = warp_sum(lane < warps ? scratch[lane] : 0.0f);
  __syncthreads();
  return value;
}

static inline int divide_up(long long a, long long b) { return static_cast<int>((a + b - 1) / b); }

#endif
