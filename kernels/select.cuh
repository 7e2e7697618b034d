/* select.cuh - finds, without sorting a row of logits, where a ranking of it reaches a goal: the k-th largest (weight 1 each), or
 * the end of the top-p nucleus (weight exp(x - largest)). One block a row; used by sample.cu and logprobs.cu.
 *
 * The likeliest come first, equal values by lower id. The range that holds the answer is cut into 2048 bins by value; counts a bin
 * bound the weight before each bin from above and below, hence the few bins that can hold the answer; one more pass sums the
 * weight above them exactly and collects their elements; when these fit in shared memory they are sorted and summed one by one,
 * otherwise the range shrinks to them and the search goes on. Usually two passes over a row (513 KB at V = 128256, from L2). */
#ifndef PAGEDBENCH_SELECT_CUH
#define PAGEDBENCH_SELECT_CUH

#include <cfloat>

#include "device.cuh"

static constexpr int SELECT_THREADS = 1024, SELECT_BINS = 2048, SELECT_CANDIDATES = 4096;

struct SelectShared {
  float scratch[32];
  uint32_t bins[SELECT_BINS];
  unsigned long long candidates[SELECT_CANDIDATES]; /* order_key in the upper half, id in the lower */
  int count, first, last, answer;
};

/* A row of logits, read as value = logit * scale. Values that are NaN or -inf take no part. */
struct Row {
  const float *logits;
  int vocab;
  float scale;

  template <typename Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    if ((reinterpret_cast<uintptr_t>(logits) & 15) == 0) {
#pragma unroll 4
      for (int i = threadIdx.x; i < vocab / 4; i += blockDim.x) {
        const float4 v = reinterpret_cast<const float4 *>(logits)[i];
        visit(4 * i, __fmul_rn(v.x, scale));
        visit(4 * i + 1, __fmul_rn(v.y, scale));
        visit(4 * i + 2, __fmul_rn(v.z, scale));
        visit(4 * i + 3, __fmul_rn(v.w, scale));
      }
      for (int i = vocab / 4 * 4 + threadIdx.x; i < vocab; i += blockDim.x) visit(i, __fmul_rn(logits[i], scale));
    } else {
      for (int i = threadIdx.x; i < vocab; i += blockDim.x) visit(i, __fmul_rn(logits[i], scale));
    }
  }
};

/* The last element that belongs: elements with a larger value belong, and those of this value with an id up to this. */
struct Cut {
  float value;
  int id;
  __device__ __forceinline__ bool keeps(float x, int i) const { return x > value || (x == value && i <= id); }
};

static __device__ __forceinline__ float block_max(float value, float *scratch) {
  const int lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  value = warp_max(value);
  if (lane == 0) scratch[threadIdx.x >> 5] = value;
  __syncthreads();
  value = warp_max(lane < warps ? scratch[lane] : -INFINITY);
  __syncthreads();
  return value;
}

/* Ascending in this key: larger values first, then lower ids. */
static __device__ __forceinline__ unsigned long long order_key(float value, int id) {
  const uint32_t bits = __float_as_uint(value == 0.0f ? 0.0f : value);
  const uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(~ascending) << 32 | static_cast<uint32_t>(id);
}
static __device__ __forceinline__ float key_value(unsigned long long key) {
  const uint32_t ascending = ~static_cast<uint32_t>(key >> 32);
  return __uint_as_float(ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending);
}

/* Sorts shared.candidates [count] ascending (bitonic, padded to a power of two). */
static __device__ void sort_candidates(SelectShared &shared, int count) {
  int size = 2;
  while (size < count) size *= 2;
  for (int i = count + threadIdx.x; i < size; i += blockDim.x) shared.candidates[i] = ~0ull;
  for (int width = 2; width <= size; width *= 2) {
    for (int stride = width / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < size / 2; i += blockDim.x) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const unsigned long long a = shared.candidates[low], b = shared.candidates[high];
        if ((a > b) == ((low & width) == 0)) {
          shared.candidates[low] = b;
          shared.candidates[high] = a;
        }
      }
    }
  }
  __syncthreads();
}

/* Inclusive sum over the block in thread order; scratch: 32 floats. */
static __device__ __forceinline__ float block_scan(float value, float *scratch) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float other = __shfl_up_sync(0xffffffffu, value, offset);
    if (lane >= offset) value += other;
  }
  if (lane == 31) scratch[warp] = value;
  __syncthreads();
  float before = 0.0f;
  for (int w = 0; w < warp; w++) before += scratch[w];
  __syncthreads();
  return before + value;
}

