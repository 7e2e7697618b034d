import { mean } from 'simple-statistics'
import type { Comparison } from '../result/schema.js'
import { exceedsP, holm, pairedLogDifference, ratioInterval, welchLogDifference } from './interval.js'

/** How one metric is compared and gated: direction declared per metric, never guessed from its name. */
export interface GatePolicy {
  metric: string
  unit: string
  lowerIsBetter: boolean
  /** Harm beyond this share of the base is a regression. */
  marginPercent: number
  /** A smaller absolute change than this never gates (same unit as the metric). */
  floor: number
  gate: 'fail' | 'info'
}

/** One side's per-run values of a metric; `pairs` of equal length on both sides are compared pair by pair. */
export interface Sides {
  base: readonly (number | null)[]
  head: readonly (number | null)[]
  paired: boolean
}

const CONFIDENCE = 0.9

/**
 * base against head for one metric, the run being the unit. The 90 % interval of the harm against the margin gives the verdict
 * (two one-sided tests at 5 %; Schuirmann, 1987): beyond the margin regressed, inside it equivalent, below it improved, else inconclusive.
 */
export function compareMetric(base: string, head: string, sides: Sides, policy: GatePolicy): Comparison {
  const present = presentValues(sides)
  const baseValue = present.base.length > 0 ? mean(present.base) : null
  const headValue = present.head.length > 0 ? mean(present.head) : null
  const row: Comparison = {
    base,
    head,
    metric: policy.metric,
    unit: policy.unit,
    lowerIsBetter: policy.lowerIsBetter,
    baseValue,
    headValue,
    ratio: null,
    ratioLow: null,
    ratioHigh: null,
    confidence: CONFIDENCE,
    n: Math.min(present.base.length, present.head.length),
    verdict: 'missing',
    p: null,
    marginPercent: policy.marginPercent,
    note: null,
  }
  if (baseValue === null || headValue === null) return { ...row, note: 'no value on one side' }
  if (baseValue <= 0 || headValue <= 0) return { ...row, verdict: 'incomparable', note: 'a value is zero or negative' }
  const difference = present.paired
    ? pairedLogDifference(present.base, present.head)
    : welchLogDifference(present.base, present.head)
  if (difference === null)
    return { ...row, ratio: headValue / baseValue, verdict: 'single-run', note: 'one run a side: no interval' }
  const interval = ratioInterval(difference, CONFIDENCE)
  const harm = policy.lowerIsBetter ? difference : { ...difference, mean: -difference.mean }
  const verdict = judge(interval.low, interval.high, Math.abs(headValue - baseValue), policy)
  return {
    ...row,
    ratio: interval.estimate,
    ratioLow: interval.low,
    ratioHigh: interval.high,
    n: difference.n,
    p: exceedsP(harm, harmThreshold(policy)),
    verdict,
    note: verdict === 'inconclusive' ? inconclusiveNote(interval.low, interval.high, policy) : null,
  }
}

/** Holm's correction over the gated rows: a row stays `regressed` only if its adjusted p is below 0.05. */
export function correctForMultiplicity(rows: readonly Comparison[], gated: ReadonlySet<string>): Comparison[] {
  const family = rows.filter((row) => gated.has(row.metric) && row.p !== null)
  const adjusted = holm(family.map((row) => row.p!))
  const byRow = new Map(family.map((row, index) => [row, adjusted[index]!]))
  return rows.map((row) => {
    const p = byRow.get(row)
    if (p === undefined) return row
    if (row.verdict === 'regressed' && p >= 0.05) {
      return {
        ...row,
        p,
        verdict: 'inconclusive',
        note: `likely worse, but not after Holm's correction (p ${p.toFixed(3)})`,
      }
    }
    return { ...row, p }
  })
}

/** Harm as a share of the base, from a ratio head/base: positive is worse. */
export function harmShare(ratio: number, lowerIsBetter: boolean): number {
  return lowerIsBetter ? ratio - 1 : 1 - ratio
}

function judge(low: number, high: number, change: number, policy: GatePolicy): Comparison['verdict'] {
  const margin = policy.marginPercent / 100
  const harms = [harmShare(low, policy.lowerIsBetter), harmShare(high, policy.lowerIsBetter)]
  const [least, most] = [Math.min(...harms), Math.max(...harms)]
  if (least > margin) return change < policy.floor ? 'equivalent' : 'regressed'
  if (most < -margin) return 'improved'
  if (least >= -margin && most <= margin) return 'equivalent'
  return 'inconclusive'
}

function harmThreshold(policy: GatePolicy): number {
  const margin = policy.marginPercent / 100
  return policy.lowerIsBetter ? Math.log1p(margin) : -Math.log1p(-margin)
}

function inconclusiveNote(low: number, high: number, policy: GatePolicy): string {
  const least = Math.min(harmShare(low, policy.lowerIsBetter), harmShare(high, policy.lowerIsBetter))
  const most = Math.max(harmShare(low, policy.lowerIsBetter), harmShare(high, policy.lowerIsBetter))
  if (least > 0) return 'likely worse'
  if (most < 0) return 'likely better'
  return 'more pairs are needed'
}

function presentValues(sides: Sides): { base: number[]; head: number[]; paired: boolean } {
  const isNumber = (value: number | null): value is number => value !== null && Number.isFinite(value)
  if (sides.paired && sides.base.length === sides.head.length) {
    const both = sides.base.map((value, pair) => [value, sides.head[pair]!] as const)
    const complete = both.filter(([b, h]) => isNumber(b) && isNumber(h)) as [number, number][]
    return { base: complete.map(([b]) => b), head: complete.map(([, h]) => h), paired: true }
  }
  return { base: sides.base.filter(isNumber), head: sides.head.filter(isNumber), paired: false }
}
