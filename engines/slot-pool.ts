/** Free rows of the slot table, 1..count (0 is the dummy slot); a stack. */
export class SlotPool {
  readonly #stack: Int32Array
  #free: number

  constructor(readonly count: number) {
    this.#stack = Int32Array.from({ length: count }, (_, i) => count - i)
    this.#free = count
  }

  get free(): number {
    return this.#free
  }
  take(): number {
    if (this.#free === 0) throw new RangeError('SlotPool.take: no free slot')
    return this.#stack[--this.#free]!
  }
  give(slot: number): void {
    this.#stack[this.#free++] = slot
  }
}
