// attention.cpp - causal attention of each row's queries over its paged cache; the inner loop and its sources are in
// simd/attention.cpp. Bytes: kv_length * 2 * G * D * w a row (decode: bound by them); flops: 4 * H * D for each (query, key).
//
// A task is one KV head of up to 32 successive queries of one row, with all query heads that share it, so that keys and values
// are read once for the group. In decode that is one task for each (row, KV head).
#include <algorithm>

#include "device.h"

using kn::check_at_least;
using kn::check_range;
using kn::fail;
using kn::pointer;

namespace {

constexpr int32_t QUERY_TILE = 32;

struct Call {
  float *out;
  const float *q;
  const char *kv;
  const int32_t *query_start, *kv_length, *row_slot, *slot_table;
  int64_t block_stride, blocks, slots;
  int32_t q_stride, block_size, slot_stride, rows, decode_rows, tokens, heads, kv_heads, head_dim, max_kv;
  float scale;
};

struct Piece {
  int32_t row, kv_head, first, count;  // queries first .. first + count of the row
};

void check_row(const Call &call, int32_t r) {
  const int32_t queries = call.query_start[r + 1] - call.query_start[r];
  const int32_t length = call.kv_length[r];
  if (call.query_start[r] < 0 || queries < 0 || call.query_start[r + 1] > call.tokens) {
    fail(KN_INVALID_ARGUMENT, "query_start[%d] is %d, [%d] is %d, tokens %d", r, call.query_start[r], r + 1,
         call.query_start[r + 1], call.tokens);
  }
  if (r < call.decode_rows && queries != 1) fail(KN_INVALID_ARGUMENT, "decode row %d has %d queries", r, queries);
  if (length < queries || length > call.max_kv)
    fail(KN_INVALID_ARGUMENT, "kv_length[%d] is %d: %d queries, max_kv %d", r, length, queries, call.max_kv);
  if (call.row_slot[r] < 0 || call.row_slot[r] >= call.slots) fail(KN_INVALID_ARGUMENT, "row_slot[%d] is %d", r, call.row_slot[r]);
  const int32_t needed = queries == 0 ? 0 : (length + call.block_size - 1) / call.block_size;
  if (needed > call.slot_stride - KN_SLOT_BLOCKS)
    fail(KN_INVALID_ARGUMENT, "row %d needs %d blocks, its table holds %d", r, needed, call.slot_stride - KN_SLOT_BLOCKS);
  const int32_t *table = call.slot_table + static_cast<int64_t>(call.row_slot[r]) * call.slot_stride + KN_SLOT_BLOCKS;
  for (int32_t b = 0; b < needed; b++) {
    if (table[b] < 0 || table[b] >= call.blocks)
      fail(KN_INVALID_ARGUMENT, "row %d: block table names block %d of %lld", r, table[b], static_cast<long long>(call.blocks));
  }
}

// The longest pieces of a row come first, so that the threads end together.
int32_t cut_row(const Call &call, int32_t r, Piece *out) {
  const int32_t queries = call.query_start[r + 1] - call.query_start[r];
  int32_t count = 0;
  for (int32_t tile = (queries + QUERY_TILE - 1) / QUERY_TILE - 1; tile >= 0; tile--) {
    const int32_t first = tile * QUERY_TILE;
    for (int32_t g = 0; g < call.kv_heads; g++) out[count++] = {r, g, first, std::min(QUERY_TILE, queries - first)};
  }
  return count;
}

kn::AttentionTask task_of(const Call &call, const Piece &piece, char *scratch) {
  const int32_t group = call.heads / call.kv_heads;
  const int64_t token = call.query_start[piece.row] + piece.first;
  const int32_t queries = call.query_start[piece.row + 1] - call.query_start[piece.row];
  const int64_t head = static_cast<int64_t>(piece.kv_head) * group * call.head_dim;
  const int64_t out_stride = static_cast<int64_t>(call.heads) * call.head_dim;
  return {call.q + token * call.q_stride + head,
          call.q_stride,
          call.out + token * out_stride + head,
          out_stride,
          call.kv,
          call.block_stride,
          call.slot_table + static_cast<int64_t>(call.row_slot[piece.row]) * call.slot_stride + KN_SLOT_BLOCKS,
          call.block_size,
          piece.count,
          call.kv_length[piece.row] - queries + piece.first,
          group,
          piece.kv_head,
          call.kv_heads,
          call.scale,
          scratch};
}

template <class W>
void run(kn_device &device, const kn::TypedLoops<W> &loops, const Call &call) {
  int64_t pieces_at_most = 0;
  for (int32_t r = 0; r < call.rows; r++) {
    check_row(call, r);
    pieces_at_most +=
        static_cast<int64_t>((call.query_start[r + 1] - call.query_start[r] + QUERY_TILE - 1) / QUERY_TILE) * call.kv_heads;
  }
  Piece *pieces = device.scratch.get<Piece>(static_cast<uint64_t>(std::max<int64_t>(1, pieces_at_most)));
  int32_t count = 0;
  int32_t longest = 0;
  for (int32_t r = 0; r < call.rows; r++) {
    count += cut_row(call, r, pieces + count);
    longest = std::max(longest, std::min(QUERY_TILE, call.query_start[r + 1] - call.query_start[r]));
  }
  const int64_t bytes = kn::attention_scratch_bytes(longest * (call.heads / call.kv_heads), call.head_dim);
  for (kn::Scratch &scratch : device.thread_scratch) scratch.get<char>(static_cast<uint64_t>(bytes));
  const auto inner = call.head_dim == 64 ? loops.attention_64 : loops.attention_128;
  device.pool.run(count, [&](int index, int thread) {
    char *scratch = device.thread_scratch[static_cast<size_t>(thread)].get<char>(static_cast<uint64_t>(bytes));
    inner(task_of(call, pieces[index], scratch));
  });
}

}  // namespace

