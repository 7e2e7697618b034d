/* matmul_hopper.cuh - the instructions of compute capability 9.0a that matmul_hopper.cu is made of [PTX ISA: "mbarrier",
 * "cp.async.bulk.tensor", "Asynchronous warpgroup level matrix instructions", "barrier.cluster"]. Only code for sm_90a may call them. */
#ifndef PAGEDBENCH_MATMUL_HOPPER_CUH
#define PAGEDBENCH_MATMUL_HOPPER_CUH

#include <cuda.h>
#include <stdint.h>

/* ---- barriers in shared memory: addresses are shared::cta, 8 bytes each ----------------------------------------------- */

static __device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/* Makes the initialised barriers known to the cluster and to the copy engine. */
static __device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
/* One arrival, and `bytes` of copies that the phase waits for too. */
static __device__ __forceinline__ void barrier_expect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/* Arrives at the barrier that lies at this address in block `rank` of the cluster. Without .release.cluster, which becomes a MEMBAR a slice
 * (H100: every product of clusters took 1 us a slice, 960 us instead of 610 for 2,048 tokens of gate_up): nothing but wgmma has read
 * the slice, and its wait has ended. */
static __device__ __forceinline__ void barrier_arrive(uint32_t barrier, uint32_t rank) {
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}
static __device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/* Until the phase of this parity has ended; a fresh barrier counts as if the phase of parity 1 had. */
static __device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (done == 0);
}

/* ---- clusters ---------------------------------------------------------------------------------------------------------- */

static __device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
/* All threads of the cluster; the lanes of a warp may come one by one. */
static __device__ __forceinline__ void cluster_sync() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* ---- copies of a box of a matrix ---------------------------------------------------------------------------------------- */

static __device__ __forceinline__ void prefetch_map(const CUtensorMap *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/* The box at (column, row) to `destination`; its bytes count at `barrier`. Outside of the matrix: zeros, whose bytes count too. */
static __device__ __forceinline__ void load_box(uint32_t destination, const CUtensorMap *map, int column, int row, uint32_t barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(destination),
               "l"(map), "r"(column), "r"(row), "r"(barrier)
               : "memory");
}
/* The same into every block of the cluster that `mask` names, at the same addresses in each. */
static __device__ __forceinline__ void load_box(uint32_t destination, const CUtensorMap *map, int column, int row, uint32_t barrier,
                                                uint16_t mask) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
          destination),
      "l"(map), "r"(column), "r"(row), "r"(barrier), "h"(mask)
      : "memory");
}

/* ---- registers ----------------------------------------------------------------------------------------------------------- */

template <int COUNT>
static __device__ __forceinline__ void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT>
static __device__ __forceinline__ void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

/* ---- the product --------------------------------------------------------------------------------------------------------- */

/* Descriptor of rows of 64 bf16 (128 bytes, 128-byte swizzle, as a box with that swizzle leaves them): bits 0-13 the address / 16, 32-45
 * the 1,024 bytes from one group of 8 rows to the next / 16, 62 the swizzle; 16-29 are not read in this layout. The address is a multiple
 * of 1,024; k advances by 16 elements = 32 bytes = 2 within the swizzled row. */
static __host__ __device__ __forceinline__ uint64_t matrix_descriptor(uint32_t address) {
  return (static_cast<uint64_t>(1) << 62) | (static_cast<uint64_t>(1024 >> 4) << 32) | (static_cast<uint64_t>(1) << 16) | ((address & 0x3ffff) >> 4);
}

static __device__ __forceinline__ void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ __forceinline__ void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int PENDING>
static __device__ __forceinline__ void product_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
/* Keeps the compiler from moving a use of the sums across: they are written in the background. */
template <int COUNT>
static __device__ __forceinline__ void pin(float (&sum)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(sum[i])::"memory");
}

/* Register names %0 .. by tens, and the operands they stand for. */
#define KN_2(tens) "%" tens "0,%" tens "1"
#define KN_4(tens) KN_2(tens) ",%" tens "2,%" tens "3"
#define KN_8(tens) KN_4(tens) ",%" tens "4,%" tens "5,%" tens "6,%" tens "7"
#define KN_10(tens) KN_8(tens) ",%" tens "8,%" tens "9,"
#define KN_30 KN_10("") KN_10("1") KN_10("2")
#define KN_60 KN_30 KN_10("3") KN_10("4") KN_10("5")
#define KN_110 KN_60 KN_10("6") KN_10("7") KN_10("8") KN_10("9") KN_10("10")
#define KN_SUM4(i) "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3])
#define KN_SUM16(i) KN_SUM4(i), KN_SUM4(i + 4), KN_SUM4(i + 8), KN_SUM4(i + 12)
#define KN_SUM32(i) KN_SUM16(i), KN_SUM16(i + 16)
#define KN_SUM64(i) KN_SUM32(i), KN_SUM32(i + 32)
#define KN_PRODUCT(columns, registers, a, b, added, ...)                                                                 \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" added ", 0;\nwgmma.mma_async.sync.aligned.m64n" columns               \
               "k16.f32.bf16.bf16 {" registers "}, %" a ", %" b ", p, 1, 1, 0, 0;\n}"                                      \
               : __VA_ARGS__                                                                                             \
               : "l"(in), "l"(weight), "r"(add))

/* sum [64 x N] = in [64 x 16] * weight [N x 16]^T, added to what sum held when `add` is not 0. Of row 16 w + g (and + 8) of warp w a lane
 * holds sum[4 j], sum[4 j + 1] (sum[4 j + 2], + 3): columns 8 j + 2 t and the next, where g = lane / 4, t = lane % 4. */
template <int N>
static __device__ __forceinline__ void product(float (&sum)[N / 2], uint64_t in, uint64_t weight, int add) {
  static_assert(N == 64 || N == 96 || N == 128 || N == 224 || N == 256, "no such width was spelled out");
  if constexpr (N == 64) KN_PRODUCT("64", KN_30 KN_2("3"), "32", "33", "34", KN_SUM32(0));
  if constexpr (N == 96) KN_PRODUCT("96", KN_30 KN_10("3") KN_8("4"), "48", "49", "50", KN_SUM32(0), KN_SUM16(32));
  if constexpr (N == 128) KN_PRODUCT("128", KN_60 KN_4("6"), "64", "65", "66", KN_SUM64(0));
  if constexpr (N == 224) KN_PRODUCT("224", KN_110 KN_2("11"), "112", "113", "114", KN_SUM64(0), KN_SUM32(64), KN_SUM16(96));
  if constexpr (N == 256) KN_PRODUCT("256", KN_110 KN_10("11") KN_8("12"), "128", "129", "130", KN_SUM64(0), KN_SUM64(64));
}

#endif
