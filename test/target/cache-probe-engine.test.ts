import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadScenario } from '../../src/scenario/load.js'
import { probeCache } from '../../src/target/cache-probe.js'
import { type EngineProcess, startEngineProcess } from '../http/engine-process.js'
import { compileSources } from '../load/compiled.js'

beforeAll(compileSources)

describe('a probe of our own paged engine', () => {
  let engine: EngineProcess | null = null
  afterEach(() => engine?.stop())
  it.each([
    { flags: ['--enable-prefix-caching'], keepsCache: 'yes' },
    { flags: ['--no-enable-prefix-caching'], keepsCache: 'no' },
  ])(
    '$flags: $keepsCache, by its count and by the clock',
    async ({ flags, keepsCache }) => {
      engine = await startEngineProcess(['--engine', 'paged', '--model', 'tiny', ...flags])
      const { info, url, model } = engine
      const found = await probeCache({
        target: { baseUrl: `${url.replace(/\/+$/, '')}/v1`, apiKey: null, api: 'completions', model },
        scenario: loadScenario({ source: 'smoke', overrides: { prompt: 'ids' } }),
        planOptions: { vocabSize: info.vocabSize },
        maxModelLen: info.maxModelLen,
        salt: `test-${process.pid}-${keepsCache}`,
      })
      expect(found).toMatchObject({ keepsCache, answersResalted: 'no', reportsCachedTokens: true })
      if (keepsCache === 'yes') expect(found.hit).toBeGreaterThan(0.6)
      else expect(found.hit).toBeLessThan(0.3)
      expect(found.resaltedHit).toBeLessThan(0.3)
    },
    200_000,
  )
})
