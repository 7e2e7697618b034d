/**
 * Server-sent events from bytes, by the rules of https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream:
 * lines end with LF, CRLF or CR; a blank line ends an event; `data:` with or without one space; comments, other fields and a BOM are passed over.
 * A chunk may end anywhere. No strings are made: an event's data is a view of the chunk where it lies in one chunk on one line, valid during the call.
 */
const LF = 10
const CR = 13
const COLON = 58
const SPACE = 32
/** A line longer than this is not an event stream of tokens. */
export const MAX_LINE_BYTES = 1024 * 1024

export class EventScanner {
  readonly #onData: (data: Uint8Array, eventName: string | null) => void
  readonly #readKnown: (bytes: Buffer, start: number, end: number) => number
  /** Bytes of an unfinished line. */
  #carry: Buffer | null = null
  #data: Uint8Array | null = null
  #eventName: string | null = null
  #atStart = true
  #skipLf = false

  /** `readKnown` may take whole events from the front of the bytes, where it knows them at sight; it gives the index after the last it took. */
  constructor(
    onData: (data: Uint8Array, eventName: string | null) => void,
    readKnown: (bytes: Buffer, start: number, end: number) => number = (_, start) => start,
  ) {
    this.#onData = onData
    this.#readKnown = readKnown
  }

  /**
   * Takes the next bytes of the body, chunk[start, end); they need not outlive the call. False: a line is longer than MAX_LINE_BYTES, the stream is to
   * be given up.
   */
  push(chunk: Buffer, start = 0, end = chunk.length): boolean {
    const isBetweenEvents = this.#data === null && this.#eventName === null && this.#carry === null
    const from = isBetweenEvents && !this.#atStart && !this.#skipLf ? this.#readKnown(chunk, start, end) : start
    return from === end || this.#push(chunk.subarray(from, end))
  }

  #push(chunk: Buffer): boolean {
    let buffer = chunk
    if (this.#carry !== null) {
      buffer = Buffer.concat([this.#carry, chunk])
      this.#carry = null
    }
    if (this.#atStart) {
      if (isPartOfBom(buffer)) {
        this.#carry = Buffer.from(buffer)
        return true
      }
      if (buffer[0] === 0xef && buffer[1] === 0xbb && buffer[2] === 0xbf) buffer = buffer.subarray(3)
      this.#atStart = false
    }
    const end = buffer.indexOf(CR) === -1 ? this.#scanLf(buffer) : this.#scanAny(buffer)
    if (end < buffer.length) this.#carry = Buffer.from(buffer.subarray(end))
    // The event goes on in the next bytes, when these are gone.
    if (this.#data !== null) this.#data = Uint8Array.from(this.#data)
    return buffer.length - end <= MAX_LINE_BYTES
  }

  #scanLf(buffer: Buffer): number {
    let start = 0
    if (this.#skipLf && buffer.length > 0) {
      this.#skipLf = false
      if (buffer[0] === LF) start = 1
    }
    for (;;) {
      const end = buffer.indexOf(LF, start)
      if (end === -1) return start
      this.#line(buffer, start, end)
      start = end + 1
    }
  }

  /** The same for streams with carriage returns: a CR at the end of a chunk may be followed by its LF in the next. */
  #scanAny(buffer: Buffer): number {
    let start = 0
    for (let at = 0; at < buffer.length; at++) {
      const byte = buffer[at]
      if (byte !== LF && byte !== CR) {
        this.#skipLf = false
        continue
      }
      if (byte === LF && this.#skipLf && at === start) {
        this.#skipLf = false
        start = at + 1
        continue
      }
      this.#line(buffer, start, at)
      start = at + 1
      this.#skipLf = byte === CR
    }
    return start
  }

  #line(buffer: Buffer, start: number, end: number): void {
    if (start === end) {
      if (this.#data !== null) this.#onData(this.#data, this.#eventName)
      this.#data = null
      this.#eventName = null
      return
    }
    const first = buffer[start]
    if (first === COLON) return
    // 'd' of data, 'e' of event; id and retry mean nothing here.
    if (first === 100 && fieldIs(buffer, start, end, 'data')) {
      const value = buffer.subarray(valueStart(buffer, start + 4, end), end)
      this.#data = this.#data === null ? value : Buffer.concat([this.#data, NEWLINE, value])
    } else if (first === 101 && fieldIs(buffer, start, end, 'event')) {
      this.#eventName = buffer.toString('utf8', valueStart(buffer, start + 5, end), end)
    }
  }
}

const NEWLINE = Buffer.from('\n')

function isPartOfBom(buffer: Buffer): boolean {
  const bom = [0xef, 0xbb, 0xbf]
  return buffer.length < 3 && buffer.every((byte, index) => byte === bom[index])
}

/** The line is `name`, or `name:` and a value. */
function fieldIs(buffer: Buffer, start: number, end: number, name: string): boolean {
  const after = start + name.length
  if (after > end || (after < end && buffer[after] !== COLON)) return false
  for (let index = 1; index < name.length; index++) {
    if (buffer[start + index] !== name.charCodeAt(index)) return false
  }
  return true
}

function valueStart(buffer: Buffer, colon: number, end: number): number {
  if (colon >= end) return end
  return buffer[colon + 1] === SPACE && colon + 1 < end ? colon + 2 : colon + 1
}
