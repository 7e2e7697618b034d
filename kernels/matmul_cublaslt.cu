/* matmul_cublaslt.cu - cuBLASLt without its headers and without linking it: found and opened when a device is created, so that the
 * library loads where cuBLASLt is absent. Constants and prototypes: NVIDIA cuBLAS documentation, "Using the cuBLASLt API".
 * cuBLASLt is column-major: out^T [N, M] = op_T(weight^T [K, N]) * in^T [K, M], which in memory is our row-major product. */
#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <cstring>

#include "matmul.cuh"

static constexpr int COMPUTE_F32 = 68, OPERATION_TRANSPOSE = 1, EPILOGUE_BIAS = 4;
static constexpr int DESCRIPTOR_TRANSPOSE_A = 3, DESCRIPTOR_EPILOGUE = 7, DESCRIPTOR_BIAS = 8;
static constexpr int LAYOUT_COLUMNS = 3, PREFERENCE_WORKSPACE = 1, PREFERENCE_ALIGNMENT_A = 5;

struct Heuristic {
  uint64_t algorithm[8];
  size_t workspaceBytes;
  int status;
  float waves;
  int reserved[4];
};
struct Layouts {
  void *weight = nullptr, *in = nullptr, *out = nullptr;
  int m = 0;
};

struct CublasLt {
  void *library = nullptr, *handle = nullptr, *preference = nullptr;
  void *descriptors[2] = {}; /* without and with bias */
  std::string name;
  std::map<std::tuple<int, int, bool>, Layouts> layouts; /* n, k, f32 */

  int (*create)(void **);
  int (*destroy)(void *);
  size_t (*version)();
  int (*descriptorCreate)(void **, int, int);
  int (*descriptorDestroy)(void *);
  int (*descriptorSet)(void *, int, const void *, size_t);
  int (*layoutCreate)(void **, int, uint64_t, uint64_t, int64_t);
  int (*layoutDestroy)(void *);
  int (*layoutSet)(void *, int, const void *, size_t);
  int (*preferenceCreate)(void **);
  int (*preferenceDestroy)(void *);
  int (*preferenceSet)(void *, int, const void *, size_t);
  int (*heuristics)(void *, void *, void *, void *, void *, void *, void *, int, Heuristic *, int *);
  int (*check)(void *, void *, void *, void *, void *, void *, const uint64_t *, Heuristic *);
  int (*multiply)(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *, void *, void *,
                  const uint64_t *, void *, size_t, cudaStream_t);

  ~CublasLt();
};

static std::vector<std::string> search_paths();
static bool resolve(CublasLt *lt);
static int32_t prepare(kn_device *device, CublasLt *lt);
static Layouts *layouts_of(CublasLt *lt, const MatmulProblem &p);

int32_t cublaslt_open(kn_device *device, const std::string &path) {
  if (path == "none") return KN_OK;
  std::unique_ptr<CublasLt, void (*)(CublasLt *)> lt(new CublasLt(), [](CublasLt *it) { delete it; });
  for (const std::string &candidate : path.empty() ? search_paths() : std::vector<std::string>{path}) {
    lt->library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (lt->library == nullptr) continue;
    if (resolve(lt.get()) && lt->create(&lt->handle) == 0) {
      lt->name = candidate;
      break;
    }
    dlclose(lt->library);
    lt->library = lt->handle = nullptr;
  }
  KN_REQUIRE(device, lt->handle != nullptr || path.empty(), "cublaslt: %s cannot be opened as cuBLASLt", path.c_str());
  if (lt->handle == nullptr) return KN_OK; /* our own kernels serve */
  KN_TRY(prepare(device, lt.get()));
  device->matmul->cublaslt = std::move(lt);
  return KN_OK;
}

std::string cublaslt_name(const CublasLt *lt) { return lt->name + " (" + std::to_string(lt->version()) + ")"; }

/* Up to `limit` algorithms that cuBLASLt itself proposes, best guess first. */
int cublaslt_candidates(kn_device *device, const MatmulProblem &p, MatmulChoice *choices, int limit) {
  CublasLt *lt = device->matmul->cublaslt.get();
  if (lt == nullptr || (p.bias != nullptr && p.f32) || p.k % 8 != 0) return 0;
  const Layouts *layouts = layouts_of(lt, p);
  if (layouts == nullptr) return 0;
  Heuristic found[16];
  int count = 0;
  if (lt->heuristics(lt->handle, lt->descriptors[p.bias != nullptr], layouts->weight, layouts->in, layouts->out, layouts->out, lt->preference,
                     limit < 16 ? limit : 16, found, &count) != 0)
    return 0;
  int kept = 0;
  for (int i = 0; i < count; i++) {
    if (found[i].status != 0 || found[i].workspaceBytes > device->matmul->workspaceBytes) continue;
    choices[kept] = MatmulChoice{MatmulKind::CublasLt, i, {}};
    memcpy(choices[kept++].algorithm, found[i].algorithm, sizeof found[i].algorithm);
  }
  return kept;
}

