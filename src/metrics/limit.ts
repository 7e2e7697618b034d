import type { Environment, RequestRecord, TargetInfo } from '../result/schema.js'
import { promptTokens, tokensBetween } from './throughput.js'
import type { Window } from './window.js'

export interface PhysicalLimit {
  /** Output tokens/s that the measured ceilings allow for this load; null without ceilings or model sizes. */
  limitTokensPerSecond: number | null
  shareOfLimit: number | null
}

/**
 * The least time in which the window's work could be done, and the throughput it allows:
 *
 *   decode step at batch b, mean context c:  t(b) = max(W / BW, b F / PK) + b c k / BW
 *   window of T output and P uncached prompt tokens:  t_min = (T / b) t(b) + P F / PK,   limit = T / t_min
 *
 * W weight bytes read a step, k KV bytes a token, F flops a token (2 x weights), BW and PK this device's measured read bandwidth and GEMM rate.
 * b is the mean number of requests in flight in the window: what the load offered, not what the engine made of it. (Roofline, Williams et al. 2009;
 * step time as in Pope et al. 2022, "Efficiently Scaling Transformer Inference", section 3.)
 */
export function physicalLimit(
  records: readonly RequestRecord[],
  window: Window,
  target: TargetInfo,
  ceilings: Environment['ceilings'],
): PhysicalLimit {
  const none = { limitTokensPerSecond: null, shareOfLimit: null }
  const { decodeWeightBytes, kvBytesPerToken, flopsPerToken } = target
  const bandwidthGBs = ceilings?.readGBs ?? ceilings?.copyGBs ?? null
  if (decodeWeightBytes === null || kvBytesPerToken === null || flopsPerToken === null) return none
  if (bandwidthGBs === null || ceilings?.gemmTflops == null || window.secs <= 0) return none
  const work = workOf(records, window)
  if (work.outputTokens === 0 || work.batch === 0) return none
  const bandwidth = bandwidthGBs * 1e9
  const flops = ceilings.gemmTflops * 1e12
  const weights = Math.max(decodeWeightBytes / bandwidth, (work.batch * flopsPerToken) / flops)
  const step = weights + (work.batch * work.context * kvBytesPerToken) / bandwidth
  // A first token comes out of the prefill itself: it needs no decode step.
  const decoded = Math.max(0, work.outputTokens - work.firstTokens)
  const least = (decoded / work.batch) * step + (work.promptTokens * flopsPerToken) / flops
  const limit = least === 0 ? null : work.outputTokens / least
  return { limitTokensPerSecond: limit, shareOfLimit: limit === null ? null : work.outputTokens / window.secs / limit }
}

interface Work {
  outputTokens: number
  firstTokens: number
  /** Uncached prompt tokens of requests whose first token came in the window. */
  promptTokens: number
  /** Mean requests in flight. */
  batch: number
  /** Mean context of a decode step: prompt plus half the answer, weighted by answer. */
  context: number
}

function workOf(records: readonly RequestRecord[], window: Window): Work {
  const work = { outputTokens: tokensBetween(records, window.startNs, window.endNs), firstTokens: 0, promptTokens: 0 }
  let inFlightNs = 0
  let weighted = 0
  let weight = 0
  for (const record of records) {
    if (record.sentNs === null || record.lastTokenNs === null) continue
    const overlap = Math.min(record.lastTokenNs, window.endNs) - Math.max(record.sentNs, window.startNs)
    if (overlap <= 0) continue
    inFlightNs += overlap
    weighted += record.counted * (record.inputTokens + record.counted / 2)
    weight += record.counted
    if (record.firstTokenNs! > window.startNs && record.firstTokenNs! <= window.endNs) {
      work.firstTokens++
      work.promptTokens += Math.max(0, promptTokens(record) - (record.cachedTokens ?? 0))
    }
  }
  return { ...work, batch: inFlightNs / (window.secs * 1e9), context: weight === 0 ? 0 : weighted / weight }
}
