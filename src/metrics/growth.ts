import { GROWTH_PERCENT, trendPercent } from './steady.js'

const BATCHES = 12
const LEAST_SECS = 10
/** Arrivals fill the server until the first ones leave: nothing is judged before three of their stays have passed, nor over fewer than five. */
const FILL_STAYS = 3
const JUDGED_STAYS = 5
const LEAST_IN_FLIGHT = 8
/** A trend test that is asked again and again is sure by chance now and then: three times in a row it is not. */
const IN_A_ROW = 3
const CHECK_SECS = 1

/**
 * Watches requests in flight of an open loop while it runs, by the same Mann-Kendall test that judges the window afterwards (steady.ts). After
 * guidellm's slope test of concurrency.
 */
export class GrowthWatch {
  readonly #samples: { atSecs: number; inFlight: number }[] = []
  readonly #staySecs: number[] = []
  #sinceSecs: number | null = null
  #checkedSecs = 0
  #inARow = 0

  /** A request has ended after this long. */
  addStay(secs: number): void {
    if (this.#staySecs.length < BATCHES) this.#staySecs.push(secs)
  }

  /** In flight at `atSecs` from the load's start, in the measured phase. The reason to stop, once it is sure; else null. */
  add(atSecs: number, inFlight: number): string | null {
    if (this.#staySecs.length < BATCHES) return null
    const staySecs = [...this.#staySecs].sort((a, b) => a - b)[BATCHES >> 1]!
    this.#sinceSecs ??= Math.max(atSecs, FILL_STAYS * staySecs)
    if (atSecs < this.#sinceSecs) return null
    this.#samples.push({ atSecs, inFlight })
    const spanSecs = atSecs - this.#sinceSecs
    if (spanSecs < Math.max(LEAST_SECS, JUDGED_STAYS * staySecs) || atSecs - this.#checkedSecs < CHECK_SECS) return null
    this.#checkedSecs = atSecs
    const batches = this.#batches()
    const trend = trendPercent(batches)
    const grows = trend !== null && trend > GROWTH_PERCENT && batches.at(-1)! >= LEAST_IN_FLIGHT
    this.#inARow = grows ? this.#inARow + 1 : 0
    if (this.#inARow < IN_A_ROW) return null
    const [first, last] = [batches[0]!.toFixed(0), batches.at(-1)!.toFixed(0)]
    return `requests in flight grew from ${first} to ${last} over ${spanSecs.toFixed(0)} s: the server is past its capacity, and the load was stopped`
  }

  /** Means of equally many samples; what does not fill the twelfth batch stays out, at the old end. */
  #batches(): number[] {
    const size = Math.floor(this.#samples.length / BATCHES)
    const from = this.#samples.length - size * BATCHES
    return Array.from({ length: BATCHES }, (_, batch) => {
      const members = this.#samples.slice(from + batch * size, from + (batch + 1) * size)
      return members.reduce((sum, sample) => sum + sample.inFlight, 0) / members.length
    })
  }
}
