/* matmul.cu - kn_matmul: chooses, per (M bucket, N, K, types), the fastest of cuBLASLt's algorithms and our own kernels.
 * The choice is made by timing on first use, with the weights out of the L2 cache as they are in a forward pass, and kept
 * (on disk too: matmul_choices.cu). While a
 * graph is being recorded nothing can be timed: then the nearest choice made before serves, or cuBLASLt's first proposal.
 * Deterministic mode takes none of this: one kernel, whose rows do not depend on M. BENCH_MATMUL_TRACE=1 prints the timings. */
#include "matmul.cuh"

#include <cstdio>
#include <cstdlib>

static constexpr size_t WORKSPACE_BYTES = 64u << 20;
static constexpr int CUBLASLT_CANDIDATES = 8; /* it proposes no more (cuBLASLt 13.1, H100) */
/* What a kernel that asks for its weights before the wait gains in a step, and timing it alone does not show: up to 8 tokens, where all of
 * them start that way (H100, Llama-3-8B, step of 8: 6.31 ms without it, 6.00 with; at 16 tokens a bonus chooses wrongly: 6.67, 7.26), and the
 * Hopper kernel's beyond 128 tokens (step of 256: 15.01 -> 14.93; at 64 wrong: 7.86, 7.99). */
static float early_weights_ms(const kn_device *device, MatmulKind kind, int m) {
  if (!device->pdl || kind == MatmulKind::CublasLt) return 0;
  if (m <= 8) return 1.5e-3f;
  return kind == MatmulKind::Hopper && m > 128 ? 3e-3f : 0;
}

static const MatmulChoice *choose(kn_device *device, const MatmulProblem &p);
static MatmulChoice guess(kn_device *device, const MatmulProblem &p, const MatmulKey &bucketKey);
static int32_t tune(kn_device *device, const MatmulProblem &p, MatmulChoice *best);
static int32_t run(kn_device *device, const MatmulProblem &p, const MatmulChoice &choice);
static MatmulChoice tile_choice(int m);
static MatmulChoice own_choice(kn_device *device, const MatmulProblem &p);
static int32_t parse_choice(kn_device *device, const std::string &choice);

extern "C" int32_t kn_matmul(kn_device *device, kn_addr out, kn_addr in, kn_addr weight, kn_addr bias, int32_t m, int32_t n, int32_t k,
                             int32_t out_dtype) {
  KN_OPERATION(device, "kn_matmul");
  KN_REQUIRE(device, m >= 0 && n > 0 && k > 0, "kn_matmul: m %d, n %d, k %d", m, n, k);
  KN_REQUIRE(device, out_dtype == KN_F32 || out_dtype == KN_BF16, "kn_matmul: out_dtype %d is neither bf16 nor f32", out_dtype);
  if (m == 0) return KN_OK;
  KN_REQUIRE(device, out && in && weight, "kn_matmul: an address is absent");
  const MatmulProblem p = {pointer<void>(out), pointer<bf16>(in), pointer<bf16>(weight), bias ? pointer<bf16>(bias) : nullptr, m, n, k,
                           out_dtype == KN_F32};
  if (k % 8 != 0 || !aligned16(in) || !aligned16(weight) || !aligned16(out)) return plain_launch(device, p);
  if (device->deterministic) return run(device, p, tile_choice(m));
  if (device->matmul->forcedVariant >= 0 && hopper_variants(device, p) > 0) return hopper_launch(device, p, device->matmul->forcedVariant);
  const MatmulChoice *choice = choose(device, p);
  return choice != nullptr ? run(device, p, *choice) : KN_LAUNCH_FAILED;
}

int32_t matmul_create(kn_device *device, const std::string &cublasltPath, const std::string &choice, const std::string &choicesPath) {
  device->matmul = new Matmul;
  KN_TRY(parse_choice(device, choice));
  device->matmul->workspaceBytes = WORKSPACE_BYTES;
  KN_CUDA(device, cudaMalloc(&device->matmul->workspace, WORKSPACE_BYTES));
  KN_CUDA(device, cudaMemsetAsync(device->matmul->workspace, 0, WORKSPACE_BYTES, device->stream));
  KN_CUDA(device, cudaEventCreate(&device->matmul->start));
  KN_CUDA(device, cudaEventCreate(&device->matmul->end));
  if (device->deterministic) return KN_OK; /* one kernel: nothing to choose */
  KN_TRY(cublaslt_open(device, cublasltPath));
  const bool free = device->matmul->hopper && device->matmul->forcedVariant < 0;
  matmul_choices_load(device, free ? choicesPath : ""); /* what was chosen among all serves those who choose among all */
  return KN_OK;
}

