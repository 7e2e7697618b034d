import type { Frame } from './frame.js'

/**
 * A token frame learnt once and recognised by its bytes ever after, without strings and without JSON.parse.
 *
 *   {"id":"cmpl-7","choices":[{"index":0,"text":" the","finish_reason":null,"token_ids":[262]}],"usage":null}
 *   {"id":"······","choices":[{"index":0,"text":"~~~~","finish_reason":null,"token_ids":[###]}],"usage":null}
 *
 * Keys, punctuation and literals must match byte for byte; string values (·), numbers, the text (~, at least one byte) and the list of token ids (#)
 * may differ. The choice's index and empty strings are literal, so a frame with a finish reason, an error or another choice never matches.
 */
const STRING = -1
const NUMBER = -2
const TEXT = -3
const IDS = -4
const COMPLETION_TOKENS = -5

const QUOTE = 34
const BACKSLASH = 92
const TEXT_KEYS = new Set(['text', 'content', 'reasoning_content', 'reasoning'])

export class FrameTemplate {
  /** Of the last match: where its text and ids lie in the data, ids counted, and the running usage count; -1 or null when absent. */
  textStart = -1
  textEnd = -1
  idsStart = -1
  idsEnd = -1
  idCount = 0
  completionTokens: number | null = null
  /** All of its strings are ASCII; false: they may not even be UTF-8. */
  isAscii = true
  /** Of the buffer last looked at: sockets share one. */
  #view: DataView = new DataView(new ArrayBuffer(0))

  private constructor(
    readonly textKind: 'output' | 'reasoning',
    /** Holes as they are; a run of literal bytes as its length, then its words of four bytes, then the rest byte by byte. */
    readonly program: Int32Array,
  ) {}

  /** From a frame that readFrame took for one with text and nothing else; null when it has no such shape. */
  static learn(data: Uint8Array, frame: Frame): FrameTemplate | null {
    if (frame.kind !== 'json' || frame.finishReason !== null) return null
    if (frame.textKind !== 'output' && frame.textKind !== 'reasoning') return null
    const ops = compile(data)
    if (ops === null || ops.filter((op) => op === TEXT).length !== 1) return null
    const template = new FrameTemplate(frame.textKind, inRuns(ops))
    return template.match(data, 0, data.length) === data.length ? template : null
  }

  /** The index after the object that stands at `start`, when it has this shape and ends by `end`; else -1. */
  match(data: Uint8Array, start: number, end: number): number {
    const { program } = this
    const view = this.#viewOf(data)
    const offset = data.byteOffset
    let at = start
    this.idCount = 0
    this.completionTokens = null
    this.isAscii = true
    for (let index = 0; index < program.length; ) {
      const op = program[index++]!
      if (op < 0) {
        at = this.#fill(op, data, at, end)
        if (at === -1) return -1
        continue
      }
      if (at + op > end) return -1
      for (const stop = at + (op & ~3); at < stop; at += 4)
        if (view.getInt32(offset + at, true) !== program[index++]) return -1
      for (const stop = at + (op & 3); at < stop; at++) if (data[at] !== program[index++]) return -1
    }
    return at
  }

  #viewOf(data: Uint8Array): DataView {
    if (this.#view.buffer !== data.buffer) this.#view = new DataView(data.buffer)
    return this.#view
  }

  /** What may stand in one hole; -1: not this. */
  #fill(op: number, data: Uint8Array, start: number, end: number): number {
    let at = start
    if (op === STRING || op === TEXT) {
      at = this.#stringEnd(data, start, end)
      if (op === TEXT) {
        if (at === start) return -1
        this.textStart = start
        this.textEnd = at
      }
      return at
    }
    if (op === IDS) {
      while (at < end && isIdsByte(data[at]!)) if (data[at++] === 44) this.idCount++
      if (at > start) this.idCount++
      this.idsStart = start
      this.idsEnd = at
      return at
    }
    if (op === COMPLETION_TOKENS) {
      let value = 0
      while (at < end && isDigit(data[at]!)) value = value * 10 + data[at++]! - 48
      this.completionTokens = value
    } else while (at < end && isNumberByte(data[at]!)) at++
    return at === start ? -1 : at
  }

  /** As stringEnd, and notes bytes that are not ASCII. */
  #stringEnd(data: Uint8Array, start: number, end: number): number {
    let bits = 0
    let at = start
    while (at < end) {
      const byte = data[at]!
      if (byte === QUOTE) {
        if (bits > 127) this.isAscii = false
        return at
      }
      if (byte < 32) return -1
      bits |= byte
      if (byte === BACKSLASH) bits |= data[at + 1]!
      at += byte === BACKSLASH ? 2 : 1
    }
    return -1
  }
}

/** Literal bytes, four at a time. */
function inRuns(ops: readonly number[]): Int32Array {
  const program: number[] = []
  for (let at = 0; at < ops.length; ) {
    if (ops[at]! < 0) {
      program.push(ops[at++]!)
      continue
    }
    let end = at
    while (end < ops.length && ops[end]! >= 0) end++
    program.push(end - at)
    for (; at + 4 <= end; at += 4) {
      program.push(ops[at]! | (ops[at + 1]! << 8) | (ops[at + 2]! << 16) | (ops[at + 3]! << 24))
    }
    for (; at < end; at++) program.push(ops[at]!)
  }
  return Int32Array.from(program)
}

/** Walks valid JSON once: strings after a colon and numbers become holes, all else stays. Null: nothing to learn from it. */
function compile(data: Uint8Array): number[] | null {
  const ops: number[] = []
  let key = ''
  let at = 0
  while (at < data.length) {
    const byte = data[at]!
    if (byte === QUOTE) {
      const end = stringEnd(data, at + 1)
      if (end >= data.length) return null
      let after = end + 1
      while (after < data.length && isSpace(data[after]!)) after++
      if (data[after] === 58) {
        key = Buffer.from(data.subarray(at + 1, end)).toString('utf8')
        for (let copy = at; copy <= end; copy++) ops.push(data[copy]!)
      } else if (end === at + 1) {
        ops.push(QUOTE, QUOTE)
      } else {
        ops.push(QUOTE, TEXT_KEYS.has(key) ? TEXT : STRING, QUOTE)
      }
      at = end + 1
    } else if (byte === 91 && key === 'token_ids') {
      let end = at + 1
      while (end < data.length && isIdsByte(data[end]!)) end++
      if (data[end] !== 93) return null
      ops.push(91, IDS, 93)
      at = end + 1
    } else if (isDigit(byte) || byte === 45) {
      let end = at
      while (end < data.length && isNumberByte(data[end]!)) end++
      if (key === 'index') for (let copy = at; copy < end; copy++) ops.push(data[copy]!)
      else ops.push(key === 'completion_tokens' ? COMPLETION_TOKENS : NUMBER)
      at = end
    } else {
      ops.push(byte)
      at++
    }
  }
  return ops
}

/** Index of the closing quote of the string body that starts at `at`, or beyond the data when it never closes. */
function stringEnd(data: Uint8Array, at: number): number {
  let end = at
  while (end < data.length) {
    const byte = data[end]!
    if (byte === QUOTE) return end
    if (byte < 32) return data.length + 1
    end += byte === BACKSLASH ? 2 : 1
  }
  return data.length + 1
}

function isSpace(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13)
}

function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57
}

function isNumberByte(byte: number): boolean {
  return isDigit(byte) || byte === 45 || byte === 46 || byte === 43 || byte === 69 || byte === 101
}

function isIdsByte(byte: number): boolean {
  return isDigit(byte) || byte === 44 || byte === 32
}
