import { describe, expect, it } from 'vitest'
import { chooseDefaultPreset, loadScenario, presetNames } from '../../src/scenario/load.js'

describe('presets', () => {
  it.each(presetNames())('%s parses, is frozen and carries its file name', (name) => {
    const scenario = loadScenario({ source: name })
    expect(scenario.name).toBe(name)
    expect(Object.isFrozen(scenario.workload.shapes[0])).toBe(true)
    expect(scenario.description).not.toBe('')
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
