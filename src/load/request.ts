import type { Dispatcher } from 'undici'
import { nowNs } from '../clock.js'
import type { Outcome } from '../result/schema.js'
import type { Timeouts } from '../scenario/types.js'
import { BadFrame, oneLine, type Usage } from './frame.js'
import type { FrameReader, FrameSink, StreamState } from './frame-reader.js'
import type { WireRecord, WorkerRow } from './messages.js'
import { bodyText, errorOutcome, responseOutcome } from './outcome.js'
import { EventScanner } from './sse.js'
import { impossibleUsage, type StreamCounts, settleCounts } from './token-counts.js'
import type { TokenLog } from './token-log.js'
import type { BodySink, Wire } from './wire.js'

const MAX_ERROR_BODY = 16 * 1024
/** An end the harness decided on; it is never reported as the socket error it causes. */
class Decided extends Error {}

/** What a request needs of its worker. */
export interface RequestContext {
  worker: number
  reader: FrameReader
  timeouts: Timeouts
  keepOutput: boolean
  /** One clock reading per socket read: frames of a read share it. */
  readClockNs(): number
  /** The head is about to be written, sentNs is set. */
  onStart(request: ActiveRequest): void
  onTokens(count: number): void
  onEnd(request: ActiveRequest): void
}

/** One request in flight: undici's handler, the stream's sink, and its record. Never retried, never redirected. */
export class ActiveRequest implements Dispatcher.DispatchHandler, FrameSink, BodySink {
  dequeuedNs: number | null = null
  sentNs: number | null = null
  bodySentNs: number | null = null
  freshSocket = false
  outcome: Outcome | null = null
  readonly #state: StreamState
  readonly #scanner: EventScanner
  #wire: Wire | null = null
  #controller: Dispatcher.DispatchController | null = null
  #written = false
  #detail: string | null = null
  #status: number | null = null
  #headersNs: number | null = null
  #firstByteNs: number | null = null
  #firstTokenNs: number | null = null
  #firstOutputNs: number | null = null
  #lastTokenNs: number | null = null
  #doneNs: number | null = null
  #firstChoiceNs: number | null = null
  #finishNs: number | null = null
  #bareFinish = false
  #readNs = 0
  #bytes = 0
  #frameTokens = 0
  #unknownFrames = 0
  #idTokens = 0
  #finishReason: string | null = null
  #usage: Usage | null = null
  #refused: Outcome | null = null
  #errorBody: Buffer[] = []
  #text: string[] = []
  #ids: number[] = []

