import type { Scenario } from '../scenario/types.js'
import type { BlockFacts } from '../statistics/validity.js'
import { throttleNames } from '../telemetry/throttle.js'
import type { BlockData } from './read.js'
import type { BlockMetrics, Distribution, PlanRow, TargetInfo, TelemetryInfo } from './schema.js'

export interface FactInput {
  data: BlockData
  plan: readonly PlanRow[]
  scenario: Scenario
  target: TargetInfo
  metrics: BlockMetrics
  telemetry: TelemetryInfo | null
  calibrated: boolean
  steady: { trendPercent: number | null; inFlightGrowing: boolean }
}

/** What the verdict's rules need to know of one block, gathered from its raw records and metrics. */
export function blockFacts(input: FactInput): BlockFacts {
  const { data, plan, scenario, metrics, target } = input
  const measured = data.records.filter((record) => record.phase === 'measure')
  const openLoop = scenario.load.arrival.kind !== 'closed'
  const rates = openLoop ? arrivalRates(plan, measured) : { asked: null, achieved: null }
  // A worker without a stream lives for a moment and says nothing of the load (its loop was "busy" all its life).
  const loaded = data.health.filter((health) => health.socketsOpened > 0)
  const worst = (pick: (health: BlockData['health'][number]) => number) =>
    loaded.length === 0 ? null : Math.max(...loaded.map(pick))
  const enforced = scenario.workload.enforce === 'ignore_eos'
  return {
    windowSecs: metrics.window.secs,
    minWindowSecs: scenario.minWindowSecs,
    interrupted:
      data.manifest.status === 'complete' ? null : (data.manifest.reason ?? `the block is ${data.manifest.status}`),
    ...input.steady,
    requestsOk: metrics.requestsOk,
    requestsFailed: metrics.requestsFailed,
    allowedErrorShare: scenario.slo.maxErrorShare,
    missingPercentiles: missingPercentiles(scenario, metrics),
    openLoop,
    askedRps: rates.asked,
    achievedRps: rates.achieved,
    droppedArrivals: metrics.outcomes['dropped'] ?? 0,
    dropsDeclared: false,
    wrongLengths: measured.filter((record) => record.outcome === 'ok' && record.counted !== record.outputTokens).length,
    enforcedLengths: enforced,
    tokenMismatchRate: metrics.tokenMismatchRate,
    tokenSource: target.tokenSource,
    scheduleLagP99Ms: worst((health) => health.scheduleLagP99Ms),
    eventLoopDelayP99Ms: worst((health) => health.eventLoopDelayP99Ms),
    eventLoopUtilization: worst((health) => health.eventLoopUtilization),
    ttftP50Ms: metrics.ttftMs.p50,
    itlP50Ms: metrics.itlMs.p50,
    calibrated: input.calibrated,
    cachePolicy: scenario.cache,
    cachedShare:
      metrics.cachedTokens === null || metrics.promptTokens === 0 ? null : metrics.cachedTokens / metrics.promptTokens,
    expectedCachedShare: expectedCachedShare(scenario, measured, target),
    throttleReasons: throttlesInWindow(data, metrics),
    otherGpuProcesses: input.telemetry?.gpu?.otherProcesses ?? null,
    contextOverflows: measured.filter(
      (record) => record.outcome === 'http-4xx' && /context|maximum|too long/i.test(record.detail ?? ''),
    ).length,
    telemetryCoverage: telemetryCoverage(data, metrics, input.telemetry),
    engineIntegrity: data.manifest.engineIntegrity ?? null,
  }
}

/** The percentiles that someone will rely on: the medians always, and those that the SLO names. */
function missingPercentiles(scenario: Scenario, metrics: BlockMetrics): string[] {
  const distributions: Record<string, Distribution> = {
    ttft: metrics.ttftMs,
    ttft_intended: metrics.ttftIntendedMs,
    tpot: metrics.tpotMs,
    itl: metrics.itlMs,
    e2e: metrics.e2eMs,
  }
  const wanted = [{ metric: 'ttft', percentile: 50 }, ...scenario.slo.terms]
  return wanted.flatMap(({ metric, percentile }) => {
    const distribution = distributions[metric]!
    const name = percentile === 99.9 ? 'p999' : `p${percentile}`
    const needed = distribution.floors[name]
    return needed === undefined || distribution.n === 0
      ? []
      : [`${metric} ${name} needs ${needed} samples, has ${distribution.n}`]
  })
}

/** Requests/s as planned and as sent, over the same arrivals (first to last). */
function arrivalRates(
  plan: readonly PlanRow[],
  measured: BlockData['records'],
): { asked: number | null; achieved: number | null } {
  const due = plan.filter((row) => row.phase === 'measure' && row.dueNs !== null).map((row) => row.dueNs!)
  const sent = measured.flatMap((record) => (record.sentNs === null ? [] : [record.sentNs]))
  return { asked: rateOf(due), achieved: rateOf(sent) }
}

function rateOf(times: readonly number[]): number | null {
  if (times.length < 2) return null
  let first = Number.POSITIVE_INFINITY
  let last = Number.NEGATIVE_INFINITY
  for (const time of times) {
    first = Math.min(first, time)
    last = Math.max(last, time)
  }
  return last > first ? (times.length - 1) / ((last - first) / 1e9) : null
}

/** Cold: none. Shared: the declared prefix, in whole blocks, of every request of a group but its first (a warm-up brings those). Else unknown. */
function expectedCachedShare(scenario: Scenario, measured: BlockData['records'], target: TargetInfo): number | null {
  if (target.options['enablePrefixCaching'] === false) return null
  if (scenario.cache === 'cold') return scenario.workload.shapes.some((shape) => shape.conversation !== null) ? null : 0
  if (scenario.cache === 'warm') return 1
  if (scenario.cache !== 'shared') return null
  const block = target.blockSize ?? 16
  const prompts = measured.reduce((sum, record) => sum + record.inputTokens, 0)
  const shape = scenario.workload.shapes.find((entry) => entry.prefix !== null)
  if (!shape?.prefix || prompts === 0) return null
  const misses = scenario.load.warmupRequests > 0 ? 0 : shape.prefix.groups
  const hits = Math.max(0, shape.prefix.share * measured.length - misses)
  const cached = Math.floor(shape.prefix.tokens / block) * block * hits
  return cached / prompts
}

function throttlesInWindow(data: BlockData, metrics: BlockMetrics): string[] {
  const { startNs, endNs } = metrics.window
  let reasons = 0
  for (const sample of data.telemetry)
    if (sample.tNs >= startNs && sample.tNs <= endNs) reasons |= sample.throttleReasons ?? 0
  return throttleNames(reasons)
}

/** Share of the window within three sampling periods of a sample. */
function telemetryCoverage(data: BlockData, metrics: BlockMetrics, telemetry: TelemetryInfo | null): number | null {
  if (telemetry === null || data.telemetry.length === 0 || metrics.window.secs <= 0) return null
  const { startNs, endNs } = metrics.window
  const reachNs = 3 * telemetry.periodMs * 1e6
  let covered = 0
  let from = startNs
  for (const { tNs } of data.telemetry) {
    const start = Math.max(from, tNs - reachNs, startNs)
    const end = Math.min(tNs + reachNs, endNs)
    if (end > start) {
      covered += end - start
      from = end
    }
  }
  return covered / (endNs - startNs)
}
