/* device.cu - life cycle of a CUDA device: create, destroy, information, errors. */
#include "device.cuh"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "attention.cuh"
#include "matmul.cuh"
#include "options.cuh"
#include "tensor_map.cuh"

static std::mutex createErrorLock;
static std::string createError;

static int32_t open_device(kn_device *device, const char *options);
static int32_t find_gpu(kn_device *device);
static int32_t parse_fault(kn_device *device, const std::string &fault);
static std::string version_text(int version);
static std::string json_string(const std::string &text);

extern "C" int32_t kn_abi_version(void) { return KN_ABI_VERSION; }

extern "C" int32_t kn_device_create(const char *options, kn_device **result) {
  if (result == nullptr) return fail(nullptr, KN_INVALID_ARGUMENT, "kn_device_create: no place for the device");
  *result = nullptr;
  kn_device *device = new (std::nothrow) kn_device;
  if (device == nullptr) return fail(nullptr, KN_OUT_OF_MEMORY, "kn_device_create: out of host memory");
  int32_t status = KN_INTERNAL;
  try {
    status = open_device(device, options ? options : "{}");
  } catch (const std::exception &error) {
    status = fail(device, KN_INTERNAL, "kn_device_create: %s", error.what());
  }
  if (status != KN_OK) {
    const std::string text = device->error;
    kn_device_destroy(device);
    return fail(nullptr, status, "%s", text.c_str());
  }
  *result = device;
  return KN_OK;
}

extern "C" int32_t kn_device_destroy(kn_device *device) {
  if (device == nullptr) return KN_OK;
  if (device->stream != nullptr) {
    cudaSetDevice(device->ordinal);
    cudaStreamSynchronize(device->stream);
    matmul_destroy(device);
    attention_wgmma_destroy(device);
    for (cudaGraphExec_t graph : device->graphs)
      if (graph != nullptr) cudaGraphExecDestroy(graph);
    for (cudaEvent_t event : device->events)
      if (event != nullptr) cudaEventDestroy(event);
    for (const auto &buffer : device->buffers) cudaFree(pointer<void>(buffer.first));
    for (const kn_addr host : device->hostBuffers) cudaFreeHost(pointer<void>(host));
    cudaStreamDestroy(device->stream);
    cudaGetLastError();
  }
  delete device;
  return KN_OK;
}

extern "C" int32_t kn_device_info(kn_device *device, char *json, int32_t size) {
  if (device == nullptr || json == nullptr || size <= 0) return fail(device, KN_INVALID_ARGUMENT, "kn_device_info: no device or no room");
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  char bus[32] = "";
  cudaDeviceGetPCIBusId(bus, sizeof bus, device->ordinal);
  const unsigned char *id = reinterpret_cast<const unsigned char *>(device->properties.uuid.bytes);
  std::string uuid = "GPU-";
  for (int i = 0; i < 16; i++) {
    char hex[4];
    snprintf(hex, sizeof hex, "%02x", id[i]);
    uuid += hex;
    if (i == 3 || i == 5 || i == 7 || i == 9) uuid += '-';
  }
  const std::string cublaslt = matmul_library(device);
  const std::string text =
      "{\"backend\":\"cuda\",\"name\":" + json_string(device->properties.name) + ",\"isa\":null,\"computeCapability\":\"" +
      std::to_string(device->capability / 10) + "." + std::to_string(device->capability % 10) + "\",\"threads\":null,\"multiprocessors\":" +
      std::to_string(device->multiprocessors) +
      ",\"dtype\":\"bf16\",\"weightBytes\":2,\"activationBytes\":2,\"kvBytes\":2,\"activationDtype\":\"bf16\",\"memoryTotalBytes\":" +
      std::to_string(device->properties.totalGlobalMem) + ",\"driver\":\"" + version_text(driver) + "\",\"runtime\":\"" + version_text(runtime) +
      "\",\"cublaslt\":" + (cublaslt.empty() ? "null" : json_string(cublaslt)) + ",\"uuid\":\"" + uuid + "\",\"pciBusId\":" + json_string(bus) + "}";
  if (text.size() + 1 > static_cast<size_t>(size))
    return fail(device, KN_INVALID_ARGUMENT, "kn_device_info: %zu bytes needed, %d given", text.size() + 1, size);
  memcpy(json, text.c_str(), text.size() + 1);
  return KN_OK;
}

