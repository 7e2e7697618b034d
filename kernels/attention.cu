/* kn_attention: causal attention over the paged cache. Rows that decode (one query each) go to attention_decode.cu, which is bound
 * by reading the cache; the others, bound by the tensor cores, to attention_wgmma.cu on compute capability 9.0 (unless
 * option "wgmma" is false) and to attention_prefill.cu elsewhere.
 *
 * What "deterministic" holds: every row goes to the latter two. There a query's result is one pass over its keys in tiles
 * at absolute positions, in order, and each query row of a matrix instruction is independent of the others. So the bits depend
 * on the query, its position and its keys alone: not on the batch, nor on how the prompt was cut, nor on whether the token came
 * as prompt or was decoded. Without the option the decode kernel cuts the keys where the balance of the whole batch wants it. */
#include <cmath>

#include "attention.cuh"

static bool supported(int heads, int kv_heads, int head_dim) {
  return kv_heads > 0 && heads > 0 && heads % kv_heads == 0 && heads / kv_heads <= kGroupMax && (head_dim == 64 || head_dim == 128);
}

KN_EXPORT int32_t kn_attention(kn_device *device, kn_addr out, kn_addr q, int32_t q_stride, kn_addr kv, double block_stride,
                               int32_t block_size, kn_addr query_start, kn_addr kv_length, kn_addr row_slot, kn_addr slot_table,
                               int32_t slot_stride, int32_t rows, int32_t decode_rows, int32_t tokens, int32_t heads, int32_t kv_heads,
                               int32_t head_dim, float scale, int32_t max_kv, kn_addr workspace) {
  KN_OPERATION(device, "kn_attention");
  if (!supported(heads, kv_heads, head_dim))
    return fail(device, KN_UNSUPPORTED, "kn_attention: heads %d, kv_heads %d, head_dim %d (1 to %d query heads to a KV head; 64 or 128)",
                heads, kv_heads, head_dim, kGroupMax);
  KN_REQUIRE(device, rows >= 0 && decode_rows >= 0 && decode_rows <= rows && tokens >= 0, "kn_attention: rows %d, decode_rows %d, tokens %d",
             rows, decode_rows, tokens);
  if (rows == 0 || tokens == 0) return KN_OK;
  KN_REQUIRE(device, block_size >= 16 && (block_size & (block_size - 1)) == 0, "kn_attention: block_size %d (a power of two from 16)", block_size);
  KN_REQUIRE(device, out && q && kv && query_start && kv_length && row_slot && slot_table && workspace, "kn_attention: a null address");
  KN_REQUIRE(device, aligned16(out) && aligned16(q) && aligned16(kv) && aligned16(workspace) && q_stride % 8 == 0 && std::fmod(block_stride, 16) == 0,
             "kn_attention: out, q, kv, workspace, q_stride and block_stride must keep to 16 bytes");
  KN_REQUIRE(device, scale > 0 && max_kv > 0, "kn_attention: scale %g, max_kv %d", static_cast<double>(scale), max_kv);

  AttentionArguments arguments{};
  arguments.out = pointer<bf16>(out);
  arguments.q = pointer<const bf16>(q);
  arguments.kv = pointer<const char>(kv);
  arguments.partials = pointer<float>(workspace);
  arguments.query_start = pointer<const int>(query_start);
  arguments.kv_length = pointer<const int>(kv_length);
  arguments.row_slot = pointer<const int>(row_slot);
  arguments.slot_table = pointer<const int>(slot_table);
  arguments.block_stride = static_cast<long long>(block_stride);
  arguments.q_stride = q_stride;
  arguments.slot_stride = slot_stride;
  arguments.heads = heads;
  arguments.kv_heads = kv_heads;
  while ((1 << arguments.block_shift) < block_size) arguments.block_shift++;
  arguments.scale_log2 = scale * 1.44269504088896340736f;

  const int split = device->deterministic ? 0 : decode_rows;
  if (split > 0) {
    arguments.first_row = 0;
    arguments.rows = split;
    KN_TRY(attention_decode(device, arguments, head_dim));
  }
  if (split < rows) {
    arguments.first_row = split;
    arguments.rows = rows;
    KN_TRY((device->attentionTickets ? attention_wgmma : attention_prefill)(device, arguments, head_dim, tokens - split));
  }
  return KN_OK;
}

KN_EXPORT int32_t kn_attention_workspace(kn_device *device, int32_t max_rows, int32_t max_tokens, int32_t heads, int32_t head_dim,
                                         int32_t max_kv, double *bytes) {
  KN_CALL(device);
  KN_REQUIRE(device, bytes != nullptr && max_rows >= 0 && max_tokens >= 0 && heads > 0 && max_kv > 0, "kn_attention_workspace: an impossible argument");
  if (head_dim != 64 && head_dim != 128) return fail(device, KN_UNSUPPORTED, "kn_attention_workspace: head_dim %d (64 or 128)", head_dim);
  *bytes = attention_decode_workspace(device, head_dim);
  return KN_OK;
}
