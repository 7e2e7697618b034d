import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SchedulerOptions } from '../../engines/paged/scheduler.js'
import { Driver, PAGED, request } from './drive.js'
import { expectedOutput } from './simulated-executor.js'

const prompt = (length: number, seed = 0) => Array.from({ length }, (_, i) => (i * 7919 + seed * 104729) % 1000)

describe.each([0, 1] as const)('paged engine, depth %i', (depth) => {
  it('answers as the sequence would alone, with chunked prefill', () => {
    const driver = Driver.paged({ ...PAGED, maxNumBatchedTokens: 20 }, depth)
    for (let i = 0; i < 12; i++) driver.add(request(`r${i}`, prompt(10 + 9 * i, i), 5 + i))
    driver.finish()
    for (let i = 0; i < 12; i++) {
      expect(driver.answers.get(`r${i}`)).toEqual({
        tokens: expectedOutput(prompt(10 + 9 * i, i), 5 + i),
        reason: 'length',
      })
    }
    driver.engine.checkIntegrity()
    expect(driver.engine.kvBlocksUsed()).toBe(0)
  })

  it('preempts when blocks run out and still answers right', () => {
    const driver = Driver.paged({ ...PAGED, blockCount: 16 }, depth)
    for (let i = 0; i < 10; i++) driver.add(request(`r${i}`, prompt(30, i), 100))
    driver.finish()
    expect(driver.totals.preemptions).toBeGreaterThan(0)
    for (let i = 0; i < 10; i++) expect(driver.answers.get(`r${i}`)!.tokens).toEqual(expectedOutput(prompt(30, i), 100))
  })

  it('takes a shared prefix from the cache, also within one step', () => {
    const driver = Driver.paged({ ...PAGED, maxNumBatchedTokens: 256 }, depth)
    const shared = prompt(64)
    for (let i = 0; i < 4; i++) driver.add(request(`r${i}`, [...shared, i, i + 1], 4))
    driver.step()
    expect(driver.totals.cachedTokens).toBe(3 * 64)
    driver.finish()
    for (let i = 0; i < 4; i++)
      expect(driver.answers.get(`r${i}`)!.tokens).toEqual(expectedOutput([...shared, i, i + 1], 4))
    expect(driver.released.map((r) => r.cachedTokens)).toEqual([0, 64, 64, 64])
  })

  it('always recomputes the last token of a wholly cached prompt', () => {
    const driver = Driver.paged(PAGED, depth)
    driver.add(request('a', prompt(64), 2))
    driver.finish()
    driver.add(request('b', prompt(64), 2))
    driver.finish()
    expect(driver.released[1]!.cachedTokens).toBe(48)
    expect(driver.answers.get('b')!.tokens).toEqual(driver.answers.get('a')!.tokens)
  })

  it('ends at a stop token and drops what came after it', () => {
    const expected = expectedOutput(prompt(8), 20)
    const driver = Driver.paged(PAGED, depth)
    driver.add(request('a', prompt(8), 20, { stopTokenIds: [expected[4]!] }))
    driver.finish()
    expect(driver.answers.get('a')).toEqual({ tokens: expected.slice(0, 5), reason: 'stop' })
    expect(driver.released).toMatchObject([{ id: 'a', wastedTokens: depth }])
  })

  it('wastes no row when the length is known beforehand', () => {
    const driver = Driver.paged(PAGED, depth)
    driver.add(request('a', prompt(8), 20))
    driver.finish()
    expect(driver.totals).toMatchObject({ decodeTokens: 19, paddedTokens: 0, prefillTokens: 8 })
  })

  it('frees the blocks of an aborted sequence at once', () => {
    const driver = Driver.paged(PAGED, depth)
    driver.add(request('a', prompt(40), 50))
    driver.add(request('b', prompt(40, 1), 50))
    for (let i = 0; i < 5; i++) driver.step()
    const used = driver.engine.kvBlocksUsed()
    expect(driver.abort('a')).toBe(true)
    expect(driver.engine.kvBlocksUsed()).toBeLessThan(used)
    expect(driver.abort('a')).toBe(false)
    driver.finish()
    expect(driver.answers.get('b')!.tokens).toEqual(expectedOutput(prompt(40, 1), 50))
  })

  it('lets nobody overtake the head of the queue that does not fit', () => {
    const driver = Driver.paged({ ...PAGED, blockCount: 8, maxNumBatchedTokens: 128 }, depth)
    driver.add(request('long', prompt(100), 20))
    driver.add(request('longer', prompt(90, 1), 20))
    driver.add(request('short', prompt(4, 2), 2))
    driver.step()
    expect([driver.engine.running(), driver.engine.waiting()]).toEqual([1, 2])
    driver.finish()
    expect(driver.released.map((r) => r.id)).toEqual(['long', 'short', 'longer'])
  })

  it('serves the lower priority number first and preempts the highest', () => {
    const driver = Driver.paged({ ...PAGED, schedulingPolicy: 'priority', maxNumSeqs: 2, blockCount: 12 }, depth)
    driver.add(request('c', prompt(20, 1), 80, { priority: 5 }))
    driver.step()
    driver.add(request('b', prompt(20, 2), 80, { priority: 3 }))
    driver.add(request('a', prompt(20, 3), 80, { priority: 1 }))
    driver.finish()
    expect(driver.released[0]!.id).toBe('a')
    expect(driver.released.find((r) => r.id === 'c')!.preemptions).toBeGreaterThan(0)
  })

  it('limits a long prompt to its threshold in a step', () => {
    const driver = Driver.paged({ ...PAGED, longPrefillTokenThreshold: 10 }, depth)
    driver.onPlan = (plan) => {
      for (let row = 0; row < plan.rows; row++) expect(plan.count[row]).toBeLessThanOrEqual(10)
    }
    driver.add(request('a', prompt(95), 3))
    driver.add(request('b', prompt(45, 1), 3))
    driver.finish()
    expect(driver.answers.get('a')!.tokens).toEqual(expectedOutput(prompt(95), 3))
  })

  it('never cuts a prompt when chunking is off', () => {
    const driver = Driver.paged(
      { ...PAGED, enableChunkedPrefill: false, maxNumBatchedTokens: 256, blockCount: 40 },
      depth,
    )
    driver.onPlan = (plan) => {
      for (let row = 0; row < plan.rows; row++) expect(plan.sample[row]).toBe(1)
    }
    for (let i = 0; i < 12; i++) driver.add(request(`r${i}`, prompt(60 + i, i), 40))
    driver.finish()
    for (let i = 0; i < 12; i++)
      expect(driver.answers.get(`r${i}`)!.tokens).toEqual(expectedOutput(prompt(60 + i, i), 40))
  })

  it('refuses what can never run', () => {
    const { engine } = Driver.paged({ ...PAGED, blockCount: 4 }, depth)
    expect(engine.add(request('a', prompt(200), 100))?.code).toBe('context_length_exceeded')
    expect(engine.add(request('b', prompt(60), 6))?.code).toBe('kv_capacity_exceeded')
    expect(engine.add(request('c', prompt(60), 5))).toBeNull()
  })
})

