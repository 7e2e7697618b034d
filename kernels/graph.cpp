// graph.cpp - order: events are time stamps (everything before them is done when they are taken), and a graph is the list of
// checked operation calls, replayed in order by one call from JavaScript.
#include <utility>

#include "device.h"

using kn::enqueue;
using kn::fail;
using kn::guard;

namespace {

template <class Map>
auto &find(Map &map, const char *what, int32_t id) {
  const auto found = map.find(id);
  if (found == map.end()) fail(KN_INVALID_ARGUMENT, "%s %d does not exist", what, id);
  return found->second;
}

template <class T>
void check_not_null(const char *name, const T *pointer) {
  if (pointer == nullptr) fail(KN_INVALID_ARGUMENT, "%s is null", name);
}

}  // namespace

int32_t kn_event_create(kn_device *device, int32_t *event) {
  return guard(device, [&] {
    check_not_null("event", event);
    device->events[device->next_id] = {};
    *event = device->next_id++;
  });
}

int32_t kn_event_destroy(kn_device *device, int32_t event) {
  return guard(device, [&] {
    find(device->events, "event", event);
    device->events.erase(event);
  });
}

int32_t kn_event_record(kn_device *device, int32_t event) {
  return guard(device, [&] {
    find(device->events, "event", event);
    enqueue(*device, "kn_event_record", [=] { find(device->events, "event", event) = {std::chrono::steady_clock::now(), true}; });
  });
}

int32_t kn_event_query(kn_device *device, int32_t event, int32_t *done) {
  return guard(device, [&] {
    check_not_null("done", done);
    find(device->events, "event", event);
    *done = 1;
  });
}

int32_t kn_event_wait(kn_device *device, int32_t event, int32_t) {
  return guard(device, [&] { find(device->events, "event", event); });
}

int32_t kn_event_elapsed(kn_device *device, int32_t start, int32_t end, float *milliseconds) {
  return guard(device, [&] {
    check_not_null("milliseconds", milliseconds);
    const kn::Event &from = find(device->events, "event", start);
    const kn::Event &to = find(device->events, "event", end);
    if (!from.recorded || !to.recorded) fail(KN_INVALID_ARGUMENT, "event %d was never recorded", from.recorded ? end : start);
    *milliseconds = std::chrono::duration<float, std::milli>(to.time - from.time).count();
  });
}

int32_t kn_synchronize(kn_device *device) {
  return guard(device, [] {});
}

int32_t kn_graph_begin(kn_device *device) {
  return guard(device, [&] {
    if (device->recording) fail(KN_INVALID_ARGUMENT, "kn_graph_begin: a graph is being recorded already");
    device->recording = std::make_unique<kn::Graph>();
  });
}

int32_t kn_graph_end(kn_device *device, int32_t *graph) {
  return guard(device, [&] {
    check_not_null("graph", graph);
    if (!device->recording) fail(KN_INVALID_ARGUMENT, "kn_graph_end: no graph is being recorded");
    device->graphs[device->next_id] = std::move(*device->recording);
    device->recording.reset();
    *graph = device->next_id++;
  });
}

int32_t kn_graph_launch(kn_device *device, int32_t graph) {
  return guard(device, [&] {
    if (device->recording) fail(KN_INVALID_ARGUMENT, "kn_graph_launch: a graph is being recorded");
    const kn::Graph &operations = find(device->graphs, "graph", graph);
    kn::count_launch(*device, "kn_graph_launch");
    for (const auto &operation : operations) operation();
  });
}

int32_t kn_graph_destroy(kn_device *device, int32_t graph) {
  return guard(device, [&] {
    find(device->graphs, "graph", graph);
    device->graphs.erase(graph);
  });
}
