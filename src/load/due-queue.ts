import { nowNs } from '../clock.js'

/** setTimeout is armed this much early; the rest is waited in setImmediate turns. */
const SPIN_NS = 2e6

/** Fires items at their due times, earliest first: a binary heap on one timer. */
export class DueQueue<T> {
  readonly #due: number[] = []
  readonly #items: T[] = []
  #armed = false
  #stopped = false
  #timer: NodeJS.Timeout | null = null
  #timerDueNs = 0

  constructor(readonly fire: (item: T) => void) {}

  add(dueNs: number, item: T): void {
    let at = this.#due.push(dueNs) - 1
    this.#items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#due[parent]! <= this.#due[at]!) break
      this.#swap(at, parent)
      at = parent
    }
    if (at === 0) this.#arm()
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #arm(): void {
    if (this.#stopped || this.#due.length === 0) return
    const dueNs = this.#due[0]!
    if (this.#armed) {
      if (this.#timer === null || dueNs >= this.#timerDueNs) return
      clearTimeout(this.#timer)
    }
    this.#armed = true
    this.#timer = null
    const waitNs = dueNs - nowNs() - SPIN_NS
    if (waitNs <= 0) setImmediate(this.#turn)
    else {
      this.#timerDueNs = dueNs
      this.#timer = setTimeout(this.#turn, Math.floor(waitNs / 1e6))
    }
  }

  /** Fires what is due now; what is added meanwhile waits for the next turn, so that sockets get theirs. */
  readonly #turn = (): void => {
    this.#timer = null
    const atNs = nowNs()
    const ready: T[] = []
    while (this.#due.length > 0 && this.#due[0]! <= atNs) ready.push(this.#take())
    for (const item of ready) this.fire(item)
    this.#armed = false
    this.#arm()
  }

  #take(): T {
    const item = this.#items[0]!
    const lastDue = this.#due.pop()!
    const lastItem = this.#items.pop()!
    if (this.#due.length > 0) {
      this.#due[0] = lastDue
      this.#items[0] = lastItem
      this.#sink()
    }
    return item
  }

  #sink(): void {
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      if (left >= this.#due.length) return
      const right = left + 1
      const child = right < this.#due.length && this.#due[right]! < this.#due[left]! ? right : left
      if (this.#due[at]! <= this.#due[child]!) return
      this.#swap(at, child)
      at = child
    }
  }

  #swap(a: number, b: number): void {
    const due = this.#due[a]!
    const item = this.#items[a]!
    this.#due[a] = this.#due[b]!
    this.#items[a] = this.#items[b]!
    this.#due[b] = due
    this.#items[b] = item
  }
}
