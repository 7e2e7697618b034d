import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../engines/model/checkpoint.js'
import { ModelError } from '../../engines/model/errors.js'
import { FileReader } from '../../engines/model/file-reader.js'
import { loadTokenizer } from '../../engines/model/load-tokenizer.js'
import { readSafetensors } from '../../engines/model/safetensors.js'
import { readMatrix, readVector, type TensorView } from '../../engines/model/tensors.js'
import { scratchDirectory } from './model-files.js'
import { writeGguf } from './write-gguf.js'

const FIXTURES = new URL('../fixtures/model/', import.meta.url).pathname
const scratch = scratchDirectory()
afterAll(scratch.remove)

/** Positions and bytes to write there; positions crowd where the header is. */
const damage = (headerBytes: number, length: number) =>
  fc.array(
    fc.tuple(
      fc.oneof({ weight: 9, arbitrary: fc.nat(headerBytes - 1) }, { weight: 1, arbitrary: fc.nat(length - 1) }),
      fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
    ),
    { minLength: 1, maxLength: 12 },
  )

/** Runs `read`; whatever the bytes, only a ModelError may come out. */
function survives(read: () => void): void {
  try {
    read()
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError)
  }
}

function readAll(tensors: Iterable<TensorView>): void {
  for (const view of tensors) {
    const [n, k] = view.shape
    if (view.shape.length === 2) readMatrix([view], n!, k!, 'bf16')
    else if (view.shape.length === 1) readVector([view], n!)
  }
}

describe('a damaged file', () => {
  it('of GGUF gives a model or a ModelError, and no more memory than its size allows', () => {
    const original = openCheckpoint(join(FIXTURES, 'llama-scaled'))
    const whole = readFileSync(writeGguf(original, join(scratch.path, 'whole.gguf')))
    original.close()
    const before = process.memoryUsage().rss
    fc.assert(
      fc.property(damage(2_400, whole.length), fc.option(fc.nat(whole.length), { freq: 10 }), (writes, cut) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of writes) bytes[at] = value
        const path = scratch.write('damaged.gguf', bytes.subarray(0, cut ?? bytes.length))
        survives(() => {
          const checkpoint = openCheckpoint(path)
          try {
            readAll(checkpoint.tensors.values())
            loadTokenizer(checkpoint.config, checkpoint)
          } finally {
            checkpoint.close()
          }
        })
      }),
      { numRuns: 400, seed: 20240607 },
    )
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 2 ** 20)
  })

  it('of safetensors gives tensors or a ModelError', () => {
    const whole = readFileSync(join(FIXTURES, 'llama-wide', 'model.safetensors'))
    const headerBytes = 8 + Number(whole.readBigUInt64LE(0))
    fc.assert(
      fc.property(damage(headerBytes, whole.length), (writes) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of writes) bytes[at] = value
        const file = new FileReader(scratch.write('damaged.safetensors', bytes))
        survives(() => readAll(readSafetensors(file).values()))
        file.close()
      }),
      { numRuns: 400, seed: 20240607 },
    )
  })
})
