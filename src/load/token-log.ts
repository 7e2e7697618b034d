/**
 * When tokens arrived in one request: an entry per socket read that brought any. Typed arrays that grow and are reused; no object per token.
 */
export class TokenLog {
  length = 0
  frames = 0
  #ns: Float64Array
  #tokens: Uint32Array
  #frames: Uint32Array

  constructor(expectedReads: number) {
    const size = Math.max(16, expectedReads)
    this.#ns = new Float64Array(size)
    this.#tokens = new Uint32Array(size)
    this.#frames = new Uint32Array(size)
  }

  reset(): void {
    this.length = 0
    this.frames = 0
  }

  /** A token-bearing frame seen at `ns` after the send; frames of one read carry equal times and share an entry. */
  add(ns: number, tokens: number): void {
    this.frames++
    const last = this.length - 1
    if (last >= 0 && this.#ns[last] === ns) {
      this.#tokens[last]! += tokens
      this.#frames[last]! += 1
      return
    }
    if (this.length === this.#ns.length) this.#grow()
    this.#ns[this.length] = ns
    this.#tokens[this.length] = tokens
    this.#frames[this.length] = 1
    this.length++
  }

  /** Copies for a record. */
  take(): { readNs: Float64Array; readTokens: Uint32Array; readFrames: Uint32Array } {
    return {
      readNs: this.#ns.slice(0, this.length),
      readTokens: this.#tokens.slice(0, this.length),
      readFrames: this.#frames.slice(0, this.length),
    }
  }

  #grow(): void {
    const size = this.#ns.length * 2
    const ns = new Float64Array(size)
    const tokens = new Uint32Array(size)
    const frames = new Uint32Array(size)
    ns.set(this.#ns)
    tokens.set(this.#tokens)
    frames.set(this.#frames)
    this.#ns = ns
    this.#tokens = tokens
    this.#frames = frames
  }
}

/**
 * Spreads `total` tokens over reads in proportion to their frames, when the server says how many tokens there were but not in which frame.
 * Deterministic, sums to `total`, and keeps one token a frame when one frame a token is what came.
 */
export function spreadTokens(readFrames: ArrayLike<number>, total: number): Uint32Array {
  let allFrames = 0
  for (let index = 0; index < readFrames.length; index++) allFrames += readFrames[index]!
  const spread = new Uint32Array(readFrames.length)
  let frames = 0
  let given = 0
  for (let index = 0; index < readFrames.length; index++) {
    frames += readFrames[index]!
    const until = Math.round((frames / allFrames) * total)
    spread[index] = until - given
    given = until
  }
  return spread
}
