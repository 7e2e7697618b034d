import type { Distribution } from '../result/schema.js'

const PERCENTILES = { p50: 0.5, p75: 0.75, p90: 0.9, p95: 0.95, p99: 0.99, p999: 0.999 } as const

export interface DistributionOptions {
  /** Each value counts this often (tokens of a gap); default once. */
  weights?: readonly number[]
  /** Requests for which the metric is undefined. */
  undefinedCount?: number
  /** Independent samples when values are not: for ITL the requests, as gaps of one request are correlated. */
  independent?: number
}

/**
 * Nearest-rank percentiles of raw samples (Hyndman and Fan 1996, type 1): the smallest value with at least p of the weight at or below it.
 * A percentile under its sample floor is null, and named in `floors`.
 */
export function distributionOf(values: readonly number[], options: DistributionOptions = {}): Distribution {
  const weights = options.weights ?? null
  const order = values.map((_, index) => index).sort((a, b) => values[a]! - values[b]!)
  const weightOf = (index: number) => (weights === null ? 1 : weights[index]!)
  const n = order.reduce((sum, index) => sum + weightOf(index), 0)
  const sum = order.reduce((total, index) => total + values[index]! * weightOf(index), 0)
  const samples = options.independent === undefined ? n : Math.min(n, options.independent)
  const floors: Record<string, number> = {}
  const result: Distribution = {
    n,
    mean: n === 0 ? null : sum / n,
    min: n === 0 ? null : values[order[0]!]!,
    max: n === 0 ? null : values[order.at(-1)!]!,
    p50: null,
    p75: null,
    p90: null,
    p95: null,
    p99: null,
    p999: null,
    floors,
    undefinedCount: options.undefinedCount ?? 0,
  }
  let at = 0
  let seen = 0
  for (const [name, p] of Object.entries(PERCENTILES) as [keyof typeof PERCENTILES, number][]) {
    const needed = sampleFloor(p)
    if (samples < needed) {
      floors[name] = needed
      continue
    }
    const rank = Math.ceil(p * n - 1e-9)
    while (seen + weightOf(order[at]!) < rank) seen += weightOf(order[at++]!)
    result[name] = values[order[at]!]!
  }
  return result
}

/**
 * Smallest n with p^n + n (1 - p) p^(n-1) <= 0.01: with 99 % confidence at most one of n samples lies beyond a true percentile p
 * (MLPerf LoadGen early stopping; endpoints docs/early_stopping.md). 11, 24, 64, 130, 662, 6636 for p50, p75, p90, p95, p99, p99.9.
 */
export function sampleFloor(p: number): number {
  const cached = floorCache.get(p)
  if (cached !== undefined) return cached
  let n = 1
  while (p ** n + n * (1 - p) * p ** (n - 1) > 0.01) n++
  floorCache.set(p, n)
  return n
}
const floorCache = new Map<number, number>()

/** Any percentile (0 to 100) of unweighted samples by nearest rank; null without samples. */
export function nearestRank(values: readonly number[], percentile: number): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((percentile / 100) * sorted.length - 1e-9) - 1)]!
}
