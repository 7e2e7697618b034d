import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BLOCK_FORMATS, dequantise, halfToFloat } from '../../engines/model/quantisation.js'

/** Random blocks and their values by the gguf package: scripts/make-model-fixtures.py. */
const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/model/dequantised.json', import.meta.url), 'utf8'),
) as Record<string, { bytes: string; values: string }>

describe('dequantisation', () => {
  it.each(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q4_K', 'Q5_K', 'Q6_K'])(
    'of %s gives the reference values',
    (name) => {
      const format = Object.values(BLOCK_FORMATS).find((candidate) => candidate.name === name)!
      const bytes = Buffer.from(fixture[name]!.bytes, 'base64')
      const reference = new Uint8Array(Buffer.from(fixture[name]!.values, 'base64'))
      const expected = new Float32Array(reference.buffer)
      const values = new Float32Array(expected.length)
      expect(bytes.length).toBe((expected.length / format.blockElements) * format.blockBytes)
      dequantise(format, bytes, values)
      values.forEach((value, i) => {
        expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(1e-6 * Math.abs(expected[i]!) + 1e-7)
      })
    },
  )

  it('of F16 and BF16 gives signs, subnormals, infinities', () => {
    const halves = [0x0000, 0x3c00, 0xbc00, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0xfc00]
    const values = [0, 1, -1, 2 ** -24, 1023 * 2 ** -24, 65_504, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    expect(halves.map(halfToFloat)).toEqual(values)
    expect(halfToFloat(0x7e00)).toBeNaN()
    const out = new Float32Array(2)
    dequantise(BLOCK_FORMATS[30]!, Uint8Array.of(0x80, 0x3f, 0x20, 0xc0), out)
    expect([...out]).toEqual([1, -2.5])
  })
})
