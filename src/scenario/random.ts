/**
 * Seeded random numbers: sfc32 (Chris Doty-Humphrey, PractRand 2010), its state filled by cyrb128-style mixing of a label. A stream belongs to
 * (seed, purpose, indices), so drawing more of one thing never shifts another.
 */
export class RandomStream {
  #a: number
  #b: number
  #c: number
  #counter = 1
  #spareNormal: number | null = null

  constructor(seed: number, ...labels: (string | number)[]) {
    const [a, b, c] = mix(`${seed}/${labels.join('/')}`)
    this.#a = a
    this.#b = b
    this.#c = c
    for (let round = 0; round < 12; round++) this.nextUint32()
  }

  nextUint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** In [0, 1), 53 bits. */
  uniform(): number {
    return (this.nextUint32() * 2 ** 21 + (this.nextUint32() >>> 11)) / 2 ** 53
  }

  /** Whole number in [low, high). Bias below 2^-32 x range: nothing at these ranges. */
  integer(low: number, high: number): number {
    return low + Math.floor((this.nextUint32() / 2 ** 32) * (high - low))
  }

  /** Standard normal; polar method of Marsaglia (1964). */
  normal(): number {
    if (this.#spareNormal !== null) {
      const spare = this.#spareNormal
      this.#spareNormal = null
      return spare
    }
    for (;;) {
      const x = 2 * this.uniform() - 1
      const y = 2 * this.uniform() - 1
      const square = x * x + y * y
      if (square === 0 || square >= 1) continue
      const factor = Math.sqrt((-2 * Math.log(square)) / square)
      this.#spareNormal = y * factor
      return x * factor
    }
  }

  /** Mean 1. */
  exponential(): number {
    return -Math.log(1 - this.uniform())
  }

  /** Gamma with the given shape and scale 1; Marsaglia and Tsang (2000), with the boost for shapes below 1. */
  gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.uniform()) ** (1 / shape)
    const d = shape - 1 / 3
    const c = 1 / Math.sqrt(9 * d)
    for (;;) {
      const x = this.normal()
      const v = (1 + c * x) ** 3
      if (v > 0 && Math.log(1 - this.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v
    }
  }
}

/** Three well mixed 32-bit words of a text: MurmurHash3's finaliser over three running hashes. */
function mix(text: string): [number, number, number] {
  let a = 1779033703
  let b = 3144134277
  let c = 1013904242
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    a = b ^ Math.imul(a ^ code, 597399067)
    b = c ^ Math.imul(b ^ code, 2869860233)
    c = a ^ Math.imul(c ^ code, 951274213)
  }
  return [finalise(a), finalise(b), finalise(c)]
}

function finalise(word: number): number {
  let h = word ^ (word >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) | 0
}
