import { existsSync } from 'node:fs'
import koffi, { type LibraryHandle } from 'koffi'

/**
 * NVML, NVIDIA's management library, through its C API (nvml.h, "NVML API Reference"). Structures are read from buffers by offset;
 * sizes as measured on a driver 580 (reference/reports-and-statistics section 5.6). A field that this driver or card lacks is
 * null with its reason in `absent`, never 0.
 */
export interface NvmlReading {
  gpuUtilizationPercent: number | null
  memoryUtilizationPercent: number | null
  powerWatts: number | null
  energyMillijoules: number | null
  smClockMhz: number | null
  memoryClockMhz: number | null
  temperatureCelsius: number | null
  memoryUsedBytes: number | null
  throttleReasons: number | null
}

export interface NvmlIdentity {
  name: string
  uuid: string
  pciBusId: string
  driver: string
  nvml: string
  memoryTotalBytes: number | null
  powerLimitWatts: number | null
  maxSmClockMhz: number | null
}

/** Why NVML cannot be used here, with the next step. */
export class NvmlUnavailable extends Error {
  constructor(
    readonly reason: string,
    readonly fix: string,
  ) {
    super(reason)
    this.name = 'NvmlUnavailable'
  }
}

const SUCCESS = 0
/** Codes whose meaning a user can act on; the rest through nvmlErrorString. */
const CODE_NAMES: Record<number, string> = {
  2: 'INVALID_ARGUMENT',
  3: 'NOT_SUPPORTED',
  4: 'NO_PERMISSION',
  9: 'DRIVER_NOT_LOADED',
  12: 'LIBRARY_NOT_FOUND',
  13: 'FUNCTION_NOT_FOUND',
  15: 'GPU_IS_LOST',
  17: 'OPERATING_SYSTEM',
  18: 'LIB_RM_VERSION_MISMATCH: the driver was updated under the running kernel module; reboot',
  999: 'UNKNOWN',
}
const FUNCTION_NOT_FOUND = 13

const SEARCH_PATHS = [
  'libnvidia-ml.so.1',
  '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1',
  '/usr/lib64/libnvidia-ml.so.1',
  '/usr/local/nvidia/lib64/libnvidia-ml.so.1',
  '/usr/lib/wsl/lib/libnvidia-ml.so.1',
]

type Native = (...args: unknown[]) => number
export type NvmlHandle = number

/** The library, initialised. Functions are looked up lazily, newest version first; a missing one is FUNCTION_NOT_FOUND for that field alone. */
export class Nvml {
  readonly #library: LibraryHandle
  readonly #functions = new Map<string, Native | null>()

  private constructor(library: LibraryHandle) {
    this.#library = library
  }

  /** Opens and initialises NVML; throws NvmlUnavailable with the reason. BENCH_NVML_PATH names a library to use instead. */
  static open(path: string | undefined = process.env['BENCH_NVML_PATH']): Nvml {
    const candidates = path ? [path] : SEARCH_PATHS.filter((entry) => !entry.startsWith('/') || existsSync(entry))
    for (const candidate of candidates) {
      if (candidate.includes('/stubs/')) continue
      let library: LibraryHandle
      try {
        library = koffi.load(candidate)
      } catch {
        continue
      }
      const nvml = new Nvml(library)
      const code = nvml.call('nvmlInit_v2', '')
      if (code !== SUCCESS)
        throw new NvmlUnavailable(
          `nvmlInit: ${nvml.codeText(code)}`,
          'check that the NVIDIA driver is loaded (nvidia-smi)',
        )
      return nvml
    }
    throw new NvmlUnavailable(
      path ? `${path} cannot be loaded` : 'libnvidia-ml.so.1 not found',
      'install the NVIDIA driver; in a container add the "utility" driver capability; or set BENCH_NVML_PATH',
    )
  }

  close(): void {
    this.call('nvmlShutdown', '')
  }

  /** Calls the newest of `names` (separated by |) that the library has; the NVML return code. */
  call(names: string, signature: string, ...args: unknown[]): number {
    const native = this.#find(names, signature)
    return native === null ? FUNCTION_NOT_FOUND : native(...args)
  }

  codeText(code: number): string {
    if (CODE_NAMES[code]) return CODE_NAMES[code]
    return `NVML code ${code}`
  }

