import { describe, expect, it } from 'vitest'
import { loadScenario } from '../../src/scenario/load.js'
import { parseScenario } from '../../src/scenario/parse.js'
import { makePlan } from '../../src/scenario/plan.js'
import { atLoad } from '../../src/scenario/sweep.js'

const scenarioOf = (load: string, workload = '{input: 8, output: 4}') =>
  parseScenario(`workload: ${workload}\nload: ${load}\n`, 'stagger')
const dueMs = async (load: string, workload?: string) =>
  (await makePlan(scenarioOf(load, workload), { vocabSize: 32_000 })).rows.map((row) =>
    row.dueNs === null ? null : row.dueNs / 1e6,
  )

describe('the first wave of a closed loop', () => {
  it('opens its slots half a millisecond apart, in 25 ms at most, and the rest follows the slots', async () => {
    expect(await dueMs('{concurrency: 4, requests: 6}')).toEqual([0, 0.5, 1, 1.5, null, null])
    const many = (await dueMs('{concurrency: 256, requests: 512}')) as number[]
    expect(many[255]).toBeLessThan(25)
    expect(many[255]! - many[254]!).toBeCloseTo(25 / 256, 5)
    expect(many.slice(256).every((due) => due === null)).toBe(true)
  })

  it('opens at once for one stream and where 0 is asked', async () => {
    expect(await dueMs('{concurrency: 1, requests: 2}')).toEqual([null, null])
    expect(await dueMs('{concurrency: 3, requests: 3, stagger: 0}')).toEqual([null, null, null])
  })

  it('takes a time of its own from YAML and from the command line, and says so', async () => {
    expect(await dueMs('{concurrency: 2, requests: 2, stagger: 40ms}')).toEqual([0, 20])
    const scenario = loadScenario({ source: 'smoke', overrides: { concurrency: 2, staggerMs: 10 } })
    expect(scenario.load.arrival).toMatchObject({ staggerMs: 10 })
    expect((await makePlan(scenario, { vocabSize: null })).line).toContain('closed loop of 2, first wave over 10 ms')
  })

  it('counts sessions, not turns, and runs from warm-up into the measured phase', async () => {
    const talk = '{input: 8, output: 4, conversation: {turns: 2}}'
    expect(await dueMs('{concurrency: 2, requests: 6}', talk)).toEqual([0, null, 0.5, null, null, null])
    const phases = '[{phase: warmup, requests: 1}, {concurrency: 2, requests: 2}]'
    expect(await dueMs(phases)).toEqual([0, 0.5, null])
  })

  it('is part of the plan hash', async () => {
    const hash = async (load: string) => (await makePlan(scenarioOf(load), { vocabSize: 32_000 })).hash
    expect(await hash('{concurrency: 2, requests: 4, stagger: 9ms}')).not.toBe(
      await hash('{concurrency: 2, requests: 4}'),
    )
  })

  it('follows the rule at each point of a sweep, and what was asked where it was', () => {
    const swept = scenarioOf('{sweep: {concurrency: [2, 8]}}')
    expect(atLoad(swept, 'concurrency', 8).load.arrival).toMatchObject({ staggerMs: 4 })
    const asked = scenarioOf('{sweep: {concurrency: [2, 8]}, stagger: 9ms}')
    expect(atLoad(asked, 'concurrency', 8).load.arrival).toMatchObject({ staggerMs: 9 })
  })

  it('is refused in an open loop', () => {
    expect(() => scenarioOf('{rate: 4, requests: 8, stagger: 9ms}')).toThrow('an open loop has its own arrivals')
  })
})
