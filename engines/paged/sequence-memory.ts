import { BlockManager } from './block-manager.js'
import { chainHash, PrefixCache, ROOT_HASH } from './prefix-cache.js'
import type { PagedSequence } from './sequence.js'

/** Gives sequences their blocks: grows tables, finds cached prefixes, takes everything back. */
export class SequenceMemory {
  readonly blocks: BlockManager
  readonly #cache: PrefixCache | null

  /** `blockCount` usable blocks of `blockSize` tokens. */
  constructor(
    blockCount: number,
    readonly blockSize: number,
    prefixCaching: boolean,
  ) {
    this.blocks = new BlockManager(blockCount)
    this.#cache = prefixCaching ? new PrefixCache(blockCount, blockSize) : null
  }

  /**
   * Looks up the longest cached prefix, short of the last token (which must be computed to be sampled from), and notes its blocks in
   * the table without holding them. Returns tokens. A sampler that reads the history needs every token computed: no hit.
   */
  findPrefix(sequence: PagedSequence): number {
    if (this.#cache === null || sequence.readsHistory) return 0
    const limit = Math.floor((sequence.length - 1) / this.blockSize)
    let hits = 0
    while (hits < limit) {
      const block = this.#cache.find(this.#hash(sequence, hits), sequence.tokens, hits * this.blockSize)
      if (block === 0) break
      sequence.blocks[hits++] = block
    }
    return hits * this.blockSize
  }

  /** Holds the `hit` tokens' blocks noted by findPrefix and new ones up to `tokens`, leaving `watermark` blocks free; false: nothing is held. */
  admit(sequence: PagedSequence, hit: number, tokens: number, watermark: number): boolean {
    const hits = hit / this.blockSize
    let revived = 0
    for (let i = 0; i < hits; i++) if (this.blocks.references(sequence.blocks[i]!) === 0) revived++
    const fresh = this.#blocksFor(tokens) - hits
    if (this.blocks.free - revived - fresh < watermark) return false
    for (let i = 0; i < hits; i++) this.blocks.retain(sequence.blocks[i]!)
    sequence.blockCount = hits
    sequence.published = hits
    this.#extend(sequence, fresh)
    return true
  }

  /** Makes room for `tokens` tokens in all; false: nothing changed. */
  grow(sequence: PagedSequence, tokens: number): boolean {
    const fresh = this.#blocksFor(tokens) - sequence.blockCount
    if (fresh > this.blocks.free) return false
    this.#extend(sequence, fresh)
    return true
  }

  /** Offers the full blocks below position `tokens` to the prefix cache. Their contents are computed by the step being planned, at the latest. */
  publish(sequence: PagedSequence, tokens: number): void {
    if (this.#cache === null) return
    const full = Math.floor(tokens / this.blockSize)
    while (sequence.published < full) {
      const index = sequence.published++
      this.#cache.insert(sequence.blocks[index]!, this.#hash(sequence, index), sequence.tokens, index * this.blockSize)
    }
  }

  /** Gives every block back, the tail first, so that a prefix outlives what follows it. */
  free(sequence: PagedSequence): void {
    for (let i = sequence.blockCount - 1; i >= 0; i--) {
      const block = sequence.blocks[i]!
      this.blocks.release(block, this.#cache?.has(block) ?? false)
    }
    sequence.blockCount = 0
    sequence.blocksOnDevice = 0
    sequence.published = 0
  }

  #extend(sequence: PagedSequence, fresh: number): void {
    for (let i = 0; i < fresh; i++) {
      const block = this.blocks.take()
      this.#cache?.remove(block)
      sequence.blocks[sequence.blockCount++] = block
    }
  }

  #blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockSize)
  }

  #hash(sequence: PagedSequence, index: number): number {
    while (sequence.hashCount <= index) {
      const i = sequence.hashCount++
      const previous = i === 0 ? ROOT_HASH : sequence.hashes[i - 1]!
      sequence.hashes[i] = chainHash(previous, sequence.tokens, i * this.blockSize, this.blockSize)
    }
    return sequence.hashes[index]!
  }
}
