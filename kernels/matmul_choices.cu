/* matmul_choices.cu - the choices of kn_matmul on disk, so that one machine times its candidates once: an engine starts seconds sooner, and
 * every engine of a comparison runs the same kernels (two timings of one shape may fall either way, and that would count for an engine).
 *
 * A text file: its first line names what the timings belong to (device, driver, runtime, cuBLASLt, this very library); a file of another
 * origin is begun anew. Then one line a choice, "product m n k f32 bias kind variant algorithm[8] .", or "silu ..." for kn_mlp_input's;
 * the last character tells a whole line from one that a killed process left. Lines are appended in one write each, so processes may share the file; of two lines for a key the
 * first counts. A file that cannot be read or written costs its use and nothing else.
 * cublasLtMatmulAlgo_t may be stored and used again with the same version of the library (cuBLAS documentation, cublasLtMatmulAlgo_t). */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "matmul.cuh"

static const char *const PRODUCT = "product", *const SILU = "silu";

static std::string origin(kn_device *device);
static void add(kn_device *device, const char *what, const MatmulKey &key, const MatmulChoice &choice);
static bool parse_line(const std::string &line, std::string &what, MatmulKey &key, MatmulChoice &choice);
static void start_anew(const std::string &path, const std::string &first);

void matmul_choices_load(kn_device *device, const std::string &path) {
  Matmul &matmul = *device->matmul;
  matmul.choicesPath = path;
  if (path.empty()) return;
  const std::string first = origin(device);
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line) || line != first) {
    start_anew(path, first);
    return;
  }
  std::string what;
  MatmulKey key;
  MatmulChoice choice;
  while (std::getline(file, line)) {
    if (!parse_line(line, what, key, choice)) continue;
    if (what == SILU) matmul.siluTuned.emplace(key, choice.variant);
    else matmul.tuned.emplace(key, choice);
  }
}

void matmul_choices_add_product(kn_device *device, const MatmulKey &key, const MatmulChoice &choice) { add(device, PRODUCT, key, choice); }
void matmul_choices_add_silu(kn_device *device, const MatmulKey &key, int variant) {
  add(device, SILU, key, MatmulChoice{MatmulKind::Hopper, variant, {}});
}

static void add(kn_device *device, const char *what, const MatmulKey &key, const MatmulChoice &choice) {
  const std::string &path = device->matmul->choicesPath;
  if (path.empty()) return;
  const auto &[m, n, k, f32, bias] = key;
  char line[512];
  int size = snprintf(line, sizeof line, "%s %d %d %d %d %d %d %d", what, m, n, k, f32, bias, static_cast<int>(choice.kind), choice.variant);
  for (const uint64_t word : choice.algorithm) size += snprintf(line + size, sizeof line - size, " %" PRIx64, word);
  size += snprintf(line + size, sizeof line - size, " .\n");
  const int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, line, size) != size) device->matmul->choicesPath.clear(); /* a full disk, say: no more of it */
  close(file);
}

/* What the timings depend on. The library itself is named by size and time: a rebuilt kernel is timed again. */
static std::string origin(kn_device *device) {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  long long size = 0, time = 0;
  Dl_info self{};
  struct stat status{};
  if (dladdr(reinterpret_cast<const void *>(&kn_matmul), &self) != 0 && stat(self.dli_fname, &status) == 0) {
    size = status.st_size;
    time = status.st_mtime;
  }
  char text[512];
  snprintf(text, sizeof text, "pagedbench matmul choices 1; %s, %d multiprocessors; driver %d, runtime %d; cublaslt %s; pdl %d; library %lld %lld",
           device->properties.name, device->multiprocessors, driver, runtime, matmul_library(device).c_str(), device->pdl, size, time);
  return text;
}

static bool parse_line(const std::string &line, std::string &what, MatmulKey &key, MatmulChoice &choice) {
  char word[16];
  int m, n, k, f32, bias, kind, variant, used = 0;
  if (sscanf(line.c_str(), "%15s %d %d %d %d %d %d %d%n", word, &m, &n, &k, &f32, &bias, &kind, &variant, &used) != 8) return false;
  what = word;
  const char *rest = line.c_str() + used;
  choice = MatmulChoice{static_cast<MatmulKind>(kind), variant, {}};
  for (uint64_t &part : choice.algorithm) {
    if (sscanf(rest, " %" SCNx64 "%n", &part, &used) != 1) return false;
    rest += used;
  }
  if (strcmp(rest, " .") != 0 || (what != PRODUCT && what != SILU) || m <= 0) return false;
  key = MatmulKey{m, n, k, f32 != 0, bias != 0};
  return true;
}

/* Written aside and renamed, so that no reader sees half of it. */
static void start_anew(const std::string &path, const std::string &first) {
  const std::string aside = path + "." + std::to_string(getpid());
  std::ofstream file(aside, std::ios::trunc);
  file << first << '\n';
  file.close();
  if (!file || rename(aside.c_str(), path.c_str()) != 0) remove(aside.c_str());
}
