/* matmul_silu.cu - gated [M, f] = silu(in * gate^T) * (in * up^T), weight [2 f, K] = [gate; up]: the product and the activation in one
 * kernel (matmul_hopper.cu), or the two operations in turn, whichever was faster when the first product of this many tokens was timed.
 * Apart, gate and up are written and read again: 4 M f bytes twice, and gated 2 M f; together gated alone (Llama-3-8B, 2,048 tokens: 59
 * MB of 294). Both round gate and up to bf16 before the activation. */
#include "matmul.cuh"

#include <cstdio>
#include <cstdlib>

static constexpr int APART = -1;

static int32_t apart(kn_device *device, kn_addr out, kn_addr gateUp, kn_addr in, kn_addr weight, const MatmulProblem &p) {
  KN_TRY(kn_matmul(device, gateUp, in, weight, 0, p.m, p.n, p.k, KN_BF16));
  return kn_silu_mul(device, out, gateUp, p.m, p.n / 2);
}

/* While a graph is recorded nothing can be timed: what was chosen for the nearest number of tokens, or apart. */
static int nearest(const Matmul &matmul, const MatmulKey &key) {
  int choice = APART, distance = 1 << 30;
  for (const auto &[other, variant] : matmul.siluTuned) {
    const int away = abs(std::get<0>(other) - std::get<0>(key));
    if (std::get<1>(other) != std::get<1>(key) || std::get<2>(other) != std::get<2>(key) || away >= distance) continue;
    choice = variant;
    distance = away;
  }
  return choice;
}

static int32_t tune(kn_device *device, const MatmulProblem &p, const std::function<int32_t()> &two, int *best) {
  const double flops = 2.0 * p.m * p.n * p.k;
  const auto trace = [&](int variant, float time) {
    if (getenv("BENCH_MATMUL_TRACE") != nullptr)
      fprintf(stderr, "matmul_silu m %d n %d k %d: variant %d: %.1f us, %.1f TFLOP/s\n", p.m, p.n, p.k, variant, 1e3 * time, 1e-9 * flops / time);
  };
  float bestTime = 1e30f;
  *best = APART;
  KN_TRY(matmul_time(device, flops, two, &bestTime));
  trace(APART, bestTime);
  for (int variant = 0; variant < hopper_silu_variants(device, p); variant++) {
    if (!hopper_worth_timing(p, variant)) continue;
    float time = 1e30f;
    KN_TRY(matmul_time(device, flops, [&] { return hopper_silu_launch(device, p, variant); }, &time));
    trace(variant, time);
    if (time >= bestTime) continue;
    bestTime = time;
    *best = variant;
  }
  return KN_OK;
}

int32_t matmul_silu(kn_device *device, kn_addr out, kn_addr gateUp, kn_addr in, kn_addr weight, int32_t m, int32_t n, int32_t k) {
  const MatmulProblem p = {pointer<void>(out), pointer<bf16>(in), pointer<bf16>(weight), nullptr, m, n, k, false};
  const auto two = [&] { return apart(device, out, gateUp, in, weight, p); };
  if (device == nullptr || m <= 0 || n <= 0 || k <= 0 || !out || !in || !weight || !aligned16(out) || !aligned16(in) || !aligned16(weight) ||
      device->deterministic || !device->matmul->hopper || hopper_silu_variants(device, p) == 0)
    return two();
  Matmul &matmul = *device->matmul;
  int variant = matmul.forcedVariant;
  if (variant < 0 && m < 64) return two();
  if (variant < 0) {
    const MatmulKey key{matmul_bucket(m), n, k, false, false};
    const auto known = matmul.siluTuned.find(key);
    if (known != matmul.siluTuned.end()) {
      variant = known->second;
    } else if (device->capturing) {
      variant = nearest(matmul, key);
    } else {
      KN_TRY(tune(device, p, two, &variant));
      matmul.siluTuned[key] = variant;
      matmul_choices_add_silu(device, key, variant);
    }
  }
  if (variant == APART) return two();
  KN_OPERATION(device, "kn_mlp_input");
  return hopper_silu_launch(device, p, variant);
}
