/* graph.cu - CUDA graphs: the operations between begin and end are captured from the stream; a replay costs one call. */
#include "device.cuh"

static int32_t find_graph(kn_device *device, int32_t id, cudaGraphExec_t *graph);

extern "C" int32_t kn_graph_begin(kn_device *device) {
  KN_CALL(device);
  KN_REQUIRE(device, !device->capturing, "kn_graph_begin: a graph is being recorded already");
  KN_CUDA(device, cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal));
  device->capturing = true;
  return KN_OK;
}

extern "C" int32_t kn_graph_end(kn_device *device, int32_t *graph) {
  KN_CALL(device);
  KN_REQUIRE(device, device->capturing, "kn_graph_end: no graph is being recorded");
  KN_REQUIRE(device, graph != nullptr, "kn_graph_end: no place for the graph");
  device->capturing = false;
  cudaGraph_t captured = nullptr;
  KN_CUDA(device, cudaStreamEndCapture(device->stream, &captured));
  cudaGraphExec_t executable = nullptr;
  cudaError_t code = cudaGraphInstantiate(&executable, captured, 0);
  cudaGraphDestroy(captured);
  if (code == cudaSuccess) code = cudaGraphUpload(executable, device->stream);
  if (code != cudaSuccess) return fail_cuda(device, "kn_graph_end", code);
  size_t id = 0;
  while (id < device->graphs.size() && device->graphs[id] != nullptr) id++;
  if (id == device->graphs.size()) device->graphs.push_back(nullptr);
  device->graphs[id] = executable;
  *graph = static_cast<int32_t>(id);
  return KN_OK;
}

extern "C" int32_t kn_graph_launch(kn_device *device, int32_t graph) {
  KN_OPERATION(device, "kn_graph_launch");
  KN_REQUIRE(device, !device->capturing, "kn_graph_launch: a graph is being recorded");
  cudaGraphExec_t found = nullptr;
  KN_TRY(find_graph(device, graph, &found));
  KN_CUDA(device, cudaGraphLaunch(found, device->stream));
  return KN_OK;
}

extern "C" int32_t kn_graph_destroy(kn_device *device, int32_t graph) {
  KN_CALL(device);
  cudaGraphExec_t found = nullptr;
  KN_TRY(find_graph(device, graph, &found));
  KN_CUDA(device, cudaStreamSynchronize(device->stream));
  device->graphs[graph] = nullptr;
  KN_CUDA(device, cudaGraphExecDestroy(found));
  return KN_OK;
}

static int32_t find_graph(kn_device *device, int32_t id, cudaGraphExec_t *graph) {
  KN_REQUIRE(device, id >= 0 && id < static_cast<int32_t>(device->graphs.size()) && device->graphs[id] != nullptr, "graph %d does not exist", id);
  *graph = device->graphs[id];
  return KN_OK;
}