  /** Handle of the device with this UUID or PCI bus id (any case, any domain width), or of index 0 when neither is given. */
  find(selector: { uuid?: string | null; pciBusId?: string | null } = {}): NvmlHandle {
    const handles = this.handles()
    if (handles.length === 0) throw new NvmlUnavailable('NVML sees no GPU', 'check nvidia-smi and CUDA_VISIBLE_DEVICES')
    if (!selector.uuid && !selector.pciBusId) return handles[0]!
    const wantedBus = selector.pciBusId ? shortBusId(selector.pciBusId) : null
    const found = handles.find((handle) => {
      if (selector.uuid && this.#text('nvmlDeviceGetUUID', handle, 96)?.toLowerCase() === selector.uuid.toLowerCase())
        return true
      return wantedBus !== null && shortBusId(this.#busId(handle)) === wantedBus
    })
    if (found === undefined)
      throw new NvmlUnavailable(
        `NVML sees no GPU ${selector.uuid ?? selector.pciBusId}`,
        'check CUDA_VISIBLE_DEVICES and MIG',
      )
    return found
  }

  handles(): NvmlHandle[] {
    const count = [0]
    if (this.call('nvmlDeviceGetCount_v2', '_Out_ uint32_t *', count) !== SUCCESS) return []
    const handles: NvmlHandle[] = []
    for (let index = 0; index < count[0]!; index++) {
      const handle = [0]
      if (this.call('nvmlDeviceGetHandleByIndex_v2', 'uint32_t, _Out_ uint64_t *', index, handle) === SUCCESS)
        handles.push(Number(handle[0]))
    }
    return handles
  }

  identity(handle: NvmlHandle): NvmlIdentity {
    const memory = this.#memory(handle)
    const limit = this.#number('nvmlDeviceGetEnforcedPowerLimit', 'uint64_t, _Out_ uint32_t *', handle)
    const clock = this.#number('nvmlDeviceGetMaxClockInfo', 'uint64_t, uint32_t, _Out_ uint32_t *', handle, 1)
    return {
      name: this.#text('nvmlDeviceGetName', handle, 96) ?? 'unknown GPU',
      uuid: this.#text('nvmlDeviceGetUUID', handle, 96) ?? '',
      pciBusId: this.#busId(handle),
      driver: this.#systemText('nvmlSystemGetDriverVersion'),
      nvml: this.#systemText('nvmlSystemGetNVMLVersion'),
      memoryTotalBytes: memory.value?.total ?? null,
      powerLimitWatts: limit.value === null ? null : limit.value / 1000,
      maxSmClockMhz: clock.value,
    }
  }

  /** Processes that compute on the device, by host pid; null with a reason in `absent` when not readable. */
  computeProcesses(handle: NvmlHandle, absent: Record<string, string>): number[] | null {
    const count = [64]
    const processes = Buffer.alloc(64 * 24)
    const code = this.call(
      'nvmlDeviceGetComputeRunningProcesses_v3',
      'uint64_t, _Inout_ uint32_t *, void *',
      handle,
      count,
      processes,
    )
    if (code !== SUCCESS) {
      absent['computeProcesses'] = this.codeText(code)
      return null
    }
    return Array.from({ length: count[0]! }, (_, index) => processes.readUInt32LE(index * 24))
  }

  /** One reading of every field; a field that fails is null and named in `absent`. */
  read(handle: NvmlHandle, absent: Record<string, string>): NvmlReading {
    const keep = <T>(field: string, result: { value: T | null; code: number }): T | null => {
      if (result.value === null) absent[field] = this.codeText(result.code)
      return result.value
    }
    const utilization = this.#utilization(handle)
    const power = this.#instantPower(handle)
    const energy = this.#number('nvmlDeviceGetTotalEnergyConsumption', 'uint64_t, _Out_ uint64_t *', handle)
    const reasons = this.#number(
      'nvmlDeviceGetCurrentClocksEventReasons|nvmlDeviceGetCurrentClocksThrottleReasons',
      'uint64_t, _Out_ uint64_t *',
      handle,
    )
    const clock = (type: number) =>
      this.#number('nvmlDeviceGetClockInfo', 'uint64_t, uint32_t, _Out_ uint32_t *', handle, type)
    const temperature = this.#number('nvmlDeviceGetTemperature', 'uint64_t, uint32_t, _Out_ uint32_t *', handle, 0)
    const milliwatts = keep('powerWatts', power)
    return {
      gpuUtilizationPercent: keep('gpuUtilizationPercent', utilization)?.gpu ?? null,
      memoryUtilizationPercent: utilization.value?.memory ?? null,
      powerWatts: milliwatts === null ? null : milliwatts / 1000,
      energyMillijoules: keep('energyMillijoules', energy),
      smClockMhz: keep('smClockMhz', clock(1)),
      memoryClockMhz: keep('memoryClockMhz', clock(2)),
      temperatureCelsius: keep('temperatureCelsius', temperature),
      memoryUsedBytes: keep('memoryUsedBytes', this.#memory(handle))?.used ?? null,
      throttleReasons: keep('throttleReasons', reasons),
    }
  }

  #utilization(handle: NvmlHandle): { value: { gpu: number; memory: number } | null; code: number } {
    const rates = Buffer.alloc(8)
    const code = this.call('nvmlDeviceGetUtilizationRates', 'uint64_t, void *', handle, rates)
    return { value: code === SUCCESS ? { gpu: rates.readUInt32LE(0), memory: rates.readUInt32LE(4) } : null, code }
  }

  /** Field 186, instantaneous milliwatts; else nvmlDeviceGetPowerUsage (on Ampere and later an average over 1 s). */
  #instantPower(handle: NvmlHandle): { value: number | null; code: number } {
    const field = Buffer.alloc(40)
    field.writeUInt32LE(186, 0)
    const code = this.call('nvmlDeviceGetFieldValues', 'uint64_t, int32_t, void *', handle, 1, field)
    if (code === SUCCESS && field.readUInt32LE(28) === SUCCESS) return { value: field.readUInt32LE(32), code }
    return this.#number('nvmlDeviceGetPowerUsage', 'uint64_t, _Out_ uint32_t *', handle)
  }

