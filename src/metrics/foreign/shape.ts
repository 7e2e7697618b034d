import type { z } from 'zod'
import { Failure } from '../../failure.js'
import type { RequestRecord, ToolStats } from '../../result/schema.js'

export type Json = Record<string, unknown>

export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** One JSON object. Throws Failure('bad-result'). */
export function parseJson(text: string, where: string): Json {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Failure(
      'bad-result',
      `${where}: not JSON, or cut after ${text.length} characters: ${(cause as Error).message}`,
      'copy the whole file again, or let the tool write it once more',
      { cause },
    )
  }
  if (isJson(value)) return value
  throw new Failure('bad-result', `${where}: not a JSON object`, 'give the result file as the tool wrote it')
}

/** `value` in the shape that the tool's file must have; the first field that is wrong is named. Throws Failure('bad-result'). */
export function parseShape<T>(schema: z.ZodType<T>, value: unknown, where: string, tool: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const { path, message } = parsed.error.issues[0]!
  throw new Failure(
    'bad-result',
    `${where} (${tool}): field ${path.length === 0 ? 'at the top' : path.join('.')}: ${message}`,
    `this is not a whole result of ${tool}, or of a release with other fields: let the tool write it once more`,
    { cause: parsed.error },
  )
}

/** Null unless the tool printed mean and median. Times `factor` milliseconds. */
export function statsOf(
  mean: number | null | undefined,
  p50: number | null | undefined,
  p90: number | null | undefined,
  p99: number | null | undefined,
  factor = 1,
): ToolStats | null {
  if (mean == null || p50 == null) return null
  return {
    mean: mean * factor,
    p50: p50 * factor,
    p90: p90 == null ? null : p90 * factor,
    p99: p99 == null ? null : p99 * factor,
  }
}

/** What another tool told of one successful request, ns from any origin. `frames`: offsets from the send. */
export interface ForeignRequest {
  sentNs: number
  firstChoiceNs: number | null
  firstTokenNs: number | null
  lastTokenNs: number | null
  doneNs: number | null
  outputTokens: number
  promptTokens: number
  framesNs: number[]
}

/** A record that holds what the tool told and null for the rest; tokens of a frame are not known. */
export function foreignRecord(request: ForeignRequest, index: number): RequestRecord {
  const { sentNs, firstChoiceNs, firstTokenNs, lastTokenNs, doneNs, outputTokens, promptTokens, framesNs } = request
  return {
    index,
    phase: 'measure',
    requestId: `foreign-${index}`,
    worker: 0,
    outcome: 'ok',
    detail: null,
    httpStatus: null,
    finishReason: null,
    freshSocket: false,
    inputTokens: promptTokens,
    outputTokens,
    intendedNs: sentNs,
    dequeuedNs: null,
    sentNs,
    bodySentNs: null,
    headersNs: null,
    firstByteNs: null,
    firstTokenNs,
    firstOutputNs: null,
    lastTokenNs,
    doneNs,
    firstChoiceNs,
    finishNs: null,
    bareFinish: false,
    readNs: framesNs,
    readTokens: framesNs.map(() => 0),
    readFrames: framesNs.map(() => 1),
    counted: outputTokens,
    usagePromptTokens: promptTokens,
    usageCompletionTokens: outputTokens,
    cachedTokens: null,
    engineTokens: null,
    frames: framesNs.length,
    bytes: 0,
    tokenIds: null,
    text: null,
  }
}
