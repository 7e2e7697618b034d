import { afterAll, describe, expect, it } from 'vitest'
import { findDuplicateKey } from '../../engines/model/duplicate-key.js'
import { FileReader } from '../../engines/model/file-reader.js'
import { readSafetensors } from '../../engines/model/safetensors.js'
import { safetensorsFile, scratchDirectory } from './model-files.js'

const scratch = scratchDirectory()
afterAll(scratch.remove)

function read(bytes: Uint8Array): ReturnType<typeof readSafetensors> {
  const file = new FileReader(scratch.write('model.safetensors', bytes))
  try {
    return readSafetensors(file)
  } finally {
    file.close()
  }
}

const tensor = (shape: unknown, begin: number, end: number, dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})
const one = (entry: object) => safetensorsFile({ a: entry }, 16)
const good = () => safetensorsFile({ a: tensor([2, 2], 0, 16) }, 16)

/** What is wrong, the file, the error's code. */
const BAD: [string, Uint8Array, string][] = [
  ['an empty file', new Uint8Array(0), 'file_truncated'],
  ['seven bytes', new Uint8Array(7), 'file_truncated'],
  ['a length and nothing else', safetensorsFile('', 0, 100n), 'file_truncated'],
  ['an empty header', safetensorsFile('', 16), 'header_malformed'],
  ['a header longer than the file', safetensorsFile({}, 0, 50_000n), 'file_truncated'],
  ['a header beyond the bound', safetensorsFile({}, 0, 100_000_001n), 'header_too_large'],
  ['a header length of 2^64 - 1', safetensorsFile({}, 0, 0xffff_ffff_ffff_ffffn), 'header_too_large'],
  ['white space before the header', safetensorsFile(' {}', 0), 'header_malformed'],
  ['an array as header', safetensorsFile('[]', 0), 'header_malformed'],
  ['a header that is cut', good().subarray(0, 30), 'file_truncated'],
  ['text that is not JSON', safetensorsFile('{"a":', 0), 'header_malformed'],
  [
    'bytes that are not UTF-8',
    safetensorsFile('{"\u0001"}', 0).map((byte) => (byte === 1 ? 0xff : byte)),
    'header_malformed',
  ],
  ['metadata of numbers', safetensorsFile({ __metadata__: { n: 1 } }, 0), 'header_malformed'],
  ['metadata that is a list', safetensorsFile({ __metadata__: [] }, 0), 'header_malformed'],
  [
    'a name that stands twice',
    safetensorsFile(`{"a":${JSON.stringify(tensor([4], 0, 16))},"a":${JSON.stringify(tensor([4], 0, 16))}}`, 16),
    'duplicate_key',
  ],
  [
    'a name that stands twice, once escaped',
    safetensorsFile(`{"a":${JSON.stringify(tensor([4], 0, 16))},"\\u0061":${JSON.stringify(tensor([4], 0, 16))}}`, 16),
    'duplicate_key',
  ],
  [
    'a field that stands twice',
    safetensorsFile('{"a":{"dtype":"F32","dtype":"F16","shape":[4],"data_offsets":[0,16]}}', 16),
    'duplicate_key',
  ],
  ['an entry that is null', safetensorsFile('{"a":null}', 0), 'header_malformed'],
  ['an unknown dtype', one(tensor([4], 0, 16, 'F33')), 'header_malformed'],
  ['a dtype named like a method', one(tensor([4], 0, 16, 'toString')), 'header_malformed'],
  ['no dtype', one({ shape: [4], data_offsets: [0, 16] }), 'header_malformed'],
  ['no shape', one({ dtype: 'F32', data_offsets: [0, 16] }), 'tensor_shape'],
  ['a negative dimension', one(tensor([-4], 0, 16)), 'tensor_shape'],
  ['a fractional dimension', one(tensor([1.5], 0, 6)), 'tensor_shape'],
  ['a dimension as text', one(tensor(['4'], 0, 16)), 'tensor_shape'],
  ['nine dimensions', one(tensor([1, 1, 1, 1, 1, 1, 1, 1, 4], 0, 16)), 'tensor_shape'],
  ['a shape of 10^18 elements', one(tensor([1e6, 1e6, 1e6], 0, 16)), 'tensor_shape'],
  ['a shape beyond 2^53', one(tensor([2 ** 30, 2 ** 30], 0, 16)), 'tensor_shape'],
  ['a shape that is larger than its span', one(tensor([5], 0, 16)), 'tensor_shape'],
  ['a shape that is smaller than its span', one(tensor([3], 0, 16)), 'tensor_shape'],
  ['a dtype that does not fit the span', one(tensor([4], 0, 16, 'F64')), 'tensor_shape'],
  ['no offsets', one({ dtype: 'F32', shape: [4] }), 'header_malformed'],
  ['three offsets', one({ dtype: 'F32', shape: [4], data_offsets: [0, 8, 16] }), 'header_malformed'],
  ['offsets the wrong way round', one(tensor([4], 16, 0)), 'header_malformed'],
  ['a negative offset', one(tensor([4], -16, 0)), 'header_malformed'],
  ['a span beyond the file', one(tensor([8], 0, 32)), 'file_truncated'],
  ['a span that begins beyond the file', one(tensor([4], 2 ** 40, 2 ** 40 + 16)), 'file_truncated'],
  ['bytes before the first tensor', one(tensor([2], 8, 16)), 'tensor_overlap'],
  ['bytes behind the last tensor', one(tensor([2], 0, 8)), 'tensor_range'],
  ['a hole', safetensorsFile({ a: tensor([1], 0, 4), b: tensor([2], 8, 16) }, 16), 'tensor_overlap'],
  ['an overlap', safetensorsFile({ a: tensor([3], 0, 12), b: tensor([2], 8, 16) }, 16), 'tensor_overlap'],
  ['two tensors on one span', safetensorsFile({ a: tensor([4], 0, 16), b: tensor([4], 0, 16) }, 16), 'tensor_overlap'],
  ['a file that lost its last byte', good().subarray(0, -1), 'file_truncated'],
  ['a file with a byte too many', Buffer.concat([good(), Buffer.alloc(1)]), 'tensor_range'],
]

describe('safetensors', () => {
  it('reads a sound file', () => {
    const file = safetensorsFile(
      { __metadata__: { format: 'pt' }, b: tensor([], 16, 20), a: tensor([2, 2], 0, 16), c: tensor([0, 7], 20, 20) },
      20,
    )
    const tensors = read(file)
    expect([...tensors.keys()].sort()).toEqual(['a', 'b', 'c'])
    expect(tensors.get('a')).toMatchObject({ shape: [2, 2], dtype: 'F32', byteLength: 16 })
  })

  it.each(BAD)('refuses %s', (_, bytes, code) => {
    expect(() => read(bytes)).toThrowError(expect.objectContaining({ name: 'ModelError', code }))
  })

  it('allocates nothing for what lies', () => {
    const before = process.memoryUsage().rss
    for (const [, bytes] of BAD) expect(() => read(bytes)).toThrow()
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
  })
})

describe('a repeated key', () => {
  it.each([
    ['{}', null],
    ['{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}', null],
    ['{"a":"a","b":"a"}', null],
    ['{"a":1, "b":[1,{"c":1,"c":2}]}', 'c'],
    ['{"a\\"":1,"a\\"" :2}', 'a"'],
    ['{"x":{"y":{"z":1}},"x":1}', 'x'],
  ])('is found in %s: %s', (text, key) => {
    expect(findDuplicateKey(text)).toBe(key)
  })
})
