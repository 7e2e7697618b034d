// check_rows.cpp - weights, embedding, norms, activations, gather, copies: operations on rows, against scalar f64 references.
#include <cmath>
#include <cstring>

#include "check.h"
#include "convert.h"
#include "random.h"

namespace check {
namespace {

struct Shape {
  int32_t tokens, width;
};

std::vector<Shape> shapes(const Target &target) {
  std::vector<Shape> all = {{1, 8}, {1, 576}, {3, 64}, {7, 1536}, {16, 576}, {64, 576}, {2, 4096}, {1, 14336}};
  if (!target.options.quick) all.insert(all.end(), {{5, 24}, {13, 2048}, {33, 4096}, {300, 576}, {9, 14336}, {257, 1536}});
  return all;
}

void compare(Case &test, const std::vector<float> &got, const std::vector<double> &expected, double relative, double absolute,
             const char *what) {
  for (size_t i = 0; i < expected.size(); i++) {
    test.near(got[i], expected[i], std::fabs(expected[i]) * relative + absolute, what, static_cast<int64_t>(i));
  }
}

// ---- weights, read back through kn_embedding ----

std::vector<float> read_weight(Target &target, kn_addr weight, int32_t n, int32_t k, Case &test) {
  std::vector<int32_t> rows(static_cast<size_t>(n));
  for (int32_t i = 0; i < n; i++) rows[static_cast<size_t>(i)] = i;
  const Buffer ids = make_ints(target, rows);
  const Buffer out(target, static_cast<int64_t>(n) * k * target.x_size());
  target.ok(target.embedding(target.device, out, weight, ids, n, n, k), "kn_embedding");
  test.guards({&out});
  return read_x(target, out);
}

void weight_load(Target &target, Random &random, Tally &tally) {
  const int32_t sizes[][2] = {{1, 8}, {16, 64}, {17, 40}, {48, 576}, {200, 128}};
  for (const auto &[n, k] : sizes) {
    for (const int32_t dtype : {KN_F32, KN_BF16, KN_F16}) {
      Case test(tally, label({{"n", n}, {"k", k}, {"dtype", dtype}}));
      std::vector<float> values = random.normals(static_cast<int64_t>(n) * k);
      std::vector<uint16_t> halves(values.size());
      for (size_t i = 0; i < values.size(); i++) {
        if (dtype == KN_BF16) values[i] = kn::f32_from_bf16(halves[i] = kn::bf16_from_f32(values[i]));
        if (dtype == KN_F16)
          values[i] = kn::f32_from_f16(halves[i] = static_cast<uint16_t>(random.next() & 0xbbff));  // any finite f16 below 2
      }
      double bytes = 0;
      target.ok(target.weight_bytes(target.device, n, k, &bytes), "kn_weight_bytes");
      const Buffer weight(target, static_cast<int64_t>(bytes));
      const void *source = dtype == KN_F32 ? static_cast<const void *>(values.data()) : halves.data();
      target.ok(target.weight_load(target.device, weight, source, dtype, n, k), "kn_weight_load");
      const std::vector<float> got = read_weight(target, weight, n, k, test);
      for (size_t i = 0; i < got.size(); i++) {
        if (!(got[i] == target.to_w(values[i])))
          test.near(got[i], target.to_w(values[i]), 1e-30, "element", static_cast<int64_t>(i));
      }
      test.guards({&weight});
    }
  }
}

void weight_random(Target &target, Random &random, Tally &tally) {
  const int32_t sizes[][2] = {{1, 8}, {33, 40}, {96, 576}, {50, 1536}};
  for (const auto &[n, k] : sizes) {
    Case test(tally, label({{"n", n}, {"k", k}}));
    const int32_t seed = static_cast<int32_t>(random.next());
    const float scale = 0.01f + random.uniform();
    double bytes = 0;
    target.ok(target.weight_bytes(target.device, n, k, &bytes), "kn_weight_bytes");
    const Buffer weight(target, static_cast<int64_t>(bytes));
    target.ok(target.weight_random(target.device, weight, n, k, seed, scale), "kn_weight_random");
    const std::vector<float> got = read_weight(target, weight, n, k, test);
    for (int64_t i = 0; i < static_cast<int64_t>(got.size()); i++) {
      const uint32_t hash = kn_hash32(static_cast<uint32_t>(seed), static_cast<uint64_t>(i));
      const float amplitude = scale * 1.7320508f;
      const float expected = target.to_w(amplitude * (2.0f * (static_cast<float>(hash >> 8) / 16777216.0f) - 1.0f));
      if (got[static_cast<size_t>(i)] != expected) test.near(got[static_cast<size_t>(i)], expected, 1e-30, "element", i);
    }
    test.guards({&weight});
  }
}

void embedding(Target &target, Random &random, Tally &tally) {
  for (const Shape &shape : shapes(target)) {
    const int32_t vocab = random.between(1, 300);
    Case test(tally, label({{"tokens", shape.tokens}, {"width", shape.width}, {"vocab", vocab}}));
    std::vector<float> table = random.normals(static_cast<int64_t>(vocab) * shape.width);
    const Buffer weight = make_weight(target, table, vocab, shape.width);
    std::vector<int32_t> rows(static_cast<size_t>(shape.tokens));
    for (int32_t &row : rows) row = random.below(vocab);
    rows.back() = vocab - 1;
    const Buffer ids = make_ints(target, rows);
    const Buffer out(target, static_cast<int64_t>(shape.tokens) * shape.width * target.x_size());
    target.ok(target.embedding(target.device, out, weight, ids, shape.tokens, vocab, shape.width), "kn_embedding");
    const std::vector<float> got = read_x(target, out);
    for (size_t i = 0; i < got.size(); i++) {
      const float expected =
          target.to_x(table[static_cast<size_t>(rows[i / static_cast<size_t>(shape.width)]) * static_cast<size_t>(shape.width) +
                            i % static_cast<size_t>(shape.width)]);
      if (!(got[i] == expected)) test.near(got[i], expected, 1e-30, "out", static_cast<int64_t>(i));
    }
    test.guards({&out, &weight, &ids});
  }
}

// ---- norms ----

std::vector<double> rmsnorm_reference(const std::vector<float> &in, const std::vector<float> &weight, double eps) {
  const size_t width = weight.size();
  std::vector<double> out(in.size());
  for (size_t row = 0; row < in.size(); row += width) {
    double squares = 0;
    for (size_t i = 0; i < width; i++) squares += static_cast<double>(in[row + i]) * in[row + i];
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (size_t i = 0; i < width; i++) out[row + i] = in[row + i] * factor * weight[i];
  }
  return out;
}

// Rounding: a sum of squares in f32 (sqrt of half its relative error), three products, one store; slack 2.
double norm_tolerance(const Target &target, int32_t width) { return 2 * (target.x_epsilon() + (4 + std::sqrt(width)) * 0x1p-24); }

void rmsnorm(Target &target, Random &random, Tally &tally) {
  for (const Shape &shape : shapes(target)) {
    Case test(tally, label({{"tokens", shape.tokens}, {"width", shape.width}}));
    std::vector<float> x = random.normals(static_cast<int64_t>(shape.tokens) * shape.width, random.uniform() * 10);
    std::vector<float> w = random.normals(shape.width);
    const Buffer in = make_x(target, x), weight = make_vector(target, w), out(target, in.bytes());
    target.ok(target.rmsnorm(target.device, out, in, weight, shape.tokens, shape.width, 1e-5f), "kn_rmsnorm");
    compare(test, read_x(target, out), rmsnorm_reference(x, w, 1e-5), norm_tolerance(target, shape.width), 1e-30, "out");
    test.guards({&out, &in, &weight});
  }
}

void add_rmsnorm(Target &target, Random &random, Tally &tally) {
  for (const Shape &shape : shapes(target)) {
    Case test(tally, label({{"tokens", shape.tokens}, {"width", shape.width}}));
    std::vector<float> r = random.normals(static_cast<int64_t>(shape.tokens) * shape.width);
    std::vector<float> x = random.normals(static_cast<int64_t>(r.size()));
    std::vector<float> w = random.normals(shape.width);
    const Buffer residual = make_x(target, r), twin = make_x(target, r), in = make_x(target, x), weight = make_vector(target, w),
                 out(target, in.bytes());
    target.ok(target.add_rmsnorm(target.device, out, residual, residual, in, weight, shape.tokens, shape.width, 1e-6f),
              "kn_add_rmsnorm");
    std::vector<float> sum(r.size());
    for (size_t i = 0; i < sum.size(); i++) sum[i] = target.to_x(r[i] + x[i]);
    const std::vector<float> got = read_x(target, residual);
    for (size_t i = 0; i < sum.size(); i++) {
      if (!(got[i] == sum[i])) test.near(got[i], sum[i], 1e-30, "residual", static_cast<int64_t>(i));
    }
    compare(test, read_x(target, out), rmsnorm_reference(sum, w, 1e-6), norm_tolerance(target, shape.width), 1e-30, "out");
    target.ok(target.add(target.device, twin, in, shape.tokens, shape.width), "kn_add");
    test.same_bytes(twin.read(), residual.read(), "kn_add");
    test.guards({&out, &residual, &twin, &in, &weight});
  }
}

// ---- activations ----

void silu_mul(Target &target, Random &random, Tally &tally) {
  for (const Shape &shape : shapes(target)) {
    Case test(tally, label({{"tokens", shape.tokens}, {"width", shape.width}}));
    const int64_t count = static_cast<int64_t>(shape.tokens) * shape.width;
    std::vector<float> x = random.normals(2 * count, 4);
    x[0] = -120;  // e^120 overflows f32: the result must be 0, not NaN
    const Buffer gate_up = make_x(target, x), fused(target, count * target.x_size()), twin(target, count * target.x_size());
    target.ok(target.silu_mul(target.device, fused, gate_up, shape.tokens, shape.width), "kn_silu_mul");
    target.ok(target.silu(target.device, twin, gate_up, shape.tokens, shape.width), "kn_silu");
    target.ok(target.mul(target.device, twin, gate_up, shape.tokens, shape.width), "kn_mul");
    std::vector<double> expected(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; i++) {
      const size_t gate = static_cast<size_t>(i / shape.width * 2 * shape.width + i % shape.width);
      expected[static_cast<size_t>(i)] =
          x[gate] / (1 + std::exp(-static_cast<double>(x[gate]))) * x[gate + static_cast<size_t>(shape.width)];
    }
    const double relative = 2 * (target.x_epsilon() + 8 * 0x1p-24);  // one store and the exponential; slack 2
    compare(test, read_x(target, fused), expected, relative, 1e-30, "silu_mul");
    compare(test, read_x(target, twin), expected, 2 * relative, 1e-30, "silu, mul");
    test.guards({&fused, &twin, &gate_up});
  }
}

void gather_rows(Target &target, Random &random, Tally &tally) {
  for (const Shape &shape : shapes(target)) {
    const int32_t samples = random.between(1, shape.tokens);
    Case test(tally, label({{"tokens", shape.tokens}, {"samples", samples}, {"width", shape.width}}));
    std::vector<float> x = random.normals(static_cast<int64_t>(shape.tokens) * shape.width);
    std::vector<int32_t> rows(static_cast<size_t>(samples));
    for (int32_t &row : rows) row = random.below(shape.tokens);
    const Buffer in = make_x(target, x), index = make_ints(target, rows),
                 out(target, static_cast<int64_t>(samples) * shape.width * target.x_size());
    target.ok(target.gather_rows(target.device, out, in, index, samples, shape.width), "kn_gather_rows");
    const std::vector<char> all = in.read(), got = out.read();
    const size_t line = static_cast<size_t>(shape.width * target.x_size());
    for (size_t s = 0; s < rows.size(); s++) {
      if (std::memcmp(got.data() + s * line, all.data() + static_cast<size_t>(rows[s]) * line, line) != 0)
        test.fail("row " + std::to_string(s) + " differs");
    }
    test.guards({&out, &in, &index});
  }
}

void copies(Target &target, Random &random, Tally &tally) {
  for (const int64_t count : {1, 63, 1024, 300001}) {
    Case test(tally, label({{"floats", count}}));
    std::vector<float> values(static_cast<size_t>(count));
    for (float &value : values) value = static_cast<float>(random.below(16));  // sums stay exact in f32
    const Buffer source = make_floats(target, values), destination(target, count * 4), total(target, 4);
    target.ok(target.copy(target.device, destination, source, static_cast<double>(count * 4)), "kn_copy");
    test.same_bytes(destination.read(), source.read(), "kn_copy");
    target.ok(target.read(target.device, total, source, static_cast<double>(count * 4)), "kn_read");
    double expected = 0;
    for (const float value : values) expected += value;
    test.near(read_floats(total)[0], expected, 1e-6 * expected + 1e-6, "kn_read", 0);
    test.guards({&destination, &source, &total});
  }
}

}  // namespace

const std::vector<Suite> &row_suites() {
  static const std::vector<Suite> suites = {
      {"weight_load", weight_load}, {"weight_random", weight_random}, {"embedding", embedding},     {"rmsnorm", rmsnorm},
      {"add_rmsnorm", add_rmsnorm}, {"silu_mul", silu_mul},           {"gather_rows", gather_rows}, {"copy_read", copies}};
  return suites;
}

}  // namespace check
