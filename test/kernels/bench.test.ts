import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseModel } from '../../kernels/bench-model.js'
import { operations } from '../../kernels/bench-ops.js'
import { Pool } from '../../kernels/bench-pool.js'
import { Kernels } from '../../kernels/binding.js'
import { buildKernels } from '../../kernels/build.js'

let kernels: Kernels
beforeAll(async () => {
  kernels = new Kernels((await buildKernels({ cuda: false })).cpu, { dtype: 'bf16', threads: 2 })
}, 600_000)
afterAll(() => kernels.destroy())

describe('the shapes of bench kernels', () => {
  it('come from a preset or from six numbers', () => {
    expect(parseModel('llama-3-8b')).toMatchObject({ hidden: 4096, kvHeads: 8, intermediate: 14336 })
    expect(parseModel('64,4,2,64,128,500')).toMatchObject({ hidden: 64, heads: 4, kvHeads: 2, headDim: 64, vocab: 500 })
    for (const wrong of [
      'llama-9',
      '1,2,3',
      '64,4,3,64,128,500',
      '64,4,2,80,128,500',
      '64,4,2,64,128,500,1',
      '0,4,2,64,128,500',
    ])
      expect(() => parseModel(wrong)).toThrow(RangeError)
  })
})

describe('the operations of bench kernels', () => {
  const model = parseModel('128,4,2,64,192,1000')

  it('all run on the CPU, each with the bytes or flops of its shape', { timeout: 60_000 }, () => {
    const pool = new Pool(kernels, 2 ** 20)
    for (const tokens of [1, 16, 256, 300]) {
      const list = operations(kernels, pool, model, tokens)
      for (const operation of list) {
        operation.enqueue()
        expect(operation.bytes).toBeGreaterThan(0)
      }
      const qkv = list.find((each) => each.op === 'matmul qkv')!
      expect(qkv.flops).toBe(2 * tokens * 128 * 512)
      expect(qkv.bytes).toBe(128 * 512 * 2 + tokens * (128 + 512) * 4)
      expect(list.some((each) => each.op === 'attention prefill')).toBe(tokens >= 256)
      expect(list.some((each) => each.op === 'sample greedy')).toBe(tokens <= 256)
      const chain = list.find((each) => each.op === 'mlp_input')
      expect(chain?.flops).toBe(tokens === 16 ? undefined : 2 * tokens * 128 * 384)
    }
    pool.free()
  })

  it('take their memory in rotation, never beyond the pool', () => {
    const pool = new Pool(kernels, 2 ** 20)
    const size = 100 * 2 ** 20
    const taken = [pool.input(size), pool.input(size), pool.input(size)]
    expect(new Set(taken.slice(0, 2)).size).toBe(2)
    expect(taken[2]).toBe(taken[0])
    expect(() => pool.input(pool.bytes + 1)).toThrow(RangeError)
    expect(taken).not.toContain(pool.output(size)) // what is written is never read as an input
    expect(pool.rotations(2 ** 30)).toBe(2)
    expect(pool.rotations(2 ** 20)).toBe(128)
    pool.free()
  })
})
