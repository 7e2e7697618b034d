// check_graph.cpp - graphs, events and asynchronous copies with a step of a one-layer model: eager and replayed, with several
// sets of lengths, bit for bit.
#include <cstring>
#include <memory>

#include "check_plan.h"

namespace check {
namespace {

// One layer of a model, from token ids to sampled tokens.
class Model {
 public:
  static constexpr int32_t VOCAB = 512, WIDTH = 192, HEADS = 3, KV_HEADS = 1, DIM = 64, QKV = (HEADS + 2 * KV_HEADS) * DIM;

  Model(Target &target, Random &random, Plan &plan)
      : target_(target),
        plan_(plan),
        table_(weight(random, VOCAB, WIDTH)),
        qkv_weight_(weight(random, QKV, WIDTH)),
        head_(weight(random, VOCAB, HEADS * DIM)),
        norm_(norm(random)),
        rope_(rope(random)),
        slot_table_(make_ints(target, plan.table)),
        history_(make_ints(target, plan.history)),
        staging_(target, static_cast<int64_t>(plan.staging.size()) * 4),
        kv_(cache(random)) {}

  // Enqueues a step with the sizes of the plan's header: copy in, compute, copy the tokens to `host_tokens`.
  void enqueue(kn_addr host_staging, kn_addr host_tokens, int32_t max_kv) {
    Target &t = target_;
    const int32_t rows = plan_.at(KN_STEP_ROWS), tokens = plan_.at(KN_STEP_TOKENS), samples = plan_.at(KN_STEP_SAMPLES);
    t.ok(t.upload_async(t.device, staging_, host_staging, static_cast<double>(staging_.bytes())), "kn_upload_async");
    t.ok(t.step_prepare(t.device, staging_, slot_table_, history_, ids_, positions_, kv_slot_, kv_length_, sample_index_, rows,
                        tokens, samples, plan_.max_rows, plan_.max_changes, plan_.max_tokens, plan_.stride(), plan_.history_stride,
                        plan_.block_size),
         "kn_step_prepare");
    t.ok(t.embedding(t.device, x_, table_, ids_, tokens, VOCAB, WIDTH), "kn_embedding");
    t.ok(t.rmsnorm(t.device, normed_, x_, norm_, tokens, WIDTH, 1e-5f), "kn_rmsnorm");
    t.ok(t.matmul(t.device, qkv_, normed_, qkv_weight_, 0, tokens, QKV, WIDTH, t.x_dtype()), "kn_matmul");
    t.ok(t.rope_store(t.device, qkv_, positions_, kv_slot_, rope_, kv_, stride(), plan_.block_size, tokens, HEADS, KV_HEADS, DIM),
         "kn_rope_store");
    const kn_addr query_start = staging_.at((KN_STEP_HEADER + 3ll * plan_.max_rows) * 4),
                  row_slot = staging_.at(KN_STEP_HEADER * 4);
    t.ok(t.attention(t.device, attended_, qkv_, QKV, kv_, stride(), plan_.block_size, query_start, kv_length_, row_slot,
                     slot_table_, plan_.stride(), rows, plan_.at(KN_STEP_DECODE_ROWS), tokens, HEADS, KV_HEADS, DIM, 0.125f, max_kv,
                     workspace(max_kv)),
         "kn_attention");
    t.ok(t.gather_rows(t.device, gathered_, attended_, sample_index_, samples, HEADS * DIM), "kn_gather_rows");
    t.ok(t.matmul(t.device, logits_, gathered_, head_, 0, samples, VOCAB, HEADS * DIM, KN_F32), "kn_matmul");
    const kn_addr sample_row = staging_.at((KN_STEP_HEADER + 4ll * plan_.max_rows + 1) * 4);
    t.ok(t.sample(t.device, tokens_, logits_, sample_row, row_slot, kv_length_, slot_table_, plan_.stride(), history_,
                  plan_.history_stride, samples, VOCAB, 1, sample_space_),
         "kn_sample");
    t.ok(t.download_async(t.device, host_tokens, tokens_, samples * 4.0), "kn_download_async");
  }
  std::vector<char> state() const {
    std::vector<char> all = tokens_.read();
    for (const Buffer *buffer : {&logits_, &history_, &kv_}) {
      const std::vector<char> bytes = buffer->read();
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }
  // Puts the tables and the cache back as they were made.
  void reset(const std::vector<char> &cache) {
    slot_table_.write(plan_.table.data(), slot_table_.bytes());
    history_.write(plan_.history.data(), history_.bytes());
    kv_.write(cache.data(), kv_.bytes());
    for (Buffer *buffer : {&tokens_, &logits_}) buffer->poison();
  }
  std::vector<char> cache_bytes() const { return kv_.read(); }
  bool guards_intact() const {
    for (const Buffer *buffer : {&ids_, &x_, &qkv_, &attended_, &logits_, &tokens_, &kv_}) {
      if (!buffer->guards_intact()) return false;
    }
    return true;
  }

 private:
  int64_t layer_bytes() const { return 2ll * KV_HEADS * plan_.block_size * DIM * target_.w_size(); }
  double stride() const { return static_cast<double>(layer_bytes()); }
  Buffer weight(Random &random, int32_t n, int32_t k) {
    std::vector<float> values = random.normals(static_cast<int64_t>(n) * k, 0.1f);
    return make_weight(target_, values, n, k);
  }
  Buffer norm(Random &random) {
    std::vector<float> values = random.normals(WIDTH);
    return make_vector(target_, values);
  }
  Buffer rope(Random &random) { return make_floats(target_, random.normals(static_cast<int64_t>(plan_.history_stride) * DIM)); }
  Buffer cache(Random &random) {
    std::vector<float> values =
        random.normals(static_cast<int64_t>(plan_.slots) * plan_.max_blocks * layer_bytes() / target_.w_size());
    return make_w(target_, values);
  }
  kn_addr workspace(int32_t max_kv) {
    if (!workspace_) {
      double bytes = 0;
      target_.ok(target_.attention_workspace(target_.device, plan_.max_rows, plan_.max_tokens, HEADS, DIM, max_kv, &bytes),
                 "workspace");
      workspace_ = std::make_unique<Buffer>(target_, static_cast<int64_t>(bytes));
    }
    return *workspace_;
  }
  Buffer space(int64_t elements, int64_t size) { return Buffer(target_, elements * size); }
  int64_t sample_bytes() {
    double bytes = 0;
    target_.ok(target_.sample_workspace(target_.device, plan_.max_rows, VOCAB, &bytes), "kn_sample_workspace");
    return static_cast<int64_t>(bytes);
  }

  Target &target_;
  Plan &plan_;
  Buffer table_, qkv_weight_, head_, norm_, rope_, slot_table_, history_, staging_, kv_;
  const int64_t t_ = plan_.max_tokens, x_size_ = target_.x_size();
  Buffer ids_ = space(t_, 4), positions_ = space(t_, 4), kv_slot_ = space(t_, 4), kv_length_ = space(plan_.max_rows, 4),
         sample_index_ = space(plan_.max_rows, 4);
  Buffer x_ = space(t_ * WIDTH, x_size_), normed_ = space(t_ * WIDTH, x_size_), qkv_ = space(t_ * QKV, x_size_),
         attended_ = space(t_ * HEADS * DIM, x_size_);
  Buffer gathered_ = space(plan_.max_rows * HEADS * DIM, x_size_), logits_ = space(plan_.max_rows * VOCAB, 4),
         tokens_ = space(plan_.max_rows, 4);
  Buffer sample_space_ = space(sample_bytes(), 1);
  std::unique_ptr<Buffer> workspace_;
};

void graph(Target &target, Random &random, Tally &tally) {
  for (const int32_t rows : {1, 5, 16}) {
    Case test(tally, label({{"rows", rows}}));
    Plan plan(16, 64, 32);
    for (int32_t s = 0; s < plan.slots; s++) {
      for (int32_t b = 0; b < plan.max_blocks; b++)
        plan.table[static_cast<size_t>(s * plan.stride() + KN_SLOT_BLOCKS + b)] = s * plan.max_blocks + b;
    }
    for (int32_t &id : plan.history) id = random.below(Model::VOCAB);
    Model model(target, random, plan);
    const std::vector<char> cache = model.cache_bytes();
    kn_addr host = 0, host_tokens = 0;
    target.ok(target.host_alloc(target.device, static_cast<double>(plan.staging.size() * 4), &host), "kn_host_alloc");
    target.ok(target.host_alloc(target.device, rows * 4.0, &host_tokens), "kn_host_alloc");
    const auto write = [&] { std::memcpy(reinterpret_cast<void *>(host), plan.staging.data(), plan.staging.size() * 4); };
    int32_t start = 0, end = 0, recorded = 0;
    target.ok(target.event_create(target.device, &start), "kn_event_create");
    target.ok(target.event_create(target.device, &end), "kn_event_create");

    for (int32_t set = 0; set < 3; set++) {  // three sets of lengths; the graph was captured with the first
      plan.draw(random, rows, rows, 1, Model::VOCAB, -1);
      plan.staging[KN_STEP_CHANGES] = 0;
      write();
      model.reset(cache);
      model.enqueue(host, host_tokens, plan.history_stride);
      target.ok(target.synchronize(target.device), "kn_synchronize");
      const std::vector<char> expected = model.state();
      if (set == 0) {
        target.ok(target.graph_begin(target.device), "kn_graph_begin");
        model.enqueue(host, host_tokens, plan.history_stride);
        target.ok(target.graph_end(target.device, &recorded), "kn_graph_end");
      }
      model.reset(cache);
      std::memset(reinterpret_cast<void *>(host_tokens), 0xff, static_cast<size_t>(rows) * 4);
      target.ok(target.event_record(target.device, start), "kn_event_record");
      target.ok(target.graph_launch(target.device, recorded), "kn_graph_launch");
      target.ok(target.event_record(target.device, end), "kn_event_record");
      target.ok(target.event_wait(target.device, end, 10000), "kn_event_wait");
      int32_t done = 0;
      float milliseconds = -1;
      target.ok(target.event_query(target.device, end, &done), "kn_event_query");
      target.ok(target.event_elapsed(target.device, start, end, &milliseconds), "kn_event_elapsed");
      test.same(done, 1, "event done", set);
      if (!(milliseconds >= 0 && milliseconds < 10000)) test.fail("kn_event_elapsed gave " + std::to_string(milliseconds));
      std::vector<char> copied(static_cast<size_t>(rows) * 4);
      std::memcpy(copied.data(), reinterpret_cast<void *>(host_tokens), copied.size());
      const std::vector<char> got = model.state();
      test.same_bytes(got, expected, "replay");
      test.same_bytes(copied, {got.begin(), got.begin() + rows * 4}, "tokens in host memory");
    }
    if (!model.guards_intact()) test.fail("memory around a buffer was written");
    target.ok(target.graph_destroy(target.device, recorded), "kn_graph_destroy");
    target.ok(target.event_destroy(target.device, start), "kn_event_destroy");
    target.ok(target.event_destroy(target.device, end), "kn_event_destroy");
    target.ok(target.host_free(target.device, host), "kn_host_free");
    target.ok(target.host_free(target.device, host_tokens), "kn_host_free");
  }
}

}  // namespace

const std::vector<Suite> &graph_suites() {
  static const std::vector<Suite> suites = {{"graph", graph}};
  return suites;
}

}  // namespace check
