// options.h - the JSON object given to kn_device_create, as far as the CPU backend knows it.
#pragma once

#include <cstdint>
#include <string>

namespace kn {

struct Options {
  bool bf16 = true;  // "dtype"
  int threads = 0;   // 0: as many as this process may use
  std::string isa = "auto";
  int64_t fail_alloc = 0;   // "fault": "alloc:N", counted from 1; 0: never
  int64_t fail_launch = 0;  // "fault": "launch:N"
};

// Throws Failure(KN_INVALID_ARGUMENT) naming the option. Keys of the other backend are passed over.
Options parse_options(const char *json);

}  // namespace kn
