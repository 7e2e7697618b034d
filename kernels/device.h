// device.h - the CPU device: its buffers, thread pool, inner loops, graphs and last error; what every operation starts from.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "failure.h"
#include "kernels.h"
#include "options.h"
#include "simd/inner_loops.h"
#include "thread_pool.h"

namespace kn {

struct Buffer {
  uint64_t bytes;
  bool host;
};
struct Event {
  std::chrono::steady_clock::time_point time;
  bool recorded = false;
};
using Graph = std::vector<std::function<void()>>;

// Memory that grows to the largest request and is then reused: operations allocate nothing in the steady state.
class Scratch {
 public:
  // At least `bytes`, 64-byte aligned; the contents are undefined. Throws std::bad_alloc.
  template <class T>
  T *get(uint64_t count) {
    return static_cast<T *>(reserve(count * sizeof(T)));
  }

 private:
  void *reserve(uint64_t bytes);
  std::unique_ptr<char[]> memory_;
  char *aligned_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace kn

struct kn_device {
  explicit kn_device(const kn::Options &options);
  ~kn_device();

  const kn::Options options;
  const kn::InnerLoops &inner;
  kn::ThreadPool pool;
  std::map<uint64_t, kn::Buffer> buffers;  // by address
  uint64_t held_bytes = 0;
  uint64_t peak_bytes = 0;
  int64_t allocations = 0;
  int64_t launches = 0;
  bool lost = false;
  std::map<int32_t, kn::Event> events;
  std::map<int32_t, kn::Graph> graphs;
  std::unique_ptr<kn::Graph> recording;
  int32_t next_id = 1;
  kn::Scratch scratch;                      // of the running operation
  std::vector<kn::Scratch> thread_scratch;  // of one task, by thread
  std::string error;

  uint64_t weight_bytes() const { return options.bf16 ? 2 : 4; }
};

namespace kn {

// Runs `body` and turns whatever it throws into a status and the device's error text. A lost device fails at once.
template <class Body>
int32_t guard(kn_device *device, Body &&body) noexcept;

// Runs `work` now or, between kn_graph_begin and kn_graph_end, records it. Arguments are checked before.
template <class Work>
void enqueue(kn_device &device, const char *name, Work &&work);

// Counts an operation; throws and loses the device when the fault option says so.
void count_launch(kn_device &device, const char *name);

// Argument checks; each throws Failure(KN_INVALID_ARGUMENT) with the name in its text.
void check_at_least(const char *name, int64_t value, int64_t least);
void check_head_dim(int32_t head_dim);
void check_block_size(int32_t block_size);
// [address, address + bytes) must lie in one buffer (device or pinned). With bytes = 0 the address may be anything.
void check_range(const kn_device &device, const char *name, kn_addr address, double bytes);
// Bytes from the address to the end of its buffer; throws when it is in none.
uint64_t bytes_after(const kn_device &device, const char *name, kn_addr address);

template <class T>
T *pointer(kn_addr address) {
  return reinterpret_cast<T *>(static_cast<uintptr_t>(address));
}

int32_t report(kn_device *device, int32_t status, const char *text) noexcept;

template <class Body>
int32_t guard(kn_device *device, Body &&body) noexcept {
  if (device == nullptr) return report(nullptr, KN_INVALID_ARGUMENT, "device is null");
  if (device->lost) return KN_LAUNCH_FAILED;
  try {
    body();
    return KN_OK;
  } catch (const Failure &failure) {
    return report(device, failure.status, failure.text.c_str());
  } catch (const std::bad_alloc &) {
    return report(device, KN_OUT_OF_MEMORY, "out of host memory for the operation's scratch space");
  } catch (const std::exception &error) {
    return report(device, KN_INTERNAL, error.what());
  } catch (...) {
    return report(device, KN_INTERNAL, "unknown exception");
  }
}

template <class Work>
void enqueue(kn_device &device, const char *name, Work &&work) {
  if (device.recording) {
    device.recording->emplace_back(std::forward<Work>(work));
    return;
  }
  count_launch(device, name);
  work();
}

}  // namespace kn
