/* matmul.cuh - what the candidates of kn_matmul share. matmul.cu chooses among them by timing, matmul_choices.cu keeps the choices; each has a file:
 *   matmul_cublaslt.cu  cuBLASLt, opened at run time           matmul_gemv.cu    M up to 16, weights straight to registers
 *   matmul_tile.cu      any M, the same bits for every M       matmul_plain.cu   shapes whose rows are not 16-byte aligned
 *   matmul_skinny.cu    M up to 64, weights through shared memory   matmul_rows.cu    M = 1 and a small matrix, a warp to a row */
#ifndef PAGEDBENCH_MATMUL_CUH
#define PAGEDBENCH_MATMUL_CUH

#include <functional>
#include <memory>
#include <tuple>

#include "device.cuh"

/* out [m, n] (bf16, or f32) = in [m, k] * weight[n, k]^T (+ bias [n]). */
struct MatmulProblem {
  void *out;
  const bf16 *in, *weight, *bias; /* bias: null when absent */
  int m, n, k;
  bool f32;
};

enum class MatmulKind { Plain, Tile, Gemv, Skinny, Rows, CublasLt, Hopper };

/* One way to compute a product: a kind, and which of its variants (for cuBLASLt the algorithm itself). */
struct MatmulChoice {
  MatmulKind kind = MatmulKind::Plain;
  int variant = 0;
  uint64_t algorithm[8] = {};
};

using MatmulKey = std::tuple<int, int, int, bool, bool>; /* m, n, k, f32, has bias */

struct CublasLt;
struct Matmul {
  void *workspace = nullptr; /* device memory: split-K partial sums of one product at a time */
  size_t workspaceBytes = 0;
  std::unique_ptr<CublasLt, void (*)(CublasLt *)> cublaslt{nullptr, nullptr};
  std::map<MatmulKey, MatmulChoice> tuned; /* by M bucket: the fastest where it was timed */
  std::map<MatmulKey, MatmulChoice> exact; /* by M: what runs */
  std::map<MatmulKey, int> siluTuned; /* by M bucket: the Hopper variant that beats product and activation apart, or -1 */
  bool hopper = true;                 /* option "matmul": may the Hopper kernel be chosen */
  int forcedVariant = -1;             /* option "matmul": this variant of it wherever it can run, whatever is faster */
  cudaEvent_t start = nullptr, end = nullptr;
  std::string choicesPath; /* where choices are kept; empty: nowhere */
};

/* matmul.cu */
int32_t matmul_create(kn_device *device, const std::string &cublasltPath, const std::string &choice, const std::string &choicesPath);
void matmul_destroy(kn_device *device);
std::string matmul_library(kn_device *device); /* "path (version)" of cuBLASLt, or empty */
int matmul_bucket(int m); /* tokens that share their choices with m */
/* Milliseconds of `operation` (at least one launch on the device's stream), the best of some, with cold caches; 1e30 where it cannot run. */
int32_t matmul_time(kn_device *device, double flops, const std::function<int32_t()> &operation, float *milliseconds);

/* matmul_silu.cu: out [m, n / 2] = silu(in * gate^T) * (in * up^T), weight = [gate; up]; gateUp [m, n] is scratch. */
int32_t matmul_silu(kn_device *device, kn_addr out, kn_addr gateUp, kn_addr in, kn_addr weight, int32_t m, int32_t n, int32_t k);

/* matmul_choices.cu */
void matmul_choices_load(kn_device *device, const std::string &path);
void matmul_choices_add_product(kn_device *device, const MatmulKey &key, const MatmulChoice &choice);
void matmul_choices_add_silu(kn_device *device, const MatmulKey &key, int variant);

/* matmul_cublaslt.cu */
int32_t cublaslt_open(kn_device *device, const std::string &path);
std::string cublaslt_name(const CublasLt *lt);
int cublaslt_candidates(kn_device *device, const MatmulProblem &p, MatmulChoice *choices, int limit);
bool cublaslt_accepts(kn_device *device, const MatmulProblem &p, const MatmulChoice &choice);
int32_t cublaslt_launch(kn_device *device, const MatmulProblem &p, const MatmulChoice &choice);

/* Each of our own kernels: how many variants suit this problem, and the launch of one. */
int gemv_variants(kn_device *device, const MatmulProblem &p);
int32_t gemv_launch(kn_device *device, const MatmulProblem &p, int variant);
int tile_variants(kn_device *device, const MatmulProblem &p);
int32_t tile_launch(kn_device *device, const MatmulProblem &p, int variant);
int32_t plain_launch(kn_device *device, const MatmulProblem &p);
int rows_variants(kn_device *device, const MatmulProblem &p);
int32_t rows_launch(kn_device *device, const MatmulProblem &p);
int skinny_variants(kn_device *device, const MatmulProblem &p);
int32_t skinny_launch(kn_device *device, const MatmulProblem &p, int variant);
int hopper_variants(kn_device *device, const MatmulProblem &p);
bool hopper_worth_timing(const MatmulProblem &p, int variant);
int32_t hopper_launch(kn_device *device, const MatmulProblem &p, int variant);
int hopper_silu_variants(kn_device *device, const MatmulProblem &p);
int32_t hopper_silu_launch(kn_device *device, const MatmulProblem &p, int variant);

#endif
