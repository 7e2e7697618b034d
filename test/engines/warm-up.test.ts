import { describe, expect, it } from 'vitest'
import type { StepPlan } from '../../engines/engine.js'
import type { StepExecutor } from '../../engines/executor.js'
import { warmUp, warmUpSizes } from '../../engines/warm-up.js'

/** Buckets of kn_matmul (kernels/matmul.cu): 8 wide to 256, 64 wide to 512, then powers of two. */
function bucket(rows: number): number {
  if (rows <= 256) return Math.ceil(rows / 8) * 8
  if (rows <= 512) return Math.ceil(rows / 64) * 64
  return 2 ** Math.ceil(Math.log2(rows))
}

describe('warm-up', () => {
  it.each([1, 8, 100, 256, 300, 512, 1500, 2048, 5000])(
    'reaches every bucket of steps up to %i tokens',
    (maxTokens) => {
      const sizes = warmUpSizes(maxTokens)
      const reached = new Set(sizes.map(bucket))
      for (let tokens = 1; tokens <= maxTokens; tokens++) expect(reached, `${tokens} tokens`).toContain(bucket(tokens))
      expect(Math.max(...sizes)).toBe(maxTokens)
      expect(new Set(sizes).size).toBe(sizes.length)
    },
  )

  it.each([
    { maxRows: 16, maxTokens: 2048, maxSamples: 16, maxModelLen: 4096 },
    { maxRows: 512, maxTokens: 2048, maxSamples: 256, maxModelLen: 256 },
    { maxRows: 2, maxTokens: 8, maxSamples: 1, maxModelLen: 3 },
  ])('plans eager steps within the limits: %o', ({ maxRows, maxTokens, maxSamples, maxModelLen }) => {
    const seen: { tokens: number; samples: number }[] = []
    const executor: StepExecutor = {
      launch(plan: StepPlan) {
        expect(plan.rows).toBeLessThanOrEqual(maxRows)
        expect(plan.decodeRows).toBe(0)
        expect(plan.count.slice(0, plan.rows).reduce((sum, count) => sum + count, 0)).toBe(plan.tokens)
        for (let row = 0; row < plan.rows; row++) {
          expect(plan.count[row]).toBeGreaterThan(0)
          expect(plan.start[row]! + plan.count[row]!).toBeLessThanOrEqual(maxModelLen)
        }
        seen.push({ tokens: plan.tokens, samples: plan.samples })
      },
      read: () => ({}) as never,
    }
    warmUp(executor, { limits: { maxRows, maxTokens, maxChanges: 0 }, maxSamples, maxModelLen }, () => {})
    expect(Math.max(...seen.map(({ samples }) => samples))).toBe(Math.min(maxSamples, maxRows))
    const possible = Math.min(maxTokens, maxRows * maxModelLen)
    expect(Math.max(...seen.map(({ tokens }) => tokens))).toBe(possible)
  })
})
