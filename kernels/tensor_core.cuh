/* tensor_core.cuh - the instructions our matrix kernels are made of, and how their operands lie.
 *
 * mma.sync m16n8k16 (bf16 in, f32 out). With g = lane / 4, t = lane % 4, a lane holds [PTX ISA, "Matrix fragments for mma.m16n8k16"]:
 *   A [16 x 16]  a0: (g, 2t..)  a1: (g + 8, 2t..)  a2: (g, 2t + 8..)  a3: (g + 8, 2t + 8..)      (pairs along k)
 *   B [16 x 8]   b0: (k 2t.., n g)  b1: (k 2t + 8.., n g)                                          (pairs along k)
 *   C [16 x 8]   c0, c1: (g, 2t..)  c2, c3: (g + 8, 2t..)                                          (pairs along n)
 * Shared tiles are rows of 16-byte units; unit u of row r stands at u ^ (r % 8), so the eight rows that one ldmatrix phase reads
 * lie in different banks (rows of 128 or 256 bytes). */
#ifndef PAGEDBENCH_TENSOR_CORE_CUH
#define PAGEDBENCH_TENSOR_CORE_CUH

#include "device.cuh"

#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

static __device__ __forceinline__ uint32_t shared_address(const void *pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/* Byte offset of 16-byte unit `unit` of row `row` in a swizzled tile whose rows have `units` units (a multiple of 8). */
static __host__ __device__ __forceinline__ uint32_t swizzled(int row, int unit, int units) {
  return static_cast<uint32_t>((row * units + (unit ^ (row & 7))) * 16);
}

/* Copies 16 bytes to shared memory in the background; zeros instead when not valid (then nothing is read). */
static __device__ __forceinline__ void copy_async(uint32_t destination, const void *source, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(valid ? 16 : 0) : "memory");
}
/* The same for long rows that are read on soon: L2 fetches 256 bytes. */
static __device__ __forceinline__ void copy_async_ahead(uint32_t destination, const void *source, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(valid ? 16 : 0) : "memory");
}
static __device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most `pending` of this thread's committed groups are under way. */
template <int pending>
static __device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/* Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. Lane receives of matrix i,
 * in r[i]: elements (row g, columns 2t, 2t + 1), or with _transposed (rows 2t, 2t + 1, column g). */
static __device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
static __device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/* c += a * b */
static __device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* Over the four lanes that share a row of C. */
static __device__ __forceinline__ float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}
static __device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

#endif
