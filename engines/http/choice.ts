import type { TokenLogprobs, TokenOutput } from '../engine.js'
import type { GenerationSettings } from './settings.js'
import { StopMatcher } from './stop-matcher.js'
import type { Detokenizer, TextCodec } from './text-codec.js'

export interface TokenEntry {
  id: number
  logprobs: TokenLogprobs
}

/**
 * One choice of a response: engine outputs in, text out. `text`, `tokenIds` and `entries` hold what came since the last clear().
 * The token that ended the sequence is counted and listed in tokenIds, but has no text and no entry unless asked for.
 */
export class Choice {
  text = ''
  tokenIds: number[] = []
  entries: TokenEntry[] = []
  finishReason: 'stop' | 'length' | null = null
  completionTokens = 0
  cachedTokens = 0
  /** Characters of token text in the entries sent so far (text_offset). */
  textOffset = 0
  /** Nothing of this choice has been sent yet. */
  fresh = true
  firstTokenNs = 0
  lastTokenNs = 0
  readonly #settings: GenerationSettings
  readonly #detokenizer: Detokenizer
  readonly #stops: StopMatcher

  constructor(
    /** Engine-wide id: 'cmpl-..-0'. */
    readonly id: string,
    readonly index: number,
    readonly promptIndex: number,
    settings: GenerationSettings,
    codec: TextCodec,
  ) {
    this.#settings = settings
    this.#detokenizer = codec.createDetokenizer({ skipSpecialTokens: settings.skipSpecialTokens })
    this.#stops = new StopMatcher(settings.stop, settings.includeStop)
  }

  /** Takes one output; what follows a stop string in it is dropped. Sets finishReason when the choice is complete. */
  accept(output: TokenOutput): void {
    const ids = output.tokenIds
    this.cachedTokens = output.cachedTokens
    for (let i = 0; i < ids.length; i++) {
      const ended = output.finishReason === 'stop' && i === ids.length - 1 && output.stopTokenId !== null
      this.#take(ids[i], output.logprobs === null ? null : output.logprobs[i], ended)
      if (this.#stops.matched !== null) {
        this.finishReason = 'stop'
        return
      }
    }
    if (output.finishReason === 'stop' || output.finishReason === 'length') this.#finish(output.finishReason)
  }

  /** Something to send: text, or the end. Tokens without text yet wait for those that complete a character. */
  get ready(): boolean {
    return this.text !== '' || this.finishReason !== null
  }

  clear(): void {
    this.text = ''
    this.fresh = false
    if (this.tokenIds.length > 0) this.tokenIds = []
    if (this.entries.length > 0) this.entries = []
  }

  #take(id: number, logprobs: TokenLogprobs | null, ended: boolean): void {
    this.completionTokens++
    if (this.#settings.returnTokenIds) this.tokenIds.push(id)
    if (ended && !this.#settings.includeStop) return
    if (logprobs !== null) this.entries.push({ id, logprobs })
    this.text += this.#stops.push(this.#detokenizer.push(id), this.completionTokens >= this.#settings.minTokens)
  }

  #finish(reason: 'stop' | 'length'): void {
    this.text += this.#stops.push(this.#detokenizer.flush(), this.completionTokens >= this.#settings.minTokens)
    this.text += this.#stops.flush()
    this.finishReason = this.#stops.matched !== null ? 'stop' : reason
  }
}