describe('any load on any scheduler', () => {
  const options = fc.record({
    blockCount: fc.integer({ min: 10, max: 40 }),
    blockSize: fc.constantFrom(4, 8),
    maxModelLen: fc.constant(64),
    maxNumSeqs: fc.integer({ min: 1, max: 6 }),
    maxNumBatchedTokens: fc.integer({ min: 64, max: 90 }),
    longPrefillTokenThreshold: fc.constantFrom(0, 5),
    enableChunkedPrefill: fc.boolean(),
    enablePrefixCaching: fc.boolean(),
    schedulingPolicy: fc.constantFrom('fcfs', 'priority') as fc.Arbitrary<'fcfs' | 'priority'>,
  }) satisfies fc.Arbitrary<SchedulerOptions>
  const event = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('add' as const),
        prefix: fc.integer({ min: 0, max: 2 }),
        length: fc.integer({ min: 1, max: 24 }),
        output: fc.integer({ min: 1, max: 15 }),
        priority: fc.integer({ min: 0, max: 2 }),
        stopAt: fc.integer({ min: 0, max: 30 }),
      }),
    },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('step' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('abort' as const), pick: fc.nat() }) },
  )

  it('keeps its limits, ends everything, answers as alone, and leaks nothing', () => {
    let commands = 0
    let preemptions = 0
    let cached = 0
    fc.assert(
      fc.property(
        options,
        fc.constantFrom(0, 1) as fc.Arbitrary<0 | 1>,
        fc.array(event, { minLength: 20, maxLength: 90 }),
        (o, depth, events) => {
          const budget = o.enableChunkedPrefill
            ? Math.min(o.maxNumBatchedTokens, 9 + o.maxNumSeqs)
            : o.maxNumBatchedTokens
          const driver = Driver.paged({ ...o, maxNumBatchedTokens: budget }, depth)
          const expected = new Map<string, number[]>()
          const seen = new Set<number>()
          driver.onPlan = (plan) => {
            expect(plan.tokens).toBeLessThanOrEqual(budget)
            expect(plan.rows).toBeLessThanOrEqual(o.maxNumSeqs)
            driver.engine.checkIntegrity()
            for (let row = 0; row < plan.rows; row++) {
              const number = Number(plan.sequence[row]!.request.id.slice(1))
              if (seen.has(number)) continue
              if (o.schedulingPolicy === 'fcfs') expect(number).toBeGreaterThan(Math.max(-1, ...seen))
              seen.add(number)
            }
          }
          let id = 0
          for (const e of events) {
            commands++
            if (e.kind === 'step') driver.step()
            else if (e.kind === 'abort') driver.abort(`r${e.pick % (id + 1)}`)
            else {
              const tokens = [...prompt(16, e.prefix), ...prompt(e.length, id)]
              if (tokens.length + e.output - 1 > o.blockCount * o.blockSize) continue
              const whole = expectedOutput(tokens, e.output)
              const stop = e.stopAt < whole.length ? [whole[e.stopAt]!] : []
              expected.set(`r${id}`, expectedOutput(tokens, e.output, stop))
              driver.add(request(`r${id++}`, tokens, e.output, { priority: e.priority, stopTokenIds: stop }))
            }
          }
          driver.finish()
          driver.engine.checkIntegrity()
          expect(driver.engine.kvBlocksUsed()).toBe(0)
          expect(driver.released.length).toBe(id)
          for (const [key, answer] of driver.answers) {
            const whole = expected.get(key)!
            if (answer.reason === 'abort') expect(whole.slice(0, answer.tokens.length)).toEqual(answer.tokens)
            else expect(answer.tokens).toEqual(whole)
          }
          preemptions += driver.totals.preemptions
          cached += driver.totals.cachedTokens
        },
      ),
      { numRuns: 3200, seed: 20 },
    )
    expect(commands).toBeGreaterThan(100_000)
    expect(preemptions).toBeGreaterThan(1000)
    expect(cached).toBeGreaterThan(10_000)
  })
})
