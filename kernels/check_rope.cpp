// check_rope.cpp - rotary embedding and the cache write, fused and apart, against f64; exactly the named slots are written.
#include <cmath>

#include "check.h"

namespace check {
namespace {

struct Heads {
  int32_t query, kv, dim;
};

std::vector<float> rope_table(int32_t positions, int32_t dim) {
  std::vector<float> table;
  for (int32_t p = 0; p < positions; p++) {
    for (const bool sine : {false, true}) {
      for (int32_t i = 0; i < dim / 2; i++) {
        const double angle = p * std::pow(10000.0, -2.0 * i / dim);
        table.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
    }
  }
  return table;
}

void rope_store(Target &target, Random &random, Tally &tally) {
  const Heads all[] = {{9, 3, 64}, {4, 4, 64}, {8, 1, 128}, {32, 8, 128}};
  for (const Heads &heads : all) {
    for (const int32_t tokens : {1, 5, 33}) {
      const int32_t block_size = 16 << random.below(3);
      Case test(tally,
                label({{"heads", heads.query}, {"kv", heads.kv}, {"dim", heads.dim}, {"tokens", tokens}, {"block", block_size}}));
      const int32_t width = (heads.query + 2 * heads.kv) * heads.dim, half = heads.dim / 2, blocks = 5;
      const int64_t layer = 2ll * heads.kv * block_size * heads.dim, stride = layer * 2 * target.w_size();
      const int32_t max_position = 700;
      std::vector<float> rope = rope_table(max_position, heads.dim);
      std::vector<float> x = random.normals(static_cast<int64_t>(tokens) * width);
      std::vector<int32_t> position(static_cast<size_t>(tokens)), slot(position.size()), free;
      for (int32_t s = 0; s < blocks * block_size; s++) free.push_back(s);
      for (size_t t = 0; t < position.size(); t++) {
        position[t] = random.below(max_position);
        std::swap(free[t], free[t + static_cast<size_t>(random.below(static_cast<int32_t>(free.size() - t)))]);
        slot[t] = free[t];
      }
      const Buffer qkv = make_x(target, x), twin = make_x(target, x), table = make_floats(target, rope);
      const Buffer positions = make_ints(target, position), slots = make_ints(target, slot);
      const Buffer cache(target, stride * blocks), twin_cache(target, stride * blocks);
      target.ok(target.rope_store(target.device, qkv, positions, slots, table, cache, static_cast<double>(stride), block_size,
                                  tokens, heads.query, heads.kv, heads.dim),
                "kn_rope_store");
      target.ok(target.rope(target.device, twin, positions, table, tokens, heads.query, heads.kv, heads.dim), "kn_rope");
      target.ok(target.kv_store(target.device, twin, slots, twin_cache, static_cast<double>(stride), block_size, tokens,
                                heads.query, heads.kv, heads.dim),
                "kn_kv_store");

      const std::vector<float> fused = read_x(target, qkv), unfused = read_x(target, twin);
      const std::vector<float> fused_kv = read_w(target, cache), unfused_kv = read_w(target, twin_cache);
      for (int32_t t = 0; t < tokens; t++) {
        const float *cosine = rope.data() + static_cast<int64_t>(position[static_cast<size_t>(t)]) * heads.dim,
                    *sine = cosine + half;
        for (int32_t h = 0; h < heads.query + 2 * heads.kv; h++) {
          for (int32_t d = 0; d < heads.dim; d++) {
            const int64_t at = static_cast<int64_t>(t) * width + h * heads.dim;
            const float *head = x.data() + at;
            const bool rotated = h < heads.query + heads.kv;
            const int32_t i = d % half;
            const double other = d < half ? -static_cast<double>(head[i + half]) * sine[i] : static_cast<double>(head[i]) * sine[i];
            const double expected = rotated ? static_cast<double>(head[d]) * cosine[i] + other : head[d];
            const double size = std::fabs(expected) + (rotated ? std::fabs(other) : 0);
            const double tolerance_x = 2 * target.x_epsilon() * std::fabs(expected) + 4 * 0x1p-24 * size + 1e-30;
            const double tolerance_w = tolerance_x + 2 * target.w_epsilon() * std::fabs(expected);
            if (h < heads.query) test.near(fused[static_cast<size_t>(at + d)], expected, tolerance_x, "q (fused)", at + d);
            test.near(unfused[static_cast<size_t>(at + d)], expected, tolerance_x, "qkv (rope)", at + d);
            if (h < heads.query) continue;
            const int64_t line = h - heads.query, s = slot[static_cast<size_t>(t)];
            const int64_t element =
                s / block_size * (stride / target.w_size()) + (line * block_size + s % block_size) * heads.dim + d;
            test.near(fused_kv[static_cast<size_t>(element)], expected, tolerance_w, "cache (fused)", element);
            test.near(unfused_kv[static_cast<size_t>(element)], expected, tolerance_w, "cache (kv_store)", element);
          }
        }
      }
      int64_t written = 0;
      for (const float value : fused_kv) written += !std::isnan(value);
      test.same(written, 2ll * tokens * heads.kv * heads.dim, "elements written to the cache", 0);
      test.guards({&qkv, &twin, &cache, &twin_cache});
    }
  }
}

}  // namespace

const std::vector<Suite> &rope_suites() {
  static const std::vector<Suite> suites = {{"rope_store", rope_store}};
  return suites;
}

}  // namespace check
