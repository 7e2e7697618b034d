import { afterEach, describe, expect, it } from 'vitest'
import { Rig, type RigOptions } from './engine-rig.js'
import { makeRequest, mixedRequests, randomPrompt } from './requests.js'

/** What every engine must do, whatever its batching: run for each kind, variant, and way of driving the device. */
export function describeEngine(title: string, options: RigOptions): void {
  describe(title, () => {
    let rig: Rig | null = null
    const create = async (more: RigOptions = {}) => {
      rig = await Rig.create({ ...options, ...more })
      return rig
    }
    afterEach(() => {
      rig?.close()
      rig = null
    })

    it('gives a sequence the same tokens alone and among others, greedy or sampled', async () => {
      const requests = mixedRequests(24)
      const together = (await create()).run(requests)
      rig!.close()
      const alone = await create()
      for (const request of requests.slice(0, 12)) {
        expect(alone.run([request]).get(request.id), request.id).toEqual(together.get(request.id))
      }
    })

    it('generates max_tokens, and says length', async () => {
      const engine = await create()
      engine.run([makeRequest('one', randomPrompt(5, 1), 1), makeRequest('many', randomPrompt(5, 2), 40)])
      expect(engine.answers.get('one')).toMatchObject({ reason: 'length', tokens: { length: 1 } })
      expect(engine.answers.get('many')).toMatchObject({ reason: 'length', tokens: { length: 40 } })
    })

    it('ends at a stop id with that id as the last token', async () => {
      const engine = await create()
      const free = engine.run([
        makeRequest('free', randomPrompt(9, 3), 20, { sampling: { temperature: 1, seedLow: 5 } }),
      ])
      const stop = free.get('free')![7]!
      const first = free.get('free')!.indexOf(stop)
      engine.run([
        makeRequest('stop', randomPrompt(9, 3), 20, { stopTokenIds: [stop], sampling: { temperature: 1, seedLow: 5 } }),
      ])
      expect(engine.answers.get('stop')).toMatchObject({
        reason: 'stop',
        tokens: free.get('free')!.slice(0, first + 1),
      })
    })

    it('never samples a stop id before min_tokens', async () => {
      const engine = await create()
      const greedy = engine.run([makeRequest('free', randomPrompt(9, 4), 3)]).get('free')!
      engine.run([
        makeRequest('held', randomPrompt(9, 4), 12, { stopTokenIds: [greedy[0]!], sampling: { minTokens: 6 } }),
      ])
      const held = engine.answers.get('held')!
      expect(held.tokens.slice(0, 6)).not.toContain(greedy[0])
      expect(held.tokens.length).toBeGreaterThan(6)
    })

    it('repeats a seeded draw and changes it with the seed', async () => {
      const engine = await create()
      const draw = (id: string, seedLow: number, seedHigh = 0) =>
        makeRequest(id, randomPrompt(9, 5), 16, { sampling: { temperature: 1, seedLow, seedHigh } })
      const tokens = engine.run([draw('a', 1), draw('b', 1), draw('c', 2), draw('d', 1, 1)])
      expect(tokens.get('a')).toEqual(tokens.get('b'))
      expect(tokens.get('a')).not.toEqual(tokens.get('c'))
      expect(tokens.get('a')).not.toEqual(tokens.get('d'))
    })

    it('reports log-probabilities of the raw logits, the greedy token first', async () => {
      const engine = await create()
      engine.run([
        makeRequest('greedy', randomPrompt(9, 6), 5, { topLogprobs: 3 }),
        makeRequest('hot', randomPrompt(9, 6), 5, { topLogprobs: 0, sampling: { temperature: 1.5, seedLow: 3 } }),
        makeRequest('none', randomPrompt(9, 6), 5),
      ])
      const { tokens, logprobs } = engine.answers.get('greedy')!
      expect(logprobs.map((entry) => entry.topTokenIds[0])).toEqual(tokens)
      for (const entry of logprobs) {
        expect(entry.topLogprobs).toHaveLength(3)
        expect(entry.topLogprobs[0]).toBe(entry.logprob)
        expect(entry.topLogprobs[1]).toBeLessThanOrEqual(entry.logprob)
        expect(entry.logprob).toBeLessThan(0)
      }
      expect(engine.answers.get('hot')!.logprobs.map((entry) => entry.topTokenIds)).toEqual([[], [], [], [], []])
      expect(engine.answers.get('none')!.logprobs).toEqual([])
      expect(engine.answers.get('none')!.tokens).toEqual(tokens)
    })

    it('ends an aborted sequence within one step and leaves the others as they were', async () => {
      const engine = await create()
      const [first, second] = [
        makeRequest('first', randomPrompt(20, 7), 60),
        makeRequest('second', randomPrompt(20, 8), 30),
      ]
      const expected = engine.run([makeRequest('ref', randomPrompt(20, 8), 30)]).get('ref')
      engine.submit(first)
      engine.submit(second)
      for (let i = 0; i < 6; i++) engine.loop.turn()
      engine.loop.abort('first')
      const before = engine.answers.get('first')!.tokens.length
      engine.loop.turn()
      expect(engine.answers.get('first')!.reason).toBe('abort')
      engine.finish()
      expect(engine.answers.get('first')!.tokens.length).toBe(before)
      expect(engine.answers.get('second')!.tokens).toEqual(expected)
    })

    it('refuses what can never fit the context', async () => {
      const engine = await create()
      engine.run([makeRequest('long', randomPrompt(200, 9), 57)])
      expect(engine.answers.get('long')!.reason).toBe('error')
      engine.run([makeRequest('fits', randomPrompt(200, 9), 56)])
      expect(engine.answers.get('fits')!.tokens).toHaveLength(56)
    })

    it('traces every request once, accounts for every token, and is whole when idle', async () => {
      const engine = await create()
      const requests = mixedRequests(20)
      engine.run(requests)
      engine.loop.engine.checkIntegrity()
      expect(
        engine
          .requests()
          .map((record) => record.id)
          .sort(),
      ).toEqual(requests.map(({ id }) => id).sort())
      const sum = (field: 'prefillTokens' | 'decodeTokens' | 'paddedTokens' | 'cachedTokens' | 'preemptions') =>
        engine.steps().reduce((total, step) => total + step[field], 0)
      const prompts = requests.reduce((total, { promptTokenIds }) => total + promptTokenIds.length, 0)
      const outputs = requests.reduce((total, { maxTokens }) => total + maxTokens, 0)
      if (sum('preemptions') === 0) {
        expect(sum('prefillTokens') + sum('cachedTokens')).toBe(prompts)
        expect(sum('decodeTokens')).toBe(outputs - requests.length)
      }
      expect(engine.stats.get('generationTokens')).toBe(outputs)
      expect(engine.stats.get('promptTokens')).toBe(prompts)
      expect(engine.stats.get('paddedTokens')).toBe(sum('paddedTokens'))
      expect(engine.requests().reduce((total, record) => total + record.wastedTokens, 0)).toBe(sum('paddedTokens'))
      for (const record of engine.requests()) {
        expect(record.scheduledNs).toBeLessThanOrEqual(record.firstTokenNs)
        expect(record.firstTokenNs).toBeLessThanOrEqual(record.finishedNs)
        expect(record.finishedNs).toBeLessThanOrEqual(record.releasedNs)
      }
    })
  })
}
