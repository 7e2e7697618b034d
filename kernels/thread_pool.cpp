#include "thread_pool.h"

namespace kn {
namespace {

constexpr int SPINS = 2000;  // some 40 us on Zen 4, where a pause takes about 64 cycles
constexpr uint64_t FIELD = (1u << 20) - 1;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

inline bool exhausted(uint64_t ticket) { return (ticket & FIELD) >= ((ticket >> 20) & FIELD); }

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { worker(thread); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread &worker : workers_) worker.join();
}

void ThreadPool::start(int count, Task task, void *context) {
  if (count > static_cast<int>(FIELD)) {  // a million tasks: no operation cuts so fine
    for (int index = 0; index < count; index++) task(context, index, 0);
    return;
  }
  task_ = task;
  context_ = context;
  remaining_.store(count, std::memory_order_relaxed);
  generation_ = (generation_ + 1) & 0xffffff;
  ticket_.store(generation_ << 40 | static_cast<uint64_t>(count) << 20, std::memory_order_release);
  wake_.fetch_add(1);
  wake_.notify_all();  // a system call only if somebody sleeps
  while (take(0)) {
  }
  for (int spin = 0; remaining_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < SPINS) pause();
    else if (const int32_t left = remaining_.load(std::memory_order_acquire); left > 0) remaining_.wait(left);
  }
}

// Claims and runs one task of the current job; false when none is left. After the claim the job cannot end, and task_ and
// context_ cannot change, until this task is counted off.
bool ThreadPool::take(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if (exhausted(ticket)) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire));
  task_(context_, static_cast<int>(ticket & FIELD), thread);
  if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1 && thread != 0) remaining_.notify_one();
  return true;
}

void ThreadPool::worker(int thread) {
  int spin = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const int32_t seen = wake_.load();
    if (take(thread)) {
      spin = 0;
    } else if (spin < SPINS) {
      spin++;
      pause();
    } else {
      wake_.wait(seen);
      spin = 0;
    }
  }
}

}  // namespace kn
