/**
 * Finds stop strings in a stream of text pieces, and lets no part of one out before it is sure. The stream ends at the first character
 * that completes any stop string (of two that end together the longer counts), so the result does not depend on how the text was cut
 * into tokens. One Knuth-Morris-Pratt automaton per stop string: https://doi.org/10.1137/0206024
 */
export class StopMatcher {
  /** The stop string found, or null so far. */
  matched: string | null = null
  readonly #stops: readonly string[]
  readonly #includeStop: boolean
  readonly #failures: Int32Array[]
  /** Per stop string: how many of its characters the text ends with. */
  readonly #states: Int32Array
  #held = ''

  constructor(stops: readonly string[], includeStop: boolean) {
    this.#stops = stops
    this.#includeStop = includeStop
    this.#failures = stops.map(failureTable)
    this.#states = new Int32Array(stops.length)
  }

  /** Takes the next piece, returns the text that may go out now. While not `armed` (min_tokens) a stop string passes as text. */
  push(piece: string, armed = true): string {
    if (this.#stops.length === 0) return piece
    if (this.matched !== null) return ''
    const text = this.#held + piece
    for (let at = this.#held.length; at < text.length; at++) {
      const length = this.#advance(text.charCodeAt(at), armed)
      if (length > 0) {
        this.#held = ''
        return text.slice(0, this.#includeStop ? at + 1 : at + 1 - length)
      }
    }
    const keep = Math.max(...this.#states)
    this.#held = text.slice(text.length - keep)
    return text.slice(0, text.length - keep)
  }

  /** The text held back, once it is known that nothing follows. */
  flush(): string {
    const held = this.#held
    this.#held = ''
    this.#states.fill(0)
    return held
  }

  /** Steps every automaton by one character; the length of the longest stop string completed by it, or 0. */
  #advance(code: number, armed: boolean): number {
    let completed = 0
    for (let i = 0; i < this.#stops.length; i++) {
      const stop = this.#stops[i]
      const failure = this.#failures[i]
      let state = this.#states[i]
      while (state > 0 && stop.charCodeAt(state) !== code) state = failure[state - 1]
      if (stop.charCodeAt(state) === code) state++
      if (state === stop.length) {
        if (armed && state > completed) {
          completed = state
          this.matched = stop
        }
        state = failure[state - 1]
      }
      this.#states[i] = state
    }
    return completed
  }
}

/** failure[i]: length of the longest proper prefix of stop[0..i] that is also its suffix. */
function failureTable(stop: string): Int32Array {
  const failure = new Int32Array(stop.length)
  let length = 0
  for (let i = 1; i < stop.length; i++) {
    while (length > 0 && stop.charCodeAt(i) !== stop.charCodeAt(length)) length = failure[length - 1]
    if (stop.charCodeAt(i) === stop.charCodeAt(length)) length++
    failure[i] = length
  }
  return failure
}
