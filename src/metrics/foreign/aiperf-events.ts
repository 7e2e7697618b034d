import { z } from 'zod'
import type { ForeignEvents } from './result.js'
import { type ForeignRequest, foreignRecord, isJson, type Json, parseJson, parseShape } from './shape.js'

const TOOL = 'aiperf'

const Metadata = z.looseObject({ request_start_ns: z.number(), benchmark_phase: z.string() })
const Value = z.looseObject({ value: z.number() })

/** A line of profile_export.jsonl: latencies in ms. */
const RecordLine = z.looseObject({
  metadata: Metadata,
  metrics: z.looseObject({
    request_latency: Value,
    time_to_first_token: Value.optional(),
    output_sequence_length: Value,
    input_sequence_length: Value,
  }),
})

/** A line of profile_export_raw.jsonl: the reads and the frames in each. */
const RawLine = z.looseObject({
  metadata: Metadata,
  start_perf_ns: z.number(),
  responses: z.array(
    z.looseObject({
      perf_ns: z.number(),
      packets: z.array(z.looseObject({ name: z.string(), value: z.string().nullish() })),
    }),
  ),
})

/** Successful requests of the measured phase. Throws Failure('bad-result') that names the line and the field. */
export function aiperfEvents(text: string, where: string): ForeignEvents {
  const requests = text
    .trimEnd()
    .split('\n')
    .flatMap((line, index): ForeignRequest[] => {
      const at = `${where}, line ${index + 1}`
      const value = parseJson(line, at)
      if (isJson(value['error'])) return []
      const { metadata } = parseShape(z.looseObject({ metadata: Metadata }), value, at, TOOL)
      if (metadata.benchmark_phase !== 'profiling') return []
      return [Array.isArray(value['responses']) ? fromRaw(value, at) : fromRecord(value, at)]
    })
  // Wall-clock nanoseconds are above 2^53: exact to 256 ns, and only throughput uses them.
  const originNs = requests.reduce((least, { sentNs }) => Math.min(least, sentNs), Infinity)
  const records = requests.map((request, index) => foreignRecord(shifted(request, originNs), index))
  return { records, originNs, clock: 'wall', window: null }
}

/** Times of `request` count from its send. */
function shifted(request: ForeignRequest, originNs: number): ForeignRequest {
  const sentNs = request.sentNs - originNs
  const at = (offsetNs: number | null) => (offsetNs === null ? null : sentNs + offsetNs)
  const { firstChoiceNs, firstTokenNs, lastTokenNs, doneNs } = request
  return {
    ...request,
    sentNs,
    firstChoiceNs: at(firstChoiceNs),
    firstTokenNs: at(firstTokenNs),
    lastTokenNs: at(lastTokenNs),
    doneNs: at(doneNs),
  }
}

function fromRecord(value: Json, at: string): ForeignRequest {
  const { metadata, metrics } = parseShape(RecordLine, value, at, TOOL)
  const lastNs = metrics.request_latency.value * 1e6
  return {
    sentNs: metadata.request_start_ns,
    firstChoiceNs: null,
    firstTokenNs: metrics.time_to_first_token === undefined ? null : metrics.time_to_first_token.value * 1e6,
    lastTokenNs: lastNs,
    doneNs: lastNs,
    outputTokens: metrics.output_sequence_length.value,
    promptTokens: metrics.input_sequence_length.value,
    framesNs: [],
  }
}

function fromRaw(value: Json, at: string): ForeignRequest {
  const { metadata, start_perf_ns: start, responses } = parseShape(RawLine, value, at, TOOL)
  const frames = responses.flatMap(({ perf_ns: ns, packets }) =>
    packets.flatMap(({ value: data }) => {
      const frame = frameOf(data ?? '')
      return frame === null ? [] : [{ ...frame, offsetNs: ns - start }]
    }),
  )
  const withText = frames.filter((frame) => frame.text).map((frame) => frame.offsetNs)
  const usage = parseShape(
    Usage,
    frames.findLast((frame) => frame.usage !== null)?.usage,
    `${at}: last usage frame`,
    TOOL,
  )
  return {
    sentNs: metadata.request_start_ns,
    firstChoiceNs: frames.find((frame) => frame.choice)?.offsetNs ?? null,
    firstTokenNs: withText[0] ?? null,
    lastTokenNs: withText.at(-1) ?? null,
    doneNs: frames.at(-1)?.offsetNs ?? null,
    outputTokens: usage.completion_tokens,
    promptTokens: usage.prompt_tokens,
    framesNs: withText,
  }
}

const Usage = z.looseObject({ completion_tokens: z.number(), prompt_tokens: z.number() })

/** Null: [DONE], a comment. Text is content or reasoning that is not empty, or the text of a completion. */
function frameOf(data: string): { choice: boolean; text: boolean; usage: unknown } | null {
  let frame: unknown
  try {
    frame = JSON.parse(data)
  } catch {
    return null
  }
  if (!isJson(frame)) return null
  const choice = Array.isArray(frame['choices']) ? frame['choices'][0] : undefined
  const delta = isJson(choice) && isJson(choice['delta']) ? choice['delta'] : {}
  const texts = [isJson(choice) ? choice['text'] : '', delta['content'], delta['reasoning_content'], delta['reasoning']]
  return {
    choice: choice !== undefined,
    text: texts.some((text) => typeof text === 'string' && text !== ''),
    usage: frame['usage'] ?? null,
  }
}
