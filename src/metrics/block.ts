import type {
  BlockManifest,
  BlockMetrics,
  Environment,
  RequestRecord,
  TargetInfo,
  TelemetrySample,
} from '../result/schema.js'
import type { ServerScrape } from '../result/server-view.js'
import type { StepTraceRecord } from '../result/trace.js'
import type { Scenario } from '../scenario/types.js'
import { toolColumns } from './compatibility.js'
import { distributionOf } from './distribution.js'
import { telemetryIn } from './energy.js'
import { engineMetrics } from './engine-steps.js'
import { engineTime } from './engine-time.js'
import { goodputOf } from './goodput.js'
import { type Latencies, latenciesOf, tokenGaps } from './latency.js'
import { physicalLimit } from './limit.js'
import { serverSplit } from './server-metrics.js'
import { type Steadiness, steadinessOf } from './steady.js'
import { promptTokens, throughputOf, tokensBetween } from './throughput.js'
import { summarizeTtft } from './ttft-split.js'
import { windowOf } from './window.js'

export interface BlockInput {
  block: BlockManifest
  records: readonly RequestRecord[]
  steps: readonly StepTraceRecord[]
  telemetry: readonly TelemetrySample[]
  /** Readings of an external server's /metrics. */
  scrapes?: readonly ServerScrape[]
  scenario: Scenario
  target: TargetInfo
  ceilings: Environment['ceilings']
  /** Whole requests/s that the target passes at all; null or absent: not measured. */
  requestsCeiling?: number | null
}

/** Every derived number of one block, from its raw records. Latencies are those of successful measured requests; failures stand beside them as counts. */
export function measureBlock(input: BlockInput): { metrics: BlockMetrics; steady: Steadiness } {
  const { records, scenario, target } = input
  const window = windowOf(records, scenario.load.arrival, input.block.measureStartNs)
  const measured = records.filter((record) => record.phase === 'measure')
  const ok = measured.filter((record) => record.outcome === 'ok')
  const latencies = ok.map(latenciesOf)
  const telemetry = telemetryIn(input.telemetry, window)
  const windowTokens = tokensBetween(records, window.startNs, window.endNs)
  const { energyJoules, ...telemetryMeans } = telemetry
  const throughput = throughputOf(records, window)
  const metrics: BlockMetrics = {
    block: input.block.index,
    target: target.name,
    window,
    outcomes: countOutcomes(measured),
    requestsOk: ok.length,
    requestsFailed: measured.filter((record) => isFailure(record)).length,
    ...throughput,
    outputTokens: total(ok, (record) => record.counted),
    promptTokens: total(ok, promptTokens),
    cachedTokens: ok.some((record) => record.cachedTokens !== null) ? total(ok, (r) => r.cachedTokens ?? 0) : null,
    ...latencyDistributions(latencies),
    ...gapDistributions(ok),
    ...goodputOf(records, window, scenario.slo),
    inputLengths: distributionOf(ok.map(promptTokens)),
    outputLengths: distributionOf(ok.map((record) => record.counted)),
    tokenMismatchRate: tokenMismatchRate(ok),
    ...engineMetrics(input.steps, window),
    ...telemetryMeans,
    joulesPerOutputToken: energyJoules === null || windowTokens === 0 ? null : energyJoules / windowTokens,
    ...physicalLimit(records, window, target, input.ceilings),
    ttftSplit: summarizeTtft(records, input.steps),
    otherTools: ok.length === 0 ? [] : toolColumns(records),
    engineTime: engineTime(input.steps, window),
    shareOfRequestCeiling: shareOf(throughput.requestsPerSecond, input.requestsCeiling ?? null),
    serverSplit: serverSplit(input.scrapes ?? [], records),
  }
  return { metrics, steady: steadinessOf(records, window, scenario.load.arrival) }
}

function shareOf(rate: number | null, ceiling: number | null): number | null {
  return rate === null || ceiling === null || ceiling <= 0 ? null : rate / ceiling
}

function countOutcomes(records: readonly RequestRecord[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { outcome } of records) counts[outcome] = (counts[outcome] ?? 0) + 1
  return counts
}

/** Attempted and not ok; a request never sent for want of time, or cancelled by the user, was not attempted. */
function isFailure(record: RequestRecord): boolean {
  return record.outcome !== 'ok' && record.outcome !== 'not-sent' && record.outcome !== 'cancelled'
}

function latencyDistributions(latencies: readonly Latencies[]) {
  const of = (pick: (one: Latencies) => number | null) => {
    const values = latencies.map(pick).filter((value): value is number => value !== null)
    return distributionOf(values, { undefinedCount: latencies.length - values.length })
  }
  return {
    ttftMs: of((one) => one.ttftMs),
    ttftIntendedMs: of((one) => one.ttftIntendedMs),
    tpotMs: of((one) => one.tpotMs),
    e2eMs: of((one) => one.e2eMs),
  }
}

/** ITL pooled over tokens (gap / k, k times), chunk gaps pooled over reads; sample floors by requests, whose own gaps are correlated. */
function gapDistributions(ok: readonly RequestRecord[]) {
  const itl: number[] = []
  const weights: number[] = []
  const gaps: number[] = []
  let defined = 0
  for (const record of ok) {
    const { gapMs, tokens } = tokenGaps(record)
    if (gapMs.length > 0) defined++
    for (const [index, gap] of gapMs.entries()) {
      gaps.push(gap)
      if (tokens[index]! === 0) continue
      itl.push(gap / tokens[index]!)
      weights.push(tokens[index]!)
    }
  }
  const options = { undefinedCount: ok.length - defined, independent: defined }
  const frames = total(ok, (record) => record.frames)
  return {
    itlMs: distributionOf(itl, { ...options, weights }),
    chunkGapMs: distributionOf(gaps, options),
    tokensPerFrame: frames === 0 ? null : total(ok, (record) => total(record.readTokens, (tokens) => tokens)) / frames,
  }
}

/** Share of requests whose best token count and the next source below it differ: ids against usage, usage against frames of one token. */
function tokenMismatchRate(ok: readonly RequestRecord[]): number | null {
  const comparable = ok.filter((record) => record.usageCompletionTokens !== null && record.engineTokens !== null)
  if (comparable.length === 0) return null
  return comparable.filter((r) => r.engineTokens !== r.usageCompletionTokens).length / comparable.length
}

function total<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((sum, item) => sum + pick(item), 0)
}
