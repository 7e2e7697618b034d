import { afterAll, describe, expect, it } from 'vitest'
import { Rig, type RigOptions } from '../suites/engine-rig.js'
import { mixedRequests } from '../suites/requests.js'

const REQUESTS = 210

/** Prompts longer than the budget, memory for a tenth of the load: chunks, hits and preemptions all happen. */
const TIGHT: RigOptions = { engine: 'paged', kvTokens: 640, maxNumBatchedTokens: 48, maxNumSeqs: 16 }

describe.each(['f32', 'bf16'] as const)('answers of both engines, %s', (dtype) => {
  const requests = mixedRequests(REQUESTS)
  const rigs: Rig[] = []
  const run = async (options: RigOptions) => {
    const rig = await Rig.create({ ...options, dtype, preset: 'tiny', threads: 2 })
    rigs.push(rig)
    return { rig, tokens: rig.run(requests) }
  }
  afterAll(() => {
    for (const rig of rigs) rig.close()
  })

  it(`are equal on ${REQUESTS} mixed requests, with preemption, prefix hits and chunked prefill on the way`, async () => {
    const reference = await run({ engine: 'static', staticVariant: 'literal' })
    const paged = await run(TIGHT)
    const ahead = await run({ ...TIGHT, depth: 1, buckets: [1, 2, 4, 8, 16] })
    for (const { tokens } of [paged, ahead]) expect(tokens).toEqual(reference.tokens)
    expect([...reference.tokens.values()].map((tokens) => tokens.length)).toEqual(requests.map((r) => r.maxTokens))
    for (const { rig } of [paged, ahead]) {
      const steps = rig.steps()
      expect(steps.reduce((sum, step) => sum + step.preemptions, 0)).toBeGreaterThan(10)
      expect(steps.reduce((sum, step) => sum + step.cachedTokens, 0)).toBeGreaterThan(500)
      expect(steps.some((step) => step.prefillTokens > 0 && step.decodeTokens > 0)).toBe(true)
      expect(Math.max(...steps.map((step) => step.prefillTokens + step.decodeTokens))).toBeLessThanOrEqual(48)
      expect(rig.requests().some((record) => record.promptTokens - record.cachedTokens > 48)).toBe(true)
      expect(rig.loop.engine.kvBlocksUsed()).toBe(0)
      rig.loop.engine.checkIntegrity()
    }
  }, 240_000)
})

describe('a cache for a tenth of the load', () => {
  it('finishes everything', async () => {
    const requests = mixedRequests(60)
    const tokens = requests.reduce((sum, r) => sum + r.promptTokenIds.length + r.maxTokens, 0)
    const rig = await Rig.create({
      kvTokens: Math.ceil(tokens / 10 / 16) * 16,
      maxNumSeqs: 64,
      maxNumBatchedTokens: 128,
    })
    rig.run(requests)
    for (const { id, maxTokens } of requests) expect(rig.answers.get(id)!.tokens).toHaveLength(maxTokens)
    expect(rig.loop.engine.preemptions()).toBeGreaterThan(0)
    rig.close()
  })
})
