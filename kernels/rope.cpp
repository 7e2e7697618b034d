// rope.cpp - rotary position embedding (Su et al. 2021, arXiv 2104.09864), halves paired, and the write of keys and values to
// the paged cache. Bytes: T * (H + 2G) * D * 4 read, a little less written. Bound by memory.
#include <cstring>

#include "convert.h"
#include "row_loop.h"

using kn::pointer;

namespace {

struct Cache {
  char *base;
  int64_t block_stride;  // bytes
  int32_t block_size, kv_heads, head_dim;
  int64_t slots;  // whole blocks in the buffer times block_size
};

struct Shape {
  int32_t tokens, heads, kv_heads, head_dim;
  int64_t stride() const { return static_cast<int64_t>(heads + 2 * kv_heads) * head_dim; }
};

void check_shape(const kn_device &device, kn_addr qkv, const Shape &shape) {
  kn::check_at_least("tokens", shape.tokens, 0);
  kn::check_at_least("heads", shape.heads, 1);
  kn::check_at_least("kv_heads", shape.kv_heads, 1);
  kn::check_head_dim(shape.head_dim);
  kn::check_range(device, "qkv", qkv, 4.0 * shape.tokens * static_cast<double>(shape.stride()));
}

int64_t check_rope(const kn_device &device, kn_addr positions, kn_addr rope, const Shape &shape) {
  kn::check_range(device, "positions", positions, 4.0 * shape.tokens);
  return static_cast<int64_t>(kn::bytes_after(device, "rope", rope) / 4) / shape.head_dim;  // max_position
}

Cache check_cache(const kn_device &device, kn_addr kv_slot, kn_addr kv, double block_stride, int32_t block_size,
                  const Shape &shape) {
  kn::check_range(device, "kv_slot", kv_slot, 4.0 * shape.tokens);
  kn::check_block_size(block_size);
  const double used = 2.0 * shape.kv_heads * block_size * shape.head_dim * static_cast<double>(device.weight_bytes());
  if (!(block_stride >= used))
    kn::fail(KN_INVALID_ARGUMENT, "block_stride is %.0f, one layer of a block takes %.0f bytes", block_stride, used);
  const double room = static_cast<double>(kn::bytes_after(device, "kv", kv));
  const int64_t blocks = room < used ? 0 : static_cast<int64_t>((room - used) / block_stride) + 1;
  return {pointer<char>(kv), static_cast<int64_t>(block_stride), block_size, shape.kv_heads, shape.head_dim, blocks * block_size};
}

void check_values(const char *name, const int32_t *values, int32_t count, int64_t end) {
  for (int32_t i = 0; i < count; i++) {
    if (values[i] < 0 || values[i] >= end) {
      kn::fail(KN_INVALID_ARGUMENT, "%s[%d] is %d, not in 0..%lld", name, i, values[i], static_cast<long long>(end - 1));
    }
  }
}

void rotate_heads(const kn_device &device, float *head, int32_t heads, const float *rope, int32_t head_dim) {
  const int32_t half = head_dim / 2;
  for (int32_t h = 0; h < heads; h++) device.inner.rotate(head + h * head_dim, rope, rope + half, half);
}

// k [G, D] and v [G, D] of one token, behind each other as in the qkv row.
void write_cache(const kn_device &device, const Cache &cache, int32_t slot, const float *key) {
  const int64_t inside = slot % cache.block_size;
  char *block = cache.base + slot / cache.block_size * cache.block_stride;
  for (int32_t i = 0; i < 2 * cache.kv_heads; i++, key += cache.head_dim) {
    const int64_t at = (i * static_cast<int64_t>(cache.block_size) + inside) * cache.head_dim;
    if (device.options.bf16) device.inner.round_bf16(reinterpret_cast<uint16_t *>(block) + at, key, cache.head_dim);
    else std::memcpy(reinterpret_cast<float *>(block) + at, key, static_cast<size_t>(cache.head_dim) * 4);
  }
}

}  // namespace

int32_t kn_rope_store(kn_device *device, kn_addr qkv, kn_addr positions, kn_addr kv_slot, kn_addr rope, kn_addr kv,
                      double block_stride, int32_t block_size, int32_t tokens, int32_t heads, int32_t kv_heads, int32_t head_dim) {
  return kn::guard(device, [&] {
    const Shape shape{tokens, heads, kv_heads, head_dim};
    check_shape(*device, qkv, shape);
    const int64_t max_position = check_rope(*device, positions, rope, shape);
    const Cache cache = check_cache(*device, kv_slot, kv, block_stride, block_size, shape);
    kn::enqueue(*device, "kn_rope_store", [=] {
      const int32_t *position = pointer<int32_t>(positions);
      const int32_t *slot = pointer<int32_t>(kv_slot);
      check_values("positions", position, tokens, max_position);
      check_values("kv_slot", slot, tokens, cache.slots);
      kn::for_rows(*device, tokens, static_cast<int32_t>(shape.stride()), [&](int64_t t) {
        float *row = pointer<float>(qkv) + t * shape.stride();
        rotate_heads(*device, row, heads + kv_heads, pointer<float>(rope) + static_cast<int64_t>(position[t]) * head_dim, head_dim);
        write_cache(*device, cache, slot[t], row + static_cast<int64_t>(heads) * head_dim);
      });
    });
  });
}

int32_t kn_rope(kn_device *device, kn_addr qkv, kn_addr positions, kn_addr rope, int32_t tokens, int32_t heads, int32_t kv_heads,
                int32_t head_dim) {
  return kn::guard(device, [&] {
    const Shape shape{tokens, heads, kv_heads, head_dim};
    check_shape(*device, qkv, shape);
    const int64_t max_position = check_rope(*device, positions, rope, shape);
    kn::enqueue(*device, "kn_rope", [=] {
      const int32_t *position = pointer<int32_t>(positions);
      check_values("positions", position, tokens, max_position);
      kn::for_rows(*device, tokens, static_cast<int32_t>(shape.stride()), [&](int64_t t) {
        rotate_heads(*device, pointer<float>(qkv) + t * shape.stride(), heads + kv_heads,
                     pointer<float>(rope) + static_cast<int64_t>(position[t]) * head_dim, head_dim);
      });
    });
  });
}

int32_t kn_kv_store(kn_device *device, kn_addr qkv, kn_addr kv_slot, kn_addr kv, double block_stride, int32_t block_size,
                    int32_t tokens, int32_t heads, int32_t kv_heads, int32_t head_dim) {
  return kn::guard(device, [&] {
    const Shape shape{tokens, heads, kv_heads, head_dim};
    check_shape(*device, qkv, shape);
    const Cache cache = check_cache(*device, kv_slot, kv, block_stride, block_size, shape);
    kn::enqueue(*device, "kn_kv_store", [=] {
      const int32_t *slot = pointer<int32_t>(kv_slot);
      check_values("kv_slot", slot, tokens, cache.slots);
      kn::for_rows(*device, tokens, static_cast<int32_t>(shape.stride()), [&](int64_t t) {
        write_cache(*device, cache, slot[t], pointer<float>(qkv) + t * shape.stride() + static_cast<int64_t>(heads) * head_dim);
      });
    });
  });
}
