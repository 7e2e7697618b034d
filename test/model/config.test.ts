import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../engines/model/checkpoint.js'
import type { ModelConfig } from '../../engines/model/config.js'
import { readHfConfig } from '../../engines/model/hf-config.js'
import { PRESETS } from '../../engines/model/presets.js'
import { ropeTable } from '../../engines/model/rope.js'
import {
  decodeWeightBytes,
  flopsPerToken,
  kvBytesPerBlock,
  kvBytesPerToken,
  parameterCount,
} from '../../engines/model/sizes.js'
import { GgufWriter, scratchDirectory } from './model-files.js'

const scratch = scratchDirectory()
afterAll(scratch.remove)

/** Llama 3.2 1B, as Transformers 4 wrote it. */
const LLAMA = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  bos_token_id: 128000,
  eos_token_id: [128001, 128008, 128009],
  head_dim: 64,
  hidden_act: 'silu',
  hidden_size: 2048,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32,
    high_freq_factor: 4,
    low_freq_factor: 1,
    original_max_position_embeddings: 8192,
    rope_type: 'llama3',
  },
  rope_theta: 500000,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  vocab_size: 128256,
}

/** Qwen2.5 0.5B: a sliding window that is switched off. */
const QWEN = {
  architectures: ['Qwen2ForCausalLM'],
  bos_token_id: 151643,
  eos_token_id: 151645,
  hidden_act: 'silu',
  hidden_size: 896,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 21,
  model_type: 'qwen2',
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  sliding_window: 32768,
  tie_word_embeddings: true,
  use_sliding_window: false,
  vocab_size: 151936,
}

function read(json: unknown, generation?: object): ModelConfig {
  writeFileSync(join(scratch.path, 'config.json'), typeof json === 'string' ? json : JSON.stringify(json))
  writeFileSync(join(scratch.path, 'generation_config.json'), JSON.stringify(generation ?? {}))
  return readHfConfig(scratch.path)
}

describe('config.json', () => {
  it('of Transformers 4 is read', () => {
    const config = read(LLAMA)
    expect(config).toEqual({ ...PRESETS['llama-3.2-1b'], bosTokenId: 128000, eosTokenIds: [128001, 128008, 128009] })
  })

  it('of Transformers 5 is the same', () => {
    const { rope_scaling, rope_theta, torch_dtype, ...rest } = LLAMA
    const rewritten = { ...rest, dtype: torch_dtype, rope_parameters: { ...rope_scaling, rope_theta } }
    expect(read(rewritten)).toEqual(read(LLAMA))
  })

  it('of Qwen2 has biases, and a window that is switched off is no window', () => {
    expect(read(QWEN)).toMatchObject({
      architecture: 'qwen2',
      qkvBias: true,
      headDim: 64,
      kvHeads: 2,
      ropeScaling: null,
    })
    const { use_sliding_window, sliding_window, ...rest } = QWEN
    expect(read({ ...rest, layer_types: Array(24).fill('full_attention'), sliding_window: null })).toMatchObject({
      layers: 24,
    })
  })

  it('takes every EOS id, those of generation_config.json first', () => {
    expect(read(QWEN, { eos_token_id: [151645, 151643] }).eosTokenIds).toEqual([151645, 151643])
  })

  it.each([
    ['another architecture', { ...LLAMA, architectures: ['GPT2LMHeadModel'] }, 'unsupported_architecture'],
    ['no architecture', { ...LLAMA, architectures: undefined }, 'unsupported_architecture'],
    ['GELU', { ...LLAMA, hidden_act: 'gelu' }, 'unsupported_feature'],
    ['biases in the MLP', { ...LLAMA, mlp_bias: true }, 'unsupported_feature'],
    ['a bias on the output projection', { ...LLAMA, attention_bias: true }, 'unsupported_feature'],
    ['quantised safetensors', { ...LLAMA, quantization_config: { quant_method: 'gptq' } }, 'unsupported_feature'],
    ['partial rotary embedding', { ...LLAMA, partial_rotary_factor: 0.5 }, 'unsupported_feature'],
    ['yarn', { ...LLAMA, rope_scaling: { type: 'yarn', factor: 4 } }, 'unsupported_feature'],
    ['dynamic scaling', { ...LLAMA, rope_scaling: { type: 'dynamic', factor: 2 } }, 'unsupported_feature'],
    ['a sliding window', { ...QWEN, use_sliding_window: true }, 'unsupported_feature'],
    ['a sliding layer', { ...QWEN, layer_types: ['full_attention', 'sliding_attention'] }, 'unsupported_feature'],
    ['a head dimension of 96', { ...LLAMA, head_dim: 96 }, 'unsupported_feature'],
    [
      'a hidden size that heads do not divide',
      { ...LLAMA, head_dim: null, num_attention_heads: 31, num_key_value_heads: 31 },
      'unsupported_feature',
    ],
    ['no hidden size', { ...LLAMA, hidden_size: undefined }, 'config_malformed'],
    ['a hidden size of 0', { ...LLAMA, hidden_size: 0 }, 'config_malformed'],
    ['a hidden size as text', { ...LLAMA, hidden_size: '2048' }, 'config_malformed'],
    ['10^9 layers', { ...LLAMA, num_hidden_layers: 1e9 }, 'config_malformed'],
    ['heads that do not share', { ...LLAMA, num_key_value_heads: 5 }, 'config_malformed'],
    ['a scaling factor of 0', { ...LLAMA, rope_scaling: { ...LLAMA.rope_scaling, factor: 0 } }, 'config_malformed'],
    ['a scaling without factor', { ...LLAMA, rope_scaling: { type: 'linear' } }, 'config_malformed'],
    ['theta below 1', { ...LLAMA, rope_theta: 0.5 }, 'config_malformed'],
    ['epsilon 0', { ...LLAMA, rms_norm_eps: 0 }, 'config_malformed'],
    ['a list', [], 'config_malformed'],
    ['no JSON', '{', 'config_malformed'],
    ['a megabyte of nothing', `${' '.repeat(1 << 20)}{}`, 'config_malformed'],
  ])('with %s is refused', (_, json, code) => {
    expect(() => read(json)).toThrowError(expect.objectContaining({ name: 'ModelError', code }))
  })
})

