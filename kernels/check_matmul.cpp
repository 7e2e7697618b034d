// check_matmul.cpp - out = x * W^T + bias against f64, and: a row's bits do not depend on the rows beside it.
#include <cmath>
#include <cstring>

#include "check.h"

namespace check {
namespace {

struct Shape {
  int32_t m, n, k;
  bool bias;
};

std::vector<Shape> shapes(const Target &target) {
  std::vector<Shape> all = {{1, 16, 64, false},     {1, 576, 576, false}, {2, 960, 576, true},
                            {7, 192, 1536, false},  {8, 64, 128, true},   {13, 576, 576, false},
                            {16, 3072, 576, false}, {17, 48, 64, true},   {65, 128, 192, true},
                            {64, 72, 264, false},   {127, 232, 200, true},  {129, 200, 136, false}};
  if (!target.cuda) all.insert(all.end(), {{1, 1, 1, true}, {3, 17, 5, true}, {12, 33, 577, false}, {25, 100, 31, true}});
  if (!target.options.quick) {
    all.insert(all.end(), {{1, 4096, 4096, false},
                           {4, 6144, 4096, true},
                           {16, 1024, 14336, false},
                           {33, 576, 1536, false},
                           {64, 2048, 576, true},
                           {100, 512, 4096, false},
                           {128, 960, 576, false},
                           {300, 256, 576, true},
                           {256, 448, 4096, false},
                           {512, 776, 1032, true},
                           {1000, 1544, 72, false},
                           {2048, 520, 584, true},
                           {2309, 264, 328, false},
                           {1, 49152, 64, false}});
  }
  return all;
}

// The library may round x to the weights' type before multiplying: give it numbers that lie in that type already.
std::vector<float> activations(const Target &target, Random &random, int64_t count) {
  std::vector<float> x = random.normals(count);
  for (float &value : x) value = target.to_w(value);
  return x;
}

void compare(const Target &target, Case &test, const Shape &shape, const std::vector<float> &x, const std::vector<float> &w,
             const std::vector<float> &bias, const std::vector<float> &got, bool to_x) {
  for (int64_t m = 0; m < shape.m; m++) {
    for (int64_t n = 0; n < shape.n; n++) {
      double sum = shape.bias ? bias[static_cast<size_t>(n)] : 0, size = std::fabs(sum);
      const float *row = x.data() + m * shape.k, *column = w.data() + n * shape.k;
      for (int64_t k = 0; k < shape.k; k++) {
        const double product = static_cast<double>(row[k]) * column[k];
        sum += product;
        size += std::fabs(product);
      }
      // A chain of k roundings errs like a random walk, sqrt(k) half units of the running size; slack 4. Then one store.
      const double tolerance =
          4 * std::sqrt(shape.k + 1.0) * 0x1p-24 * size + (to_x ? 2 * target.x_epsilon() * std::fabs(sum) : 0) + 1e-30;
      test.near(got[static_cast<size_t>(m * shape.n + n)], sum, tolerance, to_x ? "out" : "out (f32)", m * shape.n + n);
    }
  }
}

void matmul(Target &target, Random &random, Tally &tally) {
  for (const Shape &shape : shapes(target)) {
    std::vector<float> x = activations(target, random, static_cast<int64_t>(shape.m) * shape.k);
    std::vector<float> w = random.normals(static_cast<int64_t>(shape.n) * shape.k, 0.05f);
    std::vector<float> b = random.normals(shape.n);
    const Buffer in = make_x(target, x), weight = make_weight(target, w, shape.n, shape.k), bias = make_vector(target, b);
    for (const int32_t dtype : {target.x_dtype(), static_cast<int32_t>(KN_F32)}) {
      const std::string name = label({{"m", shape.m}, {"n", shape.n}, {"k", shape.k}, {"bias", shape.bias}, {"out", dtype}});
      Case test(tally, name);
      const Buffer out(target, static_cast<int64_t>(shape.m) * shape.n * (dtype == KN_F32 ? 4 : 2));
      target.ok(target.matmul(target.device, out, in, weight, shape.bias ? bias.at() : 0, shape.m, shape.n, shape.k, dtype),
                name.c_str());
      compare(target, test, shape, x, w, b, dtype == KN_F32 ? read_floats(out) : read_x(target, out), dtype != KN_F32);
      test.guards({&out, &in, &weight, &bias});
      if (!target.x_bf16) break;  // both types are one
    }
  }
}

// Each row alone, and the first rows of every shorter batch, have the bits they have in the whole batch.
void matmul_invariance(Target &target, Random &random, Tally &tally) {
  if (!target.exact) return;
  const Shape all[] = {{40, 192, 576, true}, {100, 64, 128, false}, {33, 96, 1536, false}, {14, 960, 576, false}};
  for (const Shape &shape : all) {
    Case test(tally, label({{"m", shape.m}, {"n", shape.n}, {"k", shape.k}}));
    std::vector<float> x = random.normals(static_cast<int64_t>(shape.m) * shape.k);
    std::vector<float> w = random.normals(static_cast<int64_t>(shape.n) * shape.k, 0.05f);
    std::vector<float> b = random.normals(shape.n);
    const Buffer in = make_x(target, x), weight = make_weight(target, w, shape.n, shape.k), bias = make_vector(target, b);
    const int64_t line = static_cast<int64_t>(shape.n) * target.x_size();
    const Buffer whole(target, shape.m * line);
    const kn_addr bias_at = shape.bias ? bias.at() : 0;
    target.ok(target.matmul(target.device, whole, in, weight, bias_at, shape.m, shape.n, shape.k, target.x_dtype()), "whole");
    const std::vector<char> expected = whole.read();
    for (int32_t rows = 1; rows <= shape.m; rows += rows < 20 ? 1 : 7) {
      const int32_t first = random.below(shape.m - rows + 1);
      const Buffer part(target, rows * line);
      target.ok(target.matmul(target.device, part, in.at(first * static_cast<int64_t>(shape.k) * target.x_size()), weight, bias_at,
                              rows, shape.n, shape.k, target.x_dtype()),
                "part");
      const std::vector<char> got = part.read();
      if (std::memcmp(got.data(), expected.data() + first * line, got.size()) != 0) {
        test.fail("rows " + std::to_string(first) + " .. " + std::to_string(first + rows) + " alone differ from the whole batch");
      }
    }
  }
}

}  // namespace

const std::vector<Suite> &matmul_suites() {
  static const std::vector<Suite> suites = {{"matmul", matmul}, {"matmul_bits", matmul_invariance}};
  return suites;
}

}  // namespace check
