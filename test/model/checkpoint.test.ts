import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { openCheckpoint, tensorOf } from '../../engines/model/checkpoint.js'
import { detectFormat } from '../../engines/model/file-format.js'
import { readMatrix, readVector } from '../../engines/model/tensors.js'
import { safetensorsFile, scratchDirectory } from './model-files.js'
import { writeGguf } from './write-gguf.js'

const FIXTURES = new URL('../fixtures/model/', import.meta.url).pathname
const scratch = scratchDirectory()
afterAll(scratch.remove)

const PICKLE = Uint8Array.of(0x80, 2, 0x7d, 0x71, 0, 0x2e)
const torchZip = Buffer.concat([
  Buffer.from('PK\u0003\u0004'),
  Buffer.alloc(26),
  Buffer.from('archive/data.pkl'),
  PICKLE,
])

describe('the format of a weight file', () => {
  it.each([
    ['a bare pickle called model.safetensors', 'model.safetensors', PICKLE],
    ['a pickle of protocol 5', 'x.ckpt', Uint8Array.of(0x80, 5, 0x95, 0, 0, 0, 0, 0, 0, 0, 0)],
    ['the zip of torch.save called model.gguf', 'model.gguf', torchZip],
    [
      'a zip that names its pickle only at the end',
      'model.pt',
      Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(200_000), Buffer.from('data.pkl')]),
    ],
  ])('is told by its bytes: %s is refused', (_, name, bytes) => {
    const path = scratch.write(name, bytes)
    expect(() => detectFormat(path)).toThrowError(expect.objectContaining({ code: 'pickle_refused' }))
  })

  it('a safetensors file whose header length looks like a pickle is no pickle', () => {
    const path = scratch.write('pickle.bin', safetensorsFile(`{}${' '.repeat(0x280 - 2)}`, 0))
    expect(readFileSync(path).subarray(0, 2)).toEqual(Buffer.from([0x80, 2]))
    expect(detectFormat(path)).toBe('safetensors')
  })

  it.each([
    ['nothing', new Uint8Array(0), ''],
    ['text', 'hello world', ''],
    ['a Git LFS pointer', 'version https://git-lfs', 'LFS'],
    ['another zip', Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(100)]), ''],
  ])('%s is no model', (_, bytes, fix) => {
    const path = scratch.write('x', bytes)
    expect(() => detectFormat(path)).toThrowError(
      expect.objectContaining({ code: 'not_a_model', fix: expect.stringContaining(fix) }),
    )
  })
})

