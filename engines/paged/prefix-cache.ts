const TWO_32 = 2 ** 32

/** Hash of the empty prefix. */
export const ROOT_HASH = 0x9e3779b9

/**
 * 53-bit hash of a prefix that ends with tokens[offset .. offset + count), given the hash of what stands before. Two 32-bit lanes in
 * the manner of MurmurHash3 (Appleby, public domain), the upper one cut to 21 bits: exact in a double, no BigInt.
 */
export function chainHash(previous: number, tokens: Int32Array, offset: number, count: number): number {
  let low = (previous >>> 0) ^ 0x2545f491
  let high = Math.floor(previous / TWO_32) ^ 0x6c8e9cf5
  for (let i = offset; i < offset + count; i++) {
    const token = tokens[i]!
    low = Math.imul(low ^ token, 0xcc9e2d51)
    low = (low << 15) | (low >>> 17)
    high = Math.imul(high + token, 0x85ebca6b) ^ low
    high = (high << 13) | (high >>> 19)
  }
  low = finish(low ^ high)
  high = finish(high + low)
  return (high >>> 11) * TWO_32 + (low >>> 0)
}

/**
 * Finds the block that holds the keys and values of a prefix. An intrusive hash table: a chain of blocks per bucket. A hit compares
 * the block's own tokens, so two prefixes are confused only when their last block is equal and 53-bit hashes of what stands before
 * collide. Each content is registered once; a second block with the same content stays private.
 */
export class PrefixCache {
  readonly #buckets: Int32Array
  readonly #next: Int32Array
  readonly #hash: Float64Array
  readonly #registered: Uint8Array
  readonly #tokens: Int32Array
  #size = 0

  /** Blocks 1..blockCount of `blockSize` tokens. */
  constructor(
    blockCount: number,
    readonly blockSize: number,
  ) {
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(2 * blockCount + 2)))
    this.#next = new Int32Array(blockCount + 1)
    this.#hash = new Float64Array(blockCount + 1)
    this.#registered = new Uint8Array(blockCount + 1)
    this.#tokens = new Int32Array((blockCount + 1) * blockSize)
  }

  get size(): number {
    return this.#size
  }
  has(block: number): boolean {
    return this.#registered[block] === 1
  }

  /** The block registered under `hash` whose tokens equal tokens[offset .. offset + blockSize), or 0. */
  find(hash: number, tokens: Int32Array, offset: number): number {
    let block = this.#buckets[this.#bucket(hash)]!
    while (block !== 0 && !(this.#hash[block] === hash && this.#sameTokens(block, tokens, offset)))
      block = this.#next[block]!
    return block
  }

  /** Registers a full block; false when its content already has one. */
  insert(block: number, hash: number, tokens: Int32Array, offset: number): boolean {
    if (this.find(hash, tokens, offset) !== 0) return false
    const bucket = this.#bucket(hash)
    this.#next[block] = this.#buckets[bucket]!
    this.#buckets[bucket] = block
    this.#hash[block] = hash
    this.#registered[block] = 1
    for (let i = 0; i < this.blockSize; i++) this.#tokens[block * this.blockSize + i] = tokens[offset + i]!
    this.#size++
    return true
  }

  /** Forgets a block, because it will be overwritten. */
  remove(block: number): void {
    if (this.#registered[block] === 0) return
    const bucket = this.#bucket(this.#hash[block]!)
    let before = 0
    for (let b = this.#buckets[bucket]!; b !== block; b = this.#next[b]!) before = b
    if (before === 0) this.#buckets[bucket] = this.#next[block]!
    else this.#next[before] = this.#next[block]!
    this.#registered[block] = 0
    this.#size--
  }

  #bucket(hash: number): number {
    return (hash >>> 0) & (this.#buckets.length - 1)
  }

  #sameTokens(block: number, tokens: Int32Array, offset: number): boolean {
    const base = block * this.blockSize
    for (let i = 0; i < this.blockSize; i++) if (this.#tokens[base + i] !== tokens[offset + i]) return false
    return true
  }
}

function finish(lane: number): number {
  let h = lane
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
