import { z } from 'zod'
import type { ToolStats } from '../../result/schema.js'
import { DEFINITIONS } from '../compatibility.js'
import type { ForeignEvents, ForeignResult } from './result.js'
import { foreignRecord, type Json, parseShape, statsOf } from './shape.js'

const TOOL = 'vllm bench serve'

const Aggregates = z.looseObject({
  completed: z.number(),
  failed: z.number().optional(),
  duration: z.number().positive(),
  output_throughput: z.number(),
  request_throughput: z.number(),
  total_token_throughput: z.number().optional(),
  model_id: z.string().optional(),
  max_concurrency: z.number().nullish(),
})

/** --save-detailed: one entry a request. ITLs are gaps between frames with a choice; times in seconds. */
const Detailed = z
  .looseObject({
    input_lens: z.array(z.number()),
    output_lens: z.array(z.number()),
    start_times: z.array(z.number()),
    ttfts: z.array(z.number()),
    itls: z.array(z.array(z.number())),
    errors: z.array(z.string()),
  })
  .superRefine((value, context) => {
    for (const field of ['input_lens', 'output_lens', 'start_times', 'itls', 'errors'] as const)
      if (value[field].length !== value.ttfts.length)
        context.addIssue({
          code: 'custom',
          path: [field],
          message: `${value[field].length} entries, but ttfts has ${value.ttfts.length}`,
        })
  })

/** The JSON of `vllm bench serve --save-result`. */
export function readVllm(value: Json, file: string): ForeignResult {
  const found = parseShape(Aggregates, value, file, TOOL)
  const detailed = 'ttfts' in value
  return {
    tool: TOOL,
    version: null,
    column: {
      tool: TOOL,
      how: DEFINITIONS[TOOL],
      ttftMs: stats(value, 'ttft', file),
      tpotMs: stats(value, 'tpot', file),
      itlMs: stats(value, 'itl', file),
      e2eMs: stats(value, 'e2el', file),
      outputTokensPerSecond: found.output_throughput,
      requestsPerSecond: found.request_throughput,
      totalTokensPerSecond: found.total_token_throughput ?? null,
    },
    model: found.model_id ?? null,
    requestsOk: found.completed,
    requestsFailed: found.failed ?? null,
    concurrency: found.max_concurrency ?? null,
    notes: [
      'a stream that ends early without an error counts as a success in this tool',
      ...(detailed ? [] : ['no events: it was saved without --save-detailed']),
    ],
    events: detailed ? events(parseShape(Detailed, value, file, TOOL), found.duration) : null,
  }
}

/** Only the metrics of --percentile-metrics and the percentiles of --metric-percentiles are in the file; mean and median go together. */
function stats(value: Json, name: string, file: string): ToolStats | null {
  if (!(`mean_${name}_ms` in value) && !(`median_${name}_ms` in value)) return null
  const keys = [`mean_${name}_ms`, `median_${name}_ms`] as const
  const shape = z.looseObject(Object.fromEntries(keys.map((key) => [key, z.number()])))
  const found = parseShape(shape, value, file, TOOL) as Record<string, number>
  const percentile = (p: number) => z.number().safeParse(value[`p${p}_${name}_ms`]).data ?? null
  return statsOf(found[keys[0]], found[keys[1]], percentile(90), percentile(99))
}

function events(found: z.infer<typeof Detailed>, durationSecs: number): ForeignEvents {
  const originSecs = found.start_times.reduce((least, secs) => Math.min(least, secs), Infinity)
  const records = found.ttfts.flatMap((ttftSecs, index) => {
    if (found.errors[index] !== '') return []
    const sentNs = (found.start_times[index]! - originSecs) * 1e9
    const framesNs = [ttftSecs * 1e9]
    for (const gapSecs of found.itls[index]!) framesNs.push(framesNs.at(-1)! + gapSecs * 1e9)
    const firstNs = sentNs + framesNs[0]!
    const lastNs = sentNs + framesNs.at(-1)!
    const tokens = { outputTokens: found.output_lens[index]!, promptTokens: found.input_lens[index]! }
    const times = { sentNs, firstChoiceNs: firstNs, firstTokenNs: firstNs, lastTokenNs: lastNs, doneNs: lastNs }
    return [foreignRecord({ ...times, ...tokens, framesNs }, index)]
  })
  return { records, originNs: originSecs * 1e9, clock: 'monotonic', window: { startNs: 0, endNs: durationSecs * 1e9 } }
}
