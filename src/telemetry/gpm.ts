import type { Nvml, NvmlHandle } from './nvml.js'

/**
 * GPM, the GPU performance monitoring of NVML (Hopper and later): how busy the card's parts are, which utilization.gpu does not say.
 * A metric is the mean between two samples; NVIDIA asks for more than 100 ms between them.
 */
export interface GpmReading {
  gpmSmPercent: number | null
  gpmOccupancyPercent: number | null
  gpmTensorPercent: number | null
  gpmDramPercent: number | null
}

/** Metric ids of nvml.h `nvmlGpmMetricId_t`. */
const METRICS = { gpmSmPercent: 2, gpmOccupancyPercent: 3, gpmTensorPercent: 5, gpmDramPercent: 10 } as const
const FIELDS = Object.keys(METRICS) as (keyof typeof METRICS)[]

/** nvmlGpmMetricsGet_t: version, count, two samples, then metrics; newer drivers write up to 333 of them. */
const HEADER_BYTES = 24
const METRIC_BYTES = 40
const METRIC_SLOTS = 333

export class Gpm {
  readonly #nvml: Nvml
  readonly #device: NvmlHandle
  readonly #request = Buffer.alloc(HEADER_BYTES + METRIC_SLOTS * METRIC_BYTES)
  #samples: [number, number]
  #primed = false

  private constructor(nvml: Nvml, device: NvmlHandle, samples: [number, number]) {
    this.#nvml = nvml
    this.#device = device
    this.#samples = samples
  }

  /** Null with the reason in `absent` where GPM is not supported. */
  static open(nvml: Nvml, device: NvmlHandle, absent: Record<string, string>): Gpm | null {
    const support = Buffer.alloc(8)
    support.writeUInt32LE(1, 0)
    const code = nvml.call('nvmlGpmQueryDeviceSupport', 'uint64_t, void *', device, support)
    const samples = [0, 1].map(() => {
      const out = [0]
      return nvml.call('nvmlGpmSampleAlloc', '_Out_ uint64_t *', out) === 0 ? Number(out[0]) : 0
    }) as [number, number]
    if (code === 0 && support.readUInt32LE(4) === 1 && samples[0] !== 0 && samples[1] !== 0)
      return new Gpm(nvml, device, samples)
    const reason = code !== 0 ? nvml.codeText(code) : 'GPM is not supported by this GPU (Hopper and later have it)'
    for (const field of FIELDS) absent[field] = reason
    return null
  }

  /** The means since the last call; null at the first call. */
  read(absent: Record<string, string>): GpmReading | null {
    const [previous, current] = this.#samples
    const code = this.#nvml.call('nvmlGpmSampleGet', 'uint64_t, uint64_t', this.#device, current)
    if (code !== 0) {
      for (const field of FIELDS) absent[field] = this.#nvml.codeText(code)
      return null
    }
    this.#samples = [current, previous]
    if (!this.#primed) {
      this.#primed = true
      return null
    }
    return this.#metrics(previous, current, absent)
  }

  close(): void {
    for (const sample of this.#samples) this.#nvml.call('nvmlGpmSampleFree', 'uint64_t', sample)
  }

  #metrics(previous: number, current: number, absent: Record<string, string>): GpmReading | null {
    const request = this.#request
    request.fill(0)
    request.writeUInt32LE(1, 0)
    request.writeUInt32LE(FIELDS.length, 4)
    request.writeBigUInt64LE(BigInt(previous), 8)
    request.writeBigUInt64LE(BigInt(current), 16)
    FIELDS.forEach((field, index) => {
      request.writeUInt32LE(METRICS[field], HEADER_BYTES + index * METRIC_BYTES)
    })
    const code = this.#nvml.call('nvmlGpmMetricsGet', 'void *', request)
    const reading: GpmReading = {
      gpmSmPercent: null,
      gpmOccupancyPercent: null,
      gpmTensorPercent: null,
      gpmDramPercent: null,
    }
    FIELDS.forEach((field, index) => {
      const at = HEADER_BYTES + index * METRIC_BYTES
      const own = code !== 0 ? code : request.readUInt32LE(at + 4)
      if (own === 0) reading[field] = request.readDoubleLE(at + 8)
      else absent[field] = this.#nvml.codeText(own)
    })
    return reading
  }
}
