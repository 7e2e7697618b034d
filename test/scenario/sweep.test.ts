import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseScenario } from '../../src/scenario/parse.js'
import { makePlan } from '../../src/scenario/plan.js'
import { nextProbe, type Probe, searchResult, sweepPoints } from '../../src/scenario/sweep.js'
import type { Search } from '../../src/scenario/types.js'

const scenario = (load: string) => parseScenario(`workload: {input: 16, output: 8}\nload: ${load}\n`, 's.yaml')

describe('sweep', () => {
  it('gives each concurrency its counts, and prompts of its own', async () => {
    const points = sweepPoints(
      scenario('[{phase: warmup, requests: 1x}, {sweep: {concurrency: [1, 4, 16]}, requests: 5x}]'),
    )
    expect(points.map(({ value, scenario: { load } }) => [value, load.requests, load.warmupRequests])).toEqual([
      [1, 5, 1],
      [4, 20, 4],
      [16, 80, 16],
    ])
    const plans = await Promise.all(points.map((point) => makePlan(point.scenario, { vocabSize: 32_000 })))
    const prompts = plans.flatMap((plan) => plan.rows.map((row) => row.promptIds!.join()))
    expect(new Set(prompts).size).toBe(prompts.length)
  })

  it('runs over rates with the same arrival process', () => {
    const points = sweepPoints(scenario('{sweep: {rate: [1, 2/s]}, arrivals: gamma, burstiness: 2, requests: 50}'))
    expect(points.map((point) => point.scenario.load.arrival)).toMatchObject([
      { kind: 'open', process: 'gamma', stages: [{ fromRate: 1 }] },
      { kind: 'open', process: 'gamma', stages: [{ fromRate: 2 }] },
    ])
  })
})

describe('search', () => {
  const search: Search = { variable: 'rate', low: 1, high: 200, maxProbes: 20 }
  const solve = (limit: number, within = search) => {
    const probes: Probe[] = []
    for (let value = nextProbe(within, probes); value !== null; value = nextProbe(within, probes)) {
      probes.push({ value, meets: value <= limit })
    }
    return { probes, result: searchResult(within, probes) }
  }

  it('finds the highest load that meets, within 5 %, from any limit', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 199, noNaN: true }), (limit) => {
        const { result, probes } = solve(limit)
        expect(result.finished).toBe(true)
        expect(result.best).toBeLessThanOrEqual(limit)
        expect(result.failing).toBeGreaterThan(limit)
        expect(result.failing! / result.best!).toBeLessThan(1.06)
        expect(probes.length).toBeLessThanOrEqual(12)
      }),
    )
  })

  it('ends at once when the low end fails, and says so when the high end meets', () => {
    expect(solve(0.5).result).toMatchObject({ best: null, failing: 1, finished: true })
    expect(solve(500).result).toMatchObject({ best: 200, unbounded: true })
  })

  it('resumes from the probes there are', () => {
    const { probes } = solve(42)
    const resumed = probes.slice(0, 4)
    expect(nextProbe(search, resumed)).toBe(probes[4]!.value)
  })

  it('tries whole concurrencies', () => {
    const { result } = solve(13, { variable: 'concurrency', low: 1, high: 64, maxProbes: 20 })
    expect(result).toMatchObject({ best: 13, failing: 14 })
  })

  it('is read from YAML', () => {
    expect(scenario('{search: {rate: [1, 200], meet: slo}, max: 30s}').search).toEqual({
      variable: 'rate',
      low: 1,
      high: 200,
      maxProbes: 10,
    })
  })
})
