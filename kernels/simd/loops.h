// loops.h - what the files of this folder define for one instruction set; table.cpp gathers it.
#pragma once

#include "inner_loops.h"
#include "vector.h"

namespace kn::KN_ISA {

template <class W>
void matmul(const MatmulTask &task, int32_t row, int32_t rows, int32_t first, int32_t last);
template <class W>
void prepare_x(void *out, const float *x, int32_t k);
template <class W>
int64_t x_bytes(int32_t k);
template <class W, int D>
void attention(const AttentionTask &task);
template <class W>
void rmsnorm(float *out, float *in, const float *added, const W *weight, int32_t width, float eps);

void add(float *out, const float *in, int32_t width);
void mul(float *out, const float *in, int32_t width);
void silu(float *out, const float *gate, int32_t width);
void silu_mul(float *out, const float *gate, const float *up, int32_t width);
void rotate(float *x, const float *cosine, const float *sine, int32_t half);
void round_bf16(uint16_t *out, const float *in, int32_t width);
int32_t argmax(const float *values, int32_t count);
double sum_exp(const float *values, int32_t count, float shift);
void exp_shifted(float *out, const float *in, int32_t count, float shift);
void philox(uint32_t *out, const int32_t *ids, int32_t count, uint32_t k0, uint32_t k1, uint32_t c1);
float sum(const float *values, int64_t count);

}  // namespace kn::KN_ISA
