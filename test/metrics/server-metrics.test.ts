import { describe, expect, it } from 'vitest'
import { parseExposition } from '../../src/metrics/exposition.js'
import { serverSplit } from '../../src/metrics/server-metrics.js'
import type { ServerScrape } from '../../src/result/server-view.js'
import { record } from './fixture.js'

const scrape = (when: ServerScrape['when'], text: string | null, reason: string | null = null): ServerScrape => ({
  ...{ when, url: 'http://127.0.0.1:8000/metrics', tNs: 1, tEndNs: 2, httpStatus: 200 },
  ...{ text, reason },
})
const between = (before: string, after: string, records = OURS) =>
  serverSplit([scrape('before', before), scrape('after', after)], records)!

/** Two of warm-up, eight measured; first token 100 ms after the due time. */
const OURS = Array.from({ length: 10 }, (_, index) =>
  record({ index, requestId: `r-${index}`, phase: index < 2 ? 'warmup' : 'measure', readMs: [100, 110] }),
)

/** As vLLM prints it: help, type, buckets, labels, and a created stamp that is no sample of the time. */
const vllm = (count: number, queue: number, prefill: number, ttft: number, hits: number) => `
# HELP vllm:request_queue_time_seconds Histogram of time spent in WAITING phase for request.
# TYPE vllm:request_queue_time_seconds histogram
vllm:request_queue_time_seconds_bucket{engine="0",le="0.3",model_name="m"} ${count}.0
vllm:request_queue_time_seconds_bucket{engine="0",le="+Inf",model_name="m"} ${count}.0
vllm:request_queue_time_seconds_count{engine="0",model_name="m"} ${count}.0
vllm:request_queue_time_seconds_sum{engine="0",model_name="m"} ${queue}
vllm:request_queue_time_seconds_created{engine="0",model_name="m"} 1.75e+09
vllm:request_prefill_time_seconds_count{engine="0",model_name="m"} ${count}.0
vllm:request_prefill_time_seconds_sum{engine="0",model_name="m"} ${prefill}
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} ${count}.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} ${ttft}
vllm:prefix_cache_queries_total{engine="0",model_name="m"} ${count * 100}.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} ${hits}.0
`

const sglang = (count: number) => `
sglang:queue_time_seconds_sum{model_name="m",tp_rank="0"} ${count * 0.02}
sglang:queue_time_seconds_count{model_name="m",tp_rank="0"} ${count}
sglang:per_stage_req_latency_seconds_sum{model_name="m",stage="prefill_waiting"} ${count * 9}
sglang:per_stage_req_latency_seconds_count{model_name="m",stage="prefill_waiting"} ${count}
sglang:per_stage_req_latency_seconds_sum{model_name="m",stage="prefill_forward"} ${count * 0.03}
sglang:per_stage_req_latency_seconds_count{model_name="m",stage="prefill_forward"} ${count}
sglang:time_to_first_token_seconds_sum{model_name="m"} ${count * 0.06}
sglang:time_to_first_token_seconds_count{model_name="m"} ${count}
`

const tgi = (count: number) => `
# TYPE tgi_request_queue_duration histogram
tgi_request_queue_duration_bucket{le="0.0001"} 0
tgi_request_queue_duration_sum ${count * 0.004}
tgi_request_queue_duration_count ${count}
tgi_request_inference_duration_sum ${count * 0.8}
tgi_request_inference_duration_count ${count}
tgi_batch_inference_duration_sum{method="prefill"} ${count * 77}
tgi_batch_inference_duration_count{method="prefill"} ${count}
`

const llamacpp = (requests: number) => `
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
llamacpp:prompt_tokens_total ${requests * 32}
llamacpp:prompt_seconds_total ${requests * 0.05}
llamacpp:tokens_predicted_total ${requests * 2}
llamacpp:tokens_predicted_seconds_total ${requests * 0.2}
llamacpp:requests_deferred 3
`

const means = (split: ReturnType<typeof between>) =>
  Object.fromEntries(split.parts.map(({ part, meanMs }) => [part, Number(meanMs.toFixed(6))]))

