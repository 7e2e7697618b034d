/* stream_k.cuh - a flat list of equal pieces of work, cut into as many equal ranges as there are blocks, whatever the shapes are.
 * A unit (pieces that add up to one result) may so lie in several blocks: each leaves a partial, the last to arrive adds them up
 * in block order, hence with the same bits every time. No block ever waits for another.
 * Source: Stream-K (arXiv 2301.03598). */
#ifndef PAGEDBENCH_STREAM_K_CUH
#define PAGEDBENCH_STREAM_K_CUH

#include "device.cuh"

/* Most blocks of a launch. */
constexpr int kRangesMax = 1024;

/* Arrivals at the units that begin in block b and end in a later one (there is at most one). All zero between launches, because
 * the last to arrive clears its own. One array of a file serves the launches of one stream. */
struct Arrivals {
  unsigned count[kRangesMax];
};

static __host__ __device__ __forceinline__ int range_start(int block, int pieces, int blocks) {
  return static_cast<int>(static_cast<long long>(pieces) * block / blocks);
}
/* The block whose range holds `piece`. */
static __host__ __device__ __forceinline__ int range_owner(int piece, int pieces, int blocks) {
  return static_cast<int>((static_cast<long long>(piece + 1) * blocks - 1) / pieces);
}

/* Tells all threads of the block whether theirs is the last of blocks first .. last to arrive. Before it each thread writes its part
 * of the partial and calls __threadfence(). */
static __device__ __forceinline__ bool arrives_last(Arrivals &arrivals, int first, int last) {
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    is_last = atomicAdd(&arrivals.count[first], 1u) == static_cast<unsigned>(last - first);
    if (is_last) arrivals.count[first] = 0;
    __threadfence();
  }
  __syncthreads();
  return is_last;
}

#endif
