import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { nowNs } from '../clock.js'
import type { TelemetryInfo, TelemetrySample } from '../result/schema.js'
import { Gpm, type GpmReading } from './gpm.js'
import { Nvml, type NvmlHandle, type NvmlReading, NvmlUnavailable } from './nvml.js'
import { hostCpuSecs, processCpuSecs, processRssBytes } from './process.js'

export interface SamplerOptions {
  /** Process whose CPU and memory are sampled; null: none (external target). */
  pid: number | null
  /** The card the target runs on; null values: the first card. Ignored when `gpu` is false. */
  uuid: string | null
  pciBusId: string | null
  gpu: boolean
  periodMs: number
}

export interface Sampler {
  info: TelemetryInfo
  /** Ends sampling after one last reading, so that the window is bracketed; all samples in order. */
  stop(): Promise<{ samples: TelemetrySample[]; info: TelemetryInfo }>
}

/** Starts the sampling thread; it alone touches NVML. Resolves once the first reading is made. */
export async function startSampler(
  options: SamplerOptions,
  onSamples: (samples: TelemetrySample[]) => void,
): Promise<Sampler> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { sampler: options } })
  const samples: TelemetrySample[] = []
  let finished: (info: TelemetryInfo) => void = () => {}
  let failed: (error: Error) => void = () => {}
  const done = new Promise<TelemetryInfo>((resolve, reject) => {
    finished = resolve
    failed = reject
  })
  done.catch(() => {})
  const info = await new Promise<TelemetryInfo>((resolve, reject) => {
    worker.on('error', (error) => {
      reject(error)
      failed(error)
    })
    worker.on('message', (message: { info?: TelemetryInfo; samples?: TelemetrySample[]; last?: TelemetryInfo }) => {
      if (message.samples) {
        samples.push(...message.samples)
        onSamples(message.samples)
      }
      if (message.info) resolve(message.info)
      if (message.last) finished(message.last)
    })
  })
  return {
    info,
    stop: async () => {
      worker.postMessage('stop')
      const last = await done
      await worker.terminate()
      return { samples, info: last }
    },
  }
}

/** GPM wants more than 100 ms between two samples. */
const GPM_PERIOD_MS = 200
const POST_PERIOD_MS = 1000

function sampleLoop(options: SamplerOptions): void {
  const port = parentPort!
  const absent: Record<string, string> = {}
  const gpu = options.gpu ? openGpu(options, absent) : closedGpu(absent, 'the target runs without a GPU')
  const meter = new CpuMeter(options.pid)
  let batch: TelemetrySample[] = []
  let gpm: GpmReading | null = null
  let gpmAtNs = 0
  let postedAtNs = nowNs()
  const sample = () => {
    const tNs = nowNs()
    const reading = gpu.device === null ? EMPTY_READING : gpu.nvml!.read(gpu.device, absent)
    if (gpu.gpm !== null && tNs - gpmAtNs >= GPM_PERIOD_MS * 1e6) {
      gpm = gpu.gpm.read(absent)
      gpmAtNs = tNs
    }
    batch.push({ tNs, ...reading, ...(gpm ?? EMPTY_GPM), ...meter.read(tNs), tEndNs: nowNs() })
    if (tNs - postedAtNs >= POST_PERIOD_MS * 1e6) {
      port.postMessage({ samples: batch })
      batch = []
      postedAtNs = tNs
    }
  }
  sample()
  const info: TelemetryInfo = { gpu: gpu.identity, absent, periodMs: options.periodMs }
  port.postMessage({ info })
  const timer = setInterval(sample, options.periodMs)
  port.on('message', () => {
    clearInterval(timer)
    sample()
    port.postMessage({ samples: batch })
    // Closed before the last message: the main thread ends this thread on it, and a thread must not end inside a native call.
    gpu.gpm?.close()
    gpu.nvml?.close()
    port.postMessage({ last: { ...info, absent: { ...absent } } })
  })
}

interface OpenGpu {
  nvml: Nvml | null
  device: NvmlHandle | null
  gpm: Gpm | null
  identity: TelemetryInfo['gpu']
}

const EMPTY_READING: NvmlReading = {
  gpuUtilizationPercent: null,
  memoryUtilizationPercent: null,
  powerWatts: null,
  energyMillijoules: null,
  smClockMhz: null,
  memoryClockMhz: null,
  temperatureCelsius: null,
  memoryUsedBytes: null,
  throttleReasons: null,
}
const EMPTY_GPM: GpmReading = {
  gpmSmPercent: null,
  gpmOccupancyPercent: null,
  gpmTensorPercent: null,
  gpmDramPercent: null,
}

function openGpu(options: SamplerOptions, absent: Record<string, string>): OpenGpu {
  try {
    const nvml = Nvml.open()
    const device = nvml.find({ uuid: options.uuid, pciBusId: options.pciBusId })
    const processes = nvml.computeProcesses(device, absent)
    const otherProcesses = processes === null ? null : processes.filter((pid) => pid !== options.pid).length
    const identity = { ...nvml.identity(device), otherProcesses }
    return { nvml, device, gpm: Gpm.open(nvml, device, absent), identity }
  } catch (error) {
    if (error instanceof NvmlUnavailable) return closedGpu(absent, `no GPU telemetry: ${error.reason}`)
    throw error
  }
}

function closedGpu(absent: Record<string, string>, reason: string): OpenGpu {
  for (const field of [...Object.keys(EMPTY_READING), ...Object.keys(EMPTY_GPM)]) absent[field] = reason
  return { nvml: null, device: null, gpm: null, identity: null }
}

/** CPU shares between two readings. */
class CpuMeter {
  #hostBusy: number | null = null
  #hostTotal = 0
  #process: number | null = null
  #atNs = 0

  constructor(readonly pid: number | null) {}

  read(tNs: number): { hostCpuPercent: number | null; targetCpuCores: number | null; targetRssBytes: number | null } {
    const host = hostCpuSecs()
    const own = this.pid === null ? null : processCpuSecs(this.pid)
    const hostCpuPercent =
      host === null || this.#hostBusy === null || host.total <= this.#hostTotal
        ? null
        : (100 * (host.busy - this.#hostBusy)) / (host.total - this.#hostTotal)
    const targetCpuCores =
      own === null || this.#process === null ? null : (own - this.#process) / ((tNs - this.#atNs) / 1e9)
    this.#hostBusy = host?.busy ?? null
    this.#hostTotal = host?.total ?? 0
    this.#process = own
    this.#atNs = tNs
    return { hostCpuPercent, targetCpuCores, targetRssBytes: this.pid === null ? null : processRssBytes(this.pid) }
  }
}

if (!isMainThread && (workerData as { sampler?: SamplerOptions } | null)?.sampler) {
  sampleLoop((workerData as { sampler: SamplerOptions }).sampler)
}
