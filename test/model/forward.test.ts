import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../engines/model/checkpoint.js'
import { loadWeights, type ModelWeights } from '../../engines/model/weights.js'
import type { Kernels } from '../../kernels/binding.js'
import { openCpuKernels } from './cpu-kernels.js'
import { ForwardHarness } from './forward-harness.js'

/** Checkpoints and logits made by Transformers: scripts/make-model-fixtures.py. */
const FIXTURES = new URL('../fixtures/model/', import.meta.url).pathname
const CHECKPOINTS = ['llama-scaled', 'llama-wide', 'qwen2']
const TOLERANCE = { f32: 1e-3, bf16: 2e-2 } as const

describe.each(['f32', 'bf16'] as const)('the forward pass in %s', (dtype) => {
  let kernels: Kernels
  beforeAll(async () => {
    kernels = await openCpuKernels(dtype)
  }, 600_000)
  afterAll(() => kernels.destroy())

  describe.each(CHECKPOINTS)('on %s', (name) => {
    const { tokens, expected } = readExpected(name)

    it.each([
      ['a row per token, fused', true, undefined],
      ['a row per token, unfused', false, undefined],
    ])('gives the logits of Transformers: %s', (_, fused, chunks) => {
      withHarness(kernels, name, fused, (harness) => {
        const logits = harness.logits(tokens, chunks)
        expect(logits).toHaveLength(tokens.length)
        expect(relativeError(logits, expected)).toBeLessThan(TOLERANCE[dtype])
      })
    })

    it.each([[[70]], [[16, 16, 16, 16, 6]], [[1, 68, 1]], [[15, 17, 1, 1, 36]]])(
      'gives them after each chunk of a prompt cut into %j',
      (chunks) => {
        withHarness(kernels, name, true, (harness) => {
          const logits = harness.logits(tokens, chunks)
          const ends = chunks.map((_, i) => chunks.slice(0, i + 1).reduce((sum, length) => sum + length, 0) - 1)
          expect(
            relativeError(
              logits,
              ends.map((end) => expected[end]!),
            ),
          ).toBeLessThan(TOLERANCE[dtype])
        })
      },
    )

    it('gives the same bits when the chunks before the last have no logits', () => {
      const all = withHarness(kernels, name, true, (harness) => harness.logits(tokens, [30, 40]).at(-1)!)
      const last = withHarness(kernels, name, true, (harness) => harness.lastLogits(tokens, [30, 40]))
      expect(last).toEqual(all)
    })

    it('gives the same bits however the prompt is cut', () => {
      const last = [[70], [16, 54], [1, 1, 68], [35, 35]].map((chunks) =>
        withHarness(kernels, name, true, (harness) => harness.logits(tokens, chunks).at(-1)!),
      )
      for (const logits of last) expect(logits).toEqual(last[0])
    })
  })
})

function readExpected(name: string): { tokens: number[]; expected: Float32Array[] } {
  const json = JSON.parse(readFileSync(join(FIXTURES, name, 'expected.json'), 'utf8'))
  const bytes = Buffer.from(json.logits, 'base64')
  const flat = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  const width = flat.length / json.tokens.length
  return {
    tokens: json.tokens,
    expected: json.tokens.map((_: number, i: number) => flat.subarray(i * width, (i + 1) * width)),
  }
}

function withHarness<T>(kernels: Kernels, name: string, fused: boolean, use: (harness: ForwardHarness) => T): T {
  const checkpoint = openCheckpoint(join(FIXTURES, name))
  const weights: ModelWeights = loadWeights(kernels, checkpoint)
  checkpoint.close()
  const harness = new ForwardHarness(kernels, checkpoint.config, weights, { maxTokens: 80, blockSize: 16, fused })
  try {
    return use(harness)
  } finally {
    harness.destroy()
    weights.free()
  }
}

/** The worst row's |ours - theirs| / |theirs| (Euclidean). */
function relativeError(ours: readonly Float32Array[], theirs: readonly Float32Array[]): number {
  const errors = ours.map((row, i) => {
    let difference = 0
    let norm = 0
    row.forEach((value, j) => {
      difference += (value - theirs[i]![j]!) ** 2
      norm += theirs[i]![j]! ** 2
    })
    return Math.sqrt(difference / norm)
  })
  return Math.max(...errors)
}
