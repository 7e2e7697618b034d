import { afterAll, beforeAll, expect, it } from 'vitest'
import { runLoad } from '../../src/load/generator.js'
import { type NullServer, startNullServer } from '../../src/load/null-process.js'
import { loadScenario } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'
import { compileSources } from './compiled.js'

let server: NullServer
beforeAll(async () => {
  compileSources()
  server = await startNullServer({ ttftMs: 20, itlMs: 20, tokensPerFrame: 1 })
})
afterAll(() => server.close())

it('a load stopped for a reason keeps every row: what was in flight is cancelled, what was not sent says why', async () => {
  const scenario = loadScenario({ source: 'smoke', overrides: { rate: 40, requests: 200, outputTokens: 20 } })
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const target = { baseUrl: server.url, apiKey: null, api: 'completions' as const, model: 'null' }
  const stop = new AbortController()
  setTimeout(() => stop.abort('requests in flight grew'), 1500)
  const { records } = await runLoad({ plan, scenario, target, signal: stop.signal })
  expect(records).toHaveLength(plan.rows.length)
  const of = (outcome: string) => records.filter((record) => record.outcome === outcome)
  expect(of('ok').length).toBeGreaterThan(5)
  expect(of('cancelled').length).toBeGreaterThan(0)
  expect(of('not-sent').length).toBeGreaterThan(50)
  expect(of('ok').length + of('cancelled').length + of('not-sent').length).toBe(plan.rows.length)
  for (const record of [...of('cancelled'), ...of('not-sent')])
    expect(record.detail).toContain('requests in flight grew')
})
