import type { ComparedMetric } from '../statistics/policies.js'
import type { BlockMetrics } from './schema.js'

/** The value of each compared metric in one block; null where it is undefined or under its sample floor. */
export function comparedValues(block: BlockMetrics): Record<ComparedMetric, number | null> {
  return {
    outputTokensPerSecond: block.outputTokensPerSecond ?? block.wholeRunOutputTokensPerSecond,
    requestsPerSecond: block.requestsPerSecond,
    ttftP50Ms: block.ttftMs.p50,
    ttftP95Ms: block.ttftMs.p95,
    itlMeanMs: block.itlMs.mean,
    itlP95Ms: block.itlMs.p95,
    tpotP50Ms: block.tpotMs.p50,
    e2eP50Ms: block.e2eMs.p50,
    joulesPerOutputToken: block.joulesPerOutputToken,
    paddedShare: block.paddedShare,
  }
}
