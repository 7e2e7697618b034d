import { describe, expect, it } from 'vitest'
import { measureBlock } from '../../src/metrics/block.js'
import { distributionOf, sampleFloor } from '../../src/metrics/distribution.js'
import { energyJoules } from '../../src/metrics/energy.js'
import { goodputOf, meetsSlo } from '../../src/metrics/goodput.js'
import { latenciesOf } from '../../src/metrics/latency.js'
import { physicalLimit } from '../../src/metrics/limit.js'
import { steadinessOf, trendPercent } from '../../src/metrics/steady.js'
import { throughputOf } from '../../src/metrics/throughput.js'
import { windowOf } from '../../src/metrics/window.js'
import type { TelemetrySample } from '../../src/result/schema.js'
import { loadScenario } from '../../src/scenario/load.js'
import type { Arrival, Slo } from '../../src/scenario/types.js'
import { block, record, target } from './fixture.js'

const T0 = 1e12
const closed = (concurrency: number): Arrival => ({ kind: 'closed', concurrency, thinkMs: null, staggerMs: 0 })
const open: Arrival = { kind: 'open', process: 'poisson', burstiness: 1, stages: [], cap: 1 }
const windowBetween = (startMs: number, endMs: number) => ({
  startNs: T0 + startMs * 1e6,
  endNs: T0 + endMs * 1e6,
  secs: (endMs - startMs) / 1000,
  how: 'test',
})

describe('percentiles', () => {
  it('have the sample floors of the reference', () => {
    expect([0.5, 0.75, 0.8, 0.9, 0.95, 0.97, 0.99, 0.999].map(sampleFloor)).toEqual([
      11, 24, 31, 64, 130, 219, 662, 6636,
    ])
  })

  it('are nearest ranks, and null with their floor below it', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index)
    const distribution = distributionOf(values)
    expect(distribution).toMatchObject({ n: 100, p50: 50, p75: 75, p90: 90, p95: null, p99: null, min: 1, max: 100 })
    expect(distribution.floors).toEqual({ p95: 130, p99: 662, p999: 6636 })
    expect(distributionOf([])).toMatchObject({ n: 0, mean: null, p50: null })
  })

  it('weigh tokens, but count requests for the floor', () => {
    const distribution = distributionOf([1, 10], { weights: [90, 10], independent: 20 })
    expect(distribution).toMatchObject({ n: 100, p50: 1, p75: null, mean: 1.9 })
  })

  it('count undefined values apart', () => {
    expect(distributionOf([1], { undefinedCount: 3 }).undefinedCount).toBe(3)
  })
})

describe('latencies', () => {
  it('follow their formulas', () => {
    const one = record({ readMs: [100, 110, 150], perRead: [2, 1, 4], intendedNs: T0 - 5e6 })
    expect(latenciesOf(one)).toEqual({
      ttftMs: 100,
      ttfoMs: 100,
      ttftIntendedMs: 105,
      tpotMs: 10,
      e2eMs: 150,
      e2eIntendedMs: 155,
      e2eDoneMs: 151,
      largestGapMs: 40,
      stalls: 0,
    })
  })

  it('find stalls of a request: gaps above five times its median', () => {
    expect(latenciesOf(record({ readMs: [10, 20, 30, 40, 140, 150] })).stalls).toBe(1)
  })

  it('give the same TPOT at 20 ms a token whatever the answer’s length, TTFT left out', () => {
    for (const n of [10, 100]) {
      const readMs = Array.from({ length: n }, (_, index) => 500 + 20 * index)
      expect(latenciesOf(record({ readMs })).tpotMs).toBeCloseTo(20, 9)
    }
  })
})

describe('window', () => {
  it('ends, in closed loop, where the first slot finds nothing to send', () => {
    const records = [0, 0, 200, 210].map((sentMs) => record({ sentMs, readMs: [50, 190 + sentMs / 100] }))
    const window = windowOf(records, closed(2), T0)
    expect(window).toMatchObject({ startNs: T0, endNs: records[2]!.doneNs })
  })

  it('ends, in open loop, with the last arrival', () => {
    const records = [0, 100, 300].map((sentMs) => record({ sentMs }))
    expect(windowOf(records, open, T0).endNs).toBe(T0 + 300e6)
  })

  it('is empty, not wrong, when nothing was sent', () => {
    expect(windowOf([record({ sentNs: null, outcome: 'cancelled' })], closed(2), null)).toMatchObject({ secs: 0 })
  })
})

describe('throughput', () => {
  it('counts tokens that arrive in the window, whoever they belong to', () => {
    const records = [
      record({ phase: 'warmup', sentMs: -1000, readMs: [500, 1500, 1600] }),
      record({ sentMs: 0, readMs: [200, 300, 1400] }),
      record({ sentMs: 500, readMs: [100], outcome: 'reset' }),
    ]
    const rate = throughputOf(records, windowBetween(0, 1000))
    expect(rate.outputTokensPerSecond).toBe(5)
    expect(rate.promptTokensPerSecond).toBe(64)
    expect(rate.wholeRunOutputTokensPerSecond).toBeCloseTo(3 / 1.401, 9)
  })
})

describe('goodput', () => {
  const slo: Slo = {
    name: null,
    source: null,
    terms: [
      { metric: 'ttft', percentile: 99, limitMs: 150 },
      { metric: 'tpot', percentile: 99, limitMs: 20 },
    ],
    maxErrorShare: 0,
  }

  it('asks for all objectives of one request; errors, timeouts and dropped arrivals are attempted and bad', () => {
    const records = [
      record(),
      record({ readMs: [200, 210] }),
      record({ readMs: [100, 140] }),
      record({ outcome: 'dropped', sentNs: null, readMs: [] }),
      record({ outcome: 'not-sent', sentNs: null, readMs: [] }),
    ]
    expect(records.map((one) => meetsSlo(one, slo))).toEqual([true, false, false, false, false])
    expect(goodputOf(records, windowBetween(0, 500), slo)).toEqual({ goodputRps: 2, sloAttainment: 0.25 })
  })

  it('does not hold an undefined TPOT against a one-token answer', () => {
    expect(meetsSlo(record({ readMs: [100] }), slo)).toBe(true)
  })
})

