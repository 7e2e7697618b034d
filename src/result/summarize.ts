import { mean } from 'simple-statistics'
import { measureBlock } from '../metrics/block.js'
import { meanTtft } from '../metrics/ttft-split.js'
import type { Scenario } from '../scenario/types.js'
import { compareMetric } from '../statistics/compare.js'
import { meanInterval } from '../statistics/interval.js'
import { type ComparedMetric, POLICIES } from '../statistics/policies.js'
import { combine, judgeBlock, judgeRun } from '../statistics/validity.js'
import { compareAnswers, differingAnswers } from './answers.js'
import { blockFacts } from './facts.js'
import type { BlockData, RunData } from './read.js'
import type { BlockMetrics, Comparison, Summary, TargetInfo, Verdict } from './schema.js'
import { comparedValues } from './values.js'

const CONFIDENCE = 0.9

/** Every derived number of a run, from its raw records alone. */
export function summarize(run: RunData): Summary {
  const { manifest } = run
  const measured = run.blocks.map((data) => measure(run, data))
  const blocks = measured.map((entry) => entry.metrics)
  const answers = compareAnswers(run)
  const targets = manifest.targets.map((target) =>
    targetSummary(
      target,
      measured.filter((entry) => entry.metrics.target === target.name),
    ),
  )
  return {
    schema: 'pagedbench/summary@1',
    runId: manifest.id,
    blocks,
    targets,
    comparisons: comparePairs(manifest.targets, blocks),
    answers,
    verdict: judgeRun(
      {
        outputTokens: manifest.targets.map((target) => ({
          target: target.name,
          tokens: meanOutputTokens(target.name, blocks),
        })),
        answersDiffer: differingAnswers(answers, manifest.targets),
        unequalWeights: unequalWeights(manifest.targets),
        gitDirty: manifest.environment.gitDirty,
      },
      measured.map((entry) => named(entry.verdict, entry.metrics)),
    ),
    calibration: manifest.calibration ?? null,
    notices: [...manifest.notices, ...run.damage],
  }
}

interface MeasuredBlock {
  metrics: BlockMetrics
  verdict: Verdict
}

function measure(run: RunData, data: BlockData): MeasuredBlock {
  const { manifest } = run
  const target = manifest.targets.find((entry) => entry.name === data.manifest.target)!
  const scenario = manifest.scenario as unknown as Scenario
  const { metrics, steady } = measureBlock({
    block: data.manifest,
    records: data.records,
    steps: data.steps,
    telemetry: data.telemetry,
    scrapes: data.scrapes ?? [],
    scenario,
    target,
    ceilings: manifest.environment.ceilings,
    requestsCeiling: manifest.requestCeilings?.find((one) => one.target === target.name)?.requestsPerSecond ?? null,
  })
  const facts = blockFacts({
    data,
    plan: run.plan,
    scenario,
    target,
    metrics,
    telemetry: manifest.telemetry,
    calibration: manifest.calibration ?? null,
    steady,
  })
  return { metrics, verdict: judgeBlock(facts) }
}

function targetSummary(target: TargetInfo, measured: readonly MeasuredBlock[]): Summary['targets'][number] {
  const over = (pick: (block: BlockMetrics) => number | null): number | null => {
    const values = measured.map((entry) => pick(entry.metrics)).filter((value): value is number => value !== null)
    return values.length === 0 ? null : mean(values)
  }
  const throughputs = measured
    .map((entry) => comparedValues(entry.metrics).outputTokensPerSecond)
    .filter((value): value is number => value !== null)
  const interval = meanInterval(throughputs, CONFIDENCE)
  return {
    target: target.name,
    blocks: measured.length,
    outputTokensPerSecond: throughputs.length === 0 ? null : mean(throughputs),
    outputTokensPerSecondLow: interval?.low ?? null,
    outputTokensPerSecondHigh: interval?.high ?? null,
    ttftP50Ms: over((block) => block.ttftMs.p50),
    ttftP99Ms: over((block) => block.ttftMs.p99),
    itlP50Ms: over((block) => block.itlMs.p50),
    itlP99Ms: over((block) => block.itlMs.p99),
    tpotP50Ms: over((block) => block.tpotMs.p50),
    e2eP50Ms: over((block) => block.e2eMs.p50),
    shareOfLimit: over((block) => block.shareOfLimit),
    ttftSplit: meanTtft(measured.map((entry) => entry.metrics.ttftSplit)),
    verdict: combine(measured.flatMap((entry) => named(entry.verdict, entry.metrics).reasons)),
  }
}

/** The first target is the base; every other is compared with it, block by block. */
function comparePairs(targets: readonly TargetInfo[], blocks: readonly BlockMetrics[]): Comparison[] {
  const [base, ...heads] = targets
  if (base === undefined) return []
  const values = (name: string) => blocks.filter((block) => block.target === name).map(comparedValues)
  const baseValues = values(base.name)
  return heads.flatMap((head) => {
    const headValues = values(head.name)
    const paired = baseValues.length === headValues.length
    return (Object.keys(POLICIES) as ComparedMetric[]).map((metric) =>
      compareMetric(
        base.name,
        head.name,
        { base: baseValues.map((block) => block[metric]), head: headValues.map((block) => block[metric]), paired },
        POLICIES[metric],
      ),
    )
  })
}

/** A block's reasons say which block they are of. */
function named(verdict: Verdict, metrics: BlockMetrics): Verdict {
  return {
    ...verdict,
    reasons: verdict.reasons.map((reason) =>
      reason.severity === 'note'
        ? reason
        : { ...reason, evidence: `${metrics.target}, block ${metrics.block}: ${reason.evidence}` },
    ),
  }
}

function meanOutputTokens(target: string, blocks: readonly BlockMetrics[]): number {
  const own = blocks.filter((block) => block.target === target)
  return own.length === 0 ? 0 : Math.round(mean(own.map((block) => block.outputTokens)))
}

/** Built-in engines must run the same weights and dtype; of external servers this cannot be known. */
function unequalWeights(targets: readonly TargetInfo[]): boolean {
  const builtin = targets.filter((target) => target.kind === 'builtin')
  return new Set(builtin.map((target) => `${target.weightsSha256} ${target.dtype}`)).size > 1
}
