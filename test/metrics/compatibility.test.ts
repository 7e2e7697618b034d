import { describe, expect, it } from 'vitest'
import { toolColumns } from '../../src/metrics/compatibility.js'
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
    expect(column('aiperf', records).ttftMs).toEqual({
      mean: 250,
      p50: 250,
      p90: expect.closeTo(370, 6),
      p99: expect.closeTo(397, 6),
    })
  })

  it('take guidellm’s median of 12 requests to be the seventh, as its shares sum to less than a half', () => {
    const firsts = Array.from({ length: 12 }, (_, index) => 100 + 10 * index)
    const records = firsts.map((first) => record({ readMs: [first, first + 10] }))
    expect(column('guidellm', records).ttftMs).toMatchObject({
      p50: expect.closeTo(160, 6),
      p90: expect.closeTo(200, 6),
    })
    expect(column('aiperf', records).ttftMs!.p50).toBeCloseTo(155, 6)
  })

  it('leave a missing TTFT out of guidellm’s, and take a missing ITL for 0', () => {
    const silent = { ...record({ readMs: [100, 110] }), firstTokenNs: null, lastTokenNs: null }
    const both = column('guidellm', [record({ readMs: [100, 110] }), silent])
    expect(both.ttftMs!.mean).toBeCloseTo(100, 6)
    expect(both.itlMs!.mean).toBeCloseTo(5, 6)
  })

  it('divide by each tool’s own time: aiperf and vLLM from the due time, guidellm from the first send, or by the window given', () => {
    const late = { ...record({ sentMs: 200, readMs: [100, 799] }), intendedNs: 1e12 }
    expect(column('guidellm', [late]).outputTokensPerSecond).toBeCloseTo(2 / 0.8, 6)
    for (const tool of ['aiperf', 'vllm bench serve'])
      expect(column(tool, [late])).toMatchObject({
        outputTokensPerSecond: expect.closeTo(2, 6),
        requestsPerSecond: expect.closeTo(1, 6),
        totalTokensPerSecond: expect.closeTo(34, 6),
      })
    const [given] = toolColumns([late], { startNs: 1e12, endNs: 1e12 + 4e9 })
    expect(given!.outputTokensPerSecond).toBeCloseTo(0.5, 6)
  })

  it('are empty, not NaN, without a success', () => {
    for (const one of toolColumns([record({ outcome: 'reset' })])) {
      expect(one).toMatchObject({ ttftMs: null, itlMs: null, outputTokensPerSecond: null })
    }
  })
})
