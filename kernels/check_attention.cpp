// check_attention.cpp - paged attention against f64; its bits alone, in a batch, in chunks.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"

namespace check {
namespace {

struct Heads {
  int32_t query, kv, dim;
};

// The rows of a step over a scattered block table. Blocks are dealt in random order; block 0 is nobody's.
struct Layout {
  Heads heads;
  int32_t block_size, blocks, slot_stride, max_kv = 1;
  int64_t block_stride;  // bytes; with room for another layer behind this one
  std::vector<int32_t> queries, lengths, query_start{0}, slots, table;

  Layout(const Target &target, Random &random, Heads given, int32_t size, const std::vector<std::pair<int32_t, int32_t>> &rows)
      : heads(given), block_size(size) {
    int32_t most = 1, total = 0;
    for (const auto &[query, length] : rows) {
      queries.push_back(query);
      lengths.push_back(length);
      query_start.push_back(query_start.back() + query);
      const int32_t needed = (length + size - 1) / size;
      most = std::max(most, needed);
      total += needed;
      max_kv = std::max(max_kv, length);
    }
    blocks = total + 1 + random.below(3);
    slot_stride = KN_SLOT_BLOCKS + most + random.below(4);
    block_stride = layer_elements() * target.w_size() * 2;
    std::vector<int32_t> free;
    for (int32_t b = 1; b < blocks; b++) free.push_back(b);
    for (size_t i = free.size(); i > 1; i--)
      std::swap(free[i - 1], free[static_cast<size_t>(random.below(static_cast<int32_t>(i)))]);
    const int32_t slot_count = static_cast<int32_t>(rows.size()) + 2;
    table.assign(static_cast<size_t>(slot_count) * static_cast<size_t>(slot_stride), -1);  // -1: must never be followed
    std::vector<int32_t> names;
    for (int32_t s = 0; s < slot_count; s++) names.push_back(s);
    for (size_t r = 0; r < rows.size(); r++) {
      std::swap(names[r], names[r + static_cast<size_t>(random.below(slot_count - static_cast<int32_t>(r)))]);
      slots.push_back(names[r]);
      for (int32_t b = 0; b * size < lengths[r]; b++) {
        table[static_cast<size_t>(names[r] * slot_stride + KN_SLOT_BLOCKS + b)] = free.back();
        free.pop_back();
      }
    }
  }

