// check.h - what the parts of `check` share: the library under test, guarded buffers, random inputs, and the tally of errors.
// Everything goes through the C ABI, so that a GPU library is tried exactly as the CPU one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels.h"

#define KN_FUNCTIONS(X)                                                                                                            \
  X(abi_version)                                                                                                                   \
  X(device_create) X(device_destroy) X(device_info) X(last_error) X(memory_info) X(buffer_alloc) X(buffer_free) X(buffer_fill)     \
      X(host_alloc) X(host_free) X(upload) X(download) X(upload_async) X(download_async) X(event_create) X(event_destroy)          \
          X(event_record) X(event_query) X(event_wait) X(event_elapsed) X(synchronize) X(graph_begin) X(graph_end) X(graph_launch) \
              X(graph_destroy) X(weight_bytes) X(weight_load) X(weight_random) X(vector_load) X(step_prepare) X(embedding)         \
                  X(rmsnorm) X(add_rmsnorm) X(add) X(matmul) X(rope_store) X(rope) X(kv_store) X(attention) X(attention_workspace) \
                      X(attention_input) X(mlp_input) X(silu_mul) X(silu) X(mul) X(gather_rows) X(sample) X(sample_workspace) X(logprobs) X(copy) X(read)

namespace check {

// Tokens drawn by splitmix64 (Steele et al., OOPSLA 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  int32_t below(int32_t count) { return static_cast<int32_t>(next() % static_cast<uint64_t>(count)); }
  int32_t between(int32_t least, int32_t most) { return least + below(most - least + 1); }
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24f; }
  float normal();
  std::vector<float> normals(int64_t count, float scale = 1.0f);

 private:
  uint64_t state_;
};

float round_bf16(float value);

// What one operation has shown so far.
struct Tally {
  int cases = 0;
  int failures = 0;
  double worst = 0;       // largest error / tolerance
  int64_t by_margin = 0;  // sampled tokens that differ from the reference within the tolerance of the decision
  std::string first_failure;
};

struct Options {
  std::string library, op, json, isa = "auto", cublaslt, matmul;
  std::string dtype = "bf16";
  uint64_t seed = 1;
  int threads = 0;
  bool deterministic = false, wgmma = true, quick = false, time = false;
};

class Target {
 public:
  explicit Target(const Options &options);
  ~Target();
  Target(const Target &) = delete;

#define X(name) decltype(&kn_##name) name = nullptr;
  KN_FUNCTIONS(X)
#undef X
  kn_device *device = nullptr;
  std::string info;  // JSON of kn_device_info
  bool cuda = false;
  bool w_bf16 = false, x_bf16 = false;
  bool exact = false;  // rows are promised to be bit-equal in every batch and chunking
  const Options &options;

  int64_t w_size() const { return w_bf16 ? 2 : 4; }
  int64_t x_size() const { return x_bf16 ? 2 : 4; }
  int32_t x_dtype() const { return x_bf16 ? KN_BF16 : KN_F32; }
  float to_x(float value) const { return x_bf16 ? round_bf16(value) : value; }
  float to_w(float value) const { return w_bf16 ? round_bf16(value) : value; }
  // Unit roundoff: the relative error of one store in x or w (bf16 has 8 significant bits, f32 24).
  double x_epsilon() const { return x_bf16 ? 0x1p-8 : 0x1p-24; }
  double w_epsilon() const { return w_bf16 ? 0x1p-8 : 0x1p-24; }
  // Throws std::runtime_error with the library's text unless status is KN_OK.
  void ok(int32_t status, const char *what) const;

 private:
  void *handle_ = nullptr;
};

// Device memory between two guard zones, filled with NaN (0xff) until it is written.
class Buffer {
 public:
  Buffer(Target &target, int64_t bytes);
  ~Buffer();
  Buffer(Buffer &&other) noexcept;
  Buffer(const Buffer &) = delete;

  kn_addr at(int64_t byte_offset = 0) const { return address_ + 256 + static_cast<kn_addr>(byte_offset); }
  operator kn_addr() const { return at(); }
  int64_t bytes() const { return bytes_; }
  void poison();
  void write(const void *source, int64_t bytes);
  std::vector<char> read() const;
  bool guards_intact() const;

 private:
  Target *target_;
  int64_t bytes_;
  kn_addr address_ = 0;
};

// Makers of filled buffers. Floats are rounded to the type they are stored in; `values` is changed to what was stored.
Buffer make_x(Target &target, std::vector<float> &values);
Buffer make_w(Target &target, std::vector<float> &values);  // elements as in the cache
Buffer make_vector(Target &target, std::vector<float> &values);
Buffer make_ints(Target &target, const std::vector<int32_t> &values);
Buffer make_floats(Target &target, const std::vector<float> &values);
Buffer make_weight(Target &target, std::vector<float> &values, int32_t n, int32_t k);
std::vector<float> read_x(const Target &target, const Buffer &buffer);
std::vector<float> read_w(const Target &target, const Buffer &buffer);
std::vector<float> read_floats(const Buffer &buffer);
std::vector<int32_t> read_ints(const Buffer &buffer);

// Collects the comparisons of one case.
class Case {
 public:
  Case(Tally &tally, std::string name) : tally_(tally), name_(std::move(name)) { tally_.cases++; }
  // NaN where a number is expected counts as an error beyond any tolerance.
  void near(double got, double expected, double tolerance, const char *what, int64_t index);
  void same(int64_t got, int64_t expected, const char *what, int64_t index);
  void same_bytes(const std::vector<char> &got, const std::vector<char> &expected, const char *what);
  void guards(std::initializer_list<const Buffer *> buffers);
  void fail(const std::string &text);
  Tally &tally() { return tally_; }

 private:
  Tally &tally_;
  std::string name_;
};

// A name for a case: label("m", m, "n", n) = "m=3 n=16".
std::string label(std::initializer_list<std::pair<const char *, int64_t>> parts);

// The operations, each over its table of shapes.
struct Suite {
  const char *op;
  void (*run)(Target &target, Random &random, Tally &tally);
};
const std::vector<Suite> &row_suites();        // check_rows.cpp
const std::vector<Suite> &matmul_suites();     // check_matmul.cpp
const std::vector<Suite> &rope_suites();       // check_rope.cpp
const std::vector<Suite> &attention_suites();  // check_attention.cpp
const std::vector<Suite> &layer_suites();      // check_layer.cpp
const std::vector<Suite> &sample_suites();     // check_sample.cpp
const std::vector<Suite> &step_suites();       // check_step.cpp
const std::vector<Suite> &graph_suites();      // check_graph.cpp

// Times each operation with a cold cache and prints a table.
void time_operations(Target &target, Random &random);

}  // namespace check
