// thread_pool.h - runs one job at a time on a few threads, cut into small tasks that are handed out by an atomic ticket.
//
// The thread that calls run() works too. Workers spin for some 40 us after a job (the next operation of a step follows at
// once), then sleep on a futex, so that an idle engine leaves the cores to the HTTP server. Tasks are small and claimed one
// by one: a thread that the system takes off its core delays one task, not a fixed share of the operation.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace kn {

class ThreadPool {
 public:
  // threads >= 1, the calling thread included. May throw std::system_error.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(task, thread) once for each task in [0, count), in any order, thread in [0, threads()); returns when all are
  // done. `work` must not throw: what it needs is allocated before.
  template <class Work>
  void run(int count, Work &&work) {
    if (count <= 1 || workers_.empty()) {
      for (int task = 0; task < count; task++) work(task, 0);
      return;
    }
    using Function = std::remove_reference_t<Work>;
    start(
        count, [](void *context, int task, int thread) { (*static_cast<Function *>(context))(task, thread); },
        const_cast<void *>(static_cast<const void *>(&work)));
  }

 private:
  using Task = void (*)(void *context, int task, int thread);
  void start(int count, Task task, void *context);
  bool take(int thread);
  void worker(int thread);

  // generation << 40 | count << 20 | next task: one word, so that a claim can never mix two jobs.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int32_t> remaining_{0};
  alignas(64) std::atomic<int32_t> wake_{0};
  std::atomic<bool> stop_{false};
  Task task_ = nullptr;
  void *context_ = nullptr;
  uint64_t generation_ = 0;
  std::vector<std::thread> workers_;
};

}  // namespace kn
