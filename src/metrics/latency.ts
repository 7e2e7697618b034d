import type { RequestRecord } from '../result/schema.js'

/**
 * Latencies of one request, milliseconds. Undefined is null: excluded and counted by whoever aggregates, never 0.
 * N output tokens; n_first those of the first token-bearing socket read; a read's frames share its time.
 */
export interface Latencies {
  /** Time to first token: t_first_token - t_sent. Role-only, empty, usage and ping frames are no tokens. (MLPerf; guidellm) */
  ttftMs: number | null
  /** Time to first output: t_first_output - t_sent; differs on reasoning models. (aiperf TTFO) */
  ttfoMs: number | null
  /** From the due time, so that a late client or a full queue is not left out. (wrk2; MLPerf: callback - scheduled) */
  ttftIntendedMs: number | null
  /** Time per output token: (t_last - t_first) / (N - n_first). (vLLM's (e2e - TTFT) / (N - 1) for one-token frames) */
  tpotMs: number | null
  /** t_last_token - t_sent. */
  e2eMs: number | null
  e2eIntendedMs: number | null
  /** t_done - t_sent: with usage frame and end of stream. */
  e2eDoneMs: number | null
  /** Largest gap between reads, and gaps above 5 times the request's median gap. */
  largestGapMs: number | null
  stalls: number
}

/** Gaps before each read after the first: `gapMs[i]` brought `tokens[i]` tokens, each with an inter-token latency of gap / tokens. */
export interface TokenGaps {
  gapMs: number[]
  tokens: number[]
}

const STALL_FACTOR = 5

export function latenciesOf(record: RequestRecord): Latencies {
  const { sentNs, firstTokenNs, firstOutputNs, lastTokenNs, doneNs, intendedNs } = record
  const { gapMs } = tokenGaps(record)
  return {
    ttftMs: between(sentNs, firstTokenNs),
    ttfoMs: between(sentNs, firstOutputNs),
    ttftIntendedMs: between(intendedNs, firstTokenNs),
    tpotMs: timePerOutputToken(record),
    e2eMs: between(sentNs, lastTokenNs),
    e2eIntendedMs: between(intendedNs, lastTokenNs),
    e2eDoneMs: between(sentNs, doneNs),
    largestGapMs: gapMs.length === 0 ? null : gapMs.reduce((largest, gap) => Math.max(largest, gap), 0),
    stalls: countStalls(gapMs),
  }
}

/** Inter-token latency is gap / tokens once per token: a read of k tokens gives k values, not one gap and k - 1 zeros. */
export function tokenGaps(record: RequestRecord): TokenGaps {
  const gaps: TokenGaps = { gapMs: [], tokens: [] }
  for (let index = 1; index < record.readNs.length; index++) {
    gaps.gapMs.push((record.readNs[index]! - record.readNs[index - 1]!) / 1e6)
    gaps.tokens.push(record.readTokens[index]!)
  }
  return gaps
}

function timePerOutputToken(record: RequestRecord): number | null {
  const later = record.counted - (record.readTokens[0] ?? 0)
  const span = between(record.firstTokenNs, record.lastTokenNs)
  return span === null || later <= 0 || record.readNs.length < 2 ? null : span / later
}

function countStalls(gapsMs: readonly number[]): number {
  if (gapsMs.length === 0) return 0
  const sorted = [...gapsMs].sort((a, b) => a - b)
  const median = sorted[Math.ceil(sorted.length / 2) - 1]!
  return gapsMs.filter((gap) => gap > STALL_FACTOR * median).length
}

function between(fromNs: number | null, toNs: number | null): number | null {
  return fromNs === null || toNs === null ? null : (toNs - fromNs) / 1e6
}
