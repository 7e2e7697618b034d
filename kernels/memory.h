// memory.h - host memory as this process may use it.
#pragma once

#include <cstdint>

namespace kn {

uint64_t memory_total_bytes();      // of the machine, or of the control group when that is less
uint64_t memory_available_bytes();  // what can be had without swapping
void release_memory(uint64_t address);

}  // namespace kn
