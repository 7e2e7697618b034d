import type { OnReadOpts, Socket } from 'node:net'
import { nowNs } from '../clock.js'

/** Who takes the body of an event stream straight from the socket. */
export interface BodySink {
  /** bytes[start, end) of the body, without its chunk frames; valid only during the call. `readNs`: when the read that brought them came. */
  onBody(bytes: Buffer, start: number, end: number, readNs: number): void
  /** The body is not what HTTP calls chunked. */
  onBrokenBody(): void
}

const CR = 13
const LF = 10
const END_OF_HEAD = 0x0d0a0d0a
const INFORMATIONAL = 49
/** Sizes of more hex digits are left to the HTTP library. */
const MAX_SIZE_DIGITS = 7
const READ_BYTES = 64 * 1024
const NOTHING = Buffer.alloc(0)

/** All sockets of a thread read into one buffer: each read is used up before the next. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)

/**
 * Stands between one plain socket and the HTTP library. Heads, ends and whatever is odd go to the library; the chunks of an event stream go straight to
 * its request, which saves a copy, the stream machinery and a parser's callbacks for each token:
 *
 *   HTTP/1.1 200 OK ... \r\n\r\n | 9a\r\ndata: {...}\n\n\r\n  9b\r\ndata: {...}\n\n\r\n ... | 0\r\n\r\n
 *   library                      | request, once the library has taken the head              | library
 *
 * The library never sees the chunks, so it is at the start of a chunk whenever it gets bytes again. RFC 9112, section 7.1.
 */
export class Wire {
  #socket: Socket | null = null
  #sink: BodySink | null = null
  #mode: 'library' | 'head' | 'held' | 'body' = 'library'
  /** The last four bytes of the head, and how many bytes it has so far. */
  #tail = 0
  #headBytes = 0
  #informational = false
  /** Bytes after the head, while the library looks at it; in a body, of a chunk's frame that is not complete. */
  #rest: Buffer = NOTHING
  #chunkLeft = 0
  #owesLineEnd = false

  readonly onread: OnReadOpts = {
    buffer: readBuffer,
    callback: (count) => this.#onRead(readBuffer, count),
  }

  attach(socket: Socket): void {
    this.#socket = socket
  }

  /** A request is being written: the next bytes are the head of its response. */
  begin(sink: BodySink): void {
    this.#sink = sink
    this.#mode = 'head'
    this.#rest = NOTHING
    this.#startHead()
  }

  /** The library has read the head, and the body is an event stream in chunks. Called from within the library's parser: what is held follows after. */
  takeBody(): void {
    if (this.#mode !== 'held') return
    this.#mode = 'body'
    this.#chunkLeft = 0
    this.#owesLineEnd = false
    const held = this.#rest
    this.#rest = NOTHING
    if (held.length > 0) process.nextTick(() => this.#onRead(held, held.length))
  }

  /** The library has read the head, and the body is its own. */
  leaveBody(): void {
    if (this.#mode !== 'held') return
    const held = this.#rest
    this.#release()
    if (held.length > 0) process.nextTick(() => this.#push(held, 0, held.length))
  }

  /** False: the library has enough, reading stops until it asks. */
  #onRead(bytes: Buffer, count: number): boolean {
    if (this.#mode === 'body') {
      this.#decode(bytes, count, nowNs())
      return true
    }
    if (this.#mode === 'head') return this.#readHead(bytes, count)
    if (this.#mode === 'library') return this.#push(bytes, 0, count)
    this.#rest = Buffer.concat([this.#rest, bytes.subarray(0, count)])
    return true
  }

  #readHead(bytes: Buffer, count: number): boolean {
    for (let at = 0; at < count; at++) {
      const byte = bytes[at]!
      // The status follows 'HTTP/1.1 '.
      if (this.#headBytes++ === 9) this.#informational = byte === INFORMATIONAL
      this.#tail = ((this.#tail << 8) | byte) >>> 0
      if (this.#tail !== END_OF_HEAD) continue
      if (this.#informational) {
        this.#startHead()
        continue
      }
      this.#mode = 'held'
      this.#rest = Buffer.from(bytes.subarray(at + 1, count))
      return this.#push(bytes, 0, at + 1)
    }
    return this.#push(bytes, 0, count)
  }

  #decode(read: Buffer, count: number, readNs: number): void {
    let bytes = read
    let end = count
    let at = 0
    if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, read.subarray(0, count)])
      end = bytes.length
      this.#rest = NOTHING
    }
    while (at < end) {
      if (this.#chunkLeft > 0) {
        const stop = Math.min(end, at + this.#chunkLeft)
        this.#chunkLeft -= stop - at
        this.#sink!.onBody(bytes, at, stop, readNs)
        at = stop
        continue
      }
      if (this.#owesLineEnd) {
        if (end - at < 2) break
        if (bytes[at] !== CR || bytes[at + 1] !== LF) {
          this.#sink!.onBrokenBody()
          return
        }
        at += 2
        this.#owesLineEnd = false
        continue
      }
      let stop = at
      let size = 0
      for (; stop < end && stop - at < MAX_SIZE_DIGITS; stop++) {
        const digit = hexDigit(bytes[stop]!)
        if (digit === -1) break
        size = size * 16 + digit
      }
      const isWhole = stop + 1 < end
      if (!isWhole && (stop === end || bytes[stop] === CR)) break
      if (size === 0 || bytes[stop] !== CR || bytes[stop + 1] !== LF) {
        this.#release()
        this.#push(bytes, at, end)
        return
      }
      at = stop + 2
      this.#chunkLeft = size
      this.#owesLineEnd = true
    }
    if (at < end) this.#rest = Buffer.from(bytes.subarray(at, end))
  }

  #startHead(): void {
    this.#tail = 0
    this.#headBytes = 0
    this.#informational = false
  }

  #release(): void {
    this.#mode = 'library'
    this.#sink = null
    this.#rest = NOTHING
  }

  #push(bytes: Buffer, start: number, end: number): boolean {
    return this.#socket!.push(Buffer.from(bytes.subarray(start, end)))
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
