import { describe, expect, it } from 'vitest'
import { arrivalTimes, askedRate } from '../../src/scenario/arrivals.js'
import { RandomStream } from '../../src/scenario/random.js'
import type { Arrival } from '../../src/scenario/types.js'

type Open = Extract<Arrival, { kind: 'open' }>
const N = 20_001
const RATE = 8
const steady: Open['stages'] = [{ fromRate: RATE, toRate: RATE, secs: null }]

/** Bands of the arrival section of the reference: alpha about 0.01 at fixed seeds. */
function measure(times: number[]) {
  const gaps = times.slice(1).map((time, index) => time - times[index]!)
  const n = gaps.length
  const mean = gaps.reduce((a, b) => a + b, 0) / n
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / (n - 1)
  let lag = 0
  for (let i = 1; i < n; i++) lag += (gaps[i]! - mean) * (gaps[i - 1]! - mean)
  const autocorrelation = variance < 1e-18 ? 0 : lag / ((n - 1) * variance)
  return { gaps, n, mean, cv: Math.sqrt(variance) / mean, autocorrelation }
}

function dispersion(times: number[], windowSecs: number): { index: number; windows: number } {
  const windows = Math.floor(times.at(-1)! / windowSecs)
  const counts = new Array<number>(windows).fill(0)
  for (const time of times) {
    const at = Math.floor(time / windowSecs)
    if (at < windows) counts[at]!++
  }
  const mean = counts.reduce((a, b) => a + b, 0) / windows
  const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / (windows - 1)
  return { index: variance / mean, windows }
}

function kolmogorovSmirnov(samples: number[], cdf: (x: number) => number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted.reduce((worst, x, index) => {
    const f = cdf(x)
    return Math.max(worst, Math.abs(f - index / sorted.length), Math.abs((index + 1) / sorted.length - f))
  }, 0)
}

/** Regularised lower incomplete gamma by its series; ample for the shapes here. */
function gammaCdf(shape: number, x: number): number {
  let term = 1 / shape
  let sum = term
  for (let k = 1; k < 500 && term > sum * 1e-14; k++) {
    term *= x / (shape + k)
    sum += term
  }
  return Math.min(1, sum * Math.exp(-x + shape * Math.log(x) - logGamma(shape)))
}
function logGamma(z: number): number {
  return z < 12 ? logGamma(z + 1) - Math.log(z) : (z - 0.5) * Math.log(z) - z + 0.9189385332046727 + 1 / (12 * z)
}

interface Law {
  name: string
  process: Open['process']
  k: number
}
const LAWS: Law[] = [
  { name: 'poisson', process: 'poisson', k: 1 },
  { name: 'gamma, bursty', process: 'gamma', k: 0.5 },
  { name: 'gamma, even', process: 'gamma', k: 4 },
]

/** The four tests of the reference's table on times whose rate is `rate`. */
function expectLaw(times: number[], rate: number, k: number): void {
  const { gaps, n, mean, autocorrelation } = measure(times)
  expect(n).toBeGreaterThanOrEqual(20_000)
  const cv = 1 / Math.sqrt(k)
  expect(Math.abs(mean * rate - 1)).toBeLessThan((2.58 * cv) / Math.sqrt(n))
  expect(Math.abs(autocorrelation)).toBeLessThanOrEqual(2.58 / Math.sqrt(n))
  const law = (gap: number) => (k === 1 ? 1 - Math.exp(-gap * rate) : gammaCdf(k, gap * rate * k))
  expect(kolmogorovSmirnov(gaps, law)).toBeLessThanOrEqual(1.63 / Math.sqrt(n))
  const { index, windows } = dispersion(times, 80 / rate)
  const band = 2.58 * Math.sqrt(2 / (windows - 1))
  // For long windows a renewal process disperses as its gaps' squared variation; short-window bias is within 10 %.
  expect(Math.abs(index * k - 1)).toBeLessThan(band + (k === 1 ? 0 : 0.1))
}

/** Arrivals expected by each time under a rate profile: what turns a ramp back into a process of rate 1 (time change). */
function expectedBy(stages: Open['stages'], time: number): number {
  let before = 0
  let left = time
  for (const { fromRate, toRate, secs } of stages) {
    const within = Math.min(left, secs!)
    before += fromRate * within + ((toRate - fromRate) / secs!) * (within ** 2 / 2)
    left -= within
    if (left <= 0) break
  }
  return before
}