describe('a checkpoint directory', () => {
  const directory = join(scratch.path, 'model')
  beforeEach(() => {
    rmSync(directory, { recursive: true, force: true })
    cpSync(join(FIXTURES, 'qwen2'), directory, { recursive: true })
  })
  const code = (expected: string) => expect.objectContaining({ name: 'ModelError', code: expected })

  it('opens', () => {
    const checkpoint = openCheckpoint(directory)
    expect(checkpoint.config).toMatchObject({ architecture: 'qwen2', layers: 2 })
    expect(tensorOf(checkpoint, 'model.embed_tokens.weight').shape).toEqual([320, 128])
    expect(() => tensorOf(checkpoint, 'model.layers.2.mlp.up_proj.weight')).toThrowError(code('tensor_missing'))
    checkpoint.close()
  })

  it('may be sharded', () => {
    shard(directory, ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'])
    const whole = openCheckpoint(join(FIXTURES, 'qwen2'))
    const sharded = openCheckpoint(directory)
    expect(sharded.files).toHaveLength(2)
    expect([...sharded.tensors.keys()].sort()).toEqual([...whole.tensors.keys()].sort())
    const name = 'model.layers.1.mlp.down_proj.weight'
    const read = (checkpoint: typeof whole) => readMatrix([tensorOf(checkpoint, name)], 128, 144, 'f32')
    expect(Buffer.from(read(sharded).data.buffer).equals(Buffer.from(read(whole).data.buffer))).toBe(true)
    whole.close()
    sharded.close()
  })

  it.each([
    ['a shard that is missing', 'gone.safetensors', 'tensor_missing'],
    ['a shard outside the directory', '../model.safetensors', 'header_malformed'],
    ['a shard that is a number', 7, 'header_malformed'],
  ])('with %s is refused', (_, file, expected) => {
    writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { a: file } }))
    expect(() => openCheckpoint(directory)).toThrowError(code(expected))
  })

  it('with an index of nothing is refused', () => {
    writeFileSync(join(directory, 'model.safetensors.index.json'), '{}')
    expect(() => openCheckpoint(directory)).toThrowError(code('header_malformed'))
  })

  it('with one tensor in two shards is refused', () => {
    copyFileSync(join(directory, 'model.safetensors'), join(directory, 'b.safetensors'))
    writeFileSync(
      join(directory, 'model.safetensors.index.json'),
      JSON.stringify({ weight_map: { a: 'model.safetensors', b: 'b.safetensors' } }),
    )
    expect(() => openCheckpoint(directory)).toThrowError(code('duplicate_key'))
  })

  it('with pickles alone is refused for what they are', () => {
    rmSync(join(directory, 'model.safetensors'))
    writeFileSync(join(directory, 'pytorch_model.bin'), torchZip)
    expect(() => openCheckpoint(directory)).toThrowError(code('pickle_refused'))
  })

  it('without weights, without config, or not there is refused', () => {
    rmSync(join(directory, 'model.safetensors'))
    expect(() => openCheckpoint(directory)).toThrowError(code('model_not_found'))
    rmSync(join(directory, 'config.json'))
    expect(() => openCheckpoint(directory)).toThrowError(code('config_malformed'))
    expect(() => openCheckpoint(join(directory, 'nowhere'))).toThrowError(code('model_not_found'))
  })

  it('with biases that its configuration does not know is refused', () => {
    const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8'))
    writeFileSync(join(directory, 'config.json'), JSON.stringify({ ...config, architectures: ['LlamaForCausalLM'] }))
    expect(() => openCheckpoint(directory)).toThrowError(code('unsupported_feature'))
  })

  it('with weights of another shape than its config is refused', () => {
    const checkpoint = openCheckpoint(directory)
    const view = tensorOf(checkpoint, 'model.layers.0.self_attn.o_proj.weight')
    expect(() => readMatrix([view], 128, 385, 'f32')).toThrowError(code('tensor_shape'))
    expect(() => readMatrix([view], 127, 384, 'f32')).toThrowError(code('tensor_shape'))
    expect(() => readVector([tensorOf(checkpoint, 'model.norm.weight')], 64)).toThrowError(code('tensor_shape'))
    expect(() => readVector([tensorOf(checkpoint, 'model.norm.weight')], 256)).toThrowError(code('tensor_shape'))
    checkpoint.close()
  })
})

describe('a GGUF file of the same weights', () => {
  it.each(['llama-scaled', 'llama-wide', 'qwen2'])(
    'holds the matrices and vectors of %s, rotary pairs put back',
    (name) => {
      const original = openCheckpoint(join(FIXTURES, name))
      mkdirSync(join(scratch.path, name), { recursive: true })
      const path = writeGguf(original, join(scratch.path, name, 'model.gguf'))
      const gguf = openCheckpoint(path)
      const {
        ropeScaling: _,
        maxPositions: __,
        bosTokenId: ___,
        eosTokenIds: ____,
        rmsNormEps,
        ...dimensions
      } = original.config
      expect(gguf.config).toMatchObject(dimensions)
      expect(gguf.config.rmsNormEps).toBeCloseTo(rmsNormEps, 9)
      for (const [tensor, view] of original.tensors) {
        const [n, k] = view.shape as [number, number | undefined]
        const read = (checkpoint: typeof gguf) =>
          k === undefined
            ? readVector([tensorOf(checkpoint, tensor)], n)
            : readMatrix([tensorOf(checkpoint, tensor)], n, k, 'f32').data
        const bytes = (data: ArrayBufferView) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)
        expect(bytes(read(gguf)).equals(bytes(read(original))), tensor).toBe(true)
      }
      original.close()
      gguf.close()
    },
  )
})

/** Splits model.safetensors of the directory into two files and an index. */
function shard(directory: string, names: [string, string]): void {
  const checkpoint = openCheckpoint(directory)
  const bytes = readFileSync(join(directory, 'model.safetensors'))
  const halves = [0, 1].map((half) => [...checkpoint.tensors].filter((_, i) => i % 2 === half))
  const weightMap: Record<string, string> = {}
  halves.forEach((half, i) => {
    let at = 0
    const header: Record<string, object> = {}
    for (const [name, { dtype, shape, byteLength }] of half) {
      header[name] = { dtype, shape, data_offsets: [at, at + byteLength] }
      weightMap[name] = names[i]!
      at += byteLength
    }
    const data = half.map(([, view]) => bytes.subarray(view.offset, view.offset + view.byteLength))
    writeFileSync(join(directory, names[i]!), Buffer.concat([safetensorsFile(header, 0), ...data]))
  })
  checkpoint.close()
  rmSync(join(directory, 'model.safetensors'))
  writeFileSync(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }))
}
