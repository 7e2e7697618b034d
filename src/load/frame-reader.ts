import { isUtf8 } from 'node:buffer'
import { BadFrame, type Frame, readFrame, type Usage } from './frame.js'
import { FrameTemplate } from './frame-template.js'

const MAX_TEMPLATES = 4
const DATA = Buffer.from('data: ')
const LF = 10

/** What a stream's owner is told, in order of arrival. Thrown BadFrame ends the stream. */
export interface FrameSink {
  /** A frame with generated tokens; `tokens` 0 when the frame does not say how many, `ids` of them came as token ids. */
  onTokens(kind: 'output' | 'reasoning' | 'tool', tokens: number, ids: number): void
  /** Only with keepOutput. */
  onText(text: string): void
  onTokenIds(ids: readonly number[]): void
  /** A frame with a choice and no token, such as the role. */
  onEmptyChoice(): void
  /** `bare`: in a frame without tokens. */
  onFinish(reason: string, bare: boolean): void
  onUsage(usage: Usage): void
  onErrorEvent(text: string): void
  onDone(): void
}

/** Per request: the running count of continuous usage, and whether every frame is read both ways. */
export interface StreamState {
  usageTokens: number
  verify: boolean
}

/**
 * Reads the frames of all streams of one worker: by learnt templates where they match, by JSON.parse elsewhere. Streams marked `verify` are read both
 * ways; the first disagreement turns the templates off for good and is counted.
 */
export class FrameReader {
  disagreements = 0
  #templates: FrameTemplate[] = []
  #fast = true

  constructor(readonly keepOutput: boolean) {}

  /** One event's data. Throws BadFrame. */
  read(data: Uint8Array, eventName: string | null, state: StreamState, sink: FrameSink): void {
    if (this.#fast && eventName === null) {
      for (const template of this.#templates) {
        if (template.match(data, 0, data.length) !== data.length) continue
        if (!template.isAscii && !isUtf8(data)) continue
        if (state.verify && !this.#agrees(template, data, state)) break
        this.#emitFast(template, data, state, sink)
        return
      }
    }
    const frame = readFrame(data, eventName)
    if (this.#fast && this.#templates.length < MAX_TEMPLATES) {
      const template = FrameTemplate.learn(data, frame)
      if (template !== null) this.#templates.push(template)
    }
    this.#emit(frame, state, sink)
  }

  /**
   * Whole events of one line, `data: {...}` and a blank line, from `start` on, as long as the templates know them and the stream is not read both ways.
   * Gives the index after the last one taken. Throws BadFrame.
   */
  readKnown(bytes: Buffer, start: number, end: number, state: StreamState, sink: FrameSink): number {
    if (!this.#fast || state.verify) return start
    let at = start
    for (let next = at; next !== -1; next = this.#knownEvent(bytes, at, end, state, sink)) at = next
    return at
  }

  /** The index after the event at `start`; -1: unknown. */
  #knownEvent(bytes: Buffer, start: number, end: number, state: StreamState, sink: FrameSink): number {
    for (let index = 0; index < DATA.length; index++) if (bytes[start + index] !== DATA[index]) return -1
    for (const template of this.#templates) {
      const stop = template.match(bytes, start + DATA.length, end)
      if (stop === -1 || stop + 2 > end || bytes[stop] !== LF || bytes[stop + 1] !== LF) continue
      if (!template.isAscii && !isUtf8(bytes.subarray(start, stop))) continue
      this.#emitFast(template, bytes, state, sink)
      return stop + 2
    }
    return -1
  }

  #emitFast(template: FrameTemplate, data: Uint8Array, state: StreamState, sink: FrameSink): void {
    const ids = template.idCount
    sink.onTokens(template.textKind, this.#tokensOf(ids, template.completionTokens, state), ids)
    if (!this.keepOutput) return
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    sink.onText(unquote(bytes.toString('utf8', template.textStart, template.textEnd)))
    if (template.idCount > 0)
      sink.onTokenIds(JSON.parse(`[${bytes.toString('latin1', template.idsStart, template.idsEnd)}]`))
  }

  #emit(frame: Frame, state: StreamState, sink: FrameSink): void {
    if (frame.kind === 'done') sink.onDone()
    else if (frame.kind === 'error') sink.onErrorEvent(frame.problem ?? 'error event')
    else this.#emitJson(frame, state, sink)
  }

  #emitJson(frame: Frame, state: StreamState, sink: FrameSink): void {
    const ids = frame.tokenIds?.length ?? 0
    if (frame.textKind !== null || ids > 0) {
      sink.onTokens(frame.textKind ?? 'output', this.#tokensOf(ids, frame.usage?.completionTokens ?? null, state), ids)
      if (this.keepOutput && frame.text !== '') sink.onText(frame.text)
      if (this.keepOutput && frame.tokenIds !== null) sink.onTokenIds(frame.tokenIds)
    }
    const bare = frame.textKind === null && ids === 0
    if (frame.hasChoice && bare) sink.onEmptyChoice()
    if (frame.usage !== null) sink.onUsage(frame.usage)
    if (frame.finishReason !== null) sink.onFinish(frame.finishReason, bare)
  }

  /** Ids count for themselves; a running usage tells by its increase. */
  #tokensOf(ids: number, completionTokens: number | null, state: StreamState): number {
    const step = completionTokens === null ? 0 : Math.max(0, completionTokens - state.usageTokens)
    if (completionTokens !== null) state.usageTokens = Math.max(state.usageTokens, completionTokens)
    return ids > 0 ? ids : step
  }

  #agrees(template: FrameTemplate, data: Uint8Array, state: StreamState): boolean {
    const frame = readFrame(data, null)
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const text = unquote(bytes.toString('utf8', template.textStart, template.textEnd))
    const same =
      frame.kind === 'json' &&
      frame.textKind === template.textKind &&
      frame.text === text &&
      frame.finishReason === null &&
      (frame.tokenIds?.length ?? 0) === template.idCount &&
      (frame.usage?.completionTokens ?? null) === template.completionTokens
    if (!same) {
      this.disagreements++
      this.#fast = false
      state.verify = false
    }
    return same
  }
}

/** The text of a JSON string's body. Throws BadFrame on an escape that JSON does not have. */
function unquote(body: string): string {
  try {
    return JSON.parse(`"${body}"`) as string
  } catch {
    throw new BadFrame('a string that is not JSON')
  }
}
