import type { FinishReason, TokenLogprobs } from './engine.js'

/** Int32 elements of one output: handle, token (-1: none), finish code, stop token (-1: none), cached tokens, us queued (-1: untold). */
export const OUTPUT_INTS = 6

export const FINISH_CODES = ['none', 'stop', 'length', 'abort', 'error'] as const

/** What one turn of the loop tells the main thread: one message, however many sequences moved. */
export interface OutputMessage {
  kind: 'outputs'
  /** int32 [count, OUTPUT_INTS]. */
  ints: Int32Array
  /** By output index, only for those that asked. */
  logprobs: [index: number, values: TokenLogprobs][]
}

/** Collects outputs of a turn; its buffer grows and is kept. */
export class OutputBatch {
  #ints = new Int32Array(64 * OUTPUT_INTS)
  #logprobs: [number, TokenLogprobs][] = []
  #count = 0

  get count(): number {
    return this.#count
  }

  /** `queuedUs`: from the request's arrival to its first step. */
  push(
    handle: number,
    token: number,
    reason: FinishReason | null,
    stopToken: number,
    cachedTokens: number,
    queuedUs = -1,
  ): void {
    const at = this.#count * OUTPUT_INTS
    if (at === this.#ints.length) this.#grow()
    this.#ints[at] = handle
    this.#ints[at + 1] = token
    this.#ints[at + 2] = reason === null ? 0 : FINISH_CODES.indexOf(reason)
    this.#ints[at + 3] = stopToken
    this.#ints[at + 4] = cachedTokens
    this.#ints[at + 5] = queuedUs
    this.#count++
  }

  /** Belongs to the output pushed last. */
  addLogprobs(values: TokenLogprobs): void {
    this.#logprobs.push([this.#count - 1, values])
  }

  /** The message for the main thread; the batch is empty afterwards. */
  take(): OutputMessage {
    const ints = this.#ints.slice(0, this.#count * OUTPUT_INTS)
    const logprobs = this.#logprobs
    this.#count = 0
    if (logprobs.length > 0) this.#logprobs = []
    return { kind: 'outputs', ints, logprobs }
  }

  #grow(): void {
    const larger = new Int32Array(2 * this.#ints.length)
    larger.set(this.#ints)
    this.#ints = larger
  }
}
