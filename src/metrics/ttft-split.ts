import type { RequestRecord } from '../result/schema.js'
import type { RequestTrace, StepTraceRecord } from '../result/trace.js'
import { nearestRank } from './distribution.js'

/** Where one request's TTFT from its due time went, ms. The parts sum to t_first_token - t_intended. */
export interface TtftSplit {
  /** t_sent - t_intended: the client was late. */
  clientLagMs: number
  /** Engine's arrival - t_sent: body on the wire, accepted, read to its last byte, tokenised by nobody yet. */
  sendMs: number
  /** Scheduled - arrival: validation and the waiting queue. */
  queueMs: number
  /** Engine's first token - scheduled. */
  prefillMs: number
  /** Client's first token - engine's first token: detokenised, written, received. */
  flushMs: number
}

export const TTFT_PARTS = ['clientLagMs', 'sendMs', 'queueMs', 'prefillMs', 'flushMs'] as const

/** Median and mean of each part over the measured successes that the trace knows; null without any. */
export interface TtftSummary {
  n: number
  p50: TtftSplit
  mean: TtftSplit
}

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