/* Whether an algorithm that was chosen at another M serves this one. */
bool cublaslt_accepts(kn_device *device, const MatmulProblem &p, const MatmulChoice &choice) {
  CublasLt *lt = device->matmul->cublaslt.get();
  const Layouts *layouts = layouts_of(lt, p);
  Heuristic result{};
  return layouts != nullptr &&
         lt->check(lt->handle, lt->descriptors[p.bias != nullptr], layouts->weight, layouts->in, layouts->out, layouts->out, choice.algorithm,
                   &result) == 0 &&
         result.status == 0 && result.workspaceBytes <= device->matmul->workspaceBytes;
}

int32_t cublaslt_launch(kn_device *device, const MatmulProblem &p, const MatmulChoice &choice) {
  CublasLt *lt = device->matmul->cublaslt.get();
  const Layouts *layouts = layouts_of(lt, p);
  if (layouts == nullptr) return fail(device, KN_INTERNAL, "kn_matmul: cuBLASLt refused the layout of %d x %d x %d", p.m, p.n, p.k);
  void *descriptor = lt->descriptors[p.bias != nullptr];
  if (p.bias != nullptr) lt->descriptorSet(descriptor, DESCRIPTOR_BIAS, &p.bias, sizeof p.bias);
  const float one = 1.0f, zero = 0.0f;
  const int code = lt->multiply(lt->handle, descriptor, &one, p.weight, layouts->weight, p.in, layouts->in, &zero, p.out, layouts->out, p.out,
                                layouts->out, choice.algorithm, device->matmul->workspace, device->matmul->workspaceBytes, device->stream);
  if (code == 0) return KN_OK;
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) return fail_cuda(device, "kn_matmul (cuBLASLt)", error);
  return fail(device, KN_INTERNAL, "kn_matmul: cuBLASLt status %d for %d x %d x %d", code, p.m, p.n, p.k);
}

CublasLt::~CublasLt() {
  if (library == nullptr) return;
  for (const auto &entry : layouts)
    for (void *layout : {entry.second.weight, entry.second.in, entry.second.out})
      if (layout != nullptr) layoutDestroy(layout);
  for (void *descriptor : descriptors)
    if (descriptor != nullptr) descriptorDestroy(descriptor);
  if (preference != nullptr) preferenceDestroy(preference);
  if (handle != nullptr) destroy(handle);
  /* The library stays open: it has threads and handlers of its own. */
}

/* BENCH_CUBLASLT_PATH, the loader's own path, the toolkit, then the Python package nvidia-cublas of any environment in sight. */
static std::vector<std::string> search_paths() {
  std::vector<std::string> paths, prefixes;
  const auto environment = [](const char *name) { const char *value = getenv(name); return std::string(value ? value : ""); };
  if (!environment("BENCH_CUBLASLT_PATH").empty()) paths.push_back(environment("BENCH_CUBLASLT_PATH"));
  for (const char *name : {"libcublasLt.so.13", "libcublasLt.so.12"}) paths.push_back(name);
  if (!environment("CUDA_HOME").empty()) paths.push_back(environment("CUDA_HOME") + "/lib64/libcublasLt.so.[0-9]*");
  paths.push_back("/usr/local/cuda*/lib64/libcublasLt.so.1[23]");
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void *>(&cublaslt_open), &self) != 0 && self.dli_fname != nullptr) {
    const std::string file = self.dli_fname;
    const size_t slash = file.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash);
    for (const char *up : {"/.cuda", "/../.cuda", "/../../.cuda"}) prefixes.push_back(folder + up);
  }
  for (const char *name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (!environment(name).empty()) prefixes.push_back(environment(name));
  const std::string path = environment("PATH");
  for (size_t at = 0; at < path.size();) {
    const size_t colon = path.find(':', at), end = colon == std::string::npos ? path.size() : colon;
    if (end > at + 4 && path.compare(end - 4, 4, "/bin") == 0) prefixes.push_back(path.substr(at, end - at - 4));
    at = end + 1;
  }
  for (const std::string &prefix : prefixes)
    for (const char *packages : {"/lib/python3*/site-packages", "/lib/python3*/dist-packages"})
      for (const char *place : {"/nvidia/cu13/lib/libcublasLt.so.13", "/nvidia/cublas/lib/libcublasLt.so.1[23]"})
        paths.push_back(prefix + packages + place);

  std::vector<std::string> found;
  for (const std::string &pattern : paths) {
    if (pattern.find('/') == std::string::npos) {
      found.push_back(pattern);
      continue;
    }
    glob_t matches{};
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0)
      for (size_t i = 0; i < matches.gl_pathc; i++) found.push_back(matches.gl_pathv[i]);
    globfree(&matches);
  }
  return found;
}