const RAMP: Open['stages'] = [{ fromRate: 2, toRate: 40, secs: 1000 }]
const STAGES: Open['stages'] = [
  { fromRate: 30, toRate: 30, secs: 300 },
  { fromRate: 30, toRate: 4, secs: 400 },
  { fromRate: 50, toRate: 50, secs: 120 },
]

describe('arrival processes', () => {
  it.each(LAWS)('$name follows its law', ({ process, k }) => {
    const arrival: Open = { kind: 'open', process, burstiness: k, stages: steady, cap: 1 }
    expectLaw(arrivalTimes(arrival, N, new RandomStream(1, 'arrivals', process, k)), RATE, k)
  })

  it.each(
    LAWS.flatMap((law) => [
      { ...law, profile: 'ramp', stages: RAMP },
      { ...law, profile: 'stages', stages: STAGES },
    ]),
  )('$name over a $profile follows its law in the time of the rate profile', ({ process, k, stages }) => {
    const arrival: Open = { kind: 'open', process, burstiness: k, stages, cap: 1 }
    const times = arrivalTimes(arrival, null, new RandomStream(4, 'arrivals', process, k))
    const held = stages.reduce((sum, stage) => sum + ((stage.fromRate + stage.toRate) / 2) * stage.secs!, 0)
    expect(Math.abs(times.length - held)).toBeLessThan((2.58 * Math.sqrt(held)) / Math.sqrt(k) + 1)
    expectLaw(
      times.map((time) => expectedBy(stages, time)),
      1,
      k,
    )
  })

  it('catches repeated gaps: a Poisson process dealt by two equal seeds fails dispersion and autocorrelation', () => {
    const arrival: Open = { kind: 'open', process: 'poisson', burstiness: 1, stages: steady, cap: 1 }
    const half = arrivalTimes(arrival, N / 2, new RandomStream(1, 'arrivals'))
    const doubled: number[] = []
    let time = 0
    for (const [index, at] of half.entries()) {
      const gap = at - (half[index - 1] ?? 0)
      for (let copy = 0; copy < 2; copy++) {
        time += gap
        doubled.push(time)
      }
    }
    const { n, autocorrelation } = measure(doubled)
    expect(autocorrelation).toBeGreaterThan(2.58 / Math.sqrt(n))
    const { index, windows } = dispersion(doubled, 10)
    expect(index).toBeGreaterThan(1 + 2.58 * Math.sqrt(2 / (windows - 1)))
  })

  it('places constant arrivals at i / rate without drift', () => {
    const arrival: Open = { kind: 'open', process: 'constant', burstiness: 1, stages: steady, cap: 1 }
    const times = arrivalTimes(arrival, N, new RandomStream(1))
    expect(Math.max(...times.map((time, index) => Math.abs(time - index / RATE)))).toBeLessThan(1e-9)
    expect(dispersion(times, 10).index).toBeLessThan(0.05)
    const { gaps, n, cv } = measure(times)
    expect(cv).toBeLessThan(1e-6)
    // Against the step at 1/rate, whichever side rounding falls on; an exponential in its place is 0.37 off.
    expect(gaps.filter((gap) => Math.abs(gap * RATE - 1) < 1e-6)).toHaveLength(n)
  })

  it('inverts ramps and stages', () => {
    const stages = [
      { fromRate: 1, toRate: 9, secs: 60 },
      { fromRate: 9, toRate: 9, secs: 10 },
      { fromRate: 2, toRate: 2, secs: 50 },
    ]
    const arrival: Open = { kind: 'open', process: 'constant', burstiness: 1, stages, cap: 1 }
    const times = arrivalTimes(arrival, null, new RandomStream(1))
    const within = (from: number, to: number) => times.filter((time) => time >= from && time < to).length
    expect(within(0, 60)).toBeCloseTo(300, -0.5)
    expect(within(60, 70)).toBeCloseTo(90, -0.5)
    expect(within(70, 120)).toBeCloseTo(100, -0.5)
    expect(within(0, 30)).toBeCloseTo(90, -0.5)
    expect(askedRate(arrival, times.length)).toBeCloseTo(490 / 120, 1)
  })
})