  constructor(
    readonly context: RequestContext,
    readonly index: number,
    readonly row: WorkerRow,
    readonly requestId: string,
    readonly intendedNs: number,
    readonly log: TokenLog,
    verify: boolean,
  ) {
    this.#state = { usageTokens: 0, verify }
    this.#scanner = new EventScanner(
      (data, eventName) => context.reader.read(data, eventName, this.#state, this),
      (bytes, start, end) => context.reader.readKnown(bytes, start, end, this.#state, this),
    )
  }

  /**
   * Called just before the head is written, which on a kept-alive socket is a turn of the event loop after the dispatch (undici looks first whether the
   * server has closed it). That turn is the client's lateness, not the server's TTFT.
   */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.outcome !== null) {
      controller.abort(new Decided())
      return
    }
    this.sentNs ??= nowNs()
    this.context.onStart(this)
  }

  /** The socket that the head is written to. */
  onSocket(isFresh: boolean, wire: Wire | null): void {
    this.freshSocket = isFresh
    this.#wire = wire
    wire?.begin(this)
  }

  /** The body left for the socket. */
  onWritten(): void {
    this.#written = true
    this.bodySentNs = nowNs()
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return
    this.#status = status
    this.#headersNs = this.context.readClockNs()
    const type = String(headers['content-type'] ?? '')
    this.#refused = responseOutcome(status, type, String(headers['content-encoding'] ?? ''))
    if (this.#refused === 'content-type')
      this.#detail = oneLine(`content-type ${type || 'absent'} ${headers['content-encoding'] ?? ''}`)
    if (this.#refused === 'http-redirect') this.#detail = oneLine(`to ${headers['location'] ?? 'nowhere'}`)
    if (this.#refused === null && headers['transfer-encoding'] === 'chunked') this.#wire?.takeBody()
    else this.#wire?.leaveBody()
  }

  /** What the HTTP library hands over: bodies under TLS, of known length, of error answers. */
  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#refused === null) this.onBody(chunk, 0, chunk.length, this.context.readClockNs())
    else if (this.outcome === null) this.#onErrorBody(this.#refused, chunk)
  }

  onBrokenBody(): void {
    this.end('bad-frame', 'not HTTP: a chunk does not end where its size says')
  }

  onBody(bytes: Buffer, start: number, end: number, readNs: number): void {
    if (this.outcome !== null) return
    this.#readNs = readNs
    this.#firstByteNs ??= readNs
    this.#bytes += end - start
    try {
      if (!this.#scanner.push(bytes, start, end)) this.end('bad-frame', 'a line of more than 1 MiB')
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error
      this.end('bad-frame', error.message)
    }
  }

  onResponseEnd(): void {
    this.#doneNs = nowNs()
    this.#controller = null
    if (this.#refused !== null) this.end(this.#refused, this.#errorDetail())
    else if (this.#finishReason === null) this.end('truncated', 'the stream ended without a finish reason')
    else this.#endComplete()
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.outcome !== null) return
    const { outcome, detail } = errorOutcome(error, this.#written)
    this.end(this.#refused ?? outcome, this.#refused === null ? detail : this.#errorDetail())
  }

  onTokens(kind: 'output' | 'reasoning' | 'tool', tokens: number, ids: number): void {
    if (this.outcome !== null) return
    if (this.#finishReason !== null) throw new BadFrame('tokens after the finish reason')
    this.#firstTokenNs ??= this.#readNs
    this.#firstChoiceNs ??= this.#readNs
    if (kind !== 'reasoning') this.#firstOutputNs ??= this.#readNs
    this.#lastTokenNs = this.#readNs
    if (tokens === 0) this.#unknownFrames++
    this.#frameTokens += tokens
    this.#idTokens += ids
    this.log.add(this.#readNs - this.sentNs!, tokens === 0 ? 1 : tokens)
    this.context.onTokens(tokens === 0 ? 1 : tokens)
  }

  onText(text: string): void {
    this.#text.push(text)
  }

  onTokenIds(ids: readonly number[]): void {
    for (const id of ids) this.#ids.push(id)
  }

  onUsage(usage: Usage): void {
    this.#usage = usage
  }

  onEmptyChoice(): void {
    this.#firstChoiceNs ??= this.#readNs
  }

  onFinish(reason: string, bare: boolean): void {
    if (this.#finishReason !== null) throw new BadFrame('two finish reasons')
    this.#finishReason = reason
    this.#finishNs = this.#readNs
    this.#bareFinish = bare
  }

  onErrorEvent(text: string): void {
    this.end('stream-error', text)
  }

  onDone(): void {
    // The end of the response, not [DONE], ends the request: usage may still be counted and the socket reused.
  }

  /** Ends the request by our own decision (deadline, cancellation, bad stream) or with what came. Only the first call counts. */
  end(outcome: Outcome, detail: string | null): void {
    if (this.outcome !== null) return
    this.outcome = outcome
    this.#detail = detail === null ? this.#detail : oneLine(detail)
    this.#doneNs ??= nowNs()
    this.context.onEnd(this)
    this.#controller?.abort(new Decided())
  }

  /** Checked some times a second by the worker; no timer per request. */
  checkDeadlines(atNs: number): void {
    const startNs = this.sentNs ?? this.dequeuedNs
    if (this.outcome !== null || startNs === null) return
    const { headerSecs, firstTokenSecs, stallSecs, requestSecs } = this.context.timeouts
    const since = (fromNs: number) => (atNs - fromNs) / 1e9
    if (this.#refused !== null) {
      // An error body that does not end: its class is known already.
      if (since(this.#headersNs!) > stallSecs) this.end(this.#refused, this.#errorDetail())
    } else if (since(startNs) > requestSecs) this.end('request-timeout', `no end after ${requestSecs} s`)
    else if (this.#headersNs === null && since(startNs) > headerSecs) {
      this.end(this.#written ? 'header-timeout' : 'connect-failed', `no headers after ${headerSecs} s`)
    } else if (this.#firstTokenNs === null && this.#headersNs !== null && since(startNs) > firstTokenSecs) {
      this.end('first-token-timeout', `no token after ${firstTokenSecs} s`)
    } else if (this.#lastTokenNs !== null && since(this.#lastTokenNs) > stallSecs) {
      this.end('stall-timeout', `nothing for ${stallSecs} s after ${this.log.frames} frames`)
    }
  }

  record(phase: WireRecord['phase']): WireRecord {
    const reads = this.log.take()
    const counts = settleCounts(this.#counts(), reads.readFrames)
    return {
      index: this.index,
      phase,
      requestId: this.requestId,
      worker: this.context.worker,
      outcome: this.outcome!,
      detail: this.#detail,
      httpStatus: this.#status,
      finishReason: this.#finishReason,
      freshSocket: this.freshSocket,
      inputTokens: this.row.inputTokens,
      outputTokens: this.row.outputTokens,
      intendedNs: this.intendedNs,
      dequeuedNs: this.dequeuedNs,
      sentNs: this.sentNs,
      bodySentNs: this.bodySentNs,
      headersNs: this.#headersNs,
      firstByteNs: this.#firstByteNs,
      firstTokenNs: this.#firstTokenNs,
      firstOutputNs: this.#firstOutputNs,
      lastTokenNs: this.#lastTokenNs,
      doneNs: this.#doneNs,
      firstChoiceNs: this.#firstChoiceNs,
      finishNs: this.#finishNs,
      bareFinish: this.#bareFinish,
      readNs: reads.readNs,
      readTokens: counts.spread ?? reads.readTokens,
      readFrames: reads.readFrames,
      counted: counts.counted,
      usagePromptTokens: this.#usage?.promptTokens ?? null,
      usageCompletionTokens: this.#usage?.completionTokens ?? null,
      cachedTokens: this.#usage?.cachedTokens ?? null,
      engineTokens: this.#idTokens > 0 ? this.#idTokens : null,
      frames: this.log.frames,
      bytes: this.#bytes,
      tokenIds: this.context.keepOutput && this.#ids.length > 0 ? this.#ids : null,
      text: this.context.keepOutput ? this.#text.join('') : null,
    }
  }

  #onErrorBody(refused: Outcome, chunk: Buffer): void {
    this.#firstByteNs ??= this.context.readClockNs()
    this.#bytes += chunk.length
    if (this.#bytes > MAX_ERROR_BODY) this.end(refused, this.#errorDetail())
    else this.#errorBody.push(chunk)
  }

  #endComplete(): void {
    const lie = impossibleUsage(this.#counts())
    this.end(lie === null ? 'ok' : 'usage-mismatch', lie)
  }

  #counts(): StreamCounts {
    return {
      usage: this.#usage,
      ids: this.#idTokens,
      known: this.#frameTokens,
      unknownFrames: this.#unknownFrames,
      frames: this.log.frames,
      asked: this.row.outputTokens,
    }
  }

  #errorDetail(): string | null {
    const text = bodyText(Buffer.concat(this.#errorBody).toString('utf8'))
    if (text === '') return this.#detail ?? `HTTP ${this.#status}, no body`
    return this.#detail === null ? `${this.#status}: ${text}` : `${this.#detail}: ${text}`
  }
}
