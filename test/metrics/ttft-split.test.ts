import { describe, expect, it } from 'vitest'
import { meanTtft, summarizeTtft, ttftSplits } from '../../src/metrics/ttft-split.js'
import type { RequestTrace } from '../../src/result/trace.js'
import { record } from './fixture.js'

describe('where TTFT goes', () => {
  const sent = record({ requestId: 'r-1', readMs: [100, 110], intendedNs: 1e12 - 2e6 })
  const at = (ms: number) => sent.sentNs! + ms * 1e6
  const span: RequestTrace = {
    kind: 'request',
    id: 'cmpl-1-0',
    clientId: 'r-1',
    arrivalNs: at(1),
    scheduledNs: at(21),
    firstTokenNs: at(95),
    finishedNs: at(105),
    releasedNs: at(105),
    promptTokens: 32,
    outputTokens: 2,
    cachedTokens: 0,
    preemptions: 0,
    wastedTokens: 0,
    finishReason: 'length',
  }

  it('is told apart by joining client and engine on one clock, and the parts sum to TTFT from the due time', () => {
    const split = ttftSplits([sent], [span]).get(0)!
    expect(split).toEqual({ clientLagMs: 2, sendMs: 1, queueMs: 20, prefillMs: 74, flushMs: 5 })
    expect(Object.values(split).reduce((a, b) => a + b, 0)).toBe(102)
    expect(summarizeTtft([sent], [span])).toMatchObject({ n: 1, mean: { queueMs: 20 }, p50: { queueMs: null } })
  })

  it('is unknown without a trace', () => {
    expect(summarizeTtft([sent], [])).toBeNull()
    expect(summarizeTtft([{ ...sent, outcome: 'reset' }], [span])).toBeNull()
  })

  it('prints percentiles from their sample floors on, and the parts’ means add up to the whole', () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, index) => {
        const one = record({ index, requestId: `r-${index}`, readMs: [100 + index, 300], intendedNs: 1e12 - 2e6 })
        const at = (ms: number) => one.sentNs! + ms * 1e6
        const stamps = { arrivalNs: at(1), scheduledNs: at(21 + index), firstTokenNs: at(95 + index) }
        return { one, span: { ...span, clientId: `r-${index}`, ...stamps } }
      })
    const summary = (count: number) => {
      const pairs = many(count)
      return summarizeTtft(
        pairs.map(({ one }) => one),
        pairs.map(({ span }) => span),
      )!
    }
    expect([summary(10).p50.queueMs, summary(11).p50.queueMs]).toEqual([null, 25])
    expect([summary(63).p90.queueMs, summary(64).p90.queueMs]).toEqual([null, 20 + 57])
    expect(summary(64).p99.totalMs).toBeNull()
    const { mean, p50 } = summary(11)
    expect(Object.values(mean).reduce((a, b) => a + b, 0)).toBeCloseTo(107, 6)
    expect(p50.totalMs).toBeCloseTo(107, 6)
  })

  it('of a target is the mean over its blocks; what one block lacks, the target lacks', () => {
    const part = (ms: number) => ({ clientLagMs: 0, sendMs: 0, queueMs: ms, prefillMs: 0, flushMs: 0 })
    const block = (n: number, ms: number, p50: number | null) => {
      const percentile = { ...part(0), queueMs: p50, totalMs: p50 }
      return { n, mean: part(ms), p50: percentile, p90: percentile, p99: percentile }
    }
    expect(meanTtft([block(20, 10, 8), block(12, 30, 12), null])).toMatchObject({
      n: 12,
      mean: { queueMs: 20 },
      p50: { queueMs: 10 },
    })
    expect(meanTtft([block(20, 10, 8), block(9, 30, null)])!.p50.queueMs).toBeNull()
    expect(meanTtft([null, undefined])).toBeNull()
  })
})
