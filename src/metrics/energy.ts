import type { TelemetrySample } from '../result/schema.js'
import type { Window } from './window.js'

/** Means of what the sampler saw inside the window; null where it saw nothing. */
export interface WindowTelemetry {
  gpuUtilizationMean: number | null
  gpmDramMean: number | null
  gpmTensorMean: number | null
  gpmSmMean: number | null
  gpmOccupancyMean: number | null
  powerWattsMean: number | null
  hostCpuMean: number | null
  targetRssPeakBytes: number | null
  energyJoules: number | null
}

export function telemetryIn(samples: readonly TelemetrySample[], window: Window): WindowTelemetry {
  const inside = samples.filter((sample) => sample.tNs >= window.startNs && sample.tNs <= window.endNs)
  const values = (pick: (sample: TelemetrySample) => number | null) =>
    inside.map(pick).filter((value): value is number => value !== null)
  const mean = (pick: (sample: TelemetrySample) => number | null) => {
    const found = values(pick)
    return found.length === 0 ? null : found.reduce((sum, value) => sum + value, 0) / found.length
  }
  const rss = values((sample) => sample.targetRssBytes)
  return {
    gpuUtilizationMean: mean((sample) => sample.gpuUtilizationPercent),
    gpmDramMean: mean((sample) => sample.gpmDramPercent),
    gpmTensorMean: mean((sample) => sample.gpmTensorPercent),
    gpmSmMean: mean((sample) => sample.gpmSmPercent),
    gpmOccupancyMean: mean((sample) => sample.gpmOccupancyPercent),
    powerWattsMean: mean((sample) => sample.powerWatts),
    hostCpuMean: mean((sample) => sample.hostCpuPercent),
    targetRssPeakBytes: rss.length === 0 ? null : rss.reduce((a, b) => Math.max(a, b)),
    energyJoules: energyJoules(samples, window),
  }
}

/**
 * Energy of the window from the card's own counter (nvmlDeviceGetTotalEnergyConsumption, mJ since driver load), not from integrated power: the
 * counter at both ends, each interpolated between the samples around it. Null when samples do not enclose the window.
 */
export function energyJoules(samples: readonly TelemetrySample[], window: Window): number | null {
  const points = samples.flatMap((s) => (s.energyMillijoules === null ? [] : [{ ns: s.tNs, mj: s.energyMillijoules }]))
  const start = interpolate(points, window.startNs)
  const end = interpolate(points, window.endNs)
  return start === null || end === null || end < start ? null : (end - start) / 1000
}

function interpolate(points: readonly { ns: number; mj: number }[], atNs: number): number | null {
  const after = points.findIndex((point) => point.ns >= atNs)
  if (after === -1) return null
  const right = points[after]!
  if (right.ns === atNs) return right.mj
  const left = points[after - 1]
  return left === undefined ? null : left.mj + ((right.mj - left.mj) * (atNs - left.ns)) / (right.ns - left.ns)
}
