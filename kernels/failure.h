// failure.h - how a function inside the CPU backend fails; guard() in device.h turns it into a status at the ABI.
#pragma once

#include <cstdint>
#include <string>

#include "kernels.h"

namespace kn {

struct Failure {
  int32_t status;
  std::string text;
};

[[noreturn]] void fail(kn_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace kn
