/* A small libnvidia-ml for tests: one GPU with programmed readings. FAKE_NVML (environment) selects faults:
 *   init9      nvmlInit fails with DRIVER_NOT_LOADED
 *   nogpm      GPM is not supported        noenergy   the energy counter answers NOT_SUPPORTED
 *   nopower    field 186 is NOT_SUPPORTED, so nvmlDeviceGetPowerUsage answers */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int fault(const char *name) {
  const char *text = getenv("FAKE_NVML");
  return text && strstr(text, name) != NULL;
}
static int device;
static uint64_t energy = 1000000;

int nvmlInit_v2(void) { return fault("init9") ? 9 : 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.0-fake", size); return 0; }
int nvmlSystemGetNVMLVersion(char *text, unsigned size) { strncpy(text, "13.580-fake", size); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = fault("nodevice") ? 0 : 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = &device; return index == 0 ? 0 : 2; }
int nvmlDeviceGetName(void *handle, char *text, unsigned size) { strncpy(text, "Fake H100", size); return 0; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) { strncpy(text, "GPU-1234", size); return 0; }
int nvmlDeviceGetPciInfo_v3(void *handle, char *info) { memset(info, 0, 68); strcpy(info + 36, "00000000:0A:00.0"); return 0; }
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) { rates[0] = 97; rates[1] = 61; return 0; }
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) { *milliwatts = 400000; return 0; }
int nvmlDeviceGetFieldValues(void *handle, int count, char *values) {
  uint32_t status = fault("nopower") ? 3 : 0, milliwatts = 512345;
  memcpy(values + 28, &status, 4);
  memcpy(values + 32, &milliwatts, 4);
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, uint64_t *millijoules) {
  if (fault("noenergy")) return 3;
  *millijoules = energy += 50000;
  return 0;
}
int nvmlDeviceGetClockInfo(void *handle, unsigned type, unsigned *mhz) { *mhz = type == 1 ? 1980 : 2619; return 0; }
int nvmlDeviceGetMaxClockInfo(void *handle, unsigned type, unsigned *mhz) { *mhz = 1980; return 0; }
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) { *celsius = 41; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *milliwatts) { *milliwatts = 700000; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *handle, char *memory) {
  uint32_t version;
  memcpy(&version, memory, 4);
  if (version != 0x2000028) return 2;
  uint64_t total = 85520809984ull, used = 1234567890ull;
  memcpy(memory + 8, &total, 8);
  memcpy(memory + 32, &used, 8);
  return 0;
}
/* Only the old name: the binding must fall back to it. */
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, uint64_t *reasons) { *reasons = 0x4; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, char *processes) {
  uint32_t pids[2] = {4242, 4343};
  memcpy(processes, &pids[0], 4);
  memcpy(processes + 24, &pids[1], 4);
  *count = 2;
  return 0;
}
int nvmlGpmQueryDeviceSupport(void *handle, uint32_t *support) { support[1] = fault("nogpm") ? 0 : 1; return 0; }
int nvmlGpmSampleAlloc(void **sample) { *sample = malloc(64); return 0; }
int nvmlGpmSampleFree(void *sample) { free(sample); return 0; }
int nvmlGpmSampleGet(void *handle, void *sample) { return 0; }
int nvmlGpmMetricsGet(char *request) {
  uint32_t count;
  memcpy(&count, request + 4, 4);
  for (uint32_t index = 0; index < count; index++) {
    char *metric = request + 24 + 40 * index;
    uint32_t id, status = 0;
    memcpy(&id, metric, 4);
    double value = 10.0 * id;
    if (id == 5) status = 3;
    memcpy(metric + 4, &status, 4);
    memcpy(metric + 8, &value, 8);
  }
  return 0;
}