extern "C" int32_t kn_last_error(kn_device *device, char *text, int32_t size) {
  if (text == nullptr || size <= 0) return KN_INVALID_ARGUMENT;
  std::lock_guard<std::mutex> hold(createErrorLock);
  snprintf(text, static_cast<size_t>(size), "%s", (device ? device->error : createError).c_str());
  return KN_OK;
}

int32_t fail(kn_device *device, int32_t status, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (device != nullptr) {
    device->error = text;
  } else {
    std::lock_guard<std::mutex> hold(createErrorLock);
    createError = text;
  }
  return status;
}

int32_t fail_cuda(kn_device *device, const char *where, cudaError_t code) {
  cudaGetLastError();
  if (code == cudaErrorMemoryAllocation) return fail(device, KN_OUT_OF_MEMORY, "%s: %s", where, cudaGetErrorString(code));
  if (code >= cudaErrorStreamCaptureUnsupported && code <= cudaErrorStreamCaptureWrongThread)
    return fail(device, KN_INTERNAL, "%s: %s: %s", where, cudaGetErrorName(code), cudaGetErrorString(code));
  device->lost = true;
  return fail(device, KN_LAUNCH_FAILED, "%s: %s: %s; the device is lost", where, cudaGetErrorName(code), cudaGetErrorString(code));
}

int32_t fail_launch(kn_device *device, const char *name, dim3 grid, dim3 block, size_t sharedBytes, cudaError_t code) {
  char where[256];
  snprintf(where, sizeof where, "%s, grid %u x %u x %u, block %u x %u x %u, %zu bytes of dynamic shared memory", name, grid.x, grid.y, grid.z,
           block.x, block.y, block.z, sharedBytes);
  return fail_cuda(device, where, code);
}

/* A limit above sharedBytesMax less the static part is refused (cudaErrorInvalidValue), so that part is asked for first. */
cudaError_t allow_large_shared(kn_device *device, const void *kernel) {
  if (device->largeShared.count(kernel) != 0) return cudaSuccess;
  cudaFuncAttributes attributes{};
  cudaError_t code = cudaFuncGetAttributes(&attributes, kernel);
  if (code != cudaSuccess) return code;
  code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(device->sharedBytesMax - attributes.sharedSizeBytes));
  if (code == cudaSuccess) code = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  if (code == cudaSuccess) device->largeShared.insert(kernel);
  return code;
}

int32_t begin_call(kn_device *device) {
  if (device == nullptr) return fail(nullptr, KN_INVALID_ARGUMENT, "no device");
  if (device->lost) return KN_LAUNCH_FAILED;
  static thread_local int current = -1;
  if (current != device->ordinal) {
    KN_CUDA(device, cudaSetDevice(device->ordinal));
    current = device->ordinal;
  }
  return KN_OK;
}

int32_t begin_operation(kn_device *device, const char *name) {
  KN_TRY(begin_call(device));
  if (device->failLaunch > 0 && --device->failLaunch == 0) {
    device->lost = true;
    return fail(device, KN_LAUNCH_FAILED, "%s: failed as the fault option asks; the device is lost", name);
  }
  return KN_OK;
}