describe('what a server says of itself between two readings', () => {
  it('vLLM: queue, prefill, TTFT, prefix hits, and what the client’s mean leaves', () => {
    const split = between(vllm(5, 1, 2, 4, 0), vllm(15, 1.2, 2.3, 4.7, 250))
    expect(split.server).toBe('vLLM')
    expect(means(split)).toEqual({ queue: 20, prefill: 30, ttft: 70 })
    expect(split.prefixHitShare).toBe(0.25)
    expect(split.clientTtftMs).toBeCloseTo(100, 6)
    expect(split.restMs).toBeCloseTo(50, 6)
    expect(split.count).toMatchObject({ server: 10, least: 10, most: 10, verdict: 'agrees' })
    expect(split.count).toMatchObject({ warmupRequests: 2, measuredRequests: 8 })
    expect(split.parts.map(({ metric }) => metric)).toContain('vllm:request_queue_time_seconds')
  })

  it('our own names are vLLM’s with another prefix', () => {
    const own = (text: string) => text.replaceAll('vllm:', 'pagedbench:')
    const split = between(own(vllm(5, 1, 2, 4, 0)), own(vllm(15, 1.2, 2.3, 4.7, 250)))
    expect([split.server, means(split)]).toEqual(['pagedbench', { queue: 20, prefill: 30, ttft: 70 }])
  })

  it('SGLang: the stage prefill_forward alone is the prefill', () => {
    const split = between(sglang(0), sglang(10))
    expect([split.server, means(split)]).toEqual(['SGLang', { queue: 20, prefill: 30, ttft: 60 }])
    expect(split.parts.find(({ part }) => part === 'prefill')!.metric).toBe(
      'sglang:per_stage_req_latency_seconds{stage="prefill_forward"}',
    )
  })

  it('TGI: prefill and decode together, said so; per-batch figures are not taken for per-request ones', () => {
    const split = between(tgi(3), tgi(13))
    expect([split.server, means(split)]).toEqual(['TGI', { queue: 4, inference: 800 }])
    expect(split.restMs).toBeNull()
    expect(split.cannotSay.join(' ')).toContain('prefill and decode together')
  })

  it('llama.cpp: seconds over our own requests, no queue, counted by output tokens', () => {
    const split = between(llamacpp(4), llamacpp(14))
    expect([split.server, means(split)]).toEqual(['llama.cpp', { prefill: 50, decode: 200 }])
    expect(split.restMs).toBeCloseTo(50, 6)
    expect(split.count).toMatchObject({ unit: 'output tokens', server: 20, least: 20, verdict: 'agrees' })
    expect(split.cannotSay.join(' ')).toContain('no queue')
  })
})

describe('whose requests they were', () => {
  it('more than we sent: other clients; fewer than ended well: counters that are late', () => {
    const counted = (requests: number) => between(vllm(0, 0, 0, 0, 0), vllm(requests, 1, 1, 1, 0)).count!.verdict
    expect([counted(9), counted(10), counted(11)]).toEqual(['counts fewer', 'agrees', 'other clients'])
    expect(between(llamacpp(0), llamacpp(30)).count!.verdict).toBe('other clients')
  })

  it('a request that failed may have been counted or not', () => {
    const failed = OURS.map((one, index) => (index === 9 ? { ...one, outcome: 'reset' as const } : one))
    const counted = (requests: number) =>
      between(vllm(0, 0, 0, 0, 0), vllm(requests, 1, 1, 1, 0), failed).count!.verdict
    expect([counted(8), counted(9), counted(10), counted(11)]).toEqual([
      'counts fewer',
      'agrees',
      'agrees',
      'other clients',
    ])
  })
})

describe('a server that says nothing', () => {
  it('is null when it was never asked', () => {
    expect(serverSplit([], OURS)).toBeNull()
  })

  it.each([
    [[scrape('before', null, 'HTTP 404')], 'HTTP 404'],
    [[scrape('before', '')], 'the block did not end'],
    [[scrape('before', ''), scrape('after', null, 'connection refused')], 'connection refused'],
    [[scrape('before', 'http_requests 1\n'), scrape('after', 'http_requests 2\n')], 'none of the names of vLLM'],
    [[scrape('before', vllm(20, 9, 9, 9, 0)), scrape('after', vllm(1, 1, 1, 1, 0))], 'was restarted'],
  ])('gives its reason and no figure', (scrapes, why) => {
    const split = serverSplit(scrapes, OURS)!
    expect(split.why).toContain(why)
    expect(split.parts).toEqual([])
  })
})

describe('the exposition format', () => {
  it('sums label sets, selects by label, and passes over what is no sample', () => {
    const text = 'a{x="1",y="b"} 2\na{x="2"} 3 1700000000\n# a 100\na_total 7\na{x="1"} NaN\na broken\n'
    const reading = parseExposition(text)
    expect(reading.total('a')).toBe(5)
    expect(reading.total('a', { x: '1' })).toBe(2)
    expect(reading.total('a', { x: '3' })).toBeNull()
    expect(reading.total('b')).toBeNull()
  })
})
