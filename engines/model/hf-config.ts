import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { checkConfig, type ModelConfig, type RopeScaling } from './config.js'
import { ModelError } from './errors.js'

type Json = Record<string, unknown>

export const ARCHITECTURES = { LlamaForCausalLM: 'llama', Qwen2ForCausalLM: 'qwen2' } as const

const MAX_CONFIG_BYTES = 1 << 20

/**
 * config.json of a Hugging Face directory, as Transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters) write it; EOS ids
 * also from generation_config.json. Throws ModelError unsupported_architecture, unsupported_feature, config_malformed.
 */
export function readHfConfig(directory: string): ModelConfig {
  const path = join(directory, 'config.json')
  const json = readJson(path)
  const architecture = architectureOf(json, path)
  refuseUnsupported(json, architecture, path)
  const generationPath = join(directory, 'generation_config.json')
  const generation = existsSync(generationPath) ? readJson(generationPath) : {}
  return checkConfig(toConfig(json, generation, architecture, path), path)
}

/** Throws config_malformed unless the file is a JSON object of at most 1 MiB. */
export function readJson(path: string): Json {
  let value: unknown
  try {
    if (statSync(path).size > MAX_CONFIG_BYTES) throw new Error(`larger than ${MAX_CONFIG_BYTES} bytes`)
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new ModelError('config_malformed', `${path}: ${(cause as Error).message}`, null, '', { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw new ModelError('config_malformed', `${path}: not a JSON object`)
}

function architectureOf(json: Json, path: string): ModelConfig['architecture'] {
  const names = Array.isArray(json['architectures']) ? json['architectures'] : []
  const known = Object.keys(ARCHITECTURES)
  const name = names.find((candidate) => known.includes(String(candidate)))
  if (name !== undefined) return ARCHITECTURES[name as keyof typeof ARCHITECTURES]
  throw new ModelError(
    'unsupported_architecture',
    `${path}: architecture ${names.length ? names.map(String).join(', ') : 'not given'}`,
    'architectures',
    `supported: ${known.join(', ')}`,
  )
}

function refuseUnsupported(json: Json, architecture: ModelConfig['architecture'], path: string): void {
  const refuse = (field: string, what: string) => {
    throw new ModelError('unsupported_feature', `${path}: ${what}`, field, 'take another checkpoint')
  }
  if ((json['hidden_act'] ?? 'silu') !== 'silu')
    refuse('hidden_act', `activation ${String(json['hidden_act'])}; silu is supported`)
  if (json['mlp_bias'] === true) refuse('mlp_bias', 'biases in the MLP')
  if (json['attention_bias'] === true && architecture === 'llama')
    refuse('attention_bias', 'a bias on the output projection')
  if (json['quantization_config'] != null) refuse('quantization_config', 'quantised safetensors; use a GGUF file')
  if (Number(json['partial_rotary_factor'] ?? 1) !== 1) refuse('partial_rotary_factor', 'partial rotary embedding')
  if (Number(json['pretraining_tp'] ?? 1) < 1) refuse('pretraining_tp', 'pretraining_tp below 1')
  if (usesSlidingWindow(json)) refuse('sliding_window', 'sliding-window attention')
}

/** Qwen2 carries the fields of a window that is switched off, or that begins behind the last layer. */
function usesSlidingWindow(json: Json): boolean {
  const types = json['layer_types']
  if (Array.isArray(types)) return types.some((type) => type !== 'full_attention')
  if (json['use_sliding_window'] === false || json['sliding_window'] == null) return false
  if (json['use_sliding_window'] === undefined && json['model_type'] === 'qwen2') return false
  return Number(json['max_window_layers'] ?? 0) < Number(json['num_hidden_layers'] ?? 0)
}

function toConfig(json: Json, generation: Json, architecture: ModelConfig['architecture'], path: string): ModelConfig {
  const hiddenSize = count(json, 'hidden_size', path)
  const heads = count(json, 'num_attention_heads', path)
  const rope = ropeParameters(json)
  return {
    architecture,
    hiddenSize,
    intermediateSize: count(json, 'intermediate_size', path),
    layers: count(json, 'num_hidden_layers', path),
    heads,
    kvHeads: json['num_key_value_heads'] == null ? heads : count(json, 'num_key_value_heads', path),
    headDim: json['head_dim'] == null ? hiddenSize / heads : count(json, 'head_dim', path),
    vocabSize: count(json, 'vocab_size', path),
    maxPositions: json['max_position_embeddings'] == null ? 2048 : count(json, 'max_position_embeddings', path),
    rmsNormEps: Number(json['rms_norm_eps'] ?? 1e-6),
    ropeTheta: Number(rope['rope_theta'] ?? json['rope_theta'] ?? 10_000),
    ropeScaling: scalingOf(rope, json, path),
    qkvBias: architecture === 'qwen2',
    tiedEmbeddings: json['tie_word_embeddings'] === true,
    bosTokenId: tokenIds(json['bos_token_id'])[0] ?? null,
    eosTokenIds: [...new Set([...tokenIds(generation['eos_token_id']), ...tokenIds(json['eos_token_id'])])],
  }
}

/** Transformers 5 puts all of it into rope_parameters, 4 the scaling into rope_scaling (null: none). */
function ropeParameters(json: Json): Json {
  return (json['rope_parameters'] ?? json['rope_scaling'] ?? {}) as Json
}

function scalingOf(rope: Json, json: Json, path: string): RopeScaling | null {
  const type = rope['rope_type'] ?? rope['type'] ?? 'default'
  if (type === 'default') return null
  if (type === 'linear') return { type, factor: Number(rope['factor']) }
  if (type === 'llama3') {
    return {
      type,
      factor: Number(rope['factor']),
      lowFreqFactor: Number(rope['low_freq_factor']),
      highFreqFactor: Number(rope['high_freq_factor']),
      originalMaxPositions: Number(rope['original_max_position_embeddings'] ?? json['max_position_embeddings']),
    }
  }
  throw new ModelError(
    'unsupported_feature',
    `${path}: RoPE scaling ${JSON.stringify(type)}`,
    'rope_type',
    'supported: default, linear, llama3',
  )
}

function tokenIds(value: unknown): number[] {
  const values = Array.isArray(value) ? value : [value]
  return values.filter((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0)
}

function count(json: Json, field: string, path: string): number {
  const value = json[field]
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  throw new ModelError('config_malformed', `${path}: ${field} is ${JSON.stringify(value) ?? 'missing'}`, field)
}
