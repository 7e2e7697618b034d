import type { Address, Kernels } from '../../kernels/binding.js'

/** The device allocations of one set of weights: they live and die together. */
export class DeviceArena {
  readonly #addresses: Address[] = []
  bytes = 0

  constructor(readonly kernels: Kernels) {}

  /** Room for a weight matrix [n, k] in the backend's layout. */
  matrix(n: number, k: number): Address {
    return this.#alloc(this.kernels.weightBytes(n, k))
  }

  /** A vector of the weight type with these values. */
  vector(values: Float32Array): Address {
    const address = this.#alloc(values.length * this.kernels.info.weightBytes)
    this.kernels.vectorLoad(address, values)
    return address
  }

  /** Runs `load`; when it throws, frees all and throws on. */
  guard<T>(load: () => T): T {
    try {
      return load()
    } catch (error) {
      this.free()
      throw error
    }
  }

  free(): void {
    for (const address of this.#addresses.splice(0)) this.kernels.free(address)
    this.bytes = 0
  }

  #alloc(bytes: number): Address {
    const address = this.kernels.alloc(bytes)
    this.#addresses.push(address)
    this.bytes += bytes
    return address
  }
}
