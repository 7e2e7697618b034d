import { beforeAll, describe, expect, it } from 'vitest'
import { calibrate } from '../../src/load/calibrate.js'
import { compileSources } from './compiled.js'

beforeAll(compileSources)

describe('calibration', () => {
  it.each([
    { concurrency: 1, outputTokens: 20, requests: 6, tokensPerFrame: 1 },
    { concurrency: 16, outputTokens: 32, requests: 64, tokensPerFrame: 1 },
    { concurrency: 16, outputTokens: 32, requests: 64, tokensPerFrame: 4 },
  ])('tells what the client adds at concurrency $concurrency, $tokensPerFrame token(s) a frame', async (load) => {
    const { tokensPerFrame, ...request } = load
    const schedule = { ttftMs: 40, itlMs: 10, tokensPerFrame }
    const report = await calibrate({ ...request, schedule })
    expect(report.requestsOk).toBe(load.requests)
    // The client cannot be early, and on any machine its median error is small; tails belong to whoever shares the cores.
    expect(report.ttftAddedMsP50).toBeGreaterThan(0)
    expect(report.ttftAddedMsP50).toBeLessThan(20)
    expect(Math.abs(report.itlAddedMsP50)).toBeLessThan(5)
    expect(report.ttftErrorMs.min).toBeGreaterThan(-0.05)
    expect(report.health[0]!.fastParserDisagreements).toBe(0)
  })

  it('also gives the request-level ceiling, through autocannon', async () => {
    const report = await calibrate({ concurrency: 2, requests: 2, outputTokens: 2, requestCeilingSecs: 1 })
    expect(report.requestCeiling!.requestsPerSecond).toBeGreaterThan(100)
    expect(report.requestCeiling!.failures).toBe(0)
  })
})