/* Of `ties` elements equal to `value`, the id of the one with `wanted` - 1 such ids below it. */
static __device__ int id_of_tie(const Row &row, SelectShared &shared, float value, float wanted) {
  int low = 0, high = row.vocab - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    float count = 0.0f;
    row.each([&](int id, float x) { count += x == value && id <= middle; });
    if (block_sum(count, shared.scratch) >= wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}

/* Where the summed weight of the values in [low, high] first reaches `goal`. MASS: weight exp(x - most), else 1. The same in every
 * thread. All threads of the block call it; `shared` is free before and after. */
template <bool MASS>
static __device__ Cut select_goal(const Row &row, SelectShared &shared, float low, float high, float most, float goal) {
  const auto weight = [&](float x) { return MASS ? __expf(x - most) : 1.0f; };
  const int t = threadIdx.x;
  float above = 0.0f; /* weight of the elements over `high`: less than the goal */
  for (int level = 0;; level++) {
    if (level == 32) return {low, row.vocab}; /* cannot be: every level narrows the range */
    if (!(low < high)) { /* one value only, too often to collect */
      const float needed = MASS ? ceilf((goal - above) / weight(high)) : goal - above;
      return {high, id_of_tie(row, shared, high, fmaxf(1.0f, needed))};
    }
    const float perBin = SELECT_BINS / (high - low), width = (high - low) / SELECT_BINS;
    const auto bin_of = [&](float x) { return min(SELECT_BINS - 1, static_cast<int>((high - x) * perBin)); };
    for (int i = t; i < SELECT_BINS; i += SELECT_THREADS) shared.bins[i] = 0;
    if (t == 0) {
      shared.count = 0;
      shared.first = shared.last = SELECT_BINS - 1;
      shared.answer = SELECT_CANDIDATES;
    }
    __syncthreads();
    row.each([&](int, float x) {
      if (x >= low && x <= high) atomicAdd(&shared.bins[bin_of(x)], 1u);
    });
    __syncthreads();

    /* Bounds of the weight up to and including each bin; the slack covers the rounding of the sums and of the bins' edges. */
    const float here = static_cast<float>(shared.bins[2 * t]), next = static_cast<float>(shared.bins[2 * t + 1]);
    const auto edge = [&](int bin) { return MASS ? __expf(high - bin * width - most) : 1.0f; };
    const float slack = MASS ? 1e-3f : 0.0f;
    const float upper = block_scan(here * edge(2 * t) + next * edge(2 * t + 1), shared.scratch);
    const float lower = block_scan(here * edge(2 * t + 1) + next * edge(2 * t + 2), shared.scratch);
    const float upperFirst = upper - next * edge(2 * t + 1), lowerFirst = lower - next * edge(2 * t + 2);
    const float most_left = goal - above;
    if (upperFirst * (1 + slack) >= most_left) atomicMin(&shared.first, 2 * t);
    else if (upper * (1 + slack) >= most_left) atomicMin(&shared.first, 2 * t + 1);
    if (lowerFirst * (1 - slack) >= most_left) atomicMin(&shared.last, 2 * t);
    else if (lower * (1 - slack) >= most_left) atomicMin(&shared.last, 2 * t + 1);
    __syncthreads();
    const int first = shared.first, last = max(shared.first, shared.last);

    float over = 0.0f, smallest = INFINITY, largest = -INFINITY;
    row.each([&](int id, float x) {
      if (!(x >= low && x <= high)) return;
      const int bin = bin_of(x);
      if (bin < first) {
        over += weight(x);
      } else if (bin <= last) {
        smallest = fminf(smallest, x);
        largest = fmaxf(largest, x);
        const int at = atomicAdd(&shared.count, 1);
        if (at < SELECT_CANDIDATES) shared.candidates[at] = order_key(x, id);
      }
    });
    over = block_sum(over, shared.scratch);
    const int count = shared.count; /* the barriers below let it be cleared again */
    smallest = -block_max(-smallest, shared.scratch);
    largest = block_max(largest, shared.scratch);
    above += over;
    if (count > SELECT_CANDIDATES) {
      low = smallest;
      high = largest;
      continue;
    }
    if (count == 0) return {high, row.vocab}; /* cannot be, short of NaN in the goal: keep the largest */

    sort_candidates(shared, count);
    constexpr int EACH = SELECT_CANDIDATES / SELECT_THREADS;
    float weights[EACH], sum = 0.0f;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      weights[i] = EACH * t + i < count ? weight(key_value(shared.candidates[EACH * t + i])) : 0.0f;
      sum += weights[i];
    }
    float reached = above + block_scan(sum, shared.scratch) - sum;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      reached += weights[i];
      if (EACH * t + i < count && reached >= goal) {
        atomicMin(&shared.answer, EACH * t + i);
        break;
      }
    }
    __syncthreads();
    const unsigned long long key = shared.candidates[min(shared.answer, count - 1)];
    __syncthreads();
    return {key_value(key), static_cast<int>(static_cast<uint32_t>(key))};
  }
}

#endif
