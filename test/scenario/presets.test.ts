import { describe, expect, it } from 'vitest'
import { sampleFloor } from '../../src/metrics/distribution.js'
import { chooseDefaultPreset, loadScenario, presetNames } from '../../src/scenario/load.js'
import { makePlan } from '../../src/scenario/plan.js'

describe('presets', () => {
  it.each(presetNames())('%s parses, is frozen and carries its file name', (name) => {
    const scenario = loadScenario({ source: name })
    expect(scenario.name).toBe(name)
    expect(Object.isFrozen(scenario.workload.shapes[0])).toBe(true)
    expect(scenario.description).not.toBe('')
  })

  it.each(presetNames())('%s plans enough requests for the percentiles that its verdict rests on', async (name) => {
    const scenario = loadScenario({ source: name })
    // Token ids of a small vocabulary: only the rows are counted.
    const plan = await makePlan(scenario, { vocabSize: 1000 })
    const measured = plan.rows.filter((row) => row.phase === 'measure')
    // TPOT and ITL exist only where an answer has more than one token.
    const lasting = measured.filter((row) => row.outputTokens > 1).length
    for (const { metric, percentile } of [{ metric: 'ttft', percentile: 50 }, ...scenario.slo.terms]) {
      const samples = metric === 'tpot' || metric === 'itl' ? lasting : measured.length
      expect(samples, `${name}: ${metric} p${percentile}`).toBeGreaterThanOrEqual(sampleFloor(percentile / 100))
    }
  })

  it('chooses a shorter chat without a GPU', () => {
    expect(chooseDefaultPreset('cpu')).toBe('chat-cpu')
    expect(chooseDefaultPreset('cuda')).toBe('chat')
    const { load } = loadScenario({ source: 'chat-cpu' })
    expect(load.requests! + load.warmupRequests).toBeLessThanOrEqual(112)
  })

  it('lists at least the presets the issue names', () => {
    const wanted = ['chat', 'chat-cpu', 'decode', 'even', 'prefill', 'long-prompt', 'shared-prefix', 'fixed', 'smoke']
    expect(presetNames()).toEqual(expect.arrayContaining(wanted))
  })
})
