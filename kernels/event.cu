/* event.cu - events on the compute stream, and the host's bounded wait for them. */
#include "device.cuh"

#include <sched.h>
#include <time.h>

static long long monotonic_ns();
static int32_t find_event(kn_device *device, int32_t id, cudaEvent_t *event);

extern "C" int32_t kn_event_create(kn_device *device, int32_t *event) {
  KN_CALL(device);
  KN_REQUIRE(device, event != nullptr, "kn_event_create: no place for the event");
  cudaEvent_t made = nullptr;
  KN_CUDA(device, cudaEventCreateWithFlags(&made, cudaEventDefault));
  size_t id = 0;
  while (id < device->events.size() && device->events[id] != nullptr) id++;
  if (id == device->events.size()) device->events.push_back(nullptr);
  device->events[id] = made;
  *event = static_cast<int32_t>(id);
  return KN_OK;
}

extern "C" int32_t kn_event_destroy(kn_device *device, int32_t event) {
  KN_CALL(device);
  cudaEvent_t found = nullptr;
  KN_TRY(find_event(device, event, &found));
  device->events[event] = nullptr;
  KN_CUDA(device, cudaEventDestroy(found));
  return KN_OK;
}

extern "C" int32_t kn_event_record(kn_device *device, int32_t event) {
  KN_CALL(device);
  cudaEvent_t found = nullptr;
  KN_TRY(find_event(device, event, &found));
  KN_CUDA(device, cudaEventRecord(found, device->stream));
  return KN_OK;
}

extern "C" int32_t kn_event_query(kn_device *device, int32_t event, int32_t *done) {
  KN_CALL(device);
  KN_REQUIRE(device, done != nullptr, "kn_event_query: no place for the answer");
  cudaEvent_t found = nullptr;
  KN_TRY(find_event(device, event, &found));
  const cudaError_t code = cudaEventQuery(found);
  *done = code == cudaSuccess ? 1 : 0;
  if (code != cudaSuccess && code != cudaErrorNotReady) return fail_cuda(device, "kn_event_query", code);
  return KN_OK;
}

/* Spins for 50 us (the end of a decode step is usually that near), then yields, then sleeps 20 us at a time: low latency
 * without taking a core from the HTTP thread, and a GPU that hangs is reported instead of waited for. */
extern "C" int32_t kn_event_wait(kn_device *device, int32_t event, int32_t timeout_ms) {
  KN_CALL(device);
  cudaEvent_t found = nullptr;
  KN_TRY(find_event(device, event, &found));
  const long long start = monotonic_ns();
  for (;;) {
    const cudaError_t code = cudaEventQuery(found);
    if (code == cudaSuccess) return KN_OK;
    if (code != cudaErrorNotReady) return fail_cuda(device, "kn_event_wait", code);
    const long long waited = monotonic_ns() - start;
    if (waited > static_cast<long long>(timeout_ms) * 1000000) return fail(device, KN_TIMEOUT, "kn_event_wait: not done after %d ms", timeout_ms);
    if (waited > 200000) {
      const timespec pause = {0, 20000};
      nanosleep(&pause, nullptr);
    } else if (waited > 50000) {
      sched_yield();
    }
  }
}

extern "C" int32_t kn_event_elapsed(kn_device *device, int32_t start, int32_t end, float *milliseconds) {
  KN_CALL(device);
  cudaEvent_t first = nullptr, last = nullptr;
  KN_REQUIRE(device, milliseconds != nullptr, "kn_event_elapsed: no place for the answer");
  KN_TRY(find_event(device, start, &first));
  KN_TRY(find_event(device, end, &last));
  const cudaError_t code = cudaEventElapsedTime(milliseconds, first, last);
  if (code == cudaErrorNotReady || code == cudaErrorInvalidResourceHandle) {
    cudaGetLastError();
    return fail(device, KN_INVALID_ARGUMENT, "kn_event_elapsed: an event was not recorded, or is not done");
  }
  return code == cudaSuccess ? KN_OK : fail_cuda(device, "kn_event_elapsed", code);
}

extern "C" int32_t kn_synchronize(kn_device *device) {
  KN_CALL(device);
  KN_CUDA(device, cudaStreamSynchronize(device->stream));
  return KN_OK;
}

static long long monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int32_t find_event(kn_device *device, int32_t id, cudaEvent_t *event) {
  KN_REQUIRE(device, id >= 0 && id < static_cast<int32_t>(device->events.size()) && device->events[id] != nullptr, "event %d does not exist", id);
  *event = device->events[id];
  return KN_OK;
}
