/* memory.cu - device and pinned memory, copies. Copies run at the link's rate (pinned, PCIe 5: about 50 GB/s each way). */
#include "device.cuh"

static int32_t copy_now(kn_device *device, const char *name, void *destination, const void *source, double bytes, cudaMemcpyKind kind);

extern "C" int32_t kn_memory_info(kn_device *device, double *free_bytes, double *total_bytes, double *peak_bytes) {
  KN_CALL(device);
  size_t available = 0, total = 0;
  KN_CUDA(device, cudaMemGetInfo(&available, &total));
  if (free_bytes) *free_bytes = static_cast<double>(available);
  if (total_bytes) *total_bytes = static_cast<double>(total);
  if (peak_bytes) *peak_bytes = device->peakBytes;
  return KN_OK;
}

extern "C" int32_t kn_buffer_alloc(kn_device *device, double bytes, kn_addr *address) {
  KN_CALL(device);
  KN_REQUIRE(device, address != nullptr && bytes >= 0 && bytes < 9e15, "kn_buffer_alloc: bytes %.0f is no size", bytes);
  *address = 0;
  void *memory = nullptr;
  const bool faulted = device->failAlloc > 0 && --device->failAlloc == 0;
  const cudaError_t code = faulted ? cudaErrorMemoryAllocation : cudaMalloc(&memory, bytes < 1 ? 1 : static_cast<size_t>(bytes));
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    return fail(device, KN_OUT_OF_MEMORY, "out of device memory: %.0f bytes asked, %zu free of %zu, %.0f held by this process's buffers%s",
                bytes, available, total, device->heldBytes, faulted ? " (as the fault option asks)" : "");
  }
  if (code != cudaSuccess) return fail_cuda(device, "kn_buffer_alloc", code);
  *address = static_cast<kn_addr>(reinterpret_cast<uintptr_t>(memory));
  device->buffers[*address] = bytes;
  device->heldBytes += bytes;
  if (device->heldBytes > device->peakBytes) device->peakBytes = device->heldBytes;
  return KN_OK;
}

extern "C" int32_t kn_buffer_free(kn_device *device, kn_addr address) {
  KN_CALL(device);
  if (address == 0) return KN_OK;
  const auto found = device->buffers.find(address);
  KN_REQUIRE(device, found != device->buffers.end(), "kn_buffer_free: 0x%llx was not given by kn_buffer_alloc", (unsigned long long)address);
  KN_CUDA(device, cudaStreamSynchronize(device->stream));
  KN_CUDA(device, cudaFree(pointer<void>(address)));
  device->heldBytes -= found->second;
  device->buffers.erase(found);
  return KN_OK;
}

extern "C" int32_t kn_buffer_fill(kn_device *device, kn_addr address, int32_t byte_value, double bytes) {
  KN_OPERATION(device, "kn_buffer_fill");
  KN_REQUIRE(device, bytes >= 0 && (address != 0 || bytes == 0), "kn_buffer_fill: no address or bytes %.0f", bytes);
  if (bytes < 1) return KN_OK;
  KN_CUDA(device, cudaMemsetAsync(pointer<void>(address), byte_value, static_cast<size_t>(bytes), device->stream));
  return KN_OK;
}

extern "C" int32_t kn_host_alloc(kn_device *device, double bytes, kn_addr *host_address) {
  KN_CALL(device);
  KN_REQUIRE(device, host_address != nullptr && bytes >= 0 && bytes < 9e15, "kn_host_alloc: bytes %.0f is no size", bytes);
  *host_address = 0;
  void *memory = nullptr;
  const cudaError_t code = cudaHostAlloc(&memory, bytes < 1 ? 1 : static_cast<size_t>(bytes), cudaHostAllocDefault);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return fail(device, KN_OUT_OF_MEMORY, "out of pinned host memory: %.0f bytes asked", bytes);
  }
  if (code != cudaSuccess) return fail_cuda(device, "kn_host_alloc", code);
  *host_address = static_cast<kn_addr>(reinterpret_cast<uintptr_t>(memory));
  device->hostBuffers.insert(*host_address);
  return KN_OK;
}

extern "C" int32_t kn_host_free(kn_device *device, kn_addr host_address) {
  KN_CALL(device);
  if (host_address == 0) return KN_OK;
  KN_REQUIRE(device, device->hostBuffers.count(host_address) == 1, "kn_host_free: 0x%llx was not given by kn_host_alloc",
             (unsigned long long)host_address);
  KN_CUDA(device, cudaStreamSynchronize(device->stream));
  KN_CUDA(device, cudaFreeHost(pointer<void>(host_address)));
  device->hostBuffers.erase(host_address);
  return KN_OK;
}

extern "C" int32_t kn_upload(kn_device *device, kn_addr destination, const void *source, double bytes) {
  return copy_now(device, "kn_upload", pointer<void>(destination), source, bytes, cudaMemcpyHostToDevice);
}
extern "C" int32_t kn_download(kn_device *device, void *destination, kn_addr source, double bytes) {
  return copy_now(device, "kn_download", destination, pointer<void>(source), bytes, cudaMemcpyDeviceToHost);
}

extern "C" int32_t kn_upload_async(kn_device *device, kn_addr destination, kn_addr host_source, double bytes) {
  KN_OPERATION(device, "kn_upload_async");
  KN_REQUIRE(device, bytes >= 0 && (bytes == 0 || (destination != 0 && host_source != 0)), "kn_upload_async: no address or bytes %.0f", bytes);
  KN_CUDA(device, cudaMemcpyAsync(pointer<void>(destination), pointer<void>(host_source), static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                                  device->stream));
  return KN_OK;
}
extern "C" int32_t kn_download_async(kn_device *device, kn_addr host_destination, kn_addr source, double bytes) {
  KN_OPERATION(device, "kn_download_async");
  KN_REQUIRE(device, bytes >= 0 && (bytes == 0 || (host_destination != 0 && source != 0)), "kn_download_async: no address or bytes %.0f", bytes);
  KN_CUDA(device, cudaMemcpyAsync(pointer<void>(host_destination), pointer<void>(source), static_cast<size_t>(bytes), cudaMemcpyDeviceToHost,
                                  device->stream));
  return KN_OK;
}

static int32_t copy_now(kn_device *device, const char *name, void *destination, const void *source, double bytes, cudaMemcpyKind kind) {
  KN_OPERATION(device, name);
  KN_REQUIRE(device, bytes >= 0 && (bytes == 0 || (destination != nullptr && source != nullptr)), "%s: no address or bytes %.0f", name, bytes);
  KN_REQUIRE(device, !device->capturing, "%s: blocks, so it cannot be part of a graph", name);
  if (bytes < 1) return KN_OK;
  cudaError_t code = cudaMemcpyAsync(destination, source, static_cast<size_t>(bytes), kind, device->stream);
  if (code == cudaSuccess) code = cudaStreamSynchronize(device->stream);
  return code == cudaSuccess ? KN_OK : fail_cuda(device, name, code);
}
