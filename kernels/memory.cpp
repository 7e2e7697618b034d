// memory.cpp - buffers and copies. On the CPU device memory is ordinary memory; large buffers ask for huge pages, because
// streaming hundreds of megabytes of weights through 4 KB pages costs a page walk every 64 lines.
#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "device.h"

using kn::check_range;
using kn::enqueue;
using kn::fail;
using kn::guard;
using kn::pointer;

namespace {

constexpr uint64_t ALIGNMENT = 256;
constexpr uint64_t HUGE_PAGE = 2u << 20;

kn_addr allocate(kn_device &device, const char *what, double bytes, bool host) {
  if (!(bytes >= 0) || bytes > 9007199254740992.0) fail(KN_INVALID_ARGUMENT, "bytes is %g, must be from 0 to 2^53", bytes);
  const uint64_t size = std::max<uint64_t>(static_cast<uint64_t>(bytes), 1);
  const uint64_t available = kn::memory_available_bytes();
  if (!host && ++device.allocations == device.options.fail_alloc) {
    fail(KN_OUT_OF_MEMORY, "%s of %llu bytes: injected failure of allocation %lld", what, static_cast<unsigned long long>(size),
         static_cast<long long>(device.allocations));
  }
  void *memory = nullptr;
  if (size <= available) {
    const uint64_t alignment = size >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  }
  if (memory == nullptr) {
    fail(KN_OUT_OF_MEMORY, "%s of %llu bytes: %llu bytes available, %llu held by this device", what,
         static_cast<unsigned long long>(size), static_cast<unsigned long long>(available),
         static_cast<unsigned long long>(device.held_bytes));
  }
  if (size >= HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE);  // advice: a refusal costs speed only
  const kn_addr address = reinterpret_cast<uintptr_t>(memory);
  device.buffers[address] = {size, host};
  if (!host) {
    device.held_bytes += size;
    device.peak_bytes = std::max(device.peak_bytes, device.held_bytes);
  }
  return address;
}

void release(kn_device &device, const char *name, kn_addr address, bool host) {
  if (address == 0) return;
  const auto found = device.buffers.find(address);
  if (found == device.buffers.end() || found->second.host != host) {
    fail(KN_INVALID_ARGUMENT, "%s: %llu is not the address of a %s buffer", name, static_cast<unsigned long long>(address),
         host ? "host" : "device");
  }
  if (!host) device.held_bytes -= found->second.bytes;
  device.buffers.erase(found);
  kn::release_memory(address);
}

void copy(void *destination, const void *source, double bytes) { std::memcpy(destination, source, static_cast<size_t>(bytes)); }

// The number after `key` in a file of "key: number unit" lines, or 0.
uint64_t read_kilobytes(const char *path, const std::string &key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  }
  return 0;
}

uint64_t read_number(const char *path) {  // "max" and absent files: no limit
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : std::numeric_limits<uint64_t>::max();
}

}  // namespace

namespace kn {

uint64_t memory_total_bytes() {
  return std::min(read_kilobytes("/proc/meminfo", "MemTotal:"), read_number("/sys/fs/cgroup/memory.max"));
}

uint64_t memory_available_bytes() {
  const uint64_t limit = read_number("/sys/fs/cgroup/memory.max");
  const uint64_t machine = read_kilobytes("/proc/meminfo", "MemAvailable:");
  if (limit == std::numeric_limits<uint64_t>::max()) return machine;
  // Inactive page cache counts as used in a control group, yet goes when asked for.
  uint64_t inactive = 0;
  std::ifstream stat("/sys/fs/cgroup/memory.stat");
  for (std::string key; stat >> key;) {
    uint64_t value = 0;
    stat >> value;
    if (key == "inactive_file") inactive = value;
  }
  const uint64_t used = read_number("/sys/fs/cgroup/memory.current");
  const uint64_t room = used == std::numeric_limits<uint64_t>::max() || used > limit + inactive ? 0 : limit + inactive - used;
  return std::min(machine, room);
}

void release_memory(uint64_t address) { std::free(pointer<void>(address)); }

}  // namespace kn

int32_t kn_memory_info(kn_device *device, double *free_bytes, double *total_bytes, double *peak_bytes) {
  return guard(device, [&] {
    if (free_bytes) *free_bytes = static_cast<double>(kn::memory_available_bytes());
    if (total_bytes) *total_bytes = static_cast<double>(kn::memory_total_bytes());
    if (peak_bytes) *peak_bytes = static_cast<double>(device->peak_bytes);
  });
}

int32_t kn_buffer_alloc(kn_device *device, double bytes, kn_addr *address) {
  return guard(device, [&] {
    if (address == nullptr) fail(KN_INVALID_ARGUMENT, "address is null");
    *address = 0;
    *address = allocate(*device, "device buffer", bytes, false);
  });
}

int32_t kn_buffer_free(kn_device *device, kn_addr address) {
  return guard(device, [&] { release(*device, "kn_buffer_free", address, false); });
}

int32_t kn_host_alloc(kn_device *device, double bytes, kn_addr *host_address) {
  return guard(device, [&] {
    if (host_address == nullptr) fail(KN_INVALID_ARGUMENT, "host_address is null");
    *host_address = 0;
    *host_address = allocate(*device, "host buffer", bytes, true);
  });
}

int32_t kn_host_free(kn_device *device, kn_addr host_address) {
  return guard(device, [&] { release(*device, "kn_host_free", host_address, true); });
}

int32_t kn_buffer_fill(kn_device *device, kn_addr address, int32_t byte_value, double bytes) {
  return guard(device, [&] {
    check_range(*device, "address", address, bytes);
    enqueue(*device, "kn_buffer_fill", [=] { std::memset(pointer<void>(address), byte_value, static_cast<size_t>(bytes)); });
  });
}

int32_t kn_upload(kn_device *device, kn_addr destination, const void *source, double bytes) {
  return guard(device, [&] {
    check_range(*device, "destination", destination, bytes);
    if (source == nullptr && bytes > 0) fail(KN_INVALID_ARGUMENT, "source is null");
    if (bytes > 0) copy(pointer<void>(destination), source, bytes);
  });
}

int32_t kn_download(kn_device *device, void *destination, kn_addr source, double bytes) {
  return guard(device, [&] {
    check_range(*device, "source", source, bytes);
    if (destination == nullptr && bytes > 0) fail(KN_INVALID_ARGUMENT, "destination is null");
    if (bytes > 0) copy(destination, pointer<void>(source), bytes);
  });
}

int32_t kn_upload_async(kn_device *device, kn_addr destination, kn_addr host_source, double bytes) {
  return guard(device, [&] {
    check_range(*device, "destination", destination, bytes);
    check_range(*device, "host_source", host_source, bytes);
    enqueue(*device, "kn_upload_async", [=] { copy(pointer<void>(destination), pointer<void>(host_source), bytes); });
  });
}

int32_t kn_download_async(kn_device *device, kn_addr host_destination, kn_addr source, double bytes) {
  return guard(device, [&] {
    check_range(*device, "host_destination", host_destination, bytes);
    check_range(*device, "source", source, bytes);
    enqueue(*device, "kn_download_async", [=] { copy(pointer<void>(host_destination), pointer<void>(source), bytes); });
  });
}
