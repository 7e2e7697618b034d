import type { Distribution, RequestRecord, TtftPercentiles, TtftSplit, TtftSummary } from '../result/schema.js'
import type { RequestTrace, StepTraceRecord } from '../result/trace.js'
import { distributionOf } from './distribution.js'

export const TTFT_PARTS = ['clientLagMs', 'sendMs', 'queueMs', 'prefillMs', 'flushMs'] as const

/** Joins client records and engine spans by request id; both are on CLOCK_MONOTONIC, so no offset is needed. */
export function ttftSplits(
  records: readonly RequestRecord[],
  trace: readonly StepTraceRecord[],
): Map<number, TtftSplit> {
  const spans = new Map<string, RequestTrace>()
  for (const span of trace) if (span.kind === 'request') spans.set(span.clientId, span)
  const splits = new Map<number, TtftSplit>()
  for (const record of records) {
    const span = spans.get(record.requestId)
    if (span === undefined || record.outcome !== 'ok' || record.firstTokenNs === null || record.sentNs === null)
      continue
    if (span.firstTokenNs === 0 || span.scheduledNs === 0) continue
    splits.set(record.index, {
      clientLagMs: (record.sentNs - record.intendedNs) / 1e6,
      sendMs: (span.arrivalNs - record.sentNs) / 1e6,
      queueMs: (span.scheduledNs - span.arrivalNs) / 1e6,
      prefillMs: (span.firstTokenNs - span.scheduledNs) / 1e6,
      flushMs: (record.firstTokenNs - span.firstTokenNs) / 1e6,
    })
  }
  return splits
}

/** Null without a request that both the client and the trace know. Percentiles keep their sample floors. */
export function summarizeTtft(
  records: readonly RequestRecord[],
  trace: readonly StepTraceRecord[],
): TtftSummary | null {
  const measured = records.filter((record) => record.phase === 'measure')
  const splits = [...ttftSplits(measured, trace).values()]
  if (splits.length === 0) return null
  const rows = splits.map((split) => ({ ...split, totalMs: sumOf(split) }))
  const parts = Object.fromEntries(
    [...TTFT_PARTS, 'totalMs' as const].map((name) => [name, distributionOf(rows.map((row) => row[name]))]),
  ) as Record<keyof TtftPercentiles, Distribution>
  const each = <T>(pick: (distribution: Distribution) => T) =>
    Object.fromEntries(Object.entries(parts).map(([name, distribution]) => [name, pick(distribution)]))
  const { totalMs: _, ...mean } = each((one) => one.mean!) as unknown as Record<keyof TtftPercentiles, number>
  const percentile = (name: 'p50' | 'p90' | 'p99') => each((one) => one[name]) as unknown as TtftPercentiles
  return { n: splits.length, mean, p50: percentile('p50'), p90: percentile('p90'), p99: percentile('p99') }
}

/** A target's split: each figure the mean over its blocks; a percentile that a block lacks is the target's lack too. Null without a block that has one. */
export function meanTtft(summaries: readonly (TtftSummary | null | undefined)[]): TtftSummary | null {
  const known = summaries.filter((one) => one != null)
  if (known.length === 0) return null
  const over = <K extends string>(of: (summary: TtftSummary) => Record<K, number | null>) => {
    const names = Object.keys(of(known[0]!)) as K[]
    return Object.fromEntries(
      names.map((name) => {
        const values = known.map((summary) => of(summary)[name]).filter((value) => value !== null)
        return [name, values.length < known.length ? null : values.reduce((sum, ms) => sum + ms, 0) / values.length]
      }),
    ) as Record<K, number | null>
  }
  return {
    n: known.reduce((least, summary) => Math.min(least, summary.n), Number.POSITIVE_INFINITY),
    mean: over((summary) => summary.mean) as TtftSplit,
    p50: over((summary) => summary.p50),
    p90: over((summary) => summary.p90),
    p99: over((summary) => summary.p99),
  }
}

function sumOf(split: TtftSplit): number {
  return TTFT_PARTS.reduce((sum, name) => sum + split[name], 0)
}