static bool resolve(CublasLt *lt) {
  bool complete = true;
  const auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(lt->library, name));
    complete = complete && function != nullptr;
  };
  find(lt->create, "cublasLtCreate");
  find(lt->destroy, "cublasLtDestroy");
  find(lt->version, "cublasLtGetVersion");
  find(lt->descriptorCreate, "cublasLtMatmulDescCreate");
  find(lt->descriptorDestroy, "cublasLtMatmulDescDestroy");
  find(lt->descriptorSet, "cublasLtMatmulDescSetAttribute");
  find(lt->layoutCreate, "cublasLtMatrixLayoutCreate");
  find(lt->layoutDestroy, "cublasLtMatrixLayoutDestroy");
  find(lt->layoutSet, "cublasLtMatrixLayoutSetAttribute");
  find(lt->preferenceCreate, "cublasLtMatmulPreferenceCreate");
  find(lt->preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  find(lt->preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
  find(lt->heuristics, "cublasLtMatmulAlgoGetHeuristic");
  find(lt->check, "cublasLtMatmulAlgoCheck");
  find(lt->multiply, "cublasLtMatmul");
  return complete;
}

static int32_t prepare(kn_device *device, CublasLt *lt) {
  bool good = lt->preferenceCreate(&lt->preference) == 0;
  const uint64_t workspaceBytes = device->matmul->workspaceBytes;
  const uint32_t alignment = 16; /* callers place activations at any 16-byte boundary */
  good = good && lt->preferenceSet(lt->preference, PREFERENCE_WORKSPACE, &workspaceBytes, sizeof workspaceBytes) == 0;
  for (int operand = 0; operand < 4; operand++)
    good = good && lt->preferenceSet(lt->preference, PREFERENCE_ALIGNMENT_A + operand, &alignment, sizeof alignment) == 0;
  for (int bias = 0; bias < 2 && good; bias++) {
    const int32_t transpose = OPERATION_TRANSPOSE, epilogue = EPILOGUE_BIAS;
    good = lt->descriptorCreate(&lt->descriptors[bias], COMPUTE_F32, CUDA_R_32F) == 0 &&
           lt->descriptorSet(lt->descriptors[bias], DESCRIPTOR_TRANSPOSE_A, &transpose, sizeof transpose) == 0 &&
           (bias == 0 || lt->descriptorSet(lt->descriptors[bias], DESCRIPTOR_EPILOGUE, &epilogue, sizeof epilogue) == 0);
  }
  return good ? KN_OK : fail(device, KN_INTERNAL, "cublaslt: %s refuses the descriptors", lt->name.c_str());
}

static Layouts *layouts_of(CublasLt *lt, const MatmulProblem &p) {
  Layouts &layouts = lt->layouts[{p.n, p.k, p.f32}];
  const uint64_t m = p.m, n = p.n, k = p.k;
  if (layouts.out == nullptr) {
    const bool made = (layouts.weight != nullptr || lt->layoutCreate(&layouts.weight, CUDA_R_16BF, k, n, p.k) == 0) &&
                      (layouts.in != nullptr || lt->layoutCreate(&layouts.in, CUDA_R_16BF, k, m, p.k) == 0) &&
                      lt->layoutCreate(&layouts.out, p.f32 ? CUDA_R_32F : CUDA_R_16BF, n, m, p.n) == 0;
    layouts.m = p.m;
    return made ? &layouts : nullptr;
  }
  if (layouts.m != p.m) {
    if (lt->layoutSet(layouts.in, LAYOUT_COLUMNS, &m, sizeof m) != 0 || lt->layoutSet(layouts.out, LAYOUT_COLUMNS, &m, sizeof m) != 0) return nullptr;
    layouts.m = p.m;
  }
  return &layouts;
}
