import { describe, expect, it } from 'vitest'
import { judgeSlo } from '../../src/metrics/slo.js'
import type { Slo } from '../../src/scenario/types.js'
import { record } from './fixture.js'

const slo: Slo = {
  name: null,
  source: null,
  terms: [{ metric: 'ttft', percentile: 90, limitMs: 150 }],
  maxErrorShare: 0.05,
}
const many = (fast: number, slow: number, failed: number) => [
  ...Array.from({ length: fast }, () => record()),
  ...Array.from({ length: slow }, () => record({ readMs: [300, 310] })),
  ...Array.from({ length: failed }, () => record({ outcome: 'reset', readMs: [] })),
]

describe('an SLO over a block', () => {
  it('is met by its percentile', () => {
    expect(judgeSlo(many(90, 10, 0), slo)).toMatchObject({ meets: true, underFloor: [] })
    expect(judgeSlo(many(89, 11, 0), slo)).toMatchObject({
      meets: false,
      lines: ['ttft p90 300.0 ms not < 150 ms', 'errors 0.00 %, allowed 5.00 %'],
    })
  })

  it('counts failures as an endless tail, and against the allowed errors', () => {
    expect(judgeSlo(many(90, 6, 4), slo).meets).toBe(true)
    expect(judgeSlo(many(90, 5, 5), { ...slo, maxErrorShare: 0.01 }).meets).toBe(false)
    expect(judgeSlo(many(85, 0, 15), { ...slo, maxErrorShare: 1 }).meets).toBe(false)
  })

  it('says when there are too few samples to be sure', () => {
    expect(judgeSlo(many(20, 0, 0), slo).underFloor).toEqual(['ttft p90 needs 64 samples, has 20'])
    expect(judgeSlo([], slo).meets).toBe(false)
  })
})
