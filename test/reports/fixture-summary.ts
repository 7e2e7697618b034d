import { toolColumns } from '../../src/metrics/compatibility.js'
import { serverSplit } from '../../src/metrics/server-metrics.js'
import { meanTtft, summarizeTtft } from '../../src/metrics/ttft-split.js'
import type { BlockData, RunData } from '../../src/result/read.js'
import type { BlockMetrics, Comparison, Distribution, Summary, Verdict } from '../../src/result/schema.js'

/** A plain summary of a simulated run, for the tests of reports alone: the product's numbers come from src/metrics and src/statistics. */
export function summarizeFixture(run: RunData): Summary {
  const blocks = run.blocks.map((block) => measure(block, run))
  const targets = run.manifest.targets.map(({ name }) =>
    summarizeTarget(
      name,
      blocks.filter((block) => block.target === name),
    ),
  )
  const valid = targets.every((target) => target.verdict.validity === 'VALID')
  return {
    schema: 'pagedbench/summary@1',
    runId: run.manifest.id,
    blocks,
    targets,
    comparisons: targets.slice(1).flatMap((head) => compare(targets[0]!, head)),
    answers: targets.length > 1 ? [answers(targets[0]!.target, targets[1]!.target, run.manifest.planRequests)] : [],
    verdict: valid && run.manifest.status === 'complete' ? VALID : INVALID,
    calibration: { ttftAddedMsP50: 0.21, ttftAddedMsP99: 0.64, itlAddedMsP50: 0.02, itlAddedMsP99: 0.31 },
    notices: [],
  }
}

const VALID: Verdict = { validity: 'VALID', reasons: [] }
const INVALID: Verdict = {
  validity: 'INVALID',
  reasons: [
    {
      code: 'interrupted',
      severity: 'invalid',
      evidence: 'block 1-paged ended after 32 of 96 requests (Ctrl-C)',
      fix: 'run again to the end',
    },
  ],
}

type TargetSummary = Summary['targets'][number]

function measure(block: BlockData, run: RunData): BlockMetrics {
  const ok = block.records.filter((record) => record.outcome === 'ok')
  const tokens = ok.reduce((sum, record) => sum + record.counted, 0)
  const startNs = block.manifest.measureStartNs!
  const endNs = Math.max(startNs + 1e9, ...ok.map((record) => record.lastTokenNs!))
  const secs = (endNs - startNs) / 1e9
  const steps = block.steps.flatMap((entry) => (entry.kind === 'step' ? [entry] : []))
  const total = (pick: (step: (typeof steps)[number]) => number) => steps.reduce((sum, entry) => sum + pick(entry), 0)
  const computed = total((step) => step.prefillTokens + step.decodeTokens + step.paddedTokens)
  const outcomes: Record<string, number> = {}
  for (const record of block.records) outcomes[record.outcome] = (outcomes[record.outcome] ?? 0) + 1
  const builtin = run.manifest.targets.find((target) => target.name === block.manifest.target)?.kind === 'builtin'
  const gpu = run.manifest.telemetry?.gpu != null
  const limit = builtin ? (gpu ? 9280 : 760) : null
  const e2e = ok.map((record) => (record.lastTokenNs! - record.sentNs!) / 1e6)
  const ttft = ok.map((record) => (record.firstTokenNs! - record.sentNs!) / 1e6)
  const gaps = ok.flatMap((record) => record.readNs.slice(1).map((ns, i) => (ns - record.readNs[i]!) / 1e6))
  const tpot = ok
    .filter((record) => record.counted > 1)
    .map((record) => (record.lastTokenNs! - record.firstTokenNs!) / 1e6 / (record.counted - 1))
  const rate = ok.length === 0 ? null : tokens / secs
  return {
    block: block.manifest.index,
    target: block.manifest.target,
    window: { startNs, endNs, how: 'full load', secs },
    outcomes,
    requestsOk: ok.length,
    requestsFailed: block.records.length - ok.length,
    outputTokensPerSecond: rate,
    promptTokensPerSecond: rate === null ? null : ok.reduce((sum, record) => sum + record.inputTokens, 0) / secs,
    requestsPerSecond: ok.length / secs,
    wholeRunOutputTokensPerSecond: rate,
    wholeRunSecs: secs,
    outputTokens: tokens,
    promptTokens: ok.reduce((sum, record) => sum + record.inputTokens, 0),
    cachedTokens: null,
    ttftMs: distribution(ttft),
    ttftIntendedMs: distribution(ttft),
    tpotMs: distribution(tpot),
    itlMs: distribution(gaps, ok.length),
    chunkGapMs: distribution(gaps, ok.length),
    e2eMs: distribution(e2e),
    tokensPerFrame: 1,
    goodputRps: null,
    sloAttainment: null,
    inputLengths: distribution(ok.map((record) => record.inputTokens)),
    outputLengths: distribution(ok.map((record) => record.counted)),
    tokenMismatchRate: 0,
    paddedShare: steps.length === 0 ? null : total((step) => step.paddedTokens) / computed,
    preemptions: steps.length === 0 ? null : 0,
    kvPeakShare: steps.length === 0 ? null : Math.max(...steps.map((step) => step.kvBlocksUsed / step.kvBlocksTotal)),
    prefixHitShare: steps.length === 0 ? null : 0,
    meanBatchRows: steps.length === 0 ? null : total((step) => step.rows) / steps.length,
    scheduleUsP50: 31,
    scheduleUsP99: 38,
    gpuUtilizationMean: gpu ? 99 : null,
    gpmDramMean: gpu ? 71 : null,
    gpmTensorMean: gpu ? 12 : null,
    gpmSmMean: gpu ? 94 : null,
    gpmOccupancyMean: gpu ? 31 : null,
    powerWattsMean: gpu ? 560 : null,
    joulesPerOutputToken: gpu ? 0.26 : null,
    hostCpuMean: 93,
    targetRssPeakBytes: 9.2e8,
    shareOfLimit: rate === null || limit === null ? null : rate / limit,
    limitTokensPerSecond: limit,
    ttftSplit: summarizeTtft(block.records, block.steps),
    otherTools: ok.length === 0 ? [] : toolColumns(block.records),
    serverSplit: serverSplit(block.scrapes ?? [], block.records),
    engineTime: steps.length === 0 ? null : engineTime(steps.length),
  }
}

