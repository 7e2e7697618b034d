import type { Address, Kernels } from './binding.js'

const POOL_BYTES = 256 * 2 ** 20
/** Past the last-level caches of the machines known here (32 MB on the 2-core one, 50 MB on an H100). */
const COLD_BYTES = 128 * 2 ** 20
/** Bounds the recorded graph; only operations on less than 32 KiB keep part of the cache warm by it. */
const MOST_ROTATIONS = 4096
const COLUMNS = 2048

/**
 * Device memory handed out in rotation, so that what an operation touches has left the caches since it was last touched. Inputs are
 * random numbers that nobody overwrites: never zeros (on a GPU they draw less power and run too fast), never what another operation
 * left there (which, read as another type, may be infinite). Outputs have memory of their own.
 */
export class Pool {
  readonly #inputs: Ring
  readonly #outputs: Ring

  /** @param largestBytes the largest single tensor that will be taken */
  constructor(kernels: Kernels, largestBytes: number) {
    this.#inputs = new Ring(kernels, Math.max(POOL_BYTES, largestBytes))
    this.#outputs = new Ring(kernels, Math.max(POOL_BYTES, largestBytes))
  }

  get bytes(): number {
    return this.#inputs.bytes
  }

  /** The next `bytes` to read. */
  input(bytes: number): Address {
    return this.#inputs.take(bytes)
  }

  /** The next `bytes` to write, or to update. */
  output(bytes: number): Address {
    return this.#outputs.take(bytes)
  }

  /** Launches of an operation that touches `bytes` after which the first one's memory has left the caches: at least 2. */
  rotations(bytes: number): number {
    return Math.min(MOST_ROTATIONS, Math.max(2, Math.ceil(COLD_BYTES / Math.max(1, bytes))))
  }

  free(): void {
    this.#inputs.free()
    this.#outputs.free()
  }
}

class Ring {
  readonly bytes: number
  readonly #address: Address
  #next = 0

  constructor(
    readonly kernels: Kernels,
    atLeastBytes: number,
  ) {
    const rows = Math.ceil((atLeastBytes + 4096) / (COLUMNS * kernels.info.weightBytes) / 16) * 16
    this.bytes = kernels.weightBytes(rows, COLUMNS)
    this.#address = kernels.alloc(this.bytes)
    kernels.weightRandom(this.#address, rows, COLUMNS, 1, 1)
    kernels.synchronize()
  }

  /** From the start again when `bytes` do not fit. */
  take(bytes: number): Address {
    if (bytes > this.bytes) throw new RangeError(`${bytes} bytes asked of a pool of ${this.bytes}`)
    if (this.#next + bytes > this.bytes) this.#next = 0
    const address = this.#address + this.#next
    this.#next += Math.ceil(bytes / 256) * 256
    return address
  }

  free(): void {
    this.kernels.free(this.#address)
  }
}
