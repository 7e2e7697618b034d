// device.cpp - life cycle, facts and errors of the CPU device.
#include "device.h"

#include <sched.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "isa.h"
#include "memory.h"

namespace {

thread_local std::string create_error;  // of the last kn_device_create that failed

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, count);
}

int32_t copy_text(const std::string &text, char *out, int32_t size) {
  if (out == nullptr || size <= 0) return KN_INVALID_ARGUMENT;
  std::snprintf(out, static_cast<size_t>(size), "%s", text.c_str());
  return text.size() < static_cast<size_t>(size) ? KN_OK : KN_INVALID_ARGUMENT;
}

std::string escape(const std::string &text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out;
}

}  // namespace

kn_device::kn_device(const kn::Options &given)
    : options(given),
      inner(kn::choose_inner_loops(given.isa)),
      pool(given.threads > 0 ? given.threads : usable_cores()),
      thread_scratch(static_cast<size_t>(pool.threads())) {}

kn_device::~kn_device() {
  for (const auto &[address, buffer] : buffers) kn::release_memory(address);
}

int32_t kn_abi_version(void) { return KN_ABI_VERSION; }

int32_t kn_device_create(const char *options, kn_device **device) {
  if (device == nullptr) return KN_INVALID_ARGUMENT;
  *device = nullptr;
  try {
    *device = new kn_device(kn::parse_options(options));
    return KN_OK;
  } catch (const kn::Failure &failure) {
    return kn::report(nullptr, failure.status, failure.text.c_str());
  } catch (const std::bad_alloc &) {
    return kn::report(nullptr, KN_OUT_OF_MEMORY, "out of host memory for the device");
  } catch (const std::exception &error) {
    return kn::report(nullptr, KN_INTERNAL, error.what());
  }
}

int32_t kn_device_destroy(kn_device *device) {
  delete device;
  return KN_OK;
}

int32_t kn_device_info(kn_device *device, char *json, int32_t size) {
  if (device == nullptr) return kn::report(nullptr, KN_INVALID_ARGUMENT, "device is null");
  const uint64_t weight = device->weight_bytes();
  char text[1024];
  std::snprintf(text, sizeof text,
                "{\"backend\":\"cpu\",\"name\":\"%s\",\"isa\":\"%s\",\"computeCapability\":null,\"threads\":%d,"
                "\"multiprocessors\":null,\"dtype\":\"%s\",\"weightBytes\":%d,\"activationBytes\":4,\"kvBytes\":%d,"
                "\"activationDtype\":\"f32\",\"memoryTotalBytes\":%.0f,\"driver\":null,\"runtime\":null,\"cublaslt\":null,"
                "\"uuid\":null,\"pciBusId\":null}",
                escape(kn::processor_name()).c_str(), device->inner.isa, device->pool.threads(),
                device->options.bf16 ? "bf16" : "f32", static_cast<int>(weight), static_cast<int>(weight),
                static_cast<double>(kn::memory_total_bytes()));
  return copy_text(text, json, size);
}

int32_t kn_last_error(kn_device *device, char *text, int32_t size) {
  return copy_text(device ? device->error : create_error, text, size);
}

namespace kn {

int32_t report(kn_device *device, int32_t status, const char *text) noexcept {
  try {
    (device ? device->error : create_error) = text;
  } catch (...) {
  }
  return status;
}

void fail(kn_status status, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Failure{status, text};
}

void count_launch(kn_device &device, const char *name) {
  if (++device.launches != device.options.fail_launch) return;
  device.lost = true;
  fail(KN_LAUNCH_FAILED, "%s: injected launch failure at operation %lld; the device is lost", name,
       static_cast<long long>(device.launches));
}

void check_at_least(const char *name, int64_t value, int64_t least) {
  if (value < least) {
    fail(KN_INVALID_ARGUMENT, "%s is %lld, must be at least %lld", name, static_cast<long long>(value),
         static_cast<long long>(least));
  }
}

void check_head_dim(int32_t head_dim) {
  if (head_dim != 64 && head_dim != 128) fail(KN_UNSUPPORTED, "head_dim is %d, must be 64 or 128", head_dim);
}

void check_block_size(int32_t block_size) {
  if (block_size < 16 || (block_size & (block_size - 1)) != 0) {
    fail(KN_INVALID_ARGUMENT, "block_size is %d, must be a power of two of at least 16", block_size);
  }
}

uint64_t bytes_after(const kn_device &device, const char *name, kn_addr address) {
  auto next = device.buffers.upper_bound(address);
  if (next != device.buffers.begin()) {
    const auto &[start, buffer] = *std::prev(next);
    if (address - start < buffer.bytes) return start + buffer.bytes - address;
  }
  fail(KN_INVALID_ARGUMENT, "%s: address %llu is in no buffer of this device", name, static_cast<unsigned long long>(address));
}

void check_range(const kn_device &device, const char *name, kn_addr address, double bytes) {
  if (bytes <= 0) return;
  const uint64_t room = bytes_after(device, name, address);
  if (bytes > static_cast<double>(room)) {
    fail(KN_INVALID_ARGUMENT, "%s: needs %.0f bytes, its buffer ends after %llu", name, bytes,
         static_cast<unsigned long long>(room));
  }
}

void *Scratch::reserve(uint64_t bytes) {
  if (bytes > bytes_) {
    memory_.reset(new char[bytes + 64]);
    aligned_ = reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(memory_.get()) + 63) & ~uintptr_t{63});
    bytes_ = bytes;
  }
  return aligned_;
}

}  // namespace kn
