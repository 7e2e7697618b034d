/* tensor_map.cu - maps of arrays for the copy engine [CUDA driver API, "Tensor Map Object Management"]. The one function of the driver that
 * makes them is asked of the runtime, so that the library neither links libcuda nor needs it to load. */
#include "tensor_map.cuh"

#include <cudaTypedefs.h>

static constexpr int SWIZZLE_COLUMNS = 64; /* bf16 elements of a span of the 128-byte swizzle */
static constexpr int DIMENSIONS_MOST = 5;
static constexpr size_t MAPS_MOST = 4096; /* prompts of many lengths would otherwise gather maps without end */

void tensor_map_open(kn_device *device) {
  device->tensorMapEncoder = nullptr;
  if (device->capability < 90) return;
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  const cudaError_t code = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t code = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  if (code == cudaSuccess && found == cudaDriverEntryPointSuccess) device->tensorMapEncoder = function;
  cudaGetLastError();
}

CUresult tensor_map_encode(kn_device *device, CUtensorMap *map, const void *array, int dimensions, const cuuint64_t *extents,
                           const cuuint64_t *strides, const cuuint32_t *box) {
  static constexpr cuuint32_t steps[DIMENSIONS_MOST] = {1, 1, 1, 1, 1};
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(device->tensorMapEncoder)(
      map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, dimensions, const_cast<void *>(array), extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

int32_t tensor_map(kn_device *device, const void *matrix, int rows, int columns, int boxRows, CUtensorMap *map) {
  auto &kept = device->tensorMaps;
  const std::tuple<const void *, int, int, int> key{matrix, rows, columns, boxRows};
  const auto known = kept.find(key);
  if (known != kept.end()) {
    *map = known->second;
    return KN_OK;
  }
  const cuuint64_t extents[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)}, stride = 2 * extents[0];
  const cuuint32_t box[2] = {SWIZZLE_COLUMNS, static_cast<cuuint32_t>(boxRows)};
  const CUresult code = tensor_map_encode(device, map, matrix, 2, extents, &stride, box);
  if (code != CUDA_SUCCESS)
    return fail(device, KN_INTERNAL, "tensor map of %d x %d in boxes of %d rows: driver error %d", rows, columns, boxRows, static_cast<int>(code));
  if (kept.size() >= MAPS_MOST) kept.clear();
  kept[key] = *map;
  return KN_OK;
}
