import { createServer } from 'node:net'
import { beforeAll, describe, expect, it } from 'vitest'
import { runLoad } from '../../src/load/generator.js'
import type { RequestRecord } from '../../src/result/schema.js'
import { loadScenario } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'
import { compileSources } from './compiled.js'
import { DIALECTS, FAULTS, type HostileCase, startHostileServer } from './hostile-server.js'

beforeAll(compileSources)

async function drive(baseUrl: string, requests: number, extra: object = {}): Promise<RequestRecord[]> {
  const overrides = { concurrency: 8, requests, warmupRequests: 0, prompt: 'text' as const }
  const loaded = loadScenario({ source: 'smoke', overrides })
  const timeouts = { connectSecs: 2, headerSecs: 1, firstTokenSecs: 1, stallSecs: 1, requestSecs: 2.5 }
  const scenario = { ...loaded, timeouts }
  const plan = await makePlan(scenario, { vocabSize: null })
  const target = { baseUrl, apiKey: null, api: 'completions' as const, model: 'm', ...extra }
  return (await runLoad({ plan, scenario, target, keepOutput: true })).records
}

async function outcomesOf(cases: readonly HostileCase[], rounds: number) {
  const server = await startHostileServer(cases)
  try {
    const records = await drive(server.url, cases.length * rounds)
    return { records, requests: server.requests }
  } finally {
    server.close()
  }
}

describe('a hostile server', () => {
  it(`has ${FAULTS.length} faults, each in exactly one named class, none a success, none sent twice`, async () => {
    const rounds = 2
    const { records, requests } = await outcomesOf(FAULTS, rounds)
    const seen = records.map((record) => `${FAULTS[record.index % FAULTS.length]!.name}: ${record.outcome}`)
    expect(seen).toEqual([...FAULTS, ...FAULTS].map((fault) => `${fault.name}: ${fault.outcome}`))
    expect(FAULTS.length).toBeGreaterThanOrEqual(40)
    expect(records.every((record) => record.outcome !== 'ok' && record.detail !== null)).toBe(true)
    expect([...requests].sort((a, b) => a - b)).toEqual(records.map((record) => record.index))
  }, 60_000)

  it('speaks twelve legal dialects, each a success with three tokens', async () => {
    const { records } = await outcomesOf(DIALECTS, 3)
    for (const record of records) {
      const { name } = DIALECTS[record.index % DIALECTS.length]!
      expect({
        name,
        outcome: record.outcome,
        detail: record.detail,
        counted: record.counted,
        text: record.text,
      }).toEqual({
        name,
        outcome: 'ok',
        detail: null,
        counted: 3,
        text: 'abc',
      })
    }
  }, 30_000)

  it('keeps what came before the fault: its tokens and times', async () => {
    const fault = FAULTS.find((one) => one.name === 'reset after three tokens')!
    const { records } = await outcomesOf([fault], 4)
    for (const record of records) {
      expect(record.readTokens.reduce((a, b) => a + b, 0)).toBe(3)
      expect(record.firstTokenNs).not.toBeNull()
    }
  })
})

describe('no server', () => {
  it('is connect-failed for every request', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    await new Promise((resolve) => server.close(resolve))
    const records = await drive(`http://127.0.0.1:${port}/v1`, 12)
    expect(records.map((record) => record.outcome)).toEqual(Array(12).fill('connect-failed'))
    expect(records[0]!.detail).toContain('ECONNREFUSED')
  })

  it('that dies in mid-run gives target-died to what was in flight and to the rest', async () => {
    const died = new AbortController()
    const hang = FAULTS.find((fault) => fault.name === 'hang after three tokens')!
    const server = await startHostileServer([...Array<HostileCase>(7).fill(DIALECTS[0]!), hang])
    const watch = setInterval(() => {
      if (server.requests.length < 20) return
      clearInterval(watch)
      server.close()
      setTimeout(() => died.abort('the engine was killed'), 100)
    }, 5)
    const records = await drive(server.url, 4000, { died: died.signal })
    const outcomes = new Set(records.map((record) => record.outcome))
    expect(outcomes).toEqual(new Set(['ok', 'target-died']))
    expect(records).toHaveLength(4000)
    expect(records.some((record) => record.outcome === 'target-died' && record.readNs.length > 0)).toBe(true)
  })
})
