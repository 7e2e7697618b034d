/* warpgroup.cuh - wgmma of compute capability 9.0 (sm_90a): four warps multiply a 64-row operand and an N-row operand, both in
 * shared memory, into f32 accumulators in registers. PTX ISA, "Asynchronous warpgroup level matrix instructions".
 *
 * Operands are rows of 64 bf16 (128 bytes) in the 128-byte swizzle of tensor_core.cuh (unit u of row r at u ^ (r % 8)), their first
 * row at a multiple of 1024 bytes. Warp w of the group holds of the product, as mma.m16n8k16 does: rows 16w + g and 16w + g + 8,
 * columns 8j + 2t and 8j + 2t + 1 in c[j]. */
#ifndef PAGEDBENCH_WARPGROUP_CUH
#define PAGEDBENCH_WARPGROUP_CUH

#include "tensor_core.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define WARPGROUP_MULTIPLY 1
#endif

/* Matrix descriptor: address, stride of 1024 bytes between groups of 8 rows, 128-byte swizzle. In units of 16 bytes. */
static __device__ __forceinline__ uint64_t operand(uint32_t address) {
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
/* Makes this thread's writes to shared memory (cp.async that it waited for, too) visible to wgmma; before the barrier. */
static __device__ __forceinline__ void operand_fence() {
#ifdef WARPGROUP_MULTIPLY
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
static __device__ __forceinline__ void warpgroup_begin() {
#ifdef WARPGROUP_MULTIPLY
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
/* Closes the group of instructions issued since the last call and waits for them. */
static __device__ __forceinline__ void warpgroup_end() {
#ifdef WARPGROUP_MULTIPLY
  asm volatile("wgmma.commit_group.sync.aligned;\n wgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}

/* c [64, 8 * TILES] += a [64, 16] * b [8 * TILES, 16]^T, by four warps together. */
static __device__ __forceinline__ void warpgroup_multiply(float (&c)[1][4], uint64_t a, uint64_t b) {
#ifdef WARPGROUP_MULTIPLY
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3"
      "}, %4, %5, 1, 1, 1, 0, 0;"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3])
      : "l"(a), "l"(b));
#endif
}
static __device__ __forceinline__ void warpgroup_multiply(float (&c)[2][4], uint64_t a, uint64_t b) {
#ifdef WARPGROUP_MULTIPLY
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7"
      "}, %8, %9, 1, 1, 1, 0, 0;"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]),
        "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3])
      : "l"(a), "l"(b));
#endif
}
static __device__ __forceinline__ void warpgroup_multiply(float (&c)[4][4], uint64_t a, uint64_t b) {
#ifdef WARPGROUP_MULTIPLY
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15"
      "}, %16, %17, 1, 1, 1, 0, 0;"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]),
        "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
        "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]),
        "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3])
      : "l"(a), "l"(b));
#endif
}
static __device__ __forceinline__ void warpgroup_multiply(float (&c)[8][4], uint64_t a, uint64_t b) {
#ifdef WARPGROUP_MULTIPLY
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, 1, 1, 1, 0, 0;"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]),
        "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
        "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]),
        "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]),
        "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]),
        "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
        "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]),
        "+f"(c[7][0]), "+f"(c[7][1]), "+f"(c[7][2]), "+f"(c[7][3])
      : "l"(a), "l"(b));
#endif
}
static __device__ __forceinline__ void warpgroup_multiply(float (&c)[16][4], uint64_t a, uint64_t b) {
#ifdef WARPGROUP_MULTIPLY
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, "
      "%40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, "
      "%56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, 1, 1, 1, 0, 0;"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]),
        "+f"(c[1][0]), "+f"(c[1][1]), "+f"(c[1][2]), "+f"(c[1][3]),
        "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]),
        "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]),
        "+f"(c[4][0]), "+f"(c[4][1]), "+f"(c[4][2]), "+f"(c[4][3]),
        "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
        "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]),
        "+f"(c[7][0]), "+f"(c[7][1]), "+f"(c[7][2]), "+f"(c[7][3]),
        "+f"(c[8][0]), "+f"(c[8][1]), "+f"(c[8][2]), "+f"(c[8][3]),
        "+f"(c[9][0]), "+f"(c[9][1]), "+f"(c[9][2]), "+f"(c[9][3]),
        "+f"(c[10][0]), "+f"(c[10][1]), "+f"(c[10][2]), "+f"(c[10][3]),
        "+f"(c[11][0]), "+f"(c[11][1]), "+f"(c[11][2]), "+f"(c[11][3]),
        "+f"(c[12][0]), "+f"(c[12][1]), "+f"(c[12][2]), "+f"(c[12][3]),
        "+f"(c[13][0]), "+f"(c[13][1]), "+f"(c[13][2]), "+f"(c[13][3]),
        "+f"(c[14][0]), "+f"(c[14][1]), "+f"(c[14][2]), "+f"(c[14][3]),
        "+f"(c[15][0]), "+f"(c[15][1]), "+f"(c[15][2]), "+f"(c[15][3])
      : "l"(a), "l"(b));
#endif
}

#endif
