import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { StaticOptions } from '../../engines/static/engine.js'
import { Driver, request } from './drive.js'
import { expectedOutput } from './simulated-executor.js'

const STATIC: StaticOptions = {
  batchSize: 4,
  maxModelLen: 128,
  maxNumBatchedTokens: 512,
  staticMaxWaitMs: 50,
  variant: 'literal',
}
const prompt = (length: number, seed = 0) => Array.from({ length }, (_, i) => (i * 7919 + seed * 104729) % 1000)

describe.each([0, 1] as const)('static engine, depth %i', (depth) => {
  it.each(['literal', 'generous'] as const)(
    '%s: answers as the sequence would alone, prompts cut to the token budget',
    (variant) => {
      const driver = Driver.static({ ...STATIC, variant, maxNumBatchedTokens: 33 }, depth)
      for (let i = 0; i < 11; i++) driver.add(request(`r${i}`, prompt(3 + 7 * i, i), 2 + ((i * 5) % 17)))
      driver.finish()
      for (let i = 0; i < 11; i++) {
        expect(driver.answers.get(`r${i}`)!.tokens).toEqual(expectedOutput(prompt(3 + 7 * i, i), 2 + ((i * 5) % 17)))
      }
      expect(driver.batches.map((batch) => batch.rows)).toEqual([4, 4, 3])
      expect(driver.batches[2]).toMatchObject({ longestPrompt: 73, longestOutput: 18 })
      expect(driver.released.length).toBe(11)
      driver.engine.checkIntegrity()
    },
  )

  it('literal computes padding and finished rows: batch x (longest prompt + longest output)', () => {
    const driver = Driver.static(STATIC, depth)
    const lengths = [
      [10, 3],
      [20, 9],
      [5, 12],
      [40, 1],
    ] as const
    for (const [i, [input, output]] of lengths.entries()) driver.add(request(`r${i}`, prompt(input, i), output))
    driver.finish()
    const { prefillTokens, decodeTokens, paddedTokens } = driver.totals
    expect(prefillTokens).toBe(75)
    expect(decodeTokens).toBe(2 + 8 + 11 + 0)
    expect(prefillTokens + decodeTokens + paddedTokens).toBe(4 * 40 + 4 * 11)
    expect(driver.released.find((r) => r.id === 'r3')!.wastedTokens).toBe(11)
    expect(driver.released.find((r) => r.id === 'r2')!.wastedTokens).toBe(35)
  })

  it('generous computes what is useful and nothing else', () => {
    const driver = Driver.static({ ...STATIC, variant: 'generous' }, depth)
    for (const [i, output] of [3, 9, 12, 1].entries()) driver.add(request(`r${i}`, prompt(10 + i, i), output))
    driver.finish()
    expect(driver.totals).toMatchObject({ prefillTokens: 46, decodeTokens: 21, paddedTokens: 0 })
  })

  it('a stop token ends a member; its row is waste from there', () => {
    const expected = expectedOutput(prompt(8), 20)
    const driver = Driver.static(STATIC, depth)
    driver.add(request('stops', prompt(8), 20, { stopTokenIds: [expected[4]!] }))
    driver.add(request('runs', prompt(8, 1), 20))
    driver.finish()
    expect(driver.answers.get('stops')).toEqual({ tokens: expected.slice(0, 5), reason: 'stop' })
    expect(driver.released.find((r) => r.id === 'stops')!.wastedTokens).toBe(15)
  })

  it('closes a batch when it is full, or when the oldest has waited', () => {
    const driver = Driver.static(STATIC, depth)
    driver.add(request('a', prompt(4), 2))
    expect(driver.step()).toBe(false)
    expect(driver.engine.nextWorkInNs(10e6)).toBe(40e6)
    driver.executor.nowNs = 50e6
    expect(driver.step()).toBe(true)
    driver.finish()
    for (let i = 0; i < 4; i++) driver.add(request(`b${i}`, prompt(4, i), 2))
    expect(driver.step()).toBe(true)
    driver.finish()
    expect(driver.batches.map((batch) => batch.rows)).toEqual([1, 4])
  })

  it('starts the next batch only when this one has ended', () => {
    const driver = Driver.static({ ...STATIC, batchSize: 2 }, depth)
    driver.add(request('short', prompt(4), 1))
    driver.add(request('long', prompt(4, 1), 30))
    driver.add(request('next', prompt(4, 2), 1))
    driver.add(request('next2', prompt(4, 3), 1))
    for (let i = 0; i < 20; i++) driver.step()
    expect(driver.answers.get('short')!.reason).toBe('length')
    expect(driver.answers.get('next')!.tokens).toEqual([])
    driver.finish()
    expect(driver.answers.get('next')!.reason).toBe('length')
  })

  it('an aborted member gives no more tokens, a batch of aborted members ends, a waiting one leaves the queue', () => {
    const driver = Driver.static({ ...STATIC, batchSize: 2 }, depth)
    for (let i = 0; i < 3; i++) driver.add(request(`r${i}`, prompt(4, i), 100))
    for (let i = 0; i < 5; i++) driver.step()
    for (let i = 0; i < 3; i++) expect(driver.abort(`r${i}`)).toBe(true)
    expect(driver.engine.hasWork()).toBe(false)
    driver.finish()
    expect(driver.released.length).toBe(3)
    driver.engine.checkIntegrity()
  })

  it('runs to the very end of the context while finished rows stay at its last position', () => {
    const driver = Driver.static(STATIC, depth)
    driver.add(request('wide', prompt(120), 8))
    driver.add(request('deep', prompt(8, 1), 120))
    driver.finish()
    expect(driver.answers.get('deep')!.tokens).toEqual(expectedOutput(prompt(8, 1), 120))
  })
})

