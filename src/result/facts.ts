import { sampleFloor } from '../metrics/distribution.js'
import type { Steadiness } from '../metrics/steady.js'
import type { Scenario } from '../scenario/types.js'
import type { BlockFacts } from '../statistics/validity.js'
import { throttleNames } from '../telemetry/throttle.js'
import { cacheFacts } from './cache-facts.js'
import type { BlockData } from './read.js'
import type { BlockMetrics, Calibration, Distribution, PlanRow, TargetInfo, TelemetryInfo } from './schema.js'

export interface FactInput {
  data: BlockData
  plan: readonly PlanRow[]
  scenario: Scenario
  target: TargetInfo
  metrics: BlockMetrics
  telemetry: TelemetryInfo | null
  calibration: Calibration | null
  steady: Steadiness
}

/** What the verdict's rules need to know of one block, gathered from its raw records and metrics. */
export function blockFacts(input: FactInput): BlockFacts {
  const { data, plan, scenario, metrics, target } = input
  const measured = data.records.filter((record) => record.phase === 'measure')
  const ok = measured.filter((record) => record.outcome === 'ok')
  const openLoop = scenario.load.arrival.kind !== 'closed'
  const dropsDeclared = scenario.drops === 'allowed'
  const rates = openLoop ? arrivalRates(plan, measured, dropsDeclared) : { asked: null, achieved: null }
  // A worker without a stream lives for a moment and says nothing of the load (its loop was "busy" all its life).
  const loaded = data.health.filter((health) => health.socketsOpened > 0)
  const worst = (pick: (health: BlockData['health'][number]) => number) =>
    loaded.length === 0 ? null : Math.max(...loaded.map(pick))
  return {
    windowSecs: metrics.window.secs,
    minWindowSecs: scenario.minWindowSecs,
    interrupted:
      data.manifest.status === 'complete' ? null : (data.manifest.reason ?? `the block is ${data.manifest.status}`),
    stoppedEarly: data.manifest.stoppedEarly ?? null,
    ...input.steady,
    requestsOk: metrics.requestsOk,
    requestsFailed: metrics.requestsFailed,
    allowedErrorShare: scenario.slo.maxErrorShare,
    ...sampleFacts(scenario, metrics, measured.length),
    requestsNotSent: metrics.outcomes['not-sent'] ?? 0,
    openLoop,
    askedRps: rates.asked,
    achievedRps: rates.achieved,
    droppedArrivals: metrics.outcomes['dropped'] ?? 0,
    dropsDeclared,
    wrongLengths: ok.filter((record) => record.counted !== record.outputTokens).length,
    // Right by chance: the answer would have gone on, had lengths been enforced.
    stops: ok.filter((record) => record.counted === record.outputTokens && record.finishReason === 'stop').length,
    enforcedLengths: scenario.workload.enforce === 'ignore_eos',
    tokenMismatchRate: metrics.tokenMismatchRate,
    tokenSource: target.tokenSource,
    ownClient: data.health.length > 0,
    scheduleLagP99Ms: worst((health) => health.scheduleLagP99Ms),
    eventLoopDelayP99Ms: worst((health) => health.eventLoopDelayP99Ms),
    eventLoopUtilization: worst((health) => health.eventLoopUtilization),
    ttftP50Ms: metrics.ttftMs.p50,
    itlP50Ms: metrics.itlMs.p50,
    calibration: input.calibration,
    cachePolicy: scenario.cache,
    ...cacheFacts(data.manifest, scenario, measured, metrics, target),
    throttleReasons: throttlesInWindow(data, metrics),
    otherGpuProcesses: input.telemetry?.gpu?.otherProcesses ?? null,
    contextOverflows: measured.filter(
      (record) => record.outcome === 'http-4xx' && /context|maximum|too long/i.test(record.detail ?? ''),
    ).length,
    telemetryCoverage: telemetryCoverage(data, metrics, input.telemetry),
    engineIntegrity: data.manifest.engineIntegrity ?? null,
  }
}

/**
 * The percentiles that someone will rely on - the median TTFT always, and those that the SLO names - under their sample floor, and how many
 * requests would have carried them. ITL counts requests, whose own gaps are correlated.
 */
function sampleFacts(
  scenario: Scenario,
  metrics: BlockMetrics,
  planned: number,
): { missingPercentiles: string[]; requestsNeeded: number | null } {
  const distributions: Record<string, Distribution> = {
    ttft: metrics.ttftMs,
    ttft_intended: metrics.ttftIntendedMs,
    tpot: metrics.tpotMs,
    itl: metrics.itlMs,
    e2e: metrics.e2eMs,
  }
  const missing: string[] = []
  let requestsNeeded: number | null = null
  for (const { metric, percentile } of [{ metric: 'ttft', percentile: 50 }, ...scenario.slo.terms]) {
    const distribution = distributions[metric]!
    const samples = metric === 'itl' ? metrics.requestsOk - distribution.undefinedCount : distribution.n
    const needed = sampleFloor(percentile / 100)
    if (distribution.n === 0 || samples >= needed) continue
    missing.push(`${metric} p${percentile} needs ${needed} samples, has ${samples}`)
    // Failed and undefined requests carry no sample: their share is asked for on top.
    requestsNeeded = Math.max(requestsNeeded ?? 0, Math.ceil((needed * planned) / Math.max(1, samples)))
  }
  return { missingPercentiles: missing, requestsNeeded }
}

/** Requests/s as planned and as offered, over the same arrivals (first to last). A later turn of a conversation has no due time of its own. */
function arrivalRates(
  plan: readonly PlanRow[],
  measured: BlockData['records'],
  dropsDeclared: boolean,
): { asked: number | null; achieved: number | null } {
  const due = plan.filter((row) => row.phase === 'measure' && row.dueNs !== null)
  const arrivals = new Set(due.map((row) => row.index))
  const offered = measured.flatMap((record) => {
    if (!arrivals.has(record.index)) return []
    // A declared drop was offered on time and refused by the cap: the client kept up.
    return record.sentNs ?? (dropsDeclared && record.outcome === 'dropped' ? record.intendedNs : [])
  })
  return { asked: rateOf(due.map((row) => row.dueNs!)), achieved: rateOf(offered) }
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

function throttlesInWindow(data: BlockData, metrics: BlockMetrics): string[] {
  const { startNs, endNs } = metrics.window
  let reasons = 0
  for (const sample of data.telemetry)
    if (sample.tNs >= startNs && sample.tNs <= endNs) reasons |= sample.throttleReasons ?? 0
  return throttleNames(reasons)
}

/** Share of the window within three sampling periods of a GPU sample; null where the card tells nothing or the target does not use it. */
function telemetryCoverage(data: BlockData, metrics: BlockMetrics, telemetry: TelemetryInfo | null): number | null {
  if (telemetry === null || telemetry.gpu === null || metrics.window.secs <= 0) return null
  const samples = data.telemetry.filter(tellsOfGpu)
  if (samples.length === 0) return null
  const { startNs, endNs } = metrics.window
  const reachNs = 3 * telemetry.periodMs * 1e6
  let covered = 0
  let from = startNs
  for (const { tNs } of samples) {
    const start = Math.max(from, tNs - reachNs)
    const end = Math.min(tNs + reachNs, endNs)
    if (end > start) {
      covered += end - start
      from = end
    }
  }
  return covered / (endNs - startNs)
}

function tellsOfGpu(sample: BlockData['telemetry'][number]): boolean {
  return sample.gpuUtilizationPercent !== null || sample.powerWatts !== null || sample.smClockMhz !== null
}