  /** nvmlMemory_v2_t: version (40 bytes | 2 << 24), total, reserved, free, used. */
  #memory(handle: NvmlHandle): { value: { total: number; used: number } | null; code: number } {
    const memory = Buffer.alloc(40)
    memory.writeUInt32LE(0x2000028, 0)
    const code = this.call('nvmlDeviceGetMemoryInfo_v2', 'uint64_t, void *', handle, memory)
    if (code !== SUCCESS) return { value: null, code }
    return { value: { total: Number(memory.readBigUInt64LE(8)), used: Number(memory.readBigUInt64LE(32)) }, code }
  }

  /** A call whose last parameter is an out integer. */
  #number(names: string, signature: string, ...args: unknown[]): { value: number | null; code: number } {
    const out = [0]
    const code = this.call(names, signature, ...args, out)
    return { value: code === SUCCESS ? Number(out[0]) : null, code }
  }

  #text(name: string, handle: NvmlHandle, size: number): string | null {
    const text = Buffer.alloc(size)
    const code = this.call(name, 'uint64_t, void *, uint32_t', handle, text, size)
    return code === SUCCESS ? cString(text) : null
  }

  #systemText(name: string): string {
    const text = Buffer.alloc(96)
    return this.call(name, 'void *, uint32_t', text, 96) === SUCCESS ? cString(text) : 'unknown'
  }

  /** nvmlPciInfo_t: busIdLegacy[16], domain, bus, device, pciDeviceId, pciSubSystemId, busId[32] (68 bytes). */
  #busId(handle: NvmlHandle): string {
    const pci = Buffer.alloc(68)
    const code = this.call('nvmlDeviceGetPciInfo_v3|nvmlDeviceGetPciInfo_v2', 'uint64_t, void *', handle, pci)
    return code === SUCCESS ? cString(pci.subarray(36)) : ''
  }

  #find(names: string, signature: string): Native | null {
    const cached = this.#functions.get(names)
    if (cached !== undefined) return cached
    let native: Native | null = null
    for (const name of names.split('|')) {
      try {
        native = this.#library.func(`int32_t ${name}(${signature || 'void'})`) as Native
        break
      } catch {
        // Not in this driver: the next older name, else FUNCTION_NOT_FOUND.
      }
    }
    this.#functions.set(names, native)
    return native
  }
}

/** '00000000:0A:00.0' and '0000:0a:00.0' name the same device. */
function shortBusId(busId: string): string {
  const [domain = '', ...rest] = busId.toLowerCase().split(':')
  return [Number.parseInt(domain, 16), ...rest].join(':')
}

function cString(buffer: Buffer): string {
  const end = buffer.indexOf(0)
  return buffer.toString('utf8', 0, end < 0 ? buffer.length : end)
}
