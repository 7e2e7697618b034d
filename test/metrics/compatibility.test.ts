import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { toolColumns } from '../../src/metrics/compatibility.js'
import { readForeignResult } from '../../src/metrics/foreign/result.js'
import { latenciesOf } from '../../src/metrics/latency.js'
import { record } from './fixture.js'

const steady = (n: number) => record({ readMs: Array.from({ length: n }, (_, index) => 500 + 20 * index) })
const column = (tool: string, records: Parameters<typeof toolColumns>[0]) =>
  toolColumns(records).find((one) => one.tool === tool)!

describe('compatibility columns', () => {
  it('show the spread of "TPOT" at TTFT 500 ms and 20 ms a token', () => {
    for (const [n, guidellm] of [
      [100, 24.8],
      [10, 68],
    ] as const) {
      expect(column('guidellm', [steady(n)]).tpotMs!.mean).toBeCloseTo(guidellm, 6)
      expect(column('vllm bench serve', [steady(n)]).tpotMs!.mean).toBeCloseTo(20, 6)
      expect(column('aiperf', [steady(n)]).itlMs!.mean).toBeCloseTo(20, 6)
      expect(latenciesOf(steady(n)).tpotMs).toBeCloseTo(20, 6)
    }
  })

  it('count vLLM’s TTFT from an empty role frame, and a bare finish as a gap', () => {
    const one = record({ readMs: [100, 120] })
    const chat = { ...one, firstChoiceNs: one.sentNs! + 5e6, finishNs: one.sentNs! + 121e6, bareFinish: true }
    const vllm = column('vllm bench serve', [chat])
    expect(vllm.ttftMs!.mean).toBeCloseTo(5, 6)
    expect(vllm.itlMs!.mean).toBeCloseTo((95 + 20 + 1) / 3, 6)
    expect(vllm.e2eMs!.mean).toBeCloseTo(121, 6)
    expect(column('aiperf', [chat]).ttftMs!.mean).toBeCloseTo(100, 6)
  })

  it('raise vLLM’s median ITL k-fold with k tokens a frame, and drop it to 0 with k frames a read', () => {
    const coalesced = record({ readMs: [100, 180, 260, 340], perRead: [4, 4, 4, 4] })
    expect(column('vllm bench serve', [coalesced]).itlMs!.p50).toBeCloseTo(80, 6)
    const burst = { ...record({ readMs: [100, 180, 260], perRead: [1, 3, 3] }), readFrames: [1, 3, 3] }
    expect(column('vllm bench serve', [burst]).itlMs!.p50).toBe(0)
  })

  it('interpolate as numpy does', () => {
    const records = [100, 200, 300, 400].map((first) => record({ readMs: [first, first + 10] }))
    expect(column('aiperf', records).ttftMs).toEqual({ mean: 250, p50: 250, p99: expect.closeTo(397, 6) })
  })

  it('are empty, not NaN, without a success', () => {
    for (const one of toolColumns([record({ outcome: 'reset' })])) {
      expect(one).toMatchObject({ ttftMs: null, itlMs: null, outputTokensPerSecond: null })
    }
  })
})

describe('import of other tools’ results', () => {
  it('reads vllm bench serve', () => {
    const file = {
      model_id: 'm',
      completed: 98,
      failed: 2,
      max_concurrency: 16,
      output_throughput: 1234.5,
      request_throughput: 6.5,
      mean_ttft_ms: 80,
      median_ttft_ms: 70,
      p99_ttft_ms: 200,
      mean_tpot_ms: 9,
      median_tpot_ms: 8,
      p99_tpot_ms: 12,
      mean_itl_ms: 9,
      median_itl_ms: 8,
      p99_itl_ms: 30,
    }
    const [result] = readForeignResult(JSON.stringify(file), 'r.json')
    expect(result).toMatchObject({
      tool: 'vllm bench serve',
      model: 'm',
      requestsOk: 98,
      column: { ttftMs: { mean: 80, p50: 70, p99: 200 }, e2eMs: null, outputTokensPerSecond: 1234.5 },
    })
  })

  it('reads guidellm, one result a benchmark, seconds to milliseconds', () => {
    const stats = (mean: number) => ({ successful: { mean, median: mean, percentiles: { p50: mean, p99: 2 * mean } } })
    const metrics = {
      request_totals: { successful: 10, errored: 1 },
      time_to_first_token_ms: stats(50),
      inter_token_latency_ms: stats(7),
      time_per_output_token_ms: stats(8),
      request_latency: stats(1.5),
      output_tokens_per_second: stats(900),
      requests_per_second: stats(5),
    }
    const results = readForeignResult(JSON.stringify({ benchmarks: [{ metrics }, { metrics }] }), 'b.json')
    expect(results).toHaveLength(2)
    expect(results[0]!.column).toMatchObject({
      e2eMs: { mean: 1500, p99: 3000 },
      tpotMs: { mean: 8 },
      requestsPerSecond: 5,
    })
  })

  it('reads what guidellm 0.8.1 really wrote', () => {
    const file = new URL('../fixtures/load/guidellm-0.8.1.json', import.meta.url)
    const [result] = readForeignResult(readFileSync(file, 'utf8'), 'guidellm-0.8.1.json')
    expect(result).toMatchObject({ tool: 'guidellm', requestsOk: 64, requestsFailed: 0 })
    // The server was programmed to 50 ms and 20 ms a token; TPOT of guidellm includes TTFT.
    expect(result!.column.itlMs!.p50).toBeCloseTo(20, 1)
    expect(result!.column.tpotMs!.mean).toBeCloseTo((55.9 + 63 * 20) / 64, 1)
  })

  it('reads what aiperf really wrote', () => {
    const file = new URL('../fixtures/load/aiperf.json', import.meta.url)
    const [result] = readForeignResult(readFileSync(file, 'utf8'), 'aiperf.json')
    expect(result).toMatchObject({ tool: 'aiperf', requestsOk: 64, column: { tpotMs: null } })
    expect(result!.column.itlMs!.mean).toBeCloseTo(20, 0)
    expect(result!.column.e2eMs!.p50).toBeCloseTo(result!.column.ttftMs!.p50 + 63 * 20, -1)
  })

  it('reads aiperf', () => {
    const metric = (unit: string, avg: number) => ({ unit, avg, p50: avg, p99: avg * 2 })
    const file = {
      time_to_first_token: metric('ms', 40),
      inter_token_latency: metric('ms', 6),
      request_latency: metric('ms', 900),
      output_token_throughput: { unit: 'tokens/sec', avg: 2000 },
      request_throughput: { unit: 'requests/sec', avg: 9 },
      request_count: { unit: 'requests', avg: 100 },
    }
    const [result] = readForeignResult(JSON.stringify(file), 'a.json')
    expect(result!.column).toMatchObject({ ttftMs: { mean: 40, p99: 80 }, outputTokensPerSecond: 2000, tpotMs: null })
    expect(result!.requestsOk).toBe(100)
  })

  it.each(['{}', '[]', 'x'])('refuses %s', (text) => {
    expect(() => readForeignResult(text, 'x.json')).toThrow(/x\.json: not/)
  })
})
