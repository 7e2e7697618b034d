import { describe, expect, it } from 'vitest'
import { compareMetric, correctForMultiplicity, type GatePolicy } from '../../src/statistics/compare.js'
import {
  exceedsP,
  holm,
  meanInterval,
  pairedLogDifference,
  quantileInterval,
  ratioInterval,
  welchLogDifference,
} from '../../src/statistics/interval.js'
import { studentCdf, studentQuantile } from '../../src/statistics/student.js'

describe('Student t', () => {
  it('agrees with published quantiles', () => {
    // NIST/SEMATECH e-Handbook, table of critical values.
    expect(studentQuantile(0.975, 1)).toBeCloseTo(12.706, 3)
    expect(studentQuantile(0.95, 5)).toBeCloseTo(2.015, 3)
    expect(studentQuantile(0.975, 10)).toBeCloseTo(2.228, 3)
    expect(studentQuantile(0.995, 30)).toBeCloseTo(2.75, 3)
    expect(studentQuantile(0.975, 1e6)).toBeCloseTo(1.95996, 4)
    expect(studentQuantile(0.05, 5)).toBeCloseTo(-2.015, 3)
  })
  it('has a CDF that inverts the quantile', () => {
    for (const df of [1, 2.7, 9, 40])
      for (const q of [0.01, 0.3, 0.5, 0.9, 0.999]) expect(studentCdf(studentQuantile(q, df), df)).toBeCloseTo(q, 8)
  })
})

/** A seeded generator (mulberry32) and normal deviates from it, for the simulations. */
function normals(seed: number): () => number {
  let state = seed
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return () => Math.sqrt(-2 * Math.log(uniform() + 1e-12)) * Math.cos(2 * Math.PI * uniform())
}

describe('intervals', () => {
  it('needs two runs', () => {
    expect(meanInterval([5], 0.95)).toBeNull()
    expect(pairedLogDifference([1], [2])).toBeNull()
    expect(welchLogDifference([1, 2], [2])).toBeNull()
  })
  it('covers the true ratio in about 90 % of simulated experiments, even with drift, when runs are paired', () => {
    const normal = normals(7)
    let covered = 0
    const trials = 2000
    for (let trial = 0; trial < trials; trial++) {
      const base: number[] = []
      const head: number[] = []
      for (let pair = 0; pair < 6; pair++) {
        const drift = 1 + 0.02 * pair
        base.push(100 * drift * Math.exp(0.03 * normal()))
        head.push(110 * drift * Math.exp(0.03 * normal()))
      }
      const interval = ratioInterval(pairedLogDifference(base, head)!, 0.9)
      if (interval.low <= 1.1 && 1.1 <= interval.high) covered++
    }
    expect(covered / trials).toBeGreaterThan(0.87)
    expect(covered / trials).toBeLessThan(0.93)
  })
  it('puts the sample quantile inside its order-statistic interval, or has none', () => {
    const sorted = Array.from({ length: 400 }, (_, index) => index)
    const p99 = quantileInterval(sorted, 0.99, 0.95)!
    expect(p99.low).toBeLessThan(396)
    expect(p99.high).toBeGreaterThanOrEqual(396)
    expect(quantileInterval(sorted.slice(0, 50), 0.99, 0.95)).toBeNull()
  })
  it('adjusts p-values as Holm does', () => {
    const adjusted = holm([0.01, 0.04, 0.03])
    expect(adjusted[0]).toBeCloseTo(0.03, 12)
    expect(adjusted[1]).toBeCloseTo(0.06, 12)
    expect(adjusted[2]).toBeCloseTo(0.06, 12)
  })
  it('gives a one-sided p that falls as the excess grows', () => {
    const difference = { mean: 0.1, standardError: 0.02, df: 5, n: 6 }
    expect(exceedsP(difference, 0.05)).toBeLessThan(0.05)
    expect(exceedsP(difference, 0.1)).toBeCloseTo(0.5, 10)
  })
})

const throughput: GatePolicy = {
  metric: 'tput',
  unit: 'tok/s',
  lowerIsBetter: false,
  marginPercent: 5,
  floor: 0,
  gate: 'fail',
}
const latency: GatePolicy = {
  metric: 'ttft',
  unit: 'ms',
  lowerIsBetter: true,
  marginPercent: 10,
  floor: 5,
  gate: 'fail',
}

describe('compareMetric', () => {
  const noisy = (centre: number) => [0.99, 1.01, 1, 0.995, 1.005, 1].map((factor) => centre * factor)
  it('calls a throughput loss beyond the margin a regression', () => {
    expect(compareMetric('a', 'b', { base: noisy(100), head: noisy(80), paired: true }, throughput).verdict).toBe(
      'regressed',
    )
  })
  it('calls a throughput gain beyond the margin an improvement, with its ratio', () => {
    const row = compareMetric('a', 'b', { base: noisy(100), head: noisy(200), paired: true }, throughput)
    expect(row.verdict).toBe('improved')
    expect(row.ratio).toBeCloseTo(2, 6)
  })
  it('claims equivalence only when the interval lies inside the margin', () => {
    expect(compareMetric('a', 'b', { base: noisy(100), head: noisy(101), paired: false }, throughput).verdict).toBe(
      'equivalent',
    )
    const wild = [60, 140, 100, 80, 130, 90]
    expect(compareMetric('a', 'b', { base: wild, head: [...wild].reverse(), paired: false }, throughput).verdict).toBe(
      'inconclusive',
    )
  })
  it('does not gate a change under the absolute floor', () => {
    expect(compareMetric('a', 'b', { base: noisy(10), head: noisy(14), paired: true }, latency).verdict).toBe(
      'equivalent',
    )
    expect(compareMetric('a', 'b', { base: noisy(100), head: noisy(140), paired: true }, latency).verdict).toBe(
      'regressed',
    )
  })
  it('says so when a side is missing or single', () => {
    expect(compareMetric('a', 'b', { base: [null], head: [1], paired: true }, latency).verdict).toBe('missing')
    const single = compareMetric('a', 'b', { base: [2], head: [3], paired: true }, latency)
    expect(single.verdict).toBe('single-run')
    expect(single.ratio).toBeCloseTo(1.5)
  })
  it('withdraws a regression that does not survive the correction', () => {
    const row = compareMetric('a', 'b', { base: noisy(100), head: noisy(80), paired: true }, throughput)
    const weak = { ...row, p: 0.04 }
    const corrected = correctForMultiplicity([weak, { ...weak, metric: 'ttft' }], new Set(['tput', 'ttft']))
    expect(corrected.map((entry) => entry.verdict)).toEqual(['inconclusive', 'inconclusive'])
  })
})