const engineTime = (steps: number): NonNullable<BlockMetrics['engineTime']> => ({
  steps,
  parts: {
    schedule: { p50Us: 31, p99Us: 38 },
    launch: { p50Us: 212, p99Us: 260 },
    wait: { p50Us: 9400, p99Us: null },
    commit: { p50Us: 17, p99Us: 44 },
  },
  gc: { pauses: 3, totalMs: 4.5, longestMs: 2.25 },
})

/** Smallest n at which a percentile may be printed, by the rule of load-and-metrics section 3. */
const FLOORS = { p50: 11, p75: 24, p90: 64, p95: 130, p99: 662, p999: 6636 } as const

function distribution(values: readonly number[], requests = values.length): Distribution {
  const sorted = [...values].sort((a, b) => a - b)
  const floors: Record<string, number> = {}
  const rank = (name: keyof typeof FLOORS, share: number): number | null => {
    if (requests >= FLOORS[name]) return sorted[Math.ceil(share * sorted.length) - 1]!
    floors[name] = FLOORS[name]
    return null
  }
  return {
    n: sorted.length,
    mean: sorted.length === 0 ? null : sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    min: sorted[0] ?? null,
    max: sorted.at(-1) ?? null,
    ...{ p50: rank('p50', 0.5), p75: rank('p75', 0.75), p90: rank('p90', 0.9) },
    ...{ p95: rank('p95', 0.95), p99: rank('p99', 0.99), p999: rank('p999', 0.999) },
    floors,
    undefinedCount: 0,
  }
}

function summarizeTarget(target: string, blocks: readonly BlockMetrics[]): TargetSummary {
  const average = (pick: (block: BlockMetrics) => number | null): number | null => {
    const values = blocks.map(pick).filter((value) => value !== null)
    return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
  }
  const rate = average((block) => block.outputTokensPerSecond)
  const interval = rate === null || blocks.length < 2 ? null : rate * 0.021
  return {
    target,
    blocks: blocks.length,
    outputTokensPerSecond: rate,
    outputTokensPerSecondLow: interval === null ? null : rate! - interval,
    outputTokensPerSecondHigh: interval === null ? null : rate! + interval,
    ttftP50Ms: average((block) => block.ttftMs.p50),
    ttftP99Ms: average((block) => block.ttftMs.p99),
    itlP50Ms: average((block) => block.itlMs.p50),
    itlP99Ms: average((block) => block.itlMs.p99),
    tpotP50Ms: average((block) => block.tpotMs.p50),
    e2eP50Ms: average((block) => block.e2eMs.p50),
    shareOfLimit: average((block) => block.shareOfLimit),
    ttftSplit: meanTtft(blocks.map((block) => block.ttftSplit)),
    verdict: rate === null ? INVALID : VALID,
  }
}

function compare(base: TargetSummary, head: TargetSummary): Comparison[] {
  const rows: [string, string, boolean, number | null, number | null][] = [
    ['output tok/s', 'tok/s', false, base.outputTokensPerSecond, head.outputTokensPerSecond],
    ['TTFT p50', 'ms', true, base.ttftP50Ms, head.ttftP50Ms],
    ['e2e p50', 'ms', true, base.e2eP50Ms, head.e2eP50Ms],
    ['TPOT p50', 'ms', true, base.tpotP50Ms, head.tpotP50Ms],
  ]
  return rows.map(([metric, unit, lowerIsBetter, baseValue, headValue]) => {
    const ratio = baseValue === null || headValue === null ? null : headValue / baseValue
    const n = Math.min(base.blocks, head.blocks)
    const harm = ratio === null ? 0 : lowerIsBetter ? ratio - 1 : 1 - ratio
    const judged = harm > 0.1 ? 'regressed' : harm < -0.1 ? 'improved' : 'equivalent'
    return {
      ...{ base: base.target, head: head.target, metric, unit, lowerIsBetter, baseValue, headValue, ratio },
      ratioLow: ratio === null || n < 2 ? null : ratio * 0.965,
      ratioHigh: ratio === null || n < 2 ? null : ratio * 1.035,
      ...{ confidence: 0.9, n, p: n < 2 ? null : 0.004, marginPercent: 5, note: null },
      verdict: ratio === null ? 'missing' : n < 2 ? 'single-run' : judged,
    }
  })
}

const answers = (base: string, head: string, compared: number) => ({
  base,
  head,
  compared,
  equal: compared,
  firstDivergence: null,
})
