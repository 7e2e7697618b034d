import { beforeAll, describe, expect, it } from 'vitest'
import { runLoad } from '../../src/load/generator.js'
import { startNullServer } from '../../src/load/null-process.js'
import type { NullTrace } from '../../src/load/null-server.js'
import { nearestRank } from '../../src/metrics/distribution.js'
import { latenciesOf } from '../../src/metrics/latency.js'
import { throughputOf } from '../../src/metrics/throughput.js'
import { windowOf } from '../../src/metrics/window.js'
import type { RequestRecord } from '../../src/result/schema.js'
import { parseScenario } from '../../src/scenario/parse.js'
import { makePlan } from '../../src/scenario/plan.js'
import { compileSources } from './compiled.js'

beforeAll(compileSources)

const OUTPUT = 50
const median = (values: number[]) => nearestRank(values, 50)!

async function measure(concurrency: number, requests: number, tokensPerFrame: number, itlMs: number) {
  const text = `workload: {input: 32, output: ${OUTPUT}}\nload: {concurrency: ${concurrency}, requests: ${requests}}\n`
  const scenario = parseScenario(text, 'truth')
  const plan = await makePlan(scenario, { vocabSize: 32_000 })
  const server = await startNullServer({ ttftMs: 100, itlMs, tokensPerFrame })
  try {
    const target = { baseUrl: server.url, apiKey: null, api: 'completions' as const, model: 'null' }
    const { records, measureStartNs } = await runLoad({ plan, scenario, target })
    const traces = new Map((await server.takeTraces()).map((trace) => [trace.requestId, trace]))
    return { records, traces, window: windowOf(records, scenario.load.arrival, measureStartNs) }
  } finally {
    server.close()
  }
}

/** Tokens that the server wrote inside the window, by its own clock readings. */
function tokensWritten(traces: Iterable<NullTrace>, startNs: number, endNs: number, tokensPerFrame: number): number {
  let tokens = 0
  for (const trace of traces) {
    for (const [frame, ns] of trace.wroteNs.entries()) {
      if (ns > startNs && ns <= endNs) tokens += Math.min(tokensPerFrame, OUTPUT - frame * tokensPerFrame)
    }
  }
  return tokens
}

describe('against a server that writes down what it did', () => {
  it.each([
    { concurrency: 1, requests: 4, tokensPerFrame: 1, itlMs: 10 },
    { concurrency: 16, requests: 48, tokensPerFrame: 1, itlMs: 10 },
    { concurrency: 16, requests: 48, tokensPerFrame: 5, itlMs: 10 },
    // The schedule of docs/other-tools.md: server and client share two cores with everything else here, at 12,800 tokens/s.
    { concurrency: 256, requests: 512, tokensPerFrame: 1, itlMs: 20 },
  ])(
    'TPOT and throughput are the truth within 1 % or 0.2 ms: %o',
    async ({ concurrency, requests, tokensPerFrame, itlMs }) => {
      const { records, traces, window } = await measure(concurrency, requests, tokensPerFrame, itlMs)
      expect(records.every((record: RequestRecord) => record.outcome === 'ok' && record.counted === OUTPUT)).toBe(true)
      const errors = records.map((record) => {
        const { wroteNs } = traces.get(record.requestId)!
        const truth = (wroteNs.at(-1)! - wroteNs[0]!) / 1e6 / (OUTPUT - tokensPerFrame)
        return Math.abs(latenciesOf(record).tpotMs! - truth)
      })
      expect(median(errors)).toBeLessThan(0.2)
      const rate = throughputOf(records, window).outputTokensPerSecond!
      const truth = tokensWritten(traces.values(), window.startNs, window.endNs, tokensPerFrame) / window.secs
      // Tokens on the wire at the window's edges: at most one frame a stream.
      const edge = (concurrency * tokensPerFrame) / window.secs
      expect(Math.abs(rate - truth)).toBeLessThan(0.01 * truth + edge)
    },
  )
})
