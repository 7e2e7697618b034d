import { z } from 'zod'
import { DEFINITIONS, type ToolWindow } from '../compatibility.js'
import { aiperfEvents } from './aiperf-events.js'
import type { ForeignResult } from './result.js'
import { type Json, parseShape, statsOf } from './shape.js'

const TOOL = 'aiperf'

const TO_MS: Record<string, number> = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, sec: 1000 }
const Latency = z.looseObject({
  unit: z.string().refine((unit) => unit in TO_MS, { message: `not one of ${Object.keys(TO_MS).join(', ')}` }),
  avg: z.number(),
  p50: z.number(),
  p90: z.number().optional(),
  p99: z.number().optional(),
})
const Count = z.looseObject({ avg: z.number() })

const Export = z.looseObject({
  aiperf_version: z.string().optional(),
  request_latency: Latency,
  time_to_first_token: Latency.nullish(),
  inter_token_latency: Latency.nullish(),
  output_token_throughput: Count.nullish(),
  total_token_throughput: Count.nullish(),
  request_throughput: Count,
  request_count: Count,
  error_request_count: Count.nullish(),
  was_cancelled: z.boolean().optional(),
  start_time: z.string().nullish(),
  end_time: z.string().nullish(),
  input_config: z
    .looseObject({
      models: z.looseObject({ items: z.array(z.looseObject({ name: z.string() })) }).optional(),
      phases: z.array(z.looseObject({ concurrency: z.number().nullish() })).optional(),
    })
    .optional(),
})

/** profile_export_aiperf.json; `records`: the text of profile_export.jsonl or profile_export_raw.jsonl of the same run. */
export function readAiperf(value: Json, file: string, records?: string): ForeignResult {
  const found = parseShape(Export, value, file, TOOL)
  const stats = (latency: z.infer<typeof Latency> | null | undefined) =>
    statsOf(latency?.avg, latency?.p50, latency?.p90, latency?.p99, TO_MS[latency?.unit ?? 'ms'])
  const events = records === undefined ? null : aiperfEvents(records, `records of ${file}`)
  const whole = events !== null && events.records.length === found.request_count.avg
  const notes = ['errors are in the denominator of throughput in this tool']
  if (events === null) notes.push('no events: profile_export.jsonl was not beside the file')
  else if (!whole)
    notes.push(
      `its records hold ${events.records.length} successful requests, the result counts ${found.request_count.avg}`,
    )
  if (found.was_cancelled === true) notes.push('the run was cancelled')
  return {
    tool: TOOL,
    version: found.aiperf_version ?? null,
    column: {
      tool: TOOL,
      how: DEFINITIONS[TOOL],
      ttftMs: stats(found.time_to_first_token),
      tpotMs: null,
      itlMs: stats(found.inter_token_latency),
      e2eMs: stats(found.request_latency),
      outputTokensPerSecond: found.output_token_throughput?.avg ?? null,
      requestsPerSecond: found.request_throughput.avg,
      totalTokensPerSecond: found.total_token_throughput?.avg ?? null,
    },
    model: found.input_config?.models?.items[0]?.name ?? null,
    requestsOk: found.request_count.avg,
    requestsFailed: found.error_request_count?.avg ?? (found.aiperf_version === undefined ? null : 0),
    concurrency: found.input_config?.phases?.at(-1)?.concurrency ?? null,
    notes,
    events: whole ? { ...events, window: phaseOf(found.start_time, found.end_time) } : null,
  }
}

/** Start and end of the measured phase, local times with microseconds; only their difference is used. */
function phaseOf(start: string | null | undefined, end: string | null | undefined): ToolWindow | null {
  const startMicros = microsOf(start)
  const endMicros = microsOf(end)
  return startMicros === null || endMicros === null ? null : { startNs: 0, endNs: (endMicros - startMicros) * 1e3 }
}

function microsOf(time: string | null | undefined): number | null {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?/.exec(time ?? '')
  return found === null ? null : Date.parse(`${found[1]}Z`) * 1e3 + Number((found[2] ?? '').padEnd(6, '0'))
}
