import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runLoad } from '../../src/load/generator.js'
import { type NullServer, startNullServer } from '../../src/load/null-process.js'
import { loadScenario } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'
import { compileSources } from './compiled.js'

let server: NullServer
beforeAll(async () => {
  compileSources()
  server = await startNullServer({ ttftMs: 30, itlMs: 5, tokensPerFrame: 1 })
})
afterAll(() => server.close())

async function run(overrides: Parameters<typeof loadScenario>[0]['overrides'], extra: object = {}) {
  const scenario = loadScenario({ source: 'smoke', overrides: overrides ?? {} })
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const target = { baseUrl: server.url, apiKey: null, api: 'completions' as const, model: 'null' }
  return { plan, ...(await runLoad({ plan, scenario, target, ...extra })) }
}

describe('load generator', () => {
  it('sends every planned request once in closed loop and stamps every token', async () => {
    const { records, plan, health } = await run({ concurrency: 4, requests: 12, outputTokens: 20 })
    expect(records).toHaveLength(plan.rows.length)
    expect(records.map((record) => record.outcome)).toEqual(plan.rows.map(() => 'ok'))
    for (const record of records) {
      expect(record.counted).toBe(20)
      expect(record.readTokens.reduce((a, b) => a + b, 0)).toBe(20)
      const ttftMs = (record.firstTokenNs! - record.sentNs!) / 1e6
      expect(ttftMs).toBeGreaterThan(29.9)
      expect(record.freshSocket).toBe(false)
      expect(record.bodySentNs).toBeGreaterThanOrEqual(record.sentNs!)
    }
    expect(health[0]!.socketsOpened).toBe(4)
    expect(health[0]!.fastParserDisagreements).toBe(0)
  })

  it('keeps at most the asked concurrency in flight and reaches it', async () => {
    const { records } = await run({ concurrency: 3, requests: 15, outputTokens: 10 }, { workers: 2 })
    const edges = records.flatMap((record) => [
      { atNs: record.sentNs!, step: 1 },
      { atNs: record.doneNs!, step: -1 },
    ])
    edges.sort((a, b) => a.atNs - b.atNs || a.step - b.step)
    let inFlight = 0
    const peak = Math.max(
      ...edges.map(({ step }) => {
        inFlight += step
        return inFlight
      }),
    )
    expect(peak).toBe(3)
  })

  it.each([1, 2])('opens the slots of a closed loop at their planned times, with %i worker(s)', async (workers) => {
    const load = { concurrency: 8, requests: 24, outputTokens: 2, staggerMs: 160, warmupRequests: 0 }
    const { records, plan, startNs } = await run(load, { workers })
    expect(records.every((record) => record.outcome === 'ok')).toBe(true)
    for (const record of records.slice(0, 8)) {
      expect(plan.rows[record.index]!.dueNs).toBe(record.index * 20e6)
      expect(record.intendedNs).toBeCloseTo(startNs + record.index * 20e6, -1)
      expect(record.sentNs!).toBeGreaterThanOrEqual(record.intendedNs)
    }
    // An answer takes 35 ms: the first slots are free again, and go on with the ninth session, while the last are still to open.
    expect(records[8]!.sentNs!).toBeLessThan(records[7]!.sentNs!)
  })

  it('sends at the planned instants in open loop, the same for any number of workers', async () => {
    const load = { rate: 40, requests: 40, outputTokens: 4, warmupRequests: 4 }
    for (const workers of [1, 3]) {
      const { records, plan, startNs } = await run(load, { workers })
      for (const [index, record] of records.entries()) {
        const row = plan.rows[index]!
        const offset = row.phase === 'measure' ? plan.measureOffsetNs : 0
        expect(record.intendedNs).toBeCloseTo(startNs + offset + row.dueNs!, -1)
        expect(record.sentNs!).toBeGreaterThanOrEqual(record.intendedNs)
      }
    }
  })

  it('drops arrivals above the cap and records them', async () => {
    const { records } = await run({ rate: 200, requests: 40, cap: 2, outputTokens: 20, warmupRequests: 0 })
    const dropped = records.filter((record) => record.outcome === 'dropped')
    expect(dropped.length).toBeGreaterThan(20)
    expect(dropped.every((record) => record.sentNs === null && record.intendedNs > 0)).toBe(true)
    expect(records).toHaveLength(40)
  })

  it('keeps partial records when it is cancelled', async () => {
    const controller = new AbortController()
    let ended = 0
    // In the middle of the streams that follow the third end.
    const onRecord = () => {
      if (++ended === 3) setTimeout(() => controller.abort(), 120)
    }
    const { records, plan } = await run(
      { concurrency: 2, requests: 60, outputTokens: 40 },
      { signal: controller.signal, onRecord },
    )
    expect(records).toHaveLength(plan.rows.length)
    const outcomes = new Set(records.map((record) => record.outcome))
    expect(outcomes).toEqual(new Set(['ok', 'cancelled']))
    const partial = records.filter((record) => record.outcome === 'cancelled' && record.readNs.length > 0)
    expect(partial.length).toBeGreaterThan(0)
  })

  it.each([{ concurrency: 2 }, { rate: 50 }])(
    'sends nothing when it was cancelled before the start: %o',
    async (load) => {
      const signal = AbortSignal.abort()
      const { records, plan } = await run({ ...load, requests: 20 }, { signal })
      expect(records).toHaveLength(plan.rows.length)
      expect(new Set(records.map((record) => record.outcome))).toEqual(new Set(['cancelled']))
      expect(records.every((record) => record.readNs.length === 0)).toBe(true)
    },
  )

  it('stops sending at the time limit of the measured phase', async () => {
    const { records } = await run({ concurrency: 2, requests: 400, outputTokens: 10, maxSecs: 0.4 })
    const unsent = records.filter((record) => record.outcome === 'not-sent')
    expect(unsent.length).toBeGreaterThan(300)
    expect(records.filter((record) => record.outcome === 'ok').length).toBeGreaterThan(4)
  })

  it('runs the turns of a conversation one after the other with think time', async () => {
    const scenario = loadScenario({
      source: 'conversation',
      overrides: { concurrency: 2, requests: 8, warmupRequests: 0 },
    })
    const plan = await makePlan(scenario, { vocabSize: 32_000 })
    for (const row of plan.rows) row.thinkNs = Math.min(row.thinkNs, 20e6)
    const target = { baseUrl: server.url, apiKey: null, api: 'completions' as const, model: 'null' }
    const { records } = await runLoad({ plan, scenario, target })
    for (const [index, row] of plan.rows.entries()) {
      if (row.turn === 0) continue
      const before = records[index - 1]!
      expect(records[index]!.intendedNs - before.doneNs!).toBeGreaterThan(row.thinkNs - 1e5)
      expect(records[index]!.sentNs!).toBeGreaterThanOrEqual(records[index]!.intendedNs)
    }
  })
})
