/* tensor_map.cu - what the copy engine of compute capability 9.0 must know of a matrix [CUDA driver API, "Tensor Map Object Management"].
 * The one function of the driver that makes it is asked of the runtime, so that the library neither links libcuda nor needs it to load. */
#include <cudaTypedefs.h>

#include "matmul.cuh"

static constexpr int SWIZZLE_COLUMNS = 64; /* bf16 elements of a span of the 128-byte swizzle */
static constexpr size_t MAPS_MOST = 4096;  /* prompts of many lengths would otherwise gather maps without end */

/* Finds the driver's function; leaves it null where there is none. */
void tensor_map_open(kn_device *device) {
  device->matmul->encodeTensorMap = nullptr;
  if (device->capability < 90) return;
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t code = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  if (code == cudaSuccess && found == cudaDriverEntryPointSuccess) device->matmul->encodeTensorMap = function;
  cudaGetLastError();
}

/* Of a row-major bf16 matrix [rows, columns] at a 16-byte boundary, columns a multiple of 8, read in boxes [boxRows, 64] with the 128-byte
 * swizzle. What lies outside the matrix is read as zeros. */
int32_t tensor_map(kn_device *device, const void *matrix, int rows, int columns, int boxRows, CUtensorMap *map) {
  Matmul &matmul = *device->matmul;
  const std::tuple<const void *, int, int, int> key{matrix, rows, columns, boxRows};
  const auto known = matmul.tensorMaps.find(key);
  if (known != matmul.tensorMaps.end()) {
    *map = known->second;
    return KN_OK;
  }
  const cuuint64_t extent[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)}, stride[1] = {2 * extent[0]};
  const cuuint32_t box[2] = {SWIZZLE_COLUMNS, static_cast<cuuint32_t>(boxRows)}, step[2] = {1, 1};
  const CUresult code = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(matmul.encodeTensorMap)(
      map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void *>(matrix), extent, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (code != CUDA_SUCCESS)
    return fail(device, KN_INTERNAL, "tensor map of %d x %d in boxes of %d rows: driver error %d", rows, columns, boxRows, static_cast<int>(code));
  if (matmul.tensorMaps.size() >= MAPS_MOST) matmul.tensorMaps.clear();
  matmul.tensorMaps[key] = *map;
  return KN_OK;
}
