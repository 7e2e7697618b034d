import type { RequestRecord } from '../result/schema.js'
import type { Slo, SloMetric } from '../scenario/types.js'
import { latenciesOf, tokenGaps } from './latency.js'
import type { Window } from './window.js'

export interface Goodput {
  /** Requests that met ALL objectives per second of the window; null without objectives. */
  goodputRps: number | null
  /** good / attempted over the measured phase; errors, timeouts and dropped arrivals are attempted and bad. */
  sloAttainment: number | null
}

/** Goodput after DistServe (Zhong et al., OSDI 2024): judged per request, not as a percentile of a metric. */
export function goodputOf(records: readonly RequestRecord[], window: Window, slo: Slo): Goodput {
  if (slo.terms.length === 0) return { goodputRps: null, sloAttainment: null }
  const attempted = records.filter(
    (r) => r.phase === 'measure' && r.outcome !== 'not-sent' && r.outcome !== 'cancelled',
  )
  const good = attempted.filter((record) => meetsSlo(record, slo))
  const inWindow = good.filter((r) => r.doneNs !== null && r.doneNs >= window.startNs && r.doneNs <= window.endNs)
  return {
    goodputRps: window.secs > 0 ? inWindow.length / window.secs : null,
    sloAttainment: attempted.length === 0 ? null : good.length / attempted.length,
  }
}

/** A term that is undefined for the request (TPOT of a one-token answer) is met. */
export function meetsSlo(record: RequestRecord, slo: Slo): boolean {
  if (record.outcome !== 'ok') return false
  return slo.terms.every((term) => {
    const value = sloValueMs(record, term.metric)
    return value === null || value < term.limitMs
  })
}

/** One request's value of an SLO metric, ms. ITL: the mean over its tokens after the first read. */
export function sloValueMs(record: RequestRecord, metric: SloMetric): number | null {
  const latencies = latenciesOf(record)
  switch (metric) {
    case 'ttft':
      return latencies.ttftMs
    case 'ttft_intended':
      return latencies.ttftIntendedMs
    case 'tpot':
      return latencies.tpotMs
    case 'e2e':
      return latencies.e2eMs
    case 'itl':
      return meanItlMs(record)
  }
}

function meanItlMs(record: RequestRecord): number | null {
  const { gapMs, tokens } = tokenGaps(record)
  const count = tokens.reduce((sum, tokenCount) => sum + tokenCount, 0)
  return count === 0 ? null : gapMs.reduce((sum, gap) => sum + gap, 0) / count
}
