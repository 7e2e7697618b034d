import type { Address, Kernels } from './binding.js'

const POOL_BYTES = 256 * 2 ** 20
/** Past the last-level caches of the machines known here (32 MB on the 2-core one, 50 MB on an H100). */
const COLD_BYTES = 128 * 2 ** 20
/** Bounds the recorded graph; only operations on less than 32 KiB keep part of the cache warm by it. */
const MOST_ROTATIONS = 4096
const COLUMNS = 2048

/**
 * Device memory full of random numbers, handed out in rotation so that what an operation reads has left the caches since it was
 * last touched: 256 MiB is past the caches of any CPU or GPU here. Never zeros: on a GPU they draw less power and run too fast.
 */
export class Pool {
  readonly bytes: number
  readonly #address: Address
  #next = 0

  /** @param largestBytes the largest single tensor that will be taken */
  constructor(
    readonly kernels: Kernels,
    largestBytes: number,
  ) {
    const elementBytes = kernels.info.weightBytes
    const rows = Math.ceil(Math.max(POOL_BYTES, largestBytes + 4096) / (COLUMNS * elementBytes) / 16) * 16
    this.bytes = kernels.weightBytes(rows, COLUMNS)
    this.#address = kernels.alloc(this.bytes)
    kernels.weightRandom(this.#address, rows, COLUMNS, 1, 0.02)
    kernels.synchronize()
  }

  /** The next `bytes` of the pool; from its start again when they do not fit. */
  take(bytes: number): Address {
    if (bytes > this.bytes) throw new RangeError(`${bytes} bytes asked of a pool of ${this.bytes}`)
    if (this.#next + bytes > this.bytes) this.#next = 0
    const address = this.#address + this.#next
    this.#next += Math.ceil(bytes / 256) * 256
    return address
  }

  /** Launches of an operation that touches `bytes` after which the first one's memory has left the caches: at least 2. */
  rotations(bytes: number): number {
    return Math.min(MOST_ROTATIONS, Math.max(2, Math.ceil(COLD_BYTES / Math.max(1, bytes))))
  }

  free(): void {
    this.kernels.free(this.#address)
  }
}
