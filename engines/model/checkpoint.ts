import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { ModelConfig } from './config.js'
import { ModelError } from './errors.js'
import { detectFormat } from './file-format.js'
import { FileReader } from './file-reader.js'
import { type GgufHeader, readGgufHeader } from './gguf.js'
import { readGgufConfig } from './gguf-config.js'
import { readHfConfig, readJson } from './hf-config.js'
import { readSafetensors } from './safetensors.js'
import { readVector, type TensorView } from './tensors.js'

/** Weights on disk: the configuration and where each tensor lies, under the names of Transformers. close() when loaded. */
export interface Checkpoint {
  path: string
  config: ModelConfig
  tensors: ReadonlyMap<string, TensorView>
  /** Null for a directory. */
  gguf: GgufHeader | null
  /** The weight files, in order of name. */
  files: string[]
  close(): void
}

/** A directory (safetensors, one file or sharded) or a .gguf file. Reads headers only. Throws ModelError. */
export function openCheckpoint(path: string): Checkpoint {
  if (!existsSync(path)) throw new ModelError('model_not_found', `${path} does not exist`)
  const checkpoint = statSync(path).isDirectory() ? openDirectory(path) : openFile(path)
  try {
    refuseOtherBiases(checkpoint)
  } catch (error) {
    checkpoint.close()
    throw error
  }
  return checkpoint
}

/** The tensor of that name. Throws ModelError tensor_missing. */
export function tensorOf(checkpoint: Checkpoint, name: string): TensorView {
  const tensor = checkpoint.tensors.get(name)
  if (tensor !== undefined) return tensor
  throw new ModelError('tensor_missing', `${checkpoint.path}: no tensor ${name}`, name, 'the checkpoint is incomplete')
}

/** A bias that the forward pass would not add makes wrong text without a word, so it is refused. */
function refuseOtherBiases({ path, config, tensors }: Checkpoint): void {
  for (const name of tensors.keys()) {
    const isQkv = /\.self_attn\.[qkv]_proj\.bias$/.test(name)
    if (!name.endsWith('.bias') || (isQkv && config.qkvBias)) continue
    throw new ModelError('unsupported_feature', `${path}: ${name}: a bias that the forward pass does not add`, name)
  }
}

function openFile(path: string): Checkpoint {
  if (detectFormat(path) === 'gguf') return openGguf(path)
  throw new ModelError(
    'not_a_model',
    `${path} is a safetensors file without its configuration`,
    null,
    'give the directory that holds it, config.json and the tokenizer',
  )
}

function openGguf(path: string): Checkpoint {
  const file = new FileReader(path)
  return guarded([file], () => {
    const header = readGgufHeader(file)
    const divisors = rotaryDivisors(file, header)
    const config = readGgufConfig(header, divisors, path)
    return {
      path,
      config,
      tensors: ggufViews(file, header, config),
      gguf: header,
      files: [path],
      close: () => file.close(),
    }
  })
}

function openDirectory(path: string): Checkpoint {
  const config = readHfConfig(path)
  const files = weightFiles(path)
  const readers: FileReader[] = []
  return guarded(readers, () => {
    const tensors = new Map<string, TensorView>()
    for (const name of files) {
      const file = new FileReader(join(path, name))
      readers.push(file)
      for (const tensor of readSafetensors(file).values()) {
        if (tensors.has(tensor.name)) {
          throw new ModelError('duplicate_key', `${path}: ${tensor.name} stands in two files`, tensor.name)
        }
        tensors.set(tensor.name, tensor)
      }
    }
    const close = () => {
      for (const reader of readers) reader.close()
    }
    return { path, config, tensors, gguf: null, files: files.map((name) => join(path, name)), close }
  })
}

