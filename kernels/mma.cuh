/* mma.cuh - the tensor core instructions of compute capability 8.0 that matmul_*.cu use: PTX ISA, "Matrix multiply-accumulate
 * operation using mma instruction", m16n8k16, bf16 operands, f32 sums. With g = lane / 4 and t = lane % 4 a thread holds
 *   a[0..3]: rows g, g + 8, g, g + 8; columns 2t, 2t + 1 (first two), 2t + 8, 2t + 9 (last two)
 *   b[0..1]: column n = g; rows 2t, 2t + 1 and 2t + 8, 2t + 9         c[0..3]: rows g, g, g + 8, g + 8; columns 2t, 2t + 1, 2t, 2t + 1 */
#ifndef PAGEDBENCH_MMA_CUH
#define PAGEDBENCH_MMA_CUH

#include <stdint.h>

static __device__ __forceinline__ void mma_bf16(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
/* Four 8x8 matrices of 2-byte elements; lane i names the 16-byte row i % 8 of matrix i / 8 (shared-memory address). */
static __device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
/* 16 bytes from global to shared memory, or zeros when not `valid`. */
static __device__ __forceinline__ void copy_async16(uint32_t shared, const void *global, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
static __device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING>
static __device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#endif
