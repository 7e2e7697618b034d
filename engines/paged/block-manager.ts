/**
 * Who holds which block of the KV cache. Blocks are 1..count; 0 is the dummy block, never handed out, and here the sentinel of the
 * free list:
 *
 *   0 <-> least recently used <-> ... <-> most recently used <-> 0
 *
 * A block is in the list exactly when nobody refers to it. Its contents stay usable until take() pops it, so the list doubles as the
 * eviction order of the prefix cache. Every operation is constant-time and allocates nothing.
 */
export class BlockManager {
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #references: Int32Array
  #free: number

  /** `count`: usable blocks. */
  constructor(readonly count: number) {
    this.#next = new Int32Array(count + 1)
    this.#previous = new Int32Array(count + 1)
    this.#references = new Int32Array(count + 1)
    for (let block = 0; block <= count; block++) {
      this.#next[block] = block === count ? 0 : block + 1
      this.#previous[block] = block === 0 ? count : block - 1
    }
    this.#free = count
  }

  get free(): number {
    return this.#free
  }
  get used(): number {
    return this.count - this.#free
  }
  references(block: number): number {
    return this.#references[block]!
  }

  /** The least recently used free block, now with one reference. The caller has checked `free`. */
  take(): number {
    const block = this.#next[0]!
    if (block === 0) throw new RangeError('BlockManager.take: no free block')
    this.#unlink(block)
    this.#references[block] = 1
    return block
  }

  /** One more holder; a free block leaves the list with its contents. */
  retain(block: number): void {
    if (this.#references[block]!++ === 0) this.#unlink(block)
  }

  /** One holder less; the last one frees it: to the end that is used again last when its contents are worth keeping, else to the other. */
  release(block: number, worthKeeping: boolean): void {
    const references = this.#references[block]!
    if (references === 0) throw new RangeError(`BlockManager.release: block ${block} is free`)
    this.#references[block] = references - 1
    if (references > 1) return
    const before = worthKeeping ? this.#previous[0]! : 0
    const after = this.#next[before]!
    this.#next[before] = block
    this.#previous[block] = before
    this.#next[block] = after
    this.#previous[after] = block
    this.#free++
  }

  /** Throws Error naming the broken invariant: the list is sound and holds exactly the blocks without references. */
  checkIntegrity(): void {
    let listed = 0
    for (let block = this.#next[0]!; block !== 0; block = this.#next[block]!) {
      if (this.#references[block] !== 0)
        throw new Error(`block ${block} is free and has ${this.#references[block]} references`)
      if (this.#next[this.#previous[block]!] !== block) throw new Error(`free list broken at block ${block}`)
      if (++listed > this.count) throw new Error('free list has a cycle')
    }
    if (listed !== this.#free) throw new Error(`free list holds ${listed} blocks, counter says ${this.#free}`)
    let unreferenced = 0
    for (let block = 1; block <= this.count; block++) if (this.#references[block] === 0) unreferenced++
    if (unreferenced !== listed)
      throw new Error(`${unreferenced} blocks without references, ${listed} in the free list`)
  }

  #unlink(block: number): void {
    const before = this.#previous[block]!
    const after = this.#next[block]!
    this.#next[before] = after
    this.#previous[after] = before
    this.#free--
  }
}
