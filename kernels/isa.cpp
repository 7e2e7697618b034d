#include "isa.h"

#include <cstring>
#include <fstream>

#include "failure.h"

namespace kn {
namespace {

struct Candidate {
  const InnerLoops *loops;
  bool supported;
};

}  // namespace

const InnerLoops &choose_inner_loops(const std::string &name) {
#if defined(__x86_64__)
  __builtin_cpu_init();  // asks cpuid, and xgetbv for what the system saves
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const Candidate candidates[] = {{&inner_loops_avx512bf16, avx512 && __builtin_cpu_supports("avx512bf16")},
                                  {&inner_loops_avx512, avx512},
                                  {&inner_loops_avx2, avx2},
                                  {&inner_loops_portable, true}};
#else
  const Candidate candidates[] = {{&inner_loops_portable, true}};
#endif
  for (const Candidate &candidate : candidates) {
    if (name == "auto" ? candidate.supported : name == candidate.loops->isa) {
      if (!candidate.supported) fail(KN_UNSUPPORTED, "option isa: this processor has no %s", name.c_str());
      return *candidate.loops;
    }
  }
  fail(KN_INVALID_ARGUMENT, "option isa: '%s' is not one of auto, avx512bf16, avx512, avx2, portable", name.c_str());
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 < line.size()) return line.substr(colon + 2);
  }
  return "CPU";
}

}  // namespace kn
