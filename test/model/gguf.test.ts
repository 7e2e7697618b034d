import { afterAll, describe, expect, it } from 'vitest'
import { FileReader } from '../../engines/model/file-reader.js'
import { type GgufHeader, readGgufHeader } from '../../engines/model/gguf.js'
import { GgufWriter, scratchDirectory } from './model-files.js'

const scratch = scratchDirectory()
afterAll(scratch.remove)

function read(bytes: Uint8Array): GgufHeader {
  const file = new FileReader(scratch.write('model.gguf', bytes))
  try {
    return readGgufHeader(file)
  } finally {
    file.close()
  }
}

const key = (value: (writer: GgufWriter) => GgufWriter) => value(new GgufWriter({ keys: 1n }).string('key')).file(64)
const tensors = (count: bigint, write: (writer: GgufWriter) => GgufWriter, dataBytes = 64) =>
  write(new GgufWriter({ tensors: count })).file(dataBytes)
const many = 0xffff_ffff_ffff_ffffn

/** What is wrong, the file, the error's code. */
const BAD: [string, Uint8Array, string][] = [
  ['an empty file', new Uint8Array(0), 'file_truncated'],
  ['another magic', new GgufWriter({ magic: 'GGML' }).file(64), 'header_malformed'],
  ['version 0', new GgufWriter({ version: 0 }).file(64), 'header_malformed'],
  ['version 1', new GgufWriter({ version: 1 }).file(64), 'header_malformed'],
  ['version 4', new GgufWriter({ version: 4 }).file(64), 'header_malformed'],
  ['a big-endian file', new GgufWriter({ version: 0x0300_0000 }).file(64), 'header_malformed'],
  ['a header that ends in the counts', new GgufWriter().file().subarray(0, 20), 'file_truncated'],
  ['2^64 - 1 tensors', new GgufWriter({ tensors: many }).file(64), 'header_too_large'],
  ['2^63 tensors', new GgufWriter({ tensors: 2n ** 63n }).file(64), 'header_too_large'],
  ['more tensors than bytes', new GgufWriter({ tensors: 60_000n }).file(64), 'file_truncated'],
  ['2^64 - 1 keys', new GgufWriter({ keys: many }).file(64), 'header_too_large'],
  ['more keys than bytes', new GgufWriter({ keys: 60_000n }).file(64), 'file_truncated'],
  ['a key longer than the file', new GgufWriter({ keys: 1n }).string('key', 1_000n).file(64), 'file_truncated'],
  ['a key beyond the bound', new GgufWriter({ keys: 1n }).string('key', 2_000n).file(64), 'header_too_large'],
  ['a key length of 2^64 - 1', new GgufWriter({ keys: 1n }).string('key', many).file(64), 'header_too_large'],
  ['an empty key', new GgufWriter({ keys: 1n }).number('', 1).file(64), 'header_malformed'],
  [
    'a key that is not UTF-8',
    new GgufWriter({ keys: 1n }).u64(1n).raw(Uint8Array.of(0xff)).u32(4).u32(1).file(64),
    'header_malformed',
  ],
  ['a key that stands twice', new GgufWriter({ keys: 2n }).number('a', 1).number('a', 1).file(64), 'duplicate_key'],
  ['a value type 13', key((w) => w.u32(13)), 'header_malformed'],
  ['a value type 2^32 - 1', key((w) => w.u32(0xffff_ffff)), 'header_malformed'],
  ['a boolean 2', key((w) => w.u32(7).raw(Uint8Array.of(2))), 'header_malformed'],
  ['a string longer than the file', key((w) => w.u32(8).string('x', 1_000n)), 'file_truncated'],
  ['a string of 2^60 bytes', key((w) => w.u32(8).string('x', 2n ** 60n)), 'header_too_large'],
  ['a u64 beyond 2^53', key((w) => w.u32(10).u64(2n ** 60n)), 'header_too_large'],
  ['an array of arrays', key((w) => w.u32(9).u32(9).u64(1n)), 'header_malformed'],
  ['an array of type 99', key((w) => w.u32(9).u32(99).u64(1n)), 'header_malformed'],
  ['an array longer than the file', key((w) => w.u32(9).u32(4).u64(1_000n)), 'file_truncated'],
  ['an array of strings that cannot fit', key((w) => w.u32(9).u32(8).u64(30n)), 'file_truncated'],
  [
    'an array of 2^62 bytes',
    key((w) =>
      w
        .u32(9)
        .u32(0)
        .u64(2n ** 62n),
    ),
    'header_too_large',
  ],
  [
    'a metadata value that is cut',
    new GgufWriter({ keys: 1n }).string('key').u32(12).file().subarray(0, 41),
    'file_truncated',
  ],
  ['an alignment of 0', new GgufWriter({ keys: 1n }).number('general.alignment', 0).file(64), 'header_malformed'],
  ['an alignment of 24', new GgufWriter({ keys: 1n }).number('general.alignment', 24).file(64), 'header_malformed'],
  [
    'an alignment of 2^31',
    new GgufWriter({ keys: 1n }).number('general.alignment', 2 ** 31).file(64),
    'header_malformed',
  ],
  ['an alignment as text', new GgufWriter({ keys: 1n }).text('general.alignment', '32').file(64), 'header_malformed'],
  ['a tensor without dimensions', tensors(1n, (w) => w.tensor('a', [])), 'tensor_shape'],
  ['a tensor of 5 dimensions', tensors(1n, (w) => w.tensor('a', [1n, 1n, 1n, 1n, 1n])), 'tensor_shape'],
  ['2^32 - 1 dimensions', tensors(1n, (w) => w.string('a').u32(0xffff_ffff)), 'tensor_shape'],
  ['a dimension of 0', tensors(1n, (w) => w.tensor('a', [4n, 0n])), 'tensor_shape'],
  ['a dimension of 2^64 - 1', tensors(1n, (w) => w.tensor('a', [many])), 'header_too_large'],
  ['dimensions whose product overflows', tensors(1n, (w) => w.tensor('a', [2n ** 32n, 2n ** 32n])), 'tensor_shape'],
  ['dimensions whose product is 2^64 + 4', tensors(1n, (w) => w.tensor('a', [2n ** 31n, 2n ** 33n])), 'tensor_shape'],
  ['a tensor name beyond the bound', tensors(1n, (w) => w.tensor('x'.repeat(1_025), [4n])), 'header_too_large'],
  ['a tensor that stands twice', tensors(2n, (w) => w.tensor('a', [4n]).tensor('a', [4n], 0, 32n)), 'duplicate_key'],
  ['a type that was removed', tensors(1n, (w) => w.tensor('a', [32n], 4)), 'unsupported_dtype'],
  ['a type that is not read', tensors(1n, (w) => w.tensor('a', [256n], 10)), 'unsupported_dtype'],
  ['a type from nowhere', tensors(1n, (w) => w.tensor('a', [32n], 0xffff_ffff)), 'unsupported_dtype'],
  ['rows that are not whole blocks', tensors(1n, (w) => w.tensor('a', [33n, 2n], 2)), 'tensor_shape'],
  ['an offset that is not aligned', tensors(1n, (w) => w.tensor('a', [4n], 0, 4n)), 'tensor_range'],
  ['an offset beyond the file', tensors(1n, (w) => w.tensor('a', [4n], 0, 1_024n)), 'file_truncated'],
  ['an offset of 2^53', tensors(1n, (w) => w.tensor('a', [4n], 0, 2n ** 53n)), 'header_too_large'],
  ['a tensor that leaves the file', tensors(1n, (w) => w.tensor('a', [64n])), 'file_truncated'],
  ['a tensor of 1 TiB in a small file', tensors(1n, (w) => w.tensor('a', [2n ** 19n, 2n ** 19n])), 'file_truncated'],
  ['two tensors that overlap', tensors(2n, (w) => w.tensor('a', [16n]).tensor('b', [8n], 0, 32n)), 'tensor_overlap'],
  ['two tensors on one place', tensors(2n, (w) => w.tensor('a', [8n]).tensor('b', [8n])), 'tensor_overlap'],
]

