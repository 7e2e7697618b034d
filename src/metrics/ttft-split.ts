import type { RequestRecord, TtftSplit, TtftSummary } from '../result/schema.js'
import type { RequestTrace, StepTraceRecord } from '../result/trace.js'
import { nearestRank } from './distribution.js'

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

/** Null without a request that both the client and the trace know. */
export function summarizeTtft(
  records: readonly RequestRecord[],
  trace: readonly StepTraceRecord[],
): TtftSummary | null {
  const splits = [
    ...ttftSplits(
      records.filter((record) => record.phase === 'measure'),
      trace,
    ).values(),
  ]
  if (splits.length === 0) return null
  const part = (of: (values: number[]) => number) =>
    Object.fromEntries(TTFT_PARTS.map((name) => [name, of(splits.map((split) => split[name]))])) as unknown as TtftSplit
  return {
    n: splits.length,
    p50: part((values) => nearestRank(values, 50)!),
    mean: part((values) => values.reduce((sum, value) => sum + value, 0) / values.length),
  }
}
