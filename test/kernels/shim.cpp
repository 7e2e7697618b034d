// A library that is libkernels-cpu.so but for one operation, made wrong in the
// way FAULT names. The test proves with it that check finds such faults. The
// rest of the ABI is found in the library it is linked to.
#include <dlfcn.h>

#include <cstring>

#include "kernels.h"

namespace {
template <class Function> Function real(Function, const char *name) {
  return reinterpret_cast<Function>(
      dlsym(dlopen(REAL_LIBRARY, RTLD_NOW | RTLD_LOCAL), name));
}
float *floats(kn_addr address) { return reinterpret_cast<float *>(address); }
} // namespace

#if FAULT == 1 // one element of many is off by 0.1 %
extern "C" KN_EXPORT int32_t kn_rmsnorm(kn_device *device, kn_addr out,
                                        kn_addr in, kn_addr weight,
                                        int32_t tokens, int32_t width,
                                        float eps) {
  const int32_t status = real(&kn_rmsnorm, "kn_rmsnorm")(
      device, out, in, weight, tokens, width, eps);
  floats(out)[width - 1] *= 1.001f;
  return status;
}
#elif FAULT == 2 // the last row is not written
extern "C" KN_EXPORT int32_t kn_silu_mul(kn_device *device, kn_addr out,
                                         kn_addr gate_up, int32_t tokens,
                                         int32_t width) {
  return real(&kn_silu_mul, "kn_silu_mul")(device, out, gate_up, tokens - 1,
                                           width);
}
#elif FAULT == 3 // one float behind the output is written
extern "C" KN_EXPORT int32_t kn_gather_rows(kn_device *device, kn_addr out,
                                            kn_addr in, kn_addr index,
                                            int32_t samples, int32_t width) {
  const int32_t status = real(&kn_gather_rows, "kn_gather_rows")(
      device, out, in, index, samples, width);
  floats(out)[static_cast<int64_t>(samples) * width] = 0;
  return status;
}
#elif FAULT == 4 // the causal mask is off by one: every query sees one key less
extern "C" KN_EXPORT int32_t kn_attention(
    kn_device *device, kn_addr out, kn_addr q, int32_t q_stride, kn_addr kv,
    double block_stride, int32_t block_size, kn_addr query_start,
    kn_addr kv_length, kn_addr row_slot, kn_addr slot_table,
    int32_t slot_stride, int32_t rows, int32_t decode_rows, int32_t tokens,
    int32_t heads, int32_t kv_heads, int32_t head_dim, float scale,
    int32_t max_kv, kn_addr workspace) {
  int32_t *lengths = reinterpret_cast<int32_t *>(kv_length);
  const int32_t *starts = reinterpret_cast<const int32_t *>(query_start);
  for (int32_t r = 0; r < rows; r++)
    lengths[r] -= lengths[r] > starts[r + 1] - starts[r];
  return real(&kn_attention, "kn_attention")(
      device, out, q, q_stride, kv, block_stride, block_size, query_start,
      kv_length, row_slot, slot_table, slot_stride, rows, decode_rows, tokens,
      heads, kv_heads, head_dim, scale, max_kv, workspace);
}
#elif FAULT == 5 // a row's result depends on how many rows stand beside it
extern "C" KN_EXPORT int32_t kn_matmul(kn_device *device, kn_addr out,
                                       kn_addr in, kn_addr weight, kn_addr bias,
                                       int32_t m, int32_t n, int32_t k,
                                       int32_t out_dtype) {
  const int32_t status = real(&kn_matmul, "kn_matmul")(
      device, out, in, weight, bias, m, n, k, out_dtype);
  if (m > 8)
    floats(out)[0] *= 1.0000002f;
  return status;
}
#elif FAULT == 6 // the last row gets its neighbour in the vocabulary
extern "C" KN_EXPORT int32_t kn_sample(kn_device *device, kn_addr tokens,
                                       kn_addr logits, kn_addr sample_row,
                                       kn_addr row_slot, kn_addr kv_length,
                                       kn_addr slot_table, int32_t slot_stride,
                                       kn_addr history, int32_t history_stride,
                                       int32_t samples, int32_t vocab,
                                       int32_t greedy_only, kn_addr workspace) {
  const int32_t status = real(&kn_sample, "kn_sample")(
      device, tokens, logits, sample_row, row_slot, kv_length, slot_table,
      slot_stride, history, history_stride, samples, vocab, greedy_only,
      workspace);
  int32_t *token = reinterpret_cast<int32_t *>(tokens);
  token[samples - 1] = (token[samples - 1] + 1) % vocab;
  return status;
}
#endif