  int64_t layer_elements() const { return 2ll * heads.kv * block_size * heads.dim; }
  int32_t tokens() const { return query_start.back(); }
  int32_t rows() const { return static_cast<int32_t>(queries.size()); }
  int32_t decode_rows() const {
    int32_t count = 0;
    while (count < rows() && queries[static_cast<size_t>(count)] == 1) count++;
    return count;
  }
  int32_t qkv_width() const { return (heads.query + 2 * heads.kv) * heads.dim; }
  int32_t block_of(size_t row, int32_t position) const {
    return table[static_cast<size_t>(slots[row] * slot_stride + KN_SLOT_BLOCKS + position / block_size)];
  }
  // Index of element 0 of key (side 0) or value (side 1) at a position, in elements of w from the cache's start.
  int64_t element(int64_t w_size, int32_t block, int32_t inside, int32_t side, int32_t head) const {
    return block * (block_stride / w_size) + ((static_cast<int64_t>(side) * heads.kv + head) * block_size + inside) * heads.dim;
  }
};

struct Tensors {
  std::vector<float> q, cache;
  Buffer q_buffer, cache_buffer;
};

// Random queries in a qkv buffer and random keys and values in the layout's blocks; all else in the cache is NaN.
Tensors make_tensors(Target &target, Random &random, const Layout &layout) {
  std::vector<float> q = random.normals(static_cast<int64_t>(std::max(1, layout.tokens())) * layout.qkv_width());
  for (float &value : q) value = target.to_w(value);
  std::vector<float> cache(static_cast<size_t>(layout.block_stride / target.w_size() * layout.blocks), std::nanf(""));
  for (size_t row = 0; row < layout.lengths.size(); row++) {
    for (int32_t p = 0; p < layout.lengths[row]; p++) {
      for (int32_t line = 0; line < 2 * layout.heads.kv; line++) {
        const int64_t at = layout.element(target.w_size(), layout.block_of(row, p), p % layout.block_size, line / layout.heads.kv,
                                          line % layout.heads.kv);
        for (int32_t d = 0; d < layout.heads.dim; d++) cache[static_cast<size_t>(at + d)] = random.normal();
      }
    }
  }
  Buffer q_buffer = make_x(target, q), cache_buffer = make_w(target, cache);
  return {std::move(q), std::move(cache), std::move(q_buffer), std::move(cache_buffer)};
}

Buffer run(Target &target, const Layout &layout, const Tensors &tensors) {
  const Heads &heads = layout.heads;
  Buffer out(target, std::max<int64_t>(1, static_cast<int64_t>(layout.tokens()) * heads.query * heads.dim * target.x_size()));
  const Buffer starts = make_ints(target, layout.query_start), lengths = make_ints(target, layout.lengths);
  const Buffer slots = make_ints(target, layout.slots), table = make_ints(target, layout.table);
  double bytes = 0;
  target.ok(
      target.attention_workspace(target.device, layout.rows(), layout.tokens(), heads.query, heads.dim, layout.max_kv, &bytes),
      "workspace");
  const Buffer workspace(target, static_cast<int64_t>(bytes));
  target.ok(target.attention(target.device, out, tensors.q_buffer, layout.qkv_width(), tensors.cache_buffer,
                             static_cast<double>(layout.block_stride), layout.block_size, starts, lengths, slots, table,
                             layout.slot_stride, layout.rows(), layout.decode_rows(), layout.tokens(), heads.query, heads.kv,
                             heads.dim, 1.0f / std::sqrt(static_cast<float>(heads.dim)), layout.max_kv, workspace),
            "kn_attention");
  target.ok(target.synchronize(target.device), "kn_synchronize");
  if (!workspace.guards_intact()) throw std::string("memory around the workspace was written");
  return out;
}

// One query head in f64: softmax(q K^T * scale) V over keys 0 .. position.
void reference(const Target &target, const Layout &layout, const Tensors &tensors, size_t row, int32_t query, int32_t head,
               Case &test, const std::vector<float> &got) {
  const Heads &heads = layout.heads;
  const int64_t token = layout.query_start[row] + query;
  const int32_t keys = layout.lengths[row] - layout.queries[row] + query + 1;
  const float *q = tensors.q.data() + token * layout.qkv_width() + head * heads.dim;
  const int32_t kv_head = head / (heads.query / heads.kv);
  const auto line = [&](int32_t p, int32_t side) {
    return tensors.cache.data() + layout.element(target.w_size(), layout.block_of(row, p), p % layout.block_size, side, kv_head);
  };
  std::vector<double> weight(static_cast<size_t>(keys));
  double most = -INFINITY, total = 0, size = 0;
  for (int32_t p = 0; p < keys; p++) {
    const float *key = line(p, 0);
    double score = 0;
    for (int32_t d = 0; d < heads.dim; d++) score += static_cast<double>(q[d]) * key[d];
    weight[static_cast<size_t>(p)] = score * (1.0f / std::sqrt(static_cast<float>(heads.dim)));
    size = std::max(size, std::fabs(weight[static_cast<size_t>(p)]));
    most = std::max(most, weight[static_cast<size_t>(p)]);
  }
  for (double &w : weight) total += w = std::exp(w - most);
  std::vector<double> sum(static_cast<size_t>(heads.dim)), absolute(sum.size());
  for (int32_t p = 0; p < keys; p++) {
    const float *value = line(p, 1);
    for (size_t d = 0; d < sum.size(); d++) {
      sum[d] += weight[static_cast<size_t>(p)] / total * value[d];
      absolute[d] += weight[static_cast<size_t>(p)] / total * std::fabs(value[d]);
    }
  }
  // Scores err by some 2^-22 of their size and so do the probabilities; a bf16 backend also rounds each probability and the result.
  const double relative = target.x_bf16 ? 3 * target.x_epsilon() : (16 + 4 * size + std::sqrt(keys)) * 0x1p-23;
  for (size_t d = 0; d < sum.size(); d++) {
    const int64_t at = (token * heads.query + head) * heads.dim + static_cast<int64_t>(d);
    test.near(got[static_cast<size_t>(at)], sum[d], relative * absolute[d] + 1e-30, "out", at);
  }
}

using Rows = std::vector<std::pair<int32_t, int32_t>>;  // (queries, cache length) of each row

std::vector<Rows> batches(Random &random, int32_t block, bool quick) {
  const int32_t b = block;
  std::vector<Rows> all = {
      {{1, 1}},
      {{1, b - 1}, {1, b}, {1, b + 1}, {1, 2 * b + 3}},                // decode at block boundaries
      {{b - 1, b - 1}, {b, b}, {b + 1, b + 1}},                        // whole prompts
      {{1, 37}, {1, 5}, {0, 20}, {19, 19}, {7, 100}, {0, 0}, {3, 3}},  // mixed, with rows that are empty
      {{40, 40}, {70, 190}},                                           // a later chunk
  };
  Rows many;
  for (int r = 0; r < (quick ? 9 : 64); r++) many.push_back({1, random.between(1, quick ? 150 : 300)});
  all.push_back(many);
  if (!quick) all.push_back({{1, 4500}, {1, 1023}, {130, 2050}});
  return all;
}

// One batch: every query of small rows against f64; of long ones the first, the last and some. A third of the heads each time.
void attend(Target &target, Random &random, Tally &tally, const Heads &heads, int32_t block, const Rows &rows) {
  const Layout layout(target, random, heads, block, rows);
  Case test(tally, label({{"heads", heads.query},
                          {"kv", heads.kv},
                          {"dim", heads.dim},
                          {"block", block},
                          {"rows", layout.rows()},
                          {"tokens", layout.tokens()},
                          {"max_kv", layout.max_kv}}));
  const Tensors tensors = make_tensors(target, random, layout);
  const Buffer out = run(target, layout, tensors);
  const std::vector<float> got = read_x(target, out);
  int32_t turn = random.below(3);
  for (size_t row = 0; row < rows.size(); row++) {
    for (int32_t query = 0; query < layout.queries[row]; query++) {
      if (layout.queries[row] > 24 && query % 11 != 0 && query < layout.queries[row] - 2) {
        for (int64_t i = 0; i < heads.query * heads.dim; i++) {
          if (std::isnan(got[static_cast<size_t>((layout.query_start[row] + query) * static_cast<int64_t>(heads.query) * heads.dim + i)])) {
            test.fail("an element of query " + std::to_string(query) + " was not written");
          }
        }
        continue;
      }
      for (int32_t head = turn++ % 3; head < heads.query; head += 3)
        reference(target, layout, tensors, row, query, head, test, got);
    }
  }
  test.guards({&out, &tensors.q_buffer, &tensors.cache_buffer});
}

void attention(Target &target, Random &random, Tally &tally) {
  const Heads all[] = {{9, 3, 64}, {4, 4, 64}, {16, 2, 128}, {8, 2, 128}, {12, 1, 128}};
  const bool quick = target.options.quick;
  for (const Heads &heads : all) {
    for (const int32_t block : {16, 64, 128, 256, 2048}) {
      // The large sizes with one shape of heads each: their prompts are as long as a block.
      if (block > 64 && (quick ? block != 256 || heads.query != 9 : heads.query != (block == 2048 ? 8 : block == 256 ? 9 : 16))) continue;
      for (const Rows &rows : batches(random, std::min(block, 300), quick)) attend(target, random, tally, heads, block, rows);
    }
  }
  // More tiles of queries than a GPU has multiprocessors, of very different lengths.
  Rows many{{150, 400}, {1, 20}};
  for (int r = 0; r < 24; r++) many.push_back({2, random.between(2, 200)});
  attend(target, random, tally, {8, 8, 64}, 32, many);
  attend(target, random, tally, {8, 8, 128}, 16, many);
  if (quick) return;
  many.push_back({300, 1500});
  for (int r = 0; r < 40; r++) many.push_back({random.between(1, 60), random.between(60, 700)});
  attend(target, random, tally, {32, 8, 128}, 16, many);
  attend(target, random, tally, {8, 8, 128}, 16, {{2, 9000}, {700, 2500}});
}

// The same queries alone, and with a prompt cut into chunks, have the same bits.
void attention_bits(Target &target, Random &random, Tally &tally) {
  if (!target.exact) return;
  const Heads all[] = {{9, 3, 64}, {8, 1, 128}, {12, 1, 128}};
  for (const Heads &heads : all) {
    Case test(tally, label({{"heads", heads.query}, {"kv", heads.kv}, {"dim", heads.dim}}));
    Layout whole(target, random, heads, 16, {{1, 77}, {1, 300}, {150, 150}, {33, 90}, {60, 420}});
    const Tensors tensors = make_tensors(target, random, whole);
    const std::vector<char> expected = run(target, whole, tensors).read();
    const int64_t line = static_cast<int64_t>(heads.query) * heads.dim * target.x_size();
    for (size_t row = 0; row < whole.queries.size(); row++) {
      for (int32_t first = 0, count; first < whole.queries[row]; first += count) {
        count = std::min(whole.queries[row] - first, random.between(1, 70));
        Layout part = whole;
        part.queries = {count};
        part.query_start = {0, count};
        part.lengths = {whole.lengths[row] - whole.queries[row] + first + count};
        part.slots = {whole.slots[row]};
        const int64_t token = whole.query_start[row] + first;
        std::vector<float> q(tensors.q.begin() + token * whole.qkv_width(),
                             tensors.q.begin() + (token + count) * whole.qkv_width());
        Buffer q_buffer = make_x(target, q), cache_buffer(target, 0);
        std::vector<float> cache = tensors.cache;
        Tensors chunk{q, {}, std::move(q_buffer), make_w(target, cache)};
        const std::vector<char> got = run(target, part, chunk).read();
        if (std::memcmp(got.data(), expected.data() + token * line, static_cast<size_t>(count * line)) != 0) {
          test.fail("row " + std::to_string(row) + ", queries " + std::to_string(first) + " + " + std::to_string(count) +
                    " alone differ");
        }
      }
    }
  }
}

}  // namespace

const std::vector<Suite> &attention_suites() {
  static const std::vector<Suite> suites = {{"attention", attention}, {"attention_bits", attention_bits}};
  return suites;
}

}  // namespace check
