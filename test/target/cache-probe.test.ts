import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadScenario } from '../../src/scenario/load.js'
import { closeCacheCheck, openCacheCheck } from '../../src/target/cache-check.js'
import { judgePairs, type ProbePair, probeCache } from '../../src/target/cache-probe.js'
import { compileSources } from '../load/compiled.js'
import { type CachingOptions, type CachingServer, startCachingServer } from './caching-server.js'

beforeAll(compileSources)
let server: CachingServer | null = null
afterEach(() => server?.close())
let salts = 0

function input(
  url: string,
  change: { prompt?: 'ids' | 'text'; api?: 'completions' | 'chat'; maxModelLen?: number } = {},
) {
  return {
    target: { baseUrl: url, apiKey: null, api: change.api ?? ('completions' as const), model: 'm' },
    scenario: loadScenario({ source: 'smoke', overrides: { prompt: change.prompt ?? 'ids' } }),
    planOptions: { vocabSize: 32_000 },
    maxModelLen: change.maxModelLen ?? 512,
    salt: `test-${process.pid}-${salts++}`,
    earlier: null,
  }
}

async function probe(options: CachingOptions, change: Parameters<typeof input>[1] = {}) {
  server = await startCachingServer(options)
  return probeCache(input(server.url, change))
}

describe('a probe of a scripted server', () => {
  it('finds no prefix cache where there is none', async () => {
    const found = await probe({ cache: 'none', perTokenMs: 0.25 })
    expect(found).toMatchObject({ keepsCache: 'no', answersResalted: 'no', reportsCachedTokens: false, why: null })
    expect(found).toMatchObject({ promptTokens: 256, pairs: 5 })
    expect(found.hit).toBeLessThan(0.3)
  })
  it.each([
    { prompt: 'ids', api: 'completions' },
    { prompt: 'text', api: 'completions' },
    { prompt: 'text', api: 'chat' },
  ] as const)('finds a prefix cache that the salt gets past: $prompt, $api', async (change) => {
    const found = await probe({ cache: 'prefix', perTokenMs: 0.25 }, change)
    expect(found).toMatchObject({ keepsCache: 'yes', answersResalted: 'no', reportsCachedTokens: false, why: null })
    expect(found.hit).toBeGreaterThan(0.6)
    expect(found.resaltedHit).toBeLessThan(0.3)
  })
  it('finds a cache that answers salted prompts', async () => {
    expect(await probe({ cache: 'content', perTokenMs: 0.25 })).toMatchObject({
      ...{ keepsCache: 'yes', answersResalted: 'yes' },
    })
  })
  it('takes the server’s own count where it gives one, however fast it is', async () => {
    const found = await probe({ cache: 'prefix', perTokenMs: 0, reports: true })
    expect(found).toMatchObject({ keepsCache: 'yes', answersResalted: 'no', reportsCachedTokens: true })
  })
  it('cannot see a hit on a server whose prompts cost nothing, and says so', async () => {
    const found = await probe({ cache: 'prefix', perTokenMs: 0 })
    expect(found).toMatchObject({ keepsCache: 'unknown', answersResalted: 'unknown' })
    expect(found.why).toMatch(/too close to see a hit/)
  })
  it('says what a server answered that refused', async () => {
    const found = await probe({ cache: 'none', perTokenMs: 0, refuse: 400 })
    expect(found).toMatchObject({ keepsCache: 'unknown', pairs: 0, why: expect.stringMatching(/http-4xx/) })
    // Of the two pairs that size the prompt, some may have left before the first refusal was known; the five that measure never do.
    expect(server!.requests).toBeLessThanOrEqual(8)
  })
})

describe('what pairs say', () => {
  const pair = (againMs: number, resaltedMs: number): ProbePair => ({
    ...{ shortMs: 10, freshMs: 110, againMs, resaltedMs, againCached: null, resaltedCached: null },
  })
  const judge = (againMs: number, resaltedMs = 110) => judgePairs(Array(5).fill(pair(againMs, resaltedMs)), 1024)
  it('a hit saves 60 % or more of the prompt’s own time, a miss 30 % or less', () => {
    expect(judge(50)).toMatchObject({ keepsCache: 'yes', why: null })
    expect(judge(51)).toMatchObject({ keepsCache: 'unknown', why: expect.stringMatching(/saved 59 %/) })
    expect(judge(79)).toMatchObject({ keepsCache: 'unknown' })
    expect(judge(80)).toMatchObject({ keepsCache: 'no', why: null })
  })
  it('by medians: one slow request changes nothing', () => {
    expect(judgePairs([pair(20, 110), pair(20, 110), pair(400, 110)], 1024)).toMatchObject({ keepsCache: 'yes' })
  })
  it('a server without a cache answers no resalted prompt from it, whatever the clock says', () => {
    expect(judge(110, 40)).toMatchObject({ keepsCache: 'no', answersResalted: 'no' })
  })
  it('a resalted prompt between the limits is left open', () => {
    expect(judge(12, 60)).toMatchObject({ keepsCache: 'yes', answersResalted: 'unknown', why: expect.anything() })
  })
})

describe('the check around a block', () => {
  it('reads the server’s own counters where it has them, and probes nothing', async () => {
    server = await startCachingServer({ cache: 'prefix', perTokenMs: 0, counters: true })
    const open = await openCacheCheck(input(server.url))
    expect(open).toMatchObject({ counters: { lookedUp: 0, found: 0 }, before: null })
    expect(server.requests).toBe(0)
    await probeCache(input(server.url)) // some load
    const check = await closeCacheCheck(open, input(server.url))
    expect(check.counters!.lookedUp).toBeGreaterThan(1000)
    expect(check.counters!.found / check.counters!.lookedUp).toBeGreaterThan(0.2)
  })
  it('probes before and after where nothing is reported', async () => {
    server = await startCachingServer({ cache: 'prefix', perTokenMs: 0.2 })
    const open = await openCacheCheck(input(server.url))
    const check = await closeCacheCheck(open, input(server.url))
    expect(check.before).toMatchObject({ keepsCache: 'yes' })
    expect(check.after).toMatchObject({ keepsCache: 'yes', answersResalted: 'no' })
  })
  it('probes a target that reports cached tokens once', async () => {
    server = await startCachingServer({ cache: 'prefix', perTokenMs: 0, reports: true })
    const first = await openCacheCheck(input(server.url))
    const check = await closeCacheCheck(first, input(server.url))
    expect(check).toMatchObject({ before: { reportsCachedTokens: true }, after: null })
    const sent = server.requests
    expect(await openCacheCheck({ ...input(server.url), earlier: check })).toEqual(first)
    expect(server.requests).toBe(sent)
  })
})
