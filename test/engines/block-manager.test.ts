import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockManager } from '../../engines/paged/block-manager.js'
import { chainHash, PrefixCache, ROOT_HASH } from '../../engines/paged/prefix-cache.js'

const COMMANDS = 100_000

/** What the block manager should be: an array in order of use, and a map of counts. */
class Model {
  readonly free: number[]
  readonly references = new Map<number, number>()
  constructor(count: number) {
    this.free = Array.from({ length: count }, (_, i) => i + 1)
  }
  take(): number {
    const block = this.free.shift()!
    this.references.set(block, 1)
    return block
  }
  retain(block: number): void {
    const references = this.references.get(block) ?? 0
    if (references === 0) this.free.splice(this.free.indexOf(block), 1)
    this.references.set(block, references + 1)
  }
  release(block: number, worthKeeping: boolean): void {
    const references = this.references.get(block)! - 1
    this.references.set(block, references)
    if (references > 0) return
    if (worthKeeping) this.free.push(block)
    else this.free.unshift(block)
  }
}

describe('block manager', () => {
  it(`does what its model does, over ${COMMANDS} commands, and gives every block back`, () => {
    let commands = 0
    const command = fc.record({
      kind: fc.constantFrom('take', 'take', 'retain', 'release', 'release'),
      pick: fc.nat(),
      keep: fc.boolean(),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.array(command, { minLength: 1000, maxLength: 1000 }),
        (count, list) => {
          const manager = new BlockManager(count)
          const model = new Model(count)
          const holders: number[] = []
          for (const { kind, pick, keep } of list) {
            commands++
            if (kind === 'take' && model.free.length > 0) {
              const block = manager.take()
              expect(block).toBe(model.take())
              holders.push(block)
            } else if (kind === 'retain') {
              const block = 1 + (pick % count)
              manager.retain(block)
              model.retain(block)
              holders.push(block)
            } else if (kind === 'release' && holders.length > 0) {
              const [block] = holders.splice(pick % holders.length, 1) as [number]
              manager.release(block, keep)
              model.release(block, keep)
            }
            if (manager.free !== model.free.length) throw new Error(`${manager.free} free, model ${model.free.length}`)
          }
          manager.checkIntegrity()
          for (let block = 1; block <= count; block++)
            expect(manager.references(block)).toBe(model.references.get(block) ?? 0)
          for (const block of holders) manager.release(block, true)
          manager.checkIntegrity()
          expect(manager.free).toBe(count)
        },
      ),
      { numRuns: COMMANDS / 1000, seed: 7 },
    )
    expect(commands).toBe(COMMANDS)
  })

  it('throws on what would corrupt it', () => {
    const manager = new BlockManager(1)
    const block = manager.take()
    expect(() => manager.take()).toThrow('no free block')
    manager.release(block, false)
    expect(() => manager.release(block, false)).toThrow('is free')
  })
})

describe('prefix cache', () => {
  it('agrees with a map from contents to blocks under random inserts, removals and look-ups', () => {
    const command = fc.record({
      kind: fc.constantFrom('insert', 'insert', 'find', 'remove'),
      block: fc.integer({ min: 1, max: 20 }),
      content: fc.integer({ min: 0, max: 40 }),
    })
    fc.assert(
      fc.property(fc.array(command, { maxLength: 300 }), (list) => {
        const cache = new PrefixCache(20, 4)
        const byContent = new Map<number, number>()
        for (const { kind, block, content } of list) {
          const tokens = Int32Array.of(content, 1, 2, 3)
          const hash = chainHash(ROOT_HASH, tokens, 0, 4)
          if (kind === 'find') expect(cache.find(hash, tokens, 0)).toBe(byContent.get(content) ?? 0)
          if (kind === 'insert' && !cache.has(block)) {
            expect(cache.insert(block, hash, tokens, 0)).toBe(!byContent.has(content))
            if (!byContent.has(content)) byContent.set(content, block)
          }
          if (kind === 'remove') {
            cache.remove(block)
            for (const [key, value] of byContent) if (value === block) byContent.delete(key)
          }
          expect(cache.size).toBe(byContent.size)
        }
      }),
      { numRuns: 200, seed: 3 },
    )
  })

  it('compares tokens when two contents share a hash', () => {
    const cache = new PrefixCache(4, 2)
    cache.insert(1, 99, Int32Array.of(5, 6), 0)
    expect(cache.find(99, Int32Array.of(5, 7), 0)).toBe(0)
    expect(cache.insert(2, 99, Int32Array.of(5, 7), 0)).toBe(true)
    expect([cache.find(99, Int32Array.of(5, 6), 0), cache.find(99, Int32Array.of(5, 7), 0)]).toEqual([1, 2])
  })

  it('hashes 300,000 chained blocks without a collision, within 53 bits', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 300_000; i++)
      seen.add(chainHash(i % 3 === 0 ? ROOT_HASH : i, Int32Array.of(i, i >> 3, 7), 0, 3))
    expect(seen.size).toBe(300_000)
    for (const hash of seen) if (!Number.isSafeInteger(hash) || hash < 0) throw new Error(`hash ${hash}`)
  })
})