void matmul_destroy(kn_device *device) {
  if (device->matmul == nullptr) return;
  if (device->matmul->start != nullptr) cudaEventDestroy(device->matmul->start);
  if (device->matmul->end != nullptr) cudaEventDestroy(device->matmul->end);
  cudaFree(device->matmul->workspace);
  delete device->matmul;
  device->matmul = nullptr;
}

std::string matmul_library(kn_device *device) {
  return device->matmul != nullptr && device->matmul->cublaslt ? cublaslt_name(device->matmul->cublaslt.get()) : "";
}

static const MatmulChoice *choose(kn_device *device, const MatmulProblem &p) {
  Matmul &matmul = *device->matmul;
  const MatmulKey key{p.m, p.n, p.k, p.f32, p.bias != nullptr}, bucketKey{matmul_bucket(p.m), p.n, p.k, p.f32, p.bias != nullptr};
  const auto known = matmul.exact.find(key);
  if (known != matmul.exact.end()) return &known->second;
  MatmulChoice choice;
  const auto tuned = matmul.tuned.find(bucketKey);
  if (tuned != matmul.tuned.end()) {
    choice = tuned->second;
  } else if (device->capturing) {
    choice = guess(device, p, bucketKey);
  } else {
    if (tune(device, p, &choice) != KN_OK) return nullptr;
    matmul.tuned[bucketKey] = choice;
    matmul_choices_add_product(device, bucketKey, choice);
  }
  if (choice.kind == MatmulKind::CublasLt && !cublaslt_accepts(device, p, choice) && cublaslt_candidates(device, p, &choice, 1) == 0)
    choice = own_choice(device, p);
  return &(matmul.exact[key] = choice);
}

/* Without timing: what was chosen for the nearest M of the same matrix, else cuBLASLt's first proposal, else our own kernel. */
static MatmulChoice guess(kn_device *device, const MatmulProblem &p, const MatmulKey &bucketKey) {
  const MatmulChoice *nearest = nullptr;
  int distance = 0;
  for (const auto &entry : device->matmul->tuned) {
    const auto &[m, n, k, f32, bias] = entry.first;
    const int away = abs(m - std::get<0>(bucketKey));
    if (n != p.n || k != p.k || f32 != p.f32 || bias != (p.bias != nullptr)) continue;
    const MatmulKind kind = entry.second.kind;
    const bool usable = kind == MatmulKind::CublasLt || kind == MatmulKind::Tile || kind == MatmulKind::Hopper || m >= p.m;
    if (usable && (nearest == nullptr || away < distance)) {
      nearest = &entry.second;
      distance = away;
    }
  }
  if (nearest != nullptr) return *nearest;
  MatmulChoice choice;
  if (p.m > 8 && cublaslt_candidates(device, p, &choice, 1) == 1) return choice;
  return p.m <= 16 ? MatmulChoice{MatmulKind::Gemv, 0, {}} : own_choice(device, p);
}

/* Reads 64 MiB, so that no weight is left in the L2 cache. */
static __global__ void flush_kernel(const uint4 *memory, size_t count, uint32_t *sink) {
  uint32_t sum = 0;
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x) {
    const uint4 v = memory[i];
    sum ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  if (sum == 0x9e3779b9u) *sink = sum;
}

static int32_t tune(kn_device *device, const MatmulProblem &p, MatmulChoice *best) {
  Matmul &matmul = *device->matmul;
  std::vector<MatmulChoice> candidates(CUBLASLT_CANDIDATES);
  const double flops = 2.0 * p.m * p.n * p.k;
  candidates.resize(cublaslt_candidates(device, p, candidates.data(), CUBLASLT_CANDIDATES));
  const auto add = [&](MatmulKind kind, int variants) {
    for (int variant = 0; variant < variants; variant++)
      if (kind != MatmulKind::Hopper || hopper_worth_timing(p, variant)) candidates.push_back(MatmulChoice{kind, variant, {}});
  };
  add(MatmulKind::Gemv, gemv_variants(device, p));
  add(MatmulKind::Skinny, skinny_variants(device, p));
  add(MatmulKind::Rows, rows_variants(device, p));
  if (matmul.hopper) add(MatmulKind::Hopper, hopper_variants(device, p));
  if (candidates.empty() || matmul.cublaslt == nullptr) add(MatmulKind::Tile, tile_variants(device, p));
  float bestTime = 1e30f;
  for (const MatmulChoice &candidate : candidates) {
    float time = 1e30f;
    KN_TRY(matmul_time(device, flops, [&] { return run(device, p, candidate); }, &time));
    if (time == 1e30f) continue;
    if (getenv("BENCH_MATMUL_TRACE") != nullptr)
      fprintf(stderr, "matmul m %d n %d k %d: kind %d variant %d: %.1f us, %.0f GB/s, %.1f TFLOP/s\n", p.m, p.n, p.k,
              static_cast<int>(candidate.kind), candidate.variant, 1e3 * time, 2e-6 * p.n * p.k / time, 1e-9 * flops / time);
    time -= early_weights_ms(device, candidate.kind, p.m);
    if (time < bestTime) {
      bestTime = time;
      *best = candidate;
    }
  }
  return bestTime < 1e30f ? KN_OK : fail(device, KN_INTERNAL, "kn_matmul: no kernel runs %d x %d x %d", p.m, p.n, p.k);
}

