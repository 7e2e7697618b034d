import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runLoad } from '../../src/load/generator.js'
import { type NullServer, startNullServer } from '../../src/load/null-process.js'
import { buildSetups } from '../../src/load/setup.js'
import { nearestRank } from '../../src/metrics/distribution.js'
import { loadScenario, type ScenarioOverrides } from '../../src/scenario/load.js'
import { canonicalRow, makePlan } from '../../src/scenario/plan.js'
import { compileSources } from './compiled.js'

let server: NullServer
beforeAll(async () => {
  compileSources()
  server = await startNullServer({ ttftMs: 10, itlMs: 5, tokensPerFrame: 1 })
})
afterAll(() => server.close())

const prepare = async (overrides: ScenarioOverrides) => {
  const scenario = loadScenario({ source: 'smoke', overrides })
  const target = { baseUrl: server.url, apiKey: null, api: 'completions' as const, model: 'null' }
  return { scenario, plan: await makePlan(scenario, { vocabSize: 32_000 }), target }
}

describe('a plan dealt to workers', () => {
  it.each([{ rate: 50 }, { concurrency: 8 }])('is the same bytes for 1, 2, 4 and 8: %o', async (load) => {
    const dealt = []
    for (const workers of [1, 2, 4, 8]) {
      const options = await prepare({ ...load, requests: 64, warmupRequests: 8 })
      const setups = buildSetups(options, workers, 'one salt')
      expect(setups).toHaveLength(workers)
      const [first] = setups
      // What is sent and when: every worker holds the whole plan and takes its share of it.
      for (const setup of setups) expect(setup.bodies).toBe(first!.bodies)
      dealt.push({
        plan: options.plan.rows.map(canonicalRow).join('\n'),
        hash: options.plan.hash,
        bodies: createHash('sha256').update(Buffer.from(first!.bodies)).digest('hex'),
        due: first!.rows.map((row) => row.dueNs),
        sessions: Array.from(first!.sessions),
      })
    }
    for (const other of dealt.slice(1)) expect(other).toEqual(dealt[0])
  })
})

describe('arrivals as they are executed', () => {
  // A thread that the machine does not run is late without a fault of ours: its loop delay says by how much. Tried three times, must hold once.
  it.each([
    { arrivals: 'constant', workers: 1 },
    { arrivals: 'poisson', workers: 1 },
    { arrivals: 'poisson', workers: 2 },
    { arrivals: 'gamma', burstiness: 0.5, workers: 2 },
  ] as const)(
    'leave within 10 ms of their due time at p99, and half of them within 2: %o',
    { retry: 2 },
    async ({ workers, ...law }) => {
      const options = await prepare({ rate: 150, requests: 450, outputTokens: 2, warmupRequests: 0, ...law })
      const { records, startNs, health } = await runLoad({ ...options, workers })
      expect(records.every((record) => record.outcome === 'ok')).toBe(true)
      const lagMs = records.map((record) => (record.sentNs! - record.intendedNs) / 1e6)
      expect(Math.min(...lagMs)).toBeGreaterThanOrEqual(0)
      const starvedMs = Math.max(...health.map((worker) => worker.eventLoopDelayMaxMs))
      expect(nearestRank(lagMs, 99)!).toBeLessThan(10 + starvedMs)
      expect(nearestRank(lagMs, 50)!).toBeLessThan(2)
      // A late one shifts none after it: each intended time is the plan's own.
      for (const [index, record] of records.entries())
        expect(record.intendedNs).toBeCloseTo(startNs + options.plan.rows[index]!.dueNs!, -1)
    },
  )
})
