// isa.h - which of the compiled inner loops this processor can run.
#pragma once

#include <string>

#include "simd/inner_loops.h"

namespace kn {

// name: "auto" (the best one) or one of avx512bf16, avx512, avx2, portable. Throws Failure: INVALID_ARGUMENT for an unknown
// name, UNSUPPORTED for one that this processor lacks.
const InnerLoops &choose_inner_loops(const std::string &name);

// The model name from /proc/cpuinfo, or "CPU".
std::string processor_name();

}  // namespace kn
