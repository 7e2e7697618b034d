/* tensor_map.cuh - what the copy engine of compute capability 9.0 must know of an array in memory (tensor_map.cu). */
#ifndef PAGEDBENCH_TENSOR_MAP_CUH
#define PAGEDBENCH_TENSOR_MAP_CUH

#include <cuda.h>

#include "device.cuh"

/* Finds the driver's encoder for device->tensorMapEncoder; leaves it null where there is none, and with it all that needs such maps unused. */
void tensor_map_open(kn_device *device);

/* Of a bf16 array of `dimensions` (up to 5), the innermost first and contiguous: extents in elements, the bytes from one index of each
 * further dimension to the next, the box of one copy in elements, its rows at most 128 bytes ("128-byte swizzle"). What lies outside is read
 * as zeros. */
CUresult tensor_map_encode(kn_device *device, CUtensorMap *map, const void *array, int dimensions, const cuuint64_t *extents,
                           const cuuint64_t *strides, const cuuint32_t *box);

/* Of a row-major bf16 matrix [rows, columns] at a 16-byte boundary, columns a multiple of 8, read in boxes [boxRows, 64]; kept for the next time. */
int32_t tensor_map(kn_device *device, const void *matrix, int rows, int columns, int boxRows, CUtensorMap *map);

#endif
