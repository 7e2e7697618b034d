/* hopper.cuh - what compute capability 9.0 alone has: matrix products of a warpgroup (wgmma) on shared memory, copies by tensor map
 * (TMA), barriers in shared memory that count bytes. Bodies exist in the sm_90a part only; other parts never call them.
 *
 * Shared tiles of this file are planes of 64 bf16 columns: row r is 128 bytes at r * 128, its 16-byte unit u stands at u ^ (r % 8), planes
 * begin at multiples of 1024 bytes ("128-byte swizzle"; TMA writes it and wgmma reads it from the address bits alone).
 *
 * wgmma m64nNk16, bf16 in, f32 out. Warp w of the warpgroup holds rows 16 w .. 16 w + 15; with g = lane / 4, t = lane % 4 a lane has
 *   D [64 x N]   d[4 n + 0, 1]: (g, 8 n + 2t..)  d[4 n + 2, 3]: (g + 8, 8 n + 2t..)
 *   A [64 x 16]  a0: (g, 2t..)  a1: (g + 8, 2t..)  a2: (g, 2t + 8..)  a3: (g + 8, 2t + 8..)
 * so two neighbouring 8-column pieces of D, rounded, are one A. Registers of D and A are not ours between the instruction and the wait.
 * Source: PTX ISA, "Asynchronous warpgroup level matrix instructions", "Tensor map", "mbarrier". */
#ifndef PAGEDBENCH_HOPPER_CUH
#define PAGEDBENCH_HOPPER_CUH

#include <cuda.h>

#include "tensor_core.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define KN_HOPPER 1
#endif

constexpr int kPlaneColumns = 64, kPlaneRowBytes = 128;

#ifdef KN_HOPPER

/* ---- barriers -------------------------------------------------------------------------------------------------------- */

static __device__ __forceinline__ void barrier_init(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/* Makes the initialised barriers known to the cluster and to the copy engine. */
static __device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
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
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}
/* Arrives, and has the phase end only after `bytes` more have been copied in. */
static __device__ __forceinline__ void barrier_expect(uint32_t barrier, int bytes) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(barrier), "r"(bytes) : "memory");
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
/* The same as a loop that the compiler does not see into. Each kernel keeps the one it was measured with: their code differs by a sixth. */
static __device__ __forceinline__ void barrier_wait_opaque(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra ENDED;\nbra AGAIN;\nENDED:\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/* Ordinary writes of this thread to shared memory come before what the async proxy (wgmma, TMA) does after the next barrier. */
static __device__ __forceinline__ void publish_to_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* The same of all memory it wrote. */
static __device__ __forceinline__ void publish_all_to_async() { asm volatile("fence.proxy.async;" ::: "memory"); }

/* Hardware barrier `id` of `threads` threads: some wait, the others only arrive. */
static __device__ __forceinline__ void named_wait(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
static __device__ __forceinline__ void named_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

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

/* ---- copies ---------------------------------------------------------------------------------------------------------- */

static __device__ __forceinline__ void prefetch_map(const CUtensorMap *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
/* One box of a 4-dimensional map from coordinates (column, row, plane, block) to shared memory; its bytes count on `barrier`. */
static __device__ __forceinline__ void copy_box(uint32_t destination, const CUtensorMap *map, int column, int row, int plane, int block,
                                                uint32_t barrier) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(destination),
               "l"(map), "r"(column), "r"(row), "r"(plane), "r"(block), "r"(barrier)
               : "memory");
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

/* ---- matrix products ------------------------------------------------------------------------------------------------- */

/* Where an operand lies. Contiguous along k (row r of the plane is row or column r of the matrix): the 8-row pieces are 1024 bytes apart, and
 * 16 further along k is 32 bytes further. */
static __device__ __forceinline__ uint64_t operand_along_k(uint32_t address) {
  return (1ull << 62) | (static_cast<uint64_t>(1024 >> 4) << 32) | (1ull << 16) | ((address & 0x3ffff) >> 4);
}
/* Contiguous along n (row r of the plane is k = r): planes of 64 columns of n are `plane_bytes` apart, the 8-row pieces 1024 bytes, and 16
 * further along k is 2048 bytes further. */
static __device__ __forceinline__ uint64_t operand_along_n(uint32_t address, int plane_bytes) {
  return (1ull << 62) | (static_cast<uint64_t>(1024 >> 4) << 32) | (static_cast<uint64_t>(plane_bytes >> 4) << 16) | ((address & 0x3ffff) >> 4);
}
/* The operand `bytes` further on. */
static __device__ __forceinline__ uint64_t operand_at(uint64_t operand, int bytes) { return operand + static_cast<uint64_t>(bytes >> 4); }

/* Before the first product after registers were touched. */
static __device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending>
static __device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/* What d holds here is final: the compiler neither reads it earlier (a product's result before the wait above this) nor computes it later. */
template <int N>
static __device__ __forceinline__ void settled(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}

#define KN_EIGHT(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define KN_THIRTYTWO(d, i) KN_EIGHT(d, i), KN_EIGHT(d, i + 8), KN_EIGHT(d, i + 16), KN_EIGHT(d, i + 24)
#define KN_NAMES_32                                                                                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, " \
  "%29, %30, %31"
#define KN_NAMES_64                                                                                                                          \
  KN_NAMES_32                                                                                                                                \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, " \
  "%59, %60, %61, %62, %63"

/* d [64, 128] = (add ? d : 0) + a [64, 16] b [16, 128], both contiguous along k in shared memory. */
template <bool add>
static __device__ __forceinline__ void multiply_shared(float (&d)[64], uint64_t a, uint64_t b) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" KN_NAMES_64
               "}, %64, %65, add, 1, 1, 0, 0;\n}"
               : KN_THIRTYTWO(d, 0), KN_THIRTYTWO(d, 32)
               : "l"(a), "l"(b), "n"(add ? 1 : 0));
}
/* d [64, 128] += a [64, 16] b [16, 128]: a in registers, b contiguous along n. */
static __device__ __forceinline__ void multiply_registers(float (&d)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("{\n.reg .pred add;\nsetp.eq.b32 add, 0, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" KN_NAMES_64
               "}, {%64, %65, %66, %67}, %68, add, 1, 1, 1;\n}"
               : KN_THIRTYTWO(d, 0), KN_THIRTYTWO(d, 32)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
/* The same for 64 columns. */
static __device__ __forceinline__ void multiply_registers(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("{\n.reg .pred add;\nsetp.eq.b32 add, 0, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" KN_NAMES_32
               "}, {%32, %33, %34, %35}, %36, add, 1, 1, 1;\n}"
               : KN_THIRTYTWO(d, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
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
#endif
