// check_time.cpp - `check --time`: each operation alone at the shapes of two models, on memory that has left the caches; the
// median of seven. kernels/bench.ts does the same through JavaScript with the machine's ceilings beside it; this one needs no Node.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>

#include "check.h"

namespace check {
namespace {

struct Model {
  const char *name;
  int32_t hidden, heads, kv_heads, head_dim, intermediate, vocab;
};
constexpr Model MODELS[] = {{"SmolLM2-135M", 576, 9, 3, 64, 1536, 49152}, {"Llama-3-8B", 4096, 32, 8, 128, 14336, 128256}};

constexpr int64_t COLD_BYTES = 192ll << 20;  // past the caches: 32 MB here, 50 MB on an H100

class Timer {
 public:
  explicit Timer(Target &target) : target_(target) {
    target.ok(target.event_create(target.device, &start_), "kn_event_create");
    target.ok(target.event_create(target.device, &end_), "kn_event_create");
  }
  ~Timer() {
    target_.event_destroy(target_.device, start_);
    target_.event_destroy(target_.device, end_);
  }

  // launch(i) runs the operation on the i-th of `copies` sets of memory.
  void report(const std::string &op, const std::string &shape, double bytes, double flops, int32_t copies,
              const std::function<void(int32_t)> &launch) {
    launch(0);
    target_.ok(target_.synchronize(target_.device), "kn_synchronize");
    std::vector<double> times;
    int32_t turn = 0;
    for (int sample = 0; sample < 7; sample++) {
      const int32_t launches = copies > 1 ? 16 : 1;
      target_.ok(target_.event_record(target_.device, start_), "kn_event_record");
      for (int32_t i = 0; i < launches; i++) launch(turn++ % copies);
      target_.ok(target_.event_record(target_.device, end_), "kn_event_record");
      target_.ok(target_.event_wait(target_.device, end_, 60000), "kn_event_wait");
      float milliseconds = 0;
      target_.ok(target_.event_elapsed(target_.device, start_, end_, &milliseconds), "kn_event_elapsed");
      times.push_back(milliseconds / 1e3 / launches);
    }
    std::sort(times.begin(), times.end());
    const double seconds = times[times.size() / 2];
    std::printf("%-12s %-26s %11.1f %9.1f", op.c_str(), shape.c_str(), seconds * 1e6, bytes / seconds / 1e9);
    if (flops > 0) std::printf(" %9.3f", flops / seconds / 1e12);
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  Target &target_;
  int32_t start_ = 0, end_ = 0;
};

void time_matmul(Target &target, Timer &timer, const char *op, int32_t m, int32_t n, int32_t k) {
  double weight_bytes = 0;
  target.ok(target.weight_bytes(target.device, n, k, &weight_bytes), "kn_weight_bytes");
  const int32_t copies = static_cast<int32_t>(std::min(64.0, std::ceil(COLD_BYTES / weight_bytes)));
  std::vector<Buffer> weights;
  for (int32_t i = 0; i < copies; i++) {
    weights.emplace_back(target, static_cast<int64_t>(weight_bytes));
    target.ok(target.weight_random(target.device, weights.back(), n, k, i, 0.02f), "kn_weight_random");
  }
  Random random(1);
  std::vector<float> x = random.normals(static_cast<int64_t>(m) * k);
  const Buffer in = make_x(target, x), out(target, static_cast<int64_t>(m) * n * target.x_size());
  timer.report(op, label({{"m", m}, {"n", n}, {"k", k}}), weight_bytes + static_cast<double>(in.bytes() + out.bytes()),
               2.0 * m * n * k, copies, [&](int32_t i) {
                 target.ok(target.matmul(target.device, out, in, weights[static_cast<size_t>(i)], 0, m, n, k, target.x_dtype()),
                           op);
               });
}

void time_attention(Target &target, Timer &timer, const Model &model, int32_t rows, int32_t queries, int32_t length) {
  const int32_t block = 16, per_row = length / block, tokens = rows * queries,
                width = (model.heads + 2 * model.kv_heads) * model.head_dim;
  const int64_t block_bytes = 2ll * model.kv_heads * block * model.head_dim * target.w_size();
  const int32_t blocks = static_cast<int32_t>(
      std::max<int64_t>(per_row, std::min<int64_t>(static_cast<int64_t>(rows) * per_row, COLD_BYTES / block_bytes)));
  const int32_t copies = static_cast<int32_t>(std::max<int64_t>(1, COLD_BYTES / (blocks * block_bytes)));
  Random random(1);
  std::vector<float> q = random.normals(static_cast<int64_t>(tokens) * width),
                     kv = random.normals(blocks * block_bytes / target.w_size());
  std::vector<Buffer> caches;
  for (int32_t i = 0; i < copies; i++) caches.push_back(make_w(target, kv));
  std::vector<int32_t> starts, lengths(static_cast<size_t>(rows), length), slots,
      table(static_cast<size_t>(rows * (KN_SLOT_BLOCKS + per_row)));
  for (int32_t r = 0; r <= rows; r++) starts.push_back(r * queries);
  for (int32_t r = 0; r < rows; r++) {
    slots.push_back(r);
    for (int32_t b = 0; b < per_row; b++)
      table[static_cast<size_t>(r * (KN_SLOT_BLOCKS + per_row) + KN_SLOT_BLOCKS + b)] =
          static_cast<int32_t>((static_cast<int64_t>(r * per_row + b) * 7919) % blocks);
  }
  double bytes = 0;
  target.ok(target.attention_workspace(target.device, rows, tokens, model.heads, model.head_dim, length, &bytes), "workspace");
  const Buffer workspace(target, static_cast<int64_t>(bytes)), q_buffer = make_x(target, q);
  const Buffer out(target, static_cast<int64_t>(tokens) * model.heads * model.head_dim * target.x_size());
  const Buffer start = make_ints(target, starts), size = make_ints(target, lengths), slot = make_ints(target, slots),
               tables = make_ints(target, table);
  const double pairs = queries == 1 ? static_cast<double>(rows) * length : rows * 0.5 * queries * (queries + 1);
  const double moved =
      static_cast<double>(rows) * per_row * static_cast<double>(block_bytes) + 2.0 * static_cast<double>(out.bytes());
  timer.report("attention", label({{"rows", rows}, {"queries", queries}, {"kv", length}}), moved,
               4 * pairs * model.heads * model.head_dim, copies, [&](int32_t i) {
                 target.ok(
                     target.attention(target.device, out, q_buffer, width, caches[static_cast<size_t>(i)],
                                      static_cast<double>(block_bytes), block, start, size, slot, tables, KN_SLOT_BLOCKS + per_row,
                                      rows, queries == 1 ? rows : 0, tokens, model.heads, model.kv_heads, model.head_dim,
                                      1 / std::sqrt(static_cast<float>(model.head_dim)), length, workspace),
                     "kn_attention");
               });
}

void time_rows(Target &target, Timer &timer, const Model &model, int32_t tokens) {
  Random random(1);
  std::vector<float> wide = random.normals(2ll * tokens * model.intermediate), norm = random.normals(model.hidden);
  const int32_t copies =
      static_cast<int32_t>(std::clamp<int64_t>(COLD_BYTES / (static_cast<int64_t>(wide.size()) * target.x_size()), 1, 64));
  std::vector<Buffer> inputs, outputs;
  for (int32_t i = 0; i < copies; i++) inputs.push_back(make_x(target, wide)), outputs.push_back(make_x(target, wide));
  const Buffer weight = make_vector(target, norm);
  const double x = static_cast<double>(target.x_size()) * tokens;
  timer.report(
      "add_rmsnorm", label({{"tokens", tokens}, {"width", model.hidden}}), 4 * x * model.hidden, 0, copies, [&](int32_t i) {
        const size_t at = static_cast<size_t>(i), next = static_cast<size_t>((i + 1) % copies);
        target.ok(target.add_rmsnorm(target.device, outputs[at], outputs[next], outputs[next], inputs[at], weight, tokens, model.hidden, 1e-5f),
                  "kn_add_rmsnorm");
      });
  timer.report("silu_mul", label({{"tokens", tokens}, {"width", model.intermediate}}), 3 * x * model.intermediate, 0, copies,
               [&](int32_t i) {
                 target.ok(target.silu_mul(target.device, outputs[static_cast<size_t>(i)], inputs[static_cast<size_t>(i)], tokens,
                                           model.intermediate),
                           "kn_silu_mul");
               });
}

// Logits as a language model gives them: one certain token in ten, the rest spread over some twenty units.
void time_sample(Target &target, Timer &timer, const Model &model, int32_t rows, bool greedy) {
  Random random(1);
  const Buffer values = make_floats(target, random.normals(static_cast<int64_t>(rows) * model.vocab, 2.5f)),
               logits(target, values.bytes());
  std::vector<int32_t> table(static_cast<size_t>(rows * KN_SLOT_BLOCKS)), index;
  for (int32_t r = 0; r < rows; r++) {
    index.push_back(r);
    reinterpret_cast<float *>(table.data())[r * KN_SLOT_BLOCKS + KN_SLOT_TEMPERATURE] = greedy ? 0.0f : 1.0f;
    reinterpret_cast<float *>(table.data())[r * KN_SLOT_BLOCKS + KN_SLOT_TOP_P] = 0.9f;
    reinterpret_cast<float *>(table.data())[r * KN_SLOT_BLOCKS + KN_SLOT_REPETITION] = 1.0f;
  }
  const Buffer rows_of = make_ints(target, index), lengths = make_ints(target, index), tables = make_ints(target, table),
               tokens(target, rows * 4), history(target, rows * 4ll * rows);
  double bytes = 0;
  target.ok(target.sample_workspace(target.device, rows, model.vocab, &bytes), "kn_sample_workspace");
  const Buffer workspace(target, static_cast<int64_t>(bytes));
  target.ok(target.copy(target.device, logits, values, static_cast<double>(values.bytes())), "kn_copy");
  timer.report(greedy ? "greedy" : "top-p 0.9", label({{"rows", rows}, {"vocab", model.vocab}}),
               static_cast<double>(values.bytes()), 0, 1, [&](int32_t) {
                 target.ok(target.sample(target.device, tokens, logits, rows_of, rows_of, lengths, tables, KN_SLOT_BLOCKS, history,
                                         rows, rows, model.vocab, greedy, workspace),
                           "kn_sample");
               });
}

}  // namespace

void time_operations(Target &target, Random &) {
  Timer timer(target);
  const bool cuda = target.cuda;
  for (const Model &model : MODELS) {
    std::printf("\n%s, median of 7, cold\n%-12s %-26s %11s %9s %9s\n", model.name, "operation", "shape", "us", "GB/s", "TFLOP/s");
    for (const int32_t m : {1, 16, 64, 256}) {
      if (m > 64 && !cuda && model.hidden > 2048) continue;  // seconds each on a CPU
      time_matmul(target, timer, "qkv", m, (model.heads + 2 * model.kv_heads) * model.head_dim, model.hidden);
      time_matmul(target, timer, "o", m, model.hidden, model.heads * model.head_dim);
      time_matmul(target, timer, "gate_up", m, 2 * model.intermediate, model.hidden);
      time_matmul(target, timer, "down", m, model.hidden, model.intermediate);
      if (m <= 64) time_matmul(target, timer, "lm_head", m, model.vocab, model.hidden);
      time_attention(target, timer, model, m, 1, 1024);
      time_rows(target, timer, model, m);
      time_sample(target, timer, model, m, true);
      time_sample(target, timer, model, m, false);
    }
    time_attention(target, timer, model, 1, 256, 256);
    time_attention(target, timer, model, 1, 2048, 2048);
  }
}

}  // namespace check
