// check_layer.cpp - the chains of a layer as one operation, against f64: sum and norm, then q k v rotated and in the cache, or gate and
// up activated. One token takes another way than several, and a product of a norm has another rounding than a product alone.
#include <algorithm>
#include <cmath>

#include "check.h"

namespace check {
namespace {

struct Layer {
  int32_t width, heads, kv_heads, dim, inner;
};

std::vector<Layer> layers(const Target &target) {
  std::vector<Layer> all = {{192, 3, 1, 64, 520}, {576, 9, 3, 64, 1536}, {1536, 12, 2, 128, 96}};
  if (!target.options.quick) all.insert(all.end(), {{64, 2, 2, 64, 24}, {768, 4, 1, 128, 2056}, {2048, 16, 4, 64, 1024}, {2056, 4, 4, 64, 512}});
  return all;
}

// The stream before a layer: residual + branch, its norm in f64, and the buffers of it.
struct Stream {
  int32_t tokens, width;
  bool has_branch;
  std::vector<float> residual, branch, norm, sum;
  std::vector<double> normed;
  Buffer residual_buffer, branch_buffer, norm_buffer, residual_out, normed_buffer;

  Stream(Target &target, Random &random, int32_t rows, int32_t columns, bool with_branch)
      : tokens(rows),
        width(columns),
        has_branch(with_branch),
        residual(random.normals(static_cast<int64_t>(rows) * columns)),
        branch(random.normals(static_cast<int64_t>(rows) * columns, 0.2f)),
        norm(random.normals(columns)),
        residual_buffer(make_x(target, residual)),
        branch_buffer(make_x(target, branch)),
        norm_buffer(make_vector(target, norm)),
        residual_out(target, residual_buffer.bytes()),
        normed_buffer(target, residual_buffer.bytes()) {
    for (size_t i = 0; i < residual.size(); i++) sum.push_back(has_branch ? target.to_x(residual[i] + branch[i]) : residual[i]);
    for (int32_t t = 0; t < tokens; t++) {
      const float *row = sum.data() + static_cast<int64_t>(t) * width;
      double squares = 0;
      for (int32_t i = 0; i < width; i++) squares += static_cast<double>(row[i]) * row[i];
      const double factor = 1 / std::sqrt(squares / width + 1e-5);
      for (int32_t i = 0; i < width; i++) normed.push_back(row[i] * factor * norm[static_cast<size_t>(i)]);
    }
  }
  kn_addr branch_address() const { return has_branch ? branch_buffer.at() : 0; }

