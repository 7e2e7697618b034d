// inner_loops.h - the innermost loops of the operations, compiled once for each instruction set (see CMakeLists.txt); the
// device picks one table when it is created. Nothing here knows threads, devices or errors.
//
// Types: W is the type of weights and KV cache (bf16 as uint16_t, or f32). A weight matrix [N, K] is packed in panels of 16
// rows n: bf16 as [ceil(N/16)][ceil(K/2)][16][2], f32 as [ceil(N/16)][K][16], padded with zeros; so one vector load brings the
// same k of 16 outputs, and no horizontal sum is ever needed.
#pragma once

#include <stdint.h>

namespace kn {

constexpr int PANEL = 16;     // columns of the output in one panel of a packed weight
constexpr int KEY_TILE = 64;  // keys of one softmax step, counted from position 0: the same for every chunking

struct MatmulTask {
  const void *x;  // [m] rows of x_stride bytes, as prepare_x made them
  int64_t x_stride;
  const void *weight;  // packed [n, k] of W
  const void *bias;    // W [n], or null
  float *out;          // [m, n]
  int32_t m, n, k;
};

// Causal attention of some successive queries of one row, all query heads of one KV head.
struct AttentionTask {
  const float *q;  // [queries] rows, q_stride apart; the first query head of the group
  int64_t q_stride;
  float *out;  // as q
  int64_t out_stride;
  const char *kv;         // this layer's part of block 0
  int64_t block_stride;   // bytes
  const int32_t *blocks;  // of the row
  int32_t block_size;
  int32_t queries;
  int32_t first_position;  // of the first query; query i sees keys 0 .. first_position + i
  int32_t group;           // query heads of one KV head
  int32_t kv_head, kv_heads;
  float scale;
  char *scratch;  // attention_scratch_bytes
};

template <class W>
struct TypedLoops {
  // out W-matrix times x: columns of panels [first, last), rows [row, row + rows).
  void (*matmul)(const MatmulTask &task, int32_t row, int32_t rows, int32_t first, int32_t last);
  // One row of x [k] in the form matmul reads, in x_bytes(k) bytes; values are rounded to W.
  void (*prepare_x)(void *out, const float *x, int32_t k);
  int64_t (*x_bytes)(int32_t k);
  void (*attention_64)(const AttentionTask &task);
  void (*attention_128)(const AttentionTask &task);
  // rmsnorm of one row; with `added` not null, residual (= in) += added first.
  void (*rmsnorm)(float *out, float *in, const float *added, const W *weight, int32_t width, float eps);
};

struct InnerLoops {
  const char *isa;
  TypedLoops<uint16_t> bf16;
  TypedLoops<float> f32;
  void (*add)(float *out, const float *in, int32_t width);
  void (*mul)(float *out, const float *in, int32_t width);
  void (*silu)(float *out, const float *gate, int32_t width);
  void (*silu_mul)(float *out, const float *gate, const float *up, int32_t width);
  // x0, x1: the halves of one head, rotated in place. cosine, sine [half].
  void (*rotate)(float *x, const float *cosine, const float *sine, int32_t half);
  void (*round_bf16)(uint16_t *out, const float *in, int32_t width);
  // Lowest index of the largest value; NaN loses.
  int32_t (*argmax)(const float *values, int32_t count);
  // Sum of exp((v - shift) * 1).
  double (*sum_exp)(const float *values, int32_t count, float shift);
  // out = exp(in - shift).
  void (*exp_shifted)(float *out, const float *in, int32_t count, float shift);
  // out[i] = word 0 of Philox4x32-10 with key (k0, k1) and counter (ids[i], c1, 0, 0): kn_philox of random.h.
  void (*philox)(uint32_t *out, const int32_t *ids, int32_t count, uint32_t k0, uint32_t k1, uint32_t c1);
  // Sum of the bytes read as f32, in eight independent chains.
  float (*sum)(const float *values, int64_t count);
};

// Bytes of scratch that one AttentionTask of `rows` = queries * group needs.
int64_t attention_scratch_bytes(int32_t rows, int32_t head_dim);

#if defined(__x86_64__)
extern const InnerLoops inner_loops_avx512bf16, inner_loops_avx512, inner_loops_avx2;
#endif
extern const InnerLoops inner_loops_portable;

}  // namespace kn
