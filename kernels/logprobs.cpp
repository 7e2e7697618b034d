// logprobs.cpp - log-softmax of raw logits [S, V] at the sampled token and at the `top` likeliest. Bytes: 3 passes over V * 4 a
// row. Bound by the exponentials.
#include <cmath>

#include "device.h"

using kn::check_range;
using kn::pointer;

namespace {

constexpr int32_t MOST = 20;

// The `top` largest by value, then lower id, in order, by insertion: nearly all values fail the first comparison.
void largest(const float *logits, int32_t vocab, int32_t top, int32_t *ids) {
  int32_t count = 0;
  for (int32_t v = 0; v < vocab; v++) {
    if (count == top && !(logits[v] > logits[ids[top - 1]])) continue;
    int32_t at = count < top ? count++ : top - 1;
    for (; at > 0 && logits[v] > logits[ids[at - 1]]; at--) ids[at] = ids[at - 1];
    ids[at] = v;
  }
}

void run_row(const kn::InnerLoops &loops, const float *logits, int32_t vocab, int32_t token, int32_t top, float *logprob,
             int32_t *ids) {
  const float most = logits[loops.argmax(logits, vocab)];
  const double norm = static_cast<double>(most) + std::log(loops.sum_exp(logits, vocab, most));
  ids[0] = token;
  if (top > 0) largest(logits, vocab, top, ids + 1);
  for (int32_t i = 0; i <= top; i++) logprob[i] = static_cast<float>(static_cast<double>(logits[ids[i]]) - norm);
}

}  // namespace

int32_t kn_logprobs(kn_device *device, kn_addr out_logprob, kn_addr out_token, kn_addr logits, kn_addr tokens, int32_t samples,
                    int32_t vocab, int32_t top) {
  return kn::guard(device, [&] {
    kn::check_at_least("samples", samples, 0);
    kn::check_at_least("vocab", vocab, 1);
    if (top < 0 || top > MOST || top > vocab)
      kn::fail(KN_INVALID_ARGUMENT, "top is %d, must be in 0..%d and at most vocab", top, MOST);
    check_range(*device, "out_logprob", out_logprob, 4.0 * samples * (1 + top));
    check_range(*device, "out_token", out_token, 4.0 * samples * (1 + top));
    check_range(*device, "logits", logits, 4.0 * samples * vocab);
    check_range(*device, "tokens", tokens, 4.0 * samples);
    kn::enqueue(*device, "kn_logprobs", [=] {
      const int32_t *token = pointer<int32_t>(tokens);
      for (int32_t s = 0; s < samples; s++) {
        if (token[s] < 0 || token[s] >= vocab)
          kn::fail(KN_INVALID_ARGUMENT, "tokens[%d] is %d, not in 0..%d", s, token[s], vocab - 1);
      }
      device->pool.run(samples, [&](int s, int) {
        const int64_t at = static_cast<int64_t>(s) * (1 + top);
        run_row(device->inner, pointer<float>(logits) + static_cast<int64_t>(s) * vocab, vocab, token[s], top,
                pointer<float>(out_logprob) + at, pointer<int32_t>(out_token) + at);
      });
    });
  });
}