  void compare(Target &target, Case &test) const {
    const std::vector<float> got = read_x(target, residual_out);
    for (size_t i = 0; i < got.size(); i++) {
      if (has_branch && !(got[i] == sum[i])) test.near(got[i], sum[i], 1e-30, "residual_out", static_cast<int64_t>(i));
      if (!has_branch && !std::isnan(got[i])) test.fail("residual_out is written although there is no branch");
    }
    test.guards({&residual_buffer, &branch_buffer, &residual_out, &normed_buffer});
  }
};

struct Product {
  double value, tolerance;
};

// One element of normed * weight^T (+ bias), rounded to x. The norm is rounded to x, and to w where the library multiplies in that type;
// that is random: 2.5 times the unit roundoff over the root of the squares is some six standard deviations.
Product product(const Target &target, const Stream &stream, int32_t token, const std::vector<float> &weight, int32_t row, float bias) {
  const double *x = stream.normed.data() + static_cast<int64_t>(token) * stream.width;
  const float *w = weight.data() + static_cast<int64_t>(row) * stream.width;
  double value = bias, squares = 0, size = std::fabs(bias);
  for (int32_t i = 0; i < stream.width; i++) {
    const double term = x[i] * w[i];
    value += term;
    squares += term * term;
    size += std::fabs(term);
  }
  const double tolerance = 2 * target.x_epsilon() * std::fabs(value) + 2.5 * std::max(target.x_epsilon(), target.w_epsilon()) * std::sqrt(squares) +
                           (12 + std::sqrt(stream.width)) * 0x1p-24 * size;
  return {value, tolerance};
}

void attention_input(Target &target, Random &random, Tally &tally) {
  for (const Layer &layer : layers(target)) {
    for (const int32_t tokens : {1, 2, 9}) {
      const bool has_branch = random.below(4) > 0, has_bias = random.below(2) > 0;
      const int32_t block_size = 16 << random.below(2), blocks = 3, max_position = 300;
      Case test(tally, label({{"tokens", tokens}, {"width", layer.width}, {"heads", layer.heads}, {"kv", layer.kv_heads}, {"branch", has_branch}, {"bias", has_bias}}));
      const int32_t rows = (layer.heads + 2 * layer.kv_heads) * layer.dim, half = layer.dim / 2;
      const Stream stream(target, random, tokens, layer.width, has_branch);
      std::vector<float> matrix = random.normals(static_cast<int64_t>(rows) * layer.width, 0.05f), bias = random.normals(rows);
      const Buffer weight = make_weight(target, matrix, rows, layer.width), bias_buffer = make_vector(target, bias);
      std::vector<float> angles = random.normals(static_cast<int64_t>(max_position) * layer.dim);  // any factors serve
      std::vector<int32_t> position, slot;
      for (int32_t t = 0; t < tokens; t++) {
        position.push_back(random.below(max_position));
        slot.push_back((t * 5 + 3) % (blocks * block_size));
      }
      const int64_t stride = 2ll * layer.kv_heads * block_size * layer.dim * target.w_size() * 2;
      const Buffer rope = make_floats(target, angles), positions = make_ints(target, position), slots = make_ints(target, slot);
      const Buffer qkv(target, static_cast<int64_t>(tokens) * rows * target.x_size()), cache(target, stride * blocks);
      target.ok(target.attention_input(target.device, qkv, stream.residual_out, stream.normed_buffer, stream.residual_buffer,
                                       stream.branch_address(), stream.norm_buffer, 1e-5f, weight, has_bias ? bias_buffer.at() : 0,
                                       positions, slots, rope, cache, static_cast<double>(stride), block_size, tokens, layer.width,
                                       layer.heads, layer.kv_heads, layer.dim),
                "kn_attention_input");
      const std::vector<float> got = read_x(target, qkv), kv = read_w(target, cache);
      for (int32_t t = 0; t < tokens; t++) {
        const size_t token = static_cast<size_t>(t);
        for (int32_t h = 0; h < layer.heads + 2 * layer.kv_heads; h++) {
          for (int32_t i = 0; i < half; i++) {
            const int32_t row = h * layer.dim + i;
            const auto element = [&](int32_t r) {
              return product(target, stream, t, matrix, r, has_bias ? bias[static_cast<size_t>(r)] : 0);
            };
            const Product low = element(row), high = element(row + half);
            const float *angle = angles.data() + static_cast<int64_t>(position[token]) * layer.dim + i;
            const bool rotated = h < layer.heads + layer.kv_heads;
            const double c = rotated ? angle[0] : 1, s = rotated ? angle[half] : 0;
            const double expected[2] = {low.value * c - high.value * s, high.value * c + low.value * s};
            const double reach[2] = {low.tolerance * std::fabs(c) + high.tolerance * std::fabs(s),
                                     high.tolerance * std::fabs(c) + low.tolerance * std::fabs(s)};
            for (int side = 0; side < 2; side++) {
              const double tolerance = reach[side] + 2 * (target.x_epsilon() + target.w_epsilon()) * std::fabs(expected[side]);
              const int64_t at = static_cast<int64_t>(t) * rows + row + side * half;
              if (h < layer.heads) {
                test.near(got[static_cast<size_t>(at)], expected[side], tolerance, "q", at);
                continue;
              }
              const int64_t line = h - layer.heads, place = slot[token];
              const int64_t where = place / block_size * (stride / target.w_size()) +
                                    (line * block_size + place % block_size) * layer.dim + i + side * half;
              test.near(kv[static_cast<size_t>(where)], expected[side], tolerance, "cache", where);
            }
          }
        }
      }
      int64_t written = 0;
      for (const float value : kv) written += !std::isnan(value);
      test.same(written, 2ll * tokens * layer.kv_heads * layer.dim, "elements written to the cache", 0);
      stream.compare(target, test);
      test.guards({&qkv, &cache, &weight});
    }
  }
}

// From 64 on the activation may come from the product's own kernel.
std::vector<int32_t> token_counts(const Target &target) {
  if (target.options.quick) return {1, 2, 9, 67};
  return {1, 2, 9, 64, 65, 127, 129, 300};
}

void mlp_input(Target &target, Random &random, Tally &tally) {
  for (const Layer &layer : layers(target)) {
    for (const int32_t tokens : token_counts(target)) {
      const bool has_branch = random.below(4) > 0;
      Case test(tally, label({{"tokens", tokens}, {"width", layer.width}, {"inner", layer.inner}, {"branch", has_branch}}));
      const Stream stream(target, random, tokens, layer.width, has_branch);
      std::vector<float> matrix = random.normals(2ll * layer.inner * layer.width, 0.05f);
      const Buffer weight = make_weight(target, matrix, 2 * layer.inner, layer.width);
      const Buffer gated(target, static_cast<int64_t>(tokens) * layer.inner * target.x_size()), gate_up(target, 2 * gated.bytes());
      target.ok(target.mlp_input(target.device, gated, stream.residual_out, stream.normed_buffer, gate_up, stream.residual_buffer,
                                 stream.branch_address(), stream.norm_buffer, 1e-5f, weight, tokens, layer.width, layer.inner),
                "kn_mlp_input");
      const std::vector<float> got = read_x(target, gated);
      for (int32_t t = 0; t < tokens; t++) {
        for (int32_t i = 0; i < layer.inner; i++) {
          const Product gate = product(target, stream, t, matrix, i, 0), up = product(target, stream, t, matrix, layer.inner + i, 0);
          const double activated = gate.value / (1 + std::exp(-gate.value)), expected = activated * up.value;
          // The slope of silu is at most 1.1.
          const double tolerance = 1.1 * gate.tolerance * (std::fabs(up.value) + up.tolerance) + std::fabs(activated) * up.tolerance +
                                   2 * (target.x_epsilon() + 8 * 0x1p-24) * std::fabs(expected) + 1e-30;
          const int64_t at = static_cast<int64_t>(t) * layer.inner + i;
          test.near(got[static_cast<size_t>(at)], expected, tolerance, "gated", at);
        }
      }
      stream.compare(target, test);
      test.guards({&gated, &gate_up, &weight});
    }
  }
}

}  // namespace

const std::vector<Suite> &layer_suites() {
  static const std::vector<Suite> suites = {{"attention_input", attention_input}, {"mlp_input", mlp_input}};
  return suites;
}

}  // namespace check