static int32_t open_device(kn_device *device, const char *text) {
  std::map<std::string, std::string> options;
  KN_REQUIRE(device, parse_options(text, options), "kn_device_create: the options are not a flat JSON object: %.200s", text);
  const auto option = [&](const char *key, const char *otherwise) {
    const auto found = options.find(key);
    return found == options.end() || found->second == "null" ? std::string(otherwise) : found->second;
  };
  const std::string dtype = option("dtype", "bf16");
  if (dtype == "f32") return fail(device, KN_UNSUPPORTED, "dtype f32: the CUDA backend computes in bf16 only; use dtype bf16, or the CPU backend");
  KN_REQUIRE(device, dtype == "bf16", "dtype: \"%s\" is neither f32 nor bf16", dtype.c_str());
  device->deterministic = option("deterministic", "false") == "true";
  device->ordinal = atoi(option("device", "0").c_str());
  KN_TRY(parse_fault(device, option("fault", "")));
  setenv("CUDA_MODULE_LOADING", "EAGER", 0); /* no module is loaded while a graph is being captured */
  KN_TRY(find_gpu(device));
  device->pdl = device->capability >= 90 && option("pdl", "true") == "true";
  KN_CUDA(device, cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking));
  tensor_map_open(device);
  if (device->capability == 90 && option("wgmma", "true") == "true") KN_TRY(attention_wgmma_create(device));
  return matmul_create(device, option("cublaslt", ""), option("matmul", ""), option("matmul_choices", ""));
}

/* Never run: asked for, to learn whether this library holds code for the device. */
static __global__ void probe_kernel() {}

/* Names what is wrong with the machine: no driver, driver too old, no such device, compute capability below 8.0. */
static int32_t find_gpu(kn_device *device) {
  int driver = 0, runtime = 0, count = 0;
  cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    return fail(device, KN_NO_DEVICE, "no NVIDIA driver: libcuda.so.1 was not found");
  const cudaError_t code = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (code == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000)
    return fail(device, KN_NO_DEVICE, "the NVIDIA driver is too old: it supports CUDA %s, this library was built for CUDA %s",
                version_text(driver).c_str(), version_text(runtime).c_str());
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0))
    return fail(device, KN_NO_DEVICE, "no CUDA device: the driver (CUDA %s) reports none", version_text(driver).c_str());
  if (code != cudaSuccess) return fail(device, KN_NO_DEVICE, "no usable CUDA device: %s", cudaGetErrorString(code));
  if (device->ordinal < 0 || device->ordinal >= count)
    return fail(device, KN_NO_DEVICE, "device %d does not exist: there are %d, numbered from 0", device->ordinal, count);
  KN_CUDA(device, cudaSetDevice(device->ordinal));
  KN_CUDA(device, cudaGetDeviceProperties(&device->properties, device->ordinal));
  device->capability = 10 * device->properties.major + device->properties.minor;
  device->multiprocessors = device->properties.multiProcessorCount;
  device->sharedBytesMax = device->properties.sharedMemPerBlockOptin;
  if (device->capability < 80)
    return fail(device, KN_NO_DEVICE, "%s has compute capability %d.%d; 8.0 or later is needed (bf16 tensor cores)", device->properties.name,
                device->properties.major, device->properties.minor);
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, probe_kernel) != cudaSuccess) {
    cudaGetLastError();
    return fail(device, KN_NO_DEVICE, "%s: this library holds no code for compute capability %d.%d", device->properties.name,
                device->properties.major, device->properties.minor);
  }
  return KN_OK;
}

static int32_t parse_fault(kn_device *device, const std::string &fault) {
  if (fault.empty()) return KN_OK;
  const size_t colon = fault.find(':');
  const long long count = colon == std::string::npos ? 0 : atoll(fault.c_str() + colon + 1);
  const std::string kind = fault.substr(0, colon);
  KN_REQUIRE(device, count > 0 && (kind == "alloc" || kind == "launch"), "fault: \"%s\" is neither alloc:N nor launch:N", fault.c_str());
  (kind == "alloc" ? device->failAlloc : device->failLaunch) = count;
  return KN_OK;
}

static std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

static std::string json_string(const std::string &text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}