describe('steadiness', () => {
  it('finds a trend and its size, and none in noise', () => {
    const rising = Array.from({ length: 12 }, (_, index) => 100 + 2 * index)
    expect(trendPercent(rising)).toBeCloseTo((100 * 22) / 111, 6)
    const noise = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8].map((value) => 100 + value / 10)
    expect(trendPercent(noise)).toBeNull()
  })

  it('sees requests in flight grow under an open loop past capacity', () => {
    const records = Array.from({ length: 240 }, (_, index) =>
      record({ sentMs: index * 10, readMs: [5 + index * 10, 10 + index * 10] }),
    )
    expect(steadinessOf(records, windowBetween(0, 2400), open).inFlightGrowing).toBe(true)
    const held = Array.from({ length: 240 }, (_, index) => record({ sentMs: index * 10, readMs: [50, 60] }))
    expect(steadinessOf(held, windowBetween(0, 2400), open)).toEqual({ trendPercent: null, inFlightGrowing: false })
  })
})

describe('physical limit', () => {
  const ceilings = { copyGBs: 3000, readGBs: 3020, gemmTflops: 770 }

  it('gives the limits of the issue for an H100 at 8B: 200 tok/s for one stream, 2,935 for sixteen', () => {
    const stream = (count: number) =>
      Array.from({ length: count }, () =>
        // 128 in, 1024 out, at exactly the pace the window divides by.
        record({
          inputTokens: 128,
          usagePromptTokens: 128,
          readMs: Array.from({ length: 1024 }, (_, index) => 5 * (index + 1)),
        }),
      )
    const one = physicalLimit(stream(1), windowBetween(0, 5120), target, ceilings)
    expect(one.limitTokensPerSecond).toBeGreaterThan(193)
    expect(one.limitTokensPerSecond).toBeLessThan(203)
    const sixteen = physicalLimit(stream(16), windowBetween(0, 5120), target, ceilings)
    expect(sixteen.limitTokensPerSecond).toBeGreaterThan(2800)
    expect(sixteen.limitTokensPerSecond).toBeLessThan(3000)
    expect(sixteen.shareOfLimit).toBeCloseTo((16 * 1024) / 5.12 / sixteen.limitTokensPerSecond!, 9)
  })

  it('is null without a ceiling or the model’s sizes', () => {
    const none = { limitTokensPerSecond: null, shareOfLimit: null }
    expect(physicalLimit([record()], windowBetween(0, 200), target, null)).toEqual(none)
    expect(physicalLimit([record()], windowBetween(0, 200), { ...target, flopsPerToken: null }, ceilings)).toEqual(none)
  })
})

describe('energy', () => {
  const sample = (ms: number, mj: number | null) => ({ tNs: T0 + ms * 1e6, energyMillijoules: mj }) as TelemetrySample
  it('is the difference of the counter at the window’s ends, interpolated', () => {
    const samples = [sample(-50, 0), sample(50, 100_000), sample(950, 1_000_000), sample(1050, 1_100_000)]
    expect(energyJoules(samples, windowBetween(0, 1000))).toBeCloseTo(1000, 9)
    expect(energyJoules(samples.slice(1), windowBetween(0, 1000))).toBeNull()
    expect(energyJoules([sample(-50, null), sample(2000, null)], windowBetween(0, 1000))).toBeNull()
  })
})

describe('a block', () => {
  it('is measured from its records alone, failures counted beside the latencies', () => {
    const scenario = loadScenario({ source: 'smoke' })
    const records = Array.from({ length: 40 }, (_, index) => record({ index, sentMs: index * 30 }))
    records.push(record({ index: 40, sentMs: 1300, outcome: 'stream-error', readMs: [500] }))
    const input = { block, records, steps: [], telemetry: [], scenario, target, ceilings: null }
    const { metrics } = measureBlock(input)
    expect(metrics).toMatchObject({
      outcomes: { ok: 40, 'stream-error': 1 },
      requestsOk: 40,
      requestsFailed: 1,
      outputTokens: 120,
      tokensPerFrame: 1,
      tokenMismatchRate: 0,
      cachedTokens: 0,
      paddedShare: null,
      joulesPerOutputToken: null,
      shareOfLimit: null,
    })
    expect(metrics.ttftMs).toMatchObject({ n: 40, p50: 100, max: 100, p90: null })
    expect(metrics.itlMs).toMatchObject({ n: 80, p50: 10, floors: expect.objectContaining({ p90: 64 }) })
    const disagree = records.map((one, index) => (index < 4 ? { ...one, usageCompletionTokens: 2 } : one))
    expect(measureBlock({ ...input, records: disagree }).metrics.tokenMismatchRate).toBeCloseTo(0.1)
  })

  it('of nothing but failures has no latency and no NaN', () => {
    const scenario = loadScenario({ source: 'smoke' })
    const records = [record({ outcome: 'connect-failed', readMs: [], counted: 0 })]
    const { metrics } = measureBlock({ block, records, steps: [], telemetry: [], scenario, target, ceilings: null })
    expect(JSON.stringify(metrics)).not.toContain('NaN')
    expect(metrics).toMatchObject({ requestsOk: 0, requestsFailed: 1, tokensPerFrame: null })
    expect(metrics.ttftMs.n).toBe(0)
  })
})