describe('any load on any static batch', () => {
  const event = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('add' as const),
        length: fc.integer({ min: 1, max: 40 }),
        output: fc.integer({ min: 1, max: 15 }),
        stopAt: fc.integer({ min: 0, max: 30 }),
      }),
    },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('step' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), pick: fc.nat() }) },
  )
  const options = fc.record({
    batchSize: fc.integer({ min: 1, max: 5 }),
    maxModelLen: fc.constant(64),
    maxNumBatchedTokens: fc.integer({ min: 5, max: 100 }),
    staticMaxWaitMs: fc.constantFrom(0, 20),
    variant: fc.constantFrom('literal', 'generous') as fc.Arbitrary<'literal' | 'generous'>,
  })

  it('ends everything, answers as alone, counts every wasted token, and leaks nothing', () => {
    fc.assert(
      fc.property(
        options,
        fc.constantFrom(0, 1) as fc.Arbitrary<0 | 1>,
        fc.array(event, { minLength: 10, maxLength: 60 }),
        (o, depth, events) => {
          const driver = Driver.static(o, depth)
          const expected = new Map<string, number[]>()
          driver.onPlan = (plan) => {
            if (plan.decodeRows < plan.rows) expect(plan.tokens).toBeLessThanOrEqual(o.maxNumBatchedTokens)
            driver.engine.checkIntegrity()
          }
          let id = 0
          for (const e of events) {
            if (e.kind === 'step') driver.step()
            else if (e.kind === 'abort') driver.abort(`r${e.pick % (id + 1)}`)
            else {
              const whole = expectedOutput(prompt(e.length, id), e.output)
              const stop = e.stopAt < whole.length ? [whole[e.stopAt]!] : []
              expected.set(`r${id}`, expectedOutput(prompt(e.length, id), e.output, stop))
              driver.add(request(`r${id}`, prompt(e.length, id), e.output, { stopTokenIds: stop }))
              id++
            }
          }
          driver.finish()
          driver.engine.checkIntegrity()
          expect(driver.engine.running() + driver.engine.waiting()).toBe(0)
          expect(driver.released.length).toBe(id)
          expect(driver.released.reduce((sum, r) => sum + r.wastedTokens, 0)).toBe(driver.totals.paddedTokens)
          for (const [key, answer] of driver.answers) {
            const whole = expected.get(key)!
            if (answer.reason === 'abort') expect(whole.slice(0, answer.tokens.length)).toEqual(answer.tokens)
            else expect(answer.tokens).toEqual(whole)
          }
        },
      ),
      { numRuns: 500, seed: 21 },
    )
  })
})
