// Seeded token ids, lengths and requests of the GPU tests.

/** Numbers in [0, 1) from a seed (mulberry32 by Tommy Ettinger). */
export function draws(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b1)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `count` token ids of a byte vocabulary's words: 258 and up. */
export function promptOf(count, seed, vocabSize) {
  const draw = draws(seed)
  return Array.from({ length: count }, () => 258 + Math.floor(draw() * (vocabSize - 258)))
}

/** A lognormal integer of this median and shape, within bounds (Box & Muller 1958). */
export function lognormal(draw, median, sigma, most) {
  const normal = Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw())
  return Math.max(1, Math.min(most, Math.round(median * Math.exp(sigma * normal))))
}
