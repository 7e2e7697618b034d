import { FrameReader } from '../../src/load/frame-reader.js'
import { ActiveRequest, type RequestContext } from '../../src/load/request.js'
import { TokenLog } from '../../src/load/token-log.js'
import type { RequestRecord } from '../../src/result/schema.js'

/** A socket read: its bytes and when it came, ms after the send. */
export interface Read {
  atMs: number
  bytes: string | Buffer
}

export interface StreamOptions {
  outputTokens?: number
  status?: number
  headers?: Record<string, string>
  /** How the response ends: in order, or with this error. */
  error?: Error
  verify?: boolean
  keepOutput?: boolean
}

export const SENT_NS = 1e12

/** Feeds reads to a request as undici would, on a clock of the test's; returns the record. */
export function playStream(reads: readonly Read[], options: StreamOptions = {}): RequestRecord {
  let nowNs = SENT_NS
  const context: RequestContext = {
    worker: 0,
    reader: new FrameReader(options.keepOutput ?? true),
    timeouts: { connectSecs: 1, headerSecs: 60, firstTokenSecs: 60, stallSecs: 60, requestSecs: 60 },
    keepOutput: options.keepOutput ?? true,
    readClockNs: () => nowNs,
    onStart: () => {},
    onTokens: () => {},
    onEnd: () => {},
  }
  const outputTokens = options.outputTokens ?? 100
  const row = { measure: true, dueNs: null, thinkNs: 0, inputTokens: 5, outputTokens, exactOutput: true }
  const request = new ActiveRequest(context, 0, row, 'r-0', SENT_NS, new TokenLog(8), options.verify ?? false)
  const controller = { aborted: false, paused: false, reason: null, abort: () => {}, pause: () => {}, resume: () => {} }
  request.dequeuedNs = SENT_NS
  request.sentNs = SENT_NS
  request.onRequestStart(controller)
  request.onWritten()
  const headers = { 'content-type': 'text/event-stream', ...options.headers }
  if (options.status !== 0) request.onResponseStart(controller, options.status ?? 200, headers)
  for (const read of reads) {
    nowNs = SENT_NS + read.atMs * 1e6
    request.onResponseData(controller, Buffer.isBuffer(read.bytes) ? read.bytes : Buffer.from(read.bytes))
  }
  if (options.error !== undefined) request.onResponseError(controller, options.error)
  else request.onResponseEnd()
  const wire = request.record('measure')
  return {
    ...wire,
    readNs: Array.from(wire.readNs),
    readTokens: Array.from(wire.readTokens),
    readFrames: Array.from(wire.readFrames),
  }
}

export const event = (data: unknown): string => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`
export const chat = (delta: object, finish: string | null = null, extra: object = {}): string =>
  event({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }], ...extra })
export const text = (content: string, finish: string | null = null, extra: object = {}): string =>
  event({ id: 'c', object: 'text_completion', choices: [{ index: 0, text: content, finish_reason: finish }], ...extra })
export const usage = (completion: number, prompt = 5, details: object = {}): string =>
  event({ id: 'c', choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion, ...details } })
export const done = 'data: [DONE]\n\n'
