import type { ServerResponse } from 'node:http'
import { monotonicNs } from '../clock.js'

/**
 * Server-sent events with one socket write per stream and engine step: appends of one turn of the event loop are joined and written by
 * the microtask that follows it. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export class EventStream {
  lastWriteNs: number
  #pending = ''
  #ending = false
  #framed = false

  constructor(
    readonly response: ServerResponse,
    readonly flusher: StreamFlusher,
  ) {
    this.lastWriteNs = flusher.nowNs()
  }

  /** Sends the headers; the stream is open from here on. */
  open(): void {
    const { response } = this
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    })
    response.flushHeaders()
    // One chunk is written as one string below; Node would write its four parts apart. HTTP/1.0 gets plain bytes.
    this.#framed = response.chunkedEncoding
    response.chunkedEncoding = false
    this.flusher.track(this)
  }

  /** `text` is whole events: 'data: {..}\n\n'. */
  append(text: string): void {
    if (this.#pending === '') this.flusher.schedule(this)
    this.#pending += text
  }

  end(text: string): void {
    this.append(text)
    this.#ending = true
  }

  /** Called by the flusher. A client that leaves more than the cap unread is cut off; its 'close' aborts the sequences. */
  flush(): void {
    const { response, flusher } = this
    const text = this.#pending
    this.#pending = ''
    if (response.destroyed || response.writableEnded) return
    this.lastWriteNs = flusher.nowNs()
    response.write(this.#framed ? `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n` : text)
    if (response.writableLength > flusher.maxBufferedBytes) {
      flusher.untrack(this)
      response.destroy()
    } else if (this.#ending) this.#close()
  }

  #close(): void {
    const { response, flusher } = this
    flusher.untrack(this)
    // A reader that stalls on the last bytes is given this long.
    response.socket?.setTimeout(flusher.drainTimeoutMs)
    response.end(this.#framed ? '0\r\n\r\n' : undefined)
  }
}

export interface StreamLimits {
  /** Bytes one stream may leave unread. */
  maxBufferedBytes: number
  /** Idle time after which a comment is sent, so that proxies keep the connection. 0: never. */
  pingMs: number
  drainTimeoutMs: number
}

/** The streams of one server: what is to be written this turn, and which need a ping. */
export class StreamFlusher {
  readonly maxBufferedBytes: number
  readonly drainTimeoutMs: number
  readonly #open = new Set<EventStream>()
  readonly #pingNs: number
  readonly #timer: NodeJS.Timeout | null
  #dirty: EventStream[] = []
  #nowNs = 0

  constructor(limits: StreamLimits) {
    this.maxBufferedBytes = limits.maxBufferedBytes
    this.drainTimeoutMs = limits.drainTimeoutMs
    this.#pingNs = limits.pingMs * 1e6
    this.#timer = limits.pingMs > 0 ? setInterval(() => this.#ping(), Math.max(10, limits.pingMs / 4)).unref() : null
  }

  /** CLOCK_MONOTONIC ns, read once per turn while streams are being written. */
  nowNs(): number {
    if (this.#nowNs !== 0) return this.#nowNs
    const now = monotonicNs()
    if (this.#dirty.length > 0) this.#nowNs = now
    return now
  }

  schedule(stream: EventStream): void {
    if (this.#dirty.push(stream) === 1) queueMicrotask(() => this.#flush())
  }

  track(stream: EventStream): void {
    this.#open.add(stream)
    stream.response.once('close', () => this.#open.delete(stream))
  }

  untrack(stream: EventStream): void {
    this.#open.delete(stream)
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer)
  }

  #flush(): void {
    const dirty = this.#dirty
    this.#dirty = []
    for (const stream of dirty) stream.flush()
    this.#nowNs = 0
  }

  #ping(): void {
    const dueNs = this.nowNs() - this.#pingNs
    for (const stream of this.#open) if (stream.lastWriteNs <= dueNs) stream.append(': ping\n\n')
  }
}
