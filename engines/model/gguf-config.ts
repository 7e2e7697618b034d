import { checkConfig, type ModelConfig, type RopeScaling } from './config.js'
import { ModelError } from './errors.js'
import type { GgufHeader } from './gguf.js'

const ARCHITECTURES = ['llama', 'qwen2'] as const

/**
 * The dimensions of a GGUF model from its metadata. `divisors`: the tensor rope_freqs.weight, or null.
 * Throws ModelError unsupported_architecture, unsupported_feature, config_malformed.
 */
export function readGgufConfig(header: GgufHeader, divisors: Float32Array | null, path: string): ModelConfig {
  const { metadata, tensors } = header
  const architecture = architectureOf(header, path)
  const number = (key: string, fallback?: number) => numberOf(header, `${architecture}.${key}`, fallback, path)
  if (number('expert_count', 0) > 0) {
    throw new ModelError('unsupported_feature', `${path}: a mixture of experts`, `${architecture}.expert_count`)
  }
  const hiddenSize = number('embedding_length')
  const heads = number('attention.head_count')
  const headDim = number('attention.key_length', number('rope.dimension_count', hiddenSize / heads))
  if (number('rope.dimension_count', headDim) !== headDim) {
    throw new ModelError(
      'unsupported_feature',
      `${path}: partial rotary embedding`,
      `${architecture}.rope.dimension_count`,
    )
  }
  return checkConfig(
    {
      architecture,
      hiddenSize,
      intermediateSize: number('feed_forward_length'),
      layers: number('block_count'),
      heads,
      kvHeads: number('attention.head_count_kv', heads),
      headDim,
      vocabSize: tensors.get('token_embd.weight')?.shape[0] ?? number('vocab_size'),
      maxPositions: number('context_length'),
      rmsNormEps: number('attention.layer_norm_rms_epsilon'),
      ropeTheta: number('rope.freq_base', 10_000),
      ropeScaling: scalingOf(header, architecture, divisors, path),
      qkvBias: tensors.has('blk.0.attn_q.bias'),
      tiedEmbeddings: !tensors.has('output.weight'),
      bosTokenId: tokenId(metadata.get('tokenizer.ggml.bos_token_id')),
      eosTokenIds: eosTokenIds(header),
    },
    path,
  )
}

function architectureOf({ metadata }: GgufHeader, path: string): ModelConfig['architecture'] {
  const name = metadata.get('general.architecture')
  const known = ARCHITECTURES.find((candidate) => candidate === name)
  if (known !== undefined) return known
  throw new ModelError(
    'unsupported_architecture',
    `${path}: architecture ${name === undefined ? 'not given' : JSON.stringify(name)}`,
    'general.architecture',
    `supported: ${ARCHITECTURES.join(', ')}`,
  )
}

function numberOf({ metadata }: GgufHeader, key: string, fallback: number | undefined, path: string): number {
  const value = metadata.get(key) ?? fallback
  if (typeof value === 'number') return value
  throw new ModelError(
    'config_malformed',
    `${path}: ${key} is ${value === undefined ? 'missing' : 'not a number'}`,
    key,
  )
}

function scalingOf(
  { metadata }: GgufHeader,
  architecture: string,
  divisors: Float32Array | null,
  path: string,
): RopeScaling | null {
  if (divisors !== null) return { type: 'divisors', divisors: [...divisors] }
  const type = metadata.get(`${architecture}.rope.scaling.type`) ?? 'none'
  const factor = metadata.get(`${architecture}.rope.scaling.factor`)
  if (type === 'none') return null
  if (type === 'linear') return typeof factor === 'number' && factor !== 0 ? { type, factor } : null
  throw new ModelError(
    'unsupported_feature',
    `${path}: RoPE scaling ${JSON.stringify(type)}`,
    `${architecture}.rope.scaling.type`,
    'supported: none, linear, frequency divisors (Llama 3)',
  )
}

/** eos, end of turn and end of message all end a reply. */
function eosTokenIds({ metadata }: GgufHeader): number[] {
  const keys = ['eos_token_id', 'eot_token_id', 'eom_token_id']
  const ids = keys.map((key) => tokenId(metadata.get(`tokenizer.ggml.${key}`)))
  return [...new Set(ids.filter((id) => id !== null))]
}

function tokenId(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null
}