/** The shards that the index names, or model.safetensors, or the only safetensors file. */
function weightFiles(path: string): string[] {
  const index = join(path, 'model.safetensors.index.json')
  if (existsSync(index)) return shards(path, index)
  const names = readdirSync(path).sort()
  const safetensors = names.filter((name) => name.endsWith('.safetensors'))
  if (safetensors.includes('model.safetensors')) return check(path, ['model.safetensors'])
  if (safetensors.length === 1) return check(path, safetensors)
  const other = names.find((name) => /\.(bin|pt|pth|pkl|ckpt)$/.test(name))
  if (other !== undefined) detectFormat(join(path, other))
  throw new ModelError(
    'model_not_found',
    safetensors.length > 1
      ? `${path} has ${safetensors.length} safetensors files and no model.safetensors.index.json`
      : `${path} has no safetensors file`,
    null,
    'fetch the whole repository',
  )
}

function shards(path: string, index: string): string[] {
  const map = readJson(index)['weight_map']
  const names = typeof map === 'object' && map !== null ? [...new Set(Object.values(map))].sort() : []
  if (names.length === 0) throw new ModelError('header_malformed', `${index}: no weight_map`, 'weight_map')
  for (const name of names) {
    if (typeof name !== 'string' || basename(name) !== name || name === '..') {
      throw new ModelError('header_malformed', `${index}: ${JSON.stringify(name)} is not a file name`, 'weight_map')
    }
    if (!existsSync(join(path, name))) {
      throw new ModelError('tensor_missing', `${path}: shard ${name} is missing`, name, 'fetch the whole repository')
    }
  }
  return check(path, names as string[])
}

function check(path: string, names: string[]): string[] {
  for (const name of names) {
    if (detectFormat(join(path, name)) === 'safetensors') continue
    throw new ModelError('not_a_model', `${join(path, name)} is not a safetensors file`, name)
  }
  return names
}

function rotaryDivisors(file: FileReader, header: GgufHeader): Float32Array | null {
  const tensor = header.tensors.get('rope_freqs.weight')
  if (tensor === undefined) return null
  const view = { ...tensor, dtype: tensor.format.name, file, permutedHeads: 0 }
  return readVector(
    [view],
    tensor.shape.reduce((product, dimension) => product * dimension, 1),
  )
}

/** llama.cpp's converter permutes query and key rows of the llama architecture, not of qwen2. */
function ggufViews(file: FileReader, header: GgufHeader, config: ModelConfig): Map<string, TensorView> {
  const views = new Map<string, TensorView>()
  for (const tensor of header.tensors.values()) {
    const name = transformersName(tensor.name)
    const heads = /\.q_proj\./.test(name) ? config.heads : /\.k_proj\./.test(name) ? config.kvHeads : 0
    const permutedHeads = config.architecture === 'llama' ? heads : 0
    views.set(name, { ...tensor, name, dtype: tensor.format.name, file, permutedHeads })
  }
  return views
}

/** gguf-py/gguf/tensor_mapping.py, for the two architectures. */
const GGUF_LAYER_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    attn_norm: 'input_layernorm',
    attn_q: 'self_attn.q_proj',
    attn_k: 'self_attn.k_proj',
    attn_v: 'self_attn.v_proj',
    attn_output: 'self_attn.o_proj',
    ffn_norm: 'post_attention_layernorm',
    ffn_gate: 'mlp.gate_proj',
    ffn_up: 'mlp.up_proj',
    ffn_down: 'mlp.down_proj',
  }),
)
const GGUF_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    'token_embd.weight': 'model.embed_tokens.weight',
    'output_norm.weight': 'model.norm.weight',
    'output.weight': 'lm_head.weight',
  }),
)

function transformersName(name: string): string {
  const layer = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name)
  const known = layer === null ? undefined : GGUF_LAYER_NAMES.get(layer[2]!)
  if (layer !== null && known !== undefined) return `model.layers.${layer[1]}.${known}.${layer[3]}`
  return GGUF_NAMES.get(name) ?? name
}

/** Closes the files when opening fails. */
function guarded<T>(readers: FileReader[], open: () => T): T {
  try {
    return open()
  } catch (error) {
    for (const reader of readers) reader.close()
    throw error
  }
}
