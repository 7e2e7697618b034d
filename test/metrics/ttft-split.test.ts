import { describe, expect, it } from 'vitest'
import { serverSplit } from '../../src/metrics/server-metrics.js'
import { summarizeTtft, ttftSplits } from '../../src/metrics/ttft-split.js'
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
    expect(summarizeTtft([sent], [span])).toMatchObject({ n: 1, p50: { queueMs: 20 } })
  })

  it('is unknown without a trace', () => {
    expect(summarizeTtft([sent], [])).toBeNull()
    expect(summarizeTtft([{ ...sent, outcome: 'reset' }], [span])).toBeNull()
  })

  it('comes in aggregate from the histograms of other servers', () => {
    const scrape = (count: number, queue: number, hits: number) =>
      [
        '# TYPE vllm:request_queue_time_seconds histogram',
        `vllm:request_queue_time_seconds_bucket{le="0.3"} ${count}`,
        `vllm:request_queue_time_seconds_sum{model_name="m",engine="0"} ${queue}`,
        `vllm:request_queue_time_seconds_count{model_name="m",engine="0"} ${count}`,
        `vllm:prefix_cache_queries_total{engine="0"} ${count * 100}`,
        `vllm:prefix_cache_hits_total{engine="0"} ${hits}`,
      ].join('\n')
    const split = serverSplit(scrape(10, 1, 0), scrape(30, 2, 500))
    expect(split).toEqual({ queueMs: expect.closeTo(50, 9), prefillMs: null, ttftMs: null, prefixHitShare: 0.25 })
    expect(serverSplit('', '')).toEqual({ queueMs: null, prefillMs: null, ttftMs: null, prefixHitShare: null })
  })
})