describe('GGUF', () => {
  it('reads a sound file', () => {
    const writer = new GgufWriter({ tensors: 2n, keys: 3n })
      .text('general.architecture', 'llama')
      .number('llama.block_count', 2)
      .string('list')
      .u32(9)
      .u32(8)
      .u64(2n)
      .string('x')
      .string('ü')
      .tensor('m', [32n, 2n], 8)
      .tensor('v', [4n], 0, 96n)
    const { version, metadata, tensors } = read(writer.file(112))
    expect(version).toBe(3)
    expect(metadata.get('list')).toEqual(['x', 'ü'])
    expect(tensors.get('m')).toMatchObject({ shape: [2, 32], byteLength: 68 })
    expect(tensors.get('v')!.offset - tensors.get('m')!.offset).toBe(96)
  })

  it.each(BAD)('refuses %s', (_, bytes, code) => {
    expect(() => read(bytes)).toThrowError(expect.objectContaining({ name: 'ModelError', code }))
  })

  it('refuses every prefix of a sound file', () => {
    const whole = tensors(1n, (w) => w.tensor('a', [8n]), 32)
    for (let length = 0; length < whole.length; length++) {
      expect(() => read(whole.subarray(0, length))).toThrowError(expect.objectContaining({ name: 'ModelError' }))
    }
    expect(read(whole).tensors.size).toBe(1)
  })

  it('allocates nothing for what lies', () => {
    const before = process.memoryUsage().rss
    for (const [, bytes] of BAD) expect(() => read(bytes)).toThrow()
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
  })
})
