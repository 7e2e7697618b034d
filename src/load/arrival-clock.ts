import { nowNs } from '../clock.js'

/** setTimeout is armed this much early and the rest is waited in setImmediate turns, so that sockets are still served. */
const SPIN_NS = 2e6
/** Items fired in one turn of the loop. */
const MAX_FIRED = 4

/** Calls `fire(n)` for n = 0, 1, ... each as soon as `dueNs(n)` has come; a late one at once, and none shifts the next. `dueNs` null: the end. */
export class ArrivalClock {
  #next = 0
  #stopped = false
  #timer: NodeJS.Timeout | null = null

  constructor(
    readonly dueNs: (n: number) => number | null,
    readonly fire: (n: number) => void,
  ) {}

  start(): void {
    this.#turn()
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  readonly #turn = (): void => {
    if (this.#stopped) return
    let dueNs = this.dueNs(this.#next)
    // A burst that takes longer than its gaps must not keep the sockets waiting until it is through.
    for (let fired = 0; fired < MAX_FIRED && dueNs !== null && dueNs <= nowNs(); fired++) {
      this.fire(this.#next++)
      if (this.#stopped) return
      dueNs = this.dueNs(this.#next)
    }
    if (dueNs === null) return
    const waitNs = dueNs - nowNs() - SPIN_NS
    if (waitNs <= 0) setImmediate(this.#turn)
    else this.#timer = setTimeout(this.#turn, Math.floor(waitNs / 1e6))
  }
}
