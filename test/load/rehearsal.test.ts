import { describe, expect, it } from 'vitest'
import { rehearse } from '../../src/load/rehearsal.js'
import { buildSetups } from '../../src/load/setup.js'
import { parseScenario } from '../../src/scenario/parse.js'
import { makePlan } from '../../src/scenario/plan.js'

describe('rehearsal', () => {
  it('drives its own stub to good ends and leaves target and counters alone', async () => {
    const scenario = parseScenario(
      'workload: {input: 8, output: 4}\nload: {concurrency: 3, requests: 6}\n',
      'rehearsal',
    )
    const plan = await makePlan(scenario, { vocabSize: 32_000 })
    // A port that nobody listens on: a request to it could only fail.
    const target = { baseUrl: 'http://127.0.0.1:9/v1', apiKey: null, api: 'completions' as const, model: 'm' }
    const [setup] = buildSetups({ plan, scenario, target }, 1, 'salt')
    const before = Array.from(new Int32Array(setup!.counters))
    const startMs = performance.now()
    expect(await rehearse(setup!)).toBeGreaterThan(8)
    expect(performance.now() - startMs).toBeLessThan(5000)
    expect(Array.from(new Int32Array(setup!.counters))).toEqual(before)
    expect(before[0]).toBe(3)
  })
})
