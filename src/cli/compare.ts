import { Failure } from '../failure.js'
import { type RunData, readRun } from '../result/read.js'
import type { Comparison, Summary } from '../result/schema.js'
import { summarize } from '../result/summarize.js'
import { comparedValues } from '../result/values.js'
import { compareMetric, correctForMultiplicity } from '../statistics/compare.js'
import { type ComparedMetric, GATED, POLICIES } from '../statistics/policies.js'
import { type CompareFormat, renderComparison } from './compare-render.js'

export interface CompareOptions {
  /** Compare although plans or machines differ; the result says so. */
  force?: boolean
  target?: string
  inconclusive?: 'pass' | 'fail'
}

export interface CompareResult {
  base: string
  head: string
  rows: Comparison[]
  /** Why the two cannot be compared; empty when they can (or when forced, then they are listed as warnings). */
  obstacles: string[]
  exitCode: number
}

interface Side {
  directory: string
  run: RunData
  summary: Summary
}

/** `bench compare`: prints the comparison and gives its exit code. */
export function compareCommand(
  base: string,
  head: string,
  options: CompareOptions & { format?: CompareFormat },
): number {
  const result = compareRuns(base, head, options)
  process.stdout.write(renderComparison(result, options.format ?? 'table'))
  return result.exitCode
}

/** Base against head: every metric with its interval, the gate's verdict and its exit code (0, 4, 10, 11). */
export function compareRuns(baseDirectory: string, headDirectory: string, options: CompareOptions): CompareResult {
  const [base, head] = [baseDirectory, headDirectory].map(loadSide) as [Side, Side]
  const targets = options.target ? [options.target] : sharedTargets(base, head)
  if (targets.length === 0)
    throw new Failure(
      'incomparable',
      'the two runs have no target of the same name',
      'name one with --target, present in both',
    )
  const obstacles = [
    ...identityObstacles(base, head),
    ...targets.flatMap((target) => targetObstacles(base, head, target)),
  ]
  const rows = correctForMultiplicity(
    targets.flatMap((target) => compareTarget(base, head, target)),
    GATED,
  )
  const shown =
    obstacles.length > 0 && !options.force ? rows.map((row) => ({ ...row, verdict: 'incomparable' as const })) : rows
  return { base: baseDirectory, head: headDirectory, rows: shown, obstacles, exitCode: exitCodeOf(shown, options) }
}

function loadSide(directory: string): Side {
  const run = readRun(directory)
  return { directory, run, summary: summarize(run) }
}

function sharedTargets(base: Side, head: Side): string[] {
  const names = new Set(head.run.manifest.targets.map((target) => target.name))
  return base.run.manifest.targets.map((target) => target.name).filter((name) => names.has(name))
}

/** Same plan, same machine, and both runs whole: else a difference means nothing. */
function identityObstacles(base: Side, head: Side): string[] {
  const obstacles: string[] = []
  const [b, h] = [base.run.manifest, head.run.manifest]
  if (b.planHash !== h.planHash)
    obstacles.push(`different plans (${b.planHash.slice(0, 12)} and ${h.planHash.slice(0, 12)})`)
  if (b.environment.cpu !== h.environment.cpu)
    obstacles.push(`different CPUs (${b.environment.cpu}; ${h.environment.cpu})`)
  if (b.environment.cores !== h.environment.cores)
    obstacles.push(`different core counts (${b.environment.cores}, ${h.environment.cores})`)
  const [bg, hg] = [b.telemetry?.gpu, h.telemetry?.gpu]
  if ((bg?.name ?? null) !== (hg?.name ?? null) || (bg?.driver ?? null) !== (hg?.driver ?? null))
    obstacles.push(
      `different GPUs or drivers (${bg?.name ?? 'none'} ${bg?.driver ?? ''}; ${hg?.name ?? 'none'} ${hg?.driver ?? ''})`,
    )
  for (const side of [base, head])
    if (side.summary.verdict.validity === 'INVALID')
      obstacles.push(
        `${side.directory} is INVALID (${side.summary.verdict.reasons.find((reason) => reason.severity === 'invalid')?.evidence})`,
      )
  return obstacles
}

function targetObstacles(base: Side, head: Side, target: string): string[] {
  const find = (side: Side) => side.run.manifest.targets.find((entry) => entry.name === target)
  const [b, h] = [find(base), find(head)]
  if (!b || !h) return [`target ${target} is missing on one side`]
  const fields = ['model', 'dtype', 'weightsSha256', 'device', 'backend'] as const
  return fields.flatMap((field) =>
    b[field] === h[field] ? [] : [`${target}: different ${field} (${b[field]}; ${h[field]})`],
  )
}

function compareTarget(base: Side, head: Side, target: string): Comparison[] {
  const values = (side: Side) => side.summary.blocks.filter((block) => block.target === target).map(comparedValues)
  const [b, h] = [values(base), values(head)]
  return (Object.keys(POLICIES) as ComparedMetric[]).map((metric) =>
    compareMetric(
      `${target} (base)`,
      `${target} (head)`,
      { base: b.map((block) => block[metric]), head: h.map((block) => block[metric]), paired: false },
      POLICIES[metric],
    ),
  )
}

function exitCodeOf(rows: readonly Comparison[], options: CompareOptions): number {
  const gated = rows.filter((row) => GATED.has(row.metric) && row.verdict !== 'missing')
  if (rows.some((row) => row.verdict === 'incomparable')) return 4
  if (gated.some((row) => row.verdict === 'regressed')) return 10
  if (gated.some((row) => row.verdict === 'inconclusive' || row.verdict === 'single-run'))
    return options.inconclusive === 'pass' ? 0 : 11
  return 0
}