// As simd/attention.cpp carves it: a tile of keys and one of values, then q, scores, out and two numbers for each row.
int64_t kn::attention_scratch_bytes(int32_t rows, int32_t head_dim) {
  return 2ll * KEY_TILE * head_dim * 4 + static_cast<int64_t>(rows) * (2ll * head_dim + KEY_TILE + 2) * 4 + 7 * 64;
}

int32_t kn_attention(kn_device *device, kn_addr out, kn_addr q, int32_t q_stride, kn_addr kv, double block_stride,
                     int32_t block_size, kn_addr query_start, kn_addr kv_length, kn_addr row_slot, kn_addr slot_table,
                     int32_t slot_stride, int32_t rows, int32_t decode_rows, int32_t tokens, int32_t heads, int32_t kv_heads,
                     int32_t head_dim, float scale, int32_t max_kv, kn_addr workspace) {
  (void)workspace;  // the CPU's scratch belongs to its threads
  return kn::guard(device, [&] {
    check_at_least("rows", rows, 0);
    check_at_least("decode_rows", decode_rows, 0);
    check_at_least("rows", rows, decode_rows);
    check_at_least("tokens", tokens, 0);
    check_at_least("max_kv", max_kv, 0);
    check_at_least("kv_heads", kv_heads, 1);
    check_at_least("slot_stride", slot_stride, KN_SLOT_BLOCKS + 1);
    if (heads < kv_heads || heads % kv_heads != 0)
      fail(KN_INVALID_ARGUMENT, "heads is %d, not a multiple of kv_heads %d", heads, kv_heads);
    kn::check_head_dim(head_dim);
    kn::check_block_size(block_size);
    check_at_least("q_stride", q_stride, static_cast<int64_t>(heads) * head_dim);
    if (!(scale > 0)) fail(KN_INVALID_ARGUMENT, "scale is %g, must be positive", static_cast<double>(scale));
    const double used = 2.0 * kv_heads * block_size * head_dim * static_cast<double>(device->weight_bytes());
    if (!(block_stride >= used))
      fail(KN_INVALID_ARGUMENT, "block_stride is %.0f, one layer of a block takes %.0f bytes", block_stride, used);
    check_range(*device, "out", out, 4.0 * tokens * heads * head_dim);
    check_range(*device, "q", q, tokens == 0 ? 0 : 4.0 * ((tokens - 1.0) * q_stride + static_cast<double>(heads) * head_dim));
    check_range(*device, "query_start", query_start, 4.0 * (rows + 1));
    check_range(*device, "kv_length", kv_length, 4.0 * rows);
    check_range(*device, "row_slot", row_slot, 4.0 * rows);
    if (rows == 0 || tokens == 0) return;

    const double room = static_cast<double>(kn::bytes_after(*device, "kv", kv));
    Call call{};
    call.out = pointer<float>(out);
    call.q = pointer<float>(q);
    call.kv = pointer<char>(kv);
    call.query_start = pointer<int32_t>(query_start);
    call.kv_length = pointer<int32_t>(kv_length);
    call.row_slot = pointer<int32_t>(row_slot);
    call.slot_table = pointer<int32_t>(slot_table);
    call.block_stride = static_cast<int64_t>(block_stride);
    call.blocks = room < used ? 0 : static_cast<int64_t>((room - used) / block_stride) + 1;
    call.slots = static_cast<int64_t>(kn::bytes_after(*device, "slot_table", slot_table) / 4) / slot_stride;
    call.q_stride = q_stride;
    call.block_size = block_size;
    call.slot_stride = slot_stride;
    call.rows = rows;
    call.decode_rows = decode_rows;
    call.tokens = tokens;
    call.heads = heads;
    call.kv_heads = kv_heads;
    call.head_dim = head_dim;
    call.max_kv = max_kv;
    call.scale = scale;
    kn::enqueue(*device, "kn_attention", [=] {
      if (device->options.bf16) run(*device, device->inner.bf16, call);
      else run(*device, device->inner.f32, call);
    });
  });
}

int32_t kn_attention_workspace(kn_device *device, int32_t, int32_t, int32_t, int32_t, int32_t, double *bytes) {
  return kn::guard(device, [&] {
    if (bytes == nullptr) fail(KN_INVALID_ARGUMENT, "bytes is null");
    *bytes = 256;
  });
}
