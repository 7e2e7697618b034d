import type { RequestRecord } from '../result/schema.js'
import type { Arrival } from '../scenario/types.js'
import { tokensBetween } from './throughput.js'
import type { Window } from './window.js'

const BATCHES = 12
/** Two-sided 1 %: a run has several blocks with two tests each. */
const CRITICAL_Z = 2.576
const MIN_REQUESTS = 24
/** Requests in flight that change by more than this share of their mean across the window, surely, are growth and no ripple. */
export const GROWTH_PERCENT = 50

/** Whether the window is one steady state. trendPercent null: no trend that is sure. */
export interface Steadiness {
  /** Change of throughput or TTFT across the window, in per cent of its mean: whichever trend is sure and larger; and of which. */
  trendPercent: number | null
  trendOf: 'throughput' | 'TTFT' | null
  /** Open loop: requests in flight kept growing, the server is past its capacity. */
  inFlightGrowing: boolean
}

/**
 * Mann-Kendall trend test on batch means of throughput and of TTFT (Mann 1945, Kendall 1975), size of the trend by Theil and Sen's slope.
 * The floor of 5 % under which a sure trend does not matter is the verdict's.
 */
export function steadinessOf(records: readonly RequestRecord[], window: Window, arrival: Arrival): Steadiness {
  const inside = records.filter(
    (r) => r.firstTokenNs !== null && r.firstTokenNs >= window.startNs && r.firstTokenNs <= window.endNs,
  )
  if (inside.length < MIN_REQUESTS || window.secs <= 0)
    return { trendPercent: null, trendOf: null, inFlightGrowing: false }
  const trends = [
    { of: 'throughput' as const, percent: trendPercent(throughputBatches(records, window)) },
    { of: 'TTFT' as const, percent: trendPercent(ttftBatches(inside)) },
  ]
  const largest = trends
    .filter((trend) => trend.percent !== null)
    .sort((a, b) => Math.abs(b.percent!) - Math.abs(a.percent!))[0]
  const growth = arrival.kind === 'closed' ? null : trendPercent(inFlightBatches(records, window))
  return {
    trendPercent: largest?.percent ?? null,
    trendOf: largest?.of ?? null,
    inFlightGrowing: growth !== null && growth > GROWTH_PERCENT,
  }
}

/** Change from first to last batch in per cent of the mean when Mann-Kendall is sure of a trend; else null. */
export function trendPercent(batches: readonly number[]): number | null {
  const n = batches.length
  const mean = batches.reduce((sum, value) => sum + value, 0) / n
  if (n < 8 || mean === 0) return null
  let s = 0
  const slopes: number[] = []
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      s += Math.sign(batches[j]! - batches[i]!)
      slopes.push((batches[j]! - batches[i]!) / (j - i))
    }
  }
  // Variance of S without ties; with continuity correction.
  const z = s === 0 ? 0 : (s - Math.sign(s)) / Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18)
  if (Math.abs(z) < CRITICAL_Z) return null
  slopes.sort((a, b) => a - b)
  return (100 * slopes[Math.floor(slopes.length / 2)]! * (n - 1)) / mean
}

function throughputBatches(records: readonly RequestRecord[], window: Window): number[] {
  const widthNs = (window.endNs - window.startNs) / BATCHES
  return Array.from({ length: BATCHES }, (_, batch) => {
    const startNs = window.startNs + batch * widthNs
    return tokensBetween(records, startNs, startNs + widthNs)
  })
}

/** TTFT means of equally many requests a batch, in order of sending. */
function ttftBatches(inside: readonly RequestRecord[]): number[] {
  const ordered = [...inside].sort((a, b) => a.sentNs! - b.sentNs!)
  const size = Math.floor(ordered.length / BATCHES)
  return Array.from({ length: BATCHES }, (_, batch) => {
    const members = ordered.slice(batch * size, (batch + 1) * size)
    return members.reduce((sum, record) => sum + record.firstTokenNs! - record.sentNs!, 0) / members.length
  })
}

function inFlightBatches(records: readonly RequestRecord[], window: Window): number[] {
  const widthNs = (window.endNs - window.startNs) / BATCHES
  return Array.from({ length: BATCHES }, (_, batch) => {
    const atNs = window.startNs + (batch + 0.5) * widthNs
    return records.filter((r) => r.sentNs !== null && r.sentNs <= atNs && (r.doneNs ?? r.sentNs) > atNs).length
  })
}
