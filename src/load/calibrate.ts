import { distributionOf, nearestRank } from '../metrics/distribution.js'
import { throughputOf } from '../metrics/throughput.js'
import { windowOf } from '../metrics/window.js'
import type { Distribution, RequestRecord, WorkerHealth } from '../result/schema.js'
import { parseScenario } from '../scenario/parse.js'
import { makePlan } from '../scenario/plan.js'
import { runLoad } from './generator.js'
import { startNullServer } from './null-process.js'
import type { NullSchedule, NullTrace } from './null-server.js'
import { type RequestCeiling, requestCeiling } from './request-ceiling.js'

/** The load to calibrate for: that of the coming run. */
export interface CalibrationRequest {
  concurrency: number
  schedule?: NullSchedule
  outputTokens?: number
  requests?: number
  workers?: number
  /** Also drive the null server's non-streaming route with autocannon for this long. */
  requestCeilingSecs?: number
  signal?: AbortSignal
}

/** What the client adds: its reading minus what the null server wrote down, both on CLOCK_MONOTONIC, milliseconds. */
export interface CalibrationReport {
  ttftAddedMsP50: number
  ttftAddedMsP99: number
  itlAddedMsP50: number
  itlAddedMsP99: number
  /** Observed minus programmed: with the null server's own lateness. */
  ttftErrorMs: Distribution
  itlErrorMs: Distribution
  concurrency: number
  schedule: NullSchedule
  requests: number
  requestsOk: number
  tokensPerSecond: number | null
  /** Null unless asked for. */
  requestCeiling: RequestCeiling | null
  health: WorkerHealth[]
}

/** 50 ms to the first token, then 20 ms a token: 800 tokens/s at 16 streams, an ordinary server on a small GPU. */
const DEFAULT_SCHEDULE: NullSchedule = { ttftMs: 50, itlMs: 20, tokensPerFrame: 1 }

/** Drives a null server in a process of its own at the asked concurrency and compares every stamp with the server's. */
export async function calibrate(request: CalibrationRequest): Promise<CalibrationReport> {
  const schedule = request.schedule ?? DEFAULT_SCHEDULE
  const { concurrency } = request
  const outputTokens = request.outputTokens ?? 64
  const requests = request.requests ?? Math.max(64, 2 * concurrency)
  const text = `workload: {input: 32, output: ${outputTokens}}\nload: [{phase: warmup, requests: 1x}, {concurrency: ${concurrency}, requests: ${requests}}]\n`
  const scenario = parseScenario(text, 'calibrate')
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const server = await startNullServer(schedule)
  try {
    const { records, health, measureStartNs } = await runLoad({
      plan,
      scenario,
      target: { baseUrl: server.url, apiKey: null, api: 'completions', model: 'null' },
      ...(request.workers === undefined ? {} : { workers: request.workers }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    })
    const secs = request.requestCeilingSecs ?? null
    const ceiling = { baseUrl: server.url, apiKey: null, model: 'null', connections: concurrency }
    const measured = records.filter((record) => record.phase === 'measure' && record.outcome === 'ok')
    const window = windowOf(records, scenario.load.arrival, measureStartNs)
    return {
      ...addedBy(measured, await server.takeTraces(), schedule),
      concurrency,
      schedule,
      requests,
      requestsOk: measured.length,
      tokensPerSecond: throughputOf(records, window).outputTokensPerSecond,
      requestCeiling: secs === null ? null : await requestCeiling({ ...ceiling, durationSecs: secs }),
      health,
    }
  } finally {
    server.close()
  }
}

/** Joins records and traces by request id. */
export function addedBy(records: readonly RequestRecord[], traces: readonly NullTrace[], schedule: NullSchedule) {
  const traceOf = new Map(traces.map((trace) => [trace.requestId, trace]))
  const ttftAdded: number[] = []
  const itlAdded: number[] = []
  const ttftError: number[] = []
  const itlError: number[] = []
  for (const record of records) {
    const trace = traceOf.get(record.requestId)
    if (trace === undefined || record.firstTokenNs === null) continue
    const observedTtftNs = record.firstTokenNs - record.sentNs!
    ttftAdded.push((observedTtftNs - (trace.wroteNs[0]! - trace.receivedNs)) / 1e6)
    ttftError.push(observedTtftNs / 1e6 - schedule.ttftMs)
    for (const gap of gapsByFrame(record, trace)) {
      itlAdded.push((gap.observedNs - gap.wroteNs) / 1e6 / gap.tokens)
      itlError.push(gap.observedNs / 1e6 / gap.tokens - schedule.itlMs)
    }
  }
  const at = (values: number[], percentile: number) => nearestRank(values, percentile) ?? 0
  return {
    ttftAddedMsP50: at(ttftAdded, 50),
    ttftAddedMsP99: at(ttftAdded, 99),
    itlAddedMsP50: at(itlAdded, 50),
    itlAddedMsP99: at(itlAdded, 99),
    ttftErrorMs: distributionOf(ttftError),
    itlErrorMs: distributionOf(itlError),
  }
}

/** Gaps between socket reads beside the gaps between the last frames that the server had written for each. */
function gapsByFrame(
  record: RequestRecord,
  trace: NullTrace,
): { observedNs: number; wroteNs: number; tokens: number }[] {
  const gaps: { observedNs: number; wroteNs: number; tokens: number }[] = []
  let frame = (record.readFrames[0] ?? 0) - 1
  for (let read = 1; read < record.readNs.length; read++) {
    const before = trace.wroteNs[frame]
    frame += record.readFrames[read]!
    const after = trace.wroteNs[frame]
    if (before === undefined || after === undefined) break
    gaps.push({
      observedNs: record.readNs[read]! - record.readNs[read - 1]!,
      wroteNs: after - before,
      tokens: Math.max(1, record.readTokens[read]!),
    })
  }
  return gaps
}
