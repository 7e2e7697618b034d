/* step.cu - kn_step_prepare: the staging block of a step becomes ids, positions, cache slots and lengths on the device.
 * Moves a few words a token: bound by latency (about 3 us). One launch for up to 2048 tokens; above, the changes to the block
 * tables are a launch of their own, because every block of the second one must see them. */
#include "device.cuh"

struct StepArguments {
  const int32_t *staging;
  int32_t *slotTable, *history, *ids, *positions, *kvSlot, *kvLength, *sampleIndex;
  int32_t rows, tokens, samples, maxRows, maxChanges, slotStride, historyStride, blockSize;
};

static __device__ void apply_changes(const StepArguments &a) {
  const int32_t *changes = a.staging + KN_STEP_HEADER + 5 * a.maxRows + 1;
  const int count = min(a.staging[KN_STEP_CHANGES], a.maxChanges);
  for (int i = threadIdx.x; i < count; i += blockDim.x) a.slotTable[changes[2 * i]] = changes[2 * i + 1];
}

static __device__ void expand(const StepArguments &a) {
  const int32_t *rowSlot = a.staging + KN_STEP_HEADER, *rowStart = rowSlot + a.maxRows, *rowSource = rowStart + a.maxRows;
  const int32_t *queryStart = rowSource + a.maxRows, *sampleRow = queryStart + a.maxRows + 1;
  const int32_t *tokens = sampleRow + a.maxRows + 2 * a.maxChanges;
  const int first = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
  for (int r = first; r < a.rows; r += stride) a.kvLength[r] = rowStart[r] + queryStart[r + 1] - queryStart[r];
  for (int s = first; s < a.samples; s += stride) a.sampleIndex[s] = queryStart[sampleRow[s] + 1] - 1;
  for (int t = first; t < a.tokens; t += stride) {
    int row = 0; /* the last row whose query_start is at most t */
    for (int high = a.rows; high - row > 1;) {
      const int middle = (row + high) >> 1;
      if (queryStart[middle] <= t) row = middle;
      else high = middle;
    }
    const int within = t - queryStart[row], position = rowStart[row] + within, slot = rowSlot[row];
    int32_t *known = a.history + (long long)slot * a.historyStride + position;
    const bool inside = position < a.historyStride;
    int id = 0;
    if (rowSource[row] >= 0) {
      id = tokens[rowSource[row] + within];
      if (inside) *known = id;
    } else if (inside) {
      id = *known;
    }
    const int32_t *blocks = a.slotTable + (long long)slot * a.slotStride + KN_SLOT_BLOCKS;
    a.ids[t] = id;
    a.positions[t] = position;
    a.kvSlot[t] = blocks[position / a.blockSize] * a.blockSize + position % a.blockSize;
  }
}

static __global__ void __launch_bounds__(1024) step_kernel(const StepArguments a) {
  griddep_wait();
  apply_changes(a);
  __syncthreads();
  expand(a);
}
static __global__ void __launch_bounds__(1024) changes_kernel(const StepArguments a) {
  griddep_wait();
  apply_changes(a);
}
static __global__ void __launch_bounds__(256) expand_kernel(const StepArguments a) {
  griddep_wait();
  expand(a);
}

extern "C" int32_t kn_step_prepare(kn_device *device, kn_addr staging, kn_addr slot_table, kn_addr history, kn_addr ids,
                                   kn_addr positions, kn_addr kv_slot, kn_addr kv_length, kn_addr sample_index, int32_t rows,
                                   int32_t tokens, int32_t samples, int32_t max_rows, int32_t max_changes, int32_t max_tokens,
                                   int32_t slot_stride, int32_t history_stride, int32_t block_size) {
  KN_OPERATION(device, "kn_step_prepare");
  KN_REQUIRE(device, rows >= 0 && rows <= max_rows, "kn_step_prepare: rows %d of at most %d", rows, max_rows);
  KN_REQUIRE(device, tokens >= 0 && samples >= 0 && samples <= max_rows, "kn_step_prepare: tokens %d, samples %d", tokens, samples);
  KN_REQUIRE(device, tokens == 0 || rows > 0, "kn_step_prepare: %d tokens but no row", tokens);
  KN_REQUIRE(device, max_changes >= 0 && max_tokens >= 0, "kn_step_prepare: max_changes %d, max_tokens %d", max_changes, max_tokens);
  KN_REQUIRE(device, slot_stride > KN_SLOT_BLOCKS, "kn_step_prepare: slot_stride %d leaves no room for a block table", slot_stride);
  KN_REQUIRE(device, history_stride > 0 && block_size > 0, "kn_step_prepare: history_stride %d, block_size %d", history_stride, block_size);
  KN_REQUIRE(device, staging && slot_table && history && (tokens == 0 || (ids && positions && kv_slot && kv_length)) &&
                         (samples == 0 || sample_index), "kn_step_prepare: an address is absent");
  const StepArguments a = {pointer<int32_t>(staging),   pointer<int32_t>(slot_table), pointer<int32_t>(history),
                           pointer<int32_t>(ids),       pointer<int32_t>(positions),  pointer<int32_t>(kv_slot),
                           pointer<int32_t>(kv_length), pointer<int32_t>(sample_index), rows, tokens, samples, max_rows, max_changes,
                           slot_stride, history_stride, block_size};
  if (tokens <= 2048) return launch(device, "kn_step_prepare", step_kernel, 1, tokens <= 256 ? 256 : 1024, 0, a);
  KN_TRY(launch(device, "kn_step_prepare", changes_kernel, 1, 1024, 0, a));
  return launch(device, "kn_step_prepare", expand_kernel, divide_up(tokens, 256), 256, 0, a);
}
