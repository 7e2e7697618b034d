import { z } from 'zod'
import { DEFINITIONS } from '../compatibility.js'
import type { ForeignEvents, ForeignResult } from './result.js'
import { foreignRecord, type Json, parseShape, statsOf } from './shape.js'

const TOOL = 'guidellm'

const Summary = z.looseObject({
  successful: z.looseObject({
    mean: z.number(),
    median: z.number(),
    percentiles: z.looseObject({ p50: z.number(), p90: z.number(), p99: z.number() }),
  }),
})
const Mean = z.looseObject({ successful: z.looseObject({ mean: z.number() }) })

/** Wall-clock seconds. */
const Request = z.looseObject({
  request_start_time: z.number(),
  request_end_time: z.number(),
  output_tokens: z.number().nullable(),
  prompt_tokens: z.number().nullable(),
  info: z.looseObject({
    timings: z.looseObject({
      first_token_iteration: z.number().nullable(),
      last_token_iteration: z.number().nullable(),
    }),
  }),
})

const Benchmark = z.looseObject({
  start_time: z.number().optional(),
  end_time: z.number().optional(),
  config: z.looseObject({ strategy: z.looseObject({ streams: z.number().optional() }).optional() }).optional(),
  requests: z.looseObject({ successful: z.array(Request).nullish() }).optional(),
  metrics: z.looseObject({
    request_totals: z.looseObject({ successful: z.number(), errored: z.number() }),
    request_latency: Summary,
    time_to_first_token_ms: Summary.nullish(),
    time_per_output_token_ms: Summary.nullish(),
    inter_token_latency_ms: Summary.nullish(),
    requests_per_second: Mean,
    output_tokens_per_second: Mean,
    tokens_per_second: Mean.nullish(),
  }),
})

const Report = z.looseObject({
  metadata: z.looseObject({ guidellm_version: z.string().optional() }).optional(),
  config: z
    .looseObject({
      spec: z.looseObject({ backend: z.looseObject({ model: z.string().nullish() }).optional() }).optional(),
    })
    .optional(),
  benchmarks: z.array(Benchmark).min(1),
})

/** The JSON of guidellm (--output kind=json): one result a benchmark. */
export function readGuidellm(value: Json, file: string): ForeignResult[] {
  const report = parseShape(Report, value, file, TOOL)
  return report.benchmarks.map((benchmark) => {
    const { metrics } = benchmark
    const stats = (summary: z.infer<typeof Summary> | null | undefined, factor = 1) => {
      const found = summary?.successful
      return statsOf(found?.mean, found?.percentiles.p50, found?.percentiles.p90, found?.percentiles.p99, factor)
    }
    const events = eventsOf(benchmark)
    return {
      tool: TOOL,
      version: report.metadata?.guidellm_version ?? null,
      column: {
        tool: TOOL,
        how: DEFINITIONS[TOOL],
        ttftMs: stats(metrics.time_to_first_token_ms),
        tpotMs: stats(metrics.time_per_output_token_ms),
        itlMs: stats(metrics.inter_token_latency_ms),
        e2eMs: stats(metrics.request_latency, 1000),
        outputTokensPerSecond: metrics.output_tokens_per_second.successful.mean,
        requestsPerSecond: metrics.requests_per_second.successful.mean,
        totalTokensPerSecond: metrics.tokens_per_second?.successful.mean ?? null,
      },
      model: report.config?.spec?.backend?.model ?? null,
      requestsOk: metrics.request_totals.successful,
      requestsFailed: metrics.request_totals.errored,
      concurrency: benchmark.config?.strategy?.streams ?? null,
      notes: [
        'TPOT of this tool includes TTFT',
        'a missing ITL is 0 in this tool',
        ...(events === null ? ['no events: its requests are not all in the file'] : []),
      ],
      events,
    }
  })
}

/** Null unless every request that it counted is there. */
function eventsOf({
  requests,
  metrics,
  start_time: start,
  end_time: end,
}: z.infer<typeof Benchmark>): ForeignEvents | null {
  const found = requests?.successful
  if (found == null || start === undefined || end === undefined) return null
  const counted = found.filter((request) => request.request_end_time >= start && request.request_start_time <= end)
  if (counted.length !== metrics.request_totals.successful) return null
  const at = (secs: number | null) => (secs === null ? null : (secs - start) * 1e9)
  const records = found.map((request, index) => {
    const { first_token_iteration: first, last_token_iteration: last } = request.info.timings
    const times = { sentNs: at(request.request_start_time)!, firstTokenNs: at(first), lastTokenNs: at(last) }
    const tokens = { outputTokens: request.output_tokens ?? 0, promptTokens: request.prompt_tokens ?? 0 }
    return foreignRecord(
      { ...times, ...tokens, firstChoiceNs: null, doneNs: at(request.request_end_time), framesNs: [] },
      index,
    )
  })
  return { records, originNs: start * 1e9, clock: 'wall', window: { startNs: 0, endNs: (end - start) * 1e9 } }
}