describe('GGUF metadata', () => {
  const writer = (architecture: string, extra: (writer: GgufWriter) => GgufWriter, keys: bigint) =>
    extra(new GgufWriter({ keys: 9n + keys }).text('general.architecture', architecture))
      .number('llama.block_count', 2)
      .number('llama.context_length', 512)
      .number('llama.embedding_length', 256)
      .number('llama.feed_forward_length', 512)
      .number('llama.attention.head_count', 4)
      .number('llama.attention.head_count_kv', 2)
      .number('llama.vocab_size', 300)
      .float('llama.attention.layer_norm_rms_epsilon', 1e-5)
  const open = (architecture: string, extra: (writer: GgufWriter) => GgufWriter = (w) => w, keys = 0n) => {
    const checkpoint = openCheckpoint(scratch.write('m.gguf', writer(architecture, extra, keys).file()))
    checkpoint.close()
    return checkpoint.config
  }

  it('gives the same configuration', () => {
    expect(open('llama')).toMatchObject({
      architecture: 'llama',
      layers: 2,
      headDim: 64,
      vocabSize: 300,
      ropeTheta: 10_000,
      tiedEmbeddings: true,
    })
  })
  it('takes linear scaling', () => {
    const scaled = open(
      'llama',
      (w) => w.text('llama.rope.scaling.type', 'linear').float('llama.rope.scaling.factor', 4),
      2n,
    )
    expect(scaled.ropeScaling).toEqual({ type: 'linear', factor: 4 })
  })
  it.each([
    ['another architecture', 'gemma', (w: GgufWriter) => w, 0n, 'unsupported_architecture'],
    ['experts', 'llama', (w: GgufWriter) => w.number('llama.expert_count', 8), 1n, 'unsupported_feature'],
    ['yarn', 'llama', (w: GgufWriter) => w.text('llama.rope.scaling.type', 'yarn'), 1n, 'unsupported_feature'],
    [
      'a part of each head rotated',
      'llama',
      (w: GgufWriter) => w.number('llama.rope.dimension_count', 32).number('llama.attention.key_length', 64),
      2n,
      'unsupported_feature',
    ],
    ['a field as text', 'llama', (w: GgufWriter) => w.text('llama.rope.freq_base', 'much'), 1n, 'config_malformed'],
    ['no dimensions', 'qwen2', (w: GgufWriter) => w, 0n, 'config_malformed'],
  ])('with %s is refused', (_, architecture, extra, keys, code) => {
    expect(() => open(architecture, extra, keys)).toThrowError(expect.objectContaining({ name: 'ModelError', code }))
  })
})

describe('sizes of Llama-3-8B', () => {
  const config = PRESETS['llama-3-8b']
  it('are those of the published model', () => {
    expect(parameterCount(config)).toBe(8_030_261_248)
    expect(decodeWeightBytes(config, 2)).toBeCloseTo(15.01e9, -7)
    expect(kvBytesPerToken(config, 2)).toBe(131_072)
    expect(kvBytesPerBlock(config, 16, 2)).toBe(2_097_152)
    expect(flopsPerToken(config)).toBeCloseTo(15.0e9, -8)
    expect(flopsPerToken(config, 1000) - flopsPerToken(config)).toBe(524_288_000)
  })
  it('count SmolLM2-135M as its authors do', () => {
    expect(parameterCount(PRESETS['smollm2-135m'])).toBe(134_515_008)
  })
})

describe('the RoPE table', () => {
  it('holds cosines, then sines, of position times inverse frequency', () => {
    const table = ropeTable({ ...PRESETS.tiny, headDim: 64 }, 3)
    expect(table).toHaveLength(3 * 64)
    expect([...table.subarray(0, 64)]).toEqual([...Array(32).fill(1), ...Array(32).fill(0)])
    expect(table[64]).toBeCloseTo(Math.cos(1), 6)
    expect(table[64 + 32]).toBeCloseTo(Math.sin(1), 6)
    expect(table[2 * 64 + 33]).toBeCloseTo(Math.sin(2 * 10_000 ** (-2 / 64)), 6)
  })
  it('gives the same angles by divisors as by the formula they were made with', () => {
    const scaled = ropeTable({ ...PRESETS.tiny, ropeScaling: { type: 'linear', factor: 4 } }, 8)
    const divided = ropeTable({ ...PRESETS.tiny, ropeScaling: { type: 'divisors', divisors: Array(32).fill(4) } }, 8)
    expect(divided).toEqual(scaled)
  })
})