int32_t matmul_time(kn_device *device, double flops, const std::function<int32_t()> &operation, float *milliseconds) {
  Matmul &matmul = *device->matmul;
  const bool large = flops > 2e11; /* more than about 0.4 ms: few repeats */
  *milliseconds = 1e30f;
  if (operation() != KN_OK) return device->lost ? KN_LAUNCH_FAILED : KN_OK; /* warms up; a candidate that cannot run is no candidate */
  for (int repeat = 0; repeat < (large ? 2 : 4); repeat++) {
    flush_kernel<<<device->multiprocessors * 4, 256, 0, device->stream>>>(static_cast<const uint4 *>(matmul.workspace), WORKSPACE_BYTES / 16,
                                                                          static_cast<uint32_t *>(matmul.workspace));
    KN_CHECK_LAUNCH(device, "kn_matmul: flush");
    KN_CUDA(device, cudaEventRecord(matmul.start, device->stream));
    KN_TRY(operation());
    KN_CUDA(device, cudaEventRecord(matmul.end, device->stream));
    KN_CUDA(device, cudaEventSynchronize(matmul.end));
    float once = 0.0f;
    KN_CUDA(device, cudaEventElapsedTime(&once, matmul.start, matmul.end));
    if (once < *milliseconds) *milliseconds = once;
  }
  return KN_OK;
}

static int32_t run(kn_device *device, const MatmulProblem &p, const MatmulChoice &choice) {
  switch (choice.kind) {
    case MatmulKind::CublasLt: return cublaslt_launch(device, p, choice);
    case MatmulKind::Gemv: return gemv_launch(device, p, choice.variant);
    case MatmulKind::Rows: return rows_launch(device, p);
    case MatmulKind::Skinny: return skinny_launch(device, p, choice.variant);
    case MatmulKind::Tile: return tile_launch(device, p, choice.variant);
    case MatmulKind::Hopper: return hopper_launch(device, p, choice.variant);
    case MatmulKind::Plain: break;
  }
  return plain_launch(device, p);
}

/* Choices are shared within a bucket: one token alone, 8 wide up to 256 (the graphs' batch sizes), 64 up to 512, then powers of two. */
int matmul_bucket(int m) {
  if (m == 1) return 1;
  if (m <= 256) return (m + 7) / 8 * 8;
  if (m <= 512) return (m + 63) / 64 * 64;
  int power = 1024;
  while (power < m) power *= 2;
  return power;
}

static MatmulChoice tile_choice(int m) { return {MatmulKind::Tile, m <= 16 ? 0 : m <= 64 ? 1 : 2, {}}; }

/* Untimed, and without cuBLASLt. */
static MatmulChoice own_choice(kn_device *device, const MatmulProblem &p) {
  const bool hopper = device->matmul->hopper && p.m >= 64 && hopper_variants(device, p) > 0;
  return hopper ? MatmulChoice{MatmulKind::Hopper, p.m > 256 ? 0 : 5, {}} : tile_choice(p.m);
}

/* Option "matmul", or BENCH_MATMUL: "auto"; "library": never the Hopper kernel; "hopper:V": its variant V wherever it can run, to try it. */
static int32_t parse_choice(kn_device *device, const std::string &option) {
  const char *environment = getenv("BENCH_MATMUL");
  const std::string choice = !option.empty() ? option : environment != nullptr ? environment : "auto";
  device->matmul->hopper = choice != "library";
  if (choice == "auto" || choice == "library" || choice.empty()) return KN_OK;
  char *end = nullptr;
  const bool named = choice.rfind("hopper:", 0) == 0 && choice.size() > 7;
  const long variant = named ? strtol(choice.c_str() + 7, &end, 10) : -1;
  const MatmulProblem small = {nullptr, nullptr, nullptr, nullptr, 64, 64, 64, false};
  KN_REQUIRE(device, named && *end == '\0', "matmul: \"%s\" is none of auto, library, hopper:V", choice.c_str());
  if (hopper_variants(device, small) == 0) return fail(device, KN_UNSUPPORTED, "matmul: %s needs compute capability 9.0", choice.c_str());
  KN_REQUIRE(device, variant >= 0 && variant < hopper_variants(device, small), "matmul: %s: variants are 0 to %d", choice.c_str(),
             hopper_variants(device, small) - 1);
  device->matmul->forcedVariant = static_cast<int>(variant);
  return KN_OK;
}
