// layer.cpp - the chains of a layer as one operation: here what the single operations give in turn, nothing is won by fusing them
// (a row of activations stays in cache between two of them).
#include "kernels.h"

#define KN_TRY(call)                         \
  do {                                       \
    const int32_t status = (call);           \
    if (status != KN_OK) return status;      \
  } while (0)

namespace {

// normed = rmsnorm(residual + branch), or of the residual alone.
int32_t norm_of_sum(kn_device *device, kn_addr residual_out, kn_addr normed, kn_addr residual, kn_addr branch, kn_addr norm, float eps,
                    int32_t tokens, int32_t width) {
  if (branch == 0) return kn_rmsnorm(device, normed, residual, norm, tokens, width, eps);
  return kn_add_rmsnorm(device, normed, residual_out, residual, branch, norm, tokens, width, eps);
}

}  // namespace

int32_t kn_attention_input(kn_device *device, kn_addr qkv, kn_addr residual_out, kn_addr normed, kn_addr residual, kn_addr branch,
                           kn_addr norm, float eps, kn_addr weight, kn_addr bias, kn_addr positions, kn_addr kv_slot, kn_addr rope,
                           kn_addr kv, double block_stride, int32_t block_size, int32_t tokens, int32_t width, int32_t heads,
                           int32_t kv_heads, int32_t head_dim) {
  KN_TRY(norm_of_sum(device, residual_out, normed, residual, branch, norm, eps, tokens, width));
  KN_TRY(kn_matmul(device, qkv, normed, weight, bias, tokens, (heads + 2 * kv_heads) * head_dim, width, KN_F32));
  return kn_rope_store(device, qkv, positions, kv_slot, rope, kv, block_stride, block_size, tokens, heads, kv_heads, head_dim);
}

int32_t kn_mlp_input(kn_device *device, kn_addr gated, kn_addr residual_out, kn_addr normed, kn_addr gate_up, kn_addr residual,
                     kn_addr branch, kn_addr norm, float eps, kn_addr weight, int32_t tokens, int32_t width, int32_t inner) {
  KN_TRY(norm_of_sum(device, residual_out, normed, residual, branch, norm, eps, tokens, width));
  KN_TRY(kn_matmul(device, gate_up, normed, weight, 0, tokens, 2 * inner, width, KN_F32));
  return kn_silu_mul(device, gated, gate_up, tokens, inner);
}
